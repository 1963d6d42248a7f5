#include "broker/control/liveness_session.h"

#include <glog/logging.h>

#include <utility>

#include "common/base/error.h"

namespace sluice {

using internal::v1::LivenessRequest;
using internal::v1::LivenessResponse;

LivenessSession::LivenessSession(Deps deps)
    : deps_(std::move(deps)), alive_(std::make_shared<bool>(true)) {
  deps_.directory->AddActiveListener(
      [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired() || !open_) return;
        if (stream_ != nullptr && peer_ != deps_.directory->active()) {
          Drop(MakeError(ErrorCode::kNotController, "controller ",
                         deps_.directory->active(), " is active"));
        }
        Connect();
      });
}

LivenessSession::~LivenessSession() { Close(); }

void LivenessSession::Open(BrokerEpoch epoch) {
  if (open_ && epoch == epoch_) return;
  Close();
  open_ = true;
  epoch_ = epoch;
  failures_ = 0;
  Connect();
  ScheduleTick();
}

void LivenessSession::Close() {
  open_ = false;
  for (TimerId* timer : {&tick_timer_, &connect_timer_}) {
    if (*timer != 0) deps_.executor->Cancel(*timer);
    *timer = 0;
  }
  Drop(MakeError(ErrorCode::kShuttingDown, "broker ", deps_.node_id,
                 " ends its session"));
}

void LivenessSession::Drop(absl::Status why) {
  ++generation_;
  answered_ = false;
  if (const auto stream = std::exchange(stream_, nullptr)) {
    stream->Close(std::move(why));
  }
}

bool LivenessSession::connected() const {
  return stream_ != nullptr && answered_ &&
         deps_.clock->MonoMicros() - heard_us_ < deps_.times.silence_us;
}

void LivenessSession::Connect() {
  if (!open_ || stream_ != nullptr || connect_timer_ != 0) return;
  ControllerPeer* peer = deps_.directory->active_peer();
  if (peer == nullptr) return;  // the listener calls
  const uint64_t generation = ++generation_;
  peer_ = deps_.directory->active();
  answered_ = false;
  heard_us_ = deps_.clock->MonoMicros();
  const std::weak_ptr<bool> alive = alive_;
  PeerStreamEvents<LivenessResponse> events;
  events.on_message = [this, alive, generation](LivenessResponse message) {
    if (!alive.expired()) OnMessage(generation, message);
  };
  events.on_closed = [this, alive, generation](absl::Status why) {
    if (alive.expired() || generation != generation_) return;
    stream_ = nullptr;
    OnFailure(why.ok() ? MakeError(ErrorCode::kNotController, "controller ",
                                   peer_, " ended the session")
                       : why);
  };
  auto stream = peer->OpenLiveness(std::move(events));
  if (generation != generation_) return;  // it broke already
  stream_ = std::move(stream);
  Send();
}

void LivenessSession::Send() {
  if (stream_ == nullptr) return;
  LivenessRequest request;
  request.set_broker_id(deps_.node_id.value());
  request.set_broker_epoch(epoch_.value());
  request.set_incarnation_id(deps_.incarnation.ToBytes());
  deps_.fill(request);
  stream_->Send(request);
}

void LivenessSession::Beat() {
  if (stream_ == nullptr || beat_posted_) return;
  beat_posted_ = true;
  deps_.executor->Post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    beat_posted_ = false;
    Send();
  });
}

void LivenessSession::OnMessage(uint64_t generation,
                                const LivenessResponse& message) {
  if (generation != generation_ || !open_) return;
  if (message.has_error() && message.error().code() != 0) {
    OnFailure(MakeErrorStatus(
        CodeFromNumber(static_cast<int32_t>(message.error().code())),
        message.error().message()));
    return;
  }
  answered_ = true;
  failures_ = 0;
  heard_us_ = last_answer_us_ = deps_.clock->MonoMicros();
  deps_.on_answer(message);
}

void LivenessSession::OnFailure(const absl::Status& why) {
  const ErrorCode code = CodeOf(why);
  if (code == ErrorCode::kStaleBrokerEpoch ||
      code == ErrorCode::kBrokerIdNotRegistered) {
    Close();
    deps_.on_stale(why);
    return;
  }
  Break(why);
}

void LivenessSession::Break(const absl::Status& why) {
  if (failures_ % 20 == 0) {
    LOG(INFO) << "broker " << deps_.node_id << ": session with controller "
              << peer_ << " broke: " << why.message();
  }
  Drop(why);
  if (connect_timer_ == 0) {
    connect_timer_ = deps_.executor->PostAfter(
        deps_.directory->BackoffUs(failures_++),
        [this, alive = std::weak_ptr<bool>(alive_)] {
          if (alive.expired()) return;
          connect_timer_ = 0;
          Connect();
        });
  }
  if (CodeOf(why) != ErrorCode::kBusy) deps_.directory->Doubt(peer_);
}

void LivenessSession::ScheduleTick() {
  tick_timer_ = deps_.executor->PostAfter(
      deps_.times.heartbeat_us, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired() || !open_) return;
        Tick();
        if (open_) ScheduleTick();
      });
}

void LivenessSession::Tick() {
  if (stream_ == nullptr) return;
  if (deps_.clock->MonoMicros() - heard_us_ >= deps_.times.silence_us) {
    Break(MakeError(ErrorCode::kRequestTimedOut, "no answer for ",
                    deps_.times.silence_us / 1000, " ms"));
    return;
  }
  Send();
}

}  // namespace sluice
