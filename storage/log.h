// A partition's log on disk: segments of record batches, a sparse index each,
// the newest appends in memory.
//
// States: open -> (write failed and could not be undone | corrupt) failed.
// Owned by one shard's thread; ReadPlans leave it for other threads.
//
// Invariants: segments are contiguous; log start <= LEO; durable LEO <= LEO;
// the epoch history matches the batches, plus epochs that have none yet
// (RP10); so does the table of producers (IP4); at most one write is in
// progress.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/buffer.h"
#include "common/base/epoch_history.h"
#include "common/base/ids.h"
#include "common/env/file_system.h"
#include "storage/producer_table.h"
#include "storage/read_plan.h"
#include "storage/segment.h"
#include "storage/sync_set.h"
#include "storage/tail_cache.h"

namespace sluice {

struct LogConfig {
  int64_t segment_bytes = 1 << 30;
  int32_t index_interval_bytes = 4096;
  int64_t tail_cache_bytes = 4 << 20;
  // A snapshot of the producers at least this often: what a recovery or a cut
  // has to read to know them again.
  int64_t producer_snapshot_bytes = 32 << 20;
  size_t producers_max = kProducersPerPartitionMax;
};

// File positions and index entries are 31-bit numbers.
inline constexpr int64_t kSegmentBytesMax = 0x7fffffff;

// What the directory's store remembers of a partition when a log is opened.
struct RecoveryMarks {
  Offset log_start;
  // All below was valid and durable when the mark was made: not scanned.
  Offset recovery_point;
  // All below was fsynced when the mark was made: never cut (ST2).
  Offset durable_mark;
  Offset high_watermark;
  // The last run ended by StopClean; recovery_point was its LEO.
  bool clean_shutdown = false;
  // An earlier recovery was lossy, and nothing made up for it since.
  bool lossy = false;
  EpochHistory epochs;
};

struct RecoveryReport {
  Offset log_start;
  Offset leo;
  Offset high_watermark;  // min(mark, leo)
  int64_t bytes_scanned = 0;
  int64_t bytes_cut = 0;           // a torn tail
  Offset cut_from = kNoOffset;     // the LEO the cut left
  // Something that was promised may be missing (ST8): the LEO is below a mark,
  // or bytes were cut that a lost write does not explain, or a mark says so.
  // To be kept in the marks until the replica is in sync again.
  bool lossy = false;
  // With either of these the caller stores new marks durably before the first
  // append: the old ones would contradict it.
  bool epochs_changed = false;
  bool marks_ahead = false;  // the LEO is below a mark
  int32_t indexes_rebuilt = 0;
  // Snapshots of producers that could not be used, and what was read instead.
  int32_t producer_snapshots_ignored = 0;
  int64_t producer_bytes_scanned = 0;
};

struct AppendInfo {
  Offset base;
  Offset next;     // the new LEO
  Buffer batches;  // as stored; immutable
  bool rolled = false;
  bool epoch_started = false;  // epochs() grew: store it
};

// What a sync must cover before `leo` is durable.
struct Unsynced {
  SyncSet targets;
  Offset leo;
  uint64_t generation = 0;
  uint64_t number = 0;  // of this taking
};

class Log {
 public:
  struct Deps {
    FileSystem* fs = nullptr;
    std::shared_ptr<TailBudget> tail_budget;  // may be null
  };

  // Opens or creates the directory `path` and recovers it: validates from the
  // recovery point on, cuts a torn tail, rebuilds indexes, epochs and the table
  // of producers. All that is kept is durable on return. Running it again, after
  // a crash anywhere inside, gives the same log (ST7).
  // A torn tail is what writes leave that a power cut interrupted, in whatever
  // order they reached the disk: the file ends early, or sectors were never
  // written.
  // kCorruptMessage: bad bytes below the durable mark; or bad bytes that no
  // lost write explains, followed by a valid batch; or whole batches in a
  // wrong place. Nothing was changed, the replica must be quarantined (ST2).
  static absl::StatusOr<std::unique_ptr<Log>> Open(
      Deps deps, const std::string& path, const LogConfig& config,
      const RecoveryMarks& marks);
  ~Log();

