#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "controller/metadata/test_cluster.h"
#include "controller/metadata/topic_control.h"

namespace sluice {
namespace {

ErrorCode CodeIn(const v1::Error& error) {
  return CodeFromNumber(static_cast<int32_t>(error.code()));
}

v1::CreatePartitionsRequest To(const std::string& name, int total,
                               std::vector<std::vector<int>> assigned = {}) {
  v1::CreatePartitionsRequest request;
  auto* topic = request.add_topics();
  topic->mutable_topic()->set_name(name);
  topic->set_total_count(total);
  for (const auto& ids : assigned) {
    auto* assignment = topic->add_assignments();
    for (const int id : ids) assignment->add_broker_ids(id);
  }
  return request;
}

class TopicPartitionsTest : public testing::Test {
 protected:
  TopicPartitionsTest() { cluster_.StartAll(3); }
  TestCluster cluster_;
};

TEST_F(TopicPartitionsTest, NewPartitionsComeBehindTheOldAndEvenLeadersOut) {
  const auto tp = cluster_.CreateOn("t", {2, 3});
  const PartitionImage old = cluster_.At(tp);
  const auto response = cluster_.Grow(To("t", 6));
  ASSERT_FALSE(response.results(0).has_error())
      << response.results(0).error().message();
  EXPECT_EQ(response.results(0).partition_count(), 6);
  EXPECT_EQ(response.results(0).topic().name(), "t");
  const TopicImage* topic = cluster_.image().FindTopic("t");
  ASSERT_EQ(topic->partitions.size(), 6u);
  EXPECT_EQ(*topic->Find(PartitionIndex(0)), old);
  std::map<NodeId, int> led;
  for (const auto& [index, partition] : topic->partitions) {
    ++led[partition->leader];
    EXPECT_EQ(partition->leader, partition->replicas.front());
    EXPECT_EQ(partition->isr, partition->replicas);
    EXPECT_EQ(partition->last_full_isr, partition->isr);
    EXPECT_EQ(partition->replicas.size(), 2u);
    for (const NodeId node : partition->replicas) {
      EXPECT_EQ(partition->DirectoryOf(node).ToBytes(),
                TestCluster::Directory(node.value()));
    }
  }
  for (int id = 1; id <= 3; ++id) EXPECT_EQ(led[NodeId(id)], 2) << id;
  EXPECT_EQ(cluster_.image().partition_count(), 6);
  EXPECT_EQ(cluster_.image().replica_count(), 12);
  EXPECT_EQ(cluster_.changes().partitions_created.size(), 5u);
}

TEST_F(TopicPartitionsTest, AssignmentsAreTakenInOrder) {
  const auto tp = cluster_.CreateOn("t", {1, 2});
  cluster_.Fence(3);
  const auto response = cluster_.Grow(To("t", 3, {{3, 1}, {2, 3}}));
  ASSERT_FALSE(response.results(0).has_error())
      << response.results(0).error().message();
  const PartitionImage& one =
      cluster_.At({tp.topic_id, PartitionIndex(1)});
  EXPECT_EQ(one.replicas, Nodes({3, 1}));
  EXPECT_EQ(one.isr, Nodes({1}));
  EXPECT_EQ(one.leader, NodeId(1));
  EXPECT_EQ(cluster_.At({tp.topic_id, PartitionIndex(2)}).replicas,
            Nodes({2, 3}));
}

// correctness.md 5.3: bad input is named and changes nothing.
TEST_F(TopicPartitionsTest, BadInputIsRefusedByNameAndChangesNothing) {
  cluster_.CreateOn("t", {1, 2}, {}, 3);
  ASSERT_TRUE(cluster_.EnsureInternal(kConsumerOffsetsTopic).ok());
  v1::CreatePartitionsRequest nameless;
  nameless.add_topics()->set_total_count(4);
  v1::CreatePartitionsRequest short_id = nameless;
  short_id.mutable_topics(0)->mutable_topic()->set_id("short");
  v1::CreatePartitionsRequest unknown_id = nameless;
  unknown_id.mutable_topics(0)->mutable_topic()->set_id(
      Uuid(5, 5).ToBytes());
  const struct {
    const char* what;
    v1::CreatePartitionsRequest request;
    ErrorCode code;
    int count;
  } rows[] = {
      {"fewer", To("t", 2), ErrorCode::kInvalidPartitions, 3},
      {"the same", To("t", 3), ErrorCode::kInvalidPartitions, 3},
      {"none", To("t", 0), ErrorCode::kInvalidPartitions, 3},
      {"negative", To("t", -1), ErrorCode::kInvalidPartitions, 3},
      {"least number", To("t", INT32_MIN), ErrorCode::kInvalidPartitions, 3},
      {"too many", To("t", 10001), ErrorCode::kInvalidPartitions, 3},
      {"unknown", To("u", 4), ErrorCode::kUnknownTopicOrPartition, 0},
      {"unknown id", unknown_id, ErrorCode::kUnknownTopicId, 0},
      {"short id", short_id, ErrorCode::kInvalidRequest, 0},
      {"nameless", nameless, ErrorCode::kInvalidRequest, 0},
      {"internal", To(kConsumerOffsetsTopic, 17), ErrorCode::kInvalidRequest,
       16},
      {"assigned too few", To("t", 5, {{1, 2}}),
       ErrorCode::kInvalidReplicaAssignment, 3},
      {"assigned too many", To("t", 4, {{1, 2}, {2, 3}}),
       ErrorCode::kInvalidReplicaAssignment, 3},
      {"another factor", To("t", 4, {{1, 2, 3}}),
       ErrorCode::kInvalidReplicaAssignment, 3},
      {"nobody", To("t", 4, {{}}), ErrorCode::kInvalidReplicaAssignment, 3},
      {"unknown broker", To("t", 4, {{1, 9}}),
       ErrorCode::kInvalidReplicaAssignment, 3},
      {"twice", To("t", 4, {{1, 1}}), ErrorCode::kInvalidReplicaAssignment, 3},
  };
  const uint64_t before = MetaHash(cluster_.image());
  for (const auto& row : rows) {
    const auto response = cluster_.Grow(row.request);
    ASSERT_EQ(response.results_size(), 1) << row.what;
    EXPECT_EQ(NameOf(CodeIn(response.results(0).error())), NameOf(row.code))
        << row.what << ": " << response.results(0).error().message();
    EXPECT_FALSE(response.results(0).error().message().empty()) << row.what;
    EXPECT_EQ(response.results(0).partition_count(), row.count) << row.what;
    EXPECT_EQ(MetaHash(cluster_.image()), before) << row.what;
  }
}

TEST_F(TopicPartitionsTest, TooFewBrokersAliveIsToldAsAtCreation) {
  cluster_.CreateOn("t", {1, 2, 3});
  cluster_.Fence(3);
  auto response = cluster_.Grow(To("t", 2));
  EXPECT_EQ(CodeIn(response.results(0).error()),
            ErrorCode::kInvalidReplicationFactor);
  EXPECT_NE(response.results(0).error().message().find("2 of 3"),
            std::string::npos);
  cluster_.Fence(2);
  response = cluster_.Grow(To("t", 2, {{2, 3, 1}}));
  EXPECT_FALSE(response.results(0).has_error());
  cluster_.Fence(1);
  response = cluster_.Grow(To("t", 3, {{2, 3, 1}}));
  EXPECT_EQ(CodeIn(response.results(0).error()),
            ErrorCode::kInvalidReplicaAssignment);
}

TEST_F(TopicPartitionsTest, ATopicNamedTwiceIsNotGrownAndTheOthersAre) {
  const auto t = cluster_.CreateOn("t", {1});
  cluster_.CreateOn("u", {1});
  auto request = To("t", 2);
  request.MergeFrom(To("u", 3));
  request.add_topics()->mutable_topic()->set_id(t.topic_id.ToBytes());
  request.mutable_topics(2)->set_total_count(5);
  const size_t entries = cluster_.log().size();
  const auto response = cluster_.Grow(request);
  EXPECT_EQ(CodeIn(response.results(0).error()), ErrorCode::kInvalidRequest);
  EXPECT_FALSE(response.results(1).has_error());
  EXPECT_EQ(CodeIn(response.results(2).error()), ErrorCode::kInvalidRequest);
  EXPECT_EQ(cluster_.log().size(), entries + 1);
  EXPECT_EQ(cluster_.image().FindTopic("t")->partitions.size(), 1u);
  EXPECT_EQ(cluster_.image().FindTopic("u")->partitions.size(), 3u);
}

TEST_F(TopicPartitionsTest, ValidateOnlyAnswersTheSameAndWritesNothing) {
  cluster_.CreateOn("t", {1, 2});
  auto request = To("t", 4);
  request.set_validate_only(true);
  const size_t entries = cluster_.log().size();
  const auto response = cluster_.Grow(request);
  EXPECT_FALSE(response.results(0).has_error());
  EXPECT_EQ(response.results(0).partition_count(), 4);
  EXPECT_EQ(cluster_.log().size(), entries);
}

TEST_F(TopicPartitionsTest, LimitsOfACallAndOfTheClusterHold) {
  v1::CreatePartitionsRequest many;
  for (int i = 0; i < 1001; ++i) many.add_topics();
  auto result = TopicControl(cluster_.image(), cluster_.configs())
                    .CreatePartitions(many, cluster_.random());
  EXPECT_EQ(CodeOf(result.status()), ErrorCode::kInvalidRequest);
  auto late = To("t", 2);
  late.set_timeout_ms(-1);
  result = TopicControl(cluster_.image(), cluster_.configs())
               .CreatePartitions(late, cluster_.random());
  EXPECT_EQ(CodeOf(result.status()), ErrorCode::kInvalidRequest);

  // Neither one raft entry nor the cluster holds all of these.
  v1::CreatePartitionsRequest wide;
  for (int i = 0; i < 8; ++i) {
    const std::string name = "wide" + std::to_string(i);
    cluster_.CreateOn(name, {1, 2, 3});
    wide.MergeFrom(To(name, 10000));
  }
  result = TopicControl(cluster_.image(), cluster_.configs())
               .CreatePartitions(wide, cluster_.random());
  ASSERT_TRUE(result.ok());
  EXPECT_LE(result->batch.ByteSizeLong(), kBatchBytesMax);
  int refused = 0;
  for (const auto& one : result->response.results()) {
    if (!one.has_error()) continue;
    ++refused;
    EXPECT_EQ(one.partition_count(), 1);
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 8);
}

TEST_F(TopicPartitionsTest, ADemotedBrokerLeadsNoNewPartitionOfOthers) {
  cluster_.CreateOn("t", {1, 2, 3});
  cluster_.Apply(BrokerControl(cluster_.image(), cluster_.configs())
                     .Demote(NodeId(3), cluster_.EpochOf(3)));
  cluster_.Grow(To("t", 7));
  for (const auto& [index, partition] :
       cluster_.image().FindTopic("t")->partitions) {
    EXPECT_NE(partition->leader, NodeId(3)) << index;
  }
}

}  // namespace
}  // namespace sluice
