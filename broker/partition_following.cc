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
  const LeaderLink link{add.leader, stream_};
  if (!shard_->links_open.contains(link)) {
    // OnLinkOpen follows; a leader without an address is asked for again.
    shard_->WantLink(link);
    return;
  }
  shard_->outgoing[link].adds.push_back(
      {tp_, add.leader_epoch, add.fetch_offset, add.last_fetched_epoch});
  shard_->flush_outgoing_soon();
}

void Partition::SendAck(const replica::SendAck& ack) {
  const LeaderLink link{ack.leader, stream_};
  if (!shard_->links_open.contains(link)) return;
  auto& acks = shard_->outgoing[link].acks;
  // The later one of a turn says it all.
  if (!acks.empty() && acks.back().tp == tp_ &&
      acks.back().leader_epoch == ack.leader_epoch) {
    acks.pop_back();
  }
  acks.push_back(
      {tp_, ack.leader_epoch, ack.appended, ack.durable, ack.log_start});
  shard_->flush_outgoing_soon();
}

// ---- From the leader ----

void Partition::OnLinkOpen(const LeaderLink& link) {
  if (link.kind == stream_) Step(replica::LinkOpened{link.leader});
}

void Partition::OnLinkClosed(const LeaderLink& link) {
  if (link.kind == stream_) Step(replica::LinkClosed{link.leader});
  // Readers must not wait here at a log that stands still.
  if (!leads()) waiters_.WakeAll();
}

// By whichever stream this comes: where the log ends is asked on the other one,
// so that nothing is missing and nothing comes twice (README.md of replication).
void Partition::OnMoved(NodeId leader, const ReplicaMoved& moved) {
  if (leader != leader_ || moved.leader_epoch != leader_epoch_) return;
  stream_ = moved.to;
  Step(replica::LinkClosed{leader});
  if (shard_->links_open.contains({leader, stream_})) {
    Step(replica::LinkOpened{leader});
  } else {
    shard_->WantLink({leader, stream_});
  }
}

void Partition::OnAddAnswer(const LeaderLink& link, const AddAnswer& answer) {
  const NodeId leader = link.leader;
  if (leader != leader_) return;
  if (!answer.error.ok()) {
    VLOG(1) << "leader " << leader << " refused " << name() << ": "
            << NameOf(answer.error.code) << ": " << answer.error.message;
    Step(replica::AddError{answer.leader_epoch, answer.error.code,
                           answer.log_start_offset, answer.fetch_offset});
  } else if (answer.diverging) {
    Step(replica::Diverging{answer.leader_epoch, answer.diverging_epoch,
                            answer.diverging_end_offset, answer.fetch_offset});
  } else {
    Step(replica::AddAccepted{answer.leader_epoch, answer.fetch_offset,
                              answer.log_start_offset});
  }
}

// Whether data is looked at at all. What is not appended is never acknowledged:
// its leader must hear that, or the window of the stream shrinks for every
// other partition. Safe for a later acceptance: that is of a newer epoch, or
// of an Add that is sent after this.
bool Partition::MayTake(const LeaderLink& link, const ReplicaData& data) {
  if (failed_ || closed_ || data.leader_epoch < leader_epoch_) {
    shard_->SendRemove(link, tp_, data.leader_epoch);
    return false;
  }
  return link.leader == leader_;
}

// Asked for again a little later.
void Partition::RefuseData(const LeaderLink& link, LeaderEpoch epoch,
                           const absl::Status& why) {
  if (const auto rest = shard_->refused_data.Due(
          CodeOf(why), shard_->deps.clock->MonoMicros())) {
    LOG(ERROR) << "what leader " << link.leader << " sent for " << name()
               << " is not appended: " << why.ToString() << *rest;
  }
  if (core_.state() == replica::State::kFollowing) {
    shard_->SendRemove(link, tp_, epoch);
  }
  Step(replica::AddError{epoch, CodeOf(why)});
}

void Partition::OnData(const LeaderLink& link, ReplicaData data) {
  if (!MayTake(link, data)) return;
  INVARIANT(!stepping_, "data of ", name(), " inside a step");
  const LeaderEpoch epoch = data.leader_epoch;
  const auto first = BatchView::Parse(data.batches.view());
  if (!first.ok()) return RefuseData(link, epoch, first.status());
  append_allowed_ = false;
  Step(replica::DataReceived{epoch, first->header().base_offset});
  if (!append_allowed_) return;
  const auto facts = ValidateReplicated(data.batches.view(), log_->leo(),
                                        log_->epochs().last_epoch(), epoch);
  if (!facts.ok()) return RefuseData(link, epoch, facts.status());
  const size_t epochs_before = log_->epochs().starts().size();
  const auto bytes = static_cast<int64_t>(data.batches.size());
  auto info = log_->AppendAsFollower(std::move(data.batches));
  if (!info.ok()) {
    if (CodeOf(info.status()) == ErrorCode::kStorageError ||
        MUTANT(kFullDiskEndsProcess)) {
      OnLogError(info.status());
      return shard_->SendRemove(link, tp_, epoch);
    }
    // A full disk, most likely (ST9).
    NoteRefusedAppend(info.status());
    return RefuseData(link, epoch, info.status());
  }
  shard_->counters.replicated_bytes += bytes;
  if (link.kind == StreamKind::kCatchUp) {
    shard_->counters.catch_up_bytes += bytes;
  }
  const auto& starts = log_->epochs().starts();
  AfterAppend(*info, {starts.begin() + static_cast<ptrdiff_t>(epochs_before),
                      starts.end()});
  Step(replica::HighWatermarkReceived{epoch, data.high_watermark,
                                      data.log_start_offset});
}

void Partition::OnHighWatermark(NodeId leader,
                                const HighWatermarkMoved& moved) {
  if (leader != leader_) return;
  Step(replica::HighWatermarkReceived{
      moved.leader_epoch, moved.high_watermark, moved.log_start_offset});
}

void Partition::OnRemoved(NodeId leader, const ReplicaRemoved& removed) {
  if (leader != leader_) return;
  Step(replica::AddError{removed.leader_epoch, removed.error.code, kNoOffset});
}

}  // namespace sluice
