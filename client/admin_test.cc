#include "client/admin.h"

#include <optional>

#include "client/fake_cluster_testing.h"
#include "client/offset_lookup.h"
#include "common/base/error.h"
#include "storage/batch_testing.h"
#include <gtest/gtest.h>

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

class AdminTest : public testing::Test {
 protected:
  AdminTest() {
    client_.bootstrap = {FakeCluster::EndpointOf(NodeId(1)),
                         FakeCluster::EndpointOf(NodeId(2))};
    metadata_ = std::make_unique<MetadataCache>(deps_, client_);
    admin_ = std::make_unique<Admin>(deps_, client_, metadata_.get());
  }

  template <class T>
  auto Into(std::optional<absl::StatusOr<T>>& answer) {
    return [&answer](absl::StatusOr<T> got) {
      EXPECT_FALSE(answer.has_value()) << "answered twice";
      answer = std::move(got);
    };
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 3};
  ClientDeps deps_{executor_.get(), &world_, &cluster_, 1};
  ClientOptions client_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Admin> admin_;
};

TEST_F(AdminTest, AnyBrokerThatLivesAnswers) {
  for (int dead = 1; dead <= 2; ++dead) {
    cluster_.Kill(NodeId(dead));
    std::optional<absl::StatusOr<v1::DescribeClusterResponse>> answer;
    admin_->DescribeCluster(5 * kSecond, Into(answer));
    ASSERT_TRUE(world_.RunUntil([&] { return answer.has_value(); }, kSecond));
    EXPECT_EQ((*answer)->answering_node_id(), 3 - dead);
    cluster_.Start(NodeId(dead));
  }
}

TEST_F(AdminTest, NobodyThereNamesEveryAddressTried) {
  for (int id = 1; id <= 3; ++id) cluster_.Kill(NodeId(id));
  std::optional<absl::StatusOr<v1::DescribeClusterResponse>> answer;
  admin_->DescribeCluster(2 * kSecond, Into(answer));
  ASSERT_TRUE(world_.RunUntil([&] { return answer.has_value(); }, 5 * kSecond));
  const std::string text = answer->status().ToString();
  EXPECT_NE(text.find("b1:9001"), std::string::npos) << text;
  EXPECT_NE(text.find("b2:9002"), std::string::npos) << text;
}

TEST_F(AdminTest, WhoWaitsIsToldForWhat) {
  std::vector<std::string> told;
  client_.on_no_answer = [&](const std::string& why) { told.push_back(why); };
  for (int id = 1; id <= 3; ++id) cluster_.Kill(NodeId(id));
  std::optional<absl::StatusOr<v1::DescribeClusterResponse>> answer;
  admin_ = std::make_unique<Admin>(deps_, client_, metadata_.get());
  admin_->DescribeCluster(14 * kSecond, Into(answer));
  ASSERT_TRUE(
      world_.RunUntil([&] { return answer.has_value(); }, 20 * kSecond));
  ASSERT_EQ(told.size(), 3u);  // at 2, 7 and 12 s
  EXPECT_NE(told[0].find("b2:9002: "), std::string::npos) << told[0];
  EXPECT_NE(told[0].find("for 2 s; trying for 11 s more"), std::string::npos)
      << told[0];
}

// The last try has as little time as is left; that it got no answer must not
// hide what the broker said.
TEST_F(AdminTest, ATryCutShortByTheDeadlineDoesNotHideTheReason) {
  const int64_t hangs_from = world_.MonoMicros() + 4 * kSecond;
  cluster_.fate = [&](NodeId, const std::string&) {
    return world_.MonoMicros() < hangs_from ? FakeCluster::Fate::kLoseRequest
                                            : FakeCluster::Fate::kHang;
  };
  std::optional<absl::StatusOr<v1::DescribeClusterResponse>> answer;
  admin_->DescribeCluster(5 * kSecond, Into(answer));
  ASSERT_TRUE(world_.RunUntil([&] { return answer.has_value(); }, 9 * kSecond));
  ASSERT_FALSE(answer->ok());
  const std::string text = answer->status().ToString();
  EXPECT_NE(text.find("b1:9001: reset"), std::string::npos) << text;
  EXPECT_NE(text.find("b2:9002: reset"), std::string::npos) << text;
}

TEST_F(AdminTest, HungBrokerDoesNotTakeAllTheTime) {
  cluster_.fate = [](NodeId broker, const std::string&) {
    return broker == NodeId(1) ? FakeCluster::Fate::kHang
                               : FakeCluster::Fate::kDeliver;
  };
  for (int i = 0; i < 4; ++i) {
    std::optional<absl::StatusOr<v1::DescribeClusterResponse>> answer;
    admin_->DescribeCluster(6 * kSecond, Into(answer));
    ASSERT_TRUE(
        world_.RunUntil([&] { return answer.has_value(); }, 7 * kSecond));
    EXPECT_TRUE(answer->ok());
  }
}

TEST_F(AdminTest, ListsAllPages) {
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    cluster_.AddTopic(name, 1);
  }
  std::optional<absl::StatusOr<v1::ListTopicsResponse>> answer;
  admin_->ListTopics({}, kSecond, Into(answer));
  ASSERT_TRUE(world_.RunUntil([&] { return answer.has_value(); }, kSecond));
  EXPECT_EQ((*answer)->topics_size(), 5);
  EXPECT_EQ((*answer)->next_page_token(), "");
}

