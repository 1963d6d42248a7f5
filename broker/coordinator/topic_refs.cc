#include "broker/coordinator/topic_refs.h"

#include "broker/handlers/topic_resolver.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice::coordinator {

absl::StatusOr<const TopicImage*> ResolveTopicRef(const MetadataImage& image,
                                                  const v1::TopicRef& ref) {
  api::TopicRef topic;
  if (ref.has_id()) {
    const auto id = TopicId::FromBytes(ref.id());
    if (!id.has_value() || !id->is_set()) {
      return MakeError(ErrorCode::kInvalidRequest, "a topic id of ",
                       ref.id().size(), " bytes; it has 16, not all zero");
    }
    topic.id = *id;
  } else {
    topic.name = ref.name();
  }
  return ResolveTopic(image, topic);
}

absl::Status CheckPartitionOf(const TopicImage& topic, int32_t partition) {
  return ResolvePartition(topic, PartitionIndex(partition)).status();
}

absl::StatusOr<TopicPartition> ResolveTopicPartition(const MetadataImage& image,
                                                     const v1::TopicRef& ref,
                                                     int32_t partition) {
  ASSIGN_OR_RETURN(const TopicImage* topic, ResolveTopicRef(image, ref));
  return ResolvePartition(*topic, PartitionIndex(partition));
}

}  // namespace sluice::coordinator
