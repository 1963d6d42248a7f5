// Whether all is as it should be once everything is healed.
#include <utility>

#include "broker/replicas.h"
#include "broker/shard.h"
#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "test/sim/fuzz_run.h"

namespace sluice::sim {
namespace {

bool IsOfDisk(const absl::Status& why) {
  return CodeOf(why) == ErrorCode::kStorageError ||
         CodeOf(why) == ErrorCode::kStorageFull;
}

}  // namespace

std::string FuzzRun::WhyNotConverged() {
  for (const auto& [id, node] : cluster_.nodes()) {
    if (node->life == nullptr) return StrCat("node ", id, " is down");
    if (node->broker != nullptr && !node->serving) {
      return StrCat("node ", id, " does not serve");
    }
  }
  const MetadataImage& newest = atlas_.NewestImage();
  for (const auto& [id, node] : cluster_.nodes()) {
    if (node->broker != nullptr &&
        node->broker->image()->offset() != newest.offset()) {
      return StrCat("broker ", id, " has metadata up to ",
                    node->broker->image()->offset().value(), " of ",
                    newest.offset().value());
    }
  }
  for (const auto& [topic_id, topic] : newest.topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      if (partition->leader == kNoNode ||
          partition->isr.size() != partition->replicas.size()) {
        return StrCat(topic->name, "-", index.value(), " has leader ",
                      partition->leader, " and ", partition->isr.size(),
                      " of ", partition->replicas.size(), " in sync");
      }
    }
  }
  if (!workload_->AllAnswered()) {
    return StrCat("not answered: ", workload_->Unanswered());
  }
  const std::string watched = workload_->WhyWatchedDiffers(newest);
  return watched.empty() ? WhyNotRead() : watched;
}

// The leader's; kNoOffset: nobody leads.
Offset FuzzRun::EndOf(const NamedPartition& tp) {
  const auto id = IdOf(tp);
  if (!id.has_value()) return kNoOffset;
  const NodeId leader = atlas_.NewestImage().FindPartition(*id)->leader;
  if (!cluster_.up(leader.value())) return kNoOffset;
  const Replicas& replicas = cluster_.at(leader.value()).broker->replicas();
  const Shard& shard = *replicas.shards()[replicas.IndexOf(*id)];
  const Partition* leading = shard.Find(*id);
  return leading == nullptr ? kNoOffset : leading->high_watermark();
}

// Who has read since the beginning has been given what there is.
std::string FuzzRun::WhyNotRead() {
  for (const NamedPartition& tp : workload_->partitions()) {
    const Offset end = EndOf(tp);
    if (end == kNoOffset) return StrCat("nobody leads ", tp);
    const std::string why = workload_->WhyNotRead(tp, end);
    if (!why.empty()) return why;
  }
  return workload_->WhyGroupsNotSettled(
      [this](const NamedPartition& tp) { return EndOf(tp); });
}

std::string FuzzRun::WhyReplicasDiffer() {
  for (const auto& [topic_id, topic] : atlas_.NewestImage().topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      const TopicPartition tp{topic_id, index};
      const auto want = cluster_.LogBytes(partition->leader.value(), tp);
      for (const NodeId id : partition->replicas) {
        const auto got = cluster_.LogBytes(id.value(), tp);
        if (got == want) continue;
        return StrCat("replica ", id, " of ", topic->name, "-", index.value(),
                      " has ", got.has_value() ? got->size() : 0,
                      " bytes, leader ", partition->leader, " ",
                      want.has_value() ? want->size() : 0);
      }
    }
  }
  return "";
}

void FuzzRun::CheckMetadata() {
  uint64_t want = 0;
  for (const auto& [id, node] : cluster_.nodes()) {
    if (node->broker == nullptr) continue;
    const uint64_t hash = MetaHash(*node->broker->image());
    if (want == 0) want = hash;
    if (hash != want) {
      Fail(StrCat("MD1: broker ", id, " has other metadata at the same offset"));
    }
  }
}

// Where no disk was ordered to fail no process has a reason to end itself, and
// where one was, that disk is the only one.
void FuzzRun::CheckEndings() {
  for (const auto& [id, node] : cluster_.nodes()) {
    for (size_t i = 0; i < node->fatal.size(); ++i) {
      const absl::Status& why = node->fatal[i];
      if (injector_.MayHaveEnded(id.value(), i) && IsOfDisk(why)) continue;
      Fail(StrCat("process ", id, " ended itself: ", why.ToString()));
    }
  }
}

}  // namespace sluice::sim
