// A ProducerTable in bytes: Kafka's producer snapshot, version 1, and behind
// it, under the same CRC, all batches that the table knows (FORMAT.md).
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "storage/producer_table.h"

namespace sluice {

// Larger files are none of ours.
inline constexpr int64_t kProducerSnapshotBytesMax = 16 << 20;

struct ProducerSnapshot {
  // The table is that of the log below here.
  Offset offset;
  // Of the batch that ends there: with the offset it names one log (RP9).
  // kNoLeaderEpoch where nothing lies below.
  LeaderEpoch last_epoch = kNoLeaderEpoch;
  ProducerTable producers;
};

std::string EncodeProducerSnapshot(const ProducerTable& producers,
                                   Offset offset, LeaderEpoch last_epoch);

// CORRUPT_MESSAGE, naming what is wrong, for anything that the function above
// does not write.
absl::StatusOr<ProducerSnapshot> DecodeProducerSnapshot(std::string_view bytes);

}  // namespace sluice
