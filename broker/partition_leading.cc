// A partition as leader: its followers' frames and what they are told.
#include "broker/partition.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {

// ---- From followers ----

void Partition::OnAdd(const FollowerSession& session, const AddReplica& add) {
  if (!asked_.Take(session, add.add_number)) return;
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

// What a replica had in an older acceptance it need not have any more: it may
// have been filled anew since.
void Partition::OnAck(const FollowerSession& session, const AckReplica& ack) {
  const bool counts = asked_.IsNewest(session, ack.add_number) ||
                      MUTANT(kVoidAcksCount) || MUTANT(kOlderAcksCount);
  if (!counts) return;
  // By whichever stream it comes, it says how far the log got.
  for (const StreamKind kind : {StreamKind::kMain, StreamKind::kCatchUp}) {
    ReplicaShipper* shipper = shard_->ShipperOf(session.broker_id, kind);
    if (shipper != nullptr) {
      shipper->OnAck(tp_, {ack.leader_epoch, ack.add_number}, ack.appended_leo);
    }
  }
  Step(replica::FollowerAck{session.broker_id, session.broker_epoch,
                            ack.leader_epoch, ack.appended_leo,
                            ack.durable_leo,
                            shard_->deps.clock->MonoMicros()});
}

void Partition::OnRemove(const FollowerSession& session,
                         const RemoveReplica& remove) {
  ReplicaShipper* shipper =
      shard_->ShipperOf(session.broker_id, session.kind);
  if (shipper != nullptr &&
      shipper->DropAsAsked(tp_, {remove.leader_epoch, remove.add_number})) {
    Step(replica::FollowerGone{session.broker_id});
  }
}

void Partition::OnSessionClosed(NodeId broker, StreamKind kind) {
  if (!asked_.EndStream(broker, kind)) return;
  Step(replica::FollowerGone{broker});
}

// ---- To followers: by the session they have now ----

AddAnswer Partition::AnswerTo(NodeId follower, LeaderEpoch epoch,
                              Offset fetch_offset) const {
  AddAnswer answer;
  answer.tp = tp_;
  answer.leader_epoch = epoch;
  answer.add_number = asked_.NumberOf(follower);
  answer.fetch_offset = fetch_offset;
  answer.log_start_offset = log_->log_start();
  return answer;
}

ReplicaShipper* Partition::ShipperTo(NodeId follower) const {
  const auto stream = asked_.StreamOf(follower);
  return stream.has_value() ? shard_->ShipperOf(follower, *stream) : nullptr;
}

// On one stream at a time: the one that it asked on last.
void Partition::AcceptFollower(const replica::AcceptFollower& a) {
  ReplicaShipper* const accepts = ShipperTo(a.broker);
  for (const StreamKind kind : {StreamKind::kMain, StreamKind::kCatchUp}) {
    ReplicaShipper* other = shard_->ShipperOf(a.broker, kind);
    if (other != nullptr && other != accepts) other->Drop(tp_);
  }
  if (accepts == nullptr) return;
  asked_.Answered(a.broker);
  accepts->Accept(tp_, {a.leader_epoch, asked_.NumberOf(a.broker)}, a.from,
                  this);
}

void Partition::SendAnswer(NodeId follower, AddAnswer answer) {
  ReplicaShipper* shipper = ShipperTo(follower);
  if (shipper == nullptr) return;
  asked_.Answered(follower);
  shipper->SendAnswer(std::move(answer));
}

void Partition::DivergeFollower(const replica::DivergeFollower& a) {
  AddAnswer answer = AnswerTo(a.broker, a.leader_epoch, a.fetch_offset);
  answer.diverging = true;
  answer.diverging_epoch = a.end.epoch;
  answer.diverging_end_offset = a.end.end;
  SendAnswer(a.broker, std::move(answer));
}

void Partition::RejectFollower(const replica::RejectFollower& a) {
  AddAnswer answer = AnswerTo(a.broker, a.leader_epoch, a.fetch_offset);
  answer.error = api::ItemError(a.code, name() + ": " + a.message);
  SendAnswer(a.broker, std::move(answer));
}

void Partition::DropFollower(const replica::DropFollower& a) {
  // Its newest question may have been refused, on the other stream.
  for (const StreamKind kind : {StreamKind::kMain, StreamKind::kCatchUp}) {
    ReplicaShipper* shipper = shard_->ShipperOf(a.broker, kind);
    if (shipper == nullptr) continue;
    shipper->Remove(tp_, api::ItemError(
                             ErrorCode::kStaleBrokerEpoch,
                             "the registration, the leader epoch or what is known of "
                             "the replica changed; ask again"));
  }
}

}  // namespace sluice
