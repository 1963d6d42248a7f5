#include "controller/raft_driver/raft_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "controller/raft_driver/raft_sim_testing.h"

namespace sluice {
namespace {

using raft::Role;
using testing::ElementsAre;
using testing::IsEmpty;

class RaftNodeTest : public testing::Test {
 protected:
  // All booted, a leader elected.
  std::unique_ptr<SimRaftCluster> Cluster(int nodes, uint64_t seed = 1) {
    auto cluster = std::make_unique<SimRaftCluster>(nodes, seed);
    for (int n = 1; n <= nodes; ++n) cluster->Boot(n);
    EXPECT_TRUE(cluster->AwaitLeader(3000));
    return cluster;
  }
  static int Follower(SimRaftCluster& cluster) {
    return cluster.Leader() == 1 ? 2 : 1;
  }
};

TEST_F(RaftNodeTest, ThreeEmptyControllersBecomeOneClusterByThemselves) {
  auto cluster = Cluster(3);
  ASSERT_TRUE(cluster->ProposeAndWait("x").ok());
  cluster->RunFor(200);

  for (int n = 1; n <= 3; ++n) {
    ASSERT_EQ(cluster->at(n).clusters.size(), 1u);
    EXPECT_EQ(cluster->at(n).clusters[0], cluster->at(1).clusters[0]);
    EXPECT_THAT(cluster->at(n).applied, ElementsAre("x"));
  }
  EXPECT_EQ(cluster->at(1).clusters[0].voters.size(), 3u);
  EXPECT_TRUE(cluster->at(1).clusters[0].salt.is_set());
}

TEST_F(RaftNodeTest, NoClusterIsMadeBeforeAllInitialControllersAreThere) {
  SimRaftCluster cluster(3, 1);
  cluster.Boot(1);
  cluster.Boot(2);
  cluster.RunFor(5000);
  EXPECT_THAT(cluster.at(1).clusters, IsEmpty());

  cluster.Boot(3);
  EXPECT_TRUE(cluster.AwaitLeader(3000));
}

// The first sender dies after one other controller has the record.
TEST_F(RaftNodeTest, AControllerWithTheRecordOffersItWhenTheFirstSenderDied) {
  SimRaftCluster cluster(3, 1);
  for (int n = 1; n <= 3; ++n) cluster.Boot(n);
  ASSERT_TRUE(cluster.world().RunUntil(
      [&] { return !cluster.at(1).clusters.empty(); }, 3000000));
  cluster.Cut(1, 3);  // the offer to 3 is under way and lost
  ASSERT_TRUE(cluster.world().RunUntil(
      [&] { return !cluster.at(2).clusters.empty(); }, 3000000));
  cluster.Kill(1);

  EXPECT_TRUE(cluster.AwaitLeader(4000));
  ASSERT_EQ(cluster.at(3).clusters.size(), 1u);
  EXPECT_EQ(cluster.at(3).clusters[0], cluster.at(2).clusters[0]);
}

// RA12, F36.
TEST_F(RaftNodeTest, AWipedControllerObservesAndTheOthersGoOn) {
  auto cluster = Cluster(3);
  ASSERT_TRUE(cluster->ProposeAndWait("before").ok());
  const int wiped = Follower(*cluster);
  cluster->Kill(wiped);
  cluster->Wipe(wiped);
  cluster->Boot(wiped);
  cluster->RunFor(3000);

  ASSERT_TRUE(cluster->ProposeAndWait("after").ok());
  cluster->RunFor(1000);

  EXPECT_FALSE(cluster->raft(wiped).Status().is_voter);
  EXPECT_THAT(cluster->at(wiped).applied, ElementsAre("before", "after"));
  // Two are left; without one of them the wiped one's consent is no quorum.
  const int leader = cluster->Leader();
  cluster->Kill(6 - wiped - leader);
  cluster->RunFor(5000);
  EXPECT_EQ(cluster->Leader(), 0);
}

// The lowest id is the one that makes clusters: not a second one.
TEST_F(RaftNodeTest, AWipedLowestIdJoinsTheClusterThatExists) {
  auto cluster = Cluster(3);
  const ClusterId id = cluster->at(1).clusters[0].cluster_id;
  cluster->Kill(1);
  cluster->Wipe(1);
  cluster->Boot(1);
  cluster->RunFor(3000);

  ASSERT_EQ(cluster->at(1).clusters.size(), 1u);
  EXPECT_EQ(cluster->at(1).clusters[0].cluster_id, id);
  EXPECT_FALSE(cluster->raft(1).Status().is_voter);
}

TEST_F(RaftNodeTest, ASoleControllerLeadsAtOnce) {
  SimRaftCluster cluster(1, 1);
  cluster.Boot(1);
  EXPECT_TRUE(cluster.AwaitLeader(50));
  ASSERT_TRUE(cluster.ProposeAndWait("x").ok());

  cluster.Kill(1);
  cluster.Boot(1);
  EXPECT_TRUE(cluster.AwaitLeader(50));
  cluster.RunFor(10);
  EXPECT_THAT(cluster.at(1).applied, ElementsAre("x"));
}

// Architecture: under 150 ms to the pre-vote when the process died, else the
// election timeout.
TEST_F(RaftNodeTest, ABrokenStreamOfTheLeaderIsAnElectionWithin250Ms) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    auto cluster = Cluster(3, seed);
    cluster->RunFor(500);
    cluster->Kill(cluster->Leader());
    EXPECT_TRUE(cluster->AwaitLeader(250)) << "seed " << seed;
  }
}

