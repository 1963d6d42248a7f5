// The controllers that this broker was told of, and which of them is active.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "client/peers/controller_peer.h"
#include "common/api/log_api.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/env/clock.h"
#include "common/env/executor.h"

namespace sluice {

struct ConfiguredController {
  NodeId id;
  api::Endpoint endpoint;
  ControllerPeer* peer = nullptr;  // replies on the control executor
};

class ActiveCall;

// Knowledge comes from Hello answers, metadata streams and refusals, and is
// ordered by term: an older term never replaces a newer one. While nobody is
// known to be active every controller is asked by Hello, each at most once at
// a time, every 50-200 ms (every 0.5-1 s after 10 s without success).
//
// Belongs to the control executor; so do the callbacks.
class ControllerDirectory {
 public:
  static constexpr int64_t kHelloTimeoutUs = 500000;
  static constexpr int64_t kPatienceUs = 10000000;  // then polls slow down

  struct Deps {
    Executor* executor = nullptr;
    const Clock* clock = nullptr;
    std::vector<ConfiguredController> controllers;  // at least one
    NodeId node_id;
    uint64_t random_seed = 0;
  };
  using Listener = std::function<void()>;
  using HelloListener =
      std::function<void(const internal::v1::HelloResponse&)>;

  explicit ControllerDirectory(Deps deps);
  ~ControllerDirectory();
  ControllerDirectory(const ControllerDirectory&) = delete;

  // Begins to look for the active controller.
  void Start();
  // Fails every call under way with SHUTTING_DOWN. Idempotent.
  void Stop();

  NodeId active() const { return active_; }  // kNoNode: not known
  Term term() const { return term_; }
  ControllerPeer* active_peer() const;       // null: not known
  const std::vector<ConfiguredController>& controllers() const {
    return deps_.controllers;
  }

  // Answers of controllers of other clusters count for nothing from now on.
  void RequireCluster(const ClusterId& cluster_id) {
    cluster_id_ = cluster_id;
  }

  // A controller said, in its `term`, that `active` is active; kNoNode: none.
  void Learn(Term term, NodeId active);
  // A call to `id` failed or was refused: if it counts as active, it does no
  // more until somebody says so again.
  void Doubt(NodeId id);

  // Called after each change of active() to a known node, newest last; and
  // with each Hello answer, before what it says is learnt. Set once.
  void AddActiveListener(Listener listener) {
    active_listeners_.push_back(std::move(listener));
  }
  void SetHelloListener(HelloListener listener) {
    on_hello_ = std::move(listener);
  }

  // How long to wait before the next try after `failures` in a row:
  // 50-200 ms, jittered, and 0.5-1 s from the twentieth on.
  int64_t BackoffUs(int failures);

  // What the answer to a call on the active controller is worth.
  template <class Response>
  struct Outcome {
    absl::StatusOr<Response> response;
    // An attempt was sent whose answer never came: it may have been carried
    // out, whatever `response` says.
    bool uncertain = false;
  };
  template <class Response>
  using Attempt = absl::AnyInvocable<void(
      ControllerPeer* peer, int64_t timeout_us, PeerReply<Response> reply)>;
  template <class Response>
  using OutcomeReply = absl::AnyInvocable<void(Outcome<Response>)>;

  static constexpr int64_t kNoDeadline = INT64_MAX;
  static constexpr size_t kCallsMax = 2000;

  // Calls the active controller, waits for one to be known, and tries again
  // after transport errors, NOT_CONTROLLER, BUSY and the like until
  // `deadline_us` (Clock::MonoMicros). `reply` runs once, later, on the
  // executor: with the answer, with a refusal that trying again does not
  // change, with REQUEST_TIMED_OUT, with BUSY (kCallsMax calls under way), or
  // with SHUTTING_DOWN. An attempt whose controller is no more active is given
  // up for the new one. An `error` field of a response becomes its status.
  template <class Response>
  void CallActive(int64_t deadline_us, int64_t attempt_timeout_us,
                  Attempt<Response> attempt, OutcomeReply<Response> reply);

 private:
  friend class ActiveCall;

  void Poll();
  void SchedulePoll(int64_t delay_us);
  void OnHello(NodeId from, absl::StatusOr<internal::v1::HelloResponse> reply);
  void SetActive(NodeId active);
  void Launch(std::shared_ptr<ActiveCall> call);

