#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/rpc/async/completion_calls_testing.h"

namespace sluice::rpc {
namespace {

using internal::v1::FollowerFrame;
using internal::v1::LeaderFrame;

TEST_F(CompletionCallsTest, UnaryAnswersAndErrorsTravelWithTheirCode) {
  EXPECT_EQ(Hello(21).get()->term(), 42);
  const auto refused = Hello(-1).get();
  EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kNotController);
  EXPECT_EQ(refused.status().message(), "node 3 is active");
}

TEST_F(CompletionCallsTest, ADeadlineEndsAUnaryCallAndALateAnswerIsForgotten) {
  auto reply = Hello(0, 50000);
  EXPECT_EQ(at_server_.Next(), "kept");
  EXPECT_TRUE(absl::IsDeadlineExceeded(reply.get().status()));
  EXPECT_EQ(Hello(1).get()->term(), 2);
  server_executor_.Post([this] {
    for (auto& late : kept_) late(HelloResponse());
    at_server_.Add("late");
  });
  EXPECT_EQ(at_server_.Next(), "late");
}

TEST_F(CompletionCallsTest, AReplyThatIsDroppedAnswersShuttingDown) {
  auto reply = Hello(0);
  EXPECT_EQ(at_server_.Next(), "kept");
  server_executor_.Post([this] { kept_.clear(); });
  EXPECT_EQ(CodeOf(reply.get().status()), ErrorCode::kShuttingDown);
}

TEST_F(CompletionCallsTest, AServerThatStopsAnswersWhatIsInFlight) {
  auto reply = Hello(0);
  EXPECT_EQ(at_server_.Next(), "kept");
  StopServer();
  EXPECT_FALSE(reply.get().ok());
  EXPECT_TRUE(absl::IsUnavailable(Hello(1).get().status()));
}

TEST_F(CompletionCallsTest, AClientThatStopsAnswersWhatIsInFlightAndAfter) {
  auto reply = Hello(0);
  EXPECT_EQ(at_server_.Next(), "kept");
  auto stream = OpenLiveness();
  EXPECT_EQ(at_client_.Next(), "open");
  client_loop_->Stop();
  EXPECT_TRUE(absl::IsUnavailable(reply.get().status()));
  EXPECT_TRUE(absl::IsUnavailable(Hello(1).get().status()));
  EXPECT_EQ(at_client_.Next().substr(0, 18), "closed UNAVAILABLE");
  auto late = OpenLiveness();
  EXPECT_EQ(at_client_.Next().substr(0, 18), "closed UNAVAILABLE");
}

TEST_F(CompletionCallsTest, ABidiStreamCarriesBothWaysInOrder) {
  auto stream = OpenLiveness();
  EXPECT_EQ(at_client_.Next(), "open");
  for (int i = 0; i < 100; ++i) stream->Send(Beat(i), 1);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(at_server_.Next(), StrCat("got ", i));
  }
  for (int i = 0; i < 100; ++i) liveness_end_->Send(Answered(i), 1);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(at_client_.Next(), StrCat("got ", i));
  }
}

TEST_F(CompletionCallsTest, AServersCloseArrivesAfterWhatItSent) {
  auto stream = OpenLiveness();
  EXPECT_EQ(at_client_.Next(), "open");
  stream->Send(Beat(1), 1);
  EXPECT_EQ(at_server_.Next(), "got 1");
  server_executor_.Post([this] {
    liveness_end_->Send(Answered(7), 1);
    liveness_end_->Send(Answered(8), 1);
    liveness_end_->Close(MakeError(ErrorCode::kStaleBrokerEpoch, "old"));
  });
  EXPECT_EQ(at_client_.Next(), "got 7");
  EXPECT_EQ(at_client_.Next(), "got 8");
  EXPECT_EQ(at_client_.Next(), "closed FAILED_PRECONDITION STALE_BROKER_EPOCH");
  EXPECT_TRUE(at_server_.empty()) << "who closes is not told";
}

