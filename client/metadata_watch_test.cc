// The metadata of a client that is told what changes.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "client/fake_cluster_testing.h"
#include "client/metadata_cache.h"
#include "common/base/error.h"

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

class FakeWatch final : public MetadataWatchSender {
 public:
  void Send(v1::WatchMetadataRequest request) override {
    requests.push_back(std::move(request));
  }
  void Close() override {}

  std::vector<v1::WatchMetadataRequest> requests;
};

class MetadataWatchTest : public testing::Test {
 protected:
  MetadataWatchTest() {
    client_.bootstrap = {FakeCluster::EndpointOf(NodeId(1))};
    cluster_.AddTopic("t", 3);  // leaders 1, 2, 3
    cluster_.AddTopic("u", 1);
    cluster_.open_watch = [this](NodeId broker, MetadataWatchEvents events) {
      asked_.push_back(broker.value());
      events_ = std::move(events);
      const auto watch = std::make_shared<FakeWatch>();
      watch_ = watch;
      return watch;
    };
  }

  void Start() {
    cache_ = std::make_unique<MetadataCache>(deps_, client_);
    cache_->Follow("t");
    Run(kSecond);
  }
  void Run(int64_t us) { world_.RunFor(us); }
  NodeId LeaderOf(int partition) {
    const auto leader = cache_->LeaderOf({"t", PartitionIndex(partition)});
    return leader.has_value() ? leader->leader_id : kNoNode;
  }
  v1::WatchMetadataResponse Tells(int partition, int leader, int epoch) {
    v1::WatchMetadataResponse told;
    told.set_kind(v1::WatchMetadataResponse::KIND_CHANGES);
    v1::TopicMetadata* topic = told.add_topics();
    topic->set_name("t");
    topic->set_id(cluster_.topic("t").id.ToBytes());
    v1::PartitionMetadata* out = topic->add_partitions();
    out->set_partition(partition);
    out->set_leader_id(leader);
    out->set_leader_epoch(epoch);
    out->mutable_leader_endpoint()->set_host("b" + std::to_string(leader));
    out->mutable_leader_endpoint()->set_port(9000 + leader);
    return told;
  }
  void Push(const v1::WatchMetadataResponse& told) {
    executor_->Post([this, told] { events_.on_frame(told); });
    Run(1);
  }
  void End(const absl::Status& why) {
    executor_->Post([this, why] { events_.on_closed(why); });
    Run(1);
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 3};
  ClientDeps deps_{executor_.get(), &world_, &cluster_, 1};
  ClientOptions client_;
  std::vector<int> asked_;  // brokers that were asked for a watch
  MetadataWatchEvents events_;
  std::weak_ptr<FakeWatch> watch_;
  std::unique_ptr<MetadataCache> cache_;
};

TEST_F(MetadataWatchTest, ALeaderThatMovesIsKnownWithoutAQuestion) {
  Start();
  ASSERT_TRUE(cache_->watching());
  const auto watch = watch_.lock();
  ASSERT_NE(watch, nullptr);
  ASSERT_EQ(watch->requests.size(), 1u);
  EXPECT_EQ(watch->requests[0].topics_size(), 1);
  EXPECT_EQ(watch->requests[0].topics(0), "t");
  const int64_t asked = cache_->refresh_count();
  int heard = 0;
  const auto token = cache_->Observe([&] { ++heard; });
  Push(Tells(0, 3, 2));
  EXPECT_EQ(LeaderOf(0), NodeId(3));
  EXPECT_EQ(cache_->LeaderOf({"t", PartitionIndex(0)})->endpoint,
            FakeCluster::EndpointOf(NodeId(3)));
  EXPECT_EQ(heard, 1);
  Push(Tells(0, 3, 2));  // nothing new
  EXPECT_EQ(heard, 1);
  Run(60 * kSecond);
  EXPECT_EQ(cache_->refresh_count(), asked);
}

TEST_F(MetadataWatchTest, WhatIsOlderThanWhatIsKnownIsPassedOver) {
  Start();
  ASSERT_TRUE(cache_->Learn({"t", PartitionIndex(0)},
                            {NodeId(2), LeaderEpoch(7), {"b2", 9002}}));
  Push(Tells(0, 3, 6));
  EXPECT_EQ(LeaderOf(0), NodeId(2));
  Push(Tells(0, -1, 8));  // nobody leads
  EXPECT_EQ(LeaderOf(0), kNoNode);
  Push(Tells(0, 1, 9));
  EXPECT_EQ(LeaderOf(0), NodeId(1));
}

