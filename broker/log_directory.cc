#include "broker/log_directory.h"

#include <glog/logging.h>

#include <utility>

#include "absl/strings/str_replace.h"
#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"

namespace sluice {
namespace {

// A lagging mark only means a longer scan at recovery: worth waiting for
// company, unlike a mark that somebody waits for.
constexpr int64_t kLazyFlushDelayUs = 200'000;
constexpr char kProbeName[] = "sync-probe";
constexpr char kRoomProbeName[] = "room-probe";
constexpr std::string_view kWithoutDirectory =
    "its replicas are filled again from their leaders";

}  // namespace

LogDirectory::LogDirectory(Deps deps, std::string path)
    : deps_(std::move(deps)),
      path_(std::move(path)),
      sync_watch_(deps_.clock),
      random_(deps_.random_seed) {}

absl::StatusOr<std::unique_ptr<LogDirectory>> LogDirectory::Open(
    Deps deps, const std::string& path, const DirStore::Expected& expected,
    const std::string& boot_id) {
  RETURN_IF_ERROR(CreateDirectories(*deps.fs, path));
  std::unique_ptr<LogDirectory> directory(
      new LogDirectory(std::move(deps), path));
  LogDirectory* self = directory.get();
  ASSIGN_OR_RETURN(self->store_,
                   DirStore::Open({self->deps_.fs, &self->random_,
                                   kWithoutDirectory},
                                  path, expected, boot_id));
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
                        [self](absl::Status why) { self->Fatal(why); },
                        &self->sync_watch_});
  return directory;
}

std::string LogDirectory::PartitionPath(const TopicPartition& tp) const {
  return StrCat(path_, "/", PartitionDirectoryName(tp));
}

