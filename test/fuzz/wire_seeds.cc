#include <cstdint>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "sluice/internal/v1/replication.pb.h"
#include "sluice/v1/log.pb.h"
#include "storage/batch_testing.h"
#include "test/fuzz/seeds.h"

namespace sluice::fuzz {
namespace {

std::string Batch() {
  return std::string(
      MakeStoredBatch(Offset(3), LeaderEpoch(1), {.records = 2}).view());
}

// ---- log_wire_fuzz ----

void Fill(v1::RecordList* list) {
  auto* record = list->add_records();
  record->set_key("key");
  record->set_value("value");
  auto* header = record->add_headers();
  header->set_key("h");
  header->set_value("1");
  list->add_records()->set_timestamp_ms(1'700'000'000'000);
}

template <class Result>
void Fill(Result* result, bool failed) {
  result->mutable_topic()->set_name("t");
  if (!failed) return;
  auto* error = result->mutable_error();
  error->set_code(v1::ERROR_CODE_NOT_LEADER);
  error->set_message("not the leader");
  result->mutable_leader()->set_leader_id(2);
  result->mutable_leader()->mutable_endpoint()->set_host("h");
  result->mutable_leader()->mutable_endpoint()->set_port(1);
}

v1::ProduceRequest Produce() {
  v1::ProduceRequest request;
  request.set_acks(-1);
  auto* typed = request.add_partitions();
  typed->mutable_topic()->set_name("t");
  Fill(typed->mutable_records());
  auto* opaque = request.add_partitions();
  opaque->mutable_topic()->set_id(Uuid(1, 1).ToBytes());
  opaque->set_partition(1);
  opaque->set_leader_epoch(3);
  opaque->set_producer_id(7);
  opaque->set_batches(Batch());
  return request;
}

v1::FetchRequest Fetch() {
  v1::FetchRequest request;
  auto* partition = request.add_partitions();
  partition->mutable_topic()->set_name("t");
  partition->set_offset(5);
  partition->set_leader_epoch(1);
  request.set_isolation(v1::ISOLATION_READ_COMMITTED);
  request.set_form(v1::PAYLOAD_FORM_BATCHES);
  return request;
}

v1::ListOffsetsRequest ListOffsets() {
  v1::ListOffsetsRequest request;
  auto* partition = request.add_partitions();
  partition->mutable_topic()->set_name("t");
  partition->set_position(v1::ListOffsetsPartition::POSITION_LATEST);
  return request;
}

v1::SubscribeRequest Subscribe() {
  v1::SubscribeRequest request;
  auto* from = request.add_partitions();
  from->mutable_topic()->set_name("t");
  from->set_partition(-1);
  from->set_position(v1::SubscribePartition::START_LATEST);
  auto* at = request.add_partitions();
  at->mutable_topic()->set_id(Uuid(1, 1).ToBytes());
  at->set_offset(9);
  *request.add_stop() = *from;
  request.set_credit_bytes(1 << 20);
  return request;
}

v1::ProduceResponse Produced() {
  v1::ProduceResponse response;
  auto* result = response.add_results();
  Fill(result, true);
  auto* fault = result->add_record_errors();
  fault->set_record_index(1);
  fault->set_message("bad");
  result->add_record_indexes(4);
  return response;
}

v1::FetchResponse Fetched() {
  v1::FetchResponse response;
  auto* typed = response.add_results();
  Fill(typed, false);
  Fill(typed->mutable_records());
  auto* opaque = response.add_results();
  Fill(opaque, true);
  opaque->set_batches(Batch());
  opaque->add_aborted_transactions()->set_producer_id(7);
  return response;
}

v1::ListOffsetsResponse OffsetsListed() {
  v1::ListOffsetsResponse response;
  auto* result = response.add_results();
  Fill(result, false);
  result->set_offset(12);
  return response;
}

void AddLogSeeds(std::vector<Seed>& seeds) {
  const auto add = [&](const char* name, int kind, const std::string& bytes) {
    seeds.push_back({"log_wire_fuzz", name,
                     SeedWriter().U8(kind).Raw(bytes).Finish()});
  };
  add("produce", 0, Produce().SerializeAsString());
  add("fetch", 1, Fetch().SerializeAsString());
  add("list_offsets", 2, ListOffsets().SerializeAsString());
  add("subscribe", 3, Subscribe().SerializeAsString());
  add("produced", 4, Produced().SerializeAsString());
  add("fetched", 5, Fetched().SerializeAsString());
  add("offsets_listed", 6, OffsetsListed().SerializeAsString());
  add("stored", 7, Batch());
}

// ---- replication_wire_fuzz ----

template <class Message>
Message* AtPartition(Message* message) {
  message->set_topic_id(Uuid(1, 1).ToBytes());
  message->set_partition(2);
  message->set_leader_epoch(4);
  message->set_add_number(12);
  return message;
}

void AddReplicationSeeds(std::vector<Seed>& seeds) {
  internal::v1::LeaderFrame leader;
  auto* answer = AtPartition(leader.add_add_answers());
  answer->set_diverging(true);
  answer->set_diverging_epoch(3);
  answer->set_diverging_end_offset(8);
  AtPartition(leader.add_data())->set_batches(Batch());
  AtPartition(leader.add_high_watermarks())->set_high_watermark(9);
  AtPartition(leader.add_moved())
      ->set_to(internal::v1::STREAM_KIND_CATCH_UP);
  AtPartition(leader.add_removed())
      ->mutable_error()
      ->set_code(v1::ERROR_CODE_FENCED_LEADER_EPOCH);
  internal::v1::LeaderFrame refused;
  refused.mutable_refused()->set_code(v1::ERROR_CODE_STALE_BROKER_EPOCH);
  internal::v1::FollowerFrame follower;
  auto* open = follower.mutable_open();
  open->set_cluster_id(Uuid(7, 7).ToBytes());
  open->set_broker_id(1);
  open->set_broker_epoch(5);
  open->set_incarnation_id(Uuid(2, 2).ToBytes());
  open->set_leader_id(2);
  auto* add = AtPartition(follower.add_adds());
  add->set_fetch_offset(6);
  add->set_last_fetched_epoch(-1);
  auto* ack = AtPartition(follower.add_acks());
  ack->set_appended_offset(9);
  ack->set_durable_offset(7);
  AtPartition(follower.add_removes());
  follower.set_credit_bytes(8 << 20);
  const auto push = [&](const char* name, int end, const std::string& bytes) {
    seeds.push_back({"replication_wire_fuzz", name,
                     SeedWriter().U8(end).Raw(bytes).Finish()});
  };
  push("leader", 0, leader.SerializeAsString());
  push("refused", 0, refused.SerializeAsString());
  push("follower", 1, follower.SerializeAsString());
}

// ---- config_fuzz ----

void AddConfigSeeds(std::vector<Seed>& seeds) {
  const auto add = [&](const char* name, int choices, const char* text) {
    seeds.push_back({"config_fuzz", name,
                     SeedWriter().U8(choices).Raw(text).Finish()});
  };
  add("combined", 0x10,
      "controller,broker\nsluice\n127.0.0.1:9001\n\n127.0.0.1:9101\n\n"
      "1@127.0.0.1:9101,2@127.0.0.1:9102\n/a,/b\n127.0.0.1:9201\n"
      "min.insync.replicas=2,durability=memory\nlocalhost:9001,[::1]:9\n"
      "min.insync.replicas=3\nsegment.bytes=65536\n"
      "max.message.bytes=1024\ndurability=disk\n");
  add("insecure", 0x45,
      "broker\nc\n0.0.0.0:1\nh:2\n[::]:3\n\n9@h:1\n/d\n\n"
      "num.partitions=5,default.replication.factor=3,segment.bytes=70000\n"
      "b:1\nmin.insync.replicas=1\nnum.partitions=3\n");
  add("controller", 0x20,
      "controller\nc\n\n\n127.0.0.1:3\n127.0.0.1:4\n2@h:1\n/d\n\n\n\n");
}

}  // namespace

std::vector<Seed> WireSeeds() {
  std::vector<Seed> seeds;
  AddLogSeeds(seeds);
  AddReplicationSeeds(seeds);
  AddConfigSeeds(seeds);
  return seeds;
}

}  // namespace sluice::fuzz
