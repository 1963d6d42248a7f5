#include "controller/raft/log_view.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "controller/raft/raft_testing.h"

namespace sluice::raft {
namespace {

Entry MakeEntry(int64_t term, int64_t index, size_t bytes = 1) {
  return {Term(term), LogIndex(index), EntryType::kRecords,
          Buffer::Take(std::string(bytes, 'x'))};
}

// Terms 1 1 1 4 4 on disk, 5 6 in memory.
class LogViewTest : public testing::Test {
 protected:
  LogViewTest() {
    disk_.entries = {MakeEntry(1, 1), MakeEntry(1, 2), MakeEntry(1, 3),
                     MakeEntry(4, 4), MakeEntry(4, 5)};
    log_ = std::make_unique<LogView>(disk_, disk_.State());
    log_->Append(MakeEntry(5, 6));
    log_->Append(MakeEntry(6, 7));
  }
  TestDisk disk_;
  std::unique_ptr<LogView> log_;
};

TEST_F(LogViewTest, TermsAreKnownWithoutReading) {
  disk_.read_fails = true;
  EXPECT_EQ(log_->TermAt(LogIndex(0)), Term(0));
  EXPECT_EQ(log_->TermAt(LogIndex(3)), Term(1));
  EXPECT_EQ(log_->TermAt(LogIndex(5)), Term(4));
  EXPECT_EQ(log_->TermAt(LogIndex(7)), Term(6));
  EXPECT_EQ(log_->TermAt(LogIndex(8)), std::nullopt);
}

TEST_F(LogViewTest, TheMeetingPointSkipsWholeTerms) {
  EXPECT_EQ(log_->LastAtOrBelow(LogIndex(7), Term(3)), LogIndex(3));
  EXPECT_EQ(log_->LastAtOrBelow(LogIndex(99), Term(5)), LogIndex(6));
  EXPECT_EQ(log_->LastAtOrBelow(LogIndex(2), Term(9)), LogIndex(2));
  EXPECT_EQ(log_->LastAtOrBelow(LogIndex(7), Term(0)), LogIndex(0));
}

TEST_F(LogViewTest, AReadCrossesFromDiskToMemoryWithinItsLimits) {
  auto all = log_->Read(LogIndex(4), LogIndex(8), 100, 1 << 20);
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all->size(), 4u);
  EXPECT_EQ(log_->Read(LogIndex(4), LogIndex(8), 3, 1 << 20)->size(), 3u);
  EXPECT_EQ(log_->Read(LogIndex(6), LogIndex(8), 9, 1)->size(), 1u);
}

TEST_F(LogViewTest, EntriesAreHandedToTheWriterOnceAndATruncationBefore) {
  EXPECT_EQ(log_->TakeUnwritten().size(), 2u);
  EXPECT_FALSE(log_->HasUnwritten());
  log_->TruncateFrom(LogIndex(5));  // on disk already
  log_->Append(MakeEntry(7, 5));
  EXPECT_EQ(log_->TakeTruncation(), LogIndex(5));
  EXPECT_EQ(log_->TakeUnwritten().size(), 1u);
  EXPECT_EQ(log_->last_term(), Term(7));
  log_->Append(MakeEntry(7, 6));
  log_->TruncateFrom(LogIndex(6));  // the writer never saw it
  EXPECT_FALSE(log_->HasUnwritten());
}

TEST_F(LogViewTest, ADiskThatAnswersAnotherTermIsDamaged) {
  disk_.entries[3] = MakeEntry(3, 4);
  EXPECT_EQ(
      CodeOf(log_->Read(LogIndex(4), LogIndex(6), 9, 1 << 20).status()),
      ErrorCode::kStorageError);
}

TEST(LogViewBaseTest, ALogMayBeginAfterASnapshot) {
  TestDisk disk;
  StableState state{.hard_state = {Term(9), {}},
                    .first_index = LogIndex(101),
                    .base_term = Term(8),
                    .last_index = LogIndex(100),
                    .term_starts = {}};
  LogView log(disk, state);
  EXPECT_EQ(log.last_term(), Term(8));
  log.Append(MakeEntry(8, 101));
  EXPECT_EQ(log.TermAt(LogIndex(101)), Term(8));
  EXPECT_EQ(log.TermAt(LogIndex(99)), std::nullopt);
  EXPECT_EQ(log.LastAtOrBelow(LogIndex(101), Term(3)), LogIndex(100));
}

}  // namespace
}  // namespace sluice::raft
