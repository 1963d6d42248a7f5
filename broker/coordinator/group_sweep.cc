// What goes by itself: offsets that expired, or whose topic is gone (GR8). And,
// when a coordinator takes over, the loading of groups that have members, so
// that those who died with it are missed. A little at a time.
#include <glog/logging.h>

#include <utility>

#include "broker/coordinator/group_coordinator.h"
#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"

namespace sluice::coordinator {

void GroupCoordinator::ScheduleSweep(int64_t delay_us) {
  deps_.executor->Cancel(sweep_timer_);
  sweep_timer_ = deps_.executor->PostAfter(delay_us, [this, alive = alive_,
                                                      epoch = serving_] {
    if (!*alive || closed_ || serving_ != epoch) return;
    sweep_timer_ = 0;
    if (sweeping_) {
      SweepOn();
    } else {
      BeginSweep();
    }
  });
}

void GroupCoordinator::BeginSweep() {
  if (sweeping_) {
    sweep_again_ = true;
    return;
  }
  sweeping_ = true;
  sweep_after_.clear();
  ScheduleSweep(0);
}

// Groups in order of name, some in each turn.
void GroupCoordinator::SweepOn() {
  std::vector<std::pair<std::string, std::string>> groups;
  const absl::Status scanned = view_.ScanGroups(
      sweep_after_, [&](const std::string& name, std::string_view record) {
        groups.emplace_back(name, std::string(record));
        return groups.size() < static_cast<size_t>(kGroupsPerSweepTurn);
      });
  if (!scanned.ok()) return ScheduleSweep(deps_.config.commit_timeout_us);
  const int64_t now_ms = deps_.clock->WallMillis();
  for (const auto& [name, record] : groups) {
    const absl::Status swept = SweepGroup(name, record, now_ms);
    if (!swept.ok()) {
      LOG(WARNING) << "offsets of group " << name
                   << " were not looked at for expiry: " << swept;
    }
    sweep_after_ = name;
  }
  if (!groups.empty()) return ScheduleSweep(0);
  sweeping_ = false;
  loads_ = false;
  const bool again = std::exchange(sweep_again_, false);
  ScheduleSweep(again ? 0 : deps_.config.sweep_every_us);
}

// A commit on its way into the log is newer than what is looked at here.
absl::Status GroupCoordinator::SweepGroup(const std::string& group,
                                          std::string_view record,
                                          int64_t now_ms) {
  ASSIGN_OR_RETURN(const StoredGroup stored, DecodeGroup(record));
  if (loads_ && !stored.image.members.empty() && !MUTANT(kDeadMembersKept)) {
    RETURN_IF_ERROR(FindKnown(group).status());
  }
  const auto loaded = groups_.find(group);
  offsets::GroupUse use;
  use.protocol_type = stored.image.protocol_type;
  use.empty = stored.image.state == group::GroupState::kEmpty;
  if (use.empty) use.empty_since_ms = stored.time_ms;
  if (loaded != groups_.end()) {
    const group::GroupCore& core = *loaded->second.core;
    use.protocol_type = core.protocol_type();
    use.empty = core.state() == group::GroupState::kEmpty;
    use.stable = core.state() == group::GroupState::kStable;
    use.subscribed_topics = core.SubscribedTopics();
  }
  std::vector<Change> gone;
  bool some_stay = HasInFlight(group);
  RETURN_IF_ERROR(view_.ScanOffsets(
      group, [&](const offsets::OffsetKey& key,
                 const offsets::CommittedOffset& committed) {
        const TopicImage* topic =
            replica_->image().FindTopic(key.partition.topic_id);
        offsets::OffsetUse offset;
        if (topic != nullptr) offset.topic = topic->name;
        offset.topic_exists = topic != nullptr;
        offset.committed_ms = committed.time_ms;
        const bool expired =
            offsets::IsExpired(deps_.config.expiry, use, offset,
                               deps_.config.retention_ms, now_ms);
        if (expired && !InFlight(key)) {
          gone.push_back(offsets::OffsetGone{key});
        } else {
          some_stay = true;
        }
        return gone.size() < kRemovalsPerBatch;
      }));
  if (gone.size() == kRemovalsPerBatch) some_stay = true;  // for all we know
  // Kafka's rule: an empty group goes with the last of its offsets.
  if (deps_.config.expiry == offsets::ExpiryRule::kByAge && use.empty &&
      !some_stay && !MUTANT(kExpiredGroupStays)) {
    ExpireGroup(group, static_cast<int64_t>(gone.size()));
    return absl::OkStatus();
  }
  if (gone.empty()) return absl::OkStatus();
  const auto count = static_cast<int64_t>(gone.size());
  LOG(INFO) << "group " << group << ": " << count
            << " committed offsets expire or are of topics that are gone";
  // What is refused is found again by the next sweep.
  AppendChanges(gone, now_us() + deps_.config.commit_timeout_us,
                [this, count](const absl::Status& status) {
                  if (status.ok()) deps_.counters->offsets_expired += count;
                });
  return absl::OkStatus();
}

// As if it were deleted: who joins or commits meanwhile keeps it.
void GroupCoordinator::ExpireGroup(const std::string& group, int64_t offsets) {
  LOG(INFO) << "group " << group << " has no members and its last " << offsets
            << " offsets expire; it goes with them";
  DeleteGroup(group, [this, alive = alive_, offsets](
                         const absl::StatusOr<v1::DeleteGroupResult>& result) {
    if (!*alive || !result.ok() || result->has_error()) return;
    deps_.counters->offsets_expired += offsets;
  });
}

}  // namespace sluice::coordinator
