// The stream: how it opens, and how it ends.
#include "broker/consume/consume_core.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice::consume {
namespace {

// Apart from the calls of GroupMembership, which counts from 1.
constexpr CallId kOwnCalls = CallId{1} << 62;

}  // namespace

ConsumeCore::ConsumeCore(Deps deps, int64_t now_us)
    : deps_(std::move(deps)),
      now_us_(now_us),
      open_by_us_(now_us + kOpenWithinUs),
      last_call_(kOwnCalls),
      commit_backoff_(kReadAgainMinUs, kReadAgainMaxUs) {}

std::string ConsumeCore::member_id() const {
  return membership_ == nullptr ? "" : membership_->member_id();
}

bool ConsumeCore::took_over() const {
  const std::string& named = options_.membership.resumes_member_id;
  return !named.empty() && named == member_id();
}

std::vector<Action> ConsumeCore::Step(const Event& event, int64_t now_us) {
  INVARIANT(now_us >= now_us_, "time went back to ", now_us);
  INVARIANT(phase_ != Phase::kOver, "a stream that is over was told more");
  now_us_ = now_us;
  actions_.clear();
  std::visit([this](const auto& e) { On(e); }, event);
  Advance();
  return std::exchange(actions_, {});
}

int64_t ConsumeCore::NextWakeUs() const {
  if (phase_ == Phase::kOver) return kNever;
  if (phase_ == Phase::kOpening) {
    return std::min(open_by_us_, topics_again_us_);
  }
  int64_t wake_us = std::min(membership_->NextWakeUs(), end_by_us_);
  const auto at = [&](int64_t when_us) { wake_us = std::min(wake_us, when_us); };
  if (revoke_.has_value()) at(revoke_->deadline_us);
  if (!again_.empty()) at(again_.begin()->first);
  if (AsMember().in_generation) at(starts_->NextWakeUs());
  if (ledger_->HasDue() && commit_call_ == 0 && MayCommit()) {
    at(std::max(commit_not_before_us_, next_auto_commit_us_));
  }
  if (phase_ == Phase::kOpen && no_progress_since_us_ != kNever) {
    at(no_progress_since_us_ +
       int64_t{options_.membership.max_poll_interval_ms} * 1000);
  }
  return wake_us;
}

// ---- Opening ----

void ConsumeCore::On(const ClientSaid& e) {
  const v1::ConsumeRequest& message = e.message;
  if (phase_ == Phase::kLeaving) return;  // half-closed, or closed by name
  if (message.credit_bytes() < 0) {
    return Refuse(MakeError(ErrorCode::kInvalidRequest, "credit_bytes ",
                            message.credit_bytes(),
                            "; credit is only ever added"));
  }
  const bool first = phase_ == Phase::kOpening && topics_call_ == 0;
  if (first != (message.message_case() == v1::ConsumeRequest::kOpen)) {
    return Refuse(MakeError(ErrorCode::kInvalidRequest,
                            first ? "the first message has no `open`"
                                  : "`open` is for the first message",
                            " of a stream"));
  }
  OnCredit(message.credit_bytes());
  switch (message.message_case()) {
    case v1::ConsumeRequest::kOpen: return OnOpen(message.open());
    case v1::ConsumeRequest::kAck: return OnAck(message.ack(), e.names);
    case v1::ConsumeRequest::kRevokeAck:
      return OnRevokeAck(message.revoke_ack(), e.names);
    case v1::ConsumeRequest::kSeek: return OnSeek(message.seek());
    case v1::ConsumeRequest::MESSAGE_NOT_SET: return;  // credit alone
  }
}

void ConsumeCore::OnOpen(const v1::ConsumeOpen& open) {
  auto options = OpenOptionsFrom(open);
  if (!options.ok()) return FinishWith(options.status());
  options_ = *std::move(options);
  options_.membership.stream = deps_.secret;
  if (options_.membership.client_id.empty()) {
    options_.membership.client_id = deps_.client_id;
  }
  open_by_us_ = kNever;
  topics_by_us_ = now_us_ + kTopicPatienceUs;
  topics_call_ = ++last_call_;
  Do(LookUpTopics{topics_call_, options_.topics});
}

void ConsumeCore::OnOwnTopics(const consumer::PartitionCounts& counts) {
  const auto unknown = std::find_if(
      options_.topics.begin(), options_.topics.end(),
      [&](const std::string& topic) { return !counts.contains(topic); });
  if (unknown != options_.topics.end()) {
    if (now_us_ >= topics_by_us_) {
      return FinishWith(MakeError(ErrorCode::kUnknownTopicOrPartition,
                                  "topic '", *unknown,
                                  "' does not exist; create it, then open the "
                                  "stream"));
    }
    topics_again_us_ = now_us_ + kAskAgainUs;
    return;
  }
  topics_by_us_ = topics_again_us_ = kNever;
  phase_ = Phase::kOpen;
  membership_ = std::make_unique<GroupMembership>(
      GroupMembership::Deps{options_.membership, deps_.random});
  ledger_ = std::make_unique<AckLedger>(options_.ack_mode);
  starts_ = std::make_unique<StartFinder>(&options_, &last_call_);
  Tell(membership::CountsChanged{counts});
  starts_->OnCounts(counts);
  // It polls all the time: whether the client gets on is judged by what it
  // acknowledges.
  Tell(membership::PollBegan{});
  Tell(membership::Subscribe{options_.topics});
}

