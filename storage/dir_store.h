// What a log directory remembers beside its logs: whose it is, how the last
// run ended, and each partition's marks. One journal file per directory
// (storage/FORMAT.md), kept in memory, rewritten when it has grown.
//
// One owner thread (any, but one at a time). After a failed sync or a removed
// name every call that writes answers that first error again (ST4): the owner
// ends the process or takes the directory offline.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/env/file_system.h"
#include "storage/dir_journal.h"
#include "storage/log.h"
#include "storage/sync_set.h"

namespace sluice {

// A journal of this size is rewritten once that shrinks it to half or less.
inline constexpr int64_t kJournalCompactionBytes = 1 << 20;
// Past it Flush answers kStorageFull: nobody called Compact for very long.
inline constexpr int64_t kJournalBytesMax = 1LL << 30;

// How the run before this one ended.
struct PreviousRun {
  // "" when there was none, or when the page cache was lost and no run since
  // then was confirmed.
  std::string boot_id;
  // Set when it ended by StopClean: the broker epoch it had then.
  std::optional<BrokerEpoch> clean_broker_epoch;

  bool clean() const { return clean_broker_epoch.has_value(); }
};

struct PartitionDirectory {
  std::string name;
  TopicPartition tp;
};

// "<topic id in hex>-<partition>"
std::string PartitionDirectoryName(const TopicPartition& tp);
std::optional<TopicPartition> ParsePartitionDirectoryName(
    std::string_view name);

class DirStore {
 public:
  struct Deps {
    FileSystem* fs = nullptr;
    Random* random = nullptr;  // for a new directory's id
    // What becomes of a node that starts without this directory: people are
    // told so when it is damaged.
    std::string_view without_directory = "what it holds is not on this node "
                                         "any more";
  };
  struct Expected {
    std::optional<ClusterId> cluster_id;
    std::optional<NodeId> node_id;
  };

  // Locks the directory (created when missing), loads the journal, removes
  // the clean marker and notes this run's boot id; durable on return. Blocks.
  // kDataDirInUse; kDataDirMismatch: another cluster's or node's;
  // kUnsupportedFormat: a newer version; kStorageError: a journal that is
  // damaged below its last byte known to be synced, or that is missing beside
  // partition directories. None of these changes anything. A torn end is cut.
  // The boot id is cut to kBootIdBytesMax.
  static absl::StatusOr<std::unique_ptr<DirStore>> Open(
      Deps deps, const std::string& directory, const Expected& expected,
      std::string_view boot_id);

  const std::string& directory() const { return directory_; }
  const DirectoryFacts& facts() const { return state_.facts; }
  const PreviousRun& previous_run() const { return previous_run_; }
  bool is_new() const { return is_new_; }

  // The cluster knows of this run, hence of how the one before ended. Until then
  // a loss of the page cache in between is not forgotten: a run that dies
  // unnoticed does not pass its own boot off for that of the run before it.
  // Durable on return. Blocks. kStorageFull: it stays unconfirmed.
  absl::Status ConfirmRun();

  // A directory without an owner gets one; durable on return. Blocks.
  // kDataDirMismatch when it has another.
  absl::Status SetIdentity(ClusterId cluster_id, NodeId node_id);

  // ---- Marks ----

  const std::map<TopicPartition, PartitionMarks>& partitions() const {
    return state_.partitions;
  }
  // Null when unknown.
  const PartitionMarks* Find(const TopicPartition& tp) const;
  // With clean_shutdown from the previous run; all zero when unknown.
  RecoveryMarks RecoveryMarksOf(const TopicPartition& tp) const;
  // In memory at once; written by the next Flush.
  void Put(const TopicPartition& tp, const PartitionMarks& marks);
  void Remove(const TopicPartition& tp);

  // A journal write that is not synced yet.
  struct Pending {
    SyncSet targets;
    int64_t position = 0;
    uint64_t journal = 0;
  };
  // Writes all changes with one call. Durable once `targets` are synced
  // (GroupCommit, together with log files) and MarkSynced was told. nullopt
  // when nothing changed and nothing is unsynced. kStorageFull,
  // kStorageError: the changes stay in memory for the next Flush.
  absl::StatusOr<std::optional<Pending>> Flush();
  void MarkSynced(const Pending& pending);
  // Flush and sync here. Blocks.
  absl::Status FlushDurably();

  bool wants_compaction() const;
  // Rewrites the journal: a new file, synced, renamed over. Everything put so
  // far is durable on return. After kStorageFull and other errors before the
  // rename the old journal goes on. Blocks.
  absl::Status Compact();

  // Marks, then the clean marker, durable on return. The last call: only
  // after every log was synced and its marks put. Blocks.
  absl::Status StopClean(BrokerEpoch broker_epoch);

  // ---- Directories ----

  // Partition directories present, known here or not (ST11: strays are kept).
  absl::StatusOr<std::vector<PartitionDirectory>> ListPartitionDirectories();
  std::string PartitionPath(const TopicPartition& tp) const;
  // Finishes removals that a crash interrupted ("<partition>.deleted-<n>").
  absl::Status RemoveLeftovers();

 private:
  DirStore(Deps deps, std::string directory);
  absl::Status Load(const Expected& expected);
  absl::Status CheckIdentity(const Expected& expected) const;
  absl::Status CreateJournal();
  absl::Status StartRun(std::string_view boot_id);
  absl::Status WriteRunStarted(std::string boot_id);
  absl::Status ReplaceJournal();
  absl::Status CheckUsable() const;
  absl::Status Write(std::string_view frames);
  absl::Status WriteDurably(std::string_view frames);
  absl::Status Sync();
  absl::Status Fail(const absl::Status& why);
  void AddDirty(JournalWriter& writer) const;
  std::string JournalPath() const;

  Deps deps_;
  std::string directory_;
  std::unique_ptr<FileLock> lock_;
  std::shared_ptr<File> journal_;
  uint64_t journal_number_ = 1;  // rises with each rewrite
  int64_t size_bytes_ = 0;       // valid bytes of the journal
  int64_t synced_bytes_ = 0;
  bool has_leftover_ = false;  // of a failed write, behind size_bytes_
  int64_t marks_bytes_ = 0;    // of all partitions, if written anew
  JournalState state_;
  std::set<TopicPartition> dirty_;  // put or removed, not written
  PreviousRun previous_run_;
  std::string boot_id_;  // of this run
  bool is_new_ = false;
  bool stopped_ = false;
  absl::Status failed_;  // the first final error
};

}  // namespace sluice
