#include "common/consumer/sticky_assignor.h"

#include <algorithm>
#include <functional>
#include <list>
#include <tuple>
#include <utility>

#include "common/base/invariant.h"

namespace sluice::consumer {
namespace {

// What a member claims to own, since which generation.
struct Claim {
  std::vector<NamedPartition> partitions;
  int32_t generation = kNoOwnedGeneration;
};
using Claims = std::map<std::string, Claim>;

Claim StickyClaim(const Subscription& subscription) {
  if (!subscription.user_data.has_value()) return {};
  auto data = DecodeStickyUserData(*subscription.user_data);
  if (!data.has_value()) return {};
  return {std::move(data->owned),
          data->generation.value_or(kNoOwnedGeneration)};
}

Claim CooperativeClaim(const Subscription& subscription) {
  Claim claim = {subscription.owned, subscription.generation};
  if (claim.generation < 0 && subscription.user_data.has_value()) {
    claim.generation = DecodeCooperativeUserData(*subscription.user_data)
                           .value_or(kNoOwnedGeneration);
  }
  return claim;
}

bool Exists(const PartitionCounts& counts, const NamedPartition& p) {
  const auto topic = counts.find(p.topic);
  return topic != counts.end() && p.partition.value() >= 0 &&
         p.partition.value() < topic->second;
}

void Withdraw(std::vector<NamedPartition>& owned, const NamedPartition& p) {
  owned.erase(std::remove(owned.begin(), owned.end(), p), owned.end());
}

Ownership Settle(const PartitionCounts& counts, const Claims& claims) {
  Ownership result;
  std::map<NamedPartition, std::string> owner;
  int32_t newest = kNoOwnedGeneration;
  for (const auto& [id, claim] : claims) {
    newest = std::max(newest, claim.generation);
    std::vector<NamedPartition>& owned = result.owned[id];
    for (const NamedPartition& p : claim.partitions) {
      if (!Exists(counts, p)) continue;
      const auto [other, first] = owner.emplace(p, id);
      if (first) {
        owned.push_back(p);
        continue;
      }
      if (other->second == id) continue;
      const int32_t others = claims.at(other->second).generation;
      if (claim.generation < others) continue;
      Withdraw(result.owned[other->second], p);
      if (claim.generation == others) {
        result.claimed_twice.insert(p);
      } else {
        owned.push_back(p);
      }
      other->second = id;
    }
  }
  std::map<NamedPartition, int32_t> since;
  for (const auto& [id, claim] : claims) {
    if (claim.generation >= newest) continue;
    for (const NamedPartition& p : claim.partitions) {
      const auto [known, first] = since.emplace(p, claim.generation);
      if (!first && known->second >= claim.generation) continue;
      known->second = claim.generation;
      result.previous[p] = id;
    }
  }
  return result;
}

bool AllAlike(const GroupMembers& members) {
  return std::all_of(members.begin(), members.end(), [&](const auto& m) {
    return TopicsOf(m.second) == TopicsOf(members.begin()->second);
  });
}

Claims ClaimsOf(const GroupMembers& members,
                const std::function<Claim(const Subscription&)>& claim_of) {
  Claims claims;
  for (const auto& [id, member] : members) {
    claims[id] = claim_of(member.subscription);
  }
  return claims;
}

// What one member is given that another one says it owns.
std::map<NamedPartition, std::string> Moved(const GroupMembers& members,
                                            const Assignments& assignments) {
  std::set<NamedPartition> given_up;
  std::map<NamedPartition, std::string> added;
  for (const auto& [id, assigned] : assignments) {
    const std::vector<NamedPartition>& owned =
        members.at(id).subscription.owned;
    const std::set<NamedPartition> had(owned.begin(), owned.end());
    const std::set<NamedPartition> has(assigned.begin(), assigned.end());
    for (const NamedPartition& p : has) {
      if (had.count(p) == 0) added[p] = id;
    }
    for (const NamedPartition& p : had) {
      if (has.count(p) == 0) given_up.insert(p);
    }
  }
  for (auto p = added.begin(); p != added.end();) {
    p = given_up.count(p->first) > 0 ? std::next(p) : added.erase(p);
  }
  return added;
}

// ---- Everyone subscribes to the same topics ----

// Each member gets `floor` partitions, `with_more` of them one more.
class AlikeAssignment {
 public:
  AlikeAssignment(const PartitionCounts& counts, const Ownership& ownership)
      : counts_(counts), ownership_(ownership) {
    size_t total = 0;
    for (const auto& [topic, count] : counts) {
      total += static_cast<size_t>(count);
    }
    const size_t members = ownership.owned.size();
    floor_ = total / members;
    with_more_ = total % members;
    ceiling_ = floor_ + (with_more_ > 0 ? 1 : 0);
  }

