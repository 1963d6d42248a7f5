#include "broker/control/metadata_answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/base/error.h"
#include "controller/metadata/control_result.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class MetadataAnswersTest : public testing::Test {
 protected:
  MetadataAnswersTest() {
    cluster_.StartAll(3);
    for (const char* name : {"c", "a", "b"}) cluster_.CreateOn(name, {1, 2, 3});
  }
  v1::GetMetadataResponse Get(const v1::GetMetadataRequest& request) {
    auto response =
        AnswerGetMetadata(cluster_.image(), kPublicListener, request);
    EXPECT_TRUE(response.ok()) << response.status();
    return *std::move(response);
  }
  std::string IdOf(const std::string& name) {
    return cluster_.image().FindTopic(name)->id.ToBytes();
  }
  static std::vector<std::string> Names(const v1::GetMetadataResponse& from) {
    std::vector<std::string> names;
    for (const auto& topic : from.topics()) names.push_back(topic.name());
    return names;
  }

  TestCluster cluster_;
};

TEST_F(MetadataAnswersTest, ListsAllTopicsByNameInPages) {
  v1::GetMetadataRequest request;
  EXPECT_THAT(Names(Get(request)), ElementsAre("a", "b", "c"));
  request.set_page_size(2);
  auto page = Get(request);
  EXPECT_THAT(Names(page), ElementsAre("a", "b"));
  EXPECT_EQ(page.next_page_token(), "b");
  // A page goes on where the last ended even if that topic is gone by then.
  request.set_page_token("bb");
  page = Get(request);
  EXPECT_THAT(Names(page), ElementsAre("c"));
  EXPECT_EQ(page.next_page_token(), "");
}

TEST_F(MetadataAnswersTest, ALastPageThatIsFullEndsTheList) {
  v1::GetMetadataRequest request;
  request.set_page_size(3);
  EXPECT_EQ(Get(request).next_page_token(), "");
}

TEST_F(MetadataAnswersTest, PagesOutOfRangeAreRefused) {
  for (const int32_t size : {-1, kPageSizeMax + 1}) {
    v1::GetMetadataRequest request;
    request.set_page_size(size);
    EXPECT_EQ(CodeOf(AnswerGetMetadata(cluster_.image(), kPublicListener,
                                       request)
                         .status()),
              ErrorCode::kInvalidRequest);
  }
  v1::ListTopicsRequest request;
  request.set_page_token(std::string(250, 'x'));
  EXPECT_EQ(CodeOf(AnswerListTopics(cluster_.image(), request).status()),
            ErrorCode::kInvalidRequest);
}

