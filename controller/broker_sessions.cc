#include "controller/broker_sessions.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "controller/metadata/broker_control.h"

namespace sluice {
namespace {

constexpr int64_t kDialTimeoutUs = 1000000;

SessionCore::Dial ToCore(DialResult result) {
  switch (result) {
    case DialResult::kConnected:
      return SessionCore::Dial::kConnected;
    case DialResult::kRefused:
      return SessionCore::Dial::kRefused;
    case DialResult::kNoAnswer:
      break;
  }
  return SessionCore::Dial::kNoAnswer;
}

}  // namespace

BrokerSessions::BrokerSessions(Deps deps, SessionDecisions decisions)
    : deps_(deps),
      decisions_(std::move(decisions)),
      core_(deps.options),
      gray_(deps.gray),
      image_(MetadataImage::Empty()),
      alive_(std::make_shared<bool>(true)) {}

BrokerSessions::~BrokerSessions() {
  if (timer_ != 0) deps_.executor->Cancel(timer_);
}

void BrokerSessions::Activate(std::shared_ptr<const MetadataImage> image) {
  active_ = true;
  image_ = std::move(image);
  Run(core_.Activate(*image_, NowUs()));
  ScheduleTick();
}

void BrokerSessions::Deactivate(const absl::Status& why) {
  active_ = false;
  core_.Deactivate();
  gray_.Reset();
  if (timer_ != 0) deps_.executor->Cancel(timer_);
  timer_ = 0;
  stream_of_.clear();
  auto streams = std::exchange(streams_, {});
  for (auto& [id, live] : streams) live.stream->Close(why);
}

int64_t BrokerSessions::NowUs() const {
  return MUTANT(kWallClockSessions) ? deps_.clock->WallMillis() * 1000
                                    : deps_.clock->MonoMicros();
}

void BrokerSessions::ScheduleTick() {
  timer_ = deps_.executor->PostAfter(
      deps_.options.tick_us, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired() || !active_) return;
        Run(core_.OnTick(NowUs()));
        if (active_) JudgeGrayFailures();
        if (active_) ScheduleTick();
      });
}

BrokerSessions::Events BrokerSessions::Accept(std::shared_ptr<Stream> stream,
                                              const absl::Status& active) {
  absl::Status status = active;
  if (status.ok() && streams_.size() >= kStreamsMax) {
    status = MakeError(ErrorCode::kBusy, streams_.size(),
                       " liveness streams, the limit");
  }
  if (!status.ok()) {
    stream->Close(std::move(status));
    return {};
  }
  const uint64_t id = next_id_++;
  streams_[id].stream = std::move(stream);
  const std::weak_ptr<bool> alive = alive_;
  Events events;
  events.on_message = [this, alive, id](internal::v1::LivenessRequest request) {
    if (!alive.expired()) OnMessage(id, request);
  };
  events.on_closed = [this, alive, id](absl::Status) {
    if (!alive.expired()) OnClosed(id);
  };
  return events;
}

absl::Status BrokerSessions::Identify(
    uint64_t id, const internal::v1::LivenessRequest& request) {
  const NodeId broker(request.broker_id());
  const BrokerEpoch epoch(request.broker_epoch());
  if (absl::Status status = CheckBrokerEpoch(*image_, broker, epoch);
      !status.ok()) {
    return status;
  }
  if (image_->FindBroker(broker)->incarnation.ToBytes() !=
      request.incarnation_id()) {
    return MakeError(ErrorCode::kStaleBrokerEpoch, "broker ", broker, " epoch ",
                     epoch, " is another incarnation; register again");
  }
  // A newer stream of the same incarnation replaces the older.
  const auto older = stream_of_.find(broker);
  if (older != stream_of_.end()) {
    CloseLive(older->second, MakeError(ErrorCode::kStaleBrokerEpoch, "broker ",
                                       broker, " opened a newer stream"));
  }
  Live& live = streams_[id];
  live.broker = broker;
  live.epoch = epoch;
  stream_of_[broker] = id;
  return absl::OkStatus();
}

void BrokerSessions::CloseLive(uint64_t id, const absl::Status& why) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  const auto stream = std::move(found->second.stream);
  const auto current = stream_of_.find(found->second.broker);
  if (current != stream_of_.end() && current->second == id) {
    stream_of_.erase(current);
  }
  streams_.erase(found);
  stream->Close(why);
}

void BrokerSessions::OnMessage(uint64_t id,
                               const internal::v1::LivenessRequest& request) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  Live& live = found->second;
  if (live.broker == kNoNode) {
    if (absl::Status status = Identify(id, request); !status.ok()) {
      internal::v1::LivenessResponse response;
      response.mutable_error()->set_code(
          static_cast<v1::ErrorCode>(CodeOf(status)));
      response.mutable_error()->set_message(std::string(status.message()));
      response.set_fenced(true);
      live.stream->Send(response);
      CloseLive(id, status);
      return;
    }
  }
  core_.OnHeartbeat(live.broker, live.epoch, id, NowUs());
  gray_.OnHeartbeat(live.broker, live.epoch, request, NowUs());
  const LogIndex applied(request.applied_metadata_offset());
  const bool advanced = applied > live.applied;
  live.applied = std::max(live.applied, applied);
  live.waits_to_stop = request.want_shutdown();
  if (request.want_shutdown()) {
    decisions_.begin_stop(live.broker, live.epoch);
  } else if (request.want_unfence() &&
             (live.applied.value() >= live.epoch.value() ||
              MUTANT(kUnfenceBeforeCatchUp))) {
    decisions_.unfence(live.broker, live.epoch);  // MD5
  }
  // The decisions may have ended this stream.
  const auto still = streams_.find(id);
  if (still != streams_.end()) Answer(still->second);
  if (advanced) ReleaseStoppers();
}

