#include <cstdint>
#include <string>
#include <vector>

#include "sluice/internal/v1/controller.pb.h"
#include "sluice/v1/topic.pb.h"
#include "test/fuzz/metadata_start.h"
#include "test/fuzz/seeds.h"

namespace sluice::fuzz {
namespace {

using internal::v1::MetadataBatch;

// ---- metadata_replay_fuzz ----

MetadataBatch IsrChange(int32_t partition_epoch, bool elect) {
  MetadataBatch batch;
  auto* change = batch.add_records()->mutable_partition_change();
  change->set_topic_id(SmallTopic().ToBytes());
  change->set_partition(0);
  change->set_partition_epoch(partition_epoch);
  change->mutable_isr()->add_ids(2);
  change->mutable_elr()->add_ids(1);
  if (elect) {
    change->set_leader(2);
    change->set_leader_epoch(1);
  }
  return batch;
}

MetadataBatch Setting(internal::v1::ConfigRecord::ResourceType type,
                      const char* name) {
  MetadataBatch batch;
  auto* config = batch.add_records()->mutable_config();
  config->set_resource_type(type);
  config->set_resource_name(name);
  config->set_key("min.insync.replicas");
  config->set_value("2");
  return batch;
}

MetadataBatch Everything() {
  MetadataBatch batch;
  batch.set_timestamp_ms(1'700'000'000'000);
  batch.add_records()->mutable_no_op();
  auto* ids = batch.add_records()->mutable_producer_ids();
  ids->set_broker_id(1);
  ids->set_first_producer_id(5000);
  ids->set_next_producer_id(6000);
  auto* topic = batch.add_records()->mutable_topic();
  topic->set_name("u");
  topic->set_id(Uuid(1, 2).ToBytes());
  auto* partition = batch.add_records()->mutable_partition();
  partition->set_topic_id(Uuid(1, 2).ToBytes());
  partition->add_replicas(3);
  partition->add_directories("");
  partition->add_isr(3);
  partition->set_leader(3);
  batch.add_records()->mutable_remove_topic()->set_id(SmallTopic().ToBytes());
  auto* fence = batch.add_records()->mutable_broker_change();
  fence->set_broker_id(1);
  fence->set_broker_epoch(kSmallClusterOffset.value());
  fence->set_fenced(true);
  auto* again = batch.add_records()->mutable_register_broker();
  again->set_broker_id(1);
  again->set_incarnation_id(Uuid(2, 9).ToBytes());
  return batch;
}

void AddReplaySeeds(std::vector<Seed>& seeds) {
  const auto add = [&](const char* name, int start,
                       const std::vector<MetadataBatch>& batches) {
    SeedWriter out;
    out.U8(start);
    for (const MetadataBatch& batch : batches) {
      out.Piece(batch.SerializeAsString());
    }
    seeds.push_back({"metadata_replay_fuzz", name, out.Finish()});
  };
  using Config = internal::v1::ConfigRecord;
  add("cluster", 0, {SmallClusterBatch()});
  add("isr", 1, {IsrChange(1, false), IsrChange(2, true)});
  add("everything", 1, {Everything()});
  add("configs", 1, {Setting(Config::RESOURCE_TYPE_TOPIC, "t"),
                     Setting(Config::RESOURCE_TYPE_CLUSTER, ""),
                     Setting(Config::RESOURCE_TYPE_BROKER, "2")});
}

// ---- admin_fuzz ----

template <class Message>
void Put(SeedWriter& out, int kind, const Message& message) {
  out.U8(kind).Piece(message.SerializeAsString());
}

v1::CreateTopicsRequest Create() {
  v1::CreateTopicsRequest request;
  auto* placed = request.add_topics();
  placed->set_name("orders");
  placed->set_partition_count(3);
  placed->set_replication_factor(2);
  (*placed->mutable_configs())["durability"] = "memory";
  auto* assigned = request.add_topics();
  assigned->set_name("assigned");
  for (int i = 0; i < 2; ++i) {
    auto* assignment = assigned->add_assignments();
    assignment->add_broker_ids(1 + i);
    assignment->add_broker_ids(3);
  }
  return request;
}

v1::DeleteTopicsRequest Delete() {
  v1::DeleteTopicsRequest request;
  request.add_topics()->set_name("orders");
  request.add_topics()->set_id(SmallTopic().ToBytes());
  return request;
}

internal::v1::AlterPartitionsRequest Shrink() {
  internal::v1::AlterPartitionsRequest request;
  request.set_broker_id(1);
  request.set_broker_epoch(kSmallClusterOffset.value());
  auto* change = request.add_partitions();
  change->set_topic_id(SmallTopic().ToBytes());
  change->set_partition(0);
  for (int32_t id = 1; id <= 2; ++id) {
    auto* member = change->add_new_isr();
    member->set_broker_id(id);
    member->set_broker_epoch(kSmallClusterOffset.value());
  }
  auto* trimmed = request.add_log_starts();
  trimmed->set_topic_id(SmallTopic().ToBytes());
  trimmed->set_partition(0);
  trimmed->set_log_start_offset(3);
  return request;
}

internal::v1::RegisterBrokerRequest Register(int32_t id) {
  internal::v1::RegisterBrokerRequest request;
  request.set_cluster_id(Uuid(7, 7).ToBytes());
  request.set_broker_id(id);
  request.set_incarnation_id(Uuid(2, 77).ToBytes());
  for (const char* name : {kInternalListener, kPublicListener}) {
    auto* listener = request.add_listeners();
    listener->set_name(name);
    listener->mutable_endpoint()->set_host("h");
    listener->mutable_endpoint()->set_port(9000);
  }
  auto* directory = request.add_directories();
  directory->set_id(Uuid(3, static_cast<uint64_t>(id)).ToBytes());
  directory->set_clean_broker_epoch(-1);
  request.set_feature_min(1);
  request.set_feature_max(1);
  return request;
}

internal::v1::ReportReplicasRequest Report(int32_t id) {
  internal::v1::ReportReplicasRequest request;
  request.set_broker_id(id);
  request.set_broker_epoch(kSmallClusterOffset.value());
  auto* verdict = request.add_verdicts();
  verdict->set_topic_id(SmallTopic().ToBytes());
  verdict->set_partition(0);
  verdict->set_lossy(true);
  return request;
}

v1::AlterConfigsRequest Configure() {
  v1::AlterConfigsRequest request;
  auto* resource = request.add_resources();
  resource->mutable_resource()->set_type(v1::ConfigResource::TYPE_TOPIC);
  resource->mutable_resource()->set_name("t");
  const auto change = [&](const char* name, const char* value) {
    auto* config = resource->add_changes();
    config->set_name(name);
    config->set_value(value);
    config->set_operation(*value == '\0' ? v1::ConfigChange::OPERATION_DELETE
                                         : v1::ConfigChange::OPERATION_SET);
  };
  change("min.insync.replicas", "1");
  change("durability", "memory");
  change("max.message.bytes", "");
  return request;
}

v1::ElectLeadersRequest Elect(v1::ElectLeadersRequest::Kind kind) {
  v1::ElectLeadersRequest request;
  request.set_kind(kind);
  if (kind != v1::ElectLeadersRequest::KIND_UNCLEAN) return request;
  auto* topic = request.add_topics();
  topic->mutable_topic()->set_name("t");
  topic->add_partitions(0);
  topic->add_partitions(1);
  return request;
}

v1::CreatePartitionsRequest Grow() {
  v1::CreatePartitionsRequest request;
  auto* topic = request.add_topics();
  topic->mutable_topic()->set_name("t");
  topic->set_total_count(5);
  auto* assigned = request.add_topics();
  assigned->mutable_topic()->set_id(SmallTopic().ToBytes());
  assigned->set_total_count(3);
  for (const int id : {1, 2, 3}) {
    assigned->add_assignments()->add_broker_ids(id);
  }
  return request;
}

internal::v1::EnsureInternalTopicRequest Ensure() {
  internal::v1::EnsureInternalTopicRequest request;
  request.set_name("__consumer_offsets");
  return request;
}

// What a replica tells of its log while nobody leads.
internal::v1::ReportReplicasRequest Tell(int32_t id, int32_t leader_epoch) {
  internal::v1::ReportReplicasRequest request = Report(id);
  auto* verdict = request.mutable_verdicts(0);
  verdict->set_lossy(false);
  verdict->set_candidate_epoch(leader_epoch);
  verdict->set_log_end_offset(7);
  return request;
}

void AddAdminSeeds(std::vector<Seed>& seeds) {
  const auto add = [&](const char* name, const SeedWriter& out) {
    seeds.push_back({"admin_fuzz", name, out.Finish()});
  };
  SeedWriter topics;
  Put(topics, 0, Create());
  Put(topics, 0, Create());
  Put(topics, 1, Delete());
  add("topics", topics);
  SeedWriter shrink;
  Put(shrink, 2, Shrink());
  Put(shrink, 4, Report(3));
  add("shrink", shrink);
  SeedWriter restart;
  restart.U8(5).Piece(std::string(1, '\0'));
  Put(restart, 3, Register(1));
  restart.U8(6).Piece(std::string(1, '\0'));
  Put(restart, 3, Register(4));
  Put(restart, 2, Shrink());
  add("restart", restart);
  SeedWriter fences;
  for (int id = 0; id < 3; ++id) {
    fences.U8(5).Piece(std::string(1, static_cast<char>(id)));
  }
  Put(fences, 3, Register(3));
  fences.U8(6).Piece(std::string(1, '\2'));
  Put(fences, 0, Create());
  add("fences", fences);
  SeedWriter configs;
  Put(configs, 2, Shrink());
  Put(configs, 7, Configure());
  Put(configs, 7, Configure());
  add("configs", configs);
  SeedWriter growth;
  Put(growth, 9, Grow());
  growth.U8(5).Piece(std::string(1, '\2'));
  Put(growth, 10, Ensure());
  growth.U8(6).Piece(std::string(1, '\2'));
  Put(growth, 1, Delete());
  add("growth", growth);
  SeedWriter elections;
  for (const int id : {2, 1, 0}) {
    elections.U8(5).Piece(std::string(1, static_cast<char>(id)));
  }
  elections.U8(6).Piece(std::string(1, '\2'));
  Put(elections, 8, Elect(v1::ElectLeadersRequest::KIND_UNCLEAN));
  Put(elections, 4, Tell(3, 1));
  elections.U8(6).Piece(std::string(1, '\0'));
  Put(elections, 8, Elect(v1::ElectLeadersRequest::KIND_PREFERRED));
  add("elections", elections);
}

}  // namespace

std::vector<Seed> MetadataSeeds() {
  std::vector<Seed> seeds;
  AddReplaySeeds(seeds);
  AddAdminSeeds(seeds);
  return seeds;
}

}  // namespace sluice::fuzz
