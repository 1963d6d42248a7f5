#include "broker/handlers/fetch_call.h"

#include <algorithm>
#include <utility>

#include "broker/handlers/by_host.h"
#include "broker/handlers/record_decoding.h"
#include "common/base/error.h"

namespace sluice {

FetchCall::FetchCall(const HandlerDeps& deps, Options options,
                     api::Answer<api::FetchResponse> done)
    : deps_(deps),
      options_(std::move(options)),
      done_(std::move(done)),
      memory_(options_.memory->Nothing()) {}

void FetchCall::AddRefused(api::FetchResult result) {
  failed_ = true;
  slots_.emplace_back().result = std::move(result);
}

void FetchCall::AddRead(api::FetchResult result, const Target& target) {
  Slot& slot = slots_.emplace_back();
  slot.result = std::move(result);
  slot.result.next_offset = target.offset;
  slot.target = target;
  slot.result.last_record_epoch = kNoLeaderEpoch;
  slot.host = deps_.hosts->HostOf(target.tp);
  slot.read_from = target.offset;
}

void FetchCall::Launch() {
  std::vector<size_t> readable;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].host != nullptr) readable.push_back(i);
  }
  home_ = readable.empty() ? deps_.worker
                           : slots_[readable.front()].host->executor();
  home_->Post([self = shared_from_this(),
               readable = std::move(readable)]() mutable {
    self->StartRound(std::move(readable));
  });
}

void FetchCall::Cancel() {
  home_->Post([self = shared_from_this()] {
    if (self->finished_) return;
    self->ended_ = absl::CancelledError("the caller gave up");
    if (!self->reading_) self->Finish(self->ended_);
  });
}

// ---- Reading ----

void FetchCall::StartRound(std::vector<size_t> slots) {
  round_ = std::move(slots);
  round_next_ = 0;
  reading_ = true;
  StartRun();
}

void FetchCall::StartRun() {
  if (round_next_ == round_.size() || !ended_.ok()) return OnRoundDone();
  const auto run = std::make_shared<Run>();
  run->host = slots_[round_[round_next_]].host;
  while (round_next_ < round_.size() &&
         slots_[round_[round_next_]].host == run->host) {
    run->slots.push_back(round_[round_next_++]);
  }
  if (run->host->executor() == home_) return ContinueRun(run);
  run->host->executor()->Post(
      [self = shared_from_this(), run] { self->ContinueRun(run); });
}

void FetchCall::ContinueRun(const std::shared_ptr<Run>& run) {
  while (run->next < run->slots.size()) {
    Slot& slot = slots_[run->slots[run->next++]];
    if (!ReadOne(run, slot)) return;  // comes back
  }
  if (run->host->executor() == home_) return StartRun();
  home_->Post([self = shared_from_this()] { self->StartRun(); });
}

bool FetchCall::ReadOne(const std::shared_ptr<Run>& run, Slot& slot) {
  const int64_t room = std::min(slot.target.max_bytes - slot.bytes,
                                options_.max_bytes - bytes_);
  if (full_ || (bytes_ > 0 && room <= 0) || !TakeMemory(room)) {
    Probe(slot);
    return true;
  }
  ReadRequest request;
  request.tp = slot.target.tp;
  request.offset = slot.read_from;
  request.max_bytes = static_cast<int32_t>(std::max<int64_t>(room, 1));
  request.leader_epoch = slot.target.leader_epoch;
  request.isolation = options_.isolation;
  request.rack = options_.rack;
  // Of what this call has read, else of what the reader had before.
  request.last_fetched_epoch =
      slot.bytes > 0 ? slot.result.last_record_epoch
                     : slot.target.last_fetched_epoch;
  run->in_read = true;
  run->answered = false;
  run->host->Read(request, [self = shared_from_this(), run, &slot,
                            taken = std::max<int64_t>(room, 1)](
                               ReadOutcome outcome) {
    const int64_t before = self->bytes_;
    self->Take(slot, std::move(outcome));
    self->memory_.Add(self->bytes_ - before - taken);
    run->answered = true;
    if (!run->in_read) self->ContinueRun(run);
  });
  run->in_read = false;
  return run->answered;
}

