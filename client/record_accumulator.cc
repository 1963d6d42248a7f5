#include "client/record_accumulator.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice {
namespace {

// Kafka's worst case for one record's own fields beside its bytes.
constexpr int64_t kRecordOverheadBytes = 70;

int64_t BatchBytesMax(const PartitionQueue& queue,
                      const BatchingOptions& options) {
  return std::min(options.batch_bytes, queue.batch_bytes_max);
}

std::unique_ptr<PendingBatch> NewBatch(const PartitionQueue& queue,
                                       const BatchingOptions& options,
                                       int64_t now_us) {
  auto batch = std::make_unique<PendingBatch>();
  BatchOptions encoding;
  encoding.codec = options.codec;
  encoding.bytes_max = BatchBytesMax(queue, options);
  batch->builder.emplace(encoding);
  batch->created_us = now_us;
  batch->deadline_us = now_us + options.delivery_timeout_us;
  return batch;
}

bool AddTo(PendingBatch& batch, const ProducerRecord& record, int64_t now_ms) {
  RecordView view;
  if (record.key.has_value()) view.key = *record.key;
  if (record.value.has_value()) view.value = *record.value;
  view.timestamp_ms = record.timestamp_ms > 0 ? record.timestamp_ms : now_ms;
  std::vector<RecordHeaderView> headers;
  for (const api::RecordHeader& header : record.headers) {
    RecordHeaderView& into = headers.emplace_back();
    into.key = header.key;
    if (header.value.has_value()) into.value = *header.value;
  }
  view.headers = headers;
  return batch.builder->Add(view);
}

bool IsOpen(const PartitionQueue& queue) {
  return !queue.batches.empty() && !queue.batches.back()->sealed();
}

}  // namespace

int64_t ChargeOf(const ProducerRecord& record) {
  int64_t bytes = kRecordOverheadBytes;
  if (record.key.has_value()) bytes += record.key->size();
  if (record.value.has_value()) bytes += record.value->size();
  for (const api::RecordHeader& header : record.headers) {
    bytes += header.key.size() + 10;
    if (header.value.has_value()) bytes += header.value->size();
  }
  return bytes;
}

absl::Status PendingBatch::Seal() {
  if (sealed()) return absl::OkStatus();
  if (number.has_value()) {
    builder->SetProducer(number->identity.id, number->identity.epoch,
                         number->base_sequence);
  }
  auto finished = builder->Finish();
  builder.reset();
  if (!finished.ok()) return finished.status();
  bytes = std::move(*finished).Publish();
  return absl::OkStatus();
}

absl::StatusOr<Appended> AppendRecord(PartitionQueue& queue,
                                      const ProducerRecord& record,
                                      SendCallback& callback,
                                      const BatchingOptions& options,
                                      int64_t now_us, int64_t now_ms,
                                      std::vector<FlushToken> flushes) {
  Appended appended;
  if (!IsOpen(queue) || queue.batches.back()->record_count() >= kRecordsMax ||
      !AddTo(*queue.batches.back(), record, now_ms)) {
    auto batch = NewBatch(queue, options, now_us);
    if (!AddTo(*batch, record, now_ms)) {
      return MakeError(ErrorCode::kMessageTooLarge, "a record of ",
                       ChargeOf(record), " bytes for ", queue.tp,
                       " fits no batch; the most is ", kRecordBytesMax);
    }
    queue.batches.push_back(std::move(batch));
    appended.agenda_changed = true;
  }
  PendingBatch& batch = *queue.batches.back();
  batch.callbacks.push_back(std::move(callback));
  batch.charged_bytes += ChargeOf(record);
  for (FlushToken& token : flushes) batch.flushes.push_back(std::move(token));
  return appended;
}

bool PartitionQueue::IsFirst(const PendingBatch& batch) const {
  return (flights.empty() ||
          flights.front()->batches.front()->order >= batch.order) &&
         (!HasSent() || batches.front()->order >= batch.order);
}

int64_t NextActionUs(const PartitionQueue& queue,
                     const BatchingOptions& options, bool flushing) {
  if (queue.batches.empty()) return INT64_MAX;
  const auto in_flight = static_cast<int32_t>(queue.flights.size());
  if (queue.recovering ||
      (in_flight >= options.in_flight_max && !MUTANT(kInFlightUnbounded))) {
    return INT64_MAX;
  }
  // A new epoch begins when nothing of the old one is unsettled.
  if (queue.numbering.broken() && !queue.HasSent() && in_flight > 0) {
    return INT64_MAX;
  }
  if (in_flight > 0 && queue.flights.back()->batches.front()->half) {
    return INT64_MAX;
  }
  const PendingBatch& first = *queue.batches.front();
  // A second batch means that the first is full.
  const bool ready = first.sealed() || queue.batches.size() > 1 || flushing ||
                     first.builder->size_bytes() >=
                         BatchBytesMax(queue, options);
  const int64_t send_us = std::max(
      ready ? 0 : first.created_us + options.linger_us, queue.not_before_us);
  return std::min(send_us, first.deadline_us);
}

