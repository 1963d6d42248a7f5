#include "broker/rpc/public_call.h"

namespace sluice {

PendingCall::~PendingCall() {
  if (call_ == nullptr) return;
  call_->Fail(MakeError(ErrorCode::kShuttingDown,
                        "the broker ended while it worked on the call; its "
                        "outcome is unknown, ask another broker"));
}

void PendingCall::Answer(grpc::ByteBuffer response,
                         std::shared_ptr<const void> held) {
  const auto call = std::move(call_);
  if (call == nullptr) return;
  pass_->CountResponse(static_cast<int64_t>(response.Length()));
  call->Answer([&](grpc::ByteBuffer& out) {
    out.Swap(&response);
    pass_->Hold(std::move(held));
  });
}

void PendingCall::Fail(const absl::Status& why) {
  const auto call = std::move(call_);
  if (call != nullptr) call->Fail(why);
}

void PendingCall::set_client_id(const std::string& client_id) {
  if (!client_id.empty()) {
    pass_->context().client_id =
        client_id.substr(0, rpc::GateLimits().client_id_bytes_max);
  }
}

}  // namespace sluice
