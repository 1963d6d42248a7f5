// Consume streams from a client to a scripted broker.
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "broker/rpc/fake_broker_testing.h"
#include "client/grpc_peers/grpc_group_peer.h"
#include "common/base/error.h"
#include "common/rpc/client_stream.h"
#include "common/rpc/channels.h"
#include "common/rpc/status_wire.h"

namespace sluice {
namespace {

// What both ends of a stream saw.
struct Story {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<v1::ConsumeRequest> requests;
  std::vector<absl::Status> no_more;
  int drained = 0;
  int closed = 0;
  std::vector<v1::ConsumeResponse> pushes;
  std::vector<absl::Status> ended;
  std::shared_ptr<ConsumeSink> sink;

  void Tell(const std::function<void()>& change) {
    std::lock_guard lock(mutex);
    change();
    changed.notify_all();
  }
  void Await(const std::function<bool()>& holds) {
    std::unique_lock lock(mutex);
    changed.wait(lock, holds);
  }
};

class Session final : public ConsumeSession {
 public:
  explicit Session(std::shared_ptr<Story> story) : story_(std::move(story)) {}
  void OnRequest(v1::ConsumeRequest request) override {
    story_->Tell([&] { story_->requests.push_back(std::move(request)); });
  }
  void OnDrained() override {
    story_->Tell([&] { ++story_->drained; });
  }
  void OnNoMore(absl::Status why) override {
    story_->Tell([&] { story_->no_more.push_back(std::move(why)); });
  }
  void OnClosed() override {
    story_->Tell([&] { ++story_->closed; });
  }

 private:
  const std::shared_ptr<Story> story_;
};

class Consumers final : public ConsumeApi {
 public:
  std::shared_ptr<ConsumeSession> Consume(
      const api::CallContext& context,
      std::shared_ptr<ConsumeSink> sink) override {
    story->Tell([&] {
      caller = context;
      story->sink = std::move(sink);
    });
    return std::make_shared<Session>(story);
  }

  api::CallContext caller;
  std::shared_ptr<Story> story = std::make_shared<Story>();
};

class NoGroups final : public GroupApi {
 public:
#define SLUICE_GROUP_CALL(Name)                                      \
  void Name(const api::CallContext&, v1::Name##Request,              \
            PeerReply<v1::Name##Response> reply) override {          \
    reply(MakeError(ErrorCode::kInvalidRequest, "no groups here"));  \
  }
  SLUICE_GROUP_CALLS(SLUICE_GROUP_CALL)
#undef SLUICE_GROUP_CALL
};

class Client final
    : public rpc::ClientStream<v1::ConsumeRequest, v1::ConsumeResponse> {
 public:
  explicit Client(std::shared_ptr<Story> story) : story_(std::move(story)) {}

 private:
  void OnMessage(v1::ConsumeResponse message) override {
    story_->Tell([&] { story_->pushes.push_back(std::move(message)); });
    Consumed();
  }
  void OnClosed(const absl::Status& why) override {
    story_->Tell([&] { story_->ended.push_back(why); });
  }
  const std::shared_ptr<Story> story_;
};

class ConsumeCallTest : public testing::Test {
 protected:
  ConsumeCallTest() {
    PublicEdge::Options options;
    options.groups = &groups_;
    options.consumers = &consumers_;
    auto edge = PublicEdge::Start(std::move(options), &broker_, &clock_);
    EXPECT_TRUE(edge.ok()) << edge.status();
    edge_ = *std::move(edge);
    channel_ = edge_->InProcessChannel(
        rpc::ChannelArgumentsFor(rpc::ChannelUse::kControl));
    stub_ = v1::GroupService::NewStub(channel_);
  }

