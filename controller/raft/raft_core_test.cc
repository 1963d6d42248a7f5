#include "controller/raft/raft_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "controller/raft/raft_testing.h"

namespace sluice::raft {
namespace {

using testing::IsEmpty;

int Count(RaftGroup& group, MessageType type) {
  return static_cast<int>(
      std::count_if(group.network().begin(), group.network().end(),
                    [&](const Message& m) { return m.type == type; }));
}

// --- replication -----------------------------------------------------------

TEST(ReplicationTest, ALeaderSendsBeforeItsOwnDiskButDoesNotCountItself) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.node(1).hold_writes = true;
  group.Isolate(3);
  const auto id = group.Propose(1, "x");
  ASSERT_TRUE(id.ok());
  EXPECT_EQ(Count(group, MessageType::kAppend), 2);
  group.DeliverAll();
  EXPECT_LT(group.core(1).commit_index(), id->index);  // RA9: 2 alone
  group.CompleteWrite(1);
  EXPECT_EQ(group.core(1).commit_index(), id->index);
}

TEST(ReplicationTest, FollowersCommitWithoutTheLeadersSlowDisk) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.node(1).hold_writes = true;
  const auto id = group.Propose(1, "x");
  group.DeliverAll();
  EXPECT_EQ(group.core(1).commit_index(), id->index);
}

TEST(ReplicationTest, AFollowerAcknowledgesOnlyWhatIsDurable) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.node(2).hold_writes = true;
  group.Isolate(3);
  const auto id = group.Propose(1, "x");
  group.DeliverAll();
  EXPECT_LT(group.core(1).commit_index(), id->index);  // RA9
  group.CompleteWrite(2);
  group.DeliverAll();
  EXPECT_EQ(group.core(1).commit_index(), id->index);
}

TEST(ReplicationTest, ProposalsAreSentAheadUpToTheWindow) {
  RaftGroup group(3, 1, [](RaftConfig& c) { c.inflight_appends_max = 4; });
  group.Elect(1);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(group.Propose(1, "x").ok());
  EXPECT_EQ(Count(group, MessageType::kAppend), 8);  // 4 to each
  group.DeliverAll();
  EXPECT_EQ(group.core(3).log().last_index(), LogIndex(12));
}

TEST(ReplicationTest, ALostTailIsFoundByTheNextHeartbeat) {
  RaftGroup group(3, 1);
  group.Elect(1);
  const auto id = group.Propose(1, "x");
  group.network().clear();
  group.Run(6);
  EXPECT_EQ(group.core(1).commit_index(), id->index);
}

TEST(ReplicationTest, AWholeDivergingTermIsSkippedInOneRefusal) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Isolate(1);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(group.Propose(1, "lost").ok());
  group.Elect(2);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(group.Propose(2, "kept").ok());
  group.DeliverAll();
  ASSERT_TRUE(group.Transfer(2).ok());
  group.DeliverAll();
  ASSERT_EQ(group.leader(), 3);  // probes 1 at its own log's end
  group.Heal();
  group.TakeTrace();
  group.Run(100);

  int refusals = 0;
  for (const std::string& line : group.TakeTrace()) {
    refusals += line.find("APPEND_RESPONSE 1->3") != std::string::npos &&
                line.find("refuses") != std::string::npos;
  }
  EXPECT_GE(refusals, 1);
  EXPECT_LE(refusals, 3);
  EXPECT_EQ(group.core(1).commit_index(), group.core(2).commit_index());
  EXPECT_EQ(group.node(1).disk.entries[50].payload.view(), "kept");
  EXPECT_FALSE(group.checker().violation().has_value());
}

// RA6: what lies behind the last entry that an append brought or matched may
// not be the leader's, however much that leader has committed.
TEST(ReplicationTest, AnAppendCommitsNoFurtherThanItMatched) {
  RaftGroup group(3, 1);
  group.Elect(1);  // entry 2
  group.CutOneWay(2, 1);
  group.Cut(1, 3);
  ASSERT_TRUE(group.Propose(1, "shared").ok());
  group.DeliverAll();  // 3, on 1 and 2
  group.Isolate(1);
  ASSERT_TRUE(group.Propose(1, "own").ok());  // 4, on 1
  group.Elect(2);                             // its 4
  ASSERT_EQ(group.core(2).commit_index(), LogIndex(4));
  ASSERT_EQ(group.core(1).log().last_index(), LogIndex(4));
  Message append;  // one entry a message, probing
  append.type = MessageType::kAppend;
  append.cluster_id = ClusterId(Uuid(7, 7));
  append.from = group.node(2).id;
  append.to = group.node(1).id;
  append.term = group.core(2).term();
  append.log_index = LogIndex(2);
  append.log_term = *group.core(2).log().TermAt(LogIndex(2));
  append.entries = {group.node(2).disk.entries[2]};
  append.commit_index = LogIndex(4);
  ASSERT_TRUE(group.Step(1, append).ok());
  EXPECT_EQ(group.core(1).commit_index(), LogIndex(3));
  group.Heal();
  group.Run(100);
  EXPECT_EQ(group.core(1).log().TermAt(LogIndex(4)), group.core(2).term());
  EXPECT_FALSE(group.checker().violation().has_value());
}

