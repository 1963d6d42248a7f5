#include "broker/replication/replica_shipper.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice {

ReplicaShipper::ReplicaShipper(FollowerSession session, Executor* executor,
                               CatchUpThrottle* throttle, int64_t now_us)
    : session_(std::move(session)),
      executor_(executor),
      throttle_(throttle),
      part_bytes_(std::max(session_.window_bytes / kWindowPart,
                           2 * kFrameBytesMax)),
      now_us_(now_us),
      credit_bytes_(session_.window_bytes) {}

ReplicaShipper::~ReplicaShipper() { *alive_ = false; }

void ReplicaShipper::Accept(const TopicPartition& tp, const Question& question,
                            Offset from, ShipSource* source) {
  // Who asks again while it waits for its turn keeps its place.
  const auto found = replicas_.find(tp);
  const bool queued = found != replicas_.end() && found->second.queued;
  Drop(tp);
  Replica& replica = replicas_[tp];
  replica.queued = queued && from < source->leo();
  replica.question = question;
  replica.source = source;
  replica.next = from;
  replica.acceptance = next_acceptance_++;
  AddAnswer answer;
  answer.tp = tp;
  answer.leader_epoch = question.leader_epoch;
  answer.add_number = question.number;
  answer.fetch_offset = from;
  answer.log_start_offset = source->log_start();
  SendAnswer(std::move(answer));
  OnHighWatermark(tp);
  if (!is_main() && replica.next >= source->leo()) {
    return MoveTo(StreamKind::kMain, tp);
  }
  Enqueue(tp, replica);
}

void ReplicaShipper::MoveTo(StreamKind to, const TopicPartition& tp) {
  const Question question = replicas_.at(tp).question;
  VLOG(1) << tp.ToString() << " of broker " << session_.broker_id
          << " goes on by the "
          << (to == StreamKind::kMain ? "main" : "catch-up") << " stream";
  Drop(tp);
  frame_.moved.push_back({tp, question.leader_epoch, to, question.number});
  SchedulePump();
}

void ReplicaShipper::SendAnswer(AddAnswer answer) {
  frame_.add_answers.push_back(std::move(answer));
  SchedulePump();
}

void ReplicaShipper::Drop(const TopicPartition& tp) {
  const auto found = replicas_.find(tp);
  if (found == replicas_.end()) return;
  credit_bytes_ += found->second.reserved_bytes;
  for (const InFlight& piece : found->second.in_flight) {
    credit_bytes_ += piece.bytes;
  }
  replicas_.erase(found);
  // Entries of it in ready_ are skipped when their turn comes.
  if (credit_bytes_ > 0 && !ready_.empty()) SchedulePump();
}

bool ReplicaShipper::DropAsAsked(const TopicPartition& tp,
                                 const Question& question) {
  const auto found = replicas_.find(tp);
  if (found == replicas_.end() ||
      (found->second.question != question && !MUTANT(kVoidRemoveObeyed))) {
    return false;
  }
  Drop(tp);
  return true;
}

void ReplicaShipper::Remove(const TopicPartition& tp, api::ItemError why) {
  const auto found = replicas_.find(tp);
  if (found == replicas_.end()) return;
  const Question question = found->second.question;
  Drop(tp);
  frame_.removed.push_back(
      {tp, question.leader_epoch, std::move(why), question.number});
  SchedulePump();
}

void ReplicaShipper::OnAppended(const TopicPartition& tp) {
  const auto found = replicas_.find(tp);
  if (found != replicas_.end()) Enqueue(tp, found->second);
}

void ReplicaShipper::OnAck(const TopicPartition& tp, const Question& question,
                           Offset appended) {
  const auto found = replicas_.find(tp);
  if (found == replicas_.end() || found->second.question != question) return;
  ReturnCredit(found->second, appended);
  Enqueue(tp, found->second);  // it may have held its part
  if (credit_bytes_ > 0 && !ready_.empty()) SchedulePump();
}

