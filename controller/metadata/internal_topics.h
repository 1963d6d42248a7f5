// The topics of the cluster's own: made on first use, never deleted or given
// other partitions, and on as many brokers as there are, up to three.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/control_result.h"
#include "controller/metadata/image.h"
#include "sluice/internal/v1/controller.pb.h"

namespace sluice {

// Committed offsets and the state of groups: compacted, durability=disk.
inline constexpr char kConsumerOffsetsTopic[] = "__consumer_offsets";
inline constexpr int kConsumerOffsetsPartitions = 16;  // by default
// Of controllers: how many it is made with. Only then is it looked at.
inline constexpr char kOffsetsTopicNumPartitions[] =
    "offsets.topic.num.partitions";
inline constexpr int kInternalReplicasMax = 3;

// Made for one request; decides against `image`.
class InternalTopicControl {
 public:
  InternalTopicControl(const MetadataImage& image,
                       const ConfigRegistry& configs)
      : image_(image), configs_(configs) {}

  // No records: it is there. INVALID_TOPIC: no such internal topic.
  // BROKER_NOT_AVAILABLE: nobody could hold it.
  ControlResultOr<internal::v1::EnsureInternalTopicResponse> Ensure(
      const internal::v1::EnsureInternalTopicRequest& request, Random& random);

 private:
  const MetadataImage& image_;
  const ConfigRegistry& configs_;
};

// INVALID_CONFIG: what an internal topic is by, or what the controllers keep by
// themselves, is not for operators.
absl::Status CheckInternalConfig(const TopicImage& topic,
                                 std::string_view key);

// `joined` becomes active with this batch: it becomes a replica of each
// internal partition that has fewer than kInternalReplicasMax. Nobody leaves.
void AddInternalReplicas(const MetadataImage& image,
                         const ConfigRegistry& configs, NodeId joined,
                         internal::v1::MetadataBatch& batch);

// With the ISR changes of `batch`: min.insync.replicas of an internal topic
// rises to what its replication factor asks for, once every one of its
// partitions has so many in sync. Raised with the replicas, it would stop all
// commits until the first of them was filled.
void RaiseInternalMinIsr(const MetadataImage& image,
                         const ConfigRegistry& configs,
                         internal::v1::MetadataBatch& batch);

}  // namespace sluice
