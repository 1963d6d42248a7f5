#include "client/fetched_batch.h"

#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

// False when `each` wants no more.
absl::StatusOr<bool> WalkBatch(
    const FetchedBatch& fetched, const BatchView& batch,
    absl::FunctionRef<bool(const DecodedRecord& record)> each) {
  if (batch.header().next_offset() <= fetched.from ||
      (batch.header().attributes & kControlBit) != 0) {
    return true;
  }
  if (!batch.CrcMatches()) {
    return MakeError(ErrorCode::kCorruptMessage, "the batch at offset ",
                     batch.header().base_offset, " of ", fetched.tp,
                     " does not match its checksum");
  }
  ASSIGN_OR_RETURN(RecordReader reader, RecordReader::Open(batch));
  while (true) {
    ASSIGN_OR_RETURN(const auto record, reader.Next());
    if (!record.has_value()) return true;
    if (record->offset < fetched.from) continue;
    if (record->offset >= fetched.next) return false;
    if (!each(*record)) return false;
  }
}

}  // namespace

int64_t FetchedBatch::size_bytes() const {
  int64_t bytes = 0;
  for (const Buffer& buffer : batches) bytes += buffer.size();
  return bytes;
}

FetchedBatch TakeFront(FetchedBatch& fetched, int64_t offsets_max) {
  FetchedBatch front = fetched;
  fetched.truncated_from = kNoOffset;
  fetched.from = fetched.next;
  if (front.next - front.from <= offsets_max) {
    fetched.batches.clear();
    return front;
  }
  front.next = front.from + offsets_max;
  fetched.from = front.next;
  // The bytes are shared; who reads skips whole batches by their headers.
  for (const Buffer& buffer : front.batches) {
    BatchCursor cursor(buffer.view());
    for (auto batch = cursor.Next(); batch.ok() && batch->has_value();
         batch = cursor.Next()) {
      const BatchHeader& header = (*batch)->header();
      if (header.base_offset >= front.next) break;
      front.last_epoch = header.leader_epoch;
    }
  }
  return front;
}

absl::Status ForEachRecord(
    const FetchedBatch& fetched,
    absl::FunctionRef<bool(const DecodedRecord& record)> each) {
  for (const Buffer& buffer : fetched.batches) {
    BatchCursor cursor(buffer.view());
    while (true) {
      ASSIGN_OR_RETURN(const auto batch, cursor.Next());
      if (!batch.has_value()) break;
      ASSIGN_OR_RETURN(const bool more, WalkBatch(fetched, *batch, each));
      if (!more) return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

ConsumerRecord OwnedRecord(const NamedPartition& tp,
                           const DecodedRecord& record) {
  ConsumerRecord owned;
  owned.tp = tp;
  owned.offset = record.offset;
  owned.timestamp_ms = record.timestamp_ms;
  if (record.key.has_value()) owned.key.emplace(*record.key);
  if (record.value.has_value()) owned.value.emplace(*record.value);
  HeaderCursor headers(record);
  while (const auto header = headers.Next()) {
    api::RecordHeader& into = owned.headers.emplace_back();
    into.key = header->key;
    if (header->value.has_value()) into.value.emplace(*header->value);
  }
  return owned;
}

}  // namespace sluice
