// Opening a log after every kind of end (ST2, ST8; F48-F51).
#include "storage/log_recovery.h"

#include <gtest/gtest.h>

#include "storage/log_testing.h"

namespace sluice {
namespace {

using Operation = MemFileSystem::Operation;

class LogRecoveryTest : public LogTestBase {
 protected:
  void SetUp() override { ASSERT_TRUE(Open().ok()); }

  // `count` batches of about `bytes`, synced and marked.
  void Durable(int count, size_t bytes = 100) {
    for (int i = 0; i < count; ++i) Append(1, 1, bytes);
    SyncAndMark();
  }
  // Opens and expects the log to end at `leo`, with `bytes` in it.
  void ExpectLog(int64_t leo, const std::string& bytes) {
    const absl::Status opened = Open();
    ASSERT_TRUE(opened.ok()) << opened;
    EXPECT_EQ(log_->leo(), Offset(leo));
    EXPECT_EQ(log_->durable_leo(), Offset(leo));
    EXPECT_EQ(log_->recovery_report().leo, Offset(leo));
    EXPECT_EQ(ReadAll(), bytes);
  }
  void ExpectQuarantine() {
    log_.reset();
    const auto before = Snapshot();
    EXPECT_EQ(CodeOf(Open()), ErrorCode::kCorruptMessage);
    EXPECT_EQ(Snapshot(), before) << "something was changed";
  }
  const RecoveryReport& report() const { return log_->recovery_report(); }
};

// ---- What is kept ----

TEST_F(LogRecoveryTest, AKilledProcessLosesNothing) {
  std::string all;
  for (int i = 0; i < 10; ++i) all.append(Append().batches.view());
  fs_.Kill();
  ExpectLog(10, all);
  EXPECT_EQ(report().bytes_cut, 0);
  EXPECT_FALSE(report().lossy);
}

// Rule T: nothing that is kept may rest on the page cache alone.
TEST_F(LogRecoveryTest, WhatAKilledProcessLeftIsDurableOnceOpened) {
  std::string all;
  for (int i = 0; i < 10; ++i) all.append(Append().batches.view());
  fs_.Kill();
  ASSERT_TRUE(Open().ok());
  fs_.CrashLosingAll();
  ExpectLog(10, all);
}

TEST_F(LogRecoveryTest, OnlyWhatLiesAboveTheRecoveryPointIsScanned) {
  Durable(100);
  const auto size = static_cast<int64_t>(Append().batches.size());
  ASSERT_TRUE(log_->SaveCaches().ok());
  const std::string all = ReadAll();
  fs_.Kill();
  ExpectLog(101, all);
  EXPECT_GE(report().bytes_scanned, size);
  EXPECT_LT(report().bytes_scanned, 10 * size);
}

TEST_F(LogRecoveryTest, ACleanStopIsReopenedWithoutASync) {
  Durable(20);
  ASSERT_TRUE(log_->SaveCaches().ok());
  marks_.clean_shutdown = true;
  log_.reset();
  const int64_t syncs = fs_.sync_count();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(fs_.sync_count(), syncs);
  EXPECT_EQ(log_->leo(), Offset(20));
  // The marker does not excuse what the marks do not cover.
  Append();
  log_.reset();
  ASSERT_TRUE(Open().ok());
  EXPECT_GT(fs_.sync_count(), syncs);
}

TEST_F(LogRecoveryTest, EpochsComeFromTheMarksAndTheBatches) {
  Append(2, 1);
  Append(2, 3);
  SyncAndMark();
  Append(2, 3);
  Append(2, 7);
  log_->StartEpoch(LeaderEpoch(9));
  const auto starts = log_->epochs().starts();
  marks_.epochs = log_->epochs();  // stored before anybody was answered (RP10)
  fs_.Kill();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->epochs().starts(), starts);
  EXPECT_FALSE(report().epochs_changed);
  // Without marks an epoch without a batch is not known.
  marks_ = {};
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->epochs().starts(),
            std::vector<EpochStart>(starts.begin(), starts.end() - 1));
  EXPECT_TRUE(report().epochs_changed);
}

TEST_F(LogRecoveryTest, EpochsOfAnOlderMarkAreCompletedFromTheBatches) {
  Append(2, 1);
  SyncAndMark();
  log_->StartEpoch(LeaderEpoch(4));  // began, and appended nothing
  marks_.epochs = log_->epochs();
  Append(1, 5);
  Append(1, 8);
  const auto starts = log_->epochs().starts();
  ASSERT_EQ(starts.size(), 4u);
  fs_.Kill();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->epochs().starts(), starts);
  EXPECT_TRUE(report().epochs_changed);
}

