// What a log directory remembers beside its logs: whose it is, how the last
// run ended, and each partition's marks. One journal file per directory
// (storage/FORMAT.md), kept in memory, rewritten when it has grown.
//
// One owner thread (any, but one at a time).
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
#include "common/base/epoch_history.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/env/file_system.h"
#include "storage/log.h"
#include "storage/sync_set.h"

namespace sluice {

inline constexpr uint32_t kFormatVersion = 1;
// A journal of this size is rewritten if that shrinks it to half or less.
inline constexpr int64_t kJournalCompactionBytes = 1 << 20;
inline constexpr int64_t kJournalBytesMax = 1LL << 30;
inline constexpr size_t kEpochStartsMax = 100'000;
inline constexpr size_t kTopicNameBytesMax = 249;

struct PartitionMarks {
  Offset high_watermark;
  Offset recovery_point;
  Offset durable_mark;
  Offset log_start;
  EpochHistory epochs;
  std::string topic_name;  // for people and stray directories

  bool operator==(const PartitionMarks&) const = default;
};

struct DirectoryFacts {
  DirectoryId directory_id;
  ClusterId cluster_id;  // unset until SetIdentity
  NodeId node_id{0};     // likewise

  bool operator==(const DirectoryFacts&) const = default;
};

// How the run before this one ended.
struct PreviousRun {
  std::string boot_id;  // "" when there was none
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
  };
  struct Expected {
    std::optional<ClusterId> cluster_id;
    std::optional<NodeId> node_id;
  };

  // Locks the directory (created when missing), loads the journal, removes
  // the clean marker and notes this run's boot id; durable on return. Blocks.
  // kDataDirInUse; kDataDirMismatch: another cluster's or node's;
  // kUnsupportedFormat: a newer version; kStorageError: a journal that is
  // damaged before its last synced byte. A torn end is cut.
  static absl::StatusOr<std::unique_ptr<DirStore>> Open(
      Deps deps, const std::string& directory, const Expected& expected,
      std::string_view boot_id);

  const std::string& directory() const { return directory_; }
  const DirectoryFacts& facts() const { return facts_; }
  const PreviousRun& previous_run() const { return previous_run_; }
  bool is_new() const { return is_new_; }

  // A directory without an owner gets one; durable on return. Blocks.
  // kDataDirMismatch when it has another.
  absl::Status SetIdentity(ClusterId cluster_id, NodeId node_id);

  // ---- Marks ----

  const std::map<TopicPartition, PartitionMarks>& partitions() const {
    return partitions_;
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
  // far is durable on return. Blocks.
  absl::Status Compact();

  // Marks, then the clean marker, durable on return. The last call: only
  // after every log was synced and its marks put. Blocks.
  absl::Status StopClean(BrokerEpoch broker_epoch);

  // ---- Directories ----

  // Partition directories present, known here or not (ST11: strays are kept).
  absl::StatusOr<std::vector<PartitionDirectory>> ListPartitionDirectories();
  std::string PartitionPath(const TopicPartition& tp) const;
  // Finishes removals that a crash interrupted ("*.deleted-<n>").
  absl::Status RemoveLeftovers();

 private:
  struct Loaded;

  DirStore(Deps deps, std::string directory);
  absl::Status Load(bool exists);
  absl::Status CheckIdentity(const Expected& expected) const;
  absl::Status CreateJournal();
  std::string EncodeDirty() const;
  std::string EncodeAll() const;
  absl::Status AppendDurably(std::string_view records);

  Deps deps_;
  std::string directory_;
  std::unique_ptr<FileLock> lock_;
  std::shared_ptr<File> journal_;
  uint64_t journal_number_ = 1;  // rises with each rewrite
  int64_t size_bytes_ = 0;       // valid bytes of the journal
  int64_t synced_bytes_ = 0;
  int64_t size_after_compaction_ = 0;
  DirectoryFacts facts_;
  PreviousRun previous_run_;
  std::string boot_id_;
  std::optional<BrokerEpoch> clean_marker_;
  bool is_new_ = false;
  std::map<TopicPartition, PartitionMarks> partitions_;
  std::set<TopicPartition> dirty_;
};

}  // namespace sluice
