// Asks the leaders of many partitions, following leaders, until all answered.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "client/backoff.h"
#include "client/metadata_cache.h"
#include "common/base/error.h"

namespace sluice {

// Lives on the client's executor; keeps itself alive until `done` ran, which it
// does once: with a result of each partition. A retriable error is asked again
// until `timeout_us` passed and is the result then; any other is the result.
// `Result` is one of common/api/log_api.h, with an error and a leader.
template <class Result>
class LeaderAsk : public std::enable_shared_from_this<LeaderAsk<Result>> {
 public:
  using Asked = std::vector<std::pair<NamedPartition, LeaderEpoch>>;
  using Answer = absl::AnyInvocable<void(absl::StatusOr<std::vector<Result>>)>;
  // Sends one request about `asked`; results come in that order.
  using Send = std::function<void(BrokerPeer& leader, const Asked& asked,
                                  int64_t timeout_us, Answer answer)>;
  using Results = std::map<NamedPartition, Result>;

  struct Question {
    std::vector<NamedPartition> partitions;
    Send send;
    int64_t timeout_us = 0;
    // The first result that is an error ends it; others may be missing then.
    bool all_or_none = false;
    absl::AnyInvocable<void(Results)> done;
  };

  static void Start(const ClientDeps& deps, const ClientOptions& client,
                    MetadataCache* metadata, Question question) {
    std::make_shared<LeaderAsk>(deps, client, metadata, std::move(question))
        ->Begin();
  }

  LeaderAsk(const ClientDeps& deps, const ClientOptions& client,
            MetadataCache* metadata, Question question)
      : deps_(deps),
        client_(client),
        metadata_(metadata),
        metadata_lives_(metadata->lifetime()),
        question_(std::move(question)),
        deadline_us_(deps.clock->MonoMicros() + question_.timeout_us),
        random_(deps.seed ^ 0x6f666673),
        backoff_(kFirstPauseUs, client.retry_backoff_max_ms * 1000),
        open_(question_.partitions.begin(), question_.partitions.end()) {}

 private:
  // Short: mostly it waits for one metadata answer.
  static constexpr int64_t kFirstPauseUs = 4'000;

  void Begin() {
    for (const NamedPartition& tp : open_) {
      metadata_->Follow(tp.topic);
      Note(tp, MakeError(ErrorCode::kRequestTimedOut,
                         "no broker answered for ", tp, " in time"));
    }
    Ask();
  }

  void Ask() {
    if (question_.done == nullptr || IsClosed()) return;
    if (open_.empty()) return Finish();
    const int64_t left_us = deadline_us_ - deps_.clock->MonoMicros();
    if (left_us <= 0) return Finish();
    std::map<api::Endpoint, Asked> by_leader;
    for (const NamedPartition& tp : open_) {
      if (asked_.contains(tp)) continue;
      const auto leader = metadata_->LeaderOf(tp);
      if (leader.has_value()) {
        by_leader[leader->endpoint].emplace_back(tp, leader->leader_epoch);
      } else if (metadata_->Find(tp.topic) != nullptr) {
        metadata_->Suspect(tp, kNoLeaderEpoch);
        Note(tp, MakeError(ErrorCode::kLeaderNotAvailable, tp,
                           " has no leader"));
      } else if (const auto why = metadata_->WhyUnknown(tp.topic); !why.ok()) {
        Note(tp, why);
      }
    }
    for (auto& [endpoint, asked] : by_leader) {
      AskLeader(endpoint, std::move(asked), left_us);
    }
    const int64_t pause_us = std::min(backoff_.NextDelayUs(random_), left_us);
    deps_.executor->PostAfter(
        pause_us, [self = this->shared_from_this()] { self->Ask(); });
  }

  void AskLeader(const api::Endpoint& endpoint, Asked asked, int64_t left_us) {
    for (const auto& [tp, epoch] : asked) asked_.insert(tp);
    question_.send(
        *metadata_->connections().At(endpoint), asked,
        std::min(left_us, client_.request_timeout_ms * 1000),
        [self = this->shared_from_this(),
         asked](absl::StatusOr<std::vector<Result>> answer) {
          self->OnAnswer(asked, std::move(answer));
        });
  }

  void OnAnswer(const Asked& asked,
                absl::StatusOr<std::vector<Result>> answer) {
    if (question_.done == nullptr || IsClosed()) return;
    for (size_t i = 0; i < asked.size(); ++i) {
      const auto& [tp, epoch] = asked[i];
      asked_.erase(tp);
      absl::Status error = answer.status();
      if (answer.ok()) {
        if (i >= answer->size()) continue;
        Result& result = (*answer)[i];
        if (result.leader.has_value()) metadata_->Learn(tp, *result.leader);
        error = result.error.ok() ? absl::OkStatus()
                                  : MakeErrorStatus(result.error.code,
                                                    result.error.message);
        results_[tp] = std::move(result);
      } else {
        Note(tp, error);
      }
      if (!error.ok() && IsRetriableStatus(error)) {
        metadata_->Suspect(tp, epoch);
        continue;
      }
      open_.erase(tp);
      if (!error.ok() && question_.all_or_none) return Finish();
    }
    if (open_.empty()) Finish();
  }

  bool IsClosed() {
    if (!metadata_lives_.expired()) return false;
    for (const NamedPartition& tp : open_) {
      Note(tp, MakeError(ErrorCode::kShuttingDown, "the client was closed"));
    }
    Finish();
    return true;
  }

  void Note(const NamedPartition& tp, const absl::Status& why) {
    results_[tp].error = api::ItemError(why);
  }

  void Finish() {
    auto done = std::exchange(question_.done, nullptr);
    done(std::move(results_));
  }

  const ClientDeps deps_;
  const ClientOptions client_;
  MetadataCache* const metadata_;
  const std::weak_ptr<const void> metadata_lives_;
  Question question_;
  const int64_t deadline_us_;
  Random random_;
  Backoff backoff_;
  std::set<NamedPartition> open_;
  std::set<NamedPartition> asked_;  // of open_: an answer is on its way
  Results results_;                 // so far; errors of those that are open
};

}  // namespace sluice
