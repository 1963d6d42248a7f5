#include "broker/control/broker_lifecycle.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/version.h"

namespace sluice {
namespace {

using internal::v1::ReplicaVerdict;
constexpr int64_t kLogEveryUs = 10000000;

// The answers that no later attempt changes.
bool IsFinalRefusal(ErrorCode code) {
  return code == ErrorCode::kInconsistentClusterId ||
         code == ErrorCode::kInvalidRegistration ||
         code == ErrorCode::kUnsupportedVersion;
}

bool SomebodyHandsOver(const MetadataImage& image) {
  return std::any_of(image.brokers().begin(), image.brokers().end(),
                     [](const auto& broker) {
                       return broker.second->stopping && !broker.second->fenced;
                     });
}

}  // namespace

BrokerLifecycle::BrokerLifecycle(Deps deps)
    : deps_(std::move(deps)),
      session_({deps_.executor, deps_.clock, deps_.directory,
                deps_.identity.node_id, deps_.identity.incarnation,
                [this](internal::v1::LivenessRequest& request) {
                  FillHeartbeat(request);
                },
                [this](const internal::v1::LivenessResponse& answer) {
                  OnAnswer(answer);
                },
                [this](absl::Status why) { OnStale(why); }, deps_.liveness}),
      alive_(std::make_shared<bool>(true)) {}

BrokerLifecycle::~BrokerLifecycle() = default;

void BrokerLifecycle::SetState(State state) {
  if (state == state_) return;
  LOG(INFO) << "broker " << deps_.identity.node_id << " epoch " << epoch_
            << ": " << NameOf(state_) << " -> " << NameOf(state);
  state_ = state;
  deps_.on_change();
}

void BrokerLifecycle::SetFenced(bool fenced) {
  if (fenced == fenced_) return;
  fenced_ = fenced;
  LOG_IF(WARNING, fenced) << "broker " << deps_.identity.node_id
                          << " was fenced: it leads nothing until the active "
                             "controller lets it in again";
  deps_.on_change();
}

void BrokerLifecycle::Fatal(absl::Status why) {
  if (fatal_) return;
  fatal_ = true;
  LOG(ERROR) << "broker " << deps_.identity.node_id << " cannot go on: " << why;
  session_.Close();
  deps_.on_fatal(std::move(why));
}

void BrokerLifecycle::After(int64_t delay_us, void (BrokerLifecycle::*step)()) {
  deps_.executor->PostAfter(
      delay_us, [this, alive = std::weak_ptr<bool>(alive_), step] {
        if (!alive.expired() && !fatal_) (this->*step)();
      });
}

void BrokerLifecycle::Start(ReplicaHost* replicas) {
  INVARIANT(replicas_ == nullptr, "a broker starts once");
  replicas_ = replicas;
  deps_.directory->SetHelloListener(
      [this, alive = std::weak_ptr<bool>(alive_)](
          const internal::v1::HelloResponse& hello) {
        if (!alive.expired()) OnHello(hello);
      });
  const std::weak_ptr<bool> alive = alive_;
  replicas_->RecoverLogs(
      [this, alive](std::vector<ReplicaVerdict> verdicts) {
        if (!alive.expired()) OnVerdicts(std::move(verdicts));
      },
      [this, alive] {
        if (!alive.expired()) OnRecovered();
      });
}

// ---- Finding the cluster ----

void BrokerLifecycle::OnHello(const internal::v1::HelloResponse& hello) {
  if (state_ != State::kFindingCluster || adopting_ || fatal_) return;
  const BrokerIdentity& own = deps_.identity;
  const auto id = ClusterId::FromBytes(hello.cluster_id());
  if (!id.has_value() || !id->is_set()) return;
  if (own.cluster_id.is_set() && *id != own.cluster_id) {
    Fatal(MakeError(ErrorCode::kInconsistentClusterId, "the data directories "
                    "of broker ", own.node_id, " belong to cluster ",
                    own.cluster_id, ", controller ", hello.node_id(),
                    " belongs to cluster ", *id,
                    "; check --controllers and --data_dirs"));
    return;
  }
  if (!own.cluster_name.empty() && !hello.cluster_name().empty() &&
      own.cluster_name != hello.cluster_name()) {
    Fatal(MakeError(ErrorCode::kInconsistentClusterId, "broker ", own.node_id,
                    " was started for cluster \"", own.cluster_name,
                    "\", controller ", hello.node_id(), " is of cluster \"",
                    hello.cluster_name(),
                    "\"; check --controllers and --cluster_name"));
    return;
  }
  adopting_ = true;
  deps_.directory->RequireCluster(*id);
  deps_.adopt_cluster(*id, [this, alive = std::weak_ptr<bool>(alive_),
                            id = *id](absl::Status status) {
    if (!alive.expired()) OnAdopted(id, status);
  });
}

void BrokerLifecycle::OnAdopted(ClusterId cluster_id,
                                const absl::Status& status) {
  if (fatal_) return;
  if (!status.ok()) {
    Fatal(status);
    return;
  }
  cluster_id_ = cluster_id;
  if (state_ != State::kFindingCluster) return;  // it stops already
  SetState(State::kRegistering);
  deps_.on_cluster(cluster_id);
  Register();
}

// ---- Registration ----

internal::v1::RegisterBrokerRequest BrokerLifecycle::Registration() const {
  const BrokerIdentity& own = deps_.identity;
  internal::v1::RegisterBrokerRequest request;
  request.set_cluster_id(cluster_id_.ToBytes());
  request.set_broker_id(own.node_id.value());
  request.set_incarnation_id(own.incarnation.ToBytes());
  for (const auto& listener : own.listeners) {
    *request.add_listeners() = listener;
  }
  request.set_rack(own.rack);
  for (const auto& directory : own.directories) {
    *request.add_directories() = directory;
  }
  request.set_boot_id(own.boot_id);
  request.set_feature_min(kFeatureLevelMin);
  request.set_feature_max(kFeatureLevelMax);
  request.set_version(kVersion);
  return request;
}

void BrokerLifecycle::Register() {
  if (registering_ || fatal_ || state_ >= State::kHandingOver) return;
  registering_ = true;
  using Response = internal::v1::RegisterBrokerResponse;
  deps_.directory->CallActive<Response>(
      ControllerDirectory::kNoDeadline, kAttemptUs,
      [request = Registration()](ControllerPeer* peer, int64_t timeout_us,
                                 PeerReply<Response> reply) {
        peer->RegisterBroker(request, timeout_us, std::move(reply));
      },
      [this, alive = std::weak_ptr<bool>(alive_)](
          ControllerDirectory::Outcome<Response> outcome) {
        if (alive.expired() || fatal_) return;
        registering_ = false;
        OnRegistered(std::move(outcome.response));
      });
}

void BrokerLifecycle::OnRegistered(
    absl::StatusOr<internal::v1::RegisterBrokerResponse> reply) {
  if (!reply.ok()) {
    OnRegistrationRefused(reply.status());
    return;
  }
  register_failures_ = 0;
  const BrokerEpoch epoch(reply->broker_epoch());
  if (state_ >= State::kClosing) return;
  LOG(INFO) << "broker " << deps_.identity.node_id << " is registered as epoch "
            << epoch << "; " << reply->wanted_size()
            << " partitions wait for what its logs hold";
  if (epoch != epoch_) {
    epoch_ = epoch;
    NoteWanted(*reply);
  }
  if (state_ == State::kRegistering) SetState(State::kRecovering);
  session_.Open(epoch_);
  MaybeReport();
}

void BrokerLifecycle::OnRegistrationRefused(const absl::Status& why) {
  const ErrorCode code = CodeOf(why);
  if (IsFinalRefusal(code)) {
    Fatal(why);
    return;
  }
  if (code == ErrorCode::kShuttingDown) return;  // the directory stopped
  const int64_t now_us = deps_.clock->MonoMicros();
  if (register_failures_++ == 0 || now_us - last_log_us_ >= kLogEveryUs) {
    last_log_us_ = now_us;
    LOG(WARNING) << "broker " << deps_.identity.node_id
                 << " is not registered yet: " << why;
  }
  // An old incarnation is fenced within its session: keep asking briskly.
  After(deps_.directory->BackoffUs(0), &BrokerLifecycle::Register);
}

void BrokerLifecycle::OnStale(const absl::Status& why) {
  if (fatal_ || state_ >= State::kClosing) return;
  if (state_ == State::kHandingOver) {
    CloseLogs("another incarnation or nobody is registered");
    return;
  }
  LOG(WARNING) << "broker " << deps_.identity.node_id << " epoch " << epoch_
               << " was refused, it registers again: " << why;
  session_.Close();
  After(deps_.directory->BackoffUs(0), &BrokerLifecycle::Register);
}

// ---- Metadata ----

void BrokerLifecycle::OnImage(const std::shared_ptr<const MetadataImage>& image,
                              const MetadataChanges& changes) {
  if (fatal_ || state_ >= State::kClosing) return;
  const BrokerImage* own = image->FindBroker(deps_.identity.node_id);
  const bool ours =
      own != nullptr && own->incarnation == deps_.identity.incarnation;
  if (ours) {
    image_epoch_ = own->epoch;
  } else if (const BrokerEpoch last = std::max(epoch_, image_epoch_);
             own != nullptr && last != kNoBrokerEpoch && own->epoch > last) {
    Fatal(MakeError(ErrorCode::kDuplicateBrokerRegistration,
                    "another process registered as broker ",
                    deps_.identity.node_id, " with epoch ", own->epoch,
                    " after this one with epoch ", last,
                    "; give each broker its own --node_id"));
    return;
  }
  if (ours && !hosted_) {
    hosted_ = true;
    replicas_->ApplyMetadata(image, EverythingIn(*image), image_epoch_);
  } else if (hosted_) {
    replicas_->ApplyMetadata(image, changes, image_epoch_);
  }
  // An answer told of a later state already.
  if (ours && epoch_ == own->epoch && image->offset() >= committed_) {
    SetFenced(own->fenced);
    MaybeRunning();
  }
  if (fenced_ || SomebodyHandsOver(*image)) session_.Beat();
}

// ---- Session ----

void BrokerLifecycle::FillHeartbeat(
    internal::v1::LivenessRequest& request) const {
  request.set_applied_metadata_offset(deps_.applied().value());
  request.set_want_unfence(wanted_reported_ && state_ < State::kHandingOver);
  request.set_want_shutdown(state_ >= State::kHandingOver);
  // What recovery does to disks and shards is no failure.
  if (state_ == State::kRunning && recovered_ && deps_.fill_latencies) {
    deps_.fill_latencies(request);
  }
}

void BrokerLifecycle::OnAnswer(const internal::v1::LivenessResponse& answer) {
  committed_ =
      std::max(committed_, LogIndex(answer.committed_metadata_offset()));
  // The image may be ahead of an answer that was long under way.
  if (LogIndex(answer.committed_metadata_offset()) >= deps_.applied()) {
    SetFenced(answer.fenced());
    MaybeRunning();
  }
  deps_.on_committed(LogIndex(answer.committed_metadata_offset()));
  if (answer.probe_disks() && state_ == State::kRunning && deps_.probe_disks) {
    deps_.probe_disks();
  }
  if (state_ == State::kHandingOver && answer.may_shutdown()) {
    released_ = true;
    CloseLogs("leaderships are handed over");
  }
}

void BrokerLifecycle::MaybeRunning() {
  if (state_ == State::kUnfencing && !fenced_ && hosted_) {
    SetState(State::kRunning);
  }
}

}  // namespace sluice
