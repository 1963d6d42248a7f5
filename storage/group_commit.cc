#include "storage/group_commit.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "common/base/mutant.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

struct Waiting {
  SyncSet targets;
  Executor* executor;
  Task done;
};

// Syncs targets one by one, each once a round.
class Round {
 public:
  Round(FileSystem* fs, const std::string& root) : fs_(fs), root_(root) {}

  absl::Status Sync(const SyncSet& targets) {
    if (MUTANT(kAckBeforeSync)) return absl::OkStatus();
    for (const auto& file : targets.files) {
      if (!files_.insert(file.get()).second) continue;
      absl::Status synced = file->SyncData();
      if (!synced.ok() && MUTANT(kSyncRetried)) synced = file->SyncData();
      RETURN_IF_ERROR(synced);
      ++syncs_;
    }
    for (const std::string& directory : targets.directories) {
      if (!directories_.insert(directory).second) continue;
      const absl::Status synced = fs_->SyncDirectory(directory);
      // Removed or renamed since: none of its entries matter (ST14).
      if (absl::IsNotFound(synced) && directory != root_) continue;
      RETURN_IF_ERROR(synced);
      ++syncs_;
    }
    return absl::OkStatus();
  }
  int64_t syncs() const { return syncs_; }

 private:
  FileSystem* fs_;
  const std::string& root_;
  std::set<const File*> files_;
  std::set<std::string> directories_;
  int64_t syncs_ = 0;
};

size_t CountDistinct(const std::vector<Waiting>& requests) {
  std::set<const File*> files;
  std::set<std::string> directories;
  for (const Waiting& request : requests) {
    for (const auto& file : request.targets.files) files.insert(file.get());
    directories.insert(request.targets.directories.begin(),
                       request.targets.directories.end());
  }
  return files.size() + directories.size();
}

}  // namespace

struct GroupCommit::State {
  explicit State(Deps d) : deps(std::move(d)) {}

  Deps deps;
  std::atomic<bool> closed{false};
  std::atomic<bool> failed{false};
  std::atomic<int64_t> rounds{0};
  std::atomic<int64_t> requests{0};
  std::atomic<int64_t> file_syncs{0};
  std::atomic<int64_t> full_syncs{0};
  // On the sync executor.
  std::vector<Waiting> waiting;
  bool round_posted = false;

  void Fail(absl::Status why) {
    failed.store(true);
    waiting.clear();
    deps.on_fatal(std::move(why));
  }
};

GroupCommit::GroupCommit(Deps deps)
    : state_(std::make_shared<State>(std::move(deps))) {}

GroupCommit::~GroupCommit() { state_->closed.store(true); }

void GroupCommit::Request(SyncSet targets, Executor* executor, Task done) {
  SyncWatch* const watch = state_->deps.watch;
  const int64_t asked_us = watch == nullptr ? 0 : watch->Asked();
  state_->deps.sync_executor->Post([state = state_, asked_us,
                                    targets = std::move(targets), executor,
                                    done = std::move(done)]() mutable {
    Enqueue(state, std::move(targets), asked_us, executor, std::move(done));
  });
}

void GroupCommit::Enqueue(const std::shared_ptr<State>& state, SyncSet targets,
                          int64_t asked_us, Executor* executor, Task done) {
  if (state->closed.load()) return;
  if (SyncWatch* watch = state->deps.watch) watch->AskedAt(asked_us);
  state->requests.fetch_add(1, std::memory_order_relaxed);
  state->waiting.push_back({std::move(targets), executor, std::move(done)});
  if (state->round_posted) return;
  state->round_posted = true;
  // Behind the requests that are queued already: they share this round.
  state->deps.sync_executor->Post([state] { RunRound(state); });
}

void GroupCommit::RunRound(const std::shared_ptr<State>& state) {
  state->round_posted = false;
  std::vector<Waiting> requests;
  requests.swap(state->waiting);
  if (state->closed.load() || state->failed.load()) return;
  if (SyncWatch* watch = state->deps.watch) watch->Begin();
  state->rounds.fetch_add(1, std::memory_order_relaxed);
  const bool all_at_once = CountDistinct(requests) > kFilesSyncedOneByOneMax;
  if (all_at_once) {
    const absl::Status synced =
        state->deps.fs->SyncAll(state->deps.directory);
    if (!synced.ok()) return state->Fail(synced);
    state->full_syncs.fetch_add(1, std::memory_order_relaxed);
  }
  Round round(state->deps.fs, state->deps.directory);
  for (Waiting& request : requests) {
    if (!all_at_once) {
      const absl::Status synced = round.Sync(request.targets);
      if (!synced.ok()) return state->Fail(synced);
    }
    // As soon as its own files are synced: no wait for the rest of the round.
    request.executor->Post(std::move(request.done));
  }
  state->file_syncs.fetch_add(round.syncs(), std::memory_order_relaxed);
  if (SyncWatch* watch = state->deps.watch) watch->EndSync();
}

int64_t GroupCommit::rounds() const { return state_->rounds.load(); }
int64_t GroupCommit::requests() const { return state_->requests.load(); }
int64_t GroupCommit::file_syncs() const { return state_->file_syncs.load(); }
int64_t GroupCommit::full_syncs() const { return state_->full_syncs.load(); }
bool GroupCommit::failed() const { return state_->failed.load(); }

}  // namespace sluice
