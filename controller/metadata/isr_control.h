// ISR changes proposed by partition leaders, and the trims they ask for.
#pragma once

#include "absl/status/status.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/control_result.h"
#include "controller/metadata/image.h"
#include "sluice/internal/v1/controller.pb.h"

namespace sluice {

// Made for one request; decides against `image`.
class IsrControl {
 public:
  IsrControl(const MetadataImage& image, const ConfigRegistry& configs)
      : image_(image), configs_(configs) {}

  // All partitions that pass change in one batch; each answer carries the
  // partition's state after the batch, with or without an error. Checks in the
  // order of kafka-semantics.md 2.4: UNKNOWN_TOPIC_ID,
  // UNKNOWN_TOPIC_OR_PARTITION, NOT_CONTROLLER (the leader knows more than this
  // node), FENCED_LEADER_EPOCH, INVALID_REQUEST (not its leader),
  // INVALID_UPDATE_VERSION, INVALID_REQUEST (a bad ISR; durability that is not
  // settling, or settled with another ISR), INELIGIBLE_REPLICA (also: settled
  // below min ISR, where the ELR may hold records in memory alone; a demoted
  // broker would join an ISR that is large enough without it).
  // Of the whole request: STALE_BROKER_EPOCH, INVALID_REQUEST (too many, one
  // twice). Log starts: LogStartControl.
  ControlResultOr<internal::v1::AlterPartitionsResponse> Alter(
      const internal::v1::AlterPartitionsRequest& request);

 private:
  absl::Status Check(NodeId sender, const internal::v1::AlterPartition& change,
                     const TopicPartition& tp, const TopicImage* topic,
                     const PartitionImage* partition) const;
  absl::Status CheckSettled(const internal::v1::AlterPartition& change,
                            const TopicPartition& tp, const TopicImage& topic,
                            const PartitionImage& partition) const;
  // A demoted broker joins only where there are too few without it.
  absl::Status CheckDemoted(const internal::v1::AlterPartition& change,
                            const TopicPartition& tp, const TopicImage& topic,
                            const PartitionImage& partition) const;
  absl::Status CheckIsr(NodeId sender,
                        const internal::v1::AlterPartition& change,
                        const TopicPartition& tp,
                        const PartitionImage& partition) const;

  const MetadataImage& image_;
  const ConfigRegistry& configs_;
};

}  // namespace sluice
