#include "test/check/storage_invariants.h"

#include <algorithm>

#include "common/base/str_cat.h"

namespace sluice::check {
namespace {

std::string Where(const NodeView& node, const TopicPartition& tp,
                  const ReplicaView& view) {
  return StrCat("replica ", node.id, " of ", tp.ToString(), " (log [",
                view.log_start, ", ", view.leo, "), durable ",
                view.durable_leo, ", HW ", view.high_watermark,
                view.lossy ? ", LOSSY" : "", ")");
}

std::string Text(const std::vector<EpochStart>& epochs) {
  std::string text = "{";
  for (const EpochStart& at : epochs) {
    text += StrCat(text.size() > 1 ? ", " : "", at.epoch, " from ", at.start);
  }
  return text + "}";
}

std::string_view NameOf(End how) {
  switch (how) {
    case End::kStopped: return "a clean stop";
    case End::kKilled: return "a kill";
    case End::kPowerCut: return "a power cut";
  }
  return "?";
}

// Whether `now` begins with all of `old` that lies in [from, upto).
bool Keeps(const ReplicaView& now, const ReplicaView& old, Offset upto) {
  if (now.leo < upto) return false;
  auto mine = now.batches.begin();
  for (const StoredBatch& batch : old.batches) {
    if (batch.base >= upto) break;
    if (batch.last < now.log_start) continue;
    while (mine != now.batches.end() && mine->last < batch.base) ++mine;
    if (mine == now.batches.end() || !mine->SameRecords(batch)) return false;
  }
  return true;
}

}  // namespace

void StorageInvariants::OnEnd(const NodeView& node, End how) {
  if (!node.has_broker) return;
  if (node.up) CheckEndAfterFailedSync(node);
  Disk& disk = disks_[node.id];
  for (auto it = disk.begin(); it != disk.end();) {
    const bool opened = node.up && node.replicas.contains(it->first);
    if (node.up && node.logs_recovered && !opened) {
      it = disk.erase(it);
      continue;
    }
    // A log that lay there unopened: only its page cache was left to lose.
    Left& left = it->second;
    if (!opened && left.how == End::kKilled) left.how = how;
    ++it;
  }
  if (!node.up) return;
  for (const auto& [tp, view] : node.replicas) {
    // One that failed has its files still: the next process finds what it had.
    if (view.corrupt) {
      disk.erase(tp);
    } else {
      // Who failed may have been used before: it is hosted no more.
      disk[tp] = {view, how, !view.hosted && !view.failed};
    }
  }
}

// Of several that fail the first says what may be durable.
void StorageInvariants::OnSyncFailed(const NodeView& node) {
  FailedSync& failed = sync_failed_[node.id];
  if (failed.life == node.life) return;
  failed = {node.life, {}};
  for (const auto& [tp, view] : node.replicas) {
    failed.durable[tp] = view.durable_leo;
  }
}

// A process that ends itself at once leaves no other moment to look.
void StorageInvariants::CheckEndAfterFailedSync(const NodeView& node) {
  const auto failed = sync_failed_.find(node.id);
  if (failed == sync_failed_.end() || failed->second.life != node.life) return;
  for (const auto& [tp, view] : node.replicas) {
    const auto was = failed->second.durable.find(tp);
    if (was == failed->second.durable.end()) continue;
    findings_.Check(Rule::kST4, view.durable_leo <= was->second, [&] {
      return StrCat(Where(node, tp, view), " ended with more than ",
                    was->second, " durable, where a sync had failed");
    });
  }
}

void StorageInvariants::OnChange(const NodeView& node,
                                 const ReplicaChange& change) {
  if (change.now == nullptr) {
    led_.erase({node.id, change.tp});
    return;
  }
  const ReplicaView& now = *change.now;
  if (now.state == replica::State::kLeading) {
    led_[{node.id, change.tp}].insert(now.leader_epoch);
  }
  if (change.before.has_value()) {
    const auto failed = sync_failed_.find(node.id);
    if (failed != sync_failed_.end() && failed->second.life == node.life) {
      findings_.Check(Rule::kST4,
                      now.durable_leo <= change.before->durable_leo, [&] {
                        return StrCat(Where(node, change.tp, now),
                                      " syncs again after a sync failed");
                      });
    }
    return;
  }
  const auto disk = disks_.find(node.id);
  if (disk == disks_.end() || now.failed) return;
  const auto left = disk->second.find(change.tp);
  if (left != disk->second.end()) {
    CheckFound(node, change.tp, now, left->second);
  }
}

void StorageInvariants::CheckFound(const NodeView& node,
                                   const TopicPartition& tp,
                                   const ReplicaView& now,
                                   const Left& left) {
  const ReplicaView& old = left.view;
  const End how = left.how;
  const auto text = [&] {
    return StrCat(Where(node, tp, now), " after ", NameOf(how), " of one with ",
                  Where(node, tp, old));
  };
  if (left.synced_by_recovery) {
    // Recovery syncs all that it keeps: twice is once (ST7).
    findings_.Check(Rule::kST7, now.leo == old.leo && Keeps(now, old, old.leo),
                    [&] { return StrCat(text(), ", which was recovered"); });
    return;
  }
  // A cut under way may be done or not; it never passes the high watermark.
  Offset promised = how == End::kPowerCut ? old.durable_leo : old.leo;
  if (old.cutting) promised = std::min(promised, old.high_watermark);
  findings_.Check(how == End::kPowerCut ? Rule::kST5 : Rule::kST8,
                  Keeps(now, old, promised), [&] {
                    return StrCat(text(), " lacks some of what lay below ",
                                  promised);
                  });
  findings_.Check(Rule::kST8,
                  !now.lossy || !old.promises_disk || old.lossy, [&] {
    return StrCat(text(), " takes itself for lossy");
  });
  if (!old.cutting) CheckEpochsLed(node, tp, now, old);
}

// RP10: the start of an epoch was durable before it was led.
void StorageInvariants::CheckEpochsLed(const NodeView& node,
                                       const TopicPartition& tp,
                                       const ReplicaView& now,
                                       const ReplicaView& old) {
  const auto led = led_.find({node.id, tp});
  if (led == led_.end()) return;
  for (const EpochStart& start : old.epochs) {
    if (!led->second.contains(start.epoch) || start.start > now.leo) continue;
    // A trim moves the start of the epoch in which the log begins; it may be
    // undone.
    const bool trimmed = start.start <= old.log_start;
    const bool known = std::any_of(
        now.epochs.begin(), now.epochs.end(), [&](const EpochStart& at) {
          return at == start || (trimmed && at.epoch == start.epoch &&
                                 at.start <= start.start);
        });
    findings_.Check(Rule::kRP10, known,
                    [&] {
                      return StrCat(Where(node, tp, now), ", epochs ",
                                    Text(now.epochs), ", forgot that epoch ",
                                    start.epoch, ", which it led, began at ",
                                    start.start, ": it knew ",
                                    Text(old.epochs), " with the log from ",
                                    old.log_start);
                    });
  }
}

// ST11: what metadata still wants here does not vanish.
void StorageInvariants::OnRecovered(const NodeView& node) {
  const auto disk = disks_.find(node.id);
  if (disk == disks_.end()) return;
  for (const auto& [tp, left] : disk->second) {
    const PartitionImage* state = cluster_.committed->FindPartition(tp);
    if (state == nullptr || !Contains(state->replicas, node.id) ||
        left.view.durable_leo <= left.view.log_start) {
      continue;
    }
    findings_.Check(Rule::kST11, node.replicas.contains(tp), [&] {
      return StrCat("replica ", node.id, " of ", tp.ToString(),
                    " with records up to ", left.view.leo,
                    " is gone after ", NameOf(left.how));
    });
  }
}

void StorageInvariants::OnReread(const NodeView& node, const TopicPartition& tp,
                                 const ReplicaView& view,
                                 const std::vector<StoredBatch>& batches) {
  // What is below the log start is not read any more.
  const auto first = std::find_if(
      view.batches.begin(), view.batches.end(),
      [&](const StoredBatch& batch) { return batch.last >= view.log_start; });
  const bool same = std::equal(
      batches.begin(), batches.end(), first, view.batches.end(),
      [](const StoredBatch& a, const StoredBatch& b) {
        return a.SameRecords(b) && a.crc_matches;
      });
  findings_.Check(Rule::kST1, same || view.failed, [&] {
    return StrCat(Where(node, tp, view), " does not read what was appended");
  });
}

}  // namespace sluice::check
