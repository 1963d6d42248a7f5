// What coordinators answer, and who owns what.
#include "test/check/group_invariants.h"

#include <algorithm>
#include <utility>

#include "broker/offsets/coordinator_partition.h"
#include "controller/metadata/internal_topics.h"

namespace sluice::check {
namespace {

const group::MemberImage* FindMember(const WordsRegister::Entry& entry,
                                     const std::string& member) {
  if (!entry.value.has_value()) return nullptr;
  for (const auto& one : entry.value->stored.image.members) {
    if (one.id.ToString() == member) return &one;
  }
  return nullptr;
}

bool Says(const OffsetRegister::Entry& entry,
          const v1::CommittedOffset* answer) {
  const bool none = answer == nullptr || answer->offset() < 0;
  if (none || !entry.value.has_value()) return none && !entry.value.has_value();
  const offsets::CommittedOffset& value = *entry.value;
  return value.offset.value() == answer->offset() &&
         value.time_ms == answer->commit_time_ms() &&
         value.metadata.value_or("") == answer->metadata();
}

const TopicImage* Find(const MetadataImage& image, const v1::TopicRef& topic) {
  if (!topic.has_id()) return image.FindTopic(topic.name());
  const auto id = TopicId::FromBytes(topic.id());
  return id.has_value() ? image.FindTopic(*id) : nullptr;
}

bool IsGood(const v1::Error& error) {
  return error.code() == v1::ERROR_CODE_UNSPECIFIED;
}

}  // namespace

// ---- Generations ----

void Generations::Add(int32_t from, int32_t end) {
  int32_t& known = ranges_.try_emplace(from, end).first->second;
  known = std::max(known, end);
}

void Generations::End(int32_t end) {
  for (auto& [from, known] : ranges_) {
    if (known == kOpen) known = std::max(from + 1, end);
  }
}

bool Generations::Contains(int32_t generation) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const auto& range) {
    return range.first <= generation && generation < range.second;
  });
}

std::string Generations::ToString() const {
  std::string text;
  for (const auto& [from, end] : ranges_) {
    text += StrCat(text.empty() ? "" : ", ", from);
    if (end == kOpen) {
      text += " on";
    } else if (end > from + 1) {
      text += StrCat(" to ", end - 1);
    }
  }
  return text.empty() ? "none" : text;
}

// ---- Calls ----

void GroupInvariants::OnSent(const v1::CommitOffsetsRequest& request) {
  const int32_t generation =
      request.has_generation_id() ? request.generation_id() : -1;
  for (const v1::OffsetCommit& commit : request.offsets()) {
    claims_[{request.group_id(), request.member_id(), commit.partition(),
             commit.offset()}]
        .Add(generation, generation + 1);
  }
}

void GroupInvariants::OnClaimed(const v1::CommitOffsetsRequest& claim) {
  for (const v1::OffsetCommit& commit : claim.offsets()) {
    claims_[{claim.group_id(), claim.member_id(), commit.partition(),
             commit.offset()}]
        .Add(claim.generation_id(), Generations::kOpen);
  }
}

void GroupInvariants::EndClaims(const std::string& group,
                                const std::string& member,
                                int32_t generation) {
  constexpr auto kFirst = std::numeric_limits<int32_t>::min();
  for (auto claim = claims_.lower_bound({group, member, kFirst, 0});
       claim != claims_.end() && std::get<0>(claim->first) == group &&
       std::get<1>(claim->first) == member;
       ++claim) {
    claim->second.End(generation + 1);
  }
}

void GroupInvariants::OnSent(const v1::DeleteOffsetsRequest& request) {
  deletions_.insert(request.group_id());
}

void GroupInvariants::OnSent(const v1::DeleteGroupsRequest& request) {
  for (const std::string& group : request.group_ids()) {
    deletions_.insert(group);
  }
}

