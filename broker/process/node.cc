#include "broker/process/node.h"

#include <glog/logging.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "broker/broker.h"
#include "broker/process/controller_process.h"
#include "broker/process/data_directories.h"
#include "broker/process/end_process.h"
#include "broker/process/node_listeners.h"
#include "broker/process/node_metrics.h"
#include "broker/process/node_peers.h"
#include "broker/process/node_threads.h"
#include "broker/process/operating_system.h"
#include "broker/process/view_files.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/base/version.h"
#include "common/env/posix_file_system.h"
#include "common/env/real_clock.h"
#include "common/obs/metrics_pages.h"
#include "common/obs/metrics_server.h"
#include "common/obs/process_metrics.h"
#include "storage/rocks_kv_store.h"

namespace sluice {
namespace {

// What asynchronous stops are waited for with.
class Gate {
 public:
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

absl::Status CheckAddresses(const NodeConfig& config) {
  RETURN_IF_ERROR(CheckCanListen("internal_listen", config.internal_listen));
  if (config.is_broker) {
    RETURN_IF_ERROR(CheckCanListen("listen", config.listen));
  }
  if (config.metrics_listen.has_value()) {
    RETURN_IF_ERROR(CheckCanListen("metrics_listen", *config.metrics_listen));
  }
  return absl::OkStatus();
}

void LogStart(const NodeConfig& config, int64_t open_files_max) {
  std::string directories;
  for (const std::string& path : config.data_dirs) {
    directories += (directories.empty() ? "" : ",") + path;
  }
  LOG(INFO) << "sluiced " << kVersion << ": node " << config.node_id << " of "
            << config.cluster_name << ", roles"
            << (config.is_controller ? " controller" : "")
            << (config.is_broker ? " broker" : "") << ", internal "
            << config.internal_listen.ToString()
            << (config.is_broker ? ", public " + config.listen.ToString() : "")
            << ", data in " << directories << ", " << config.shards
            << " shards, " << open_files_max << " open files at most";
  if (open_files_max < 4096) {
    LOG(WARNING) << "only " << open_files_max
                 << " open files are allowed (ulimit -n): each partition and "
                    "each connection needs some";
  }
}

}  // namespace

// In the order in which they are made; destroyed the other way round, after
// every thread has ended.
struct Node::Parts {
  NodeConfig config;
  std::shared_ptr<const ConfigRegistry> configs;
  std::string boot_id;
  PosixFileSystem fs;
  RealClock clock;
  std::unique_ptr<DataDirectories> directories;
  std::unique_ptr<NodeThreads> threads;
  std::unique_ptr<NodePeers> peers;
  std::unique_ptr<ControllerProcess> controller;
  std::unique_ptr<Broker> broker;
  std::unique_ptr<NodeListeners> listeners;
  MetricCollector collector;
  std::atomic<const char*> state{"starting"};
  std::unique_ptr<MetricsPages> pages;
  std::unique_ptr<MetricsServer> metrics_server;

