// Seeded random schedules, each checked after every event. SLUICE_SEED=n runs
// one, with its trace.
#include <gtest/gtest.h>

#include <cstdlib>

#include "common/base/str_cat.h"
#include "controller/raft/raft_testing.h"

namespace sluice::raft {
namespace {

constexpr int kSeeds = 10000;
constexpr int kEventsMin = 200;
constexpr int kEventsMax = 400;

// What happened in all schedules together: a fault that never fired tests
// nothing.
struct Coverage {
  int64_t elections = 0, commits = 0, lost = 0, duplicated = 0, crashes = 0,
          lossy_crashes = 0, wipes = 0, cuts = 0, reads = 0, transfers = 0,
          truncations = 0, checks = 0;
};

class Schedule {
 public:
  Schedule(uint64_t seed, Coverage& coverage)
      : seed_(seed),
        random_(seed),
        coverage_(coverage),
        size_(random_.OneIn(2) ? 3 : 5),
        small_window_(random_.OneIn(2)),
        group_(size_, seed * 31 + 7,
               [this](RaftConfig& config) { Tune(config); }) {
    loss_percent_ = random_.OneIn(3) ? 0 : random_.Below(31);
    duplicate_percent_ = random_.OneIn(3) ? 0 : random_.Below(51);
    fifo_ = random_.OneIn(3);
    hold_writes_ = !random_.OneIn(4);
    wipes_left_ = random_.OneIn(3) ? (size_ - 1) / 2 : 0;
    for (int n : group_.ids()) group_.node(n).hold_writes = hold_writes_;
  }

  std::optional<std::string> Run() {
    const int64_t events = random_.Between(kEventsMin, kEventsMax);
    for (int64_t i = 0; i < events; ++i) {
      Event();
      if (group_.checker().violation().has_value()) return Violation();
    }
    return Heal();
  }

  RaftGroup& group() { return group_; }

 private:
  // Time is coarse so that a short schedule sees several elections.
  void Tune(RaftConfig& config) {
    config.heartbeat_ticks = 1;
    config.election_timeout_min_ticks = 4;
    config.election_timeout_max_ticks = 8;
    config.broken_link_min_ticks = 1;
    config.broken_link_max_ticks = 2;
    if (!small_window_) return;
    config.append_entries_max = 2;
    config.inflight_appends_max = 2;
    config.uncommitted_entries_max = 4;
  }

  int Anyone() { return 1 + static_cast<int>(random_.Below(size_)); }

  void Event() {
    const uint64_t kind = random_.Below(100);
    const int n = Anyone();
    if (kind < 22) {
      group_.TickAll();
    } else if (kind < 27) {
      group_.Tick(n);
    } else if (kind < 58) {
      for (int64_t i = random_.Between(1, 8); i > 0; --i) Deliver();
    } else if (kind < 67) {
      for (int64_t i = random_.Between(1, 3); i > 0; --i) {
        group_.CompleteWrite(Anyone());
      }
    } else if (kind < 82) {
      Propose();
    } else if (kind < 87) {
      const int leader = group_.leader();
      if (leader != 0 && group_.Read(leader, ++next_read_).ok()) {
        ++coverage_.reads;
      }
    } else if (kind < 90) {
      Crash(n);
    } else if (kind < 95) {
      group_.Restart(n);
    } else if (kind < 97) {
      Partition();
    } else if (kind < 98) {
      const int other = Anyone();
      group_.LinkBroken(n, other);
    } else if (kind < 99) {
      const int leader = group_.leader();
      if (leader != 0 && group_.Transfer(leader).ok()) ++coverage_.transfers;
    } else if (wipes_left_ > 0 && wiped_.insert(n).second) {
      --wipes_left_;
      ++coverage_.wipes;
      group_.Wipe(n);
    }
  }

  void Deliver() {
    auto& network = group_.network();
    if (network.empty()) return;
    const size_t at = fifo_ ? 0 : random_.Below(network.size());
    if (random_.Below(100) < loss_percent_) {
      network.erase(network.begin() + static_cast<int64_t>(at));
      ++coverage_.lost;
      return;
    }
    if (random_.Below(100) < duplicate_percent_ && network.size() < 200) {
      network.push_back(network[at]);
      ++coverage_.duplicated;
    }
    group_.DeliverAt(at);
  }

  void Propose() {
    // Also at leaders that do not know that they are deposed.
    for (int n : group_.ids()) {
      if (!group_.up(n) || group_.core(n).role() != Role::kLeader) continue;
      (void)group_.Propose(n, StrCat("seed ", seed_, " #", ++next_payload_));
    }
  }