TEST_F(RaftNodeTest, ALostHostCostsElectionTimeouts) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    auto cluster = Cluster(3, seed);
    cluster->RunFor(500);
    cluster->Kill(cluster->Leader(), /*silent=*/true);
    EXPECT_FALSE(cluster->AwaitLeader(300)) << "seed " << seed;
    EXPECT_TRUE(cluster->AwaitLeader(3000)) << "seed " << seed;
  }
}

TEST_F(RaftNodeTest, AcknowledgedProposalsSurvivePowerCutsOfEverybody) {
  auto cluster = Cluster(3);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(cluster->ProposeAndWait(StrCat("p", i)).ok());
  }
  for (int n = 1; n <= 3; ++n) cluster->Kill(n, /*silent=*/true);
  for (int n = 1; n <= 3; ++n) cluster->Boot(n);
  ASSERT_TRUE(cluster->AwaitLeader(3000));
  cluster->RunFor(500);

  for (int n = 1; n <= 3; ++n) {
    ASSERT_EQ(cluster->at(n).applied.size(), 20u);
    EXPECT_EQ(cluster->at(n).applied[19], "p19");
  }
}

// RA16.
TEST_F(RaftNodeTest, AProposalOfALeaderWithoutQuorumEndsAsUnknown) {
  auto cluster = Cluster(3);
  const int leader = cluster->Leader();
  cluster->Cut(leader, 1 + leader % 3);
  cluster->Cut(leader, 1 + (leader + 1) % 3);
  absl::Status answer;
  bool done = false;
  ASSERT_TRUE(cluster->raft(leader)
                  .Propose(Buffer::CopyOf("x"),
                           [&](absl::Status s) { answer = s, done = true; })
                  .ok());
  cluster->RunFor(1500);

  ASSERT_TRUE(done);
  EXPECT_EQ(CodeOf(answer), ErrorCode::kOutcomeUnknown);
}

TEST_F(RaftNodeTest, AFollowerRefusesProposalsAndReadsAndNamesTheLeader) {
  auto cluster = Cluster(3);
  cluster->RunFor(500);
  const int follower = Follower(*cluster);
  const auto refused =
      cluster->raft(follower).Propose(Buffer::CopyOf("x"), [](absl::Status) {
        ADD_FAILURE() << "done of a refused proposal ran";
      });
  EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kNotController);
  EXPECT_EQ(cluster->raft(follower).leader_id(), NodeId(cluster->Leader()));
  ErrorCode read = ErrorCode::kNone;
  cluster->raft(follower).ReadIndex(
      [&](absl::StatusOr<LogIndex> index) { read = CodeOf(index.status()); });
  EXPECT_EQ(read, ErrorCode::kNone);  // never inside the call
  cluster->RunFor(1);
  EXPECT_EQ(read, ErrorCode::kNotController);
}

// RA14, F42: the old leader sleeps while another one commits.
TEST_F(RaftNodeTest, AReadAtADeposedLeaderIsRefusedNeverStale) {
  auto cluster = Cluster(3);
  const int old = cluster->Leader();
  cluster->Cut(old, 1 + old % 3);
  cluster->Cut(old, 1 + (old + 1) % 3);
  std::optional<absl::StatusOr<LogIndex>> read;
  cluster->raft(old).ReadIndex([&](auto index) { read = std::move(index); });
  cluster->RunFor(700);
  EXPECT_FALSE(read.has_value() && read->ok());
  cluster->RunFor(3000);
  ASSERT_NE(cluster->Leader(), old);
  ASSERT_TRUE(cluster->ProposeAndWait("newer").ok());
  cluster->Heal();
  cluster->RunFor(1000);

  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(CodeOf(read->status()), ErrorCode::kNotController);
}

TEST_F(RaftNodeTest, AReadSeesEveryProposalThatWasAcknowledgedBefore) {
  auto cluster = Cluster(3);
  const int leader = cluster->Leader();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(cluster->ProposeAndWait("x").ok());
    const LogIndex acked = cluster->raft(leader).Status().applied_index;
    std::optional<LogIndex> read;
    cluster->raft(leader).ReadIndex([&](auto index) { read = *index; });
    cluster->RunFor(20);
    ASSERT_TRUE(read.has_value());
    EXPECT_GE(*read, acked);
  }
}

