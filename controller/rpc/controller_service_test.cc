#include "controller/rpc/controller_service.h"

#include <google/protobuf/util/message_differencer.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "client/grpc_peers/grpc_controller_peer.h"
#include "common/base/error.h"
#include "common/env/thread_executor.h"
#include "common/rpc/happenings_testing.h"
#include "common/rpc/server.h"
#include "common/rpc/status_wire.h"
#include "controller/rpc/fake_controller_testing.h"
#include "controller/rpc/random_messages_testing.h"

namespace sluice {
namespace {

using google::protobuf::util::MessageDifferencer;

constexpr int64_t kLongUs = 30000000;

// A controller and a broker's peer of it, over loopback.
class ControllerServiceTest : public testing::Test {
 protected:
  ControllerServiceTest() {
    rpc::ListenerOptions options;
    options.name = "INTERNAL";
    options.bind = {"127.0.0.1", 0};
    options.completion_queues = 1;
    auto server = rpc::RpcServer::Start(options, {service_.service()});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    server_loop_ = std::make_unique<rpc::CompletionLoop>(
        "server-loop", std::move(server_->TakeQueues()[0]));
    service_.Serve(server_loop_.get());
    peer_ = std::make_unique<GrpcControllerPeer>(GrpcControllerPeer::Deps{
        &client_loop_, &broker_executor_, NodeId(3),
        {"127.0.0.1", server_->port()}});
  }
  ~ControllerServiceTest() override {
    client_loop_.Stop();
    StopServer();
    // Streams go before the executors they post to.
    controller_.liveness = nullptr;
    controller_.follower = nullptr;
  }
  void StopServer() {
    if (server_ == nullptr) return;
    server_->Shutdown(0);
    server_loop_->Stop();
    server_ = nullptr;
  }

  template <class Request, class Response>
  absl::StatusOr<Response> Call(
      void (ControllerPeer::*method)(const Request&, int64_t,
                                     PeerReply<Response>),
      const Request& request, int64_t timeout_us = kLongUs) {
    return Start(method, request, timeout_us).get();
  }
  template <class Request, class Response>
  std::future<absl::StatusOr<Response>> Start(
      void (ControllerPeer::*method)(const Request&, int64_t,
                                     PeerReply<Response>),
      const Request& request, int64_t timeout_us = kLongUs) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<Response>>>();
    (peer_.get()->*method)(request, timeout_us,
                           [this, promise](absl::StatusOr<Response> answer) {
                             EXPECT_TRUE(broker_executor_.IsCurrent());
                             promise->set_value(std::move(answer));
                           });
    return promise->get_future();
  }
  // Whatever the fields: what was sent is what arrives, both ways.
  template <class Request, class Response>
  void ExpectCarried(void (ControllerPeer::*method)(const Request&, int64_t,
                                                    PeerReply<Response>)) {
    for (int i = 0; i < 20; ++i) {
      const auto request = random_.Next<Request>();
      const auto response = random_.Next<Response>();
      controller_.WillAnswer<Request, Response>(response);
      const auto answer = Call(method, request);
      ASSERT_TRUE(answer.ok()) << answer.status();
      EXPECT_TRUE(MessageDifferencer::Equals(*answer, response));
      EXPECT_TRUE(MessageDifferencer::Equals(controller_.asked<Request>(),
                                             request));
    }
  }
  std::shared_ptr<LivenessStream> OpenLiveness() {
    PeerStreamEvents<iv1::LivenessResponse> events;
    events.on_message = [this](iv1::LivenessResponse response) {
      EXPECT_TRUE(broker_executor_.IsCurrent());
      answered_ = response;
      at_broker_.Add(StrCat("answer ", response.committed_metadata_offset()));
    };
    events.on_closed = [this](absl::Status why) {
      at_broker_.Add(StrCat("closed ", NameOf(CodeOf(why))));
    };
    return peer_->OpenLiveness(std::move(events));
  }
  std::shared_ptr<MetadataStream> Follow(
      const iv1::FollowMetadataRequest& request) {
    PeerStreamEvents<iv1::FollowMetadataResponse> events;
    events.on_message = [this](iv1::FollowMetadataResponse piece) {
      piece_ = piece;
      at_broker_.Add(StrCat("piece ", piece.batches_size()));
    };
    events.on_closed = [this](absl::Status why) {
      at_broker_.Add(StrCat("closed ", NameOf(CodeOf(why))));
    };
    return peer_->FollowMetadata(request, std::move(events));
  }
  // Runs on the controller's executor, to the end.
  void OnController(std::function<void()> task) {
    std::promise<void> done;
    controller_executor_.Post([&] {
      task();
      done.set_value();
    });
    done.get_future().get();
  }

