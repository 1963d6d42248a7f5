// A cluster's metadata for tests: every state in it came out of controls and
// replay, and every step is checked against RP17.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/random.h"
#include "controller/metadata/broker_control.h"
#include "controller/metadata/config_control.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/delta.h"
#include "controller/metadata/election_control.h"
#include "controller/metadata/image.h"
#include "controller/metadata/internal_topics.h"
#include "controller/metadata/isr_control.h"
#include "controller/metadata/record_codec.h"
#include "controller/metadata/topic_control.h"

namespace sluice {

inline std::vector<NodeId> Nodes(std::vector<int32_t> ids) {
  return NodesOf(ids);
}

// RP17 and MD4 for every partition.
inline void CheckInvariants(const MetadataImage& image,
                            const ConfigRegistry& configs) {
  for (const auto& [id, topic] : image.topics()) {
    const auto min_isr = static_cast<size_t>(configs.MinIsrOf(*topic));
    for (const auto& [index, p] : topic->partitions) {
      SCOPED_TRACE(topic->name + "-" + std::to_string(index.value()) +
                   " isr " + NodesText(p->isr) + " elr " + NodesText(p->elr) +
                   " unverified " + NodesText(p->unverified_elr));
      if (p->leader != kNoNode) {
        EXPECT_TRUE(p->candidates.empty());
        EXPECT_FALSE(p->unclean_ordered);
        EXPECT_TRUE(Contains(p->isr, p->leader));
        EXPECT_TRUE(image.IsActive(p->leader));
      }
      for (const NodeId node : p->isr) {
        EXPECT_TRUE(image.IsActive(node)) << node;
        EXPECT_FALSE(Contains(p->elr, node));
        EXPECT_FALSE(Contains(p->unverified_elr, node));
      }
      for (const NodeId node : p->elr) {
        EXPECT_FALSE(Contains(p->unverified_elr, node));
      }
      if (p->isr.size() >= min_isr) {
        EXPECT_TRUE(p->elr.empty());
        EXPECT_TRUE(p->unverified_elr.empty());
        EXPECT_EQ(p->last_full_isr, p->isr);
      }
      if (!p->isr.empty()) {
        EXPECT_NE(p->leader, kNoNode);
      }
    }
  }
}

class TestCluster {
 public:
  struct LogEntry {
    internal::v1::MetadataBatch batch;
    LogIndex offset;
    Term term;
  };

  explicit TestCluster(std::map<std::string, std::string> node_defaults = {})
      : image_(MetadataImage::Empty()), random_(7) {
    auto configs = ConfigRegistry::Make(std::move(node_defaults));
    EXPECT_TRUE(configs.ok()) << configs.status();
    configs_ = *configs;
    internal::v1::MetadataBatch first;
    first.add_records()->mutable_feature_level()->set_level(1);
    Apply(first);
  }

  const MetadataImage& image() const { return *image_; }
  std::shared_ptr<const MetadataImage> shared() const { return image_; }
  const ConfigRegistry& configs() const { return *configs_; }
  const std::vector<LogEntry>& log() const { return log_; }
  const MetadataChanges& changes() const { return changes_; }
  Random& random() { return random_; }
  static ClusterId cluster_id() { return ClusterId(Uuid(1, 2)); }

  void Apply(const internal::v1::MetadataBatch& batch) {
    if (batch.records().empty()) return;
    offset_ = offset_.Next();
    auto applied = ApplyBatch(*image_, batch, offset_, term_);
    ASSERT_TRUE(applied.ok()) << applied.status();
    image_ = applied->image;
    changes_ = applied->changes;
    log_.push_back({batch, offset_, term_});
    CheckInvariants(*image_, *configs_);
  }
  void NextTerm() { term_ = term_.Next(); }

  static std::string Directory(int broker, int number = 0) {
    return Uuid(0xd1, static_cast<uint64_t>(broker * 100 + number)).ToBytes();
  }
  static std::string Incarnation(int broker, int number) {
    return Uuid(0x1c, static_cast<uint64_t>(broker * 1000 + number)).ToBytes();
  }

  static internal::v1::RegisterBrokerRequest Registration(
      int broker, int incarnation, std::string rack = "") {
    internal::v1::RegisterBrokerRequest request;
    request.set_cluster_id(cluster_id().ToBytes());
    request.set_broker_id(broker);
    request.set_incarnation_id(Incarnation(broker, incarnation));
    for (const char* name : {kInternalListener, kPublicListener}) {
      auto* listener = request.add_listeners();
      listener->set_name(name);
      listener->mutable_endpoint()->set_host("b" + std::to_string(broker));
      listener->mutable_endpoint()->set_port(9000);
    }
    request.set_rack(std::move(rack));
    auto* directory = request.add_directories();
    directory->set_id(Directory(broker));
    directory->set_clean_broker_epoch(-1);
    directory->set_last_boot_id("boot");
    request.set_boot_id("boot");
    request.set_feature_min(1);
    request.set_feature_max(1);
    return request;
  }

