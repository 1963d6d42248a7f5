// ProduceStream from a client to a scripted broker.
#include <gtest/gtest.h>

#include "broker/rpc/fake_broker_testing.h"
#include "broker/rpc/served_stream_testing.h"
#include "common/base/error.h"
#include "common/rpc/client_stream.h"

namespace sluice {
namespace {

using Stream =
    ServedStream<api::ProduceStreamRequest, api::ProduceStreamResponse,
                 api::ProduceStreamResponse>;

// A raw client: what a peer of ours cannot do (half-close, garbage).
class RawProducer final
    : public rpc::ClientStream<v1::ProduceStreamRequest,
                               v1::ProduceStreamResponse> {
 public:
  explicit RawProducer(std::shared_ptr<Stream> stream)
      : stream_(std::move(stream)) {}

 private:
  void OnMessage(v1::ProduceStreamResponse) override { Consumed(); }
  void OnClosed(const absl::Status& why) override {
    stream_->Tell([&] { stream_->ended.push_back(why); });
  }
  const std::shared_ptr<Stream> stream_;
};

class ProduceStreamCallTest : public PublicEdgeTest {
 protected:
  explicit ProduceStreamCallTest(rpc::GateLimits limits = {})
      : PublicEdgeTest(limits) {
    stream_->consumes = true;
    broker_.on_produce_stream = Serving(stream_);
  }

  std::shared_ptr<ProduceSender> Open() {
    ProduceStreamEvents events;
    events.on_frame = [stream = stream_](api::ProduceStreamResponse answer) {
      stream->Tell([&] { stream->answers.push_back(std::move(answer)); });
    };
    events.on_closed = [stream = stream_](const absl::Status& why) {
      stream->Tell([&] { stream->ended.push_back(why); });
    };
    return peer_->OpenProduceStream(std::move(events));
  }
  std::shared_ptr<RawProducer> OpenRaw() {
    auto raw = std::make_shared<RawProducer>(stream_);
    stub_->async()->ProduceStream(raw->context(), raw.get());
    raw->Start();
    return raw;
  }

  static api::ProduceStreamRequest Request(int64_t id, std::string bytes) {
    return {id, OneBatch(std::move(bytes))};
  }

