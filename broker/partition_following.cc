// A partition as follower: what its leader sends.
#include <glog/logging.h>

#include <algorithm>

#include "broker/partition.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "storage/batch_header.h"

namespace sluice {

// ---- To the leader ----

void Partition::SendAdd(const replica::SendAdd& add) {
  if (!shard_->links_open.contains(add.leader)) {
    const auto endpoint = shard_->EndpointOf(add.leader, kInternalListener);
    // OnLinkOpen follows; a leader without an address is asked for again.
    if (endpoint.has_value() && shard_->links_wanted.insert(add.leader).second) {
      shard_->deps.links->Want(add.leader, *endpoint);
    }
    return;
  }
  shard_->outgoing[add.leader].adds.push_back(
      {tp_, add.leader_epoch, add.fetch_offset, add.last_fetched_epoch});
  shard_->flush_outgoing_soon();
}

void Partition::SendAck(const replica::SendAck& ack) {
  if (!shard_->links_open.contains(ack.leader)) return;
  auto& acks = shard_->outgoing[ack.leader].acks;
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

void Partition::OnLinkOpen(NodeId leader) {
  Step(replica::LinkOpened{leader});
}

void Partition::OnLinkClosed(NodeId leader) {
  Step(replica::LinkClosed{leader});
}

void Partition::OnAddAnswer(NodeId leader, const AddAnswer& answer) {
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
bool Partition::MayTake(NodeId leader, const ReplicaData& data) {
  if (failed_ || closed_ || data.leader_epoch < leader_epoch_) {
    shard_->SendRemove(leader, tp_, data.leader_epoch);
    return false;
  }
  return leader == leader_;
}

// Asked for again a little later.
void Partition::RefuseData(NodeId leader, LeaderEpoch epoch,
                           const absl::Status& why) {
  LOG(ERROR) << "what leader " << leader << " sent for " << name()
             << " is not appended: " << why.ToString();
  if (core_.state() == replica::State::kFollowing) {
    shard_->SendRemove(leader, tp_, epoch);
  }
  Step(replica::AddError{epoch, CodeOf(why)});
}

void Partition::OnData(NodeId leader, ReplicaData data) {
  if (!MayTake(leader, data)) return;
  INVARIANT(!stepping_, "data of ", name(), " inside a step");
  const LeaderEpoch epoch = data.leader_epoch;
  const auto first = BatchView::Parse(data.batches.view());
  if (!first.ok()) return RefuseData(leader, epoch, first.status());
  append_allowed_ = false;
  Step(replica::DataReceived{epoch, first->header().base_offset});
  if (!append_allowed_) return;
  const auto facts = ValidateReplicated(data.batches.view(), log_->leo(),
                                        log_->epochs().last_epoch(), epoch);
  if (!facts.ok()) return RefuseData(leader, epoch, facts.status());
  const size_t epochs_before = log_->epochs().starts().size();
  const auto bytes = static_cast<int64_t>(data.batches.size());
  auto info = log_->AppendAsFollower(std::move(data.batches));
  if (!info.ok()) {
    if (CodeOf(info.status()) == ErrorCode::kStorageError) {
      OnLogError(info.status());
      return shard_->SendRemove(leader, tp_, epoch);
    }
    // A full disk, most likely (ST9).
    return RefuseData(leader, epoch, info.status());
  }
  shard_->counters.replicated_bytes += bytes;
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
