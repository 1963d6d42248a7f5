// Consumer groups on whole simulated clusters, through the brokers' own API:
// the topic is made on first use, a group forms, commits and reads, and goes on
// after its coordinator died.
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "test/sim/checked_cluster.h"
#include "test/sim/group_program.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {
namespace {

class GroupSimTest : public testing::Test {
 protected:
  explicit GroupSimTest(uint64_t seed = 1) : cluster_({}, seed) {
    cluster_.BootAll();
    EXPECT_TRUE(cluster_.AwaitHealthy()) << cluster_.Health();
    EXPECT_TRUE(cluster_.CreateTopic("orders", 4, 3).ok());
  }

  template <class Request, class Response>
  std::optional<Response> Ask(int id,
                              void (GroupPeer::*call)(const Request&, int64_t,
                                                      PeerReply<Response>),
                              const Request& request,
                              int64_t limit_ms = 30'000) {
    if (!cluster_.up(id)) return std::nullopt;
    auto answer =
        std::make_shared<std::optional<absl::StatusOr<Response>>>();
    const auto broker = process_.groups()->ConnectGroups(
        SimNetwork::PublicEndpointOf(NodeId(id)), process_.executor());
    ((*broker).*call)(request, limit_ms * 1000, [answer](auto response) {
      *answer = std::move(response);
    });
    cluster_.RunUntil([&] { return answer->has_value(); }, limit_ms);
    if (!answer->has_value() || !(*answer)->ok()) return std::nullopt;
    return ***answer;
  }

  // 0: nobody, for now.
  int Coordinator(const std::string& group) {
    v1::FindCoordinatorRequest request;
    request.add_keys(group);
    for (int id : cluster_.ids()) {
      const auto found =
          Ask<v1::FindCoordinatorRequest, v1::FindCoordinatorResponse>(
              id, &GroupPeer::FindCoordinator, request);
      if (found.has_value() && !found->results(0).has_error() &&
          cluster_.up(found->results(0).node_id())) {
        return found->results(0).node_id();
      }
    }
    return 0;
  }
  // At the coordinator, until the answer is not "ask again".
  template <class Request, class Response>
  Response AskHard(const std::string& group,
                   void (GroupPeer::*call)(const Request&, int64_t,
                                           PeerReply<Response>),
                   const Request& request,
                   const v1::Error& (*error_of)(const Response&)) {
    std::string last = "no coordinator";
    for (int i = 0; i < 300; ++i) {
      const int id = Coordinator(group);
      if (id != 0) {
        const auto answer = Ask<Request, Response>(id, call, request);
        if (answer.has_value()) {
          const auto code = error_of(*answer).code();
          const bool again =
              code == v1::ERROR_CODE_NOT_COORDINATOR ||
              code == v1::ERROR_CODE_COORDINATOR_NOT_AVAILABLE ||
              code == v1::ERROR_CODE_COORDINATOR_LOAD_IN_PROGRESS;
          if (!again) return *answer;
          last = error_of(*answer).message();
        }
      }
      cluster_.RunFor(50);
    }
    ADD_FAILURE() << "never answered: " << last;
    return {};
  }
  template <class Response>
  static const v1::Error& ErrorOf(const Response& response) {
    return response.error();
  }

