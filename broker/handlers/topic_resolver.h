// From what a request names to a partition of the metadata.
#pragma once

#include <set>

#include "absl/status/statusor.h"
#include "common/api/log_api.h"
#include "common/base/ids.h"
#include "controller/metadata/image.h"

namespace sluice {

// What is returned lives as long as `image`. INVALID_REQUEST: neither name nor
// id. INVALID_TOPIC: no name that a topic could have.
// UNKNOWN_TOPIC_OR_PARTITION: no topic of that name, or not known here yet;
// UNKNOWN_TOPIC_ID likewise by id (MD7). BROKER_NOT_AVAILABLE: no metadata is
// known here yet (present_metadata.h). INCONSISTENT_TOPIC_ID: name and id are
// of two topics.
absl::StatusOr<const TopicImage*> ResolveTopic(const MetadataImage& image,
                                               const api::TopicRef& ref);

// UNKNOWN_TOPIC_OR_PARTITION: the topic has no such partition.
absl::StatusOr<TopicPartition> ResolvePartition(const TopicImage& topic,
                                                PartitionIndex partition);
absl::StatusOr<TopicPartition> ResolvePartition(const MetadataImage& image,
                                                const api::TopicRef& ref,
                                                PartitionIndex partition);

// INVALID_TOPIC: clients read an internal topic, and write it by other calls.
absl::Status CheckWritable(const TopicImage& topic);

// INVALID_REQUEST unless 1 to kPartitionsPerRequestMax are named.
absl::Status CheckPartitionCount(size_t partitions);

// Tells partitions that are named twice in one request: what should happen
// first cannot be known.
class SeenPartitions {
 public:
  // INVALID_REQUEST when it was added before.
  absl::Status Add(const TopicPartition& tp);

 private:
  std::set<TopicPartition> seen_;
};

}  // namespace sluice
