// A core whose topic is configured anew while it leads.
#include <gtest/gtest.h>

#include "broker/replica/core_testing.h"

namespace sluice::replica {
namespace {

class RuntimeConfigTest : public CoreTest {
 protected:
  // A leads {A, B, C} with all of 4 records committed, each on every disk.
  void LeadCommitted(MetadataChanged m) {
    Lead(m);
    Add(kB, 0);
    Add(kC, 0);
    Append(4);
    Flush(4);
    Ack(kB, 4, 4);
    Ack(kC, 4, 4);
    ASSERT_EQ(hw(), 4);
  }
};

// ---- F31 ----

TEST_F(RuntimeConfigTest, F31RaisedAboveTheIsrTheHighWatermarkStands) {
  MetadataChanged m = Metadata();
  m.isr = {kA, kB};
  LeadCommitted(m);
  for (const int min_isr : {3, 7}) {  // above the ISR, above the replicas
    m.min_isr = min_isr;
    Do(m);
    EXPECT_EQ(CodeOf(core_->CheckProduce(/*acks_all=*/true)),
              ErrorCode::kNotEnoughReplicas);
    EXPECT_TRUE(core_->CheckProduce(/*acks_all=*/false).ok());
  }
  Append(5);
  Flush(5);
  Ack(kB, 5, 5);
  EXPECT_EQ(hw(), 4);
}

TEST_F(RuntimeConfigTest, F31LoweredToTheIsrItGoesOn) {
  MetadataChanged m = Metadata();
  m.isr = {kA, kB};
  m.min_isr = 3;
  Lead(m);
  Add(kB, 0);
  Append(4);
  Flush(4);
  Ack(kB, 4, 4);
  ASSERT_EQ(hw(), 0);
  m.min_isr = 2;
  const auto moved = All<HighWatermarkMoved>(Do(m));
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_EQ(moved[0].high_watermark, Offset(4));
  EXPECT_TRUE(core_->CheckProduce(/*acks_all=*/true).ok());
}

// ---- Durability ----

class DurabilityTest : public RuntimeConfigTest {
 protected:
  MetadataChanged InMemory() {
    MetadataChanged m = Metadata();
    m.durable = false;
    return m;
  }
  // Of the switch: disk is wanted, and nobody knows yet whether it holds.
  MetadataChanged Switched() {
    MetadataChanged m = Metadata();
    m.partition_epoch = PartitionEpoch(2);
    m.durability_settling = true;
    return m;
  }
  // A leads in memory; 4 records are committed, `synced` of them on its disk.
  void LeadInMemory(int64_t synced) {
    Lead(InMemory());
    Add(kB, 0);
    Add(kC, 0);
    Append(4);
    Flush(synced);
    Ack(kB, 4, 0);
    Ack(kC, 4, 0);
    ASSERT_EQ(hw(), 4);
  }
};

TEST_F(DurabilityTest, ToDiskTheHighWatermarkWaitsAndNeverGoesBack) {
  LeadInMemory(0);
  EXPECT_FALSE(core_->promises_disk());
  Do(Switched());
  EXPECT_EQ(hw(), 4);
  Append(6);
  Ack(kB, 6, 2);
  Ack(kC, 6, 2);
  EXPECT_EQ(hw(), 4);
  Flush(6);
  Ack(kB, 6, 6);
  EXPECT_EQ(hw(), 4);
  Ack(kC, 6, 5);
  EXPECT_EQ(hw(), 5);
}

TEST_F(DurabilityTest, ToDiskHasSettledWhenEveryInSyncDiskHasWhatIsCommitted) {
  LeadInMemory(0);
  Do(Switched());
  EXPECT_FALSE(Has<ProposeIsr>(Ack(kB, 4, 4)));
  EXPECT_FALSE(Has<ProposeIsr>(Ack(kC, 4, 4)));
  const auto said = All<ProposeIsr>(Do(Flushed{Offset(4), now_us_}));

  ASSERT_EQ(said.size(), 1u);
  EXPECT_TRUE(said[0].settled);
  EXPECT_EQ(said[0].partition_epoch, PartitionEpoch(2));
  const std::map<NodeId, BrokerEpoch> all = {
      {kA, EpochOf(kA)}, {kB, EpochOf(kB)}, {kC, EpochOf(kC)}};
  EXPECT_EQ(said[0].isr, all);
  // It holds when the controller knows.
  EXPECT_FALSE(core_->promises_disk());
  MetadataChanged m = Metadata();
  m.partition_epoch = PartitionEpoch(3);
  EXPECT_FALSE(Has<ProposeIsr>(Do(m)));
  EXPECT_TRUE(core_->promises_disk());
}

TEST_F(DurabilityTest, ItIsSaidAgainUntilTheControllerHasDecided) {  // RP15
  LeadInMemory(4);
  Do(Switched());
  Ack(kB, 4, 4);
  ASSERT_TRUE(Has<ProposeIsr>(Ack(kC, 4, 4)));
  EXPECT_FALSE(Has<ProposeIsr>(Ack(kC, 4, 4)));
  Do(IsrAnswer{IsrAnswer::Outcome::kUnknown, LeaderEpoch(1),
               PartitionEpoch(2), {}});
  EXPECT_TRUE(All<ProposeIsr>(Wait(200'000)).at(0).settled);
  Do(IsrAnswer{IsrAnswer::Outcome::kNotApplied, LeaderEpoch(1),
               PartitionEpoch(2), {}});
  EXPECT_TRUE(All<ProposeIsr>(Wait(200'000)).at(0).settled);
}

// The ISR goes first; one question is under way at a time.
TEST_F(DurabilityTest, AMemberWhoseDiskHangsLeavesAndTheRestSettles) {
  LeadInMemory(4);
  Do(Switched());
  Ack(kB, 4, 4);
  const auto shrink = All<ProposeIsr>(Wait(kLagUs + 1));
  ASSERT_EQ(shrink.size(), 1u);
  EXPECT_FALSE(shrink[0].settled);
  EXPECT_FALSE(shrink[0].isr.contains(kC));
  MetadataChanged m = Switched();
  m.isr = {kA, kB};
  m.partition_epoch = PartitionEpoch(3);
  m.now_us = now_us_;
  EXPECT_TRUE(All<ProposeIsr>(Do(m)).at(0).settled);
}

TEST_F(DurabilityTest, BelowMinIsrNothingSettles) {
  LeadInMemory(4);
  MetadataChanged m = Switched();
  m.isr = {kA};
  m.elr = {kB};
  m.standing[kB].active = m.standing[kC].active = false;
  EXPECT_FALSE(Has<ProposeIsr>(Do(m)));
  EXPECT_FALSE(Has<ProposeIsr>(Wait(100'000)));
}

// What others know to be committed, a new leader learns with its LESO.
TEST_F(DurabilityTest, ANewLeaderSettlesOnceItKnowsWhatIsCommitted) {
  const auto history = EpochHistory::From({{LeaderEpoch(0), Offset(0)}});
  Restart({Offset(0), Offset(4), Offset(1), *history});
  Lead(Switched());
  Add(kB, 2, 0);
  Add(kC, 4, 0);
  EXPECT_FALSE(Has<ProposeIsr>(Ack(kC, 4, 4)));
  EXPECT_FALSE(Has<ProposeIsr>(Ack(kB, 4, 2)));  // HW 2 is on every disk
  EXPECT_EQ(hw(), 2);
  EXPECT_TRUE(Has<ProposeIsr>(Ack(kB, 4, 4)));
}

TEST_F(DurabilityTest, ToMemoryWhatIsAppendedCounts) {
  LeadCommitted(Metadata());
  Append(6);
  Ack(kB, 6, 4);
  Ack(kC, 6, 4);
  EXPECT_EQ(hw(), 4);
  EXPECT_TRUE(core_->promises_disk());
  MetadataChanged m = InMemory();
  EXPECT_TRUE(Has<HighWatermarkMoved>(Do(m)));
  EXPECT_EQ(hw(), 6);
  EXPECT_FALSE(core_->promises_disk());
}

}  // namespace
}  // namespace sluice::replica
