#include "broker/control/broker_lifecycle_testing.h"
#include "controller/metadata/control_result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// ---- Coming up ----

TEST_F(BrokerLifecycleTest, FindsItsClusterRegistersRecoversServes) {
  wanted_ = {0};
  cluster_.Register(TestCluster::Registration(kSelf, 1));
  epoch_ = cluster_.EpochOf(kSelf).value();
  Make();
  EXPECT_THAT(adopted_, ElementsAre(TestCluster::cluster_id()));
  EXPECT_EQ(clusters_, 1);
  ASSERT_THAT(registrations_, SizeIs(1));
  EXPECT_EQ(registrations_[0].broker_id(), kSelf);
  EXPECT_EQ(registrations_[0].cluster_id(),
            TestCluster::cluster_id().ToBytes());
  EXPECT_EQ(registrations_[0].directories(0).id(),
            TestCluster::Directory(kSelf));
  EXPECT_EQ(life_->state(), State::kRecovering);
  EXPECT_EQ(life_->epoch(), BrokerEpoch(epoch_));
  ASSERT_THAT(fake_.at(1).sessions, SizeIs(1));  // held from here on
  EXPECT_FALSE(LastBeat().want_unfence());

  Recover({Verdict(0)});
  EXPECT_EQ(life_->state(), State::kUnfencing);
  ASSERT_THAT(reports_, SizeIs(1));
  EXPECT_EQ(reports_[0].broker_epoch(), epoch_);
  EXPECT_TRUE(LastBeat().want_unfence());
  EXPECT_FALSE(life_->serving());

  PublishOwn();
  Answer(/*fenced=*/false);
  EXPECT_EQ(life_->state(), State::kRunning);
  EXPECT_TRUE(life_->serving());
  EXPECT_TRUE(serving_.back());
}

TEST_F(BrokerLifecycleTest, FencedAgainItServesNoMoreUntilUnfenced) {
  BringUp();
  Answer(/*fenced=*/true);
  EXPECT_FALSE(life_->serving());
  EXPECT_EQ(life_->state(), State::kRunning);
  Run(400);
  EXPECT_TRUE(LastBeat().want_unfence());
  Answer(/*fenced=*/false);
  EXPECT_TRUE(life_->serving());
}

TEST_F(BrokerLifecycleTest, AnAnswerOlderThanTheImageDoesNotUnfence) {
  BringUp();
  cluster_.Fence(kSelf);
  Publish();
  EXPECT_TRUE(life_->fenced());
  LivenessResponse late;
  late.set_fenced(false);
  late.set_committed_metadata_offset(applied_.value() - 1);
  fake_.at(1).sessions.back()->Answer(late);
  EXPECT_TRUE(life_->fenced());
}

TEST_F(BrokerLifecycleTest, DirectoriesOfAnotherClusterAreFatal) {
  identity_.cluster_id = ClusterId(Uuid(9, 9));
  Make();
  ASSERT_THAT(fatal_, SizeIs(1));
  EXPECT_EQ(CodeOf(fatal_[0]), ErrorCode::kInconsistentClusterId);
  EXPECT_THAT(registrations_, IsEmpty());
  EXPECT_THAT(adopted_, IsEmpty());
}

TEST_F(BrokerLifecycleTest, AnotherClusterNameIsFatal) {
  for (auto& controller : fake_.controllers) controller->cluster_name = "prod";
  Make();
  ASSERT_THAT(fatal_, SizeIs(1));
  EXPECT_THAT(std::string(fatal_[0].message()), HasSubstr("--cluster_name"));
}

TEST_F(BrokerLifecycleTest, ADirectoryThatCannotBeOwnedIsFatal) {
  adopt_status_ = MakeError(ErrorCode::kDataDirMismatch, "another's");
  Make();
  ASSERT_THAT(fatal_, SizeIs(1));
  EXPECT_EQ(CodeOf(fatal_[0]), ErrorCode::kDataDirMismatch);
  EXPECT_THAT(registrations_, IsEmpty());
}