  RandomMessages random_{5};
  ThreadExecutor controller_executor_{"controller"};
  ThreadExecutor broker_executor_{"broker"};
  rpc::Happenings at_controller_;
  rpc::Happenings at_broker_;
  iv1::LivenessResponse answered_;
  iv1::FollowMetadataResponse piece_;
  FakeController controller_{&controller_executor_, &at_controller_};
  ControllerRpcService service_{{&controller_}};
  std::unique_ptr<rpc::RpcServer> server_;
  std::unique_ptr<rpc::CompletionLoop> server_loop_;
  rpc::CompletionLoop client_loop_{"client-loop"};
  std::unique_ptr<GrpcControllerPeer> peer_;
};

TEST_F(ControllerServiceTest, EveryMethodCarriesEveryField) {
  ExpectCarried(&ControllerPeer::Hello);
  ExpectCarried(&ControllerPeer::RegisterBroker);
  ExpectCarried(&ControllerPeer::ReportReplicas);
  ExpectCarried(&ControllerPeer::AlterPartitions);
  ExpectCarried(&ControllerPeer::AllocateProducerIds);
  ExpectCarried(&ControllerPeer::CreateTopics);
  ExpectCarried(&ControllerPeer::CreatePartitions);
  ExpectCarried(&ControllerPeer::EnsureInternalTopic);
  ExpectCarried(&ControllerPeer::DeleteTopics);
  ExpectCarried(&ControllerPeer::AlterConfigs);
  ExpectCarried(&ControllerPeer::ElectLeaders);
  ExpectCarried(&ControllerPeer::DescribeQuorum);
}

TEST_F(ControllerServiceTest, NotControllerSaysWhoIs) {
  controller_.active = NodeId(7);
  controller_.WillAnswer<iv1::RegisterBrokerRequest,
                         iv1::RegisterBrokerResponse>(
      MakeError(ErrorCode::kNotController, "controller 3 is not active"));

  const auto answer =
      Call(&ControllerPeer::RegisterBroker, iv1::RegisterBrokerRequest());

  EXPECT_EQ(CodeOf(answer.status()), ErrorCode::kNotController);
  EXPECT_EQ(answer.status().message(), "controller 3 is not active");
  EXPECT_EQ(rpc::FactsOf(answer.status())["controller_id"], "7");
}

TEST_F(ControllerServiceTest, EveryErrorKeepsItsCode) {
  for (const ErrorCode code :
       {ErrorCode::kBusy, ErrorCode::kStaleBrokerEpoch,
        ErrorCode::kOutcomeUnknown, ErrorCode::kInvalidRequest,
        ErrorCode::kInconsistentClusterId, ErrorCode::kShuttingDown}) {
    controller_.WillAnswer<iv1::AlterPartitionsRequest,
                           iv1::AlterPartitionsResponse>(
        MakeError(code, "because"));
    const auto answer =
        Call(&ControllerPeer::AlterPartitions, iv1::AlterPartitionsRequest());
    EXPECT_EQ(CodeOf(answer.status()), code);
  }
}

TEST_F(ControllerServiceTest, AnUnansweredCallEndsByItsTimeoutOrTheServersEnd) {
  controller_.keep = true;
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      Call(&ControllerPeer::Hello, iv1::HelloRequest(), 50000).status()));
  EXPECT_EQ(at_controller_.Next(), "kept");

  auto in_flight = Start(&ControllerPeer::Hello, iv1::HelloRequest());
  EXPECT_EQ(at_controller_.Next(), "kept");
  StopServer();
  EXPECT_FALSE(in_flight.get().ok());
  OnController([this] {
    for (auto& late : controller_.kept) late();  // forgotten
    controller_.kept.clear();
  });
  EXPECT_TRUE(absl::IsUnavailable(
      Call(&ControllerPeer::Hello, iv1::HelloRequest()).status()));
}

TEST_F(ControllerServiceTest, LivenessCarriesEveryFieldBothWays) {
  auto stream = OpenLiveness();
  const auto beat = random_.Next<iv1::LivenessRequest>();
  const auto answer = random_.Next<iv1::LivenessResponse>();

  stream->Send(beat);
  EXPECT_EQ(at_controller_.Next(),
            StrCat("beat ", beat.applied_metadata_offset()));
  OnController([&] { controller_.liveness->Send(answer); });
  EXPECT_EQ(at_broker_.Next(),
            StrCat("answer ", answer.committed_metadata_offset()));

  EXPECT_TRUE(MessageDifferencer::Equals(controller_.heard, beat));
  EXPECT_TRUE(MessageDifferencer::Equals(answered_, answer));
}

TEST_F(ControllerServiceTest, ARefusedSessionTellsWhy) {
  controller_.refusal = MakeError(ErrorCode::kNotController, "not here");
  auto stream = OpenLiveness();
  EXPECT_EQ(at_broker_.Next(), "closed NOT_CONTROLLER");
}

