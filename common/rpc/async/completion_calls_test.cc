#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/env/thread_executor.h"
#include "common/rpc/async/cq_client_stream.h"
#include "common/rpc/async/cq_server_stream.h"
#include "common/rpc/async/cq_unary.h"
#include "common/rpc/channels.h"
#include "common/rpc/server.h"
#include "sluice/internal/v1/controller.grpc.pb.h"
#include "sluice/internal/v1/raft.grpc.pb.h"
#include "sluice/internal/v1/replication.grpc.pb.h"

namespace sluice::rpc {
namespace {

using internal::v1::ControllerService;
using internal::v1::FollowMetadataRequest;
using internal::v1::FollowMetadataResponse;
using internal::v1::FollowerFrame;
using internal::v1::HelloRequest;
using internal::v1::HelloResponse;
using internal::v1::LeaderFrame;
using internal::v1::LivenessRequest;
using internal::v1::LivenessResponse;
using internal::v1::RaftClosed;
using internal::v1::RaftMessage;
using internal::v1::RaftService;
using internal::v1::ReplicationService;

constexpr int64_t kLongUs = 30000000;

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

template <class In>
MessageEvents<In> Record(Happenings& log,
                         std::function<std::string(const In&)> text) {
  MessageEvents<In> events;
  events.on_open = [&log] { log.Add("open"); };
  events.on_message = [&log, text](In m) { log.Add("got " + text(m)); };
  events.on_closed = [&log](absl::Status why) {
    log.Add(StrCat("closed ", absl::StatusCodeToString(why.code()), " ",
                   NameOf(CodeOf(why))));
  };
  return events;
}

using Liveness = BidiWire<LivenessRequest, LivenessResponse>;
using Follow = PushWire<FollowMetadataRequest, FollowMetadataResponse>;
using Exchange = UploadWire<RaftMessage, RaftClosed>;

// A data service whose handler blocks the thread that calls it.
class BlockingData final : public ReplicationService::CallbackService {
 public:
  grpc::ServerBidiReactor<FollowerFrame, LeaderFrame>* Fetch(
      grpc::CallbackServerContext*) override {
    blocked.Add("blocked");
    released_.wait();
    class Ended final
        : public grpc::ServerBidiReactor<FollowerFrame, LeaderFrame> {
     public:
      Ended() { Finish(grpc::Status::OK); }
      void OnDone() override { delete this; }
    };
    return new Ended();
  }

  Happenings blocked;
  std::promise<void> go_on;

 private:
  const std::shared_future<void> released_ = go_on.get_future().share();
};

// One server with a method of each shape, one client, a thread each.
class CompletionCallsTest : public testing::Test {
 protected:
  using LivenessEnd = MessageStream<LivenessRequest, LivenessResponse>;
  using FollowEnd =
      MessageStream<FollowMetadataRequest, FollowMetadataResponse>;
  using ExchangeEnd = MessageStream<RaftMessage, RaftClosed>;

  CompletionCallsTest() {
    ListenerOptions options;
    options.name = "TEST";
    options.bind = {"127.0.0.1", 0};
    options.completion_queues = 1;
    auto server = RpcServer::Start(options, {&controller_, &raft_, &data_});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    server_loop_ = std::make_unique<CompletionLoop>(
        "server-loop", std::move(server_->TakeQueues()[0]));
    client_loop_ = std::make_unique<CompletionLoop>("client-loop");
    MakeUnary();
    MakeLiveness();
    MakeFollow();
    MakeExchange();
    channel_ = MakeChannel({"127.0.0.1", server_->port()},
                           ChannelUse::kControl);
  }
  ~CompletionCallsTest() override {
    if (client_loop_ != nullptr) client_loop_->Stop();
    StopServer();
  }
  void StopServer() {
    if (server_ == nullptr) return;
    server_->Shutdown(0);
    server_loop_->Stop();
    server_ = nullptr;
  }

