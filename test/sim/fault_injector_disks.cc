// What the injector does to disks, and to the processes that end for it.
#include <algorithm>
#include <utility>

#include "common/base/invariant.h"
#include "common/base/str_cat.h"
#include "test/sim/fault_injector.h"

namespace sluice::sim {
namespace {

// Those of checkpoints of views make nothing untrue of a log.
int64_t FailedLogSyncs(const SimNode& machine) {
  return machine.fs.failed_sync_count() - machine.failed_view_syncs;
}

}  // namespace

// What is slow, hung and full at once is as bad as all of it together.
void FaultInjector::SetDisks(int node) {
  int64_t more_us = 0;
  bool hung = false;
  int64_t capacity = INT64_MAX;
  for (const auto& [id, fault] : disks_) {
    if (fault.node != node) continue;
    if (fault.kind == FaultKind::kSlowDisk) more_us += fault.amount;
    if (fault.kind == FaultKind::kHungDisk) hung = true;
    if (fault.kind == FaultKind::kFullDisk) {
      capacity = std::min(capacity, fault.amount);
    }
  }
  cluster_->SetDisks(node, more_us, hung);
  cluster_->at(node).fs.SetCapacity(capacity);
  cluster_->at(node).kv.SetFull(capacity < INT64_MAX);
}

std::optional<FaultInjector::Mend> FaultInjector::BeginDisk(
    const Fault& fault) {
  const int node = fault.node;
  switch (fault.kind) {
    case FaultKind::kFullDisk:
    case FaultKind::kSyncError:
    case FaultKind::kWriteError:
      return BeginFailingDisk(fault);
    case FaultKind::kSlowDisk:
    case FaultKind::kHungDisk: {
      const uint64_t id = next_++;
      disks_[id] = fault;
      SetDisks(node);
      return [this, node, id] {
        disks_.erase(id);
        SetDisks(node);
      };
    }
    default:
      return BeginBadDisk(fault);
  }
}

// A process may have to end itself for it, and is started again when it is
// over. What a failed sync has dropped looks well until the page cache goes: so
// that goes too, before the next process trusts it.
std::optional<FaultInjector::Mend> FaultInjector::BeginFailingDisk(
    const Fault& fault) {
  using Operation = MemFileSystem::Operation;
  const int node = fault.node;
  MemFileSystem& fs = cluster_->at(node).fs;
  const int count = fault.amount < 0 ? MemFileSystem::kForEver
                                     : static_cast<int>(fault.amount);
  const bool syncs = fault.kind == FaultKind::kSyncError;
  if (syncs) {
    if (!cluster_->up(node) || !atlas_->MayLosePower(node)) return std::nullopt;
    atlas_->OnPowerLoss(node);
  }
  BeginFailing(node).syncs_fail |= syncs;
  const uint64_t id = next_++;
  if (fault.kind == FaultKind::kFullDisk) {
    disks_[id] = fault;
    disks_[id].amount = fs.bytes();
    SetDisks(node);
    return [this, node, id] {
      disks_.erase(id);
      SetDisks(node);
      EndFailingDisk(node);
    };
  }
  // Of the Raft store each write is a sync too.
  MemKvStore& kv = cluster_->at(node).kv;
  const uint64_t broken = fs.BreakDisk(
      syncs ? Operation::kSyncAny : Operation::kWrite, count);
  const uint64_t broken_kv = kv.BreakDisk(MemKvStore::Operation::kWrite, count);
  return [this, node, &fs, broken, &kv, broken_kv] {
    fs.MendDisk(broken);
    kv.MendDisk(broken_kv);
    EndFailingDisk(node);
  };
}

FaultInjector::Failing& FaultInjector::BeginFailing(int node) {
  const SimNode& machine = cluster_->at(node);
  const int64_t failed_syncs = machine.fs.failed_sync_count();
  Failing& failing =
      failing_
          .try_emplace(node, Failing{0, machine.fatal.size(), false,
                                     failed_syncs, FailedLogSyncs(machine)})
          .first->second;
  ++failing.faults;
  return failing;
}

// Until Forget; a process whose disk answers nothing ends itself in the end.
void FaultInjector::Hang(int node) {
  BeginFailing(node);
  hanging_.insert(node);
  disks_[next_++] = {.kind = FaultKind::kHungDisk, .node = node};
  SetDisks(node);
}

void FaultInjector::EndFailingDisk(int node) {
  const auto found = failing_.find(node);
  if (found == failing_.end() || --found->second.faults > 0) return;
  const Failing was = found->second;
  failing_.erase(found);
  SimNode& machine = cluster_->at(node);
  for (size_t i = was.ended_before; i < machine.fatal.size(); ++i) {
    excused_.emplace(node, i);
  }
  if (machine.fs.failed_sync_count() != was.failed_syncs_before) {
    atlas_->OnPowerLoss(node);
    cluster_->PowerCut(node);
  }
  BootAgain(node)();
}

bool FaultInjector::HasFailedSync(NodeId node) {
  if (failing_.empty()) return false;
  const auto found = failing_.find(node.value());
  if (found == failing_.end() || !found->second.syncs_fail) return false;
  const int64_t now = FailedLogSyncs(cluster_->at(node.value()));
  return std::exchange(found->second.failed_syncs_told, now) != now;
}

bool FaultInjector::IsLying(int node) const {
  const auto found = failing_.find(node);
  return found != failing_.end() && found->second.syncs_fail;
}

// Where syncs fail the page cache goes in the end, which has to wait for the
// marks here. In memory mode there are none for long.
std::optional<FaultInjector::Mend> FaultInjector::BeginMisdirection(
    const Fault& fault) {
  const NodeId node(fault.node);
  std::vector<TopicPartition> of = atlas_->MayDamage(fault.node);
  const MetadataImage& newest = atlas_->NewestImage();
  std::erase_if(of, [&](const TopicPartition& tp) {
    const TopicImage& topic = *newest.FindTopic(tp.topic_id);
    return !cluster_->configs().PromisesDisk(topic, *topic.Find(tp.partition));
  });
  if (of.empty() || !cluster_->up(fault.node) ||
      failing_.contains(fault.node) || !atlas_->lies().MayLosePower(node)) {
    return std::nullopt;
  }
  const TopicPartition tp = of[random_.Below(of.size())];
  atlas_->lies().Misdirect(node, tp, /*evicted=*/random_.OneIn(2));
  log_(StrCat("the next write to ", tp.ToString(), " goes astray"));
  return [this, node] { atlas_->lies().EndMisdirection(node); };
}

std::optional<FaultInjector::Mend> FaultInjector::BeginReadErrors(
    const Fault& fault) {
  const int node = fault.node;
  if (!atlas_->MayBeUnreadable(node)) return std::nullopt;
  const int count = fault.amount < 0 ? MemFileSystem::kForEver
                                     : static_cast<int>(fault.amount);
  SimNode& machine = cluster_->at(node);
  BeginFailing(node);
  atlas_->lies().BeginUnreadable(NodeId(node));
  ++unreadable_[node];
  const uint64_t id =
      machine.fs.BreakDisk(MemFileSystem::Operation::kRead, count);
  const uint64_t id_kv =
      machine.kv.BreakDisk(MemKvStore::Operation::kRead, count);
  return [this, node, &machine, id, id_kv] {
    machine.fs.MendDisk(id);
    machine.kv.MendDisk(id_kv);
    if (--unreadable_[node] == 0) EndUnreadable(node);
    EndFailingDisk(node);
  };
}

void FaultInjector::EndUnreadable(int node) {
  unreadable_.erase(node);
  atlas_->lies().EndUnreadable(NodeId(node), atlas_->NewestImage());
}

std::optional<FaultInjector::Mend> FaultInjector::BeginBadDisk(
    const Fault& fault) {
  DiskLies& lies = atlas_->lies();
  switch (fault.kind) {
    case FaultKind::kBitFlip: {
      const auto flipped =
          lies.FlipBit(NodeId(fault.node), atlas_->MayDamage(fault.node), random_);
      if (!flipped.has_value()) return std::nullopt;
      log_(StrCat("a bit of ", flipped->ToString(), " flips"));
      return Mend();
    }
    case FaultKind::kMisdirectedWrite:
      return BeginMisdirection(fault);
    case FaultKind::kReadError:
      return BeginReadErrors(fault);
    default:
      INVARIANT(false, "no fault of disks: ", NameOf(fault.kind));
  }
}

}  // namespace sluice::sim