TEST(ReplicationTest, LimitsRefuseAndAreLiftedByCommits) {
  RaftGroup group(3, 1, [](RaftConfig& c) {
    c.entry_bytes_max = 100;
    c.uncommitted_bytes_max = 400;
    c.uncommitted_entries_max = 5;
  });
  group.Elect(1);
  EXPECT_EQ(CodeOf(group.Propose(1, std::string(101, 'x')).status()),
            ErrorCode::kMessageTooLarge);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(group.Propose(1, "x").ok());
  EXPECT_EQ(CodeOf(group.Propose(1, "x").status()), ErrorCode::kBusy);
  group.DeliverAll();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(group.Propose(1, std::string(100, 'x')).ok());
  }
  EXPECT_EQ(CodeOf(group.Propose(1, std::string(100, 'x')).status()),
            ErrorCode::kBusy);
}

TEST(ReplicationTest, AFollowerNamesTheLeaderWhenItRefusesAProposal) {
  RaftGroup group(3, 1);
  EXPECT_EQ(CodeOf(group.Propose(2, "x").status()),
            ErrorCode::kNotController);
  group.Elect(1);
  const auto refused = group.Propose(2, "x");
  EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kNotController);
  EXPECT_NE(refused.status().message().find("controller 1 is"),
            absl::string_view::npos);
}

TEST(ReplicationTest, AnObserverFollowsTheLogAndIsNoVoter) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Wipe(3);
  group.Run(100);
  ASSERT_TRUE(group.Propose(1, "x").ok());
  group.Run(10);
  EXPECT_FALSE(group.core(3).is_voter());
  EXPECT_EQ(group.node(3).delivered.size(), group.node(1).delivered.size());
  const RaftStatus status = group.core(1).Status();
  const auto observer = std::find_if(
      status.peers.begin(), status.peers.end(),
      [&](const PeerStatus& peer) { return peer.id == group.node(3).id; });
  ASSERT_NE(observer, status.peers.end());
  EXPECT_FALSE(observer->is_voter);
  EXPECT_EQ(observer->match, status.last_index);
  group.Crash(1);
  group.Run(500);
  EXPECT_EQ(group.leader(), 0);  // one of three voters is left
}

TEST(ReplicationTest, ALogThatCannotBeReadIsAFault) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Crash(2);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(group.Propose(1, "x").ok());
  group.DeliverAll();
  group.node(1).disk.read_fails = true;
  group.Restart(2);
  group.Run(20);
  EXPECT_FALSE(group.up(1));
}

// RA9: the write of the old tail completes after the new leader cut it.
TEST(ReplicationTest, AWriteThatWasOvertakenByATruncationMakesNothingDurable) {
  RaftGroup group(3, 1);
  group.node(2).hold_writes = true;
  Message append;
  append.type = MessageType::kAppend;
  append.cluster_id = ClusterId(Uuid(7, 7));
  append.to = group.node(2).id;
  append.log_index = LogIndex(1);
  for (int leader : {1, 3}) {
    append.from = group.node(leader).id;
    append.term = Term(leader);
    append.entries.clear();
    for (int i = 2; i <= 3; ++i) {
      append.entries.push_back(
          {Term(leader), LogIndex(i), EntryType::kRecords, Buffer()});
    }
    ASSERT_TRUE(group.Step(2, append).ok());
  }
  group.CompleteWrite(2);
  EXPECT_EQ(group.core(2).durable_index(), LogIndex(1));
  group.CompleteWrite(2);
  EXPECT_EQ(group.core(2).durable_index(), LogIndex(3));
}

