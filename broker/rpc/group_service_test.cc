// GroupService through gRPC, from a peer to a GroupApi and back.
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "broker/rpc/fake_broker_testing.h"
#include "client/grpc_peers/grpc_group_peer.h"
#include "common/base/error.h"
#include "common/rpc/public_methods.h"
#include "common/rpc/status_wire.h"

namespace sluice {
namespace {

class FakeGroups final : public GroupApi {
 public:
#define SLUICE_GROUP_CALL(Name)                                            \
  std::function<void(const api::CallContext&, v1::Name##Request,           \
                     PeerReply<v1::Name##Response>)>                       \
      on_##Name;                                                           \
  void Name(const api::CallContext& context, v1::Name##Request request,    \
            PeerReply<v1::Name##Response> reply) override {                \
    on_##Name(context, std::move(request), std::move(reply));              \
  }
  SLUICE_GROUP_CALLS(SLUICE_GROUP_CALL)
#undef SLUICE_GROUP_CALL
};

class GroupServiceTest : public testing::Test {
 protected:
  static constexpr int64_t kPatientUs = 600'000'000;

  GroupServiceTest() {
    PublicEdge::Options options;
    options.groups = &groups_;
    auto edge = PublicEdge::Start(std::move(options), &broker_, &clock_);
    EXPECT_TRUE(edge.ok()) << edge.status();
    edge_ = *std::move(edge);
    peer_ = std::make_unique<GrpcGroupPeer>(GrpcGroupPeer::Deps{
        {"broker", 9001},
        &executor_,
        edge_->InProcessChannel(
            rpc::ChannelArgumentsFor(rpc::ChannelUse::kControl)),
        "tester"});
  }

  template <class Response>
  using Reply = std::shared_ptr<Awaited<absl::StatusOr<Response>>>;

  FakeBroker broker_;
  FakeGroups groups_;
  RealClock clock_;
  ThreadExecutor executor_{"client"};
  std::unique_ptr<PublicEdge> edge_;
  std::unique_ptr<GrpcGroupPeer> peer_;
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
    peer_->Name({}, kPatientUs,                                             \
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
  peer_->JoinGroup(request, kPatientUs,
                   [result](auto reply) { result->Set(std::move(reply)); });
  const auto answer = result->Get();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->generation_id(), 7);
  EXPECT_EQ(answer->members(0).metadata(), std::string("\0\1\xff", 3));
  EXPECT_EQ(answer->coordinator().node_id(), 3);
}

TEST_F(GroupServiceTest, BytesThatAreNoMessageAreAnInvalidRequest) {
  const auto channel = edge_->InProcessChannel(
      rpc::ChannelArgumentsFor(rpc::ChannelUse::kControl));
  grpc::GenericStub stub(channel);
  for (const rpc::PublicMethod& row : rpc::kPublicMethods) {
    if (row.resource != rpc::Resource::kGroup) continue;
    if (row.kind == rpc::CallKind::kStream) continue;  // consume_call_test
    grpc::ClientContext context;
    grpc::Slice garbage(std::string("\xff\xff\xff garbage"));
    grpc::ByteBuffer request(&garbage, 1);
    grpc::ByteBuffer response;
    Awaited<absl::Status> status;
    stub.UnaryCall(&context, std::string(row.path), {}, &request, &response,
                   [&](const grpc::Status& s) {
                     status.Set(rpc::FromGrpcStatus(s));
                   });
    EXPECT_EQ(CodeOf(status.Get()), ErrorCode::kInvalidRequest) << row.path;
  }
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
  peer_->JoinGroup({}, kPatientUs,
                   [result](auto reply) { result->Set(std::move(reply)); });
  auto late = parked.Get();
  edge_->Drain();
  EXPECT_EQ(CodeOf(result->Get().status()), ErrorCode::kShuttingDown);
  late(v1::JoinGroupResponse());
}

}  // namespace
}  // namespace sluice
