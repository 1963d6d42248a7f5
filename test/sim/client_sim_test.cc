// The client library against whole clusters, in both topologies: what its
// users are promised through deaths and returns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "test/sim/checked_cluster.h"
#include "test/sim/sim_cluster.h"
#include "test/sim/sim_load.h"

namespace sluice::sim {
namespace {

SimOptions Combined() { return {}; }
SimOptions Separate() {
  SimOptions options;
  options.separate = true;
  return options;
}
SimOptions Single() {
  SimOptions options;
  options.nodes = options.controllers = 1;
  return options;
}

constexpr int64_t kSecond = 1'000'000;
const std::map<std::string, std::string> kMinIsr2 = {
    {"min.insync.replicas", "2"}};

class ClientSimTest : public testing::Test {
 protected:
  void Boot(const SimOptions& options) {
    cluster = std::make_unique<CheckedCluster>(options, 1);
    cluster->BootAll();
    ASSERT_TRUE(cluster->AwaitHealthy()) << cluster->Health();
  }
  void Create(const std::string& topic, int partitions, int replicas,
              std::map<std::string, std::string> configs = {}) {
    const absl::Status created = cluster->CreateTopic(
        topic, partitions, replicas, std::move(configs));
    ASSERT_TRUE(created.ok()) << created;
  }
  // Of partitions, in a broker's data directory.
  std::vector<std::string> DirectoriesOf(int id) {
    std::vector<std::string> names;
    const auto entries = cluster->at(id).fs.List("/data/broker");
    EXPECT_TRUE(entries.ok()) << entries.status();
    for (const DirectoryEntry& entry : *entries) {
      if (entry.is_directory) names.push_back(entry.name);
    }
    return names;
  }
  void TearDown() override {
    if (cluster == nullptr) return;
    for (const auto& [id, node] : cluster->nodes()) {
      for (const absl::Status& why : node->fatal) {
        ADD_FAILURE() << "process " << id << " ended: " << why;
      }
    }
  }

