// Trims that partition leaders ask to have recorded: a log start is what the
// metadata says, before any replica deletes by it.
#pragma once

#include "absl/status/status.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/control_result.h"
#include "controller/metadata/image.h"
#include "sluice/internal/v1/controller.pb.h"

namespace sluice {

// Made for one request, whose sender is known to be who it says; decides
// against `image`.
class LogStartControl {
 public:
  LogStartControl(const MetadataImage& image, const ConfigRegistry& configs)
      : image_(image), configs_(configs) {}

  // Adds to `result`, which holds the request's ISR changes: all that pass go
  // with them in one batch. A log start never falls: up to the registered one
  // a question is answered with that and changes nothing. Checks of each:
  // UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION, NOT_CONTROLLER (the leader
  // knows more than this node), FENCED_LEADER_EPOCH, INVALID_REQUEST (not its
  // leader; a negative offset). Of the whole request: INVALID_REQUEST (a bad
  // topic id, a partition twice).
  absl::Status Advance(
      const internal::v1::AlterPartitionsRequest& request,
      ControlResult<internal::v1::AlterPartitionsResponse>& result) const;

 private:
  absl::Status Check(NodeId sender, const internal::v1::AdvanceLogStart& wanted,
                     const TopicPartition& tp, const TopicImage* topic,
                     const PartitionImage* partition) const;
  void Record(const TopicPartition& tp, const TopicImage& topic,
              const PartitionImage& partition, Offset start,
              internal::v1::MetadataBatch& batch) const;

  const MetadataImage& image_;
  const ConfigRegistry& configs_;
};

}  // namespace sluice
