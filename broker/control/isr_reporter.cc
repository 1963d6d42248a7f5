#include "broker/control/isr_reporter.h"

#include <glog/logging.h>

#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice {

using internal::v1::AlterPartition;
using internal::v1::AlterPartitionsRequest;
using internal::v1::AlterPartitionsResponse;
using Outcome = IsrDecision::Outcome;

namespace {

TopicPartition PartitionOf(const AlterPartition& proposal) {
  const auto id = TopicId::FromBytes(proposal.topic_id());
  INVARIANT(id.has_value(), "an ISR proposal with a topic id of ",
            proposal.topic_id().size(), " bytes");
  return {*id, PartitionIndex(proposal.partition())};
}

// Whether `a` was made in a later state of the partition than `b`.
bool IsNewer(const AlterPartition& a, const AlterPartition& b) {
  return std::pair(a.leader_epoch(), a.partition_epoch()) >
         std::pair(b.leader_epoch(), b.partition_epoch());
}

IsrDecision DecisionOn(const TopicPartition& tp, const AlterPartition& proposal,
                       Outcome outcome) {
  return {tp, outcome, LeaderEpoch(proposal.leader_epoch()),
          PartitionEpoch(proposal.partition_epoch()), PartitionEpoch()};
}

}  // namespace

IsrReporter::IsrReporter(Deps deps)
    : deps_(std::move(deps)), alive_(std::make_shared<bool>(true)) {}

IsrReporter::~IsrReporter() { Stop(); }

void IsrReporter::Stop() {
  stopped_ = true;
  if (timer_ != 0) deps_.executor->Cancel(timer_);
  timer_ = 0;
  pending_.clear();
  in_flight_.clear();
}

std::optional<Outcome> IsrReporter::OutcomeOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNone:
      return Outcome::kApplied;
    case ErrorCode::kIneligibleReplica:
      return Outcome::kNotApplied;
    case ErrorCode::kFencedLeaderEpoch:
    case ErrorCode::kInvalidUpdateVersion:
    case ErrorCode::kInvalidRequest:
    case ErrorCode::kUnknownTopicOrPartition:
    case ErrorCode::kUnknownTopicId:
    case ErrorCode::kStaleBrokerEpoch:
      return Outcome::kStale;
    default:
      // A controller that is behind (NOT_CONTROLLER), busy, or newer than this
      // program: nothing is decided.
      return std::nullopt;
  }
}

void IsrReporter::Propose(AlterPartition proposal) {
  deps_.executor->Post([this, alive = std::weak_ptr<bool>(alive_),
                        proposal = std::move(proposal)]() mutable {
    if (!alive.expired()) Add(std::move(proposal));
  });
}

void IsrReporter::Add(AlterPartition proposal) {
  if (stopped_) return;
  const TopicPartition tp = PartitionOf(proposal);
  const auto found = pending_.find(tp);
  if (found == pending_.end() && pending() >= kPendingMax) {
    deps_.on_decisions({DecisionOn(tp, proposal, Outcome::kUnknown)});
    return;
  }
  if (found != pending_.end() && IsNewer(found->second, proposal)) return;
  pending_[tp] = std::move(proposal);
  Schedule(kWindowUs);
}

void IsrReporter::Schedule(int64_t delay_us) {
  if (timer_ != 0 || stopped_ || pending_.empty() || !in_flight_.empty()) {
    return;
  }
  timer_ = deps_.executor->PostAfter(
      delay_us, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        timer_ = 0;
        Flush();
      });
}

void IsrReporter::Flush() {
  if (stopped_ || pending_.empty() || !in_flight_.empty()) return;
  const BrokerEpoch epoch = deps_.own_epoch();
  if (epoch == kNoBrokerEpoch) {
    Schedule(deps_.directory->BackoffUs(0));
    return;
  }
  AlterPartitionsRequest request;
  request.set_broker_id(deps_.node_id.value());
  request.set_broker_epoch(epoch.value());
  while (!pending_.empty() && in_flight_.size() < kPerCallMax) {
    auto node = pending_.extract(pending_.begin());
    *request.add_partitions() = node.mapped();
    in_flight_.insert(std::move(node));
  }
  // One attempt after the other until one is answered: the content is the
  // same, so an attempt that got through makes the next one stale, never a
  // second change.
  const int64_t deadline_us = MUTANT(kIsrChangeRevertedOnTimeout)
                                  ? deps_.clock->MonoMicros() + kAttemptUs / 4
                                  : ControllerDirectory::kNoDeadline;
  deps_.directory->CallActive<AlterPartitionsResponse>(
      deadline_us, kAttemptUs,
      [request = std::move(request)](
          ControllerPeer* peer, int64_t timeout_us,
          PeerReply<AlterPartitionsResponse> reply) {
        peer->AlterPartitions(request, timeout_us, std::move(reply));
      },
      [this, alive = std::weak_ptr<bool>(alive_)](
          ControllerDirectory::Outcome<AlterPartitionsResponse> outcome) {
        if (alive.expired()) return;
        OnAnswer(std::move(outcome.response), outcome.uncertain);
      });
}

