#include "broker/handlers/topic_resolver.h"

#include "broker/handlers/handler_deps.h"
#include "broker/present_metadata.h"
#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "controller/metadata/topic_control.h"

namespace sluice {

absl::StatusOr<const TopicImage*> ResolveTopic(const MetadataImage& image,
                                               const api::TopicRef& ref) {
  if (!ref.by_id()) {
    if (ref.name.empty()) {
      return MakeError(ErrorCode::kInvalidRequest,
                       "a topic needs a name or an id of 16 bytes");
    }
    if (const TopicImage* topic = image.FindTopic(ref.name)) return topic;
    RETURN_IF_ERROR(CheckTopicName(ref.name));
    RETURN_IF_ERROR(CheckMetadataIsPresent(image));
    return MakeError(ErrorCode::kUnknownTopicOrPartition, "no topic \"",
                     ref.name, "\" at metadata offset ", image.offset(),
                     "; create it, or try again if it is new");
  }
  const TopicImage* topic = image.FindTopic(ref.id);
  if (topic == nullptr && MUTANT(kStaleTopicIdTaken)) {
    topic = image.FindTopic(ref.name);
  }
  if (topic == nullptr) {
    RETURN_IF_ERROR(CheckMetadataIsPresent(image));
    return MakeError(ErrorCode::kUnknownTopicId, "no topic has id ", ref.id,
                     " at metadata offset ", image.offset(),
                     "; it was deleted, or is new: look it up by name");
  }
  if (!ref.name.empty() && ref.name != topic->name) {
    return MakeError(ErrorCode::kInconsistentTopicId, "topic id ", ref.id,
                     " is of \"", topic->name, "\", not of \"", ref.name,
                     "\"; look it up again");
  }
  return topic;
}

absl::StatusOr<TopicPartition> ResolvePartition(const TopicImage& topic,
                                                PartitionIndex partition) {
  if (topic.Find(partition) == nullptr) {
    return MakeError(ErrorCode::kUnknownTopicOrPartition, "topic \"",
                     topic.name, "\" has partitions 0 to ",
                     static_cast<int64_t>(topic.partitions.size()) - 1,
                     ", not ", partition);
  }
  return TopicPartition{topic.id, partition};
}

absl::StatusOr<TopicPartition> ResolvePartition(const MetadataImage& image,
                                                const api::TopicRef& ref,
                                                PartitionIndex partition) {
  ASSIGN_OR_RETURN(const TopicImage* topic, ResolveTopic(image, ref));
  return ResolvePartition(*topic, partition);
}

absl::Status CheckWritable(const TopicImage& topic) {
  if (!topic.internal()) return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidTopic, "topic \"", topic.name,
                   "\" is the cluster's own: it can be read, and is written by "
                   "the calls of consumer groups alone");
}

absl::Status CheckPartitionCount(size_t partitions) {
  if (partitions >= 1 && partitions <= kPartitionsPerRequestMax) {
    return absl::OkStatus();
  }
  return MakeError(ErrorCode::kInvalidRequest, partitions,
                   " partitions in one request; at least 1, at most ",
                   kPartitionsPerRequestMax);
}

absl::Status SeenPartitions::Add(const TopicPartition& tp) {
  if (seen_.insert(tp).second) return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidRequest, "partition ", tp,
                   " is named twice; name it once, or send two requests");
}

}  // namespace sluice
