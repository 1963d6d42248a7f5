// What the client acknowledges, and its commits: one under way at a time.
#include <algorithm>
#include <utility>

#include "broker/consume/consume_core.h"
#include "client/status_kinds.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice::consume {
namespace {

// UNKNOWN_TOPIC_ID: of another topic than what is read there.
absl::StatusOr<NamedPartition> NameOf(const v1::OffsetCommit& offset,
                                      const TopicNames& names) {
  const PartitionIndex partition(offset.partition());
  if (!offset.topic().has_id()) {
    return NamedPartition{offset.topic().name(), partition};
  }
  const auto id = TopicId::FromBytes(offset.topic().id());
  if (!id.has_value()) {
    return MakeError(ErrorCode::kUnknownTopicId, "a topic id has 16 bytes, not ",
                     offset.topic().id().size());
  }
  const auto found = names.find({*id, partition});
  if (found != names.end()) return NamedPartition{found->second, partition};
  return MakeError(
      ErrorCode::kUnknownTopicId, "this stream reads no topic of id ", *id,
      " in partition ", partition,
      " (any more): it was deleted, or made again; what was read of it counts "
      "for nothing now, go on with what is pushed");
}

absl::Status StatusOf(const v1::Error& error) {
  const ErrorCode code = CodeFromNumber(error.code());
  return code == ErrorCode::kNone ? absl::OkStatus()
                                  : MakeErrorStatus(code, error.message());
}

// The topic is gone; retriable for a client that may have heard of it early.
bool IsOfTopic(ErrorCode code) {
  return code == ErrorCode::kUnknownTopicOrPartition ||
         code == ErrorCode::kUnknownTopicId;
}

}  // namespace

// ---- Acknowledgements ----

void ConsumeCore::OnAck(const v1::ConsumeAck& message,
                        const TopicNames& names) {
  if (message.offsets_size() < 1 ||
      message.offsets_size() > kOffsetsPerMessageMax) {
    return Refuse(MakeError(ErrorCode::kInvalidRequest, message.offsets_size(),
                            " offsets in one message; at least 1, at most ",
                            kOffsetsPerMessageMax));
  }
  if (options_.ack_mode == AckLedger::Mode::kAuto) {
    return Refuse(MakeError(ErrorCode::kInvalidRequest,
                            "an `ack` in auto mode, where grants of credit "
                            "acknowledge; open the stream in explicit mode"));
  }
  Acknowledge(message.offsets(), names);
}

void ConsumeCore::Acknowledge(
    const google::protobuf::RepeatedPtrField<v1::OffsetCommit>& offsets,
    const TopicNames& names) {
  if (ledger_ == nullptr) return;
  for (const v1::OffsetCommit& offset : offsets) {
    const absl::Status taken = AcknowledgeOne(offset, names);
    if (taken.ok()) {
      no_progress_since_us_ = kNever;
    } else {
      TellResult(offset.topic(), PartitionIndex(offset.partition()),
                 Offset(offset.offset()), taken);
    }
  }
}

absl::Status ConsumeCore::AcknowledgeOne(const v1::OffsetCommit& offset,
                                         const TopicNames& names) {
  ASSIGN_OR_RETURN(const NamedPartition tp, NameOf(offset, names));
  AckLedger::Position position{Offset(offset.offset())};
  if (offset.has_leader_epoch()) {
    position.leader_epoch = LeaderEpoch(offset.leader_epoch());
  }
  if (offset.has_metadata()) position.metadata = offset.metadata();
  RETURN_IF_ERROR(ledger_->Acknowledge(tp, position));
  if (offset.topic().has_id()) {
    named_by_id_[tp] = offset.topic().id();
  } else {
    named_by_id_.erase(tp);
  }
  return absl::OkStatus();
}

// As its client last named it.
v1::TopicRef ConsumeCore::AsNamed(const NamedPartition& tp) const {
  v1::TopicRef topic;
  const auto by_id = named_by_id_.find(tp);
  if (by_id == named_by_id_.end()) {
    topic.set_name(tp.topic);
  } else {
    topic.set_id(by_id->second);
  }
  return topic;
}

void ConsumeCore::TellResult(const v1::TopicRef& topic,
                             PartitionIndex partition, Offset offset,
                             const absl::Status& status) {
  v1::ConsumeCommit* result = results_.add_results();
  *result->mutable_topic() = topic;
  result->set_partition(partition.value());
  result->set_offset(offset.value());
  if (status.ok()) return;
  result->mutable_error()->set_code(
      static_cast<v1::ErrorCode>(static_cast<int>(CodeOf(status))));
  result->mutable_error()->set_message(std::string(status.message()));
}

void ConsumeCore::PushResults() {
  if (results_.results_size() == 0 || phase_ == Phase::kOver) return;
  v1::ConsumeResponse message;
  *message.mutable_committed() = std::exchange(results_, {});
  PushMessage(std::move(message));
}

// ---- Commits ----