  void MakeUnary() {
    hello_ = std::make_unique<CqUnaryMethod<HelloRequest, HelloResponse>>(
        CqUnaryMethod<HelloRequest, HelloResponse>::Deps{
            .loop = server_loop_.get(),
            .request =
                [this](auto* context, auto* request, auto* writer, auto* queue,
                       void* tag) {
                  controller_.RequestHello(context, request, writer, queue,
                                           queue, tag);
                },
            .handle =
                [this](HelloRequest request, auto reply) {
                  server_executor_.Post([this, request,
                                         reply = std::move(reply)]() mutable {
                    Answer(request, std::move(reply));
                  });
                }});
    hello_->Listen();
  }
  void Answer(const HelloRequest& request, UnaryReply<HelloResponse> reply) {
    if (request.node_id() < 0) {
      reply(MakeError(ErrorCode::kNotController, "node 3 is active"));
    } else if (request.node_id() == 0) {
      kept_.push_back(std::move(reply));
      at_server_.Add("kept");
    } else {
      HelloResponse response;
      response.set_term(request.node_id() * 2);
      reply(response);
    }
  }
  void MakeLiveness() {
    using Method = CqStreamMethod<LivenessRequest, LivenessResponse, Liveness>;
    auto method = std::make_shared<Method>(Method::Deps{
        .loop = server_loop_.get(),
        .request =
            [this](auto* context, Liveness* wire, auto* queue, void* tag) {
              controller_.RequestLiveness(context, &wire->stream, queue, queue,
                                          tag);
            },
        .accept =
            [this](std::shared_ptr<LivenessEnd> stream, Liveness&) {
              server_executor_.Post([this, stream] {
                liveness_end_ = stream;
                stream->AttachAndDrive(Record<LivenessRequest>(
                    at_server_, [](const LivenessRequest& m) {
                      return StrCat(m.broker_id());
                    }));
              });
            },
        .options = {.executor = &server_executor_,
                    .state = {.is_server = true}}});
    method->Listen();
    methods_.push_back(method);
  }
  void MakeFollow() {
    using Method =
        CqStreamMethod<FollowMetadataRequest, FollowMetadataResponse, Follow>;
    auto method = std::make_shared<Method>(Method::Deps{
        .loop = server_loop_.get(),
        .request =
            [this](auto* context, Follow* wire, auto* queue, void* tag) {
              controller_.RequestFollowMetadata(context, &wire->request,
                                                &wire->stream, queue, queue,
                                                tag);
            },
        .accept =
            [this](std::shared_ptr<FollowEnd> stream, Follow& wire) {
              server_executor_.Post([this, stream,
                                     from = wire.request.from_offset()] {
                follow_end_ = stream;
                at_server_.Add(StrCat("follow from ", from));
                auto events = Record<FollowMetadataRequest>(
                    at_server_, [](const auto&) { return "?"; });
                events.on_drained = [this] { at_server_.Add("drained"); };
                stream->AttachAndDrive(std::move(events));
              });
            },
        .options = {.executor = &server_executor_,
                    .state = {.is_server = true, .reads = false}}});
    method->Listen();
    methods_.push_back(method);
  }
  void MakeExchange() {
    using Method = CqStreamMethod<RaftMessage, RaftClosed, Exchange>;
    auto method = std::make_shared<Method>(Method::Deps{
        .loop = server_loop_.get(),
        .request =
            [this](auto* context, Exchange* wire, auto* queue, void* tag) {
              raft_.RequestExchange(context, &wire->stream, queue, queue, tag);
            },
        .accept =
            [this](std::shared_ptr<ExchangeEnd> stream, Exchange&) {
              server_executor_.Post([this, stream] {
                exchange_end_ = stream;
                stream->AttachAndDrive(Record<RaftMessage>(
                    at_server_,
                    [](const RaftMessage& m) { return StrCat(m.term()); }));
              });
            },
        .options = {.executor = &server_executor_,
                    .state = {.is_server = true}}});
    method->Listen();
    methods_.push_back(method);
  }

  std::future<absl::StatusOr<HelloResponse>> Hello(
      int node_id, int64_t timeout_us = kLongUs) {
    auto promise =
        std::make_shared<std::promise<absl::StatusOr<HelloResponse>>>();
    HelloRequest request;
    request.set_node_id(node_id);
    CqUnaryCall<HelloRequest, HelloResponse>::Start(
        {client_loop_.get(), channel_,
         "/sluice.internal.v1.ControllerService/Hello", &client_executor_},
        request, timeout_us,
        [this, promise](absl::StatusOr<HelloResponse> response) {
          EXPECT_TRUE(client_executor_.IsCurrent());
          promise->set_value(std::move(response));
        });
    return promise->get_future();
  }
  std::shared_ptr<MessageStream<LivenessResponse, LivenessRequest>>
  OpenLiveness() {
    return CqClientStream<LivenessResponse, LivenessRequest>::Open(
        {client_loop_.get(), channel_,
         "/sluice.internal.v1.ControllerService/Liveness", false,
         {.executor = &client_executor_}},
        Record<LivenessResponse>(at_client_, [](const LivenessResponse& m) {
          return StrCat(m.committed_metadata_offset());
        }));
  }
  std::shared_ptr<MessageStream<FollowMetadataResponse, FollowMetadataRequest>>
  OpenFollow(int64_t from) {
    auto stream =
        CqClientStream<FollowMetadataResponse, FollowMetadataRequest>::Open(
            {client_loop_.get(), channel_,
             "/sluice.internal.v1.ControllerService/FollowMetadata", true,
             {.executor = &client_executor_}},
            Record<FollowMetadataResponse>(
                at_client_, [](const FollowMetadataResponse& m) {
                  return StrCat(m.term());
                }));
    FollowMetadataRequest request;
    request.set_from_offset(from);
    stream->Send(request, 1);
    return stream;
  }
  static LivenessRequest Beat(int broker) {
    LivenessRequest request;
    request.set_broker_id(broker);
    return request;
  }
  static LivenessResponse Answered(int64_t offset) {
    LivenessResponse response;
    response.set_committed_metadata_offset(offset);
    return response;
  }

