#include "controller/rpc/controller_service.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "client/grpc_peers/grpc_controller_peer.h"
#include "common/base/error.h"
#include "common/base/random.h"
#include "common/env/thread_executor.h"
#include "common/rpc/server.h"
#include "common/rpc/status_wire.h"

namespace sluice {
namespace {

namespace iv1 = internal::v1;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::util::MessageDifferencer;

constexpr int64_t kLongUs = 30000000;

// Gives every field of a message a value, three deep.
class RandomMessages {
 public:
  explicit RandomMessages(uint64_t seed) : random_(seed) {}

  template <class M>
  M Next() {
    M message;
    Fill(&message, 3);
    return message;
  }

 private:
  void Fill(Message* message, int depth) {
    const auto* reflection = message->GetReflection();
    for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor* field = message->GetDescriptor()->field(i);
      if (field->real_containing_oneof() != nullptr && random_.OneIn(2)) {
        continue;
      }
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && depth == 0) {
        continue;
      }
      const int count =
          field->is_repeated() ? static_cast<int>(random_.Below(3)) : 1;
      for (int n = 0; n < count; ++n) FillField(message, reflection, field, depth);
    }
  }
  void FillField(Message* message, const google::protobuf::Reflection* r,
                 const FieldDescriptor* f, int depth) {
    const bool many = f->is_repeated();
    switch (f->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32: {
        const auto v = static_cast<int32_t>(random_.Next64());
        many ? r->AddInt32(message, f, v) : r->SetInt32(message, f, v);
        break;
      }
      case FieldDescriptor::CPPTYPE_INT64: {
        const auto v = static_cast<int64_t>(random_.Next64());
        many ? r->AddInt64(message, f, v) : r->SetInt64(message, f, v);
        break;
      }
      case FieldDescriptor::CPPTYPE_BOOL:
        many ? r->AddBool(message, f, true) : r->SetBool(message, f, true);
        break;
      case FieldDescriptor::CPPTYPE_STRING: {
        const std::string v = StrCat("text ", random_.Below(1000000));
        many ? r->AddString(message, f, v) : r->SetString(message, f, v);
        break;
      }
      case FieldDescriptor::CPPTYPE_ENUM: {
        const auto* type = f->enum_type();
        const auto* v = type->value(
            static_cast<int>(random_.Below(type->value_count())));
        many ? r->AddEnum(message, f, v) : r->SetEnum(message, f, v);
        break;
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        Fill(many ? r->AddMessage(message, f) : r->MutableMessage(message, f),
             depth - 1);
        break;
      default:
        FAIL() << f->full_name() << " has a type this test does not know";
    }
  }

  Random random_;
};

// What happened, in order, for a test that waits for it.
class Happenings {
 public:
  void Add(std::string what) {
    std::lock_guard lock(mutex_);
    happened_.push_back(std::move(what));
    changed_.notify_all();
  }
  std::string Next() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(30),
                      [this] { return !happened_.empty(); });
    if (happened_.empty()) return "(nothing)";
    std::string next = std::move(happened_.front());
    happened_.pop_front();
    return next;
  }
  bool empty() {
    std::lock_guard lock(mutex_);
    return happened_.empty();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> happened_;
};

// Answers with what it was told to, and keeps what it was asked.
class FakeController final : public ControllerApi {
 public:
  FakeController(Executor* executor, Happenings* log)
      : executor_(executor), log_(log) {}

  // The next answer of the method whose request type is Request.
  template <class Request, class Response>
  void WillAnswer(absl::StatusOr<Response> answer) {
    answers_[Request::descriptor()->full_name()] = std::make_shared<
        absl::StatusOr<Response>>(std::move(answer));
  }
  template <class Request>
  const Request& asked() {
    return static_cast<const Request&>(
        *asked_.at(Request::descriptor()->full_name()));
  }

