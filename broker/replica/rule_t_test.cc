// Rule T: "HW truncation on restart" made safe (design/replication.md 3,
// correctness.md 3.0). The shape is the textbook's: recover the high
// watermark, show nothing above it, cut, fetch again, rejoin the ISR. What is
// cut is what the current leader does not confirm, not what lies above a high
// watermark that lags.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "broker/replica/replica_testing.h"

namespace sluice::replica {
namespace {

class RuleTTest : public testing::Test {
 protected:
  void Begin(const GroupOptions& options) {
    group_ = std::make_unique<ReplicaGroup>(options);
    group_->KeepActions();
    group_->Settle();
    group_->Run(300'000);
  }

  void TearDown() override {
    if (group_ == nullptr) return;
    EXPECT_EQ(group_->checker().violation().value_or(""), "");
  }

  ReplicaGroup& group() { return *group_; }
  ReplicaCore& core(int n) { return group_->core(n); }

  int64_t IdAt(int n, int64_t offset) {
    return group_->node(n).log.At(Offset(offset)).id;
  }
  int64_t Leo(int n) { return group_->node(n).log.leo().value(); }
  int64_t Hw(int n) { return core(n).high_watermark().value(); }

  // A record is acknowledged by acks=all; the followers have not heard so.
  void AcknowledgeOne() {
    const int leader = group().leader();
    group().Settle();
    ASSERT_TRUE(group().Produce(leader));
    const int64_t end = Leo(leader);
    for (int n : group().ids()) {
      if (n == leader) continue;
      ASSERT_TRUE(group().Deliver(leader, n));  // the record
      while (group().Deliver(n, leader) && Hw(leader) < end) {
      }
    }
    ASSERT_EQ(Hw(leader), end);
  }

  void RestartAll() {
    for (int n : group().ids()) group().Restart(n);
    group().Settle();
    for (int n : group().ids()) {
      if (group().MayUnfence(n)) group().controller().Unfence(NodeId(n));
    }
    group().Run(500'000);
  }

  template <class A>
  size_t Count(int n) {
    const auto& done = group_->node(n).done;
    return static_cast<size_t>(
        std::count_if(done.begin(), done.end(), [](const Action& a) {
          return std::holds_alternative<A>(a);
        }));
  }

  std::unique_ptr<ReplicaGroup> group_;
};

// The claim of the README. Every replica's high watermark on disk lags what
// was acknowledged; all restart at once. A cut there would lose three
// acknowledged records everywhere.
TEST_F(RuleTTest, HwTruncationOnRestartKeepsCommittedRecords) {
  Begin({.replicas = 3, .min_isr = 2});
  AcknowledgeOne();
  group().Settle();
  for (int n : {1, 2, 3}) group().SaveMarks(n);
  for (int i = 0; i < 3; ++i) AcknowledgeOne();
  ASSERT_EQ(Hw(1), 4);
  ASSERT_TRUE(group().Produce(1));  // not acknowledged, on one disk only
  std::vector<int64_t> acknowledged;
  for (int64_t o = 0; o < 4; ++o) acknowledged.push_back(IdAt(1, o));
  for (int n : {1, 2, 3}) group().PowerCut(n);

  for (int n : {1, 2, 3}) {
    group().Restart(n);
    EXPECT_EQ(Hw(n), 1) << "of the marks";
    EXPECT_GE(Leo(n), 4) << "nothing is cut by itself";
    EXPECT_EQ(core(n).state(), State::kWaiting);
  }
  RestartAll();

  const int leader = group().leader();
  ASSERT_NE(leader, 0);
  for (int n : {1, 2, 3}) {
    ASSERT_GE(Leo(n), 4);
    for (int64_t o = 0; o < 4; ++o) {
      EXPECT_EQ(IdAt(n, o), acknowledged[static_cast<size_t>(o)])
          << "replica " << n << " offset " << o;
    }
    EXPECT_EQ(Leo(n), Leo(leader));
    EXPECT_EQ(Hw(n), Leo(n));
    // Nor was it cut and fetched again: the leader could have died meanwhile.
    for (const Action& action : group().node(n).done) {
      if (const auto* cut = std::get_if<TruncateTo>(&action)) {
        EXPECT_GE(cut->target, Offset(4)) << cut->why;
      }
    }
  }
  EXPECT_EQ(group().controller().now().isr.size(), 3u);
}

// durability=disk: the power of the whole cluster goes right after each
// acknowledgement, nothing unsynced survives.
TEST_F(RuleTTest, APowerCutOfAllRightAfterEachAcknowledgementLosesNothing) {
  Begin({.replicas = 3, .min_isr = 2});
  std::vector<int64_t> acknowledged;
  for (int i = 0; i < 25; ++i) {
    const int leader = group().leader();
    ASSERT_NE(leader, 0);
    ASSERT_EQ(Leo(leader), static_cast<int64_t>(acknowledged.size()));
    AcknowledgeOne();
    acknowledged.push_back(IdAt(leader, Leo(leader) - 1));
    for (int n : {1, 2, 3}) group().PowerCut(n);
    RestartAll();

    for (int n : {1, 2, 3}) {
      ASSERT_EQ(Leo(n), static_cast<int64_t>(acknowledged.size()));
      for (size_t o = 0; o < acknowledged.size(); ++o) {
        ASSERT_EQ(IdAt(n, static_cast<int64_t>(o)), acknowledged[o]);
      }
    }
  }
}

// RF=1 is the same case: it leads again, in a newer epoch (RP16), and has all.
TEST_F(RuleTTest, ASingleReplicaLeadsAgainWithAllItAcknowledged) {
  Begin({.replicas = 1, .min_isr = 1});
  ASSERT_TRUE(group().Produce(1, 3));
  ASSERT_EQ(Hw(1), 3);
  const LeaderEpoch before = core(1).leader_epoch();
  group().PowerCut(1);

  RestartAll();

  EXPECT_EQ(core(1).state(), State::kLeading);
  EXPECT_GT(core(1).leader_epoch(), before);
  EXPECT_EQ(Leo(1), 3);
  EXPECT_EQ(Hw(1), 3);
}

TEST_F(RuleTTest, T0TheHighWatermarkIsTheMarkButNeverPastTheLog) {
  const EpochHistory none;
  const ReplicaCore ahead({NodeId(1)}, {Offset(0), Offset(5), Offset(9), none});
  const ReplicaCore behind({NodeId(1)}, {Offset(0), Offset(5), Offset(3), none});
  const ReplicaCore below({NodeId(1)}, {Offset(2), Offset(5), Offset(0), none});

  EXPECT_EQ(ahead.high_watermark(), Offset(5));
  EXPECT_EQ(behind.high_watermark(), Offset(3));
  EXPECT_EQ(below.high_watermark(), Offset(2));  // RP6
  EXPECT_EQ(ahead.durable_leo(), Offset(5));     // T1: all of it is synced
}

TEST_F(RuleTTest, T2NothingIsFetchedLedOrCutBeforeTheMetadata) {
  ReplicaCore core({NodeId(1)},
                   {Offset(0), Offset(5), Offset(3), EpochHistory()});

  EXPECT_TRUE(core.Step(Tick{1'000'000}).empty());
  EXPECT_TRUE(core.Step(LinkOpened{NodeId(2)}).empty());
  EXPECT_TRUE(core.Step(Diverging{kNoLeaderEpoch, LeaderEpoch(0), Offset(1)})
                  .empty());
  EXPECT_TRUE(core.Step(DataReceived{kNoLeaderEpoch, Offset(5)}).empty());
  EXPECT_TRUE(
      core.Step(HighWatermarkReceived{kNoLeaderEpoch, Offset(5)}).empty());

  EXPECT_EQ(core.state(), State::kWaiting);
  EXPECT_EQ(core.high_watermark(), Offset(3));
}

// T4: a suffix that the leader has is kept, one that it has not is cut, once.
TEST_F(RuleTTest, T4ACutRemovesExactlyWhatTheLeaderDoesNotConfirm) {
  Begin({.replicas = 3, .min_isr = 2});
  AcknowledgeOne();
  group().Settle();
  group().SaveMarks(1);
  AcknowledgeOne();
  group().BreakLink(2, 1);
  group().BreakLink(3, 1);
  ASSERT_TRUE(group().Produce(1, 2));  // nobody else has it
  const int64_t committed = IdAt(1, 1);
  group().Kill(1);
  group().controller().Fence(NodeId(1));
  group().Run(300'000);
  ASSERT_TRUE(group().Produce(group().leader()));
  group().Settle();
  group().Restart(1);
  ASSERT_EQ(Leo(1), 4);
  ASSERT_EQ(Hw(1), 1);
  group().node(1).done.clear();

  group().Settle();

  EXPECT_EQ(Count<TruncateTo>(1), 1u);
  EXPECT_EQ(Leo(1), 3);
  EXPECT_EQ(IdAt(1, 1), committed);  // above its HW, kept
}

// T5: who leads cuts nothing; what lies above its HW may be committed.
TEST_F(RuleTTest, T5ALeaderElectedFromTheElrCutsNothing) {
  Begin({.replicas = 2, .min_isr = 2});
  AcknowledgeOne();
  group().Settle();
  group().SaveMarks(2);
  AcknowledgeOne();
  ASSERT_EQ(Hw(2), 1);
  group().PowerCut(2);
  group().PowerCut(1);
  group().controller().Fence(NodeId(1));
  group().Restart(2);
  group().Settle();
  group().node(2).done.clear();

  group().controller().Unfence(NodeId(2));
  group().Settle();

  EXPECT_EQ(core(2).state(), State::kLeading);
  EXPECT_EQ(Count<TruncateTo>(2), 0u);
  EXPECT_EQ(Leo(2), 2);
  EXPECT_EQ(Hw(2), 1);                   // frozen below min ISR
  EXPECT_FALSE(core(2).hw_is_truth());   // LESO is 2
}

// T6: back in the ISR by section 2 only.
TEST_F(RuleTTest, T6ARestartedReplicaRejoinsWhenItHasCaughtUp) {
  Begin({.replicas = 3, .min_isr = 2});
  group().PowerCut(3);
  group().controller().Fence(NodeId(3));
  group().Settle();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(group().Produce(1));
  group().Settle();
  group().Restart(3);
  group().ApplyAll();
  group().controller().Unfence(NodeId(3));
  group().ApplyAll();
  const auto in_isr = [&] {
    const auto& isr = group().controller().now().isr;
    return std::find(isr.begin(), isr.end(), NodeId(3)) != isr.end();
  };
  group().OpenLink(3, 1);
  while (Leo(3) < 6) {
    EXPECT_TRUE(group().questions().empty());
    EXPECT_FALSE(in_isr());
    ASSERT_TRUE(group().Deliver(3, 1) || group().Deliver(1, 3));
  }

  group().Run(300'000);

  EXPECT_TRUE(in_isr());
}

}  // namespace
}  // namespace sluice::replica
