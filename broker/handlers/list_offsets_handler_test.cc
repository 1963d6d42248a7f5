#include "broker/handlers/list_offsets_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/handlers/fake_hosts_testing.h"

namespace sluice {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

class ListOffsetsHandlerTest : public testing::Test {
 protected:
  static api::ListOffsetsPartition Latest(const api::TopicRef& topic,
                                          int partition) {
    api::ListOffsetsPartition asked;
    asked.topic = topic;
    asked.partition = PartitionIndex(partition);
    asked.position = api::OffsetPosition::kLatest;
    return asked;
  }
  api::ListOffsetsResponse Ask(
      std::vector<api::ListOffsetsPartition> partitions) {
    answered_ = {};
    api::ListOffsetsRequest request;
    request.partitions = std::move(partitions);
    handler_.ListOffsets({}, request, answered_.Expect());
    fake_.Run();
    EXPECT_EQ(answered_.times, 1);
    return std::move(answered_.response);
  }

  FakeBroker fake_;
  ListOffsetsHandler handler_{fake_.deps()};
  Answered<api::ListOffsetsResponse> answered_;
};

TEST_F(ListOffsetsHandlerTest, AnswersAcrossShardsInTheOrderAsked) {
  fake_.Store(fake_.A(1), {3});
  fake_.Store(fake_.B(2), {2});
  auto earliest = Latest(Named("a"), 1);
  earliest.partition = PartitionIndex(3);
  earliest.position = api::OffsetPosition::kEarliest;
  const auto response = Ask(
      {Latest(ById(fake_.b), 2), Latest(Named("a"), 1), earliest});
  ASSERT_THAT(response.results, SizeIs(3));
  EXPECT_EQ(response.results[0].offset, Offset(2));
  EXPECT_EQ(response.results[0].topic, ById(fake_.b));
  EXPECT_EQ(response.results[1].offset, Offset(3));
  EXPECT_EQ(response.results[1].high_watermark, Offset(3));
  EXPECT_EQ(response.results[1].last_stable_offset, Offset(3));
  EXPECT_EQ(response.results[1].leader_epoch, LeaderEpoch(3));
  EXPECT_EQ(response.results[2].offset, Offset(0));
}

TEST_F(ListOffsetsHandlerTest, ANewLeaderDoesNotKnowTheEndYet) {  // RP5
  fake_.even.partitions[fake_.A(0)].offset_available = false;
  const auto response = Ask({Latest(Named("a"), 0)});
  EXPECT_EQ(response.results.at(0).error.code, ErrorCode::kOffsetNotAvailable);
  EXPECT_EQ(response.results.at(0).offset, kNoOffset);
}

TEST_F(ListOffsetsHandlerTest, ByTimestampIsAnsweredWhenItIsFound) {
  auto at = Latest(Named("a"), 1);
  at.position = api::OffsetPosition::kTimestamp;
  at.timestamp_ms = 1234;
  auto newest = Latest(Named("a"), 0);
  newest.position = api::OffsetPosition::kMaxTimestamp;
  api::ListOffsetsRequest request;
  request.partitions = {at, newest, Latest(Named("a"), 2)};
  api::CallContext context;
  context.deadline_us = 5'000'000;
  handler_.ListOffsets(context, request, answered_.Expect());
  fake_.Run();
  ASSERT_EQ(answered_.times, 1);
  ASSERT_THAT(answered_.response.results, SizeIs(3));
  EXPECT_EQ(answered_.response.results[0].offset, Offset(7));
  EXPECT_EQ(answered_.response.results[0].timestamp_ms, 1234);
  EXPECT_EQ(answered_.response.results[1].offset, Offset(7));
  EXPECT_EQ(answered_.response.results[2].offset, Offset(0));
  EXPECT_EQ(answered_.response.results[2].timestamp_ms, -1);
  ASSERT_THAT(fake_.odd.by_time, SizeIs(1));
  EXPECT_EQ(fake_.odd.by_time[0].position, api::OffsetPosition::kTimestamp);
  EXPECT_EQ(fake_.odd.by_time[0].deadline_us, 5'000'000);
}

TEST_F(ListOffsetsHandlerTest, WithoutMetadataNoTopicIsSaidNotToExist) {
  fake_.image.Store(MetadataImage::Empty());
  const auto response =
      Ask({Latest(Named("a"), 0), Latest(ById(TopicId(Uuid(7, 7))), 0)});
  EXPECT_EQ(response.results.at(0).error.code, ErrorCode::kBrokerNotAvailable);
  EXPECT_EQ(response.results.at(1).error.code, ErrorCode::kBrokerNotAvailable);
}

TEST_F(ListOffsetsHandlerTest, ErrorsStayWithTheirPartitions) {
  fake_.even.Lose(fake_.A(0), ErrorCode::kNotLeader);
  const auto response = Ask({Latest(Named("a"), 0), Latest(Named("nope"), 0),
                             Latest(ById(TopicId(Uuid(7, 7))), 0),
                             Latest(Named("a"), 9), Latest(Named("a"), 1)});
  EXPECT_EQ(response.results.at(0).error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(response.results[0].leader->leader_id, NodeId(2));
  EXPECT_EQ(response.results[1].error.code,
            ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(response.results[2].error.code, ErrorCode::kUnknownTopicId);
  EXPECT_EQ(response.results[3].error.code,
            ErrorCode::kUnknownTopicOrPartition);
  EXPECT_TRUE(response.results[4].error.ok());
}

TEST_F(ListOffsetsHandlerTest, RefusesWholeRequestsByName) {
  EXPECT_THAT(Ask({}).results, IsEmpty());
  EXPECT_EQ(CodeOf(answered_.status), ErrorCode::kInvalidRequest);
  EXPECT_THAT(Ask({Latest(Named("a"), 0), Latest(ById(fake_.a), 0)}).results,
              IsEmpty());
  EXPECT_EQ(CodeOf(answered_.status), ErrorCode::kInvalidRequest);
  Ask(std::vector(kPartitionsPerRequestMax + 1, Latest(Named("a"), 0)));
  EXPECT_EQ(CodeOf(answered_.status), ErrorCode::kInvalidRequest);
}

TEST_F(ListOffsetsHandlerTest, AnswersWhenEveryPartitionIsRefused) {
  const auto response = Ask({Latest(Named("nope"), 0)});
  EXPECT_TRUE(answered_.status.ok());
  EXPECT_THAT(response.results, SizeIs(1));
}

}  // namespace
}  // namespace sluice
