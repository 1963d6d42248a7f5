// Where a leader's log begins: RP23, F34.
#include <gtest/gtest.h>

#include "broker/replica/core_testing.h"

namespace sluice::replica {
namespace {

class LogStartTest : public CoreTest {
 protected:
  // A log [0, leo) of epoch 0 that is to be led in epoch 5.
  void Hold(int64_t leo, int64_t hw) {
    Restart({Offset(0), Offset(leo), Offset(hw),
             *EpochHistory::From({{LeaderEpoch(0), Offset(0)}})});
  }
  MetadataChanged Elected(int64_t log_start, bool in_log,
                          int32_t last_unclean = -1) {
    MetadataChanged m = Metadata();
    m.leader_epoch = LeaderEpoch(5);
    m.log_start = Offset(log_start);
    m.log_start_in_log = in_log;
    m.last_unclean_leader_epoch = LeaderEpoch(last_unclean);
    return m;
  }
};

TEST_F(LogStartTest, ALeaderMovesItsLogStartWhenTheMetadataSaysSo) {
  MetadataChanged m = Metadata();
  m.replicas = m.isr = {kA};
  m.min_isr = 1;
  Lead(m);
  Append(4);
  Flush(4);
  m.partition_epoch = PartitionEpoch(2);
  m.log_start = Offset(3);

  const auto moved = All<AdvanceLogStart>(Do(m));

  ASSERT_EQ(moved.size(), 1u);
  EXPECT_EQ(moved[0].log_start, Offset(3));
  EXPECT_EQ(core_->log_start(), Offset(3));
  EXPECT_TRUE(All<AdvanceLogStart>(Do(m)).empty());  // told again
}

TEST_F(LogStartTest, OneThatItCannotHaveAskedForIsAFault) {  // RP6, RP23
  MetadataChanged m = Metadata();
  Lead(m);
  Append(4);
  m.partition_epoch = PartitionEpoch(2);
  m.log_start = Offset(3);
  EXPECT_DEATH(Do(m), "RP6");
}

TEST_F(LogStartTest, F34ANewLeaderBeginsWhereTheMetadataSays) {
  Hold(/*leo=*/6, /*hw=*/2);

  const auto actions = Do(Elected(4, /*in_log=*/true));

  EXPECT_EQ(All<AdvanceLogStart>(actions).size(), 1u);
  EXPECT_TRUE(Has<PersistEpochStart>(actions));
  EXPECT_EQ(core_->log_start(), Offset(4));
  EXPECT_EQ(hw(), 4);  // what is deleted was committed
  EXPECT_EQ(core_->leo(), Offset(6));
}

TEST_F(LogStartTest, F34ALeaderWhoseLogEndsThereHasNothing) {
  Hold(/*leo=*/4, /*hw=*/2);
  EXPECT_TRUE(Has<PersistEpochStart>(Do(Elected(4, /*in_log=*/true))));
  EXPECT_EQ(core_->log_start(), Offset(4));
  EXPECT_EQ(core_->leo(), Offset(4));
}

TEST_F(LogStartTest, F34AnUncleanLeaderThatEndsBelowBeginsThereAnew) {
  Hold(/*leo=*/3, /*hw=*/3);

  auto actions = Do(Elected(4, /*in_log=*/false, /*last_unclean=*/5));

  ASSERT_EQ(All<ResetTo>(actions).size(), 1u);
  EXPECT_EQ(All<ResetTo>(actions)[0].start, Offset(4));
  EXPECT_FALSE(Has<PersistEpochStart>(actions));  // not before that is done
  EXPECT_FALSE(core_->CheckProduce(false).ok());
  EXPECT_TRUE(Has<PersistEpochStart>(Do(TruncateDone{Offset(4)})));
  Do(EpochStartPersisted{LeaderEpoch(5), now_us_});
  EXPECT_EQ(core_->state(), State::kLeading);
  EXPECT_EQ(core_->log_start(), Offset(4));
  EXPECT_EQ(core_->epoch_start(), Offset(4));
  EXPECT_EQ(hw(), 4);
}

TEST_F(LogStartTest, F34AnUncleanLeaderWithABatchAcrossBeginsThereAnew) {
  Hold(/*leo=*/6, /*hw=*/5);
  const auto actions = Do(Elected(4, /*in_log=*/false, /*last_unclean=*/5));
  EXPECT_EQ(All<ResetTo>(actions).size(), 1u);
  Do(TruncateDone{Offset(4)});
  EXPECT_EQ(core_->leo(), Offset(4));
}

// Nothing explains it: what may be committed is not dropped for that.
TEST_F(LogStartTest, RP13ACleanLeaderWithABatchAcrossHasFailed) {
  Hold(/*leo=*/6, /*hw=*/2);
  EXPECT_TRUE(Has<Failed>(Do(Elected(4, /*in_log=*/false))));
  EXPECT_EQ(core_->state(), State::kFailed);
}

// What it did as a follower is done first.
TEST_F(LogStartTest, ACutUnderWayEndsBeforeTheLogStartIsLookedFor) {
  Hold(/*leo=*/6, /*hw=*/2);
  Follow();
  Do(Diverging{LeaderEpoch(1), LeaderEpoch(0), Offset(3), Offset(6)});
  ASSERT_EQ(core_->state(), State::kCutting);

  EXPECT_TRUE(
      Do(Elected(4, /*in_log=*/true, /*last_unclean=*/5)).empty());
  const auto actions = Do(TruncateDone{Offset(3)});

  EXPECT_EQ(All<ResetTo>(actions).size(), 1u);
  EXPECT_TRUE(Has<PersistEpochStart>(Do(TruncateDone{Offset(4)})));
}

}  // namespace
}  // namespace sluice::replica
