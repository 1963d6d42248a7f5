#include "broker/log_directory.h"

#include <glog/logging.h>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"

namespace sluice {
namespace {

// A lagging mark only means a longer scan at recovery: worth waiting for
// company, unlike a mark that somebody waits for.
constexpr int64_t kLazyFlushDelayUs = 200'000;

}  // namespace

LogDirectory::LogDirectory(Deps deps, std::string path)
    : deps_(std::move(deps)),
      path_(std::move(path)),
      random_(deps_.random_seed) {}

absl::StatusOr<std::unique_ptr<LogDirectory>> LogDirectory::Open(
    Deps deps, const std::string& path, const DirStore::Expected& expected,
    const std::string& boot_id) {
  RETURN_IF_ERROR(CreateDirectories(*deps.fs, path));
  std::unique_ptr<LogDirectory> directory(
      new LogDirectory(std::move(deps), path));
  LogDirectory* self = directory.get();
  ASSIGN_OR_RETURN(self->store_,
                   DirStore::Open({self->deps_.fs, &self->random_}, path,
                                  expected, boot_id));
  self->found_ = self->store_->facts();
  self->previous_run_ = self->store_->previous_run();
  RETURN_IF_ERROR(self->store_->RemoveLeftovers());
  ASSIGN_OR_RETURN(const auto present,
                   self->store_->ListPartitionDirectories());
  for (const PartitionDirectory& entry : present) {
    self->at_start_[entry.tp] = self->store_->RecoveryMarksOf(entry.tp);
  }
  for (const auto& [tp, marks] : self->store_->partitions()) {
    self->at_start_[tp] = self->store_->RecoveryMarksOf(tp);
  }
  self->group_commit_ = std::make_unique<GroupCommit>(
      GroupCommit::Deps{self->deps_.fs, self->deps_.sync_executor, path,
                        [self](absl::Status why) { self->Fatal(why); }});
  return directory;
}

std::string LogDirectory::PartitionPath(const TopicPartition& tp) const {
  return StrCat(path_, "/", PartitionDirectoryName(tp));
}

void LogDirectory::SetIdentity(ClusterId cluster_id, NodeId node_id,
                               Executor* executor,
                               absl::AnyInvocable<void(absl::Status)> done) {
  deps_.sync_executor->Post([this, cluster_id, node_id, executor,
                             done = std::move(done)]() mutable {
    absl::Status result = store_->SetIdentity(cluster_id, node_id);
    executor->Post([done = std::move(done), result]() mutable {
      done(result);
    });
  });
}

void LogDirectory::PersistMarks(const TopicPartition& tp, PartitionMarks marks,
                                Executor* executor, Task done) {
  deps_.sync_executor->Post([this, tp, marks = std::move(marks), executor,
                             done = std::move(done)]() mutable {
    if (stopped_) return;
    store_->Put(tp, marks);
    waiters_.push_back({executor, std::move(done)});
    ScheduleFlush();
  });
}

void LogDirectory::ScheduleFlush() {
  if (flush_scheduled_) return;
  flush_scheduled_ = true;
  // Behind what is posted already: a kill moves thousands of leaders at once,
  // and all their epoch starts go into one write.
  deps_.sync_executor->Post([this] {
    flush_scheduled_ = false;
    Flush();
  });
}

void LogDirectory::Flush() {
  if (stopped_) return;
  auto pending = store_->Flush();
  if (!pending.ok()) {
    Fatal(pending.status());
    return;
  }
  std::vector<Waiter> waiters;
  waiters.swap(waiters_);
  const auto wake = [waiters = std::move(waiters)]() mutable {
    for (Waiter& w : waiters) w.executor->Post(std::move(w.done));
  };
  if (!pending->has_value()) {  // nothing was unsynced
    auto run = std::move(wake);
    run();
    return;
  }
  SyncSet targets = (*pending)->targets;
  group_commit_->Request(
      std::move(targets), deps_.sync_executor,
      [this, pending = **pending, wake = std::move(wake)]() mutable {
        store_->MarkSynced(pending);
        wake();
        if (store_->wants_compaction()) {
          if (absl::Status s = store_->Compact(); !s.ok()) Fatal(s);
        }
      });
}

void LogDirectory::PutMarks(
    std::vector<std::pair<TopicPartition, PartitionMarks>> marks) {
  deps_.sync_executor->Post([this, marks = std::move(marks)] {
    if (stopped_) return;
    for (const auto& [tp, m] : marks) store_->Put(tp, m);
    if (flush_scheduled_ || lazy_flush_scheduled_) return;
    lazy_flush_scheduled_ = true;
    deps_.sync_executor->PostAfter(kLazyFlushDelayUs, [this] {
      lazy_flush_scheduled_ = false;
      Flush();
    });
  });
}

void LogDirectory::RemoveMarks(const TopicPartition& tp) {
  deps_.sync_executor->Post([this, tp] {
    if (stopped_) return;
    store_->Remove(tp);
    ScheduleFlush();
  });
}

void LogDirectory::SetAside(const TopicPartition& tp, std::string reason) {
  deps_.sync_executor->Post([this, tp, reason = std::move(reason)] {
    const std::string from = PartitionPath(tp);
    for (int n = 0; n < 1000; ++n) {
      const std::string to = StrCat(from, ".stray-", n);
      const auto exists = deps_.fs->Exists(to);
      if (exists.ok() && *exists) continue;
      if (const auto there = deps_.fs->Exists(from);
          there.ok() && !*there) {
        break;  // marks without files
      }
      absl::Status moved = deps_.fs->Rename(from, to);
      if (moved.ok()) moved = deps_.fs->SyncDirectory(path_);
      LOG(WARNING) << "set aside " << from << " as " << to << ": " << reason
                   << (moved.ok() ? "" : "; failed: " + moved.ToString());
      break;
    }
    store_->Remove(tp);
    ScheduleFlush();
  });
}

void LogDirectory::StopClean(BrokerEpoch broker_epoch, Executor* executor,
                             absl::AnyInvocable<void(absl::Status)> done) {
  deps_.sync_executor->Post(
      [this, broker_epoch, executor, done = std::move(done)]() mutable {
        stopped_ = true;
        const absl::Status result = group_commit_->failed()
                                        ? absl::DataLossError("a sync failed")
                                        : store_->StopClean(broker_epoch);
        executor->Post([done = std::move(done), result]() mutable {
          done(result);
        });
      });
}

void LogDirectory::Fatal(const absl::Status& why) {
  stopped_ = true;
  waiters_.clear();
  deps_.on_fatal(MakeError(ErrorCode::kStorageError, "data directory ", path_,
                           ": ", std::string(why.message())));
}

}  // namespace sluice
