// Creating, growing and deleting topics.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/control_result.h"
#include "controller/metadata/image.h"
#include "controller/metadata/replica_placer.h"
#include "sluice/v1/topic.pb.h"

namespace sluice {

inline constexpr size_t kTopicNameBytesMax = 249;
inline constexpr int kPartitionsPerTopicMax = 10000;
inline constexpr int64_t kClusterReplicasMax = 200000;
inline constexpr int kReplicationFactorMax = 100;

// INVALID_TOPIC unless `name` is 1..249 of [a-zA-Z0-9._-] and neither "." nor
// "..".
absl::Status CheckTopicName(std::string_view name);

// UNKNOWN_TOPIC_OR_PARTITION by name, UNKNOWN_TOPIC_ID by id, INVALID_REQUEST
// (neither). Not null when OK; lives as long as the image.
absl::StatusOr<const TopicImage*> FindTopicOf(const MetadataImage& image,
                                              const v1::TopicRef& ref);

// Made for one request; decides against `image`.
class TopicControl {
 public:
  TopicControl(const MetadataImage& image, const ConfigRegistry& configs)
      : image_(image), configs_(configs) {}

  // USER: names that begin with "__" are INVALID_TOPIC. All topics that pass
  // are created in one batch. Per topic: INVALID_TOPIC, INVALID_REQUEST (twice
  // in the request; no room left in the batch), TOPIC_ALREADY_EXISTS,
  // INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR, INVALID_REPLICA_ASSIGNMENT,
  // INVALID_CONFIG. Of the whole request: INVALID_REQUEST.
  ControlResultOr<v1::CreateTopicsResponse> Create(
      const v1::CreateTopicsRequest& request,
      internal::v1::TopicRecord::Kind kind, Random& random);

  // topic_partitions.cc. All topics that pass grow in one batch; the new
  // partitions' leaderships even out those that the topic has. Per topic:
  // UNKNOWN_TOPIC_OR_PARTITION by name, UNKNOWN_TOPIC_ID by id, INVALID_REQUEST
  // (twice, internal, no name or id; no room left in the batch),
  // INVALID_PARTITIONS (not more than there are, too many),
  // INVALID_REPLICATION_FACTOR (too few brokers are alive),
  // INVALID_REPLICA_ASSIGNMENT. Of the whole request: INVALID_REQUEST.
  ControlResultOr<v1::CreatePartitionsResponse> CreatePartitions(
      const v1::CreatePartitionsRequest& request, Random& random);

  // Per topic: UNKNOWN_TOPIC_OR_PARTITION by name, UNKNOWN_TOPIC_ID by id,
  // INVALID_REQUEST (twice, internal, no name or id).
  ControlResultOr<v1::DeleteTopicsResponse> Delete(
      const v1::DeleteTopicsRequest& request);

 private:
  // One topic's part of CreatePartitions.
  struct Growth {
    const TopicImage* topic = nullptr;
    std::vector<std::vector<NodeId>> added;
  };
  absl::StatusOr<Growth> PlanGrowth(const v1::NewPartitions& asked,
                                    ReplicaPlacer& placer) const;
  // Records and answer of one topic; an error leaves the count as it is.
  // `seen`: how often each topic is in the request.
  absl::Status Grow(const v1::NewPartitions& asked,
                    const std::map<TopicId, int>& seen, ReplicaPlacer& placer,
                    size_t batch_bytes, internal::v1::MetadataBatch& records,
                    v1::CreatePartitionsResult& answer);

  struct Plan {
    std::vector<std::vector<NodeId>> assignments;
    std::map<std::string, std::string> configs;
    int replication_factor = 0;
  };

  absl::Status CheckNew(const v1::NewTopic& topic,
                        internal::v1::TopicRecord::Kind kind) const;
  absl::StatusOr<Plan> MakePlan(const v1::NewTopic& topic,
                                internal::v1::TopicRecord::Kind kind,
                                ReplicaPlacer& placer) const;
  absl::StatusOr<Plan> AssignedPlan(const v1::NewTopic& topic) const;
  absl::StatusOr<Plan> PlacedPlan(const v1::NewTopic& topic,
                                  ReplicaPlacer& placer) const;
  // A topic gets `added` partitions and has `partitions` then.
  absl::Status CheckCounts(int64_t partitions, int64_t added,
                           int64_t replication_factor) const;
  absl::Status CheckAlive(int64_t replication_factor, int alive) const;
  // The replicas that a client assigns to a partition.
  absl::StatusOr<std::vector<NodeId>> Assigned(
      int64_t partition, const v1::ReplicaAssignment& assignment,
      int64_t replication_factor) const;
  absl::Status PlanConfigs(const v1::NewTopic& topic,
                           internal::v1::TopicRecord::Kind kind,
                           Plan& plan) const;
  // As a partition begins: led by the first of its replicas that may.
  void WritePartition(const TopicPartition& tp, std::vector<NodeId> replicas,
                      ReplicaPlacer& placer,
                      internal::v1::MetadataBatch& out) const;
  // The topic's records and its part of the answer.
  void Write(const v1::NewTopic& topic, const Plan& plan, const TopicId& id,
             internal::v1::TopicRecord::Kind kind, ReplicaPlacer& placer,
             internal::v1::MetadataBatch& out) const;

  const MetadataImage& image_;
  const ConfigRegistry& configs_;
  int64_t replicas_planned_ = 0;
};

}  // namespace sluice
