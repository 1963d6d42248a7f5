// Coordinators on the replicas of real shards, through deaths, power cuts and
// fail-overs: what was acknowledged is read afterwards, nothing older ever is,
// and in the end every replica's view is a replay of its log (GR2, GR4, GR6,
// GR7, F58).
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "broker/cluster_testing.h"
#include "broker/coordinator/group_coordinator.h"
#include "broker/coordinator/group_log.h"
#include "broker/partition.h"
#include "storage/batch_header.h"

namespace sluice {
namespace {

using coordinator::GroupCoordinator;

// One group with offsets that only rise, as its one client commits them; all
// of it in one partition.
class Client {
 public:
  Client(SimCluster* cluster, TopicPartition tp, std::string group)
      : cluster_(cluster), tp_(tp), group_(std::move(group)) {}

  // One call at a time: a commit of the next offset, or a read.
  void Next(Random& random) {
    if (busy_) return;
    const int node = Target(random);
    if (node == 0) return;
    busy_ = true;
    const int64_t call = ++call_;
    if (random.OneIn(3)) {
      Fetch(node, call);
    } else {
      Commit(node, call);
    }
  }
  // The answer is lost with its process.
  void GiveUp() {
    ++call_;
    busy_ = false;
  }
  int64_t acknowledged() const { return acknowledged_; }
  int answers() const { return answers_; }

 private:
  int Target(Random& random) {
    const int leader = cluster_->Leader(tp_);
    // Sometimes one that was the coordinator, or never is.
    if (random.OneIn(4)) {
      return static_cast<int>(random.Between(1, cluster_->broker_count()));
    }
    return leader;
  }

  void At(int node, absl::AnyInvocable<void(GroupCoordinator&)> ask) {
    SimBroker* broker = cluster_->broker(node);
    if (broker == nullptr) return GiveUp();
    cluster_->AtShard(node, tp_, [broker, tp = tp_, ask = std::move(ask)](
                                     Shard&) mutable {
      if (GroupCoordinator* found = broker->CoordinatorOf(tp)) ask(*found);
    });
  }

  void Commit(int node, int64_t call) {
    const int64_t offset = ++attempted_;
    At(node, [this, call, offset](GroupCoordinator& coordinator) {
      // Given up and overtaken: it would put the group back.
      if (call != call_) return;
      v1::CommitOffsetsRequest request;
      request.set_group_id(group_);
      auto* put = request.add_offsets();
      put->mutable_topic()->set_name("orders");
      put->set_offset(offset);
      coordinator.CommitOffsets(
          {}, request,
          [this, call, offset](
              absl::StatusOr<v1::CommitOffsetsResponse> answer) {
            ASSERT_TRUE(answer.ok());
            if (call != call_) return;
            busy_ = false;
            if (answer->results(0).has_error()) {
              EXPECT_TRUE(IsRetriable(CodeFromNumber(static_cast<int32_t>(
                  answer->results(0).error().code()))))
                  << answer->DebugString();
              return;
            }
            ++answers_;
            acknowledged_ = offset;
          });
    });
  }

  void Fetch(int node, int64_t call) {
    At(node, [this, call,
              floor = acknowledged_](GroupCoordinator& coordinator) {
      v1::GroupOffsetsQuery query;
      query.set_group_id(group_);
      const v1::GroupOffsets found = coordinator.FetchOffsets(query);
      if (call != call_) return;
      busy_ = false;
      if (found.has_error()) {
        EXPECT_TRUE(IsRetriable(CodeFromNumber(
            static_cast<int32_t>(found.error().code()))))
            << found.DebugString();
        return;
      }
      ++answers_;
      const int64_t offset =
          found.offsets().empty() ? 0 : found.offsets(0).offset();
      EXPECT_GE(offset, floor) << group_ << ": an older offset was answered";
      EXPECT_LE(offset, attempted_);
    });
  }

