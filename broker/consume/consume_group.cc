// The membership: what is assigned, and what is revoked.
#include <algorithm>
#include <utility>

#include "broker/consume/consume_core.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice::consume {
namespace {

void PutPositions(const Partitions& partitions,
                  google::protobuf::RepeatedPtrField<v1::ConsumePosition>* out) {
  for (const NamedPartition& tp : partitions) {
    v1::ConsumePosition* position = out->Add();
    position->mutable_topic()->set_name(tp.topic);
    position->set_partition(tp.partition.value());
    position->set_offset(-1);
  }
}

}  // namespace

void ConsumeCore::Tell(membership::Event event) {
  if (membership_ != nullptr) told_.push_back(std::move(event));
}

void ConsumeCore::On(const CountsChanged& e) {
  if (membership_ == nullptr) return;
  starts_->OnCounts(e.counts);
  Tell(e);
}

void ConsumeCore::On(const TopicsFound& e) {
  if (phase_ != Phase::kOpening) return Tell(e);
  if (e.call == topics_call_) OnOwnTopics(e.counts);
}

// Any broker hands a call on to the coordinator, this one too.
void ConsumeCore::Carry(const membership::FindCoordinator& a) {
  Tell(membership::CoordinatorFound{a.call, absl::OkStatus()});
}

StartFinder::Member ConsumeCore::AsMember() const {
  const bool stable =
      membership_->phase() == GroupMembership::Phase::kStable;
  return {membership_->member_id(), membership_->generation(),
          membership_->is_leader(), stable && phase_ == Phase::kOpen};
}

void ConsumeCore::Carry(const membership::Assigned& a) {
  for (const NamedPartition& tp : a.added) {
    Reading& reading = reading_[tp];
    reading = Reading();
    if (options_.start_by_seek) {
      reading.state = Reading::State::kAwaitsSeek;
    }
    ledger_->Begin(tp);
    named_by_id_.erase(tp);
    next_.erase(tp);
  }
  if (!options_.start_by_seek) starts_->Want(a.added);
  v1::ConsumeResponse message;
  v1::ConsumeAssigned* assigned = message.mutable_assigned();
  assigned->set_member_id(membership_->member_id());
  assigned->set_generation_id(membership_->generation());
  ResumeToken token;
  token.group = options_.membership.group_id;
  token.member_id = membership_->member_id();
  token.stream = options_.membership.stream;
  token.generation = membership_->generation();
  token.subscription = options_.digest();
  assigned->set_resume_token(EncodeResumeToken(token));
  PutPositions(membership_->assignment(), assigned->mutable_partitions());
  PutPositions(a.added, assigned->mutable_added());
  PushMessage(std::move(message));
}

void ConsumeCore::Carry(const membership::Failed& a) { FinishWith(a.status); }

void ConsumeCore::Carry(const membership::Left&) { FinishWith(final_); }

// ---- Revoking ----

// The member must have joined anew when the coordinator's own rebalance timeout
// is over, and it hears of a rebalance a heartbeat late.
int64_t ConsumeCore::RevokeTimeoutUs() const {
  const int64_t whole_ms = options_.membership.rebalance_timeout_ms;
  const int64_t margin_ms =
      2 * int64_t{options_.membership.heartbeat_interval_ms};
  return std::max(whole_ms - margin_ms, whole_ms / 2) * 1000;
}

void ConsumeCore::Carry(const membership::Release& a) {
  for (const NamedPartition& tp : a.partitions) {
    const auto found = reading_.find(tp);
    if (found == reading_.end()) continue;
    if (found->second.begun()) Do(StopReading{tp});
    reading_.erase(found);
    next_.erase(tp);
  }
  starts_->Forget(a.partitions);
  const bool waits = !a.lost && phase_ == Phase::kOpen;
  v1::ConsumeResponse message;
  v1::ConsumeRevoke* revoke = message.mutable_revoke();
  revoke->set_revoke_id(++last_revoke_);
  revoke->set_lost(a.lost);
  revoke->set_timeout_ms(
      waits ? static_cast<int32_t>(RevokeTimeoutUs() / 1000) : 0);
  PutPositions(a.partitions, revoke->mutable_partitions());
  PushMessage(std::move(message));
  if (!waits || MUTANT(kJoinsBeforeRevokeAck)) {
    ledger_->End(a.partitions);
    return Tell(membership::Released{});
  }
  revoke_ = Revoke{last_revoke_, a.partitions, now_us_ + RevokeTimeoutUs(),
                   false};
}

void ConsumeCore::OnRevokeAck(const v1::ConsumeRevokeAck& message,
                              const TopicNames& names) {
  if (message.offsets_size() > kOffsetsPerMessageMax) {
    return Refuse(MakeError(ErrorCode::kInvalidRequest, message.offsets_size(),
                            " offsets in one message; at most ",
                            kOffsetsPerMessageMax));
  }
  Acknowledge(message.offsets(), names);
  if (!revoke_.has_value() || revoke_->id != message.revoke_id()) return;
  revoke_->acknowledged = true;
  if (!MUTANT(kGivenUpCommitted)) ledger_->Seal(revoke_->partitions);
  next_auto_commit_us_ = 0;
}

// The join that gives them up waits for their last commits.
void ConsumeCore::CheckRevoke() {
  if (!revoke_.has_value() || phase_ == Phase::kOver) return;
  const bool done =
      revoke_->acknowledged && !ledger_->IsUnsettled(revoke_->partitions);
  if (!done && now_us_ < revoke_->deadline_us) return;
  ledger_->End(revoke_->partitions);
  revoke_.reset();
  Tell(membership::Released{});
  AdvanceMembership();
}

}  // namespace sluice::consume
