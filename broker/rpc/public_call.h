// From gRPC's bytes through the gate to a handler, and back: the same for
// every unary call of the public services.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "client/peers/controller_peer.h"
#include "common/api/log_api.h"
#include "common/base/error.h"
#include "common/rpc/gate.h"
#include "common/rpc/slice_writer.h"
#include "common/rpc/unary_call.h"

namespace sluice {

// A call whose handler is at work. Destroyed without an answer (an executor
// that ended dropped it) it fails the call with SHUTTING_DOWN: a client never
// waits for nothing. Answer and Fail may be called on any thread; the first
// counts.
class PendingCall {
 public:
  using Call = rpc::UnaryCall<grpc::ByteBuffer>;

  PendingCall(std::shared_ptr<Call> call, std::shared_ptr<rpc::Gate::Pass> pass)
      : call_(std::move(call)), pass_(std::move(pass)) {}
  PendingCall(PendingCall&&) = default;
  PendingCall& operator=(PendingCall&&) = delete;
  ~PendingCall();

  // `held` is let go of when the answer is on the wire.
  void Answer(grpc::ByteBuffer response,
              std::shared_ptr<const void> held = nullptr);
  void Fail(const absl::Status& why);
  // See UnaryCall::OnGiveUp.
  const std::shared_ptr<Call>& call() const { return call_; }
  const api::CallContext& context() const { return pass_->context(); }
  void set_client_id(const std::string& client_id);

 private:
  std::shared_ptr<Call> call_;  // null: moved from, or answered
  std::shared_ptr<rpc::Gate::Pass> pass_;
};

// A reply that answers with its message as it is.
template <class Response>
PeerReply<Response> ReplyTo(PendingCall pending) {
  return [pending = std::move(pending)](
             absl::StatusOr<Response> response) mutable {
    if (response.ok()) {
      pending.Answer(rpc::ToByteBuffer(*response));
    } else {
      pending.Fail(response.status());
    }
  };
}

// A service's method returns what this returns. `handle` runs before it
// returns, unless the gate refuses the call (REQUEST_TOO_LARGE, BUSY,
// SHUTTING_DOWN) or `request` is no Message (INVALID_REQUEST).
template <class Message>
grpc::ServerUnaryReactor* ServeCall(
    rpc::Gate& gate, rpc::Method method, grpc::CallbackServerContext* context,
    const grpc::ByteBuffer* request, grpc::ByteBuffer* response,
    absl::FunctionRef<void(PendingCall pending, Message message)> handle) {
  const auto call = PendingCall::Call::Start(response);
  auto admitted = gate.Admit(method, *context,
                             static_cast<int64_t>(request->Length()), call);
  if (!admitted.ok()) {
    call->Fail(admitted.status());
    return call.get();
  }
  std::shared_ptr<rpc::Gate::Pass> pass = *std::move(admitted);
  call->OnOver([pass] { pass->End(); });
  PendingCall pending(call, std::move(pass));
  Message message;
  // It is gRPC's own and not const; its memory is not needed any more.
  auto* const bytes = const_cast<grpc::ByteBuffer*>(request);
  if (!rpc::ParseMessage(bytes, &message)) {
    pending.Fail(MakeError(ErrorCode::kInvalidRequest,
                           rpc::RowOf(method).path, ": the request is no ",
                           message.GetTypeName(),
                           "; compare the client's protos with the broker's"));
    return call.get();
  }
  bytes->Clear();
  handle(std::move(pending), std::move(message));
  return call.get();
}

}  // namespace sluice
