// The client library against whole clusters, in both topologies: what its
// users are promised through deaths and returns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "test/sim/sim_client.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {
namespace {

// Sends numbered values to every partition in turn and remembers which were
// acknowledged, by partition and offset.
class Load {
 public:
  Load(SimCluster* cluster, const std::string& topic, int partitions,
       ProducerOptions options = {})
      : cluster_(cluster),
        topic_(topic),
        partitions_(partitions),
        client_(cluster, options) {}

  void Send(int count) {
    for (int i = 0; i < count; ++i) {
      const int number = sent_++;
      ProducerRecord record;
      record.topic = topic_;
      record.partition = PartitionIndex(number % partitions_);
      record.key = std::to_string(number);
      record.value = "value-" + std::to_string(number);
      const absl::Status status = client_.producer().Send(
          std::move(record), [this, number](const auto& result) {
            if (!result.ok()) {
              failed_.emplace_back(number, result.status());
              return;
            }
            ++acked_;
            acknowledged_.insert(number);
            const int64_t now_us = cluster_->world().MonoMicros();
            if (last_ack_us_ >= 0) {
              gap_us_ = std::max(gap_us_, now_us - last_ack_us_);
            }
            last_ack_us_ = now_us;
          });
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  bool AwaitAcks(int64_t limit_us) {
    return cluster_->world().RunUntil([&] { return acked_ == sent_; },
                                      limit_us);
  }
  // Sends `count` records at a steady pace of one every `every_us`.
  void SendSteadily(int count, int64_t every_us) {
    for (int i = 0; i < count; ++i) {
      Send(1);
      cluster_->world().RunFor(every_us);
    }
  }
  // The longest time without an acknowledgement since the last call.
  int64_t TakeGapUs() {
    last_ack_us_ = -1;
    return std::exchange(gap_us_, 0);
  }
  int sent() const { return sent_; }
  int acked() const { return acked_; }
  const std::vector<std::pair<int, absl::Status>>& failed() const {
    return failed_;
  }

  // Reads every partition from the start and compares: nothing acknowledged is
  // missing, numbers of a partition do not go back except for a repetition
  // by a retry, offsets have no gap, nothing was never sent.
  void Check() {
    SimClient reader(cluster_, {},
                     ConsumerOptions{.reset = OffsetReset::kEarliest});
    std::vector<NamedPartition> all;
    for (int p = 0; p < partitions_; ++p) {
      all.push_back({topic_, PartitionIndex(p)});
    }
    reader.consumer().Assign(all);
    std::map<PartitionIndex, std::vector<int>> read;
    std::set<int> seen;
    const int64_t end_us = cluster_->world().MonoMicros() + 60'000'000;
    while (!Includes(seen) && cluster_->world().MonoMicros() < end_us) {
      bool answered = false;
      reader.consumer().Poll(
          200'000, 16 << 20,
          [&](absl::StatusOr<Consumer::Batches> batches) {
            answered = true;
            ASSERT_TRUE(batches.ok()) << batches.status();
            for (FetchedBatch& batch : *batches) Take(batch, read, seen);
          });
      cluster_->world().RunUntil([&] { return answered; }, 5'000'000);
    }
    for (const int number : acknowledged_) {
      EXPECT_TRUE(seen.contains(number)) << number << " is LOST";
    }
    for (const auto& [partition, numbers] : read) {
      int newest = -1;
      std::set<int> before;
      for (const int number : numbers) {
        EXPECT_TRUE(number > newest || before.contains(number))
            << number << " after " << newest << ": REORDERED";
        EXPECT_LT(number, sent_) << "PHANTOM";
        newest = std::max(newest, number);
        before.insert(number);
      }
    }
  }

 private:
  bool Includes(const std::set<int>& seen) const {
    return std::includes(seen.begin(), seen.end(), acknowledged_.begin(),
                         acknowledged_.end());
  }
  void Take(FetchedBatch& batch,
            std::map<PartitionIndex, std::vector<int>>& read,
            std::set<int>& seen);

  SimCluster* const cluster_;
  const std::string topic_;
  const int partitions_;
  SimClient client_;
  int sent_ = 0;
  int acked_ = 0;
  std::set<int> acknowledged_;
  std::vector<std::pair<int, absl::Status>> failed_;
  std::map<PartitionIndex, Offset> next_;
  int64_t last_ack_us_ = -1;
  int64_t gap_us_ = 0;
};

void Load::Take(FetchedBatch& batch,
                std::map<PartitionIndex, std::vector<int>>& read,
                std::set<int>& seen) {
  const absl::Status read_all =
      ForEachRecord(batch, [&](const DecodedRecord& record) {
        Offset& next = next_[batch.tp.partition];
        EXPECT_EQ(record.offset, next) << "a gap in " << batch.tp.ToString();
        next = record.offset.Next();
        const int number = std::stoi(std::string(*record.key));
        EXPECT_EQ(record.value, "value-" + std::to_string(number));
        read[batch.tp.partition].push_back(number);
        seen.insert(number);
        return true;
      });
  EXPECT_TRUE(read_all.ok()) << read_all;
}

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
    cluster = std::make_unique<SimCluster>(options, 1);
    cluster->BootAll();
    ASSERT_TRUE(cluster->AwaitHealthy()) << cluster->Health();
  }
  void Create(const std::string& topic, int partitions, int replicas,
              std::map<std::string, std::string> configs = {}) {
    const absl::Status created = cluster->CreateTopic(
        topic, partitions, replicas, std::move(configs));
    ASSERT_TRUE(created.ok()) << created;
  }
  void TearDown() override {
    if (cluster == nullptr) return;
    for (const auto& [id, node] : cluster->nodes()) {
      for (const absl::Status& why : node->fatal) {
        ADD_FAILURE() << "process " << id << " ended: " << why;
      }
    }
  }

  std::unique_ptr<SimCluster> cluster;
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
  Load load(cluster.get(), "t", 6);
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
  Load load(cluster.get(), "t", 4);
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
  Load load(cluster.get(), "t", 6);
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
    Load load(cluster.get(), topic, 3);
    load.Send(9);
    EXPECT_TRUE(load.AwaitAcks(kSecond)) << topic;
  }
}

TEST_F(ClientSimTest, ACleanStopHandsOverWithoutAnError) {
  Boot(Separate());
  Create("t", 6, 3, kMinIsr2);
  Load load(cluster.get(), "t", 6);
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
  Load load(cluster.get(), "t", 2);
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
  Load load(cluster.get(), "t", 4);
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
  Load load(cluster.get(), "t", 1, options);
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
  Load load(cluster.get(), "t", 3);
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

}  // namespace
}  // namespace sluice::sim
