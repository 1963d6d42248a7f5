// Lookups by timestamp take turns, one piece at a time: neither the shard nor
// its reads wait for a log that is looked through.
#include <memory>
#include <utility>

#include "broker/shard.h"
#include "broker/time_lookup.h"
#include "common/base/error.h"

namespace sluice {

void Shard::FindOffsetByTime(const OffsetRequest& request,
                             absl::AnyInvocable<void(OffsetOutcome)> done) {
  if (time_lookups_.size() >= kTimeLookupsMax) {
    OffsetOutcome busy;
    busy.error = api::ItemError(MakeError(
        ErrorCode::kBusy, time_lookups_.size(),
        " lookups by timestamp are under way on one shard of broker ",
        context_.deps.self, ", the limit; try again later"));
    return done(std::move(busy));
  }
  auto lookup = std::make_shared<TimeLookup>();
  lookup->request = request;
  lookup->done = std::move(done);
  time_lookups_.push_back(std::move(lookup));
  TakeTimeLookups();
}

void Shard::TakeTimeLookups() {
  while (!looking_ && !time_lookups_.empty()) {
    const auto lookup = std::move(time_lookups_.front());
    time_lookups_.pop_front();
    Partition* partition = Find(lookup->request.tp);
    if (partition == nullptr) {
      OffsetOutcome gone = NotHere<OffsetOutcome>(lookup->request.tp);
      lookup->done(std::move(gone));
      continue;
    }
    looking_ = partition->LookOn(
        lookup, [this, alive = alive_, lookup](bool more) {
          if (!*alive) return;
          looking_ = false;
          if (more) time_lookups_.push_back(lookup);
          TakeTimeLookups();
        });
  }
}

}  // namespace sluice
