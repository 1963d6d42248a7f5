#include "client/batch_numbering.h"

#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice {

int32_t SequenceAfter(int32_t sequence, int32_t records) {
  return static_cast<int32_t>((int64_t{sequence} + records) &
                              int64_t{0x7fffffff});
}

void PartitionNumbering::Begin(const ProducerIdentity& identity) {
  identity_ = identity;
  next_sequence_ = 0;
  broken_ = false;
  discarded_ = false;
}

BatchNumber PartitionNumbering::Take(int32_t records) {
  INVARIANT(identity_.has_value() && !broken_,
            "a batch numbered without an identity or behind a gap (IP1)");
  const BatchNumber number{*identity_, next_sequence_};
  next_sequence_ = SequenceAfter(next_sequence_, records);
  return number;
}

void PartitionNumbering::Discard() {
  broken_ = true;
  discarded_ = true;
}

bool PartitionNumbering::GoOn() {
  INVARIANT(broken_, "an epoch ends only at a gap");
  if (discarded_ || identity_->epoch == kEpochMax) return false;
  ProducerIdentity next = *identity_;
  if (!MUTANT(kEpochNotBumped)) ++next.epoch;
  Begin(next);
  return true;
}

}  // namespace sluice
