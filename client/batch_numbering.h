// The numbers of an idempotent producer's batches in one partition.
#pragma once

#include <cstdint>
#include <optional>

#include "common/base/ids.h"

namespace sluice {

// Who the producer is, as InitProducerId answered.
struct ProducerIdentity {
  ProducerId id;
  int16_t epoch = 0;

  bool operator==(const ProducerIdentity&) const = default;
};

// A batch keeps its number as long as an attempt may have stored it: sent again
// under another it could be stored twice (correctness.md IP1).
struct BatchNumber {
  ProducerIdentity identity;
  int32_t base_sequence = 0;
};

// Pure. Sequences count records from 0 in each epoch and wrap from 2^31 - 1 to
// 0. A numbered batch that failed leaves a gap which brokers refuse to pass:
// what follows goes on in the next epoch, once every batch of this one is
// settled. Epochs are the partition's own; after the last a new id is needed.
class PartitionNumbering {
 public:
  static constexpr int16_t kEpochMax = 32767;

  // False: Begin() first.
  bool has_identity() const { return identity_.has_value(); }
  // A gap: Take() only after GoOn() or Begin().
  bool broken() const { return broken_; }
  const std::optional<ProducerIdentity>& identity() const { return identity_; }

  // Under this identity, from sequence 0.
  void Begin(const ProducerIdentity& identity);
  // The number of the next batch.
  BatchNumber Take(int32_t records);
  // A batch of the current epoch failed.
  void Break() { broken_ = true; }
  // The brokers know another owner or nobody under this id: it is not used on.
  void Discard();
  // Nothing of the old epoch is unsettled: on in the next. False: there is
  // none; Begin() with a new id.
  bool GoOn();

 private:
  std::optional<ProducerIdentity> identity_;
  int32_t next_sequence_ = 0;
  bool broken_ = false;
  bool discarded_ = false;
};

// `sequence` + `records`, wrapped.
int32_t SequenceAfter(int32_t sequence, int32_t records);

}  // namespace sluice