GroupLedger* GroupInvariants::LedgerOf(const std::string& group) {
  const TopicImage* topic = cluster_.committed->FindTopic(kConsumerOffsetsTopic);
  if (topic == nullptr) return nullptr;
  const auto found = ledgers_.find(
      {topic->id, offsets::CoordinatorPartition(
                      group, static_cast<int32_t>(topic->partitions.size()))});
  return found == ledgers_.end() ? nullptr : &found->second;
}

// As the replica and the metadata of its broker both say.
LeaderEpoch GroupInvariants::CoordinatesIn(NodeId id,
                                           const std::string& group) const {
  const NodeView* node = cluster_.Find(id);
  if (node == nullptr || node->broker_image == nullptr) return kNoLeaderEpoch;
  const TopicImage* topic = node->broker_image->FindTopic(kConsumerOffsetsTopic);
  if (topic == nullptr) return kNoLeaderEpoch;
  const TopicPartition tp{
      topic->id, offsets::CoordinatorPartition(
                     group, static_cast<int32_t>(topic->partitions.size()))};
  const PartitionImage* partition = topic->Find(tp.partition);
  const ReplicaView* replica = cluster_.FindReplica(id, tp);
  if (partition == nullptr || partition->leader != id || replica == nullptr ||
      !replica->leads || replica->leader_epoch != partition->leader_epoch) {
    return kNoLeaderEpoch;
  }
  return replica->leader_epoch;
}

GroupMoment GroupInvariants::Arrived(NodeId node,
                                     const std::string& group) const {
  GroupMoment now{moment_, node, group, CoordinatesIn(node, group)};
  const GroupLedger* ledger =
      const_cast<GroupInvariants*>(this)->LedgerOf(group);
  if (ledger != nullptr) now.committed = ledger->end();
  return now;
}

bool GroupInvariants::IsCoordinators(const GroupMoment& asked) const {
  return asked.epoch != kNoLeaderEpoch &&
         CoordinatesIn(asked.node, asked.group) == asked.epoch;
}

// ---- Members are answered ----

// GR4. A generation is told when the log has it, and never an older one than
// was told before.
void GroupInvariants::OnAnswered(const GroupMoment& asked,
                                 const v1::JoinGroupRequest&,
                                 const v1::JoinGroupResponse& response) {
  if (!IsGood(response.error())) return;
  GroupLedger* ledger = LedgerOf(asked.group);
  WordsRegister* words =
      ledger == nullptr ? nullptr : ledger->FindGroup(asked.group);
  const size_t floor = words != nullptr && IsCoordinators(asked)
                           ? words->FloorOf(asked.moment, asked.epoch)
                           : 0;
  const Words* found = nullptr;
  for (size_t i = floor; words != nullptr && i < words->entries().size(); ++i) {
    const Words& entry = words->entries()[i];
    if (FindMember(entry, response.member_id()) != nullptr &&
        entry.value->stored.image.generation.value() ==
            response.generation_id()) {
      found = &entry;
      break;
    }
  }
  findings_.Check(Rule::kGR4, found != nullptr, [&] {
    return StrCat("broker ", asked.node, " told member ",
                  response.member_id(), " of group ", asked.group,
                  " of generation ", response.generation_id(),
                  ", which is not in the log, or older than what was told");
  });
  if (found != nullptr) words->NoteTold(++moment_, *found);
}

