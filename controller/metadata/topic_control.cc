#include "controller/metadata/topic_control.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"
#include "controller/metadata/record_codec.h"

namespace sluice {
namespace {

using internal::v1::MetadataBatch;
using internal::v1::TopicRecord;

bool AsksDefault(int32_t count) { return count == 0 || count == -1; }

std::string Quoted(std::string_view name) {
  // Names in errors are cut: they come from outside.
  return StrCat("\"", name.substr(0, kTopicNameBytesMax), "\"");
}

}  // namespace

absl::Status CheckTopicName(std::string_view name) {
  if (name.empty()) {
    return MakeError(ErrorCode::kInvalidTopic, "a topic needs a name");
  }
  if (name.size() > kTopicNameBytesMax) {
    return MakeError(ErrorCode::kInvalidTopic, "the name of a topic has ",
                     name.size(), " bytes; at most ", kTopicNameBytesMax,
                     " are allowed");
  }
  if (name == "." || name == "..") {
    return MakeError(ErrorCode::kInvalidTopic, "a topic cannot be called ",
                     name);
  }
  for (const char c : name) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                      c == '-';
    if (!good) {
      return MakeError(ErrorCode::kInvalidTopic, "topic name of ", name.size(),
                       " bytes: only letters, digits, '.', '_' and '-' are "
                       "allowed");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<const TopicImage*> FindTopicOf(const MetadataImage& image,
                                              const v1::TopicRef& ref) {
  if (ref.topic_case() == v1::TopicRef::kName) {
    const TopicImage* topic = image.FindTopic(ref.name());
    if (topic != nullptr) return topic;
    return MakeError(ErrorCode::kUnknownTopicOrPartition, "no topic is called ",
                     Quoted(ref.name()));
  }
  const auto id = TopicId::FromBytes(ref.id());
  if (!id.has_value() || !id->is_set()) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "a topic is named by its name "
                     "or by an id of 16 bytes; this id has ",
                     ref.id().size());
  }
  const TopicImage* topic = image.FindTopic(*id);
  if (topic != nullptr) return topic;
  return MakeError(ErrorCode::kUnknownTopicId, "no topic has the id ", *id);
}

absl::Status TopicControl::CheckNew(const v1::NewTopic& topic,
                                    TopicRecord::Kind kind) const {
  RETURN_IF_ERROR(CheckTopicName(topic.name()));
  if (kind == TopicRecord::KIND_USER && topic.name().rfind("__", 0) == 0) {
    return MakeError(ErrorCode::kInvalidTopic, Quoted(topic.name()),
                     ": names that begin with \"__\" are reserved for internal "
                     "topics");
  }
  if (const TopicImage* taken = image_.FindTopic(topic.name())) {
    return MakeError(ErrorCode::kTopicAlreadyExists, "topic ",
                     Quoted(topic.name()), " exists with id ", taken->id);
  }
  return absl::OkStatus();
}

absl::Status TopicControl::CheckCounts(int64_t partitions, int64_t added,
                                       int64_t replication_factor) const {
  if (partitions < 1 || partitions > kPartitionsPerTopicMax) {
    return MakeError(ErrorCode::kInvalidPartitions, partitions,
                     " partitions asked; a topic has 1..",
                     kPartitionsPerTopicMax);
  }
  const int64_t replicas = image_.replica_count() + replicas_planned_ +
                           added * replication_factor;
  if (replicas > kClusterReplicasMax) {
    return MakeError(
        ErrorCode::kInvalidPartitions, added, " more partitions of ",
        replication_factor, " replicas would make ", replicas,
        " replicas in the cluster; the limit is ", kClusterReplicasMax,
        ", there are ", image_.replica_count());
  }
  return absl::OkStatus();
}

absl::Status TopicControl::CheckAlive(int64_t replication_factor,
                                      int alive) const {
  if (replication_factor >= 1 && replication_factor <= alive) {
    return absl::OkStatus();
  }
  return MakeError(ErrorCode::kInvalidReplicationFactor, "replication factor ",
                   replication_factor, " asked, ", alive, " of ",
                   image_.brokers().size(),
                   " registered brokers are alive; ask for 1..", alive,
                   " or start more brokers");
}

absl::StatusOr<TopicControl::Plan> TopicControl::PlacedPlan(
    const v1::NewTopic& topic, ReplicaPlacer& placer) const {
  Plan plan;
  const int alive = placer.broker_count();
  const int64_t partitions = AsksDefault(topic.partition_count())
                                 ? configs_.NodeNumber(kNumPartitions)
                                 : topic.partition_count();
  int64_t rf = topic.replication_factor();
  if (AsksDefault(topic.replication_factor())) {
    rf = std::min<int64_t>(configs_.NodeNumber(kDefaultReplicationFactor),
                           std::max(alive, 1));
  }
  RETURN_IF_ERROR(CheckAlive(rf, alive));
  RETURN_IF_ERROR(CheckCounts(partitions, partitions, rf));
  plan.replication_factor = static_cast<int>(rf);
  plan.assignments.reserve(static_cast<size_t>(partitions));
  for (int64_t i = 0; i < partitions; ++i) {
    plan.assignments.push_back(placer.Place(plan.replication_factor));
  }
  return plan;
}

absl::StatusOr<TopicControl::Plan> TopicControl::AssignedPlan(
    const v1::NewTopic& topic) const {
  const auto refuse = [](const auto&... parts) {
    return MakeError(ErrorCode::kInvalidReplicaAssignment, parts...);
  };
  const int64_t partitions = topic.assignments_size();
  if (!AsksDefault(topic.partition_count()) &&
      topic.partition_count() != partitions) {
    return refuse(partitions, " partitions are assigned, ",
                  topic.partition_count(),
                  " asked; leave partition_count unset");
  }
  const int64_t rf = topic.assignments(0).broker_ids_size();
  if (!AsksDefault(topic.replication_factor()) &&
      topic.replication_factor() != rf) {
    return refuse("partition 0 is assigned ", rf, " replicas, ",
                  topic.replication_factor(),
                  " asked; leave replication_factor unset");
  }
  if (rf < 1 || rf > kReplicationFactorMax) {
    return refuse("partition 0 is assigned ", rf, " replicas, not 1..",
                  kReplicationFactorMax);
  }
  RETURN_IF_ERROR(CheckCounts(partitions, partitions, rf));
  Plan plan;
  plan.replication_factor = static_cast<int>(rf);
  for (int64_t i = 0; i < partitions; ++i) {
    ASSIGN_OR_RETURN(std::vector<NodeId> replicas,
                     Assigned(i, topic.assignments(static_cast<int>(i)), rf));
    plan.assignments.push_back(std::move(replicas));
  }
  return plan;
}

absl::StatusOr<std::vector<NodeId>> TopicControl::Assigned(
    int64_t partition, const v1::ReplicaAssignment& assignment,
    int64_t replication_factor) const {
  const auto refuse = [&](const auto&... parts) {
    return MakeError(ErrorCode::kInvalidReplicaAssignment, "partition ",
                     partition, parts...);
  };
  const auto& ids = assignment.broker_ids();
  if (ids.size() != replication_factor) {
    return refuse(" is assigned ", ids.size(), " replicas, partition 0 has ",
                  replication_factor);
  }
  std::vector<NodeId> replicas = NodesOf(ids);
  bool any_active = false;
  for (const NodeId node : replicas) {
    if (image_.FindBroker(node) == nullptr) {
      return refuse(" is assigned to broker ", node,
                    ", which is not registered");
    }
    any_active |= image_.IsActive(node);
  }
  if (std::set<NodeId>(replicas.begin(), replicas.end()).size() !=
      replicas.size()) {
    return refuse(" is assigned twice to one broker: ", NodesText(replicas));
  }
  if (!any_active) {
    return refuse(": none of its brokers ", NodesText(replicas), " is alive");
  }
  return replicas;
}

absl::Status TopicControl::PlanConfigs(const v1::NewTopic& topic,
                                       TopicRecord::Kind kind,
                                       Plan& plan) const {
  for (const auto& [key, value] : topic.configs()) {
    RETURN_IF_ERROR(ConfigRegistry::CheckTopicConfig(key, value, kind));
    plan.configs[key] = value;
  }
  for (auto& [key, value] :
       configs_.AgreedDefaults(plan.configs, plan.replication_factor)) {
    plan.configs.emplace(key, value);
  }
  TopicImage sized;
  auto partition = std::make_shared<PartitionImage>();
  partition->replicas = plan.assignments.front();
  sized.partitions.Set(PartitionIndex(0), std::move(partition));
  sized.configs = plan.configs;
  const int min_isr = configs_.MinIsrOf(sized);
  if (min_isr > plan.replication_factor) {
    return MakeError(ErrorCode::kInvalidConfig, kMinInsyncReplicas, "=",
                     min_isr, " with replication factor ",
                     plan.replication_factor,
                     ": no write with acks=all could ever succeed");
  }
  return absl::OkStatus();
}

absl::StatusOr<TopicControl::Plan> TopicControl::MakePlan(
    const v1::NewTopic& topic, TopicRecord::Kind kind,
    ReplicaPlacer& placer) const {
  auto plan = topic.assignments_size() > 0 ? AssignedPlan(topic)
                                           : PlacedPlan(topic, placer);
  if (plan.ok()) RETURN_IF_ERROR(PlanConfigs(topic, kind, *plan));
  return plan;
}

void TopicControl::Write(const v1::NewTopic& topic, const Plan& plan,
                         const TopicId& id, TopicRecord::Kind kind,
                         ReplicaPlacer& placer, MetadataBatch& out) const {
  auto* record = out.add_records()->mutable_topic();
  record->set_name(topic.name());
  record->set_id(id.ToBytes());
  record->set_kind(kind);
  for (const auto& [key, value] : plan.configs) {
    auto* config = out.add_records()->mutable_config();
    config->set_resource_type(internal::v1::ConfigRecord::RESOURCE_TYPE_TOPIC);
    config->set_resource_name(topic.name());
    config->set_key(key);
    config->set_value(value);
  }
  for (size_t i = 0; i < plan.assignments.size(); ++i) {
    WritePartition({id, PartitionIndex(static_cast<int32_t>(i))},
                   plan.assignments[i], placer, out);
  }
}

void TopicControl::WritePartition(const TopicPartition& tp,
                                  std::vector<NodeId> replicas,
                                  ReplicaPlacer& placer,
                                  MetadataBatch& out) const {
  PartitionImage partition;
  partition.replicas = std::move(replicas);
  for (const NodeId node : partition.replicas) {
    partition.directories.push_back(placer.DirectoryFor(node));
    if (image_.IsActive(node)) partition.isr.push_back(node);
  }
  const auto may_lead = [&](NodeId node) { return !image_.IsDemoted(node); };
  const auto leader =
      std::find_if(partition.isr.begin(), partition.isr.end(), may_lead);
  partition.leader =
      leader == partition.isr.end() ? partition.isr.front() : *leader;
  partition.last_full_isr = partition.isr;
  *out.add_records()->mutable_partition() = ToRecord(tp, partition);
}

ControlResultOr<v1::CreateTopicsResponse> TopicControl::Create(
    const v1::CreateTopicsRequest& request, TopicRecord::Kind kind,
    Random& random) {
  if (request.topics_size() > kTopicsPerCallMax || request.timeout_ms() < 0) {
    return MakeError(ErrorCode::kInvalidRequest, request.topics_size(),
                     " topics in one call with a timeout of ",
                     request.timeout_ms(), " ms; at most ", kTopicsPerCallMax,
                     " and no negative timeout are allowed");
  }
  std::map<std::string, int> seen;
  for (const auto& topic : request.topics()) ++seen[topic.name()];
  ControlResult<v1::CreateTopicsResponse> result;
  ReplicaPlacer placer(image_, random);
  size_t batch_bytes = 0;
  for (const auto& topic : request.topics()) {
    auto* answer = result.response.add_results();
    answer->set_name(topic.name());
    absl::Status status = CheckNew(topic, kind);
    if (status.ok() && seen[topic.name()] > 1) {
      status =
          MakeError(ErrorCode::kInvalidRequest, "topic ", Quoted(topic.name()),
                    " is in the request ", seen[topic.name()], " times");
    }
    absl::StatusOr<Plan> plan =
        status.ok() ? MakePlan(topic, kind, placer)
                    : absl::StatusOr<Plan>(status);
    if (!plan.ok()) {
      *answer->mutable_error() = ToError(plan.status());
      continue;
    }
    // Not of its name: one that is made again is another topic (F47, F72).
    const TopicId id(
        MUTANT(kTopicIdByName)
            ? Random(std::hash<std::string>()(topic.name())).NextUuid()
            : random.NextUuid());
    MetadataBatch records;
    Write(topic, *plan, id, kind, placer, records);
    const size_t bytes = records.ByteSizeLong();
    if (batch_bytes + bytes > kBatchBytesMax) {
      *answer->mutable_error() = ToError(
          MakeError(ErrorCode::kInvalidRequest, "topic ", Quoted(topic.name()),
                    " would make the request's metadata ", batch_bytes + bytes,
                    " bytes; at most ", kBatchBytesMax,
                    " fit one call: create fewer topics or partitions a call"));
      continue;
    }
    batch_bytes += bytes;
    replicas_planned_ += static_cast<int64_t>(plan->assignments.size()) *
                         plan->replication_factor;
    answer->set_partition_count(static_cast<int32_t>(plan->assignments.size()));
    answer->set_replication_factor(plan->replication_factor);
    for (auto& entry :
         configs_.Describe(plan->configs, plan->replication_factor)) {
      *answer->add_configs() = std::move(entry);
    }
    if (request.validate_only()) continue;
    answer->set_id(id.ToBytes());
    result.batch.MergeFrom(records);
  }
  return result;
}

ControlResultOr<v1::DeleteTopicsResponse> TopicControl::Delete(
    const v1::DeleteTopicsRequest& request) {
  if (request.topics_size() > kTopicsPerCallMax || request.timeout_ms() < 0) {
    return MakeError(ErrorCode::kInvalidRequest, request.topics_size(),
                     " topics in one call with a timeout of ",
                     request.timeout_ms(), " ms; at most ", kTopicsPerCallMax,
                     " and no negative timeout are allowed");
  }
  std::map<TopicId, int> seen;
  for (const auto& ref : request.topics()) {
    if (const auto topic = FindTopicOf(image_, ref); topic.ok()) {
      ++seen[(*topic)->id];
    }
  }
  ControlResult<v1::DeleteTopicsResponse> result;
  for (const auto& ref : request.topics()) {
    auto* answer = result.response.add_results();
    *answer->mutable_topic() = ref;
    auto topic = FindTopicOf(image_, ref);
    if (topic.ok() && seen[(*topic)->id] > 1) {
      topic = MakeError(ErrorCode::kInvalidRequest, "topic ", (*topic)->name,
                        " is in the request ", seen[(*topic)->id], " times");
    } else if (topic.ok() && (*topic)->internal()) {
      topic = MakeError(ErrorCode::kInvalidRequest, "topic ", (*topic)->name,
                        " is internal and cannot be deleted");
    }
    if (!topic.ok()) {
      *answer->mutable_error() = ToError(topic.status());
      continue;
    }
    answer->set_name((*topic)->name);
    answer->set_id((*topic)->id.ToBytes());
    if (request.validate_only()) continue;
    result.batch.add_records()->mutable_remove_topic()->set_id(
        (*topic)->id.ToBytes());
  }
  return result;
}

}  // namespace sluice