TEST_F(MetadataWatchTest, WhatOnlyAnAnswerCanTellIsAskedFor) {
  Start();
  const auto asks = [&](const v1::WatchMetadataResponse& told) {
    const int64_t before = cache_->refresh_count();
    Push(told);
    Run(kSecond);
    return cache_->refresh_count() - before;
  };
  EXPECT_EQ(asks(Tells(0, 3, 2)), 0);
  EXPECT_EQ(asks(Tells(3, 1, 1)), 1) << "a partition more";
  EXPECT_EQ(asks(Tells(-1, 1, 1)), 1) << "no partition at all";
  v1::WatchMetadataResponse again = Tells(0, 1, 1);
  again.mutable_topics(0)->set_id(TopicId(Uuid(9, 9)).ToBytes());
  EXPECT_EQ(asks(again), 1) << "the topic was made again";
  EXPECT_EQ(LeaderOf(0), NodeId(3));
  v1::WatchMetadataResponse stranger = Tells(0, 1, 1);
  stranger.mutable_topics(0)->set_name("not followed");
  EXPECT_EQ(asks(stranger), 0);
  v1::WatchMetadataResponse broker;
  broker.set_kind(v1::WatchMetadataResponse::KIND_CHANGES);
  broker.add_removed_broker_ids(3);
  EXPECT_EQ(asks(broker), 1) << "a broker less";
  broker.set_kind(v1::WatchMetadataResponse::KIND_IMAGE);
  EXPECT_EQ(asks(broker), 0) << "an image tells nothing that is not known";
}

TEST_F(MetadataWatchTest, AnotherTopicMakesAnotherWatch) {
  Start();
  ASSERT_EQ(asked_.size(), 1u);
  const std::weak_ptr<FakeWatch> first = watch_;
  cache_->Follow("u");
  Run(kSecond);
  ASSERT_EQ(asked_.size(), 2u);
  EXPECT_TRUE(first.expired()) << "the one before is let go of";
  EXPECT_EQ(watch_.lock()->requests[0].topics_size(), 2);
}

TEST_F(MetadataWatchTest, AWatchThatBreaksIsOpenedAgainBehindAnAnswer) {
  Start();
  int64_t before = cache_->refresh_count();
  End(absl::UnavailableError("gone"));
  EXPECT_FALSE(cache_->watching());
  Run(kSecond);
  EXPECT_TRUE(cache_->watching());
  EXPECT_EQ(cache_->refresh_count(), before + 1);
  // Late words of the one that broke are not heard: events_ is of the new one.
  EXPECT_EQ(asked_.size(), 2u);
  // One that never says a word costs less and less.
  before = cache_->refresh_count();
  for (int i = 0; i < 200; ++i) {
    if (cache_->watching()) End(absl::UnavailableError("gone"));
    Run(kSecond);
  }
  EXPECT_LT(cache_->refresh_count() - before, 15);
}

TEST_F(MetadataWatchTest, WhereThereAreNoWatchesItIsAskedAsBefore) {
  Start();
  const int64_t before = cache_->refresh_count();
  End(MakeError(ErrorCode::kUnsupportedVersion, "no such call"));
  Run(client_.metadata_age_max_ms * 1000 - kSecond);
  EXPECT_EQ(cache_->refresh_count(), before);
  EXPECT_EQ(asked_.size(), 1u);
  Run(2 * kSecond);
  EXPECT_EQ(cache_->refresh_count(), before + 1);
}

TEST_F(MetadataWatchTest, APeerWithoutWatchesIsNoFault) {
  cluster_.open_watch = nullptr;
  Start();
  EXPECT_FALSE(cache_->watching());
  EXPECT_EQ(LeaderOf(1), NodeId(2));
  const int64_t before = cache_->refresh_count();
  Run(100 * kSecond);
  EXPECT_EQ(cache_->refresh_count(), before);
}

TEST_F(MetadataWatchTest, ItCanBeTurnedOffAndHasALimit) {
  client_.watch_metadata = false;
  Start();
  EXPECT_TRUE(asked_.empty());
  client_.watch_metadata = true;
  Start();
  EXPECT_EQ(asked_.size(), 1u);
  for (size_t i = 0; i < MetadataCache::kWatchedTopicsMax; ++i) {
    cache_->Follow("topic-" + std::to_string(i));
  }
  Run(kSecond);
  EXPECT_FALSE(cache_->watching());
}

// ---- Who waits is told for what ----

TEST_F(MetadataWatchTest, AClusterThatNobodyAnswersForIsSaidToBeAwaited) {
  std::vector<std::string> told;
  client_.on_no_answer = [&](const std::string& why) { told.push_back(why); };
  for (int id = 1; id <= 3; ++id) cluster_.Kill(NodeId(id));
  cache_ = std::make_unique<MetadataCache>(deps_, client_);
  cache_->Follow("t");
  Run(kNoAnswerQuietUs / 2);
  EXPECT_TRUE(told.empty()) << "a restart is shorter, and nobody's business";
  Run(kNoAnswerQuietUs);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_NE(told[0].find("b1:9001"), std::string::npos) << told[0];
  Run(2 * kNoAnswerEveryUs);
  EXPECT_EQ(told.size(), 3u);
  cluster_.Start(NodeId(1));
  Run(10 * kSecond);
  EXPECT_EQ(told.size(), 3u);
}

}  // namespace
}  // namespace sluice