  SimCluster* const cluster_;
  const TopicPartition tp_;
  const std::string group_;
  bool busy_ = false;
  int64_t call_ = 0;
  int64_t attempted_ = 0;
  int64_t acknowledged_ = 0;
  int answers_ = 0;
};

// What the log of a replica says, and what its view has.
std::map<std::string, std::string> ReplayOf(const Partition& partition) {
  std::map<std::string, std::string> out;
  offsets::Applied applied;
  const Offset limit = std::min(partition.high_watermark(),
                                partition.durable_leo());
  Offset from = partition.log_start();
  while (from < limit) {
    Log& log = const_cast<Log&>(partition.log());
    auto piece = log.PlanRead(from, limit, 1 << 20);
    EXPECT_TRUE(piece.ok());
    const auto read = ExecuteRead(*piece, /*no_wait=*/false);
    if (!read.ok() || !read->has_value() || (*read)->next_offset <= from) break;
    BatchCursor cursor((*read)->batches.view());
    for (auto batch = cursor.Next(); batch.ok() && batch->has_value();
         batch = cursor.Next()) {
      if ((*batch)->header().base_offset < from) continue;
      const auto changes = coordinator::DecodeBatch(**batch);
      EXPECT_TRUE(changes.ok()) << changes.status();
      const auto writes = offsets::ApplyBatch(applied, limit, *changes);
      EXPECT_TRUE(writes.ok()) << writes.status();
      for (const offsets::ViewWrite& write : *writes) {
        if (write.value.has_value()) {
          out[write.key] = *write.value;
        } else {
          out.erase(write.key);
        }
      }
      applied = {changes->next, changes->epoch};
    }
    from = (*read)->next_offset;
  }
  return out;
}

// Behind a prefix of 22 bytes: 'o', version, topic id, partition.
std::map<std::string, std::string> ViewOf(SimCluster& cluster, int node,
                                          const TopicPartition& tp) {
  std::map<std::string, std::string> out;
  EXPECT_TRUE(cluster.views(node)
                  .Scan("", "",
                        [&](std::string_view key, std::string_view value) {
                          const std::string id = tp.topic_id.ToBytes();
                          if (key.substr(2, 16) == id &&
                              static_cast<uint8_t>(key[21]) ==
                                  tp.partition.value()) {
                            out.emplace(key.substr(22), value);
                          }
                          return true;
                        })
                  .ok());
  return out;
}

void RunOne(uint64_t seed) {
  SCOPED_TRACE(seed);
  SimCluster::Options options;
  options.seed = seed;
  options.lose_one_proposal_in = seed % 3 == 0 ? 10 : 0;
  options.tail_cache_bytes = seed % 2 == 0 ? 1 << 20 : 0;
  SimCluster cluster(options);
  cluster.StartAll();
  cluster.world().RunFor(1'000'000);
  cluster.CreateTopic("orders", {1, 2, 3}, {}, 1);
  const TopicId id = cluster.CreateOffsetsTopic();
  std::vector<std::unique_ptr<Client>> clients;
  const TopicPartition tps[] = {{id, PartitionIndex(0)},
                                {id, PartitionIndex(1)}};
  for (const TopicPartition& tp : tps) {
    ASSERT_TRUE(cluster.RunUntilHealthy(tp)) << cluster.Describe(tp);
    for (const char* group : {"a", "b"}) {
      clients.push_back(std::make_unique<Client>(
          &cluster, tp, group + std::to_string(tp.partition.value())));
    }
  }
  Random random(seed * 977);
  int down = 0;
  for (int step = 0; step < 1'500; ++step) {
    cluster.world().RunFor(random.Between(200, 5'000));
    for (auto& client : clients) client->Next(random);
    if (!random.OneIn(80)) continue;
    if (down != 0) {
      cluster.Start(std::exchange(down, 0));
      continue;
    }
    down = static_cast<int>(random.Between(1, 3));
    const SimCluster::End ends[] = {
        SimCluster::End::kKill, SimCluster::End::kPowerLossOfAll,
        SimCluster::End::kPowerLossPrefix, SimCluster::End::kPowerLossSectors};
    cluster.Stop(down, ends[random.Below(4)]);
    for (auto& client : clients) client->GiveUp();
    // What was given up arrives, or does not, before anything newer: else it
    // would rightly take effect behind it.
    cluster.world().RunFor(5'000);
  }
  if (down != 0) cluster.Start(down);
  for (auto& client : clients) client->GiveUp();
  for (const TopicPartition& tp : tps) {
    ASSERT_TRUE(cluster.RunUntilHealthy(tp)) << cluster.Describe(tp);
  }
  cluster.world().RunFor(5'000'000);
  int answers = 0;
  for (auto& client : clients) {
    // Until it is answered: what was acknowledged is there.
    const int64_t before = client->answers();
    for (int i = 0; i < 200 && client->answers() == before; ++i) {
      client->Next(random);
      cluster.world().RunFor(20'000);
    }
    EXPECT_GT(client->answers(), before) << "nobody serves at the end";
    answers += client->answers();
  }
  EXPECT_GT(answers, 100);
  cluster.world().RunFor(2'000'000);
  for (const TopicPartition& tp : tps) {
    for (int node = 1; node <= 3; ++node) {
      const Partition* partition = cluster.broker(node)->Find(tp);
      ASSERT_NE(partition, nullptr);
      EXPECT_EQ(ViewOf(cluster, node, tp), ReplayOf(*partition))
          << "replica " << node << " of " << tp.ToString();
    }
  }
  EXPECT_TRUE(cluster.fatal().empty()) << cluster.fatal()[0];
}

TEST(CoordinatorClusterTest, AcknowledgedOffsetsSurviveAnything) {
  for (uint64_t seed = 1; seed <= 12; ++seed) RunOne(seed);
}

}  // namespace
}  // namespace sluice
