// Answers that a test has written by hand, in the place of a real peer's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "client/peers/controller_peer.h"
#include "common/env/executor.h"

namespace sluice::cli {

template <class Peer>
class CannedAnswers {
 public:
  CannedAnswers(std::shared_ptr<Peer> real, Executor* executor)
      : real_(std::move(real)), executor_(executor) {}

  Peer& real() const { return *real_; }
  Executor* executor() const { return executor_; }

  template <class Response>
  void Answer(Response response, PeerReply<Response> reply) const {
    executor_->Post([response = std::move(response),
                     reply = std::move(reply)]() mutable {
      reply(std::move(response));
    });
  }
  // Unset: as the real one answers.
  template <class Request, class Response>
  void AnswerOr(const std::optional<Response>& canned,
                void (Peer::*call)(const Request&, int64_t,
                                   PeerReply<Response>),
                const Request& request, int64_t timeout_us,
                PeerReply<Response> reply) const {
    if (canned.has_value()) return Answer(*canned, std::move(reply));
    (real().*call)(request, timeout_us, std::move(reply));
  }

 private:
  const std::shared_ptr<Peer> real_;
  Executor* const executor_;
};

}  // namespace sluice::cli
