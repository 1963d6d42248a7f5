// More partitions for topics that exist.
#include <utility>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "controller/metadata/topic_control.h"

namespace sluice {

using internal::v1::MetadataBatch;

absl::StatusOr<TopicControl::Growth> TopicControl::PlanGrowth(
    const v1::NewPartitions& asked, ReplicaPlacer& placer) const {
  Growth growth;
  ASSIGN_OR_RETURN(growth.topic, FindTopicOf(image_, asked.topic()));
  const TopicImage& topic = *growth.topic;
  if (topic.internal() && !MUTANT(kInternalTopicGrows)) {
    return MakeError(ErrorCode::kInvalidRequest, "topic ", topic.name,
                     " is internal and keeps its ", topic.partitions.size(),
                     " partitions");
  }
  const auto count = static_cast<int64_t>(topic.partitions.size());
  const int64_t added = asked.total_count() - count;
  if (added < 1) {
    return MakeError(ErrorCode::kInvalidPartitions, "topic ", topic.name,
                     " has ", count, " partitions, ", asked.total_count(),
                     " asked in all; partitions are only ever added");
  }
  const int64_t rf = topic.replication_factor();
  RETURN_IF_ERROR(CheckCounts(asked.total_count(), added, rf));
  if (asked.assignments_size() > 0) {
    if (asked.assignments_size() != added) {
      return MakeError(ErrorCode::kInvalidReplicaAssignment, "topic ",
                       topic.name, " would get ", added, " partitions, ",
                       asked.assignments_size(), " are assigned");
    }
    for (int i = 0; i < asked.assignments_size(); ++i) {
      ASSIGN_OR_RETURN(std::vector<NodeId> replicas,
                       Assigned(count + i, asked.assignments(i), rf));
      growth.added.push_back(std::move(replicas));
    }
    return growth;
  }
  RETURN_IF_ERROR(CheckAlive(rf, placer.broker_count()));
  placer.Continue(topic);
  for (int64_t i = 0; i < added; ++i) {
    growth.added.push_back(placer.Place(static_cast<int>(rf)));
  }
  return growth;
}

ControlResultOr<v1::CreatePartitionsResponse> TopicControl::CreatePartitions(
    const v1::CreatePartitionsRequest& request, Random& random) {
  if (request.topics_size() > kTopicsPerCallMax || request.timeout_ms() < 0) {
    return MakeError(ErrorCode::kInvalidRequest, request.topics_size(),
                     " topics in one call with a timeout of ",
                     request.timeout_ms(), " ms; at most ", kTopicsPerCallMax,
                     " and no negative timeout are allowed");
  }
  std::map<TopicId, int> seen;
  for (const auto& asked : request.topics()) {
    const auto topic = FindTopicOf(image_, asked.topic());
    if (topic.ok()) ++seen[(*topic)->id];
  }
  ControlResult<v1::CreatePartitionsResponse> result;
  ReplicaPlacer placer(image_, random);
  size_t batch_bytes = 0;
  for (const auto& asked : request.topics()) {
    auto* answer = result.response.add_results();
    *answer->mutable_topic() = asked.topic();
    MetadataBatch records;
    const absl::Status status =
        Grow(asked, seen, placer, batch_bytes, records, *answer);
    if (!status.ok()) {
      *answer->mutable_error() = ToError(status);
      continue;
    }
    batch_bytes += records.ByteSizeLong();
    if (!request.validate_only()) result.batch.MergeFrom(records);
  }
  return result;
}

absl::Status TopicControl::Grow(const v1::NewPartitions& asked,
                                const std::map<TopicId, int>& seen,
                                ReplicaPlacer& placer, size_t batch_bytes,
                                MetadataBatch& records,
                                v1::CreatePartitionsResult& answer) {
  const auto topic = FindTopicOf(image_, asked.topic());
  if (topic.ok()) {
    answer.set_partition_count(
        static_cast<int32_t>((*topic)->partitions.size()));
    if (const int times = seen.at((*topic)->id); times > 1) {
      return MakeError(ErrorCode::kInvalidRequest, "topic ", (*topic)->name,
                       " is in the request ", times, " times");
    }
  }
  ASSIGN_OR_RETURN(Growth growth, PlanGrowth(asked, placer));
  int32_t next = answer.partition_count();
  for (std::vector<NodeId>& replicas : growth.added) {
    WritePartition({growth.topic->id, PartitionIndex(next++)},
                   std::move(replicas), placer, records);
  }
  if (batch_bytes + records.ByteSizeLong() > kBatchBytesMax) {
    return MakeError(ErrorCode::kInvalidRequest, "topic ", growth.topic->name,
                     " would make the request's metadata ",
                     batch_bytes + records.ByteSizeLong(), " bytes; at most ",
                     kBatchBytesMax,
                     " fit one call: add fewer partitions a call");
  }
  replicas_planned_ += static_cast<int64_t>(growth.added.size()) *
                       growth.topic->replication_factor();
  answer.set_partition_count(next);
  return absl::OkStatus();
}

}  // namespace sluice