std::string LogDirectory::WithoutPath(std::string_view text) const {
  return absl::StrReplaceAll(
      AbslView(text), {{path_ + "/", ""}, {path_, "its data directory"}});
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

void LogDirectory::PostToSync(Task task) {
  sync_watch_.Asked();
  deps_.sync_executor->Post([this, task = std::move(task)]() mutable {
    sync_watch_.Begin();
    task();
    sync_watch_.EndOther();
  });
}

absl::Status LogDirectory::WriteProbe() {
  if (probe_file_ == nullptr) {
    ASSIGN_OR_RETURN(probe_file_,
                     deps_.fs->Open(StrCat(path_, "/", kProbeName),
                                    OpenMode::kCreate));
  }
  return probe_file_->Write(0, "p");
}

void LogDirectory::ProbeDisk(Executor* executor, Task done) {
  PostToSync([this, executor, done = std::move(done)]() mutable {
    if (stopped_) return;
    const absl::Status written = WriteProbe();
    if (CodeOf(written) == ErrorCode::kStorageFull) {
      // Tells nothing of the disk's speed; the next one may.
      return executor->Post(std::move(done));
    }
    if (!written.ok()) return Fatal(written);
    SyncSet targets;
    targets.files.push_back(probe_file_);
    group_commit_->Request(std::move(targets), executor, std::move(done));
  });
}

void LogDirectory::NoteNoRoom() {
  if (!room_.NoteNone()) return;
  deps_.sync_executor->Post([this] {
    LOG(ERROR) << "data directory " << path_ << " has no room: appends are "
               << "refused; free some, or move the directory to a larger disk";
    ScheduleRoomProbe();
  });
}

void LogDirectory::ScheduleRoomProbe() {
  if (stopped_) return;
  deps_.sync_executor->PostAfter(kFullRetryUs, [this] { ProbeRoom(); });
}

void LogDirectory::ProbeRoom() {
  if (stopped_) return;
  const absl::Status room = TryRoom();
  if (CodeOf(room) == ErrorCode::kStorageFull) return ScheduleRoomProbe();
  if (!room.ok()) return Fatal(room);
  LOG(INFO) << "data directory " << path_ << " has room again";
  room_.NoteSome();
}

// With a descriptor of its own: that, too, may be what is missing.
absl::Status LogDirectory::TryRoom() {
  ASSIGN_OR_RETURN(const auto file,
                   deps_.fs->Open(StrCat(path_, "/", kRoomProbeName),
                                  OpenMode::kCreate));
  const absl::Status written =
      file->Write(0, std::string(static_cast<size_t>(kRoomBytes), 'r'));
  // Also what was written of it before there was no more.
  RETURN_IF_ERROR(file->Truncate(0));
  return written;
}

void LogDirectory::ConfirmRun() {
  deps_.sync_executor->Post([this] {
    if (stopped_) return;
    const absl::Status confirmed = store_->ConfirmRun();
    if (confirmed.ok()) return;
    if (CodeOf(confirmed) != ErrorCode::kStorageFull) return Fatal(confirmed);
    LOG(WARNING) << "no room in " << path_ << " to note that this run is "
                 << "registered; a kill will pass for a loss of power";
  });
}

void LogDirectory::PersistMarks(const TopicPartition& tp, PartitionMarks marks,
                                Executor* executor, Task done) {
  PostToSync([this, tp, marks = std::move(marks), executor,
                             done = std::move(done)]() mutable {
    if (stopped_) return;
    store_->Put(tp, marks);
    waiters_.push_back({executor, std::move(done)});
    ScheduleFlush();
  });
}

void LogDirectory::PutMarks(
    std::vector<std::pair<TopicPartition, PartitionMarks>> marks) {
  PostToSync([this, marks = std::move(marks)] {
    if (stopped_) return;
    for (const auto& [tp, m] : marks) store_->Put(tp, m);
    ScheduleFlushAfter(kLazyFlushDelayUs);
  });
}

void LogDirectory::ScheduleFlush() {
  if (flush_scheduled_) return;
  flush_scheduled_ = true;
  // Behind what is posted already: a kill moves thousands of leaders at once,
  // and all their epoch starts go into one write.
  PostToSync([this] {
    flush_scheduled_ = false;
    Flush();
  });
}

void LogDirectory::ScheduleFlushAfter(int64_t delay_us) {
  if (flush_scheduled_ || later_flush_scheduled_) return;
  later_flush_scheduled_ = true;
  deps_.sync_executor->PostAfter(delay_us, [this] {
    later_flush_scheduled_ = false;
    Flush();
  });
}

void LogDirectory::Flush() {
  if (stopped_) return;
  auto pending = store_->Flush();
  if (CodeOf(pending.status()) == ErrorCode::kStorageFull) {
    LOG_IF(ERROR, !full_) << "data directory " << path_ << " is full: "
                          << pending.status().ToString()
                          << "; leaders that move here wait for room";
    full_ = true;
    NoteNoRoom();
    return ScheduleFlushAfter(kFullRetryUs);
  }
  full_ = false;
  if (!pending.ok()) return Fatal(pending.status());
  auto wake = [waiters = std::exchange(waiters_, {})]() mutable {
    for (Waiter& w : waiters) w.executor->Post(std::move(w.done));
  };
  if (!pending->has_value()) return wake();  // nothing was unsynced
  SyncSet targets = (*pending)->targets;
  group_commit_->Request(
      std::move(targets), deps_.sync_executor,
      [this, pending = **pending, wake = std::move(wake)]() mutable {
        if (stopped_) return;
        wake();
        OnFlushed(pending);
      });
}

void LogDirectory::OnFlushed(const DirStore::Pending& pending) {
  store_->MarkSynced(pending);
  if (!store_->wants_compaction()) return;
  const absl::Status compacted = store_->Compact();
  // Without room the old journal goes on.
  if (!compacted.ok() && CodeOf(compacted) != ErrorCode::kStorageFull) {
    Fatal(compacted);
  }
}

absl::StatusOr<std::string> LogDirectory::MoveAway(const TopicPartition& tp,
                                                   std::string_view suffix) {
  const std::string from = PartitionPath(tp);
  for (int64_t n = 0;; ++n) {
    std::string to = StrCat(from, suffix, n);
    ASSIGN_OR_RETURN(const bool taken, deps_.fs->Exists(to));
    if (taken) continue;
    RETURN_IF_ERROR(deps_.fs->Rename(from, to));
    RETURN_IF_ERROR(deps_.fs->SyncDirectory(path_));
    return to;
  }
}

void LogDirectory::OnMoveFailed(const TopicPartition& tp,
                                const absl::Status& why) {
  if (absl::IsNotFound(why)) return;  // marks without files
  if (CodeOf(why) == ErrorCode::kStorageError) return Fatal(why);
  LOG(ERROR) << "the files of " << tp.ToString() << " stay in " << path_
             << " as a stray: " << why.ToString();
}

void LogDirectory::Delete(const TopicPartition& tp) {
  deps_.sync_executor->Post([this, tp] {
    if (stopped_) return;
    store_->Remove(tp);
    ScheduleFlushAfter(kLazyFlushDelayUs);
    auto moved = MoveAway(tp, ".deleted-");
    if (!moved.ok()) {
      OnMoveFailed(tp, moved.status());
      return;
    }
    deps_.io_executor->Post([fs = deps_.fs, path = *std::move(moved)] {
      const absl::Status removed = RemoveTree(*fs, path);
      LOG_IF(ERROR, !removed.ok())
          << "removing " << path << ": " << removed.ToString()
          << "; the next start removes what is left";
    });
  });
}

void LogDirectory::SetAside(const TopicPartition& tp, std::string reason,
                            Executor* executor,
                            absl::AnyInvocable<void(bool moved)> done) {
  deps_.sync_executor->Post([this, tp, reason = std::move(reason), executor,
                             done = std::move(done)]() mutable {
    if (stopped_) return;
    const auto moved = MoveAway(tp, ".stray-");
    // Marks without files are forgotten, too.
    const bool gone = moved.ok() || absl::IsNotFound(moved.status());
    if (moved.ok()) {
      LOG(WARNING) << "the files of " << tp.ToString() << " are set aside as "
                   << *moved << ": " << reason;
    } else {
      OnMoveFailed(tp, moved.status());
    }
    if (gone) {
      store_->Remove(tp);
      ScheduleFlushAfter(kLazyFlushDelayUs);
    }
    executor->Post([done = std::move(done), gone]() mutable { done(gone); });
  });
}

void LogDirectory::StopClean(BrokerEpoch broker_epoch, Executor* executor,
                             absl::AnyInvocable<void(absl::Status)> done) {
  deps_.sync_executor->Post(
      [this, broker_epoch, executor, done = std::move(done)]() mutable {
        const absl::Status result =
            stopped_ || group_commit_->failed()
                ? MakeError(ErrorCode::kStorageError, "data directory ", path_,
                            " has failed: no clean marker")
                : store_->StopClean(broker_epoch);
        stopped_ = true;
        executor->Post([done = std::move(done), result]() mutable {
          done(result);
        });
      });
}

void LogDirectory::Fatal(const absl::Status& why) {
  stopped_ = true;
  waiters_.clear();
  if (MUTANT(kFailedDiskOutlived)) return;
  deps_.on_fatal(MakeError(ErrorCode::kStorageError, "data directory ", path_,
                           ": ", why.message()));
}

}  // namespace sluice
