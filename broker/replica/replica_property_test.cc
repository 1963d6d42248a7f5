// Seeded random schedules, each checked after every event. SLUICE_SEED=n runs
// one, with its trace; SLUICE_SCHEDULES=n runs n instead of 10,000.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "broker/replica/replica_testing.h"
#include "common/base/random.h"

namespace sluice::replica {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr int64_t kSchedules = 1000;  // each is ten times as slow
#else
constexpr int64_t kSchedules = 10000;
#endif
constexpr int kParts = 8;  // for test shards
constexpr int kEventsMin = 150;
constexpr int kEventsMax = 350;
constexpr int64_t kLagTimeMaxUs = 1'000'000;

// What happened in all schedules together: a fault that never fired tests
// nothing.
struct Coverage {
  int64_t epochs = 0, committed = 0, lost_frames = 0, late_frames = 0,
          power_cuts = 0, kills = 0, wipes = 0, fenced = 0, cuts = 0,
          resets = 0, shrinks = 0, grows = 0, lost_questions = 0,
          refused_questions = 0, unclean = 0, leaderless = 0, checks = 0,
          configured = 0, settled = 0;
};

class Schedule {
 public:
  Schedule(uint64_t seed, Coverage& coverage)
      : seed_(seed),
        random_(seed),
        coverage_(coverage),
        always_durable_(!random_.OneIn(3)),
        group_({.replicas = 3,
                .min_isr = random_.OneIn(3) ? 1 : 2,
                .durable = always_durable_,
                .lag_time_max_us = kLagTimeMaxUs}) {
    hold_disks_ = !random_.OneIn(4);
    crashes_ = !random_.OneIn(5);
    wipes_left_ = random_.OneIn(4) ? 1 : 0;
    unclean_left_ = random_.OneIn(10) ? 1 : 0;
    moves_log_start_ = random_.OneIn(4);
    configures_ = random_.OneIn(3);
    min_isr_ = group_.controller().now().min_isr;
    group_.KeepActions();
    for (int n : group_.ids()) group_.node(n).hold_disk = hold_disks_;
  }

  std::optional<std::string> Run() {
    group_.ApplyAll();
    const int64_t events = random_.Between(kEventsMin, kEventsMax);
    for (int64_t i = 0; i < events; ++i) {
      Event();
      CheckLeaders();
      if (group_.checker().violation().has_value()) return Violation();
    }
    return Heal();
  }

  ReplicaGroup& group() { return group_; }

 private:
  int Anyone() { return 1 + static_cast<int>(random_.Below(3)); }

  int LeaderOr(int n) {
    const NodeId leader = group_.controller().now().leader;
    return leader == kNoNode ? n : leader.value();
  }

  void Event() {
    const uint64_t kind = random_.Below(100);
    const int n = Anyone();
    if (kind < 16) {
      Produce();
    } else if (kind < 42) {
      DeliverSome(n);
    } else if (kind < 44) {
      Calm();
    } else if (kind < 46) {
      Late();
    } else if (kind < 58) {
      for (int64_t i = random_.Between(1, 3); i > 0; --i) {
        group_.CompleteDisk(Anyone());
      }
    } else if (kind < 67) {
      Time();
    } else if (kind < 75) {
      ApplySome(n);
    } else if (kind < 81) {
      Link(n);
    } else if (kind < 89) {
      Question();
    } else if (kind < 93) {
      Standing(n);
    } else if (kind < 94) {
      group_.SaveMarks(n);
    } else if (kind < 98) {
      Process(n);
    } else {
      Rare(n);
    }
  }

  void DeliverSome(int n) {
    for (int64_t i = random_.Between(1, 8); i > 0; --i) {
      // Towards one replica in a row, or anywhere.
      group_.Deliver(Anyone(), random_.OneIn(2) ? n : Anyone());
    }
  }

  // What old streams of followers carried comes at last (F5, F8).
  void Late() {
    while (!group_.late_frames().empty()) {
      ++coverage_.late_frames;
      group_.DeliverLate(random_.Below(group_.late_frames().size()));
    }
  }

  // A while without faults: so that there is something to lose again.
  void Calm() {
    for (int n : group_.ids()) {
      group_.Restart(n);
      group_.node(n).hold_disk = false;
      while (!group_.node(n).disk.empty()) group_.CompleteDisk(n);
    }
    for (int i = 0; i < 3; ++i) {
      group_.Settle();
      Unfence();
    }
    group_.Run(random_.Between(1, 5) * kLagTimeMaxUs / 10);
    for (int n : group_.ids()) group_.node(n).hold_disk = hold_disks_;
  }

