// Unary methods on completion queues: served and called.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "common/base/error.h"
#include "common/env/executor.h"
#include "common/rpc/async/completion_loop.h"
#include "common/rpc/status_wire.h"

namespace sluice::rpc {

template <class Response>
using UnaryReply = absl::AnyInvocable<void(absl::StatusOr<Response>)>;

// Serves one method. A reply that is dropped without a call answers
// SHUTTING_DOWN; one that comes after the client went is forgotten.
template <class Request, class Response>
class CqUnaryMethod {
 public:
  // Requests answered later at a time; past it they are answered BUSY.
  static constexpr int kUnderWayMax = 1024;

  struct Deps {
    CompletionLoop* loop = nullptr;
    // AsyncService::RequestX.
    std::function<void(grpc::ServerContext*, Request*,
                       grpc::ServerAsyncResponseWriter<Response>*,
                       grpc::ServerCompletionQueue*, void* tag)>
        request;
    // On the loop's thread: posts. The reply may run on any thread.
    std::function<void(Request, UnaryReply<Response>)> handle;
  };

  explicit CqUnaryMethod(Deps deps) : deps_(std::move(deps)) {}

  // After the server has been built; once. The method outlives the loop's
  // Stop.
  void Listen() {
    auto call = std::make_shared<Call>(this);
    call->Arm(call);
  }

 private:
  class Call;

  Deps deps_;
  int under_way_ = 0;  // on the loop's thread
};

template <class Request, class Response>
class CqUnaryMethod<Request, Response>::Call final : public LoopCall {
 public:
  explicit Call(CqUnaryMethod* method) : method_(method), writer_(&context_) {}

  void Arm(std::shared_ptr<Call> self) {
    if (!loop().Enter(this)) return;
    self_ = std::move(self);
    context_.AsyncNotifyWhenDone(static_cast<CompletionTag*>(&gone_tag_));
    method_->deps_.request(&context_, &request_, &writer_,
                           loop().server_queue(),
                           static_cast<CompletionTag*>(&arrived_tag_));
  }

  void CancelCall() override {
    if (arrived_) context_.TryCancel();
  }

 private:
  // What the reply holds: answers when the last copy goes without having.
  struct Promise {
    explicit Promise(std::shared_ptr<Call> c) : call(std::move(c)) {}
    ~Promise() {
      call->Finish(MakeError(ErrorCode::kShuttingDown,
                             "this node is stopping; ask another"));
    }
    std::shared_ptr<Call> call;
  };

  CompletionLoop& loop() { return *method_->deps_.loop; }

  void OnArrived(bool ok) {
    if (!ok) {  // the server is shutting down; gone_tag_ never comes
      const auto self = std::move(self_);
      loop().Leave(this);
      return;
    }
    method_->Listen();
    arrived_ = true;
    if (++method_->under_way_ > kUnderWayMax) {
      Finish(MakeError(ErrorCode::kBusy, kUnderWayMax,
                       " such requests are under way; try again later"));
      return;
    }
    method_->deps_.handle(
        std::move(request_),
        [promise = std::make_shared<Promise>(self_)](
            absl::StatusOr<Response> answer) {
          promise->call->Finish(std::move(answer));
        });
  }

  // The first answer counts.
  void Finish(absl::StatusOr<Response> answer) {
    if (answered_.exchange(true)) return;
    if (answer.ok()) {
      writer_.Finish(*answer, grpc::Status::OK,
                     static_cast<CompletionTag*>(&finish_tag_));
    } else {
      writer_.FinishWithError(ToGrpcStatus(answer.status()),
                              static_cast<CompletionTag*>(&finish_tag_));
    }
  }

  void OnGone(bool) {
    gone_ = true;
    // Gone before its answer: the call is let go of at once.
    Finish(absl::CancelledError("the client is gone"));
    MaybeEnd();
  }
  void OnFinished(bool) {
    finished_ = true;
    MaybeEnd();
  }
  void MaybeEnd() {
    if (!finished_ || !gone_) return;
    const auto self = std::move(self_);
    --method_->under_way_;
    loop().Leave(this);
  }

  CqUnaryMethod* const method_;
  grpc::ServerContext context_;
  Request request_;
  grpc::ServerAsyncResponseWriter<Response> writer_;
  MemberTag<Call> arrived_tag_{this, &Call::OnArrived};
  MemberTag<Call> gone_tag_{this, &Call::OnGone};
  MemberTag<Call> finish_tag_{this, &Call::OnFinished};

  // On the loop's thread.
  std::shared_ptr<Call> self_;
  bool gone_ = false;
  bool finished_ = false;
  std::atomic<bool> arrived_ = false;
  std::atomic<bool> answered_ = false;
};

// Calls a unary method. The reply runs once, on the executor, with the answer
// or with a status of FromGrpcStatus.
template <class Request, class Response>
class CqUnaryCall final : public LoopCall {
 public:
  struct Deps {
    CompletionLoop* loop = nullptr;
    std::shared_ptr<grpc::Channel> channel;
    std::string method;  // "/package.Service/Method"
    Executor* executor = nullptr;
  };

  // Any thread. `timeout_us` also covers the time to connect.
  static void Start(Deps deps, const Request& request, int64_t timeout_us,
                    UnaryReply<Response> reply) {
    auto call =
        std::make_unique<CqUnaryCall>(std::move(deps), std::move(reply));
    if (!call->loop_->Enter(call.get())) {
      call->Reply(absl::UnavailableError("this node is shutting down"));
      return;
    }
    call->context_.set_deadline(std::chrono::system_clock::now() +
                                std::chrono::microseconds(timeout_us));
    CqUnaryCall* const raw = call.release();  // OnFinished takes it back
    raw->reader_ = raw->stub_.PrepareUnaryCall(
        &raw->context_, raw->method_, request, raw->loop_->queue());
    raw->reader_->StartCall();
    raw->reader_->Finish(&raw->response_, &raw->status_,
                         static_cast<CompletionTag*>(&raw->finish_tag_));
  }

  CqUnaryCall(Deps deps, UnaryReply<Response> reply)
      : loop_(deps.loop),
        executor_(deps.executor),
        stub_(deps.channel),
        method_(std::move(deps.method)),
        reply_(std::move(reply)) {}

  void CancelCall() override { context_.TryCancel(); }

 private:
  void OnFinished(bool) {
    const std::unique_ptr<CqUnaryCall> self(this);
    if (status_.ok()) {
      Reply(std::move(response_));
    } else {
      Reply(FromGrpcStatus(status_));
    }
    loop_->Leave(this);
  }
  void Reply(absl::StatusOr<Response> answer) {
    executor_->Post(
        [reply = std::move(reply_), answer = std::move(answer)]() mutable {
          reply(std::move(answer));
        });
  }

  CompletionLoop* const loop_;
  Executor* const executor_;
  grpc::TemplatedGenericStub<Request, Response> stub_;
  const std::string method_;
  UnaryReply<Response> reply_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader_;
  Response response_;
  grpc::Status status_;
  MemberTag<CqUnaryCall> finish_tag_{this, &CqUnaryCall::OnFinished};
};

}  // namespace sluice::rpc
