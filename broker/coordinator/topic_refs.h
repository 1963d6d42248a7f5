// Topics as members name them, in the metadata that a shard has applied.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "controller/metadata/image.h"
#include "sluice/v1/common.pb.h"

namespace sluice::coordinator {

// The errors of handlers/topic_resolver.h; INVALID_REQUEST: an id that is not
// of 16 bytes. Lives as long as `image`.
absl::StatusOr<const TopicImage*> ResolveTopicRef(const MetadataImage& image,
                                                  const v1::TopicRef& ref);
// UNKNOWN_TOPIC_OR_PARTITION.
absl::Status CheckPartitionOf(const TopicImage& topic, int32_t partition);
absl::StatusOr<TopicPartition> ResolveTopicPartition(const MetadataImage& image,
                                                     const v1::TopicRef& ref,
                                                     int32_t partition);

}  // namespace sluice::coordinator