  void Unfence() {
    for (int m : group_.ids()) {
      group_.ReportVerdict(m);
      if (group_.MayUnfence(m)) group_.controller().Unfence(NodeId(m));
    }
  }

  void Produce() {
    // Also at leaders that do not know that they are deposed.
    for (int n : group_.ids()) {
      group_.Produce(n, static_cast<int>(random_.Between(1, 3)),
                     !random_.OneIn(4));
    }
  }

  void Time() {
    group_.Pass(random_.Between(10'000, 300'000));
    for (int n : group_.ids()) {
      if (!random_.OneIn(4)) group_.Tick(n);
    }
  }

  // The newest, or some on the way to it: batches merge (F12).
  void ApplySome(int n) {
    const ReplicaGroup::Node& node = group_.node(n);
    const int64_t next = std::max(node.applied + 1, node.registered_at);
    const int64_t newest = group_.controller().version();
    if (next > newest) return;
    group_.Apply(n, random_.OneIn(2) ? newest : random_.Between(next, newest));
  }

  void Link(int n) {
    const int other = Anyone();
    if (random_.OneIn(4)) {
      const auto& link = group_.link(n, other);
      if (link.open) {
        coverage_.lost_frames +=
            static_cast<int64_t>(link.up.size() + link.down.size());
      }
      return group_.BreakLink(n, other);
    }
    for (int m : group_.ids()) {
      const NodeId wants = group_.node(m).wants_link;
      if (group_.up(m) && wants != kNoNode) group_.OpenLink(m, wants.value());
    }
  }

  void Question() {
    auto& questions = group_.questions();
    if (questions.empty()) return;
    const size_t at = random_.Below(questions.size());
    if (random_.OneIn(3)) {
      ++coverage_.lost_questions;
      return group_.GiveUp(at, random_.OneIn(2));
    }
    const auto epoch = group_.controller().now().partition_epoch;
    group_.Decide(at);
    if (group_.controller().now().partition_epoch == epoch) {
      ++coverage_.refused_questions;
    }
  }

  void Standing(int n) {
    if (random_.OneIn(2)) n = LeaderOr(n);
    if (random_.OneIn(4)) {
      ++coverage_.fenced;
      group_.controller().Fence(NodeId(n));
    } else if (random_.OneIn(4)) {
      group_.controller().Prefer(NodeId(Anyone()));
    } else {
      Unfence();
    }
  }

  void Process(int n) {
    if (!crashes_) return;
    if (random_.OneIn(2)) n = LeaderOr(n);
    if (!group_.up(n)) return group_.Restart(n);
    switch (random_.Below(4)) {
      case 0:
        ++coverage_.power_cuts;
        group_.PowerCut(n, static_cast<int64_t>(random_.Below(4)),
                        random_.OneIn(2));
        break;
      case 1:
        ++coverage_.kills;
        group_.Kill(n, random_.OneIn(2));
        break;
      case 2:
        group_.StopClean(n);
        break;
      default:
        return;
    }
    if (random_.OneIn(2)) group_.Restart(n);
  }

  // min ISR up and down, durability to and fro.
  void Configure() {
    ModelController& controller = group_.controller();
    ++coverage_.configured;
    if (random_.OneIn(3)) {
      const bool raised = controller.now().min_isr > min_isr_;
      return controller.SetMinIsr(raised ? min_isr_ : min_isr_ + 1);
    }
    always_durable_ = false;
    controller.SetDurable(!controller.now().durable);
  }

  void Rare(int n) {
    if (configures_ && !random_.OneIn(3)) return Configure();
    if (wipes_left_ > 0 && !group_.up(n)) {
      --wipes_left_;
      ++coverage_.wipes;
      wiped_ = true;
      group_.Wipe(n);
      // The controller learns with the registration; who counts on the disk
      // meanwhile would count on nothing.
      group_.Restart(n);
    } else if (unclean_left_ > 0) {
      ElectUnclean(n);
    } else if (moves_log_start_ && group_.up(n) &&
               group_.core(n).hw_is_truth()) {
      const ReplicaCore& core = group_.core(n);
      const auto room =
          static_cast<uint64_t>(core.high_watermark() - core.log_start());
      Offset to =
          core.log_start() + static_cast<int64_t>(random_.Below(room + 1));
      const ModelLog& log = group_.node(n).log;
      while (to < core.high_watermark() && !log.At(to).begins_batch) {
        to = to.Next();
      }
      group_.Trim(n, to);
    }
  }

