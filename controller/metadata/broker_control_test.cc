#include "controller/metadata/broker_control.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "common/base/error.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using internal::v1::RegisterBrokerRequest;

// correctness.md 5.3, row RegisterBroker.
TEST(BrokerControlTest, MD8FieldsOfALaterBrokerDoNotReachTheLog) {
  TestCluster cluster;
  auto request = TestCluster::Registration(1, 1);
  auto* endpoint = request.mutable_listeners(0)->mutable_endpoint();
  ASSERT_TRUE(endpoint->MergeFromString("\xa0\x06\x01"));
  ASSERT_TRUE(request.mutable_listeners(1)->MergeFromString("\xa0\x06\x01"));
  cluster.Register(request);
  const BrokerImage* broker = cluster.image().FindBroker(NodeId(1));
  ASSERT_NE(broker, nullptr);
  EXPECT_EQ(broker->listeners.size(), 2u);
}

TEST(BrokerControlTest, BadRegistrationsAreRefusedByName) {
  TestCluster cluster;
  cluster.StartAll(2);
  const struct {
    const char* what;
    std::function<void(RegisterBrokerRequest&)> spoil;
    ErrorCode code;
  } rows[] = {
      {"cluster", [](auto& r) { r.set_cluster_id(Uuid(9, 9).ToBytes()); },
       ErrorCode::kInconsistentClusterId},
      {"no cluster", [](auto& r) { r.clear_cluster_id(); },
       ErrorCode::kInconsistentClusterId},
      {"id 0", [](auto& r) { r.set_broker_id(0); },
       ErrorCode::kInvalidRegistration},
      {"incarnation", [](auto& r) { r.set_incarnation_id("x"); },
       ErrorCode::kInvalidRegistration},
      {"zero incarnation",
       [](auto& r) { r.set_incarnation_id(std::string(16, '\0')); },
       ErrorCode::kInvalidRegistration},
      {"no directory", [](auto& r) { r.clear_directories(); },
       ErrorCode::kInvalidRegistration},
      {"zero directory",
       [](auto& r) {
         r.mutable_directories(0)->set_id(std::string(16, '\0'));
       },
       ErrorCode::kInvalidRegistration},
      {"twice", [](auto& r) { *r.add_directories() = r.directories(0); },
       ErrorCode::kInvalidRegistration},
      {"foreign",
       [](auto& r) {
         r.mutable_directories(0)->set_id(TestCluster::Directory(1));
       },
       ErrorCode::kInvalidRegistration},
      {"no listener", [](auto& r) { r.clear_listeners(); },
       ErrorCode::kInvalidRegistration},
      {"no internal listener",
       [](auto& r) { r.mutable_listeners(0)->set_name("OTHER"); },
       ErrorCode::kInvalidRegistration},
      {"port",
       [](auto& r) {
         r.mutable_listeners(0)->mutable_endpoint()->set_port(65536);
       },
       ErrorCode::kInvalidRegistration},
      {"old version", [](auto& r) { r.set_feature_max(0); },
       ErrorCode::kUnsupportedVersion},
      {"new version", [](auto& r) { r.set_feature_min(2); },
       ErrorCode::kUnsupportedVersion},
  };
  const uint64_t before = MetaHash(cluster.image());
  for (const auto& row : rows) {
    auto request = TestCluster::Registration(3, 1);
    row.spoil(request);
    const absl::Status status = cluster.TryRegister(request);
    EXPECT_EQ(NameOf(CodeOf(status)), NameOf(row.code))
        << row.what << ": " << status;
    EXPECT_EQ(MetaHash(cluster.image()), before);
  }
}

TEST(BrokerControlTest, F16TheOldIncarnationMustBeDeadFirst) {
  auto same = TestCluster::Registration(1, 2);
  auto other_disk = same;
  other_disk.mutable_directories(0)->set_id(TestCluster::Directory(1, 7));
  const struct {
    RegisterBrokerRequest request;
    SessionState old;
    bool accepted;
  } rows[] = {
      {same, SessionState::kConnected, false},
      {same, SessionState::kBroken, true},
      {same, SessionState::kNone, true},
      {other_disk, SessionState::kConnected, false},
      {other_disk, SessionState::kBroken, false},
      {other_disk, SessionState::kNone, true},
  };
  for (const auto& row : rows) {
    TestCluster cluster;
    cluster.Start(1);
    const absl::Status status = cluster.TryRegister(row.request, row.old);
    EXPECT_EQ(status.ok(), row.accepted) << status;
    if (!row.accepted) {
      EXPECT_EQ(CodeOf(status), ErrorCode::kDuplicateBrokerRegistration);
    }
  }
}

