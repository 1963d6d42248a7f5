// Reads of a log on another thread: what they check before a byte leaves.
#include "storage/read_plan.h"

#include <gtest/gtest.h>

#include "storage/log_testing.h"

namespace sluice {
namespace {

using Operation = MemFileSystem::Operation;

class ReadPlanTest : public LogTestBase {
 protected:
  void SetUp() override { ASSERT_TRUE(Open().ok()); }

  ReadPlan Plan(int64_t from, int64_t upto, int64_t bytes_max = 1 << 20) {
    auto plan = log_->PlanRead(Offset(from), Offset(upto), bytes_max);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan.value_or(ReadPlan());
  }
  ReadResult Execute(const ReadPlan& plan) {
    auto read = ExecuteRead(plan, /*no_wait=*/false);
    EXPECT_TRUE(read.ok()) << read.status();
    return read.ok() ? **read : ReadResult();
  }
  ErrorCode CodeOfReading(int64_t from, int64_t upto) {
    return CodeOf(ExecuteRead(Plan(from, upto), false).status());
  }
};

TEST_F(ReadPlanTest, GivesWholeBatchesUpToTheLimits) {
  std::vector<std::string> batches;
  for (int i = 0; i < 6; ++i) {
    batches.emplace_back(Append(3, 1, 200).batches.view());
  }
  const auto size = static_cast<int64_t>(batches[0].size());
  const ReadResult all = Execute(Plan(0, 18));
  EXPECT_EQ(all.base, Offset(0));
  EXPECT_EQ(all.next_offset, Offset(18));
  const ReadResult inside = Execute(Plan(4, 18, 2 * size));
  EXPECT_EQ(inside.base, Offset(3));
  EXPECT_EQ(inside.next_offset, Offset(9));
  EXPECT_EQ(inside.batches.view(), batches[1] + batches[2]);
  const ReadResult one = Execute(Plan(9, 18, 1));
  EXPECT_EQ(one.batches.view(), batches[3]);
  const ReadResult committed = Execute(Plan(0, 8));
  EXPECT_EQ(committed.next_offset, Offset(6));
  for (const ReadResult& none :
       {Execute(Plan(0, 2)), Execute(Plan(18, 18)), Execute(Plan(4, 4)),
        Execute(Plan(18, 1000))}) {
    EXPECT_TRUE(none.batches.empty());
    EXPECT_EQ(none.next_offset, none.base);
  }
}

TEST_F(ReadPlanTest, OutsideTheLogIsOutOfRange) {
  Append(3);
  for (const int64_t from : {-1, 4, 100}) {
    EXPECT_EQ(CodeOf(log_->PlanRead(Offset(from), Offset(200), 1).status()),
              ErrorCode::kOffsetOutOfRange);
  }
  EXPECT_EQ(Execute(Plan(0, 1000)).next_offset, Offset(3));
}

TEST_F(ReadPlanTest, ABatchLargerThanAskedForIsGivenWhole) {
  Append();
  const AppendInfo large = Append(1, 1, 300'000);
  const ReadResult read = Execute(Plan(1, 2, 10));
  EXPECT_EQ(read.batches.view(), large.batches.view());
}

TEST_F(ReadPlanTest, ABytesMaxOutOfRangeIsClamped) {
  Append(3);
  EXPECT_EQ(Execute(Plan(0, 3, -5)).next_offset, Offset(3));
  EXPECT_EQ(Execute(Plan(0, 3, int64_t{1} << 60)).next_offset, Offset(3));
  EXPECT_EQ(Plan(0, 3, int64_t{1} << 60).bytes_max, kReadBytesMax);
}

TEST_F(ReadPlanTest, WithoutWaitingNothingIsReadFromAColdDisk) {
  config_.segment_bytes = 1000;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 40; ++i) Append();
  ASSERT_GT(log_->segment_count(), 2u);
  for (const int64_t from : {0, 20, 39}) {
    const ReadPlan plan = Plan(from, 40);
    fs_.SetCold(true);
    const auto cold = ExecuteRead(plan, /*no_wait=*/true);
    ASSERT_TRUE(cold.ok());
    EXPECT_FALSE(cold->has_value());
    EXPECT_TRUE(ExecuteRead(plan, /*no_wait=*/false)->has_value());
    fs_.SetCold(false);
    const auto warm = ExecuteRead(plan, /*no_wait=*/true);
    ASSERT_TRUE(warm.ok());
    EXPECT_EQ((**warm).batches.view(), Execute(plan).batches.view());
  }
}

// ST1, and the header bytes that no CRC covers (replication.md 6).
TEST_F(ReadPlanTest, NoFlippedBitOfABatchLeavesTheNode) {
  Append(2, 1, 60);
  const size_t from = Content(LogFile(0)).size();
  Append(2, 1, 60);
  const size_t to = Content(LogFile(0)).size();
  Append(2, 1, 60);
  for (size_t at = from; at < to; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      fs_.FlipBit(LogFile(0), static_cast<int64_t>(at), bit);
      EXPECT_EQ(CodeOfReading(2, 6), ErrorCode::kCorruptMessage)
          << "byte " << at - from << " of the batch, bit " << bit;
      EXPECT_EQ(CodeOfReading(0, 2), ErrorCode::kNone);
      fs_.FlipBit(LogFile(0), static_cast<int64_t>(at), bit);
    }
  }
  EXPECT_EQ(CodeOfReading(0, 6), ErrorCode::kNone);
}

TEST_F(ReadPlanTest, AnotherBatchInItsPlaceIsRefused) {
  const std::string first(Append(2, 3, 60).batches.view());
  const std::string second(Append(2, 3, 60).batches.view());
  SetContent(LogFile(0), first + first);
  EXPECT_EQ(CodeOfReading(2, 4), ErrorCode::kCorruptMessage);
  SetContent(LogFile(0), second + first);
  EXPECT_EQ(CodeOfReading(0, 4), ErrorCode::kCorruptMessage);
  const Buffer stale = MakeStoredBatch(
      Offset(2), LeaderEpoch(2), {2, Codec::kNone, std::string(60, 'x')});
  ASSERT_EQ(stale.size(), second.size());
  SetContent(LogFile(0), first + std::string(stale.view()));
  EXPECT_EQ(CodeOfReading(2, 4), ErrorCode::kCorruptMessage);
}

TEST_F(ReadPlanTest, AFileThatHasBecomeShorterIsDamage) {
  Append(2, 1, 60);
  Append(2, 1, 60);
  const std::string all = Content(LogFile(0));
  for (const size_t size : {size_t{0}, size_t{20}, all.size() - 1}) {
    const ReadPlan plan = Plan(2, 4);
    SetContent(LogFile(0), all.substr(0, size));
    EXPECT_EQ(CodeOf(ExecuteRead(plan, false).status()),
              ErrorCode::kCorruptMessage);
  }
}

// ST10
TEST_F(ReadPlanTest, AReadErrorFailsThatReadOnly) {
  config_.segment_bytes = 1000;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 10; ++i) Append(1, 1, 100);
  ASSERT_GT(log_->segment_count(), 1u);
  for (const char* part : {".log", ".index"}) {
    fs_.FailNextOn(part, Operation::kRead);
    EXPECT_EQ(CodeOfReading(4, 10), ErrorCode::kStorageError) << part;
    EXPECT_EQ(CodeOfReading(4, 10), ErrorCode::kNone);
  }
}