TEST_F(AdminTest, LogsOfAllLeadersBecomeOneAnswer) {
  cluster_.AddTopic("t", 6);
  for (int p = 0; p < 6; ++p) {
    cluster_.topic("t").partitions[p].end = Offset(100 + p);
  }
  v1::DescribeTopicsRequest request;
  request.set_include_log(true);
  request.add_topics()->set_name("t");
  std::optional<absl::StatusOr<v1::DescribeTopicsResponse>> answer;
  admin_->DescribeTopics(request, kSecond, Into(answer));
  ASSERT_TRUE(world_.RunUntil([&] { return answer.has_value(); }, kSecond));
  ASSERT_EQ((*answer)->topics(0).logs_size(), 6);
  for (int p = 0; p < 6; ++p) {
    EXPECT_FALSE((*answer)->topics(0).logs(p).has_error());
    EXPECT_EQ((*answer)->topics(0).logs(p).log_end_offset(), 100 + p);
  }
}

TEST_F(AdminTest, LeaderThatDoesNotAnswerLeavesItsErrorInPlace) {
  cluster_.AddTopic("t", 3);
  cluster_.Kill(NodeId(3));  // leads partition 2
  v1::DescribeTopicsRequest request;
  request.set_include_log(true);
  request.add_topics()->set_name("t");
  std::optional<absl::StatusOr<v1::DescribeTopicsResponse>> answer;
  admin_->DescribeTopics(request, kSecond, Into(answer));
  ASSERT_TRUE(world_.RunUntil([&] { return answer.has_value(); }, 3 * kSecond));
  EXPECT_FALSE((*answer)->topics(0).logs(0).has_error());
  EXPECT_TRUE((*answer)->topics(0).logs(2).has_error());
}

TEST_F(AdminTest, OffsetsComeFromTheLeadersThatMoved) {
  cluster_.AddTopic("t", 3);
  for (int p = 0; p < 3; ++p) {
    cluster_.topic("t").partitions[p].end = Offset(10 + p);
  }
  metadata_->Follow("t");
  world_.RunFor(kSecond);
  cluster_.MoveLeader("t", 1, NodeId(3));
  std::vector<NamedPartition> partitions;
  for (int p = 0; p < 3; ++p) partitions.push_back({"t", PartitionIndex(p)});
  std::optional<absl::StatusOr<std::map<NamedPartition, Offset>>> answer;
  OffsetLookup::Start(deps_, client_, metadata_.get(), partitions,
                      api::OffsetPosition::kLatest, 5 * kSecond,
                      [&](auto got) { answer = std::move(got); });
  ASSERT_TRUE(world_.RunUntil([&] { return answer.has_value(); }, kSecond));
  for (int p = 0; p < 3; ++p) {
    EXPECT_EQ((*answer)->at(partitions[p]), Offset(10 + p));
  }
}

TEST_F(AdminTest, OffsetsByTimestampAreAskedOfTheLeaders) {
  cluster_.AddTopic("t", 2);
  FakeCluster::Partition& log = cluster_.topic("t").partitions[0];
  for (int i = 0; i < 3; ++i) {
    log.batches.push_back(MakeStoredBatch(Offset(i), LeaderEpoch(0),
                                          {.timestamp_ms = 1000 + 100 * i}));
  }
  log.end = Offset(3);
  metadata_->Follow("t");
  world_.RunFor(kSecond);
  std::optional<absl::StatusOr<std::map<NamedPartition, Offset>>> answer;
  OffsetLookup::Start(deps_, client_, metadata_.get(),
                      {{"t", PartitionIndex(0)}, {"t", PartitionIndex(1)}},
                      OffsetQuery::At(1050), 5 * kSecond,
                      [&](auto got) { answer = std::move(got); });
  ASSERT_TRUE(world_.RunUntil([&] { return answer.has_value(); }, kSecond));
  ASSERT_TRUE(answer->ok()) << answer->status();
  EXPECT_EQ((*answer)->at({"t", PartitionIndex(0)}), Offset(1));
  EXPECT_EQ((*answer)->at({"t", PartitionIndex(1)}), kNoOffset);
}

TEST_F(AdminTest, PartitionsAreAddedThroughAnyBroker) {
  cluster_.AddTopic("t", 1);
  v1::CreatePartitionsRequest request;
  auto* topic = request.add_topics();
  topic->mutable_topic()->set_name("t");
  topic->set_total_count(3);
  std::optional<absl::StatusOr<v1::CreatePartitionsResponse>> answer;
  admin_->CreatePartitions(request, kSecond, Into(answer));
  ASSERT_TRUE(world_.RunUntil([&] { return answer.has_value(); }, 3 * kSecond));
  ASSERT_TRUE(answer->ok()) << answer->status();
  EXPECT_EQ((*answer)->results(0).partition_count(), 3);
  EXPECT_EQ(cluster_.topic("t").partitions.size(), 3u);
}

TEST_F(AdminTest, OffsetsOfAnUnknownTopicEndWithTheBrokersWord) {
  std::optional<absl::StatusOr<std::map<NamedPartition, Offset>>> answer;
  OffsetLookup::Start(deps_, client_, metadata_.get(),
                      {{"nope", PartitionIndex(0)}},
                      api::OffsetPosition::kLatest, kSecond,
                      [&](auto got) { answer = std::move(got); });
  ASSERT_TRUE(world_.RunUntil([&] { return answer.has_value(); }, 2 * kSecond));
  EXPECT_EQ(CodeOf(answer->status()), ErrorCode::kUnknownTopicOrPartition);
}

TEST(BootstrapTest, NamesThePartThatIsNoAddress) {
  EXPECT_EQ(ParseBootstrap("a:1,b:2")->size(), 2u);
  for (const char* bad : {"", "a", "a:1,", "a:x", ":1,b"}) {
    EXPECT_EQ(CodeOf(ParseBootstrap(bad).status()), ErrorCode::kInvalidRequest)
        << bad;
  }
}

}  // namespace
}  // namespace sluice