TEST(BrokerControlTest, RP19TheEpochIsTheOffsetAndARepeatKeepsIt) {
  TestCluster cluster;
  const auto request = TestCluster::Registration(1, 1);
  cluster.Register(request);
  EXPECT_EQ(cluster.EpochOf(1).value(), cluster.image().offset().value());
  EXPECT_TRUE(cluster.image().FindBroker(NodeId(1))->fenced);
  const size_t entries = cluster.log().size();
  const auto again =
      BrokerControl(cluster.image(), cluster.configs())
          .Register(request, cluster.cluster_id(), SessionState::kConnected);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->batch.records().empty());
  EXPECT_EQ(again->response.broker_epoch(), cluster.EpochOf(1).value());
  EXPECT_EQ(cluster.log().size(), entries);
}

TEST(BrokerControlTest, F1ARestartIsOneBatchThatElectsOthers) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto tp = cluster.CreateOn("t", {1, 2, 3});
  const size_t entries = cluster.log().size();
  const LeaderEpoch epoch = cluster.At(tp).leader_epoch;
  cluster.Register(TestCluster::Registration(1, 2));
  EXPECT_EQ(cluster.log().size(), entries + 1);  // MD3
  EXPECT_EQ(cluster.At(tp).leader, NodeId(2));
  EXPECT_EQ(cluster.At(tp).leader_epoch, epoch + 1);
  EXPECT_EQ(cluster.At(tp).isr, Nodes({2, 3}));
  EXPECT_TRUE(cluster.At(tp).elr.empty());
  EXPECT_TRUE(cluster.image().FindBroker(NodeId(1))->fenced);
  // Unfencing does not bring it back: only its leader does (RP14).
  cluster.Unfence(1);
  EXPECT_EQ(cluster.At(tp).isr, Nodes({2, 3}));
}

struct RestartRow {
  const char* claim;
  const char* durability;
  bool clean;
  bool same_boot;
  bool in_elr;
  bool in_unverified;
};

// replication.md 3.2: what a restart does to the last of a short ISR.
TEST(BrokerControlTest, RP18WhatARestartLeavesOfTheElr) {
  const RestartRow rows[] = {
      {"disk, clean", "disk", true, false, true, false},
      {"disk, unclean", "disk", false, false, false, true},
      {"disk, process died", "disk", false, true, false, true},
      {"memory, clean", "memory", true, false, true, false},
      {"memory, power loss", "memory", false, false, false, false},
      {"memory, process died", "memory", false, true, false, true},
  };
  for (const RestartRow& row : rows) {
    SCOPED_TRACE(row.claim);
    TestCluster cluster;
    cluster.StartAll(3);
    const auto tp =
        cluster.CreateOn("t", {1, 2, 3}, {{"durability", row.durability}});
    cluster.SetIsr(tp, {1, 2});
    cluster.SetIsr(tp, {1});
    EXPECT_EQ(cluster.At(tp).elr, Nodes({2}));
    cluster.Fence(2);
    auto request = TestCluster::Registration(1, 2);
    auto* directory = request.mutable_directories(0);
    if (row.clean) directory->set_clean_broker_epoch(cluster.EpochOf(1).value());
    if (!row.same_boot) directory->set_last_boot_id("another boot");
    cluster.Register(request);
    EXPECT_EQ(cluster.At(tp).leader, kNoNode);
    EXPECT_EQ(Contains(cluster.At(tp).elr, NodeId(1)), row.in_elr);
    EXPECT_EQ(Contains(cluster.At(tp).unverified_elr, NodeId(1)),
              row.in_unverified);
    EXPECT_TRUE(Contains(cluster.At(tp).elr, NodeId(2)));
    // Whoever may be elected tells first what it has.
    const bool counts = row.in_elr || row.in_unverified;
    EXPECT_EQ(WantedVerdicts(cluster.image(), NodeId(1)),
              counts ? std::vector{tp} : std::vector<TopicPartition>());
    cluster.Unfence(1);
    EXPECT_EQ(cluster.At(tp).leader, row.in_elr ? NodeId(1) : kNoNode);
    if (row.in_unverified) {
      cluster.Report(1, tp, /*lossy=*/false, /*failed=*/false);
      EXPECT_EQ(cluster.At(tp).leader, NodeId(1));
    }
  }
}

