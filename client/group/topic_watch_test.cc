// Which topics a pattern finds, and what a consumer that subscribes by one reads.
#include "client/group/topic_watch.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/fake_cluster_testing.h"
#include "client/group/fake_groups_testing.h"
#include "client/group/group_consumer.h"
#include "common/base/error.h"

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;
using Topics = std::set<std::string>;

class TopicWatchTest : public testing::Test {
 protected:
  TopicWatchTest() {
    deps_.client = {executor_.get(), &world_, &cluster_, 1};
    deps_.options.bootstrap = {FakeCluster::EndpointOf(NodeId(1)),
                               FakeCluster::EndpointOf(NodeId(2))};
    metadata_ = std::make_unique<MetadataCache>(deps_.client, deps_.options);
    deps_.metadata = metadata_.get();
    deps_.on_topics = [this](const Topics& topics) { told_.push_back(topics); };
    deps_.on_error = [this](const absl::Status& s) { errors_.push_back(s); };
  }
  void TearDown() override { watch_.reset(); }

  absl::Status Start(const std::string& pattern) {
    auto watch = TopicWatch::Start(deps_, pattern);
    if (!watch.ok()) return watch.status();
    watch_ = *std::move(watch);
    return absl::OkStatus();
  }
  void Run(int64_t seconds) { world_.RunFor(seconds * kSecond); }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 3};
  TopicWatch::Deps deps_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<TopicWatch> watch_;
  std::vector<Topics> told_;
  std::vector<absl::Status> errors_;
};

TEST_F(TopicWatchTest, WhatIsNoPatternIsRefused) {
  for (const std::string& bad : {std::string(), std::string("a("),
                                 std::string("a{5,3}"),
                                 std::string(1'001, 'a')}) {
    EXPECT_EQ(CodeOf(Start(bad)), ErrorCode::kInvalidRequest) << bad;
  }
}

TEST_F(TopicWatchTest, AWholeNameHasToMatch) {
  for (const char* name : {"t", "xt", "tx", "t-1", "t-22", "t-2b", "T"}) {
    cluster_.AddTopic(name, 1);
  }
  ASSERT_TRUE(Start("t|t-[0-9]+").ok());
  Run(2);
  EXPECT_EQ(told_, (std::vector<Topics>{{"t", "t-1", "t-22"}}));
}

TEST_F(TopicWatchTest, WhatComesLaterIsFoundAndTheSameIsNotToldAgain) {
  cluster_.AddTopic("other", 1);
  ASSERT_TRUE(Start("t.*").ok());
  Run(25);
  EXPECT_TRUE(told_.empty());  // a subscription to nothing is none
  cluster_.AddTopic("t1", 1);
  Run(12);
  EXPECT_EQ(told_, (std::vector<Topics>{{"t1"}}));
  Run(60);
  EXPECT_EQ(told_.size(), 1u);
  cluster_.AddTopic("t2", 1);
  Run(12);
  EXPECT_EQ(told_.back(), (Topics{"t1", "t2"}));
  watch_.reset();
  cluster_.AddTopic("t3", 1);
  Run(30);
  EXPECT_EQ(told_.size(), 2u);
}

TEST_F(TopicWatchTest, TooManyTopicsAreAnErrorAndWhatWasToldStands) {
  cluster_.AddTopic("t", 1);
  ASSERT_TRUE(Start("t[0-9]*").ok());
  Run(2);
  ASSERT_EQ(told_.size(), 1u);
  for (size_t i = 0; i < TopicWatch::kTopicsMax; ++i) {
    cluster_.AddTopic("t" + std::to_string(i), 1);
  }
  Run(30);
  ASSERT_FALSE(errors_.empty());
  EXPECT_EQ(CodeOf(errors_[0]), ErrorCode::kInvalidRequest);
  EXPECT_EQ(told_.size(), 1u);
}

// Members find what comes, each for itself, and share it.
TEST_F(TopicWatchTest, AConsumerReadsWhatItsPatternFinds) {
  FakeGroups groups(&world_, &cluster_);
  groups.config.initial_rebalance_delay_us = 100'000;
  GroupMember::Deps deps;
  deps.client = deps_.client;
  deps.options = deps_.options;
  deps.metadata = metadata_.get();
  deps.groups = &groups;
  GroupConsumerOptions options;
  options.membership.group_id = "g";
  options.membership.session_timeout_ms = 10'000;
  options.membership.heartbeat_interval_ms = 500;
  GroupConsumer consumer(deps, options);
  std::vector<absl::Status> failures;
  std::function<void()> poll = [&] {
    consumer.Poll(kSecond / 2, 1 << 20, [&](absl::StatusOr<GroupPoll> polled) {
      if (!polled.ok()) failures.push_back(polled.status());
      if (CodeOf(polled.status()) == ErrorCode::kShuttingDown) return;
      executor_->PostAfter(1'000, poll);
    });
  };
  const auto has = [&](const Topics& wanted) {
    return world_.RunUntil(
        [&] {
          Topics now;
          for (const auto& tp : consumer.Assignment()) now.insert(tp.topic);
          return now == wanted;
        },
        40 * kSecond);
  };
  EXPECT_EQ(CodeOf(consumer.SubscribePattern("(")),
            ErrorCode::kInvalidRequest);
  ASSERT_TRUE(consumer.SubscribePattern("t-[0-9]").ok());
  poll();
  Run(15);
  cluster_.AddTopic("t-1", 2);
  EXPECT_TRUE(has({"t-1"}));
  cluster_.AddTopic("t-2", 2);
  EXPECT_TRUE(has({"t-1", "t-2"}));
  // Topics that are named end it.
  ASSERT_TRUE(consumer.Subscribe({"t-1"}).ok());
  EXPECT_TRUE(has({"t-1"}));
  Run(30);
  EXPECT_TRUE(has({"t-1"}));
  EXPECT_TRUE(failures.empty());
  bool closed = false;
  consumer.Close([&](const absl::Status&) { closed = true; });
  EXPECT_TRUE(world_.RunUntil([&] { return closed; }, 20 * kSecond));
}

}  // namespace
}  // namespace sluice
