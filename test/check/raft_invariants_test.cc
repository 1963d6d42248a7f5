// Each rule: a history that breaks it, found under its number, and one that
// looks like it and is legal.
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <vector>

#include "test/check/cluster.h"
#include "test/check/findings.h"
#include "test/check/raft_invariants.h"

namespace sluice::check {
namespace {

using raft::MessageType;

raft::VoterId Voter(int id, int disk = 1) {
  return {NodeId(id), DirectoryId(Uuid(static_cast<uint64_t>(id),
                                       static_cast<uint64_t>(disk)))};
}

// Controllers 1..3; 1 leads term 1 by the votes of 1 and 2 and all hold the
// bootstrap entry.
class RaftInvariantsTest : public testing::Test {
 protected:
  void SetUp() override {
    for (int id = 1; id <= 3; ++id) Start(id);
    Vote(2, 1, Term(1));
    Vote(1, 1, Term(1));
    Become(1, Term(1));
    ExpectNone();
  }

  RaftView& view(int id) { return *cluster_.nodes[NodeId(id)].raft; }

  // A process that finds `disk`; by default the bootstrap entry alone.
  void Start(int id, std::vector<EntryView> disk = {{Term(0), 7}},
             raft::HardState hard_state = {}, int directory = 1) {
    NodeView& node = cluster_.nodes[NodeId(id)];
    node.id = NodeId(id);
    node.up = true;
    ++node.life;
    RaftView now;
    now.self = Voter(id, directory);
    now.voters = {Voter(1), Voter(2), Voter(3)};
    now.log = std::move(disk);
    now.last = now.durable = LogIndex(static_cast<int64_t>(now.log.size()));
    now.hard_state = now.durable_hard_state = hard_state;
    node.raft = now;
    raft_.OnChange(node, std::nullopt);
  }
  void End(int id) { raft_.OnEnd(cluster_.nodes[NodeId(id)]); }

  // An event at `id`, which may send a message.
  void At(int id, const std::function<void(RaftView&)>& event,
          std::optional<raft::Message> sends = std::nullopt) {
    NodeView& node = cluster_.nodes[NodeId(id)];
    if (sends.has_value()) raft_.OnSent(NodeId(id), *sends);
    const RaftFacts before = *node.raft;
    const std::vector<EntryView> old = node.raft->log;
    event(*node.raft);
    RaftView& now = *node.raft;
    now.last = LogIndex(static_cast<int64_t>(now.log.size()));
    now.log_before = old.size();
    now.log_kept = 0;
    while (now.log_kept < std::min(old.size(), now.log.size()) &&
           old[now.log_kept] == now.log[now.log_kept]) {
      ++now.log_kept;
    }
    raft_.OnChange(node, before);
  }
  void Vote(int voter, int candidate, Term term, bool synced = true) {
    raft::Message m;
    m.type = voter == candidate ? MessageType::kVote
                                : MessageType::kVoteResponse;
    m.term = term;
    m.to = Voter(candidate);
    At(voter, [&](RaftView& v) {
      v.hard_state = {term, Voter(candidate)};
      if (synced) v.durable_hard_state = v.hard_state;
    }, m);
  }
  void Become(int id, Term term) {
    At(id, [&](RaftView& v) {
      v.role = raft::Role::kLeader;
      v.hard_state.term = term;
    });
  }
  void Append(int id, Term term, uint64_t digest, bool durable = true) {
    At(id, [&](RaftView& v) {
      v.log.push_back({term, digest});
      if (durable) v.durable = LogIndex(static_cast<int64_t>(v.log.size()));
    });
  }
  void CommitAt(int id, int64_t index) {
    At(id, [&](RaftView& v) { v.commit = LogIndex(index); });
  }

  void ExpectNone() {
    EXPECT_FALSE(findings_.first().has_value())
        << findings_.first()->ToString();
  }
  void ExpectFound(Rule rule) {
    ASSERT_TRUE(findings_.first().has_value()) << "nothing was found";
    EXPECT_EQ(NameOf(findings_.first()->rule), NameOf(rule))
        << findings_.first()->ToString();
  }

