// The life of a broker process from its first Hello to its clean stop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "broker/control/controller_directory.h"
#include "broker/control/liveness_session.h"
#include "broker/replica_host.h"
#include "controller/metadata/delta.h"
#include "controller/metadata/image.h"

namespace sluice {

// Who this process is. `incarnation` is new with each process.
struct BrokerIdentity {
  NodeId node_id;
  IncarnationId incarnation;
  // What the data directories carry; unset: they are all new.
  ClusterId cluster_id;
  std::string cluster_name;  // checked against the controllers' when set
  std::vector<internal::v1::BrokerListener> listeners;
  std::string rack;
  // As found at the start; clean_broker_epoch -1 where unclean.
  std::vector<internal::v1::LogDirectory> directories;
  std::string boot_id;
};

// finding the cluster -> registering -> recovering -> unfencing -> running
//   -> handing over -> closing -> stopped
//
// Logs are recovered from the start on, beside the registration, those first
// that elections wait for. From the first image with the own registration on
// every image goes to the ReplicaHost, with what changed (Rule T 3). Once the
// verdicts on those are reported, the broker asks to be unfenced; the other
// logs count nowhere and say nothing, unless they cannot be used. The session
// is held from the registration to the end of the stop.
//
// STALE_BROKER_EPOCH alone ends nothing, since a deposed controller may say
// so: the broker registers again (which changes nothing for an incarnation
// that is registered). Committed metadata that shows another incarnation under
// this id after ours is fatal. Controllers that are away are waited for
// without end (F77).
//
// A replica that fails later is reported as soon as that is possible.
//
// Belongs to the control executor, but for ReportFailed and TellLog (any
// thread).
class BrokerLifecycle final : public ReplicaFailures {
 public:
  enum class State {
    kFindingCluster,
    kRegistering,
    kRecovering,  // registered; what elections wait for is not reported
    kUnfencing,   // that is reported, first unfencing outstanding
    kRunning,
    kHandingOver,  // wants to stop, leads perhaps
    kClosing,      // ReplicaHost::StopClean
    kStopped,
  };
  static std::string_view NameOf(State state);

  static constexpr int64_t kStopMaxUs = 5000000;
  // Handing over is given up when no controller answers for so long.
  static constexpr int64_t kStopAloneMaxUs = 1500000;
  static constexpr int64_t kAttemptUs = 2000000;
  static constexpr size_t kVerdictsPerCall = 10000;

  struct Deps {
    Executor* executor = nullptr;
    const Clock* clock = nullptr;
    ControllerDirectory* directory = nullptr;
    BrokerIdentity identity;
    // The cluster is known: directories without an owner get it, durably.
    // Called once; an error is fatal.
    std::function<void(ClusterId,
                       absl::AnyInvocable<void(absl::Status)> done)>
        adopt_cluster;
    // After that: start to follow the metadata.
    std::function<void(ClusterId)> on_cluster;
    // What is applied right now.
    std::function<LogIndex()> applied;
    // The active controller has committed so much.
    std::function<void(LogIndex)> on_committed;
    // How slow this broker's disks are, into each heartbeat; the controller
    // wants something to compare with. May be null.
    std::function<void(internal::v1::LivenessRequest&)> fill_latencies;
    std::function<void()> probe_disks;
    // state() or fenced() has changed.
    std::function<void()> on_change;
    // The process cannot go on; the message says why and what to do.
    std::function<void(absl::Status)> on_fatal;
    LivenessTimes liveness;
  };

  explicit BrokerLifecycle(Deps deps);
  ~BrokerLifecycle() override;
  BrokerLifecycle(const BrokerLifecycle&) = delete;

  void Start(ReplicaHost* replicas);
  void OnImage(const std::shared_ptr<const MetadataImage>& image,
               const MetadataChanges& changes);
  // Another call of this broker was refused with STALE_BROKER_EPOCH.
  void OnStale(const absl::Status& why);
  void ReportFailed(internal::v1::ReplicaVerdict verdict) override;
  void TellLog(internal::v1::ReplicaVerdict verdict) override;

