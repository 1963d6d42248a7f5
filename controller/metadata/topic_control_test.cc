#include "controller/metadata/topic_control.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>

#include "common/base/error.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

v1::CreateTopicsRequest One(const std::string& name, int partitions = 1,
                            int rf = 1) {
  v1::CreateTopicsRequest request;
  auto* topic = request.add_topics();
  topic->set_name(name);
  topic->set_partition_count(partitions);
  topic->set_replication_factor(rf);
  return request;
}

v1::CreateTopicsRequest Assigned(std::vector<std::vector<int>> assignments) {
  v1::CreateTopicsRequest request;
  auto* topic = request.add_topics();
  topic->set_name("assigned");
  for (const auto& ids : assignments) {
    auto* assignment = topic->add_assignments();
    for (const int id : ids) assignment->add_broker_ids(id);
  }
  return request;
}

ErrorCode CodeIn(const v1::Error& error) {
  return CodeFromNumber(static_cast<int32_t>(error.code()));
}

class TopicControlTest : public testing::Test {
 protected:
  TopicControlTest() { cluster_.StartAll(3); }
  TestCluster cluster_;
};

// correctness.md 5.3: bad input is named and changes nothing.
TEST_F(TopicControlTest, BadInputIsRefusedByNameAndChangesNothing) {
  cluster_.CreateOn("taken", {1});
  const auto with_config = [](const char* key, const char* value) {
    auto request = One("c", 1, 3);
    (*request.mutable_topics(0)->mutable_configs())[key] = value;
    return request;
  };
  auto counted = Assigned({{1}, {2}});
  counted.mutable_topics(0)->set_partition_count(3);
  const struct {
    const char* what;
    v1::CreateTopicsRequest request;
    ErrorCode code;
  } rows[] = {
      {"no name", One(""), ErrorCode::kInvalidTopic},
      {".", One("."), ErrorCode::kInvalidTopic},
      {"..", One(".."), ErrorCode::kInvalidTopic},
      {"long", One(std::string(250, 'a')), ErrorCode::kInvalidTopic},
      {"slash", One("a/b"), ErrorCode::kInvalidTopic},
      {"space", One("a b"), ErrorCode::kInvalidTopic},
      {"umlaut", One("\xc3\xa4"), ErrorCode::kInvalidTopic},
      {"reserved", One("__x"), ErrorCode::kInvalidTopic},
      {"exists", One("taken"), ErrorCode::kTopicAlreadyExists},
      {"-2 partitions", One("p", -2), ErrorCode::kInvalidPartitions},
      {"too many", One("p", 10001), ErrorCode::kInvalidPartitions},
      {"rf -2", One("p", 1, -2), ErrorCode::kInvalidReplicationFactor},
      {"rf 4 of 3", One("p", 1, 4), ErrorCode::kInvalidReplicationFactor},
      {"unknown broker", Assigned({{1, 9}}),
       ErrorCode::kInvalidReplicaAssignment},
      {"twice", Assigned({{1, 1}}), ErrorCode::kInvalidReplicaAssignment},
      {"empty", Assigned({{}}), ErrorCode::kInvalidReplicaAssignment},
      {"uneven", Assigned({{1, 2}, {3}}),
       ErrorCode::kInvalidReplicaAssignment},
      {"count and assignment", counted,
       ErrorCode::kInvalidReplicaAssignment},
      {"key", with_config("cleanup.policy", "compact"),
       ErrorCode::kInvalidConfig},
      {"value", with_config("segment.bytes", "x"), ErrorCode::kInvalidConfig},
      {"min ISR > RF", with_config("min.insync.replicas", "4"),
       ErrorCode::kInvalidConfig},
  };
  const uint64_t before = MetaHash(cluster_.image());
  for (const auto& row : rows) {
    const auto response = cluster_.Create(row.request);
    ASSERT_EQ(response.results_size(), 1) << row.what;
    EXPECT_EQ(NameOf(CodeIn(response.results(0).error())), NameOf(row.code))
        << row.what << ": " << response.results(0).error().message();
    EXPECT_FALSE(response.results(0).error().message().empty());
    EXPECT_TRUE(response.results(0).id().empty());
    EXPECT_EQ(MetaHash(cluster_.image()), before) << row.what;
  }
}