TEST_F(BrokerLifecycleTest, RegistrationsThatCanNeverSucceedAreFatal) {
  registration_error_ = ErrorCode::kInvalidRegistration;
  Make();
  EXPECT_THAT(fatal_, SizeIs(1));
}

TEST_F(BrokerLifecycleTest, WaitsUntilItsOldLifeIsFenced) {  // F16
  registration_error_ = ErrorCode::kDuplicateBrokerRegistration;
  wanted_ = {0};
  Make();
  Run(3'000);
  EXPECT_GE(registrations_.size(), 10u);
  EXPECT_EQ(life_->state(), State::kRegistering);
  EXPECT_THAT(fatal_, IsEmpty());
  registration_error_ = ErrorCode::kNone;
  Run(500);
  EXPECT_EQ(life_->state(), State::kRecovering);
}

// ---- Verdicts ----

TEST_F(BrokerLifecycleTest, WhatTheControllerWaitsForComesFirst) {
  wanted_ = {7, 2};
  Make();
  EXPECT_THAT(host_.first, ElementsAre(Tp(7), Tp(2)));
  Tell({Verdict(1)});
  Tell({Verdict(2, /*lossy=*/true)});
  EXPECT_THAT(reports_, IsEmpty());
  EXPECT_EQ(life_->state(), State::kRecovering);
  EXPECT_FALSE(LastBeat().want_unfence());
  Tell({Verdict(7)});
  ASSERT_THAT(reports_, SizeIs(1));
  ASSERT_EQ(reports_[0].verdicts_size(), 2);
  EXPECT_EQ(reports_[0].verdicts(0).partition(), 7);
  EXPECT_EQ(reports_[0].verdicts(1).partition(), 2);
  EXPECT_TRUE(reports_[0].verdicts(1).lossy());
  // It may lead from here on, with most logs still to be opened.
  EXPECT_EQ(life_->state(), State::kUnfencing);
  EXPECT_TRUE(LastBeat().want_unfence());
  EXPECT_FALSE(life_->logs_recovered());
  Recover({Verdict(3)});
  EXPECT_THAT(reports_, SizeIs(1));
  EXPECT_TRUE(life_->logs_recovered());
}

TEST_F(BrokerLifecycleTest, AnUnusableLogIsToldThoughNobodyWaitsForIt) {
  ReplicaVerdict early = Verdict(1);
  early.set_failed(true);
  ReplicaVerdict late = Verdict(2);
  late.set_failed(true);
  registration_error_ = ErrorCode::kDuplicateBrokerRegistration;
  Make();
  Tell({Verdict(0), early});
  registration_error_ = ErrorCode::kNone;
  Run(500);
  ASSERT_THAT(reports_, SizeIs(1));
  ASSERT_EQ(reports_[0].verdicts_size(), 1);
  EXPECT_EQ(reports_[0].verdicts(0).partition(), 1);
  EXPECT_EQ(life_->state(), State::kUnfencing);
  Tell({late});
  ASSERT_THAT(reports_, SizeIs(2));
  ASSERT_EQ(reports_[1].verdicts_size(), 1);
  EXPECT_EQ(reports_[1].verdicts(0).partition(), 2);
}

TEST_F(BrokerLifecycleTest, ANewRegistrationAsksForWhatIsNotKnownYet) {
  wanted_ = {1};
  Make();
  Tell({Verdict(1)});
  ASSERT_THAT(reports_, SizeIs(1));
  wanted_ = {1, 2};
  ++epoch_;
  life_->OnStale(MakeError(ErrorCode::kStaleBrokerEpoch, "again"));
  Run(500);
  EXPECT_THAT(host_.first, ElementsAre(Tp(2)));
  EXPECT_THAT(reports_, SizeIs(1));
  EXPECT_FALSE(LastBeat().want_unfence());
  Tell({Verdict(2)});
  ASSERT_THAT(reports_, SizeIs(2));
  EXPECT_EQ(reports_[1].verdicts_size(), 2);
  EXPECT_EQ(reports_[1].broker_epoch(), epoch_);
}

TEST_F(BrokerLifecycleTest, WhereMoreMayBeWantedThanIsSaidAllIsTold) {
  for (int i = 0; i < kPartitionsPerCallMax; ++i) wanted_.push_back(i);
  Make();
  std::vector<ReplicaVerdict> verdicts;
  for (const int i : wanted_) verdicts.push_back(Verdict(i));
  Tell(verdicts);
  EXPECT_THAT(reports_, IsEmpty());
  Recover({Verdict(kPartitionsPerCallMax)});
  Run(500);
  int told = 0;
  for (const auto& report : reports_) told += report.verdicts_size();
  EXPECT_EQ(told, kPartitionsPerCallMax + 1);
  EXPECT_EQ(life_->state(), State::kUnfencing);
}

TEST_F(BrokerLifecycleTest, DisksAreNotJudgedWhileLogsAreRecovered) {
  BringUp(/*recovered=*/false);
  Serve(1'000);
  EXPECT_EQ(latencies_, 0);
  Recover();
  Serve(1'000);
  EXPECT_GT(latencies_, 0);
}

TEST_F(BrokerLifecycleTest, VerdictsAreReportedInPieces) {
  std::vector<ReplicaVerdict> verdicts;
  for (size_t i = 0; i < BrokerLifecycle::kVerdictsPerCall + 3; ++i) {
    wanted_.push_back(static_cast<int>(i));
    verdicts.push_back(Verdict(static_cast<int>(i)));
  }
  Make();
  Recover(verdicts);
  ASSERT_THAT(reports_, SizeIs(2));
  EXPECT_EQ(reports_[1].verdicts_size(), 3);
  EXPECT_EQ(life_->state(), State::kUnfencing);
}

TEST_F(BrokerLifecycleTest, RecoveryMayEndBeforeTheRegistration) {
  wanted_ = {0};
  registration_error_ = ErrorCode::kDuplicateBrokerRegistration;
  Make();
  Recover({Verdict(0)});
  EXPECT_THAT(reports_, IsEmpty());
  registration_error_ = ErrorCode::kNone;
  Run(500);
  EXPECT_THAT(reports_, SizeIs(1));
  EXPECT_EQ(life_->state(), State::kUnfencing);
}

TEST_F(BrokerLifecycleTest, AReportThatFailsIsRepeated) {
  report_error_ = ErrorCode::kInvalidRequest;
  wanted_ = {0};
  Make();
  Recover({Verdict(0)});
  EXPECT_EQ(life_->state(), State::kRecovering);
  report_error_ = ErrorCode::kNone;
  Run(1'100);
  EXPECT_EQ(life_->state(), State::kUnfencing);
}

TEST_F(BrokerLifecycleTest, AReplicaThatFailsInUseIsReported) {
  BringUp();
  reports_.clear();
  ReplicaVerdict failed = Verdict(3);
  failed.set_failed(true);
  life_->ReportFailed(failed);
  Run(10);
  ASSERT_THAT(reports_, SizeIs(1));
  ASSERT_EQ(reports_[0].verdicts_size(), 1);
  EXPECT_TRUE(reports_[0].verdicts(0).failed());
  EXPECT_TRUE(life_->serving());  // the others go on
}

// ---- Metadata ----

TEST_F(BrokerLifecycleTest, ImagesReachTheReplicasFromTheOwnRegistrationOn) {
  cluster_.StartAll(2);
  cluster_.CreateOn("t", {1, 2});
  Make();
  Publish();  // not registered in it
  EXPECT_THAT(host_.applied, IsEmpty());
  PublishOwn();
  ASSERT_THAT(host_.applied, SizeIs(1));
  EXPECT_THAT(host_.applied[0].changes.topics_created, SizeIs(1));  // all
  EXPECT_EQ(host_.applied[0].epoch, cluster_.EpochOf(kSelf));
  cluster_.CreateOn("u", {1});
  Publish();
  ASSERT_THAT(host_.applied, SizeIs(2));
  EXPECT_THAT(host_.applied[1].changes.topics_created, SizeIs(1));  // news
}

TEST_F(BrokerLifecycleTest, AStaleEpochAloneOnlyRegistersAgain) {  // F22
  BringUp();
  life_->OnStale(MakeError(ErrorCode::kStaleBrokerEpoch, "says a deposed one"));
  EXPECT_FALSE(fake_.at(1).sessions.back()->open);
  Run(500);
  EXPECT_THAT(registrations_, SizeIs(2));
  EXPECT_THAT(fatal_, IsEmpty());
  EXPECT_TRUE(fake_.at(1).sessions.back()->open);  // the same epoch, again
  Answer(/*fenced=*/false);
  EXPECT_TRUE(life_->serving());
}

TEST_F(BrokerLifecycleTest, AnotherProcessUnderItsIdIsFatal) {
  BringUp();
  cluster_.Fence(kSelf);
  cluster_.Register(TestCluster::Registration(kSelf, 2));
  Publish();
  ASSERT_THAT(fatal_, SizeIs(1));
  EXPECT_EQ(CodeOf(fatal_[0]), ErrorCode::kDuplicateBrokerRegistration);
  EXPECT_FALSE(fake_.at(1).sessions.back()->open);
}

TEST_F(BrokerLifecycleTest, AnEarlierLifeInTheMetadataIsNot) {
  cluster_.Register(TestCluster::Registration(kSelf, 9));
  epoch_ = cluster_.EpochOf(kSelf).value() + 10;
  Make();
  Publish();  // replayed history shows the life before this one
  EXPECT_THAT(fatal_, IsEmpty());
}

TEST_F(BrokerLifecycleTest, WhatReplicasTellOfTheirLogsGoesBehindTheVerdicts) {
  cluster_.Register(TestCluster::Registration(kSelf, 1));
  epoch_ = cluster_.EpochOf(kSelf).value();
  wanted_ = {0};
  Make();
  ReplicaVerdict told = Verdict(7);
  told.set_candidate_epoch(4);
  life_->TellLog(told);
  told.set_log_end_offset(90);  // the newest of a partition is what is sent
  life_->TellLog(told);
  Run(50);
  EXPECT_THAT(reports_, IsEmpty());
  Recover({Verdict(0)});
  Run(50);
  ASSERT_THAT(reports_, SizeIs(2));
  EXPECT_EQ(reports_[0].verdicts(0).partition(), 0);
  EXPECT_FALSE(reports_[0].verdicts(0).has_candidate_epoch());
  ASSERT_EQ(reports_[1].verdicts_size(), 1);
  EXPECT_EQ(reports_[1].verdicts(0).candidate_epoch(), 4);
  EXPECT_EQ(reports_[1].verdicts(0).log_end_offset(), 90);
}

TEST_F(BrokerLifecycleTest, AReplicaThatFailsBeforeItIsReportedIsReportedOnce) {
  cluster_.Register(TestCluster::Registration(kSelf, 1));
  epoch_ = cluster_.EpochOf(kSelf).value();
  report_error_ = ErrorCode::kUnknownServerError;
  wanted_ = {0};
  Make();
  Recover({Verdict(0)});
  ReplicaVerdict failed = Verdict(0);
  failed.set_failed(true);
  life_->ReportFailed(failed);
  Run(50);
  report_error_ = ErrorCode::kNone;
  Run(2'000);
  ASSERT_FALSE(reports_.empty());
  ASSERT_EQ(reports_.back().verdicts_size(), 1);
  EXPECT_TRUE(reports_.back().verdicts(0).failed());
  EXPECT_EQ(life_->state(), State::kUnfencing);
}

}  // namespace
}  // namespace sluice
