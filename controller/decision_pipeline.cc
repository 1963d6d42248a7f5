#include "controller/decision_pipeline.h"

#include <glog/logging.h>

#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "controller/metadata/control_result.h"

namespace sluice {

using internal::v1::MetadataBatch;

DecisionPipeline::DecisionPipeline(MetadataLog* log)
    : log_(log), committed_(MetadataImage::Empty()), latest_(committed_) {}

DecisionPipeline::~DecisionPipeline() = default;

void DecisionPipeline::Begin(Term term) {
  INVARIANT(pending_.empty() && latest_ == committed_, "a term begins with ",
            pending_.size(), " batches under way");
  active_ = true;
  term_ = term;
  alive_ = std::make_shared<bool>(true);
}

void DecisionPipeline::End(const absl::Status& why) {
  active_ = false;
  alive_.reset();
  latest_ = committed_;
  pending_bytes_ = 0;
  auto pending = std::exchange(pending_, {});
  auto waiters = std::exchange(waiters_, {});
  for (auto& [index, batch] : pending) {
    batch.done(MakeError(ErrorCode::kOutcomeUnknown, "metadata offset ", index,
                         " was not committed when this controller stopped "
                         "leading (",
                         std::string(why.message()),
                         "); look whether the change happened"));
  }
  for (auto& [index, waiter] : waiters) waiter(why);
}

void DecisionPipeline::Propose(MetadataBatch batch, Done done) {
  if (batch.ByteSizeLong() <= kBatchBytesMax) {
    // `done` is kept when the log takes the batch, else it is answered here.
    auto shared = std::make_shared<Done>(std::move(done));
    const auto index =
        ProposeOne(batch, [shared](absl::StatusOr<LogIndex> result) {
          (*shared)(std::move(result));
        });
    if (!index.ok()) (*shared)(index.status());
    return;
  }
  auto pieces = SplitBatch(std::move(batch), kBatchBytesMax);
  LOG(WARNING) << "a decision is too large for one metadata batch of "
               << kBatchBytesMax << " bytes and goes in " << pieces.size();
  auto shared = std::make_shared<Done>(std::move(done));
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool last = i + 1 == pieces.size();
    const auto index =
        ProposeOne(pieces[i], [shared, last](absl::StatusOr<LogIndex> result) {
          if (last) (*shared)(std::move(result));
        });
    if (index.ok()) continue;
    (*shared)(i == 0 ? index.status()
                     : MakeError(ErrorCode::kOutcomeUnknown, "only ", i, " of ",
                                 pieces.size(), " pieces were proposed: ",
                                 std::string(index.status().message())));
    return;
  }
}

absl::StatusOr<LogIndex> DecisionPipeline::ProposeOne(
    const MetadataBatch& batch, Done done) {
  if (!active_) {
    return MakeError(ErrorCode::kNotController,
                     "this controller is not "
                     "active");
  }
  const size_t bytes = batch.ByteSizeLong();
  if (pending_.size() >= kPendingBatchesMax ||
      pending_bytes_ + bytes > kPendingBytesMax) {
    return MakeError(ErrorCode::kBusy, pending_.size(), " changes of ",
                     pending_bytes_, " bytes are under way; try again");
  }
  auto applied = ApplyBatch(*latest_, batch, latest_->offset().Next(), term_);
  if (!applied.ok()) {
    LOG(ERROR) << "a decision that replay refuses was not proposed: "
               << applied.status().message();
    return MakeError(ErrorCode::kUnknownServerError,
                     std::string(applied.status().message()));
  }
  // The callback never runs inside the call: it finds the index filled in.
  auto at = std::make_shared<LogIndex>();
  ASSIGN_OR_RETURN(const LogIndex index,
                   log_->Propose(batch.SerializeAsString(),
                                 [this, alive = std::weak_ptr<bool>(alive_),
                                  at](absl::Status status) {
                                   if (!alive.expired())
                                     OnDone(*at, std::move(status));
                                 }));
  *at = index;
  if (index != latest_->offset().Next()) {
    applied = ApplyBatch(*latest_, batch, index, term_);
    INVARIANT(applied.ok(), "what replay took at one offset it refuses at ",
              index, ": ", std::string(applied.status().message()));
  }
  latest_ = std::move(applied->image);
  last_proposed_ = index;
  pending_bytes_ += bytes;
  pending_.emplace(index, Pending{index, bytes, std::move(done)});
  return index;
}