// GR3. What a member is given is what the log says, in that generation.
void GroupInvariants::OnAnswered(const GroupMoment& asked,
                                 const v1::SyncGroupRequest& request,
                                 const v1::SyncGroupResponse& response) {
  if (!IsGood(response.error())) return;
  GroupLedger* ledger = LedgerOf(asked.group);
  WordsRegister* words =
      ledger == nullptr ? nullptr : ledger->FindGroup(asked.group);
  const Words* found = nullptr;
  for (size_t i = 0; words != nullptr && i < words->entries().size(); ++i) {
    const Words& entry = words->entries()[i];
    const group::MemberImage* member = FindMember(entry, request.member_id());
    if (member != nullptr && member->assignment == response.assignment() &&
        entry.value->stored.image.state == group::GroupState::kStable &&
        entry.value->stored.image.generation.value() ==
            request.generation_id()) {
      found = &entry;
      break;
    }
  }
  findings_.Check(Rule::kGR3, found != nullptr, [&] {
    return StrCat("broker ", asked.node, " gave member ", request.member_id(),
                  " of group ", asked.group, " in generation ",
                  request.generation_id(),
                  " what the log does not say");
  });
  if (found != nullptr) words->NoteTold(++moment_, *found);
  CheckHolder(asked, request.member_id(), request.group_instance_id(),
              "its assignment");
}

void GroupInvariants::OnAnswered(const GroupMoment& asked,
                                 const v1::HeartbeatRequest& request,
                                 const v1::HeartbeatResponse& response) {
  if (!IsGood(response.error())) return;
  CheckHolder(asked, request.member_id(), request.group_instance_id(),
              "that it lives");
}

// GR5. Who is told that all is well holds its instance id; GR3: is a member.
void GroupInvariants::CheckHolder(const GroupMoment& asked,
                                  const std::string& member,
                                  const std::string& instance,
                                  const char* what) {
  GroupLedger* ledger = LedgerOf(asked.group);
  WordsRegister* words =
      ledger == nullptr ? nullptr : ledger->FindGroup(asked.group);
  if (words == nullptr || !IsCoordinators(asked)) return;
  bool holds = false;
  for (size_t i = words->FloorOf(asked.moment, asked.epoch);
       i < words->entries().size(); ++i) {
    const group::MemberImage* found = FindMember(words->entries()[i], member);
    holds |= found != nullptr && (instance.empty() ||
                                  found->instance.ToString() == instance);
  }
  findings_.Check(instance.empty() ? Rule::kGR3 : Rule::kGR5, holds, [&] {
    return StrCat("broker ", asked.node, " told member ", member, " of group ",
                  asked.group, ", instance \"", instance, "\", ", what,
                  " though the log has another one, or none");
  });
}

// ---- Offsets ----

// GR2. What is acknowledged is in the log, behind all that was committed when
// it was asked for.
void GroupInvariants::OnAnswered(const GroupMoment& asked,
                                 const v1::CommitOffsetsRequest& request,
                                 const v1::CommitOffsetsResponse& response) {
  GroupLedger* ledger = LedgerOf(asked.group);
  bool any = false;
  for (int i = 0; i < response.results_size(); ++i) {
    const v1::OffsetCommitResult& result = response.results(i);
    if (!IsGood(result.error()) || i >= request.offsets_size()) continue;
    any = true;
    const v1::OffsetCommit& commit = request.offsets(i);
    const TopicImage* topic = Find(*cluster_.committed, commit.topic());
    if (topic == nullptr) continue;  // deleted meanwhile
    OffsetRegister* values =
        ledger == nullptr
            ? nullptr
            : ledger->FindOffsets(
                  {asked.group,
                   {topic->id, PartitionIndex(commit.partition())}});
    const OffsetRegister::Entry* found = nullptr;
    for (size_t e = values == nullptr ? 0 : values->entries().size(); e-- > 0;) {
      const OffsetRegister::Entry& entry = values->entries()[e];
      if (entry.record < asked.committed) break;
      if (entry.value.has_value() &&
          entry.value->offset.value() == commit.offset() &&
          entry.value->member == request.member_id() &&
          entry.value->metadata.value_or("") == commit.metadata()) {
        found = &entry;
      }
    }
    findings_.Check(Rule::kGR2, found != nullptr, [&] {
      return StrCat("broker ", asked.node, " acknowledged offset ",
                    commit.offset(), " of group ", asked.group, ", partition ",
                    topic->name, "-", commit.partition(),
                    ", which is not in the log");
    });
    if (found != nullptr) values->NoteTold(++moment_, *found);
  }
  if (any && !request.member_id().empty()) {
    CheckHolder(asked, request.member_id(), request.group_instance_id(),
                "that its offsets are committed");
  }
}