TEST_F(ControllerServiceTest, BytesThatAreNoHeartbeatEndTheSessionByName) {
  grpc::GenericStub stub(
      grpc::CreateChannel(StrCat("127.0.0.1:", server_->port()),
                          grpc::InsecureChannelCredentials()));
  // It goes on listening, as a broker does.
  struct Beats final
      : grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
    void OnDone(const grpc::Status& status) override {
      ended.set_value(rpc::FromGrpcStatus(status));
    }
    std::promise<absl::Status> ended;
  } beats;
  grpc::ClientContext context;
  grpc::Slice garbage(std::string("\xff\xff\xff garbage"));
  grpc::ByteBuffer request(&garbage, 1);
  grpc::ByteBuffer response;
  stub.PrepareBidiStreamingCall(
      &context, "/sluice.internal.v1.ControllerService/Liveness", {}, &beats);
  beats.StartWrite(&request);
  beats.StartRead(&response);
  beats.StartCall();
  const absl::Status status = beats.ended.get_future().get();
  EXPECT_EQ(CodeOf(status), ErrorCode::kInvalidRequest) << status;
  EXPECT_NE(status.message().find("LivenessRequest"), absl::string_view::npos)
      << status;
  // And its owner is told: the session is none any more.
  EXPECT_EQ(at_controller_.Next(), "liveness closed");
}

TEST_F(ControllerServiceTest, TheLastAnswerArrivesBeforeTheEnd) {
  auto stream = OpenLiveness();
  stream->Send(iv1::LivenessRequest());
  EXPECT_EQ(at_controller_.Next(), "beat 0");
  OnController([&] {
    controller_.liveness->Send(iv1::LivenessResponse());
    controller_.liveness->Close(
        MakeError(ErrorCode::kStaleBrokerEpoch, "register again"));
  });
  EXPECT_EQ(at_broker_.Next(), "answer 0");
  EXPECT_EQ(at_broker_.Next(), "closed STALE_BROKER_EPOCH");
  EXPECT_TRUE(at_controller_.empty()) << "who closes is not told";
}

TEST_F(ControllerServiceTest, ABrokersEndIsSeenHoweverItEnds) {
  auto closed = OpenLiveness();
  closed->Send(iv1::LivenessRequest());
  EXPECT_EQ(at_controller_.Next(), "beat 0");
  closed->Close(MakeError(ErrorCode::kShuttingDown, "bye"));
  EXPECT_EQ(at_controller_.Next(), "liveness closed");

  auto dropped = OpenLiveness();
  dropped->Send(iv1::LivenessRequest());
  EXPECT_EQ(at_controller_.Next(), "beat 0");
  dropped = nullptr;
  EXPECT_EQ(at_controller_.Next(), "liveness closed");

  auto killed = OpenLiveness();
  killed->Send(iv1::LivenessRequest());
  EXPECT_EQ(at_controller_.Next(), "beat 0");
  client_loop_.Stop();
  EXPECT_EQ(at_controller_.Next(), "liveness closed");
  EXPECT_EQ(at_broker_.Next().substr(0, 6), "closed");
}

TEST_F(ControllerServiceTest, AControllersEndBreaksItsStreams) {
  auto liveness = OpenLiveness();
  liveness->Send(iv1::LivenessRequest());
  EXPECT_EQ(at_controller_.Next(), "beat 0");
  auto metadata = Follow(iv1::FollowMetadataRequest());
  EXPECT_EQ(at_controller_.Next(), "follow");
  StopServer();
  EXPECT_EQ(at_broker_.Next().substr(0, 6), "closed");
  EXPECT_EQ(at_broker_.Next().substr(0, 6), "closed");
}

TEST_F(ControllerServiceTest, MetadataCarriesEveryFieldAndDrains) {
  const auto request = random_.Next<iv1::FollowMetadataRequest>();
  controller_.first_piece = random_.Next<iv1::FollowMetadataResponse>();

  auto stream = Follow(request);
  EXPECT_EQ(at_controller_.Next(), "follow");
  EXPECT_EQ(at_broker_.Next(),
            StrCat("piece ", controller_.first_piece->batches_size()));
  EXPECT_EQ(at_controller_.Next(), "drained");
  EXPECT_TRUE(MessageDifferencer::Equals(controller_.follow, request));
  EXPECT_TRUE(MessageDifferencer::Equals(piece_, *controller_.first_piece));

  stream->Close(absl::AbortedError("another controller is better"));
  EXPECT_EQ(at_controller_.Next(), "follow closed");
}

TEST_F(ControllerServiceTest, AFollowerWithoutAReadIsKnownToBeGone) {
  auto stream = Follow(iv1::FollowMetadataRequest());
  EXPECT_EQ(at_controller_.Next(), "follow");
  stream = nullptr;
  EXPECT_EQ(at_controller_.Next(), "follow closed");
}

TEST_F(ControllerServiceTest, ALargePieceArrivesWhole) {
  controller_.first_piece.emplace();
  auto* record = controller_.first_piece->add_batches()
                     ->mutable_batch()
                     ->add_records()
                     ->mutable_topic();
  record->set_name(std::string(9 << 20, 'x'));
  auto stream = Follow(iv1::FollowMetadataRequest());
  EXPECT_EQ(at_broker_.Next(), "piece 1");
  EXPECT_TRUE(MessageDifferencer::Equals(piece_, *controller_.first_piece));
}

}  // namespace
}  // namespace sluice