bool FetchCall::TakeMemory(int64_t bytes) {
  bytes = std::max<int64_t>(bytes, 1);
  if (!starved_) {
    if (memory_.TryAdd(bytes)) return true;
    starved_ = true;
  }
  return false;
}

// There is no room for more bytes: only what the partition says of itself.
void FetchCall::Probe(Slot& slot) {
  slot.full = true;
  OffsetRequest request;
  request.tp = slot.target.tp;
  request.position = api::OffsetPosition::kLatest;
  request.leader_epoch = slot.target.leader_epoch;
  request.isolation = options_.isolation;
  OffsetOutcome outcome = slot.host->FindOffset(request);
  if (outcome.error.code == ErrorCode::kOffsetNotAvailable) return;
  if (outcome.error.code == ErrorCode::kNotLeader && !options_.rack.empty()) {
    return;  // a follower that is read tells nothing but records
  }
  if (!outcome.error.ok()) {
    Fail(slot, std::move(outcome.error), std::move(outcome.leader));
    return;
  }
  slot.result.high_watermark = outcome.high_watermark;
  slot.result.last_stable_offset = outcome.last_stable_offset;
}

void FetchCall::Take(Slot& slot, ReadOutcome outcome) {
  slot.result.leader_epoch = outcome.leader_epoch;
  slot.result.high_watermark = outcome.high_watermark;
  slot.result.last_stable_offset = outcome.last_stable_offset;
  slot.result.log_start_offset = outcome.log_start_offset;
  if (!outcome.error.ok()) {
    slot.result.diverging = outcome.diverging;
    if (outcome.diverging.has_value() && slot.bytes > 0) {
      // What the reader had before may be good still: to be asked again.
      slot.result.diverging.reset();
      outcome.error.code = ErrorCode::kFencedLeaderEpoch;
    }
    Fail(slot, std::move(outcome.error), std::move(outcome.leader));
    return;
  }
  if (outcome.preferred_replica.has_value()) {
    failed_ = true;  // the reader should turn to it
    slot.result.preferred_replica = outcome.preferred_replica->id;
    slot.result.preferred_endpoint = outcome.preferred_replica->endpoint;
    return;
  }
  const auto bytes = static_cast<int64_t>(outcome.batches_bytes);
  if (bytes > 0 && bytes_ > 0 && bytes > options_.max_bytes - bytes_) {
    full_ = slot.full = true;
    return;
  }
  for (Buffer& batch : outcome.batches) {
    slot.result.batches.push_back(std::move(batch));
  }
  if (bytes > 0) slot.result.last_record_epoch = outcome.last_record_epoch;
  bytes_ += bytes;
  slot.bytes += bytes;
  slot.full = slot.bytes >= slot.target.max_bytes;
  slot.read_from = slot.result.next_offset = outcome.next_offset;
}

void FetchCall::Fail(Slot& slot, api::ItemError error,
                     std::optional<api::LeaderHint> leader) {
  failed_ = true;
  slot.result.error = std::move(error);
  slot.result.leader = std::move(leader);
  // What was read before is read again once the error is dealt with.
  slot.result.batches.clear();
  slot.result.next_offset = slot.target.offset;
  slot.result.last_record_epoch = kNoLeaderEpoch;
}

void FetchCall::OnRoundDone() {
  reading_ = false;
  if (starved_ && bytes_ == 0 && !failed_ && ended_.ok()) {
    return Finish(MakeError(
        ErrorCode::kBusy, options_.memory->taken(),
        " bytes of fetch answers are under way on this broker, the limit is ",
        options_.memory->max(), "; try again in ", kBusyRetryAfterMs, " ms"));
  }
  const bool enough = failed_ || full_ || starved_ ||
                      bytes_ >= options_.min_bytes || deps_.clock->MonoMicros() >= options_.deadline_us;
  if (enough || !ended_.ok()) return Finish(ended_);
  if (!woken_.empty()) {
    std::vector<size_t> again = std::exchange(woken_, {});
    std::sort(again.begin(), again.end());
    return StartRound(std::move(again));
  }
  Wait();
}

