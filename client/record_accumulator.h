// Records on their way out, gathered in batches by partition. Pure state: the
// producer decides when, this decides what.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "client/backoff.h"
#include "client/batch_numbering.h"
#include "client/client_types.h"
#include "common/base/buffer.h"
#include "storage/batch_builder.h"

namespace sluice {

struct ProducerRecord {
  std::string topic;
  std::optional<PartitionIndex> partition;  // unset: by key, else sticky
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<api::RecordHeader> headers;
  int64_t timestamp_ms = 0;  // 0: the client's clock
};

struct RecordMetadata {
  PartitionIndex partition{-1};
  Offset offset = kNoOffset;  // kNoOffset with acks = 0
};

// Once for each record, on the executor. DELIVERY_TIMED_OUT and
// OUTCOME_UNKNOWN: the record may or may not be in the log.
using SendCallback =
    absl::AnyInvocable<void(const absl::StatusOr<RecordMetadata>&)>;

// Lives while anything that a Flush() waits for is not settled.
using FlushToken = std::shared_ptr<void>;

// One batch: open (records are added), then sealed (bytes as sent).
struct PendingBatch {
  std::optional<BatchBuilder> builder;  // while open
  Buffer bytes;                         // once sealed
  std::vector<SendCallback> callbacks;  // one a record; may be null
  std::vector<FlushToken> flushes;
  int64_t created_us = 0;
  int64_t deadline_us = 0;  // of its first record
  int64_t charged_bytes = 0;
  int attempts = 0;
  // From its first send on; of an idempotent producer.
  std::optional<BatchNumber> number;
  // Place among the partition's batches, by first send; each leaves room
  // behind it for as many as it has records, for it may be split.
  uint64_t order = 0;
  // An attempt ended without the broker's word that nothing was stored.
  bool maybe_stored = false;
  bool alone = false;  // sent as a payload of its own
  // Of one that was too large, and perhaps too large itself: nothing is sent
  // behind it before it is settled.
  bool half = false;

  bool sealed() const { return !builder.has_value(); }
  int32_t record_count() const {
    return static_cast<int32_t>(callbacks.size());
  }
  // Compresses, with `number` if there is one. An error fails the whole batch.
  absl::Status Seal();
};

struct PartitionQueue;

// The batches of one partition in one request, on its way.
struct Flight {
  PartitionQueue* queue = nullptr;
  LeaderEpoch leader_epoch;
  // Oldest first; one, if it is numbered. Empty: settled, or to be sent again.
  std::vector<std::unique_ptr<PendingBatch>> batches;

  bool over() const { return batches.empty(); }
};
using FlightPtr = std::shared_ptr<Flight>;

// The batches of one partition that are not on their way, oldest first: those
// to be sent again, then those never sent, of which the last may be open.
struct PartitionQueue {
  PartitionQueue(uint64_t number, NamedPartition name, const Backoff& start)
      : id(number), tp(std::move(name)), backoff(start) {}

  const uint64_t id;  // in order of creation: addresses would not be the same
                      // in every run
  const NamedPartition tp;
  std::deque<std::unique_ptr<PendingBatch>> batches;
  std::deque<FlightPtr> flights;  // on their way, oldest first
  PartitionNumbering numbering;
  uint64_t next_order = 1;
  // A larger batch was refused: new ones are made no larger.
  int64_t batch_bytes_max = INT64_MAX;
  // Something is to be sent again: first all flights come back, so that it
  // goes before what follows it.
  bool recovering = false;
  int64_t not_before_us = 0;  // backoff
  // Waits for a leader newer than this one, or only for the pause to end.
  std::optional<LeaderEpoch> failed_epoch;
  std::string last_error;  // of the last attempt; "" after a success
  Backoff backoff;
  int64_t agenda_us = -1;  // where the producer's agenda holds it

  bool HasSent() const {  // a batch that is to be sent again
    return !batches.empty() && batches.front()->attempts > 0;
  }
  // No earlier batch of the partition is unsettled.
  bool IsFirst(const PendingBatch& batch) const;
};

struct QueueOrder {
  bool operator()(const PartitionQueue* a, const PartitionQueue* b) const {
    return a->id < b->id;
  }
  bool operator()(const std::pair<int64_t, PartitionQueue*>& a,
                  const std::pair<int64_t, PartitionQueue*>& b) const {
    return a.first != b.first ? a.first < b.first : a.second->id < b.second->id;
  }
};

// What a record takes from buffer_memory.
int64_t ChargeOf(const ProducerRecord& record);

struct BatchingOptions {
  // Batches are numbered and travel one in a payload, several payloads at once.
  bool idempotent = false;
  int32_t in_flight_max = 1;  // payloads of one partition
  int64_t batch_bytes = 256 << 10;
  int64_t linger_us = 5'000;
  int64_t delivery_timeout_us = 120'000'000;
  Codec codec = Codec::kNone;
};

// Of one payload, and records of one batch.
inline constexpr size_t kBatchesMax = 1024;
inline constexpr int32_t kRecordsMax = 1 << 20;

struct Appended {
  bool agenda_changed = false;  // a batch was begun, so one may be full
};
// Appends `record` to the queue's open batch, or to a new one when it does not
// fit, and takes the callback. MESSAGE_TOO_LARGE when no batch could hold it:
// then the callback is still the caller's.
absl::StatusOr<Appended> AppendRecord(PartitionQueue& queue,
                                      const ProducerRecord& record,
                                      SendCallback& callback,
                                      const BatchingOptions& options,
                                      int64_t now_us, int64_t now_ms,
                                      std::vector<FlushToken> flushes = {});

// When something is to be done about the queue: send (a batch to be sent again,
// a full or a lingering one, `flushing`), or give up its first batch. INT64_MAX:
// nothing, until a flight comes back or a record is added.
int64_t NextActionUs(const PartitionQueue& queue,
                     const BatchingOptions& options, bool flushing);

// Takes what one request may carry of the queue, at most bytes_max (but at
// least one batch): full batches, and the open one when it is the first, due
// by `now_us` + `early_us`, or flushing; of an idempotent producer the first
// one alone, numbered.
std::vector<std::unique_ptr<PendingBatch>> TakeForRequest(
    PartitionQueue& queue, const BatchingOptions& options, int64_t now_us,
    int64_t early_us, bool flushing, int64_t bytes_max);

// Puts batches that were sent in their place among those to be sent again.
void InsertSent(PartitionQueue& queue,
                std::vector<std::unique_ptr<PendingBatch>> batches);
// Puts what a flight carried back in its place, to be sent again, and takes the
// flight off its queue.
void PutBack(Flight& flight);
// Likewise what was sent, refused and stored nowhere: it is numbered as if it
// had never been sent, in a new epoch.
void PutBackAsNew(Flight& flight);
// Of batches that were refused for a gap in the numbers, after the batch that
// left the gap has failed and while nothing is on its way: all that were sent
// are numbered as if they never had been, in the next epoch. No-op when one of
// them may be stored: its number is its for life (IP1).
void NumberSentAnew(PartitionQueue& queue);
// Takes a flight off its queue; its batches are the caller's.
std::vector<std::unique_ptr<PendingBatch>> Land(Flight& flight);

}  // namespace sluice
