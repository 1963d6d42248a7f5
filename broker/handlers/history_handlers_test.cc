// OffsetForLeaderEpoch and DeleteRecords: many partitions, each with its answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/handlers/delete_records_handler.h"
#include "broker/handlers/epoch_end_handler.h"
#include "broker/handlers/fake_hosts_testing.h"

namespace sluice {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

class EpochEndHandlerTest : public testing::Test {
 protected:
  static api::OffsetForLeaderEpochPartition About(const api::TopicRef& topic,
                                                  int partition, int epoch) {
    api::OffsetForLeaderEpochPartition asked;
    asked.topic = topic;
    asked.partition = PartitionIndex(partition);
    asked.leader_epoch = LeaderEpoch(epoch);
    return asked;
  }
  api::OffsetForLeaderEpochResponse Ask(
      std::vector<api::OffsetForLeaderEpochPartition> partitions) {
    answered_ = {};
    handler_.OffsetForLeaderEpoch({}, {std::move(partitions)},
                                  answered_.Expect());
    fake_.Run();
    EXPECT_EQ(answered_.times, 1);
    return std::move(answered_.response);
  }

  FakeBroker fake_;
  EpochEndHandler handler_{fake_.deps()};
  Answered<api::OffsetForLeaderEpochResponse> answered_;
};

TEST_F(EpochEndHandlerTest, AnswersAcrossShardsInTheOrderAsked) {
  fake_.Store(fake_.A(1), {3});
  fake_.odd.Lose(fake_.A(3), ErrorCode::kNotLeader);
  const auto response =
      Ask({About(ById(fake_.b), 2, 1), About(Named("a"), 1, 3),
           About(Named("a"), 1 + 2, 3), About(Named("a"), 0, 9),
           About(Named("nope"), 0, 1)});
  ASSERT_THAT(response.results, SizeIs(5));
  EXPECT_EQ(response.results[0].end, (EpochEnd{LeaderEpoch(3), Offset(0)}));
  EXPECT_EQ(response.results[0].topic, ById(fake_.b));
  EXPECT_EQ(response.results[1].end, (EpochEnd{LeaderEpoch(3), Offset(3)}));
  EXPECT_EQ(response.results[1].log_start_offset, Offset(0));
  EXPECT_EQ(response.results[2].error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(response.results[2].leader->leader_id, NodeId(2));
  EXPECT_EQ(response.results[3].end, EpochEnd());
  EXPECT_EQ(response.results[4].error.code,
            ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(response.results[4].end, EpochEnd());
}

TEST_F(EpochEndHandlerTest, RefusesWholeRequestsByName) {
  EXPECT_THAT(Ask({}).results, IsEmpty());
  EXPECT_EQ(CodeOf(answered_.status), ErrorCode::kInvalidRequest);
  Ask({About(Named("a"), 0, 1), About(ById(fake_.a), 0, 1)});
  EXPECT_EQ(CodeOf(answered_.status), ErrorCode::kInvalidRequest);
}

class DeleteRecordsHandlerTest : public testing::Test {
 protected:
  static api::DeleteRecordsPartition Before(const api::TopicRef& topic,
                                            int partition, int64_t offset) {
    api::DeleteRecordsPartition asked;
    asked.topic = topic;
    asked.partition = PartitionIndex(partition);
    asked.before_offset = Offset(offset);
    return asked;
  }
  api::DeleteRecordsResponse Delete(
      std::vector<api::DeleteRecordsPartition> partitions,
      int32_t timeout_ms = 0) {
    answered_ = {};
    api::DeleteRecordsRequest request;
    request.partitions = std::move(partitions);
    request.timeout_ms = timeout_ms;
    handler_.DeleteRecords(context_, request, answered_.Expect());
    fake_.Run();
    EXPECT_EQ(answered_.times, 1);
    return std::move(answered_.response);
  }
  int64_t AllowedMs() {
    return (fake_.even.trims.back().deadline_us - asked_us_) / 1000;
  }

  FakeBroker fake_;
  api::CallContext context_;
  DeleteRecordsHandler handler_{fake_.deps()};
  Answered<api::DeleteRecordsResponse> answered_;
  int64_t asked_us_ = 0;
};

TEST_F(DeleteRecordsHandlerTest, InternalTopicsKeepTheirRecords) {
  ASSERT_TRUE(fake_.cluster.EnsureInternal(kConsumerOffsetsTopic).ok());
  fake_.image.Store(fake_.cluster.shared());
  const auto response = Delete({Before(Named(kConsumerOffsetsTopic), 0, 0),
                                Before(Named("a"), 0, 0)});
  ASSERT_THAT(response.results, SizeIs(2));
  EXPECT_EQ(response.results[0].error.code, ErrorCode::kInvalidTopic);
  EXPECT_TRUE(response.results[1].error.ok());
  EXPECT_THAT(fake_.even.trims, SizeIs(1));
}

TEST_F(DeleteRecordsHandlerTest, EveryPartitionHasItsOwnResult) {
  fake_.even.Lose(fake_.A(0), ErrorCode::kNotLeader);
  const auto response =
      Delete({Before(Named("a"), 1, 5), Before(Named("a"), 0, 5),
              Before(Named("a"), 9, 5), Before(ById(fake_.b), 2, -1)});
  ASSERT_THAT(response.results, SizeIs(4));
  EXPECT_EQ(response.results[0].log_start_offset, Offset(5));
  EXPECT_EQ(response.results[1].error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(response.results[1].leader->leader_id, NodeId(2));
  EXPECT_EQ(response.results[2].error.code,
            ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(response.results[2].log_start_offset, kNoOffset);
  EXPECT_TRUE(response.results[3].error.ok());
  EXPECT_EQ(fake_.even.trims.back().before, kNoOffset);
}

TEST_F(DeleteRecordsHandlerTest, WaitsAsLongAsAskedAndAllowed) {
  asked_us_ = fake_.world.MonoMicros();
  Delete({Before(Named("a"), 0, 1)});
  EXPECT_EQ(AllowedMs(), 30'000);
  asked_us_ = fake_.world.MonoMicros();
  Delete({Before(Named("a"), 0, 1)}, 70);
  EXPECT_EQ(AllowedMs(), 70);
  asked_us_ = fake_.world.MonoMicros();
  Delete({Before(Named("a"), 0, 1)}, INT32_MAX);
  EXPECT_EQ(AllowedMs(), 300'000);
  asked_us_ = fake_.world.MonoMicros();
  context_.deadline_us = asked_us_ + 1'050'000;
  Delete({Before(Named("a"), 0, 1)});
  EXPECT_EQ(AllowedMs(), 1'000);
}

TEST_F(DeleteRecordsHandlerTest, RefusesWholeRequestsByName) {
  EXPECT_THAT(Delete({}).results, IsEmpty());
  EXPECT_EQ(CodeOf(answered_.status), ErrorCode::kInvalidRequest);
  Delete({Before(Named("a"), 0, 1), Before(Named("a"), 0, 2)});
  EXPECT_EQ(CodeOf(answered_.status), ErrorCode::kInvalidRequest);
  Delete({Before(Named("a"), 0, 1)}, -1);
  EXPECT_EQ(CodeOf(answered_.status), ErrorCode::kInvalidRequest);
  EXPECT_THAT(fake_.even.trims, IsEmpty());
}

}  // namespace
}  // namespace sluice
