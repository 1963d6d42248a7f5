// One data directory: its store of marks, its group commit, and the one thread
// that may wait for its disk.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "common/env/file_system.h"
#include "storage/dir_store.h"
#include "storage/group_commit.h"
#include "storage/room_watch.h"
#include "storage/sync_watch.h"

namespace sluice {

// The store is owned by the sync executor: everything that touches it is
// posted there, and everything that waits for a disk waits there. Methods may
// be called from any thread unless they say otherwise. Destroyed when its
// executors no longer run.
//
// A failed sync or a store that cannot be written is fatal (ST4): on_fatal is
// called, nothing is acknowledged afterwards. A full disk is not: marks wait
// until there is room, and so does who waits for them (ST9). Once something was
// refused for want of room the directory looks for some by itself, for who has
// handed all its partitions on writes nothing that would show it.
class LogDirectory {
 public:
  struct Deps {
    FileSystem* fs = nullptr;
    Executor* sync_executor = nullptr;
    // Removes the files of deleted partitions: may take seconds, and nobody
    // who waits for a sync shall wait for that.
    Executor* io_executor = nullptr;
    absl::AnyInvocable<void(absl::Status)> on_fatal;  // on sync_executor
    uint64_t random_seed = 0;
    const Clock* clock = nullptr;
  };

  // How long marks that a full disk refused wait before they are tried again.
  static constexpr int64_t kFullRetryUs = 500'000;
  // There is room once so much can be written: a batch of the usual limit.
  static constexpr int64_t kRoomBytes = 1 << 20;

  // Blocks; for the start of the process. Errors of DirStore::Open.
  static absl::StatusOr<std::unique_ptr<LogDirectory>> Open(
      Deps deps, const std::string& path, const DirStore::Expected& expected,
      const std::string& boot_id);

  // What was found at the start; never changes.
  const std::string& path() const { return path_; }
  DirectoryId id() const { return found_.directory_id; }
  ClusterId cluster_id_at_start() const { return found_.cluster_id; }
  const PreviousRun& previous_run() const { return previous_run_; }
  // Partitions with files or marks, and the marks they had.
  const std::map<TopicPartition, RecoveryMarks>& partitions_at_start() const {
    return at_start_;
  }
  std::string PartitionPath(const TopicPartition& tp) const;
  // `text` with files named by what they are called in here.
  std::string WithoutPath(std::string_view text) const;

  GroupCommit& group_commit() { return *group_commit_; }
  // How slow the sync thread is; see there who may ask.
  SyncWatch& sync_watch() { return sync_watch_; }
  const SyncWatch& sync_watch() const { return sync_watch_; }
  // Writes a byte to a file of its own and syncs it: a disk that nobody writes
  // to shows how fast it is. `done` is posted to `executor` when that is over,
  // never once the directory is lost; its caller asks for one at a time.
  void ProbeDisk(Executor* executor, Task done);

  // An append was refused for want of room, or of a descriptor.
  void NoteNoRoom();
  bool has_room() const { return room_.has_room(); }

  // Takes over an unowned directory for this cluster and node.
  void SetIdentity(ClusterId cluster_id, NodeId node_id, Executor* executor,
                   absl::AnyInvocable<void(absl::Status)> done);

  // This process is registered (DirStore::ConfirmRun).
  void ConfirmRun();

  // `done` is posted to `executor` once the marks are durable; calls of the
  // same moment share one write and one sync.
  void PersistMarks(const TopicPartition& tp, PartitionMarks marks,
                    Executor* executor, Task done);
  // Written and synced within half a second or so.
  void PutMarks(std::vector<std::pair<TopicPartition, PartitionMarks>> marks);
  // A committed removal: the files and the marks go. Its log is closed. What a
  // crash interrupts, the next start finishes, or finds as a stray.
  void Delete(const TopicPartition& tp);
  // Sets a partition's files aside as "<path>.stray-<n>" and forgets its marks
  // (ST11). `done` is posted to `executor`; false: they are still there.
  void SetAside(const TopicPartition& tp, std::string reason,
                Executor* executor,
                absl::AnyInvocable<void(bool moved)> done);

  // Marks and the clean marker, durable; the last call. Never while a log may
  // hold bytes that are not synced.
  void StopClean(BrokerEpoch broker_epoch, Executor* executor,
                 absl::AnyInvocable<void(absl::Status)> done);

 private:
  struct Waiter {
    Executor* executor;
    Task done;
  };

  LogDirectory(Deps deps, std::string path);

  // On the sync executor.
  void ScheduleFlush();
  void ScheduleFlushAfter(int64_t delay_us);
  void Flush();
  void OnFlushed(const DirStore::Pending& pending);
  // Renames the partition's directory to the first free "<path><suffix><n>".
  absl::StatusOr<std::string> MoveAway(const TopicPartition& tp,
                                       std::string_view suffix);
  void OnMoveFailed(const TopicPartition& tp, const absl::Status& why);
  void Fatal(const absl::Status& why);
  // As sync_executor's Post; the wait for its turn shows in sync_watch().
  void PostToSync(Task task);
  absl::Status WriteProbe();
  void ScheduleRoomProbe();
  void ProbeRoom();
  absl::Status TryRoom();

  Deps deps_;
  std::string path_;
  SyncWatch sync_watch_;
  Random random_;
  std::unique_ptr<DirStore> store_;
  std::unique_ptr<GroupCommit> group_commit_;
  DirectoryFacts found_;
  PreviousRun previous_run_;
  std::map<TopicPartition, RecoveryMarks> at_start_;
  RoomWatch room_;
  // On the sync executor.
  std::vector<Waiter> waiters_;
  bool flush_scheduled_ = false;
  bool later_flush_scheduled_ = false;
  bool full_ = false;  // the last flush found no room
  bool stopped_ = false;
  std::shared_ptr<File> probe_file_;
};

}  // namespace sluice
