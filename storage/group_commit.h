// Group commit for one log directory: everybody who waits for a sync when a
// round begins shares it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "common/env/executor.h"
#include "common/env/file_system.h"
#include "storage/sync_set.h"
#include "storage/sync_watch.h"

namespace sluice {

// Up to this many files and directories are synced one by one; more cost less
// as one sync of the file system: each of the former waits for a commit of the
// journal, all of the latter for one.
inline constexpr size_t kFilesSyncedOneByOneMax = 4;

// Request() may be called from any thread; the work is done on the sync
// executor, whose thread may block. Rounds never overlap. A request that
// arrives during a round waits for the next: the round may have passed its
// file. Requests are bounded by their callers: one in flight per log.
//
// The first error of a sync is final (ST4): on_fatal runs once, on the sync
// executor, no request is acknowledged afterwards, and the owner ends the
// process or takes the directory offline. A directory that is no longer there
// is no error (ST14), but for the log directory itself.
class GroupCommit {
 public:
  struct Deps {
    FileSystem* fs = nullptr;
    Executor* sync_executor = nullptr;
    std::string directory;  // a path on the file system to sync
    absl::AnyInvocable<void(absl::Status why)> on_fatal;
    SyncWatch* watch = nullptr;  // outlives the sync executor's work; may be
                                 // null
  };

  explicit GroupCommit(Deps deps);
  // Requests not begun are dropped, their callbacks never run. Called on the
  // sync executor or once that has ended: a round that ran beside it would
  // still use Deps.
  ~GroupCommit();
  GroupCommit(const GroupCommit&) = delete;
  GroupCommit& operator=(const GroupCommit&) = delete;

  // `done` is posted to `executor` when all of `targets` is durable (which may
  // be before its round ends); never otherwise. `executor` must outlive the
  // sync executor's work.
  void Request(SyncSet targets, Executor* executor, Task done);

  // Any thread; for metrics and tests.
  int64_t rounds() const;
  int64_t requests() const;
  int64_t file_syncs() const;  // of single files and directories
  int64_t full_syncs() const;
  bool failed() const;

 private:
  struct State;
  static void Enqueue(const std::shared_ptr<State>& state, SyncSet targets,
                      int64_t asked_us, Executor* executor, Task done);
  static void RunRound(const std::shared_ptr<State>& state);

  std::shared_ptr<State> state_;
};

}  // namespace sluice