  v1::JoinGroupResponse Join(const std::string& member) {
    v1::JoinGroupRequest request;
    request.set_group_id("g");
    request.set_member_id(member);
    request.set_session_timeout_ms(20'000);
    request.set_rebalance_timeout_ms(20'000);
    request.set_protocol_type("consumer");
    request.add_protocols()->set_name("range");
    return AskHard<v1::JoinGroupRequest, v1::JoinGroupResponse>(
        "g", &GroupPeer::JoinGroup, request, &ErrorOf<v1::JoinGroupResponse>);
  }
  v1::SyncGroupResponse Sync(const v1::JoinGroupResponse& joined,
                             const std::string& assignment) {
    v1::SyncGroupRequest request;
    request.set_group_id("g");
    request.set_member_id(joined.member_id());
    request.set_generation_id(joined.generation_id());
    auto* given = request.add_assignments();
    given->set_member_id(joined.member_id());
    given->set_assignment(assignment);
    return AskHard<v1::SyncGroupRequest, v1::SyncGroupResponse>(
        "g", &GroupPeer::SyncGroup, request, &ErrorOf<v1::SyncGroupResponse>);
  }
  v1::ErrorCode Heartbeat(const v1::JoinGroupResponse& joined) {
    v1::HeartbeatRequest request;
    request.set_group_id("g");
    request.set_member_id(joined.member_id());
    request.set_generation_id(joined.generation_id());
    return AskHard<v1::HeartbeatRequest, v1::HeartbeatResponse>(
               "g", &GroupPeer::Heartbeat, request,
               &ErrorOf<v1::HeartbeatResponse>)
        .error()
        .code();
  }
  v1::ErrorCode Commit(const v1::JoinGroupResponse& joined, int64_t offset) {
    v1::CommitOffsetsRequest request;
    request.set_group_id("g");
    request.set_member_id(joined.member_id());
    request.set_generation_id(joined.generation_id());
    auto* put = request.add_offsets();
    put->mutable_topic()->set_name("orders");
    put->set_partition(2);
    put->set_offset(offset);
    return AskHard<v1::CommitOffsetsRequest, v1::CommitOffsetsResponse>(
               "g", &GroupPeer::CommitOffsets, request,
               +[](const v1::CommitOffsetsResponse& response)
                   -> const v1::Error& { return response.results(0).error(); })
        .results(0)
        .error()
        .code();
  }
  int64_t Fetch() {
    v1::FetchOffsetsRequest request;
    request.add_groups()->set_group_id("g");
    const auto found =
        AskHard<v1::FetchOffsetsRequest, v1::FetchOffsetsResponse>(
            "g", &GroupPeer::FetchOffsets, request,
            +[](const v1::FetchOffsetsResponse& response)
                -> const v1::Error& { return response.groups(0).error(); });
    if (found.groups_size() != 1 || found.groups(0).offsets_size() != 1) {
      return -1;
    }
    return found.groups(0).offsets(0).offset();
  }
  v1::JoinGroupResponse MakeStable() {
    const auto id = Join("");
    EXPECT_EQ(id.error().code(), v1::ERROR_CODE_MEMBER_ID_REQUIRED);
    const auto joined = Join(id.member_id());
    EXPECT_FALSE(joined.has_error()) << joined.DebugString();
    EXPECT_EQ(joined.generation_id(), 1);
    EXPECT_EQ(joined.leader_id(), joined.member_id());
    EXPECT_EQ(Sync(joined, "all of it").assignment(), "all of it");
    return joined;
  }

  CheckedCluster cluster_;
  GroupProcess process_{&cluster_, /*forwards=*/false};
};

TEST_F(GroupSimTest, AGroupFormsCommitsAndReads) {
  const auto joined = MakeStable();
  EXPECT_EQ(Heartbeat(joined), v1::ERROR_CODE_UNSPECIFIED);
  EXPECT_EQ(Commit(joined, 41), v1::ERROR_CODE_UNSPECIFIED);
  EXPECT_EQ(Fetch(), 41);
}

// GR2, GR4: no rebalance, no older offset, whoever of them dies and how.
TEST_F(GroupSimTest, ItGoesOnWhereItsCoordinatorDied) {
  const auto joined = MakeStable();
  for (int64_t round = 1; round <= 6; ++round) {
    SCOPED_TRACE(round);
    ASSERT_EQ(Commit(joined, 100 * round), v1::ERROR_CODE_UNSPECIFIED);
    const int coordinator = Coordinator("g");
    ASSERT_NE(coordinator, 0);
    if (round % 2 == 0) {
      cluster_.Kill(coordinator);
    } else {
      cluster_.PowerCut(coordinator, /*reordered=*/true);
    }
    EXPECT_EQ(Fetch(), 100 * round);
    EXPECT_EQ(Heartbeat(joined), v1::ERROR_CODE_UNSPECIFIED);
    EXPECT_EQ(Sync(joined, "").assignment(), "all of it");
    cluster_.Boot(coordinator);
    ASSERT_TRUE(cluster_.AwaitHealthy()) << cluster_.Health();
  }
}

TEST_F(GroupSimTest, APowerCutOfAllTakesNothingThatWasAcknowledged) {
  const auto joined = MakeStable();
  ASSERT_EQ(Commit(joined, 7), v1::ERROR_CODE_UNSPECIFIED);
  for (const int id : cluster_.ids()) cluster_.PowerCut(id);
  cluster_.BootAll();
  ASSERT_TRUE(cluster_.AwaitHealthy()) << cluster_.Health();
  EXPECT_EQ(Fetch(), 7);
  EXPECT_EQ(Heartbeat(joined), v1::ERROR_CODE_UNSPECIFIED);
}

// The store of the views is of no worth of its own.
TEST_F(GroupSimTest, AViewThatIsGoneIsReplayed) {
  const auto joined = MakeStable();
  ASSERT_EQ(Commit(joined, 7), v1::ERROR_CODE_UNSPECIFIED);
  for (const int id : cluster_.ids()) {
    cluster_.Kill(id);
    cluster_.at(id).views.Wipe();
    cluster_.Boot(id);
    ASSERT_TRUE(cluster_.AwaitHealthy()) << cluster_.Health();
  }
  EXPECT_EQ(Fetch(), 7);
}

TEST_F(GroupSimTest, ClientsReadTheTopicAndDoNotWriteIt) {
  const auto joined = MakeStable();
  ASSERT_EQ(Commit(joined, 7), v1::ERROR_CODE_UNSPECIFIED);
  const auto produced = cluster_.Produce("__consumer_offsets", 0, "mine");
  EXPECT_EQ(CodeOf(produced.status()), ErrorCode::kInvalidTopic)
      << produced.status();
}

}  // namespace
}  // namespace sluice::sim
