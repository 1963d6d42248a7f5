// The leader epoch that a subscription may name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/handlers/subscribe_testing.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

using SubscribeEpochTest = SubscribeHandlerTest;

// A leader that was deposed and has not heard of it says nothing of offsets.
TEST_F(SubscribeEpochTest, AnEpochThatIsNotKnownHereEndsThePartition) {
  fake_.Store(fake_.A(0), {2});
  auto asked = Of(Named("a"), 0, Offset(9));
  asked.leader_epoch = LeaderEpoch(4);
  Send({asked}, kPlenty);
  ASSERT_THAT(sink_->pushed, SizeIs(1));
  EXPECT_EQ(sink_->pushed[0].result.error.code,
            ErrorCode::kUnknownLeaderEpoch);
  // Checked at the start: what comes later is this leader's to push, whatever
  // its epoch has become.
  sink_->pushed.clear();
  asked = Of(Named("a"), 0, Offset(0));
  asked.leader_epoch = LeaderEpoch(3);
  Send({asked}, kPlenty);
  fake_.partition(fake_.A(0)).epoch = LeaderEpoch(2);
  fake_.Store(fake_.A(0), {3});
  fake_.Run();
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 2), Pairs(0, 5)));
}

TEST_F(SubscribeEpochTest, EveryPartitionHasAnEpochOfItsOwn) {
  auto asked = Of(ById(fake_.b), -1);
  asked.leader_epoch = LeaderEpoch(3);
  Send({asked}, kPlenty);
  ASSERT_THAT(sink_->pushed, SizeIs(1));
  EXPECT_EQ(sink_->pushed[0].result.error.code, ErrorCode::kInvalidRequest);
  EXPECT_EQ(Waits(), 0u);
}

}  // namespace
}  // namespace sluice
