#include "test/check/producer_invariants.h"

#include <algorithm>
#include <optional>

#include "common/base/str_cat.h"

namespace sluice::check {
namespace {

// IP1: behind 2^31-1 comes 0.
int32_t SequenceBehind(const StoredBatch& batch) {
  const int64_t records = batch.last.value() - batch.base.value() + 1;
  return static_cast<int32_t>((batch.base_sequence + records) %
                              (int64_t{1} << 31));
}

std::string Text(const StoredBatch& batch) {
  return StrCat("batch [", batch.base, ", ", batch.last, "] of producer ",
                batch.producer, " epoch ", batch.producer_epoch, " sequence ",
                batch.base_sequence);
}

std::string Where(const NodeView& node, const TopicPartition& tp) {
  return StrCat("replica ", node.id, " of ", tp.ToString());
}

bool IsSame(const ProducerBatch& known, const StoredBatch& stored) {
  return known.base_sequence == stored.base_sequence &&
         known.base_offset == stored.base &&
         known.last_offset() == stored.last;
}

// All of the log is known, from where it begins on.
bool IsKnown(const ReplicaView& view) {
  return view.batches.empty() ? view.leo == view.log_start
                              : view.batches.back().last.Next() == view.leo;
}

// Nothing lies below it that is gone: else nobody can say what its producers
// wrote there.
bool IsWhole(const ReplicaView& view) {
  return view.log_start == Offset(0) && IsKnown(view);
}

bool BeginsToLead(const ReplicaChange& change) {
  return change.now->leads &&
         (!change.before.has_value() || !change.before->leads ||
          change.before->leader_epoch != change.now->leader_epoch);
}

}  // namespace

void ProducerInvariants::OnChange(const NodeView& node,
                                  const ReplicaChange& change) {
  const Key key{change.tp, node.id};
  if (change.now == nullptr || change.now->failed) {
    replicas_.erase(key);
    return;
  }
  const ReplicaView& now = *change.now;
  const bool cut = now.batches_kept < now.batches_before;
  bool all = !change.before.has_value() || cut || BeginsToLead(change);
  if (!all && now.batches_kept == now.batches.size()) return;
  Replica& own = replicas_[key];
  if (own.life != node.life || own.folded > now.batches_kept) {
    own = {node.life, 0, {}};
    all = true;
    const size_t seen = change.before.has_value() ? now.batches_kept : 0;
    while (own.folded < seen) Fold(own, now.batches[own.folded]);
  }
  std::vector<ProducerId> touched;
  while (own.folded < now.batches.size()) {
    const StoredBatch& batch = now.batches[own.folded];
    CheckBatch(node, change.tp, now, own, batch);
    Fold(own, batch);
    if (batch.producer != kNoProducerId) touched.push_back(batch.producer);
  }
  if (change.producers == nullptr || !IsKnown(now)) return;
  if (all) return CheckTable(node, change.tp, now, *change.producers);
  for (const ProducerId id : touched) {
    CheckKnown(node, change.tp, own, id, *change.producers);
  }
}

void ProducerInvariants::CheckBatch(const NodeView& node,
                                    const TopicPartition& tp,
                                    const ReplicaView& now, const Replica& own,
                                    const StoredBatch& batch) {
  if (batch.producer == kNoProducerId) return;
  const auto found = own.known.find(batch.producer);
  if (found == own.known.end()) {
    findings_.Check(Rule::kIP1, batch.base_sequence == 0 || !IsWhole(now), [&] {
      return StrCat(Where(node, tp), " holds ", Text(batch),
                    ", the first of that producer, which begins with 0");
    });
    return;
  }
  const Known& known = found->second;
  if (batch.producer_epoch == known.epoch) {
    findings_.Check(Rule::kIP1, batch.base_sequence == known.next_sequence, [&] {
      return StrCat(Where(node, tp), " holds ", Text(batch), " behind ",
                    Text(known.last.back()), ", where ", known.next_sequence,
                    " is next");
    });
    return;
  }
  findings_.Check(
      Rule::kIP3,
      batch.producer_epoch > known.epoch && batch.base_sequence == 0, [&] {
        return StrCat(Where(node, tp), " holds ", Text(batch), " behind ",
                      Text(known.last.back()),
                      ": an older epoch, or a new one that does not begin "
                      "with 0");
      });
}

void ProducerInvariants::Fold(Replica& own, const StoredBatch& batch) {
  ++own.folded;
  if (batch.producer == kNoProducerId) return;
  Known& known = own.known[batch.producer];
  if (known.epoch != batch.producer_epoch) {
    known = {batch.producer_epoch, 0, batch.base_sequence == 0, {}};
  }
  known.next_sequence = SequenceBehind(batch);
  if (known.last.size() == kProducerBatchesKept) {
    known.last.erase(known.last.begin());
  }
  known.last.push_back(batch);
}

// IP4: the state is that of a replay of the own log. Behind a trim that log
// need not have the first batches of a producer: what is known of those is not
// judged, of the others all is.
void ProducerInvariants::CheckKnown(const NodeView& node,
                                    const TopicPartition& tp,
                                    const Replica& own, ProducerId id,
                                    const ProducerTable& table) {
  const Known& known = own.known.at(id);
  const ProducerState* state = table.Find(id);
  bool same = state != nullptr && state->epoch == known.epoch &&
              (known.from_first ? state->size() == known.last.size()
                                : state->size() >= known.last.size());
  const size_t older = same ? state->size() - known.last.size() : 0;
  for (size_t i = 0; same && i < known.last.size(); ++i) {
    same = IsSame(state->at(older + i), known.last[i]);
  }
  findings_.Check(Rule::kIP4, same, [&] {
    return StrCat(Where(node, tp), " holds ", Text(known.last.back()),
                  ", the last of that producer, and knows ",
                  state == nullptr
                      ? std::string("nothing of it")
                      : StrCat("its last ", state->size(), " of epoch ",
                               state->epoch, " up to sequence ",
                               state->newest().last_sequence(), " at offset ",
                               state->newest().last_offset()));
  });
}

void ProducerInvariants::CheckTable(const NodeView& node,
                                    const TopicPartition& tp,
                                    const ReplicaView& now,
                                    const ProducerTable& table) {
  const auto found = replicas_.find({tp, node.id});
  if (found == replicas_.end() || !IsKnown(now)) return;
  const Replica& own = found->second;
  for (const auto& [id, known] : own.known) {
    CheckKnown(node, tp, own, id, table);
  }
  // Of who wrote below a log start alone somebody may know still.
  const bool as_many = IsWhole(now) ? table.size() == own.known.size()
                                    : table.size() >= own.known.size();
  findings_.Check(Rule::kIP4, as_many, [&] {
    return StrCat(Where(node, tp), " knows ", table.size(), " producers, ",
                  own.known.size(), " wrote to its log");
  });
}

// IP5: out of a block that is committed, and nobody was given it before. The
// next epoch of an identity is that identity.
void ProducerInvariants::OnIdentified(const IdentityAnswer& answer) {
  if (answer.epoch != 0) return;
  const auto [given, first] = given_.emplace(answer.producer, answer.broker);
  const MetadataImage& committed = *cluster_.committed;
  findings_.Check(
      Rule::kIP5,
      first && committed.next_producer_id() != kNoProducerId &&
          answer.producer >= committed.first_producer_id() &&
          answer.producer < committed.next_producer_id(),
      [&] {
        return StrCat("broker ", answer.broker, " gives producer id ",
                      answer.producer,
                      first ? StrCat(", which is in no block: they end at ",
                                     committed.next_producer_id())
                            : StrCat(", which broker ", given->second,
                                     " has given before"));
      });
}

// IP2: first attempt or retry, of whatever leader: the producer is told where
// its batch is committed.
void ProducerInvariants::OnAnswered(const ProducerAnswer& answer) {
  const TopicImage* topic =
      answer.topic_id.is_set() ? cluster_.committed->FindTopic(answer.topic_id)
                               : cluster_.committed->FindTopic(answer.topic_name);
  if (topic == nullptr) return;
  if (!answer.topic_id.is_set() &&
      named_.try_emplace(answer.topic_name, topic->id).first->second !=
          topic->id) {
    return;
  }
  const TopicPartition tp{topic->id, answer.partition};
  if (replication_.MayBeLost(tp, answer.base)) return;
  const StoredBatch* stored = replication_.FindCommitted(tp, answer.base);
  findings_.Check(
      Rule::kIP2,
      stored != nullptr && stored->base == answer.base &&
          stored->producer == answer.producer &&
          stored->producer_epoch == answer.epoch &&
          stored->base_sequence == answer.base_sequence,
      [&] {
        return StrCat("producer ", answer.producer, " epoch ", answer.epoch,
                      " is told that its sequence ", answer.base_sequence,
                      " is at offset ", answer.base, " of ", tp.ToString(),
                      answer.duplicate ? ", stored before" : "", "; there is ",
                      stored == nullptr ? "nothing committed" : Text(*stored));
      });
}

}  // namespace sluice::check
