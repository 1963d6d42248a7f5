// WatchMetadata from a client to a scripted broker.
#include <gtest/gtest.h>

#include "broker/rpc/fake_broker_testing.h"
#include "common/base/error.h"
#include "common/rpc/client_stream.h"
#include "sluice/v1/cluster.grpc.pb.h"

namespace sluice {
namespace {

// What both ends of a watch saw.
struct Story {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<v1::WatchMetadataRequest> requests;
  std::shared_ptr<WatchSink> sink;
  int drained = 0;
  int closed = 0;
  std::vector<v1::WatchMetadataResponse> told;
  std::vector<absl::Status> ended;

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

class Session final : public WatchSession {
 public:
  explicit Session(std::shared_ptr<Story> story) : story_(std::move(story)) {}
  void OnDrained() override {
    story_->Tell([&] { ++story_->drained; });
  }
  void OnClosed() override {
    story_->Tell([&] { ++story_->closed; });
  }

 private:
  const std::shared_ptr<Story> story_;
};

class Watcher final : public rpc::ClientReader<v1::WatchMetadataResponse> {
 public:
  explicit Watcher(std::shared_ptr<Story> story) : story_(std::move(story)) {}

 private:
  void OnMessage(v1::WatchMetadataResponse message) override {
    story_->Tell([&] { story_->told.push_back(std::move(message)); });
    Consumed();
  }
  void OnClosed(const absl::Status& why) override {
    story_->Tell([&] { story_->ended.push_back(why); });
  }
  const std::shared_ptr<Story> story_;
};

class WatchCallTest : public PublicEdgeTest {
 protected:
  explicit WatchCallTest(rpc::GateLimits limits = {}) : PublicEdgeTest(limits) {
    broker_.on_watch_metadata = [this](const api::CallContext& context,
                                       v1::WatchMetadataRequest request,
                                       std::shared_ptr<WatchSink> sink) {
      if (push_at_once_) sink->Push(Message(0));
      story_->Tell([&] {
        caller_ = context;
        story_->requests.push_back(std::move(request));
        story_->sink = std::move(sink);
      });
      return std::make_shared<Session>(story_);
    };
  }

  std::shared_ptr<Watcher> Watch(std::shared_ptr<Story> story) {
    auto watcher = std::make_shared<Watcher>(std::move(story));
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
  api::CallContext caller_;
  std::shared_ptr<Story> story_ = std::make_shared<Story>();
  std::unique_ptr<v1::ClusterService::Stub> stub_ =
      v1::ClusterService::NewStub(channel_);
};

TEST_F(WatchCallTest, MessagesComeInOrderAndEachIsSaidToBeOnTheWire) {
  auto watcher = Watch(story_);
  story_->Await([&] { return story_->sink != nullptr; });
  EXPECT_EQ(story_->requests[0].topics(0), "orders");
  EXPECT_EQ(caller_.client_id, "watcher");
  for (int i = 0; i < 100; ++i) {
    story_->sink->Push(Message(i));
    story_->Await([&] { return story_->drained == i + 1; });
  }
  story_->Await([&] { return story_->told.size() == 100; });
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(story_->told[i].metadata_offset(), i);
  }
  story_->sink->Finish(MakeError(ErrorCode::kBusy, "too slow"));
  story_->Await([&] { return !story_->ended.empty(); });
  EXPECT_EQ(CodeOf(story_->ended[0]), ErrorCode::kBusy);
  story_->Await([&] { return story_->closed == 1; });
}

TEST_F(WatchCallTest, WhatIsPushedBeforeTheSessionIsKnownIsDrainedToo) {
  push_at_once_ = true;
  auto watcher = Watch(story_);
  story_->Await([&] { return story_->told.size() == 1; });
  story_->Await([&] { return story_->drained == 1; });
  watcher->Close(absl::CancelledError("enough"));
}

TEST_F(WatchCallTest, AClientThatGoesAwayClosesItsSession) {
  auto watcher = Watch(story_);
  story_->Await([&] { return story_->sink != nullptr; });
  watcher->Close(absl::CancelledError("gone"));
  story_->Await([&] { return story_->closed == 1; });
  story_->sink->Push(Message(1));  // late: harmless
  story_->sink->Finish(absl::OkStatus());
}

TEST_F(WatchCallTest, AStopEndsOpenWatchesByName) {
  auto watcher = Watch(story_);
  story_->Await([&] { return story_->sink != nullptr; });
  edge_->Stop(/*grace_ms=*/600'000);
  story_->Await([&] { return !story_->ended.empty(); });
  EXPECT_EQ(CodeOf(story_->ended[0]), ErrorCode::kShuttingDown);
  story_->Await([&] { return story_->closed == 1; });
}

class OneWatchTest : public WatchCallTest {
 protected:
  OneWatchTest() : WatchCallTest({.streams_per_connection_max = 1}) {}
};

TEST_F(OneWatchTest, OneTooManyIsBusyByName) {
  auto first = Watch(story_);
  story_->Await([&] { return story_->sink != nullptr; });
  auto refused = std::make_shared<Story>();
  auto second = Watch(refused);
  refused->Await([&] { return !refused->ended.empty(); });
  EXPECT_EQ(CodeOf(refused->ended[0]), ErrorCode::kBusy);
  first->Close(absl::CancelledError("enough"));
}

}  // namespace
}  // namespace sluice
