// WatchMetadata from a client to a scripted broker.
#include <gtest/gtest.h>

#include "broker/rpc/fake_broker_testing.h"
#include "broker/rpc/served_stream_testing.h"
#include "common/base/error.h"
#include "common/rpc/client_stream.h"
#include "sluice/v1/cluster.grpc.pb.h"

namespace sluice {
namespace {

using Stream =
    ServedStream<v1::WatchMetadataRequest, v1::WatchMetadataResponse,
                 v1::WatchMetadataResponse>;
using Watcher =
    ServedClient<rpc::ClientReader<v1::WatchMetadataResponse>, Stream>;

// A watch has one request, which opens it.
class Session final : public WatchSession {
 public:
  explicit Session(std::shared_ptr<Stream> stream)
      : stream_(std::move(stream)) {}
  void OnDrained() override {
    stream_->Tell([&] { ++stream_->drained; });
  }
  void OnClosed() override {
    stream_->Tell([&] { ++stream_->closed; });
  }

 private:
  const std::shared_ptr<Stream> stream_;
};

class WatchCallTest : public PublicEdgeTest {
 protected:
  explicit WatchCallTest(rpc::GateLimits limits = {}) : PublicEdgeTest(limits) {
    broker_.on_watch_metadata = [this](const api::CallContext& context,
                                       v1::WatchMetadataRequest request,
                                       std::shared_ptr<WatchSink> sink) {
      if (push_at_once_) sink->Push(Message(0));
      stream_->requests.push_back(std::move(request));
      stream_->Open(context, std::move(sink));
      return std::make_shared<Session>(stream_);
    };
  }

  std::shared_ptr<Watcher> Watch(std::shared_ptr<Stream> stream) {
    auto watcher = std::make_shared<Watcher>(std::move(stream));
    v1::WatchMetadataRequest request;
    request.add_topics("orders");
    request.set_client_id("watcher");
    stub_->async()->WatchMetadata(watcher->context(), &request, watcher.get());
    watcher->Start();
    return watcher;
  }
  static v1::WatchMetadataResponse Message(int64_t offset) {
    v1::WatchMetadataResponse message;
    message.set_metadata_offset(offset);
    return message;
  }

  bool push_at_once_ = false;
  const std::shared_ptr<Stream> stream_ = std::make_shared<Stream>();
  std::unique_ptr<v1::ClusterService::Stub> stub_ =
      v1::ClusterService::NewStub(channel_);
};

TEST_F(WatchCallTest, MessagesComeInOrderAndEachIsSaidToBeOnTheWire) {
  auto watcher = Watch(stream_);
  stream_->AwaitOpen();
  EXPECT_EQ(stream_->requests[0].topics(0), "orders");
  EXPECT_EQ(stream_->caller.client_id, "watcher");
  for (int i = 0; i < 100; ++i) {
    stream_->sink->Push(Message(i));
    stream_->Await([&] { return stream_->drained == i + 1; });
  }
  stream_->Await([&] { return stream_->answers.size() == 100; });
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(stream_->answers[i].metadata_offset(), i);
  }
  stream_->sink->Finish(MakeError(ErrorCode::kBusy, "too slow"));
  stream_->AwaitEnd();
  EXPECT_EQ(CodeOf(stream_->ended[0]), ErrorCode::kBusy);
  stream_->Await([&] { return stream_->closed == 1; });
}

TEST_F(WatchCallTest, WhatIsPushedBeforeTheSessionIsKnownIsDrainedToo) {
  push_at_once_ = true;
  auto watcher = Watch(stream_);
  stream_->Await([&] { return stream_->answers.size() == 1; });
  stream_->Await([&] { return stream_->drained == 1; });
  watcher->Close(absl::CancelledError("enough"));
}

TEST_F(WatchCallTest, AClientThatGoesAwayClosesItsSession) {
  auto watcher = Watch(stream_);
  stream_->AwaitOpen();
  watcher->Close(absl::CancelledError("gone"));
  stream_->Await([&] { return stream_->closed == 1; });
  stream_->sink->Push(Message(1));  // late: harmless
  stream_->sink->Finish(absl::OkStatus());
}

TEST_F(WatchCallTest, AStopEndsOpenWatchesByName) {
  auto watcher = Watch(stream_);
  stream_->AwaitOpen();
  edge_->Stop(/*grace_ms=*/600'000);
  stream_->AwaitEnd();
  EXPECT_EQ(CodeOf(stream_->ended[0]), ErrorCode::kShuttingDown);
  stream_->Await([&] { return stream_->closed == 1; });
}

class OneWatchTest : public WatchCallTest {
 protected:
  OneWatchTest() : WatchCallTest({.streams_per_connection_max = 1}) {}
};

TEST_F(OneWatchTest, OneTooManyIsBusyByName) {
  auto first = Watch(stream_);
  stream_->AwaitOpen();
  auto refused = std::make_shared<Stream>();
  auto second = Watch(refused);
  refused->AwaitEnd();
  EXPECT_EQ(CodeOf(refused->ended[0]), ErrorCode::kBusy);
  first->Close(absl::CancelledError("enough"));
}

}  // namespace
}  // namespace sluice
