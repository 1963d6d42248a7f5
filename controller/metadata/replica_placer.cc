#include "controller/metadata/replica_placer.h"

#include <iterator>
#include <set>
#include <utility>

#include "common/base/invariant.h"

namespace sluice {
namespace {

template <class T>
void Shuffle(std::vector<T>& list, Random& random) {
  for (size_t i = list.size(); i > 1; --i) {
    std::swap(list[i - 1], list[random.Below(i)]);
  }
}

}  // namespace

ReplicaPlacer::ReplicaPlacer(const MetadataImage& image, Random& random)
    : image_(image), random_(random) {
  std::map<std::string, std::vector<NodeId>> by_rack;
  for (const auto& [id, broker] : image.brokers()) {
    if (broker->active()) by_rack[broker->rack].push_back(id);
  }
  std::vector<std::pair<std::string, std::vector<NodeId>>> racks(
      by_rack.begin(), by_rack.end());
  Shuffle(racks, random);
  for (auto& [rack, ids] : racks) Shuffle(ids, random);
  // One of each rack, then the second of each, and so on.
  for (size_t round = 0, added = 1; added > 0; ++round) {
    added = 0;
    for (const auto& [rack, ids] : racks) {
      if (round >= ids.size()) continue;
      brokers_.push_back({ids[round], rack, 0});
      ++added;
    }
  }
  if (!brokers_.empty()) start_ = random.Below(brokers_.size());
}

void ReplicaPlacer::Continue(const TopicImage& topic) {
  std::map<NodeId, int64_t> led;
  for (const auto& [index, partition] : topic.partitions) {
    ++led[partition->replicas.front()];
  }
  for (Candidate& broker : brokers_) broker.led = led[broker.id];
}

size_t ReplicaPlacer::NextLeader() const {
  const size_t count = brokers_.size();
  size_t best = (start_ + next_) % count;
  for (size_t i = 1; i < count; ++i) {
    const size_t other = (start_ + next_ + i) % count;
    if (brokers_[other].led < brokers_[best].led) best = other;
  }
  return best;
}

std::vector<NodeId> ReplicaPlacer::Place(int replication_factor) {
  const size_t count = brokers_.size();
  const size_t wanted = static_cast<size_t>(replication_factor);
  INVARIANT(replication_factor >= 1 && wanted <= count, "RF ",
            replication_factor, " of ", count, " brokers");
  const size_t leader = NextLeader();
  // Each round over the brokers pairs leaders with other followers.
  const size_t shift = count > 1 ? (next_ / count) % (count - 1) : 0;
  ++next_;
  ++brokers_[leader].led;
  std::vector<NodeId> replicas = {brokers_[leader].id};
  std::set<std::string> racks = {brokers_[leader].rack};
  const auto take = [&](bool new_racks_only) {
    for (size_t i = 0; i + 1 < count && replicas.size() < wanted; ++i) {
      const size_t step = 1 + (i + shift) % (count - 1);
      const Candidate& broker = brokers_[(leader + step) % count];
      if (Contains(replicas, broker.id)) continue;
      if (new_racks_only && racks.count(broker.rack)) continue;
      racks.insert(broker.rack);
      replicas.push_back(broker.id);
    }
  };
  take(true);
  take(false);
  return replicas;
}

DirectoryId ReplicaPlacer::DirectoryFor(NodeId id) {
  const BrokerImage* broker = image_.FindBroker(id);
  if (broker == nullptr || broker->directories.empty()) return DirectoryId();
  const size_t count = broker->directories.size();
  const auto turn = turns_.emplace(id, random_.Below(count)).first;
  return *std::next(broker->directories.begin(),
                    static_cast<std::ptrdiff_t>(turn->second++ % count));
}

}  // namespace sluice
