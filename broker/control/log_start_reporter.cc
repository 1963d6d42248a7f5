#include "broker/control/log_start_reporter.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice {

using internal::v1::AdvanceLogStart;
using internal::v1::AlterPartitionsRequest;

namespace {

TopicPartition PartitionOf(const AdvanceLogStart& wanted) {
  const auto id = TopicId::FromBytes(wanted.topic_id());
  INVARIANT(id.has_value(), "a log start with a topic id of ",
            wanted.topic_id().size(), " bytes");
  return {*id, PartitionIndex(wanted.partition())};
}

enum class Verdict { kRecorded, kRefused, kAskAgain };

Verdict Judge(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNone:
      return Verdict::kRecorded;
    case ErrorCode::kFencedLeaderEpoch:
    case ErrorCode::kInvalidRequest:
    case ErrorCode::kUnknownTopicOrPartition:
    case ErrorCode::kUnknownTopicId:
      return Verdict::kRefused;
    default:
      // A controller that is behind (NOT_CONTROLLER), busy, or newer than this
      // program: nothing is decided.
      return Verdict::kAskAgain;
  }
}

// What whoever trims can do about it.
absl::Status ForTrimmer(const absl::Status& refused) {
  switch (CodeOf(refused)) {
    case ErrorCode::kFencedLeaderEpoch:
    case ErrorCode::kInvalidRequest:
    case ErrorCode::kStaleBrokerEpoch:
    case ErrorCode::kBrokerIdNotRegistered:
      return MakeErrorStatus(ErrorCode::kNotLeader,
                             std::string(refused.message()));
    default:
      return refused;
  }
}

}  // namespace

LogStartReporter::LogStartReporter(Deps deps)
    : deps_(std::move(deps)), alive_(std::make_shared<bool>(true)) {}

LogStartReporter::~LogStartReporter() { Stop(); }

void LogStartReporter::Stop() {
  stopped_ = true;
  if (timer_ != 0) deps_.executor->Cancel(timer_);
  timer_ = 0;
  pending_.clear();
  in_flight_.clear();
}

void LogStartReporter::Record(AdvanceLogStart wanted, int64_t deadline_us) {
  deps_.executor->Post([this, alive = std::weak_ptr<bool>(alive_),
                        wanted = std::move(wanted), deadline_us]() mutable {
    if (alive.expired()) return;
    Add({std::move(wanted), deadline_us, /*uncertain=*/false});
  });
}

void LogStartReporter::Add(Question question) {
  if (stopped_) return;
  const TopicPartition tp = PartitionOf(question.wanted);
  if (!pending_.contains(tp) && pending() >= kPendingMax) {
    return Tell({{tp, LeaderEpoch(question.wanted.leader_epoch()),
                  Offset(question.wanted.log_start_offset()),
                  MakeError(ErrorCode::kBusy, pending(),
                            " partitions wait for the controllers to record "
                            "their log starts, the limit; try again later")}});
  }
  AskAgain(std::move(question));
  Schedule(kWindowUs);
}

// Into what the next call asks.
void LogStartReporter::AskAgain(Question question) {
  const TopicPartition tp = PartitionOf(question.wanted);
  const auto [found, added] = pending_.try_emplace(tp, std::move(question));
  if (added) return;
  Question& other = found->second;
  const LeaderEpoch epoch(question.wanted.leader_epoch());
  const LeaderEpoch other_epoch(other.wanted.leader_epoch());
  if (epoch != other_epoch) {
    // Who waited in the older one has been told that the leadership is over.
    if (epoch > other_epoch) other = std::move(question);
    return;
  }
  other.wanted.set_log_start_offset(
      std::max(other.wanted.log_start_offset(),
               question.wanted.log_start_offset()));
  other.deadline_us = std::max(other.deadline_us, question.deadline_us);
  other.uncertain = other.uncertain || question.uncertain;
}