TEST(ProgressTest, AStaleRefusalDoesNotInterruptReplication) {
  Progress peer({NodeId(2), DirectoryId(Uuid(2, 1))}, true, LogIndex(5), 0);
  EXPECT_TRUE(peer.Acked(LogIndex(8)));
  peer.SentAppend(LogIndex(12));
  EXPECT_FALSE(peer.Rejected(LogIndex(8), LogIndex(3)));
  EXPECT_EQ(peer.state, Progress::State::kReplicate);
  EXPECT_EQ(peer.next, LogIndex(13));
  EXPECT_TRUE(peer.Rejected(LogIndex(12), LogIndex(10)));
  EXPECT_EQ(peer.next, LogIndex(10));
  EXPECT_FALSE(peer.Acked(LogIndex(4)));
  EXPECT_EQ(peer.match, LogIndex(8));
}

// --- reads -----------------------------------------------------------------

TEST(ReadIndexTest, AReadNeedsARoundThatBeganAfterIt) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Isolate(2);
  group.Isolate(3);
  ASSERT_TRUE(group.Read(1, 1).ok());
  group.DeliverAll();
  EXPECT_THAT(group.node(1).reads, IsEmpty());  // RA14
  group.Heal();
  group.Run(6);
  ASSERT_EQ(group.node(1).reads.size(), 1u);
  EXPECT_TRUE(group.node(1).reads[0].ok);
}

TEST(ReadIndexTest, ASoleVoterConfirmsAtOnceHoweverLongItHasLed) {
  RaftGroup group(1, 1);
  group.Elect(1);
  for (uint64_t read = 1; read <= 3; ++read) {
    group.Run(50);  // heartbeats to nobody
    ASSERT_TRUE(group.core(1).ReadIndex(read).ok());
    ASSERT_TRUE(group.core(1).HasReady());  // else nobody would look
    group.Run(1);
    ASSERT_EQ(group.node(1).reads.size(), read);
    EXPECT_TRUE(group.node(1).reads.back().ok);
  }
}

TEST(ReadIndexTest, AReadThatCameDuringARoundWaitsForTheNext) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Run(10);
  ASSERT_TRUE(group.Read(1, 1).ok());
  ASSERT_TRUE(group.Read(1, 2).ok());
  EXPECT_EQ(Count(group, MessageType::kHeartbeat), 2);  // one round for two
  while (group.node(1).reads.empty()) group.DeliverAt(0);
  EXPECT_EQ(group.node(1).reads[0].id, 1u);
  EXPECT_EQ(group.node(1).reads.size(), 1u);
  group.DeliverAll();
  EXPECT_EQ(group.node(1).reads.size(), 2u);
}

TEST(ReadIndexTest, ANewLeadersReadsWaitForAnEntryOfItsTerm) {
  RaftGroup group(3, 1);
  group.node(1).hold_writes = true;
  group.Campaign(1);
  for (int i = 0; i < 10 && group.core(1).role() != Role::kLeader; ++i) {
    group.CompleteWrite(1);
    while (!group.network().empty() &&
           group.core(1).role() != Role::kLeader) {
      group.DeliverAt(0);
    }
  }
  ASSERT_EQ(group.core(1).role(), Role::kLeader);
  group.network().clear();
  ASSERT_TRUE(group.Read(1, 1).ok());
  while (!group.network().empty()) {
    if (group.network()[0].type == MessageType::kAppend) {
      group.network().pop_front();
    } else {
      group.DeliverAt(0);
    }
  }
  EXPECT_THAT(group.node(1).reads, IsEmpty());  // confirmed, nothing committed
  group.node(1).hold_writes = false;
  group.Run(10);
  ASSERT_EQ(group.node(1).reads.size(), 1u);
  EXPECT_EQ(group.node(1).reads[0].index, LogIndex(2));
}

TEST(ReadIndexTest, ReadsFailWithTheLeadership) {
  RaftGroup group(3, 1);
  group.Elect(1);
  group.Isolate(1);
  ASSERT_TRUE(group.Read(1, 1).ok());
  for (int i = 0; i < 50; ++i) group.Tick(1);
  ASSERT_EQ(group.node(1).reads.size(), 1u);
  EXPECT_FALSE(group.node(1).reads[0].ok);
  EXPECT_EQ(CodeOf(group.Read(1, 2)), ErrorCode::kNotController);
}

TEST(ReadIndexTest, WaitingReadsAreBounded) {
  RaftGroup group(3, 1, [](RaftConfig& c) { c.pending_reads_max = 2; });
  group.Elect(1);
  EXPECT_TRUE(group.Read(1, 1).ok());
  EXPECT_TRUE(group.Read(1, 2).ok());
  EXPECT_EQ(CodeOf(group.Read(1, 3)), ErrorCode::kBusy);
}

// --- remote input ----------------------------------------------------------

