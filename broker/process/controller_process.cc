#include "broker/process/controller_process.h"

#include <glog/logging.h>

#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

constexpr std::string_view kWithoutDirectory =
    "this controller comes back as a new one and copies the metadata from a "
    "majority of the others; where there is none, restore the directory from "
    "a backup, for the metadata is nowhere else";

}  // namespace

ControllerProcess::ControllerProcess(Deps deps)
    : deps_(std::move(deps)), random_(deps_.random_seed) {}

absl::StatusOr<std::unique_ptr<ControllerProcess>> ControllerProcess::Open(
    Deps deps, const std::string& directory) {
  std::unique_ptr<ControllerProcess> process(
      new ControllerProcess(std::move(deps)));
  ControllerProcess& self = *process;
  RETURN_IF_ERROR(CreateDirectories(*self.deps_.fs, directory));
  DirStore::Expected expected;
  expected.node_id = self.deps_.node_id;
  ASSIGN_OR_RETURN(self.store_,
                   DirStore::Open({self.deps_.fs, &self.random_,
                                   kWithoutDirectory},
                                  directory, expected, self.deps_.boot_id));
  ASSIGN_OR_RETURN(self.kv_, self.deps_.open_kv(StrCat(directory, "/raft")));
  ASSIGN_OR_RETURN(self.log_store_,
                   RaftLogStore::Open(self.kv_.get(),
                                      self.store_->facts().directory_id));
  RETURN_IF_ERROR(self.CheckOwnLog(directory));
  self.MakeParts();
  return process;
}

// A voter whose log went away while its directory kept its uuid would vote
// again in terms it has voted in (RA12). The identity is written after the
// bootstrap record is durable, so it proves that there was one.
absl::Status ControllerProcess::CheckOwnLog(
    const std::string& directory) const {
  const ClusterId owner = store_->facts().cluster_id;
  const auto& bootstrap = log_store_->bootstrap();
  if (!owner.is_set()) return absl::OkStatus();
  if (!bootstrap.has_value()) {
    return MakeError(ErrorCode::kStorageError, "controller directory ",
                     directory, " belongs to cluster ", owner,
                     " but its Raft log is gone; remove the whole directory, "
                     "so that this controller comes back as a new one");
  }
  if (bootstrap->cluster_id != owner) {
    return MakeError(ErrorCode::kDataDirMismatch, "controller directory ",
                     directory, " belongs to cluster ", owner,
                     " but its Raft log to ", bootstrap->cluster_id,
                     "; one of them was moved here from another node");
  }
  return absl::OkStatus();
}

RaftNodeOptions ControllerProcess::NodeOptions() const {
  RaftNodeOptions options;
  options.node_id = deps_.node_id;
  options.directory_id = store_->facts().directory_id;
  options.raft = deps_.raft;
  for (const ControllerAddress& controller : deps_.controllers) {
    options.initial_controllers.push_back(
        {controller.id, DirectoryId(), controller.endpoint.ToString()});
  }
  return options;
}

void ControllerProcess::MakeParts() {
  log_ = std::make_unique<RaftMetadataLog>(log_store_.get(), deps_.node_id);
  RaftNodeEvents events =
      log_->Events([this](const absl::Status& why) { Fatal(why); });
  events.on_cluster = [this, inner = std::move(events.on_cluster)](
                          const raft::BootstrapRecord& record) {
    inner(record);
    OnCluster(record);
  };
  node_ = std::make_unique<RaftNode>(
      RaftNode::Deps{deps_.executor, deps_.writer, deps_.clock,
                     log_store_.get(), deps_.transport},
      NodeOptions(), std::move(events), random_.Next64());
  log_->Attach(node_.get());
  Controller::Deps controller;
  controller.executor = deps_.executor;
  controller.clock = deps_.clock;
  controller.log = log_.get();
  controller.dialer = deps_.dialer;
  controller.configs = deps_.configs;
  controller.node_id = deps_.node_id;
  controller.cluster_name = deps_.cluster_name;
  controller.random_seed = random_.Next64();
  controller.sessions = deps_.sessions;
  controller.producer_id_block = deps_.producer_id_block;
  controller.on_fatal = [this](absl::Status why) { Fatal(why); };
  controller_ = std::make_unique<Controller>(std::move(controller));
}

void ControllerProcess::Start() {
  deps_.executor->Post([this] {
    controller_->Start();
    if (const absl::Status started = node_->Start(); !started.ok()) {
      Fatal(started);
    }
  });
}

// Once in the life of a directory; the controller's executor waits for it,
// since nothing may be answered under a cluster id that a restart forgets.
void ControllerProcess::OnCluster(const raft::BootstrapRecord& record) {
  if (store_->facts().cluster_id.is_set()) return;
  const absl::Status owned =
      store_->SetIdentity(record.cluster_id, deps_.node_id);
  if (!owned.ok()) {
    Fatal(owned);
    return;
  }
  LOG(INFO) << "controller " << deps_.node_id << " belongs to cluster "
            << record.cluster_id << " of " << record.voters.size()
            << " controllers";
}

void ControllerProcess::Fatal(const absl::Status& why) {
  deps_.on_fatal(MakeErrorStatus(
      CodeOf(why), StrCat("controller ", deps_.node_id, " cannot go on: ",
                          StdView(why.message()))));
}

void ControllerProcess::RequestStop(Task stopped) {
  deps_.executor->Post([this, stopped = std::move(stopped)]() mutable {
    if (stopping_) return;
    stopping_ = true;
    node_->Stop([this, stopped = std::move(stopped)]() mutable {
      controller_->Stop();
      LOG(INFO) << "controller " << deps_.node_id << " has stopped";
      stopped();
    });
  });
}

void ControllerProcess::AddMetrics(MetricSet& metrics) const {
  const RaftNodeStatus raft = node_->Status();
  metrics.AddGauge("sluice_controller_active",
                   "1 on the controller that decides.", controller_->active());
  metrics.AddGauge("sluice_raft_term", "The term this controller is in.",
                   static_cast<double>(raft.soft.term.value()));
  metrics.AddGauge("sluice_raft_commit_index",
                   "Up to where the metadata log is committed.",
                   static_cast<double>(raft.commit_index.value()));
  metrics.AddGauge("sluice_raft_last_index",
                   "The last entry of this controller's metadata log.",
                   static_cast<double>(raft.last_index.value()));
  int fenced = 0;
  int demoted = 0;
  for (const auto& [id, broker] : controller_->image()->brokers()) {
    fenced += broker->fenced ? 1 : 0;
    demoted += broker->demoted ? 1 : 0;
  }
  metrics.AddGauge("sluice_controller_brokers", "Brokers registered.",
                   static_cast<double>(controller_->image()->brokers().size()));
  metrics.AddGauge("sluice_controller_fenced_brokers",
                   "Registered brokers that may lead nothing just now.",
                   fenced);
  metrics.AddGauge("sluice_controller_demoted_brokers",
                   "Brokers that are alive, with disks far slower than those "
                   "of the others.",
                   demoted);
  metrics.AddCounter("sluice_controller_demotions_total",
                     "Brokers demoted while this controller was active.",
                     static_cast<double>(controller_->demotions()));
  metrics.AddCounter("sluice_controller_unclean_elections_total",
                     "Elections of a log that may lack what was committed.",
                     static_cast<double>(controller_->unclean_elections()));
  metrics.AddGauge("sluice_controller_partitions",
                   "Partitions of all topics.",
                   static_cast<double>(controller_->image()->partition_count()));
}

}  // namespace sluice
