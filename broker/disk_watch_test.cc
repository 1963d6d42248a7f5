#include "broker/disk_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/env/sim_world.h"

namespace sluice {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr int64_t kSecondUs = 1'000'000;
constexpr int64_t kGivenUpUs =
    DiskWatch::kUnansweredMax * DiskWatch::kAskUs;

class DiskWatchTest : public testing::Test {
 protected:
  SimWorld world_;
  SimHost host_{&world_};
  SimHost disk_host_{&world_};  // stands still as a hung disk's thread does
  std::unique_ptr<Executor> executor_ = host_.NewExecutor();
  std::unique_ptr<Executor> disk_ = disk_host_.NewExecutor();
  std::vector<std::string> hung_;
  DiskWatch watch_{{executor_.get(), disk_.get(), "/data/broker",
                    [this](const absl::Status& why) {
                      hung_.emplace_back(why.message());
                    }}};
};

TEST_F(DiskWatchTest, ADiskThatAnswersIsLeftAlone) {
  watch_.Start();
  world_.RunFor(10 * kGivenUpUs);
  EXPECT_THAT(hung_, IsEmpty());
}

TEST_F(DiskWatchTest, OneThatIsLateNowAndThenToo) {
  watch_.Start();
  for (int i = 0; i < 5; ++i) {
    disk_host_.Pause();
    world_.RunFor(kGivenUpUs - 2 * kSecondUs);
    disk_host_.Resume();
    world_.RunFor(2 * kSecondUs);
  }
  EXPECT_THAT(hung_, IsEmpty());
}

TEST_F(DiskWatchTest, OneThatNeverAnswersIsGivenUpOnce) {
  watch_.Start();
  world_.RunFor(5 * kSecondUs);
  disk_host_.Pause();
  world_.RunFor(kGivenUpUs - kSecondUs);
  EXPECT_THAT(hung_, IsEmpty());
  world_.RunFor(3 * kSecondUs);
  ASSERT_THAT(hung_, SizeIs(1));
  EXPECT_THAT(hung_[0], HasSubstr("/data/broker"));
  world_.RunFor(10 * kGivenUpUs);
  EXPECT_THAT(hung_, SizeIs(1));
}

// SIGSTOP: both stand still, and the disk is not asked by the clock.
TEST_F(DiskWatchTest, AProcessThatSleptDoesNotBlameItsDisk) {
  watch_.Start();
  world_.RunFor(kSecondUs / 2);
  host_.Pause();
  disk_host_.Pause();
  world_.RunFor(10 * kGivenUpUs);
  host_.Resume();
  disk_host_.Resume();
  world_.RunFor(2 * kGivenUpUs);
  EXPECT_THAT(hung_, IsEmpty());
}

}  // namespace
}  // namespace sluice
