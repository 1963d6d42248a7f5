// A partition as follower: what its leader sends.
#include <glog/logging.h>

#include <algorithm>

#include "broker/partition.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"
#include "storage/batch_header.h"

namespace sluice {

// ---- To the leader ----

void Partition::SendAdd(const replica::SendAdd& add) {
  const LeaderLink link{add.leader, question_.stream()};
  if (add.leader_silent) NoteSilentLeader(add.leader);
  if (!shard_->links_open.contains(link)) {
    // OnLinkOpen follows; a leader without an address is asked for again.
    shard_->WantLink(link);
    return;
  }
  shard_->outgoing[link].adds.push_back(
      {tp_, add.leader_epoch, add.fetch_offset, add.last_fetched_epoch,
       question_.Ask(shard_->NextAddNumber())});
  shard_->flush_outgoing_soon();
}

void Partition::SendAck(const replica::SendAck& ack) {
  const LeaderLink link{ack.leader, question_.stream()};
  if (!shard_->links_open.contains(link)) return;
  INVARIANT(question_.IsSettled(), "RP4 ", name(),
            " acknowledges what its last question did not bring");
  auto& acks = shard_->outgoing[link].acks;
  // The later one of a turn says it all.
  if (!acks.empty() && acks.back().tp == tp_ &&
      acks.back().leader_epoch == ack.leader_epoch) {
    acks.pop_back();
  }
  acks.push_back({.tp = tp_,
                  .leader_epoch = ack.leader_epoch,
                  .appended_leo = ack.appended,
                  .durable_leo = ack.durable,
                  .add_number = *question_.accepted()});
  shard_->flush_outgoing_soon();
}

// Nothing that is known leads here: it shows, and is told once in a while.
void Partition::NoteSilentLeader(NodeId leader) {
  ++shard_->counters.silent_leaders;
  if (const auto rest = shard_->silent_leaders.Due(
          ErrorCode::kRequestTimedOut, shard_->deps.clock->MonoMicros())) {
    LOG(WARNING) << "leader " << leader << " has accepted this replica of "
                 << name() << ", which is not in sync, and sends nothing: it "
                 << "is asked anew" << *rest;
  }
}

// ---- From the leader ----

void Partition::OnLinkOpen(const LeaderLink& link) {
  if (link.kind != question_.stream()) return;
  if (link.leader == leader_) question_.GoTo(link.kind);
  Step(replica::LinkOpened{link.leader});
}

void Partition::OnLinkClosed(const LeaderLink& link) {
  if (link.kind == question_.stream()) {
    if (link.leader == leader_) question_.GoTo(link.kind);
    Step(replica::LinkClosed{link.leader});
  }
  // Readers must not wait here at a log that stands still.
  if (!leads()) waiters_.WakeAll();
}

bool Partition::Answers(const LeaderLink& link, AddNumber number) const {
  return link.leader == leader_ &&
         (question_.Answers(link.kind, number) || MUTANT(kOlderEpochHeard));
}

// Where the log ends is asked on the other stream, so that nothing is missing
// and nothing comes twice (README.md of replication).
void Partition::OnMoved(const LeaderLink& link, const ReplicaMoved& moved) {
  if (!Answers(link, moved.add_number) ||
      moved.leader_epoch != leader_epoch_) {
    return;
  }
  question_.GoTo(moved.to);
  Step(replica::LinkClosed{leader_});
  if (shard_->links_open.contains({leader_, moved.to})) {
    Step(replica::LinkOpened{leader_});
  } else {
    shard_->WantLink({leader_, moved.to});
  }
}

void Partition::OnAddAnswer(const LeaderLink& link, const AddAnswer& answer) {
  if (!Answers(link, answer.add_number)) return;
  question_.Close();
  if (!answer.error.ok()) {
    VLOG(1) << "leader " << leader_ << " refused " << name() << ": "
            << NameOf(answer.error.code) << ": " << answer.error.message;
    Step(replica::AddError{answer.leader_epoch, answer.error.code,
                           answer.log_start_offset, answer.fetch_offset});
  } else if (answer.diverging) {
    Step(replica::Diverging{answer.leader_epoch, answer.diverging_epoch,
                            answer.diverging_end_offset, answer.fetch_offset});
  } else if (core_.state() != replica::State::kFollowing) {
    question_.Accept(answer.add_number);  // before the core acknowledges it
    Step(replica::AddAccepted{answer.leader_epoch, answer.fetch_offset,
                              answer.log_start_offset});
  }
}

bool Partition::Takes(const LeaderLink& link, AddNumber number) const {
  return link.leader == leader_ && question_.Takes(link.kind, number) &&
         core_.state() == replica::State::kFollowing;
}

// Whether data is looked at at all. What is not appended is never acknowledged:
// its leader must hear that, or the window of the stream shrinks for every
// other partition. A later acceptance stays: its number is another.
bool Partition::MayTake(const LeaderLink& link, const ReplicaData& data) {
  const bool gone = failed_ || closed_ || data.leader_epoch < leader_epoch_;
  const bool takes = Takes(link, data.add_number) || MUTANT(kVoidDataTaken);
  if (!gone && takes) return true;
  shard_->SendRemove(link, tp_, {data.leader_epoch, data.add_number});
  return false;
}

// Asked for again a little later.
void Partition::RefuseData(const LeaderLink& link, const Question& question,
                           const absl::Status& why) {
  if (const auto rest = shard_->refused_data.Due(
          CodeOf(why), shard_->deps.clock->MonoMicros())) {
    LOG(ERROR) << "what leader " << link.leader << " sent for " << name()
               << " is not appended: " << why.ToString() << *rest;
  }
  if (core_.state() == replica::State::kFollowing) {
    shard_->SendRemove(link, tp_, question);
  }
  Step(replica::AddError{question.leader_epoch, CodeOf(why)});
}

void Partition::OnData(const LeaderLink& link, ReplicaData data) {
  if (!MayTake(link, data)) return;
  INVARIANT(!stepping_, "data of ", name(), " inside a step");
  const LeaderEpoch epoch = data.leader_epoch;
  const Question question{epoch, data.add_number};
  const auto first = BatchView::Parse(data.batches.view());
  if (!first.ok()) return RefuseData(link, question, first.status());
  append_allowed_ = false;
  Step(replica::DataReceived{epoch, first->header().base_offset});
  if (!append_allowed_) return;
  INVARIANT(question_.IsSettled() &&
                question_.Takes(link.kind, question.number),
            "RP4 ", name(), " appends what its last question did not bring");
  const auto facts = ValidateReplicated(data.batches.view(), log_->leo(),
                                        log_->epochs().last_epoch(), epoch);
  if (!facts.ok()) return RefuseData(link, question, facts.status());
  const size_t epochs_before = log_->epochs().starts().size();
  const auto bytes = static_cast<int64_t>(data.batches.size());
  auto info = log_->AppendAsFollower(std::move(data.batches));
  if (!info.ok()) {
    if (CodeOf(info.status()) == ErrorCode::kStorageError ||
        MUTANT(kFullDiskEndsProcess)) {
      OnLogError(info.status());
      return shard_->SendRemove(link, tp_, question);
    }
    // A full disk, most likely (ST9).
    NoteRefusedAppend(info.status());
    return RefuseData(link, question, info.status());
  }
  shard_->counters.replicated_bytes += bytes;
  if (link.kind == StreamKind::kCatchUp) {
    shard_->counters.catch_up_bytes += bytes;
  }
  const auto& starts = log_->epochs().starts();
  AfterAppend(*info, {starts.begin() + static_cast<ptrdiff_t>(epochs_before),
                      starts.end()});
  Step(replica::HighWatermarkReceived{epoch, data.high_watermark});
}

void Partition::OnHighWatermark(const LeaderLink& link,
                                const HighWatermarkMoved& moved) {
  if (!Takes(link, moved.add_number)) return;
  Step(replica::HighWatermarkReceived{moved.leader_epoch,
                                      moved.high_watermark});
}

void Partition::OnRemoved(const LeaderLink& link,
                          const ReplicaRemoved& removed) {
  if (!Answers(link, removed.add_number)) return;
  question_.Close();
  Step(replica::AddError{removed.leader_epoch, removed.error.code, kNoOffset});
}

}  // namespace sluice
