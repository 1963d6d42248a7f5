// The lifetimes of streams, over gRPC's in-process transport: no port.
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/rpc/client_stream.h"
#include "common/rpc/server.h"
#include "common/rpc/server_stream.h"
#include "sluice/internal/v1/controller.grpc.pb.h"
#include "sluice/internal/v1/replication.grpc.pb.h"

namespace sluice::rpc {
namespace {

using internal::v1::FollowerFrame;
using internal::v1::FollowMetadataRequest;
using internal::v1::FollowMetadataResponse;
using internal::v1::LeaderFrame;

// What a stream went through, waited for from the test's thread.
struct Story {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<int64_t> messages;
  int drained = 0;
  int half_closed = 0;
  std::vector<absl::Status> closed;
  bool deleted = false;

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

class TestServerStream final
    : public ServerStream<FollowerFrame, LeaderFrame> {
 public:
  TestServerStream(std::shared_ptr<Story> story, StreamLimits limits,
                   bool consume)
      : ServerStream(limits), story_(std::move(story)), consume_(consume) {}
  ~TestServerStream() override {
    story_->Tell([this] { story_->deleted = true; });
  }

 private:
  void OnMessage(FollowerFrame frame) override {
    story_->Tell([&] { story_->messages.push_back(frame.credit_bytes()); });
    if (consume_) Consumed();
  }
  void OnHalfClosed() override {
    story_->Tell([this] { ++story_->half_closed; });
    ServerStream::OnHalfClosed();
  }
  void OnDrained() override {
    story_->Tell([this] { ++story_->drained; });
  }
  void OnClosed(const absl::Status& why) override {
    story_->Tell([&] { story_->closed.push_back(why); });
  }

  const std::shared_ptr<Story> story_;
  const bool consume_;
};

class TestClientStream final
    : public ClientStream<FollowerFrame, LeaderFrame> {
 public:
  explicit TestClientStream(std::shared_ptr<Story> story,
                            StreamLimits limits = {}, bool consume = true)
      : ClientStream(limits), story_(std::move(story)), consume_(consume) {}
  ~TestClientStream() override {
    story_->Tell([this] { story_->deleted = true; });
  }

 private:
  void OnMessage(LeaderFrame frame) override {
    story_->Tell([&] {
      story_->messages.push_back(
          frame.data_size() > 0 ? frame.data(0).high_watermark() : -1);
    });
    if (consume_) Consumed();
  }
  void OnDrained() override {
    story_->Tell([this] { ++story_->drained; });
  }
  void OnClosed(const absl::Status& why) override {
    story_->Tell([&] { story_->closed.push_back(why); });
  }

  const std::shared_ptr<Story> story_;
  const bool consume_;
};

class TestWriter final : public ServerWriter<FollowMetadataResponse> {
 public:
  explicit TestWriter(std::shared_ptr<Story> story)
      : story_(std::move(story)) {}
  ~TestWriter() override {
    story_->Tell([this] { story_->deleted = true; });
  }

 private:
  void OnClosed(const absl::Status& why) override {
    story_->Tell([&] { story_->closed.push_back(why); });
  }
  const std::shared_ptr<Story> story_;
};

class TestReader final : public ClientReader<FollowMetadataResponse> {
 public:
  explicit TestReader(std::shared_ptr<Story> story)
      : story_(std::move(story)) {}

