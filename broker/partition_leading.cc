// A partition as leader: its followers' frames and what they are told.
#include "broker/partition.h"
#include "common/base/error.h"

namespace sluice {

// ---- From followers ----

void Partition::OnAdd(const FollowerSession& session, const AddReplica& add) {
  asked_on_[session.broker_id] = session.kind;
  if (failed_ || closed_) {
    return RejectFollower({session.broker_id,
                           failed_ ? ErrorCode::kReplicaFailed
                                   : ErrorCode::kShuttingDown,
                           "nothing is led here any more", add.leader_epoch,
                           add.fetch_offset});
  }
  Step(replica::FollowerAdd{session.broker_id, session.broker_epoch,
                            add.leader_epoch, add.fetch_offset,
                            add.last_fetched_epoch});
}

void Partition::OnAck(const FollowerSession& session, const AckReplica& ack) {
  // By whichever stream it comes, it says how far the log got.
  for (const StreamKind kind : {StreamKind::kMain, StreamKind::kCatchUp}) {
    ReplicaShipper* shipper = shard_->ShipperOf(session.broker_id, kind);
    if (shipper != nullptr) {
      shipper->OnAck(tp_, ack.leader_epoch, ack.appended_leo);
    }
  }
  Step(replica::FollowerAck{session.broker_id, session.broker_epoch,
                            ack.leader_epoch, ack.appended_leo,
                            ack.durable_leo,
                            shard_->deps.clock->MonoMicros(),
                            ack.log_start_offset});
}

void Partition::OnRemove(const FollowerSession& session,
                         const RemoveReplica& remove) {
  ReplicaShipper* shipper =
      shard_->ShipperOf(session.broker_id, session.kind);
  if (shipper != nullptr && shipper->DropAsAsked(tp_, remove.leader_epoch)) {
    Step(replica::FollowerGone{session.broker_id});
  }
}

void Partition::OnSessionClosed(NodeId broker, StreamKind kind) {
  const auto asked = asked_on_.find(broker);
  if (asked == asked_on_.end() || asked->second != kind) return;
  asked_on_.erase(asked);
  Step(replica::FollowerGone{broker});
}

// ---- To followers: by the session they have now ----

AddAnswer Partition::AnswerTo(LeaderEpoch epoch, Offset fetch_offset) const {
  AddAnswer answer;
  answer.tp = tp_;
  answer.leader_epoch = epoch;
  answer.fetch_offset = fetch_offset;
  answer.log_start_offset = log_->log_start();
  return answer;
}

ReplicaShipper* Partition::ShipperTo(NodeId follower) const {
  const auto asked = asked_on_.find(follower);
  return asked == asked_on_.end() ? nullptr
                                  : shard_->ShipperOf(follower, asked->second);
}

// On one stream at a time: the one that it asked on last.
void Partition::AcceptFollower(const replica::AcceptFollower& a) {
  ReplicaShipper* const accepts = ShipperTo(a.broker);
  for (const StreamKind kind : {StreamKind::kMain, StreamKind::kCatchUp}) {
    ReplicaShipper* other = shard_->ShipperOf(a.broker, kind);
    if (other != nullptr && other != accepts) other->Drop(tp_);
  }
  if (accepts != nullptr) accepts->Accept(tp_, a.leader_epoch, a.from, this);
}

void Partition::DivergeFollower(const replica::DivergeFollower& a) {
  AddAnswer answer = AnswerTo(a.leader_epoch, a.fetch_offset);
  answer.diverging = true;
  answer.diverging_epoch = a.end.epoch;
  answer.diverging_end_offset = a.end.end;
  if (ReplicaShipper* shipper = ShipperTo(a.broker)) {
    shipper->SendAnswer(std::move(answer));
  }
}

void Partition::RejectFollower(const replica::RejectFollower& a) {
  AddAnswer answer = AnswerTo(a.leader_epoch, a.fetch_offset);
  answer.error = api::ItemError(a.code, name() + ": " + a.message);
  if (ReplicaShipper* shipper = ShipperTo(a.broker)) {
    shipper->SendAnswer(std::move(answer));
  }
}

void Partition::DropFollower(const replica::DropFollower& a) {
  if (ReplicaShipper* shipper = ShipperTo(a.broker)) {
    shipper->Remove(tp_, api::ItemError(
                             ErrorCode::kStaleBrokerEpoch,
                             "the registration or the leader epoch changed"));
  }
}

}  // namespace sluice
