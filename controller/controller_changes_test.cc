#include <gtest/gtest.h>

#include <string>

#include "controller/controller_fixture_testing.h"
#include "controller/metadata/internal_topics.h"

namespace sluice {
namespace {

class ControllerChangesTest : public ControllerTest {
 protected:
  Reply<v1::CreatePartitionsResponse> Grow(const std::string& name, int total) {
    v1::CreatePartitionsRequest request;
    auto* topic = request.add_topics();
    topic->mutable_topic()->set_name(name);
    topic->set_total_count(total);
    Reply<v1::CreatePartitionsResponse> reply;
    controller_->CreatePartitions(request, reply.Catch());
    return reply;
  }
  Reply<internal::v1::EnsureInternalTopicResponse> Ensure(
      const std::string& name) {
    internal::v1::EnsureInternalTopicRequest request;
    request.set_name(name);
    Reply<internal::v1::EnsureInternalTopicResponse> reply;
    controller_->EnsureInternalTopic(request, reply.Catch());
    return reply;
  }
};

TEST_F(ControllerChangesTest, PartitionsAreAddedAndAnsweredAtTheirOffset) {
  Lead();
  JoinAll(3);
  Create("t", 2);
  Run();
  const auto grown = Grow("t", 5);
  // Decided against what is under way, answered when it is committed.
  const auto again = Grow("t", 5);
  EXPECT_FALSE(grown.arrived());
  Run();
  ASSERT_TRUE(grown.answer().ok()) << grown.answer().status();
  EXPECT_FALSE(grown->results(0).has_error());
  EXPECT_EQ(grown->metadata_offset(), Image().offset().value());
  EXPECT_EQ(Image().FindTopic("t")->partitions.size(), 5u);
  ASSERT_TRUE(again.answer().ok());
  EXPECT_EQ(again->results(0).error().code(),
            v1::ERROR_CODE_INVALID_PARTITIONS);
  EXPECT_EQ(again->results(0).partition_count(), 5);
}

TEST_F(ControllerChangesTest, AnInternalTopicIsMadeOnceWhoeverAsks) {
  Lead();
  JoinAll(3);
  const auto first = Ensure(kConsumerOffsetsTopic);
  const auto second = Ensure(kConsumerOffsetsTopic);
  EXPECT_FALSE(first.arrived());
  EXPECT_FALSE(second.arrived());  // not before the first is committed
  Run();
  ASSERT_TRUE(first.answer().ok()) << first.answer().status();
  ASSERT_TRUE(second.answer().ok()) << second.answer().status();
  EXPECT_EQ(first->metadata_offset(), Image().offset().value());
  EXPECT_GE(second->metadata_offset(), first->metadata_offset());
  EXPECT_EQ(Image().topics().size(), 1u);
  EXPECT_EQ(Image().partition_count(), 16);
  const auto other = Ensure("__nothing");
  Run();
  EXPECT_EQ(other.code(), ErrorCode::kInvalidTopic);
}

TEST_F(ControllerChangesTest, OnlyTheActiveControllerMakesAnInternalTopic) {
  log_.Depose(Term(1), NodeId(2));
  Run();
  const auto asked = Ensure(kConsumerOffsetsTopic);
  Run();
  EXPECT_EQ(asked.code(), ErrorCode::kNotController);
}

TEST_F(ControllerChangesTest, ABrokerThatIsUnfencedBecomesAReplicaOfIt) {
  Lead();
  Join(1);
  Ensure(kConsumerOffsetsTopic);
  Run();
  Join(2);
  EXPECT_EQ(At(kConsumerOffsetsTopic).replicas, Nodes({1, 2}));
  EXPECT_EQ(At(kConsumerOffsetsTopic).isr, Nodes({1}));
  const auto joined = Alter(First(kConsumerOffsetsTopic), {1, 2});
  Run();
  ASSERT_TRUE(joined.answer().ok()) << joined.answer().status();
  EXPECT_EQ(At(kConsumerOffsetsTopic).isr, Nodes({1, 2}));
}

}  // namespace
}  // namespace sluice
