#include "broker/control/isr_reporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/control/fake_controllers_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using internal::v1::AlterPartition;
using internal::v1::AlterPartitionsRequest;
using internal::v1::AlterPartitionsResponse;
using Outcome = IsrDecision::Outcome;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TopicPartition Tp(int n) { return {TopicId(Uuid(5, 5)), PartitionIndex(n)}; }

AlterPartition Proposal(int partition, int partition_epoch = 1,
                        int leader_epoch = 1) {
  AlterPartition proposal;
  proposal.set_topic_id(Tp(partition).topic_id.ToBytes());
  proposal.set_partition(partition);
  proposal.set_leader_epoch(leader_epoch);
  proposal.set_partition_epoch(partition_epoch);
  proposal.add_new_isr()->set_broker_id(4);
  return proposal;
}

class IsrReporterTest : public testing::Test {
 protected:
  IsrReporterTest() {
    IsrReporter::Deps deps;
    deps.executor = fake_.executor.get();
    deps.clock = &fake_.world;
    deps.directory = fake_.directory.get();
    deps.node_id = NodeId(4);
    deps.on_decisions = [this](std::vector<IsrDecision> made) {
      decisions_.insert(decisions_.end(), made.begin(), made.end());
    };
    deps.own_epoch = [this] { return epoch_; };
    deps.on_stale = [this](absl::Status why) {
      stale_.push_back(CodeOf(why));
    };
    reporter_ = std::make_unique<IsrReporter>(std::move(deps));
    fake_.StartWithActive(1);
    AnswerWith([](const AlterPartition& change,
                  internal::v1::AlterPartitionResult& result) {
      result.set_partition_epoch(change.partition_epoch() + 1);
    });
  }
  // Decides each proposal by itself.
  void AnswerWith(std::function<void(const AlterPartition&,
                                     internal::v1::AlterPartitionResult&)>
                      decide) {
    fake_.at(1).alter_partitions =
        [this, decide](const AlterPartitionsRequest& request)
        -> absl::StatusOr<AlterPartitionsResponse> {
      requests_.push_back(request);
      AlterPartitionsResponse response;
      for (const auto& change : request.partitions()) {
        auto* result = response.add_results();
        result->set_topic_id(change.topic_id());
        result->set_partition(change.partition());
        decide(change, *result);
      }
      return response;
    };
  }
  void AnswerAll(ErrorCode code) {
    AnswerWith([code](const AlterPartition&,
                      internal::v1::AlterPartitionResult& result) {
      result.mutable_error()->set_code(
          static_cast<v1::ErrorCode>(static_cast<int>(code)));
    });
  }
  void Run(int64_t ms) { fake_.world.RunFor(ms * 1000); }

  ControlWorld fake_;
  BrokerEpoch epoch_{17};
  std::vector<IsrDecision> decisions_;
  std::vector<ErrorCode> stale_;
  std::vector<AlterPartitionsRequest> requests_;
  std::unique_ptr<IsrReporter> reporter_;
};

TEST(IsrOutcomeTest, EachErrorMeansOneThingToTheLeader) {
  const auto of = [](ErrorCode code) { return IsrReporter::OutcomeOf(code); };
  EXPECT_EQ(of(ErrorCode::kNone), Outcome::kApplied);
  EXPECT_EQ(of(ErrorCode::kIneligibleReplica), Outcome::kNotApplied);
  for (const ErrorCode code :
       {ErrorCode::kFencedLeaderEpoch, ErrorCode::kInvalidUpdateVersion,
        ErrorCode::kInvalidRequest, ErrorCode::kUnknownTopicOrPartition,
        ErrorCode::kUnknownTopicId, ErrorCode::kStaleBrokerEpoch}) {
    EXPECT_EQ(of(code), Outcome::kStale) << NameOf(code);
  }
  for (const ErrorCode code : {ErrorCode::kNotController, ErrorCode::kBusy,
                               ErrorCode::kUnknownServerError}) {
    EXPECT_EQ(of(code), std::nullopt) << NameOf(code);
  }
}

TEST_F(IsrReporterTest, ProposalsOfAMomentShareACall) {
  reporter_->Propose(Proposal(0));
  reporter_->Propose(Proposal(1));
  Run(10);
  ASSERT_THAT(requests_, SizeIs(1));
  EXPECT_EQ(requests_[0].broker_id(), 4);
  EXPECT_EQ(requests_[0].broker_epoch(), 17);
  EXPECT_EQ(requests_[0].partitions_size(), 2);
  ASSERT_THAT(decisions_, SizeIs(2));
  EXPECT_EQ(decisions_[0].tp, Tp(0));
  EXPECT_EQ(decisions_[0].outcome, Outcome::kApplied);
  EXPECT_EQ(decisions_[0].partition_epoch, PartitionEpoch(1));
  EXPECT_EQ(decisions_[0].applied_epoch, PartitionEpoch(2));
  EXPECT_EQ(decisions_[0].leader_epoch, LeaderEpoch(1));
  EXPECT_EQ(reporter_->pending(), 0u);
}

TEST_F(IsrReporterTest, OneCallIsInFlight) {
  reporter_->Propose(Proposal(0));
  fake_.world.RunFor(IsrReporter::kWindowUs + 100);
  reporter_->Propose(Proposal(1));
  fake_.world.RunFor(300);
  EXPECT_THAT(requests_, SizeIs(1));
  Run(10);
  EXPECT_THAT(requests_, SizeIs(2));
}