TEST(BrokerControlTest, ACleanMarkerOfAnOlderEpochIsUnclean) {
  TestCluster cluster;
  cluster.StartAll(1);
  const BrokerEpoch first = cluster.EpochOf(1);
  const auto tp = cluster.CreateOn("t", {1});
  auto request = TestCluster::Registration(1, 2);
  request.mutable_directories(0)->set_clean_broker_epoch(first.value());
  cluster.Register(request);
  EXPECT_EQ(cluster.At(tp).elr, Nodes({1}));
  cluster.Unfence(1);
  request.set_incarnation_id(TestCluster::Incarnation(1, 3));
  cluster.Register(request);  // the marker still names the first epoch
  EXPECT_EQ(cluster.At(tp).unverified_elr, Nodes({1}));
}

TEST(BrokerControlTest, RP16ASingleReplicaLeadsAgainInANewEpochOnly) {
  TestCluster cluster;
  cluster.StartAll(1);
  const auto tp = cluster.CreateOn("t", {1});
  const LeaderEpoch epoch = cluster.At(tp).leader_epoch;
  cluster.Register(TestCluster::Registration(1, 2));
  EXPECT_EQ(cluster.At(tp).leader, kNoNode);
  EXPECT_EQ(cluster.At(tp).unverified_elr, Nodes({1}));
  // Its verdict comes while it is fenced, as in a real restart.
  cluster.Report(1, tp, false, false);
  EXPECT_EQ(cluster.At(tp).elr, Nodes({1}));
  EXPECT_EQ(cluster.At(tp).leader, kNoNode);
  cluster.Unfence(1);
  EXPECT_EQ(cluster.At(tp).leader, NodeId(1));
  EXPECT_GT(cluster.At(tp).leader_epoch, epoch);
  EXPECT_EQ(cluster.At(tp).isr, Nodes({1}));
}

TEST(BrokerControlTest, F14LossyAndFailedReplicasAreNeverElected) {
  for (const bool lossy : {true, false}) {
    TestCluster cluster;
    cluster.StartAll(3);
    const auto tp = cluster.CreateOn("t", {1, 2, 3});
    cluster.SetIsr(tp, {1, 2});
    // Both in the ISR lose power: 2 first.
    cluster.Register(TestCluster::Registration(2, 2));
    cluster.Register(TestCluster::Registration(1, 2));
    EXPECT_EQ(cluster.At(tp).unverified_elr, Nodes({1, 2}));
    EXPECT_EQ(cluster.At(tp).last_full_isr, Nodes({1, 2}));
    cluster.Report(1, tp, lossy, !lossy);
    cluster.Unfence(1);
    EXPECT_EQ(cluster.At(tp).leader, kNoNode);  // 3 lives but holds too little
    cluster.Report(2, tp, false, false);
    cluster.Unfence(2);
    EXPECT_EQ(cluster.At(tp).leader, NodeId(2));
    EXPECT_EQ(cluster.At(tp).isr, Nodes({2}));
    EXPECT_TRUE(cluster.At(tp).elr.empty());
  }
}