void IsrReporter::OnAnswer(absl::StatusOr<AlterPartitionsResponse> answer,
                           bool uncertain) {
  if (stopped_) return;
  int64_t delay_us = kWindowUs;
  if (answer.ok()) {
    Decide(*answer, uncertain);
  } else if (CodeOf(answer.status()) == ErrorCode::kShuttingDown) {
    return;
  } else if (CodeOf(answer.status()) == ErrorCode::kBusy) {
    for (auto& [tp, proposal] : std::exchange(in_flight_, {})) {
      AskAgain(std::move(proposal));
    }
  } else {
    LOG(WARNING) << "broker " << deps_.node_id << ": " << in_flight_.size()
                 << " ISR changes were refused, their leaders wait for the "
                    "metadata: "
                 << answer.status();
    DecideAll(MUTANT(kIsrChangeRevertedOnTimeout) ? Outcome::kNotApplied
                                                  : Outcome::kStale);
    const ErrorCode code = CodeOf(answer.status());
    if (code == ErrorCode::kStaleBrokerEpoch ||
        code == ErrorCode::kBrokerIdNotRegistered) {
      deps_.on_stale(answer.status());
    }
  }
  // Whatever was not decided waits a little longer.
  if (answer.ok() && !retry_) failures_ = 0;
  if (!answer.ok() || retry_) {
    delay_us = deps_.directory->BackoffUs(failures_++);
  }
  retry_ = false;
  Schedule(delay_us);
}

void IsrReporter::Decide(const AlterPartitionsResponse& answer,
                         bool uncertain) {
  std::vector<IsrDecision> decisions;
  for (const auto& result : answer.results()) {
    const auto id = TopicId::FromBytes(result.topic_id());
    if (!id.has_value()) continue;
    const TopicPartition tp{*id, PartitionIndex(result.partition())};
    const auto found = in_flight_.find(tp);
    if (found == in_flight_.end()) continue;
    AlterPartition proposal = std::move(found->second);
    in_flight_.erase(found);
    const ErrorCode code =
        result.has_error()
            ? CodeFromNumber(static_cast<int32_t>(result.error().code()))
            : ErrorCode::kNone;
    std::optional<Outcome> outcome = OutcomeOf(code);
    // An earlier attempt may still be carried out, when the replica has become
    // eligible: the leader must not count without it (RP15).
    if (outcome == Outcome::kNotApplied && uncertain) {
      outcome = Outcome::kUnknown;
    }
    if (!outcome.has_value()) {
      retry_ = true;
      AskAgain(std::move(proposal));
      continue;
    }
    VLOG_IF(1, code != ErrorCode::kNone)
        << "ISR change of " << tp.ToString() << ": "
        << result.error().message();
    decisions.push_back(DecisionOn(tp, proposal, *outcome));
    if (*outcome == Outcome::kApplied) {
      decisions.back().applied_epoch = PartitionEpoch(result.partition_epoch());
    }
  }
  // Left out of the answer: nobody knows.
  for (const auto& [tp, proposal] : std::exchange(in_flight_, {})) {
    decisions.push_back(DecisionOn(tp, proposal, Outcome::kUnknown));
  }
  if (!decisions.empty()) deps_.on_decisions(std::move(decisions));
}

void IsrReporter::DecideAll(Outcome outcome) {
  std::vector<IsrDecision> decisions;
  for (const auto& [tp, proposal] : std::exchange(in_flight_, {})) {
    decisions.push_back(DecisionOn(tp, proposal, outcome));
  }
  deps_.on_decisions(std::move(decisions));
}

void IsrReporter::AskAgain(AlterPartition proposal) {
  const TopicPartition tp = PartitionOf(proposal);
  const auto found = pending_.find(tp);
  // What its leader proposed meanwhile, in a later state, replaces it.
  if (found == pending_.end()) {
    pending_.emplace(tp, std::move(proposal));
  } else if (IsNewer(proposal, found->second)) {
    found->second = std::move(proposal);
  }
}

}  // namespace sluice
