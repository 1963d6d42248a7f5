#include "broker/consume_driver/consume_stream.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "broker/consume_driver/consume_stream_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

TEST_F(ConsumeStreamTest, RecordsGoFromTheSubscriptionToTheClient) {
  group_.committed = 5;
  const auto session = Open(client_);
  ASSERT_EQ(subscriptions_.size(), 1u);
  EXPECT_EQ(subscription().credit_bytes, 1'000);
  EXPECT_EQ(subscription().requests[0].route, api::Route::kForward);
  EXPECT_EQ(subscription().requests[0].rack, "r");
  const auto& asked = subscription().requests.back().partitions;
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].topic.id, orders_.topic_id);
  EXPECT_EQ(std::get<Offset>(asked[0].start), Offset(5));

  Push(8);
  ASSERT_EQ(client_->records(), 1);
  const ConsumePush& push = client_->pushed.back();
  EXPECT_EQ(push.message.records().topic().name(), "orders");
  EXPECT_EQ(push.message.records().topic_id(), orders_.topic_id.ToBytes());
  EXPECT_EQ(push.message.records().next_offset(), 8);
  EXPECT_EQ(push.message.records().charged_bytes(), 100);
  ASSERT_EQ(push.batches.size(), 2u);
  session->OnDrained();
  Run();
  EXPECT_EQ(subscription().drained, 1);

  // By the id of the topic that was read.
  session->OnRequest(AckMessage(8));
  Run();
  ASSERT_EQ(group_.commits.size(), 1u);
  EXPECT_EQ(group_.commits[0].offsets(0).topic().id(),
            orders_.topic_id.ToBytes());
  EXPECT_EQ(group_.commits[0].stream(), "secret-1");
  EXPECT_TRUE(client_->pushed.back().message.has_committed());

  session->OnNoMore(absl::OkStatus());
  Run(ConsumeStream::kHalfCloseUs + 1'000);
  EXPECT_EQ(group_.leaves, 1);
  ASSERT_TRUE(client_->finished.has_value());
  EXPECT_TRUE(client_->finished->ok()) << *client_->finished;
  EXPECT_EQ(subscription().closed, 1);
}

TEST_F(ConsumeStreamTest, WhatIsNotPushedOnCostsNothing) {
  const auto session = Open(client_);
  Push(8);
  session->OnDrained();
  Run();
  const int64_t credit = subscription().credit_bytes;
  const int drained = subscription().drained;
  // The stream stops reading; it waits for the acknowledgement of 8.
  session->OnNoMore(MakeError(ErrorCode::kShuttingDown, "stops"));
  Push(9);
  EXPECT_FALSE(client_->finished.has_value());
  EXPECT_EQ(client_->records(), 1);
  EXPECT_EQ(subscription().credit_bytes, credit + 100);
  // Nor does it take memory: nothing else is on its way that would say so.
  EXPECT_GT(subscription().drained, drained);
  ASSERT_EQ(subscription().requests.back().stop.size() +
                subscription().requests[subscription().requests.size() - 2]
                    .stop.size(),
            1u);
}

// A connection that broke looks half-closed first.
TEST_F(ConsumeStreamTest, AClientThatIsGoneDoesNotLeave) {
  const auto session = Open(client_);
  session->OnNoMore(absl::OkStatus());
  Run();
  session->OnClosed();
  Run(kSecondUs);
  EXPECT_EQ(group_.leaves, 0);
  EXPECT_EQ(subscription().closed, 1);
}

TEST_F(ConsumeStreamTest, AFailedReadIsSubscribedToAgain) {
  const auto session = Open(client_);
  Push(8);
  const size_t before = subscription().requests.size();
  Push(0, ErrorCode::kNotLeader);
  Run(kSecondUs);
  ASSERT_GT(subscription().requests.size(), before);
  const auto& again = subscription().requests.back().partitions;
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(std::get<Offset>(again[0].start), Offset(8));
}

TEST_F(ConsumeStreamTest, ANewerStreamHereClosesTheOlderAtOnce) {
  const auto session = Open(client_);
  const auto newer = std::make_shared<Client>();
  const auto second = Open(newer, client_->token);
  ASSERT_TRUE(client_->finished.has_value());
  EXPECT_EQ(CodeOf(*client_->finished), ErrorCode::kTakenOver);
  EXPECT_FALSE(newer->finished.has_value());
  EXPECT_EQ(group_.leaves, 0);
  // A token works once.
  const auto late = std::make_shared<Client>();
  const auto third = Open(late, client_->token);
  ASSERT_TRUE(late->finished.has_value());
  EXPECT_EQ(CodeOf(*late->finished), ErrorCode::kTakenOver);
}

