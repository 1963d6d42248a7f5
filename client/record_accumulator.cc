#include "client/record_accumulator.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice {
namespace {

// Kafka's worst case for one record's own fields beside its bytes.
constexpr int64_t kRecordOverheadBytes = 70;

std::unique_ptr<PendingBatch> NewBatch(const BatchingOptions& options,
                                       int64_t now_us) {
  auto batch = std::make_unique<PendingBatch>();
  BatchOptions encoding;
  encoding.codec = options.codec;
  encoding.bytes_max = options.batch_bytes;
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
    auto batch = NewBatch(options, now_us);
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

int64_t NextActionUs(const PartitionQueue& queue,
                     const BatchingOptions& options, bool flushing) {
  if (queue.in_flight || queue.batches.empty()) return INT64_MAX;
  const PendingBatch& first = *queue.batches.front();
  // A second batch means that the first is full.
  const bool ready = first.sealed() || queue.batches.size() > 1 || flushing ||
                     first.builder->size_bytes() >= options.batch_bytes;
  const int64_t send_us = std::max(
      ready ? 0 : first.created_us + options.linger_us, queue.not_before_us);
  return std::min(send_us, first.deadline_us);
}

std::vector<std::unique_ptr<PendingBatch>> TakeForRequest(
    PartitionQueue& queue, const BatchingOptions& options, int64_t now_us,
    int64_t early_us, bool flushing, int64_t bytes_max) {
  std::vector<std::unique_ptr<PendingBatch>> taken;
  int64_t bytes = 0;
  while (!queue.batches.empty() && taken.size() < kBatchesMax) {
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
    const absl::Status sealed = batch.Seal();
    INVARIANT(sealed.ok(), "own records did not encode: ", sealed.ToString());
    bytes += batch.bytes.size();
    taken.push_back(std::move(queue.batches.front()));
    queue.batches.pop_front();
  }
  return taken;
}

}  // namespace sluice