// RP10: the leader of an epoch that began at the log start.
TEST_F(LogRecoveryTest, ALogThatEndedBelowItsStartKeepsTheEpochsOfTheMarks) {
  Append(3, 2);
  ASSERT_TRUE(log_->SetLogStart(Offset(3)).ok());
  log_->StartEpoch(LeaderEpoch(4));
  marks_.log_start = Offset(3);
  marks_.epochs = log_->epochs();
  SetContent(LogFile(0), "");
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->leo(), Offset(3));
  EXPECT_EQ(log_->epochs(), marks_.epochs);
}

TEST_F(LogRecoveryTest, TheHighWatermarkIsNeverAboveTheLog) {
  Durable(5);
  marks_.high_watermark = Offset(3);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(report().high_watermark, Offset(3));
  marks_.high_watermark = Offset(9);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(report().high_watermark, Offset(5));
  EXPECT_TRUE(report().lossy);
}

// Disk mode holds the mark down to what is synced; a trim may be past that
// (RP6, seed 1482).
TEST_F(LogRecoveryTest, TheHighWatermarkIsNeverBelowTheLogStart) {
  Durable(5);
  ASSERT_TRUE(log_->SetLogStart(Offset(3)).ok());
  marks_.log_start = Offset(3);
  marks_.high_watermark = Offset(2);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(report().high_watermark, Offset(3));
  EXPECT_FALSE(report().lossy);
}

// ---- Torn tails ----

TEST_F(LogRecoveryTest, ATailCutAtAnyByteIsTorn) {
  Durable(3);
  const std::string durable = ReadAll();
  Append(2, 1, 700);
  const std::string all = ReadAll();
  log_.reset();
  for (size_t end = durable.size(); end < all.size(); ++end) {
    SetContent(LogFile(0), all.substr(0, end));
    ExpectLog(3, durable);
    EXPECT_EQ(report().bytes_cut, static_cast<int64_t>(end - durable.size()));
    EXPECT_FALSE(report().lossy);
    EXPECT_EQ(Content(LogFile(0)), durable);
  }
}

TEST_F(LogRecoveryTest, AnyLostSectorIsTornWhateverFollows) {
  Durable(3);
  const std::string durable = ReadAll();
  for (int i = 0; i < 6; ++i) Append(1, 1, 1500);
  const std::string all = ReadAll();
  log_.reset();
  for (size_t sector = durable.size() / 512 * 512; sector < all.size();
       sector += 512) {
    std::string torn = all;
    const size_t from = std::max(sector, durable.size());
    for (size_t i = from; i < std::min(sector + 512, all.size()); ++i) {
      torn[i] = '\0';
    }
    if (torn == all) continue;  // a zero by right, at the very end
    SetContent(LogFile(0), torn);
    const absl::Status opened = Open();
    ASSERT_TRUE(opened.ok()) << "sector at " << sector << ": " << opened;
    EXPECT_GE(log_->leo(), Offset(3));
    EXPECT_LT(log_->leo(), Offset(9));
    EXPECT_FALSE(report().lossy);
    EXPECT_EQ(ReadAll(), all.substr(0, ReadAll().size()));
  }
}

TEST_F(LogRecoveryTest, ZerosBehindTheLogAreTorn) {
  Durable(3);
  const std::string durable = ReadAll();
  SetContent(LogFile(0), durable + std::string(5000, '\0'));
  ExpectLog(3, durable);
  EXPECT_EQ(report().bytes_cut, 5000);
  EXPECT_EQ(report().cut_from, Offset(3));
}

// Two segments were written, and the end of the first was lost.
TEST_F(LogRecoveryTest, AHoleAtTheEndOfASegmentIsTornThoughTheNextIsThere) {
  Durable(3);
  const std::string durable = ReadAll();
  Append(1, 1, 300);
  Append(1, 1, 300);
  log_->SetSegmentBytes(1);
  Append(1, 1, 300);
  Append(1, 1, 300);
  const std::string first = Content(LogFile(0));
  const std::string second = Content(LogFile(5));
  log_.reset();
  for (size_t end = durable.size(); end < first.size(); end += 7) {
    SetContent(LogFile(0), first.substr(0, end));
    SetContent(LogFile(5), second);
    const absl::Status opened = Open();
    ASSERT_TRUE(opened.ok()) << "cut at " << end << ": " << opened;
    EXPECT_LT(log_->leo(), Offset(5));
    EXPECT_EQ(log_->segment_count(), 1u);
    EXPECT_FALSE(*fs_.Exists(LogFile(5)));
    EXPECT_FALSE(*fs_.Exists(LogFile(6)));
    EXPECT_FALSE(report().lossy);
  }
}

