// What a partition knows of its idempotent producers (IP1-IP4): a function of
// its log alone, so that every replica knows the same of the same records.
// Values and rules; no I/O, no clock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "storage/batch_header.h"

namespace sluice {

// Batches of one producer that are known again: as many as a producer may have
// in flight to a partition.
inline constexpr size_t kProducerBatchesKept = 5;

// Producers of one partition; about 300 bytes each in memory, 170 in a
// snapshot. The ones that appended last are kept.
inline constexpr size_t kProducersPerPartitionMax = 10'000;

// Sequences count records from 0 to 2^31-1 and then from 0 again (IP1).
constexpr int32_t SequencePlus(int32_t sequence, int64_t count) {
  return static_cast<int32_t>((int64_t{sequence} + count) & 0x7fffffff);
}

// One stored batch of a producer.
struct ProducerBatch {
  int32_t base_sequence = 0;
  int32_t last_offset_delta = 0;  // records - 1
  Offset base_offset;
  int64_t timestamp_ms = -1;  // the batch's largest

  int32_t last_sequence() const {
    return SequencePlus(base_sequence, last_offset_delta);
  }
  Offset last_offset() const { return base_offset + last_offset_delta; }
  Offset next_offset() const { return last_offset().Next(); }
  bool operator==(const ProducerBatch&) const = default;
};

class ProducerState {
 public:
  int16_t epoch = 0;
  // Room for transactions: of the last marker, and of an open transaction.
  int32_t coordinator_epoch = -1;
  Offset transaction_start = kNoOffset;

  // Of `epoch` alone, oldest first, 1 to kProducerBatchesKept.
  size_t size() const { return size_; }
  const ProducerBatch& at(size_t index) const { return batches_[index]; }
  const ProducerBatch& newest() const { return batches_[size_ - 1]; }
  void Add(const ProducerBatch& batch);
  void Clear() { size_ = 0; }

  bool operator==(const ProducerState& other) const;

 private:
  std::array<ProducerBatch, kProducerBatchesKept> batches_;
  size_t size_ = 0;
};

// Where a payload is that was stored before.
struct StoredRun {
  Offset base;
  Offset next;
};

class ProducerTable {
 public:
  explicit ProducerTable(size_t producers_max = kProducersPerPartitionMax)
      : producers_max_(producers_max) {}

  // ---- The rules, at the leader before it appends ----

  // `payload`: whole validated batches of one producer (ValidateProduced), each
  // judged on top of those before it. nullopt: to be appended, all of it. A
  // run: all of it is stored there already (IP2).
  // OUT_OF_ORDER_SEQUENCE: records before it are missing. DUPLICATE_SEQUENCE:
  // stored already, too long ago to say where. INVALID_PRODUCER_EPOCH: a newer
  // epoch has written (IP3). UNKNOWN_PRODUCER_ID: an id that is not known, or
  // not any more, begins with sequence 0 (F67). INVALID_RECORD: too many
  // batches, or stored and new ones together. TOO_MANY_PRODUCERS: the table is
  // full, and nobody in it has been silent since before `idle_below`, an
  // offset of the log.
  absl::StatusOr<std::optional<StoredRun>> Judge(std::string_view payload,
                                                 Offset idle_below) const;

  // ---- The fold over the log ----

  // The next batch of the log. One without a sequence changes nothing. The
  // producer that appended longest ago goes when there are too many.
  void Apply(const BatchHeader& batch);
  // Forgets who appended nothing from `offset` on.
  void ExpireBelow(Offset offset);
  void Clear();
  // Of a snapshot: `state` has appended later than all that are here. False:
  // it has not, or `id` is here. Too many: as Apply.
  bool Restore(ProducerId id, const ProducerState& state);

  // ---- Facts ----

  size_t size() const { return producers_.size(); }
  bool empty() const { return producers_.empty(); }
  // Null when it is not known.
  const ProducerState* Find(ProducerId id) const;
  const std::map<ProducerId, ProducerState>& producers() const {
    return producers_;
  }
  // By the last offset of each one's newest batch.
  const std::map<Offset, ProducerId>& by_last_offset() const {
    return by_last_offset_;
  }
  // Of the newest batch of all; kNoOffset without one.
  Offset last_offset() const;

  bool operator==(const ProducerTable& other) const {
    return producers_ == other.producers_;
  }

 private:
  void DropOldest();

  size_t producers_max_;
  std::map<ProducerId, ProducerState> producers_;
  std::map<Offset, ProducerId> by_last_offset_;
};

}  // namespace sluice
