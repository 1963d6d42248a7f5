// What is wrong with links.
#include <utility>
#include <vector>

#include "test/sim/sim_network.h"

namespace sluice::sim {

void SimNetwork::CutOneWay(NodeId a, NodeId b) {
  cuts_.emplace(std::pair(a, b), world_->MonoMicros());
  StartKeepalives();
}

void SimNetwork::Cut(NodeId a, NodeId b) {
  CutOneWay(a, b);
  CutOneWay(b, a);
}

void SimNetwork::Mend(NodeId a, NodeId b) {
  cuts_.erase({a, b});
  cuts_.erase({b, a});
  DrainAll();
}

void SimNetwork::Heal() {
  cuts_.clear();
  DrainAll();
}

void SimNetwork::SetCuts(const Cuts& cuts) {
  std::erase_if(cuts_, [&](const auto& cut) {
    return !cuts.contains(cut.first);
  });
  for (const auto& [from, to] : cuts) CutOneWay(from, to);
  DrainAll();
}

std::vector<StreamPtr> SimNetwork::Between(NodeId a, NodeId b) const {
  std::vector<StreamPtr> found;
  for (const auto& [lane, stream] : streams_) {
    if (stream->broken) continue;
    const NodeId from = stream->ends[0].life->id;
    const NodeId to = stream->ends[1].life->id;
    if ((from == a && to == b) || (from == b && to == a)) {
      found.push_back(stream);
    }
  }
  return found;
}

int SimNetwork::Reset(NodeId a, NodeId b) {
  const std::vector<StreamPtr> streams = Between(a, b);
  counts_.reset += static_cast<int64_t>(streams.size());
  for (const StreamPtr& stream : streams) {
    Break(stream, absl::UnavailableError("connection reset"));
  }
  return static_cast<int>(streams.size());
}

std::set<uint64_t> SimNetwork::HalfOpen(NodeId a, NodeId b) {
  std::set<uint64_t> lanes;
  for (const StreamPtr& stream : Between(a, b)) {
    lanes.insert(stream->lane);
    for (SimStream::End& end : stream->ends) end.lost = true;
  }
  StartKeepalives();
  return lanes;
}

void SimNetwork::SetQuality(NodeId a, NodeId b, const LinkQuality& quality) {
  qualities_[{a, b}] = quality;
}

void SimNetwork::ClearQuality() {
  quality_ = LinkQuality();
  qualities_.clear();
}

const LinkQuality& SimNetwork::QualityOf(NodeId a, NodeId b) const {
  const auto found = qualities_.find({a, b});
  return found == qualities_.end() ? quality_ : found->second;
}

}  // namespace sluice::sim
