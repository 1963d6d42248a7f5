// The shard's end of the replication streams: frames to partitions and back.
#include <utility>

#include "broker/shard.h"
#include "common/base/error.h"

namespace sluice {

// ---- As follower ----

void Shard::OnLinkOpen(const LeaderLink& link, StreamId id,
                       std::shared_ptr<FollowerStream> stream) {
  context_.deps.executor->Post([this, alive = alive_, link, id,
                                stream = std::move(stream)]() mutable {
    if (!*alive || closed_) return;
    ShardContext::Link& open = context_.links_open[link];
    if (open.id == id) return;  // told again
    open = {id, std::move(stream)};
    context_.outgoing.erase(link);
    for (auto& [tp, partition] : partitions_) partition->OnLinkOpen(link);
  });
}

void Shard::OnLinkClosed(const LeaderLink& link, StreamId id) {
  context_.deps.executor->Post([this, alive = alive_, link, id] {
    if (!*alive) return;
    const auto found = context_.links_open.find(link);
    if (found == context_.links_open.end() || found->second.id != id) return;
    context_.links_open.erase(found);
    context_.outgoing.erase(link);
    for (auto& [tp, partition] : partitions_) partition->OnLinkClosed(link);
  });
}

void Shard::OnLeaderFrame(const LeaderLink& link, StreamId id,
                          LeaderFrame frame) {
  context_.deps.executor->Post([this, alive = alive_, link, id,
                                frame = std::move(frame)]() mutable {
    if (!*alive) return;
    const auto open = context_.links_open.find(link);
    if (open == context_.links_open.end() || open->second.id != id) return;
    HandleLeaderFrame(link, std::move(frame));
  });
}

// Moved last: it says that all else came before.
void Shard::HandleLeaderFrame(const LeaderLink& link, LeaderFrame frame) {
  for (const AddAnswer& answer : frame.add_answers) {
    if (Partition* p = Find(answer.tp)) p->OnAddAnswer(link, answer);
  }
  for (ReplicaData& data : frame.data) {
    if (Partition* p = Find(data.tp)) {
      p->OnData(link, std::move(data));
    } else {
      context_.SendRemove(link, data.tp, {data.leader_epoch, data.add_number});
    }
  }
  for (const HighWatermarkMoved& moved : frame.high_watermarks) {
    if (Partition* p = Find(moved.tp)) p->OnHighWatermark(link, moved);
  }
  for (const ReplicaRemoved& removed : frame.removed) {
    if (Partition* p = Find(removed.tp)) p->OnRemoved(link, removed);
  }
  for (const ReplicaMoved& moved : frame.moved) {
    if (Partition* p = Find(moved.tp)) p->OnMoved(link, moved);
  }
  FlushOutgoing();
}

void Shard::FlushOutgoing() {
  for (auto& [to, frame] : std::exchange(context_.outgoing, {})) {
    const auto link = context_.links_open.find(to);
    if (link == context_.links_open.end()) continue;
    link->second.stream->Send(std::move(frame));
  }
}

// ---- As leader ----

void Shard::OnSessionOpen(FollowerSession session) {
  context_.deps.executor->Post(
      [this, alive = alive_, session = std::move(session)]() mutable {
        if (!*alive || closed_) return;
        const std::pair key(session.broker_id, session.kind);
        if (const auto old = context_.session_of.find(key);
            old != context_.session_of.end()) {
          CloseSession(StreamId(old->second));
        }
        context_.session_of[key] = session.id;
        const StreamId id = session.id;
        context_.sessions[id] = std::make_unique<ReplicaShipper>(
            std::move(session), context_.deps.executor, &context_.catch_up,
            context_.deps.clock->MonoMicros());
      });
}

void Shard::OnSessionClosed(StreamId session) {
  context_.deps.executor->Post([this, alive = alive_, session] {
    if (*alive) CloseSession(session);
  });
}

void Shard::CloseSession(StreamId session) {
  const auto found = context_.sessions.find(session);
  if (found == context_.sessions.end()) return;
  const NodeId broker = found->second->session().broker_id;
  const StreamKind kind = found->second->session().kind;
  context_.sessions.erase(found);
  context_.session_of.erase({broker, kind});
  for (auto& [tp, partition] : partitions_) {
    partition->OnSessionClosed(broker, kind);
  }
}

void Shard::OnFollowerFrame(StreamId session, FollowerFrame frame) {
  context_.deps.executor->Post(
      [this, alive = alive_, session, frame = std::move(frame)] {
        if (!*alive) return;
        const auto found = context_.sessions.find(session);
        if (found == context_.sessions.end()) return;
        HandleFollowerFrame(found->second->session(), frame);
      });
}

// Acks and Removes before Adds: they belong to what was accepted before the
// Add of the same frame.
void Shard::HandleFollowerFrame(const FollowerSession& from,
                                const FollowerFrame& frame) {
  for (const AckReplica& ack : frame.acks) {
    if (Partition* p = Find(ack.tp)) p->OnAck(from, ack);
  }
  for (const RemoveReplica& remove : frame.removes) {
    if (Partition* p = Find(remove.tp)) p->OnRemove(from, remove);
  }
  for (const AddReplica& add : frame.adds) {
    if (Partition* p = Find(add.tp)) {
      p->OnAdd(from, add);
      continue;
    }
    AddAnswer answer;
    answer.tp = add.tp;
    answer.leader_epoch = add.leader_epoch;
    answer.add_number = add.add_number;
    answer.fetch_offset = add.fetch_offset;
    answer.error = api::ItemError(
        unrecovered_.contains(add.tp)
            ? RecoversStill(add.tp)
            : MakeError(ErrorCode::kNotLeader, "broker ", context_.deps.self,
                        " does not host partition ", add.tp,
                        " (it may not have applied the metadata yet); ask "
                        "again"));
    if (ReplicaShipper* shipper =
            context_.ShipperOf(from.broker_id, from.kind)) {
      shipper->SendAnswer(std::move(answer));
    }
  }
}

}  // namespace sluice