  absl::Status OpenController();
  absl::Status OpenBroker();
  absl::Status StartMetrics();
  void OnServing(bool serving);
  void StopBroker();
  void StopController();
  void EndThreads();
};

absl::StatusOr<std::unique_ptr<Node>> Node::Start(
    NodeConfig config, std::shared_ptr<const ConfigRegistry> configs) {
  auto parts = std::make_unique<Parts>();
  Parts& p = *parts;
  p.config = std::move(config);
  p.configs = std::move(configs);
  LogStart(p.config, RaiseOpenFilesLimit());
  RETURN_IF_ERROR(CheckAddresses(p.config));
  ASSIGN_OR_RETURN(p.boot_id, ReadBootId());
  ASSIGN_OR_RETURN(auto directories,
                   DataDirectories::Lock(p.fs, p.config.data_dirs));
  p.directories = std::make_unique<DataDirectories>(std::move(directories));
  // From here on threads run: an error ends them in order, too.
  std::unique_ptr<Node> node(new Node(std::move(parts)));
  p.threads = std::make_unique<NodeThreads>(p.config);
  p.peers = std::make_unique<NodePeers>(p.config, p.threads.get());
  if (p.config.is_controller) RETURN_IF_ERROR(p.OpenController());
  if (p.config.is_broker) RETURN_IF_ERROR(p.OpenBroker());
  NodeListeners::Deps listen;
  listen.config = &p.config;
  listen.clock = &p.clock;
  listen.peers = p.peers.get();
  listen.controller = p.controller == nullptr ? nullptr : &p.controller->api();
  listen.broker = p.broker.get();
  ASSIGN_OR_RETURN(p.listeners, NodeListeners::Start(listen));
  RETURN_IF_ERROR(p.StartMetrics());
  if (p.broker == nullptr) p.state = "controller";
  if (p.controller != nullptr) p.controller->Start();
  if (p.broker != nullptr) p.broker->Start();
  return node;
}

Node::Node(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Node::~Node() { parts_->EndThreads(); }

absl::Status Node::Parts::OpenController() {
  ControllerProcess::Deps deps;
  deps.fs = &fs;
  deps.open_kv = [](const std::string& path) {
    return RocksKvStore::Open(path);
  };
  deps.clock = &clock;
  deps.executor = threads->controller();
  deps.writer = threads->raft_writer();
  deps.transport = peers->raft_transport();
  deps.dialer = peers->dialer();
  deps.configs = configs;
  deps.node_id = config.node_id;
  deps.cluster_name = config.cluster_name;
  deps.controllers = config.controllers;
  deps.boot_id = boot_id;
  deps.random_seed = RandomSeed();
  deps.on_fatal = [](absl::Status why) { EndProcess(why); };
  ASSIGN_OR_RETURN(controller,
                   ControllerProcess::Open(std::move(deps),
                                           directories->controller_path()));
  if (const ClusterId id = controller->cluster_id_at_start(); id.is_set()) {
    LOG(INFO) << "cluster " << id;
  }
  return absl::OkStatus();
}

absl::Status Node::Parts::OpenBroker() {
  Broker::Deps deps;
  deps.fs = &fs;
  deps.clock = &clock;
  deps.control_executor = threads->control();
  deps.replication_executor = threads->replication();
  deps.io_executor = threads->io();
  deps.worker_executor = threads->worker();
  deps.shard_executors = threads->shards();
  const std::vector<Executor*> syncs = threads->syncs();
  const std::vector<std::string> paths = directories->broker_paths();
  for (size_t i = 0; i < paths.size(); ++i) {
    deps.directories.push_back({paths[i], syncs[i]});
  }
  deps.controllers = peers->controllers();
  deps.replication_connector = peers->replication_connector();
  deps.leader_connector = peers->leader_connector();
  deps.group_connector = peers->group_connector();
  deps.view_files = MakeViewFiles();
  deps.configs = configs;
  deps.node_id = config.node_id;
  deps.cluster_name = config.cluster_name;
  deps.public_endpoint = config.advertise;
  deps.internal_endpoint = config.internal_advertise;
  deps.rack = config.rack;
  deps.boot_id = boot_id;
  deps.memory = config.memory;
  deps.new_secret = &NewSecret;
  deps.resident_bytes = &ResidentBytes;
  deps.random_seed = RandomSeed();
  deps.on_fatal = [](absl::Status why) { EndProcess(why); };
  deps.on_serving = [this](bool serving) { OnServing(serving); };
  ASSIGN_OR_RETURN(broker, Broker::Open(std::move(deps)));
  return absl::OkStatus();
}

absl::Status Node::Parts::StartMetrics() {
  if (!config.metrics_listen.has_value()) return absl::OkStatus();
  AddNodeMetricSources(&fs, threads.get(), broker.get(), controller.get(),
                       &collector);
  pages = std::make_unique<MetricsPages>(
      &collector, [this] { return std::string(state.load()); });
  ASSIGN_OR_RETURN(metrics_server,
                   MetricsServer::Start(*config.metrics_listen, pages.get()));
  return absl::OkStatus();
}

// From any thread; after Start has made the listeners, since only a broker
// that runs serves.
void Node::Parts::OnServing(bool serving) {
  state = serving ? "serving" : "not serving";
  LOG(INFO) << "broker " << config.node_id
            << (serving ? " is serving" : " does not serve just now");
  listeners->SetServing(serving);
}

void Node::Parts::StopBroker() {
  if (broker == nullptr) return;
  state = "stopping";
  Gate stopped;
  broker->RequestStop([&](absl::Status status) {
    LOG_IF(WARNING, !status.ok())  // the broker has told how bad that is
        << "the logs were not closed cleanly, the next start will check them: "
        << status;
    stopped.Open();
  });
  stopped.Wait();
  listeners->StopPublic();
}

void Node::Parts::StopController() {
  if (controller == nullptr) return;
  Gate stopped;
  controller->RequestStop([&] { stopped.Open(); });
  stopped.Wait();
}

void Node::Stop() {
  parts_->StopBroker();
  parts_->StopController();
}

// What calls into the roles ends first, then what they call, then their
// threads: nothing runs any more when the roles are destroyed.
void Node::Parts::EndThreads() {
  metrics_server.reset();
  if (listeners != nullptr) listeners->Stop();
  if (peers != nullptr) peers->Stop();
  if (threads != nullptr) threads->StopAll();
}

}  // namespace sluice