  // Everybody else is cut off; if n may not be elected it is ordered.
  void ElectUnclean(int n) {
    if (!group_.up(n) || !group_.controller().now().IsActive(NodeId(n))) return;
    for (int m : group_.ids()) {
      if (m != n) group_.controller().Fence(NodeId(m));
    }
    if (group_.controller().now().leader != kNoNode) return;
    --unclean_left_;
    ++coverage_.unclean;
    group_.ElectUnclean(n);
  }

  // RP3, RP14 from outside: the leader that the controller believes in counts
  // everybody that the controller may elect.
  void CheckLeaders() {
    const ModelMetadata& now = group_.controller().now();
    if (now.leader == kNoNode) return;
    const int n = now.leader.value();
    if (!group_.up(n)) return;
    const ReplicaCore& core = group_.core(n);
    if (core.state() != State::kLeading || core.under_min_isr() ||
        core.leader_epoch() != now.leader_epoch) {
      return;
    }
    if (core.hw_is_truth() && !group_.checker().gave_up()) {
      const Offset committed = group_.checker().committed();
      group_.checker().Check(
          core.high_watermark() >= committed, "RP5", now.leader,
          StrCat("takes HW ", core.high_watermark(), " for the truth, it is ",
                 committed));
    }
    const std::set<NodeId> counted = core.maximal_isr();
    for (const NodeId member : now.MustHoldCommitted()) {
      group_.checker().Check(counted.count(member) > 0, "RP3", now.leader,
                             StrCat("does not count ", member));
    }
  }

  std::optional<std::string> Violation() {
    return StrCat("seed ", seed_, ": ", *group_.checker().violation());
  }

  std::optional<std::string> Failure(const std::string& what) {
    return StrCat("seed ", seed_, ": ", what);
  }

  // With everything up and every frame arriving: one leader, everyone in sync
  // with the same log, all of it committed.
  std::optional<std::string> Heal() {
    for (int n : group_.ids()) {
      group_.node(n).hold_disk = false;
      for (int other : group_.ids()) group_.BreakLink(n, other);
    }
    group_.late_frames().clear();
    for (int n : group_.ids()) {
      group_.Restart(n);
      while (!group_.node(n).disk.empty()) group_.CompleteDisk(n);
    }
    for (int i = 0; i < 3; ++i) {
      group_.Settle();
      Unfence();
    }
    group_.Run(4 * kLagTimeMaxUs);
    if (group_.checker().violation().has_value()) return Violation();
    Count();
    const ModelMetadata& now = group_.controller().now();
    if (now.leader == kNoNode) {
      // Only when nobody is left that surely holds what is committed.
      ++coverage_.leaderless;
      if (now.isr.empty() && now.elr.empty() && !always_durable_) return std::nullopt;
      if (now.isr.empty() && now.elr.empty() && wiped_) return std::nullopt;
      return Failure("nobody leads though somebody could");
    }
    return CheckConverged(now);
  }

  std::optional<std::string> CheckConverged(const ModelMetadata& now) {
    const int leader = now.leader.value();
    if (!group_.Produce(leader)) return Failure("the leader refuses a record");
    group_.Run(kLagTimeMaxUs);
    if (group_.checker().violation().has_value()) return Violation();
    const ModelMetadata& then = group_.controller().now();
    if (then.settling) return Failure("a switch to disk does not settle");
    if (then.isr.size() != 3) {
      return Failure(StrCat("RP14 ", then.isr.size(), " in the ISR at the end"));
    }
    const ModelLog& log = group_.node(leader).log;
    for (int n : group_.ids()) {
      const ReplicaCore& core = group_.core(n);
      const ModelLog& other = group_.node(n).log;
      if (core.high_watermark() != log.leo() || other.leo() != log.leo()) {
        return Failure(StrCat("replica ", n, " ends with HW ",
                              core.high_watermark(), " of ", other.leo(),
                              ", the leader's log ends at ", log.leo()));
      }
      const Offset from =
          std::max({log.log_start(), other.log_start(), other.base()});
      for (Offset o = from; o < log.leo(); o = o.Next()) {
        if (!(log.At(o) == other.At(o))) {
          return Failure(StrCat("RP9 replica ", n, " differs at ", o));
        }
      }
    }
    return std::nullopt;
  }

