// What may stand in the log of __consumer_offsets, and what views make of it.
#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "common/base/bytes.h"
#include "common/consumer/consumer_protocol.h"
#include "controller/metadata/internal_topics.h"
#include "test/check/group_invariants.h"

namespace sluice::check {
namespace {

// As broker/coordinator lays views into a store.
std::string PrefixOf(const TopicPartition& tp) {
  std::string prefix("o\x01");
  prefix += tp.topic_id.ToBytes();
  PutBig32(prefix, static_cast<uint32_t>(tp.partition.value()));
  return prefix;
}

const group::MemberImage* FindMember(const group::GroupImage& image,
                                     const std::string& member) {
  for (const group::MemberImage& one : image.members) {
    if (one.id.ToString() == member) return &one;
  }
  return nullptr;
}

// One that subscribes to the topic, or may: what it says cannot be read.
bool MaySubscribe(const group::GroupImage& image, const std::string& topic) {
  for (const group::MemberImage& member : image.members) {
    for (const group::Protocol& protocol : member.protocols) {
      if (protocol.name != image.protocol_name) continue;
      const auto topics = consumer::DecodeSubscribedTopics(protocol.metadata);
      if (!topics.ok() ||
          std::find(topics->begin(), topics->end(), topic) != topics->end()) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace

// ---- The fold ----

bool GroupInvariants::IsOffsetsPartition(const TopicPartition& tp) const {
  const TopicImage* topic = cluster_.committed->FindTopic(tp.topic_id);
  return topic != nullptr && topic->internal() &&
         topic->name == kConsumerOffsetsTopic;
}

Offset GroupInvariants::folded(const TopicPartition& tp) const {
  const auto found = ledgers_.find(tp);
  return found == ledgers_.end() ? Offset(0) : found->second.end();
}

void GroupInvariants::OnCommitted(const TopicPartition& tp,
                                  const offsets::ViewBatch& batch,
                                  LeaderEpoch by) {
  GroupLedger& ledger = ledgers_[tp];
  // Record by record: what one says may stand on the one before.
  offsets::ViewBatch single = batch;
  for (const offsets::ViewRecord& record : batch.records) {
    if (const auto* put = std::get_if<offsets::OffsetPut>(&record.change)) {
      CheckCommit(tp, *put);
    } else if (const auto* gone =
                   std::get_if<offsets::OffsetGone>(&record.change)) {
      CheckRemoval(tp, gone->key);
    } else if (const auto* group =
                   std::get_if<offsets::GroupPut>(&record.change)) {
      CheckGroup(tp, group->group, group->record);
    }
    single.records = {record};
    ledger.Add(single, by, ++moment_);
  }
  if (batch.records.empty()) ledger.Add(batch, by, ++moment_);
}

const group::GroupImage* GroupInvariants::ImageOf(
    const TopicPartition& tp, const std::string& group) const {
  const auto ledger = ledgers_.find(tp);
  if (ledger == ledgers_.end()) return nullptr;
  const auto& groups = ledger->second.groups();
  const auto found = groups.find(group);
  if (found == groups.end()) return nullptr;
  const Words* newest = found->second.newest();
  return newest == nullptr || !newest->value.has_value()
             ? nullptr
             : &newest->value->stored.image;
}

// GR1. Whoever accepts a commit has the group's record in the log before it:
// what lies there at this place is what the claim was held against.
void GroupInvariants::CheckCommit(const TopicPartition& tp,
                                  const offsets::OffsetPut& put) {
  const group::GroupImage* image = ImageOf(tp, put.key.group);
  const std::string& member = put.committed.member;
  const bool outside =
      put.committed.origin != offsets::Origin::kMember || member.empty();
  const auto where = [&] {
    return StrCat("offset ", put.committed.offset, " of group ", put.key.group,
                  ", partition ", put.key.partition.ToString());
  };
  if (outside) {
    findings_.Check(Rule::kGR1, image == nullptr || image->members.empty(),
                    [&] {
                      return StrCat(where(),
                                    " was committed by no member while the "
                                    "group has ",
                                    image->members.size());
                    });
    return;
  }
  const auto claimed =
      claims_.find({put.key.group, member, put.key.partition.partition.value(),
                    put.committed.offset.value()});
  const Generations none;
  const Generations& generations =
      claimed == claims_.end() ? none : claimed->second;
  const bool is_current =
      image != nullptr && FindMember(*image, member) != nullptr &&
      generations.Contains(image->generation.value());
  findings_.Check(Rule::kGR1, is_current, [&] {
    return StrCat(
        where(), " was committed by member ", member, " with generation ",
        generations.ToString(), ", the group is in ",
        image == nullptr ? StrCat("none") : StrCat(image->generation),
        image == nullptr || FindMember(*image, member) != nullptr
            ? ""
            : " without that member");
  });
}

// GR8. What goes was asked to go, or its topic is gone, or nobody has any use
// for it and the configuration says that this has an end.
void GroupInvariants::CheckRemoval(const TopicPartition& tp,
                                   const offsets::OffsetKey& key) {
  const TopicImage* topic =
      cluster_.committed->FindTopic(key.partition.topic_id);
  const group::GroupImage* image = ImageOf(tp, key.group);
  const bool in_use =
      image != nullptr && topic != nullptr && !image->members.empty() &&
      (image->state != group::GroupState::kStable ||
       MaySubscribe(*image, topic->name));
  const bool may_expire =
      cluster_.configs->NodeNumber(kOffsetsRetentionMinutes) >= 0 && !in_use;
  findings_.Check(
      Rule::kGR8,
      topic == nullptr || deletions_.contains(key.group) || may_expire, [&] {
        return StrCat("the offset of group ", key.group, ", partition ",
                      key.partition.ToString(), ", was removed: nobody asked "
                      "for it, the topic is there, and the group has ",
                      image == nullptr ? 0 : image->members.size(),
                      " members");
      });
}

// GR4: generations rise. GR3: partitions have one owner. A record in which two
// members have one instance id (GR5) cannot be read.
void GroupInvariants::CheckGroup(const TopicPartition& tp,
                                 const std::string& group,
                                 const std::string& record) {
  const auto stored = coordinator::DecodeGroup(record);
  const std::string where = StrCat("group ", group);
  if (!findings_.Check(Rule::kGR7, stored.ok(), [&] {
        return StrCat(where, " has a record that cannot be read: ",
                      stored.status().ToString());
      })) {
    return;
  }
  const group::GroupImage& image = stored->image;
  const group::GroupImage* before = ImageOf(tp, group);
  if (before != nullptr) {
    const bool begins = image.state == group::GroupState::kCompleting &&
                        before->state != group::GroupState::kCompleting;
    const bool rises = begins ? image.generation > before->generation
                              : image.generation >= before->generation;
    findings_.Check(Rule::kGR4, rises, [&] {
      return StrCat(where, " goes from generation ", before->generation, " (",
                    NameOf(before->state), ") to ", image.generation, " (",
                    NameOf(image.state), ")");
    });
  }
  if (image.state == group::GroupState::kStable) {
    CheckAssignments(where, image, before);
  }
}

void GroupInvariants::CheckAssignments(const std::string& where,
                                       const group::GroupImage& image,
                                       const group::GroupImage* before) {
  std::map<consumer::NamedPartition, std::string> owners;
  for (const group::MemberImage& member : image.members) {
    const auto assignment = consumer::DecodeAssignment(member.assignment);
    if (!assignment.ok()) continue;  // of another kind of group
    for (const consumer::NamedPartition& tp : assignment->partitions) {
      const auto [owner, fresh] = owners.emplace(tp, member.id.ToString());
      findings_.Check(Rule::kGR3, fresh, [&] {
        return StrCat(where, " gives ", tp, " to ", owner->second, " and ",
                      member.id, " in generation ", image.generation);
      });
    }
  }
  if (before == nullptr || before->state != group::GroupState::kStable ||
      before->generation != image.generation) {
    return;
  }
  // A member that came again under its instance id has what it had.
  for (const group::MemberImage& member : image.members) {
    const auto same = std::find_if(
        before->members.begin(), before->members.end(), [&](const auto& old) {
          return old.id == member.id ||
                 (!member.instance.empty() && old.instance == member.instance);
        });
    findings_.Check(Rule::kGR3,
                    same != before->members.end() &&
                        same->assignment == member.assignment,
                    [&] {
                      return StrCat(where, " has two assignments of member ",
                                    member.id, " in generation ",
                                    image.generation);
                    });
  }
}

// ---- Views ----

void GroupInvariants::CheckApplied(const NodeView& node,
                                   const TopicPartition& tp,
                                   const ReplicaView& now,
                                   const MemKvStore& store) {
  const auto stored = store.Peek().find(PrefixOf(tp) + offsets::AppliedKey());
  if (stored == store.Peek().end()) return;  // nothing yet
  const auto applied = offsets::DecodeApplied(stored->second);
  const Offset limit = std::min(now.high_watermark, now.durable_leo);
  findings_.Check(Rule::kGR7,
                  applied.has_value() && applied->next <= limit, [&] {
                    return StrCat(
                        "the view of ", tp.ToString(), " on ", node.id,
                        applied.has_value()
                            ? StrCat(" has applied ", applied->next)
                            : StrCat(" has a mark that cannot be read"),
                        ", the high watermark is ", now.high_watermark,
                        ", on disk is ", now.durable_leo);
                  });
}

void GroupInvariants::CheckView(const NodeView& node, const TopicPartition& tp,
                                const MemKvStore& store) {
  const std::string prefix = PrefixOf(tp);
  GroupLedger::Contents held;
  for (auto it = store.Peek().lower_bound(prefix);
       it != store.Peek().end() && it->first.starts_with(prefix); ++it) {
    held[it->first.substr(prefix.size())] = it->second;
  }
  const auto mark = held.find(offsets::AppliedKey());
  const auto applied = mark == held.end()
                           ? std::optional(offsets::Applied())
                           : offsets::DecodeApplied(mark->second);
  const auto ledger = ledgers_.find(tp);
  std::optional<GroupLedger::Contents> want;
  if (applied.has_value()) {
    want = ledger == ledgers_.end()
               ? GroupLedger().ContentsAt(applied->next)
               : ledger->second.ContentsAt(applied->next);
  }
  findings_.Check(Rule::kGR7, want.has_value() && *want == held, [&] {
    size_t differs = 0;
    if (want.has_value()) {
      for (const auto& [key, value] : *want) {
        const auto found = held.find(key);
        differs += found == held.end() || found->second != value ? 1 : 0;
      }
    }
    return StrCat("the view of ", tp.ToString(), " on ", node.id,
                  " is no replay of its log: applied up to ",
                  applied.has_value() ? StrCat(applied->next) : StrCat("?"),
                  want.has_value() ? "" : ", which is no end of a batch",
                  ", it has ", held.size(), " entries, ", differs,
                  " are missing or others of ",
                  want.has_value() ? want->size() : 0);
  });
}

void GroupInvariants::CheckConverged(const NodeView& node,
                                     const TopicPartition& tp,
                                     const MemKvStore& store) {
  CheckView(node, tp, store);
  const auto stored = store.Peek().find(PrefixOf(tp) + offsets::AppliedKey());
  const auto applied = stored != store.Peek().end()
                           ? offsets::DecodeApplied(stored->second)
                           : std::optional(offsets::Applied());
  findings_.Check(Rule::kGR7,
                  applied.has_value() && applied->next == folded(tp), [&] {
                    return StrCat("healed and quiet, the view of ",
                                  tp.ToString(), " on ", node.id,
                                  " has not applied all up to ", folded(tp));
                  });
}

}  // namespace sluice::check
