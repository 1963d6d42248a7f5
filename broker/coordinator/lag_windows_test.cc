#include "broker/coordinator/lag_windows.h"

#include <gtest/gtest.h>

namespace sluice::coordinator {
namespace {

using offsets::LagState;

const TopicPartition kTp{TopicId(Uuid(1, 2)), PartitionIndex(0)};

offsets::OffsetKey Key(const std::string& group) { return {group, kTp}; }

// Each commit ten seconds after the one before, beside where the partition was.
class LagWindowsTest : public testing::Test {
 protected:
  void Commit(int64_t offset, int64_t high_watermark) {
    now_ms_ += 10'000;
    windows_.NoteHighWatermark(kTp, Offset(high_watermark), now_ms_);
    windows_.NoteCommit(Key("g"), Offset(offset), now_ms_);
  }
  std::optional<LagState> State(int64_t later_ms = 0) const {
    return windows_.StateOf(Key("g"), now_ms_ + later_ms);
  }

  LagWindows windows_;
  int64_t now_ms_ = 0;
};

TEST_F(LagWindowsTest, NothingIsSaidOfOneCommit) {
  Commit(5, 10);  // nobody watched: it has no high watermark
  EXPECT_EQ(State(), std::nullopt);
  Commit(6, 10);
  EXPECT_EQ(State(), std::nullopt);
  Commit(7, 10);
  EXPECT_EQ(State(), LagState::kOk);
}

TEST_F(LagWindowsTest, EveryStateIsReached) {
  Commit(0, 10);
  for (int i = 1; i <= 5; ++i) Commit(10 * i, 1000 + 30 * i);
  EXPECT_EQ(State(), LagState::kWarn);
  EXPECT_EQ(State(1'000'000), LagState::kStop);
  for (int i = 0; i < 12; ++i) Commit(50, 2000 + i);
  EXPECT_EQ(State(), LagState::kStall);
  Commit(40, 3000);
  EXPECT_EQ(State(), LagState::kRewind);
  for (int i = 0; i < 12; ++i) Commit(10'000 + i, 10'000 + i);
  EXPECT_EQ(State(1'000'000), LagState::kOk);
}

TEST_F(LagWindowsTest, RatesAreOfTheSameCommits) {
  Commit(0, 100);
  EXPECT_EQ(windows_.RatesOf(Key("g")).read_records_per_s, 0);
  for (int i = 1; i <= 3; ++i) Commit(20 * i, 100 + 50 * i);
  EXPECT_DOUBLE_EQ(windows_.RatesOf(Key("g")).read_records_per_s, 2);
  EXPECT_DOUBLE_EQ(windows_.RatesOf(Key("g")).append_records_per_s, 5);
  EXPECT_EQ(windows_.RatesOf(Key("nobody")).append_records_per_s, 0);
}

TEST_F(LagWindowsTest, WhatIsForgottenIsNotWatched) {
  Commit(1, 1);
  windows_.NoteCommit(Key("h"), Offset(1), now_ms_);
  EXPECT_EQ(windows_.Watched().size(), 1u);
  windows_.Forget(Key("g"));
  EXPECT_EQ(windows_.Watched().size(), 1u);
  windows_.Forget(Key("g"));
  windows_.Forget(Key("h"));
  EXPECT_TRUE(windows_.Watched().empty());
  EXPECT_TRUE(windows_.empty());
}

TEST_F(LagWindowsTest, ThereAreOnlySoMany) {
  for (size_t i = 0; i < LagWindows::kWindowsMax + 10; ++i) {
    windows_.NoteCommit(Key(std::to_string(i)), Offset(1), 1);
  }
  windows_.NoteHighWatermark(kTp, Offset(9), 1);
  for (int i = 1; i < 4; ++i) {
    windows_.NoteCommit(Key("0"), Offset(i), i * 5'000);
    windows_.NoteCommit(Key(std::to_string(LagWindows::kWindowsMax + 5)),
                        Offset(i), i * 5'000);
  }
  EXPECT_TRUE(windows_.StateOf(Key("0"), 20'000).has_value());
  EXPECT_FALSE(windows_
                   .StateOf(Key(std::to_string(LagWindows::kWindowsMax + 5)),
                            20'000)
                   .has_value());
}

}  // namespace
}  // namespace sluice::coordinator
