// GroupService through gRPC, from a peer to a GroupApi and back.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "broker/rpc/fake_broker_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

class GroupServiceTest : public PublicEdgeTest {
 protected:
  template <class Response>
  using Reply = std::shared_ptr<Awaited<absl::StatusOr<Response>>>;
};

// Each method arrives at its own, and its answer comes back.
TEST_F(GroupServiceTest, EveryCallHasItsHandler) {
#define SLUICE_GROUP_CALL(Name)                                             \
  {                                                                         \
    SCOPED_TRACE(#Name);                                                    \
    groups_.on_##Name = [](const api::CallContext& context,                 \
                           v1::Name##Request,                               \
                           PeerReply<v1::Name##Response> reply) {           \
      EXPECT_EQ(context.client_id, "tester");                               \
      EXPECT_EQ(context.listener, "PUBLIC");                                \
      EXPECT_NE(context.deadline_us, INT64_MAX);                            \
      reply(MakeError(ErrorCode::kInvalidRequest, #Name));                  \
    };                                                                      \
    auto result =                                                           \
        std::make_shared<Awaited<absl::StatusOr<v1::Name##Response>>>();    \
    group_peer_->Name({}, kPatientUs,                                             \
                [result](auto reply) { result->Set(std::move(reply)); });   \
    const auto answer = result->Get();                                      \
    EXPECT_EQ(CodeOf(answer.status()), ErrorCode::kInvalidRequest);         \
    EXPECT_EQ(answer.status().message(), #Name);                            \
  }
  SLUICE_GROUP_CALLS(SLUICE_GROUP_CALL)
#undef SLUICE_GROUP_CALL
}

TEST_F(GroupServiceTest, AnAnswerCrossesWhole) {
  groups_.on_JoinGroup = [](const api::CallContext&,
                            v1::JoinGroupRequest request,
                            PeerReply<v1::JoinGroupResponse> reply) {
    EXPECT_EQ(request.group_id(), "g");
    v1::JoinGroupResponse response;
    response.set_generation_id(7);
    response.add_members()->set_metadata(std::string("\0\1\xff", 3));
    response.mutable_coordinator()->set_node_id(3);
    reply(std::move(response));
  };
  v1::JoinGroupRequest request;
  request.set_group_id("g");
  Reply<v1::JoinGroupResponse> result =
      std::make_shared<Awaited<absl::StatusOr<v1::JoinGroupResponse>>>();
  group_peer_->JoinGroup(request, kPatientUs,
                   [result](auto reply) { result->Set(std::move(reply)); });
  const auto answer = result->Get();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->generation_id(), 7);
  EXPECT_EQ(answer->members(0).metadata(), std::string("\0\1\xff", 3));
  EXPECT_EQ(answer->coordinator().node_id(), 3);
}

// A join that waits for others does not outlive the listener.
TEST_F(GroupServiceTest, AParkedJoinEndsWhenTheNodeDrains) {
  Awaited<PeerReply<v1::JoinGroupResponse>> parked;
  groups_.on_JoinGroup = [&](const api::CallContext&, v1::JoinGroupRequest,
                             PeerReply<v1::JoinGroupResponse> reply) {
    parked.Set(std::move(reply));
  };
  Reply<v1::JoinGroupResponse> result =
      std::make_shared<Awaited<absl::StatusOr<v1::JoinGroupResponse>>>();
  group_peer_->JoinGroup({}, kPatientUs,
                   [result](auto reply) { result->Set(std::move(reply)); });
  auto late = parked.Get();
  edge_->Drain();
  EXPECT_EQ(CodeOf(result->Get().status()), ErrorCode::kShuttingDown);
  late(v1::JoinGroupResponse());
}

}  // namespace
}  // namespace sluice
