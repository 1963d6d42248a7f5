#include "broker/control/controller_directory.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "common/base/invariant.h"

namespace sluice {
namespace {

constexpr int64_t kBackoffLowUs = 50000;
constexpr int64_t kBackoffHighUs = 200000;
constexpr int64_t kSlowLowUs = 500000;
constexpr int64_t kSlowHighUs = 1000000;
constexpr int kFailuresUntilSlow = 20;
constexpr int64_t kLogEveryUs = 30000000;

enum class Verdict {
  kFinal,
  kRefused,    // nothing happened; ask (perhaps another) again
  kUncertain,  // it may have happened; ask again
};

Verdict Judge(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotController:
    case ErrorCode::kBusy:
      return Verdict::kRefused;
    case ErrorCode::kShuttingDown:
    case ErrorCode::kOutcomeUnknown:
    // Transport errors, by the nearest of our codes.
    case ErrorCode::kBrokerNotAvailable:
    case ErrorCode::kRequestTimedOut:
    case ErrorCode::kUnknownServerError:
      return Verdict::kUncertain;
    default:
      return Verdict::kFinal;
  }
}

}  // namespace

ControllerDirectory::ControllerDirectory(Deps deps)
    : deps_(std::move(deps)),
      random_(deps_.random_seed),
      alive_(std::make_shared<bool>(true)) {
  INVARIANT(!deps_.controllers.empty(), "a broker without controllers");
}

ControllerDirectory::~ControllerDirectory() {
  if (poll_timer_ != 0) deps_.executor->Cancel(poll_timer_);
  // Nobody waits for an answer of a directory that is gone.
  for (const auto& call : std::exchange(calls_, {})) call->Drop();
}

void ControllerDirectory::Start() {
  running_ = true;
  unknown_since_us_ = deps_.clock->MonoMicros();
  last_log_us_ = unknown_since_us_;
  SchedulePoll(0);
}

void ControllerDirectory::Stop() {
  running_ = false;
  if (poll_timer_ != 0) deps_.executor->Cancel(poll_timer_);
  poll_timer_ = 0;
  const absl::Status why = MakeError(ErrorCode::kShuttingDown, "broker ",
                                     deps_.node_id, " is stopping");
  while (!calls_.empty()) {
    const auto call = calls_.front();
    call->Abort(why);
  }
}

ControllerPeer* ControllerDirectory::active_peer() const {
  for (const ConfiguredController& controller : deps_.controllers) {
    if (controller.id == active_) return controller.peer;
  }
  return nullptr;
}

void ControllerDirectory::Learn(Term term, NodeId active) {
  if (term < term_) return;
  const bool newer = term > term_;
  term_ = term;
  const bool known = std::any_of(
      deps_.controllers.begin(), deps_.controllers.end(),
      [&](const ConfiguredController& c) { return c.id == active; });
  if (known) {
    SetActive(active);
  } else if (newer) {
    // Whoever was active in an older term is not any more.
    SetActive(kNoNode);
  }
}

void ControllerDirectory::Doubt(NodeId id) {
  if (id == active_) SetActive(kNoNode);
}

void ControllerDirectory::SetActive(NodeId active) {
  if (active == active_) return;
  active_ = active;
  if (!running_) return;
  if (active_ == kNoNode) {
    unknown_since_us_ = deps_.clock->MonoMicros();
    last_log_us_ = unknown_since_us_;
    SchedulePoll(BackoffUs(0));
    return;
  }
  LOG(INFO) << "broker " << deps_.node_id << ": controller " << active_
            << " is active in term " << term_;
  for (const Listener& listener : active_listeners_) {
    listener();
    if (active_ != active) return;  // a listener found out otherwise
  }
  // A call may end, or begin others, meanwhile.
  const std::vector<std::shared_ptr<ActiveCall>> calls(calls_.begin(),
                                                       calls_.end());
  for (const auto& call : calls) call->OnActive(active);
}

int64_t ControllerDirectory::BackoffUs(int failures) {
  return failures < kFailuresUntilSlow
             ? random_.Between(kBackoffLowUs, kBackoffHighUs)
             : random_.Between(kSlowLowUs, kSlowHighUs);
}

void ControllerDirectory::SchedulePoll(int64_t delay_us) {
  if (!running_ || poll_timer_ != 0) return;
  poll_timer_ = deps_.executor->PostAfter(
      delay_us, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        poll_timer_ = 0;
        Poll();
      });
}

void ControllerDirectory::Poll() {
  if (!running_ || active_ != kNoNode) return;
  const int64_t now_us = deps_.clock->MonoMicros();
  if (now_us - last_log_us_ >= kLogEveryUs) {
    last_log_us_ = now_us;
    LOG(WARNING) << "broker " << deps_.node_id
                 << " has known of no active controller for "
                 << (now_us - unknown_since_us_) / 1000000
                 << " s; it goes on with the metadata that it has, changes of "
                    "leaders, ISRs and topics wait; check that a majority of "
                    "the controllers runs and is reachable";
  }
  internal::v1::HelloRequest request;
  request.set_node_id(deps_.node_id.value());
  for (const ConfiguredController& controller : deps_.controllers) {
    bool& in_flight = hello_in_flight_[controller.id];
    if (in_flight) continue;
    in_flight = true;
    controller.peer->Hello(
        request, kHelloTimeoutUs,
        [this, alive = std::weak_ptr<bool>(alive_), from = controller.id](
            absl::StatusOr<internal::v1::HelloResponse> reply) {
          if (!alive.expired()) OnHello(from, std::move(reply));
        });
  }
  const bool slow = now_us - unknown_since_us_ >= kPatienceUs;
  SchedulePoll(BackoffUs(slow ? kFailuresUntilSlow : 0));
}