  std::unique_ptr<CheckedCluster> cluster;
};

class TopologyTest : public ClientSimTest,
                     public testing::WithParamInterface<const char*> {
 protected:
  SimOptions Topology() {
    return GetParam() == std::string("combined") ? Combined() : Separate();
  }
};

TEST_P(TopologyTest, ProduceGoesOnThroughTheKillOfALeader) {
  Boot(Topology());
  Create("t", 6, 3, kMinIsr2);
  SimLoad load(cluster.get(), "t", 6);
  load.SendSteadily(200, 2'000);
  ASSERT_TRUE(load.AwaitAcks(5 * kSecond)) << load.acked();
  load.TakeGapUs();

  const int leader = cluster->LeaderOf("t", 0);
  ASSERT_NE(leader, 0);
  const bool was_active = cluster->ActiveController() == leader;
  load.Send(60);
  cluster->Kill(leader);
  load.SendSteadily(200, 5'000);
  ASSERT_TRUE(load.AwaitAcks(20 * kSecond))
      << load.acked() << " of " << load.sent();
  // product.md, promise 3.
  EXPECT_LT(load.TakeGapUs(), (was_active ? 2 : 1) * kSecond);

  cluster->Boot(leader);
  EXPECT_TRUE(cluster->AwaitHealthy(20'000));
  load.SendSteadily(100, 1'000);
  EXPECT_TRUE(load.AwaitAcks(5 * kSecond));
  EXPECT_THAT(load.failed(), testing::IsEmpty());
  load.Check();
}

TEST_P(TopologyTest, AcksSurviveThePowerCutOfEveryMachine) {  // F14, promise 1
  Boot(Topology());
  Create("t", 4, 3, kMinIsr2);
  SimLoad load(cluster.get(), "t", 4);
  load.SendSteadily(100, 1'000);
  load.Send(40);  // some of these are acknowledged, some are not
  cluster->world().RunFor(20'000);
  for (const auto& [id, node] : cluster->nodes()) {
    cluster->PowerCut(id.value());
  }
  cluster->BootAll();
  ASSERT_TRUE(cluster->AwaitHealthy(20'000));
  EXPECT_TRUE(cluster->AwaitHealthy(30'000));
  EXPECT_TRUE(load.AwaitAcks(60 * kSecond));
  load.Check();
}

TEST_P(TopologyTest, DeadActiveControllersDoNotStopTheDataPath) {
  Boot(Topology());
  Create("t", 6, 3, kMinIsr2);
  SimLoad load(cluster.get(), "t", 6);
  for (int round = 0; round < 5; ++round) {
    load.SendSteadily(50, 2'000);
    const int active = cluster->ActiveController();
    ASSERT_NE(active, 0);
    cluster->Kill(active);
    load.SendSteadily(150, 10'000);
    EXPECT_TRUE(load.AwaitAcks(10 * kSecond)) << load.acked();
    cluster->Boot(active);
    ASSERT_TRUE(cluster->AwaitHealthy(20'000));
  }
  load.Check();
}

INSTANTIATE_TEST_SUITE_P(Both, TopologyTest,
                         testing::Values("combined", "separate"),
                         [](const auto& info) { return info.param; });

TEST_F(ClientSimTest, ANewTopicIsUsableThroughAnyBrokerAtOnce) {
  Boot(Separate());
  for (int i = 0; i < 10; ++i) {
    const std::string topic = "t" + std::to_string(i);
    Create(topic, 3, 3);
    SimLoad load(cluster.get(), topic, 3);
    load.Send(9);
    EXPECT_TRUE(load.AwaitAcks(kSecond)) << topic;
  }
}

TEST_F(ClientSimTest, ACleanStopHandsOverWithoutAnError) {
  Boot(Separate());
  Create("t", 6, 3, kMinIsr2);
  SimLoad load(cluster.get(), "t", 6);
  load.SendSteadily(100, 2'000);
  ASSERT_TRUE(load.AwaitAcks(5 * kSecond));
  for (const int id : {1, 2, 3}) {
    load.TakeGapUs();
    load.Send(30);
    const int64_t began_us = cluster->world().MonoMicros();
    ASSERT_TRUE(cluster->Stop(id));
    EXPECT_LT(cluster->world().MonoMicros() - began_us, kSecond);
    load.SendSteadily(50, 2'000);
    ASSERT_TRUE(load.AwaitAcks(5 * kSecond));
    EXPECT_LT(load.TakeGapUs(), kSecond);
    cluster->Boot(id);
    ASSERT_TRUE(cluster->AwaitHealthy(10'000));
  }
  load.Check();
}

TEST_F(ClientSimTest, OneNodeRestartsWithWhatItHad) {  // RF 1 leads again
  Boot(Single());
  Create("t", 2, 1);
  SimLoad load(cluster.get(), "t", 2);
  load.SendSteadily(50, 1'000);
  ASSERT_TRUE(load.AwaitAcks(5 * kSecond));
  cluster->Kill(1);
  load.Send(10);
  cluster->world().RunFor(100'000);
  cluster->Boot(1);
  EXPECT_TRUE(load.AwaitAcks(20 * kSecond)) << load.acked();
  cluster->PowerCut(1);
  cluster->Boot(1);
  ASSERT_TRUE(cluster->AwaitHealthy(10'000));
  load.Check();
  ASSERT_TRUE(cluster->Stop(1));
  cluster->Boot(1);
  ASSERT_TRUE(cluster->AwaitHealthy(10'000));
}

TEST_F(ClientSimTest, AWipedBrokerIsFilledAgain) {
  Boot(Separate());
  Create("t", 4, 3, kMinIsr2);
  SimLoad load(cluster.get(), "t", 4);
  load.SendSteadily(100, 1'000);
  ASSERT_TRUE(load.AwaitAcks(5 * kSecond));
  cluster->Kill(2);
  cluster->Wipe(2);
  load.SendSteadily(100, 5'000);
  ASSERT_TRUE(load.AwaitAcks(10 * kSecond));
  cluster->Boot(2);
  ASSERT_TRUE(cluster->AwaitHealthy(20'000));
  // Now it must be good enough to lead alone with one other.
  cluster->Kill(1);
  load.SendSteadily(50, 5'000);
  EXPECT_TRUE(load.AwaitAcks(10 * kSecond));
  load.Check();
}

TEST_F(ClientSimTest, BelowMinIsrAcksAllIsRefusedAndResumes) {
  Boot(Separate());
  Create("t", 1, 3, kMinIsr2);
  ProducerOptions options;
  options.delivery_timeout_ms = 3'000;
  SimLoad load(cluster.get(), "t", 1, options);
  load.Send(5);
  ASSERT_TRUE(load.AwaitAcks(5 * kSecond));
  const int leader = cluster->LeaderOf("t", 0);
  for (const int id : {1, 2, 3}) {
    if (id != leader) cluster->Kill(id);
  }
  cluster->world().RunFor(2 * kSecond);
  load.Send(5);
  cluster->world().RunFor(6 * kSecond);
  EXPECT_EQ(load.acked(), 5);
  EXPECT_THAT(load.failed(), testing::SizeIs(5));
  for (const auto& [number, why] : load.failed()) {
    EXPECT_THAT(std::string(why.message()),
                testing::HasSubstr("NOT_ENOUGH_REPLICAS"));
  }
  for (const int id : {1, 2, 3}) {
    if (id != leader) cluster->Boot(id);
  }
  ASSERT_TRUE(cluster->AwaitHealthy(20'000));
  load.Send(5);
  cluster->world().RunFor(2 * kSecond);
  EXPECT_EQ(load.acked(), 10);
  load.Check();
}

TEST_F(ClientSimTest, ALeaderCutOffLosesNothingThatWasAcknowledged) {  // F20
  Boot(Separate());
  Create("t", 3, 3, kMinIsr2);
  SimLoad load(cluster.get(), "t", 3);
  load.SendSteadily(60, 2'000);
  ASSERT_TRUE(load.AwaitAcks(5 * kSecond));
  const int leader = cluster->LeaderOf("t", 0);
  for (const auto& [id, node] : cluster->nodes()) {
    if (id != NodeId(leader)) cluster->network().Cut(id, NodeId(leader));
  }
  // The client still reaches it: its produces must not be acknowledged there.
  load.SendSteadily(500, 20'000);
  EXPECT_TRUE(load.AwaitAcks(30 * kSecond)) << load.acked();
  cluster->network().Heal();
  EXPECT_TRUE(cluster->AwaitHealthy(30'000));
  load.Check();
}

// A broker that is cut off goes on answering questions for metadata with what
// it knew. Whichever broker the client asks, it hears of the new leaders long
// before its requests time out.
TEST_F(ClientSimTest, AClientThatOnlyACutOffBrokerAnswersAsksTheOthers) {
  for (const int victim : {1, 2, 3}) {
    Boot(Separate());
    Create("t", 3, 3, kMinIsr2);
    SimLoad load(cluster.get(), "t", 3);
    load.SendSteadily(60, 2'000);
    ASSERT_TRUE(load.AwaitAcks(5 * kSecond));
    for (const auto& [id, node] : cluster->nodes()) {
      if (id != NodeId(victim)) cluster->network().Cut(id, NodeId(victim));
    }
    load.SendSteadily(100, 20'000);
    EXPECT_TRUE(load.AwaitAcks(10 * kSecond))
        << victim << " is cut off: " << load.acked() << " of " << load.sent();
    cluster->network().Heal();
    EXPECT_TRUE(cluster->AwaitHealthy(30'000));
    load.Check();
  }
}

// The figure of the first issue, in virtual time: what is left for real disks
// and sockets is half of it.
TEST_F(ClientSimTest, AFreshNodeAcknowledgesSoon) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CheckedCluster fresh(Single(), seed);
    fresh.BootAll();
    ASSERT_TRUE(fresh.RunUntil([&] { return fresh.at(1).serving; }, 1'000));
    ASSERT_TRUE(fresh.CreateTopic("t", 1, 1).ok());
    ASSERT_TRUE(fresh.ProduceHard("t", 0, "first").ok());
    EXPECT_LT(fresh.world().MonoMicros(), 250'000) << "seed " << seed;
  }
}

// product.md, promise 3; the figure of the first issue.
TEST_F(ClientSimTest, AHundredPartitionsFailOverWithinASecond) {
  Boot(Separate());
  Create("t", 100, 3, kMinIsr2);
  SimLoad load(cluster.get(), "t", 100);
  load.SendSteadily(400, 1'000);
  ASSERT_TRUE(load.AwaitAcks(5 * kSecond)) << load.acked();
  load.TakeGapUs();
  load.Send(200);
  const int64_t killed_us = cluster->world().MonoMicros();
  cluster->Kill(1);
  ASSERT_TRUE(load.AwaitAcks(5 * kSecond)) << load.acked();
  EXPECT_LT(cluster->world().MonoMicros() - killed_us, kSecond);
  cluster->Boot(1);
  ASSERT_TRUE(cluster->AwaitHealthy(20'000)) << cluster->Health();
  load.Check();
}

TEST_F(ClientSimTest, TheDataPathOutlivesItsControllers) {  // F77
  Boot(Separate());
  Create("t", 6, 3, kMinIsr2);
  SimLoad load(cluster.get(), "t", 6);
  for (const int id : {101, 102, 103}) cluster->Kill(id);
  for (int minute = 0; minute < 10; ++minute) {
    load.Send(30);
    cluster->RunFor(60'000);
    EXPECT_EQ(load.acked(), load.sent()) << "minute " << minute;
  }
  for (const int id : {101, 102, 103}) cluster->Boot(id);
  ASSERT_TRUE(cluster->AwaitHealthy(10'000)) << cluster->Health();
  // Nobody was fenced for a silence that was the controllers' own.
  EXPECT_EQ(cluster->Partition("t", 0)->leader_epoch(), 0);
  load.Send(30);
  EXPECT_TRUE(load.AwaitAcks(5 * kSecond));
  load.Check();
}

TEST_F(ClientSimTest, MemoryDurabilityLosesNothingToAKill) {
  Boot(Separate());
  Create("t", 4, 3,
         {{"min.insync.replicas", "2"}, {"durability", "memory"}});
  SimLoad load(cluster.get(), "t", 4);
  for (const int id : {1, 2, 3}) {
    load.SendSteadily(100, 1'000);
    load.Send(20);
    cluster->Kill(id);
    ASSERT_TRUE(load.AwaitAcks(10 * kSecond)) << load.acked();
    cluster->Boot(id);
    ASSERT_TRUE(cluster->AwaitHealthy(20'000)) << cluster->Health();
  }
  load.Check();
}

TEST_F(ClientSimTest, ADeletedTopicFreesItsFilesAndItsName) {
  Boot(Separate());
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    Create("t", 4, 3, kMinIsr2);  // the name is free at once
    SimLoad load(cluster.get(), "t", 4);
    load.Send(40);
    ASSERT_TRUE(load.AwaitAcks(5 * kSecond)) << load.acked();
    load.Check();  // and nothing of the older topic is there
    EXPECT_THAT(DirectoriesOf(1), testing::SizeIs(4));
    SimClient client(cluster.get());
    v1::DeleteTopicsRequest request;
    request.add_topics()->set_name("t");
    std::optional<absl::StatusOr<v1::DeleteTopicsResponse>> answer;
    client.admin().DeleteTopics(
        request, 10 * kSecond,
        [&](auto response) { answer = std::move(response); });
    ASSERT_TRUE(cluster->RunUntil([&] { return answer.has_value(); }, 10'000));
    ASSERT_TRUE(answer->ok()) << answer->status();
    EXPECT_EQ((*answer)->results(0).error().code(), 0);
    cluster->RunFor(1'000);
    for (const int id : {1, 2, 3}) {
      EXPECT_THAT(DirectoriesOf(id), testing::IsEmpty());
    }
  }
}

TEST_F(ClientSimTest, ATopicMadeAnewWhileABrokerWasAwayIsAnother) {  // F47
  Boot(Separate());
  Create("t", 2, 3, kMinIsr2);
  {
    SimLoad old(cluster.get(), "t", 2);
    old.Send(20);
    ASSERT_TRUE(old.AwaitAcks(5 * kSecond));
  }
  cluster->Kill(3);
  SimClient client(cluster.get());
  v1::DeleteTopicsRequest request;
  request.add_topics()->set_name("t");
  bool deleted = false;
  client.admin().DeleteTopics(request, 10 * kSecond,
                              [&](auto response) { deleted = response.ok(); });
  ASSERT_TRUE(cluster->RunUntil([&] { return deleted; }, 10'000));
  cluster->RunFor(1'000);
  Create("t", 2, 2, kMinIsr2);
  cluster->Boot(3);
  ASSERT_TRUE(cluster->AwaitHealthy(20'000)) << cluster->Health();
  SimLoad load(cluster.get(), "t", 2);
  load.Send(20);
  ASSERT_TRUE(load.AwaitAcks(5 * kSecond));
  load.Check();
  // The files it missed the deletion of are set aside, not removed (ST11).
  cluster->RunFor(1'000);
  int strays = 0;
  for (const std::string& name : DirectoriesOf(3)) {
    strays += name.find(".stray-") != std::string::npos ? 1 : 0;
  }
  EXPECT_EQ(strays, 2);
}

// What a Subscribe stream is given.
class CollectingSink final : public SubscribeSink {
 public:
  void Push(api::SubscribeResponse response) override {
    if (!response.result.error.ok()) {
      errors.push_back(std::move(response.result));
      return;
    }
    for (api::Record& record : response.result.records) {
      values.push_back(record.value.value_or(""));
    }
  }
  void Finish(absl::Status) override { finished = true; }

  std::vector<std::string> values;
  std::vector<api::FetchResult> errors;
  bool finished = false;
};

TEST_F(ClientSimTest, ASubscriptionSeesWhatIsCommittedUntilTheLeaderMoves) {
  Boot(Separate());
  Create("t", 1, 3, kMinIsr2);
  const int leader = cluster->LeaderOf("t", 0);
  const auto sink = std::make_shared<CollectingSink>();
  const auto stream = cluster->at(leader).broker->Subscribe({}, sink);
  api::SubscribeRequest request;
  request.partitions.emplace_back().topic.name = "t";
  request.credit_bytes = 1 << 20;
  stream->OnRequest(request);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(cluster->ProduceHard("t", 0, std::to_string(i)).ok());
    ASSERT_TRUE(cluster->RunUntil(
        [&] { return sink->values.size() == static_cast<size_t>(i) + 1; },
        100));
    EXPECT_EQ(sink->values.back(), std::to_string(i));
  }
  // Too few replicas: what is not committed is not shown.
  for (const int id : {1, 2, 3}) {
    if (id != leader) cluster->Kill(id);
  }
  EXPECT_FALSE(cluster->Produce("t", 0, "hidden").ok());
  cluster->RunFor(2'000);
  EXPECT_THAT(sink->values, testing::SizeIs(20));
  for (const int id : {1, 2, 3}) {
    if (id != leader) cluster->Boot(id);
  }
  ASSERT_TRUE(cluster->AwaitHealthy(20'000)) << cluster->Health();
  // A clean stop moves the leader: the partition ends with a hint.
  bool stopped = false;
  cluster->at(leader).broker->RequestStop(
      [&](const absl::Status&) { stopped = true; });
  ASSERT_TRUE(cluster->RunUntil([&] { return stopped; }, 10'000));
  ASSERT_THAT(sink->errors, testing::SizeIs(1));
  EXPECT_EQ(sink->errors[0].error.code, ErrorCode::kNotLeader);
  ASSERT_TRUE(sink->errors[0].leader.has_value());
  EXPECT_NE(sink->errors[0].leader->leader_id, NodeId(leader));
  EXPECT_FALSE(sink->finished);
  cluster->Kill(leader);
}

}  // namespace
}  // namespace sluice::sim
