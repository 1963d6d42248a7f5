// The server's end of a unary call on gRPC's callback API.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <mutex>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "common/rpc/endable.h"
#include "common/rpc/status_wire.h"

namespace sluice::rpc {

// Answers once: the first of Answer, Fail, EndCall and the client's going away
// counts, the others are no-ops. Owned by shared_ptr: one reference is gRPC's,
// from Start() until OnDone, the others belong to whoever answers. Any thread.
template <class Response>
class UnaryCall final
    : public grpc::ServerUnaryReactor,
      public Endable,
      public std::enable_shared_from_this<UnaryCall<Response>> {
  struct Private {};

 public:
  // `response` is gRPC's and lives until the call is done. The method returns
  // get() to gRPC.
  static std::shared_ptr<UnaryCall> Start(Response* response) {
    auto call = std::make_shared<UnaryCall>(Private(), response);
    call->self_ = call;
    return call;
  }
  UnaryCall(Private, Response* response) : response_(response) {}

  // True when this was the answer: then `fill` has run.
  bool Answer(absl::FunctionRef<void(Response& response)> fill) {
    absl::AnyInvocable<void()> unused;
    if (!Claim(unused, /*abandon=*/false)) return false;
    fill(*response_);
    this->Finish(grpc::Status::OK);
    return true;
  }

  bool Fail(const absl::Status& why) {
    absl::AnyInvocable<void()> unused;
    if (!Claim(unused, /*abandon=*/false)) return false;
    this->Finish(ToGrpcStatus(why));
    return true;
  }

  // Fails the call while its handler still works on it, and tells it so.
  void EndCall(const absl::Status& why) override { GiveUp(ToGrpcStatus(why)); }

  // What to run when gRPC is done with the call. Before the method returns.
  void OnOver(absl::AnyInvocable<void()> over) { over_ = std::move(over); }

  // What to run, once, when EndCall ended it or the client goes away
  // before the answer; at once when that has happened already. Not run once
  // the call is answered.
  void OnGiveUp(absl::AnyInvocable<void()> give_up) {
    {
      std::lock_guard lock(mutex_);
      if (!answered_) {
        give_up_ = std::move(give_up);
        return;
      }
      if (!abandoned_) return;
    }
    give_up();
  }

 private:
  // Whoever gets true finishes the call, nobody else.
  bool Claim(absl::AnyInvocable<void()>& give_up, bool abandon) {
    std::lock_guard lock(mutex_);
    if (answered_) return false;
    answered_ = true;
    abandoned_ = abandon;
    give_up = std::move(give_up_);
    give_up_ = nullptr;
    return true;
  }

  void GiveUp(grpc::Status status) {
    absl::AnyInvocable<void()> give_up;
    if (!Claim(give_up, /*abandon=*/true)) return;
    this->Finish(std::move(status));
    if (give_up) give_up();
  }

  void OnCancel() final {
    GiveUp(grpc::Status(grpc::StatusCode::CANCELLED,
                        "the client gave up the call or is gone"));
  }

  void OnDone() final {
    // Deletes on return unless somebody else holds a reference.
    const auto self = std::move(self_);
    if (over_) over_();
  }

  Response* const response_;
  absl::AnyInvocable<void()> over_;

  std::mutex mutex_;
  // Guarded by mutex_.
  bool answered_ = false;
  bool abandoned_ = false;
  absl::AnyInvocable<void()> give_up_;

  std::shared_ptr<UnaryCall> self_;  // written before and after gRPC's events
};

}  // namespace sluice::rpc
