// What is appended together, in which order, and what becomes of it.
#include <gtest/gtest.h>

#include "broker/coordinator/coordinator_world_testing.h"

namespace sluice::coordinator {
namespace {

class GroupAppendsTest : public CoordinatorTest {
 protected:
  GroupAppendsTest() { Serve(); }

  // From now on nothing is committed but by Commit() of the replica.
  void HoldTheLog() { replica_.commits_at_once = false; }
  size_t batches() const { return replica_.log().size(); }
  // The changes of one batch of the log.
  std::vector<offsets::ViewRecord> ChangesOf(size_t batch) const {
    const auto view = BatchView::Parse(replica_.log().at(batch).bytes);
    EXPECT_TRUE(view.ok()) << view.status();
    auto decoded = DecodeBatch(*view);
    EXPECT_TRUE(decoded.ok()) << decoded.status();
    return decoded->records;
  }
};

TEST_F(GroupAppendsTest, WhatComesMeanwhileIsOneBatch) {
  for (const char* group : {"a", "b", "c"}) Commit(CommitOf(group, 0, 1));
  HoldTheLog();
  const size_t before = batches();

  const auto first = Commit(CommitOf("a", 0, 2));
  const auto second = Commit(CommitOf("b", 0, 3));
  const auto third = Commit(CommitOf("c", 0, 4));
  const auto fourth = Commit(CommitOf("b", 0, 5));
  EXPECT_EQ(batches(), before + 1);
  EXPECT_EQ(coordinator_->appends_waiting(), 4u);

  replica_.Commit();
  EXPECT_EQ(CodeOfCommit(first), ErrorCode::kNone);
  EXPECT_FALSE(second.came());
  EXPECT_EQ(batches(), before + 2);
  EXPECT_EQ(ChangesOf(before + 1).size(), 3u);

  replica_.Commit();
  for (const auto& answer : {second, third, fourth}) {
    EXPECT_EQ(CodeOfCommit(answer), ErrorCode::kNone);
  }
  EXPECT_EQ(batches(), before + 2);
  EXPECT_EQ(coordinator_->appends_waiting(), 0u);
  EXPECT_EQ(Committed("a", 0), 2);
  EXPECT_EQ(Committed("b", 0), 5);
  EXPECT_EQ(Committed("c", 0), 4);
}

// GR1: a commit was checked against the group as it was before that record.
TEST_F(GroupAppendsTest, AGroupsRecordTakesAlongWhatCameBefore) {
  for (const char* group : {"a", "b", "dead"}) Commit(CommitOf(group, 0, 1));
  HoldTheLog();
  const size_t before = batches();

  Commit(CommitOf("a", 0, 2));
  const auto gathered = Commit(CommitOf("b", 0, 3));
  Answered<v1::DeleteGroupResult> deleted;
  coordinator_->DeleteGroup("dead", deleted.Reply());
  ASSERT_EQ(batches(), before + 3);

  const auto commits = ChangesOf(before + 1);
  ASSERT_EQ(commits.size(), 1u);
  EXPECT_EQ(std::get<offsets::OffsetPut>(commits[0].change).key.group, "b");
  const auto removal = ChangesOf(before + 2);
  EXPECT_EQ(std::get<offsets::GroupGone>(removal.back().change).group, "dead");
  replica_.Commit();
  EXPECT_EQ(CodeOfCommit(gathered), ErrorCode::kNone);
  EXPECT_EQ(deleted.code(), ErrorCode::kNone);
}

TEST_F(GroupAppendsTest, AFullBatchDoesNotWait) {
  Commit(CommitOf("a", 0, 1));
  HoldTheLog();
  const size_t before = batches();
  auto large = CommitOf("a", 0, 2);
  large.mutable_offsets(0)->set_metadata(std::string(4096, 'm'));

  Commit(large);
  const int64_t fit = kGatheredBytesMax / 4096;  // but for what is around
  for (int64_t i = 0; i < fit / 2; ++i) Commit(large);
  EXPECT_EQ(batches(), before + 1);
  for (int64_t i = 0; i < fit; ++i) Commit(large);
  EXPECT_EQ(batches(), before + 2);
}

TEST_F(GroupAppendsTest, ARefusedBatchRefusesEachOfItsCallsAndLetsTheNextGo) {
  Commit(CommitOf("a", 0, 1));
  HoldTheLog();
  const auto first = Commit(CommitOf("a", 0, 2));
  const auto second = Commit(CommitOf("a", 0, 3));
  const auto third = Commit(CommitOf("a", 0, 4));
  replica_.refuses = ErrorCode::kNotEnoughReplicas;
  replica_.Commit();

  EXPECT_EQ(CodeOfCommit(first), ErrorCode::kNone);
  EXPECT_EQ(CodeOfCommit(second), ErrorCode::kCoordinatorNotAvailable);
  EXPECT_EQ(CodeOfCommit(third), ErrorCode::kCoordinatorNotAvailable);
  replica_.refuses = ErrorCode::kNone;
  const auto next = Commit(CommitOf("a", 0, 5));
  replica_.Commit();
  EXPECT_EQ(CodeOfCommit(next), ErrorCode::kNone);
  EXPECT_EQ(Committed("a", 0), 5);
}

TEST_F(GroupAppendsTest, WhatWasGatheredEndsWithTheLeadership) {
  for (const bool append_fails_first : {true, false}) {
    SCOPED_TRACE(append_fails_first);
    const int32_t epoch = append_fails_first ? 2 : 3;
    HoldTheLog();
    const auto first = Commit(CommitOf("a", 0, 2));
    const auto second = Commit(CommitOf("a", 0, 3));
    const size_t before = batches();
    replica_.leads = false;
    if (append_fails_first) replica_.Interrupt();
    replica_.Progress();

    EXPECT_EQ(CodeOfCommit(first), ErrorCode::kNotCoordinator);
    EXPECT_EQ(CodeOfCommit(second), ErrorCode::kNotCoordinator);
    EXPECT_EQ(coordinator_->appends_waiting(), 0u);
    EXPECT_EQ(batches(), before);

    Serve(epoch);
    EXPECT_EQ(CodeOfCommit(Commit(CommitOf("a", 0, 9))), ErrorCode::kNone);
    EXPECT_EQ(Committed("a", 0), 9);
    EXPECT_EQ(batches(), before + 1);
  }
}

}  // namespace
}  // namespace sluice::coordinator
