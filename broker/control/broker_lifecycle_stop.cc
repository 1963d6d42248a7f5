// The end of a broker's life: leaderships handed over, logs closed.
#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "broker/control/broker_lifecycle.h"
#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice {
namespace {

constexpr int64_t kHandOverCheckUs = 100000;

}  // namespace

void BrokerLifecycle::RequestStop(
    absl::AnyInvocable<void(absl::Status)> done) {
  INVARIANT(stop_done_ == nullptr, "a broker stops once");
  stop_done_ = std::move(done);
  stop_began_us_ = deps_.clock->MonoMicros();
  if (fatal_ || state_ < State::kUnfencing || fenced_) {
    CloseLogs("it leads nothing");
    return;
  }
  SetState(State::kHandingOver);
  session_.Beat();
  After(kHandOverCheckUs, &BrokerLifecycle::CheckHandOver);
}

void BrokerLifecycle::CheckHandOver() {
  if (state_ != State::kHandingOver) return;
  const int64_t now_us = deps_.clock->MonoMicros();
  if (now_us - stop_began_us_ >= kStopMaxUs) {
    CloseLogs("the time for handing over is up; partitions that nobody else "
              "can lead have no leader until this broker is back");
    return;
  }
  const int64_t heard_us = std::max(stop_began_us_, session_.last_answer_us());
  if (now_us - heard_us >= kStopAloneMaxUs) {
    CloseLogs("no controller answers");
    return;
  }
  After(kHandOverCheckUs, &BrokerLifecycle::CheckHandOver);
}

BrokerEpoch BrokerLifecycle::EpochOfCleanMarker() const {
  // A marker of the registered epoch says that every replica is whole. While
  // controllers may still wait for verdicts it must not speak for them.
  if (epoch_ != kNoBrokerEpoch) {
    return wanted_reported_ && recovered_ ? epoch_ : kNoBrokerEpoch;
  }
  if (!recovered_ || deps_.identity.directories.empty()) return kNoBrokerEpoch;
  for (const auto& [tp, verdict] : verdicts_) {
    if (verdict.lossy() || verdict.failed()) return kNoBrokerEpoch;
  }
  // Not registered, so nothing was appended: as clean as it was before. Should
  // a registration have got through unnoticed, its epoch is another.
  const auto& directories = deps_.identity.directories;
  const int64_t before = directories.front().clean_broker_epoch();
  for (const auto& directory : directories) {
    if (directory.clean_broker_epoch() != before) return kNoBrokerEpoch;
  }
  return BrokerEpoch(before);
}

void BrokerLifecycle::CloseLogs(const char* why) {
  if (state_ >= State::kClosing) return;
  LOG(INFO) << "broker " << deps_.identity.node_id << " closes its logs after "
            << (deps_.clock->MonoMicros() - stop_began_us_) / 1000
            << " ms: " << why;
  SetState(State::kClosing);
  replicas_->StopClean(
      EpochOfCleanMarker(),
      [this, alive = std::weak_ptr<bool>(alive_)](absl::Status status) {
        if (alive.expired()) return;
        if (!status.ok()) {
          // Told to stop while it recovers it does so: nothing is wrong.
          LOG_AT_LEVEL(CodeOf(status) == ErrorCode::kReplicaRecovering
                           ? google::GLOG_WARNING
                           : google::GLOG_ERROR)
              << "broker " << deps_.identity.node_id
              << " did not stop cleanly: " << status;
        }
        session_.Close();
        SetState(State::kStopped);
        stop_done_(std::move(status));
      });
}

}  // namespace sluice
