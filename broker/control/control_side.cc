#include "broker/control/control_side.h"

#include <algorithm>
#include <utility>

namespace sluice {

ControlSide::ControlSide(Deps deps) : deps_(std::move(deps)) {
  directory_ = std::make_unique<ControllerDirectory>(ControllerDirectory::Deps{
      deps_.executor, deps_.clock, deps_.controllers, deps_.identity.node_id,
      deps_.random_seed});
  follower_ = std::make_unique<MetadataFollower>(MetadataFollower::Deps{
      deps_.executor, deps_.clock, directory_.get(), deps_.identity.node_id,
      deps_.identity.node_id,
      [this](std::shared_ptr<const MetadataImage> image,
             const MetadataChanges& changes) {
        OnImage(std::move(image), changes);
      },
      [this](absl::Status why) { deps_.on_fatal(std::move(why)); }});
  BrokerLifecycle::Deps lifecycle;
  lifecycle.executor = deps_.executor;
  lifecycle.clock = deps_.clock;
  lifecycle.directory = directory_.get();
  lifecycle.identity = deps_.identity;
  lifecycle.adopt_cluster = deps_.adopt_cluster;
  lifecycle.on_cluster = [this](ClusterId id) {
    cluster_id_ = id;
    follower_->Start(id);
  };
  lifecycle.applied = [this] { return follower_->image()->offset(); };
  lifecycle.on_committed = [this](LogIndex offset) {
    follower_->NoteCommitted(offset);
  };
  lifecycle.fill_latencies = deps_.fill_latencies;
  lifecycle.probe_disks = deps_.probe_disks;
  lifecycle.on_change = [this] { OnLifecycle(); };
  lifecycle.liveness = deps_.liveness;
  lifecycle.on_fatal = [this](absl::Status why) {
    deps_.on_fatal(std::move(why));
  };
  lifecycle_ = std::make_unique<BrokerLifecycle>(std::move(lifecycle));
  IsrReporter::Deps isr;
  isr.executor = deps_.executor;
  isr.clock = deps_.clock;
  isr.directory = directory_.get();
  isr.node_id = deps_.identity.node_id;
  isr.on_decisions = [this](std::vector<IsrDecision> decisions) {
    replicas_->OnIsrDecisions(std::move(decisions));
  };
  isr.own_epoch = [this] { return lifecycle_->epoch(); };
  isr.on_stale = [this](absl::Status why) { lifecycle_->OnStale(why); };
  isr_ = std::make_unique<IsrReporter>(std::move(isr));
  LogStartReporter::Deps starts;
  starts.executor = deps_.executor;
  starts.clock = deps_.clock;
  starts.directory = directory_.get();
  starts.node_id = deps_.identity.node_id;
  starts.on_decisions = [this](std::vector<LogStartDecision> decisions) {
    replicas_->OnLogStartDecisions(std::move(decisions));
  };
  starts.own_epoch = [this] { return lifecycle_->epoch(); };
  starts.on_stale = [this](absl::Status why) { lifecycle_->OnStale(why); };
  log_starts_ = std::make_unique<LogStartReporter>(std::move(starts));
  AdminHandlers::Deps admin;
  admin.executor = deps_.executor;
  admin.clock = deps_.clock;
  admin.directory = directory_.get();
  admin.configs = deps_.configs;
  admin.node_id = deps_.identity.node_id;
  admin.cluster_name = deps_.identity.cluster_name;
  admin.cluster_id = [this] { return cluster_id_; };
  admin.image = [this] { return image_; };
  admin.last_contact_us = [this] { return follower_->last_contact_us(); };
  admin.describe_logs = deps_.describe_logs;
  admin.reset_replica = deps_.reset_replica;
  admin.add_memory = deps_.add_memory;
  admin.full_directories = deps_.full_directories;
  admin.closed_views = deps_.closed_views;
  admin_ = std::make_unique<AdminHandlers>(std::move(admin));
  MakeProducerIds();
  watches_ = std::make_unique<MetadataWatches>(MetadataWatches::Deps{
      deps_.executor, [this] { return image_; },
      [this] { return directory_->active(); }, deps_.watch_limits});
}

void ControlSide::MakeProducerIds() {
  ProducerIds::Deps ids;
  ids.executor = deps_.executor;
  ids.clock = deps_.clock;
  ids.directory = directory_.get();
  ids.node_id = deps_.identity.node_id;
  ids.own_epoch = [this] { return lifecycle_->epoch(); };
  ids.on_stale = [this](absl::Status why) { lifecycle_->OnStale(why); };
  ids.image = [this] { return image_; };
  producer_ids_ = std::make_unique<ProducerIds>(std::move(ids));
}

ControlSide::~ControlSide() = default;

void ControlSide::Start(ReplicaHost* replicas) {
  replicas_ = replicas;
  lifecycle_->Start(replicas);
  directory_->Start();
}

void ControlSide::OnImage(std::shared_ptr<const MetadataImage> image,
                          const MetadataChanges& changes) {
  lifecycle_->OnImage(image, changes);
  // A broker that still reads its way to the present answers nobody from the
  // past: a topic that is not there yet is not a topic that does not exist.
  if (!lifecycle_->knows_cluster()) return;
  image_ = std::move(image);
  if (deps_.on_image) deps_.on_image(image_);
  admin_->OnImage(*image_);
  watches_->OnImage(image_, changes);
}

void ControlSide::OnLifecycle() {
  const bool serving = lifecycle_->serving();
  if (serving == serving_) return;
  serving_ = serving;
  if (serving) producer_ids_->Prefetch();
  if (deps_.on_serving) deps_.on_serving(serving);
}

void ControlSide::RequestStop(absl::AnyInvocable<void(absl::Status)> done) {
  stop_done_ = std::move(done);
  lifecycle_->RequestStop(
      [this](absl::Status status) { OnStopped(std::move(status)); });
}

void ControlSide::OnStopped(absl::Status status) {
  isr_->Stop();
  log_starts_->Stop();
  follower_->Stop();
  directory_->Stop();
  admin_->Stop();
  producer_ids_->Stop();
  watches_->Stop();
  stop_done_(std::move(status));
}

}  // namespace sluice
