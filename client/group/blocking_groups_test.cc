// Threads are the subject, so executor and clock are real.
#include "client/group/blocking_groups.h"

#include <gtest/gtest.h>


#include "client/fake_cluster_testing.h"
#include "client/group/fake_groups_testing.h"
#include "common/base/error.h"
#include "common/env/real_clock.h"
#include "common/env/thread_executor.h"

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

class BlockingGroupsTest : public testing::Test {
 protected:
  BlockingGroupsTest() {
    cluster_.AddTopic("t", 2);
    groups_.config.initial_rebalance_delay_us = 1'000;
    ClientOptions options;
    options.bootstrap = {FakeCluster::EndpointOf(NodeId(1))};
    client_ = std::make_unique<BlockingClient>(
        ClientDeps{&executor_, &clock_, &cluster_, 1}, options);
    consuming_.membership.group_id = "g";
    consuming_.reset = GroupReset::kEarliest;
  }

  void Produce(int count) {
    BlockingProducer producer(client_.get(), {});
    for (int i = 0; i < count; ++i) {
      ProducerRecord record;
      record.topic = "t";
      record.value = std::to_string(i);
      record.partition = PartitionIndex(0);
      ASSERT_TRUE(producer.Send(std::move(record), [](const auto&) {}).ok());
    }
    ASSERT_TRUE(producer.Flush(60 * kSecond).ok());
  }

  SimWorld world_;
  FakeCluster cluster_{&world_, 3};
  RealClock clock_;
  FakeGroups groups_{&clock_, &cluster_};
  ThreadExecutor executor_{"client"};
  std::unique_ptr<BlockingClient> client_;
  GroupConsumerOptions consuming_;
};

TEST_F(BlockingGroupsTest, TheListenerHearsOnThePollingThreadAndMayCommit) {
  Produce(3);
  consuming_.auto_commit = false;
  std::vector<std::string> heard;
  BlockingGroupConsumer* self = nullptr;
  RebalanceListener listener;
  listener.on_assigned = [&](const auto& partitions) {
    EXPECT_FALSE(executor_.IsCurrent());
    heard.push_back("assigned " + std::to_string(partitions.size()));
    // The second record is where this application begins.
    EXPECT_TRUE(self->Seek({"t", PartitionIndex(0)}, Offset(1)).ok());
  };
  listener.on_revoked = [&](const auto& partitions) {
    EXPECT_FALSE(executor_.IsCurrent());
    heard.push_back("revoked " + std::to_string(partitions.size()));
    EXPECT_TRUE(self->Commit().ok());
  };
  BlockingGroupConsumer consumer(client_.get(), &groups_, consuming_, listener);
  self = &consumer;
  ASSERT_TRUE(consumer.Subscribe({"t"}).ok());
  std::vector<std::string> values;
  while (values.size() < 2) {
    const auto records = consumer.Poll(kSecond);
    ASSERT_TRUE(records.ok()) << records.status();
    for (const auto& record : *records) values.push_back(*record.value);
  }
  EXPECT_EQ(values, (std::vector<std::string>{"1", "2"}));
  EXPECT_NE(consumer.MemberId(), "");
  EXPECT_TRUE(consumer.Close().ok());
  EXPECT_EQ(heard, (std::vector<std::string>{"assigned 2", "revoked 2"}));
  EXPECT_EQ((groups_.committed["g"][{"t", PartitionIndex(0)}].offset),
            Offset(3));
}

TEST_F(BlockingGroupsTest, CommitsAreReadBack) {
  Produce(2);
  consuming_.auto_commit = false;
  BlockingGroupConsumer consumer(client_.get(), &groups_, consuming_);
  ASSERT_TRUE(consumer.Subscribe({"t"}).ok());
  const NamedPartition tp{"t", PartitionIndex(0)};
  while (consumer.Position(tp) != Offset(2)) {
    ASSERT_TRUE(consumer.Poll(kSecond).ok());
  }
  EXPECT_EQ(consumer.Assignment().size(), 2u);
  ASSERT_TRUE(
      consumer.CommitOffsets({{tp, {Offset(1), kNoLeaderEpoch, "why"}}}).ok());
  EXPECT_EQ(consumer.Committed({tp})->at(tp).offset, Offset(1));
  std::optional<absl::Status> async;  // on the executor
  consumer.CommitAsync([&](const absl::Status& s) { async = s; });
  for (bool done = false; !done;) {
    client_->Run([&] { done = async.has_value(); });
  }
  EXPECT_TRUE(async->ok());
  EXPECT_EQ(consumer.Committed({tp})->at(tp).offset, Offset(2));
  EXPECT_TRUE(consumer.Pause(tp).ok());
  EXPECT_TRUE(consumer.Resume(tp).ok());
  EXPECT_TRUE(consumer.Close().ok());
  EXPECT_EQ(CodeOf(consumer.Poll(kSecond).status()), ErrorCode::kShuttingDown);
}

TEST_F(BlockingGroupsTest, GroupsFromOutside) {
  groups_.committed["g"][{"t", PartitionIndex(1)}].offset = Offset(5);
  BlockingGroups groups(client_.get(), &groups_);
  v1::FetchOffsetsRequest request;
  auto* group = request.add_groups();
  group->set_group_id("g");
  auto* topic = group->add_topics();
  topic->mutable_topic()->set_name("t");
  topic->add_partitions(1);
  const auto fetched = groups.FetchOffsets(request, 10 * kSecond);
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(fetched->groups(0).offsets(0).offset(), 5);
  EXPECT_FALSE(groups.List({}, kSecond).ok());
  EXPECT_FALSE(groups.Describe({}, kSecond).ok());
  EXPECT_FALSE(groups.Delete({}, kSecond).ok());
  EXPECT_FALSE(groups.DeleteOffsets({}, kSecond).ok());
}

}  // namespace
}  // namespace sluice