TEST_F(CompletionCallsTest, AClientsCloseIsSeenByTheServer) {
  auto stream = OpenLiveness();
  stream->Send(Beat(1), 1);
  EXPECT_EQ(at_server_.Next(), "got 1");
  client_executor_.Post(
      [stream] { stream->Close(absl::AbortedError("enough")); });
  EXPECT_EQ(at_server_.Next().substr(0, 18), "closed UNAVAILABLE");
  EXPECT_EQ(at_client_.Next(), "open");
  EXPECT_TRUE(at_client_.empty());
}

TEST_F(CompletionCallsTest, AServerThatStopsClosesItsStreamsAtBothEnds) {
  auto stream = OpenLiveness();
  stream->Send(Beat(1), 1);
  EXPECT_EQ(at_server_.Next(), "got 1");
  auto follow = OpenFollow(3);
  EXPECT_EQ(at_server_.Next(), "follow from 3");
  StopServer();
  EXPECT_EQ(at_server_.Next().substr(0, 6), "closed");
  EXPECT_EQ(at_server_.Next().substr(0, 6), "closed");
  EXPECT_EQ(at_client_.Next(), "open");
  EXPECT_EQ(at_client_.Next(), "open");
  EXPECT_EQ(at_client_.Next().substr(0, 6), "closed");
  EXPECT_EQ(at_client_.Next().substr(0, 6), "closed");
}

TEST_F(CompletionCallsTest, AServerStreamPushesAndTellsWhenItIsDrained) {
  auto stream = OpenFollow(17);
  EXPECT_EQ(at_server_.Next(), "follow from 17");
  FollowMetadataResponse piece;
  piece.set_term(5);
  follow_end_->Send(piece, 1);
  EXPECT_EQ(at_client_.Next(), "open");
  EXPECT_EQ(at_client_.Next(), "got 5");
  EXPECT_EQ(at_server_.Next(), "drained");
  client_executor_.Post([stream] { stream->Close(absl::AbortedError("x")); });
  EXPECT_EQ(at_server_.Next().substr(0, 18), "closed UNAVAILABLE")
      << "without a read under way";
}

TEST_F(CompletionCallsTest, AnUploadEndsWithAStatusFromTheServer) {
  auto stream = CqClientStream<RaftClosed, RaftMessage>::Open(
      {client_loop_.get(), channel_,
       "/sluice.internal.v1.RaftService/Exchange", false,
       {.executor = &client_executor_}},
      Record<RaftClosed>(at_client_, [](const auto&) { return "end"; }));
  RaftMessage message;
  message.set_term(9);
  stream->Send(message, 1);
  EXPECT_EQ(at_server_.Next(), "got 9");
  server_executor_.Post([this] {
    exchange_end_->Close(
        MakeError(ErrorCode::kInconsistentClusterId, "foreign"));
  });
  EXPECT_EQ(at_client_.Next(), "open");
  EXPECT_EQ(at_client_.Next(),
            "closed FAILED_PRECONDITION INCONSISTENT_CLUSTER_ID");
}

TEST_F(CompletionCallsTest, AStreamToNobodyClosesWithoutOpening) {
  StopServer();
  auto stream = OpenLiveness();
  stream->Send(Beat(1), 1);
  EXPECT_EQ(at_client_.Next().substr(0, 18), "closed UNAVAILABLE");
}

TEST_F(CompletionCallsTest, AClientStopsThoughAnOwnerDoesNotRead) {
  ThreadExecutor busy("busy");
  std::promise<void> go_on;
  std::shared_future<void> wait = go_on.get_future().share();
  auto stream = CqClientStream<LivenessResponse, LivenessRequest>::Open(
      {client_loop_.get(), channel_,
       "/sluice.internal.v1.ControllerService/Liveness", false,
       {.executor = &busy}},
      Record<LivenessResponse>(at_client_, [wait](const auto& m) {
        wait.wait();
        return StrCat(m.committed_metadata_offset());
      }));
  stream->Send(Beat(1), 1);
  EXPECT_EQ(at_server_.Next(), "got 1");
  for (int i = 0; i < 100; ++i) liveness_end_->Send(Answered(i), 1);
  EXPECT_EQ(at_client_.Next(), "open");

  client_loop_->Stop();
  go_on.set_value();

  std::string last;
  do last = at_client_.Next();
  while (last.substr(0, 3) == "got");
  EXPECT_EQ(last.substr(0, 18), "closed UNAVAILABLE");
}

