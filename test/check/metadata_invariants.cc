#include "test/check/metadata_invariants.h"

#include <algorithm>

#include "common/base/str_cat.h"

namespace sluice::check {
namespace {

bool LeadsAny(const MetadataImage& image, NodeId broker) {
  for (const auto& [id, topic] : image.topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      if (partition->leader == broker) return true;
    }
  }
  return false;
}

}  // namespace

std::string MetadataInvariants::Text(const BrokerImage& broker) {
  return StrCat("broker ", broker.id, " (epoch ", broker.epoch,
                broker.fenced ? ", fenced" : "",
                broker.stopping ? ", stopping" : "",
                broker.was_clean ? ", was clean" : "", ")");
}

// ---- What becomes of processes ----

void MetadataInvariants::OnEnd(const NodeView& node, End how) {
  if (!node.has_broker) return;
  Fate& fate = fates_[node.incarnation];
  // A clean stop has synced all: a power cut after it takes nothing.
  if (!fate.known || fate.how == End::kKilled) fate.how = how;
  fate.known = true;
  fate.maybe_clean = node.closing && how != End::kStopped;
  last_incarnation_[node.id] = node.incarnation;
  // A registered incarnation that was killed loses its page cache with the
  // machine's power, unless a successor's recovery has synced it before.
  if (how != End::kPowerCut || node.logs_recovered) return;
  const BrokerImage* registered = cluster_.committed->FindBroker(node.id);
  if (registered == nullptr) return;
  const auto found = fates_.find(registered->incarnation);
  if (found != fates_.end() && found->second.known &&
      found->second.how == End::kKilled) {
    found->second.how = End::kPowerCut;
  }
}

void MetadataInvariants::OnWiped(NodeId node) {
  ++wipes_;
  const auto note = [this](const IncarnationId& ended) {
    int64_t& first = fates_[ended].first_wipe;
    if (first == 0) first = wipes_;
  };
  const auto found = last_incarnation_.find(node);
  if (found != last_incarnation_.end()) note(found->second);
  const BrokerImage* registered = cluster_.committed->FindBroker(node);
  if (registered != nullptr) note(registered->incarnation);
}

// A registration may be committed when its process is dead and its disk wiped:
// that it could not tell. The next one must.
bool MetadataInvariants::WasWiped(const IncarnationId& before,
                                  const IncarnationId& now) const {
  const auto wipe_of = [this](const IncarnationId& incarnation) {
    const auto found = fates_.find(incarnation);
    return found == fates_.end() ? 0 : found->second.first_wipe;
  };
  const int64_t after_now = wipe_of(now);
  return wipe_of(before) != 0 &&
         (after_now == 0 || wipe_of(before) < after_now);
}

// ---- The fold ----

void MetadataInvariants::OnCommitted(const MetadataImage& before,
                                     const MetadataChanges& changes) {
  const MetadataImage& now = *cluster_.committed;
  hashes_[now.offset()] = MetaHash(now);
  for (const NodeId id : changes.brokers_changed) {
    const BrokerImage* broker = now.FindBroker(id);
    if (broker == nullptr) continue;
    const BrokerImage* old = before.FindBroker(id);
    if (old == nullptr || old->epoch != broker->epoch) {
      CheckRegistration(old, *broker, before.offset());
    }
    CheckUnfenced(old, *broker);
    if (!broker->active()) CheckInactive(*broker);
  }
  for (const auto* touched :
       {&changes.partitions_created, &changes.partitions_changed}) {
    for (const TopicPartition& tp : *touched) {
      const PartitionImage& partition = *now.FindPartition(tp);
      const bool alive =
          std::all_of(partition.isr.begin(), partition.isr.end(),
                      [&](NodeId node) { return now.IsActive(node); }) &&
          (partition.leader == kNoNode || now.IsActive(partition.leader));
      findings_.Check(Rule::kMD4, alive, [&] {
        return StrCat("partition ", tp.ToString(), " at offset ", now.offset(),
                      " has a fenced or stopping broker in its ISR, leader ",
                      partition.leader);
      });
    }
  }
  CheckNames(changes);
  NoteHandOvers();
}

void MetadataInvariants::CheckRegistration(const BrokerImage* before,
                                           const BrokerImage& now,
                                           LogIndex offset_before) {
  const LogIndex offset = cluster_.committed->offset();
  findings_.Check(
      Rule::kRP19,
      now.fenced && now.epoch.value() == offset.value() &&
          now.epoch.value() > offset_before.value() &&
          (before == nullptr || before->incarnation != now.incarnation),
      [&] {
        return StrCat(Text(now), " was registered at offset ", offset,
                      before == nullptr ? std::string()
                                        : StrCat(" after ", Text(*before)));
      });
  if (before != nullptr) CheckRestart(*before, now);
}

// RP18: what the old incarnation's end may have cost leaves ISR and ELR with
// the registration itself.
void MetadataInvariants::CheckRestart(const BrokerImage& before,
                                      const BrokerImage& now) {
  const auto found = fates_.find(before.incarnation);
  if (found == fates_.end() || !found->second.known) return;
  const Fate& fate = found->second;
  const bool wiped = WasWiped(before.incarnation, now.incarnation);
  const bool stopped = fate.how == End::kStopped ||
                       (fate.maybe_clean && now.was_clean);
  findings_.Check(
      Rule::kRP18,
      !now.was_clean || (stopped && !wiped), [&] {
        return StrCat(Text(now), " passes for cleanly stopped: ",
                      Text(before), " was not");
      });
  for (const auto& [id, topic] : cluster_.committed->topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      const bool on_disk = cluster_.PromisesDisk({id, index});
      const bool lost =
          wiped || (!on_disk && !stopped && fate.how == End::kPowerCut);
      if (!Contains(partition->replicas, now.id)) continue;
      const bool doubted = Contains(partition->unverified_elr, now.id);
      const bool trusted = Contains(partition->isr, now.id) ||
                           (!stopped && Contains(partition->elr, now.id));
      findings_.Check(Rule::kRP18, !trusted && !(lost && doubted), [&] {
        return StrCat(Text(now), " is trusted with partition ", index, " of ",
                      topic->name,
                      lost ? ", of which its disk lost a part"
                           : ", unverified after an unclean end");
      });
      findings_.Check(
          Rule::kRP18, partition->CandidateOf(now.id) == nullptr, [&] {
            return StrCat("what ", Text(before), " told of its log of partition ",
                          index, " of ", topic->name, " outlived it");
          });
    }
  }
}

