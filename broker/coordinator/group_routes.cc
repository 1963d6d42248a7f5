#include "broker/coordinator/group_routes.h"

#include <algorithm>
#include <utility>

#include "broker/offsets/coordinator_partition.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "controller/metadata/internal_topics.h"

namespace sluice::coordinator {
namespace {

api::Endpoint EndpointOf(const BrokerImage& broker, const char* listener) {
  const auto* found = broker.FindListener(listener);
  if (found == nullptr) return {};
  return {found->endpoint().host(), found->endpoint().port()};
}

}  // namespace

const TopicImage* OffsetsTopic(const MetadataImage& image) {
  const TopicImage* topic = image.FindTopic(kConsumerOffsetsTopic);
  const bool usable = topic != nullptr && topic->internal() &&
                      topic->partitions.size() > 0;
  return usable ? topic : nullptr;
}

Coordinator CoordinatorOf(const MetadataImage& image, const TopicImage& topic,
                          PartitionIndex partition) {
  Coordinator out;
  out.tp = {topic.id, partition};
  const PartitionImage* state = topic.Find(partition);
  const BrokerImage* broker = state == nullptr || state->leader == kNoNode
                                  ? nullptr
                                  : image.FindBroker(state->leader);
  if (broker == nullptr) return out;
  out.node = state->leader;
  out.public_endpoint = EndpointOf(*broker, kPublicListener);
  out.internal_endpoint = EndpointOf(*broker, kInternalListener);
  return out;
}

absl::StatusOr<Coordinator> CoordinatorOf(const MetadataImage& image,
                                          const std::string& group) {
  const TopicImage* topic = OffsetsTopic(image);
  if (topic == nullptr) {
    return MakeError(ErrorCode::kCoordinatorNotAvailable, "there is no ",
                     kConsumerOffsetsTopic,
                     " at metadata offset ", image.offset(),
                     " yet; try again");
  }
  return CoordinatorOf(
      image, *topic,
      offsets::CoordinatorPartition(
          group, static_cast<int32_t>(topic->partitions.size())));
}

bool GroupRoutes::HandsOn(const api::CallContext& context,
                          const Coordinator& to) const {
  return deps_.connector != nullptr && to.node != kNoNode &&
         to.node != deps_.self && !to.internal_endpoint.host.empty() &&
         context.listener != kInternalListener;
}

int64_t GroupRoutes::TimeLeftUs(const api::CallContext& context) const {
  if (context.deadline_us == INT64_MAX) return kTimeoutDefaultUs;
  return std::max<int64_t>(
      context.deadline_us - deps_.clock->MonoMicros() - kMarginUs, 0);
}

std::shared_ptr<GroupPeer> GroupRoutes::At(const api::Endpoint& endpoint) {
  const auto found = peers_.find(endpoint);
  if (found != peers_.end()) {
    found->second.used = ++uses_;
    return found->second.peer;
  }
  if (peers_.size() >= kPeersMax) {
    peers_.erase(std::min_element(
        peers_.begin(), peers_.end(), [](const auto& a, const auto& b) {
          return a.second.used < b.second.used;
        }));
  }
  Entry& entry = peers_[endpoint];
  entry.peer = deps_.connector->ConnectGroups(endpoint, deps_.worker);
  entry.used = ++uses_;
  return entry.peer;
}

Refusal RefusalBy(NodeId self, const Coordinator& coordinator) {
  api::LeaderHint hint;
  hint.leader_id = coordinator.node;
  hint.endpoint = coordinator.public_endpoint;
  if (coordinator.node == kNoNode) {
    return {MakeError(ErrorCode::kCoordinatorNotAvailable,
                      "nobody leads partition ",
                      coordinator.tp.partition, " of ",
                      kConsumerOffsetsTopic,
                      " just now; try again"),
            hint};
  }
  return {MakeError(ErrorCode::kNotCoordinator, "broker ", self,
                    " does not coordinate the group, broker ",
                    coordinator.node, " does; ask that"),
          hint};
}

Refusal HandingOnFailed(const Coordinator& coordinator,
                        const absl::Status& why) {
  const ErrorCode code = CodeOf(why);
  const bool unheard = code == ErrorCode::kBrokerNotAvailable ||
                       code == ErrorCode::kRequestTimedOut ||
                       code == ErrorCode::kShuttingDown ||
                       code == ErrorCode::kUnknownServerError;
  return {MakeError(unheard ? ErrorCode::kCoordinatorNotAvailable : code,
                    "broker ", coordinator.node,
                    ", the coordinator, was handed this call and did not "
                    "answer it: ",
                    std::string(why.message()), "; try again"),
          {}};
}

}  // namespace sluice::coordinator
