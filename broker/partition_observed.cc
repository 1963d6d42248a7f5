// A partition as its observer sees it.
#include <utility>

#include "broker/partition.h"

namespace sluice {

// Whatever an event did: an observer compares a few numbers, and most
// partitions have none. Called again from within, by what it appends.
// Not while a cut is under way: it was told of that, and what is to be cut is
// still there.
void Partition::TellObserver() {
  if (observer_ == nullptr || observer_closed_ || cutting()) return;
  observer_->OnProgress();
}

void Partition::TellObserverClosed() {
  if (observer_ == nullptr || std::exchange(observer_closed_, true)) return;
  observer_->OnClosed();
}

void Partition::OnTopicsRemoved() {
  if (observer_ != nullptr && !observer_closed_) observer_->OnTopicsRemoved();
}

bool Partition::serves_as_leader() const {
  return CheckLeads(std::nullopt).ok();
}

api::LeaderHint Partition::leader_hint() const {
  return shard_->HintTo(leader_, leader_epoch_);
}

void Partition::ReadLog(
    Offset from, Offset upto, int64_t bytes_max,
    absl::AnyInvocable<void(absl::StatusOr<ReadResult>)> done) {
  if (auto tail = log_->ReadInMemory(from, upto, bytes_max)) {
    return done(*std::move(tail));
  }
  ReadDiskUpTo(from, upto, bytes_max, std::move(done));
}

void Partition::AppendOwn(AppendRequest request, AppendDone done) {
  request.tp = tp_;
  request.origin = api::AppendOrigin::kCoordinator;
  Append(std::move(request), [] {}, std::move(done));
}

}  // namespace sluice
