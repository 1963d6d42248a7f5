// The controller role of one process, put together: its directory, the Raft
// log, Raft, and the controller on it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/node_config.h"
#include "client/peers/controller_peer.h"
#include "common/base/random.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "common/env/file_system.h"
#include "common/obs/metrics.h"
#include "controller/controller.h"
#include "controller/raft_driver/raft_log_store.h"
#include "controller/raft_driver/raft_node.h"
#include "controller/raft_driver/raft_transport.h"
#include "controller/raft_metadata_log.h"
#include "storage/dir_store.h"
#include "storage/kv_store.h"

namespace sluice {

// Open, Start, RequestStop; destroyed when neither executor runs any more.
class ControllerProcess {
 public:
  struct Deps {
    FileSystem* fs = nullptr;
    // RocksKvStore::Open in a process, memory in a test.
    std::function<absl::StatusOr<std::unique_ptr<KvStore>>(
        const std::string& path)>
        open_kv;
    const Clock* clock = nullptr;
    Executor* executor = nullptr;  // the controller's
    Executor* writer = nullptr;    // of the Raft log: waits for the disk
    RaftTransport* transport = nullptr;
    BrokerDialer* dialer = nullptr;
    std::shared_ptr<const ConfigRegistry> configs;
    NodeId node_id;
    std::string cluster_name;
    std::vector<ControllerAddress> controllers;
    std::string boot_id;
    uint64_t random_seed = 0;
    SessionOptions sessions;
    int32_t producer_id_block = kProducerIdBlockSize;
    // Its self, cluster_id and voters are filled in.
    raft::RaftConfig raft;
    // The Raft log's disk failed, or a committed record is unknown (MD8): end
    // the process. From the executor.
    std::function<void(absl::Status)> on_fatal;
  };

  // Locks `directory`, reads and checks the log; blocks; nothing runs yet.
  // DATA_DIR_IN_USE; DATA_DIR_MISMATCH: another node's; UNSUPPORTED_FORMAT;
  // STORAGE_ERROR: damaged, or a member of a cluster whose log is gone.
  static absl::StatusOr<std::unique_ptr<ControllerProcess>> Open(
      Deps deps, const std::string& directory);

  ControllerApi& api() { return *controller_; }
  ClusterId cluster_id_at_start() const { return store_->facts().cluster_id; }

  // Any thread, once.
  void Start();
  // Any thread, once: hands Raft leadership over when it has it (0.8 s at
  // most), fails what is under way, then runs `stopped` on the executor.
  void RequestStop(Task stopped);

  // On the executor.
  void AddMetrics(MetricSet& metrics) const;

  // ---- For inspection: what a debugger would show. Read by checks, on the
  // ---- executor; nothing in the product needs it ----
  const RaftNode& raft() const { return *node_; }
  const Controller& controller() const { return *controller_; }

 private:
  explicit ControllerProcess(Deps deps);

  absl::Status CheckOwnLog(const std::string& directory) const;
  RaftNodeOptions NodeOptions() const;
  void MakeParts();
  void OnCluster(const raft::BootstrapRecord& record);
  void Fatal(const absl::Status& why);

  Deps deps_;
  Random random_;
  std::unique_ptr<DirStore> store_;
  std::unique_ptr<KvStore> kv_;
  std::unique_ptr<RaftLogStore> log_store_;
  std::unique_ptr<RaftMetadataLog> log_;
  std::unique_ptr<RaftNode> node_;
  std::unique_ptr<Controller> controller_;
  bool stopping_ = false;
};

}  // namespace sluice
