// Elections that an operator orders.
#pragma once

#include <set>

#include "controller/metadata/config_registry.h"
#include "controller/metadata/control_result.h"
#include "controller/metadata/image.h"
#include "sluice/v1/topic.pb.h"

namespace sluice {

// Made for one request; decides against `image`.
class ElectionControl {
 public:
  ElectionControl(const MetadataImage& image, const ConfigRegistry& configs)
      : image_(image), configs_(configs) {}

  // One batch for all partitions. Per partition: ELECTION_NOT_NEEDED (it has
  // the leader asked for, or any for an unclean one),
  // PREFERRED_LEADER_NOT_AVAILABLE (not in sync), ELIGIBLE_LEADERS_NOT_AVAILABLE
  // (nobody with a log that can be used is alive), UNKNOWN_TOPIC_OR_PARTITION,
  // UNKNOWN_TOPIC_ID. An unclean order without an error and without a leader
  // stands: the election comes with what the live replicas tell.
  // Of the whole request: INVALID_REQUEST.
  ControlResultOr<v1::ElectLeadersResponse> Elect(
      const v1::ElectLeadersRequest& request);

 private:
  using Result = v1::ElectLeaderResult;

  void ElectIn(const v1::ElectLeadersRequest& request,
               const v1::TopicPartitions& named,
               ControlResult<v1::ElectLeadersResponse>& out);
  // Of the partitions that need it only.
  void PreferEverywhere(ControlResult<v1::ElectLeadersResponse>& out);
  void ElectOne(v1::ElectLeadersRequest::Kind kind, const TopicImage& topic,
                PartitionIndex index, Result* answer,
                internal::v1::MetadataBatch& out);
  absl::Status CheckOne(v1::ElectLeadersRequest::Kind kind,
                        const TopicImage& topic, PartitionIndex index,
                        const PartitionImage& partition) const;

  const MetadataImage& image_;
  const ConfigRegistry& configs_;
  std::set<TopicPartition> seen_;
};

}  // namespace sluice