  ThreadExecutor server_executor_{"server"};
  ThreadExecutor client_executor_{"client"};
  Happenings at_server_;
  Happenings at_client_;
  ControllerService::AsyncService controller_;
  RaftService::AsyncService raft_;
  BlockingData data_;
  std::unique_ptr<CqUnaryMethod<HelloRequest, HelloResponse>> hello_;
  std::vector<std::shared_ptr<void>> methods_;
  std::vector<UnaryReply<HelloResponse>> kept_;
  std::shared_ptr<LivenessEnd> liveness_end_;
  std::shared_ptr<FollowEnd> follow_end_;
  std::shared_ptr<ExchangeEnd> exchange_end_;
  std::unique_ptr<RpcServer> server_;
  std::unique_ptr<CompletionLoop> server_loop_;
  std::unique_ptr<CompletionLoop> client_loop_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(CompletionCallsTest, UnaryAnswersAndErrorsTravelWithTheirCode) {
  EXPECT_EQ(Hello(21).get()->term(), 42);
  const auto refused = Hello(-1).get();
  EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kNotController);
  EXPECT_EQ(refused.status().message(), "node 3 is active");
}

TEST_F(CompletionCallsTest, ADeadlineEndsAUnaryCallAndALateAnswerIsForgotten) {
  auto reply = Hello(0, 50000);
  EXPECT_EQ(at_server_.Next(), "kept");
  EXPECT_TRUE(absl::IsDeadlineExceeded(reply.get().status()));
  EXPECT_EQ(Hello(1).get()->term(), 2);
  server_executor_.Post([this] {
    for (auto& late : kept_) late(HelloResponse());
    at_server_.Add("late");
  });
  EXPECT_EQ(at_server_.Next(), "late");
}

TEST_F(CompletionCallsTest, AReplyThatIsDroppedAnswersShuttingDown) {
  auto reply = Hello(0);
  EXPECT_EQ(at_server_.Next(), "kept");
  server_executor_.Post([this] { kept_.clear(); });
  EXPECT_EQ(CodeOf(reply.get().status()), ErrorCode::kShuttingDown);
}

TEST_F(CompletionCallsTest, AServerThatStopsAnswersWhatIsInFlight) {
  auto reply = Hello(0);
  EXPECT_EQ(at_server_.Next(), "kept");
  StopServer();
  EXPECT_FALSE(reply.get().ok());
  EXPECT_TRUE(absl::IsUnavailable(Hello(1).get().status()));
}

TEST_F(CompletionCallsTest, AClientThatStopsAnswersWhatIsInFlightAndAfter) {
  auto reply = Hello(0);
  EXPECT_EQ(at_server_.Next(), "kept");
  auto stream = OpenLiveness();
  EXPECT_EQ(at_client_.Next(), "open");
  client_loop_->Stop();
  EXPECT_TRUE(absl::IsUnavailable(reply.get().status()));
  EXPECT_TRUE(absl::IsUnavailable(Hello(1).get().status()));
  EXPECT_EQ(at_client_.Next().substr(0, 18), "closed UNAVAILABLE");
  auto late = OpenLiveness();
  EXPECT_EQ(at_client_.Next().substr(0, 18), "closed UNAVAILABLE");
}

TEST_F(CompletionCallsTest, ABidiStreamCarriesBothWaysInOrder) {
  auto stream = OpenLiveness();
  EXPECT_EQ(at_client_.Next(), "open");
  for (int i = 0; i < 100; ++i) stream->Send(Beat(i), 1);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(at_server_.Next(), StrCat("got ", i));
  }
  for (int i = 0; i < 100; ++i) liveness_end_->Send(Answered(i), 1);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(at_client_.Next(), StrCat("got ", i));
  }
}

