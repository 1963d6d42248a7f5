// Subscribe streams from a client to a scripted broker.
#include <gtest/gtest.h>

#include "broker/rpc/fake_broker_testing.h"
#include "common/base/error.h"
#include "common/rpc/client_stream.h"

namespace sluice {
namespace {

// What both ends of a stream saw.
struct Story {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<api::SubscribeRequest> requests;
  int session_closed = 0;
  std::vector<v1::SubscribeResponse> pushes;
  std::vector<absl::Status> ended;
  std::shared_ptr<SubscribeSink> sink;

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

class Session final : public SubscribeSession {
 public:
  explicit Session(std::shared_ptr<Story> story) : story_(std::move(story)) {}
  void OnRequest(api::SubscribeRequest request) override {
    story_->Tell([&] { story_->requests.push_back(std::move(request)); });
  }
  void OnClosed() override {
    story_->Tell([&] { ++story_->session_closed; });
  }

 private:
  const std::shared_ptr<Story> story_;
};

class Subscriber final
    : public rpc::ClientStream<v1::SubscribeRequest, v1::SubscribeResponse> {
 public:
  explicit Subscriber(std::shared_ptr<Story> story)
      : story_(std::move(story)) {}

 private:
  void OnMessage(v1::SubscribeResponse message) override {
    story_->Tell([&] { story_->pushes.push_back(std::move(message)); });
    Consumed();
  }
  void OnClosed(const absl::Status& why) override {
    story_->Tell([&] { story_->ended.push_back(why); });
  }
  const std::shared_ptr<Story> story_;
};

class SubscribeCallTest : public PublicEdgeTest {
 protected:
  explicit SubscribeCallTest(rpc::GateLimits limits = {})
      : PublicEdgeTest(limits) {
    broker_.on_subscribe = [this](const api::CallContext& context,
                                  std::shared_ptr<SubscribeSink> sink) {
      story_->Tell([&] {
        caller_ = context;
        story_->sink = std::move(sink);
      });
      return std::make_shared<Session>(story_);
    };
  }

  std::shared_ptr<Subscriber> Open(std::shared_ptr<Story> story) {
    auto subscriber = std::make_shared<Subscriber>(std::move(story));
    stub_->async()->Subscribe(subscriber->context(), subscriber.get());
    subscriber->Start();
    return subscriber;
  }

  // Open, with its first request heard.
  std::shared_ptr<Subscriber> OpenAndGreet() {
    auto subscriber = Open(story_);
    subscriber->Send(Request(1000));
    story_->Await([&] { return story_->requests.size() == 1; });
    return subscriber;
  }

  static v1::SubscribeRequest Request(int64_t credit_bytes) {
    v1::SubscribeRequest request;
    auto* partition = request.add_partitions();
    partition->mutable_topic()->set_name("orders");
    partition->set_partition(-1);
    request.set_credit_bytes(credit_bytes);
    request.set_form(v1::PAYLOAD_FORM_BATCHES);
    request.set_client_id("subscriber");
    return request;
  }

  static api::SubscribeResponse Push(int64_t number, size_t bytes) {
    api::SubscribeResponse push;
    push.result.topic.name = "orders";
    push.result.next_offset = Offset(number);
    push.result.batches = {Buffer::Take(std::string(bytes, 's'))};
    push.charged_bytes = static_cast<int64_t>(bytes);
    return push;
  }

