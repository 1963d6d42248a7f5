// Random schedules: processes that die in every way, stop cleanly, lose their
// streams and their sessions, proposals that get lost, under produce. After
// each: nothing acknowledged is lost, nothing read has changed, and the
// cluster heals (RP1, RP8, RP9, RP22, RP24). One seed, one run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "broker/cluster_oracle_testing.h"
#include "broker/cluster_testing.h"

namespace sluice {
namespace {

using testing::IsEmpty;
using End = SimCluster::End;

constexpr int kBrokers = 3;

class RandomRun {
 public:
  RandomRun(uint64_t seed, bool durable)
      : random_(seed),
        durable_(durable),
        cluster_({.brokers = kBrokers,
                  .seed = seed,
                  .lose_one_proposal_in = seed % 3 == 0 ? 4u : 0u,
                  // Most reads of followers that come back miss it.
                  .tail_cache_bytes = seed % 2 == 0 ? 1 << 20 : 2048}),
        client_(&cluster_) {}

  void Run() {
    cluster_.StartAll();
    cluster_.world().RunFor(1'000'000);
    const TopicPartition first = cluster_.CreateTopic(
        "t", {1, 2, 3},
        {{"min.insync.replicas", "2"},
         {"durability", durable_ ? "disk" : "memory"},
         {"segment.bytes", "1048576"}},
        3);
    for (int i = 0; i < 3; ++i) {
      partitions_.push_back({first.topic_id, PartitionIndex(i)});
    }
    const int steps = 20 + static_cast<int>(random_.Below(40));
    for (int step = 0; step < steps; ++step) {
      SCOPED_TRACE(StrCat("step ", step, " at ",
                          cluster_.world().MonoMicros(), " us"));
      Step();
      if (testing::Test::HasFailure()) return;
    }
    Converge();
  }

  int64_t acknowledged() const {
    int64_t sum = 0;
    for (const TopicPartition& tp : partitions_) {
      sum += static_cast<int64_t>(client_.acknowledged(tp));
    }
    return sum;
  }

 private:
  void Step() {
    switch (random_.Below(12)) {
      case 0: return Stop();
      case 1:
      case 2: return Start();
      case 3:
        if (random_.OneIn(3)) return StopClean();
        return Start();
      case 4: {
        const auto [a, b] = TwoNodes();
        return cluster_.network().Break(a, b);
      }
      case 5: {
        if (!random_.OneIn(3)) return cluster_.network().Heal();
        const auto [a, b] = TwoNodes();
        return cluster_.network().Cut(a, b);
      }
      case 6:
        if (random_.OneIn(3)) return LoseSession();
        return Check();
      case 7: return Check();
      default: break;
    }
    for (uint64_t i = 0, n = random_.Below(20); i < n; ++i) {
      const api::Acks acks = random_.OneIn(4) ? api::Acks::kLeader
                                              : api::Acks::kAll;
      client_.Produce(Any(), acks, random_.Between(1'000, 3'000'000));
      if (random_.OneIn(3)) cluster_.world().RunFor(random_.Between(0, 2'000));
    }
    cluster_.world().RunFor(random_.Between(0, random_.OneIn(5) ? 2'000'000
                                                                : 20'000));
  }

  const TopicPartition& Any() {
    return partitions_[random_.Below(partitions_.size())];
  }
  int AnyNode() { return 1 + static_cast<int>(random_.Below(kBrokers)); }
  std::pair<NodeId, NodeId> TwoNodes() {
    const int a = AnyNode();
    return {NodeId(a), NodeId(1 + a % kBrokers)};
  }

  void Stop() {
    // In memory mode only the page cache holds what is acknowledged.
    const End ends[] = {End::kKill, End::kPowerLossOfAll,
                        End::kPowerLossPrefix};
    const End how = durable_ ? ends[random_.Below(3)] : End::kKill;
    const bool all = random_.OneIn(5);
    for (int id = 1; id <= kBrokers; ++id) {
      if (all) cluster_.Stop(id, how);
    }
    if (!all) cluster_.Stop(AnyNode(), how);
  }
  void Start() {
    for (int id = 1; id <= kBrokers; ++id) {
      if (!cluster_.is_running(id)) return cluster_.Start(id);
    }
  }
  void StopClean() {
    const int id = AnyNode();
    if (!cluster_.is_running(id)) return;
    const absl::Status closed = cluster_.StopClean(id);
    EXPECT_TRUE(closed.ok()) << closed;
  }
  // The controller believes it dead for a while; it is not.
  void LoseSession() {
    const int id = AnyNode();
    const BrokerImage* broker = cluster_.image().FindBroker(NodeId(id));
    if (broker == nullptr || broker->fenced || broker->stopping) return;
    const BrokerEpoch epoch = broker->epoch;
    cluster_.metadata().Fence(id);
    cluster_.Publish();
    cluster_.world().RunFor(random_.Between(0, 500'000));
    if (cluster_.is_running(id) && cluster_.metadata().EpochOf(id) == epoch) {
      cluster_.metadata().Unfence(id);
      cluster_.Publish();
    }
  }
  void Check() {
    for (const TopicPartition& tp : partitions_) {
      EXPECT_EQ(client_.CheckReplicas(tp, false), "");
      const int leader = cluster_.Leader(tp);
      if (leader == 0 ||
          !cluster_.broker(leader)->Find(tp)->core().hw_is_truth()) {
        continue;
      }
      EXPECT_EQ(client_.CheckReadable(tp), "");
    }
  }

  void Converge() {
    SCOPED_TRACE("healing");
    cluster_.network().Heal();
    for (int id = 1; id <= kBrokers; ++id) {
      if (!cluster_.is_running(id)) cluster_.Start(id);
    }
    for (const TopicPartition& tp : partitions_) {
      ASSERT_TRUE(cluster_.RunUntilHealthy(tp)) << cluster_.Describe(tp);
      ASSERT_TRUE(client_.ProduceOne(tp));
    }
    cluster_.world().RunFor(1'000'000);
    for (const TopicPartition& tp : partitions_) {
      EXPECT_EQ(client_.CheckReadable(tp), "");
      EXPECT_EQ(client_.CheckReplicas(tp, /*converged=*/true), "");
    }
    EXPECT_THAT(cluster_.fatal(), IsEmpty());
  }

  Random random_;
  const bool durable_;
  SimCluster cluster_;
  SimClient client_;
  std::vector<TopicPartition> partitions_;
};

// SLUICE_SEED=N replays one run; SLUICE_SEEDS=N runs so many.
void RunSeeds(bool durable, uint64_t count) {
  uint64_t first = 1;
  if (const char* one = std::getenv("SLUICE_SEED")) {
    first = std::strtoull(one, nullptr, 10);
    count = 1;
  } else if (const char* many = std::getenv("SLUICE_SEEDS")) {
    count = std::strtoull(many, nullptr, 10);
  }
  int64_t acknowledged = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE(StrCat("SLUICE_SEED=", seed));
    RandomRun run(seed, durable);
    run.Run();
    acknowledged += run.acknowledged();
    if (testing::Test::HasFailure()) return;
  }
  // The oracle had something to look for.
  EXPECT_GT(acknowledged, static_cast<int64_t>(10 * count));
}

TEST(ClusterRandom, DiskModeLosesNothingToAnyEndOfAnyProcess) {
  RunSeeds(/*durable=*/true, 300);
}

TEST(ClusterRandom, MemoryModeLosesNothingToKills) {
  RunSeeds(/*durable=*/false, 150);
}

}  // namespace
}  // namespace sluice