TEST_F(RaftNodeTest, ACleanStopHandsOverWithoutAnElectionTimeout) {
  auto cluster = Cluster(3);
  cluster->RunFor(300);
  const int old = cluster->Leader();
  bool stopped = false;
  cluster->raft(old).Stop([&] { stopped = true; });
  cluster->RunFor(100);

  EXPECT_TRUE(stopped);
  const int now = cluster->Leader();
  EXPECT_NE(now, 0);
  EXPECT_NE(now, old);
}

// ST4.
TEST_F(RaftNodeTest, AFailedLogWriteIsFatalAndNothingIsAcknowledgedAfterIt) {
  auto cluster = Cluster(1);
  cluster->at(1).kv.FailWriteAfter(0);
  EXPECT_FALSE(cluster->ProposeAndWait("x").ok());

  ASSERT_EQ(cluster->at(1).fatal.size(), 1u);
  EXPECT_EQ(CodeOf(cluster->at(1).fatal[0]), ErrorCode::kStorageError);
  EXPECT_THAT(cluster->at(1).applied, IsEmpty());
}

// F44, F50.
TEST_F(RaftNodeTest, ADamagedLogIsRefusedAtStart) {
  for (const char* key : {"h", "b", "v", "d"}) {
    auto cluster = Cluster(1);
    cluster->Kill(1);
    ASSERT_TRUE(cluster->at(1).kv.FlipByte(key, 5)) << key;
    cluster->Boot(1);
    ASSERT_EQ(cluster->at(1).fatal.size(), 1u) << key;
    EXPECT_EQ(CodeOf(cluster->at(1).fatal[0]), ErrorCode::kStorageError);
  }
}

TEST_F(RaftNodeTest, TheLogOfAnotherDirectoryIsRefused) {
  auto cluster = Cluster(1);
  cluster->Kill(1);
  cluster->at(1).directory = DirectoryId(Uuid(9, 9));
  cluster->Boot(1);
  ASSERT_EQ(cluster->at(1).fatal.size(), 1u);
  EXPECT_EQ(CodeOf(cluster->at(1).fatal[0]), ErrorCode::kDataDirMismatch);
}

TEST_F(RaftNodeTest, AForeignClustersMessageIsRefused) {
  auto cluster = Cluster(1);
  raft::Message message;
  message.type = raft::MessageType::kVote;
  message.cluster_id = ClusterId(Uuid(1, 2));
  message.from = {NodeId(2), DirectoryId(Uuid(3, 4))};
  message.to = {NodeId(1), cluster->at(1).directory};
  message.term = Term(99);
  EXPECT_EQ(CodeOf(cluster->Inject(1, message)),
            ErrorCode::kInconsistentClusterId);
  EXPECT_LT(cluster->raft(1).Status().soft.term, Term(99));
}

TEST_F(RaftNodeTest, TheLeadersStatusHasMatchAndContactOfEachVoter) {
  auto cluster = Cluster(3);
  ASSERT_TRUE(cluster->ProposeAndWait("x").ok());
  cluster->RunFor(300);
  const int leader = cluster->Leader();
  const RaftNodeStatus status = cluster->raft(leader).Status();

  ASSERT_EQ(status.peers.size(), 3u);
  for (const RaftPeer& peer : status.peers) {
    EXPECT_TRUE(peer.is_voter);
    EXPECT_EQ(peer.match, status.last_index);
    EXPECT_EQ(peer.is_leader, peer.id.node == NodeId(leader));
    EXPECT_GE(peer.last_contact_ms, 0);
    EXPECT_LE(peer.last_contact_ms, 120);
    EXPECT_EQ(peer.endpoint, StrCat("host", peer.id.node, ":9093"));
  }
  EXPECT_EQ(cluster->raft(Follower(*cluster)).Status().peers.size(), 3u);
}

TEST_F(RaftNodeTest, UnderLossAndKillsWhatWasAcknowledgedStaysInOneOrder) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    auto cluster = Cluster(3, seed);
    cluster->SetLoss(15);
    std::vector<std::string> acked;
    for (int i = 0; i < 30; ++i) {
      if (!cluster->AwaitLeader(20000)) break;
      const std::string payload = StrCat(seed, "-", i);
      if (cluster->ProposeAndWait(payload).ok()) acked.push_back(payload);
      if (!cluster->random().OneIn(5)) continue;
      const int victim = 1 + static_cast<int>(cluster->random().Below(3));
      cluster->Kill(victim, cluster->random().OneIn(2));
      cluster->RunFor(cluster->random().Between(0, 500));
      cluster->Boot(victim);
    }
    cluster->SetLoss(0);
    cluster->RunFor(5000);

    EXPECT_GT(acked.size(), 15u) << "seed " << seed;
    for (int n = 1; n <= 3; ++n) {
      const auto& applied = cluster->at(n).applied;
      EXPECT_EQ(applied, cluster->at(1).applied) << "RA6 seed " << seed;
      auto next = applied.begin();
      for (const std::string& payload : acked) {
        next = std::find(next, applied.end(), payload);
        ASSERT_NE(next, applied.end()) << "lost " << payload;
      }
    }
  }
}

}  // namespace
}  // namespace sluice