  StickyResult Run() {
    KeepOwned();
    // Members come in order already.
    for (const NamedPartition& p : Unassigned()) Give(p);
    INVARIANT(got_more_ == with_more_, got_more_, " members have ", ceiling_,
              " partitions, ", with_more_, " should");
    return std::move(result_);
  }

 private:
  // As much of what each member owns as it may keep, lowest partitions first.
  void KeepOwned() {
    for (const auto& [id, claimed] : ownership_.owned) {
      std::vector<NamedPartition> owned;
      for (const NamedPartition& p : claimed) {
        if (ownership_.claimed_twice.count(p) == 0) owned.push_back(p);
      }
      std::sort(owned.begin(), owned.end(),
                [](const NamedPartition& a, const NamedPartition& b) {
                  return std::tie(a.partition, a.topic) <
                         std::tie(b.partition, b.topic);
                });
      size_t keeps = floor_;
      if (owned.size() < floor_) {
        keeps = owned.size();
        below_floor_.push_back(id);
      } else if (owned.size() >= ceiling_ && got_more_ < with_more_) {
        keeps = ceiling_;
        if (++got_more_ == with_more_) at_floor_.clear();
      } else if (got_more_ < with_more_) {
        at_floor_.push_back(id);
      }
      std::vector<NamedPartition>& assigned = result_.assignments[id];
      assigned.assign(owned.begin(), owned.begin() + keeps);
      taken_.insert(assigned.begin(), assigned.end());
      for (size_t i = keeps; i < owned.size(); ++i) given_up_[owned[i]] = id;
    }
    next_below_ = below_floor_.begin();
  }

  std::vector<NamedPartition> Unassigned() const {
    std::vector<NamedPartition> unassigned;
    for (const auto& [topic, count] : counts_) {
      for (int32_t i = 0; i < count; ++i) {
        NamedPartition p = {topic, PartitionIndex(i)};
        if (taken_.count(p) == 0) unassigned.push_back(std::move(p));
      }
    }
    return unassigned;
  }

  // In turn to those below the floor, then one each to those at it.
  void Give(const NamedPartition& p) {
    std::string id;
    const bool below = !below_floor_.empty();
    if (below) {
      if (next_below_ == below_floor_.end()) next_below_ = below_floor_.begin();
      id = *next_below_;
    } else {
      INVARIANT(!at_floor_.empty(), "nobody has room for ", p);
      id = at_floor_.front();
      at_floor_.pop_front();
    }
    std::vector<NamedPartition>& assigned = result_.assignments[id];
    assigned.push_back(p);
    const auto before = given_up_.find(p);
    if ((before != given_up_.end() && before->second != id) ||
        ownership_.claimed_twice.count(p) > 0) {
      result_.moved[p] = id;
    }
    if (!below) {
      ++got_more_;
    } else if (assigned.size() == floor_) {
      next_below_ = below_floor_.erase(next_below_);
      at_floor_.push_back(id);
    } else {
      ++next_below_;
    }
  }

  const PartitionCounts& counts_;
  const Ownership& ownership_;
  size_t floor_ = 0;
  size_t ceiling_ = 0;
  size_t with_more_ = 0;
  size_t got_more_ = 0;
  std::list<std::string> below_floor_;
  std::list<std::string>::iterator next_below_;
  std::list<std::string> at_floor_;
  std::set<NamedPartition> taken_;
  std::map<NamedPartition, std::string> given_up_;
  StickyResult result_;
};

}  // namespace

StickyResult AssignAlike(const PartitionCounts& counts,
                         const GroupMembers& members,
                         const Ownership& ownership) {
  if (members.empty()) return {};
  return AlikeAssignment(counts, ownership).Run();
}

Assignments AssignSticky(const PartitionCounts& counts,
                         const GroupMembers& members) {
  const PartitionCounts subscribed = SubscribedCounts(counts, members);
  const Ownership ownership =
      Settle(subscribed, ClaimsOf(members, StickyClaim));
  return AllAlike(members)
             ? AssignAlike(subscribed, members, ownership).assignments
             : AssignGeneral(subscribed, members, ownership);
}

Assignments AssignCooperativeSticky(const PartitionCounts& counts,
                                    const GroupMembers& members) {
  const PartitionCounts subscribed = SubscribedCounts(counts, members);
  const Ownership ownership =
      Settle(subscribed, ClaimsOf(members, CooperativeClaim));
  StickyResult result;
  if (AllAlike(members)) {
    result = AssignAlike(subscribed, members, ownership);
  } else {
    result.assignments = AssignGeneral(subscribed, members, ownership);
    result.moved = Moved(members, result.assignments);
  }
  for (const auto& [p, id] : result.moved) Withdraw(result.assignments[id], p);
  return std::move(result.assignments);
}

}  // namespace sluice::consumer
