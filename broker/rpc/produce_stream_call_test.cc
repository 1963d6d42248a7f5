// ProduceStream from a client to a scripted broker.
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
  std::vector<api::ProduceStreamRequest> requests;
  std::vector<absl::Status> no_more;
  int session_closed = 0;
  int drained = 0;
  std::vector<api::ProduceStreamResponse> answers;
  std::vector<absl::Status> ended;
  std::shared_ptr<ProduceSink> sink;

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

class Session final : public ProduceSession {
 public:
  Session(std::shared_ptr<Story> story, bool consumes)
      : story_(std::move(story)), consumes_(consumes) {}
  void OnRequest(api::ProduceStreamRequest request) override {
    story_->Tell([&] { story_->requests.push_back(std::move(request)); });
    if (consumes_) story_->sink->Consumed();
  }
  void OnDrained() override {
    story_->Tell([&] { ++story_->drained; });
  }
  void OnNoMore(absl::Status why) override {
    story_->Tell([&] { story_->no_more.push_back(std::move(why)); });
  }
  void OnClosed() override {
    story_->Tell([&] { ++story_->session_closed; });
  }

 private:
  const std::shared_ptr<Story> story_;
  const bool consumes_;
};

// A raw client: what a peer of ours cannot do (half-close, garbage).
class RawProducer final
    : public rpc::ClientStream<v1::ProduceStreamRequest,
                               v1::ProduceStreamResponse> {
 public:
  explicit RawProducer(std::shared_ptr<Story> story)
      : story_(std::move(story)) {}

 private:
  void OnMessage(v1::ProduceStreamResponse) override { Consumed(); }
  void OnClosed(const absl::Status& why) override {
    story_->Tell([&] { story_->ended.push_back(why); });
  }
  const std::shared_ptr<Story> story_;
};

class ProduceStreamCallTest : public PublicEdgeTest {
 protected:
  explicit ProduceStreamCallTest(rpc::GateLimits limits = {})
      : PublicEdgeTest(limits) {
    broker_.on_produce_stream = [this](const api::CallContext& context,
                                       std::shared_ptr<ProduceSink> sink) {
      story_->Tell([&] {
        caller_ = context;
        story_->sink = std::move(sink);
      });
      return std::make_shared<Session>(story_, consumes_);
    };
  }

  std::shared_ptr<ProduceSender> Open() {
    ProduceStreamEvents events;
    events.on_frame = [story = story_](api::ProduceStreamResponse answer) {
      story->Tell([&] { story->answers.push_back(std::move(answer)); });
    };
    events.on_closed = [story = story_](const absl::Status& why) {
      story->Tell([&] { story->ended.push_back(why); });
    };
    return peer_->OpenProduceStream(std::move(events));
  }
  std::shared_ptr<RawProducer> OpenRaw() {
    auto raw = std::make_shared<RawProducer>(story_);
    stub_->async()->ProduceStream(raw->context(), raw.get());
    raw->Start();
    return raw;
  }

  static api::ProduceStreamRequest Request(int64_t id, std::string bytes) {
    return {id, OneBatch(std::move(bytes))};
  }

  bool consumes_ = true;
  api::CallContext caller_;
  std::shared_ptr<Story> story_ = std::make_shared<Story>();
  std::unique_ptr<v1::LogService::Stub> stub_ =
      v1::LogService::NewStub(channel_);
};

TEST_F(ProduceStreamCallTest, TheSessionHearsOfManyAnswersOnTheWireAtOnce) {
  const auto stream = Open();
  stream->Send(Request(1, "bytes"));
  story_->Await([&] { return !story_->requests.empty(); });
  const auto answer = [&](size_t count) {
    story_->sink->Push({});
    story_->Await([&] { return story_->answers.size() == count; });
  };
  for (size_t count = 1; count < 100; ++count) answer(count);
  EXPECT_EQ(story_->drained, 0);
  answer(100);
  story_->Await([&] { return story_->drained == 1; });
}

