// Does the faults of a schedule to a cluster, and mends them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "test/sim/fault.h"
#include "test/sim/fault_atlas.h"
#include "test/sim/sim_client.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {

// A fault that makes no sense at its moment (a kill of what is down, a reset
// where nothing is connected), or that the atlas forbids, is left out and not
// counted. One that waits for messages (DropKind, HalfOpen) counts once it has
// met one.
class FaultInjector {
 public:
  using Log = std::function<void(const std::string&)>;

  FaultInjector(SimCluster* cluster, FaultAtlas* atlas, uint64_t seed,
                Log log);
  ~FaultInjector();

  // Each at its time from now on.
  void Start(const FaultSchedule& faults);
  // At once; mended after fault.for_us. False: left out.
  bool Do(const Fault& fault);

  // No more faults; what lies in `core` is up, quick and connected, what does
  // not is dead, stands still or hears nobody: until HealAll.
  void LeaveHealthy(const std::set<int>& core);
  // Who is down, but for those whose disk lies: they come when it is mended.
  void BootAll();
  // Whose Raft log was lost: it follows, and votes no more (RA12). 0: nobody's.
  int wiped_controller() const { return wiped_controller_; }
  // Outside a healthy core, alive, and no sync of its disk ends.
  bool Hangs(int node) const { return hanging_.contains(node); }
  // Everything is up, quick and connected; no more faults.
  void HealAll();

  // Processes of a node whose disk fails, or was full, may end themselves: the
  // `nth` of SimNode::fatal of this node had that reason.
  bool MayHaveEnded(int node, size_t nth) const {
    return excused_.contains({node, nth});
  }
  // Whether a sync of that node's disk has failed since the last call: what its
  // process calls durable from now on is a lie (ST4).
  bool HasFailedSync(NodeId node);

  using Counts = std::array<int64_t, kFaultKindCount>;
  const Counts& fired() const { return fired_; }

 private:
  using Mend = std::function<void()>;
  // What it did, to be undone; nullopt: left out.
  std::optional<Mend> Begin(const Fault& fault);
  std::optional<Mend> BeginProcess(const Fault& fault);
  std::optional<Mend> BeginPowerLoss(const Fault& fault);
  std::optional<Mend> BeginLinks(const Fault& fault);
  std::optional<Mend> BeginQuality(const Fault& fault);
  std::optional<Mend> BeginDisk(const Fault& fault);
  std::optional<Mend> BeginBadDisk(const Fault& fault);
  std::optional<Mend> BeginFailingDisk(const Fault& fault);
  std::optional<Mend> BeginMisdirection(const Fault& fault);
  std::optional<Mend> BeginReadErrors(const Fault& fault);
  void EndUnreadable(int node);
  void EndFailingDisk(int node);
  void Hang(int node);
  std::optional<Mend> CleanStop(int node);
  std::optional<Mend> PowerLossAll();
  Mend BootAgain(int node);

  SimNetwork::Cuts CutsOf(const Fault& fault) const;
  void SetLinks();
  void SetQuality();
  void SetDisks(int node);
  void Forget();
  void OnMet(uint64_t fault, FaultKind kind);
  std::vector<int> Everybody() const;  // clients too

  SimCluster* const cluster_;
  FaultAtlas* const atlas_;
  Random random_;
  const Log log_;
  std::unique_ptr<Executor> executor_;
  SimNetwork::FilterId filter_ = 0;
  Counts fired_{};
  uint64_t next_ = 1;
  // What is broken now, by an id of its own.
  std::map<uint64_t, SimNetwork::Cuts> cuts_;
  std::map<uint64_t, Fault> qualities_;
  std::map<uint64_t, Fault> disks_;  // slow, hung, full
  std::map<uint64_t, Mend> mends_;
  // Those that have not met a message yet; half-open ones by their lanes.
  std::set<uint64_t> unmet_;
  std::map<uint64_t, uint64_t> half_open_;
  // The network outlives this.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  // Whose disk fails or is full, and how many processes of it had ended
  // themselves by then.
  struct Failing {
    int faults = 0;  // of it, now
    size_t ended_before = 0;
    bool syncs_fail = false;
    int64_t failed_syncs_before = 0;
    int64_t failed_syncs_told = 0;
  };
  bool IsLying(int node) const;
  Failing& BeginFailing(int node);
  std::map<int, Failing> failing_;
  std::map<int, int> unreadable_;  // by how many faults now
  std::set<int> hanging_;
  int wiped_controller_ = 0;
  std::set<std::pair<int, size_t>> excused_;
  // The life that was last asked to stop: one is asked once.
  std::map<int, std::weak_ptr<Life>> stopping_;
};

}  // namespace sluice::sim