  Findings findings_;
  Cluster cluster_;
  RaftInvariants raft_{&findings_, &cluster_};
};

TEST_F(RaftInvariantsTest, ATermOfWorkHasNoFindings) {
  for (int id = 1; id <= 3; ++id) Append(id, Term(1), 11);
  for (int id = 1; id <= 3; ++id) CommitAt(id, 2);
  At(1, [](RaftView& v) { v.applied = LogIndex(2); });
  raft_.AtEnd();
  ExpectNone();
  EXPECT_EQ(raft_.committed().size(), 2u);
}

TEST_F(RaftInvariantsTest, RA1TwoLeadersOfATerm) {
  Become(2, Term(1));
  ExpectFound(Rule::kRA1);
}

TEST_F(RaftInvariantsTest, RA1TwoLeadersOfTwoTerms) {
  Vote(3, 2, Term(2));
  Vote(2, 2, Term(2));
  Become(2, Term(2));
  ExpectNone();
}

TEST_F(RaftInvariantsTest, RA2AVoteThatIsNotOnDisk) {
  Vote(3, 2, Term(2), /*synced=*/false);
  ExpectFound(Rule::kRA2);
}

TEST_F(RaftInvariantsTest, RA2AVoteThatIsForgotten) {
  Vote(3, 2, Term(2));
  End(3);
  Start(3, {{Term(0), 7}}, {Term(1), {}});
  ExpectFound(Rule::kRA2);
}

TEST_F(RaftInvariantsTest, RA2AVoteThatIsRemembered) {
  Vote(3, 2, Term(2));
  End(3);
  Start(3, {{Term(0), 7}}, {Term(2), Voter(2)});
  ExpectNone();
}

TEST_F(RaftInvariantsTest, RA2TwoVotesInATerm) {
  Vote(3, 2, Term(2));
  Vote(3, 1, Term(2));
  ExpectFound(Rule::kRA2);
}

TEST_F(RaftInvariantsTest, RA3ALeaderChangesItsLog) {
  Append(1, Term(1), 11);
  At(1, [](RaftView& v) {
    v.log.back().digest = 12;
    ++v.truncations;
  });
  ASSERT_TRUE(findings_.first().has_value());
  EXPECT_TRUE(findings_.first()->rule == Rule::kRA4 ||
              findings_.first()->rule == Rule::kRA3);
  EXPECT_GT(findings_.evaluations(Rule::kRA3), 0u);
}

TEST_F(RaftInvariantsTest, RA3ALeaderCutsItsLog) {
  Append(1, Term(1), 11);
  At(1, [](RaftView& v) {
    v.log.pop_back();
    v.durable = LogIndex(1);
    ++v.truncations;
  });
  ExpectFound(Rule::kRA3);
}

TEST_F(RaftInvariantsTest, RA3AFollowerMayCut) {
  Append(2, Term(1), 11);
  At(2, [](RaftView& v) {
    v.log.pop_back();
    v.durable = LogIndex(1);
    ++v.truncations;
  });
  ExpectNone();
}

TEST_F(RaftInvariantsTest, RA4OneTermOneIndexTwoEntries) {
  Append(1, Term(1), 11);
  Append(2, Term(1), 12);
  ExpectFound(Rule::kRA4);
}

TEST_F(RaftInvariantsTest, RA5ALeaderWithoutACommittedEntry) {
  for (int id = 1; id <= 2; ++id) Append(id, Term(1), 11);
  CommitAt(1, 2);
  Vote(2, 3, Term(2));
  Vote(3, 3, Term(2));
  Become(3, Term(2));
  ExpectFound(Rule::kRA5);
}

TEST_F(RaftInvariantsTest, RA5AnElectionThatIsHeardOfWhenANewerLeaderCommits) {
  for (int id = 1; id <= 3; ++id) Append(id, Term(1), 11);
  CommitAt(1, 2);
  Vote(2, 3, Term(2));
  Vote(3, 3, Term(2));
  Vote(2, 1, Term(3));
  Vote(1, 1, Term(3));
  Become(1, Term(3));
  for (int id = 1; id <= 2; ++id) Append(id, Term(3), 12);
  CommitAt(1, 3);
  Become(3, Term(2));
  ExpectNone();
}

TEST_F(RaftInvariantsTest, RA6TwoEntriesAtOneIndex) {
  for (int id = 1; id <= 2; ++id) Append(id, Term(1), 11);
  CommitAt(1, 2);
  Append(3, Term(2), 12);
  CommitAt(3, 2);
  ExpectFound(Rule::kRA6);
}

TEST_F(RaftInvariantsTest, RA7AnOlderTermIsCommittedByCounting) {
  for (int id = 1; id <= 3; ++id) Append(id, Term(1), 11);
  Vote(2, 3, Term(2));
  Vote(3, 3, Term(2));
  Become(3, Term(2));
  CommitAt(3, 2);
  ExpectFound(Rule::kRA7);
}

TEST_F(RaftInvariantsTest, RA7AnOlderTermIsCommittedWithAnOwnEntry) {
  for (int id = 1; id <= 3; ++id) Append(id, Term(1), 11);
  Vote(2, 3, Term(2));
  Vote(3, 3, Term(2));
  Become(3, Term(2));
  for (int id = 2; id <= 3; ++id) Append(id, Term(2), 12);
  CommitAt(3, 3);
  ExpectNone();
}

TEST_F(RaftInvariantsTest, RA8TheCommitIndexGoesBack) {
  for (int id = 1; id <= 3; ++id) Append(id, Term(1), 11);
  CommitAt(1, 2);
  CommitAt(1, 1);
  ExpectFound(Rule::kRA8);
}

TEST_F(RaftInvariantsTest, RA9AnAcknowledgementBeforeTheDisk) {
  raft::Message ack;
  ack.type = MessageType::kAppendResponse;
  ack.log_index = LogIndex(2);
  At(2, [&](RaftView& v) {
    v.log.push_back({Term(1), 11});
    ack.term = v.hard_state.term;
  });
  ack.term = Term(1);
  At(2, [](RaftView& v) { v.hard_state.term = Term(1); }, ack);
  ExpectFound(Rule::kRA9);
}

TEST_F(RaftInvariantsTest, RA9CommittedWithoutAQuorumOfDisks) {
  Append(1, Term(1), 11);
  Append(2, Term(1), 11, /*durable=*/false);
  CommitAt(1, 2);
  ExpectFound(Rule::kRA9);
}

TEST_F(RaftInvariantsTest, RA9ADiskThatIsDownCounts) {
  Append(1, Term(1), 11);
  Append(2, Term(1), 11);
  End(2);
  cluster_.nodes[NodeId(2)].raft.reset();
  CommitAt(1, 2);
  ExpectNone();
}

// Its word is under way when its disk is replaced.
TEST_F(RaftInvariantsTest, RA9ADiskThatWasReplacedHadIt) {
  Append(1, Term(1), 11);
  Append(2, Term(1), 11);
  End(2);
  Start(2, {{Term(0), 7}}, {}, /*directory=*/2);
  CommitAt(1, 2);
  ExpectNone();
}

TEST_F(RaftInvariantsTest, RA9ADiskThatWasReplacedNeverHadIt) {
  Append(1, Term(1), 11);
  End(2);
  Start(2, {{Term(0), 7}}, {}, /*directory=*/2);
  Append(2, Term(1), 11);
  CommitAt(1, 2);
  ExpectFound(Rule::kRA9);
}

TEST_F(RaftInvariantsTest, RA9ADurableEntryIsGone) {
  Append(2, Term(1), 11);
  End(2);
  Start(2, {{Term(0), 7}}, {Term(1), Voter(1)});
  ExpectFound(Rule::kRA9);
}

TEST_F(RaftInvariantsTest, RA10ARestartedLeaderLeadsOn) {
  End(1);
  Start(1, {{Term(0), 7}}, {Term(1), Voter(1)});
  Become(1, Term(1));
  ExpectFound(Rule::kRA10);
}

TEST_F(RaftInvariantsTest, RA12AWipedVoterVotes) {
  End(3);
  Start(3, {{Term(0), 7}}, {}, /*directory=*/2);
  Vote(3, 2, Term(2));
  ExpectFound(Rule::kRA12);
}

TEST_F(RaftInvariantsTest, RA12ALeaderWithoutAQuorumOfVotes) {
  Vote(2, 2, Term(2));
  Become(2, Term(2));
  ExpectFound(Rule::kRA12);
}

TEST_F(RaftInvariantsTest, RA16AProposalThatNeverEnds) {
  At(1, [](RaftView& v) { v.pending_proposals = 1; });
  raft_.AtEnd();
  ExpectFound(Rule::kRA16);
}

}  // namespace
}  // namespace sluice::check
