#include "broker/disk_watch.h"

#include <utility>

#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {

DiskWatch::DiskWatch(Deps deps) : deps_(std::move(deps)) {}

DiskWatch::~DiskWatch() {
  if (timer_ != 0) deps_.executor->Cancel(timer_);
}

void DiskWatch::Start() {
  Ask();
  Tick();
}

void DiskWatch::Ask() {
  asked_ = true;
  unanswered_ = 0;
  const std::weak_ptr<bool> alive = alive_;
  deps_.disk->Post([this, alive, executor = deps_.executor] {
    executor->Post([this, alive] {
      if (!alive.expired()) asked_ = false;
    });
  });
}

void DiskWatch::Tick() {
  timer_ = deps_.executor->PostAfter(kAskUs, [this] {
    timer_ = 0;
    if (!asked_) {
      Ask();
    } else if (++unanswered_ >= kUnansweredMax && !MUTANT(kHungDiskAwaited)) {
      return deps_.on_hung(MakeError(
          ErrorCode::kStorageError, "data directory ", deps_.path,
          ": its disk has answered nothing for ",
          kUnansweredMax * kAskUs / 1'000'000,
          " s; look at the kernel's log and the device, then start again"));
    }
    Tick();
  });
}

}  // namespace sluice
