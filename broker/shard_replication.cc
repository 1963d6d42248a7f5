// The shard's end of the replication streams: frames to partitions and back.
#include <utility>

#include "broker/shard.h"
#include "common/base/error.h"

namespace sluice {

// ---- As follower ----

void Shard::OnLinkOpen(NodeId leader, StreamId link,
                       std::shared_ptr<FollowerStream> stream) {
  context_.deps.executor->Post([this, alive = alive_, leader, link,
                                stream = std::move(stream)]() mutable {
    if (!*alive || closed_) return;
    ShardContext::Link& open = context_.links_open[leader];
    if (open.id == link) return;  // told again
    open = {link, std::move(stream)};
    context_.outgoing.erase(leader);
    for (auto& [tp, partition] : partitions_) partition->OnLinkOpen(leader);
  });
}

void Shard::OnLinkClosed(NodeId leader, StreamId link) {
  context_.deps.executor->Post([this, alive = alive_, leader, link] {
    if (!*alive) return;
    const auto found = context_.links_open.find(leader);
    if (found == context_.links_open.end() || found->second.id != link) return;
    context_.links_open.erase(found);
    context_.outgoing.erase(leader);
    for (auto& [tp, partition] : partitions_) partition->OnLinkClosed(leader);
  });
}

void Shard::OnLeaderFrame(NodeId leader, StreamId link, LeaderFrame frame) {
  context_.deps.executor->Post([this, alive = alive_, leader, link,
                                frame = std::move(frame)]() mutable {
    if (!*alive) return;
    const auto open = context_.links_open.find(leader);
    if (open == context_.links_open.end() || open->second.id != link) return;
    HandleLeaderFrame(leader, std::move(frame));
  });
}

void Shard::HandleLeaderFrame(NodeId leader, LeaderFrame frame) {
  for (const AddAnswer& answer : frame.add_answers) {
    if (Partition* p = Find(answer.tp)) p->OnAddAnswer(leader, answer);
  }
  for (ReplicaData& data : frame.data) {
    if (Partition* p = Find(data.tp)) {
      p->OnData(leader, std::move(data));
    } else {
      context_.SendRemove(leader, data.tp, data.leader_epoch);
    }
  }
  for (const HighWatermarkMoved& moved : frame.high_watermarks) {
    if (Partition* p = Find(moved.tp)) p->OnHighWatermark(leader, moved);
  }
  for (const ReplicaRemoved& removed : frame.removed) {
    if (Partition* p = Find(removed.tp)) p->OnRemoved(leader, removed);
  }
  FlushOutgoing();
}

void Shard::FlushOutgoing() {
  for (auto& [leader, frame] : std::exchange(context_.outgoing, {})) {
    const auto link = context_.links_open.find(leader);
    if (link == context_.links_open.end()) continue;
    link->second.stream->Send(std::move(frame));
  }
}

// ---- As leader ----

void Shard::OnSessionOpen(FollowerSession session) {
  context_.deps.executor->Post(
      [this, alive = alive_, session = std::move(session)]() mutable {
        if (!*alive || closed_) return;
        const NodeId broker = session.broker_id;
        if (const auto old = context_.session_of.find(broker);
            old != context_.session_of.end()) {
          CloseSession(StreamId(old->second));
        }
        context_.session_of[broker] = session.id;
        const StreamId id = session.id;
        context_.sessions[id] = std::make_unique<ReplicaShipper>(
            std::move(session), context_.deps.executor);
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
  context_.sessions.erase(found);
  context_.session_of.erase(broker);
  for (auto& [tp, partition] : partitions_) partition->OnSessionClosed(broker);
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
    answer.fetch_offset = add.fetch_offset;
    answer.error = api::ItemError(MakeError(
        ErrorCode::kNotLeader, "broker ", context_.deps.self,
        " does not host partition ", add.tp,
        " (it may not have applied the metadata yet); ask again"));
    if (ReplicaShipper* shipper = context_.ShipperOf(from.broker_id)) {
      shipper->SendAnswer(std::move(answer));
    }
  }
}

}  // namespace sluice