 private:
  void OnMessage(FollowMetadataResponse message) override {
    story_->Tell([&] { story_->messages.push_back(message.committed_offset()); });
    Consumed();
  }
  void OnClosed(const absl::Status& why) override {
    story_->Tell([&] { story_->closed.push_back(why); });
  }
  const std::shared_ptr<Story> story_;
};

LeaderFrame Frame(int64_t number, size_t bytes = 0) {
  LeaderFrame frame;
  auto* data = frame.add_data();
  data->set_high_watermark(number);
  data->set_batches(std::string(bytes, 'b'));
  return frame;
}

FollowerFrame Credit(int64_t bytes) {
  FollowerFrame frame;
  frame.set_credit_bytes(bytes);
  return frame;
}

class StreamsTest : public ::testing::Test,
                     internal::v1::ReplicationService::CallbackService {
 protected:
  StreamsTest() : follow_(this) {
    ListenerOptions options;
    options.name = "TEST";
    auto server = RpcServer::Start(
        options,
        {static_cast<ReplicationService::CallbackService*>(this), &follow_});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = server_->InProcessChannel(
        ChannelArgumentsFor(ChannelUse::kReplication));
  }

  std::shared_ptr<TestClientStream> Open(StreamLimits limits = {},
                                         bool consume = true) {
    auto stub = internal::v1::ReplicationService::NewStub(channel_);
    auto stream =
        std::make_shared<TestClientStream>(client_story_, limits, consume);
    stub->async()->Fetch(stream->context(), stream.get());
    stream->Start();
    return stream;
  }

  std::shared_ptr<TestServerStream> Accepted() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return accepted_ != nullptr; });
    return std::move(accepted_);
  }

  std::shared_ptr<TestWriter> AcceptedWriter() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return writer_ != nullptr; });
    return std::move(writer_);
  }

  // Filled by the services below.
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<TestServerStream> accepted_;
  std::shared_ptr<TestWriter> writer_;

  StreamLimits server_limits_;
  bool server_consumes_ = true;
  std::shared_ptr<Story> server_story_ = std::make_shared<Story>();
  std::shared_ptr<Story> client_story_ = std::make_shared<Story>();

 private:
  using ReplicationService = internal::v1::ReplicationService;

  grpc::ServerBidiReactor<FollowerFrame, LeaderFrame>* Fetch(
      grpc::CallbackServerContext*) override {
    auto stream = std::make_shared<TestServerStream>(
        server_story_, server_limits_, server_consumes_);
    stream->Start();
    std::lock_guard lock(mutex_);
    accepted_ = stream;
    changed_.notify_all();
    return stream.get();
  }

  struct Follow final : internal::v1::ControllerService::CallbackService {
    explicit Follow(StreamsTest* t) : test(t) {}
    grpc::ServerWriteReactor<FollowMetadataResponse>* FollowMetadata(
        grpc::CallbackServerContext*, const FollowMetadataRequest*) override {
      auto writer = std::make_shared<TestWriter>(test->server_story_);
      writer->Start();
      std::lock_guard lock(test->mutex_);
      test->writer_ = writer;
      test->changed_.notify_all();
      return writer.get();
    }
    StreamsTest* test;
  };

  Follow follow_;

 protected:
  std::unique_ptr<RpcServer> server_;  // before what its calls use goes away
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(StreamsTest, MessagesArriveInOrderBothWays) {
  auto client = Open();
  auto server = Accepted();

  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(client->Send(Credit(i)));
    EXPECT_TRUE(server->Send(Frame(i)));
  }

  server_story_->Await([&] { return server_story_->messages.size() == 1000; });
  client_story_->Await([&] { return client_story_->messages.size() == 1000; });
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(server_story_->messages[i], i);
    EXPECT_EQ(client_story_->messages[i], i);
  }
  client_story_->Await([&] { return client_story_->drained > 0; });
  server_story_->Await([&] { return server_story_->drained > 0; });
  client->Close(absl::CancelledError("test over"));
}

TEST_F(StreamsTest, SendersOnManyThreadsKeepEachTheirOrder) {
  auto client = Open();
  auto server = Accepted();
  constexpr int kThreads = 4;
  constexpr int kEach = 2000;

  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) server->Send(Frame(t * kEach + i));
    });
  }
  for (auto& thread : threads) thread.join();

  client_story_->Await(
      [&] { return client_story_->messages.size() == kThreads * kEach; });
  std::vector<int64_t> last(kThreads, -1);
  for (const int64_t number : client_story_->messages) {
    EXPECT_GT(number, last[number / kEach]);
    last[number / kEach] = number;
  }
  server->End(absl::OkStatus());
}

