// Calls of each shape on completion queues, between a server and a client of
// this process. For tests.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "common/env/thread_executor.h"
#include "common/rpc/async/cq_client_stream.h"
#include "common/rpc/async/cq_server_stream.h"
#include "common/rpc/async/cq_unary.h"
#include "common/rpc/channels.h"
#include "common/rpc/happenings_testing.h"
#include "common/rpc/server.h"
#include "sluice/internal/v1/controller.grpc.pb.h"
#include "sluice/internal/v1/raft.grpc.pb.h"
#include "sluice/internal/v1/replication.grpc.pb.h"

namespace sluice::rpc {

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

// A data service whose handler blocks the thread that calls it.
class BlockingData final
    : public internal::v1::ReplicationService::CallbackService {
 public:
  using FollowerFrame = internal::v1::FollowerFrame;
  using LeaderFrame = internal::v1::LeaderFrame;

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
  static constexpr int64_t kLongUs = 30000000;

  using ControllerService = internal::v1::ControllerService;
  using FollowMetadataRequest = internal::v1::FollowMetadataRequest;
  using FollowMetadataResponse = internal::v1::FollowMetadataResponse;
  using HelloRequest = internal::v1::HelloRequest;
  using HelloResponse = internal::v1::HelloResponse;
  using LivenessRequest = internal::v1::LivenessRequest;
  using LivenessResponse = internal::v1::LivenessResponse;
  using RaftClosed = internal::v1::RaftClosed;
  using RaftMessage = internal::v1::RaftMessage;
  using RaftService = internal::v1::RaftService;
  using Liveness = BidiWire<LivenessRequest, LivenessResponse>;
  using Follow = PushWire<FollowMetadataRequest, FollowMetadataResponse>;
  using Exchange = UploadWire<RaftMessage, RaftClosed>;
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

}  // namespace sluice::rpc
