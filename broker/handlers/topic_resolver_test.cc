#include "broker/handlers/topic_resolver.h"

#include <gtest/gtest.h>

#include <string>

#include "common/base/error.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

class TopicResolverTest : public testing::Test {
 protected:
  TopicResolverTest() {
    cluster_.StartAll(1);
    orders_ = cluster_.CreateOn("orders", {1}, {}, 3).topic_id;
    other_ = cluster_.CreateOn("other", {1}).topic_id;
  }

  ErrorCode CodeFor(const std::string& name, TopicId id = TopicId()) {
    return CodeOf(ResolveTopic(cluster_.image(), {name, id}).status());
  }

  TestCluster cluster_;
  TopicId orders_;
  TopicId other_;
};

TEST_F(TopicResolverTest, ATopicIsFoundByItsNameOrItsId) {
  for (const api::TopicRef& ref :
       {api::TopicRef{"orders", {}}, api::TopicRef{"", orders_},
        api::TopicRef{"orders", orders_}}) {
    const auto topic = ResolveTopic(cluster_.image(), ref);
    ASSERT_TRUE(topic.ok()) << topic.status();
    EXPECT_EQ((*topic)->id, orders_);
  }
}

// MD7: whose id is gone is gone, whatever has its name now.
TEST_F(TopicResolverTest, TheIdOfATopicThatIsGoneIsRefused) {
  const TopicId gone(Uuid(7, 7));
  EXPECT_EQ(CodeFor("", gone), ErrorCode::kUnknownTopicId);
  EXPECT_EQ(CodeFor("orders", gone), ErrorCode::kUnknownTopicId);
}

TEST_F(TopicResolverTest, ANameAndAnIdOfTwoTopicsAreRefused) {
  EXPECT_EQ(CodeFor("orders", other_), ErrorCode::kInconsistentTopicId);
}

TEST_F(TopicResolverTest, ANameThatNobodyHasOrCanHave) {
  EXPECT_EQ(CodeFor(""), ErrorCode::kInvalidRequest);
  EXPECT_EQ(CodeFor("nope"), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(CodeFor("no/pe"), ErrorCode::kInvalidTopic);
}

TEST_F(TopicResolverTest, WithoutMetadataNothingIsUnknown) {
  const auto empty = MetadataImage::Empty();
  for (const api::TopicRef& ref :
       {api::TopicRef{"orders", {}}, api::TopicRef{"", orders_}}) {
    EXPECT_EQ(CodeOf(ResolveTopic(*empty, ref).status()),
              ErrorCode::kBrokerNotAvailable);
  }
}

TEST_F(TopicResolverTest, APartitionIsOneOfItsTopics) {
  const auto last = ResolvePartition(cluster_.image(), {"orders", {}},
                                     PartitionIndex(2));
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(*last, (TopicPartition{orders_, PartitionIndex(2)}));
  for (const int none : {-1, 3}) {
    EXPECT_EQ(CodeOf(ResolvePartition(cluster_.image(), {"orders", {}},
                                      PartitionIndex(none))
                         .status()),
              ErrorCode::kUnknownTopicOrPartition);
  }
}

TEST_F(TopicResolverTest, APartitionIsNamedOnceARequest) {
  SeenPartitions seen;
  EXPECT_TRUE(seen.Add({orders_, PartitionIndex(0)}).ok());
  EXPECT_TRUE(seen.Add({other_, PartitionIndex(0)}).ok());
  EXPECT_EQ(CodeOf(seen.Add({orders_, PartitionIndex(0)})),
            ErrorCode::kInvalidRequest);
}

}  // namespace
}  // namespace sluice