TEST_F(StreamsTest, EndSendsWhatWasAcceptedAndThenTheRichStatus) {
  Open();
  auto server = Accepted();

  for (int i = 0; i < 100; ++i) server->Send(Frame(i, 10'000));
  server->End(MakeError(ErrorCode::kStaleBrokerEpoch, "broker 3: epoch 7"));
  EXPECT_FALSE(server->Send(Frame(100)));
  server.reset();

  client_story_->Await([&] { return !client_story_->closed.empty(); });
  EXPECT_EQ(client_story_->messages.size(), 100u);
  EXPECT_EQ(CodeOf(client_story_->closed[0]), ErrorCode::kStaleBrokerEpoch);
  EXPECT_EQ(StdView(client_story_->closed[0].message()), "broker 3: epoch 7");
  server_story_->Await([&] { return server_story_->deleted; });
  EXPECT_EQ(server_story_->closed.size(), 1u);
}

TEST_F(StreamsTest, BothEndsAreDeletedWhenTheClientCloses) {
  auto client = Open();
  auto server = Accepted();
  client->Send(Credit(1));
  server_story_->Await([&] { return server_story_->messages.size() == 1; });

  client->Close(MakeError(ErrorCode::kShuttingDown, "closing"));
  EXPECT_FALSE(client->Send(Credit(2)));
  client.reset();
  server.reset();

  client_story_->Await([&] { return client_story_->deleted; });
  server_story_->Await([&] { return server_story_->deleted; });
  ASSERT_EQ(client_story_->closed.size(), 1u);
  EXPECT_EQ(CodeOf(client_story_->closed[0]), ErrorCode::kShuttingDown);
  ASSERT_EQ(server_story_->closed.size(), 1u);
  EXPECT_EQ(server_story_->closed[0].code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(server_story_->messages, std::vector<int64_t>{1});
}

TEST_F(StreamsTest, AReferenceKeepsAClosedStreamAliveAndHarmless) {
  auto client = Open();
  auto server = Accepted();

  client->Close(absl::CancelledError("test"));
  client_story_->Await([&] { return !client_story_->closed.empty(); });
  server_story_->Await([&] { return !server_story_->closed.empty(); });

  EXPECT_FALSE(server->Send(Frame(1)));
  server->End(absl::OkStatus());
  server->Consumed();
  EXPECT_FALSE(client->Send(Credit(1)));
  client->HalfClose();
  client->Close(absl::OkStatus());
  EXPECT_FALSE(server_story_->deleted);
  EXPECT_FALSE(client_story_->deleted);
  EXPECT_EQ(server_story_->closed.size(), 1u);
  EXPECT_EQ(client_story_->closed.size(), 1u);
}

TEST_F(StreamsTest, HalfCloseArrivesAfterEveryMessage) {
  auto client = Open();
  for (int i = 0; i < 50; ++i) client->Send(Credit(i));
  client->HalfClose();
  EXPECT_FALSE(client->Send(Credit(50)));

  server_story_->Await([&] { return !server_story_->closed.empty(); });
  EXPECT_EQ(server_story_->messages.size(), 50u);
  EXPECT_EQ(server_story_->half_closed, 1);
  client_story_->Await([&] { return !client_story_->closed.empty(); });
  EXPECT_TRUE(client_story_->closed[0].ok()) << client_story_->closed[0];
}

TEST_F(StreamsTest, ASenderPastItsLimitEndsTheStreamWithBusy) {
  server_limits_.queue_bytes_max = 1 << 20;
  StreamLimits no_reader;
  no_reader.unconsumed_max = 1;
  auto client = Open(no_reader, /*consume=*/false);
  auto server = Accepted();

  bool accepted = true;
  int sent = 0;
  while (accepted && sent < 10'000) {
    accepted = server->Send(Frame(sent, 100'000));
    sent += accepted ? 1 : 0;
  }

  EXPECT_FALSE(accepted);
  EXPECT_GE(sent, 10);
  for (int i = 0; i < sent; ++i) client->Consumed();
  client_story_->Await([&] { return !client_story_->closed.empty(); });
  EXPECT_EQ(CodeOf(client_story_->closed[0]), ErrorCode::kBusy);
}

TEST_F(StreamsTest, AClientPastItsLimitEndsTheStreamWithBusy) {
  server_limits_.unconsumed_max = 1;
  server_consumes_ = false;
  StreamLimits limits;
  limits.queue_messages_max = 100;
  auto client = Open(limits);
  auto server = Accepted();

  int sent = 0;
  FollowerFrame big = Credit(1);
  big.add_adds()->set_topic_id(std::string(100'000, 'x'));
  while (sent < 10'000 && client->Send(big)) ++sent;

  EXPECT_GE(sent, 100);
  EXPECT_LT(sent, 10'000);
  client_story_->Await([&] { return !client_story_->closed.empty(); });
  EXPECT_EQ(CodeOf(client_story_->closed[0]), ErrorCode::kBusy);
}

TEST_F(StreamsTest, NoMoreMessagesThanTheWindowAreOutUnconsumed) {
  server_limits_.unconsumed_max = 3;
  server_consumes_ = false;
  auto client = Open();
  auto server = Accepted();
  for (int i = 0; i < 10; ++i) client->Send(Credit(i));
  server_story_->Await([&] { return server_story_->messages.size() == 3; });

  for (int i = 0; i < 7; ++i) {
    {
      std::lock_guard lock(server_story_->mutex);
      EXPECT_LE(server_story_->messages.size(), 3u + i);
    }
    server->Consumed();
    server_story_->Await(
        [&] { return server_story_->messages.size() == 4u + i; });
  }
  client->Close(absl::OkStatus());
}

TEST_F(StreamsTest, ServerShutdownEndsOpenStreams) {
  auto client = Open();
  auto server = Accepted();
  server->Send(Frame(1));
  client_story_->Await([&] { return client_story_->messages.size() == 1; });

  server_->Shutdown(0);

  server_story_->Await([&] { return !server_story_->closed.empty(); });
  client_story_->Await([&] { return !client_story_->closed.empty(); });
  EXPECT_EQ(client_story_->closed[0].code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(server_story_->closed[0].code(), absl::StatusCode::kCancelled);
}

TEST_F(StreamsTest, ServerStreamingWritesInOrderAndEnds) {
  auto stub = internal::v1::ControllerService::NewStub(channel_);
  auto reader = std::make_shared<TestReader>(client_story_);
  FollowMetadataRequest request;
  stub->async()->FollowMetadata(reader->context(), &request, reader.get());
  reader->Start();
  auto writer = AcceptedWriter();

  for (int i = 0; i < 300; ++i) {
    FollowMetadataResponse response;
    response.set_committed_offset(i);
    writer->Send(response);
  }
  writer->End(MakeError(ErrorCode::kShuttingDown, "controller 1"));
  writer.reset();

  client_story_->Await([&] { return !client_story_->closed.empty(); });
  EXPECT_EQ(client_story_->messages.size(), 300u);
  EXPECT_EQ(CodeOf(client_story_->closed[0]), ErrorCode::kShuttingDown);
  server_story_->Await([&] { return server_story_->deleted; });
}

TEST_F(StreamsTest, AReaderThatClosesIsGoneForTheWriter) {
  auto stub = internal::v1::ControllerService::NewStub(channel_);
  auto reader = std::make_shared<TestReader>(client_story_);
  FollowMetadataRequest request;
  stub->async()->FollowMetadata(reader->context(), &request, reader.get());
  reader->Start();
  auto writer = AcceptedWriter();

  reader->Close(absl::CancelledError("enough"));

  server_story_->Await([&] { return !server_story_->closed.empty(); });
  client_story_->Await([&] { return !client_story_->closed.empty(); });
  EXPECT_FALSE(writer->Send(FollowMetadataResponse()));
}

}  // namespace
}  // namespace sluice::rpc
