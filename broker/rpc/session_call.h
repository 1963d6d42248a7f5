// One stream at the edge: the same for every stream of the public services.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

#include "broker/broker_api.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/endable.h"
#include "common/rpc/gate.h"
#include "common/rpc/server_stream.h"
#include "common/rpc/slice_writer.h"

namespace sluice {

// Messages go to the broker's session in the order read; what it pushes is
// queued and written one at a time. The session bounds that queue; behind it
// stands Protocol::kLimits. A Protocol is
//
//   using Message, Request, Response;  // protobuf, and the structs of api
//   using Api;  // of the broker, where sessions are opened
//   // The session is opened before the first message, by Request().
//   static constexpr bool kOpensAtOnce;
//   static constexpr rpc::Method kMethod;
//   static constexpr rpc::StreamLimits kLimits;
//   // The session says when another message may be read.
//   static constexpr bool kSessionConsumes;
//   // The session hears that what it pushed is on the wire when it was this
//   // many messages, or more: each time is a thread to wake.
//   static constexpr int kDrainsAt;
//   // A half-close and the end of the server leave it time to answer.
//   static constexpr bool kOwesAnswers;
//   static const std::string& ClientIdOf(const Message&);
//   static absl::StatusOr<Request> Decode(Message);
//   static grpc::ByteBuffer Encode(Response);
//   static std::shared_ptr<StreamSession<Request>> Open(
//       Api&, const api::CallContext&, const Request& first,
//       std::shared_ptr<StreamSink<Response>>);
template <class Protocol>
class SessionCall final
    : public rpc::ServerStream<grpc::ByteBuffer, grpc::ByteBuffer>,
      public rpc::Endable {
  struct Private {};
  using Message = typename Protocol::Message;
  using Request = typename Protocol::Request;
  using Response = typename Protocol::Response;
  using Api = typename Protocol::Api;

 public:
  // What the service's method returns. The stream is ended at once when the
  // gate refuses it.
  static SessionCall* Serve(Api* broker,
                            const std::shared_ptr<rpc::Gate>& gate,
                            const grpc::CallbackServerContext& context) {
    const auto call =
        std::make_shared<SessionCall>(Private(), broker, gate, &context);
    call->Start();
    auto pass = gate->Admit(Protocol::kMethod, context,
                            /*request_bytes=*/0, call);
    if (pass.ok()) {
      call->pass_ = *std::move(pass);
      // No event comes before gRPC has what is returned.
      if (Protocol::kOpensAtOnce) call->Open(Request());
    } else {
      call->End(pass.status());
    }
    return call.get();
  }

  SessionCall(Private, Api* broker, std::shared_ptr<rpc::Gate> gate,
              const grpc::CallbackServerContext* context)
      : ServerStream(Protocol::kLimits, context),
        broker_(broker),
        gate_(std::move(gate)) {}

  void EndCall(const absl::Status& why) override {
    const auto session = Protocol::kOwesAnswers ? Session() : nullptr;
    if (session == nullptr) return End(why);
    session->OnNoMore(why);
  }

 private:
  class Sink final : public StreamSink<Response> {
   public:
    explicit Sink(std::shared_ptr<SessionCall> call) : call_(std::move(call)) {}

    void Push(Response response) override {
      grpc::ByteBuffer bytes = Protocol::Encode(std::move(response));
      call_->pass_->CountResponse(static_cast<int64_t>(bytes.Length()));
      call_->undrained_.fetch_add(1, std::memory_order_relaxed);
      call_->Send(std::move(bytes));
    }
    void Consumed() override { call_->Consumed(); }
    void Finish(absl::Status status) override { call_->End(std::move(status)); }
    void Cut(absl::Status status) override {
      call_->EndAtOnce(std::move(status));
    }

   private:
    const std::shared_ptr<SessionCall> call_;
  };

  void OnMessage(grpc::ByteBuffer bytes) override {
    if (absl::Status status = Take(std::move(bytes)); !status.ok()) {
      CloseSession();
      End(std::move(status));
    }
    if (!Protocol::kSessionConsumes) Consumed();
  }

  absl::Status Take(grpc::ByteBuffer bytes) {
    if (pass_ == nullptr) return absl::OkStatus();  // refused: End() was called
    RETURN_IF_ERROR(gate_->AdmitMessage(Protocol::kMethod,
                                        static_cast<int64_t>(bytes.Length())));
    Message message;
    if (!rpc::ParseMessage(&bytes, &message)) {
      return MakeError(ErrorCode::kInvalidRequest,
                       rpc::RowOf(Protocol::kMethod).path,
                       ": a message is no ", message.GetTypeName(),
                       "; compare the client's protos with the broker's");
    }
    if (session_ == nullptr && !Protocol::ClientIdOf(message).empty()) {
      pass_->context().client_id = Protocol::ClientIdOf(message).substr(
          0, rpc::GateLimits().client_id_bytes_max);
    }
    ASSIGN_OR_RETURN(Request request, Protocol::Decode(std::move(message)));
    if (session_ == nullptr) Open(request);
    session_->OnRequest(std::move(request));
    return absl::OkStatus();
  }

  void Open(const Request& first) {
    auto session = Protocol::Open(
        *broker_, pass_->context(), first,
        std::make_shared<Sink>(
            std::static_pointer_cast<SessionCall>(shared_from_this())));
    std::lock_guard lock(session_mutex_);
    session_ = std::move(session);
  }

  std::shared_ptr<StreamSession<Request>> Session() {
    std::lock_guard lock(session_mutex_);
    return session_;
  }

  void CloseSession() {
    std::unique_lock lock(session_mutex_);
    const auto session = std::exchange(session_, nullptr);
    lock.unlock();
    if (session != nullptr) session->OnClosed();
  }

  void OnDrained() override {
    if (undrained_.load(std::memory_order_relaxed) < Protocol::kDrainsAt) return;
    undrained_.store(0, std::memory_order_relaxed);
    if (const auto session = Session()) session->OnDrained();
  }

  void OnHalfClosed() override {
    // A session that is open finishes the stream itself.
    const auto session = Session();
    if (session == nullptr) return End(absl::OkStatus());
    if (Protocol::kOwesAnswers) return session->OnNoMore(absl::OkStatus());
    CloseSession();
  }

  void OnClosed(const absl::Status&) override {
    CloseSession();
    if (pass_ != nullptr) pass_->End();
  }

  Api* const broker_;
  const std::shared_ptr<rpc::Gate> gate_;
  std::unique_ptr<rpc::Gate::Pass> pass_;  // null: refused
  std::atomic<int> undrained_{0};
  // Opened by the first message, which says who the client is, or at once.
  // Written in the events of reading and in OnClosed, which follows them; other events read it
  // beside them.
  std::mutex session_mutex_;
  std::shared_ptr<StreamSession<Request>> session_;
};

}  // namespace sluice