TEST_F(ConsumeStreamTest, FactsAreOfAllStreams) {
  assignor_ = "range";  // which revokes everything
  const auto first = Open(client_);
  Push(8);
  EXPECT_EQ(handler_->facts().streams, 1);
  EXPECT_EQ(handler_->facts().pushed_records, 6);
  EXPECT_EQ(handler_->facts().unacknowledged_bytes, 100);
  EXPECT_EQ(handler_->facts().takeovers, 0);
  const auto newer = std::make_shared<Client>();
  const auto second = Open(newer, client_->token);
  EXPECT_EQ(handler_->facts().takeovers, 1);
  EXPECT_EQ(handler_->facts().unacknowledged_bytes, 0);
  Push(8);
  Push(11);
  EXPECT_EQ(handler_->facts().pushed_records, 18);
  EXPECT_EQ(handler_->facts().unacknowledged_bytes, 200);
  second->OnRequest(AckMessage(8));
  Run();
  EXPECT_EQ(handler_->facts().unacknowledged_bytes, 100);
  // The coordinator has it rebalance: it waits for its client.
  group_.rebalances = true;
  Run(4 * kSecondUs);
  EXPECT_EQ(handler_->facts().revocations, 1);
  group_.rebalances = false;
  v1::ConsumeRequest done;
  done.mutable_revoke_ack()->set_revoke_id(1);
  second->OnRequest(done);
  Run();
  EXPECT_EQ(handler_->facts().revocations, 0);
  EXPECT_EQ(handler_->facts().takeovers, 1);  // once a stream
  second->OnNoMore(absl::OkStatus());
  Run(ConsumeStream::kHalfCloseUs + 1'000);
  Open(std::make_shared<Client>())->OnClosed();
  Run();
  const ConsumeFacts facts = handler_->facts();
  EXPECT_EQ(facts.streams, 0);
  EXPECT_EQ(facts.ended, (std::map<std::string, int64_t>{
                             {"CLIENT_GONE", 1}, {"NONE", 1}, {"TAKEN_OVER", 1}}));
}

TEST_F(ConsumeStreamTest, OneElsewhereClosesItWithTheNextHeartbeat) {
  const auto session = Open(client_);
  group_.stream = "of another broker's stream";
  Run(2 * kSecondUs);
  EXPECT_FALSE(client_->finished.has_value());
  Run(2 * kSecondUs);
  ASSERT_TRUE(client_->finished.has_value());
  EXPECT_EQ(CodeOf(*client_->finished), ErrorCode::kTakenOver);
  EXPECT_EQ(subscription().closed, 1);
}

TEST_F(ConsumeStreamTest, ASubscriptionThatEndsEndsTheStream) {
  const auto session = Open(client_);
  worker_->Post([this] {
    subscription().sink->Finish(MakeError(ErrorCode::kBusy, "no memory"));
  });
  Run();
  ASSERT_TRUE(client_->finished.has_value());
  EXPECT_EQ(CodeOf(*client_->finished), ErrorCode::kBusy);
  EXPECT_EQ(group_.leaves, 0);  // a token goes on
}

TEST_F(ConsumeStreamTest, ABrokerThatStopsSendsItsClientsOn) {
  const auto session = Open(client_);
  handler_->BeginStop();
  Run();
  ASSERT_TRUE(client_->finished.has_value());
  EXPECT_EQ(CodeOf(*client_->finished), ErrorCode::kShuttingDown);
  ASSERT_TRUE(client_->pushed.back().message.has_moved());
  EXPECT_EQ(client_->pushed.back().message.moved().endpoint().host(), "b2");
  EXPECT_EQ(group_.leaves, 0);
  const auto late = std::make_shared<Client>();
  handler_->Consume(api::CallContext(), late);
  Run();
  EXPECT_EQ(CodeOf(late->finished.value_or(absl::OkStatus())),
            ErrorCode::kShuttingDown);
}

TEST_F(ConsumeStreamTest, AClientThatSaysNothingIsClosed) {
  const auto session = handler_->Consume(api::CallContext(), client_);
  Run(11 * kSecondUs);
  ASSERT_TRUE(client_->finished.has_value());
  EXPECT_EQ(CodeOf(*client_->finished), ErrorCode::kInvalidRequest);
  EXPECT_EQ(group_.joins, 0);
}

TEST_F(ConsumeStreamTest, AClientThatSendsFasterThanItIsHeardIsClosed) {
  const auto session = Open(client_);
  for (int i = 0; i <= ConsumeStream::kRequestsPendingMax; ++i) {
    v1::ConsumeRequest more;
    more.set_credit_bytes(1);
    session->OnRequest(more);
  }
  Run();
  ASSERT_TRUE(client_->finished.has_value());
  EXPECT_EQ(CodeOf(*client_->finished), ErrorCode::kBusy);
}

}  // namespace
}  // namespace sluice
