// One seed, one run: a cluster, load, faults; then a healthy core, then all
// healed; and what must hold throughout.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "test/sim/cluster_checks.h"
#include "test/sim/fault_injector.h"
#include "test/sim/instant_bound.h"
#include "test/sim/sim_cluster.h"
#include "test/sim/swarm.h"
#include "test/sim/trace.h"
#include "test/sim/workload.h"

namespace sluice::sim {

// Plain bytes: a child process hands them to its parent.
struct RunNumbers {
  uint64_t hash = 0;
  int64_t virtual_us = 0;
  int64_t events = 0;
  int64_t acked = 0;
  int64_t read = 0;
  // Acknowledged records whose history was judged, at the end and before all
  // power was lost.
  int64_t judged = 0;
  int64_t judged_so_far = 0;
  int64_t acked_anew = 0;  // behind that, where records may be lost
  int64_t all_power_lost = 0;  // behind the faults' phase
  ViewCounts views;
  DiskLieCounts lies;
  // Partitions, in phase 2.
  int64_t progress_owed = 0;
  int64_t progress_not_owed = 0;
  int64_t instant_events_most = 0;
  NetworkCounts network;
  SubscriberCounts subscribers;
  ConsumeCounts consumed;
  int64_t streamed = 0;  // records acknowledged by produce streams alone
  FaultInjector::Counts faults{};
  std::array<uint64_t, check::kRuleCount> evaluations{};  // by check::Rule
};

struct RunResult {
  std::string failure;  // the first; "": none
  RunNumbers numbers;
};

class FuzzRun {
 public:
  // `lines`: the trace; null: none.
  FuzzRun(const SwarmPlan& plan, std::FILE* lines);
  ~FuzzRun();

  RunResult Run();
  // Into the trace, behind what else the event does that runs now: by its node.
  void Note(std::string_view text);

 private:
  RunNumbers Numbers() const;
  void Fail(const std::string& what);
  bool failed() const { return !failure_.empty(); }
  void ObserveMessages();
  void AfterEvent(NodeId ran);
  void TakeNotes(NodeId of);
  void RunPhase(int64_t us);
  template <class Predicate>
  bool Await(Predicate done, int64_t limit_us);

  bool Start();
  void CreateTopics();
  void LoseAllPower();
  void HoldToWhatIsSaid();
  // Phase 2.
  std::set<int> DrawCore();
  std::optional<TopicPartition> IdOf(const NamedPartition& tp);
  std::string StateOf(const NamedPartition& tp);
  std::string WhyNotSettled(const std::set<int>& core);
  bool MayBeLedByWhoHangs(const PartitionImage& partition) const;
  bool IsOwedProgress(const std::set<int>& core, const NamedPartition& tp);
  void JumpWallClocks(const std::set<int>& core);
  void RequireProgress();
  // Phase 3.
  void Converge();
  std::string WhyNotConverged();
  Offset EndOf(const NamedPartition& tp);
  std::string WhyNotRead();
  std::string WhyReplicasDiffer();
  void CheckMetadata();
  void CheckEndings();

  const SwarmPlan plan_;
  Trace trace_;
  InstantBound instant_;
  SimCluster cluster_;
  FaultAtlas atlas_;
  ClusterChecks checks_;
  FaultInjector injector_;
  Random random_;
  std::unique_ptr<Workload> workload_;
  std::string failure_;
  std::vector<std::string> notes_;
  int64_t progress_owed_ = 0;
  int64_t progress_not_owed_ = 0;
  int64_t all_power_lost_ = 0;
};

}  // namespace sluice::sim