  const RecoveryReport& recovery_report() const { return report_; }
  const std::string& path() const { return path_; }

  // ---- Appending: to the page cache and the tail cache ----

  // Validated batches of a client (ValidateProduced): given offsets from the
  // LEO on and `epoch`, written with one call. kStorageFull, kStorageError:
  // nothing was appended, also not after a crash (which takes a sync: the call
  // may block); after kStorageError the log may be failed().
  // kCorruptMessage: not a row of whole batches.
  absl::StatusOr<AppendInfo> AppendAsLeader(MutableBuffer batches,
                                            LeaderEpoch epoch);
  // Validated batches of a leader (ValidateReplicated), as they are.
  // kCorruptMessage when they do not begin at the LEO or epochs fall.
  absl::StatusOr<AppendInfo> AppendAsFollower(Buffer batches);
  // The epoch begins at the LEO, though nothing is appended yet. False when
  // it is not newer than the last. The caller stores epochs() durably before
  // it appends or answers in this epoch (RP10).
  bool StartEpoch(LeaderEpoch epoch);

  // ---- Reading ----

  // From the tail cache: at most one append's bytes per call, whole batches
  // that end at or below `upto`, at least one of them. nullopt: not there (or
  // nothing in [from, upto)): PlanRead.
  std::optional<ReadResult> ReadInMemory(Offset from, Offset upto,
                                         int64_t bytes_max) const;
  // kOffsetOutOfRange outside [log start, LEO]. A plan for from == LEO or
  // from >= upto gives an empty result. One plan reads one segment.
  absl::StatusOr<ReadPlan> PlanRead(Offset from, Offset upto,
                                    int64_t bytes_max);
  // Rises when bytes that a plan or a result may hold were cut. A read whose
  // plan is of an older generation is dropped, its error too: it may have seen
  // the cut.
  uint64_t generation() const { return generation_; }

  // ---- Cutting ----

  // Cuts to the batch boundary at or below `target`: later bytes, segments,
  // cache entries and epochs go; so does an empty epoch that begins there.
  // Returns the new LEO. kOffsetOutOfRange below the log start. Other errors
  // leave the log failed(). Durable after the next sync, which an append that
  // comes before it does itself; removals of segments are synced here, so that
  // a crash on the way leaves a longer prefix. Blocks.
  // The caller stores marks of the shorter log durably before it appends: else
  // a crash could bring back marks that contradict the new batches.
  absl::StatusOr<Offset> TruncateTo(Offset target);
  // Whether a batch begins at `offset`, or the log ends there. False below the
  // log start and past the end. May read the disk; blocks.
  absl::StatusOr<bool> BeginsBatchAt(Offset offset);
  // Drops everything; the log goes on at `start`, log start included. Blocks.
  // The caller stores marks with log_start = `start` durably BEFORE, so that a
  // crash on the way is finished by the next Open; when `start` lies inside
  // the log, or inside what a cut before it took away without a sync, that may
  // find a prefix of the old one instead.
  absl::Status ResetTo(Offset start);
  // Moves the log start forward (never past the LEO); reads below it fail.
  // The caller makes the mark durable, and only then DropBelowLogStart()
  // removes segments that lie wholly below. kOffsetOutOfRange past the LEO.
  absl::Status SetLogStart(Offset start);
  absl::Status DropBelowLogStart();
  // Renames the directory to "<path>.deleted-<n>", then removes it. The log
  // is failed() afterwards. Stored marks are the caller's to remove. Not
  // synced: a crash may bring the directory back, as a stray.
  absl::Status Delete();

  // ---- Durability ----