void BrokerSessions::ReleaseStoppers() {
  for (auto& [id, live] : streams_) {
    if (live.waits_to_stop && MayShutdown(live)) Answer(live);
  }
}

void BrokerSessions::Answer(Live& live) {
  internal::v1::LivenessResponse response;
  const BrokerImage* broker = image_->FindBroker(live.broker);
  response.set_fenced(broker == nullptr || broker->fenced);
  response.set_may_shutdown(live.waits_to_stop && MayShutdown(live));
  if (response.may_shutdown()) live.waits_to_stop = false;
  response.set_committed_metadata_offset(image_->offset().value());
  response.set_probe_disks(gray_.wants_probes());
  live.stream->Send(response);
}

bool BrokerSessions::MayShutdown(Live& live) {
  const BrokerImage* broker = image_->FindBroker(live.broker);
  if (broker == nullptr) return true;
  // Fenced alone is not enough: its unfencing may be under way, and elect it.
  // Once `stopping` is committed, what came before it shows and no election
  // follows.
  if (broker->fenced && (broker->stopping || MUTANT(kFencedStopsAtOnce))) {
    return true;
  }
  if (MUTANT(kStopWithoutHandOver)) return true;
  if (!broker->stopping || LeadsAny(*image_, live.broker)) return false;
  if (live.handed_over.value() == 0) live.handed_over = image_->offset();
  for (const auto& [id, other] : image_->brokers()) {
    if (id == live.broker || !other->active()) continue;
    const auto stream = stream_of_.find(id);
    // Without a stream it is fenced soon, or comes back and tells.
    if (stream == stream_of_.end() ||
        streams_[stream->second].applied < live.handed_over) {
      return false;
    }
  }
  return true;
}

void BrokerSessions::RetryFence(NodeId broker, BrokerEpoch epoch) {
  if (active_ && CheckBrokerEpoch(*image_, broker, epoch).ok()) {
    core_.OnRegistered(broker, epoch, NowUs());
  }
}

void BrokerSessions::OnClosed(uint64_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  const NodeId broker = found->second.broker;
  const BrokerEpoch epoch = found->second.epoch;
  streams_.erase(found);
  if (broker == kNoNode) return;
  const auto current = stream_of_.find(broker);
  if (current != stream_of_.end() && current->second == id) {
    stream_of_.erase(current);
  }
  Run(core_.OnStreamClosed(broker, epoch, id, NowUs()));
}

void BrokerSessions::OnCommitted(std::shared_ptr<const MetadataImage> image,
                                 const MetadataChanges& changes) {
  const std::shared_ptr<const MetadataImage> before = image_;
  image_ = std::move(image);
  if (!active_) return;
  for (const NodeId id : changes.brokers_changed) {
    const BrokerImage* now = image_->FindBroker(id);
    const BrokerImage* old = before->FindBroker(id);
    const bool registered =
        now != nullptr && (old == nullptr || old->epoch != now->epoch);
    const auto stream = stream_of_.find(id);
    if (registered) {
      if (stream != stream_of_.end()) {
        CloseLive(stream->second,
                  MakeError(ErrorCode::kStaleBrokerEpoch, "broker ", id,
                            " registered anew with epoch ", now->epoch));
      }
      core_.OnRegistered(id, now->epoch, NowUs());
    } else if (stream != stream_of_.end()) {
      Answer(streams_[stream->second]);
    }
  }
}

void BrokerSessions::Run(const SessionActions& actions) {
  for (const SessionAction& action : actions) {
    switch (action.kind) {
      case SessionAction::Kind::kDial:
        Dial(action.broker, action.epoch);
        break;
      case SessionAction::Kind::kFence:
        decisions_.fence(action.broker, action.epoch, action.why);
        break;
      case SessionAction::Kind::kResign:
        decisions_.resign(action.why);
        break;
    }
  }
}

void BrokerSessions::JudgeGrayFailures() {
  for (const GrayFailureAction& action : gray_.Judge(*image_, NowUs())) {
    auto& decide = action.kind == GrayFailureAction::Kind::kDemote
                       ? decisions_.demote
                       : decisions_.clear;
    decide(action.broker, action.epoch, action.why);
  }
}

void BrokerSessions::Dial(NodeId broker, BrokerEpoch epoch) {
  const BrokerImage* known = image_->FindBroker(broker);
  const internal::v1::BrokerListener* listener =
      known == nullptr ? nullptr : known->FindListener(kInternalListener);
  const std::weak_ptr<bool> alive = alive_;
  const auto done = [this, alive, broker, epoch](DialResult result) {
    if (alive.expired() || !active_) return;
    VLOG(1) << "dial of broker " << broker << " epoch " << epoch << ": "
            << static_cast<int>(result);
    Run(core_.OnDialResult(broker, epoch, ToCore(result),
                           NowUs()));
  };
  if (listener == nullptr) {
    // Nowhere to dial: as good as no answer.
    deps_.executor->Post([done] { done(DialResult::kNoAnswer); });
    return;
  }
  deps_.dialer->Dial(
      api::Endpoint{listener->endpoint().host(), listener->endpoint().port()},
      kDialTimeoutUs, deps_.executor, done);
}

}  // namespace sluice