  // Hands leaderships over (at most kStopMaxUs), then closes the logs
  // whatever came of it. Once; `done` runs with what StopClean said.
  void RequestStop(absl::AnyInvocable<void(absl::Status)> done);

  State state() const { return state_; }
  // As last heard; true until the first unfencing.
  bool fenced() const { return fenced_; }
  bool serving() const { return state_ == State::kRunning && !fenced_; }
  // kNoBrokerEpoch until registered.
  BrokerEpoch epoch() const { return epoch_; }

  // ---- For inspection ----
  // Every log that was found at the start has its verdict.
  bool logs_recovered() const { return recovered_; }
  // The active controller has allowed it to stop (MD9).
  bool released() const { return released_; }
  // The metadata applied holds this process's own registration. Before that it
  // is a past of unknown age, read again from the log's start.
  bool knows_cluster() const { return hosted_; }

 private:
  void SetState(State state);
  void SetFenced(bool fenced);
  void Fatal(absl::Status why);
  void After(int64_t delay_us, void (BrokerLifecycle::*step)());

  void OnHello(const internal::v1::HelloResponse& hello);
  void OnAdopted(ClusterId cluster_id, const absl::Status& status);
  void Register();
  void OnRegistered(absl::StatusOr<internal::v1::RegisterBrokerResponse> reply);
  void OnRegistrationRefused(const absl::Status& why);
  internal::v1::RegisterBrokerRequest Registration() const;

  void OnVerdicts(std::vector<internal::v1::ReplicaVerdict> verdicts);
  void OnRecovered();
  void OnFailed(internal::v1::ReplicaVerdict verdict);
  void MaybeReport();
  void NoteWanted(const internal::v1::RegisterBrokerResponse& reply);
  void QueueWanted();
  void ReportNext();
  void ReportCandidates();
  // `sent` runs when the controllers have taken the request.
  void Send(internal::v1::ReportReplicasRequest request,
            absl::AnyInvocable<void()> sent);
  void OnReported(BrokerEpoch epoch, const absl::Status& status);

  void FillHeartbeat(internal::v1::LivenessRequest& request) const;
  void OnAnswer(const internal::v1::LivenessResponse& answer);
  void MaybeRunning();
  void CheckHandOver();
  void CloseLogs(const char* why);
  BrokerEpoch EpochOfCleanMarker() const;

  Deps deps_;
  ReplicaHost* replicas_ = nullptr;
  LivenessSession session_;
  State state_ = State::kFindingCluster;
  bool fenced_ = true;
  bool started_ = false;
  bool fatal_ = false;
  bool adopting_ = false;
  ClusterId cluster_id_;

  bool registering_ = false;
  int register_failures_ = 0;
  int64_t last_log_us_ = INT64_MIN;
  BrokerEpoch epoch_ = kNoBrokerEpoch;
  bool hosted_ = false;  // the ReplicaHost has got its first image
  BrokerEpoch image_epoch_ = kNoBrokerEpoch;  // ours, in the last image
  LogIndex committed_{0};  // of the last answer of a controller

  bool recovered_ = false;
  std::map<TopicPartition, internal::v1::ReplicaVerdict> verdicts_;
  std::vector<TopicPartition> wanted_;
  std::vector<internal::v1::ReplicaVerdict> to_report_;
  size_t reported_count_ = 0;
  // Told by shards, and not sent yet: the newest of each partition.
  std::map<TopicPartition, internal::v1::ReplicaVerdict> candidates_;
  bool reporting_ = false;
  bool wants_all_ = false;  // more than `wanted_` may be waited for
  // What elections wait for is in to_report_, and has been reported.
  bool wanted_queued_ = false;
  bool wanted_reported_ = false;

  int64_t stop_began_us_ = 0;
  bool released_ = false;
  absl::AnyInvocable<void(absl::Status)> stop_done_;
  std::shared_ptr<bool> alive_;
};

}  // namespace sluice
