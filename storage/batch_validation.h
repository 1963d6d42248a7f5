// The gate for record batches that others made (correctness.md 5.3 "Produce";
// ST1). Pure functions of bytes; may run on a worker: a compressed batch is
// decompressed here, capped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"

namespace sluice {

struct ProduceLimits {
  int64_t batch_bytes_max = 1048588;  // max.message.bytes, of each batch
  int64_t now_ms = 0;                 // the leader's wall clock
  int64_t timestamp_after_ms_max = 3'600'000;
  bool key_required = false;  // compacted topics
};

// Batches of one payload; more are refused with INVALID_RECORD.
inline constexpr int32_t kBatchesPerPayloadMax = 4096;
// Faults named one by one; the rest share the status.
inline constexpr size_t kRecordFaultsMax = 16;

struct RecordFault {
  int32_t record_index = 0;  // counted over the payload
  std::string message;
};

struct ProducedFacts {
  int32_t batch_count = 0;
  int64_t record_count = 0;
  int64_t max_timestamp_ms = -1;
  // Of the first batch.
  ProducerId producer_id{-1};
  int16_t producer_epoch = -1;
  int32_t base_sequence = -1;
};

// Whether validation will decompress: such payloads belong on a worker. A
// malformed payload answers false.
bool HasCompressedBatch(std::string_view payload);

// Everything a leader checks of a client's payload of one or several batches
// before it appends them: length, magic, CRC => CORRUPT_MESSAGE; counts,
// deltas, sizes, varints, headers, control, transactional and unused bits,
// producer fields, two producers, an empty payload => INVALID_RECORD; a codec that is not
// there => UNSUPPORTED_COMPRESSION_TYPE; too large, also when decompressed =>
// MESSAGE_TOO_LARGE; too far in the future => INVALID_TIMESTAMP. Record faults
// are added to `faults` when given. The payload is as before in any case.
absl::StatusOr<ProducedFacts> ValidateProduced(
    std::string_view payload, const ProduceLimits& limits,
    std::vector<RecordFault>* faults = nullptr);

struct ReplicatedFacts {
  int32_t batch_count = 0;
  Offset next_offset;
  LeaderEpoch last_epoch = kNoLeaderEpoch;
  int64_t max_timestamp_ms = -1;
};

// What a follower checks of a leader's batches: shape, CRC, contiguity from
// `expected_base`, epochs that do not fall below `epoch_floor` (its last) nor
// rise above `epoch_max` (the leader's). CORRUPT_MESSAGE else; also when
// empty.
absl::StatusOr<ReplicatedFacts> ValidateReplicated(std::string_view batches,
                                                   Offset expected_base,
                                                   LeaderEpoch epoch_floor,
                                                   LeaderEpoch epoch_max);

}  // namespace sluice
