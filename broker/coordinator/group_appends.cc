// From a group's changes to the log and, behind that, to the view.
#include <utility>

#include "broker/coordinator/group_coordinator.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice::coordinator {

// `done`: OK once the view has it; else nothing of it is in the log, or nobody
// knows (AppendOutcome).
void GroupCoordinator::AppendChanges(
    const std::vector<Change>& changes, int64_t deadline_us,
    absl::AnyInvocable<void(absl::Status)> done) {
  auto batch = BuildBatch(changes, deps_.clock->WallMillis());
  if (!batch.ok()) return done(batch.status());
  const uint64_t id = next_append_++;
  Append& append = appends_[id];
  append.done = std::move(done);
  append.bytes = static_cast<int64_t>(batch->size());
  for (const Change& change : changes) {
    if (const auto* put = std::get_if<offsets::OffsetPut>(&change)) {
      append.keys.push_back(put->key);
      ++in_flight_[put->key];
    } else if (const auto* gone = std::get_if<offsets::OffsetGone>(&change)) {
      lag_windows_.Forget(gone->key);
    }
  }
  pending_bytes_ += append.bytes;
  AppendRequest request;
  request.batches = *std::move(batch);
  request.acks = api::Acks::kAll;
  request.deadline_us = deadline_us;
  request.leader_epoch = serving_;
  replica_->AppendOwn(std::move(request),
                      [this, alive = alive_, id](AppendOutcome outcome) {
                        if (*alive) OnAppended(id, outcome);
                      });
}

void GroupCoordinator::OnAppended(uint64_t id, const AppendOutcome& outcome) {
  if (!appends_.contains(id)) return;  // given up with the leadership
  if (!outcome.error.ok()) {
    return FinishAppend(
        id, MakeErrorStatus(outcome.error.code, outcome.error.message));
  }
  deps_.counters->appended_bytes += appends_.at(id).bytes;
  const Offset last = outcome.base_offset + (outcome.record_count - 1);
  if (offsets::IsVisible(view_.applied(), last) ||
      MUTANT(kCommitToldUnseen)) {
    return FinishAppend(id, absl::OkStatus());
  }
  committed_.emplace(last, id);
}

void GroupCoordinator::FinishAppend(uint64_t id, const absl::Status& status) {
  const auto found = appends_.find(id);
  if (found == appends_.end()) return;
  Append append = std::move(found->second);
  appends_.erase(found);
  pending_bytes_ -= append.bytes;
  for (const offsets::OffsetKey& key : append.keys) {
    const auto count = in_flight_.find(key);
    if (--count->second == 0) in_flight_.erase(count);
  }
  append.done(status);
}

void GroupCoordinator::FinishVisible() {
  while (!committed_.empty() &&
         offsets::IsVisible(view_.applied(), committed_.begin()->first)) {
    const uint64_t id = committed_.begin()->second;
    committed_.erase(committed_.begin());
    FinishAppend(id, absl::OkStatus());
  }
}

}  // namespace sluice::coordinator