  Deps deps_;
  Random random_;
  ClusterId cluster_id_;
  NodeId active_ = kNoNode;
  Term term_{0};
  bool running_ = false;
  std::vector<Listener> active_listeners_;
  HelloListener on_hello_;
  std::map<NodeId, bool> hello_in_flight_;
  int64_t unknown_since_us_ = 0;
  int64_t last_log_us_ = INT64_MIN;
  TimerId poll_timer_ = 0;
  std::list<std::shared_ptr<ActiveCall>> calls_;
  std::shared_ptr<bool> alive_;
};

// One call until it is answered; kept by the directory.
class ActiveCall : public std::enable_shared_from_this<ActiveCall> {
 public:
  ActiveCall(ControllerDirectory* directory, int64_t deadline_us,
             int64_t attempt_timeout_us)
      : directory_(directory),
        deadline_us_(deadline_us),
        attempt_timeout_us_(attempt_timeout_us) {}
  virtual ~ActiveCall() = default;

  void Begin();
  // Another controller is active.
  void OnActive(NodeId active);
  void Abort(absl::Status why);
  // The directory goes away: no answer.
  void Drop();

 protected:
  virtual void Send(ControllerPeer* peer, int64_t timeout_us,
                    uint64_t attempt) = 0;
  virtual void Fail(absl::Status why) = 0;

  // The answer of attempt `attempt`. True: it is the call's answer, which is
  // over; false: too late or to be tried again.
  bool Settle(uint64_t attempt, const absl::Status& status);

  bool uncertain_ = false;

 private:
  void Try();
  void End();
  void OnDeadline();

  ControllerDirectory* const directory_;
  const int64_t deadline_us_;
  const int64_t attempt_timeout_us_;
  NodeId target_ = kNoNode;  // of the attempt in flight
  uint64_t attempt_ = 0;
  int failures_ = 0;
  bool over_ = false;
  absl::Status last_error_;
  TimerId retry_timer_ = 0;
  TimerId deadline_timer_ = 0;
};

namespace control_internal {

template <class Response>
absl::Status StatusOfAnswer(const absl::StatusOr<Response>& answer) {
  if (!answer.ok()) return answer.status();
  if constexpr (requires { answer->error().code(); }) {
    if (answer->error().code() != 0) {
      return MakeErrorStatus(
          CodeFromNumber(static_cast<int32_t>(answer->error().code())),
          answer->error().message());
    }
  }
  return absl::OkStatus();
}

template <class Response>
class TypedCall final : public ActiveCall {
 public:
  TypedCall(ControllerDirectory* directory, int64_t deadline_us,
            int64_t attempt_timeout_us,
            ControllerDirectory::Attempt<Response> attempt,
            ControllerDirectory::OutcomeReply<Response> reply)
      : ActiveCall(directory, deadline_us, attempt_timeout_us),
        send_(std::move(attempt)),
        reply_(std::move(reply)) {}

 private:
  void Send(ControllerPeer* peer, int64_t timeout_us,
            uint64_t attempt) override {
    send_(peer, timeout_us,
          [weak = weak_from_this(),
           attempt](absl::StatusOr<Response> answer) {
            const auto self =
                std::static_pointer_cast<TypedCall>(weak.lock());
            if (self != nullptr) self->OnAnswer(attempt, std::move(answer));
          });
  }
  void OnAnswer(uint64_t attempt, absl::StatusOr<Response> answer) {
    absl::Status status = StatusOfAnswer(answer);
    if (!Settle(attempt, status)) return;
    if (!status.ok()) return Fail(std::move(status));
    reply_({std::move(answer), uncertain_});
  }
  void Fail(absl::Status why) override {
    reply_({std::move(why), uncertain_});
  }

  ControllerDirectory::Attempt<Response> send_;
  ControllerDirectory::OutcomeReply<Response> reply_;
};

}  // namespace control_internal

template <class Response>
void ControllerDirectory::CallActive(int64_t deadline_us,
                                     int64_t attempt_timeout_us,
                                     Attempt<Response> attempt,
                                     OutcomeReply<Response> reply) {
  Launch(std::make_shared<control_internal::TypedCall<Response>>(
      this, deadline_us, attempt_timeout_us, std::move(attempt),
      std::move(reply)));
}

}  // namespace sluice
