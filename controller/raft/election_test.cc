// Who campaigns, who is voted for, who hands over.
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "controller/raft/raft_testing.h"

namespace sluice::raft {
namespace {

TEST(ElectionTest, ASoleVoterLeadsAfterOneTickOnceItsVoteIsDurable) {
  RaftGroup group(1, 1);
  group.node(1).hold_writes = true;
  group.Tick(1);
  EXPECT_EQ(group.core(1).role(), Role::kCandidate);  // RA2
  group.CompleteWrite(1);
  EXPECT_EQ(group.core(1).role(), Role::kLeader);
  EXPECT_EQ(group.core(1).commit_index(), LogIndex(0));  // RA9
  group.CompleteWrite(1);
  EXPECT_EQ(group.core(1).commit_index(), LogIndex(2));
}

TEST(ElectionTest, ANewLeaderAppendsAnEmptyEntryOfItsTerm) {
  RaftGroup group(3, 1);
  group.Elect(2);
  ASSERT_EQ(group.node(2).delivered.size(), 2u);
  EXPECT_EQ(group.node(2).delivered[0].type, EntryType::kBootstrap);
  EXPECT_EQ(group.node(2).delivered[1].type, EntryType::kNoOp);
  EXPECT_EQ(group.node(2).delivered[1].term, group.core(2).term());
}

TEST(ElectionTest, AVoterThatHearsItsLeaderGivesNoPreVote) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Run(2);
  group.Campaign(3);  // alone, by its own clock
  group.DeliverAll();
  EXPECT_EQ(group.core(1).role(), Role::kLeader);
  EXPECT_NE(group.core(3).role(), Role::kLeader);
  EXPECT_EQ(group.core(3).term(), group.core(1).term());
}

// F40, F41: one that did not ask first (an older release, say).
TEST(ElectionTest, AVoteRequestOfAHigherTermDoesNotBreakALease) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Run(2);
  const Term term = group.core(1).term();
  Message request;
  request.type = MessageType::kVote;
  request.cluster_id = ClusterId(Uuid(7, 7));
  request.from = group.node(3).id;
  request.term = term + 5;
  request.log_index = LogIndex(100);
  request.log_term = term + 4;
  for (int voter : {1, 2}) {
    request.to = group.node(voter).id;
    ASSERT_TRUE(group.Step(voter, request).ok());
    EXPECT_EQ(group.core(voter).term(), term);
  }
  request.flag = true;  // the leader told it to
  ASSERT_TRUE(group.Step(2, request).ok());
  EXPECT_EQ(group.core(2).term(), term + 5);
}

TEST(ElectionTest, ABrokenStreamOfTheLeaderMakesPreVotesIn60To140Ms) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    RaftGroup group(3, seed);
    group.Elect(1);
    group.Run(20);
    group.Crash(1);
    group.LinkBroken(2, 1);
    group.LinkBroken(3, 1);
    int ticks = 0;
    while (group.core(2).role() == Role::kFollower && ticks < 100) {
      group.Tick(2);
      ++ticks;
    }
    EXPECT_GE(ticks * kTickMs, 50);
    EXPECT_LE(ticks * kTickMs, 150);
    group.DeliverAll();
    EXPECT_EQ(group.core(2).role(), Role::kLeader) << "3's lease is void too";
  }
}

TEST(ElectionTest, WithoutTheBreakTheLeaseOfADeadLeaderHolds) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Run(20);
  group.Crash(1);
  group.LinkBroken(2, 1);  // 3 has not noticed
  const Term term = group.core(2).term();
  group.Campaign(2);
  group.DeliverAll();
  EXPECT_NE(group.core(2).role(), Role::kLeader);
  EXPECT_EQ(group.core(2).term(), term);  // not even the pre-vote was granted
}

TEST(ElectionTest, ABreakOfAnotherStreamChangesNothing) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.LinkBroken(2, 3);
  for (int i = 0; i < 10; ++i) group.Tick(2);
  EXPECT_EQ(group.core(2).role(), Role::kFollower);
}

TEST(ElectionTest, ALeaderWithoutAQuorumStepsDownWithinTheTimeout) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Isolate(1);
  for (int i = 0; i < 41; ++i) group.Tick(1);
  EXPECT_EQ(group.core(1).role(), Role::kFollower);
  EXPECT_FALSE(group.core(1).leader().is_set());
}

TEST(ElectionTest, ACandidateWithAShorterLogIsRefused) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Isolate(3);
  ASSERT_TRUE(group.Propose(1, "x").ok());
  group.DeliverAll();
  group.Crash(1);
  group.Heal();
  group.LinkBroken(2, 1);
  group.Campaign(3);
  group.DeliverAll();
  EXPECT_NE(group.core(3).role(), Role::kLeader);
  group.Run(300);
  EXPECT_EQ(group.leader(), 2);
}

TEST(ElectionTest, ATransferMakesTheOtherLeadWithoutATimeout) {
  RaftGroup group(3, 1);
  group.Elect(1);
  ASSERT_TRUE(group.Transfer(1).ok());
  EXPECT_EQ(CodeOf(group.Propose(1, "x").status()), ErrorCode::kBusy);
  group.DeliverAll();
  EXPECT_EQ(group.core(1).role(), Role::kFollower);
  EXPECT_NE(group.leader(), 0);
}

TEST(ElectionTest, ATransferThatNobodyTakesIsGivenUp) {
  RaftGroup group(5, 1);
  group.Elect(1);
  group.Run(10);
  ASSERT_TRUE(group.Transfer(1).ok());
  std::erase_if(group.network(), [](const Message& m) {
    return m.type == MessageType::kTimeoutNow;
  });
  group.Run(41);
  EXPECT_EQ(group.leader(), 1);
  EXPECT_TRUE(group.Propose(1, "x").ok());
}

TEST(ElectionTest, ATransferDoesNotChooseADeadVoter) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Crash(2);
  group.Run(25);
  ASSERT_TRUE(group.Transfer(1).ok());
  group.DeliverAll();
  EXPECT_EQ(group.leader(), 3);
}

TEST(ElectionTest, ASoleVoterHasNobodyToTransferTo) {
  RaftGroup group(1, 1);
  group.Run(2);
  EXPECT_EQ(CodeOf(group.Transfer(1)), ErrorCode::kInvalidRequest);
}

}  // namespace
}  // namespace sluice::raft
