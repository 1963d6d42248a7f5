#include "controller/controller.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "controller/controller_fixture_testing.h"

namespace sluice {
namespace {

using internal::v1::AlterPartitionsResponse;
using internal::v1::FollowMetadataResponse;
using internal::v1::LivenessRequest;
using internal::v1::LivenessResponse;
using internal::v1::RegisterBrokerResponse;

TEST_F(ControllerTest, TheFirstRecordOfAClusterIsItsFeatureLevel) {
  EXPECT_EQ(Image().feature_level(), 0);
  Lead();
  EXPECT_EQ(Image().feature_level(), kFeatureLevelMax);
  const size_t proposals = log_.proposals();
  log_.Depose(Term(2), NodeId(2));
  Lead(3);
  EXPECT_EQ(log_.proposals(), proposals);  // once
}

TEST_F(ControllerTest, TopicsAreCreatedAnsweredAtTheirOffsetAndDeleted) {
  Lead();
  JoinAll(3);
  const auto created = Create("orders", 6);
  EXPECT_FALSE(created.arrived());  // not before it is committed
  Run();
  ASSERT_TRUE(created.answer().ok()) << created.answer().status();
  EXPECT_FALSE(created->results(0).has_error());
  EXPECT_EQ(created->metadata_offset(), Image().offset().value());
  ASSERT_NE(Image().FindTopic("orders"), nullptr);
  EXPECT_EQ(Image().partition_count(), 6u);

  const auto again = Create("orders");
  Run();
  EXPECT_EQ(again->results(0).error().code(),
            v1::ERROR_CODE_TOPIC_ALREADY_EXISTS);

  const TopicId old = Image().FindTopic("orders")->id;
  const auto deleted = Delete("orders");
  // The name is free at once, before the deletion has committed.
  const auto reused = Create("orders");
  Run();
  ASSERT_TRUE(deleted.answer().ok());
  EXPECT_FALSE(deleted->results(0).has_error());
  ASSERT_TRUE(reused.answer().ok());
  EXPECT_FALSE(reused->results(0).has_error());
  EXPECT_NE(Image().FindTopic("orders")->id, old);
}

TEST_F(ControllerTest, TwoCreationsOfOneNameAtTheSameMomentAreOneTopic) {
  Lead();
  JoinAll(1);
  const auto first = Create("t", 1, 1);
  const auto second = Create("t", 1, 1);
  Run();
  EXPECT_FALSE(first->results(0).has_error());
  EXPECT_EQ(second->results(0).error().code(),
            v1::ERROR_CODE_TOPIC_ALREADY_EXISTS);
}

TEST_F(ControllerTest, RegistrationIsIdempotentForOneIncarnation) {
  Lead();
  const auto first = Register(1, 1);
  const auto again = Register(1, 1);
  EXPECT_EQ(first->broker_epoch(), again->broker_epoch());
  EXPECT_EQ(first->broker_epoch(), Image().offset().value());
  EXPECT_TRUE(Image().FindBroker(NodeId(1))->fenced);
}

TEST_F(ControllerTest, ASecondProcessUnderALivingIdIsRefused) {
  Lead();
  Join(1);
  const auto other = Register(1, 2);
  EXPECT_EQ(other.code(), ErrorCode::kDuplicateBrokerRegistration);
}

// RP19, F: the new incarnation of a process that died takes over at once.
TEST_F(ControllerTest, ARestartedProcessRegistersWhileItsOldStreamIsBroken) {
  Lead();
  JoinAll(3);
  Create("t");
  Run();
  const int leader = At("t").leader.value();
  const LeaderEpoch epoch = At("t").leader_epoch;
  brokers_[leader].events.on_closed(absl::UnavailableError("reset"));
  const auto again = Register(leader, 2);
  ASSERT_TRUE(again.answer().ok()) << again.answer().status();
  EXPECT_NE(At("t").leader, NodeId(leader));
  EXPECT_GT(At("t").leader_epoch, epoch);
  EXPECT_FALSE(Contains(At("t").isr, NodeId(leader)));
}

TEST_F(ControllerTest, ARefusedDialFencesAndElectsInMilliseconds) {
  Lead();
  JoinAll(3);
  Create("t", 50);
  Run();
  const int64_t before_us = world_.MonoMicros();
  const int dead = At("t").leader.value();
  dialer_.answers[StrCat("b", dead)] = DialResult::kRefused;
  brokers_[dead].events.on_closed(absl::UnavailableError("reset"));
  ASSERT_TRUE(world_.RunUntil(
      [&] { return Image().FindBroker(NodeId(dead))->fenced; }, 1'000'000));
  EXPECT_LT(world_.MonoMicros() - before_us, 20'000);
  for (const auto& [id, topic] : Image().topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      EXPECT_NE(partition->leader, NodeId(dead));
      EXPECT_NE(partition->leader, kNoNode);
    }
  }
}

TEST_F(ControllerTest, ASilentBrokerIsFencedWhenItsSessionEnds) {
  Lead();
  JoinAll(3);
  Live(2800, {1, 3});
  EXPECT_FALSE(Image().FindBroker(NodeId(2))->fenced);
  Live(500, {1, 3});
  EXPECT_TRUE(Image().FindBroker(NodeId(2))->fenced);
  EXPECT_FALSE(Image().FindBroker(NodeId(1))->fenced);
  // Its next heartbeat brings it back.
  Beat(2, [](LivenessRequest& r) { r.set_want_unfence(true); });
  Run();
  EXPECT_FALSE(Image().FindBroker(NodeId(2))->fenced);
}

TEST_F(ControllerTest, CutOffFromEveryBrokerItAsksAnotherToLeadAndFencesLater) {
  Lead();
  JoinAll(3);
  Live(1000, {1, 2, 3});
  Live(1700, {});
  EXPECT_EQ(log_.transfers, 1);
  EXPECT_FALSE(Image().FindBroker(NodeId(1))->fenced);
  // Nobody took over.
  Live(1700, {});
  EXPECT_EQ(log_.transfers, 1);
  for (const int id : {1, 2, 3}) {
    EXPECT_TRUE(Image().FindBroker(NodeId(id))->fenced) << id;
  }
}

TEST_F(ControllerTest, AControlledStopMovesLeadershipsAndThenPermits) {
  Lead();
  JoinAll(3);
  Create("t", 6);
  Run();
  Beat(1, [](LivenessRequest& r) { r.set_want_shutdown(true); });
  Run();
  EXPECT_FALSE(LeadsAny(Image(), NodeId(1)));
  EXPECT_EQ(Image().FindBroker(NodeId(1))->stopping, true);
  EXPECT_FALSE(brokers_[1].stream->sent.back().may_shutdown());
  Beat(2);
  Beat(3);
  Beat(1, [](LivenessRequest& r) { r.set_want_shutdown(true); });
  EXPECT_TRUE(brokers_[1].stream->sent.back().may_shutdown());
}

// RP14, RP15: one answer a partition, each check named.
TEST_F(ControllerTest, IsrChangesAreCheckedAgainstEpochsAndMembers) {
  Lead();
  JoinAll(3);
  Create("t");
  Run();
  const TopicPartition tp = First("t");
  const int leader = At("t").leader.value();
  const auto shrunk = Alter(tp, {leader});
  Run();
  ASSERT_TRUE(shrunk.answer().ok()) << shrunk.answer().status();
  EXPECT_FALSE(shrunk->results(0).has_error());
  EXPECT_EQ(At("t").isr.size(), 1u);

  const auto code = [&](const Reply<AlterPartitionsResponse>& reply) {
    Run();
    return reply.answer().ok() ? reply->results(0).error().code()
                               : static_cast<v1::ErrorCode>(reply.code());
  };
  EXPECT_EQ(code(Alter(tp, {leader, 1, 2, 3},
                       [](auto& r) {
                         r.mutable_partitions(0)->set_partition_epoch(0);
                       })),
            v1::ERROR_CODE_INVALID_UPDATE_VERSION);
  EXPECT_EQ(code(Alter(tp, {leader},
                       [](auto& r) {
                         r.mutable_partitions(0)->set_leader_epoch(-1);
                       })),
            v1::ERROR_CODE_FENCED_LEADER_EPOCH);
  EXPECT_EQ(code(Alter(tp, {leader}, [](auto& r) { r.set_broker_epoch(1); })),
            v1::ERROR_CODE_STALE_BROKER_EPOCH);
  const int other = leader == 1 ? 2 : 1;
  EXPECT_EQ(code(Alter(tp, {leader, other},
                       [](auto& r) {
                         r.mutable_partitions(0)
                             ->mutable_new_isr(1)
                             ->set_broker_epoch(1);
                       })),
            v1::ERROR_CODE_INELIGIBLE_REPLICA);
  EXPECT_EQ(At("t").isr.size(), 1u);
}

TEST_F(ControllerTest, AFencedReplicaIsNoMember) {
  Lead();
  JoinAll(3);
  Create("t");
  Run();
  const int leader = At("t").leader.value();
  const int dead = leader == 1 ? 2 : 1;
  Die(dead);
  ASSERT_FALSE(Contains(At("t").isr, NodeId(dead)));
  std::vector<int> wanted = {1, 2, 3};
  const auto refused = Alter(First("t"), wanted);
  Run();
  EXPECT_EQ(refused->results(0).error().code(),
            v1::ERROR_CODE_INELIGIBLE_REPLICA);
}

TEST_F(ControllerTest, NobodyIsAnsweredBeforeThisNodeIsActive) {
  EXPECT_EQ(Register(1, 1).code(), ErrorCode::kNotController);
  const auto created = Create("t");
  Run();
  EXPECT_EQ(created.code(), ErrorCode::kNotController);
  Reply<v1::DescribeQuorumResponse> quorum;
  controller_->DescribeQuorum({}, quorum.Catch());
  Reply<internal::v1::HelloResponse> hello;
  controller_->Hello({}, hello.Catch());
  Run();
  EXPECT_EQ(quorum.code(), ErrorCode::kNotController);
  ASSERT_TRUE(hello.answer().ok());  // any controller says who leads
  EXPECT_EQ(hello->active_controller_id(), kNoNode.value());
}

TEST_F(ControllerTest, ADepositionAnswersWhatIsUnderWayAndRefusesTheRest) {
  Lead();
  JoinAll(3);
  log_.Hold();
  const auto created = Create("t");
  Run();
  EXPECT_FALSE(created.arrived());
  log_.Depose(Term(2), NodeId(3));
  Run();
  EXPECT_EQ(created.code(), ErrorCode::kOutcomeUnknown);
  EXPECT_EQ(created.count(), 1);
  EXPECT_TRUE(brokers_[1].stream->closed.has_value());
  const auto late = Create("u");
  Run();
  EXPECT_EQ(late.code(), ErrorCode::kNotController);
  // Nobody is fenced by a controller that is not active.
  const LogIndex offset = Image().offset();
  Run(10'000);
  EXPECT_EQ(Image().offset(), offset);
}

// F22: a deposed controller that does not know it yet refuses nothing.
TEST_F(ControllerTest, ARefusalNeedsAQuorumsWord) {
  Lead();
  JoinAll(1);
  Create("t", 1, 1);
  Run();
  log_.Hold();  // partitioned from the quorum
  const auto refused = Create("t", 1, 1);
  Run(1000);
  EXPECT_FALSE(refused.arrived());
  log_.Depose(Term(2), NodeId(2));
  Run();
  EXPECT_EQ(refused.code(), ErrorCode::kNotController);
}

TEST_F(ControllerTest, EveryCommittedChangeReachesAFollower) {
  Lead();
  const auto stream = std::make_shared<FakeStream<FollowMetadataResponse>>();
  internal::v1::FollowMetadataRequest request;
  auto events = controller_->AcceptMetadataFollower(request, stream);
  JoinAll(2);
  Create("t", 4, 2);
  Run();
  events.on_drained();
  auto image = MetadataImage::Empty();
  for (size_t i = 0; i < stream->sent.size(); ++i) {
    for (const auto& batch : stream->sent[i].batches()) {
      auto applied = ApplyBatch(*image, batch.batch(),
                                LogIndex(batch.offset()), Term(batch.term()));
      ASSERT_TRUE(applied.ok()) << applied.status();
      image = applied->image;
    }
    events.on_drained();
  }
  EXPECT_EQ(image->offset(), Image().offset());
  EXPECT_EQ(image->partition_count(), 4u);
}

// IP5, over a fail-over and a log that is replayed by another node.
TEST_F(ControllerTest, ProducerIdsGoOnWhereAnotherLeaderStopped) {
  Lead();
  JoinAll(1);
  internal::v1::AllocateProducerIdsRequest request;
  request.set_broker_id(1);
  request.set_broker_epoch(brokers_[1].epoch.value());
  std::vector<Reply<internal::v1::AllocateProducerIdsResponse>> replies(3);
  // Two at the same moment: the second is decided on top of the first.
  controller_->AllocateProducerIds(request, replies[0].Catch());
  controller_->AllocateProducerIds(request, replies[1].Catch());
  Run();
  const int64_t first = replies[0]->first_producer_id();
  EXPECT_EQ(replies[1]->first_producer_id(), first + 1000);
  log_.Depose(Term(2), NodeId(2));
  Run();
  internal::v1::MetadataBatch foreign;
  auto* record = foreign.add_records()->mutable_producer_ids();
  record->set_broker_id(2);
  record->set_first_producer_id(first + 2000);
  record->set_next_producer_id(first + 3000);
  log_.DeliverForeign(foreign.SerializeAsString());
  log_.Lead(Term(3));
  Run();
  controller_->AllocateProducerIds(request, replies[2].Catch());
  Run();
  EXPECT_EQ(replies[2]->first_producer_id(), first + 3000);
  EXPECT_TRUE(fatal_.empty());
}

// MD8: an entry that replay does not know stops this node.
TEST_F(ControllerTest, AnUnknownRecordIsFatal) {
  Lead();
  internal::v1::MetadataBatch batch;
  batch.add_records();  // of no type
  log_.DeliverForeign(batch.SerializeAsString());
  ASSERT_EQ(fatal_.size(), 1u);
  EXPECT_EQ(CodeOf(fatal_[0]), ErrorCode::kUnsupportedFormat);
  EXPECT_EQ(Register(1, 1).code(), ErrorCode::kShuttingDown);
}

TEST_F(ControllerTest, StopAnswersWhatIsUnderWay) {
  Lead();
  JoinAll(1);
  log_.Hold();
  const auto created = Create("t", 1, 1);
  Run();
  controller_->Stop();
  EXPECT_EQ(created.count(), 1);
  EXPECT_EQ(created.code(), ErrorCode::kOutcomeUnknown);
  EXPECT_TRUE(brokers_[1].stream->closed.has_value());
}

}  // namespace
}  // namespace sluice
