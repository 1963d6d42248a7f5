// Subscribe streams from a client to a scripted broker.
#include <gtest/gtest.h>

#include "broker/rpc/fake_broker_testing.h"
#include "broker/rpc/served_stream_testing.h"
#include "common/base/error.h"
#include "common/rpc/client_stream.h"

namespace sluice {
namespace {

using Stream = ServedStream<api::SubscribeRequest, api::SubscribeResponse,
                            v1::SubscribeResponse>;
using Subscriber = ServedClient<
    rpc::ClientStream<v1::SubscribeRequest, v1::SubscribeResponse>, Stream>;

// Reads one message and no more.
class Unreading final
    : public rpc::ClientStream<v1::SubscribeRequest, v1::SubscribeResponse> {
 public:
  explicit Unreading(std::shared_ptr<Stream> stream)
      : ClientStream({.unconsumed_max = 1}), stream_(std::move(stream)) {}

 private:
  void OnMessage(v1::SubscribeResponse message) override {
    stream_->Tell([&] { stream_->answers.push_back(std::move(message)); });
  }
  void OnClosed(const absl::Status& why) override {
    stream_->Tell([&] { stream_->ended.push_back(why); });
  }
  const std::shared_ptr<Stream> stream_;
};

class SubscribeCallTest : public PublicEdgeTest {
 protected:
  explicit SubscribeCallTest(rpc::GateLimits limits = {})
      : PublicEdgeTest(limits) {
    broker_.on_subscribe = Serving(stream_);
  }

  std::shared_ptr<Subscriber> Open(std::shared_ptr<Stream> stream) {
    auto subscriber = std::make_shared<Subscriber>(std::move(stream));
    stub_->async()->Subscribe(subscriber->context(), subscriber.get());
    subscriber->Start();
    return subscriber;
  }