TEST_F(MetadataAnswersTest, APageEndsEarlyAtItsPartitions) {
  cluster_.CreateOn("d", {1}, {}, 9'000);
  cluster_.CreateOn("e", {1}, {}, 9'000);
  cluster_.CreateOn("f", {1}, {}, 9'000);
  auto page = Get({});
  EXPECT_THAT(Names(page), ElementsAre("a", "b", "c", "d", "e"));
  EXPECT_EQ(page.next_page_token(), "e");
  // Asked for by name there are no pages: what is too much is told.
  v1::GetMetadataRequest named;
  for (const char* name : {"d", "e", "f"}) named.add_topics()->set_name(name);
  page = Get(named);
  EXPECT_EQ(page.topics(1).error().code(), 0);
  EXPECT_EQ(page.topics(2).error().code(), v1::ERROR_CODE_REQUEST_TOO_LARGE);
  EXPECT_EQ(page.topics(2).name(), "f");
}

TEST_F(MetadataAnswersTest, NamedTopicsAnswerInOrderAndEchoTheirForm) {
  v1::GetMetadataRequest request;
  request.add_topics()->set_name("b");
  request.add_topics()->set_id(IdOf("a"));
  request.add_topics()->set_name("nope");
  request.add_topics()->set_id(Uuid(7, 7).ToBytes());
  request.add_topics()->set_name("../x");
  request.add_topics()->set_id("short");
  request.add_topics();
  const auto response = Get(request);
  ASSERT_EQ(response.topics_size(), 7);
  EXPECT_EQ(response.topics(0).name(), "b");
  EXPECT_EQ(response.topics(1).name(), "a");
  EXPECT_EQ(response.topics(1).id(), IdOf("a"));
  EXPECT_EQ(response.topics(2).error().code(),
            v1::ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION);
  EXPECT_EQ(response.topics(2).name(), "nope");
  EXPECT_EQ(response.topics(3).error().code(),
            v1::ERROR_CODE_UNKNOWN_TOPIC_ID);
  EXPECT_EQ(response.topics(3).id(), Uuid(7, 7).ToBytes());
  EXPECT_EQ(response.topics(4).error().code(), v1::ERROR_CODE_INVALID_TOPIC);
  EXPECT_EQ(response.topics(5).error().code(), v1::ERROR_CODE_INVALID_REQUEST);
  EXPECT_EQ(response.topics(6).error().code(), v1::ERROR_CODE_INVALID_REQUEST);
}

TEST_F(MetadataAnswersTest, TooManyNamesAreRefused) {
  v1::GetMetadataRequest request;
  for (int i = 0; i <= kTopicsPerCallMax; ++i) {
    request.add_topics()->set_name("a");
  }
  EXPECT_EQ(
      CodeOf(AnswerGetMetadata(cluster_.image(), kPublicListener, request)
                 .status()),
      ErrorCode::kInvalidRequest);
}

TEST_F(MetadataAnswersTest, TellsLeadersReplicasAndTheirState) {
  cluster_.Fence(1);
  v1::GetMetadataRequest request;
  request.add_topics()->set_name("a");
  const auto response = Get(request);
  const auto& partition = response.topics(0).partitions(0);
  EXPECT_EQ(partition.leader_id(), 2);
  EXPECT_EQ(partition.leader_endpoint().host(), "b2");
  EXPECT_THAT(partition.replicas(), ElementsAre(1, 2, 3));
  EXPECT_THAT(partition.isr(), ElementsAre(2, 3));
  EXPECT_THAT(partition.offline_replicas(), ElementsAre(1));
  EXPECT_EQ(response.metadata_offset(), cluster_.image().offset().value());
  // MD4: clients are not sent to a fenced broker.
  ASSERT_EQ(response.brokers_size(), 2);
  EXPECT_EQ(response.brokers(0).id(), 2);
  ASSERT_EQ(response.brokers(0).listeners_size(), 1);
  EXPECT_EQ(response.brokers(0).listeners(0).name(), kPublicListener);
}

TEST_F(MetadataAnswersTest, BrokersOnlyLeavesTheTopicsOut) {
  v1::GetMetadataRequest request;
  request.set_brokers_only(true);
  const auto response = Get(request);
  EXPECT_EQ(response.brokers_size(), 3);
  EXPECT_THAT(response.topics(), IsEmpty());
}

TEST_F(MetadataAnswersTest, InternalTopicsAreShownOnlyWhenAskedFor) {
  v1::CreateTopicsRequest request;
  request.add_topics()->set_name("__inner");
  auto created = TopicControl(cluster_.image(), cluster_.configs())
                     .Create(request, internal::v1::TopicRecord::KIND_INTERNAL,
                             cluster_.random());
  ASSERT_TRUE(created.ok()) << created.status();
  cluster_.Apply(created->batch);
  v1::ListTopicsRequest list;
  EXPECT_EQ(AnswerListTopics(cluster_.image(), list)->topics_size(), 3);
  list.set_include_internal(true);
  const auto all = AnswerListTopics(cluster_.image(), list);
  ASSERT_EQ(all->topics_size(), 4);
  EXPECT_TRUE(all->topics(0).internal());
}

TEST_F(MetadataAnswersTest, ListTopicsSummarises) {
  const auto response = AnswerListTopics(cluster_.image(), {});
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->topics(0).name(), "a");
  EXPECT_EQ(response->topics(0).id(), IdOf("a"));
  EXPECT_EQ(response->topics(0).partition_count(), 1);
  EXPECT_EQ(response->topics(0).replication_factor(), 3);
}

TEST_F(MetadataAnswersTest, DescribeTopicsAddsEveryConfigAndItsSource) {
  cluster_.CreateOn("m", {1}, {{"durability", "memory"}});
  v1::DescribeTopicsRequest request;
  request.add_topics()->set_name("m");
  request.add_topics()->set_name("nope");
  const auto response = AnswerDescribeTopics(
      cluster_.image(), cluster_.configs(), kPublicListener, request);
  ASSERT_TRUE(response.ok());
  std::map<std::string, v1::ConfigEntry> configs;
  for (const auto& entry : response->topics(0).configs()) {
    configs[entry.name()] = entry;
  }
  EXPECT_EQ(configs["durability"].value(), "memory");
  EXPECT_EQ(configs["durability"].source(), v1::ConfigEntry::SOURCE_TOPIC);
  EXPECT_EQ(configs["segment.bytes"].source(),
            v1::ConfigEntry::SOURCE_DEFAULT);
  EXPECT_EQ(response->topics(1).metadata().error().code(),
            v1::ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION);
  EXPECT_THAT(response->topics(1).configs(), IsEmpty());
}

TEST_F(MetadataAnswersTest, DescribeClusterCountsLeadersReplicasAndIssues) {
  cluster_.Fence(3);
  const auto response =
      AnswerDescribeCluster(cluster_.image(), cluster_.configs());
  ASSERT_EQ(response.brokers_size(), 3);
  EXPECT_EQ(response.brokers(0).leader_count(), 3);
  EXPECT_EQ(response.brokers(2).replica_count(), 3);
  EXPECT_TRUE(response.brokers(2).fenced());
  EXPECT_EQ(response.brokers(0).listeners_size(), 2);
  EXPECT_EQ(response.topic_count(), 3);
  EXPECT_EQ(response.partition_count(), 3);
  EXPECT_THAT(response.issues(), testing::Not(IsEmpty()));
}

}  // namespace
}  // namespace sluice