TEST_F(CompletionCallsTest, AServersCloseArrivesAfterWhatItSent) {
  auto stream = OpenLiveness();
  EXPECT_EQ(at_client_.Next(), "open");
  stream->Send(Beat(1), 1);
  EXPECT_EQ(at_server_.Next(), "got 1");
  server_executor_.Post([this] {
    liveness_end_->Send(Answered(7), 1);
    liveness_end_->Send(Answered(8), 1);
    liveness_end_->Close(MakeError(ErrorCode::kStaleBrokerEpoch, "old"));
  });
  EXPECT_EQ(at_client_.Next(), "got 7");
  EXPECT_EQ(at_client_.Next(), "got 8");
  EXPECT_EQ(at_client_.Next(), "closed FAILED_PRECONDITION STALE_BROKER_EPOCH");
  EXPECT_TRUE(at_server_.empty()) << "who closes is not told";
}

TEST_F(CompletionCallsTest, AClientsCloseIsSeenByTheServer) {
  auto stream = OpenLiveness();
  stream->Send(Beat(1), 1);
  EXPECT_EQ(at_server_.Next(), "got 1");
  client_executor_.Post(
      [stream] { stream->Close(absl::AbortedError("enough")); });
  EXPECT_EQ(at_server_.Next().substr(0, 18), "closed UNAVAILABLE");
  EXPECT_EQ(at_client_.Next(), "open");
  EXPECT_TRUE(at_client_.empty());
}

TEST_F(CompletionCallsTest, AServerThatStopsClosesItsStreamsAtBothEnds) {
  auto stream = OpenLiveness();
  stream->Send(Beat(1), 1);
  EXPECT_EQ(at_server_.Next(), "got 1");
  auto follow = OpenFollow(3);
  EXPECT_EQ(at_server_.Next(), "follow from 3");
  StopServer();
  EXPECT_EQ(at_server_.Next().substr(0, 6), "closed");
  EXPECT_EQ(at_server_.Next().substr(0, 6), "closed");
  EXPECT_EQ(at_client_.Next(), "open");
  EXPECT_EQ(at_client_.Next(), "open");
  EXPECT_EQ(at_client_.Next().substr(0, 6), "closed");
  EXPECT_EQ(at_client_.Next().substr(0, 6), "closed");
}

TEST_F(CompletionCallsTest, AServerStreamPushesAndTellsWhenItIsDrained) {
  auto stream = OpenFollow(17);
  EXPECT_EQ(at_server_.Next(), "follow from 17");
  FollowMetadataResponse piece;
  piece.set_term(5);
  follow_end_->Send(piece, 1);
  EXPECT_EQ(at_client_.Next(), "open");
  EXPECT_EQ(at_client_.Next(), "got 5");
  EXPECT_EQ(at_server_.Next(), "drained");
  client_executor_.Post([stream] { stream->Close(absl::AbortedError("x")); });
  EXPECT_EQ(at_server_.Next().substr(0, 18), "closed UNAVAILABLE")
      << "without a read under way";
}

TEST_F(CompletionCallsTest, AnUploadEndsWithAStatusFromTheServer) {
  auto stream = CqClientStream<RaftClosed, RaftMessage>::Open(
      {client_loop_.get(), channel_,
       "/sluice.internal.v1.RaftService/Exchange", false,
       {.executor = &client_executor_}},
      Record<RaftClosed>(at_client_, [](const auto&) { return "end"; }));
  RaftMessage message;
  message.set_term(9);
  stream->Send(message, 1);
  EXPECT_EQ(at_server_.Next(), "got 9");
  server_executor_.Post([this] {
    exchange_end_->Close(
        MakeError(ErrorCode::kInconsistentClusterId, "foreign"));
  });
  EXPECT_EQ(at_client_.Next(), "open");
  EXPECT_EQ(at_client_.Next(),
            "closed FAILED_PRECONDITION INCONSISTENT_CLUSTER_ID");
}

TEST_F(CompletionCallsTest, AStreamToNobodyClosesWithoutOpening) {
  StopServer();
  auto stream = OpenLiveness();
  stream->Send(Beat(1), 1);
  EXPECT_EQ(at_client_.Next().substr(0, 18), "closed UNAVAILABLE");
}

