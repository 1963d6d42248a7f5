// RaftNodes in a SimWorld: disks that forget, a network with delay, loss,
// duplicates and breaks.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/env/sim_world.h"
#include "controller/raft_driver/raft_node.h"
#include "storage/mem_kv_store.h"

namespace sluice {

class SimRaftNetwork;

// One controller's Raft, its process and its disk.
struct SimRaftNode {
  NodeId id;
  DirectoryId directory;
  MemKvStore kv;
  // The process; all null while it is down.
  std::unique_ptr<Executor> executor;
  std::unique_ptr<Executor> writer;
  std::unique_ptr<RaftLogStore> store;
  std::unique_ptr<RaftTransport> transport;
  std::unique_ptr<RaftNode> raft;
  // What it saw in this life.
  std::vector<raft::BootstrapRecord> clusters;
  std::vector<std::string> applied;  // payloads of kRecords
  std::vector<raft::SoftState> roles;
  std::vector<absl::Status> fatal;
};

class SimRaftCluster {
 public:
  SimRaftCluster(int nodes, uint64_t seed);
  ~SimRaftCluster();

  SimWorld& world() { return world_; }
  SimRaftNode& at(int n) { return *nodes_.at(NodeId(n)); }
  RaftNode& raft(int n) { return *at(n).raft; }
  Random& random() { return random_; }

  void Boot(int n);
  // The process dies; links break unless `silent` (a lost host). Unsynced
  // state is lost.
  void Kill(int n, bool silent = false);
  void Wipe(int n);
  void Cut(int a, int b);
  void Heal();
  void SetLoss(int percent) { loss_percent_ = percent; }
  // Delivers a message as if the network had.
  absl::Status Inject(int to, raft::Message message);
  // A SIGSTOPped process: its tasks wait.
  void RunFor(int64_t ms) { world_.RunFor(ms * 1000); }
  // 0: none leads with a quorum's consent (the highest term is taken).
  int Leader();
  bool AwaitLeader(int64_t limit_ms);
  // Proposes at the leader and waits for the answer.
  absl::Status ProposeAndWait(const std::string& payload);

 private:
  friend class SimRaftTransport;
  void Deliver(NodeId from, NodeId to, raft::Message message);

  SimWorld world_;
  Random random_;
  std::map<NodeId, std::unique_ptr<SimRaftNode>> nodes_;
  std::vector<raft::BootstrapVoter> initial_;
  std::map<NodeId, RaftTransportEvents*> listening_;
  std::set<std::pair<NodeId, NodeId>> cuts_;
  int loss_percent_ = 0;
};

}  // namespace sluice
