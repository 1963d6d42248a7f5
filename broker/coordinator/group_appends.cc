// From a group's changes to the log and, behind that, to the view.
#include <algorithm>
#include <iterator>
#include <utility>

#include "broker/coordinator/group_coordinator.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice::coordinator {

namespace {

constexpr int64_t kRecordBytesAbout = 128;  // without texts

int64_t BytesAbout(const Change& change) {
  if (const auto* put = std::get_if<offsets::OffsetPut>(&change)) {
    return kRecordBytesAbout +
           static_cast<int64_t>(put->key.group.size() +
                                put->committed.member.size() +
                                put->committed.metadata.value_or("").size());
  }
  if (const auto* group = std::get_if<offsets::GroupPut>(&change)) {
    return kRecordBytesAbout + static_cast<int64_t>(group->record.size());
  }
  return kRecordBytesAbout;
}

}  // namespace

// `done`: OK once the view has it; else nothing of it is in the log, or nobody
// knows (AppendOutcome).
//
// Commits that come while kCommitAppendsMax batches of others are on their way
// are the next batch together: a batch costs every replica an append, a sync
// and a step of its view, however many records it has. The log has changes in
// the order of these calls, so what was checked before a call still holds
// where it lies (GR1); a group's record takes along what was gathered.
void GroupCoordinator::AppendChanges(
    std::vector<Change> changes, int64_t deadline_us,
    absl::AnyInvocable<void(absl::Status)> done) {
  Part part;
  part.done = std::move(done);
  for (const Change& change : changes) {
    part.bytes += BytesAbout(change);
    if (const auto* put = std::get_if<offsets::OffsetPut>(&change)) {
      part.keys.push_back(put->key);
      ++in_flight_[put->key];
    } else if (const auto* gone = std::get_if<offsets::OffsetGone>(&change)) {
      lag_windows_.Forget(gone->key);
    }
  }
  pending_bytes_ += part.bytes;
  ++parts_waiting_;
  const bool commits = deadline_us != INT64_MAX;
  if (!commits || gathered_.bytes + part.bytes > kGatheredBytesMax) {
    AppendGathered();
  }
  gathered_.bytes += part.bytes;
  gathered_.deadline_us = std::min(gathered_.deadline_us, deadline_us);
  gathered_.parts.push_back(std::move(part));
  std::move(changes.begin(), changes.end(),
            std::back_inserter(gathered_.changes));
  if (!commits || commit_appends_ < kCommitAppendsMax) AppendGathered();
}

void GroupCoordinator::AppendGathered() {
  if (!gathered_.parts.empty()) AppendNow(std::exchange(gathered_, {}));
}

void GroupCoordinator::AppendNow(Gathered what) {
  auto batch = BuildBatch(what.changes, deps_.clock->WallMillis());
  if (!batch.ok()) return FinishParts(std::move(what.parts), batch.status());
  const auto bytes = static_cast<int64_t>(batch->size());
  const uint64_t id = next_append_++;
  Append& append = appends_[id];
  append.parts = std::move(what.parts);
  append.holds_back = what.deadline_us != INT64_MAX;
  if (append.holds_back) ++commit_appends_;
  AppendRequest request;
  request.batches = *std::move(batch);
  request.acks = api::Acks::kAll;
  request.deadline_us = what.deadline_us;
  request.leader_epoch = serving_;
  replica_->AppendOwn(
      std::move(request),
      [this, alive = alive_, id, bytes](AppendOutcome outcome) {
        if (!*alive) return;
        if (outcome.error.ok()) deps_.counters->appended_bytes += bytes;
        OnAppended(id, outcome);
      });
}

void GroupCoordinator::OnAppended(uint64_t id, const AppendOutcome& outcome) {
  const auto found = appends_.find(id);
  if (found == appends_.end()) return;  // given up with the leadership
  LetNextAppend(found->second);
  if (!outcome.error.ok()) {
    return FinishAppend(
        id, MakeErrorStatus(outcome.error.code, outcome.error.message));
  }
  const Offset last = outcome.base_offset + (outcome.record_count - 1);
  if (offsets::IsVisible(view_.applied(), last) ||
      MUTANT(kCommitToldUnseen)) {
    return FinishAppend(id, absl::OkStatus());
  }
  committed_.emplace(last, id);
}

void GroupCoordinator::LetNextAppend(Append& append) {
  if (!std::exchange(append.holds_back, false)) return;
  --commit_appends_;
  AppendGathered();
}

void GroupCoordinator::FinishAppend(uint64_t id, const absl::Status& status) {
  const auto found = appends_.find(id);
  if (found == appends_.end()) return;
  Append append = std::move(found->second);
  appends_.erase(found);
  if (append.holds_back) --commit_appends_;  // with the leadership
  FinishParts(std::move(append.parts), status);
}

void GroupCoordinator::FinishParts(std::vector<Part> parts,
                                   const absl::Status& status) {
  for (Part& part : parts) {
    pending_bytes_ -= part.bytes;
    --parts_waiting_;
    for (const offsets::OffsetKey& key : part.keys) {
      const auto count = in_flight_.find(key);
      if (--count->second == 0) in_flight_.erase(count);
    }
  }
  for (Part& part : parts) part.done(status);
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
