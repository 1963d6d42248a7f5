#include "controller/metadata/health.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using v1::HealthIssue;

TEST(HealthTest, AHealthyClusterHasNoIssue) {
  TestCluster cluster;
  cluster.StartAll(3);
  cluster.CreateOn("t", {1, 2, 3});
  EXPECT_TRUE(HealthIssuesOf(cluster.image(), cluster.configs()).empty());
}

TEST(HealthTest, TheWorstComesFirstAndSaysWhy) {
  TestCluster cluster;
  cluster.StartAll(3);
  cluster.CreateOn("three", {1, 2, 3});
  cluster.CreateOn("two", {1, 2}, {{"min.insync.replicas", "2"}});
  const auto single = cluster.CreateOn("single", {2});
  cluster.Fence(2);
  const auto issues = HealthIssuesOf(cluster.image(), cluster.configs());
  ASSERT_EQ(issues.size(), 4u);
  EXPECT_EQ(issues[0].kind(), HealthIssue::KIND_NO_LEADER);
  EXPECT_EQ(issues[0].topic(), "single");
  EXPECT_NE(issues[0].message().find("eligible brokers [2]"),
            std::string::npos)
      << issues[0].message();
  EXPECT_EQ(issues[1].kind(), HealthIssue::KIND_UNDER_MIN_ISR);
  EXPECT_EQ(issues[1].topic(), "two");
  EXPECT_EQ(issues[2].kind(), HealthIssue::KIND_UNDER_REPLICATED);
  EXPECT_EQ(issues[2].topic(), "three");
  EXPECT_EQ(issues[3].kind(), HealthIssue::KIND_BROKER_FENCED);
  EXPECT_EQ(issues[3].broker_id(), 2);

  cluster.Register(TestCluster::Registration(2, 2));
  auto now = HealthIssuesOf(cluster.image(), cluster.configs());
  EXPECT_NE(now[0].message().find("have not reported"), std::string::npos)
      << now[0].message();
  cluster.Report(2, single, /*lossy=*/true, false);
  now = HealthIssuesOf(cluster.image(), cluster.configs());
  EXPECT_NE(now[0].message().find("brokers [2] of the last full ISR [2] have "
                                  "not told"),
            std::string::npos)
      << now[0].message();
}

TEST(HealthTest, AnElectionThatIsWaitedForSaysWhatItWaitsFor) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto tp = cluster.CreateOn("t", {1, 2, 3}, {{"durability", "memory"}});
  for (const int id : {1, 2, 3}) cluster.Fence(id);
  for (const int id : {2, 3}) cluster.PowerUp(id);
  const auto message = [&] {
    const auto issues = HealthIssuesOf(cluster.image(), cluster.configs());
    EXPECT_EQ(issues[0].kind(), HealthIssue::KIND_NO_LEADER);
    return issues[0].message();
  };
  EXPECT_NE(message().find("brokers [2,3] of the last full ISR [2,3] have not "
                           "told"),
            std::string::npos)
      << message();
  cluster.Unfence(2);
  EXPECT_NE(message().find("brokers [2] are alive and have not told"),
            std::string::npos)
      << message();
  cluster.Tell(2, tp, {.last_epoch = 0, .end = 90});
  EXPECT_NE(message().find("told so far: broker 2 a log to offset 90 of epoch "
                           "0"),
            std::string::npos)
      << message();
  cluster.Tell(3, tp, {.last_epoch = 0, .end = 100, .high_watermark = 95});
  EXPECT_NE(message().find("no broker with the best log is alive"),
            std::string::npos)
      << message();
  cluster.Unfence(3);
  const auto issues = HealthIssuesOf(cluster.image(), cluster.configs());
  EXPECT_EQ(issues[0].kind(), HealthIssue::KIND_UNDER_MIN_ISR);
  EXPECT_NE(issues[0].message().find("broker 3 was elected unclean in epoch"),
            std::string::npos)
      << issues[0].message();
  EXPECT_NE(issues[0].message().find("from offset 95 on that had been acknowledged may be lost (the "
                                    "longest log that was alive ended at 100)"), std::string::npos)
      << issues[0].message();
}

// Healed or not: until another leader is elected.
TEST(HealthTest, AnUncleanElectionIsNamedUntilAnotherLeads) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto tp = cluster.CreateOn("t", {1, 2, 3}, {{"durability", "memory"}});
  for (const int id : {1, 2, 3}) cluster.Fence(id);
  for (const int id : {2, 3}) cluster.PowerUp(id);
  for (const int id : {2, 3}) cluster.Unfence(id);
  cluster.Tell(2, tp, {.last_epoch = 0, .end = 90});
  cluster.Tell(3, tp, {.last_epoch = 0, .end = 100, .high_watermark = 95});
  const auto unclean = [&] {
    std::vector<HealthIssue> found;
    for (HealthIssue& issue :
         HealthIssuesOf(cluster.image(), cluster.configs())) {
      if (issue.kind() == HealthIssue::KIND_UNCLEAN_ELECTION) {
        found.push_back(std::move(issue));
      }
    }
    return found;
  };
  ASSERT_EQ(unclean().size(), 1u);
  EXPECT_EQ(unclean()[0].topic(), "t");
  EXPECT_EQ(unclean()[0].broker_id(), 3);
  EXPECT_NE(unclean()[0].message().find("from offset 95 on that had been acknowledged may be lost (the "
                                    "longest log that was alive ended at 100)"),
            std::string::npos)
      << unclean()[0].message();
  EXPECT_NE(unclean()[0].message().find("until another leader is elected"),
            std::string::npos);
  cluster.SetIsr(tp, {2, 3});
  ASSERT_EQ(unclean().size(), 1u) << "who follows brings nothing back";
  cluster.Fence(3);
  EXPECT_EQ(cluster.At(tp).leader, NodeId(2));
  EXPECT_TRUE(unclean().empty());
}

TEST(HealthTest, AFailedReplicaIsNamedWithItsWayOut) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto tp = cluster.CreateOn("t", {1, 2, 3});
  cluster.Report(3, tp, false, /*failed=*/true);
  const auto issues = HealthIssuesOf(cluster.image(), cluster.configs());
  ASSERT_EQ(issues.size(), 2u);
  EXPECT_EQ(issues[1].kind(), HealthIssue::KIND_REPLICA_FAILED);
  EXPECT_EQ(issues[1].broker_id(), 3);
  EXPECT_NE(issues[1].message().find("reset-replica t 0 3"),
            std::string::npos)
      << issues[1].message();
}

TEST(HealthTest, TheListIsBoundedAndTellsWhatIsLeftOut) {
  TestCluster cluster;
  cluster.StartAll(1);
  cluster.CreateOn("t", {1}, {}, 1500);
  cluster.Fence(1);
  const auto issues = HealthIssuesOf(cluster.image(), cluster.configs());
  ASSERT_EQ(issues.size(), kHealthIssuesMax);
  EXPECT_NE(issues.back().message().find("and 501 more"), std::string::npos)
      << issues.back().message();
}

}  // namespace
}  // namespace sluice