TEST_F(TopicControlTest, TheAnswerTellsHowManyBrokersAreAlive) {
  cluster_.Fence(3);
  const auto response = cluster_.Create(One("t", 1, 3));
  EXPECT_EQ(CodeIn(response.results(0).error()),
            ErrorCode::kInvalidReplicationFactor);
  EXPECT_NE(response.results(0).error().message().find("2 of 3"),
            std::string::npos)
      << response.results(0).error().message();
}

TEST_F(TopicControlTest, DefaultsAreThreeReplicasOrAsManyAsBrokers) {
  auto response = cluster_.Create(One("three", 0, -1));
  EXPECT_EQ(response.results(0).partition_count(), 1);
  EXPECT_EQ(response.results(0).replication_factor(), 3);
  cluster_.Fence(1);
  response = cluster_.Create(One("two", -1, 0));
  EXPECT_EQ(response.results(0).replication_factor(), 2);
}

TEST_F(TopicControlTest, TopicsOfACallAreOneBatchAndDuplicatesAreNone) {
  v1::CreateTopicsRequest request = One("a", 3, 3);
  for (const char* name : {"b", "dup", "dup"}) {
    request.add_topics()->set_name(name);
  }
  const size_t entries = cluster_.log().size();
  const auto response = cluster_.Create(request);
  EXPECT_EQ(cluster_.log().size(), entries + 1);
  EXPECT_FALSE(response.results(0).has_error());
  EXPECT_FALSE(response.results(1).has_error());
  EXPECT_EQ(CodeIn(response.results(2).error()), ErrorCode::kInvalidRequest);
  EXPECT_EQ(CodeIn(response.results(3).error()), ErrorCode::kInvalidRequest);
  EXPECT_EQ(cluster_.image().FindTopic("dup"), nullptr);
  const TopicImage* a = cluster_.image().FindTopic("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->partitions.size(), 3u);
  EXPECT_EQ(a->id.ToBytes(), response.results(0).id());
  std::set<NodeId> leaders;
  for (const auto& [index, partition] : a->partitions) {
    leaders.insert(partition->leader);
    EXPECT_EQ(partition->isr, partition->replicas);
    EXPECT_EQ(partition->leader, partition->replicas.front());
    for (const NodeId node : partition->replicas) {
      EXPECT_EQ(partition->DirectoryOf(node).ToBytes(),
                TestCluster::Directory(node.value()));
    }
  }
  EXPECT_EQ(leaders.size(), 3u);
  EXPECT_EQ(cluster_.image().partition_count(), 4);
  EXPECT_EQ(cluster_.image().replica_count(), 12);
}

TEST_F(TopicControlTest, ValidateOnlyAnswersTheSameAndWritesNothing) {
  auto request = One("v", 2, 2);
  request.set_validate_only(true);
  const size_t entries = cluster_.log().size();
  const auto response = cluster_.Create(request);
  EXPECT_FALSE(response.results(0).has_error());
  EXPECT_EQ(response.results(0).partition_count(), 2);
  EXPECT_GT(response.results(0).configs_size(), 0);
  EXPECT_TRUE(response.results(0).id().empty());
  EXPECT_EQ(cluster_.log().size(), entries);
}

TEST_F(TopicControlTest, AssignedReplicasThatAreNotAliveAreOutOfTheIsr) {
  cluster_.Fence(1);
  const auto tp = cluster_.CreateOn("t", {1, 2, 3});
  EXPECT_EQ(cluster_.At(tp).replicas, Nodes({1, 2, 3}));
  EXPECT_EQ(cluster_.At(tp).isr, Nodes({2, 3}));
  EXPECT_EQ(cluster_.At(tp).leader, NodeId(2));
  cluster_.Fence(2);
  cluster_.Fence(3);
  const auto response = cluster_.Create(Assigned({{1, 2}}));
  EXPECT_EQ(CodeIn(response.results(0).error()),
            ErrorCode::kInvalidReplicaAssignment);
}

TEST_F(TopicControlTest, LimitsOfACallAndOfTheClusterHold) {
  v1::CreateTopicsRequest many;
  for (int i = 0; i < 1001; ++i) many.add_topics();
  auto result = TopicControl(cluster_.image(), cluster_.configs())
                    .Create(many, internal::v1::TopicRecord::KIND_USER,
                            cluster_.random());
  EXPECT_EQ(CodeOf(result.status()), ErrorCode::kInvalidRequest);

  v1::CreateTopicsRequest wide;
  for (int i = 0; i < 7; ++i) {
    auto* topic = wide.add_topics();
    topic->set_name("wide" + std::to_string(i));
    topic->set_partition_count(10000);
    topic->set_replication_factor(3);
  }
  result = TopicControl(cluster_.image(), cluster_.configs())
               .Create(wide, internal::v1::TopicRecord::KIND_USER,
                       cluster_.random());
  ASSERT_TRUE(result.ok());
  EXPECT_LE(result->batch.ByteSizeLong(), kBatchBytesMax);
  std::set<std::string> codes;
  int refused = 0;
  for (const auto& one : result->response.results()) {
    if (!one.has_error()) continue;
    ++refused;
    codes.insert(std::string(NameOf(CodeIn(one.error()))));
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 7);
  EXPECT_TRUE(codes.count("INVALID_REQUEST") ||
              codes.count("INVALID_PARTITIONS"));
}

TEST_F(TopicControlTest, DeletingNamesWhatIsWrong) {
  const auto tp = cluster_.CreateOn("t", {1});
  cluster_.CreateOn("u", {1});
  auto internal_topic = One("__offsets");
  auto created = TopicControl(cluster_.image(), cluster_.configs())
                     .Create(internal_topic,
                             internal::v1::TopicRecord::KIND_INTERNAL,
                             cluster_.random());
  ASSERT_TRUE(created.ok());
  cluster_.Apply(created->batch);

  v1::DeleteTopicsRequest request;
  request.add_topics()->set_name("t");
  request.add_topics()->set_name("nope");
  request.add_topics()->set_id(Uuid(5, 5).ToBytes());
  request.add_topics()->set_id("short");
  request.add_topics();
  request.add_topics()->set_name("__offsets");
  request.add_topics()->set_name("u");
  request.add_topics()->set_id(
      cluster_.image().FindTopic("u")->id.ToBytes());
  auto result =
      TopicControl(cluster_.image(), cluster_.configs()).Delete(request);
  ASSERT_TRUE(result.ok());
  const ErrorCode expected[] = {
      ErrorCode::kNone,           ErrorCode::kUnknownTopicOrPartition,
      ErrorCode::kUnknownTopicId, ErrorCode::kInvalidRequest,
      ErrorCode::kInvalidRequest, ErrorCode::kInvalidRequest,
      ErrorCode::kInvalidRequest, ErrorCode::kInvalidRequest};
  for (int i = 0; i < 8; ++i) {
    const auto& one = result->response.results(i);
    EXPECT_EQ(one.has_error() ? CodeIn(one.error()) : ErrorCode::kNone,
              expected[i])
        << i << " " << one.error().message();
  }
  cluster_.Apply(result->batch);
  EXPECT_EQ(cluster_.image().FindTopic("t"), nullptr);
  EXPECT_EQ(cluster_.image().FindPartition(tp), nullptr);
  EXPECT_NE(cluster_.image().FindTopic("u"), nullptr);
  EXPECT_EQ(cluster_.changes().partitions_removed.count(tp), 1u);
  // MD7: the same name again is another topic.
  EXPECT_NE(cluster_.CreateOn("t", {1}).topic_id, tp.topic_id);
}

}  // namespace
}  // namespace sluice
