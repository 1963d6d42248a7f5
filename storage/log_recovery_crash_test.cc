// A crash at every step of a recovery: the next one ends in the same log
// (ST7, F48).
#include <gtest/gtest.h>

#include <functional>

#include "storage/log_testing.h"

namespace sluice {
namespace {

class RecoveryCrashTest : public LogTestBase {
 protected:
  using Files = std::vector<std::pair<std::string, std::string>>;

  void SetUp() override { ASSERT_TRUE(Open().ok()); }

  void Durable(int count) {
    for (int i = 0; i < count; ++i) Append(1, 1, 100);
    SyncAndMark();
  }
  // Stops recovery after each number of changes in turn, ends the machine,
  // recovers in full: the log must be `leo` long and hold `bytes`, always.
  void ExpectTheSameFromEveryCrash(const std::function<void()>& prepare,
                                   int64_t leo, const std::string& bytes) {
    bool interrupted = true;
    for (int64_t stop = 0; interrupted; ++stop) {
      for (uint64_t how = 0; how < 4; ++how) {
        prepare();
        fs_.StopAfter(stop);
        Open().IgnoreError();
        interrupted = fs_.stopped();
        EXPECT_TRUE(interrupted || stop > 2) << "recovery changed nothing";
        Random random(static_cast<uint64_t>(stop) * 4 + how);
        if (how == 0) fs_.Kill();
        if (how == 1) fs_.Crash(random);
        if (how == 2) fs_.CrashReordering(random);
        if (how == 3) fs_.CrashLosingAll();
        ASSERT_TRUE(Open().ok());
        EXPECT_EQ(log_->leo(), Offset(leo));
        EXPECT_EQ(log_->durable_leo(), Offset(leo));
        EXPECT_EQ(ReadAll(), bytes);
        ASSERT_FALSE(HasFailure())
            << "stopped after " << stop << " changes, then " << how;
      }
    }
  }

  // Makes the durable disk hold exactly these files.
  void Restore(const Files& files) {
    log_.reset();
    fs_.Kill();
    ASSERT_TRUE(RemoveTree(fs_, kPath).ok());
    ASSERT_TRUE(fs_.CreateDirectory(kPath).ok());
    for (const auto& [name, content] : files) {
      SetContent(std::string(kPath) + "/" + name, content);
    }
    ASSERT_TRUE(fs_.SyncAll("/").ok());
  }
};

TEST_F(RecoveryCrashTest, OfATornTail) {
  Durable(3);
  const std::string durable = ReadAll();
  const Files files = {
      {SegmentFileName(Offset(0), ".log"), durable + "a torn tail"}};
  ExpectTheSameFromEveryCrash([&] { Restore(files); }, 3, durable);
}

TEST_F(RecoveryCrashTest, OfSegmentsBehindAHole) {
  Durable(3);
  const std::string durable = ReadAll();
  Append(1, 1, 300);
  log_->SetSegmentBytes(1);
  for (int i = 0; i < 4; ++i) Append(1, 1, 300);
  log_.reset();
  auto files = Snapshot();
  for (auto& [name, content] : files) {
    if (name == SegmentFileName(Offset(0), ".log")) content = durable + "torn";
  }
  ExpectTheSameFromEveryCrash([&] { Restore(files); }, 3, durable);
}

TEST_F(RecoveryCrashTest, OfMissingIndexes) {
  config_.segment_bytes = 1000;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 30; ++i) Append(1, 1, 100);
  SyncAndMark();
  const std::string all = ReadAll();
  log_.reset();
  Files files;
  for (const auto& file : Snapshot()) {
    if (file.first.ends_with(".log")) files.push_back(file);
  }
  ExpectTheSameFromEveryCrash([&] { Restore(files); }, 30, all);
}

TEST_F(RecoveryCrashTest, OfSegmentsBelowTheLogStart) {
  config_.segment_bytes = 1;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 6; ++i) Append(1, 1, 100);
  SyncAndMark();
  log_.reset();
  const auto files = Snapshot();
  marks_.log_start = Offset(4);
  ExpectTheSameFromEveryCrash([&] { Restore(files); }, 6,
                              Content(LogFile(4)) + Content(LogFile(5)));
}

// Its removal was not durable when the process died.
TEST_F(RecoveryCrashTest, AFileThatWasGoneWhenTheLogWasOpenedStaysGone) {
  Append(2);
  SyncAndMark();
  ASSERT_TRUE(log_->SetLogStart(Offset(1)).ok());
  marks_.log_start = marks_.durable_mark = marks_.recovery_point = Offset(1);
  fs_.StopAfter(1);  // the removal, and then not the sync
  ASSERT_FALSE(log_->TruncateTo(Offset(1)).ok());
  fs_.Kill();
  ASSERT_TRUE(Open().ok());
  ASSERT_EQ(log_->leo(), Offset(1));
  fs_.CrashLosingAll();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->leo(), Offset(1));
}

TEST_F(RecoveryCrashTest, OfAResetOfATornLog) {
  Durable(3);
  log_.reset();
  Files files = Snapshot();
  for (auto& [name, content] : files) content.append("torn");
  marks_ = {};
  marks_.log_start = Offset(50);
  marks_.recovery_point = Offset(50);
  ExpectTheSameFromEveryCrash([&] { Restore(files); }, 50, "");
}

TEST_F(RecoveryCrashTest, OfAResetThatWasInterrupted) {
  config_.segment_bytes = 1;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 4; ++i) Append(1, 1, 100);
  SyncAndMark();
  log_.reset();
  const auto files = Snapshot();
  marks_ = {};
  marks_.log_start = Offset(50);
  marks_.recovery_point = Offset(50);
  marks_.durable_mark = Offset(50);
  marks_.high_watermark = Offset(50);
  ExpectTheSameFromEveryCrash([&] { Restore(files); }, 50, "");
  Restore(files);
  ASSERT_TRUE(Open().ok());
  EXPECT_FALSE(log_->recovery_report().lossy);
  EXPECT_EQ(log_->epochs().last_epoch(), kNoLeaderEpoch);
}

}  // namespace
}  // namespace sluice
