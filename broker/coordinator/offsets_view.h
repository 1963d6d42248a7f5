// The view of one replica of __consumer_offsets: what its log says of groups
// and offsets, in a store. It follows the log up to min(high watermark, own
// durable end), with where it is in the same write (GR7). Rules:
// broker/offsets/offset_view.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/coordinator/view_prefix.h"
#include "broker/coordinator/view_store.h"
#include "broker/offsets/offset_view.h"
#include "broker/replica_observer.h"
#include "common/env/clock.h"
#include "common/env/executor.h"

namespace sluice::coordinator {

// On the shard's executor. A store that fails, or is replaced, makes the view
// empty: it is filled from the newest checkpoint that is of this log, then from
// the log; without one, from the log's start.
class OffsetsView {
 public:
  // Read and written at a time.
  static constexpr int64_t kPieceBytes = 256 << 10;
  // Taken one behind the other, while they are in memory, before the shard's
  // other work has its turn.
  static constexpr int kPiecesPerTurn = 256;
  static constexpr int64_t kBytesPerTurn = 1 << 20;

  struct Deps {
    Executor* executor = nullptr;
    const Clock* clock = nullptr;
    ViewStore* store = nullptr;
    TopicPartition tp;
    std::string name;  // of the partition, for log lines
    // It has applied more, or was emptied.
    std::function<void()> on_moved;
  };

  explicit OffsetsView(Deps deps);
  ~OffsetsView();
  OffsetsView(const OffsetsView&) = delete;

  // Before anything else: whether what the store has is of this log (F58).
  void Bind(const EpochHistory& epochs, Offset leo);
  // Goes on as far as it may; again whenever the replica has moved.
  void Follow(ObservedReplica& replica);
  void OnCut(Offset target);
  void Close() { closed_ = true; }
  // All that a store has of a partition.
  static void Erase(ViewStore& store, const TopicPartition& tp);

  const offsets::Applied& applied() const { return applied_; }
  // False: nothing may be read here, there is no store, it is being filled from
  // a checkpoint, or the log says something that this version does not
  // understand.
  bool usable() const;
  const std::string& stopped() const { return stopped_; }  // why; "": it is not

  // ---- Reading. STORAGE_ERROR: the view is damaged, and being replaced ----
  absl::StatusOr<std::optional<offsets::CommittedOffset>> FindOffset(
      const offsets::OffsetKey& key);
  absl::StatusOr<std::optional<std::string>> FindGroup(std::string_view group);
  // In order of topic id and partition; false ends it.
  using OffsetVisitor = absl::FunctionRef<bool(
      const offsets::OffsetKey& key, const offsets::CommittedOffset& offset)>;
  absl::Status ScanOffsets(std::string_view group, OffsetVisitor visit);
  // Above `after`, in order of name; false ends it.
  using GroupVisitor = absl::FunctionRef<bool(const std::string& group,
                                              std::string_view record)>;
  absl::Status ScanGroups(std::string_view after, GroupVisitor visit);

 private:
  void BindTo(const ViewStore::Opened& opened, const EpochHistory& epochs,
              Offset leo);
  void Empty(const std::string& why);
  // ---- Filling an empty one from a checkpoint (offsets_view_fill.cc) ----
  bool FillsFirst(ObservedReplica& replica);
  void AskPiece(ObservedReplica& replica);
  void OnPiece(ObservedReplica& replica, uint64_t fill,
               absl::StatusOr<ViewCheckpoints::Piece> piece);
  absl::Status TakePiece(const ViewCheckpoints::Piece& piece);
  void BeginTurn(ObservedReplica& replica);
  void ReadOn(ObservedReplica& replica);
  bool ReadPiece(ObservedReplica& replica);
  void OnRead(ObservedReplica& replica, uint64_t reading,
              absl::StatusOr<ReadResult> result);
  absl::Status Apply(std::string_view batches, Offset limit);
  void OnDamage(uint64_t number, const absl::Status& why);
  void Stop(const absl::Status& why);
  void NoteApplied(int64_t bytes, int64_t records);
  void NoteReplayed(Offset limit);
  std::string KeyOf(std::string_view key) const {
    return prefix_ + std::string(key);
  }
  absl::StatusOr<std::optional<std::string>> Get(std::string_view key);
  // Keys without the prefix.
  absl::Status Scan(std::string_view from, std::string_view end,
                    const KvStore::Visitor& visit);

  const Deps deps_;
  const std::string prefix_;
  offsets::Applied applied_;
  uint64_t number_ = 0;  // of the opening that `applied_` is of
  bool damaged_ = false;  // this opening was reported
  std::string stopped_;
  bool closed_ = false;
  // A read of the log that is under way; 0: none.
  uint64_t reading_ = 0;
  uint64_t readings_ = 0;
  int pieces_ = 0;  // of this turn
  int64_t turn_bytes_ = 0;
  bool reading_on_ = false;  // inside ReadOn
  // Nothing is applied and no log was taken yet: a checkpoint may be.
  bool empty_ = false;
  struct Fill {
    uint64_t id;
    uint64_t checkpoint;
    offsets::Applied mark;  // of the view in it
    std::string next;       // key, with the prefix
    bool asked = false;     // an answer is on its way
  };
  std::optional<Fill> fill_;
  uint64_t fills_ = 0;
  // A rebuild, to be told how long it took.
  std::optional<int64_t> replay_since_us_;
  int64_t replayed_bytes_ = 0;
  int64_t filled_bytes_ = 0;
  Offset filled_to_;
  // Applied, and the store was not told.
  int64_t noted_bytes_ = 0;
  int64_t noted_records_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::coordinator
