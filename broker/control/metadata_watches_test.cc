#include "broker/control/metadata_watches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/control/metadata_answers.h"
#include "common/base/error.h"
#include "common/env/sim_world.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Message = v1::WatchMetadataResponse;

// A client that keeps what it is told, as the proto says it should.
class Client final : public WatchSink {
 public:
  void Push(Message message) override {
    ASSERT_FALSE(ended.has_value());
    messages.push_back(message);
    if (message.kind() == Message::KIND_IMAGE && message.first()) {
      brokers.clear();
      topics.clear();
    }
    for (const int32_t id : message.removed_broker_ids()) brokers.erase(id);
    for (const auto& broker : message.brokers()) brokers.insert(broker.id());
    for (const auto& removed : message.removed_topics()) {
      topics.erase(removed.id());
    }
    for (const auto& topic : message.topics()) {
      for (const auto& partition : topic.partitions()) {
        topics[topic.id()][partition.partition()] =
            partition.SerializeAsString();
      }
    }
    if (message.complete()) offset = message.metadata_offset();
  }
  void Finish(absl::Status status) override { ended = std::move(status); }

  // What GetMetadata would give, in the same shape.
  using Topics = std::map<std::string, std::map<int32_t, std::string>>;

  std::vector<Message> messages;
  std::set<int32_t> brokers;
  Topics topics;
  int64_t offset = -1;
  std::optional<absl::Status> ended;
};

class MetadataWatchesTest : public testing::Test {
 protected:
  MetadataWatchesTest() {
    cluster_.StartAll(3);
    cluster_.CreateOn("orders", {1, 2, 3}, {}, 2);
  }

