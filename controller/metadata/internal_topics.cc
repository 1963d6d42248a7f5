#include "controller/metadata/internal_topics.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"
#include "controller/metadata/partition_change.h"
#include "controller/metadata/topic_control.h"

namespace sluice {
namespace {

using internal::v1::ConfigRecord;
using internal::v1::EnsureInternalTopicResponse;
using internal::v1::MetadataBatch;

constexpr std::string_view kInternalTopics[] = {kConsumerOffsetsTopic};

v1::NewTopic ConsumerOffsets(const ConfigRegistry& settings, int replicas) {
  v1::NewTopic topic;
  topic.set_name(kConsumerOffsetsTopic);
  topic.set_partition_count(static_cast<int32_t>(
      settings.NodeNumber(kOffsetsTopicNumPartitions)));
  topic.set_replication_factor(replicas);
  auto& configs = *topic.mutable_configs();
  configs[kCleanupPolicy] = "compact";
  configs[kDurability] = "disk";
  // Whatever a node's default is: an acknowledged offset never goes back
  // unless an operator says so of this very topic.
  configs[kUncleanLeaderElection] = "false";
  configs[kMinInsyncReplicas] = StrCat(DefaultMinIsr(replicas));
  return topic;
}

// The directories of a broker in turns, so that its replicas spread.
DirectoryId DirectoryOf(const BrokerImage& broker, PartitionIndex partition) {
  if (broker.directories.empty()) return DirectoryId();
  const auto turn = static_cast<size_t>(partition.value()) %
                    broker.directories.size();
  return *std::next(broker.directories.begin(),
                    static_cast<std::ptrdiff_t>(turn));
}

// In sync in every partition of `topic`, as it is after `batch`.
size_t FewestInSync(const TopicImage& topic, const MetadataBatch& batch) {
  std::map<PartitionIndex, size_t> in_sync;
  for (const auto& [index, partition] : topic.partitions) {
    in_sync[index] = partition->isr.size();
  }
  const std::string id = topic.id.ToBytes();
  for (const auto& record : batch.records()) {
    const auto& change = record.partition_change();
    if (change.topic_id() != id || !change.has_isr()) continue;
    in_sync[PartitionIndex(change.partition())] =
        static_cast<size_t>(change.isr().ids_size());
  }
  size_t fewest = kInternalReplicasMax;
  for (const auto& [index, count] : in_sync) fewest = std::min(fewest, count);
  return fewest;
}

}  // namespace

ControlResultOr<EnsureInternalTopicResponse> InternalTopicControl::Ensure(
    const internal::v1::EnsureInternalTopicRequest& request, Random& random) {
  if (request.name() != kConsumerOffsetsTopic) {
    return MakeError(ErrorCode::kInvalidTopic, "no internal topic is called \"",
                     request.name().substr(0, kTopicNameBytesMax),
                     "\"; there is: ", kConsumerOffsetsTopic);
  }
  ControlResult<EnsureInternalTopicResponse> result;
  if (image_.FindTopic(request.name()) != nullptr) return result;
  const int alive = image_.ActiveBrokerCount();
  if (alive == 0) {
    return MakeError(ErrorCode::kBrokerNotAvailable, "none of ",
                     image_.brokers().size(),
                     " registered brokers is alive: nobody could hold ",
                     request.name(), "; try again");
  }
  v1::CreateTopicsRequest create;
  *create.add_topics() = ConsumerOffsets(
      configs_, std::min(alive, kInternalReplicasMax));
  ASSIGN_OR_RETURN(
      auto created,
      TopicControl(image_, configs_)
          .Create(create, internal::v1::TopicRecord::KIND_INTERNAL, random));
  const auto& answer = created.response.results(0);
  if (answer.has_error()) {
    return MakeErrorStatus(
        CodeFromNumber(static_cast<int32_t>(answer.error().code())),
        answer.error().message());
  }
  result.batch = std::move(created.batch);
  return result;
}

absl::Status CheckInternalConfig(const TopicImage& topic,
                                 std::string_view key) {
  const bool kept = key == kCleanupPolicy || key == kDurability ||
                    key == kMinInsyncReplicas;
  if (!topic.internal() || !kept) return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidConfig, key, " of the internal topic ",
                   topic.name, " is kept by the controllers");
}

void AddInternalReplicas(const MetadataImage& image,
                         const ConfigRegistry& configs, NodeId joined,
                         MetadataBatch& batch) {
  const BrokerImage* broker = image.FindBroker(joined);
  for (const std::string_view name : kInternalTopics) {
    const TopicImage* topic = image.FindTopic(name);
    if (topic == nullptr || !topic->internal() || broker == nullptr) continue;
    for (const auto& [index, partition] : topic->partitions) {
      if (partition->replicas.size() >= kInternalReplicasMax ||
          Contains(partition->replicas, joined)) {
        continue;
      }
      PartitionChange change({topic->id, index}, *partition,
                             configs.ElectionRulesOf(*topic));
      change.ShunDemoted(image);
      change.AddReplica(joined, DirectoryOf(*broker, index));
      auto record = change.Build(
          [&](NodeId node) { return node == joined || image.IsActive(node); });
      if (record.has_value()) {
        *batch.add_records()->mutable_partition_change() = *std::move(record);
      }
    }
  }
}

void RaiseInternalMinIsr(const MetadataImage& image,
                         const ConfigRegistry& configs, MetadataBatch& batch) {
  for (const std::string_view name : kInternalTopics) {
    const TopicImage* topic = image.FindTopic(name);
    if (topic == nullptr || !topic->internal()) continue;
    const int wanted = DefaultMinIsr(topic->replication_factor());
    if (configs.MinIsrOf(*topic) >= wanted) continue;
    const size_t in_sync = FewestInSync(*topic, batch);
    if (in_sync < static_cast<size_t>(wanted) && !MUTANT(kMinIsrRaisedEarly)) {
      continue;
    }
    ConfigRecord* record = batch.add_records()->mutable_config();
    record->set_resource_type(ConfigRecord::RESOURCE_TYPE_TOPIC);
    record->set_resource_name(topic->name);
    record->set_key(kMinInsyncReplicas);
    record->set_value(StrCat(wanted));
  }
}

}  // namespace sluice
