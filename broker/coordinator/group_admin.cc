// What operators ask: which groups there are, and how one is.
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "broker/coordinator/group_coordinator.h"
#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "common/consumer/consumer_protocol.h"

namespace sluice::coordinator {
namespace {

v1::GroupState StateOf(group::GroupState state) {
  switch (state) {
    case group::GroupState::kEmpty: return v1::GROUP_STATE_EMPTY;
    case group::GroupState::kPreparing:
      return v1::GROUP_STATE_PREPARING_REBALANCE;
    case group::GroupState::kCompleting:
      return v1::GROUP_STATE_COMPLETING_REBALANCE;
    case group::GroupState::kStable: return v1::GROUP_STATE_STABLE;
    case group::GroupState::kDead: return v1::GROUP_STATE_DEAD;
  }
  return v1::GROUP_STATE_UNSPECIFIED;
}

v1::LagState StateOf(std::optional<offsets::LagState> state) {
  if (!state.has_value()) return v1::LAG_STATE_UNSPECIFIED;
  switch (*state) {
    case offsets::LagState::kOk: return v1::LAG_STATE_OK;
    case offsets::LagState::kWarn: return v1::LAG_STATE_WARN;
    case offsets::LagState::kStall: return v1::LAG_STATE_STALL;
    case offsets::LagState::kStop: return v1::LAG_STATE_STOP;
    case offsets::LagState::kRewind: return v1::LAG_STATE_REWIND;
  }
  return v1::LAG_STATE_UNSPECIFIED;
}

v1::ListedGroup Listed(const std::string& name, const group::GroupImage& image,
                       NodeId coordinator) {
  v1::ListedGroup out;
  out.set_group_id(name);
  out.set_protocol_type(image.protocol_type);
  out.set_state(StateOf(image.state));
  out.set_member_count(static_cast<int32_t>(image.members.size()));
  out.set_coordinator_id(coordinator.value());
  return out;
}

void PutMember(const group::MemberImage& member, v1::GroupMember* out) {
  out->set_member_id(member.id.ToString());
  out->set_group_instance_id(member.instance.ToString());
  out->set_client_id(member.client_id);
  out->set_client_host(member.client_host);
  out->set_assignment(member.assignment);
  out->set_session_timeout_ms(
      static_cast<int32_t>(member.session_timeout_us / 1000));
  out->set_rebalance_timeout_ms(
      static_cast<int32_t>(member.rebalance_timeout_us / 1000));
}

using Partitions =
    std::map<std::pair<std::string, int32_t>, v1::GroupPartition>;

v1::GroupPartition& PartitionOf(Partitions& partitions,
                                const std::string& topic, int32_t partition) {
  const auto [found, is_new] =
      partitions.try_emplace({topic, partition});
  if (is_new) {
    found->second.set_topic(topic);
    found->second.set_partition(partition);
    found->second.set_committed_offset(-1);
  }
  return found->second;
}

// Who reads what, where the members' protocol is Kafka's own.
void AddAssigned(const group::GroupImage& image, Partitions& partitions) {
  if (image.protocol_type != consumer::kProtocolType ||
      image.state != group::GroupState::kStable) {
    return;
  }
  for (const group::MemberImage& member : image.members) {
    const auto assignment = consumer::DecodeAssignment(member.assignment);
    if (!assignment.ok()) continue;
    for (const consumer::NamedPartition& p : assignment->partitions) {
      PartitionOf(partitions, p.topic, p.partition.value())
          .set_member_id(member.id.ToString());
    }
  }
}

// Of an Empty group nothing says who reads which partitions of its topics, so
// all of them are its own: one that was never committed is unread.
void AddNeverCommitted(const std::set<const TopicImage*>& topics,
                       Partitions& partitions) {
  for (const TopicImage* topic : topics) {
    for (const auto& [index, partition] : topic->partitions) {
      PartitionOf(partitions, topic->name, index.value());
    }
  }
}

void PutCommitted(const offsets::CommittedOffset& committed,
                  v1::GroupPartition& out) {
  out.set_committed_offset(committed.offset.value());
  if (committed.leader_epoch != kNoLeaderEpoch) {
    out.set_committed_leader_epoch(committed.leader_epoch.value());
  }
  if (committed.metadata.has_value()) out.set_metadata(*committed.metadata);
  out.set_commit_time_ms(committed.time_ms);
}

}  // namespace

// A loaded group as it is, the others as the log has them.
absl::StatusOr<std::vector<v1::ListedGroup>> GroupCoordinator::ListGroups(
    const std::string& after, size_t max, const std::set<int>& states) {
  if (const auto refused = CheckServes(); refused.has_value()) {
    return refused->why;
  }
  std::map<std::string, v1::ListedGroup> found;
  const auto wanted = [&](const v1::ListedGroup& group) {
    return states.empty() || states.contains(static_cast<int>(group.state()));
  };
  absl::Status bad;
  RETURN_IF_ERROR(view_.ScanGroups(
      after, [&](const std::string& name, std::string_view record) {
        if (groups_.contains(name)) return true;
        const auto stored = DecodeGroup(record);
        if (!stored.ok()) {
          bad = stored.status();
          return false;
        }
        v1::ListedGroup listed = Listed(name, stored->image, deps_.self);
        if (wanted(listed)) found.emplace(name, std::move(listed));
        return found.size() < max;
      }));
  RETURN_IF_ERROR(bad);
  for (auto it = groups_.upper_bound(after); it != groups_.end(); ++it) {
    v1::ListedGroup listed =
        Listed(it->first, it->second.core->Image(), deps_.self);
    if (wanted(listed)) found.emplace(it->first, std::move(listed));
  }
  std::vector<v1::ListedGroup> out;
  for (auto& [name, listed] : found) {
    if (out.size() == max) break;
    out.push_back(std::move(listed));
  }
  return out;
}

// How it fares, from its last commits.
void GroupCoordinator::PutFaring(const offsets::OffsetKey& key,
                                 v1::GroupPartition& out) const {
  out.set_state(StateOf(lag_windows_.StateOf(key, deps_.clock->WallMillis())));
  const offsets::LagRates rates = lag_windows_.RatesOf(key);
  out.set_read_records_per_s(rates.read_records_per_s);
  out.set_append_records_per_s(rates.append_records_per_s);
}

v1::GroupDescription GroupCoordinator::DescribeGroup(const std::string& group) {
  v1::GroupDescription out;
  out.set_group_id(group);
  if (const auto refused = CheckServes(); refused.has_value()) {
    PutRefusal(*refused, out);
    return out;
  }
  const auto known = FindKnown(group);
  if (!known.ok() || *known == nullptr) {
    if (known.ok()) {
      PutError(ErrorCode::kGroupIdNotFound, group, out.mutable_error());
    } else {
      PutError(known.status(), out.mutable_error());
    }
    return out;
  }
  const group::GroupImage image = (*known)->Image();
  LetGo(group);
  out.set_state(StateOf(image.state));
  out.set_protocol_type(image.protocol_type);
  out.set_protocol_name(image.protocol_name);
  out.set_generation_id(image.generation.value());
  out.set_leader_id(image.leader.ToString());
  out.set_coordinator_id(deps_.self.value());
  out.set_rebalance_reason(image.rebalance_reason);
  for (const group::MemberImage& member : image.members) {
    PutMember(member, out.add_members());
  }
  Partitions partitions;
  AddAssigned(image, partitions);
  std::set<const TopicImage*> topics;
  const absl::Status scanned = view_.ScanOffsets(
      group, [&](const offsets::OffsetKey& key,
                 const offsets::CommittedOffset& committed) {
        const TopicImage* topic =
            replica_->image().FindTopic(key.partition.topic_id);
        if (topic == nullptr) return true;
        topics.insert(topic);
        v1::GroupPartition& partition =
            PartitionOf(partitions, topic->name,
                        key.partition.partition.value());
        PutCommitted(committed, partition);
        PutFaring(key, partition);
        return true;
      });
  if (!scanned.ok()) {
    out.Clear();
    out.set_group_id(group);
    PutError(RefuseHere(ErrorCode::kCoordinatorLoadInProgress,
                        std::string(scanned.message()))
                 .why,
             out.mutable_error());
    return out;
  }
  if (image.state == group::GroupState::kEmpty) {
    AddNeverCommitted(topics, partitions);
  }
  for (auto& [name, partition] : partitions) {
    *out.add_partitions() = std::move(partition);
  }
  return out;
}

// Groups in order of name. One that has committed nothing takes a place too:
// so the walk is as bounded as its result.
CommittedGroups GroupCoordinator::CommittedOf(size_t max) {
  CommittedGroups out;
  if (CheckServes().has_value() && !MUTANT(kLagsAfterResigning)) return out;
  std::vector<std::string> names;
  absl::Status scanned =
      view_.ScanGroups("", [&](const std::string& name, std::string_view) {
        out.left_out = names.size() == max;
        if (!out.left_out) names.push_back(name);
        return !out.left_out;
      });
  size_t count = 0;
  for (size_t i = 0; i < names.size() && scanned.ok() && count < max; ++i) {
    v1::GroupDescription group;
    group.set_group_id(names[i]);
    scanned = view_.ScanOffsets(
        names[i], [&](const offsets::OffsetKey& key,
                      const offsets::CommittedOffset& committed) {
          const TopicImage* topic =
              replica_->image().FindTopic(key.partition.topic_id);
          if (topic == nullptr) return true;
          if (count == max) {
            out.left_out = true;
            return false;
          }
          ++count;
          v1::GroupPartition* partition = group.add_partitions();
          partition->set_topic(topic->name);
          partition->set_partition(key.partition.partition.value());
          PutCommitted(committed, *partition);
          PutFaring(key, *partition);
          return true;
        });
    if (count == max && i + 1 < names.size()) out.left_out = true;
    if (!group.partitions().empty()) out.groups.push_back(std::move(group));
  }
  // What is damaged is being replaced: the next walk has it.
  if (!scanned.ok()) return {};
  return out;
}

}  // namespace sluice::coordinator
