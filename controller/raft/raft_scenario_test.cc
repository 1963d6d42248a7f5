// The failure scenarios of correctness.md that concern Raft, by number.
#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/str_cat.h"
#include "controller/raft/raft_testing.h"

namespace sluice::raft {
namespace {

const ClusterId kCluster(Uuid(7, 7));

// Elects `n` and loses everything that it sends as a leader.
void ElectQuietly(RaftGroup& group, int n) {
  for (int i = 0; i < 50 && group.core(n).role() != Role::kLeader; ++i) {
    for (int other : group.ids()) {
      if (other == n || !group.up(other)) continue;
      const VoterId leader = group.core(other).leader();
      if (leader.is_set()) group.LinkBroken(other, leader.node.value());
    }
    if (group.core(n).role() == Role::kFollower) {
      group.Campaign(n);
    } else {
      group.Tick(n);
    }
    while (!group.network().empty() &&
           group.core(n).role() != Role::kLeader) {
      group.DeliverAt(0);
    }
  }
  ASSERT_EQ(group.core(n).role(), Role::kLeader);
  group.network().clear();
}

// Delivers the oldest message of this type to `to`; drops nothing.
bool DeliverOne(RaftGroup& group, MessageType type, int from, int to) {
  auto& network = group.network();
  for (size_t i = 0; i < network.size(); ++i) {
    if (network[i].type == type && network[i].from.node == NodeId(from) &&
        network[i].to.node == NodeId(to)) {
      group.DeliverAt(i);
      return true;
    }
  }
  return false;
}

int CountFrom(RaftGroup& group, MessageType type, int from) {
  return static_cast<int>(std::count_if(
      group.network().begin(), group.network().end(), [&](const Message& m) {
        return m.type == type && m.from.node == NodeId(from);
      }));
}

Message VoteRequest(RaftGroup& group, int from, int to, int64_t term) {
  Message m;
  m.type = MessageType::kVote;
  m.cluster_id = kCluster;
  m.from = group.node(from).id;
  m.to = group.node(to).id;
  m.term = Term(term);
  m.log_index = LogIndex(100);
  m.log_term = Term(term - 1);
  return m;
}

class RaftScenarioTest : public testing::Test {
 protected:
  static void ExpectSound(RaftGroup& group) {
    EXPECT_FALSE(group.checker().violation().has_value())
        << *group.checker().violation();
  }
  // The answer that `voter` sends to this request; nullopt: none.
  static std::optional<bool> Answer(RaftGroup& group, int voter,
                                    const Message& request) {
    group.network().clear();
    EXPECT_TRUE(group.Step(voter, request).ok());
    for (const Message& m : group.network()) {
      if (m.type == MessageType::kVoteResponse) return !m.reject;
    }
    return std::nullopt;
  }
};

TEST_F(RaftScenarioTest, F35AVoteIsNotToldBeforeItIsOnDisk) {
  RaftGroup group(3, 1);
  group.node(2).hold_writes = true;

  EXPECT_EQ(Answer(group, 2, VoteRequest(group, 1, 2, 5)), std::nullopt);
  group.CompleteWrite(2);

  EXPECT_EQ(CountFrom(group, MessageType::kVoteResponse, 2), 1);
  ExpectSound(group);
}

TEST_F(RaftScenarioTest, F35AfterACrashBeforeTheWriteNobodyKnowsOfTheVote) {
  RaftGroup group(3, 1);
  group.node(2).hold_writes = true;
  EXPECT_EQ(Answer(group, 2, VoteRequest(group, 1, 2, 5)), std::nullopt);
  group.Crash(2, /*kept=*/0);
  group.node(2).hold_writes = false;
  group.Restart(2);

  EXPECT_EQ(Answer(group, 2, VoteRequest(group, 3, 2, 5)), true);
  ExpectSound(group);
}

TEST_F(RaftScenarioTest, F35AfterACrashBeforeTheReplyTheVoteStands) {
  RaftGroup group(3, 1);
  group.node(2).hold_writes = true;
  EXPECT_EQ(Answer(group, 2, VoteRequest(group, 1, 2, 5)), std::nullopt);
  group.Crash(2, /*kept=*/1);
  group.node(2).hold_writes = false;
  group.Restart(2);

  EXPECT_EQ(Answer(group, 2, VoteRequest(group, 3, 2, 5)), false);
  EXPECT_EQ(Answer(group, 2, VoteRequest(group, 1, 2, 5)), true);
  EXPECT_EQ(Answer(group, 2, VoteRequest(group, 3, 2, 6)), true);
  ExpectSound(group);
}

TEST_F(RaftScenarioTest, F36AWipedVoterHelpsNobodyToBeElected) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Isolate(3);
  ASSERT_TRUE(group.Propose(1, "committed on 1 and 2").ok());
  group.DeliverAll();
  ASSERT_EQ(group.core(1).commit_index(), LogIndex(3));
  group.Wipe(2);
  group.Crash(1);
  group.Heal();
  group.Run(500);

