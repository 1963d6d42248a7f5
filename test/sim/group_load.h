// The groups of a run: members that come, leave, hang, die and come again, and
// an operator who reads and sets offsets from outside.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "test/sim/consume_program.h"
#include "test/sim/group_plan.h"
#include "test/sim/group_program.h"
#include "test/sim/open_calls.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {

class GroupLoad {
 public:
  // A group that nobody belongs to: only offsets are set in it.
  static constexpr char kLoneGroup[] = "alone";
  // How soon a group without a member gets one once all is healed.
  static constexpr int64_t kTendEveryUs = 500'000;

  struct Deps {
    SimCluster* cluster = nullptr;
    const GroupsPlan* plan = nullptr;
    uint64_t seed = 0;
    std::vector<NamedPartition> partitions;  // of the topics
    // A member was given it.
    std::function<void(const NamedPartition&, const DecodedRecord&)> on_record;
    // Of a partition that is committed up to there nothing can be given any
    // more, or nothing is known.
    std::function<bool(const NamedPartition&, Offset committed, Offset end)>
        is_done;
    // As GroupInvariants::OnOwned.
    using OnOwned = std::function<void(
        const std::string& group, int process, const std::string& instance,
        int32_t generation, const std::set<NamedPartition>& partitions)>;
    OnOwned on_owned;
    OpenCalls::Report report;
  };
  explicit GroupLoad(Deps deps);
  ~GroupLoad();

  void Start();
  // Nobody comes, goes or hangs any more, and nobody asks; members read on.
  void Stop();
  bool AllAnswered() const { return calls_.empty(); }
  std::string Unanswered() const { return calls_.ToString(); }
  void CheckDue();

  // "": of each group everybody is in one generation, everything is somebody's
  // and read to its end.
  std::string WhyNotSettled(
      const std::function<Offset(const NamedPartition&)>& end) const;
  // Once settled: each group was given every record in [first, end) of each of
  // its partitions (SKIPPED).
  void CheckGiven(const NamedPartition& tp, Offset first, Offset end) const;
  const ConsumeCounts& consume_counts() const { return consumed_; }

 private:
  struct Slot {
    const GroupPlan* plan = nullptr;
    std::string instance;
    bool streams = false;               // it speaks Consume
    std::unique_ptr<GroupApp> program;  // null: nobody
  };
  // Which records a group was given.
  using Given = std::vector<bool>;

  void StartProgram(Slot& slot);
  void Churn();
  void ChurnOne(Slot& slot);
  void PauseFor(GroupApp& program, int64_t us);
  std::unique_ptr<GroupApp> MakeConsumer(const Slot& slot, int number);
  std::unique_ptr<GroupApp> MakeStream(const Slot& slot, int number);
  void Tend();
  void Reap();
  void Ask();
  void ReadOffsets(const std::string& group);
  void SetOffset(const std::string& group, bool administrative);
  void RemoveOffsets();
  void Describe();
  std::string AnyGroup();
  const NamedPartition& AnyPartition();
  void LookUpCommitted(const GroupPlan& plan);
  std::string WhyNotRead(const GroupPlan& plan, const GroupApp& owner,
                         const NamedPartition& tp, Offset end) const;
  void Take(const std::string& group, const FetchedBatch& batch);
  void TakeOne(const std::string& group, const NamedPartition& tp,
               const DecodedRecord& record);
  std::vector<const GroupApp*> LivingOf(const GroupPlan& plan) const;

  const Deps deps_;
  Random random_;
  OpenCalls polls_;
  OpenCalls calls_;
  OpenCalls looks_;  // that a run does not wait for
  std::unique_ptr<Executor> executor_;
  std::map<std::pair<std::string, NamedPartition>, Given> given_;
  // Of groups with streams, once nobody comes and goes any more.
  struct Committed {
    Offset last{0};
    Offset furthest{0};
  };
  std::map<std::pair<std::string, NamedPartition>, Committed> committed_;
  ConsumeCounts consumed_;
  std::set<std::string> meddled_;  // somebody else may have set their offsets
  int processes_ = 0;
  int commits_ = 0;
  bool stopped_ = false;
  std::unique_ptr<GroupProcess> operator_;
  std::unique_ptr<GroupConnections> connections_;
  std::unique_ptr<GroupAdmin> admin_;
  std::vector<Slot> slots_;
  // They leave, or another one has their instance id.
  std::vector<std::unique_ptr<GroupApp>> leaving_;
};

}  // namespace sluice::sim