namespace {

// Writes the batch's number into its sealed bytes.
void StampNumber(PendingBatch& batch) {
  std::string bytes(batch.bytes.view());
  BatchHeader header = *BatchHeader::Parse(bytes);
  header.producer_id = batch.number->identity.id;
  header.producer_epoch = batch.number->identity.epoch;
  header.base_sequence = batch.number->base_sequence;
  header.Store(bytes.data());
  header.crc = Crc32c(std::string_view(bytes).substr(kBatchCrcFrom));
  header.Store(bytes.data());
  batch.bytes = Buffer::Take(std::move(bytes));
}

void Prepare(PartitionQueue& queue, PendingBatch& batch, bool idempotent) {
  if (batch.order == 0) {
    batch.order = queue.next_order;
    queue.next_order += static_cast<uint64_t>(batch.record_count());
    if (idempotent) batch.number = queue.numbering.Take(batch.record_count());
    if (batch.number.has_value() && batch.sealed()) StampNumber(batch);
  } else if (MUTANT(kResentRenumbered) && batch.attempts > 0 &&
             !queue.numbering.broken()) {
    batch.number = queue.numbering.Take(batch.record_count());
    StampNumber(batch);
  }
  const absl::Status sealed = batch.Seal();
  INVARIANT(sealed.ok(), "own records did not encode: ", sealed.ToString());
}

}  // namespace

std::vector<std::unique_ptr<PendingBatch>> TakeForRequest(
    PartitionQueue& queue, const BatchingOptions& options, int64_t now_us,
    int64_t early_us, bool flushing, int64_t bytes_max) {
  std::vector<std::unique_ptr<PendingBatch>> taken;
  const size_t batches_max = options.idempotent ? 1 : kBatchesMax;
  int64_t bytes = 0;
  while (!queue.batches.empty() && taken.size() < batches_max) {
    PendingBatch& batch = *queue.batches.front();
    const bool last = queue.batches.size() == 1;
    if (!taken.empty()) {
      if (batch.alone || taken.front()->alone) break;
      const int64_t size =
          batch.sealed() ? batch.bytes.size() : batch.builder->size_bytes();
      if (bytes + size > bytes_max) break;
      if (last && !batch.sealed() && !flushing &&
          batch.created_us + options.linger_us > now_us + early_us) {
        break;  // still filling
      }
    }
    Prepare(queue, batch, options.idempotent);
    bytes += batch.bytes.size();
    taken.push_back(std::move(queue.batches.front()));
    queue.batches.pop_front();
  }
  return taken;
}

std::vector<std::unique_ptr<PendingBatch>> Land(Flight& flight) {
  std::deque<FlightPtr>& flights = flight.queue->flights;
  auto batches = std::exchange(flight.batches, {});
  // May hold the last reference to the flight.
  const auto found =
      std::find_if(flights.begin(), flights.end(),
                   [&](const FlightPtr& other) { return other.get() == &flight; });
  INVARIANT(found != flights.end(), "a flight landed twice");
  PartitionQueue& queue = *flight.queue;
  flights.erase(found);
  if (flights.empty()) queue.recovering = false;
  return batches;
}

void InsertSent(PartitionQueue& queue,
                std::vector<std::unique_ptr<PendingBatch>> batches) {
  queue.recovering = !queue.flights.empty();
  const uint64_t order = batches.front()->order;
  const auto place = std::find_if(
      queue.batches.begin(), queue.batches.end(), [&](const auto& other) {
        return other->order == 0 || other->order > order;
      });
  queue.batches.insert(place, std::make_move_iterator(batches.begin()),
                       std::make_move_iterator(batches.end()));
}

void PutBack(Flight& flight) {
  PartitionQueue& queue = *flight.queue;
  InsertSent(queue, Land(flight));
}

namespace {

void ForgetNumber(PendingBatch& batch) {
  batch.order = 0;
  batch.attempts = 0;
  batch.number.reset();
}

}  // namespace

void PutBackAsNew(Flight& flight) {
  PartitionQueue& queue = *flight.queue;
  PutBack(flight);
  PendingBatch& batch = *queue.batches.front();
  ForgetNumber(batch);
  queue.numbering.Break();
}

void NumberSentAnew(PartitionQueue& queue) {
  const auto was_sent = [](const auto& batch) { return batch->attempts > 0; };
  const auto end = std::find_if_not(queue.batches.begin(), queue.batches.end(),
                                    was_sent);
  if (!queue.flights.empty() ||
      std::any_of(queue.batches.begin(), end,
                  [](const auto& batch) { return batch->maybe_stored; })) {
    return;
  }
  std::for_each(queue.batches.begin(), end,
                [](const auto& batch) { ForgetNumber(*batch); });
  queue.numbering.Break();
}

}  // namespace sluice