// ---- Waiting ----

void FetchCall::Wait() {
  if (!waiting_.has_value()) {
    waiting_ = options_.waiting->TryTake(1);
    if (!waiting_.has_value()) {
      return Finish(MakeError(ErrorCode::kBusy, options_.waiting->taken(),
                              " fetches wait on this broker, the limit; try "
                              "again in ", kBusyRetryAfterMs, " ms"));
    }
    timer_ = home_->PostAfter(
        options_.deadline_us - deps_.clock->MonoMicros(),
        [self = shared_from_this()] {
          self->timer_ = 0;
          if (!self->finished_ && !self->reading_) {
            self->Finish(absl::OkStatus());
          }
        });
  }
  ByHost<size_t> by_host;
  bool any = false;
  for (size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (slot.host == nullptr || slot.full) continue;
    any = true;
    if (std::exchange(slot.waits, true)) continue;
    by_host.Add(slot.host, i);
  }
  if (!any) return Finish(absl::OkStatus());
  for (auto& [host, slots] : by_host) {
    host->executor()->Post([self = shared_from_this(), host = host,
                            slots = std::move(slots)] {
      self->Register(host, slots);
    });
  }
}

// On the host's executor.
void FetchCall::Register(PartitionHost* host,
                         const std::vector<size_t>& slots) {
  for (const size_t index : slots) {
    Slot& slot = slots_[index];
    slot.wait_id = host->WaitForProgress(
        slot.target.tp, slot.read_from,
        [weak = weak_from_this(), index] {
          const auto self = weak.lock();
          if (self == nullptr) return;
          self->slots_[index].wait_id = 0;
          self->home_->Post([self, index] { self->OnWake(index); });
        });
    if (slot.wait_id != 0) continue;
    // No room: the answer is what is there.
    home_->Post([self = shared_from_this()] {
      if (!self->finished_ && !self->reading_) {
        self->Finish(absl::OkStatus());
      }
    });
    return;
  }
}

void FetchCall::OnWake(size_t slot) {
  if (finished_) return;
  slots_[slot].waits = false;
  if (reading_) {
    woken_.push_back(slot);
  } else {
    StartRound({slot});
  }
}

void FetchCall::EndWait() {
  if (timer_ != 0) home_->Cancel(timer_);
  timer_ = 0;
  waiting_.reset();
  ByHost<size_t> by_host;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].waits) by_host.Add(slots_[i].host, i);
  }
  for (auto& [host, slots] : by_host) {
    host->executor()->Post([self = shared_from_this(), host = host,
                            slots = std::move(slots)] {
      for (const size_t index : slots) {
        Slot& slot = self->slots_[index];
        if (slot.wait_id != 0) host->CancelWait(slot.target.tp, slot.wait_id);
        slot.wait_id = 0;
      }
    });
  }
}

void FetchCall::Finish(absl::Status status) {
  if (std::exchange(finished_, true)) return;
  EndWait();
  api::FetchResponse response;
  std::vector<Offset> from;
  for (Slot& slot : slots_) {
    from.push_back(slot.target.offset);
    response.results.push_back(std::move(slot.result));
  }
  if (!status.ok()) response = {};
  if (!status.ok() || bytes_ == 0 ||
      options_.form != api::PayloadForm::kRecords) {
    response.held = std::make_shared<Budget::Share>(std::move(memory_));
    done_(std::move(status), std::move(response));
    return;
  }
  deps_.worker->Post([response = std::move(response), from = std::move(from),
                      left = options_.max_bytes, memory = std::move(memory_),
                      done = std::move(done_)]() mutable {
    int64_t decoded = 0;
    for (size_t i = 0; i < from.size(); ++i) {
      decoded += DecodeInto(response.results[i], from[i], left - decoded);
    }
    memory.Add(decoded - memory.amount());
    response.held = std::make_shared<Budget::Share>(std::move(memory));
    done(absl::OkStatus(), std::move(response));
  });
}

}  // namespace sluice
