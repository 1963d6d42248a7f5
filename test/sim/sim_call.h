// A call between two processes of a simulated cluster.
#pragma once

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "common/base/str_cat.h"
#include "test/sim/sim_network.h"

namespace sluice::sim {

inline absl::Status Unreachable(NodeId to) {
  return absl::UnavailableError(StrCat("node ", to, " is not there"));
}

// Exactly one answer, whatever happens to either end: the callee's, or
// DEADLINE_EXCEEDED after the timeout, or UNAVAILABLE where nobody listens and
// where the callee dies.
template <class Response>
class SimCall : public std::enable_shared_from_this<SimCall<Response>> {
 public:
  SimCall(SimNetwork* network, LifePtr own, Executor* executor,
          PeerReply<Response> reply)
      : network_(network),
        own_(std::move(own)),
        executor_(executor),
        reply_(std::move(reply)) {}

  // `send(server, answer)` runs on the callee's executor `there(server)`,
  // which is null when the callee does not serve such calls.
  template <class There, class Send>
  void Start(NodeId to, int64_t timeout_us, There there, Send send) {
    const auto self = this->shared_from_this();
    timer_ = executor_->PostAfter(timeout_us, [self, to] {
      self->timer_ = 0;
      self->End(absl::DeadlineExceededError(StrCat("no answer from ", to)));
    });
    const LifePtr server = network_->Find(to);
    Executor* const at = server == nullptr ? nullptr : there(*server);
    if (at == nullptr) {
      executor_->PostAfter(network_->Latency(),
                           [self, to] { self->End(Unreachable(to)); });
      return;
    }
    break_ = network_->OnBreak(own_, server, [self, to] {
      if (!self->own_->alive) return;
      self->executor_->Post([self, to] { self->End(Unreachable(to)); });
    });
    network_->Carry(
        own_, server, at, nullptr,
        [self, server, send = std::move(send)]() mutable {
          send(*server, [self, server](absl::StatusOr<Response> answer) {
            self->network_->Carry(
                server, self->own_, self->executor_, nullptr,
                [self, answer = std::move(answer)]() mutable {
                  self->End(std::move(answer));
                });
          });
        });
  }

 private:
  void End(absl::StatusOr<Response> answer) {
    if (over_) return;
    over_ = true;
    if (timer_ != 0) executor_->Cancel(timer_);
    network_->Forget(break_);
    reply_(std::move(answer));
  }

  SimNetwork* const network_;
  const LifePtr own_;
  Executor* const executor_;
  PeerReply<Response> reply_;
  SimNetwork::BreakId break_ = 0;
  TimerId timer_ = 0;
  bool over_ = false;
};

}  // namespace sluice::sim