  std::shared_ptr<Client> Open() {
    auto client = std::make_shared<Client>(story_);
    stub_->async()->Consume(client->context(), client.get());
    client->Start();
    story_->Await([&] { return story_->sink != nullptr; });
    return client;
  }
  static ConsumePush Records() {
    ConsumePush push;
    v1::ConsumeRecords* records = push.message.mutable_records();
    records->mutable_topic()->set_name("orders");
    records->set_partition(3);
    records->set_next_offset(12);
    records->set_charged_bytes(9'000);
    return push;
  }

  FakeBroker broker_;
  NoGroups groups_;
  Consumers consumers_;
  RealClock clock_;
  std::unique_ptr<PublicEdge> edge_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::GroupService::Stub> stub_;
  const std::shared_ptr<Story> story_ = consumers_.story;
};

// The session is there before the client has said anything.
TEST_F(ConsumeCallTest, MessagesAndTheHalfCloseArriveInOrder) {
  auto client = Open();
  EXPECT_EQ(consumers_.caller.listener, "PUBLIC");
  for (int i = 1; i <= 50; ++i) {
    v1::ConsumeRequest request;
    request.set_credit_bytes(i);
    client->Send(std::move(request));
  }
  client->HalfClose();
  story_->Await([&] { return !story_->no_more.empty(); });
  ASSERT_EQ(story_->requests.size(), 50u);
  for (int i = 1; i <= 50; ++i) {
    EXPECT_EQ(story_->requests[i - 1].credit_bytes(), i);
  }
  EXPECT_TRUE(story_->no_more[0].ok());
  // What it says behind the half-close still arrives.
  ConsumePush last;
  last.message.mutable_committed()->add_results()->set_offset(7);
  story_->sink->Push(std::move(last));
  story_->sink->Finish(absl::OkStatus());
  story_->Await([&] { return !story_->ended.empty(); });
  ASSERT_EQ(story_->pushes.size(), 1u);
  EXPECT_EQ(story_->pushes[0].committed().results(0).offset(), 7);
  EXPECT_TRUE(story_->ended[0].ok()) << story_->ended[0];
}

TEST_F(ConsumeCallTest, RecordsCrossInBothForms) {
  auto client = Open();
  ConsumePush batches = Records();
  batches.batches = {Buffer::Take(std::string(3'000, 'a')),
                     Buffer::Take(std::string(5, 'b'))};
  story_->sink->Push(std::move(batches));
  ConsumePush typed = Records();
  api::Record record;
  record.offset = Offset(11);
  record.value = "v";
  typed.records.push_back(record);
  story_->sink->Push(std::move(typed));
  story_->Await([&] { return story_->pushes.size() == 2; });
  for (const auto& push : story_->pushes) {
    EXPECT_EQ(push.records().topic().name(), "orders");
    EXPECT_EQ(push.records().partition(), 3);
    EXPECT_EQ(push.records().next_offset(), 12);
    EXPECT_EQ(push.records().charged_bytes(), 9'000);
  }
  EXPECT_EQ(story_->pushes[0].records().batches(),
            std::string(3'000, 'a') + std::string(5, 'b'));
  ASSERT_EQ(story_->pushes[1].records().records().records_size(), 1);
  EXPECT_EQ(story_->pushes[1].records().records().records(0).value(), "v");
  story_->Await([&] { return story_->drained > 0; });
  story_->sink->Finish(MakeError(ErrorCode::kTakenOver, "a newer stream"));
  story_->Await([&] { return !story_->ended.empty(); });
  EXPECT_EQ(CodeOf(story_->ended[0]), ErrorCode::kTakenOver);
}

TEST_F(ConsumeCallTest, AClientThatIsGoneClosesItsSession) {
  auto client = Open();
  client->Close(absl::CancelledError("gone"));
  // It may look half-closed before: the session waits a moment for this.
  story_->Await([&] { return story_->closed == 1; });
  std::lock_guard lock(story_->mutex);
  EXPECT_LE(story_->no_more.size(), 1u);
}

TEST_F(ConsumeCallTest, AStopAsksTheSessionToEnd) {
  auto client = Open();
  edge_->Drain();
  story_->Await([&] { return !story_->no_more.empty(); });
  EXPECT_EQ(CodeOf(story_->no_more[0]), ErrorCode::kShuttingDown);
  story_->sink->Finish(story_->no_more[0]);
  story_->Await([&] { return !story_->ended.empty(); });
  EXPECT_EQ(CodeOf(story_->ended[0]), ErrorCode::kShuttingDown);
}

TEST_F(ConsumeCallTest, BytesThatAreNoMessageAreAnInvalidRequest) {
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  grpc::Slice garbage(std::string("\xff\xff\xff garbage"));
  grpc::ByteBuffer request(&garbage, 1);
  grpc::ByteBuffer response;
  Awaited<absl::Status> status;
  stub.UnaryCall(&context, "/sluice.v1.GroupService/Consume", {}, &request,
                 &response, [&](const grpc::Status& s) {
                   status.Set(rpc::FromGrpcStatus(s));
                 });
  EXPECT_EQ(CodeOf(status.Get()), ErrorCode::kInvalidRequest);
}

}  // namespace
}  // namespace sluice
