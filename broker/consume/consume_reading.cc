// What is read, from where, and on whose credit.
#include <algorithm>
#include <utility>

#include "broker/consume/consume_core.h"
#include "client/status_kinds.h"
#include "common/base/error.h"

namespace sluice::consume {

// ---- Credit ----

void ConsumeCore::OnCredit(int64_t bytes) {
  if (bytes == 0) return;
  Do(GrantReading{std::min(bytes, kCreditBytesMax)});
  if (ledger_ == nullptr || options_.ack_mode != AckLedger::Mode::kAuto) return;
  if (ledger_->Release(bytes)) no_progress_since_us_ = kNever;
}

// ---- Where to begin ----

void ConsumeCore::On(const OffsetsFetched& e) {
  if (starts_ != nullptr) starts_->On(e, now_us_);
}

void ConsumeCore::On(const OffsetsListed& e) {
  if (starts_ != nullptr) starts_->On(e, now_us_);
}

void ConsumeCore::OnSeek(const v1::ConsumeSeek& message) {
  if (!options_.start_by_seek) {
    return Refuse(MakeError(ErrorCode::kInvalidRequest,
                            "a `seek` in a stream that was opened without "
                            "start_by_seek"));
  }
  Partitions to_find;
  for (const v1::ConsumePosition& position : message.positions()) {
    const NamedPartition tp{position.topic().name(),
                            PartitionIndex(position.partition())};
    const auto found = reading_.find(tp);
    // It was revoked meanwhile.
    if (found == reading_.end()) continue;
    if (found->second.state != Reading::State::kAwaitsSeek) {
      return Refuse(MakeError(ErrorCode::kInvalidRequest, tp.ToString(),
                              " is read already; a partition is sought once, "
                              "after it was assigned"));
    }
    if (position.offset() < -1) {
      return Refuse(MakeError(ErrorCode::kInvalidRequest, "cannot begin ",
                              tp.ToString(), " at offset ", position.offset(),
                              "; offsets begin at 0, -1 is where the group "
                              "stands"));
    }
    if (position.offset() == -1) {
      found->second.state = Reading::State::kFinding;
      to_find.insert(tp);
    } else {
      ledger_->Sought(tp, Offset(position.offset()));
      StartAt(tp, found->second, {Offset(position.offset())});
    }
  }
  if (starts_ != nullptr) starts_->Want(to_find);
}

void ConsumeCore::StartAt(const NamedPartition& tp, Reading& reading,
                          Place place) {
  reading.state = Reading::State::kReads;
  reading.place = place;
  Do(StartReading{tp, place.start, place.leader_epoch, place.topic_id});
}

void ConsumeCore::AdvanceReading() {
  if (phase_ == Phase::kOver) return;
  for (Action& action : starts_->Advance(AsMember(), now_us_)) {
    Do(std::move(action));
  }
  if (auto said = starts_->TakeSaid()) Tell(*std::move(said));
  if (!starts_->failed().ok()) {
    return LeaveWith(starts_->failed(), "it found no place to begin");
  }
  for (const auto& [tp, place] : starts_->TakeFound()) {
    const auto found = reading_.find(tp);
    if (found == reading_.end() || phase_ != Phase::kOpen ||
        found->second.state != Reading::State::kFinding) {
      continue;
    }
    StartAt(tp, found->second, place);
  }
  while (!again_.empty() && again_.begin()->first <= now_us_) {
    const NamedPartition tp = again_.begin()->second;
    again_.erase(again_.begin());
    const auto found = reading_.find(tp);
    if (found == reading_.end() || phase_ != Phase::kOpen ||
        found->second.state != Reading::State::kWaits ||
        found->second.again_us > now_us_) {
      continue;
    }
    StartAt(tp, found->second, found->second.place);
  }
}

void ConsumeCore::StopAll() {
  for (auto& [tp, reading] : reading_) {
    if (reading.begun()) Do(StopReading{tp});
  }
  reading_.clear();
  again_.clear();
}

// ---- Records ----

void ConsumeCore::On(const Read& e) {
  const auto found = reading_.find(e.tp);
  if (phase_ != Phase::kOpen || found == reading_.end() ||
      found->second.state != Reading::State::kReads) {
    // Nobody is charged for what is thrown away.
    if (e.bytes > 0) Do(GrantReading{e.bytes});
    return;
  }
  found->second.delay_us = kReadAgainMinUs;
  found->second.busy_since_us = kNever;
  next_[e.tp] = e.next;
  ledger_->Pushed(e.tp, e.next, e.leader_epoch, e.bytes);
  Do(PushRecords{});
}

void ConsumeCore::On(const ReadingEnded& e) {
  const auto found = reading_.find(e.tp);
  if (phase_ != Phase::kOpen || found == reading_.end() ||
      found->second.state != Reading::State::kReads) {
    return;
  }
  Reading& reading = found->second;
  const auto next = next_.find(e.tp);
  const ErrorCode code = CodeOf(e.why);
  if (code == ErrorCode::kOffsetOutOfRange &&
      options_.reset != v1::ConsumeOpen::RESET_NONE) {
    // What it stood at is not in the log any more; nor is what was pushed.
    ledger_->Begin(e.tp);
    named_by_id_.erase(e.tp);
    next_.erase(e.tp);
    const bool latest = options_.reset == v1::ConsumeOpen::RESET_LATEST;
    return StartAt(e.tp, reading,
                   {latest ? Edge::kLatest : Edge::kEarliest});
  }
  if (code != ErrorCode::kBusy) {
    reading.busy_since_us = kNever;
  } else if (reading.busy_since_us == kNever) {
    reading.busy_since_us = now_us_;
  }
  const bool too_busy = reading.busy_since_us != kNever &&
                        now_us_ - reading.busy_since_us >= kBusyMaxUs;
  if (!IsRetriableStatus(e.why) || too_busy) {
    return LeaveWith(
        MakeErrorStatus(code, StrCat(e.tp.ToString(), ": ",
                                     StdView(e.why.message()))),
        "it could not read what it was given");
  }
  if (next != next_.end()) reading.place.start = next->second;
  reading.state = Reading::State::kWaits;
  reading.again_us = now_us_ + reading.delay_us;
  reading.delay_us = std::min(2 * reading.delay_us, kReadAgainMaxUs);
  again_.emplace(reading.again_us, e.tp);
}

// The client is told, and reads on from there: what it acknowledges of the new
// history counts, though it lies below what was committed of the old one.
void ConsumeCore::On(const LogCut& e) {
  const auto found = reading_.find(e.tp);
  if (phase_ != Phase::kOpen || found == reading_.end() ||
      found->second.state != Reading::State::kReads) {
    return;
  }
  const absl::Status cut = MakeError(
      ErrorCode::kLogTruncated, "the log of ", e.tp.ToString(),
      " was cut to offset ", e.to, " below offset ", e.stood,
      ", up to which it was read: an election took back what [", e.to, ", ",
      e.stood, ") held; read on from offset ", e.to);
  if (options_.reset == v1::ConsumeOpen::RESET_NONE) {
    return LeaveWith(cut, "its log was cut");
  }
  ledger_->Begin(e.tp);
  named_by_id_.erase(e.tp);
  next_.erase(e.tp);
  v1::TopicRef topic;
  topic.set_name(e.tp.topic);
  TellResult(topic, e.tp.partition, e.to, cut);
  Place place = found->second.place;
  place.start = e.to;
  place.leader_epoch = e.leader_epoch;
  StartAt(e.tp, found->second, place);
}

}  // namespace sluice::consume
