// The lifetime of a unary call, over gRPC's in-process transport: no port.
#include "common/rpc/unary_call.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

#include "common/base/error.h"
#include "common/rpc/channels.h"
#include "common/rpc/server.h"
#include "sluice/v1/cluster.grpc.pb.h"

namespace sluice::rpc {
namespace {

class UnaryCallTest : public ::testing::Test,
                      v1::ClusterService::CallbackService {
 protected:
  using Call = UnaryCall<v1::DescribeClusterResponse>;

  UnaryCallTest() {
    ListenerOptions options;
    options.name = "TEST";
    auto server = RpcServer::Start(
        options, {static_cast<ClusterService::CallbackService*>(this)});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = server_->InProcessChannel(
        ChannelArgumentsFor(ChannelUse::kControl));
  }

  // Returns at once; the result is in status_ when done_.
  void Ask() {
    stub_ = v1::ClusterService::NewStub(channel_);
    stub_->async()->DescribeCluster(
        &context_, &request_, &response_, [this](const grpc::Status& status) {
          std::lock_guard lock(mutex_);
          status_ = FromGrpcStatus(status);
          done_ = true;
          changed_.notify_all();
        });
  }
  void AwaitDone() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
  }
  std::shared_ptr<Call> AwaitCall() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return call_ != nullptr; });
    return call_;
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<v1::ClusterService::Stub> stub_;
  grpc::ClientContext context_;
  v1::DescribeClusterRequest request_;
  v1::DescribeClusterResponse response_;
  absl::Status status_;
  bool done_ = false;
  std::shared_ptr<Call> call_;
  bool over_ = false;

 private:
  using ClusterService = v1::ClusterService;

  // Holds the call for the test to answer.
  grpc::ServerUnaryReactor* DescribeCluster(
      grpc::CallbackServerContext*, const v1::DescribeClusterRequest*,
      v1::DescribeClusterResponse* response) override {
    auto call = Call::Start(response);
    call->OnOver([this] {
      std::lock_guard lock(mutex_);
      over_ = true;
      changed_.notify_all();
    });
    std::lock_guard lock(mutex_);
    call_ = call;
    changed_.notify_all();
    return call.get();
  }

 protected:
  std::unique_ptr<RpcServer> server_;  // ends before what its calls use
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(UnaryCallTest, AnswersOnce) {
  Ask();
  auto call = AwaitCall();
  bool gave_up = false;
  call->OnGiveUp([&] { gave_up = true; });

  EXPECT_TRUE(call->Answer([](auto& r) { r.set_cluster_name("one"); }));
  EXPECT_FALSE(call->Answer([](auto& r) { r.set_cluster_name("two"); }));
  EXPECT_FALSE(call->Fail(MakeError(ErrorCode::kBusy, "late")));
  call->EndCall(MakeError(ErrorCode::kBusy, "late"));
  AwaitDone();

  EXPECT_TRUE(status_.ok()) << status_;
  EXPECT_EQ(response_.cluster_name(), "one");
  EXPECT_FALSE(gave_up);
  call->OnGiveUp([&] { gave_up = true; });
  EXPECT_FALSE(gave_up);
}

TEST_F(UnaryCallTest, AnAbandonedCallTellsItsHandler) {
  Ask();
  auto call = AwaitCall();
  int gave_up = 0;
  call->OnGiveUp([&] { ++gave_up; });

  call->EndCall(MakeError(ErrorCode::kRequestTimedOut, "30 s"));
  EXPECT_EQ(gave_up, 1);
  call->OnGiveUp([&] { ++gave_up; });
  EXPECT_EQ(gave_up, 2) << "registered late: run at once";
  AwaitDone();

  EXPECT_EQ(CodeOf(status_), ErrorCode::kRequestTimedOut);
  EXPECT_FALSE(call->Answer([](auto&) { FAIL(); }));
}

TEST_F(UnaryCallTest, TheClientsCancelReachesTheHandler) {
  Ask();
  auto call = AwaitCall();
  bool gave_up = false;
  call->OnGiveUp([&] {
    std::lock_guard lock(mutex_);
    gave_up = true;
    changed_.notify_all();
  });

  context_.TryCancel();

  AwaitDone();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return gave_up; });
}

TEST_F(UnaryCallTest, ShutdownEndsACallWhoseHandlerNeverAnswers) {
  Ask();
  auto call = AwaitCall();

  server_->Shutdown(0);

  AwaitDone();
  EXPECT_EQ(status_.code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(call->Answer([](auto&) { FAIL(); }));
}

TEST_F(UnaryCallTest, SaysWhenGrpcIsDoneWithIt) {
  Ask();
  auto call = AwaitCall();
  EXPECT_TRUE(call->Fail(MakeError(ErrorCode::kBusy, "full")));
  AwaitDone();
  EXPECT_EQ(CodeOf(status_), ErrorCode::kBusy);

  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return over_; });
}

}  // namespace
}  // namespace sluice::rpc