// A data handler that held up the threads of gRPC's that run every callback of
// the process would stop data; control calls have their own.
TEST_F(CompletionCallsTest, ControlAnswersWhileEveryCallbackThreadIsBlocked) {
  // gRPC 1.51: half of the cores, at least 2 and at most 16.
  const unsigned threads =
      std::clamp(std::thread::hardware_concurrency() / 2, 2u, 16u);
  using Fetch = CqClientStream<LeaderFrame, FollowerFrame>;
  std::vector<std::shared_ptr<Fetch::Stream>> fetches;
  for (unsigned i = 0; i < threads; ++i) {
    fetches.push_back(
        Fetch::Open({client_loop_.get(), channel_,
                     "/sluice.internal.v1.ReplicationService/Fetch", false,
                     {.executor = &client_executor_}},
                    {}));
  }
  for (unsigned i = 0; i < threads; ++i) {
    EXPECT_EQ(data_.blocked.Next(), "blocked");
  }

  EXPECT_EQ(Hello(21).get()->term(), 42);
  auto stream = OpenLiveness();
  stream->Send(Beat(5), 1);
  EXPECT_EQ(at_server_.Next(), "got 5");

  data_.go_on.set_value();
}

// Three threads call and open streams while first the server, or first the
// client, stops under them.
class CallersTest : public CompletionCallsTest {
 protected:
  CallersTest() {
    for (int n = 0; n < 3; ++n) callers_.emplace_back([this] { CallOn(); });
    for (int i = 0; i < 50; ++i) at_server_.Next();
  }
  void CallOn() {
    for (int i = 0; i < 300; ++i) {
      ++asked_;
      HelloRequest request;
      request.set_node_id(i % 3 - 1);  // refused, kept, answered
      CqUnaryCall<HelloRequest, HelloResponse>::Start(
          {client_loop_.get(), channel_,
           "/sluice.internal.v1.ControllerService/Hello", &client_executor_},
          request, kLongUs,
          [this](absl::StatusOr<HelloResponse>) { ++answered_; });
      MessageEvents<LivenessResponse> events;
      events.on_closed = [this](absl::Status) { ++closed_; };
      CqClientStream<LivenessResponse, LivenessRequest>::Open(
          {client_loop_.get(), channel_,
           "/sluice.internal.v1.ControllerService/Liveness", false,
           {.executor = &client_executor_}},
          std::move(events))
          ->Send(Beat(1), 1);
    }
  }
  void ExpectAllToldOnce() {
    for (std::thread& caller : callers_) caller.join();
    std::promise<void> drained;
    client_executor_.Post([&] { drained.set_value(); });
    drained.get_future().get();
    EXPECT_EQ(asked_, 900);
    EXPECT_EQ(answered_, asked_);
    EXPECT_EQ(closed_, asked_);
  }

  std::atomic<int> asked_ = 0;
  std::atomic<int> answered_ = 0;
  std::atomic<int> closed_ = 0;
  std::vector<std::thread> callers_;
};

TEST_F(CallersTest, EachIsToldOnceWhenTheServerStopsFirst) {
  StopServer();
  client_loop_->Stop();
  ExpectAllToldOnce();
}

TEST_F(CallersTest, EachIsToldOnceWhenTheClientStopsFirst) {
  client_loop_->Stop();
  StopServer();
  ExpectAllToldOnce();
}

TEST_F(CompletionCallsTest, ManyStreamsOpenedAndDroppedLeaveNothingBehind) {
  for (int i = 0; i < 200; ++i) {
    auto stream = OpenLiveness();
    stream->Send(Beat(i), 1);
    if (i % 3 != 0) {
      client_executor_.Post(
          [stream] { stream->Close(absl::AbortedError("x")); });
    }
  }
  // The fixture's end waits for every call to leave both loops.
}

}  // namespace
}  // namespace sluice::rpc