  absl::Status TryRegister(const internal::v1::RegisterBrokerRequest& request,
                           SessionState old = SessionState::kNone) {
    auto result = BrokerControl(image(), *configs_)
                      .Register(request, cluster_id(), old);
    if (!result.ok()) return result.status();
    Apply(result->batch);
    return absl::OkStatus();
  }
  void Register(const internal::v1::RegisterBrokerRequest& request) {
    const absl::Status status = TryRegister(request);
    ASSERT_TRUE(status.ok()) << status;
  }
  void Start(int broker, std::string rack = "") {
    Register(Registration(broker, ++incarnations_[broker], std::move(rack)));
    Unfence(broker);
  }
  void StartAll(int count) {
    for (int id = 1; id <= count; ++id) Start(id);
  }
  // Back after its machine lost power; fenced until Unfence.
  void PowerUp(int broker) {
    auto request = Registration(broker, ++incarnations_[broker]);
    request.set_boot_id("boot after a cut");
    Register(request);
  }
  int NextIncarnation(int broker) { return ++incarnations_[broker]; }

  BrokerEpoch EpochOf(int broker) const {
    return image().FindBroker(NodeId(broker))->epoch;
  }
  void Fence(int id) {
    Apply(BrokerControl(image(), *configs_).Fence(NodeId(id), EpochOf(id)));
  }
  void Unfence(int id) {
    Apply(BrokerControl(image(), *configs_).Unfence(NodeId(id), EpochOf(id)));
  }
  void BeginStop(int id) {
    Apply(BrokerControl(image(), *configs_).BeginStop(NodeId(id), EpochOf(id)));
  }

