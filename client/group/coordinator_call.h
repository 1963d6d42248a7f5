// A call to a group's coordinator, wherever that goes.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "client/backoff.h"
#include "client/client_types.h"
#include "client/group/group_errors.h"
#include "client/peers/group_peer.h"

namespace sluice {

// Asks until there is an answer that asking again would not better, or the time
// is over. Lives on the client's executor and keeps itself alive until `done`
// ran, which it does once: with the last status, and the response of that try.
template <class Response>
class CoordinatorCall
    : public std::enable_shared_from_this<CoordinatorCall<Response>> {
 public:
  struct Question {
    // Null: nobody is known to be the coordinator now.
    std::function<std::shared_ptr<GroupPeer>()> coordinator;
    std::function<void(GroupPeer&, int64_t timeout_us, PeerReply<Response>)>
        send;
    // How the answer as a whole went.
    std::function<absl::Status(const Response&)> judge;
    // After each try.
    std::function<void(const absl::Status&)> told;
    std::function<void(const absl::Status&, const Response&)> done;
    int64_t timeout_us = 0;
    std::weak_ptr<const void> lives;  // who asks
  };

  static void Start(const ClientDeps& deps, const ClientOptions& options,
                    Question question) {
    std::make_shared<CoordinatorCall>(deps, options, std::move(question))
        ->Try();
  }

  CoordinatorCall(const ClientDeps& deps, const ClientOptions& options,
                  Question question)
      : deps_(deps),
        try_us_max_(options.request_timeout_ms * 1000),
        question_(std::move(question)),
        deadline_us_(deps.clock->MonoMicros() + question_.timeout_us),
        random_(deps.seed ^ static_cast<uint64_t>(deadline_us_)),
        backoff_(options.retry_backoff_min_ms * 1000,
                 options.retry_backoff_max_ms * 1000),
        last_(MakeError(ErrorCode::kCoordinatorNotAvailable,
                        "the group's coordinator was not found in time")) {}

 private:
  void Try() {
    if (question_.lives.expired()) {
      return Finish(MakeError(ErrorCode::kShuttingDown,
                              "the consumer was closed"),
                    Response());
    }
    const int64_t left_us = deadline_us_ - deps_.clock->MonoMicros();
    if (left_us <= 0) return Finish(last_, last_response_);
    const auto peer = question_.coordinator();
    if (peer == nullptr) return TryLater();
    question_.send(*peer, std::min(left_us, try_us_max_),
                   [self = this->shared_from_this()](
                       absl::StatusOr<Response> answer) {
                     self->OnAnswer(std::move(answer));
                   });
  }

  void OnAnswer(absl::StatusOr<Response> answer) {
    last_ = answer.ok() ? question_.judge(*answer) : answer.status();
    last_response_ = answer.ok() ? *std::move(answer) : Response();
    if (!question_.lives.expired()) question_.told(last_);
    const ErrorCode code = CodeOf(last_);
    // A generation that is being made ends the claim of this one.
    if (last_.ok() || !IsRetriableStatus(last_) ||
        code == ErrorCode::kRebalanceInProgress) {
      return Finish(last_, last_response_);
    }
    TryLater();
  }

  void TryLater() {
    const int64_t left_us = deadline_us_ - deps_.clock->MonoMicros();
    deps_.executor->PostAfter(
        std::clamp<int64_t>(left_us, 0, backoff_.NextDelayUs(random_)),
        [self = this->shared_from_this()] { self->Try(); });
  }

  void Finish(const absl::Status& status, const Response& response) {
    auto done = std::exchange(question_.done, nullptr);
    done(status, response);
  }

  const ClientDeps deps_;
  const int64_t try_us_max_;
  Question question_;
  const int64_t deadline_us_;
  Random random_;
  Backoff backoff_;
  absl::Status last_;
  Response last_response_;
};

}  // namespace sluice