  struct Watcher {
    std::shared_ptr<Client> client = std::make_shared<Client>();
    std::shared_ptr<WatchSession> session;
  };
  Watcher Watch(v1::WatchMetadataRequest request = {}) {
    Watcher watcher;
    api::CallContext context;
    context.listener = kPublicListener;
    watcher.session =
        watches_.Watch(context, std::move(request), watcher.client);
    world_.RunFor(1'000);
    return watcher;
  }
  void Drain(const Watcher& watcher) {
    watcher.session->OnDrained();
    world_.RunFor(1'000);
  }
  // Until nothing more comes.
  void ReadOn(const Watcher& watcher) {
    for (size_t before = 0; before != watcher.client->messages.size();) {
      before = watcher.client->messages.size();
      Drain(watcher);
    }
  }
  // What the cluster has just applied.
  void Publish() {
    watches_.OnImage(cluster_.shared(), cluster_.changes());
    world_.RunFor(1'000);
  }
  void ExpectKnowsAll(const Client& client) {
    Client::Topics expected;
    for (const auto& [id, topic] : cluster_.image().topics()) {
      for (const auto& [index, partition] : topic->partitions) {
        v1::PartitionMetadata out;
        DescribePartitionNow(index, *partition, &out);
        expected[id.ToBytes()][index.value()] = out.SerializeAsString();
      }
    }
    EXPECT_EQ(client.topics, expected);
    EXPECT_EQ(client.offset, cluster_.image().offset().value());
  }
  void DescribePartitionNow(PartitionIndex index,
                            const PartitionImage& partition,
                            v1::PartitionMetadata* out) {
    DescribePartition(cluster_.image(), kPublicListener, index, partition,
                      out);
  }

  TestCluster cluster_;
  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  bool shown_ = true;
  MetadataWatches watches_{
      {executor_.get(),
       [this] { return shown_ ? cluster_.shared() : MetadataImage::Empty(); },
       [] { return NodeId(2); }},
      /*watches_max=*/3};
};

TEST_F(MetadataWatchesTest, FirstAnImageThenChanges) {
  const Watcher watcher = Watch();
  const Client& client = *watcher.client;
  ASSERT_THAT(client.messages, SizeIs(1));
  EXPECT_EQ(client.messages[0].kind(), Message::KIND_IMAGE);
  EXPECT_TRUE(client.messages[0].first());
  EXPECT_TRUE(client.messages[0].complete());
  EXPECT_EQ(client.messages[0].active_controller_id(), 2);
  EXPECT_THAT(client.brokers, ElementsAre(1, 2, 3));
  ExpectKnowsAll(client);

  Drain(watcher);
  cluster_.CreateOn("new", {2, 3});
  Publish();
  ASSERT_THAT(client.messages, SizeIs(2));
  EXPECT_EQ(client.messages[1].kind(), Message::KIND_CHANGES);
  ASSERT_THAT(client.messages[1].topics(), SizeIs(1));
  EXPECT_EQ(client.messages[1].topics(0).name(), "new");
  ExpectKnowsAll(client);

  Drain(watcher);
  cluster_.Fence(3);
  Publish();
  EXPECT_THAT(client.brokers, ElementsAre(1, 2));
  EXPECT_THAT(client.messages.back().removed_broker_ids(), ElementsAre(3));
}

TEST_F(MetadataWatchesTest, AChangeTellsTheChangedPartitionsAlone) {
  const Watcher watcher = Watch();
  Drain(watcher);
  const TopicPartition tp{cluster_.image().FindTopic("orders")->id,
                          PartitionIndex(1)};
  cluster_.SetIsr(tp, {1, 2});
  Publish();
  const Message& message = watcher.client->messages.back();
  ASSERT_THAT(message.topics(), SizeIs(1));
  ASSERT_THAT(message.topics(0).partitions(), SizeIs(1));
  EXPECT_EQ(message.topics(0).partitions(0).partition(), 1);
  EXPECT_THAT(message.topics(0).partitions(0).isr(), ElementsAre(1, 2));
  EXPECT_THAT(message.brokers(), IsEmpty());
}

TEST_F(MetadataWatchesTest, WhatChangesWhileOneIsUnderWayComesAsOne) {
  const Watcher watcher = Watch();
  const TopicPartition tp{cluster_.image().FindTopic("orders")->id,
                          PartitionIndex(0)};
  for (int i = 0; i < 5; ++i) {
    cluster_.SetIsr(tp, {1, 2});
    Publish();
    cluster_.SetIsr(tp, {1, 2, 3});
    Publish();
  }
  EXPECT_THAT(watcher.client->messages, SizeIs(1));
  Drain(watcher);
  EXPECT_THAT(watcher.client->messages, SizeIs(2));
  ExpectKnowsAll(*watcher.client);
}

TEST_F(MetadataWatchesTest, ATopicThatIsGoneIsTold) {
  const Watcher watcher = Watch();
  Drain(watcher);
  const std::string id = cluster_.image().FindTopic("orders")->id.ToBytes();
  v1::DeleteTopicsRequest request;
  request.add_topics()->set_name("orders");
  auto result =
      TopicControl(cluster_.image(), cluster_.configs()).Delete(request);
  ASSERT_TRUE(result.ok());
  cluster_.Apply(result->batch);
  Publish();
  const Message& message = watcher.client->messages.back();
  ASSERT_THAT(message.removed_topics(), SizeIs(1));
  EXPECT_EQ(message.removed_topics(0).name(), "orders");
  EXPECT_EQ(message.removed_topics(0).id(), id);
  EXPECT_THAT(watcher.client->topics, IsEmpty());
}

TEST_F(MetadataWatchesTest, OnlyTheTopicsAskedForExistingOrNot) {
  v1::WatchMetadataRequest request;
  request.add_topics("soon");
  const Watcher watcher = Watch(std::move(request));
  EXPECT_THAT(watcher.client->topics, IsEmpty());
  Drain(watcher);
  cluster_.CreateOn("other", {1});
  Publish();
  EXPECT_THAT(watcher.client->messages, SizeIs(1));  // nothing to be told
  cluster_.CreateOn("soon", {1});
  Publish();
  ASSERT_THAT(watcher.client->messages, SizeIs(2));
  EXPECT_EQ(watcher.client->messages[1].topics(0).name(), "soon");
}

TEST_F(MetadataWatchesTest, ALargeImageComesInParts) {
  cluster_.CreateOn("large", {1}, {}, 2'500);
  const Watcher watcher = Watch();
  EXPECT_FALSE(watcher.client->messages[0].complete());
  EXPECT_EQ(watcher.client->offset, -1);
  // What changes meanwhile follows.
  cluster_.CreateOn("late", {2});
  Publish();
  ReadOn(watcher);
  const auto& messages = watcher.client->messages;
  ASSERT_THAT(messages, SizeIs(4));  // 1,000 + 1,000 + 502, changes
  EXPECT_FALSE(messages[1].first());
  EXPECT_TRUE(messages[2].complete());
  EXPECT_EQ(messages[3].kind(), Message::KIND_CHANGES);
  ExpectKnowsAll(*watcher.client);
}

TEST_F(MetadataWatchesTest, TooMuchThatChangedIsANewImage) {
  const Watcher watcher = Watch();
  for (int i = 0; i < 2; ++i) {
    cluster_.CreateOn("t" + std::to_string(i), {1}, {}, 6'000);
    Publish();
  }
  EXPECT_THAT(watcher.client->messages, SizeIs(1));
  ReadOn(watcher);
  EXPECT_EQ(watcher.client->messages[1].kind(), Message::KIND_IMAGE);
  EXPECT_TRUE(watcher.client->messages[1].first());
  ExpectKnowsAll(*watcher.client);
}

TEST_F(MetadataWatchesTest, WhoReadsNothingForAMinuteIsEnded) {
  const Watcher watcher = Watch();
  world_.RunFor(MetadataWatch::kStalledUs - 10'000);
  EXPECT_FALSE(watcher.client->ended.has_value());
  world_.RunFor(20'000);
  ASSERT_TRUE(watcher.client->ended.has_value());
  EXPECT_EQ(CodeOf(*watcher.client->ended), ErrorCode::kBusy);
}

TEST_F(MetadataWatchesTest, WhoHasReadAllMayBeSilentForEver) {
  const Watcher watcher = Watch();
  Drain(watcher);
  world_.RunFor(10 * MetadataWatch::kStalledUs);
  EXPECT_FALSE(watcher.client->ended.has_value());
}

TEST_F(MetadataWatchesTest, RefusalsAreNamed) {
  v1::WatchMetadataRequest request;
  for (int i = 0; i <= MetadataWatches::kNamesMax; ++i) request.add_topics("t");
  const Watcher many = Watch(request);
  EXPECT_EQ(CodeOf(*many.client->ended), ErrorCode::kInvalidRequest);
  shown_ = false;
  const Watcher early = Watch();
  EXPECT_EQ(CodeOf(*early.client->ended), ErrorCode::kBrokerNotAvailable);
}

TEST_F(MetadataWatchesTest, OneTooManyIsBusyUntilAnotherEnds) {
  const Watcher first = Watch();
  const Watcher second = Watch();
  const Watcher third = Watch();
  const Watcher refused = Watch();
  EXPECT_EQ(CodeOf(*refused.client->ended), ErrorCode::kBusy);
  first.session->OnClosed();
  world_.RunFor(1'000);
  const Watcher next = Watch();
  EXPECT_FALSE(next.client->ended.has_value());
}

TEST_F(MetadataWatchesTest, AStopEndsAllAndLetsNobodyIn) {
  const Watcher watcher = Watch();
  watches_.Stop();
  EXPECT_EQ(CodeOf(*watcher.client->ended), ErrorCode::kShuttingDown);
  const Watcher late = Watch();
  EXPECT_EQ(CodeOf(*late.client->ended), ErrorCode::kShuttingDown);
}

}  // namespace
}  // namespace sluice
