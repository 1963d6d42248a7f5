// What disks do wrong.
#include <algorithm>

#include "common/base/str_cat.h"
#include "storage/batch_header.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {

void Scenario::HangDisk(int node) {
  Note(StrCat("the disk of ", node, " hangs"));
  sim().SetDisks(node, 0, /*hung=*/true);
}

void Scenario::FreeDisk(int node) {
  Note(StrCat("the disk of ", node, " answers"));
  sim().SetDisks(node, 0, /*hung=*/false);
}

void Scenario::FlipBit(int node, const Tp& tp, int64_t offset, Where where) {
  MemFileSystem& fs = sim().at(node).fs;
  for (const std::string& file : sim().LogFiles(node, IdOf(tp, where))) {
    const std::string bytes = fs.Peek(file).value_or("");
    BatchCursor cursor(bytes);
    int64_t at = 0;
    for (auto batch = cursor.Next(); batch.ok() && batch->has_value();
         batch = cursor.Next()) {
      at += static_cast<int64_t>((*batch)->bytes().size());
      if ((*batch)->header().next_offset() <= Offset(offset)) continue;
      Note(StrCat("a bit of the record at ", offset, " flips at ", node));
      lies_.emplace(NodeId(node), IdOf(tp, where));
      return fs.FlipBit(file, at - 1);
    }
  }
  Fail(StrCat("node ", node, " has no record at ", offset), where);
}

void Scenario::MisdirectWrite(int node) {
  Note(StrCat("the next write at ", node, " goes astray"));
  MayBeSetAside(node);
  sim().at(node).fs.MisdirectNextWrite();
}

void Scenario::MayBeSetAside(int node) {
  lies_.emplace(NodeId(node), std::nullopt);
}

void Scenario::BreakDisk(int node, Operation operation, int count) {
  Note(StrCat("the disk of ", node, " fails"));
  if (operation == Operation::kSyncAny) {
    failed_syncs_[node] = sim().at(node).fs.failed_sync_count();
  }
  sim().at(node).fs.BreakDisk(operation, count);
}

void Scenario::FillDisk(int node) {
  Note(StrCat("the disk of ", node, " is full"));
  sim().at(node).fs.SetCapacity(sim().at(node).fs.bytes());
}

void Scenario::MendDisk(int node) {
  Note(StrCat("the disk of ", node, " works"));
  sim().at(node).fs.ClearFaults();
  sim().at(node).fs.SetCapacity(INT64_MAX);
}

void Scenario::UntilDead(int node, int64_t limit_ms, Where where) {
  MayFail(node);
  Until(StrCat("process ", node, " ends itself"), [this, node] {
    return !sim().up(node) && !sim().at(node).fatal.empty();
  }, limit_ms, where);
}

bool Scenario::IsCorrupt(int node, const Tp& tp) {
  const replica::ReplicaCore* core = FindCore(node, tp);
  return core != nullptr && core->state() == replica::State::kFailed;
}

// Another process does not answer for those of the last.
void Scenario::ForgetFailedSyncs(int node) {
  const auto known = failed_syncs_.find(node);
  if (known == failed_syncs_.end()) return;
  known->second = sim().at(node).fs.failed_sync_count();
}

// ST4: what the node calls durable from here on is no more than before.
void Scenario::TellOfFailedSyncs(NodeId ran) {
  const auto known = failed_syncs_.find(ran.value());
  if (known == failed_syncs_.end()) return;
  const int64_t now = sim().at(ran.value()).fs.failed_sync_count();
  if (now == known->second) return;
  known->second = now;
  checks_.OnSyncFailed(ran);
}

}  // namespace sluice::scenario
