// A broker that is asked to stop: hands over, closes its logs, goes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/control/broker_lifecycle_testing.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST_F(BrokerLifecycleTest, ACleanStopWaitsUntilLeadershipIsHandedOver) {
  BringUp();
  RequestStop();
  EXPECT_EQ(life_->state(), State::kHandingOver);
  EXPECT_FALSE(life_->serving());
  Run(1);
  EXPECT_TRUE(LastBeat().want_shutdown());
  EXPECT_FALSE(LastBeat().want_unfence());
  Serve(1'000);
  EXPECT_FALSE(stopped_.has_value());
  Answer(false, /*may_shutdown=*/true);
  Run(1);
  ASSERT_TRUE(stopped_.has_value());
  EXPECT_TRUE(stopped_->ok());
  EXPECT_THAT(host_.stops, ElementsAre(cluster_.EpochOf(kSelf)));
  EXPECT_EQ(life_->state(), State::kStopped);
}

TEST_F(BrokerLifecycleTest, TheSessionIsHeldUntilTheLogsAreClosed) {
  BringUp();
  host_.hold_stop = true;
  RequestStop();
  Answer(false, /*may_shutdown=*/true);
  EXPECT_EQ(life_->state(), State::kClosing);
  EXPECT_TRUE(fake_.at(1).sessions.back()->open);
  host_.stopped(absl::OkStatus());
  EXPECT_FALSE(fake_.at(1).sessions.back()->open);
  EXPECT_TRUE(stopped_.has_value());
}

TEST_F(BrokerLifecycleTest, HandingOverIsGivenUpAfterFiveSeconds) {
  BringUp();
  RequestStop();
  Serve(4'900);
  EXPECT_THAT(host_.stops, IsEmpty());
  Serve(300);
  EXPECT_THAT(host_.stops, SizeIs(1));  // the clean marker all the same
  EXPECT_TRUE(stopped_.has_value());
}

TEST_F(BrokerLifecycleTest, WithoutAControllerItIsGivenUpSooner) {
  BringUp();
  RequestStop();
  Run(BrokerLifecycle::kStopAloneMaxUs / 1000 - 100);
  EXPECT_THAT(host_.stops, IsEmpty());
  Run(300);
  EXPECT_THAT(host_.stops, SizeIs(1));
}

TEST_F(BrokerLifecycleTest, ABrokerThatLeadsNothingStopsAtOnce) {
  Make();
  RequestStop();
  ASSERT_TRUE(stopped_.has_value());
  // It has not told what its logs hold: no marker may speak for them.
  EXPECT_THAT(host_.stops, ElementsAre(kNoBrokerEpoch));
}

TEST_F(BrokerLifecycleTest, StoppedBeforeAllIsRecoveredItLeavesNoMarker) {
  BringUp(/*recovered=*/false);
  EXPECT_TRUE(life_->serving());
  RequestStop();
  Answer(false, /*may_shutdown=*/true);
  EXPECT_THAT(host_.stops, ElementsAre(kNoBrokerEpoch));
}

TEST_F(BrokerLifecycleTest, NeverRegisteredItStaysAsCleanAsItWas) {
  registration_error_ = ErrorCode::kDuplicateBrokerRegistration;
  identity_.directories[0].set_clean_broker_epoch(33);
  Make();
  Recover({Verdict(0)});
  RequestStop();
  EXPECT_THAT(host_.stops, ElementsAre(BrokerEpoch(33)));
}

TEST_F(BrokerLifecycleTest, ALossyLogIsNeverMarkedCleanBeforeItIsTold) {
  registration_error_ = ErrorCode::kDuplicateBrokerRegistration;
  identity_.directories[0].set_clean_broker_epoch(33);
  Make();
  Recover({Verdict(0, /*lossy=*/true)});
  RequestStop();
  EXPECT_THAT(host_.stops, ElementsAre(kNoBrokerEpoch));
}

TEST_F(BrokerLifecycleTest, ALogThatCannotBeClosedIsTold) {
  BringUp();
  host_.stop_status = MakeError(ErrorCode::kStorageError, "sync");
  RequestStop();
  Answer(false, /*may_shutdown=*/true);
  ASSERT_TRUE(stopped_.has_value());
  EXPECT_EQ(CodeOf(*stopped_), ErrorCode::kStorageError);
}

}  // namespace
}  // namespace sluice
