// Members with different subscriptions: assign what is free to whoever has
// least, then move single partitions as long as that evens things out.
#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "common/base/invariant.h"
#include "common/consumer/sticky_assignor.h"

namespace sluice::consumer {
namespace {

// Who gave what to whom in this assignment. If a partition of a topic is about
// to go from A to B and another of that topic went from B to A, moving that one
// back does the same and leaves two where they were.
class Movements {
 public:
  NamedPartition ToMove(const NamedPartition& p, std::string from,
                        const std::string& to) const {
    const auto topic = by_topic_.find(p.topic);
    if (topic == by_topic_.end()) return p;
    if (const auto moved = pairs_.find(p); moved != pairs_.end()) {
      from = moved->second.first;
    }
    const auto reverse = topic->second.find({to, from});
    if (reverse == topic->second.end() || reverse->second.empty()) return p;
    return *reverse->second.begin();
  }

  void Move(const NamedPartition& p, const std::string& from,
            const std::string& to) {
    std::string first_from = from;
    if (const auto moved = pairs_.find(p); moved != pairs_.end()) {
      first_from = moved->second.first;
      by_topic_[p.topic][moved->second].erase(p);
      pairs_.erase(moved);
      if (first_from == to) return;  // back where it was
    }
    pairs_[p] = {first_from, to};
    by_topic_[p.topic][{first_from, to}].insert(p);
  }

 private:
  using Pair = std::pair<std::string, std::string>;
  std::map<NamedPartition, Pair> pairs_;
  std::map<std::string, std::map<Pair, std::set<NamedPartition>>> by_topic_;
};

class GeneralAssignment {
 public:
  GeneralAssignment(const PartitionCounts& counts, const GroupMembers& members,
                    const Ownership& ownership)
      : counts_(counts), previous_(ownership.previous) {
    for (const auto& [topic, count] : counts) readers_[topic];
    for (const auto& [id, member] : members) {
      topics_[id];
      for (const std::string& topic : TopicsOf(member)) {
        if (counts.count(topic) == 0) continue;
        topics_[id].insert(topic);
        readers_[topic].push_back(id);
      }
      assigned_[id];
    }
    SortPartitions();
    KeepOwned(ownership);
  }

  Assignments Run() {
    for (const auto& [id, partitions] : assigned_) Enlist(id);
    const bool fresh = assigned_[by_load_.rbegin()->second].empty();
    std::vector<NamedPartition> free;
    for (const NamedPartition& p : partitions_) {
      if (owner_.count(p) == 0) free.push_back(p);
    }
    for (const NamedPartition& p : free) GiveToLeastLoaded(p);
    Balance(free, fresh);
    return std::move(assigned_);
  }

 private:
  // Partitions with few possible readers first.
  void SortPartitions() {
    std::vector<std::string> topics;
    for (const auto& [topic, count] : counts_) topics.push_back(topic);
    std::stable_sort(topics.begin(), topics.end(),
                     [this](const std::string& a, const std::string& b) {
                       return readers_[a].size() < readers_[b].size();
                     });
    for (const std::string& topic : topics) {
      for (int32_t i = 0; i < counts_.at(topic); ++i) {
        partitions_.push_back({topic, PartitionIndex(i)});
      }
    }
  }

  void KeepOwned(const Ownership& ownership) {
    for (const auto& [id, owned] : ownership.owned) {
      for (const NamedPartition& p : owned) {
        if (topics_[id].count(p.topic) == 0) {
          must_revoke_ = true;
          continue;
        }
        assigned_[id].push_back(p);
        owner_[p] = id;
      }
    }
  }

  // ---- The members by how much they have, least first ----

  void Enlist(const std::string& id) {
    by_load_.insert({assigned_.at(id).size(), id});
  }
  void Delist(const std::string& id) {
    by_load_.erase({assigned_.at(id).size(), id});
  }

  // Who has least of those that read the topic, of those that take part.
  std::optional<std::string> LeastLoaded(const std::string& topic) const {
    for (const auto& [load, id] : by_load_) {
      if (topics_.at(id).count(topic) > 0) return id;
    }
    return std::nullopt;
  }

  void GiveToLeastLoaded(const NamedPartition& p) {
    const std::optional<std::string> id = LeastLoaded(p.topic);
    INVARIANT(id.has_value(), "nobody reads ", p);
    Delist(*id);
    assigned_[*id].push_back(p);
    owner_[p] = *id;
    Enlist(*id);
  }

  size_t PossibleCount(const std::string& id) const {
    size_t count = 0;
    for (const std::string& topic : topics_.at(id)) {
      count += static_cast<size_t>(counts_.at(topic));
    }
    return count;
  }

  bool CanMove(const std::string& topic) const {
    return readers_.at(topic).size() >= 2;
  }

