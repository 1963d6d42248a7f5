// Streams between a broker's API and a client, both played by the test.
#include "broker/consume_driver/consume_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/consumer/consumer_protocol.h"
#include "common/env/sim_world.h"
#include "controller/metadata/test_cluster.h"
#include "storage/batch_testing.h"

namespace sluice {
namespace {

constexpr int64_t kSecondUs = 1'000'000;

// A group whose only member leads it, and is known by its newest stream.
class OneMember final : public GroupApi {
 public:
  std::string stream;  // of the newest join
  int joins = 0;
  std::vector<v1::CommitOffsetsRequest> commits;
  int leaves = 0;
  int64_t committed = -1;
  bool rebalances = false;

  void JoinGroup(const api::CallContext& context, v1::JoinGroupRequest request,
                 PeerReply<v1::JoinGroupResponse> reply) override {
    EXPECT_NE(context.deadline_us, INT64_MAX);
    v1::JoinGroupResponse response;
    const bool taken = !request.resumes_stream().empty() &&
                       request.resumes_stream() != stream;
    if (taken) {
      response.mutable_error()->set_code(v1::ERROR_CODE_TAKEN_OVER);
      return reply(std::move(response));
    }
    ++joins;
    stream = request.stream();
    response.set_member_id("m");
    response.set_generation_id(1);
    response.set_leader_id("m");
    response.set_protocol_name(request.protocols(0).name());
    auto* member = response.add_members();
    member->set_member_id("m");
    member->set_metadata(request.protocols(0).metadata());
    reply(std::move(response));
  }
  void SyncGroup(const api::CallContext&, v1::SyncGroupRequest request,
                 PeerReply<v1::SyncGroupResponse> reply) override {
    v1::SyncGroupResponse response;
    response.set_assignment(request.assignments(0).assignment());
    reply(std::move(response));
  }
  void Heartbeat(const api::CallContext&, v1::HeartbeatRequest request,
                 PeerReply<v1::HeartbeatResponse> reply) override {
    v1::HeartbeatResponse response;
    if (request.stream() != stream) {
      response.mutable_error()->set_code(v1::ERROR_CODE_TAKEN_OVER);
    } else if (rebalances) {
      response.mutable_error()->set_code(
          v1::ERROR_CODE_REBALANCE_IN_PROGRESS);
    }
    reply(std::move(response));
  }
  void LeaveGroup(const api::CallContext&, v1::LeaveGroupRequest,
                  PeerReply<v1::LeaveGroupResponse> reply) override {
    ++leaves;
    reply(v1::LeaveGroupResponse());
  }
  void CommitOffsets(const api::CallContext&, v1::CommitOffsetsRequest request,
                     PeerReply<v1::CommitOffsetsResponse> reply) override {
    v1::CommitOffsetsResponse response;
    for (int i = 0; i < request.offsets_size(); ++i) response.add_results();
    commits.push_back(std::move(request));
    reply(std::move(response));
  }
  void FetchOffsets(const api::CallContext&, v1::FetchOffsetsRequest request,
                    PeerReply<v1::FetchOffsetsResponse> reply) override {
    v1::FetchOffsetsResponse response;
    auto* group = response.add_groups();
    for (const auto& topic : request.groups(0).topics()) {
      for (const int32_t partition : topic.partitions()) {
        auto* offset = group->add_offsets();
        *offset->mutable_topic() = topic.topic();
        offset->set_partition(partition);
        offset->set_offset(committed);
      }
    }
    reply(std::move(response));
  }
#define NOT_ASKED(Name)                                              \
  void Name(const api::CallContext&, v1::Name##Request,              \
            PeerReply<v1::Name##Response>) override {                \
    ADD_FAILURE() << #Name;                                          \
  }
  NOT_ASKED(FindCoordinator)
  NOT_ASKED(DeleteOffsets)
  NOT_ASKED(ListGroups)
  NOT_ASKED(DescribeGroups)
  NOT_ASKED(DeleteGroups)
#undef NOT_ASKED
};

struct FakeSubscription final : public SubscribeSession {
  void OnRequest(api::SubscribeRequest request) override {
    credit_bytes += request.credit_bytes;
    requests.push_back(std::move(request));
  }
  void OnDrained() override { ++drained; }
  void OnClosed() override { ++closed; }

  std::vector<api::SubscribeRequest> requests;
  int64_t credit_bytes = 0;
  int drained = 0;
  int closed = 0;
  std::shared_ptr<SubscribeSink> sink;
};

struct Client final : public ConsumeSink {
  void Push(ConsumePush push) override {
    EXPECT_FALSE(finished.has_value());
    if (push.message.has_assigned()) {
      token = push.message.assigned().resume_token();
    }
    pushed.push_back(std::move(push));
  }
  void Finish(absl::Status status) override {
    EXPECT_FALSE(finished.has_value());
    finished = std::move(status);
  }
  int records() const {
    return static_cast<int>(
        std::count_if(pushed.begin(), pushed.end(), [](const auto& push) {
          return push.message.has_records();
        }));
  }

