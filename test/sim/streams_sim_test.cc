// Watches and subscriptions of clients on whole clusters: what is told by
// itself, through a network that breaks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/base/str_cat.h"
#include "test/sim/checked_cluster.h"
#include "test/sim/metadata_watcher.h"
#include "test/sim/sim_client.h"
#include "test/sim/sim_load.h"
#include "test/sim/stream_producer.h"
#include "test/sim/subscriber.h"

namespace sluice::sim {
namespace {

constexpr int64_t kSecond = 1'000'000;
const NamedPartition kFirst{"t", PartitionIndex(0)};
const NamedPartition kSecondOne{"t", PartitionIndex(1)};

class StreamsSimTest : public testing::Test {
 protected:
  void Boot(SimOptions options) {
    options.separate = true;
    cluster_ = std::make_unique<CheckedCluster>(std::move(options), 1);
    cluster_->BootAll();
    ASSERT_TRUE(cluster_->AwaitHealthy()) << cluster_->Health();
    const absl::Status created =
        cluster_->CreateTopic("t", 2, 3, {{"min.insync.replicas", "2"}});
    ASSERT_TRUE(created.ok()) << created;
    ASSERT_TRUE(cluster_->AwaitHealthy()) << cluster_->Health();
  }
  template <class Predicate>
  bool Await(Predicate done, int64_t limit_us) {
    return cluster_->world().RunUntil(done, limit_us);
  }
  static void Report(const std::string& what) { ADD_FAILURE() << what; }

  std::unique_ptr<CheckedCluster> cluster_;
};

// ---- Metadata that is watched ----

class WatchSimTest : public StreamsSimTest {
 protected:
  // A client that knows who leads and asks nothing.
  void Know() {
    client_ = std::make_unique<SimClient>(cluster_.get());
    client_->metadata().Follow("t");
    ASSERT_TRUE(Await(
        [&] { return client_->metadata().LeaderOf(kFirst).has_value(); },
        5 * kSecond));
    cluster_->world().RunFor(kSecond);
    was_ = client_->metadata().LeaderOf(kFirst)->leader_id;
  }
  bool KnowsAnother() {
    const auto leader = client_->metadata().LeaderOf(kFirst);
    return leader.has_value() && leader->leader_id != was_;
  }

  std::unique_ptr<SimClient> client_;
  NodeId was_ = kNoNode;
};

TEST_F(WatchSimTest, ALeaderThatMovesIsKnownThoughNobodyAsks) {
  Boot({});
  Know();
  EXPECT_TRUE(client_->metadata().watching());
  cluster_->Kill(was_.value());
  EXPECT_TRUE(Await([&] { return KnowsAnother(); }, 15 * kSecond));
}

TEST_F(WatchSimTest, WithoutWatchesItIsNot) {
  Boot({.watches = false});
  Know();
  EXPECT_FALSE(client_->metadata().watching());
  cluster_->Kill(was_.value());
  EXPECT_FALSE(Await([&] { return KnowsAnother(); }, 15 * kSecond));
}

TEST_F(WatchSimTest, AWatchThatBreaksOrFallsSilentIsOpenedAgain) {
  for (const Verdict& verdict : {Verdict::Reset(), Verdict::Drop()}) {
    Boot({});
    Know();
    const UseCounts before = cluster_->network().use(StreamUse::kWatch);
    cluster_->network().AddFilter(
        [verdict, met = false](
            const Message& message) mutable -> std::optional<Verdict> {
          if (message.kind != MessageKind::kWatchMetadataReply) {
            return std::nullopt;
          }
          return std::exchange(met, true) ? std::nullopt
                                          : std::optional(verdict);
        });
    cluster_->Kill(was_.value());
    EXPECT_TRUE(Await([&] { return KnowsAnother(); }, 15 * kSecond));
    const UseCounts& now = cluster_->network().use(StreamUse::kWatch);
    EXPECT_GT(now.broken, before.broken);
    EXPECT_GT(now.opened, before.opened);
    client_.reset();
  }
}

TEST_F(WatchSimTest, WhoWatchesAllHasWhatTheClusterHas) {
  Boot({});
  MetadataWatcher::Deps deps;
  deps.cluster = cluster_.get();
  deps.report = Report;
  MetadataWatcher watcher(std::move(deps));
  EXPECT_NE(watcher.WhyDiffers(*cluster_->at(1).broker->image()), "");
  watcher.Start();
  for (int round = 0; round < 3; ++round) {
    const int node = round + 1;
    cluster_->Kill(node);
    cluster_->world().RunFor(3 * kSecond);
    const absl::Status created =
        cluster_->CreateTopic(StrCat("of-round-", round), 1, 2);
    ASSERT_TRUE(created.ok()) << created;
    cluster_->Boot(node);
    ASSERT_TRUE(cluster_->AwaitHealthy()) << cluster_->Health();
    EXPECT_TRUE(Await(
        [&] {
          return watcher.WhyDiffers(*cluster_->at(1).broker->image()).empty();
        },
        10 * kSecond))
        << watcher.WhyDiffers(*cluster_->at(1).broker->image());
  }
}

// ---- Records that are pushed ----

class SubscriberSimTest : public StreamsSimTest {
 protected:
  void Subscribe(const SubscriberPlan& plan) {
    load_ = std::make_unique<SimLoad>(cluster_.get(), "t", 2);
    Subscriber::Deps deps;
    deps.cluster = cluster_.get();
    deps.plan = plan;
    deps.partitions = {kFirst, kSecondOne};
    deps.on_push = [](const Subscriber::Push& push) {
      EXPECT_LE(push.result->next_offset, push.result->high_watermark);
      return std::max(push.from, push.result->next_offset);
    };
    deps.on_out_of_range = [](const NamedPartition&, Offset) {
      return std::nullopt;
    };
    deps.report = Report;
    deps.counts = &counts_;
    subscriber_ = std::make_unique<Subscriber>(std::move(deps));
    subscriber_->Start();
  }
  int64_t given() const {
    return subscriber_->position(kFirst).value() +
           subscriber_->position(kSecondOne).value();
  }
  void SendAndExpectAll(int count, int64_t limit_us) {
    load_->Send(count);
    EXPECT_TRUE(Await(
        [&] { return load_->acked() == load_->sent() && given() >= load_->sent(); },
        limit_us))
        << given() << " of " << load_->sent() << ", " << load_->acked();
  }