// F11, RP15: the first attempt was carried out and its answer lost; the second
// must be the same, so that it can only be found stale.
TEST_F(IsrReporterTest, ALostAnswerIsAskedAgainUnchangedAndFoundOut) {
  fake_.at(1).mute = true;
  reporter_->Propose(Proposal(0));
  Run(10);
  EXPECT_EQ(fake_.at(1).calls["AlterPartitions"], 1);
  reporter_->Propose(Proposal(1));  // waits its turn
  Run(1000);
  fake_.at(1).mute = false;
  AnswerAll(ErrorCode::kInvalidUpdateVersion);
  Run(3000);
  ASSERT_GE(requests_.size(), 1u);
  EXPECT_EQ(requests_[0].partitions_size(), 1);
  EXPECT_EQ(requests_[0].partitions(0).SerializeAsString(),
            Proposal(0).SerializeAsString());
  ASSERT_GE(decisions_.size(), 1u);
  EXPECT_EQ(decisions_[0].outcome, Outcome::kStale);
}

TEST_F(IsrReporterTest, IneligibleIsNotApplied) {
  AnswerAll(ErrorCode::kIneligibleReplica);
  reporter_->Propose(Proposal(0));
  Run(10);
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_EQ(decisions_[0].outcome, Outcome::kNotApplied);
  EXPECT_EQ(decisions_[0].partition_epoch, PartitionEpoch(1));
}

// RP15: the first attempt is on its way somewhere. The refusal of the second
// does not say that the first will be refused too.
TEST_F(IsrReporterTest, IneligibleAfterALostAttemptIsUnknown) {
  fake_.at(1).mute = true;
  reporter_->Propose(Proposal(0));
  Run(1000);
  fake_.at(1).mute = false;
  AnswerAll(ErrorCode::kIneligibleReplica);
  Run(3000);
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_EQ(decisions_[0].outcome, Outcome::kUnknown);
}

TEST_F(IsrReporterTest, WhatIsNotDecidedIsAskedAgain) {
  AnswerAll(ErrorCode::kNotController);
  reporter_->Propose(Proposal(0));
  Run(10);
  EXPECT_THAT(decisions_, IsEmpty());
  EXPECT_EQ(reporter_->pending(), 1u);
  AnswerAll(ErrorCode::kNone);
  Run(500);
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_EQ(decisions_[0].outcome, Outcome::kApplied);
}

TEST_F(IsrReporterTest, ALaterStateOfThePartitionReplacesAnOlder) {
  epoch_ = kNoBrokerEpoch;  // hold them back
  reporter_->Propose(Proposal(0, 5, 2));
  reporter_->Propose(Proposal(0, 9, 1));  // of an older leader epoch: dropped
  reporter_->Propose(Proposal(0, 6, 2));
  Run(10);
  EXPECT_THAT(requests_, IsEmpty());
  epoch_ = BrokerEpoch(17);
  Run(500);
  ASSERT_THAT(requests_, SizeIs(1));
  ASSERT_EQ(requests_[0].partitions_size(), 1);
  EXPECT_EQ(requests_[0].partitions(0).partition_epoch(), 6);
}

TEST_F(IsrReporterTest, AStaleBrokerRegistersAgainAndItsLeadersWait) {
  fake_.at(1).alter_partitions = [](const auto&)
      -> absl::StatusOr<AlterPartitionsResponse> {
    AlterPartitionsResponse response;
    response.mutable_error()->set_code(v1::ERROR_CODE_STALE_BROKER_EPOCH);
    return response;
  };
  reporter_->Propose(Proposal(0));
  Run(10);
  EXPECT_THAT(stale_, ElementsAre(ErrorCode::kStaleBrokerEpoch));
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_EQ(decisions_[0].outcome, Outcome::kStale);
}

TEST_F(IsrReporterTest, WhatTheAnswerLeavesOutIsUnknown) {
  fake_.at(1).alter_partitions =
      [](const auto&) -> absl::StatusOr<AlterPartitionsResponse> {
    return AlterPartitionsResponse();
  };
  reporter_->Propose(Proposal(0));
  Run(10);
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_EQ(decisions_[0].outcome, Outcome::kUnknown);
}

TEST_F(IsrReporterTest, CallsAreBounded) {
  for (size_t i = 0; i < IsrReporter::kPerCallMax + 5; ++i) {
    reporter_->Propose(Proposal(static_cast<int>(i)));
  }
  Run(50);
  ASSERT_THAT(requests_, SizeIs(2));
  EXPECT_EQ(requests_[0].partitions_size(),
            static_cast<int>(IsrReporter::kPerCallMax));
  EXPECT_EQ(requests_[1].partitions_size(), 5);
}

TEST_F(IsrReporterTest, BeyondTheBoundTheOutcomeIsUnknownAtOnce) {
  epoch_ = kNoBrokerEpoch;
  for (size_t i = 0; i <= IsrReporter::kPendingMax; ++i) {
    reporter_->Propose(Proposal(static_cast<int>(i)));
  }
  Run(1);
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_EQ(decisions_[0].outcome, Outcome::kUnknown);
  EXPECT_EQ(reporter_->pending(), IsrReporter::kPendingMax);
}

TEST_F(IsrReporterTest, AStoppedReporterSaysNothing) {
  reporter_->Propose(Proposal(0));
  fake_.world.RunFor(IsrReporter::kWindowUs + 100);
  reporter_->Stop();
  reporter_->Propose(Proposal(1));
  Run(1000);
  EXPECT_THAT(decisions_, IsEmpty());
  EXPECT_THAT(requests_, SizeIs(1));
}

}  // namespace
}  // namespace sluice
