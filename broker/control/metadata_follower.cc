#include "broker/control/metadata_follower.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {

MetadataFollower::MetadataFollower(Deps deps)
    : deps_(std::move(deps)),
      image_(MetadataImage::Empty()),
      alive_(std::make_shared<bool>(true)) {
  const auto& controllers = deps_.directory->controllers();
  index_ = static_cast<size_t>(deps_.node_id.value()) % controllers.size();
  for (size_t i = 0; i < controllers.size(); ++i) {
    if (controllers[i].id == deps_.preferred) index_ = i;
  }
}

MetadataFollower::~MetadataFollower() { Stop(); }

void MetadataFollower::Start(const ClusterId& cluster_id) {
  cluster_id_ = cluster_id;
  stopped_ = false;
  last_contact_us_ = deps_.clock->MonoMicros();
  Open();
  ScheduleCheck();
}

void MetadataFollower::Stop() {
  stopped_ = true;
  ++generation_;
  for (TimerId* timer : {&retry_timer_, &check_timer_}) {
    if (*timer != 0) deps_.executor->Cancel(*timer);
    *timer = 0;
  }
  if (const auto stream = std::exchange(stream_, nullptr)) {
    stream->Close(MakeError(ErrorCode::kShuttingDown, "broker ", deps_.node_id,
                            " is stopping"));
  }
}

NodeId MetadataFollower::following() const {
  return stream_ == nullptr ? kNoNode
                            : deps_.directory->controllers()[index_].id;
}

void MetadataFollower::Open() {
  if (stopped_ || stream_ != nullptr) return;
  position_ = image_->offset();
  answered_ = false;
  opened_us_ = deps_.clock->MonoMicros();
  behind_since_us_ = -1;
  const uint64_t generation = ++generation_;
  internal::v1::FollowMetadataRequest request;
  request.set_cluster_id(cluster_id_.ToBytes());
  request.set_broker_id(deps_.node_id.value());
  request.set_from_offset(position_.value() + 1);
  PeerStreamEvents<Response> events;
  const std::weak_ptr<bool> alive = alive_;
  events.on_message = [this, alive, generation](Response message) {
    if (!alive.expired()) OnMessage(generation, std::move(message));
  };
  events.on_closed = [this, alive, generation](absl::Status why) {
    if (alive.expired() || generation != generation_) return;
    stream_ = nullptr;
    Rotate(why);
  };
  auto stream = deps_.directory->controllers()[index_].peer->FollowMetadata(
      request, std::move(events));
  // Unless it broke already.
  if (generation == generation_) stream_ = std::move(stream);
}

void MetadataFollower::OnMessage(uint64_t generation, Response message) {
  if (stopped_ || generation != generation_) return;
  if (absl::Status status = Check(message); !status.ok()) {
    Rotate(status);
    return;
  }
  answered_ = true;
  failures_ = 0;
  term_seen_ = Term(message.term());
  last_contact_us_ = deps_.clock->MonoMicros();
  if (message.batches_size() > 0) {
    if (absl::Status status = Apply(message); !status.ok()) {
      LOG(ERROR) << "metadata cannot be applied: " << status;
      Stop();
      deps_.on_fatal(std::move(status));
      return;
    }
  }
  if (image_->offset() >= committed_) behind_since_us_ = -1;
  if (generation != generation_) return;
  deps_.directory->Learn(Term(message.term()),
                         NodeId(message.active_controller_id()));
}

absl::Status MetadataFollower::Check(const Response& message) const {
  const NodeId from = following();
  if (message.has_error() && message.error().code() != 0) {
    return MakeErrorStatus(
        CodeFromNumber(static_cast<int32_t>(message.error().code())),
        message.error().message());
  }
  if (message.term() < term_seen_.value()) {
    return MakeError(ErrorCode::kNotController, "controller ", from,
                     " is in term ", message.term(), ", term ", term_seen_,
                     " has been seen: it is behind");
  }
  if (message.previous_offset() != position_.value()) {
    return MakeError(ErrorCode::kInvalidRecord, "controller ", from,
                     " sent metadata from after offset ",
                     message.previous_offset(), ", wanted is from after ",
                     position_);
  }
  LogIndex last = position_;
  Term term = image_->term();
  for (const auto& batch : message.batches()) {
    if (batch.offset() <= last.value() || batch.term() < term.value() ||
        batch.term() > message.term() ||
        batch.offset() > message.committed_offset()) {
      return MakeError(ErrorCode::kInvalidRecord, "controller ", from,
                       " sent metadata offset ", batch.offset(), " of term ",
                       batch.term(), " after offset ", last, " of term ", term,
                       ", itself in term ", message.term(),
                       " with committed offset ", message.committed_offset());
    }
    last = LogIndex(batch.offset());
    term = Term(batch.term());
  }
  return absl::OkStatus();
}

absl::Status MetadataFollower::Apply(const Response& message) {
  MetadataChanges changes;
  for (const auto& batch : message.batches()) {
    ASSIGN_OR_RETURN(AppliedBatch applied,
                     ApplyBatch(*image_, batch.batch(),
                                LogIndex(batch.offset()), Term(batch.term())));
    MergeInto(changes, applied.changes);
    image_ = std::move(applied.image);
    position_ = LogIndex(batch.offset());
  }
  deps_.on_image(image_, changes);
  return absl::OkStatus();
}

void MetadataFollower::Rotate(const absl::Status& why) {
  if (stopped_) return;
  ++generation_;
  if (const auto stream = std::exchange(stream_, nullptr)) stream->Close(why);
  const auto& controllers = deps_.directory->controllers();
  const NodeId from = controllers[index_].id;
  index_ = (index_ + 1) % controllers.size();
  if (failures_ % 20 == 0) {
    LOG(INFO) << "broker " << deps_.node_id << ": metadata from controller "
              << from << " ended at offset " << image_->offset() << ": "
              << why.message() << "; next controller "
              << controllers[index_].id;
  }
  if (retry_timer_ != 0) return;
  retry_timer_ = deps_.executor->PostAfter(
      deps_.directory->BackoffUs(failures_++),
      [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        retry_timer_ = 0;
        Open();
      });
}

void MetadataFollower::NoteCommitted(LogIndex offset) {
  const int64_t now_us = deps_.clock->MonoMicros();
  committed_ = offset;
  if (image_->offset() >= offset) {
    last_contact_us_ = now_us;
    behind_since_us_ = -1;
  } else if (behind_since_us_ < 0) {
    behind_since_us_ = now_us;
  }
}

void MetadataFollower::ScheduleCheck() {
  check_timer_ = deps_.executor->PostAfter(
      kCheckUs, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired() || stopped_) return;
        check_timer_ = 0;
        CheckStream();
        ScheduleCheck();
      });
}

void MetadataFollower::CheckStream() {
  if (stream_ == nullptr) return;
  const int64_t now_us = deps_.clock->MonoMicros();
  if (!answered_ && now_us - opened_us_ >= kFirstAnswerUs) {
    Rotate(MakeError(ErrorCode::kRequestTimedOut, "controller ", following(),
                     " has not answered for ", kFirstAnswerUs / 1000, " ms"));
    return;
  }
  // While pieces keep coming it catches up.
  if (behind_since_us_ >= 0 && now_us - behind_since_us_ >= kBehindUs &&
      now_us - last_contact_us_ >= kBehindUs) {
    Rotate(MakeError(ErrorCode::kNotController, "controller ", following(),
                     " is behind the active one and sends nothing"));
  }
}

}  // namespace sluice