  std::vector<ConsumePush> pushed;
  std::optional<absl::Status> finished;
  std::string token;
};

class ConsumeStreamTest : public testing::Test {
 protected:
  ConsumeStreamTest() : worker_(world_.NewExecutor()) {
    cluster_.StartAll(2);
    orders_ = cluster_.CreateOn("orders", {1, 2});
    image_.Store(cluster_.shared());
    ConsumeDeps deps;
    deps.self = NodeId(1);
    deps.clock = &world_;
    deps.worker = worker_.get();
    deps.image = &image_;
    deps.groups = &group_;
    deps.subscribe = [this](const api::CallContext&,
                            std::shared_ptr<SubscribeSink> sink) {
      subscriptions_.push_back(std::make_shared<FakeSubscription>());
      subscriptions_.back()->sink = std::move(sink);
      return subscriptions_.back();
    };
    deps.list_offsets = [](const api::CallContext&,
                           const api::ListOffsetsRequest&,
                           api::Answer<api::ListOffsetsResponse>) {
      ADD_FAILURE() << "nobody asked for the end";
    };
    deps.new_secret = [this] { return "secret-" + std::to_string(++secrets_); };
    handler_ = std::make_unique<ConsumeHandler>(deps);
  }

  void Run(int64_t us = 1'000) { world_.RunFor(us); }
  static v1::ConsumeRequest OpenMessage(const std::string& token = "") {
    v1::ConsumeRequest message;
    message.mutable_open()->set_group_id("g");
    message.mutable_open()->add_topics("orders");
    message.mutable_open()->set_resume_token(token);
    message.mutable_open()->set_rack("r");
    message.set_credit_bytes(1'000);
    return message;
  }
  std::shared_ptr<ConsumeSession> Open(const std::shared_ptr<Client>& client,
                                       const std::string& token = "") {
    auto session = handler_->Consume(api::CallContext(), client);
    v1::ConsumeRequest message = OpenMessage(token);
    if (!assignor_.empty()) message.mutable_open()->add_assignors(assignor_);
    session->OnRequest(message);
    Run();
    return session;
  }
  FakeSubscription& subscription() { return *subscriptions_.back(); }
  void Push(int64_t next, ErrorCode error = ErrorCode::kNone) {
    api::SubscribeResponse response;
    response.result.topic.id = orders_.topic_id;
    response.result.partition = PartitionIndex(0);
    response.result.next_offset = Offset(next);
    const Buffer batch = Buffer::CopyOf(MakeBatch({.records = 3}).view());
    response.result.batches = {batch, batch};
    response.charged_bytes = 100;
    if (error != ErrorCode::kNone) {
      response.result.error = api::ItemError(error, "as the test wants");
    }
    worker_->Post([sink = subscription().sink, response] {
      sink->Push(response);
    });
    Run();
  }
  static v1::ConsumeRequest AckMessage(int64_t offset) {
    v1::ConsumeRequest message;
    auto* ack = message.mutable_ack()->add_offsets();
    ack->mutable_topic()->set_name("orders");
    ack->set_offset(offset);
    return message;
  }

  SimWorld world_;
  std::unique_ptr<Executor> worker_;
  TestCluster cluster_;
  TopicPartition orders_;
  Published<MetadataImage> image_{MetadataImage::Empty()};
  OneMember group_;
  std::vector<std::shared_ptr<FakeSubscription>> subscriptions_;
  int secrets_ = 0;
  std::string assignor_;  // "": the broker's choice
  std::unique_ptr<ConsumeHandler> handler_;
  std::shared_ptr<Client> client_ = std::make_shared<Client>();
};

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

// Its offsets are those of another log.
TEST_F(ConsumeStreamTest, ATopicThatIsMadeAgainIsReadFromItsStart) {
  const auto session = Open(client_);
  Push(8);
  TestCluster again;
  again.StartAll(2);
  again.CreateOn("another", {1, 2});  // another id for the next
  const TopicPartition orders = again.CreateOn("orders", {1, 2});
  ASSERT_NE(orders.topic_id, orders_.topic_id);
  image_.Store(again.shared());
  Push(0, ErrorCode::kUnknownTopicId);
  Run(kSecondUs);
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
  TestCluster again;
  again.StartAll(2);
  again.CreateOn("another", {1, 2});  // another id for the next
  const TopicPartition orders = again.CreateOn("orders", {1, 2});
  ASSERT_NE(orders.topic_id, orders_.topic_id);
  image_.Store(again.shared());
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
