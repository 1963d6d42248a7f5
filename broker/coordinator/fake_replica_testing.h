// A replica of __consumer_offsets without a shard: its log is a list of
// batches, and the test says who leads and how much is committed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/coordinator/group_log.h"
#include "broker/replica_observer.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/str_cat.h"
#include "controller/metadata/image.h"

namespace sluice::coordinator {

class FakeReplica final : public ObservedReplica {
 public:
  // ---- The log ----
  struct Batch {
    Offset base;
    Offset next;
    LeaderEpoch epoch;
    std::string bytes;
  };

  // As its leader would.
  Offset Put(const std::vector<Change>& changes, int32_t epoch) {
    auto batch = BuildBatch(changes, 1'000);
    INVARIANT(batch.ok(), batch.status().ToString());
    return Store(*std::move(batch), LeaderEpoch(epoch));
  }
  Offset Store(MutableBuffer batch, LeaderEpoch epoch) {
    const Offset base = leo_;
    const auto next = AssignOffsets(batch, base, epoch);
    INVARIANT(next.ok(), next.status().ToString());
    epochs_.Assign(epoch, base);
    leo_ = *next;
    log_.push_back({base, *next, epoch, std::string(batch.view())});
    return base;
  }
  void CutTo(Offset target) {
    if (observer != nullptr) observer->OnCut(target);
    ++cuts_;
    while (!log_.empty() && log_.back().next > target) {
      leo_ = log_.back().base;
      log_.pop_back();
    }
    epochs_.TruncateTo(leo_);
    hw = std::min(hw, leo_);
    durable = std::min(durable, leo_);
  }
  // All of it.
  void Commit() { CommitTo(leo_); }
  void CommitTo(Offset offset) {
    hw = durable = offset;
    auto waiting = std::exchange(waiting_, {});
    for (auto& [next, append] : waiting) {
      if (next <= hw) {
        append.second(append.first);
      } else {
        waiting_.emplace_back(next, std::move(append));
      }
    }
    Progress();
  }
  void Progress() {
    if (observer != nullptr) observer->OnProgress();
  }
  // Whoever waits for the high watermark hears that nobody knows.
  void Interrupt() {
    for (auto& [next, append] : std::exchange(waiting_, {})) {
      AppendOutcome outcome;
      outcome.error = api::ItemError(ErrorCode::kNotLeader, "moved");
      append.second(outcome);
    }
  }
  const std::deque<Batch>& log() const { return log_; }
  size_t waiting() const { return waiting_.size(); }

  // ---- What the test says ----
  ReplicaObserver* observer = nullptr;
  Executor* executor = nullptr;  // set: reads answer later
  std::shared_ptr<const MetadataImage> metadata = MetadataImage::Empty();
  Offset hw;
  Offset start;  // of the log
  Offset lowest_read{INT64_MAX};  // that anybody asked for
  Offset durable;
  bool leads = false;
  LeaderEpoch epoch{0};
  Offset leso;
  bool commits_at_once = false;
  ErrorCode refuses = ErrorCode::kNone;  // appends

  // ---- ObservedReplica ----
  Offset log_start() const override { return start; }
  Offset leo() const override { return leo_; }
  Offset durable_leo() const override { return durable; }
  Offset high_watermark() const override { return hw; }
  const EpochHistory& epochs() const override { return epochs_; }
  const MetadataImage& image() const override { return *metadata; }
  LeaderEpoch leader_epoch() const override { return epoch; }
  bool serves_as_leader() const override { return leads; }
  Offset epoch_start() const override { return leso; }
  api::LeaderHint leader_hint() const override {
    api::LeaderHint hint;
    hint.leader_id = NodeId(9);
    hint.endpoint = {"nine", 9009};
    return hint;
  }
  void ReadLog(Offset from, Offset upto, int64_t bytes_max,
               absl::AnyInvocable<void(absl::StatusOr<ReadResult>)> done)
      override {
    lowest_read = std::min(lowest_read, from);
    if (executor == nullptr) return done(Read(from, upto, bytes_max));
    executor->Post([this, from, upto, bytes_max, cuts = cuts_,
                    done = std::move(done)]() mutable {
      if (cuts != cuts_) {
        return done(MakeError(ErrorCode::kNotLeader, "the log was cut"));
      }
      done(Read(from, upto, bytes_max));
    });
  }
  void AppendOwn(AppendRequest request,
                 absl::AnyInvocable<void(AppendOutcome)> done) override {
    AppendOutcome outcome;
    if (refuses != ErrorCode::kNone) {
      outcome.error = api::ItemError(refuses, "as the test says");
      return done(std::move(outcome));
    }
    if (!leads || request.leader_epoch != epoch) {
      outcome.error = api::ItemError(ErrorCode::kNotLeader, "not in that epoch");
      return done(std::move(outcome));
    }
    const auto view = BatchView::Parse(request.batches.view());
    INVARIANT(view.ok(), view.status().ToString());
    outcome.record_count = view->header().record_count;
    outcome.base_offset = Store(std::move(request.batches), epoch);
    waiting_.emplace_back(leo_, std::pair(outcome, std::move(done)));
    if (commits_at_once) Commit();
  }

 private:
  absl::StatusOr<ReadResult> Read(Offset from, Offset upto,
                                  int64_t bytes_max) const {
    std::string bytes;
    ReadResult result;
    result.base = kNoOffset;
    result.next_offset = from;
    for (const Batch& batch : log_) {
      if (batch.next <= from || batch.next > upto) continue;
      if (!bytes.empty() &&
          static_cast<int64_t>(bytes.size() + batch.bytes.size()) >
              bytes_max) {
        break;
      }
      if (bytes.empty()) result.base = batch.base;
      bytes += batch.bytes;
      result.next_offset = batch.next;
    }
    result.batches = MutableBuffer::Adopt(std::move(bytes)).Publish();
    return result;
  }

  std::deque<Batch> log_;
  EpochHistory epochs_;
  Offset leo_;
  int cuts_ = 0;
  using Waiting =
      std::pair<AppendOutcome, absl::AnyInvocable<void(AppendOutcome)>>;
  std::vector<std::pair<Offset, Waiting>> waiting_;  // for a high watermark
};

}  // namespace sluice::coordinator