void DecisionPipeline::OnDone(LogIndex index, absl::Status status) {
  const auto found = pending_.find(index);
  if (found == pending_.end()) return;
  Pending pending = std::move(found->second);
  pending_.erase(found);
  pending_bytes_ -= pending.bytes;
  if (!status.ok()) {
    if (MUTANT(kUnknownOutcomeIsOk)) return pending.done(index);
    pending.done(std::move(status));
    return;
  }
  INVARIANT(committed_->offset() >= index, "offset ", index,
            " was answered before it was delivered");
  pending.done(index);
}

absl::StatusOr<MetadataChanges> DecisionPipeline::Commit(
    const CommittedEntry& entry, MetadataBatch* parsed) {
  if (!parsed->ParseFromString(entry.payload)) {
    return MakeError(ErrorCode::kUnsupportedFormat, "metadata offset ",
                     entry.index, " of ", entry.payload.size(),
                     " bytes is no metadata batch");
  }
  ASSIGN_OR_RETURN(AppliedBatch applied,
                   ApplyBatch(*committed_, *parsed, entry.index, entry.term));
  committed_ = std::move(applied.image);
  if (!active_ || entry.index >= last_proposed_) latest_ = committed_;
  RunWaiters();
  return std::move(applied.changes);
}

void DecisionPipeline::RunWaiters() {
  while (!waiters_.empty() && waiters_.begin()->first <= committed_->offset()) {
    auto done = std::move(waiters_.begin()->second);
    waiters_.erase(waiters_.begin());
    done(absl::OkStatus());
  }
}

void DecisionPipeline::AddWaiter(LogIndex index,
                                 absl::AnyInvocable<void(absl::Status)> done) {
  if (index <= committed_->offset()) {
    done(absl::OkStatus());
    return;
  }
  waiters_.emplace(index, std::move(done));
}

void DecisionPipeline::Confirm(absl::AnyInvocable<void(absl::Status)> done) {
  if (!active_) {
    done(MakeError(ErrorCode::kNotController, "this controller is not active"));
    return;
  }
  const LogIndex wait_for = latest_->offset();
  auto shared =
      std::make_shared<absl::AnyInvocable<void(absl::Status)>>(std::move(done));
  // The log answers once, also when leadership goes: nothing hangs on alive_.
  log_->ReadIndex([this, shared, wait_for, alive = std::weak_ptr<bool>(alive_)](
                      absl::StatusOr<LogIndex> read) {
    if (!read.ok()) {
      (*shared)(read.status());
    } else if (alive.expired()) {
      (*shared)(MakeError(ErrorCode::kNotController,
                          "this controller lost its role"));
    } else {
      AddWaiter(wait_for, std::move(*shared));
    }
  });
}

std::vector<MetadataBatch> SplitBatch(MetadataBatch batch, size_t bytes_max) {
  std::vector<MetadataBatch> pieces;
  size_t bytes = 0;
  for (auto& record : *batch.mutable_records()) {
    const size_t size = record.ByteSizeLong() + 8;  // its tag and length
    if (pieces.empty() || bytes + size > bytes_max) {
      pieces.emplace_back().set_timestamp_ms(batch.timestamp_ms());
      bytes = 16;
    }
    *pieces.back().add_records() = std::move(record);
    bytes += size;
  }
  return pieces;
}

}  // namespace sluice
