// A unary call between two processes of a simulated cluster.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "common/base/str_cat.h"
#include "test/sim/sim_network.h"
#include "test/sim/wire.h"

namespace sluice::sim {

inline absl::Status Unreachable(NodeId to) {
  return absl::UnavailableError(StrCat("node ", to, " is not there"));
}

// Exactly one answer, whatever happens to either end: the callee's, or
// DEADLINE_EXCEEDED after the timeout, or UNAVAILABLE where nobody listens,
// where the callee dies and where the connection breaks.
template <class Response>
class SimCall : public std::enable_shared_from_this<SimCall<Response>> {
 public:
  SimCall(SimNetwork* network, LifePtr own, Executor* executor,
          PeerReply<Response> reply)
      : network_(network),
        own_(std::move(own)),
        executor_(executor),
        reply_(std::move(reply)) {}

  // `serve(server, bytes, answer)` runs on the callee's executor
  // `where(server)`, which is null when the callee does not serve such calls.
  // It returns what to do when the caller gives up; may be null.
  template <class Where, class Serve>
  void Start(NodeId to, MessageKind kind, std::string request,
             int64_t timeout_us, Where where, Serve serve) {
    const auto self = this->shared_from_this();
    timer_ = executor_->PostAfter(timeout_us, [self, to] {
      self->timer_ = 0;
      self->GiveUp(absl::DeadlineExceededError(StrCat("no answer from ", to)));
    });
    const LifePtr server = network_->Find(to);
    Executor* const at = server == nullptr ? nullptr : where(*server);
    if (at == nullptr) {
      executor_->PostAfter(network_->Latency(),
                           [self, to] { self->End(Unreachable(to)); });
      return;
    }
    const auto callee = std::make_shared<There>();
    there_ = callee;
    stream_ = network_->Connect(
        SimStream::Form::kUnary,
        {own_, executor_, [self](const absl::Status& why) { self->End(why); }},
        {server, at,
         [callee](const absl::Status&) { callee->Cancel(); }});
    if (kind == MessageKind::kProduce || kind == MessageKind::kFetch) {
      stream_->keepalive_us = SimNetwork::kDataKeepaliveUs;
    }
    network_->Send(stream_, Side::kAcceptor, kind, std::move(request),
                   [self, callee, server, serve = std::move(serve)](
                       const Parcel& parcel) mutable {
                     auto cancel =
                         serve(*server, parcel.bytes, self->AnswerTo(parcel));
                     if (!parcel.stray) callee->cancel = std::move(cancel);
                   });
  }

 private:
  // Held by the callee's end of the stream, and so no longer than its process:
  // what it cancels holds the answer, which holds the call.
  struct There {
    CancelCall cancel;
    void Cancel() {
      if (cancel != nullptr) std::exchange(cancel, nullptr)();
    }
  };

  // On the callee's side.
  PeerReply<Response> AnswerTo(const Parcel& request) {
    if (request.stray) return [](absl::StatusOr<Response>) {};
    return [self = this->shared_from_this(),
            kind = ReplyOf(request.message.kind)](
               absl::StatusOr<Response> answer) {
      if (const auto callee = self->there_.lock()) callee->cancel = nullptr;
      const absl::Status status = answer.status();
      self->network_->Send(
          self->stream_, Side::kOpener, kind,
          answer.ok() ? Wire<Response>::Encode(*std::move(answer)) : "",
          [self](const Parcel& parcel) {
            if (!parcel.message.status.ok()) {
              return self->End(parcel.message.status);
            }
            self->End(Wire<Response>::Decode(parcel.bytes));
          },
          status);
    };
  }

  void GiveUp(absl::Status why) {
    if (const auto callee = there_.lock()) {
      network_->Send(stream_, Side::kAcceptor, MessageKind::kStreamEnd, "",
                     [callee](const Parcel&) { callee->Cancel(); });
    }
    End(std::move(why));
  }
  void End(absl::StatusOr<Response> answer) {
    if (over_) return;
    over_ = true;
    if (timer_ != 0) executor_->Cancel(timer_);
    if (stream_ != nullptr) network_->CloseEnd(stream_, Side::kOpener);
    std::exchange(reply_, nullptr)(std::move(answer));
  }

  SimNetwork* const network_;
  const LifePtr own_;
  Executor* const executor_;
  PeerReply<Response> reply_;
  StreamPtr stream_;
  std::weak_ptr<There> there_;
  TimerId timer_ = 0;
  bool over_ = false;
};

}  // namespace sluice::sim
