// A topic that is deleted and made again while a stream reads it (F72).
#include <gtest/gtest.h>

#include <memory>

#include "broker/consume_driver/consume_stream.h"
#include "broker/consume_driver/consume_stream_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

// Its offsets are those of another log.
TEST_F(ConsumeStreamTest, ATopicThatIsMadeAgainIsReadFromItsStart) {
  const auto session = Open(client_);
  Push(8);
  const TopicPartition orders = ReadMadeAgain();
  const auto& asked = subscription().requests.back().partitions;
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].topic.id, orders.topic_id);
  EXPECT_EQ(std::get<api::StartPosition>(asked[0].start),
            api::StartPosition::kEarliest);
}

// What was read of it and is acknowledged late is of the topic that is gone,
// whatever has its name by then.
TEST_F(ConsumeStreamTest, LastAcknowledgementsAreOfTheTopicThatWasRead) {
  assignor_ = "range";
  const auto session = Open(client_);
  Push(8);
  group_.rebalances = true;
  Run(4 * kSecondUs);
  ASSERT_TRUE(client_->pushed.back().message.has_revoke());
  MakeAgain();
  Run(kSecondUs);
  v1::ConsumeRequest last;
  auto* ack = last.mutable_revoke_ack();
  ack->set_revoke_id(client_->pushed.back().message.revoke().revoke_id());
  *ack->add_offsets() = AckMessage(8).ack().offsets(0);
  session->OnRequest(last);
  Run();
  ASSERT_EQ(group_.commits.size(), 1u);
  EXPECT_EQ(group_.commits[0].offsets(0).topic().id(),
            orders_.topic_id.ToBytes());
}

// Also what is named by an id that the metadata has forgotten.
TEST_F(ConsumeStreamTest, LastAcknowledgementsByIdAreTakenAsWell) {
  assignor_ = "range";
  const auto session = Open(client_);
  Push(8);
  group_.rebalances = true;
  Run(4 * kSecondUs);
  ASSERT_TRUE(client_->pushed.back().message.has_revoke());
  const TopicPartition orders = MakeAgain();
  v1::ConsumeRequest last;
  auto* ack = last.mutable_revoke_ack();
  ack->set_revoke_id(client_->pushed.back().message.revoke().revoke_id());
  *ack->add_offsets() = AckMessage(7, orders.topic_id).ack().offsets(0);
  *ack->add_offsets() = AckMessage(8, orders_.topic_id).ack().offsets(0);
  session->OnRequest(last);
  Run();
  ASSERT_EQ(group_.commits.size(), 1u);
  ASSERT_EQ(group_.commits[0].offsets_size(), 1);
  EXPECT_EQ(group_.commits[0].offsets(0).offset(), 8);
  EXPECT_EQ(group_.commits[0].offsets(0).topic().id(),
            orders_.topic_id.ToBytes());
}

// A client that was slow acknowledges what it was pushed of the topic that is
// gone, when it has been pushed as much of the new one.
TEST_F(ConsumeStreamTest, WhatIsAcknowledgedByIdCountsForThatTopicAlone) {
  const auto session = Open(client_);
  Push(8);
  pushed_ = ReadMadeAgain();
  Push(9);
  ASSERT_EQ(client_->records(), 2);
  EXPECT_EQ(client_->pushed.back().message.records().topic_id(),
            pushed_.topic_id.ToBytes());
  session->OnRequest(AckMessage(8, orders_.topic_id));
  Run();
  EXPECT_EQ(LastResult().error().code(), v1::ERROR_CODE_UNKNOWN_TOPIC_ID);
  EXPECT_EQ(LastResult().topic().id(), orders_.topic_id.ToBytes());
  EXPECT_EQ(LastResult().offset(), 8);
  EXPECT_TRUE(group_.commits.empty());
  // And by the id of the new one, which is told by that id.
  session->OnRequest(AckMessage(9, pushed_.topic_id));
  Run();
  ASSERT_EQ(group_.commits.size(), 1u);
  EXPECT_EQ(group_.commits[0].offsets(0).topic().id(),
            pushed_.topic_id.ToBytes());
  EXPECT_FALSE(LastResult().has_error()) << LastResult().DebugString();
  EXPECT_EQ(LastResult().topic().id(), pushed_.topic_id.ToBytes());
}