void LogStartReporter::Schedule(int64_t delay_us) {
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

void LogStartReporter::GiveUp(Questions& questions, const absl::Status& why) {
  std::vector<LogStartDecision> decisions;
  const int64_t now_us = deps_.clock->MonoMicros();
  for (auto it = questions.begin(); it != questions.end();) {
    const Question& question = it->second;
    if (question.deadline_us > now_us) {
      ++it;
      continue;
    }
    decisions.push_back({it->first, LeaderEpoch(question.wanted.leader_epoch()),
                         Offset(question.wanted.log_start_offset()), why,
                         question.uncertain});
    it = questions.erase(it);
  }
  Tell(std::move(decisions));
}

void LogStartReporter::Flush() {
  if (stopped_ || !in_flight_.empty()) return;
  const BrokerEpoch epoch = deps_.own_epoch();
  GiveUp(pending_,
         MakeError(ErrorCode::kRequestTimedOut,
                   epoch == kNoBrokerEpoch
                       ? "this broker is not registered with a controller"
                       : "no controller answered what was asked before it",
                   "; try again"));
  if (pending_.empty()) return;
  if (epoch == kNoBrokerEpoch) {
    Schedule(deps_.directory->BackoffUs(0));
    return;
  }
  AlterPartitionsRequest request;
  request.set_broker_id(deps_.node_id.value());
  request.set_broker_epoch(epoch.value());
  // Of whose time is over first somebody has to be told.
  int64_t deadline_us = ControllerDirectory::kNoDeadline;
  while (!pending_.empty() && in_flight_.size() < kPerCallMax) {
    auto node = pending_.extract(pending_.begin());
    *request.add_log_starts() = node.mapped().wanted;
    deadline_us = std::min(deadline_us, node.mapped().deadline_us);
    in_flight_.insert(std::move(node));
  }
  deps_.directory->CallActive<Response>(
      deadline_us, kAttemptUs,
      [request = std::move(request)](ControllerPeer* peer, int64_t timeout_us,
                                     PeerReply<Response> reply) {
        peer->AlterPartitions(request, timeout_us, std::move(reply));
      },
      [this, alive = std::weak_ptr<bool>(alive_)](
          ControllerDirectory::Outcome<Response> outcome) {
        if (!alive.expired()) OnAnswer(std::move(outcome));
      });
}

void LogStartReporter::OnAnswer(
    ControllerDirectory::Outcome<Response> outcome) {
  if (stopped_) return;
  for (auto& [tp, question] : in_flight_) {
    question.uncertain = question.uncertain || outcome.uncertain;
  }
  const absl::Status status = outcome.response.status();
  const ErrorCode code = CodeOf(status);
  if (status.ok()) {
    Decide(*outcome.response);
  } else if (code == ErrorCode::kShuttingDown) {
    return;
  } else if (code == ErrorCode::kBusy || code == ErrorCode::kRequestTimedOut) {
    retry_ = true;
    GiveUp(in_flight_, status);
    for (auto& [tp, question] : std::exchange(in_flight_, {})) {
      AskAgain(std::move(question));
    }
  } else {
    DecideAll(ForTrimmer(status));
    if (code == ErrorCode::kStaleBrokerEpoch ||
        code == ErrorCode::kBrokerIdNotRegistered) {
      deps_.on_stale(status);
    }
  }
  // Whatever was not decided waits a little longer.
  failures_ = retry_ ? failures_ + 1 : 0;
  Schedule(retry_ ? deps_.directory->BackoffUs(failures_ - 1) : kWindowUs);
  retry_ = false;
}

void LogStartReporter::Decide(const Response& answer) {
  std::vector<LogStartDecision> decisions;
  for (const auto& result : answer.log_starts()) {
    const auto id = TopicId::FromBytes(result.topic_id());
    if (!id.has_value()) continue;
    const TopicPartition tp{*id, PartitionIndex(result.partition())};
    const auto found = in_flight_.find(tp);
    if (found == in_flight_.end()) continue;
    Question question = std::move(found->second);
    in_flight_.erase(found);
    const absl::Status status =
        result.has_error()
            ? MakeErrorStatus(
                  CodeFromNumber(static_cast<int32_t>(result.error().code())),
                  result.error().message())
            : absl::OkStatus();
    const Verdict verdict = Judge(CodeOf(status));
    if (verdict == Verdict::kAskAgain) {
      retry_ = true;
      AskAgain(std::move(question));
      continue;
    }
    decisions.push_back({tp, LeaderEpoch(question.wanted.leader_epoch()),
                         Offset(question.wanted.log_start_offset()),
                         ForTrimmer(status), question.uncertain});
  }
  Tell(std::move(decisions));
  // Left out of the answer: nobody knows.
  for (auto& [tp, question] : std::exchange(in_flight_, {})) {
    retry_ = question.uncertain = true;
    AskAgain(std::move(question));
  }
}

void LogStartReporter::DecideAll(const absl::Status& why) {
  std::vector<LogStartDecision> decisions;
  for (const auto& [tp, question] : std::exchange(in_flight_, {})) {
    decisions.push_back({tp, LeaderEpoch(question.wanted.leader_epoch()),
                         Offset(question.wanted.log_start_offset()), why,
                         question.uncertain});
  }
  Tell(std::move(decisions));
}

void LogStartReporter::Tell(std::vector<LogStartDecision> decisions) {
  if (!decisions.empty()) deps_.on_decisions(std::move(decisions));
}

}  // namespace sluice
