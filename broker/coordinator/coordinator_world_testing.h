// A coordinator over a replica that the test leads, and calls that are asked
// and answered.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/coordinator/fake_replica_testing.h"
#include "broker/coordinator/group_coordinator.h"
#include "broker/coordinator/view_world_testing.h"
#include "controller/metadata/test_cluster.h"

namespace sluice::coordinator {

// An answer that may come later.
template <class Response>
class Answered {
 public:
  PeerReply<Response> Reply() {
    return [state = state_](absl::StatusOr<Response> response) {
      ASSERT_FALSE(state->has_value()) << "answered twice";
      *state = std::move(response);
    };
  }
  bool came() const { return state_->has_value(); }
  const Response& get() const {
    EXPECT_TRUE(came()) << "not answered";
    static const Response nothing;
    if (!came() || !(*state_)->ok()) return nothing;
    return ***state_;
  }
  ErrorCode code() const {
    return CodeFromNumber(static_cast<int32_t>(get().error().code()));
  }

 private:
  std::shared_ptr<std::optional<absl::StatusOr<Response>>> state_ =
      std::make_shared<std::optional<absl::StatusOr<Response>>>();
};

class CoordinatorTest : public testing::Test {
 protected:
  CoordinatorTest() {
    metadata_.StartAll(1);
    orders_ = metadata_.CreateOn("orders", {1}, {}, 4);
    replica_.metadata = metadata_.shared();
    Start();
  }
  ~CoordinatorTest() override { replica_.observer = nullptr; }

  // A process that hosts the replica.
  void Start() {
    GroupCoordinator::Deps deps;
    deps.executor = env_.shard();
    deps.clock = &env_.world;
    deps.store = env_.store.get();
    deps.self = NodeId(1);
    deps.tp = {TopicId(Uuid(9, 9)), PartitionIndex(0)};
    deps.name = "__consumer_offsets-0";
    deps.config = config_;
    deps.random_seed = ++seed_;
    deps.counters = &counters_;
    deps.on_destroyed = [] {};
    deps.epochs = &replica_.epochs();
    deps.leo = replica_.leo();
    coordinator_ = std::make_unique<GroupCoordinator>(std::move(deps));
    replica_.hw = coordinator_->RestartHighWatermark(replica_.hw);
    coordinator_->Attach(&replica_);
    replica_.observer = coordinator_.get();
  }
  void Lead(int32_t epoch) {
    replica_.epoch = LeaderEpoch(epoch);
    replica_.leso = replica_.leo();
    replica_.leads = true;
    replica_.Progress();
  }
  // Leads, and commits what it is given at once.
  void Serve(int32_t epoch = 1) {
    Lead(epoch);
    replica_.commits_at_once = true;
    replica_.Commit();
  }
  void StopLeading() {
    replica_.leads = false;
    replica_.Interrupt();
    replica_.Progress();
  }
  // Another process takes the replica over, with what the log has; of the store
  // nothing.
  void FailOver(int32_t epoch) {
    replica_.commits_at_once = false;
    StopLeading();
    replica_.observer = nullptr;
    coordinator_.reset();
    env_.disk.Wipe();
    env_.store.reset();
    env_.Mount();
    Start();
    Serve(epoch);
    env_.Settle();
  }

  // ---- Calls ----

  v1::CommitOffsetsRequest CommitOf(const std::string& group,
                                    int32_t partition, int64_t offset) {
    v1::CommitOffsetsRequest request;
    request.set_group_id(group);
    auto* put = request.add_offsets();
    put->mutable_topic()->set_name("orders");
    put->set_partition(partition);
    put->set_offset(offset);
    return request;
  }
  Answered<v1::CommitOffsetsResponse> Commit(
      const v1::CommitOffsetsRequest& request) {
    Answered<v1::CommitOffsetsResponse> answer;
    coordinator_->CommitOffsets({}, request, answer.Reply());
    return answer;
  }
  static ErrorCode CodeOfCommit(
      const Answered<v1::CommitOffsetsResponse>& answer) {
    if (answer.get().results().empty()) return ErrorCode::kUnknownServerError;
    return CodeFromNumber(
        static_cast<int32_t>(answer.get().results(0).error().code()));
  }
  v1::GroupOffsets Fetch(const std::string& group) {
    v1::GroupOffsetsQuery query;
    query.set_group_id(group);
    return coordinator_->FetchOffsets(query);
  }
  // -1: none.
  int64_t Committed(const std::string& group, int32_t partition) {
    const v1::GroupOffsets fetched = Fetch(group);
    for (const auto& found : fetched.offsets()) {
      if (found.partition() == partition) return found.offset();
    }
    return -1;
  }
  v1::JoinGroupRequest JoinOf(const std::string& group,
                              const std::string& member = "",
                              const std::string& instance = "") {
    v1::JoinGroupRequest request;
    request.set_group_id(group);
    request.set_member_id(member);
    request.set_group_instance_id(instance);
    request.set_session_timeout_ms(10'000);
    request.set_rebalance_timeout_ms(30'000);
    request.set_protocol_type("consumer");
    request.add_protocols()->set_name("range");
    request.set_member_id_required(false);
    return request;
  }
  Answered<v1::JoinGroupResponse> Join(const v1::JoinGroupRequest& request) {
    Answered<v1::JoinGroupResponse> answer;
    api::CallContext context;
    context.client_id = "tester";
    context.peer_address = "10.0.0.7:1";
    coordinator_->JoinGroup(context, request, answer.Reply());
    return answer;
  }
  Answered<v1::SyncGroupResponse> Sync(const std::string& group,
                                       const std::string& member,
                                       int32_t generation,
                                       const std::string& assignment = "") {
    v1::SyncGroupRequest request;
    request.set_group_id(group);
    request.set_member_id(member);
    request.set_generation_id(generation);
    if (!assignment.empty()) {
      auto* given = request.add_assignments();
      given->set_member_id(member);
      given->set_assignment(assignment);
    }
    Answered<v1::SyncGroupResponse> answer;
    coordinator_->SyncGroup({}, request, answer.Reply());
    return answer;
  }
  ErrorCode Heartbeat(const std::string& group, const std::string& member,
                      int32_t generation) {
    v1::HeartbeatRequest request;
    request.set_group_id(group);
    request.set_member_id(member);
    request.set_generation_id(generation);
    Answered<v1::HeartbeatResponse> answer;
    coordinator_->Heartbeat({}, request, answer.Reply());
    return answer.code();
  }
  // A group with one member that has its assignment; the member's id.
  std::string MakeStable(const std::string& group) {
    const auto joined = Join(JoinOf(group));
    env_.world.RunFor(config_.group.initial_rebalance_delay_us);
    EXPECT_EQ(joined.code(), ErrorCode::kNone)
        << joined.get().DebugString();
    const auto synced = Sync(group, joined.get().member_id(),
                             joined.get().generation_id(), "mine");
    EXPECT_EQ(synced.code(), ErrorCode::kNone);
    EXPECT_EQ(synced.get().assignment(), "mine");
    return joined.get().member_id();
  }
  v1::GroupState StateOf(const std::string& group) {
    return coordinator_->DescribeGroup(group).state();
  }

  ViewWorld env_;
  TestCluster metadata_;
  TopicPartition orders_;
  FakeReplica replica_;
  CoordinatorConfig config_;
  CoordinatorCounters counters_;
  uint64_t seed_ = 0;
  std::unique_ptr<GroupCoordinator> coordinator_;
};

}  // namespace sluice::coordinator
