// Typed records on their way in: which partition each goes to, and their
// encoding as record batches.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/api/log_api.h"
#include "common/base/buffer.h"
#include "common/base/ids.h"

namespace sluice {

// Where the next record without a key goes, topic by topic. Belongs to one
// executor.
class KeylessRotation {
 public:
  // Topics remembered; beyond it all begin anew.
  static constexpr size_t kTopicsMax = 10000;

  PartitionIndex Next(const TopicId& topic, int32_t partition_count);

 private:
  std::map<TopicId, int32_t> next_;
};

// The records of one request that go to one partition, by their index in it.
struct PickedRecords {
  PartitionIndex partition;
  std::vector<int32_t> indexes;
};

// By key as Kafka's producers do (murmur2, masked, modulo); an empty key is a
// key. Records without one take turns. In the order of the partitions' first
// records; the records of one partition keep their order.
std::vector<PickedRecords> PickPartitions(
    const std::vector<api::Record>& records, const TopicId& topic,
    int32_t partition_count, KeylessRotation& rotation);

// Bytes that the records take up while their request is under way.
int64_t WeightOf(const std::vector<api::Record>& records);

// An idempotent producer's identity and the sequence of its first record.
struct SequenceStart {
  ProducerId producer_id;
  int16_t epoch = 0;
  int32_t sequence = 0;
};

// Batches of at most `batch_bytes_max` each, but for a record that is larger
// alone (the partition's leader judges it). A timestamp of 0 becomes `now_ms`.
// With `start` the records are numbered from it on, in their order.
// INVALID_RECORD: no records. MESSAGE_TOO_LARGE: a record larger than any may
// be.
absl::StatusOr<MutableBuffer> EncodeRecords(
    const std::vector<api::Record>& records,
    const std::vector<int32_t>& indexes, int64_t batch_bytes_max,
    int64_t now_ms, const std::optional<SequenceStart>& start = std::nullopt);

}  // namespace sluice