  void Count() {
    for (int64_t v = 1; v <= group_.controller().version(); ++v) {
      const ModelMetadata& was = group_.controller().At(v - 1);
      const ModelMetadata& is = group_.controller().At(v);
      if (is.isr.size() > was.isr.size()) ++coverage_.grows;
      if (was.settling && is.promises_disk()) ++coverage_.settled;
      if (is.isr.size() < was.isr.size() && is.brokers == was.brokers) {
        ++coverage_.shrinks;
      }
    }
    coverage_.epochs += group_.controller().now().leader_epoch.value();
    coverage_.committed += group_.checker().committed().value();
    coverage_.checks += static_cast<int64_t>(group_.checker().checks());
    for (int n : group_.ids()) {
      for (const Action& action : group_.node(n).done) {
        if (std::holds_alternative<TruncateTo>(action)) ++coverage_.cuts;
        if (std::holds_alternative<ResetTo>(action)) ++coverage_.resets;
      }
    }
  }

  const uint64_t seed_;
  Random random_;
  Coverage& coverage_;
  bool always_durable_;
  ReplicaGroup group_;
  bool hold_disks_ = false;
  bool crashes_ = false;
  int wipes_left_ = 0;
  int unclean_left_ = 0;
  bool wiped_ = false;
  bool moves_log_start_ = false;
  bool configures_ = false;
  int min_isr_ = 1;
};

int64_t Schedules() {
  const char* count = std::getenv("SLUICE_SCHEDULES");
  return count == nullptr ? kSchedules : std::strtoll(count, nullptr, 10);
}

class ReplicaPropertyTest : public testing::TestWithParam<int> {};

TEST_P(ReplicaPropertyTest, NoScheduleLosesWhatWasCommittedAndAllConverge) {
  if (const char* one = std::getenv("SLUICE_SEED"); one != nullptr) {
    if (GetParam() != 0) return;
    Coverage coverage;
    Schedule schedule(std::strtoull(one, nullptr, 10), coverage);
    schedule.group().TraceOn();
    const auto failure = schedule.Run();
    for (const std::string& line : schedule.group().TakeTrace()) {
      std::printf("%s\n", line.c_str());
    }
    EXPECT_FALSE(failure.has_value()) << *failure;
    return;
  }
  const int64_t schedules = Schedules() / kParts;
  Coverage sum;
  int failures = 0;
  for (int64_t i = 1; i <= schedules; ++i) {
    Schedule schedule(static_cast<uint64_t>(i * kParts + GetParam()), sum);
    if (const auto failure = schedule.Run(); failure.has_value()) {
      ADD_FAILURE() << *failure;
      if (++failures == 5) return;
    }
  }
  std::printf(
      "%ld schedules: %ld epochs, %ld records committed, %ld frames lost, %ld "
      "late, %ld power cuts, %ld kills, %ld wipes, %ld fenced, %ld cuts, %ld "
      "resets, %ld ISR shrinks, %ld grows, %ld questions lost, %ld refused, "
      "%ld unclean elections, %ld leaderless ends, %ld checks, %ld times "
      "configured, %ld switches settled\n",
      schedules, sum.epochs, sum.committed, sum.lost_frames, sum.late_frames,
      sum.power_cuts, sum.kills, sum.wipes, sum.fenced, sum.cuts, sum.resets,
      sum.shrinks, sum.grows, sum.lost_questions, sum.refused_questions,
      sum.unclean, sum.leaderless, sum.checks, sum.configured, sum.settled);
  if (schedules < kSchedules / kParts) return;
  EXPECT_GT(sum.epochs, 5 * schedules);
  EXPECT_GT(sum.committed, 20 * schedules);
  EXPECT_GT(sum.lost_frames, schedules);
  EXPECT_GT(sum.late_frames, schedules / 2);
  EXPECT_GT(sum.power_cuts, schedules);
  EXPECT_GT(sum.cuts, schedules);
  EXPECT_GT(sum.grows, schedules);
  EXPECT_GT(sum.shrinks, schedules / 50);
  EXPECT_GT(sum.lost_questions, schedules / 50);
  EXPECT_GT(sum.refused_questions, schedules / 50);
  EXPECT_GT(sum.unclean, schedules / 200);
  EXPECT_GT(sum.configured, schedules / 2);
  EXPECT_GT(sum.settled, schedules / 20);
}

INSTANTIATE_TEST_SUITE_P(Parts, ReplicaPropertyTest,
                         testing::Range(0, kParts));

TEST(ReplicaPropertyTest, OneSeedIsOneRun) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Coverage coverage;
    Schedule first(seed, coverage);
    Schedule second(seed, coverage);
    first.group().TraceOn();
    second.group().TraceOn();
    (void)first.Run();
    (void)second.Run();
    ASSERT_EQ(first.group().TakeTrace(), second.group().TakeTrace()) << seed;
  }
}

}  // namespace
}  // namespace sluice::replica