  const std::shared_ptr<Stream> stream_ = std::make_shared<Stream>();
  std::unique_ptr<v1::LogService::Stub> stub_ =
      v1::LogService::NewStub(channel_);
};

TEST_F(ProduceStreamCallTest, TheSessionHearsOfManyAnswersOnTheWireAtOnce) {
  const auto sender = Open();
  sender->Send(Request(1, "bytes"));
  stream_->Await([&] { return !stream_->requests.empty(); });
  const auto answer = [&](size_t count) {
    stream_->sink->Push({});
    stream_->Await([&] { return stream_->answers.size() == count; });
  };
  for (size_t count = 1; count < 100; ++count) answer(count);
  EXPECT_EQ(stream_->drained, 0);
  answer(100);
  stream_->Await([&] { return stream_->drained == 1; });
}

TEST_F(ProduceStreamCallTest, RequestsArriveInOrderAndAnswersComeBack) {
  const auto sender = Open();
  for (int i = 0; i < 300; ++i) {
    sender->Send(Request(i, std::string(5'000, 'b')));
  }
  stream_->Await([&] { return stream_->requests.size() == 300; });
  EXPECT_EQ(stream_->caller.client_id, "tester");
  EXPECT_EQ(stream_->caller.deadline_us, INT64_MAX);
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(stream_->requests[i].correlation_id, i);
    const auto& part = stream_->requests[i].request.partitions.at(0);
    EXPECT_EQ(part.partition, PartitionIndex(2));
    EXPECT_EQ(std::get<MutableBuffer>(part.payload).size(), 5'000u);
  }
  api::ProduceStreamResponse answer;
  answer.correlation_id = 41;
  answer.results.emplace_back().topic.name = "orders";
  answer.results[0].base_offset = Offset(9);
  stream_->sink->Push(answer);
  answer.results.clear();
  answer.error = api::ItemError(ErrorCode::kInvalidRequiredAcks, "acks 7");
  answer.complete = true;
  stream_->sink->Push(answer);
  stream_->Await([&] { return stream_->answers.size() == 2; });
  EXPECT_EQ(stream_->answers[0].correlation_id, 41);
  EXPECT_EQ(stream_->answers[0].results.at(0).base_offset, Offset(9));
  EXPECT_FALSE(stream_->answers[0].complete);
  EXPECT_EQ(stream_->answers[1].error.code, ErrorCode::kInvalidRequiredAcks);
  EXPECT_TRUE(stream_->answers[1].complete);
  EXPECT_EQ(edge_->gate().CountsOf(rpc::Method::kProduceStream).calls, 1);
}

TEST_F(ProduceStreamCallTest, NothingMoreIsReadUntilTheSessionConsumes) {
  stream_->consumes = false;
  const auto sender = Open();
  for (int i = 0; i < 10; ++i) sender->Send(Request(i, "batch"));
  stream_->Await([&] { return stream_->requests.size() == 2; });
  for (int read = 3; read <= 10; ++read) {
    stream_->sink->Consumed();
    stream_->Await([&] { return stream_->requests.size() >= size_t(read); });
    std::lock_guard lock(stream_->mutex);
    EXPECT_EQ(stream_->requests.size(), size_t(read));
  }
}

TEST_F(ProduceStreamCallTest, AHalfCloseLeavesTheSessionTimeToAnswer) {
  const auto raw = OpenRaw();
  v1::ProduceStreamRequest request;
  request.set_correlation_id(1);
  raw->Send(request);
  raw->HalfClose();
  stream_->Await([&] { return !stream_->no_more.empty(); });
  EXPECT_TRUE(stream_->no_more[0].ok());
  EXPECT_TRUE(stream_->ended.empty());
  stream_->sink->Finish(absl::OkStatus());
  stream_->AwaitEnd();
  EXPECT_TRUE(stream_->ended[0].ok()) << stream_->ended[0];
  stream_->Await([&] { return stream_->closed == 1; });
}

TEST_F(ProduceStreamCallTest, AClientThatGoesAwayClosesItsSession) {
  auto sender = Open();
  sender->Send(Request(1, "batch"));
  stream_->Await([&] { return stream_->requests.size() == 1; });
  sender.reset();
  stream_->Await([&] { return stream_->closed == 1; });
  stream_->sink->Push({});  // late: harmless
}

TEST_F(ProduceStreamCallTest, BadMessagesEndTheStreamByName) {
  const auto raw = OpenRaw();
  v1::ProduceStreamRequest bad;
  auto* part = bad.mutable_request()->add_partitions();
  part->mutable_topic()->set_id("short");
  part->set_batches("x");
  raw->Send(bad);
  stream_->AwaitEnd();
  EXPECT_EQ(CodeOf(stream_->ended[0]), ErrorCode::kInvalidRequest);
}

TEST_F(ProduceStreamCallTest, AHugeMessageEndsTheStreamByName) {
  const auto sender = Open();
  sender->Send(Request(1, std::string((16 << 20) + 1, 'h')));
  stream_->AwaitEnd();
  EXPECT_EQ(CodeOf(stream_->ended[0]), ErrorCode::kRequestTooLarge);
  EXPECT_TRUE(stream_->requests.empty());
}

TEST_F(ProduceStreamCallTest, StopAsksTheSessionToAnswerAndFinish) {
  const auto sender = Open();
  sender->Send(Request(1, "batch"));
  stream_->Await([&] { return stream_->requests.size() == 1; });
  edge_->Drain();
  stream_->Await([&] { return !stream_->no_more.empty(); });
  EXPECT_EQ(CodeOf(stream_->no_more[0]), ErrorCode::kShuttingDown);
  EXPECT_TRUE(stream_->ended.empty());
  stream_->sink->Finish(stream_->no_more[0]);
  stream_->AwaitEnd();
  EXPECT_EQ(CodeOf(stream_->ended[0]), ErrorCode::kShuttingDown);
  stream_->sink.reset();
}

}  // namespace
}  // namespace sluice