  void Crash(int n) {
    if (!group_.up(n)) return;
    const size_t under_way = group_.node(n).writes.size();
    const size_t kept = random_.Below(under_way + 1);
    ++coverage_.crashes;
    if (kept < under_way) ++coverage_.lossy_crashes;
    group_.Crash(n, kept);
    for (int other : group_.ids()) {
      if (random_.OneIn(2)) group_.LinkBroken(other, n);
    }
  }

  void Partition() {
    ++coverage_.cuts;
    switch (random_.Below(4)) {
      case 0: return group_.Heal();
      case 1: return group_.Isolate(Anyone());
      case 2: return group_.CutOneWay(Anyone(), Anyone());
      default: return group_.Cut(Anyone(), Anyone());
    }
  }

  std::optional<std::string> Violation() {
    return StrCat("seed ", seed_, ": ", *group_.checker().violation());
  }

  // RA15: a leader within ten election timeouts, who stays, and one log.
  std::optional<std::string> Heal() {
    group_.Heal();
    for (int n : group_.ids()) {
      group_.node(n).hold_writes = false;
      group_.Restart(n);
      while (!group_.node(n).writes.empty()) group_.CompleteWrite(n);
    }
    group_.Run(80);
    const int leader = group_.leader();
    if (leader == 0) return StrCat("seed ", seed_, ": RA15 no leader");
    const Term term = group_.core(leader).term();
    const auto last = group_.Propose(leader, "last");
    if (!last.ok()) {
      return StrCat("seed ", seed_, ": ", last.status().ToString());
    }
    group_.Run(80);
    if (group_.leader() != leader || group_.core(leader).term() != term) {
      return StrCat("seed ", seed_, ": RA15 the leader did not stay");
    }
    for (int n : group_.ids()) {
      const auto& delivered = group_.node(n).delivered;
      if (delivered.empty() || delivered.back().index != last->index) {
        return StrCat("seed ", seed_, ": RA15 node ", n, " did not catch up");
      }
    }
    if (group_.checker().violation().has_value()) return Violation();
    coverage_.elections += term.value();
    coverage_.commits += group_.checker().max_committed().value();
    coverage_.checks += static_cast<int64_t>(group_.checker().checks());
    return std::nullopt;
  }

  const uint64_t seed_;
  Random random_;
  Coverage& coverage_;
  const int size_;
  const bool small_window_;
  RaftGroup group_;
  uint64_t loss_percent_ = 0;
  uint64_t duplicate_percent_ = 0;
  bool fifo_ = false;
  bool hold_writes_ = false;
  int wipes_left_ = 0;
  std::set<int> wiped_;
  uint64_t next_read_ = 0;
  int next_payload_ = 0;
};

TEST(RaftPropertyTest, NoScheduleBreaksAnInvariantAndEveryGroupRecovers) {
  Coverage coverage;
  if (const char* one = std::getenv("SLUICE_SEED"); one != nullptr) {
    Schedule schedule(std::strtoull(one, nullptr, 10), coverage);
    const auto failure = schedule.Run();
    for (const std::string& line : schedule.group().TakeTrace()) {
      std::printf("%s\n", line.c_str());
    }
    EXPECT_FALSE(failure.has_value()) << *failure;
    return;
  }
  int failures = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Schedule schedule(seed, coverage);
    if (const auto failure = schedule.Run(); failure.has_value()) {
      ADD_FAILURE() << *failure;
      if (++failures == 5) return;
    }
  }

  EXPECT_GT(coverage.elections, 2 * kSeeds);
  EXPECT_GT(coverage.commits, 5 * kSeeds);
  EXPECT_GT(coverage.lost, kSeeds);
  EXPECT_GT(coverage.duplicated, kSeeds);
  EXPECT_GT(coverage.lossy_crashes, kSeeds / 2);
  EXPECT_GT(coverage.wipes, kSeeds / 10);
  EXPECT_GT(coverage.reads, kSeeds / 2);
  EXPECT_GT(coverage.transfers, kSeeds / 20);
  std::printf(
      "%d schedules: %ld terms, %ld entries committed, %ld messages lost, %ld "
      "duplicated, %ld crashes (%ld lossy), %ld wipes, %ld cuts, %ld reads, "
      "%ld transfers, %ld checks\n",
      kSeeds, coverage.elections, coverage.commits, coverage.lost,
      coverage.duplicated, coverage.crashes, coverage.lossy_crashes,
      coverage.wipes, coverage.cuts, coverage.reads, coverage.transfers,
      coverage.checks);
}

TEST(RaftPropertyTest, OneSeedIsOneRun) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Coverage coverage;
    Schedule first(seed, coverage);
    Schedule second(seed, coverage);
    (void)first.Run();
    (void)second.Run();
    ASSERT_EQ(first.group().TakeTrace(), second.group().TakeTrace()) << seed;
  }
}

}  // namespace
}  // namespace sluice::raft