void ReplicaShipper::ReturnCredit(Replica& replica, Offset acked) {
  while (!replica.in_flight.empty() &&
         replica.in_flight.front().next <= acked) {
    credit_bytes_ += replica.in_flight.front().bytes;
    replica.in_flight_bytes -= replica.in_flight.front().bytes;
    replica.in_flight.pop_front();
  }
  INVARIANT(credit_bytes_ <= session_.window_bytes,
            "credit returned twice: ", credit_bytes_, " of ",
            session_.window_bytes);
}

void ReplicaShipper::OnHighWatermark(const TopicPartition& tp) {
  const auto found = replicas_.find(tp);
  if (found == replicas_.end()) return;
  Replica& replica = found->second;
  // Data that is about to leave carries it.
  if (replica.queued && credit_bytes_ > 0) return;
  if (!is_main() && replica.next < replica.source->leo()) return;
  const Offset hw = replica.source->high_watermark();
  if (hw == replica.hw_sent) return;
  replica.hw_sent = hw;
  frame_.high_watermarks.push_back(
      {tp, replica.question.leader_epoch, hw, replica.question.number});
  SchedulePump();
}

void ReplicaShipper::Enqueue(const TopicPartition& tp, Replica& replica) {
  if (replica.queued || replica.reading() ||
      replica.in_flight_bytes >= part_bytes_ ||
      replica.next >= replica.source->leo()) {
    return;
  }
  replica.queued = true;
  ready_.push_back(tp);
  if (credit_bytes_ > 0) SchedulePump();
}

bool ReplicaShipper::MayShip() const {
  return credit_bytes_ > 0 &&
         (is_main() || throttle_ == nullptr || throttle_->allows());
}

void ReplicaShipper::Tick(int64_t now_us) {
  now_us_ = now_us;
  if (credit_bytes_ <= 0 && !MUTANT(kStalledHoldsWindow)) GiveUpStalled();
  if (!ready_.empty() && MayShip()) SchedulePump();
}

void ReplicaShipper::GiveUpStalled() {
  std::vector<TopicPartition> stalled;
  for (const auto& [tp, replica] : replicas_) {
    if (!replica.in_flight.empty() &&
        now_us_ - replica.in_flight.front().sent_us >= kStallUs) {
      stalled.push_back(tp);
    }
  }
  for (const TopicPartition& tp : stalled) {
    LOG(WARNING) << "broker " << session_.broker_id
                 << " does not acknowledge what it was sent of "
                 << tp.ToString() << ": its part of the stream goes to others";
    if (is_main()) {
      MoveTo(StreamKind::kCatchUp, tp);
    } else {
      Remove(tp, api::ItemError(ErrorCode::kRequestTimedOut,
                                "what was sent is not acknowledged"));
    }
  }
}

void ReplicaShipper::SchedulePump() {
  if (pump_scheduled_) return;
  pump_scheduled_ = true;
  // Posted, so that what is appended in the same turn shares a frame.
  executor_->Post([this, alive = alive_] {
    if (!*alive) return;
    pump_scheduled_ = false;
    Pump();
  });
}

void ReplicaShipper::Pump() {
  while (!ready_.empty() && MayShip()) {
    const TopicPartition tp = ready_.front();
    ready_.pop_front();
    const auto found = replicas_.find(tp);
    if (found == replicas_.end() || !found->second.queued) continue;
    found->second.queued = false;
    ShipOne(tp, found->second);
    if (frame_bytes_ >= kFrameBytesMax) SendFrame();
  }
  SendFrame();
}

void ReplicaShipper::SendFrame() {
  if (frame_.add_answers.empty() && frame_.data.empty() &&
      frame_.high_watermarks.empty() && frame_.removed.empty() &&
      frame_.moved.empty()) {
    return;
  }
  session_.stream->Send(std::exchange(frame_, LeaderFrame()));
  frame_bytes_ = 0;
}

bool ReplicaShipper::IsNear(Replica& replica, int64_t bytes_max) const {
  if (replica.next < replica.judge_from) return false;
  Offset next = replica.next;
  int64_t bytes = 0;
  for (int reads = 0; next < replica.source->leo(); ++reads) {
    const auto piece = replica.source->ReadTail(next, bytes_max);
    const bool taken = piece.has_value() && reads < kNearReadsMax &&
                       piece->next_offset > next;
    if (taken) bytes += static_cast<int64_t>(piece->batches.size());
    if (!taken || bytes > bytes_max) {
      // Nobody walks over the same pieces for each one that is shipped.
      replica.judge_from = replica.next + (next - replica.next) / 2;
      return false;
    }
    next = piece->next_offset;
  }
  return true;
}