TEST_F(LogRecoveryTest, ALastSegmentWithNothingGoodInItGoes) {
  Durable(3);
  const std::string durable = ReadAll();
  log_->SetSegmentBytes(1);
  Append();
  log_.reset();
  SetContent(LogFile(3), std::string(100, '\0'));
  ExpectLog(3, durable);
  EXPECT_FALSE(*fs_.Exists(LogFile(3)));
  Append();
  EXPECT_EQ(log_->leo(), Offset(4));
}

TEST_F(LogRecoveryTest, ATornFirstBatchLeavesAnEmptyLog) {
  Append();
  log_.reset();
  SetContent(LogFile(0), "torn");
  ExpectLog(0, "");
  Append();
  EXPECT_EQ(log_->leo(), Offset(1));
}

TEST_F(LogRecoveryTest, TheLogGoesOnWhereATornTailWasCut) {
  Durable(3);
  std::string all = ReadAll();
  log_.reset();
  SetContent(LogFile(0), all + "torn");
  ASSERT_TRUE(Open().ok());
  all.append(Append(2, 2).batches.view());
  SyncAndMark();
  fs_.CrashLosingAll();
  ExpectLog(5, all);
}

// ---- Damage (ST2): refused, nothing changed ----

TEST_F(LogRecoveryTest, BadBytesBelowTheDurableMarkAreDamage) {
  Durable(5);
  marks_.recovery_point = Offset(0);  // a mark that lags: all is scanned
  const std::string all = ReadAll();
  log_.reset();
  for (size_t at = 0; at < all.size(); at += 13) {
    std::string bad = all;
    bad[at] ^= 1;
    SetContent(LogFile(0), bad);
    ExpectQuarantine();
  }
  // Zeros and a short file, too.
  SetContent(LogFile(0), all.substr(0, all.size() - 1));
  ExpectQuarantine();
  SetContent(LogFile(0), all.substr(0, all.size() - 50) + std::string(50, 0));
  ExpectQuarantine();
}

TEST_F(LogRecoveryTest, BadBytesBelowTheRecoveryPointAreDamage) {
  Durable(5);
  marks_.durable_mark = Offset(0);
  std::string all = ReadAll();
  all[all.size() - 30] ^= 1;
  log_.reset();
  SetContent(LogFile(0), all);
  ExpectQuarantine();
}

TEST_F(LogRecoveryTest, AFlippedBitThatAGoodBatchFollowsIsDamage) {
  Durable(3);
  const size_t from = ReadAll().size();
  Append(1, 1, 300);
  const size_t to = ReadAll().size();
  Append(1, 1, 300);
  const std::string all = ReadAll();
  log_.reset();
  for (size_t at = from; at < to; ++at) {
    for (const int bit : {0, 7}) {
      std::string bad = all;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      SetContent(LogFile(0), bad);
      EXPECT_EQ(CodeOf(Open()), ErrorCode::kCorruptMessage)
          << "byte " << at - from << " of the batch, bit " << bit;
      EXPECT_EQ(Content(LogFile(0)), bad);
    }
  }
}

TEST_F(LogRecoveryTest, AFlippedBitInTheVeryLastBatchIsCutAndLossy) {
  Durable(3);
  const std::string durable = ReadAll();
  Append(1, 1, 300);
  std::string all = ReadAll();
  all[all.size() - 100] ^= 4;
  SetContent(LogFile(0), all);
  ExpectLog(3, durable);
  EXPECT_TRUE(report().lossy);
  EXPECT_GT(report().bytes_cut, 0);
}

TEST_F(LogRecoveryTest, AnEpochThatTheMarksContradictIsDamage) {
  Append(2, 4, 400);
  Append(2, 4, 400);
  SyncAndMark();
  std::string all = ReadAll();
  const size_t second = all.size() / 2;
  all[second + 15] = 5;  // the low byte of the leader epoch
  log_.reset();
  SetContent(LogFile(0), all);
  ExpectQuarantine();
}

