// For tests of shards and partitions: a simulated cluster and calls that wait
// for their answers.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/cluster_oracle_testing.h"
#include "broker/cluster_testing.h"
#include "storage/batch_testing.h"

namespace sluice {

inline constexpr int64_t kSecondUs = 1'000'000;

class ShardFixture : public testing::Test {
 protected:
  using Configs = std::map<std::string, std::string>;
  struct Call {
    bool ordered = false;
    std::optional<AppendOutcome> outcome;
    ErrorCode code() const {
      return outcome.has_value() ? outcome->error.code : ErrorCode::kNone;
    }
  };

  // Starts `brokers` and creates topic "t" of one partition on all of them.
  void Open(int brokers, Configs configs = {},
            SimCluster::Options options = {}) {
    options.brokers = brokers;
    cluster = std::make_unique<SimCluster>(std::move(options));
    cluster->StartAll();
    cluster->world().RunFor(kSecondUs);
    std::vector<int32_t> replicas;
    for (int id = 1; id <= brokers; ++id) replicas.push_back(id);
    tp = cluster->CreateTopic("t", replicas, std::move(configs));
    ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  }

  SimWorld& world() { return cluster->world(); }
  int leader() { return cluster->Leader(tp); }
  Shard& shard(int id) { return cluster->broker(id)->ShardOf(tp); }
  const Partition& partition(int id) { return *cluster->broker(id)->Find(tp); }

  MutableBuffer Batch(const std::string& value = "v",
                      Codec codec = Codec::kNone, int records = 1) {
    return MakeBatch({.records = records,
                      .codec = codec,
                      .value = value,
                      .timestamp_ms = world().WallMillis()});
  }

  // Begins an append at node `id`, as its handlers do: on its shard.
  std::shared_ptr<Call> Append(int id, MutableBuffer batch,
                               api::Acks acks = api::Acks::kAll,
                               int64_t timeout_us = kSecondUs,
                               std::optional<LeaderEpoch> epoch = {}) {
    auto call = std::make_shared<Call>();
    AppendRequest request;
    request.tp = tp;
    request.batches = std::move(batch);
    request.acks = acks;
    request.deadline_us = world().MonoMicros() + timeout_us;
    request.leader_epoch = epoch;
    cluster->AtShard(
        id, tp, [call, request = std::move(request)](Shard& at) mutable {
          at.Append(
              std::move(request), [call] { call->ordered = true; },
              [call](AppendOutcome outcome) {
                EXPECT_TRUE(call->ordered);
                EXPECT_FALSE(call->outcome.has_value());
                call->outcome = std::move(outcome);
              });
        });
    return call;
  }
  AppendOutcome Finish(const std::shared_ptr<Call>& call,
                       int64_t limit_us = 20 * kSecondUs) {
    EXPECT_TRUE(world().RunUntil([&] { return call->outcome.has_value(); },
                                 limit_us));
    return call->outcome.value_or(AppendOutcome());
  }
  AppendOutcome AppendNow(int id, api::Acks acks = api::Acks::kAll,
                          const std::string& value = "v") {
    return Finish(Append(id, Batch(value), acks));
  }

  ReadOutcome Read(int id, int64_t offset, int32_t max_bytes = 1 << 20,
                   std::optional<LeaderEpoch> epoch = {}) {
    std::optional<ReadOutcome> outcome;
    ReadRequest request;
    request.tp = tp;
    request.offset = Offset(offset);
    request.max_bytes = max_bytes;
    request.leader_epoch = epoch;
    cluster->AtShard(id, tp, [&](Shard& at) {
      at.Read(request, [&](ReadOutcome o) { outcome = std::move(o); });
    });
    EXPECT_TRUE(
        world().RunUntil([&] { return outcome.has_value(); }, kSecondUs));
    return outcome.value_or(ReadOutcome());
  }
  std::vector<std::string> Values(const ReadOutcome& outcome) {
    std::map<Offset, std::string> found;
    for (const Buffer& batches : outcome.batches) {
      EXPECT_EQ(DecodeValues(batches.view(), found), "");
    }
    std::vector<std::string> values;
    for (auto& [offset, value] : found) values.push_back(value);
    return values;
  }
  ReadOutcome ReadAfter(int id, int64_t offset, int32_t last_epoch) {
    std::optional<ReadOutcome> outcome;
    ReadRequest request;
    request.tp = tp;
    request.offset = Offset(offset);
    request.max_bytes = 1 << 20;
    request.last_fetched_epoch = LeaderEpoch(last_epoch);
    cluster->AtShard(id, tp, [&](Shard& at) {
      at.Read(request, [&](ReadOutcome o) { outcome = std::move(o); });
    });
    EXPECT_TRUE(
        world().RunUntil([&] { return outcome.has_value(); }, kSecondUs));
    return outcome.value_or(ReadOutcome());
  }
  OffsetOutcome FindOffset(int id, api::OffsetPosition position,
                           std::optional<LeaderEpoch> epoch = {}) {
    return shard(id).FindOffset({tp, position, epoch});
  }

  std::unique_ptr<SimCluster> cluster;
  TopicPartition tp;
};

}  // namespace sluice
