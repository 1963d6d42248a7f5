// RP9, RP10, RP11, RP22, ST1: every batch that enters a log, wherever it does.
#include <algorithm>

#include "common/base/str_cat.h"
#include "test/check/replication_invariants.h"

namespace sluice::check {
namespace {

// The epoch that the history has at `offset`; -1: none.
LeaderEpoch EpochAt(const std::vector<EpochStart>& epochs, Offset offset) {
  LeaderEpoch found = kNoLeaderEpoch;
  for (auto it = epochs.rbegin(); it != epochs.rend(); ++it) {
    if (it->start <= offset) {
      found = it->epoch;
      break;
    }
  }
  return found;
}

const EpochStart* StartOf(const std::vector<EpochStart>& epochs,
                          LeaderEpoch epoch) {
  for (auto it = epochs.rbegin(); it != epochs.rend(); ++it) {
    if (it->epoch == epoch) return &*it;
  }
  return nullptr;
}

std::string Text(const StoredBatch& batch) {
  return StrCat("batch [", batch.base, ", ", batch.last, "] of epoch ",
                batch.epoch);
}

}  // namespace

void ReplicationInvariants::CheckBatches(const Scene& scene) {
  const ReplicaView& now = scene.now;
  for (size_t i = now.batches_kept; i < now.batches.size(); ++i) {
    CheckBatch(scene, i);
  }
  const Offset end =
      now.batches.empty() ? now.log_start : now.batches.back().last.Next();
  findings_.Check(Rule::kRP22, end == now.leo || now.corrupt, [&] {
    return StrCat(Where(scene), " holds whole batches up to ", end, " only");
  });
  const bool rises = std::adjacent_find(
                         now.epochs.begin(), now.epochs.end(),
                         [](const EpochStart& a, const EpochStart& b) {
                           return a.epoch >= b.epoch || a.start > b.start;
                         }) == now.epochs.end();
  findings_.Check(Rule::kRP10, rises, [&] {
    return StrCat(Where(scene), " has epochs out of order");
  });
}

void ReplicationInvariants::CheckBatch(const Scene& scene, size_t i) {
  const ReplicaView& now = scene.now;
  const StoredBatch& batch = now.batches[i];
  findings_.Check(Rule::kST1, batch.crc_matches, [&] {
    return StrCat(Where(scene), " took ", Text(batch), " with a wrong CRC");
  });
  if (!batch.crc_matches) return;
  const Offset expected = i == 0 ? now.log_start : now.batches[i - 1].last.Next();
  findings_.Check(Rule::kRP22,
                  batch.last >= batch.base &&
                      (batch.base == expected ||
                       (i == 0 && batch.base <= expected)),
                  [&] {
                    return StrCat(Where(scene), " holds ", Text(batch),
                                  " where ", expected, " is expected");
                  });
  const LeaderEpoch before =
      i == 0 ? kNoLeaderEpoch : now.batches[i - 1].epoch;
  const EpochStart* start = StartOf(now.epochs, batch.epoch);
  // What was taken and trimmed in one step has no epochs any more.
  const bool gone = batch.last < now.log_start;
  const Offset at = std::max(batch.base, now.log_start);
  const bool first_of_epoch =
      i > 0 && before != batch.epoch && at == batch.base;
  findings_.Check(Rule::kRP10,
                  gone || (EpochAt(now.epochs, at) == batch.epoch &&
                           (!first_of_epoch || start->start == batch.base)),
                  [&] {
                    return StrCat(Where(scene), " holds ", Text(batch),
                                  ", its epoch history says ",
                                  EpochAt(now.epochs, batch.base), " there",
                                  start == nullptr
                                      ? std::string()
                                      : StrCat(" and that epoch from ",
                                               start->start));
                  });
  Link link{batch.last, batch.crc, before};
  // What a log begins with need not be the first that was.
  if (i == 0 && batch.base > Offset(0)) link.epoch_before.reset();
  const auto [it, fresh] =
      scene.record.links.try_emplace({batch.base, batch.epoch}, link);
  Link& known = it->second;
  findings_.Check(Rule::kRP9, known.Agrees(link), [&] {
    return StrCat(Where(scene), " holds ", Text(batch), " crc ", batch.crc,
                  " after epoch ", before, "; elsewhere that is up to ",
                  known.last, " crc ", known.crc, " after epoch ",
                  known.epoch_before.value_or(kNoLeaderEpoch));
  });
  if (!known.epoch_before) known.epoch_before = link.epoch_before;
  if (fresh) CheckOrigin(scene, batch);
}

// A record comes into being at the leader of its epoch and nowhere else: what
// a request of another epoch did would be seen here.
void ReplicationInvariants::CheckOrigin(const Scene& scene,
                                        const StoredBatch& batch) {
  const ReplicaView& now = scene.now;
  const auto leader = scene.record.leaders.find(batch.epoch);
  findings_.Check(
      Rule::kRP11,
      leader != scene.record.leaders.end() &&
          leader->second == Leader{scene.node.id, scene.node.life} &&
          now.leader_epoch == batch.epoch,
      [&] {
        return StrCat(Where(scene), " is the first to hold ", Text(batch),
                      ", the leader of that epoch is ",
                      leader == scene.record.leaders.end()
                          ? kNoNode
                          : leader->second.node);
      });
}

}  // namespace sluice::check
