// The control side of a broker, put together: everything that it says to and
// hears from controllers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "broker/control/admin_handlers.h"
#include "broker/control/broker_lifecycle.h"
#include "broker/control/controller_directory.h"
#include "broker/control/isr_reporter.h"
#include "broker/control/log_start_reporter.h"
#include "broker/control/metadata_follower.h"
#include "broker/control/metadata_watches.h"
#include "broker/control/producer_ids.h"

namespace sluice {

// Lives on `executor`: constructed, started and destroyed there (or before it
// runs and after it ended). isr_proposals(), replica_failures() and the requests
// of admin(), producer_ids() and watches() may come from any thread in between.
class ControlSide {
 public:
  struct Deps {
    Executor* executor = nullptr;  // the controllers' peers reply here
    const Clock* clock = nullptr;
    std::vector<ConfiguredController> controllers;
    std::shared_ptr<const ConfigRegistry> configs;
    BrokerIdentity identity;
    uint64_t random_seed = 0;
    // See BrokerLifecycle::Deps.
    std::function<void(ClusterId,
                       absl::AnyInvocable<void(absl::Status)> done)>
        adopt_cluster;
    AdminHandlers::DescribeLogs describe_logs;
    AdminHandlers::ResetReplicaTask reset_replica;
    // This node's memory, for DescribeCluster. May be null.
    std::function<void(v1::DescribeClusterResponse&)> add_memory;
    std::function<std::vector<std::string>()> full_directories;
    AdminHandlers::ClosedViews closed_views;
    // See BrokerLifecycle::Deps; may be null.
    std::function<void(internal::v1::LivenessRequest&)> fill_latencies;
    std::function<void()> probe_disks;
    // Beside the ReplicaHost: every image from the own registration on. May be
    // null.
    std::function<void(std::shared_ptr<const MetadataImage>)> on_image;
    // serving() may have changed (gRPC health). May be null.
    std::function<void(bool serving)> on_serving;
    // Log, and end the process.
    std::function<void(absl::Status)> on_fatal;
    LivenessTimes liveness;
    WatchLimits watch_limits;
  };

  explicit ControlSide(Deps deps);
  ~ControlSide();
  ControlSide(const ControlSide&) = delete;

  // `replicas` outlives this object's use of the executor.
  void Start(ReplicaHost* replicas);
  // Controlled stop; `done` runs on the executor at most kStopMaxUs plus the
  // time that StopClean takes later, and nothing is sent or answered then.
  void RequestStop(absl::AnyInvocable<void(absl::Status)> done);

  IsrProposals& isr_proposals() { return *isr_; }
  LogStartRecords& log_starts() { return *log_starts_; }
  ReplicaFailures& replica_failures() { return *lifecycle_; }
  AdminHandlers& admin() { return *admin_; }
  ProducerIds& producer_ids() { return *producer_ids_; }
  MetadataWatches& watches() { return *watches_; }
  // On the executor.
  const BrokerLifecycle& lifecycle() const { return *lifecycle_; }
  const std::shared_ptr<const MetadataImage>& image() const {
    return follower_->image();
  }
  const ControllerDirectory& directory() const { return *directory_; }

 private:
  void MakeProducerIds();
  void OnImage(std::shared_ptr<const MetadataImage> image,
               const MetadataChanges& changes);
  void OnLifecycle();
  void OnStopped(absl::Status status);

  Deps deps_;
  ReplicaHost* replicas_ = nullptr;
  ClusterId cluster_id_;
  bool serving_ = false;
  // What clients are answered from; empty until it is the present.
  std::shared_ptr<const MetadataImage> image_ = MetadataImage::Empty();
  absl::AnyInvocable<void(absl::Status)> stop_done_;
  std::unique_ptr<ControllerDirectory> directory_;
  std::unique_ptr<MetadataFollower> follower_;
  std::unique_ptr<BrokerLifecycle> lifecycle_;
  std::unique_ptr<IsrReporter> isr_;
  std::unique_ptr<LogStartReporter> log_starts_;
  std::unique_ptr<AdminHandlers> admin_;
  std::unique_ptr<ProducerIds> producer_ids_;
  std::unique_ptr<MetadataWatches> watches_;
};

}  // namespace sluice
