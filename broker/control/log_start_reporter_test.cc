#include "broker/control/log_start_reporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/control/fake_controllers_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using internal::v1::AdvanceLogStart;
using internal::v1::AlterPartitionsRequest;
using internal::v1::AlterPartitionsResponse;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TopicPartition Tp(int n) { return {TopicId(Uuid(5, 5)), PartitionIndex(n)}; }

class LogStartReporterTest : public testing::Test {
 protected:
  LogStartReporterTest() {
    LogStartReporter::Deps deps;
    deps.executor = fake_.executor.get();
    deps.clock = &fake_.world;
    deps.directory = fake_.directory.get();
    deps.node_id = NodeId(4);
    deps.on_decisions = [this](std::vector<LogStartDecision> made) {
      decisions_.insert(decisions_.end(), made.begin(), made.end());
    };
    deps.own_epoch = [this] { return epoch_; };
    deps.on_stale = [this](absl::Status why) {
      stale_.push_back(CodeOf(why));
    };
    reporter_ = std::make_unique<LogStartReporter>(std::move(deps));
    fake_.StartWithActive(1);
    AnswerAll(ErrorCode::kNone);
  }
  void AnswerAll(ErrorCode code) {
    fake_.at(1).alter_partitions =
        [this, code](const AlterPartitionsRequest& request)
        -> absl::StatusOr<AlterPartitionsResponse> {
      requests_.push_back(request);
      AlterPartitionsResponse response;
      for (const auto& wanted : request.log_starts()) {
        auto* result = response.add_log_starts();
        result->set_topic_id(wanted.topic_id());
        result->set_partition(wanted.partition());
        result->set_log_start_offset(wanted.log_start_offset());
        if (code == ErrorCode::kNone) continue;
        result->mutable_error()->set_code(
            static_cast<v1::ErrorCode>(static_cast<int>(code)));
      }
      return response;
    };
  }
  void Record(int partition, int64_t start, int64_t timeout_ms = 60'000,
              int leader_epoch = 1) {
    AdvanceLogStart wanted;
    wanted.set_topic_id(Tp(partition).topic_id.ToBytes());
    wanted.set_partition(partition);
    wanted.set_leader_epoch(leader_epoch);
    wanted.set_log_start_offset(start);
    reporter_->Record(std::move(wanted),
                      fake_.world.MonoMicros() + timeout_ms * 1000);
  }
  void Run(int64_t ms) { fake_.world.RunFor(ms * 1000); }

  ControlWorld fake_;
  BrokerEpoch epoch_{17};
  std::vector<LogStartDecision> decisions_;
  std::vector<ErrorCode> stale_;
  std::vector<AlterPartitionsRequest> requests_;
  std::unique_ptr<LogStartReporter> reporter_;
};

TEST_F(LogStartReporterTest, TrimsOfAMomentShareACall) {
  Record(0, 7);
  Record(1, 9);
  Record(1, 8);  // less
  Run(10);
  ASSERT_THAT(requests_, SizeIs(1));
  EXPECT_EQ(requests_[0].broker_id(), 4);
  EXPECT_EQ(requests_[0].broker_epoch(), 17);
  EXPECT_EQ(requests_[0].partitions_size(), 0);
  ASSERT_EQ(requests_[0].log_starts_size(), 2);
  EXPECT_EQ(requests_[0].log_starts(1).log_start_offset(), 9);
  ASSERT_THAT(decisions_, SizeIs(2));
  EXPECT_EQ(decisions_[0].tp, Tp(0));
  EXPECT_TRUE(decisions_[0].status.ok());
  EXPECT_EQ(decisions_[0].log_start, Offset(7));
  EXPECT_EQ(decisions_[0].leader_epoch, LeaderEpoch(1));
  EXPECT_EQ(decisions_[1].log_start, Offset(9));
  EXPECT_EQ(reporter_->pending(), 0u);
}

TEST_F(LogStartReporterTest, OneCallIsInFlight) {
  Record(0, 7);
  fake_.world.RunFor(LogStartReporter::kWindowUs + 100);
  Record(0, 9);
  fake_.world.RunFor(300);
  EXPECT_THAT(requests_, SizeIs(1));
  Run(10);
  ASSERT_THAT(requests_, SizeIs(2));
  EXPECT_EQ(requests_[1].log_starts(0).log_start_offset(), 9);
}

TEST_F(LogStartReporterTest, ALeadershipThatIsOverIsNotLeader) {
  for (const ErrorCode code :
       {ErrorCode::kFencedLeaderEpoch, ErrorCode::kInvalidRequest}) {
    decisions_.clear();
    AnswerAll(code);
    Record(0, 7);
    Run(20);
    ASSERT_THAT(decisions_, SizeIs(1));
    EXPECT_EQ(CodeOf(decisions_[0].status), ErrorCode::kNotLeader);
    EXPECT_FALSE(decisions_[0].uncertain);
  }
  decisions_.clear();
  AnswerAll(ErrorCode::kUnknownTopicId);
  Record(0, 7);
  Run(20);
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_EQ(CodeOf(decisions_[0].status), ErrorCode::kUnknownTopicId);
}