// The metadata knows of the new topic before its records come.
TEST_F(ConsumeStreamTest, AnIdCountsAsLongAsItsRecordsWereTheLast) {
  const auto session = Open(client_);
  Push(8);
  const TopicPartition orders = MakeAgain();
  session->OnRequest(AckMessage(7, orders.topic_id));
  Run();
  EXPECT_EQ(LastResult().error().code(), v1::ERROR_CODE_UNKNOWN_TOPIC_ID);
  session->OnRequest(AckMessage(8, orders_.topic_id));
  Run();
  ASSERT_EQ(group_.commits.size(), 1u);
  EXPECT_EQ(group_.commits[0].offsets(0).topic().id(),
            orders_.topic_id.ToBytes());
}

// The stream hears of the new topic while an acknowledgement of the old one
// waits for a coordinator: it is not one of the new one.
TEST_F(ConsumeStreamTest, AnAcknowledgementThatWaitsIsOfTheTopicThatWasRead) {
  for (const auto reset :
       {v1::ConsumeOpen::RESET_NONE, v1::ConsumeOpen::RESET_EARLIEST}) {
    Restore();
    client_ = std::make_shared<Client>();
    group_.commits.clear();
    group_.committed = 5;
    group_.moves = true;
    reset_ = reset;
    const auto session = Open(client_);
    Push(8);
    session->OnRequest(AckMessage(8));
    Run();
    ReadMadeAgain();
    Run(10 * kSecondUs);
    EXPECT_GT(group_.commits.size(), 1u);
    for (const auto& commit : group_.commits) {
      EXPECT_EQ(commit.offsets(0).topic().id(), orders_.topic_id.ToBytes());
    }
    if (reset == v1::ConsumeOpen::RESET_NONE) {
      EXPECT_EQ(CodeOf(client_->finished.value_or(absl::OkStatus())),
                ErrorCode::kOffsetOutOfRange);
    }
    session->OnClosed();
    Run();
  }
}

// The group's offset was asked for before, by the id that the topic had.
TEST_F(ConsumeStreamTest, ACommittedOffsetIsOfTheTopicItWasAskedOf) {
  group_.committed = 5;
  group_.committed_epoch = 9;
  group_.fetches_wait = true;
  const auto session = Open(client_);
  ASSERT_EQ(group_.waiting_fetches.size(), 1u);
  const TopicPartition orders = MakeAgain();
  group_.waiting_fetches[0]();
  Run();
  const auto& asked = subscription().requests.back().partitions;
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].topic.id, orders.topic_id);
  EXPECT_EQ(std::get<api::StartPosition>(asked[0].start),
            api::StartPosition::kEarliest);
  EXPECT_LT(asked[0].leader_epoch, LeaderEpoch(9));
}

// Where the group begins is looked up and committed of one topic.
TEST_F(ConsumeStreamTest, TheEndIsAskedOfTheTopicThatHasNoOffsets) {
  reset_ = v1::ConsumeOpen::RESET_LATEST;
  const auto session = Open(client_);
  ASSERT_EQ(listings_.size(), 1u);
  EXPECT_EQ(listings_[0].partitions[0].topic.id, orders_.topic_id);
  ASSERT_EQ(group_.commits.size(), 1u);
  EXPECT_EQ(group_.commits[0].offsets(0).topic().id(),
            orders_.topic_id.ToBytes());
}

// ---- The epoch that was committed with an offset ----

TEST_F(ConsumeStreamTest, ReadingBeginsWithTheEpochThatWasCommitted) {
  group_.committed = 5;
  group_.committed_epoch = 9;
  const auto session = Open(client_);
  auto asked = subscription().requests.back().partitions;
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(std::get<Offset>(asked[0].start), Offset(5));
  EXPECT_EQ(asked[0].leader_epoch, LeaderEpoch(9));
  // As long as the leader has not heard of it.
  Push(0, ErrorCode::kUnknownLeaderEpoch);
  Run(kSecondUs);
  asked = subscription().requests.back().partitions;
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].leader_epoch, LeaderEpoch(9));
}

// A client may commit any number.
TEST_F(ConsumeStreamTest, AnEpochThatNobodyEverHeardOfIsNotInsistedOn) {
  group_.committed = 5;
  group_.committed_epoch = INT32_MAX;
  const auto session = Open(client_);
  for (int i = 0; i < ConsumeStream::kCommittedEpochRefusalsMax; ++i) {
    const auto& asked = subscription().requests.back().partitions;
    ASSERT_EQ(asked.size(), 1u) << i;
    EXPECT_EQ(asked[0].leader_epoch, LeaderEpoch(INT32_MAX)) << i;
    Push(0, ErrorCode::kUnknownLeaderEpoch);
    Run(2 * kSecondUs);
  }
  const auto& asked = subscription().requests.back().partitions;
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_LT(asked[0].leader_epoch, LeaderEpoch(INT32_MAX));
  EXPECT_FALSE(client_->finished.has_value());
}

}  // namespace
}  // namespace sluice