  SubscriberCounts counts_;
  std::unique_ptr<SimLoad> load_;
  std::unique_ptr<Subscriber> subscriber_;
};

TEST_F(SubscriberSimTest, ACreditOfOneIsOnePushAtATime) {
  Boot({});
  Subscribe({.credit_bytes = 1});
  SendAndExpectAll(100, 10 * kSecond);
  // Each push takes it all, and at each leader one partition is read.
  EXPECT_EQ(counts_.out_of_credit, counts_.pushes);
}

TEST_F(SubscriberSimTest, GoesOnAtTheNextLeader) {
  Boot({});
  Subscribe({.credit_bytes = 2'000, .form = api::PayloadForm::kBatches});
  SendAndExpectAll(50, 10 * kSecond);
  const int leader = cluster_->LeaderOf("t", 0);
  cluster_->Kill(leader);
  SendAndExpectAll(50, 30 * kSecond);
  EXPECT_GT(counts_.streams_broken, 0);
  cluster_->Boot(leader);
  ASSERT_TRUE(cluster_->AwaitHealthy());
  SendAndExpectAll(50, 10 * kSecond);
}

TEST_F(SubscriberSimTest, IsSentToAFollowerInItsRack) {
  SimOptions options;
  for (int id = 1; id <= 3; ++id) options.racks[id] = StrCat("rack", id);
  Boot(std::move(options));
  // A follower that its leader has not accepted yet sends readers back.
  cluster_->world().RunFor(2 * kSecond);
  Subscribe({.rack = "rack1"});
  for (int i = 0; i < 5; ++i) SendAndExpectAll(20, 10 * kSecond);
  EXPECT_GT(counts_.sent_nearer, 0);
  EXPECT_GT(counts_.from_followers, 0);
}

TEST_F(SubscriberSimTest, AnyBrokerHandsOnWhatItDoesNotLead) {
  Boot({});
  // What is handed on and what is read here share it: one push at a time.
  Subscribe({.credit_bytes = 1, .forwards = true});
  for (int i = 0; i < 10; ++i) SendAndExpectAll(20, 10 * kSecond);
  EXPECT_EQ(cluster_->network().use(StreamUse::kSubscribe).broken, 0);
}

TEST_F(SubscriberSimTest, WhatIsLostOnTheWayIsPushedAgain) {
  Boot({});
  Subscribe({.credit_bytes = 500});
  for (const MessageKind kind :
       {MessageKind::kSubscribe, MessageKind::kSubscribeReply}) {
    for (const Verdict& verdict : {Verdict::Reset(), Verdict::Drop()}) {
      cluster_->network().AddFilter(
          [=, met = false](
              const Message& message) mutable -> std::optional<Verdict> {
            if (message.kind != kind || std::exchange(met, true)) {
              return std::nullopt;
            }
            return verdict;
          });
      SendAndExpectAll(50, 2 * SimNetwork::kDataKeepaliveUs);
    }
  }
  EXPECT_GE(counts_.streams_broken, 4);
}

TEST_F(SubscriberSimTest, LeavesAndComesAgainWithoutAGap) {
  Boot({});
  Subscribe({.credit_bytes = 300, .restless_every_us = 5'000});
  for (int i = 0; i < 10; ++i) SendAndExpectAll(50, 10 * kSecond);
}

// ---- Produce streams ----

TEST_F(StreamsSimTest, ManyRequestsInFlightAreAnsweredInTheirOrder) {
  Boot({});
  OpenCalls calls(&cluster_->world(), Report);
  int64_t acked = 0;
  int64_t most = 0;
  StreamProducer::Deps deps;
  deps.cluster = cluster_.get();
  deps.plan = {.in_flight_max = 10, .send_every_us = 100};
  deps.partitions = {kFirst, kSecondOne};
  deps.on_sent = [](const auto&...) {};
  deps.on_produced = [](const auto&...) {};
  deps.on_settled = [&](const NamedPartition&, const RecordName&,
                        const absl::StatusOr<Offset>& result) {
    acked += result.ok() ? 1 : 0;
    most = std::max(most, static_cast<int64_t>(calls.size()));
  };
  deps.calls = &calls;
  deps.report = Report;
  StreamProducer producer(std::move(deps));
  producer.Start();
  EXPECT_TRUE(Await([&] { return acked >= 500; }, 10 * kSecond)) << acked;
  EXPECT_GT(most, 2);
  cluster_->Kill(cluster_->LeaderOf("t", 0));
  const int64_t before = acked;
  EXPECT_TRUE(Await([&] { return acked >= before + 500; }, 30 * kSecond));
  producer.Stop();
  EXPECT_TRUE(Await([&] { return calls.empty(); }, 30 * kSecond));
  calls.CheckDue();
}

}  // namespace
}  // namespace sluice::sim