void MetadataInvariants::CheckUnfenced(const BrokerImage* before,
                                       const BrokerImage& now) {
  const bool was_fenced =
      before == nullptr || before->fenced || before->epoch != now.epoch;
  if (now.fenced || !was_fenced) return;
  const NodeView* node = cluster_.Running(now.id);
  if (node == nullptr) return;  // dead since it asked
  const LogIndex applied =
      node->broker_image == nullptr ? LogIndex(0) : node->broker_image->offset();
  findings_.Check(Rule::kMD5, applied.value() >= now.epoch.value(), [&] {
    return StrCat(Text(now), " was unfenced when it had applied ", applied);
  });
}

// MD3: fencing, a stop or a registration comes with the elections it means.
void MetadataInvariants::CheckInactive(const BrokerImage& broker) {
  for (const auto& [id, topic] : cluster_.committed->topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      findings_.Check(Rule::kMD3,
                      partition->leader != broker.id &&
                          !Contains(partition->isr, broker.id),
                      [&] {
                        return StrCat(Text(broker), " at offset ",
                                      cluster_.committed->offset(),
                                      " still leads or is in sync with "
                                      "partition ",
                                      index, " of ", topic->name);
                      });
    }
  }
}

void MetadataInvariants::CheckNames(const MetadataChanges& changes) {
  const MetadataImage& now = *cluster_.committed;
  for (const TopicId& id : changes.topics_created) {
    const TopicImage* topic = now.FindTopic(id);
    findings_.Check(Rule::kMD7,
                    topic_ids_.insert(id).second && topic != nullptr &&
                        now.FindTopic(topic->name) == topic,
                    [&] {
                      return StrCat("topic id ", id, " at offset ",
                                    now.offset(), " was used before, or its "
                                    "name means another");
                    });
  }
}

// What is answered as done has been committed, whatever became of it since.
void MetadataInvariants::OnTopicCreated(const TopicId& id) {
  findings_.Check(Rule::kRA16, topic_ids_.contains(id), [&] {
    return StrCat("a client was told that topic id ", id,
                  " was created, which nobody has committed up to offset ",
                  cluster_.committed->offset());
  });
}

// ---- Nodes ----

void MetadataInvariants::OnImage(const NodeView& node,
                                 const MetadataImage& image,
                                 const MetadataImage* last) {
  findings_.Check(Rule::kMD2,
                  image.offset() <= cluster_.committed->offset() &&
                      (last == nullptr || image.offset() >= last->offset()),
                  [&] {
                    return StrCat("node ", node.id, " shows offset ",
                                  image.offset(), " after ",
                                  last == nullptr ? LogIndex(0)
                                                  : last->offset(),
                                  ", committed is ",
                                  cluster_.committed->offset());
                  });
  const auto found = hashes_.find(image.offset());
  findings_.Check(Rule::kMD1,
                  found != hashes_.end() && found->second == MetaHash(image),
                  [&] {
                    return StrCat("node ", node.id, " at offset ",
                                  image.offset(),
                                  " is not what the log up to there gives");
                  });
}

// ---- Controlled stops (MD9) ----

void MetadataInvariants::NoteHandOvers() {
  const MetadataImage& now = *cluster_.committed;
  for (const auto& [id, broker] : now.brokers()) {
    const std::pair<NodeId, BrokerEpoch> process{id, broker->epoch};
    const bool leads = LeadsAny(now, id);
    // What it led may be gone before it wishes to stop: by a fencing, say (seed
    // 2820).
    if (leads) leading_.insert(process);
    if (!leads && leading_.erase(process) > 0) led_until_[process] = now.offset();
    if (!broker->stopping || broker->fenced || leads ||
        hand_overs_.contains(process)) {
      continue;
    }
    HandOver& begun = hand_overs_[process];
    begun.offset = led_until_[process];
    for (const auto& [other, theirs] : now.brokers()) {
      if (theirs->active()) begun.active[other] = theirs->epoch;
    }
  }
}

void MetadataInvariants::OnReleased(const NodeView& node) {
  const BrokerImage* own = cluster_.RegistrationOf(node);
  if (own == nullptr || own->fenced) return;
  const auto found = hand_overs_.find({node.id, own->epoch});
  if (!findings_.Check(Rule::kMD9, found != hand_overs_.end(), [&] {
        return StrCat(Text(*own), " may stop though it leads something");
      })) {
    return;
  }
  for (const auto& [id, epoch] : found->second.active) {
    const NodeView* other = cluster_.Running(id);
    const BrokerImage* theirs = cluster_.committed->FindBroker(id);
    if (other == nullptr || theirs->epoch != epoch || !theirs->active()) {
      continue;
    }
    findings_.Check(Rule::kMD9,
                    other->broker_image != nullptr &&
                        other->broker_image->offset() >= found->second.offset,
                    [&] {
                      return StrCat(Text(*own), " may stop, but broker ", id,
                                    " has not applied offset ",
                                    found->second.offset,
                                    ", which took its last leadership");
                    });
  }
}

}  // namespace sluice::check