TEST(BrokerControlTest, F7AWipedDiskIsOutOfEverythingAndMovesHome) {
  TestCluster cluster;
  cluster.StartAll(2);
  const auto tp = cluster.CreateOn("t", {1, 2});  // min ISR 1
  cluster.SetIsr(tp, {1});
  auto request = TestCluster::Registration(1, 2);
  request.mutable_directories(0)->set_id(TestCluster::Directory(1, 5));
  request.mutable_directories(0)->set_clean_broker_epoch(
      cluster.EpochOf(1).value());
  cluster.Register(request);
  EXPECT_EQ(cluster.At(tp).leader, kNoNode);
  EXPECT_TRUE(cluster.At(tp).isr.empty());
  EXPECT_TRUE(cluster.At(tp).elr.empty());
  EXPECT_TRUE(cluster.At(tp).unverified_elr.empty());
  EXPECT_EQ(cluster.At(tp).DirectoryOf(NodeId(1)).ToBytes(),
            TestCluster::Directory(1, 5));
  EXPECT_EQ(cluster.At(tp).DirectoryOf(NodeId(2)).ToBytes(),
            TestCluster::Directory(2));
  cluster.Unfence(1);
  EXPECT_EQ(cluster.At(tp).leader, kNoNode);
}

TEST(BrokerControlTest, FencingIsOneBatchAndHappensOnce) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto tp = cluster.CreateOn("t", {1, 2, 3}, {}, 1000);
  const size_t entries = cluster.log().size();
  cluster.Fence(1);
  EXPECT_EQ(cluster.log().size(), entries + 1);
  for (const auto& [index, partition] :
       cluster.image().FindTopic(tp.topic_id)->partitions) {
    EXPECT_EQ(partition->leader, NodeId(2));
    EXPECT_EQ(partition->isr, Nodes({2, 3}));
  }
  EXPECT_EQ(cluster.changes().partitions_changed.size(), 1000u);
  cluster.Fence(1);
  EXPECT_EQ(cluster.log().size(), entries + 1);
  EXPECT_TRUE(BrokerControl(cluster.image(), cluster.configs())
                  .Fence(NodeId(2), BrokerEpoch(1))
                  .records()
                  .empty())
      << "an older incarnation";
}

TEST(BrokerControlTest, MD9ControlledShutdownMovesLeadersAndKeepsTheElr) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto shared = cluster.CreateOn("shared", {1, 2, 3});
  const auto alone = cluster.CreateOn("alone", {1});
  cluster.BeginStop(1);
  EXPECT_EQ(cluster.At(shared).leader, NodeId(2));
  EXPECT_EQ(cluster.At(shared).isr, Nodes({2, 3}));
  EXPECT_EQ(cluster.At(alone).leader, kNoNode);
  EXPECT_EQ(cluster.At(alone).elr, Nodes({1}));
  EXPECT_FALSE(LeadsAny(cluster.image(), NodeId(1)));
  // RP14: it cannot come back into an ISR.
  const auto response = cluster.Alter(cluster.Proposal(shared, {1, 2, 3}));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(static_cast<int>(response->results(0).error().code()),
            static_cast<int>(ErrorCode::kIneligibleReplica));
  // A clean return leads again at once, without a verdict.
  auto request = TestCluster::Registration(1, 2);
  request.mutable_directories(0)->set_clean_broker_epoch(
      cluster.EpochOf(1).value());
  cluster.Register(request);
  cluster.Unfence(1);
  EXPECT_EQ(cluster.At(alone).leader, NodeId(1));
}

TEST(BrokerControlTest, ReportsOfOldIncarnationsAndOfStrangersHaveNoEffect) {
  TestCluster cluster;
  cluster.StartAll(2);
  const auto tp = cluster.CreateOn("t", {1});
  internal::v1::ReportReplicasRequest request;
  request.set_broker_id(1);
  request.set_broker_epoch(1);
  BrokerControl control(cluster.image(), cluster.configs());
  EXPECT_EQ(CodeOf(control.ReportReplicas(request).status()),
            ErrorCode::kStaleBrokerEpoch);
  request.set_broker_id(2);
  request.set_broker_epoch(cluster.EpochOf(2).value());
  auto* verdict = request.add_verdicts();
  verdict->set_topic_id(tp.topic_id.ToBytes());
  verdict->set_failed(true);
  auto* gone = request.add_verdicts();
  gone->set_topic_id(Uuid(4, 4).ToBytes());
  auto result = control.ReportReplicas(request);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->batch.records().empty());
  *request.add_verdicts() = *verdict;
  EXPECT_EQ(CodeOf(control.ReportReplicas(request).status()),
            ErrorCode::kInvalidRequest);
}

}  // namespace
}  // namespace sluice
