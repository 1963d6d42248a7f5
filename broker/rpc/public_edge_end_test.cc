// What becomes of calls when the edge stops or the client goes.
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "broker/rpc/fake_broker_testing.h"
#include "broker/rpc/public_edge.h"
#include "common/base/error.h"

namespace sluice {
namespace {

TEST_F(PublicEdgeTest, StopLetsAProduceFinishAndEndsALongPollByName) {
  Awaited<FakeBroker::ProduceDone> produce;
  Awaited<bool> fetching;
  Awaited<bool> cancelled;
  FakeBroker::FetchDone held;
  broker_.on_produce = [&](const api::CallContext&, api::ProduceRequest,
                           FakeBroker::ProduceDone done) {
    produce.Set(std::move(done));
  };
  broker_.on_fetch = [&](const api::CallContext&, api::FetchRequest,
                         FakeBroker::FetchDone done) -> CancelCall {
    held = std::move(done);
    fetching.Set(true);
    return [&] { cancelled.Set(true); };
  };
  Awaited<absl::StatusOr<api::ProduceResponse>> produced;
  Awaited<absl::StatusOr<api::FetchResponse>> fetched;
  peer_->Produce(OneBatch("b"), kPatientUs,
                 [&](auto r) { produced.Set(std::move(r)); });
  peer_->Fetch({}, kPatientUs, [&](auto r) { fetched.Set(std::move(r)); });
  auto done = produce.Get();
  fetching.Get();

  std::thread stopping([&] { edge_->Stop(/*grace_ms=*/600'000); });
  EXPECT_EQ(CodeOf(fetched.Get().status()), ErrorCode::kShuttingDown);
  EXPECT_TRUE(cancelled.Get());
  done(absl::OkStatus(), {});
  stopping.join();

  EXPECT_TRUE(produced.Get().ok());
}

TEST_F(PublicEdgeTest, StopDoesNotWaitForAHandlerThatNeverAnswers) {
  Awaited<FakeBroker::ProduceDone> held;
  broker_.on_produce = [&](const api::CallContext&, api::ProduceRequest,
                           FakeBroker::ProduceDone done) {
    held.Set(std::move(done));
  };
  Awaited<absl::StatusOr<api::ProduceResponse>> produced;
  peer_->Produce(OneBatch("b"), kPatientUs,
                 [&](auto r) { produced.Set(std::move(r)); });
  auto done = held.Get();

  edge_->Stop(/*grace_ms=*/0);
  edge_.reset();

  EXPECT_EQ(produced.Get().status().code(), absl::StatusCode::kUnavailable);
  done(absl::OkStatus(), {});  // after everything is gone: harmless
}

TEST_F(PublicEdgeTest, HealthStaysNotServingOnceItDrains) {
  const auto health = [this] {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::Slice whole_node(std::string("\x0a\x00", 2));  // service: ""
    grpc::ByteBuffer request(&whole_node, 1);
    grpc::ByteBuffer response;
    Awaited<bool> answered;
    stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &request,
                   &response,
                   [&](const grpc::Status& s) { answered.Set(s.ok()); });
    EXPECT_TRUE(answered.Get());
    grpc::Slice status;
    EXPECT_TRUE(response.DumpToSingleSlice(&status).ok());
    return status.size() == 2 ? status.begin()[1] : 0;
  };
  constexpr int kServing = 1;
  constexpr int kNotServing = 2;
  EXPECT_EQ(health(), kNotServing);
  edge_->SetServing(true);
  EXPECT_EQ(health(), kServing);

  edge_->Drain();
  edge_->SetServing(true);

  EXPECT_EQ(health(), kNotServing);
}

TEST_F(PublicEdgeTest, APeerThatGoesAwayAnswersEachCallOnce) {
  std::atomic<int> arrived{0};
  std::vector<FakeBroker::ProduceDone> held;
  std::mutex mutex;
  Awaited<bool> all;
  broker_.on_produce = [&](const api::CallContext&, api::ProduceRequest,
                           FakeBroker::ProduceDone done) {
    std::lock_guard lock(mutex);
    held.push_back(std::move(done));
    if (++arrived == 20) all.Set(true);
  };
  std::atomic<int> replies{0};
  for (int i = 0; i < 20; ++i) {
    peer_->Produce(OneBatch("b"), kPatientUs, [&](auto reply) {
      EXPECT_EQ(reply.status().code(), absl::StatusCode::kUnavailable);
      ++replies;
    });
  }
  all.Get();

  peer_.reset();
  Awaited<bool> behind;
  executor_.Post([&] { behind.Set(true); });
  behind.Get();

  EXPECT_EQ(replies, 20);
  std::lock_guard lock(mutex);
  for (auto& done : held) done(absl::OkStatus(), {});
}

}  // namespace
}  // namespace sluice
