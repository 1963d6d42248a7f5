// The streams of a ReplicaGroup and what leaders ship on them.
#include <algorithm>

#include "broker/replica/replica_testing.h"
#include "common/base/invariant.h"

namespace sluice::replica {

void ReplicaGroup::CarrySendAdd(Node& node, const SendAdd& add) {
  Link& to = links_[{node.id, add.leader}];
  if (!to.open) {
    node.wants_link = add.leader;
    return;
  }
  to.up.push_back(FollowerAdd{node.id, to.broker_epoch, add.leader_epoch,
                              add.fetch_offset, add.last_fetched_epoch});
}

void ReplicaGroup::OpenLink(int follower, int leader) {
  Node& node = this->node(follower);
  if (node.wants_link == NodeId(leader)) node.wants_link = kNoNode;
  Link& link = this->link(follower, leader);
  if (link.open || !up(follower) || !up(leader)) return;
  link = {.open = true, .broker_epoch = node.broker_epoch};
  Step(follower, LinkOpened{NodeId(leader)});
}

void ReplicaGroup::BreakLink(int follower, int leader) {
  Link& link = this->link(follower, leader);
  if (!link.open) return;
  // What the network kept may still come, long after; bounded.
  constexpr size_t kLateMax = 16;
  for (const ToLeader& frame : link.up) {
    if (late_.size() < kLateMax) late_.emplace_back(NodeId(leader), frame);
  }
  link = Link();
  node(leader).shipping.erase(NodeId(follower));
  Step(leader, FollowerGone{NodeId(follower)});
  Step(follower, LinkClosed{NodeId(leader)});
}

bool ReplicaGroup::Deliver(int from, int to) {
  if (Link& link = this->link(from, to); link.open && !link.up.empty()) {
    ToLeader frame = link.up.front();
    link.up.pop_front();
    if (auto* ack = std::get_if<FollowerAck>(&frame)) {
      ack->now_us = now_us_;
      Step(to, *ack);
    } else {
      Step(to, std::get<FollowerAdd>(frame));
    }
    return true;
  }
  if (Link& link = this->link(to, from); link.open && !link.down.empty()) {
    const ToFollower frame = std::move(link.down.front());
    link.down.pop_front();
    Receive(node(to), NodeId(from), frame);
    return true;
  }
  return false;
}

void ReplicaGroup::DeliverLate(size_t position) {
  auto [to, frame] = late_.at(position);
  late_.erase(late_.begin() + static_cast<int64_t>(position));
  if (auto* ack = std::get_if<FollowerAck>(&frame)) {
    ack->now_us = now_us_;
    Step(to.value(), *ack);
  } else {
    Step(to.value(), std::get<FollowerAdd>(frame));
  }
}

void ReplicaGroup::Receive(Node& node, NodeId leader,
                           const ToFollower& frame) {
  const int n = node.id.value();
  std::visit(
      [&](const auto& f) {
        if constexpr (std::is_same_v<std::decay_t<decltype(f)>, Data>) {
          ReceiveData(node, f);
        } else {
          Step(n, f);
        }
      },
      frame);
}

// As broker/partition_following.cc does.
void ReplicaGroup::ReceiveData(Node& node, const Data& data) {
  const int n = node.id.value();
  Step(n, DataReceived{data.leader_epoch, data.base});
  if (!node.may_append) return;
  INVARIANT(data.base == node.log.leo(), "appends ", data.base, " at ",
            node.log.leo());
  auto started = node.log.Append(data.records);
  checker_.Appended(node.id, node.log, data.base);
  Step(n, Appended{node.log.leo(), std::move(started), now_us_});
  QueueSync(node);
  Step(n, HighWatermarkReceived{data.leader_epoch, data.high_watermark});
}

void ReplicaGroup::Answer(Node& node, NodeId follower, ToFollower answer) {
  Link& to = links_[{follower, node.id}];
  if (to.open) to.down.push_back(std::move(answer));
}

void ReplicaGroup::Ship(Node& node, NodeId follower) {
  const auto found = node.shipping.find(follower);
  if (found == node.shipping.end() || !links_[{follower, node.id}].open) {
    return;
  }
  Offset& next = found->second;
  while (next < node.log.leo()) {
    auto records = node.log.Read(next, kShippedAtOnce);
    const auto count = static_cast<int64_t>(records.size());
    Answer(node, follower,
           Data{node.core->leader_epoch(), next, std::move(records),
                node.core->high_watermark()});
    next += count;
  }
}

// Also to those that were not accepted: a follower has to know by itself when
// it may believe it (F24).
void ReplicaGroup::ShipHighWatermark(Node& node, NodeId follower) {
  Answer(node, follower,
         HighWatermarkReceived{node.core->leader_epoch(),
                               node.core->high_watermark()});
}

}  // namespace sluice::replica