void ControllerDirectory::OnHello(
    NodeId from, absl::StatusOr<internal::v1::HelloResponse> reply) {
  hello_in_flight_[from] = false;
  if (!running_ || !reply.ok() || reply->cluster_id().empty()) return;
  if (on_hello_) on_hello_(*reply);
  if (cluster_id_.is_set() && reply->cluster_id() != cluster_id_.ToBytes()) {
    VLOG(1) << "controller " << from << " is of another cluster: ignored";
    return;
  }
  Learn(Term(reply->term()), NodeId(reply->active_controller_id()));
}

void ControllerDirectory::Launch(std::shared_ptr<ActiveCall> call) {
  // Posted: no caller is answered before its call has returned.
  deps_.executor->Post(
      [this, alive = std::weak_ptr<bool>(alive_), call = std::move(call)] {
        if (alive.expired()) return;
        if (!running_) {
          call->Abort(MakeError(ErrorCode::kShuttingDown, "broker ",
                                deps_.node_id, " is stopping"));
        } else if (calls_.size() >= kCallsMax) {
          call->Abort(MakeError(ErrorCode::kBusy, calls_.size(),
                                " calls to the controller are under way, the "
                                "limit; try again later"));
        } else {
          calls_.push_back(call);
          call->Begin();
        }
      });
}

void ActiveCall::Begin() {
  if (deadline_us_ != ControllerDirectory::kNoDeadline) {
    const int64_t now_us = directory_->deps_.clock->MonoMicros();
    const int64_t left_us = std::max<int64_t>(0, deadline_us_ - now_us);
    deadline_timer_ = directory_->deps_.executor->PostAfter(
        left_us, [weak = weak_from_this()] {
          const auto self = weak.lock();
          if (self != nullptr) self->OnDeadline();
        });
  }
  Try();
}

void ActiveCall::OnDeadline() {
  deadline_timer_ = 0;
  if (over_) return;
  if (target_ != kNoNode) uncertain_ = true;
  const std::string last =
      last_error_.ok() ? std::string("none answered")
                       : StrCat("last: ", last_error_.message());
  Abort(MakeError(ErrorCode::kRequestTimedOut,
                  "no active controller took the request in time (", last,
                  "); check that a majority of the controllers runs, then try "
                  "again"));
}

void ActiveCall::Try() {
  if (over_ || target_ != kNoNode || retry_timer_ != 0) return;
  ControllerPeer* peer = directory_->active_peer();
  if (peer == nullptr) return;  // OnActive comes
  const int64_t left_us =
      deadline_us_ == ControllerDirectory::kNoDeadline
          ? attempt_timeout_us_
          : deadline_us_ - directory_->deps_.clock->MonoMicros();
  if (left_us <= 0) return;  // OnDeadline is due
  target_ = directory_->active();
  Send(peer, std::min(left_us, attempt_timeout_us_), ++attempt_);
}

void ActiveCall::OnActive(NodeId active) {
  if (over_) return;
  if (target_ != kNoNode && target_ != active) {
    // The old one may be hung or cut off: its answer could take for ever.
    target_ = kNoNode;
    ++attempt_;
    uncertain_ = true;
  }
  Try();
}

bool ActiveCall::Settle(uint64_t attempt, const absl::Status& status) {
  if (over_ || attempt != attempt_) return false;
  const NodeId from = std::exchange(target_, kNoNode);
  const ErrorCode code = CodeOf(status);
  const Verdict verdict = Judge(code);
  if (status.ok() || verdict == Verdict::kFinal) {
    End();
    return true;
  }
  if (verdict == Verdict::kUncertain) uncertain_ = true;
  last_error_ = status;
  retry_timer_ = directory_->deps_.executor->PostAfter(
      directory_->BackoffUs(failures_++), [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (self == nullptr) return;
        self->retry_timer_ = 0;
        self->Try();
      });
  if (code != ErrorCode::kBusy) directory_->Doubt(from);
  return false;
}

void ActiveCall::Abort(absl::Status why) {
  if (over_) return;
  if (target_ != kNoNode) uncertain_ = true;
  const auto self = shared_from_this();
  End();
  Fail(std::move(why));
}

void ActiveCall::Drop() { over_ = true; }

void ActiveCall::End() {
  over_ = true;
  if (retry_timer_ != 0) directory_->deps_.executor->Cancel(retry_timer_);
  if (deadline_timer_ != 0) directory_->deps_.executor->Cancel(deadline_timer_);
  retry_timer_ = deadline_timer_ = 0;
  directory_->calls_.remove(shared_from_this());
}

}  // namespace sluice