  v1::CreateTopicsResponse Create(const v1::CreateTopicsRequest& request) {
    auto result =
        TopicControl(image(), *configs_)
            .Create(request, internal::v1::TopicRecord::KIND_USER, random_);
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok()) return {};
    Apply(result->batch);
    return result->response;
  }
  v1::CreatePartitionsResponse Grow(
      const v1::CreatePartitionsRequest& request) {
    auto result =
        TopicControl(image(), *configs_).CreatePartitions(request, random_);
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok()) return {};
    Apply(result->batch);
    return result->response;
  }
  absl::Status EnsureInternal(const std::string& name) {
    internal::v1::EnsureInternalTopicRequest request;
    request.set_name(name);
    auto result =
        InternalTopicControl(image(), *configs_).Ensure(request, random_);
    if (!result.ok()) return result.status();
    Apply(result->batch);
    return absl::OkStatus();
  }
  // Replicas of every partition: `replicas`, in that order.
  TopicPartition CreateOn(const std::string& name,
                          const std::vector<int32_t>& replicas,
                          std::map<std::string, std::string> configs = {},
                          int partitions = 1) {
    v1::CreateTopicsRequest request;
    auto* topic = request.add_topics();
    topic->set_name(name);
    for (int i = 0; i < partitions; ++i) {
      auto* assignment = topic->add_assignments();
      for (const int32_t id : replicas) assignment->add_broker_ids(id);
    }
    for (const auto& [key, value] : configs) {
      (*topic->mutable_configs())[key] = value;
    }
    const auto response = Create(request);
    EXPECT_FALSE(response.results(0).has_error())
        << response.results(0).error().message();
    const auto id = TopicId::FromBytes(response.results(0).id());
    return TopicPartition{id.value_or(TopicId()), PartitionIndex(0)};
  }
  const PartitionImage& At(const TopicPartition& tp) const {
    const PartitionImage* partition = image().FindPartition(tp);
    EXPECT_NE(partition, nullptr);
    static const PartitionImage* const none = new PartitionImage();
    return partition == nullptr ? *none : *partition;
  }

  internal::v1::AlterPartitionsRequest Proposal(
      const TopicPartition& tp, const std::vector<int32_t>& isr) const {
    const PartitionImage& now = At(tp);
    internal::v1::AlterPartitionsRequest request;
    request.set_broker_id(now.leader.value());
    request.set_broker_epoch(EpochOf(now.leader.value()).value());
    auto* change = request.add_partitions();
    change->set_topic_id(tp.topic_id.ToBytes());
    change->set_partition(tp.partition.value());
    change->set_leader_epoch(now.leader_epoch.value());
    change->set_partition_epoch(now.partition_epoch.value());
    for (const int32_t id : isr) {
      auto* member = change->add_new_isr();
      member->set_broker_id(id);
      const BrokerImage* broker = image().FindBroker(NodeId(id));
      member->set_broker_epoch(broker == nullptr ? -1 : broker->epoch.value());
    }
    return request;
  }
  absl::StatusOr<internal::v1::AlterPartitionsResponse> Alter(
      const internal::v1::AlterPartitionsRequest& request) {
    auto result = IsrControl(image(), *configs_).Alter(request);
    if (!result.ok()) return result.status();
    Apply(result->batch);
    return result->response;
  }
  void SetIsr(const TopicPartition& tp, const std::vector<int32_t>& isr) {
    auto response = Alter(Proposal(tp, isr));
    ASSERT_TRUE(response.ok()) << response.status();
    ASSERT_FALSE(response->results(0).has_error())
        << response->results(0).error().message();
  }
  // The answer for one topic: `set`, where "" takes a key back.
  v1::AlterConfigsResult AlterConfigs(
      const std::string& topic, const std::map<std::string, std::string>& set) {
    v1::AlterConfigsRequest request;
    auto* resource = request.add_resources();
    resource->mutable_resource()->set_type(v1::ConfigResource::TYPE_TOPIC);
    resource->mutable_resource()->set_name(topic);
    for (const auto& [key, value] : set) {
      auto* change = resource->add_changes();
      change->set_name(key);
      change->set_operation(value.empty() ? v1::ConfigChange::OPERATION_DELETE
                                          : v1::ConfigChange::OPERATION_SET);
      change->set_value(value);
    }
    auto result = ConfigControl(image(), *configs_).Alter(request);
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok()) return {};
    Apply(result->batch);
    return result->response.results(0);
  }
  // As the leader says it.
  absl::StatusOr<internal::v1::AlterPartitionsResponse> Settle(
      const TopicPartition& tp) {
    std::vector<int32_t> isr;
    for (const NodeId node : At(tp).isr) isr.push_back(node.value());
    auto request = Proposal(tp, isr);
    request.mutable_partitions(0)->set_durability_settled(true);
    return Alter(request);
  }
  void Report(int broker, const TopicPartition& tp, bool lossy, bool failed) {
    internal::v1::ReportReplicasRequest request;
    request.set_broker_id(broker);
    request.set_broker_epoch(EpochOf(broker).value());
    auto* verdict = request.add_verdicts();
    verdict->set_topic_id(tp.topic_id.ToBytes());
    verdict->set_partition(tp.partition.value());
    verdict->set_lossy(lossy);
    verdict->set_failed(failed);
    auto result = BrokerControl(image(), *configs_).ReportReplicas(request);
    ASSERT_TRUE(result.ok()) << result.status();
    Apply(result->batch);
  }

  struct Log {
    int32_t last_epoch = -1;
    int64_t end = 0;
    int64_t high_watermark = 0;
    bool failed = false;
    std::optional<int32_t> leader_epoch = std::nullopt;  // unset: as it is now
  };
  void Tell(int broker, const TopicPartition& tp, const Log& log) {
    internal::v1::ReportReplicasRequest request;
    request.set_broker_id(broker);
    request.set_broker_epoch(EpochOf(broker).value());
    auto* verdict = request.add_verdicts();
    verdict->set_topic_id(tp.topic_id.ToBytes());
    verdict->set_partition(tp.partition.value());
    verdict->set_candidate_epoch(
        log.leader_epoch.value_or(At(tp).leader_epoch.value()));
    verdict->set_last_epoch(log.last_epoch);
    verdict->set_log_end_offset(log.end);
    verdict->set_high_watermark(log.high_watermark);
    verdict->set_failed(log.failed);
    auto result = BrokerControl(image(), *configs_).ReportReplicas(request);
    ASSERT_TRUE(result.ok()) << result.status();
    Apply(result->batch);
  }
  v1::ElectLeadersResponse Elect(const v1::ElectLeadersRequest& request) {
    auto result = ElectionControl(image(), *configs_).Elect(request);
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok()) return {};
    Apply(result->batch);
    return result->response;
  }

 private:
  std::shared_ptr<const ConfigRegistry> configs_;
  std::shared_ptr<const MetadataImage> image_;
  MetadataChanges changes_;
  Random random_;
  LogIndex offset_{0};
  Term term_{1};
  std::vector<LogEntry> log_;
  std::map<int, int> incarnations_;
};

}  // namespace sluice