  EXPECT_EQ(group.leader(), 0);  // 3 would have lost an entry
  // Asked by its new name too.
  Message request = VoteRequest(group, 3, 2, 50);
  EXPECT_EQ(Answer(group, 2, request), std::nullopt);
  group.Restart(1);
  group.Run(200);
  EXPECT_EQ(group.leader(), 1);
  EXPECT_EQ(group.node(2).delivered.size(), group.node(1).delivered.size());
  ExpectSound(group);
}

TEST_F(RaftScenarioTest, F36TheConsentOfAWipedDiskIsNotCounted) {
  RaftGroup group(3, 1);
  group.Isolate(1);
  group.Campaign(1);
  ASSERT_EQ(group.core(1).role(), Role::kPreCandidate);
  Message grant;
  grant.type = MessageType::kPreVoteResponse;
  grant.cluster_id = kCluster;
  grant.from = {NodeId(2), DirectoryId(Uuid(2, 99))};
  grant.to = group.node(1).id;
  grant.term = Term(1);

  ASSERT_TRUE(group.Step(1, grant).ok());
  EXPECT_EQ(group.core(1).role(), Role::kPreCandidate);
  grant.from = group.node(2).id;
  ASSERT_TRUE(group.Step(1, grant).ok());
  EXPECT_EQ(group.core(1).role(), Role::kCandidate);
}

TEST_F(RaftScenarioTest, F36TheAckOfAWipedDiskCommitsNothing) {
  RaftGroup group(3, 1);
  group.Elect(1);
  const LogIndex before = group.core(1).commit_index();
  group.Isolate(1);
  ASSERT_TRUE(group.Propose(1, "x").ok());
  group.network().clear();
  Message ack;
  ack.type = MessageType::kAppendResponse;
  ack.cluster_id = kCluster;
  ack.from = {NodeId(2), DirectoryId(Uuid(2, 99))};
  ack.to = group.node(1).id;
  ack.term = group.core(1).term();
  ack.log_index = group.core(1).log().last_index();

  ASSERT_TRUE(group.Step(1, ack).ok());
  EXPECT_EQ(group.core(1).commit_index(), before);
  ack.from = group.node(2).id;
  ASSERT_TRUE(group.Step(1, ack).ok());
  EXPECT_EQ(group.core(1).commit_index(), ack.log_index);
}

TEST_F(RaftScenarioTest, F37ALeaderThatLostItsTailIsResignedInItsTerm) {
  RaftGroup group(3, 1);
  group.Elect(1);
  const Term term = group.core(1).term();
  group.node(1).hold_writes = true;
  ASSERT_TRUE(group.Propose(1, "unflushed").ok());
  ASSERT_TRUE(DeliverOne(group, MessageType::kAppend, 1, 2));
  group.network().clear();
  group.Crash(1);
  group.node(1).hold_writes = false;
  group.Restart(1);

  EXPECT_EQ(group.core(1).term(), term);
  EXPECT_EQ(group.core(1).role(), Role::kFollower);
  EXPECT_EQ(group.core(1).log().last_index(), LogIndex(2));
  for (int voter : {2, 3}) {  // late votes of its old campaign
    Message grant;
    grant.type = MessageType::kVoteResponse;
    grant.cluster_id = kCluster;
    grant.from = group.node(voter).id;
    grant.to = group.node(1).id;
    grant.term = term;
    ASSERT_TRUE(group.Step(1, grant).ok());
  }
  EXPECT_EQ(group.core(1).role(), Role::kFollower);
  // Nor does it help another in that term.
  EXPECT_EQ(Answer(group, 1, VoteRequest(group, 3, 1, term.value())), false);
  group.Elect(2);
  group.Run(20);
  EXPECT_GT(group.core(2).term(), term);
  EXPECT_EQ(group.node(1).delivered[2].payload.view(), "unflushed");
  ExpectSound(group);
}

TEST_F(RaftScenarioTest, F37ItLeadsAgainOnlyInANewTerm) {
  RaftGroup group(3, 1);
  group.Elect(1);
  const Term term = group.core(1).term();
  group.node(1).hold_writes = true;
  ASSERT_TRUE(group.Propose(1, "unflushed").ok());
  group.network().clear();
  group.Crash(1);
  group.node(1).hold_writes = false;
  group.Restart(1);
  group.Elect(1);
  ASSERT_TRUE(group.Propose(1, "new").ok());
  group.DeliverAll();

  EXPECT_GT(group.core(1).term(), term);
  EXPECT_GT(group.node(1).delivered[2].term, term);
  ExpectSound(group);
}

TEST_F(RaftScenarioTest, F38AnOldTermsEntryOnAMajorityIsNotCommitted) {
  RaftGroup group(5, 1, [](RaftConfig& c) { c.append_entries_max = 1; });
  group.Elect(1);  // entry 2 everywhere
  ASSERT_TRUE(group.Propose(1, "old").ok());
  ASSERT_TRUE(DeliverOne(group, MessageType::kAppend, 1, 2));  // 3 on 1, 2
  group.network().clear();
  group.Crash(1);
  ElectQuietly(group, 5);  // with 3 and 4; its entry 3 stays with it
  group.Crash(5);
  group.Restart(1);
  ElectQuietly(group, 1);
  const Term term = group.core(1).term();

  // 3 gets the old entry, but nothing of the new term.
  for (int i = 0; i < 200 && group.core(3).log().last_index() < LogIndex(3);
       ++i) {
    group.Tick(1);
    while (DeliverOne(group, MessageType::kHeartbeat, 1, 3) ||
           DeliverOne(group, MessageType::kHeartbeatResponse, 3, 1) ||
           DeliverOne(group, MessageType::kAppendResponse, 3, 1) ||
           (group.core(3).log().last_index() < LogIndex(3) &&
            DeliverOne(group, MessageType::kAppend, 1, 3))) {
    }
    std::erase_if(group.network(), [](const Message& m) {
      return m.to.node != NodeId(3) && m.to.node != NodeId(1);
    });
  }
  ASSERT_EQ(group.core(3).log().last_index(), LogIndex(3));
  ASSERT_EQ(group.core(1).term(), term);
  while (DeliverOne(group, MessageType::kAppendResponse, 3, 1)) {
  }
  // 1 and 3 said so, and 2 holds it: let 1 know.
  Message ack;
  ack.type = MessageType::kAppendResponse;
  ack.cluster_id = kCluster;
  ack.from = group.node(2).id;
  ack.to = group.node(1).id;
  ack.term = term;
  ack.log_index = LogIndex(3);
  ASSERT_TRUE(group.Step(1, ack).ok());
  EXPECT_LT(group.core(1).commit_index(), LogIndex(3));  // RA7

  group.Crash(1);
  group.network().clear();
  group.Restart(5);
  group.Elect(5);  // replaces entry 3
  group.Restart(1);
  group.Run(100);
  EXPECT_NE(group.node(1).delivered[2].payload.view(), "old");
  ExpectSound(group);
}

// With static membership: the removed voter of the text is one that was away.
TEST_F(RaftScenarioTest, F40AVoterThatComesBackDoesNotDeposeTheLeader) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Isolate(3);
  group.Run(500);
  const Term term = group.core(1).term();
  EXPECT_EQ(group.core(3).term(), term);  // pre-votes change nothing
  group.Heal();
  group.Run(200);