  void Hello(iv1::HelloRequest q, PeerReply<iv1::HelloResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void RegisterBroker(iv1::RegisterBrokerRequest q,
                      PeerReply<iv1::RegisterBrokerResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void ReportReplicas(iv1::ReportReplicasRequest q,
                      PeerReply<iv1::ReportReplicasResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void AlterPartitions(iv1::AlterPartitionsRequest q,
                       PeerReply<iv1::AlterPartitionsResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void AllocateProducerIds(
      iv1::AllocateProducerIdsRequest q,
      PeerReply<iv1::AllocateProducerIdsResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void CreateTopics(v1::CreateTopicsRequest q,
                    PeerReply<v1::CreateTopicsResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void DeleteTopics(v1::DeleteTopicsRequest q,
                    PeerReply<v1::DeleteTopicsResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void AlterConfigs(v1::AlterConfigsRequest q,
                    PeerReply<v1::AlterConfigsResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void ElectLeaders(v1::ElectLeadersRequest q,
                    PeerReply<v1::ElectLeadersResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void DescribeQuorum(v1::DescribeQuorumRequest q,
                      PeerReply<v1::DescribeQuorumResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  Executor* executor() override { return executor_; }
  NodeId ActiveController() const override { return active; }

  PeerStreamEvents<iv1::LivenessRequest> AcceptLiveness(
      std::shared_ptr<PeerStream<iv1::LivenessResponse>> stream) override {
    EXPECT_TRUE(executor_->IsCurrent());
    if (!refusal.ok()) {
      stream->Close(refusal);
      return {};
    }
    liveness = std::move(stream);
    PeerStreamEvents<iv1::LivenessRequest> events;
    events.on_message = [this](iv1::LivenessRequest request) {
      EXPECT_TRUE(executor_->IsCurrent());
      heard = request;
      log_->Add(StrCat("beat ", request.applied_metadata_offset()));
    };
    events.on_closed = [this](absl::Status) { log_->Add("liveness closed"); };
    return events;
  }
  PeerStreamEvents<iv1::FollowMetadataRequest> AcceptMetadataFollower(
      iv1::FollowMetadataRequest request,
      std::shared_ptr<PeerStream<iv1::FollowMetadataResponse>> stream)
      override {
    EXPECT_TRUE(executor_->IsCurrent());
    follow = request;
    follower = std::move(stream);
    log_->Add("follow");
    if (first_piece.has_value()) follower->Send(*first_piece);
    PeerStreamEvents<iv1::FollowMetadataRequest> events;
    events.on_closed = [this](absl::Status) { log_->Add("follow closed"); };
    events.on_drained = [this] { log_->Add("drained"); };
    return events;
  }

  NodeId active = kNoNode;
  absl::Status refusal;
  std::shared_ptr<PeerStream<iv1::LivenessResponse>> liveness;
  std::shared_ptr<PeerStream<iv1::FollowMetadataResponse>> follower;
  iv1::LivenessRequest heard;
  iv1::FollowMetadataRequest follow;
  std::optional<iv1::FollowMetadataResponse> first_piece;
  // Replies that are never given.
  std::vector<std::function<void()>> kept;
  bool keep = false;

 private:
  template <class Request, class Response>
  void Answer(Request request, PeerReply<Response> reply) {
    const std::string name = Request::descriptor()->full_name();
    executor_->Post([this, name, request = std::move(request),
                     reply = std::make_shared<PeerReply<Response>>(
                         std::move(reply))] {
      if (keep) {
        kept.push_back([reply] { (*reply)(Response()); });
        log_->Add("kept");
        return;
      }
      asked_[name] = std::make_shared<Request>(request);
      (*reply)(*std::static_pointer_cast<absl::StatusOr<Response>>(
          answers_.at(name)));
    });
  }

  Executor* const executor_;
  Happenings* const log_;
  std::map<std::string, std::shared_ptr<void>> answers_;
  std::map<std::string, std::shared_ptr<Message>> asked_;
};

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
  Happenings at_controller_;
  Happenings at_broker_;
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