// While it syncs the coordinator takes none: those of partitions that it keeps
// wait.
bool ConsumeCore::MayCommit() const {
  return membership_->generation() != membership::kNoGeneration &&
         (membership_->phase() == GroupMembership::Phase::kStable ||
          membership_->phase() == GroupMembership::Phase::kJoining);
}

void ConsumeCore::SendCommitIfDue() {
  if (phase_ == Phase::kOver || commit_call_ != 0 || !ledger_->HasDue()) return;
  if (membership_->generation() == membership::kNoGeneration) {
    return RefuseDue();
  }
  if (!MayCommit() || now_us_ < commit_not_before_us_) return;
  if (options_.ack_mode == AckLedger::Mode::kAuto) {
    if (now_us_ < next_auto_commit_us_) return;
    next_auto_commit_us_ = phase_ == Phase::kOpen && !revoke_.has_value()
                               ? now_us_ + kAutoCommitUs
                               : 0;
  }
  committing_ = ledger_->TakeDue(kOffsetsPerCommit);
  commit_generation_ = membership_->generation();
  commit_order_.clear();
  SendCommit commit{commit_call_ = ++last_call_, {}};
  commit.request.set_group_id(options_.membership.group_id);
  commit.request.set_member_id(membership_->member_id());
  commit.request.set_group_instance_id(options_.membership.instance_id);
  commit.request.set_generation_id(commit_generation_);
  commit.request.set_stream(options_.membership.stream);
  for (const auto& [tp, position] : committing_) {
    commit_order_.push_back({tp, AsNamed(tp)});
    v1::OffsetCommit* offset = commit.request.add_offsets();
    offset->mutable_topic()->set_name(tp.topic);
    offset->set_partition(tp.partition.value());
    offset->set_offset(position.offset.value());
    if (position.leader_epoch >= LeaderEpoch(0)) {
      offset->set_leader_epoch(position.leader_epoch.value());
    }
    if (position.metadata.has_value()) offset->set_metadata(*position.metadata);
  }
  Do(std::move(commit));
}

// The generation that they were read in is over: another may have them already.
void ConsumeCore::RefuseDue() {
  const absl::Status gone = MakeError(
      ErrorCode::kIllegalGeneration,
      "the member was put out of its generation; its records come again");
  for (const auto& [tp, position] : ledger_->DropDue()) {
    TellResult(AsNamed(tp), tp.partition, position.offset, gone);
  }
}

void ConsumeCore::On(const CommitAnswered& e) {
  if (starts_ != nullptr && starts_->On(e, now_us_)) return;
  if (commit_call_ == 0 || e.call != commit_call_) return;
  commit_call_ = 0;
  if (e.answer.ok() &&
      e.answer->results_size() == static_cast<int>(commit_order_.size())) {
    return OnCommitResults(*e.answer);
  }
  const absl::Status status =
      e.answer.ok() ? MakeError(ErrorCode::kUnknownServerError,
                                "the coordinator left partitions out")
                    : e.answer.status();
  for (const auto& [tp, position] : committing_) ledger_->OnUnanswered(tp);
  commit_not_before_us_ =
      now_us_ + commit_backoff_.NextDelayUs(*deps_.random);
  Tell(membership::OffsetsAnswered{membership_->member_id(),
                                   commit_generation_, status});
}

void ConsumeCore::OnCommitResults(const v1::CommitOffsetsResponse& answer) {
  absl::Status worst;
  bool again = false;
  for (int i = 0; i < answer.results_size(); ++i) {
    const auto& [tp, topic] = commit_order_[i];
    const Offset offset = committing_.at(tp).offset;
    const absl::Status status = StatusOf(answer.results(i).error());
    const ErrorCode code = CodeOf(status);
    if (status.ok()) {
      ledger_->OnCommitted(tp, offset);
      TellResult(topic, tp.partition, offset, status);
      continue;
    }
    worst = status;
    // A generation that was made meanwhile, of which this member may not have
    // heard yet: by that one, if it keeps them.
    const bool older =
        code == ErrorCode::kIllegalGeneration &&
        membership_->generation() != membership::kNoGeneration &&
        (commit_generation_ != membership_->generation() ||
         membership_->phase() == GroupMembership::Phase::kJoining);
    if (older || code == ErrorCode::kRebalanceInProgress ||
        (IsRetriableStatus(status) && !IsOfTopic(code) &&
         code != ErrorCode::kTakenOver)) {
      again = true;
      ledger_->OnUnanswered(tp);
    } else {
      ledger_->OnRefused(tp);
      TellResult(topic, tp.partition, offset, status);
    }
  }
  if (again) {
    commit_not_before_us_ =
        now_us_ + commit_backoff_.NextDelayUs(*deps_.random);
  } else {
    commit_backoff_.Reset();
  }
  Tell(membership::OffsetsAnswered{membership_->member_id(),
                                   commit_generation_, worst});
}

}  // namespace sluice::consume