class RemoteInputTest : public testing::Test {
 protected:
  RemoteInputTest() : group_(3, 1) {
    group_.Elect(1);
    group_.network().clear();
    message_.type = MessageType::kAppend;
    message_.cluster_id = ClusterId(Uuid(7, 7));
    message_.from = group_.node(1).id;
    message_.to = group_.node(2).id;
    message_.term = group_.core(1).term();
    message_.log_index = LogIndex(2);
    message_.log_term = message_.term;
  }
  ErrorCode Step() { return CodeOf(group_.Step(2, message_)); }

  RaftGroup group_;
  Message message_;
};

TEST_F(RemoteInputTest, AForeignClusterIsRefusedByName) {
  message_.cluster_id = ClusterId(Uuid(8, 8));
  message_.term = Term(100);
  EXPECT_EQ(Step(), ErrorCode::kInconsistentClusterId);
  EXPECT_LT(group_.core(2).term(), Term(100));
}

TEST_F(RemoteInputTest, AMessageForAnotherDiskIsDropped) {
  message_.to.directory = DirectoryId(Uuid(2, 2));
  message_.term = Term(100);
  EXPECT_EQ(Step(), ErrorCode::kNone);
  EXPECT_LT(group_.core(2).term(), Term(100));
}

TEST_F(RemoteInputTest, NonsenseIsRefusedAndChangesNothing) {
  const Message good = message_;
  const Entry entry{message_.term, LogIndex(3), EntryType::kRecords, Buffer()};
  std::vector<Message> bad(7, good);
  bad[0].entries = {entry, entry};
  bad[1].entries = {Entry{Term(99), LogIndex(3), EntryType::kRecords, {}}};
  bad[2].log_index = LogIndex(-1);
  bad[3].type = static_cast<MessageType>(55);
  bad[4].from.directory = DirectoryId();
  bad[5].type = MessageType::kHeartbeat;
  bad[5].commit_index = LogIndex(77);
  bad[6].from = group_.node(3).id;  // a second leader of this term (RA1)
  for (size_t i = 0; i < bad.size(); ++i) {
    message_ = bad[i];
    EXPECT_EQ(Step(), ErrorCode::kInvalidRequest) << i;
  }
  EXPECT_EQ(group_.core(2).log().last_index(), LogIndex(2));
  message_ = good;
  message_.entries = {entry};
  EXPECT_EQ(Step(), ErrorCode::kNone);
  EXPECT_EQ(group_.core(2).log().last_index(), LogIndex(3));
}

// Counting on from such a number would overflow.
TEST_F(RemoteInputTest, NumbersThatNobodyCountedToAreRefused) {
  const Message good = message_;
  std::vector<Message> bad(3, good);
  bad[0].term = Term(INT64_MAX);
  bad[1].type = MessageType::kVoteResponse;
  bad[1].term = Term(INT64_MAX);
  bad[2].log_index = LogIndex(INT64_MAX);
  bad[2].entries = {Entry{message_.term, LogIndex(INT64_MIN),
                          EntryType::kRecords, {}}};
  for (size_t i = 0; i < bad.size(); ++i) {
    message_ = bad[i];
    EXPECT_EQ(Step(), ErrorCode::kInvalidRequest) << i;
  }
  EXPECT_EQ(group_.core(2).term(), good.term);
  EXPECT_EQ(group_.core(2).role(), Role::kFollower);
}

TEST_F(RemoteInputTest, AnAckBeyondTheLogIsIgnored) {
  message_.type = MessageType::kAppendResponse;
  message_.from = group_.node(2).id;
  message_.to = group_.node(1).id;
  message_.log_index = LogIndex(1000);
  EXPECT_TRUE(group_.Step(1, message_).ok());
  EXPECT_EQ(group_.core(1).commit_index(), LogIndex(2));
}

TEST(RaftConfigTest, EachMistakeIsNamed) {
  RaftConfig good;
  good.self = {NodeId(1), DirectoryId(Uuid(1, 1))};
  good.cluster_id = ClusterId(Uuid(7, 7));
  good.voters = {good.self};
  EXPECT_TRUE(good.Validate().ok());
  std::vector<RaftConfig> bad(6, good);
  bad[0].self.node = NodeId(0);
  bad[1].cluster_id = ClusterId();
  bad[2].voters.clear();
  bad[3].voters.push_back({NodeId(1), DirectoryId(Uuid(2, 2))});
  bad[4].election_timeout_min_ticks = 5;
  bad[5].append_bytes_max = 0;
  for (const RaftConfig& config : bad) {
    EXPECT_EQ(CodeOf(config.Validate()), ErrorCode::kInvalidConfig);
  }
}

}  // namespace
}  // namespace sluice::raft