  api::CallContext caller_;
  std::shared_ptr<Story> story_ = std::make_shared<Story>();
  std::unique_ptr<v1::LogService::Stub> stub_ =
      v1::LogService::NewStub(channel_);
};

TEST_F(SubscribeCallTest, RequestsAndCreditsArriveInOrder) {
  auto subscriber = Open(story_);
  for (int i = 0; i < 100; ++i) subscriber->Send(Request(i));

  story_->Await([&] { return story_->requests.size() == 100; });

  EXPECT_EQ(caller_.client_id, "subscriber");
  EXPECT_EQ(caller_.deadline_us, INT64_MAX);
  EXPECT_EQ(story_->requests[0].partitions[0].partition, PartitionIndex(-1));
  EXPECT_EQ(story_->requests[0].form, api::PayloadForm::kBatches);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(story_->requests[i].credit_bytes, i);
  }
  subscriber->Close(absl::CancelledError("enough"));
}

TEST_F(SubscribeCallTest, PushesArriveInOrderAndFinishAfterThem) {
  auto subscriber = OpenAndGreet();
  for (int i = 0; i < 500; ++i) story_->sink->Push(Push(i, 10'000));
  story_->sink->Finish(MakeError(ErrorCode::kInvalidRequest, "credit -1"));

  story_->Await([&] { return !story_->ended.empty(); });

  ASSERT_EQ(story_->pushes.size(), 500u);
  for (int i = 0; i < 500; ++i) {
    EXPECT_EQ(story_->pushes[i].next_offset(), i);
    EXPECT_EQ(story_->pushes[i].batches().size(), 10'000u);
    EXPECT_EQ(story_->pushes[i].charged_bytes(), 10'000);
  }
  EXPECT_EQ(CodeOf(story_->ended[0]), ErrorCode::kInvalidRequest);
  story_->Await([&] { return story_->session_closed == 1; });
}

TEST_F(SubscribeCallTest, AnErrorEndsOnePartitionAndNotTheStream) {
  auto subscriber = OpenAndGreet();
  api::SubscribeResponse moved;
  moved.result.topic.name = "orders";
  moved.result.error = api::ItemError(ErrorCode::kNotLeader, "moved");
  moved.result.leader = api::LeaderHint{NodeId(2), LeaderEpoch(5), {"h", 1}};
  story_->sink->Push(std::move(moved));
  story_->sink->Push(Push(7, 10));

  story_->Await([&] { return story_->pushes.size() == 2; });

  EXPECT_EQ(story_->pushes[0].error().code(), v1::ERROR_CODE_NOT_LEADER);
  EXPECT_EQ(story_->pushes[0].leader().leader_id(), 2);
  EXPECT_EQ(story_->pushes[1].next_offset(), 7);
  subscriber->Close(absl::CancelledError("enough"));
}

TEST_F(SubscribeCallTest, AClientThatGoesAwayClosesItsSession) {
  auto subscriber = OpenAndGreet();

  subscriber->Close(absl::CancelledError("gone"));

  story_->Await([&] { return story_->session_closed == 1; });
  story_->sink->Push(Push(1, 10));  // late: harmless
  story_->sink->Finish(absl::OkStatus());
}

TEST_F(SubscribeCallTest, AHalfCloseClosesTheSessionWhichFinishes) {
  auto subscriber = OpenAndGreet();

  subscriber->HalfClose();
  story_->Await([&] { return story_->session_closed == 1; });
  story_->sink->Finish(absl::OkStatus());

  story_->Await([&] { return !story_->ended.empty(); });
  EXPECT_TRUE(story_->ended[0].ok()) << story_->ended[0];
  EXPECT_EQ(story_->session_closed, 1);
}

TEST_F(SubscribeCallTest, AStreamWithoutAWordIsEndedWithoutASession) {
  auto subscriber = Open(story_);
  subscriber->HalfClose();

  story_->Await([&] { return !story_->ended.empty(); });

  EXPECT_TRUE(story_->ended[0].ok());
  EXPECT_EQ(story_->session_closed, 0);
  EXPECT_EQ(story_->sink, nullptr);
}

TEST_F(SubscribeCallTest, ABadMessageEndsTheStreamByName) {
  auto subscriber = OpenAndGreet();
  v1::SubscribeRequest bad;
  bad.add_partitions()->mutable_topic()->set_id("short");
  subscriber->Send(bad);

  story_->Await([&] { return !story_->ended.empty(); });

  EXPECT_EQ(CodeOf(story_->ended[0]), ErrorCode::kInvalidRequest);
  story_->Await([&] { return story_->session_closed == 1; });
}

TEST_F(SubscribeCallTest, AHugeMessageEndsTheStreamByName) {
  auto subscriber = OpenAndGreet();
  v1::SubscribeRequest huge = Request(1);
  huge.mutable_partitions(0)->mutable_topic()->set_name(
      std::string((16 << 20) + 1, 't'));
  subscriber->Send(huge);

  story_->Await([&] { return !story_->ended.empty(); });

  EXPECT_EQ(CodeOf(story_->ended[0]), ErrorCode::kRequestTooLarge);
}

TEST_F(SubscribeCallTest, StopEndsOpenStreamsByName) {
  auto subscriber = OpenAndGreet();

  edge_->Stop(/*grace_ms=*/600'000);

  story_->Await([&] { return !story_->ended.empty(); });
  EXPECT_EQ(CodeOf(story_->ended[0]), ErrorCode::kShuttingDown);
  story_->Await([&] { return story_->session_closed == 1; });
  edge_.reset();
  story_->sink->Push(Push(1, 10));
  story_->sink->Finish(absl::OkStatus());
  story_->sink.reset();
}

class OneStreamTest : public SubscribeCallTest {
 protected:
  OneStreamTest() : SubscribeCallTest({.streams_per_connection_max = 1}) {}
};

TEST_F(OneStreamTest, AStreamTooManyIsBusyByName) {
  auto first = OpenAndGreet();
  auto refused = std::make_shared<Story>();
  auto second = Open(refused);
  second->Send(Request(1));

  refused->Await([&] { return !refused->ended.empty(); });

  EXPECT_EQ(CodeOf(refused->ended[0]), ErrorCode::kBusy);
  EXPECT_EQ(refused->sink, nullptr);
  first->Close(absl::CancelledError("enough"));
}

}  // namespace
}  // namespace sluice
