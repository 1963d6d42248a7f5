#include "broker/coordinator/group_coordinator.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"

namespace sluice::coordinator {

GroupCoordinator::GroupCoordinator(Deps deps)
    : deps_(std::move(deps)),
      random_(deps_.random_seed),
      view_({.executor = deps_.executor,
             .clock = deps_.clock,
             .store = deps_.store,
             .tp = deps_.tp,
             .name = deps_.name,
             .on_moved = [this] { OnViewMoved(); }}) {
  view_.Bind(*deps_.epochs, deps_.leo);
}

GroupCoordinator::~GroupCoordinator() {
  *alive_ = false;
  deps_.executor->Cancel(timer_);
  deps_.executor->Cancel(sweep_timer_);
  deps_.on_destroyed();
}

Offset GroupCoordinator::RestartHighWatermark(Offset recovered) {
  return offsets::RestartHighWatermark(recovered, view_.applied());
}

// ---- Who answers ----

Refusal GroupCoordinator::RefuseHere(ErrorCode code,
                                     const std::string& why) const {
  return {MakeError(code, "broker ", deps_.self, " and ", deps_.name, ": ",
                    why),
          replica_ == nullptr ? api::LeaderHint() : replica_->leader_hint()};
}

std::optional<Refusal> GroupCoordinator::CheckServes() const {
  if (closed_ || replica_ == nullptr || !replica_->serves_as_leader()) {
    return RefuseHere(ErrorCode::kNotCoordinator,
                      "it does not lead the partition; find the coordinator "
                      "again");
  }
  if (!view_.stopped().empty()) {
    return RefuseHere(ErrorCode::kCoordinatorNotAvailable,
                      "the log holds what this version cannot read: " +
                          view_.stopped());
  }
  if (serving_ != replica_->leader_epoch() || !view_.usable() ||
      (view_.applied().next < shown_ && !MUTANT(kHalfReplayShown)) ||
      !offsets::MayServe(true, replica_->high_watermark(),
                         replica_->epoch_start(), view_.applied())) {
    return RefuseHere(ErrorCode::kCoordinatorLoadInProgress,
                      StrCat("it has not caught up, its view is at ",
                             view_.applied().next, "; try again"));
  }
  return std::nullopt;
}

void GroupCoordinator::OnProgress() {
  if (closed_ || replica_ == nullptr) return;
  const bool leads = replica_->serves_as_leader();
  if (serving_ != kNoLeaderEpoch &&
      (!leads || serving_ != replica_->leader_epoch())) {
    Resign();
  }
  view_.Follow(*replica_);
  if (closed_ || serving_ != kNoLeaderEpoch ||
      !replica_->serves_as_leader() || !view_.usable()) {
    return;
  }
  if (offsets::MayServe(true, replica_->high_watermark(),
                        replica_->epoch_start(), view_.applied())) {
    TakeOver();
  }
}

// A view that is replayed within an epoch must come as far again as it was
// (GR6).
void GroupCoordinator::OnViewMoved() {
  if (serving_ != kNoLeaderEpoch) {
    shown_ = std::max(shown_, view_.applied().next);
  }
  FinishVisible();
}

void GroupCoordinator::TakeOver() {
  serving_ = replica_->leader_epoch();
  shown_ = view_.applied().next;
  VLOG(1) << "broker " << deps_.self << " coordinates the groups of "
          << deps_.name << " in epoch " << serving_ << ", applied up to "
          << view_.applied().next;
  loads_ = true;
  sweep_again_ = false;
  BeginSweep();
  if (deps_.on_watch) deps_.on_watch();
}

// Nothing of what was asked here is answered any more but with "elsewhere".
void GroupCoordinator::Resign() {
  serving_ = kNoLeaderEpoch;
  // What was checked in this epoch is not appended in another (GR1).
  Gathered gathered;
  if (!MUTANT(kGatheredOutlivesLead)) std::swap(gathered, gathered_);
  sweeping_ = false;
  loads_ = false;
  deps_.executor->Cancel(std::exchange(sweep_timer_, 0));
  due_.clear();
  std::vector<std::string> names;
  for (const auto& [name, loaded] : groups_) names.push_back(name);
  for (const std::string& name : names) StepGroup(name, group::Resign{});
  INVARIANT(stepping_ || groups_.empty(), deps_.name, ": ", groups_.size(),
            " groups are left behind");
  committed_.clear();
  lag_windows_.Clear();
  std::vector<uint64_t> appends;
  for (const auto& [id, append] : appends_) appends.push_back(id);
  for (const uint64_t id : appends) {
    FinishAppend(id, MakeError(ErrorCode::kNotLeader, deps_.name,
                               " is led elsewhere; the outcome is unknown"));
  }
  FinishParts(std::move(gathered.parts),
              MakeError(ErrorCode::kNotLeader, deps_.name,
                        " is led elsewhere; nothing was stored"));
}

void GroupCoordinator::OnClosed() {
  closed_ = true;
  view_.Close();
  Resign();
}

void GroupCoordinator::OnTopicsRemoved() {
  if (serving_ != kNoLeaderEpoch) BeginSweep();
}

// ---- Groups ----

// The member and generation rules need the group as it is now: from the log,
// or a new one.
absl::StatusOr<group::GroupCore*> GroupCoordinator::Load(
    const std::string& group) {
  ASSIGN_OR_RETURN(group::GroupCore* known, FindKnown(group));
  if (known != nullptr) return known;
  if (groups_.size() >= deps_.config.groups_max) {
    return MakeError(ErrorCode::kBusy, "broker ", deps_.self, " has ",
                     groups_.size(), " groups of ", deps_.name,
                     " at work, the most there may be; try again later");
  }
  Loaded& loaded = groups_[group];
  loaded.core = std::make_unique<group::GroupCore>(
      group::GroupCore::Deps{group, deps_.config.group, &random_});
  return loaded.core.get();
}

absl::StatusOr<group::GroupCore*> GroupCoordinator::FindKnown(
    const std::string& group) {
  const auto found = groups_.find(group);
  if (found != groups_.end()) return found->second.core.get();
  ASSIGN_OR_RETURN(const auto record, view_.FindGroup(group));
  if (!record.has_value()) return static_cast<group::GroupCore*>(nullptr);
  ASSIGN_OR_RETURN(const StoredGroup stored, DecodeGroup(*record));
  if (groups_.size() >= deps_.config.groups_max) {
    return MakeError(ErrorCode::kBusy, "broker ", deps_.self, " has ",
                     groups_.size(), " groups of ", deps_.name,
                     " at work, the most there may be; try again later");
  }
  Loaded& loaded = groups_[group];
  loaded.core = std::make_unique<group::GroupCore>(
      group::GroupCore::Deps{group, deps_.config.group, &random_},
      stored.image, now_us());
  group::GroupCore* core = loaded.core.get();
  AfterStep(group);
  return groups_.contains(group) ? core : nullptr;
}

// An event at a time, its actions in order before the next; what a step causes
// comes behind it.
void GroupCoordinator::StepGroup(const std::string& group,
                                 group::Event event) {
  due_.push_back({group, std::move(event)});
  if (!stepping_) RunSteps();
}

void GroupCoordinator::RunSteps() {
  stepping_ = true;
  while (!due_.empty()) {
    const Due due = std::move(due_.front());
    due_.pop_front();
    const auto found = groups_.find(due.group);
    if (found == groups_.end()) continue;  // let go of meanwhile
    for (group::Action& action : found->second.core->Step(due.event)) {
      Carry(due.group, action);
    }
    AfterStep(due.group);
    LetGo(due.group);
  }
  stepping_ = false;
}

void GroupCoordinator::Carry(const std::string& group, group::Action& action) {
  struct Carrier {
    GroupCoordinator* self;
    const std::string& group;

    void operator()(group::AnswerJoin& a) const { self->Answer(a); }
    void operator()(group::AnswerSync& a) const { self->Answer(a); }
    void operator()(group::AnswerHeartbeat& a) const { self->Answer(a); }
    void operator()(group::AnswerLeave& a) const { self->Answer(a); }
    void operator()(group::AnswerDelete& a) const { self->Answer(a); }
    void operator()(group::WriteGroup& a) const {
      self->WriteGroup(group, std::move(a));
    }
    void operator()(group::RebalanceBegan& a) const {
      ++self->deps_.counters->rebalances;
      LOG(INFO) << "group " << group << " rebalances, generation "
                << a.generation << " ends: " << a.why;
    }
    void operator()(group::GenerationStable& a) const {
      LOG(INFO) << "group " << group << " is stable in generation "
                << a.generation << " with " << a.members << " members";
    }
    void operator()(group::MemberRemoved& a) const {
      ++self->deps_.counters->members_removed;
      LOG(INFO) << "group " << group << ": member " << a.member
                << " is removed: " << a.why;
    }
  };
  std::visit(Carrier{this, group}, action);
}

void GroupCoordinator::AfterStep(const std::string& group) {
  const auto found = groups_.find(group);
  if (found == groups_.end()) return;
  Loaded& loaded = found->second;
  const int64_t deadline_us = loaded.core->NextDeadlineUs();
  if (deadline_us == loaded.deadline_us) return;
  if (loaded.deadline_us != group::kNever) {
    deadlines_.erase({loaded.deadline_us, group});
  }
  loaded.deadline_us = deadline_us;
  if (deadline_us != group::kNever) deadlines_.emplace(deadline_us, group);
  SetTimer();
}

// Nothing is known of it that the log does not have.
void GroupCoordinator::LetGo(const std::string& group) {
  const auto found = groups_.find(group);
  if (found == groups_.end()) return;
  const group::GroupCore& core = *found->second.core;
  const bool over = core.state() == group::GroupState::kDead ||
                    (core.state() == group::GroupState::kEmpty &&
                     core.member_count() == 0 &&
                     core.pending_member_count() == 0);
  if (!over || core.writes_under_way() > 0) return;
  deadlines_.erase({found->second.deadline_us, group});
  groups_.erase(found);
}

// ---- Time ----

void GroupCoordinator::SetTimer() {
  const int64_t next_us =
      deadlines_.empty() ? group::kNever : deadlines_.begin()->first;
  if (next_us >= timer_at_us_) return;  // it looks again then
  deps_.executor->Cancel(timer_);
  timer_at_us_ = next_us;
  timer_ = deps_.executor->PostAfter(
      std::max<int64_t>(next_us - now_us(), 0), [this, alive = alive_] {
        if (*alive) OnTimer();
      });
}

void GroupCoordinator::OnTimer() {
  timer_ = 0;
  timer_at_us_ = group::kNever;
  const int64_t now = now_us();
  std::vector<std::string> late;
  for (const auto& [deadline_us, group] : deadlines_) {
    if (deadline_us > now) break;
    late.push_back(group);
  }
  for (const std::string& group : late) StepGroup(group, group::Tick{now});
  SetTimer();
}

// ---- The log ----

// Who does not know what became of a write says nothing: leadership is over,
// and Resign follows.
void GroupCoordinator::WriteGroup(const std::string& group,
                                  group::WriteGroup write) {
  const auto written = [this, group, id = write.write](absl::Status status) {
    const ErrorCode code = CodeOf(status);
    if (code == ErrorCode::kNotLeader ||
        code == ErrorCode::kFencedLeaderEpoch ||
        code == ErrorCode::kShuttingDown ||
        code == ErrorCode::kReplicaFailed) {
      return;
    }
    OnWritten(group, id, std::move(status));
  };
  groups_.at(group).writes[write.write] = std::nullopt;
  if (write.image.has_value()) {
    const StoredGroup stored{*std::move(write.image),
                             deps_.clock->WallMillis()};
    return AppendChanges({offsets::GroupPut{group, EncodeGroup(stored)}},
                         INT64_MAX, written);
  }
  const auto removal = RemovalOf(group);
  if (!removal.ok()) return written(removal.status());
  // The group itself comes last: what a crash leaves of it can be deleted
  // again.
  for (size_t from = 0; from < removal->size(); from += kRemovalsPerBatch) {
    const size_t end = std::min(from + kRemovalsPerBatch, removal->size());
    const std::vector<Change> piece(removal->begin() + from,
                                    removal->begin() + end);
    if (end == removal->size()) {
      AppendChanges(piece, INT64_MAX, written);
    } else {
      AppendChanges(piece, INT64_MAX, [](const absl::Status&) {});
    }
  }
}

// A write that is refused at once ends before one that is in the log and waits
// for followers: the core hears of them in their order.
void GroupCoordinator::OnWritten(const std::string& group,
                                 group::WriteId write, absl::Status status) {
  auto loaded = groups_.find(group);
  if (loaded == groups_.end()) return;
  const auto own = loaded->second.writes.find(write);
  if (own == loaded->second.writes.end()) return;
  own->second = std::move(status);
  if (MUTANT(kWritesToldUnordered)) {
    const group::Written told{write, *own->second, now_us()};
    loaded->second.writes.erase(own);
    return StepGroup(group, told);
  }
  while (loaded != groups_.end() && !loaded->second.writes.empty() &&
         loaded->second.writes.begin()->second.has_value()) {
    const auto first = loaded->second.writes.begin();
    group::Written told{first->first, *std::move(first->second), now_us()};
    loaded->second.writes.erase(first);
    StepGroup(group, std::move(told));
    loaded = groups_.find(group);
  }
}

// Its offsets, those on their way into the log too, and itself.
absl::StatusOr<std::vector<Change>> GroupCoordinator::RemovalOf(
    const std::string& group) {
  std::set<offsets::OffsetKey> keys;
  RETURN_IF_ERROR(view_.ScanOffsets(
      group, [&](const offsets::OffsetKey& key,
                 const offsets::CommittedOffset&) {
        keys.insert(key);
        return true;
      }));
  for (auto it = in_flight_.lower_bound({group, TopicPartition()});
       it != in_flight_.end() && it->first.group == group &&
       !MUTANT(kDeletedGroupLeavesCommits);
       ++it) {
    keys.insert(it->first);
  }
  std::vector<Change> changes;
  for (const offsets::OffsetKey& key : keys) {
    changes.push_back(offsets::OffsetGone{key});
  }
  changes.push_back(offsets::GroupGone{group});
  return changes;
}

}  // namespace sluice::coordinator
