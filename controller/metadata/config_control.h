// Changing the configs of topics while they live.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/control_result.h"
#include "controller/metadata/image.h"
#include "sluice/v1/topic.pb.h"

namespace sluice {

// Keys looked at in one resource; more is INVALID_REQUEST.
inline constexpr int kConfigsPerResourceMax = 100;

// The topic that `resource` names. INVALID_REQUEST: it names no topic.
absl::StatusOr<const TopicImage*> FindConfigured(
    const MetadataImage& image, const v1::ConfigResource& resource);

// Made for one request; decides against `image`.
class ConfigControl {
 public:
  ConfigControl(const MetadataImage& image, const ConfigRegistry& configs)
      : image_(image), configs_(configs) {}

  // All resources that pass change in one batch, and with them the partitions
  // that a new value concerns: with another min.insync.replicas their ELR, by
  // the rules of PartitionChange; with durability=disk they have yet to settle.
  // A key of the controllers' own defaults (AgreedDefaults) goes back to that.
  // Per resource: INVALID_REQUEST (twice in the request, no change, too many, a
  // key twice, no operation; no room left in the batch),
  // UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG. Of the whole request:
  // INVALID_REQUEST.
  ControlResultOr<v1::AlterConfigsResponse> Alter(
      const v1::AlterConfigsRequest& request);

 private:
  using Values = std::map<std::string, std::string>;

  // Records and answer of one resource.
  absl::Status AlterOne(const v1::AlterConfigsResource& resource,
                        internal::v1::MetadataBatch& out,
                        v1::AlterConfigsResult& answer) const;
  absl::StatusOr<Values> Changed(const TopicImage& topic,
                                 const v1::AlterConfigsResource& resource) const;
  void WritePartitions(const TopicImage& before, const TopicImage& after,
                       internal::v1::MetadataBatch& out) const;

  const MetadataImage& image_;
  const ConfigRegistry& configs_;
};

}  // namespace sluice
