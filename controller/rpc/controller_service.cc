#include "controller/rpc/controller_service.h"

#include <utility>

#include "client/grpc_peers/peer_streams.h"
#include "common/base/error.h"
#include "common/rpc/async/cq_server_stream.h"
#include "common/rpc/async/cq_unary.h"
#include "common/rpc/slice_writer.h"

namespace sluice {
namespace {

using internal::v1::FollowMetadataRequest;
using internal::v1::FollowMetadataResponse;
using internal::v1::LivenessRequest;
using internal::v1::LivenessResponse;

// On the api's executor.
absl::Status WithHint(const ControllerApi& api, absl::Status status) {
  if (CodeOf(status) == ErrorCode::kNotController &&
      api.ActiveController() != kNoNode) {
    rpc::SetFact(status, "controller_id",
                 StrCat(api.ActiveController()));
  }
  return status;
}

struct LivenessWire {
  explicit LivenessWire(grpc::ServerContext* context) : stream(context) {}
  void Read(grpc::ByteBuffer* message, void* tag) { stream.Read(message, tag); }
  void Write(const LivenessResponse& message, void* tag) {
    stream.Write(rpc::ToByteBuffer(message), tag);
  }
  void Finish(const grpc::Status& status, void* tag) {
    stream.Finish(status, tag);
  }
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> stream;
};

// Bytes that are no message end the stream by name.
rpc::MessageEvents<grpc::ByteBuffer> Decoded(
    PeerStreamEvents<LivenessRequest> events,
    std::weak_ptr<rpc::MessageStream<grpc::ByteBuffer, LivenessResponse>>
        stream) {
  rpc::MessageEvents<grpc::ByteBuffer> out;
  out.on_message = [on_message = std::move(events.on_message),
                    stream = std::move(stream)](grpc::ByteBuffer bytes) mutable {
    LivenessRequest request;
    if (rpc::ParseMessage(&bytes, &request)) {
      if (on_message) on_message(std::move(request));
    } else if (const auto open = stream.lock()) {
      open->Fail(MakeError(ErrorCode::kInvalidRequest,
                           "Liveness: a message is no ", request.GetTypeName(),
                           "; compare the broker's version with the "
                           "controller's"));
    }
  };
  out.on_drained = std::move(events.on_drained);
  out.on_closed = std::move(events.on_closed);
  return out;
}

}  // namespace

ControllerRpcService::ControllerRpcService(Deps deps) : deps_(deps) {}
ControllerRpcService::~ControllerRpcService() = default;

template <class Base, class Request, class Response>
void ControllerRpcService::ServeUnary(
    rpc::CompletionLoop* loop,
    void (Base::*request)(grpc::ServerContext*, Request*,
                          grpc::ServerAsyncResponseWriter<Response>*,
                          grpc::CompletionQueue*, grpc::ServerCompletionQueue*,
                          void*),
    void (ControllerApi::*handle)(Request, PeerReply<Response>)) {
  using Method = rpc::CqUnaryMethod<Request, Response>;
  auto method = std::make_shared<Method>(typename Method::Deps{
      .loop = loop,
      .request =
          [this, request](auto* context, Request* message, auto* writer,
                          auto* queue, void* tag) {
            (service_.*request)(context, message, writer, queue, queue, tag);
          },
      .handle =
          [api = deps_.api, handle](Request message,
                                    rpc::UnaryReply<Response> reply) {
            (api->*handle)(
                std::move(message),
                [api, reply = std::move(reply)](
                    absl::StatusOr<Response> answer) mutable {
                  if (!answer.ok()) answer = WithHint(*api, answer.status());
                  reply(std::move(answer));
                });
          }});
  method->Listen();
  methods_.push_back(std::move(method));
}

void ControllerRpcService::ServeLiveness(rpc::CompletionLoop* loop) {
  using Method =
      rpc::CqStreamMethod<grpc::ByteBuffer, LivenessResponse, LivenessWire>;
  using Peer = RpcPeerStream<grpc::ByteBuffer, LivenessResponse>;
  auto method = std::make_shared<Method>(Method::Deps{
      .loop = loop,
      .request =
          [this](auto* context, LivenessWire* wire, auto* queue, void* tag) {
            service_.RequestLiveness(context, &wire->stream, queue, queue,
                                     tag);
          },
      .accept =
          [api = deps_.api](std::shared_ptr<Method::Stream> stream,
                            LivenessWire&) {
            auto peer = std::make_shared<Peer>(stream);
            api->executor()->Post(
                [api, stream, peer = std::move(peer)]() mutable {
                  stream->AttachAndDrive(
                      Decoded(api->AcceptLiveness(std::move(peer)), stream));
                });
          },
      .options = {.executor = deps_.api->executor(),
                  .state = {.is_server = true}}});
  method->Listen();
  methods_.push_back(std::move(method));
}

void ControllerRpcService::ServeFollowMetadata(rpc::CompletionLoop* loop) {
  using Wire = rpc::PushWire<FollowMetadataRequest, FollowMetadataResponse>;
  using Method =
      rpc::CqStreamMethod<FollowMetadataRequest, FollowMetadataResponse, Wire>;
  using Peer = RpcPeerStream<FollowMetadataRequest, FollowMetadataResponse>;
  auto method = std::make_shared<Method>(Method::Deps{
      .loop = loop,
      .request =
          [this](auto* context, Wire* wire, auto* queue, void* tag) {
            service_.RequestFollowMetadata(context, &wire->request,
                                           &wire->stream, queue, queue, tag);
          },
      .accept =
          [api = deps_.api](std::shared_ptr<Method::Stream> stream,
                            Wire& wire) {
            auto peer = std::make_shared<Peer>(stream);
            api->executor()->Post([api, stream, peer = std::move(peer),
                                   request =
                                       std::move(wire.request)]() mutable {
              stream->AttachAndDrive(ToMessageEvents(
                  api->AcceptMetadataFollower(std::move(request),
                                              std::move(peer))));
            });
          },
      .options = {.executor = deps_.api->executor(),
                  .state = {.is_server = true, .reads = false}}});
  method->Listen();
  methods_.push_back(std::move(method));
}

void ControllerRpcService::Serve(rpc::CompletionLoop* loop) {
  ServeUnary(loop, &Service::RequestHello, &ControllerApi::Hello);
  ServeUnary(loop, &Service::RequestRegisterBroker,
             &ControllerApi::RegisterBroker);
  ServeUnary(loop, &Service::RequestReportReplicas,
             &ControllerApi::ReportReplicas);
  ServeUnary(loop, &Service::RequestAlterPartitions,
             &ControllerApi::AlterPartitions);
  ServeUnary(loop, &Service::RequestAllocateProducerIds,
             &ControllerApi::AllocateProducerIds);
  ServeUnary(loop, &Service::RequestCreateTopics,
             &ControllerApi::CreateTopics);
  ServeUnary(loop, &Service::RequestCreatePartitions,
             &ControllerApi::CreatePartitions);
  ServeUnary(loop, &Service::RequestEnsureInternalTopic,
             &ControllerApi::EnsureInternalTopic);
  ServeUnary(loop, &Service::RequestDeleteTopics,
             &ControllerApi::DeleteTopics);
  ServeUnary(loop, &Service::RequestAlterConfigs,
             &ControllerApi::AlterConfigs);
  ServeUnary(loop, &Service::RequestElectLeaders,
             &ControllerApi::ElectLeaders);
  ServeUnary(loop, &Service::RequestDescribeQuorum,
             &ControllerApi::DescribeQuorum);
  ServeLiveness(loop);
  ServeFollowMetadata(loop);
}

}  // namespace sluice
