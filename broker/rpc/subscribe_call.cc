#include "broker/rpc/subscribe_call.h"

#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/log_wire.h"
#include "common/rpc/slice_writer.h"

namespace sluice {

class SubscribeCall::Sink final : public SubscribeSink {
 public:
  explicit Sink(std::shared_ptr<SubscribeCall> call) : call_(std::move(call)) {}

  void Push(api::SubscribeResponse response) override {
    grpc::ByteBuffer bytes = rpc::EncodeSubscribeResponse(std::move(response));
    call_->pass_->CountResponse(static_cast<int64_t>(bytes.Length()));
    call_->Send(std::move(bytes));
  }
  void Finish(absl::Status status) override { call_->End(std::move(status)); }

 private:
  const std::shared_ptr<SubscribeCall> call_;
};

SubscribeCall* SubscribeCall::Serve(
    BrokerApi* broker, const std::shared_ptr<rpc::Gate>& gate,
    const grpc::CallbackServerContext& context) {
  const auto call = std::make_shared<SubscribeCall>(Private(), broker, gate);
  call->Start();
  auto pass = gate->Admit(rpc::Method::kSubscribe, context,
                          /*request_bytes=*/0, call);
  if (pass.ok()) {
    call->pass_ = *std::move(pass);
  } else {
    call->End(pass.status());
  }
  return call.get();
}

SubscribeCall::SubscribeCall(Private, BrokerApi* broker,
                             std::shared_ptr<rpc::Gate> gate)
    : ServerStream({.queue_bytes_max = kQueueBytesMax}),
      broker_(broker),
      gate_(std::move(gate)) {}

void SubscribeCall::OnMessage(grpc::ByteBuffer bytes) {
  if (absl::Status status = Take(std::move(bytes)); !status.ok()) {
    CloseSession();
    End(std::move(status));
  }
  Consumed();
}

absl::Status SubscribeCall::Take(grpc::ByteBuffer bytes) {
  if (pass_ == nullptr) return absl::OkStatus();  // refused: End() was called
  RETURN_IF_ERROR(gate_->AdmitMessage(rpc::Method::kSubscribe,
                                      static_cast<int64_t>(bytes.Length())));
  v1::SubscribeRequest message;
  if (!rpc::ParseMessage(&bytes, &message)) {
    return MakeError(ErrorCode::kInvalidRequest,
                     rpc::RowOf(rpc::Method::kSubscribe).path,
                     ": a message is no ", message.GetTypeName(),
                     "; compare the client's protos with the broker's");
  }
  ASSIGN_OR_RETURN(api::SubscribeRequest request,
                   rpc::SubscribeRequestFromProto(message));
  if (session_ == nullptr) {
    if (!message.client_id().empty()) {
      pass_->context().client_id = message.client_id().substr(
          0, rpc::GateLimits().client_id_bytes_max);
    }
    auto session = broker_->Subscribe(
        pass_->context(), std::make_shared<Sink>(
                              std::static_pointer_cast<SubscribeCall>(
                                  shared_from_this())));
    std::lock_guard lock(session_mutex_);
    session_ = std::move(session);
  }
  session_->OnRequest(std::move(request));
  return absl::OkStatus();
}

void SubscribeCall::CloseSession() {
  std::unique_lock lock(session_mutex_);
  const auto session = std::exchange(session_, nullptr);
  lock.unlock();
  if (session != nullptr) session->OnClosed();
}

void SubscribeCall::OnDrained() {
  std::unique_lock lock(session_mutex_);
  const auto session = session_;
  lock.unlock();
  if (session != nullptr) session->OnDrained();
}

void SubscribeCall::OnHalfClosed() {
  // A session that is open finishes the stream itself.
  const bool open = session_ != nullptr;
  CloseSession();
  if (!open) End(absl::OkStatus());
}

void SubscribeCall::OnClosed(const absl::Status&) {
  CloseSession();
  if (pass_ != nullptr) pass_->End();
}

}  // namespace sluice
