#include "client/batch_splitting.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "common/base/invariant.h"
#include "common/base/mutant.h"
#include "storage/record_reader.h"

namespace sluice {
namespace {

void Copy(const DecodedRecord& record, BatchBuilder& into) {
  RecordView view;
  view.key = record.key;
  view.value = record.value;
  view.timestamp_ms = record.timestamp_ms;
  std::vector<RecordHeaderView> headers;
  HeaderCursor cursor(record);
  while (const auto header = cursor.Next()) headers.push_back(*header);
  view.headers = headers;
  INVARIANT(into.Add(view), "a record does not fit half of its batch");
}

std::unique_ptr<PendingBatch> Begin(const PendingBatch& whole,
                                    const BatchHeader& header) {
  auto half = std::make_unique<PendingBatch>();
  BatchOptions encoding;
  encoding.codec = static_cast<Codec>(header.codec_number());
  encoding.bytes_max = INT64_MAX;
  half->builder.emplace(encoding);
  half->flushes = whole.flushes;
  half->created_us = whole.created_us;
  half->deadline_us = whole.deadline_us;
  half->attempts = whole.attempts;
  half->number = whole.number;
  half->order = whole.order;
  half->maybe_stored = whole.maybe_stored;
  half->half = true;
  return half;
}

// Own records: they were encoded here.
int64_t PlainBytesOf(const BatchView& batch) {
  auto reader = RecordReader::Open(batch);
  INVARIANT(reader.ok(), reader.status().ToString());
  BatchOptions unbounded;
  unbounded.bytes_max = INT64_MAX;
  BatchBuilder plain(unbounded);
  while (true) {
    const auto record = reader->Next();
    INVARIANT(record.ok(), record.status().ToString());
    if (!record->has_value()) return plain.size_bytes();
    Copy(**record, plain);
  }
}

}  // namespace

Halves Split(PendingBatch& whole) {
  const int32_t count = whole.record_count();
  INVARIANT(whole.sealed() && count > 1, "a batch of ", count,
            " records is split");
  const auto batch = BatchView::Parse(whole.bytes.view());
  INVARIANT(batch.ok(), batch.status().ToString());
  const int64_t half_bytes = PlainBytesOf(*batch) / 2;
  auto reader = RecordReader::Open(*batch);
  Halves halves = {Begin(whole, batch->header()),
                   Begin(whole, batch->header())};
  int32_t first = 0;
  for (int32_t i = 0; i < count; ++i) {
    const auto record = reader->Next();
    INVARIANT(record.ok() && record->has_value(), "a batch lost records");
    const bool in_first =
        i == 0 ||
        (i == first && i + 1 < count &&
         halves.first->builder->size_bytes() < half_bytes);
    Copy(**record, *(in_first ? halves.first : halves.second)->builder);
    first += in_first ? 1 : 0;
  }
  const auto middle = whole.callbacks.begin() + first;
  halves.first->callbacks.assign(std::make_move_iterator(whole.callbacks.begin()),
                                 std::make_move_iterator(middle));
  halves.second->callbacks.assign(
      std::make_move_iterator(middle),
      std::make_move_iterator(whole.callbacks.end()));
  halves.first->charged_bytes = whole.charged_bytes / 2;
  halves.second->charged_bytes =
      whole.charged_bytes - halves.first->charged_bytes;
  halves.second->order += static_cast<uint64_t>(first);
  if (whole.number.has_value() && !MUTANT(kSplitNumberedTwice)) {
    halves.second->number->base_sequence =
        SequenceAfter(whole.number->base_sequence, first);
  }
  return halves;
}

void PutBackInHalves(Flight& flight) {
  PartitionQueue& queue = *flight.queue;
  auto batches = Land(flight);
  INVARIANT(batches.size() == 1, "several batches are split at once");
  Halves halves = Split(*batches.front());
  const int64_t larger = std::max(halves.first->builder->size_bytes(),
                                  halves.second->builder->size_bytes());
  queue.batch_bytes_max = std::min(queue.batch_bytes_max, larger);
  batches.clear();
  for (auto* half : {&halves.first, &halves.second}) {
    const absl::Status sealed = (*half)->Seal();
    INVARIANT(sealed.ok(), "own records did not encode: ", sealed.ToString());
    batches.push_back(std::move(*half));
  }
  InsertSent(queue, std::move(batches));
}

}  // namespace sluice
