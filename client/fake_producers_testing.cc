#include "client/fake_producers_testing.h"

namespace sluice {
namespace {

// 2^31 - 1 wraps to 0.
int32_t SequenceAfter(int32_t sequence, int32_t steps) {
  return static_cast<int32_t>(
      (int64_t{sequence} + steps) & int64_t{0x7fffffff});
}

int32_t LastSequenceOf(const BatchHeader& header) {
  return SequenceAfter(header.base_sequence, header.record_count - 1);
}

}  // namespace

FakeProducers::Verdict FakeProducers::Judge(const BatchHeader& header) const {
  if (header.producer_id == ProducerId(-1)) return {};
  const auto found = producers_.find(header.producer_id);
  if (found == producers_.end()) {
    return {header.base_sequence == 0 ? ErrorCode::kNone
                                      : ErrorCode::kUnknownProducerId,
            std::nullopt};
  }
  const Producer& known = found->second;
  if (header.producer_epoch < known.epoch) {
    return {ErrorCode::kInvalidProducerEpoch, std::nullopt};
  }
  if (header.producer_epoch > known.epoch) {
    return {header.base_sequence == 0 ? ErrorCode::kNone
                                      : ErrorCode::kOutOfOrderSequence,
            std::nullopt};
  }
  for (const Batch& batch : known.batches) {
    if (batch.base_sequence == header.base_sequence &&
        batch.last_sequence == LastSequenceOf(header)) {
      return {ErrorCode::kNone, batch.base};
    }
  }
  const int32_t expected =
      SequenceAfter(known.batches.back().last_sequence, 1);
  if (header.base_sequence == expected) return {};
  // Half of the circle lies behind.
  const bool behind = SequenceAfter(expected, -header.base_sequence) < (1 << 30);
  return {behind ? ErrorCode::kDuplicateSequence
                 : ErrorCode::kOutOfOrderSequence,
          std::nullopt};
}

void FakeProducers::OnStored(const BatchHeader& header, Offset base) {
  if (header.producer_id == ProducerId(-1)) return;
  Producer& producer = producers_[header.producer_id];
  if (header.producer_epoch != producer.epoch) producer.batches.clear();
  producer.epoch = header.producer_epoch;
  producer.batches.push_back(
      {header.base_sequence, LastSequenceOf(header), base});
  if (producer.batches.size() > kBatchesKept) producer.batches.pop_front();
}

}  // namespace sluice
