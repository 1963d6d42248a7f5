// A call that any broker can answer.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "client/backoff.h"
#include "client/metadata_cache.h"
#include "common/base/error.h"

namespace sluice {

// One call, tried on one broker after the other until one answers or the time
// is over. Lives on the client's executor and keeps itself alive until then.
template <class Response>
class AnyBrokerCall
    : public std::enable_shared_from_this<AnyBrokerCall<Response>> {
 public:
  // Sends it to the broker at `endpoint`.
  using Start =
      absl::AnyInvocable<void(const api::Endpoint& endpoint,
                              int64_t timeout_us, PeerReply<Response> reply)>;
  // Whether an answer is to be asked for again, though the call succeeded: OK,
  // or why.
  using Judge = std::function<absl::Status(const Response&)>;

  AnyBrokerCall(const ClientDeps& deps, const ClientOptions& client,
                MetadataCache* metadata, int64_t timeout_us, Start start,
                PeerReply<Response> reply, Judge judge = nullptr)
      : deps_(deps),
        metadata_(metadata),
        metadata_lives_(metadata->lifetime()),
        began_us_(deps.clock->MonoMicros()),
        deadline_us_(began_us_ + timeout_us),
        random_(deps.seed ^ static_cast<uint64_t>(deadline_us_)),
        backoff_(client.retry_backoff_min_ms * 1000,
                 client.retry_backoff_max_ms * 1000),
        on_no_answer_(client.on_no_answer),
        start_(std::move(start)),
        reply_(std::move(reply)),
        judge_(std::move(judge)) {
    next_ = random_.Below(metadata->Brokers().size());
  }

  void Try() {
    if (metadata_lives_.expired()) {
      reply_(MakeError(ErrorCode::kShuttingDown, "the client was closed"));
      return;
    }
    const auto brokers = metadata_->Brokers();
    const api::Endpoint endpoint = brokers[next_++ % brokers.size()];
    ++tries_;
    const int64_t left_us = deadline_us_ - deps_.clock->MonoMicros();
    // One that hangs must not take all the time.
    const int64_t share_us =
        std::max<int64_t>(left_us / 2, std::min(left_us, kTryMinUs));
    start_(endpoint, share_us,
           [self = this->shared_from_this(),
            endpoint](absl::StatusOr<Response> answer) {
             self->OnAnswer(endpoint, std::move(answer));
           });
  }

 private:
  static constexpr int64_t kTryMinUs = 2'000'000;

  void OnAnswer(const api::Endpoint& endpoint,
                absl::StatusOr<Response> answer) {
    const int64_t left_us = deadline_us_ - deps_.clock->MonoMicros();
    absl::Status failure = answer.status();
    if (answer.ok() && judge_ != nullptr) failure = judge_(*answer);
    if (failure.ok() || !IsRetriableStatus(failure)) {
      reply_(std::move(answer));
      return;
    }
    if (answer.ok()) incomplete_ = *std::move(answer);
    // A try that the caller's deadline cut short learned nothing: what the
    // broker said before tells more.
    std::string why(StdView(failure.message()));
    const auto known = failures_.try_emplace(endpoint, why).first;
    if (left_us <= 0) {
      // An answer says itself what is missing from it.
      reply_(incomplete_.has_value() ? *std::move(incomplete_)
                                     : Exhausted(failure));
      return;
    }
    known->second = std::move(why);
    TellWhoWaits(left_us);
    const size_t brokers =
        metadata_lives_.expired() ? 1 : metadata_->Brokers().size();
    const int64_t pause_us =
        tries_ % brokers != 0 ? 0 : backoff_.NextDelayUs(random_);
    deps_.executor->PostAfter(
        std::min(pause_us, left_us),
        [self = this->shared_from_this()] { self->Try(); });
  }

  std::string Tried() const {
    std::string tried;
    for (const auto& [endpoint, why] : failures_) {
      tried +=
          StrCat(tried.empty() ? "" : "; ", endpoint.ToString(), ": ", why);
    }
    return StrCat("no broker could answer (", tried, ")");
  }

  absl::StatusOr<Response> Exhausted(const absl::Status& last) const {
    return MakeErrorStatus(CodeOf(last), Tried());
  }

  void TellWhoWaits(int64_t left_us) {
    const int64_t now_us = deps_.clock->MonoMicros();
    if (on_no_answer_ == nullptr || now_us - began_us_ < kNoAnswerQuietUs ||
        (told_us_ >= 0 && now_us - told_us_ < kNoAnswerEveryUs)) {
      return;
    }
    told_us_ = now_us;
    on_no_answer_(StrCat(Tried(), " for ", (now_us - began_us_) / 1'000'000,
                         " s; trying for ", left_us / 1'000'000, " s more"));
  }

  const ClientDeps deps_;
  MetadataCache* const metadata_;
  const std::weak_ptr<const void> metadata_lives_;
  const int64_t began_us_;
  const int64_t deadline_us_;
  int64_t told_us_ = -1;  // on_no_answer_; -1: never
  Random random_;
  Backoff backoff_;
  std::function<void(const std::string&)> on_no_answer_;
  Start start_;
  PeerReply<Response> reply_;
  Judge judge_;
  std::optional<Response> incomplete_;  // the last one
  size_t next_ = 0;
  size_t tries_ = 0;
  std::map<api::Endpoint, std::string> failures_;  // last, by broker
};

}  // namespace sluice