// F51
TEST_F(LogRecoveryTest, AFileThatIsMissingSwappedOrDoubledIsDamage) {
  config_.segment_bytes = 1;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 4; ++i) Append();
  SyncAndMark();
  ASSERT_TRUE(log_->SaveCaches().ok());
  log_.reset();
  std::vector<std::string> contents;
  for (int i = 0; i < 4; ++i) contents.push_back(Content(LogFile(i)));
  const auto restore = [&] {
    for (int i = 0; i < 4; ++i) SetContent(LogFile(i), contents[i]);
  };
  ASSERT_TRUE(fs_.RemoveFile(LogFile(0)).ok());
  ExpectQuarantine();
  restore();
  ASSERT_TRUE(fs_.RemoveFile(LogFile(1)).ok());
  ExpectQuarantine();
  restore();
  SetContent(LogFile(1), contents[2]);
  SetContent(LogFile(2), contents[1]);
  ExpectQuarantine();
  restore();
  SetContent(LogFile(2), contents[2] + contents[2]);
  ExpectQuarantine();
  restore();
  SetContent(LogFile(3), contents[2]);
  ExpectQuarantine();
  restore();
  EXPECT_TRUE(Open().ok());
}

// ST2: no crash takes what was on the disk. Somebody removed files.
TEST_F(LogRecoveryTest, AnEndThatIsMissingBelowTheDurableMarkIsDamage) {
  config_.segment_bytes = 1;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 4; ++i) Append();
  SyncAndMark();
  ASSERT_TRUE(fs_.RemoveFile(LogFile(3)).ok());
  ExpectQuarantine();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(fs_.RemoveFile(LogFile(i)).ok());
  ExpectQuarantine();
  marks_ = {};  // a new log
  EXPECT_TRUE(Open().ok());
}

TEST_F(LogRecoveryTest, AnEndThatIsMissingBelowTheHighWatermarkIsLossy) {
  config_.segment_bytes = 1;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 3; ++i) Append();
  SyncAndMark();
  marks_.high_watermark = Offset(4);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->leo(), Offset(3));
  EXPECT_TRUE(report().lossy);
  // Until the replica is in sync again, whatever the other marks say.
  marks_ = MarksOf(*log_);
  ASSERT_TRUE(Open().ok());
  EXPECT_FALSE(report().lossy);
  marks_.lossy = true;
  ASSERT_TRUE(Open().ok());
  EXPECT_TRUE(report().lossy);
}

// ST10, F52
TEST_F(LogRecoveryTest, AReadErrorIsNeitherDamageNorAnEnd) {
  for (int i = 0; i < 20; ++i) Append();
  log_.reset();
  const auto before = Snapshot();
  for (const char* part : {".log", "/d/p"}) {
    fs_.FailNextOn(part, Operation::kRead);
    EXPECT_EQ(CodeOf(Open()), ErrorCode::kStorageError);
    EXPECT_EQ(Snapshot(), before);
  }
  EXPECT_TRUE(Open().ok());
}

TEST_F(LogRecoveryTest, AFailedSyncFailsTheOpening) {
  Append();
  fs_.Kill();
  fs_.FailNext(Operation::kSyncAny);
  EXPECT_EQ(CodeOf(Open()), ErrorCode::kStorageError);
}

TEST_F(LogRecoveryTest, APayloadThatHoldsBatchesIsNoFollowingBatch) {
  Durable(3);
  const std::string durable = ReadAll();
  // Somebody stores raw batches as values: theirs begin elsewhere, or are
  // damaged themselves.
  std::string damaged(MakeStoredBatch(Offset(4), LeaderEpoch(1)).view());
  damaged.back() ^= 1;
  for (const std::string& inner :
       {std::string(MakeStoredBatch(Offset(1), LeaderEpoch(1)).view()),
        std::string(MakeStoredBatch(Offset(1LL << 40), LeaderEpoch(1)).view()),
        damaged}) {
    ASSERT_TRUE(log_->AppendAsLeader(MakeBatch({3, Codec::kNone, inner}),
                                     LeaderEpoch(1))
                    .ok());
    const std::string all = ReadAll();
    SetContent(LogFile(0), all.substr(0, all.size() - 5));
    ExpectLog(3, durable);
  }
}

}  // namespace
}  // namespace sluice
