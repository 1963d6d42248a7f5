// Streams between a broker's API and a client, both played by the test.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/consume_driver/consume_stream.h"
#include "common/base/error.h"
#include "common/consumer/consumer_protocol.h"
#include "common/env/sim_world.h"
#include "controller/metadata/test_cluster.h"
#include "storage/batch_testing.h"

namespace sluice {

inline constexpr int64_t kSecondUs = 1'000'000;

// A group whose only member leads it, and is known by its newest stream.
class OneMember final : public GroupApi {
 public:
  std::string stream;  // of the newest join
  int joins = 0;
  std::vector<v1::CommitOffsetsRequest> commits;
  int leaves = 0;
  int64_t committed = -1;
  int32_t committed_epoch = -1;
  bool fetches_wait = false;
  std::vector<std::function<void()>> waiting_fetches;
  bool rebalances = false;
  bool moves = false;  // commits are for another coordinator

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
    for (int i = 0; i < request.offsets_size(); ++i) {
      v1::OffsetCommitResult* result = response.add_results();
      if (!moves) continue;
      result->mutable_error()->set_code(v1::ERROR_CODE_NOT_COORDINATOR);
    }
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
        if (committed_epoch >= 0) offset->set_leader_epoch(committed_epoch);
      }
    }
    auto answer = [reply = std::move(reply), response]() mutable {
      reply(response);
    };
    if (!fetches_wait) return answer();
    waiting_fetches.push_back([answer = std::make_shared<decltype(answer)>(
                                   std::move(answer))] { (*answer)(); });
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
    orders_ = pushed_ = cluster_.CreateOn("orders", {1, 2});
    first_image_ = cluster_.shared();
    Restore();
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
    deps.list_offsets = [this](const api::CallContext&,
                               const api::ListOffsetsRequest& request,
                               api::Answer<api::ListOffsetsResponse> answer) {
      listings_.push_back(request);
      api::ListOffsetsResponse response;
      response.results.resize(request.partitions.size());
      answer(absl::OkStatus(), std::move(response));
    };
    deps.epoch_ends =
        [this](const api::CallContext&,
               const api::OffsetForLeaderEpochRequest& request,
               api::Answer<api::OffsetForLeaderEpochResponse> answer) {
          EXPECT_EQ(request.route, api::Route::kForward);
          epoch_asked_.push_back(request.partitions.at(0));
          api::OffsetForLeaderEpochResponse response;
          auto& result = response.results.emplace_back();
          result.error = epoch_error_;
          result.end = epoch_end_.value_or(
              EpochEnd{request.partitions[0].leader_epoch, Offset(1 << 20)});
          result.log_start_offset = Offset(0);
          answer(absl::OkStatus(), std::move(response));
        };
    deps.new_secret = [this] { return "secret-" + std::to_string(++secrets_); };
    handler_ = std::make_unique<ConsumeHandler>(deps);
  }

  // As it was before that.
  void Restore() { image_.Store(first_image_); }
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
    message.mutable_open()->set_reset(reset_);
    session->OnRequest(message);
    Run();
    return session;
  }
  FakeSubscription& subscription() { return *subscriptions_.back(); }
  void Push(int64_t next, ErrorCode error = ErrorCode::kNone) {
    api::SubscribeResponse response;
    response.result.topic.id = pushed_.topic_id;
    response.result.partition = PartitionIndex(0);
    response.result.next_offset = Offset(next);
    response.result.leader_epoch = LeaderEpoch(0);
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
  static v1::ConsumeRequest AckMessage(int64_t offset, TopicId id) {
    v1::ConsumeRequest message = AckMessage(offset);
    message.mutable_ack()->mutable_offsets(0)->mutable_topic()->set_id(
        id.ToBytes());
    return message;
  }
  // Deleted, and made again under its name.
  TopicPartition MakeAgain() {
    v1::DeleteTopicsRequest request;
    request.add_topics()->set_name("orders");
    const auto deleted =
        TopicControl(cluster_.image(), cluster_.configs()).Delete(request);
    EXPECT_TRUE(deleted.ok()) << deleted.status();
    cluster_.Apply(deleted->batch);
    const TopicPartition orders = cluster_.CreateOn("orders", {1, 2});
    EXPECT_NE(orders.topic_id, orders_.topic_id);
    image_.Store(cluster_.shared());
    return orders;
  }
  // Which is told of in a second.
  TopicPartition ReadMadeAgain() {
    const TopicPartition orders = MakeAgain();
    Push(0, ErrorCode::kUnknownTopicId);
    Run(kSecondUs);
    return orders;
  }
  v1::ConsumeCommit LastResult() const {
    const auto& last = client_->pushed.back().message;
    EXPECT_EQ(last.committed().results_size(), 1);
    return last.committed().results_size() == 1 ? last.committed().results(0)
                                                : v1::ConsumeCommit();
  }

  SimWorld world_;
  std::unique_ptr<Executor> worker_;
  TestCluster cluster_;
  TopicPartition orders_;
  TopicPartition pushed_;  // what Push pushes of
  std::shared_ptr<const MetadataImage> first_image_;
  Published<MetadataImage> image_{MetadataImage::Empty()};
  OneMember group_;
  std::vector<std::shared_ptr<FakeSubscription>> subscriptions_;
  std::vector<api::ListOffsetsRequest> listings_;
  std::vector<api::OffsetForLeaderEpochPartition> epoch_asked_;
  std::optional<EpochEnd> epoch_end_;  // not set: nothing was cut
  api::ItemError epoch_error_;
  int secrets_ = 0;
  std::string assignor_;  // "": the broker's choice
  v1::ConsumeOpen::Reset reset_ = v1::ConsumeOpen::RESET_UNSPECIFIED;
  std::unique_ptr<ConsumeHandler> handler_;
  std::shared_ptr<Client> client_ = std::make_shared<Client>();
};

}  // namespace sluice