  bool TakesPart(const std::string& id) const {
    const std::vector<NamedPartition>& has = assigned_.at(id);
    return has.size() < PossibleCount(id) ||
           std::any_of(has.begin(), has.end(), [this](const auto& p) {
             return CanMove(p.topic);
           });
  }

  void Balance(std::vector<NamedPartition>& free, bool fresh) {
    const auto fixed = [this](const NamedPartition& p) {
      return !CanMove(p.topic);
    };
    std::vector<NamedPartition> movable = partitions_;
    movable.erase(std::remove_if(movable.begin(), movable.end(), fixed),
                  movable.end());
    free.erase(std::remove_if(free.begin(), free.end(), fixed), free.end());
    Assignments settled;
    for (auto& [id, partitions] : assigned_) {
      if (TakesPart(id)) continue;
      Delist(id);
      settled[id] = partitions;
    }
    for (const auto& [id, partitions] : settled) assigned_.erase(id);

    const Assignments before = assigned_;
    // Without a need to revoke, moving what is new anyway may be enough.
    if (!must_revoke_) Reassign(free);
    const bool moved = Reassign(movable);
    if (!fresh && moved && Imbalance(assigned_) >= Imbalance(before)) {
      assigned_ = before;
    }
    assigned_.merge(settled);
  }

  // True: something moved.
  bool Reassign(const std::vector<NamedPartition>& partitions) {
    bool ever = false, again = true;
    while (again) {
      again = false;
      for (const NamedPartition& p : partitions) {
        if (IsBalanced()) break;
        const std::optional<std::string> to = BetterOwner(p);
        if (!to.has_value()) continue;
        MoveOne(p, *to);
        ever = again = true;
      }
    }
    return ever;
  }

  // Somebody with at least two fewer than its owner; who had it before goes
  // first.
  std::optional<std::string> BetterOwner(const NamedPartition& p) const {
    const size_t load = assigned_.at(owner_.at(p)).size();
    const auto before = previous_.find(p);
    if (before != previous_.end()) {
      const auto had = assigned_.find(before->second);
      if (had != assigned_.end() && topics_.at(had->first).count(p.topic) > 0 &&
          load > had->second.size() + 1) {
        return had->first;
      }
    }
    for (const std::string& id : readers_.at(p.topic)) {
      const auto other = assigned_.find(id);
      if (other != assigned_.end() && load > other->second.size() + 1) {
        return LeastLoaded(p.topic);
      }
    }
    return std::nullopt;
  }

  void MoveOne(const NamedPartition& p, const std::string& to) {
    const NamedPartition moves = movements_.ToMove(p, owner_.at(p), to);
    const std::string from = owner_.at(moves);
    Delist(from);
    Delist(to);
    movements_.Move(moves, from, to);
    std::vector<NamedPartition>& has = assigned_.at(from);
    has.erase(std::find(has.begin(), has.end(), moves));
    assigned_.at(to).push_back(moves);
    owner_[moves] = to;
    Enlist(to);
    Enlist(from);
  }

  // No single partition could go to somebody with two fewer.
  bool IsBalanced() const {
    if (by_load_.begin()->first + 1 >= by_load_.rbegin()->first) return true;
    for (const auto& [load, id] : by_load_) {
      if (load == PossibleCount(id)) continue;
      for (const std::string& topic : topics_.at(id)) {
        for (int32_t i = 0; i < counts_.at(topic); ++i) {
          const std::string& owner = owner_.at({topic, PartitionIndex(i)});
          const auto other = assigned_.find(owner);
          if (owner == id || other == assigned_.end()) continue;
          if (load + 1 < other->second.size()) return false;
        }
      }
    }
    return true;
  }

  // The differences of all pairs.
  static int64_t Imbalance(const Assignments& assignments) {
    int64_t sum = 0;
    for (auto a = assignments.begin(); a != assignments.end(); ++a) {
      for (auto b = std::next(a); b != assignments.end(); ++b) {
        const auto x = static_cast<int64_t>(a->second.size());
        const auto y = static_cast<int64_t>(b->second.size());
        sum += std::abs(x - y);
      }
    }
    return sum;
  }

  const PartitionCounts& counts_;
  const std::map<NamedPartition, std::string>& previous_;
  std::map<std::string, std::set<std::string>> topics_;      // by member
  std::map<std::string, std::vector<std::string>> readers_;  // by topic
  std::vector<NamedPartition> partitions_;
  std::map<NamedPartition, std::string> owner_;
  Assignments assigned_;
  std::set<std::pair<size_t, std::string>> by_load_;
  Movements movements_;
  bool must_revoke_ = false;
};

}  // namespace

Assignments AssignGeneral(const PartitionCounts& counts,
                          const GroupMembers& members,
                          const Ownership& ownership) {
  if (members.empty()) return {};
  return GeneralAssignment(counts, members, ownership).Run();
}

}  // namespace sluice::consumer