void ReplicaShipper::ShipOne(const TopicPartition& tp, Replica& replica) {
  const bool waited_for = replica.source->IsInSync(session_.broker_id) ||
                          MUTANT(kBulkOnMainStream);
  if (is_main() && !std::exchange(replica.judged, true) && !waited_for &&
      !IsNear(replica, kFarBehindBytes)) {
    return MoveTo(StreamKind::kCatchUp, tp);
  }
  if (!is_main() && IsNear(replica, kFrameBytesMax)) {
    return MoveTo(StreamKind::kMain, tp);
  }
  auto tail = replica.source->ReadTail(replica.next, kFrameBytesMax);
  if (!tail.has_value()) {
    if (is_main() && !waited_for) return MoveTo(StreamKind::kCatchUp, tp);
    StartDiskRead(tp, replica);
    return;
  }
  if (AddData(tp, replica, *std::move(tail))) {
    Enqueue(tp, replica);  // to the end of the line: round robin
  }
}

bool ReplicaShipper::AddData(const TopicPartition& tp, Replica& replica,
                             ReadResult result) {
  if (result.base != replica.next || result.next_offset <= result.base) {
    // Where a follower goes on is its word, not ours to trust.
    CannotShip(tp, replica.next,
               MakeError(ErrorCode::kCorruptMessage,
                         "no batch of the leader begins at offset ",
                         replica.next, ", but at ", result.base, " and ",
                         result.next_offset));
    return false;
  }
  const auto bytes = static_cast<int64_t>(result.batches.size());
  replica.next = result.next_offset;
  replica.in_flight.push_back({result.next_offset, bytes, now_us_});
  replica.in_flight_bytes += bytes;
  credit_bytes_ -= bytes;
  if (!is_main() && throttle_ != nullptr) throttle_->Spend(bytes);
  frame_bytes_ += bytes;
  replica.hw_sent = replica.source->high_watermark();
  frame_.data.push_back({tp, replica.question.leader_epoch,
                         std::move(result.batches), replica.hw_sent,
                         replica.question.number});
  return true;
}

// A follower asks again a little later, for each of its partitions.
void ReplicaShipper::CannotShip(const TopicPartition& tp, Offset from,
                                const absl::Status& why) {
  if (const auto rest = line_pacer_.Due(CodeOf(why), now_us_)) {
    LOG(ERROR) << "shipping " << tp.ToString() << " to broker "
               << session_.broker_id << " from offset " << from << ": "
               << why.ToString() << *rest;
  }
  Remove(tp, api::ItemError(why));
}

void ReplicaShipper::StartDiskRead(const TopicPartition& tp,
                                   Replica& replica) {
  // Held from the start: a thousand followers that catch up must not read a
  // thousand frames into memory.
  replica.reserved_bytes = kFrameBytesMax;
  credit_bytes_ -= kFrameBytesMax;
  const uint64_t acceptance = replica.acceptance;
  // May answer before it returns.
  replica.source->ReadDisk(
      replica.next, kFrameBytesMax,
      [this, alive = alive_, tp, acceptance](
          absl::StatusOr<ReadResult> result) {
        if (!*alive) return;
        const auto found = replicas_.find(tp);
        if (found == replicas_.end() ||
            found->second.acceptance != acceptance) {
          return;
        }
        OnDiskRead(tp, found->second, std::move(result));
      });
}

void ReplicaShipper::OnDiskRead(const TopicPartition& tp, Replica& replica,
                                absl::StatusOr<ReadResult> result) {
  credit_bytes_ += std::exchange(replica.reserved_bytes, 0);
  SchedulePump();  // credit is back, or data is there
  if (!result.ok()) return CannotShip(tp, replica.next, result.status());
  if (!AddData(tp, replica, *std::move(result))) return;
  if (!is_main() && replica.next >= replica.source->leo()) {
    return MoveTo(StreamKind::kMain, tp);
  }
  Enqueue(tp, replica);
}

}  // namespace sluice