TEST_F(ProduceStreamCallTest, RequestsArriveInOrderAndAnswersComeBack) {
  const auto stream = Open();
  for (int i = 0; i < 300; ++i) {
    stream->Send(Request(i, std::string(5'000, 'b')));
  }
  story_->Await([&] { return story_->requests.size() == 300; });
  EXPECT_EQ(caller_.client_id, "tester");
  EXPECT_EQ(caller_.deadline_us, INT64_MAX);
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(story_->requests[i].correlation_id, i);
    const auto& part = story_->requests[i].request.partitions.at(0);
    EXPECT_EQ(part.partition, PartitionIndex(2));
    EXPECT_EQ(std::get<MutableBuffer>(part.payload).size(), 5'000u);
  }
  api::ProduceStreamResponse answer;
  answer.correlation_id = 41;
  answer.results.emplace_back().topic.name = "orders";
  answer.results[0].base_offset = Offset(9);
  story_->sink->Push(answer);
  answer.results.clear();
  answer.error = api::ItemError(ErrorCode::kInvalidRequiredAcks, "acks 7");
  answer.complete = true;
  story_->sink->Push(answer);
  story_->Await([&] { return story_->answers.size() == 2; });
  EXPECT_EQ(story_->answers[0].correlation_id, 41);
  EXPECT_EQ(story_->answers[0].results.at(0).base_offset, Offset(9));
  EXPECT_FALSE(story_->answers[0].complete);
  EXPECT_EQ(story_->answers[1].error.code, ErrorCode::kInvalidRequiredAcks);
  EXPECT_TRUE(story_->answers[1].complete);
  EXPECT_EQ(edge_->gate().CountsOf(rpc::Method::kProduceStream).calls, 1);
}

TEST_F(ProduceStreamCallTest, NothingMoreIsReadUntilTheSessionConsumes) {
  consumes_ = false;
  const auto stream = Open();
  for (int i = 0; i < 10; ++i) stream->Send(Request(i, "batch"));
  story_->Await([&] { return story_->requests.size() == 2; });
  for (int read = 3; read <= 10; ++read) {
    story_->sink->Consumed();
    story_->Await([&] { return story_->requests.size() >= size_t(read); });
    std::lock_guard lock(story_->mutex);
    EXPECT_EQ(story_->requests.size(), size_t(read));
  }
}

TEST_F(ProduceStreamCallTest, AHalfCloseLeavesTheSessionTimeToAnswer) {
  const auto raw = OpenRaw();
  v1::ProduceStreamRequest request;
  request.set_correlation_id(1);
  raw->Send(request);
  raw->HalfClose();
  story_->Await([&] { return !story_->no_more.empty(); });
  EXPECT_TRUE(story_->no_more[0].ok());
  EXPECT_TRUE(story_->ended.empty());
  story_->sink->Finish(absl::OkStatus());
  story_->Await([&] { return !story_->ended.empty(); });
  EXPECT_TRUE(story_->ended[0].ok()) << story_->ended[0];
  story_->Await([&] { return story_->session_closed == 1; });
}

TEST_F(ProduceStreamCallTest, AClientThatGoesAwayClosesItsSession) {
  auto stream = Open();
  stream->Send(Request(1, "batch"));
  story_->Await([&] { return story_->requests.size() == 1; });
  stream.reset();
  story_->Await([&] { return story_->session_closed == 1; });
  story_->sink->Push({});  // late: harmless
}

TEST_F(ProduceStreamCallTest, BadMessagesEndTheStreamByName) {
  const auto raw = OpenRaw();
  v1::ProduceStreamRequest bad;
  auto* part = bad.mutable_request()->add_partitions();
  part->mutable_topic()->set_id("short");
  part->set_batches("x");
  raw->Send(bad);
  story_->Await([&] { return !story_->ended.empty(); });
  EXPECT_EQ(CodeOf(story_->ended[0]), ErrorCode::kInvalidRequest);
}

TEST_F(ProduceStreamCallTest, AHugeMessageEndsTheStreamByName) {
  const auto stream = Open();
  stream->Send(Request(1, std::string((16 << 20) + 1, 'h')));
  story_->Await([&] { return !story_->ended.empty(); });
  EXPECT_EQ(CodeOf(story_->ended[0]), ErrorCode::kRequestTooLarge);
  EXPECT_TRUE(story_->requests.empty());
}

TEST_F(ProduceStreamCallTest, StopAsksTheSessionToAnswerAndFinish) {
  const auto stream = Open();
  stream->Send(Request(1, "batch"));
  story_->Await([&] { return story_->requests.size() == 1; });
  edge_->Drain();
  story_->Await([&] { return !story_->no_more.empty(); });
  EXPECT_EQ(CodeOf(story_->no_more[0]), ErrorCode::kShuttingDown);
  EXPECT_TRUE(story_->ended.empty());
  story_->sink->Finish(story_->no_more[0]);
  story_->Await([&] { return !story_->ended.empty(); });
  EXPECT_EQ(CodeOf(story_->ended[0]), ErrorCode::kShuttingDown);
  story_->sink.reset();
}

}  // namespace
}  // namespace sluice