void GroupInvariants::OnAnswered(const GroupMoment& asked,
                                 const v1::GroupOffsetsQuery& query,
                                 const v1::GroupOffsets& answer) {
  GroupLedger* ledger = LedgerOf(asked.group);
  if (!IsGood(answer.error()) || ledger == nullptr || !IsCoordinators(asked)) {
    return;
  }
  std::set<offsets::OffsetKey> told;
  for (const v1::CommittedOffset& one : answer.offsets()) {
    const TopicImage* topic = Find(*cluster_.committed, one.topic());
    if (topic == nullptr || !IsGood(one.error())) continue;
    const offsets::OffsetKey key{
        asked.group, {topic->id, PartitionIndex(one.partition())}};
    told.insert(key);
    CheckRead(asked, key, &one);
  }
  if (!query.topics().empty()) return;
  // All that the group has was asked for: what is left out has nothing.
  for (const auto& [key, values] : ledger->offsets()) {
    if (key.group != asked.group || told.contains(key) ||
        cluster_.committed->FindTopic(key.partition.topic_id) == nullptr) {
      continue;
    }
    CheckRead(asked, key, nullptr);
  }
}

// GR2, GR6. A register: what is read is what it held at some time since the
// call came, and what anybody was told before it came is not undone.
void GroupInvariants::CheckRead(const GroupMoment& asked,
                                const offsets::OffsetKey& key,
                                const v1::CommittedOffset* answer) {
  OffsetRegister* values = LedgerOf(asked.group)->FindOffsets(key);
  const bool none = answer == nullptr || answer->offset() < 0;
  const bool known =
      values != nullptr && values->WasTold(asked.moment, asked.epoch);
  const OffsetRegister::Entry* found = nullptr;
  if (values != nullptr) {
    for (size_t i = values->FloorOf(asked.moment, asked.epoch);
         i < values->entries().size() && found == nullptr; ++i) {
      if (Says(values->entries()[i], answer)) found = &values->entries()[i];
    }
  }
  const bool holds = found != nullptr || (none && !known);
  findings_.Check(none ? Rule::kGR6 : Rule::kGR2, holds, [&] {
    return StrCat("broker ", asked.node, " answered ",
                  none ? StrCat("no offset")
                       : StrCat("offset ", answer->offset()),
                  " of group ", asked.group, ", partition ",
                  key.partition.ToString(),
                  known ? ", which is older than what was told before"
                        : ", which was never committed");
  });
  if (found != nullptr) values->NoteTold(++moment_, *found);
}

// ---- Members ----

// GR3, as the applications see it: who gives up what another one was given does
// it in its own time, but never within the generation. Two processes with one
// instance id are one member, of which the older has yet to hear that it is
// fenced (GR5).
void GroupInvariants::OnOwned(
    const std::string& group, int process, const std::string& instance,
    int32_t generation,
    const std::set<consumer::NamedPartition>& partitions) {
  if (generation < 0) {
    owners_.erase({group, process});
    return;
  }
  owners_[{group, process}] = {instance, generation, partitions};
  for (auto it = owners_.lower_bound({group, 0});
       it != owners_.end() && it->first.first == group; ++it) {
    const bool same = it->first.second == process ||
                      (!instance.empty() && it->second.instance == instance);
    if (same || it->second.generation != generation) continue;
    const auto both = std::find_if(
        partitions.begin(), partitions.end(),
        [&](const auto& tp) { return it->second.partitions.contains(tp); });
    findings_.Check(Rule::kGR3, both == partitions.end(), [&] {
      return StrCat("processes ", process, " and ", it->first.second,
                    " of group ", group, " both have ", *both,
                    " in generation ", generation);
    });
  }
}

}  // namespace sluice::check