// ---- Time ----

void ConsumeCore::Advance() {
  if (phase_ == Phase::kOpening) {
    if (now_us_ >= open_by_us_) {
      return FinishWith(MakeError(ErrorCode::kInvalidRequest,
                                  "no `open` within ", kOpenWithinUs / 1000,
                                  " ms of the call"));
    }
    if (now_us_ >= topics_again_us_) {
      topics_again_us_ = kNever;
      topics_call_ = ++last_call_;
      Do(LookUpTopics{topics_call_, options_.topics});
    }
    return;
  }
  if (phase_ == Phase::kOver) return;
  AdvanceMembership();
  CheckRevoke();
  AdvanceReading();
  SendCommitIfDue();
  CheckRevoke();  // what cannot be committed is settled
  CheckStall();
  CheckEnd();
  AdvanceMembership();
  PushResults();
}

void ConsumeCore::AdvanceMembership() {
  if (phase_ == Phase::kOver) return;
  if (now_us_ >= membership_->NextWakeUs()) told_.push_back(membership::Tick{});
  while (!told_.empty() && phase_ != Phase::kOver) {
    const membership::Event event = std::move(told_.front());
    told_.pop_front();
    for (const membership::Action& action : membership_->Step(event, now_us_)) {
      std::visit([this](const auto& a) { Carry(a); }, action);
      if (phase_ == Phase::kOver) return;
    }
  }
}

// A client that answers pings and gets nowhere has hung.
void ConsumeCore::CheckStall() {
  if (phase_ != Phase::kOpen) return;
  if (!ledger_->HasUnacknowledged() || MUTANT(kStalledStays)) {
    no_progress_since_us_ = kNever;
    return;
  }
  if (no_progress_since_us_ == kNever) no_progress_since_us_ = now_us_;
  const int32_t most_ms = options_.membership.max_poll_interval_ms;
  if (now_us_ - no_progress_since_us_ < int64_t{most_ms} * 1000) return;
  LeaveWith(MakeError(ErrorCode::kConsumerStalled,
                      "records wait, and none was acknowledged for ", most_ms,
                      " ms (max_poll_interval_ms): the member has left its "
                      "group; open a new stream"),
            StrCat("nothing acknowledged for ", most_ms, " ms"));
}

// ---- The end ----

void ConsumeCore::FinishWith(const absl::Status& why) {
  if (phase_ == Phase::kOver) return;
  PushResults();
  phase_ = Phase::kOver;
  Do(Finish{why});
}

// A client that does not speak the protocol: its group need not wait for it.
void ConsumeCore::Refuse(const absl::Status& why) {
  if (membership_ == nullptr) return FinishWith(why);
  LeaveWith(why, "it broke the protocol of its stream");
}

void ConsumeCore::LeaveWith(const absl::Status& why,
                            const std::string& reason) {
  if (phase_ == Phase::kLeaving || phase_ == Phase::kOver) return;
  phase_ = Phase::kLeaving;
  final_ = why;
  leave_reason_ = reason;
  end_by_us_ = now_us_ + kLastCommitUs;
  next_auto_commit_us_ = 0;
  StopAll();
}

void ConsumeCore::On(const HalfClosed&) {
  if (membership_ == nullptr) return FinishWith(absl::OkStatus());
  LeaveWith(absl::OkStatus(), "the client closed its stream");
}

// The member stays: a token takes it over, or its session ends. What was
// acknowledged need not be read again.
void ConsumeCore::On(const Broken&) {
  if (membership_ != nullptr) {
    next_auto_commit_us_ = commit_not_before_us_ = 0;
    SendCommitIfDue();
  }
  FinishWith(absl::CancelledError("the client is gone"));
}

void ConsumeCore::On(const BrokerStops& e) {
  elsewhere_ = e.elsewhere;
  const absl::Status why =
      MakeError(ErrorCode::kShuttingDown,
                "this broker stops; open the stream anew at another one, with "
                "the resume token");
  if (membership_ == nullptr) return FinishWith(why);
  if (phase_ == Phase::kMoving) {  // sooner than was said
    end_by_us_ = std::min(end_by_us_, now_us_ + e.patience_us);
    return;
  }
  if (phase_ != Phase::kOpen) return;
  phase_ = Phase::kMoving;
  final_ = why;
  end_by_us_ = now_us_ + e.patience_us;
  next_auto_commit_us_ = 0;
  StopAll();
}

void ConsumeCore::On(const TakenOver&) {
  FinishWith(MakeError(ErrorCode::kTakenOver, "a newer stream goes on as member ",
                       member_id(), " of group ",
                       options_.membership.group_id));
}

void ConsumeCore::CheckEnd() {
  const bool late = now_us_ >= end_by_us_;
  if (phase_ == Phase::kMoving) {
    if (!late && (ledger_->HasUnacknowledged() || ledger_->IsUnsettled())) {
      return;
    }
    v1::ConsumeResponse moved;
    *moved.mutable_moved()->mutable_endpoint() =
        elsewhere_.value_or(v1::Endpoint());
    PushResults();
    PushMessage(std::move(moved));
    return FinishWith(final_);
  }
  if (phase_ != Phase::kLeaving || left_) return;
  if (!late && ledger_->IsUnsettled()) return;
  left_ = true;
  end_by_us_ = kNever;
  Tell(membership::Leave{leave_reason_});
}

}  // namespace sluice::consume