// ST3
TEST_F(ReadPlanTest, AWrongIndexCostsTimeAndIsRebuiltButReadsAreRight) {
  config_.segment_bytes = 3000;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 40; ++i) Append(1, 1, 100);
  ASSERT_GT(log_->segment_count(), 1u);
  const std::string right = Content(IndexFile(0));
  ASSERT_GT(right.size(), 5 * 8u);
  std::vector<std::string> expected;
  for (int64_t at = 0; at < 10; ++at) {
    expected.emplace_back(Execute(Plan(at, 40, 1)).batches.view());
  }
  for (size_t byte = 0; byte < right.size(); ++byte) {
    for (const int bit : {0, 3, 7}) {
      fs_.FlipBit(IndexFile(0), static_cast<int64_t>(byte), bit);
      for (int64_t at = 0; at < 10; ++at) {
        EXPECT_EQ(Execute(Plan(at, 40, 1)).batches.view(),
                  expected[static_cast<size_t>(at)])
            << "byte " << byte << " of the index, offset " << at;
      }
      SetContent(IndexFile(0), right);
    }
  }
  EXPECT_GT(log_->recovery_report().indexes_rebuilt, 0);
  // Shorter than it was.
  SetContent(IndexFile(0), "");
  EXPECT_EQ(Execute(Plan(9, 40, 1)).batches.view(), expected[9]);
  EXPECT_EQ(Execute(Plan(9, 40, 1)).batches.view(), expected[9]);
  EXPECT_EQ(Content(IndexFile(0)), right);
}

TEST_F(ReadPlanTest, AnIndexThatPointsTooFarBackIsFoundToBeWrong) {
  config_.segment_bytes = 3000;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 40; ++i) Append(1, 1, 100);
  const std::string right = Content(IndexFile(0));
  std::string wrong = right;
  for (size_t i = wrong.size() - 8; i > 0; i -= 8) {
    wrong.replace(i + 4, 4, right, i - 4, 4);
  }
  SetContent(IndexFile(0), wrong);
  const ReadResult read = Execute(Plan(9, 40, 1));
  EXPECT_EQ(read.base, Offset(9));
  EXPECT_EQ(Execute(Plan(9, 40, 1)).base, Offset(9));
  EXPECT_EQ(Content(IndexFile(0)), right);
}

TEST_F(ReadPlanTest, AnIndexOfADamagedSegmentIsNotRebuilt) {
  config_.segment_bytes = 3000;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 40; ++i) Append(1, 1, 100);
  SetContent(IndexFile(0), "");
  EXPECT_EQ(CodeOfReading(9, 40), ErrorCode::kNone);  // finds it bad
  fs_.FlipBit(LogFile(0), 16, 1);                     // the magic
  EXPECT_EQ(CodeOf(log_->PlanRead(Offset(9), Offset(40), 1).status()),
            ErrorCode::kCorruptMessage);
}

TEST_F(ReadPlanTest, BatchesFromAnEpochTheHistoryDoesNotCoverAreGiven) {
  Append(2, 3);
  Append(2, 4);
  ASSERT_TRUE(log_->SetLogStart(Offset(1)).ok());
  const ReadResult read = Execute(Plan(1, 4));
  EXPECT_EQ(read.base, Offset(0));
  EXPECT_EQ(read.next_offset, Offset(4));
}

}  // namespace
}  // namespace sluice
