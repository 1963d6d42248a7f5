#include "test/sim/sim_cluster.h"

#include <algorithm>
#include <utility>

#include "broker/replicas.h"
#include "broker/shard.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "storage/batch_header.h"
#include "test/sim/io_executor.h"

namespace sluice::sim {
namespace {

constexpr char kLogDirectory[] = "/data/broker";
constexpr char kCheckpoints[] = "/offsets-view.checkpoints/checkpoint-";
constexpr char kRaftDirectory[] = "/data/controller";
constexpr int64_t kUptimeUsMax = 1'000'000'000;

// No power cut brings it back.
void RemoveForGood(MemFileSystem& fs, const std::string& path) {
  const auto exists = fs.Exists(path);
  if (exists.ok() && !*exists) return;  // lost with the power before
  const absl::Status removed = RemoveTree(fs, path);
  INVARIANT(removed.ok(), removed.ToString());
  const absl::Status synced = fs.SyncAll("/");
  INVARIANT(synced.ok(), synced.ToString());
}

// Of whole batches that end at or below `log_start`: deleted, though a segment
// keeps them.
size_t BytesBelow(Offset log_start, std::string_view log) {
  BatchCursor cursor(log);
  size_t below = 0;
  while (true) {
    const auto batch = cursor.Next();
    if (!batch.ok() || !batch->has_value() ||
        (*batch)->header().next_offset() > log_start) {
      return below;
    }
    below += (*batch)->bytes().size();
  }
}

}  // namespace

SimCluster::SimCluster(SimOptions options, uint64_t seed)
    : options_(std::move(options)),
      random_(seed),
      network_(&world_, random_.Next64()) {
  auto configs = ConfigRegistry::Make(options_.settings);
  INVARIANT(configs.ok(), configs.status().ToString());
  configs_ = *configs;
  network_.SetWatches(options_.watches);
  const auto add = [this](int id) {
    if (nodes_.contains(NodeId(id))) return;
    auto node = std::make_unique<SimNode>(&world_, NodeId(id));
    const auto drift = options_.drift_ppm.find(id);
    if (drift != options_.drift_ppm.end()) node->host.SetDrift(drift->second);
    const auto skew = options_.wall_skew_ms.find(id);
    if (skew != options_.wall_skew_ms.end()) node->host.JumpWall(skew->second);
    node->log_disk->task_us = node->raft_disk->task_us = options_.disk_us;
    nodes_.emplace(node->id, std::move(node));
  };
  for (int id = 1; id <= options_.nodes; ++id) add(id);
  for (const int id : ControllerIds()) add(id);
}

std::vector<int> SimCluster::ControllerIds() const {
  std::vector<int> ids;
  for (int i = 1; i <= options_.controllers; ++i) {
    ids.push_back(options_.separate ? 100 + i : i);
  }
  return ids;
}

bool SimCluster::is_controller(int id) const {
  const std::vector<int> ids = ControllerIds();
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

SimCluster::~SimCluster() {
  for (auto& [id, node] : nodes_) {
    if (node->life != nullptr) End(*node, ProcessEnd::kKilled);
  }
}

Executor* SimCluster::NewExecutor(SimNode& node) {
  node.executors.push_back(node.host.NewExecutor());
  return node.executors.back().get();
}

Executor* SimCluster::NewDiskExecutor(SimNode& node,
                                      std::shared_ptr<DiskSpeed> speed,
                                      MemFileSystem* fs) {
  auto executor = std::make_unique<DiskExecutor>(node.host.NewExecutor(),
                                                 std::move(speed), fs);
  node.disk_threads.push_back(executor.get());
  node.executors.push_back(std::move(executor));
  return node.executors.back().get();
}

// As sluiced does: the process ends when it says that it must.
void SimCluster::OnFatal(SimNode& node, const absl::Status& why) {
  node.fatal.push_back(why);
  operator_->Post([this, &node, life = std::weak_ptr<Life>(node.life)] {
    const LifePtr dying = life.lock();
    if (dying == nullptr || node.life != dying) return;
    End(node, ProcessEnd::kKilled);
    node.fs.Kill();
  });
}

void SimCluster::BootAll() {
  for (auto& [id, node] : nodes_) Boot(id.value());
}

void SimCluster::Boot(int id) {
  SimNode& node = at(id);
  INVARIANT(node.life == nullptr, "node ", id, " is up");
  node.serving = false;
  node.life = std::make_shared<Life>();
  node.life->id = node.id;
  node.life->clock = &node.host;
  node.life->controller_executor = NewExecutor(node);
  node.life->edge_executor = NewExecutor(node);
  if ((is_controller(id) && !OpenController(node)) ||
      (is_broker(id) && !OpenBroker(node))) {
    Destroy(node);  // nobody has seen it
    node.fs.Kill();
    return;
  }
  if (node.broker != nullptr) {
    node.life->replication = &node.broker->replication_acceptor();
    node.life->broker = node.broker.get();
    node.life->groups = node.broker.get();
    node.life->consume = node.broker.get();
  }
  if (node.controller != nullptr) {
    node.life->controller = &node.controller->api();
  }
  for (ClusterObserver* observer : observers_) observer->OnBoot(node);
  network_.Up(node.life);
  if (node.controller != nullptr) node.controller->Start();
  if (node.broker != nullptr) node.broker->Start();
}

// False: it cannot; the process ends before it has begun.
bool SimCluster::OpenController(SimNode& node) {
  std::vector<NodeId> voters;
  for (const int id : ControllerIds()) voters.push_back(NodeId(id));
  node.raft_transport = network_.MakeRaftTransport(node.life, voters);
  node.dialer = network_.MakeDialer(node.life);
  ControllerProcess::Deps deps;
  deps.fs = &node.fs;
  deps.open_kv = [&node](const std::string&)
      -> absl::StatusOr<std::unique_ptr<KvStore>> {
    node.kv.Reopen();
    return std::make_unique<MountedKvStore>(&node.kv);
  };
  deps.clock = &node.host;
  deps.executor = node.life->controller_executor;
  deps.writer = NewDiskExecutor(node, node.raft_disk, nullptr);
  deps.transport = node.raft_transport.get();
  deps.dialer = node.dialer.get();
  deps.configs = configs_;
  deps.node_id = node.id;
  deps.cluster_name = "sim";
  deps.sessions = options_.sessions;
  deps.raft = options_.raft;
  deps.producer_id_block = options_.producer_id_block;
  for (const int id : ControllerIds()) {
    deps.controllers.push_back(
        {NodeId(id), SimNetwork::EndpointOf(NodeId(id))});
  }
  deps.boot_id = StrCat("boot-", node.boots);
  deps.random_seed = random_.Next64();
  deps.on_fatal = [this, &node](absl::Status why) { OnFatal(node, why); };
  auto opened = ControllerProcess::Open(std::move(deps), kRaftDirectory);
  if (!opened.ok()) {
    node.fatal.push_back(opened.status());
    return false;
  }
  node.controller = *std::move(opened);
  return true;
}

bool SimCluster::OpenBroker(SimNode& node) {
  node.connector = network_.MakeConnector(node.life);
  node.leaders = network_.MakeLeaderConnector(node.life);
  node.groups = network_.MakeGroupConnector(node.life);
  Broker::Deps deps;
  deps.fs = &node.fs;
  deps.clock = &node.host;
  deps.control_executor = NewExecutor(node);
  deps.replication_executor = NewExecutor(node);
  node.executors.push_back(std::make_unique<IoExecutor>(
      node.host.NewExecutor(), &node.fs, &node.failed_view_syncs));
  deps.io_executor = node.executors.back().get();
  deps.worker_executor = NewExecutor(node);
  for (int i = 0; i < options_.shards; ++i) {
    deps.shard_executors.push_back(NewExecutor(node));
  }
  deps.directories.push_back(
      {kLogDirectory, NewDiskExecutor(node, node.log_disk, &node.fs)});
  for (const int id : ControllerIds()) {
    node.peers.push_back(network_.MakeControllerPeer(
        node.life, NodeId(id), deps.control_executor));
    deps.controllers.push_back({NodeId(id), SimNetwork::EndpointOf(NodeId(id)),
                                node.peers.back().get()});
  }
  deps.replication_connector = node.connector.get();
  deps.view_files = ViewFilesOf(node);
  deps.leader_connector = node.leaders.get();
  deps.group_connector = node.groups.get();
  deps.memory = options_.memory;
  const auto rack = options_.racks.find(node.id.value());
  if (rack != options_.racks.end()) deps.rack = rack->second;
  deps.configs = configs_;
  deps.node_id = node.id;
  deps.liveness = options_.liveness;
  deps.watch_limits = options_.watch_limits;
  deps.tail_cache_bytes_per_shard = options_.tail_cache_bytes_per_shard;
  deps.cluster_name = "sim";
  deps.public_endpoint = SimNetwork::PublicEndpointOf(node.id);
  deps.internal_endpoint = SimNetwork::EndpointOf(node.id);
  deps.boot_id = StrCat("boot-", node.boots);
  deps.random_seed = random_.Next64();
  deps.on_fatal = [this, &node](absl::Status why) { OnFatal(node, why); };
  deps.on_serving = [&node](bool serving) { node.serving = serving; };
  auto opened = Broker::Open(std::move(deps));
  if (!opened.ok()) {
    node.fatal.push_back(opened.status());
    return false;
  }
  node.broker = *std::move(opened);
  return true;
}

coordinator::ViewStoreFiles SimCluster::ViewFilesOf(SimNode& node) {
  node.views.SetFiles(&node.fs);
  coordinator::ViewStoreFiles files;
  files.open = [&node](const std::string&)
      -> absl::StatusOr<std::unique_ptr<KvStore>> {
    return std::make_unique<MountedKvStore>(&node.views);
  };
  files.set_aside = [&node](const std::string&) {
    node.views.Wipe();
    return absl::OkStatus();
  };
  files.open_checkpoint = [this, &node](const std::string& path)
      -> absl::StatusOr<std::unique_ptr<KvStore>> {
    // One that was just made is looked at before it has its name.
    const bool fills = path.find(kCheckpoints) != std::string::npos;
    ++(fills ? view_counts_.fills : view_counts_.checkpoints);
    return MemKvStore::OpenCheckpoint(node.fs, path);
  };
  return files;
}

// As a store that is found damaged: its checkpoints stay.
void SimCluster::LoseViews(SimNode& node) {
  if (node.views.Peek().empty()) return;
  const auto files = node.fs.PeekFiles(kLogDirectory);
  const bool kept = std::any_of(
      files.begin(), files.end(), [](const std::string& file) {
        return file.find(kCheckpoints) != std::string::npos;
      });
  ++(kept ? view_counts_.lost : view_counts_.lost_bare);
  node.views.Wipe();
}

void SimCluster::End(SimNode& node, ProcessEnd how) {
  for (ClusterObserver* observer : observers_) observer->OnEnd(node, how);
  network_.Down(node.life, how == ProcessEnd::kPowerCut
                               ? SimNetwork::Death::kSilent
                               : SimNetwork::Death::kKernelLives);
  node.host.Resume();
  Destroy(node);
  // What a process has not flushed of its views goes with it.
  if (how != ProcessEnd::kStopped && node.views.unsynced_batches() > 0) {
    node.views.Crash(&random_);
  }
  if (how != ProcessEnd::kStopped && options_.views_lost_one_in > 0 &&
      random_.OneIn(static_cast<uint64_t>(options_.views_lost_one_in))) {
    LoseViews(node);
  }
}

void SimCluster::Destroy(SimNode& node) {
  node.serving = false;
  // What dies with the process must not be seen to close its streams.
  node.broker.reset();
  node.controller.reset();
  node.connector.reset();
  node.leaders.reset();
  node.groups.reset();
  node.peers.clear();
  node.dialer.reset();
  node.raft_transport.reset();
  node.disk_threads.clear();
  node.executors.clear();
  node.life.reset();
}

void SimCluster::Kill(int id) {
  SimNode& node = at(id);
  if (node.life == nullptr) return;
  End(node, ProcessEnd::kKilled);
  node.fs.Kill();
}

void SimCluster::PowerCut(int id, bool reordered) {
  SimNode& node = at(id);
  if (node.life != nullptr) {
    End(node, ProcessEnd::kPowerCut);
  } else {
    for (ClusterObserver* observer : observers_) {
      observer->OnEnd(node, ProcessEnd::kPowerCut);
    }
  }
  if (reordered) {
    node.fs.CrashReordering(random_);
  } else {
    node.fs.Crash(random_);
  }
  Reboot(node);
  node.kv.Crash(&random_);
}

void SimCluster::PowerCutLosingAll(int id) {
  SimNode& node = at(id);
  if (node.life != nullptr) End(node, ProcessEnd::kPowerCut);
  node.fs.CrashLosingAll();
  node.kv.Crash();
  Reboot(node);
}

void SimCluster::Reboot(SimNode& node) {
  node.host.Reboot(random_.Between(0, kUptimeUsMax));
  ++node.boots;
}

void SimCluster::Pause(int id) {
  SimNode& node = at(id);
  INVARIANT(node.life != nullptr, "node ", id, " is down");
  network_.Pause(node.life);
  node.host.Pause();
}

void SimCluster::Resume(int id) {
  SimNode& node = at(id);
  if (node.life == nullptr || !node.life->hung) return;
  network_.Resume(node.life);
  node.host.Resume();
}

void SimCluster::BeginStop(int id, std::function<void()> stopped) {
  SimNode& node = at(id);
  ControllerProcess* controller = node.controller.get();
  const auto stop_controller = [controller, stopped] {
    if (controller == nullptr) return stopped();
    controller->RequestStop(stopped);
  };
  if (node.broker == nullptr) return stop_controller();
  node.broker->RequestStop(
      [stop_controller](const absl::Status&) { stop_controller(); });
}

void SimCluster::FinishStop(int id) {
  End(at(id), ProcessEnd::kStopped);
  at(id).fs.Kill();
}

bool SimCluster::Stop(int id, int64_t limit_ms) {
  // Shared: it may be answered when nobody waits any more.
  const auto stopped = std::make_shared<bool>(false);
  BeginStop(id, [stopped] { *stopped = true; });
  if (!RunUntil([&] { return *stopped; }, 2 * limit_ms)) return false;
  FinishStop(id);
  return true;
}

void SimCluster::Wipe(int id) {
  SimNode& node = at(id);
  INVARIANT(node.life == nullptr, "node ", id, " is up");
  RemoveForGood(node.fs, "/data");
  node.kv.Wipe();
  node.views.Wipe();
  for (ClusterObserver* observer : observers_) observer->OnWiped(node);
}

void SimCluster::WipeLogs(int id) {
  SimNode& node = at(id);
  INVARIANT(node.life == nullptr, "node ", id, " is up");
  RemoveForGood(node.fs, kLogDirectory);
  node.views.Wipe();
  for (ClusterObserver* observer : observers_) observer->OnWiped(node);
}

void SimCluster::WipeRaft(int id) {
  SimNode& node = at(id);
  INVARIANT(node.life == nullptr, "node ", id, " is up");
  RemoveForGood(node.fs, kRaftDirectory);
  node.kv.Wipe();
}

void SimCluster::SetDisks(int id, int64_t more_us, bool hung) {
  SimNode& node = at(id);
  for (DiskSpeed* speed : {node.log_disk.get(), node.raft_disk.get()}) {
    speed->task_us = options_.disk_us + more_us;
    speed->hung = hung;
  }
  for (DiskExecutor* thread : node.disk_threads) thread->Wake();
}

std::vector<int> SimCluster::ids() const {
  std::vector<int> ids;
  for (const auto& [id, node] : nodes_) ids.push_back(id.value());
  return ids;
}

std::vector<std::string> SimCluster::LogFiles(int id) {
  std::vector<std::string> files = at(id).fs.PeekFiles(kLogDirectory);
  std::erase_if(files, [](const std::string& file) {
    return !file.ends_with(".log");
  });
  return files;
}

std::string SimCluster::LogHome(const TopicPartition& tp) {
  return StrCat(kLogDirectory, "/", tp.ToString(), "/");
}

std::string SimCluster::JournalPath() {
  return StrCat(kLogDirectory, "/journal");
}

std::vector<std::string> SimCluster::LogFiles(int id,
                                              const TopicPartition& tp) {
  std::vector<std::string> files = LogFiles(id);
  const std::string home = LogHome(tp);
  std::erase_if(files, [&home](const std::string& file) {
    return !file.starts_with(home);
  });
  return files;
}

std::optional<Offset> SimCluster::LogStart(int id, const TopicPartition& tp) {
  const sluice::Partition* running = FindReplica(id, tp);
  if (running == nullptr) return std::nullopt;
  return running->log().log_start();
}

const sluice::Partition* SimCluster::FindReplica(int id, const TopicPartition& tp) {
  if (at(id).broker == nullptr) return nullptr;
  const Replicas& replicas = at(id).broker->replicas();
  const Shard& shard = *replicas.shards()[replicas.IndexOf(tp)];
  return shard.Find(tp);
}

std::optional<std::string> SimCluster::LogBytes(int id,
                                                const TopicPartition& tp) {
  const std::vector<std::string> files = LogFiles(id, tp);
  std::string bytes;
  for (const std::string& file : files) bytes += *at(id).fs.PeekWritten(file);
  const std::optional<Offset> log_start = LogStart(id, tp);
  if (files.empty() && !log_start.has_value()) return std::nullopt;
  return bytes.substr(BytesBelow(log_start.value_or(Offset(0)), bytes));
}

}  // namespace sluice::sim