  // Open, with its first request heard.
  std::shared_ptr<Subscriber> OpenAndGreet() {
    auto subscriber = Open(stream_);
    subscriber->Send(Request(1000));
    stream_->Await([&] { return stream_->requests.size() == 1; });
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

  const std::shared_ptr<Stream> stream_ = std::make_shared<Stream>();
  std::unique_ptr<v1::LogService::Stub> stub_ =
      v1::LogService::NewStub(channel_);
};

TEST_F(SubscribeCallTest, RequestsAndCreditsArriveInOrder) {
  auto subscriber = Open(stream_);
  for (int i = 0; i < 100; ++i) subscriber->Send(Request(i));

  stream_->Await([&] { return stream_->requests.size() == 100; });

  EXPECT_EQ(stream_->caller.client_id, "subscriber");
  EXPECT_EQ(stream_->caller.deadline_us, INT64_MAX);
  EXPECT_EQ(stream_->requests[0].partitions[0].partition, PartitionIndex(-1));
  EXPECT_EQ(stream_->requests[0].form, api::PayloadForm::kBatches);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(stream_->requests[i].credit_bytes, i);
  }
  subscriber->Close(absl::CancelledError("enough"));
}

TEST_F(SubscribeCallTest, PushesArriveInOrderAndFinishAfterThem) {
  auto subscriber = OpenAndGreet();
  for (int i = 0; i < 500; ++i) stream_->sink->Push(Push(i, 10'000));
  stream_->sink->Finish(MakeError(ErrorCode::kInvalidRequest, "credit -1"));

  stream_->AwaitEnd();

  ASSERT_EQ(stream_->answers.size(), 500u);
  for (int i = 0; i < 500; ++i) {
    EXPECT_EQ(stream_->answers[i].next_offset(), i);
    EXPECT_EQ(stream_->answers[i].batches().size(), 10'000u);
    EXPECT_EQ(stream_->answers[i].charged_bytes(), 10'000);
  }
  EXPECT_EQ(CodeOf(stream_->ended[0]), ErrorCode::kInvalidRequest);
  stream_->Await([&] { return stream_->closed == 1; });
}

// Its status would come after what it does not read: it is let go all the same.
TEST_F(SubscribeCallTest, WhoDoesNotReadIsCutOffAndHoldsNothing) {
  auto unreading = std::make_shared<Unreading>(stream_);
  stub_->async()->Subscribe(unreading->context(), unreading.get());
  unreading->Start();
  unreading->Send(Request(1000));
  stream_->Await([&] { return stream_->requests.size() == 1; });
  stream_->sink->Push(Push(1, 10));
  stream_->Await([&] { return stream_->answers.size() == 1; });
  stream_->sink->Push(Push(2, 10));
  stream_->sink->Push(Push(3, 10));

  stream_->sink->Cut(MakeError(ErrorCode::kBusy, "it does not read"));

  stream_->Await([&] { return stream_->closed == 1; });
  EXPECT_EQ(stream_->answers.size(), 1u);
  unreading->Close(absl::CancelledError("enough"));
  stream_->AwaitEnd();
}

TEST_F(SubscribeCallTest, WhoIsCutOffHearsWhyIfNothingIsInTheWay) {
  auto subscriber = OpenAndGreet();

  stream_->sink->Cut(MakeError(ErrorCode::kBusy, "it does not read"));

  stream_->AwaitEnd();
  EXPECT_EQ(CodeOf(stream_->ended[0]), ErrorCode::kBusy);
  stream_->sink->Cut(MakeError(ErrorCode::kBusy, "late: harmless"));
}

TEST_F(SubscribeCallTest, AnErrorEndsOnePartitionAndNotTheStream) {
  auto subscriber = OpenAndGreet();
  api::SubscribeResponse moved;
  moved.result.topic.name = "orders";
  moved.result.error = api::ItemError(ErrorCode::kNotLeader, "moved");
  moved.result.leader = api::LeaderHint{NodeId(2), LeaderEpoch(5), {"h", 1}};
  stream_->sink->Push(std::move(moved));
  stream_->sink->Push(Push(7, 10));

  stream_->Await([&] { return stream_->answers.size() == 2; });

  EXPECT_EQ(stream_->answers[0].error().code(), v1::ERROR_CODE_NOT_LEADER);
  EXPECT_EQ(stream_->answers[0].leader().leader_id(), 2);
  EXPECT_EQ(stream_->answers[1].next_offset(), 7);
  subscriber->Close(absl::CancelledError("enough"));
}

TEST_F(SubscribeCallTest, AClientThatGoesAwayClosesItsSession) {
  auto subscriber = OpenAndGreet();

  subscriber->Close(absl::CancelledError("gone"));

  stream_->Await([&] { return stream_->closed == 1; });
  stream_->sink->Push(Push(1, 10));  // late: harmless
  stream_->sink->Finish(absl::OkStatus());
}

TEST_F(SubscribeCallTest, AHalfCloseClosesTheSessionWhichFinishes) {
  auto subscriber = OpenAndGreet();

  subscriber->HalfClose();
  stream_->Await([&] { return stream_->closed == 1; });
  stream_->sink->Finish(absl::OkStatus());

  stream_->AwaitEnd();
  EXPECT_TRUE(stream_->ended[0].ok()) << stream_->ended[0];
  EXPECT_EQ(stream_->closed, 1);
}

TEST_F(SubscribeCallTest, AStreamWithoutAWordIsEndedWithoutASession) {
  auto subscriber = Open(stream_);
  subscriber->HalfClose();

  stream_->AwaitEnd();

  EXPECT_TRUE(stream_->ended[0].ok());
  EXPECT_EQ(stream_->closed, 0);
  EXPECT_EQ(stream_->sink, nullptr);
}

TEST_F(SubscribeCallTest, ABadMessageEndsTheStreamByName) {
  auto subscriber = OpenAndGreet();
  v1::SubscribeRequest bad;
  bad.add_partitions()->mutable_topic()->set_id("short");
  subscriber->Send(bad);

  stream_->AwaitEnd();

  EXPECT_EQ(CodeOf(stream_->ended[0]), ErrorCode::kInvalidRequest);
  stream_->Await([&] { return stream_->closed == 1; });
}

TEST_F(SubscribeCallTest, AHugeMessageEndsTheStreamByName) {
  auto subscriber = OpenAndGreet();
  v1::SubscribeRequest huge = Request(1);
  huge.mutable_partitions(0)->mutable_topic()->set_name(
      std::string((16 << 20) + 1, 't'));
  subscriber->Send(huge);

  stream_->AwaitEnd();

  EXPECT_EQ(CodeOf(stream_->ended[0]), ErrorCode::kRequestTooLarge);
}

TEST_F(SubscribeCallTest, StopEndsOpenStreamsByName) {
  auto subscriber = OpenAndGreet();

  edge_->Stop(/*grace_ms=*/600'000);

  stream_->AwaitEnd();
  EXPECT_EQ(CodeOf(stream_->ended[0]), ErrorCode::kShuttingDown);
  stream_->Await([&] { return stream_->closed == 1; });
  edge_.reset();
  stream_->sink->Push(Push(1, 10));
  stream_->sink->Finish(absl::OkStatus());
  stream_->sink.reset();
}

class OneStreamTest : public SubscribeCallTest {
 protected:
  OneStreamTest() : SubscribeCallTest({.streams_per_connection_max = 1}) {}
};

TEST_F(OneStreamTest, AStreamTooManyIsBusyByName) {
  auto first = OpenAndGreet();
  auto refused = std::make_shared<Stream>();
  auto second = Open(refused);
  second->Send(Request(1));

  refused->AwaitEnd();

  EXPECT_EQ(CodeOf(refused->ended[0]), ErrorCode::kBusy);
  EXPECT_EQ(refused->sink, nullptr);
  first->Close(absl::CancelledError("enough"));
}

}  // namespace
}  // namespace sluice
