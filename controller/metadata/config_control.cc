#include "controller/metadata/config_control.h"

#include <set>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"
#include "controller/metadata/internal_topics.h"
#include "controller/metadata/partition_change.h"
#include "controller/metadata/topic_control.h"

namespace sluice {
namespace {

using internal::v1::ConfigRecord;
using internal::v1::MetadataBatch;

// Names in errors are cut: they come from outside.
std::string Quoted(std::string_view name) {
  return StrCat("\"", name.substr(0, kTopicNameBytesMax), "\"");
}

absl::Status CheckShape(const v1::AlterConfigsResource& resource) {
  if (resource.changes_size() < 1 ||
      resource.changes_size() > kConfigsPerResourceMax) {
    return MakeError(ErrorCode::kInvalidRequest, resource.changes_size(),
                     " changes of one topic's configs; 1..",
                     kConfigsPerResourceMax, " are allowed");
  }
  std::set<std::string> seen;
  for (const v1::ConfigChange& change : resource.changes()) {
    if (!seen.insert(change.name()).second) {
      return MakeError(ErrorCode::kInvalidRequest, "the key ",
                       Quoted(change.name()), " is changed twice");
    }
    const bool sets = change.operation() == v1::ConfigChange::OPERATION_SET;
    const bool deletes =
        change.operation() == v1::ConfigChange::OPERATION_DELETE;
    if (!sets && !deletes) {
      return MakeError(ErrorCode::kInvalidRequest, "the change of ",
                       Quoted(change.name()), " has the operation ",
                       static_cast<int>(change.operation()),
                       "; SET and DELETE exist");
    }
    if (deletes && !change.value().empty()) {
      return MakeError(ErrorCode::kInvalidRequest, "a DELETE of ",
                       Quoted(change.name()), " with a value; leave it empty");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<const TopicImage*> FindConfigured(
    const MetadataImage& image, const v1::ConfigResource& resource) {
  if (resource.type() != v1::ConfigResource::TYPE_TOPIC) {
    return MakeError(ErrorCode::kInvalidRequest, "configs of a resource of type ",
                     static_cast<int>(resource.type()), " (",
                     Quoted(resource.name()),
                     "); only those of topics exist here");
  }
  const TopicImage* topic = image.FindTopic(resource.name());
  if (topic == nullptr) {
    return MakeError(ErrorCode::kUnknownTopicOrPartition, "no topic is called ",
                     Quoted(resource.name()));
  }
  return topic;
}

absl::StatusOr<ConfigControl::Values> ConfigControl::Changed(
    const TopicImage& topic, const v1::AlterConfigsResource& resource) const {
  Values values = topic.configs;
  const int rf = topic.replication_factor();
  for (const v1::ConfigChange& change : resource.changes()) {
    RETURN_IF_ERROR(configs_.Explain(change.name(), {}, rf).status());
    RETURN_IF_ERROR(CheckInternalConfig(topic, change.name()));
    if (change.operation() == v1::ConfigChange::OPERATION_DELETE) {
      values.erase(change.name());
      continue;
    }
    RETURN_IF_ERROR(
        ConfigRegistry::CheckTopicConfig(
            change.name(), change.value(), topic.kind));
    values[change.name()] = change.value();
  }
  // What a new topic without a value of its own would be given.
  const Values agreed = configs_.AgreedDefaults(values, rf);
  for (const v1::ConfigChange& change : resource.changes()) {
    const auto found = agreed.find(change.name());
    if (found != agreed.end()) values.insert(*found);
  }
  return values;
}

void ConfigControl::WritePartitions(const TopicImage& before,
                                    const TopicImage& after,
                                    MetadataBatch& out) const {
  const int min_isr = configs_.MinIsrOf(after);
  const bool durable = configs_.IsDurable(after);
  const bool switches = durable != configs_.IsDurable(before);
  const bool other_min_isr = min_isr != configs_.MinIsrOf(before);
  if (!switches && (!other_min_isr || MUTANT(kElrOutlivesLowering))) return;
  for (const auto& [index, partition] : before.partitions) {
    PartitionChange change({before.id, index}, *partition,
                           configs_.ElectionRulesOf(after));
    change.ShunDemoted(image_);
    if (switches && !MUTANT(kSwitchSettlesAtOnce)) {
      change.SetDurabilitySettling(durable);
    }
    auto record =
        change.Build([&](NodeId node) { return image_.IsActive(node); });
    if (record.has_value()) {
      *out.add_records()->mutable_partition_change() = *std::move(record);
    }
  }
}

absl::Status ConfigControl::AlterOne(const v1::AlterConfigsResource& resource,
                                     MetadataBatch& out,
                                     v1::AlterConfigsResult& answer) const {
  RETURN_IF_ERROR(CheckShape(resource));
  ASSIGN_OR_RETURN(const TopicImage* topic,
                   FindConfigured(image_, resource.resource()));
  TopicImage after = *topic;
  ASSIGN_OR_RETURN(after.configs, Changed(*topic, resource));
  const int rf = topic->replication_factor();
  const int min_isr = configs_.MinIsrOf(after);
  if (min_isr > rf && min_isr != configs_.MinIsrOf(*topic)) {
    return MakeError(ErrorCode::kInvalidConfig, kMinInsyncReplicas, "=",
                     min_isr, " with replication factor ", rf,
                     ": no write with acks=all could ever succeed");
  }
  for (const v1::ConfigChange& change : resource.changes()) {
    ASSIGN_OR_RETURN(*answer.add_configs(),
                     configs_.Explain(change.name(), after.configs, rf));
    const auto was = topic->configs.find(change.name());
    const auto is = after.configs.find(change.name());
    const bool had = was != topic->configs.end();
    const bool has = is != after.configs.end();
    if (had == has && (!has || was->second == is->second)) continue;
    ConfigRecord* record = out.add_records()->mutable_config();
    record->set_resource_type(ConfigRecord::RESOURCE_TYPE_TOPIC);
    record->set_resource_name(topic->name);
    record->set_key(change.name());
    if (has) record->set_value(is->second);
  }
  WritePartitions(*topic, after, out);
  return absl::OkStatus();
}

ControlResultOr<v1::AlterConfigsResponse> ConfigControl::Alter(
    const v1::AlterConfigsRequest& request) {
  if (request.resources_size() > kTopicsPerCallMax ||
      request.timeout_ms() < 0) {
    return MakeError(ErrorCode::kInvalidRequest, request.resources_size(),
                     " resources in one call with a timeout of ",
                     request.timeout_ms(), " ms; at most ", kTopicsPerCallMax,
                     " and no negative timeout are allowed");
  }
  std::map<std::string, int> seen;
  for (const auto& resource : request.resources()) {
    ++seen[resource.resource().name()];
  }
  ControlResult<v1::AlterConfigsResponse> result;
  size_t batch_bytes = 0;
  for (const auto& resource : request.resources()) {
    const std::string& name = resource.resource().name();
    auto* answer = result.response.add_results();
    MetadataBatch records;
    absl::Status status =
        seen[name] > 1
            ? MakeError(ErrorCode::kInvalidRequest, "topic ", Quoted(name),
                        " is in the request ", seen[name], " times")
            : AlterOne(resource, records, *answer);
    const size_t bytes = records.ByteSizeLong();
    if (status.ok() && batch_bytes + bytes > kBatchBytesMax) {
      status = MakeError(ErrorCode::kInvalidRequest, "topic ", Quoted(name),
                         " would make the request's metadata ",
                         batch_bytes + bytes, " bytes; at most ",
                         kBatchBytesMax,
                         " fit one call: change fewer topics a call");
    }
    *answer->mutable_resource() = resource.resource();
    if (!status.ok()) {
      answer->clear_configs();
      *answer->mutable_error() = ToError(status);
      continue;
    }
    batch_bytes += bytes;
    if (!request.validate_only()) result.batch.MergeFrom(records);
  }
  return result;
}

}  // namespace sluice