  EXPECT_EQ(group.leader(), 1);
  EXPECT_EQ(group.core(1).term(), term);
  EXPECT_EQ(group.core(3).leader().node, NodeId(1));
}

TEST_F(RaftScenarioTest, F41PartiallyConnectedVotersKeepAStableLeader) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    for (int fifth_sees : {1, 2}) {
      RaftGroup group(5, seed);
      for (int other : {2, 3, 5}) group.Cut(4, other);
      for (int other : {1, 2, 3}) {
        if (other != fifth_sees) group.Cut(5, other);
      }
      group.Run(10 * 40);
      const int leader = group.leader();
      ASSERT_TRUE(leader >= 1 && leader <= 3) << "seed " << seed;
      const Term term = group.core(leader).term();
      group.Run(10 * 40);

      EXPECT_EQ(group.leader(), leader) << "RA15 seed " << seed;
      EXPECT_EQ(group.core(leader).term(), term) << "RA15 seed " << seed;
      ExpectSound(group);
    }
  }
}

TEST_F(RaftScenarioTest, F42ALeaderThatSleptAnswersNoReadFromBefore) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Isolate(1);
  ASSERT_TRUE(group.Read(1, 7).ok());
  group.Elect(2);
  ASSERT_TRUE(group.Propose(2, "newer").ok());
  group.DeliverAll();
  EXPECT_TRUE(group.node(1).reads.empty());
  group.Heal();
  group.Run(50);

  ASSERT_EQ(group.node(1).reads.size(), 1u);
  EXPECT_FALSE(group.node(1).reads[0].ok);
  ExpectSound(group);
}

}  // namespace
}  // namespace sluice::raft