  bool has_unsynced() const;
  // What to sync for everything up to the LEO to be durable, whatever became
  // of what was taken before; nullopt when nothing changed since then.
  std::optional<Unsynced> TakeUnsynced();
  // The sync of what TakeUnsynced gave has succeeded. Ignored when the log
  // was cut meanwhile (generation).
  void MarkDurable(const Unsynced& synced);
  Offset durable_leo() const { return durable_leo_; }
  // Syncs all that is not known to be durable, here. For closing and tests. A
  // failure is final: the log is failed() (ST4). Blocks.
  absl::Status SyncNow();
  // Saves the growing index and the producers, so that the next Open need not
  // rebuild them.
  absl::Status SaveCaches();

  // ---- Producers ----

  // Of the batches up to the LEO.
  const ProducerTable& producers() const { return producers_; }
  // Forgets producers that appended nothing from `offset` on.
  void ExpireProducers(Offset offset) { producers_.ExpireBelow(offset); }

  // From the next append on: rolls at this size.
  void SetSegmentBytes(int64_t bytes);

  // ---- Facts ----

  Offset log_start() const { return log_start_; }
  Offset leo() const { return leo_; }
  const EpochHistory& epochs() const { return epochs_; }
  bool failed() const { return failed_; }
  int64_t size_bytes() const;
  int64_t tail_cache_bytes() const;
  size_t segment_count() const { return segments_.size(); }
  std::vector<Offset> segment_bases() const;

 private:
  friend class LogRecovery;

  Log(Deps deps, std::string path, const LogConfig& config);

  // ---- log.cc ----
  absl::Status CheckUsable() const;
  enum class Origin { kOwn, kLeader };  // who gave the batches their place
  absl::StatusOr<AppendInfo> Append(Buffer batches, Origin origin);
  absl::Status MakeRoomFor(int64_t bytes, Offset last, bool* rolled);
  absl::Status AddSegment(Offset base);
  absl::Status Write(Segment& segment, std::string_view bytes);
  void Index(Segment& segment, std::string_view batches, int64_t position);
  Segment NewSegment(Offset base) const;
  Unsynced TakeAll();

  // ---- log_read.cc ----
  size_t SegmentIndexOf(Offset offset) const;
  // Scans the file and replaces a sealed segment's index.
  absl::Status RebuildIndex(Segment& segment);

  // ---- log_producers.cc ----
  void NoteProducers(std::string_view batches);
  absl::Status SaveProducers();
  void PruneSnapshots();
  absl::Status RemoveSnapshot(Offset offset);
  absl::Status RemoveSnapshotsAbove(Offset offset);
  absl::Status RemoveUselessSnapshots();
  bool RestoreProducers(Offset offset);
  absl::Status ScanProducers(Offset from);
  absl::Status RebuildProducers(std::vector<Offset>& unusable);
  absl::Status RemoveSnapshots(const std::vector<Offset>& unusable);
  absl::Status CutProducers();

  // ---- log_truncate.cc ----
  struct Cut {
    size_t segment;    // the last that stays
    int64_t position;  // its new size
    Offset leo;
  };
  absl::StatusOr<Cut> FindCut(Offset target);
  absl::Status Apply(const Cut& cut);
  absl::Status RemoveLastSegment();
  absl::Status RemoveFiles(const Segment& segment);
  absl::Status ReopenForGrowth(Segment& segment, int64_t size_bytes);
  absl::Status DropEverything(Offset start);

  Deps deps_;
  std::string path_;
  LogConfig config_;
  std::vector<Segment> segments_;  // by base; may be empty
  std::shared_ptr<TailCache> cache_;
  EpochHistory epochs_;
  ProducerTable producers_;
  std::set<Offset> snapshots_;  // that have a file, by their offset
  int64_t bytes_since_snapshot_ = 0;
  RecoveryReport report_;
  Offset log_start_;
  Offset leo_;
  Offset durable_leo_;
  uint64_t generation_ = 1;
  uint64_t takings_ = 0;
  SyncNeed directory_sync_;
  SyncNeed parent_sync_;  // done along with the first of the rest
  // Nothing is appended in place of what was cut before that is durable.
  bool cut_unsynced_ = false;
  bool failed_ = false;
};

}  // namespace sluice