TEST_F(CompletionCallsTest, AClientStopsThoughAnOwnerDoesNotRead) {
  ThreadExecutor busy("busy");
  std::promise<void> go_on;
  std::shared_future<void> wait = go_on.get_future().share();
  auto stream = CqClientStream<LivenessResponse, LivenessRequest>::Open(
      {client_loop_.get(), channel_,
       "/sluice.internal.v1.ControllerService/Liveness", false,
       {.executor = &busy}},
      Record<LivenessResponse>(at_client_, [wait](const auto& m) {
        wait.wait();
        return StrCat(m.committed_metadata_offset());
      }));
  stream->Send(Beat(1), 1);
  EXPECT_EQ(at_server_.Next(), "got 1");
  for (int i = 0; i < 100; ++i) liveness_end_->Send(Answered(i), 1);
  EXPECT_EQ(at_client_.Next(), "open");

  client_loop_->Stop();
  go_on.set_value();

  std::string last;
  do last = at_client_.Next();
  while (last.substr(0, 3) == "got");
  EXPECT_EQ(last.substr(0, 18), "closed UNAVAILABLE");
}

// A data handler that held up the threads of gRPC's that run every callback of
// the process would stop data; control calls have their own.
TEST_F(CompletionCallsTest, ControlAnswersWhileEveryCallbackThreadIsBlocked) {
  // gRPC 1.51: half of the cores, at least 2 and at most 16.
  const unsigned threads =
      std::clamp(std::thread::hardware_concurrency() / 2, 2u, 16u);
  using Fetch = CqClientStream<LeaderFrame, FollowerFrame>;
  std::vector<std::shared_ptr<Fetch::Stream>> fetches;
  for (unsigned i = 0; i < threads; ++i) {
    fetches.push_back(
        Fetch::Open({client_loop_.get(), channel_,
                     "/sluice.internal.v1.ReplicationService/Fetch", false,
                     {.executor = &client_executor_}},
                    {}));
  }
  for (unsigned i = 0; i < threads; ++i) {
    EXPECT_EQ(data_.blocked.Next(), "blocked");
  }

  EXPECT_EQ(Hello(21).get()->term(), 42);
  auto stream = OpenLiveness();
  stream->Send(Beat(5), 1);
  EXPECT_EQ(at_server_.Next(), "got 5");

  data_.go_on.set_value();
}

// Three threads call and open streams while first the server, or first the
// client, stops under them.
class CallersTest : public CompletionCallsTest {
 protected:
  CallersTest() {
    for (int n = 0; n < 3; ++n) callers_.emplace_back([this] { CallOn(); });
    for (int i = 0; i < 50; ++i) at_server_.Next();
  }
  void CallOn() {
    for (int i = 0; i < 300; ++i) {
      ++asked_;
      HelloRequest request;
      request.set_node_id(i % 3 - 1);  // refused, kept, answered
      CqUnaryCall<HelloRequest, HelloResponse>::Start(
          {client_loop_.get(), channel_,
           "/sluice.internal.v1.ControllerService/Hello", &client_executor_},
          request, kLongUs,
          [this](absl::StatusOr<HelloResponse>) { ++answered_; });
      MessageEvents<LivenessResponse> events;
      events.on_closed = [this](absl::Status) { ++closed_; };
      CqClientStream<LivenessResponse, LivenessRequest>::Open(
          {client_loop_.get(), channel_,
           "/sluice.internal.v1.ControllerService/Liveness", false,
           {.executor = &client_executor_}},
          std::move(events))
          ->Send(Beat(1), 1);
    }
  }
  void ExpectAllToldOnce() {
    for (std::thread& caller : callers_) caller.join();
    std::promise<void> drained;
    client_executor_.Post([&] { drained.set_value(); });
    drained.get_future().get();
    EXPECT_EQ(asked_, 900);
    EXPECT_EQ(answered_, asked_);
    EXPECT_EQ(closed_, asked_);
  }

  std::atomic<int> asked_ = 0;
  std::atomic<int> answered_ = 0;
  std::atomic<int> closed_ = 0;
  std::vector<std::thread> callers_;
};

TEST_F(CallersTest, EachIsToldOnceWhenTheServerStopsFirst) {
  StopServer();
  client_loop_->Stop();
  ExpectAllToldOnce();
}

TEST_F(CallersTest, EachIsToldOnceWhenTheClientStopsFirst) {
  client_loop_->Stop();
  StopServer();
  ExpectAllToldOnce();
}

TEST_F(CompletionCallsTest, ManyStreamsOpenedAndDroppedLeaveNothingBehind) {
  for (int i = 0; i < 200; ++i) {
    auto stream = OpenLiveness();
    stream->Send(Beat(i), 1);
    if (i % 3 != 0) {
      client_executor_.Post(
          [stream] { stream->Close(absl::AbortedError("x")); });
    }
  }
  // The fixture's end waits for every call to leave both loops.
}

}  // namespace
}  // namespace sluice::rpc