TEST_F(LogStartReporterTest, WhatIsNotDecidedIsAskedAgain) {
  AnswerAll(ErrorCode::kNotController);
  Record(0, 7);
  Run(10);
  EXPECT_THAT(decisions_, IsEmpty());
  EXPECT_EQ(reporter_->pending(), 1u);
  AnswerAll(ErrorCode::kNone);
  Run(500);
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_TRUE(decisions_[0].status.ok());
}

TEST_F(LogStartReporterTest, WhatTheAnswerLeavesOutIsAskedAgain) {
  fake_.at(1).alter_partitions =
      [](const auto&) -> absl::StatusOr<AlterPartitionsResponse> {
    return AlterPartitionsResponse();
  };
  Record(0, 7);
  Run(10);
  EXPECT_THAT(decisions_, IsEmpty());
  AnswerAll(ErrorCode::kNone);
  Run(500);
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_TRUE(decisions_[0].uncertain);
}

// Nobody took it: nothing will come of it.
TEST_F(LogStartReporterTest, WithoutAControllerItEndsInTimeAndSaysWhy) {
  fake_.SetActive(-1);
  fake_.directory->Doubt(NodeId(1));
  Record(0, 7, /*timeout_ms=*/300);
  Record(1, 7, /*timeout_ms=*/60'000);
  Run(1000);
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_EQ(decisions_[0].tp, Tp(0));
  EXPECT_EQ(CodeOf(decisions_[0].status), ErrorCode::kRequestTimedOut);
  EXPECT_THAT(std::string(decisions_[0].status.message()),
              HasSubstr("no active controller"));
  EXPECT_FALSE(decisions_[0].uncertain);
  // The other is asked on.
  EXPECT_EQ(reporter_->pending(), 1u);
}

TEST_F(LogStartReporterTest, AQuestionWithoutAnAnswerMayStillBeRecorded) {
  fake_.at(1).mute = true;
  Record(0, 7, /*timeout_ms=*/300);
  Run(1000);
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_EQ(CodeOf(decisions_[0].status), ErrorCode::kRequestTimedOut);
  EXPECT_TRUE(decisions_[0].uncertain);
}

TEST_F(LogStartReporterTest, WhoIsNotRegisteredWaitsAndEndsInTime) {
  epoch_ = kNoBrokerEpoch;
  Record(0, 7, /*timeout_ms=*/300);
  Record(1, 7);
  Run(1000);
  EXPECT_THAT(requests_, IsEmpty());
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_EQ(decisions_[0].tp, Tp(0));
  epoch_ = BrokerEpoch(17);
  Run(500);
  ASSERT_THAT(decisions_, SizeIs(2));
  EXPECT_TRUE(decisions_[1].status.ok());
}

TEST_F(LogStartReporterTest, ALaterLeadershipReplacesAnOlder) {
  epoch_ = kNoBrokerEpoch;  // hold them back
  Record(0, 5, 60'000, /*leader_epoch=*/2);
  Record(0, 9, 60'000, /*leader_epoch=*/1);
  Run(10);
  epoch_ = BrokerEpoch(17);
  Run(500);
  ASSERT_THAT(requests_, SizeIs(1));
  EXPECT_EQ(requests_[0].log_starts(0).log_start_offset(), 5);
}

TEST_F(LogStartReporterTest, AStaleBrokerRegistersAgain) {
  fake_.at(1).alter_partitions = [](const auto&)
      -> absl::StatusOr<AlterPartitionsResponse> {
    AlterPartitionsResponse response;
    response.mutable_error()->set_code(v1::ERROR_CODE_STALE_BROKER_EPOCH);
    return response;
  };
  Record(0, 7);
  Run(10);
  EXPECT_THAT(stale_, ElementsAre(ErrorCode::kStaleBrokerEpoch));
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_EQ(CodeOf(decisions_[0].status), ErrorCode::kNotLeader);
}

TEST_F(LogStartReporterTest, CallsAreBounded) {
  for (size_t i = 0; i < LogStartReporter::kPerCallMax + 5; ++i) {
    Record(static_cast<int>(i), 1);
  }
  Run(50);
  ASSERT_THAT(requests_, SizeIs(2));
  EXPECT_EQ(requests_[0].log_starts_size(),
            static_cast<int>(LogStartReporter::kPerCallMax));
  EXPECT_EQ(requests_[1].log_starts_size(), 5);
}

TEST_F(LogStartReporterTest, BeyondTheBoundItIsBusyAtOnce) {
  epoch_ = kNoBrokerEpoch;
  for (size_t i = 0; i <= LogStartReporter::kPendingMax; ++i) {
    Record(static_cast<int>(i), 1);
  }
  Run(1);
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_EQ(CodeOf(decisions_[0].status), ErrorCode::kBusy);
  EXPECT_EQ(reporter_->pending(), LogStartReporter::kPendingMax);
}

TEST_F(LogStartReporterTest, AStoppedReporterSaysNothing) {
  Record(0, 7);
  fake_.world.RunFor(LogStartReporter::kWindowUs + 100);
  reporter_->Stop();
  Record(1, 7);
  Run(1000);
  EXPECT_THAT(decisions_, IsEmpty());
  EXPECT_THAT(requests_, SizeIs(1));
}

}  // namespace
}  // namespace sluice
