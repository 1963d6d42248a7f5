// The follower's connector against the leader's service, over a socket.
#include "broker/rpc/replication_service.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>

#include "client/grpc_peers/grpc_replication_connector.h"
#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "common/env/thread_executor.h"
#include "common/rpc/happenings_testing.h"
#include "common/rpc/server.h"
#include "common/rpc/status_wire.h"

namespace sluice {
namespace {

const TopicPartition kTp{TopicId(Uuid(7, 9)), PartitionIndex(3)};

// Marks what a follower of these tests takes at once.
constexpr AddNumber kAtOnce{2};

// Offsets of what one end hears, by which way. Takes at once what is durable.
class Heard : public rpc::Happenings {
 public:
  StreamEvents<FollowerFrame> OfLeader() {
    return {[this](FollowerFrame frame) {
              Add(StrCat("waited ", frame.acks[0].appended_leo));
            },
            [](absl::Status) {},
            [this](FollowerFrame& frame) {
              return Take(frame.acks[0].appended_leo,
                          frame.acks[0].durable_leo);
            }};
  }
  StreamEvents<LeaderFrame> OfFollower() {
    return {[this](LeaderFrame frame) {
              Add(StrCat("waited ", frame.high_watermarks[0].high_watermark));
            },
            [](absl::Status) {},
            [this](LeaderFrame& frame) {
              const HighWatermarkMoved& moved = frame.high_watermarks[0];
              return Take(moved.high_watermark,
                          moved.add_number == kAtOnce ? moved.high_watermark
                                                      : Offset(0));
            }};
  }

 private:
  bool Take(Offset offset, Offset durable) {
    if (durable < offset) return false;
    Add(StrCat("at once ", offset));
    return true;
  }
};

// Holds an executor, behind what it had to do, until it goes away.
class Held {
 public:
  explicit Held(Executor* executor) {
    std::promise<void> held;
    executor->Post([&held, released = release_.get_future().share()] {
      held.set_value();
      released.wait();
    });
    held.get_future().wait();
  }
  ~Held() { release_.set_value(); }

 private:
  std::promise<void> release_;
};

// A leader that keeps its followers' streams.
class KeepingAcceptor final : public ReplicationAcceptor {
 public:
  ~KeepingAcceptor() override { executor_.Stop(); }

  Executor* executor() override { return &executor_; }
  StreamEvents<FollowerFrame> Accept(
      std::shared_ptr<LeaderStream> stream) override {
    accepted.set_value(std::move(stream));
    return heard.OfLeader();
  }

  Heard heard;
  std::promise<std::shared_ptr<LeaderStream>> accepted;

 private:
  ThreadExecutor executor_{"acceptor"};
};

// A leader that answers every Ack with that much data.
class EchoAcceptor final : public ReplicationAcceptor {
 public:
  ~EchoAcceptor() override { executor_.Stop(); }

  Executor* executor() override { return &executor_; }
  StreamEvents<FollowerFrame> Accept(
      std::shared_ptr<LeaderStream> stream) override {
    stream_ = stream;
    return {[this](FollowerFrame frame) {
              LeaderFrame answer;
              for (const AckReplica& ack : frame.acks) {
                answer.data.push_back(
                    {kTp, ack.leader_epoch,
                     Buffer::Take(std::string(ack.appended_leo.value(), 'd')),
                     ack.durable_leo, ack.add_number});
              }
              if (stream_ != nullptr) stream_->Send(std::move(answer));
            },
            [this](absl::Status why) { closed_.set_value(std::move(why)); }};
  }

  absl::Status WaitClosed() { return closed_.get_future().get(); }
  void CloseStream() {
    executor_.Post([this] { stream_->Close(); });
  }

 private:
  std::shared_ptr<LeaderStream> stream_;
  std::promise<absl::Status> closed_;
  ThreadExecutor executor_{"acceptor"};
};

class ReplicationServiceTest : public testing::Test {
 protected:
  ReplicationServiceTest() {
    rpc::ListenerOptions options;
    options.name = "INTERNAL";
    options.bind = {"127.0.0.1", 0};
    server_ = *rpc::RpcServer::Start(options, {&service_});
  }
  ~ReplicationServiceTest() override {
    stream_.reset();
    server_.reset();
    executor_.Stop();
  }

  void Connect() {
    stream_ = connector_->Open(
        {"127.0.0.1", server_->port()}, &executor_,
        {[this](LeaderFrame frame) { frames_.set_value(std::move(frame)); },
         [this](absl::Status why) { closed_.set_value(std::move(why)); }});
  }
  void SendAck(int64_t appended, int64_t durable) {
    FollowerFrame frame;
    frame.acks.push_back(
        {kTp, LeaderEpoch(4), Offset(appended), Offset(durable),
         AddNumber(1)});
    stream_->Send(std::move(frame));
  }

  ThreadExecutor executor_{"follower"};
  EchoAcceptor acceptor_;
  ReplicationService service_{&acceptor_};
  std::unique_ptr<rpc::RpcServer> server_;
  std::unique_ptr<ReplicationConnector> connector_ =
      MakeGrpcReplicationConnector();
  std::promise<LeaderFrame> frames_;
  std::promise<absl::Status> closed_;
  std::shared_ptr<FollowerStream> stream_;
};

TEST_F(ReplicationServiceTest, FramesGoBothWaysWithTheirBytes) {
  Connect();
  SendAck(300'000, 7);

  const LeaderFrame frame = frames_.get_future().get();

  ASSERT_EQ(frame.data.size(), 1u);
  EXPECT_EQ(frame.data[0].batches.size(), 300'000u);
  EXPECT_EQ(frame.data[0].high_watermark, Offset(7));
}

TEST_F(ReplicationServiceTest, AFollowerThatLeavesClosesTheLeadersEnd) {
  Connect();
  SendAck(1, 1);
  frames_.get_future().get();

  stream_->Close();

  EXPECT_EQ(acceptor_.WaitClosed().code(), absl::StatusCode::kCancelled);
}

TEST_F(ReplicationServiceTest, ALeaderThatClosesEndsTheFollowersStream) {
  Connect();
  SendAck(1, 1);
  frames_.get_future().get();

  acceptor_.CloseStream();

  EXPECT_TRUE(closed_.get_future().get().ok());
}

TEST_F(ReplicationServiceTest, AServerThatEndsBreaksTheStreamAtOnce) {
  Connect();
  SendAck(1, 1);
  frames_.get_future().get();

  server_->Shutdown(0);

  EXPECT_FALSE(closed_.get_future().get().ok());
}

TEST_F(ReplicationServiceTest, ALeaderThatIsNotThereShowsAsAClosedStream) {
  const int port = server_->port();
  server_.reset();
  stream_ = connector_->Open(
      {"127.0.0.1", port}, &executor_,
      {[](LeaderFrame) { ADD_FAILURE(); },
       [this](absl::Status why) { closed_.set_value(std::move(why)); }});

  EXPECT_EQ(closed_.get_future().get().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ReplicationServiceTest, AHostileFrameEndsTheStreamByName) {
  auto stub = internal::v1::ReplicationService::NewStub(
      server_->InProcessChannel(grpc::ChannelArguments()));
  grpc::ClientContext context;
  auto stream = stub->Fetch(&context);
  internal::v1::FollowerFrame frame;
  frame.add_adds()->set_topic_id("short");

  stream->Write(frame);

  internal::v1::LeaderFrame answer;
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_EQ(CodeOf(rpc::FromGrpcStatus(stream->Finish())),
            ErrorCode::kInvalidRequest);
  EXPECT_FALSE(acceptor_.WaitClosed().ok());
}

// Both ends of a stream whose owners are slow.
class TakenAtOnceTest : public testing::Test {
 protected:
  TakenAtOnceTest() {
    rpc::ListenerOptions options;
    options.name = "INTERNAL";
    options.bind = {"127.0.0.1", 0};
    server_ = *rpc::RpcServer::Start(options, {&service_});
    to_leader_ = connector_->Open({"127.0.0.1", server_->port()}, &executor_,
                                  heard_.OfFollower());
    to_follower_ = acceptor_.accepted.get_future().get();
  }
  // Let go of on its executor: nothing is posted there afterwards.
  ~TakenAtOnceTest() override {
    std::promise<void> closed;
    executor_.Post([&] {
      to_leader_.reset();
      closed.set_value();
    });
    closed.get_future().wait();
    server_.reset();
    executor_.Stop();
  }

  void SendToLeader(int64_t offset, bool at_once) {
    FollowerFrame frame;
    frame.acks.push_back({kTp, LeaderEpoch(4), Offset(offset),
                          Offset(at_once ? offset : 0), AddNumber(1)});
    to_leader_->Send(std::move(frame));
  }
  void SendToFollower(int64_t offset, bool at_once) {
    LeaderFrame frame;
    frame.high_watermarks.push_back({kTp, LeaderEpoch(4), Offset(offset),
                                     at_once ? kAtOnce : AddNumber(1)});
    to_follower_->Send(std::move(frame));
  }

  ThreadExecutor executor_{"follower"};
  Heard heard_;
  KeepingAcceptor acceptor_;
  ReplicationService service_{&acceptor_};
  std::unique_ptr<rpc::RpcServer> server_;
  std::unique_ptr<ReplicationConnector> connector_ =
      MakeGrpcReplicationConnector();
  std::shared_ptr<FollowerStream> to_leader_;
  std::shared_ptr<LeaderStream> to_follower_;
};

TEST_F(TakenAtOnceTest, AFrameNeedsNoExecutor) {
  SendToLeader(1, false);
  SendToFollower(1, false);
  EXPECT_EQ(acceptor_.heard.Next(), "waited 1");
  EXPECT_EQ(heard_.Next(), "waited 1");
  const Held leader(acceptor_.executor());
  const Held follower(&executor_);
  SendToLeader(2, true);
  SendToFollower(2, true);
  EXPECT_EQ(acceptor_.heard.Next(), "at once 2");
  EXPECT_EQ(heard_.Next(), "at once 2");
}

TEST_F(TakenAtOnceTest, ButNoneIsTakenPastOneThatWaits) {
  {
    const Held leader(acceptor_.executor());
    const Held follower(&executor_);
    for (int64_t offset = 1; offset <= 4; ++offset) {
      SendToLeader(offset, offset != 1);
      SendToFollower(offset, offset != 1);
    }
  }
  for (int64_t offset = 1; offset <= 4; ++offset) {
    const std::string last = StrCat(" ", offset);
    EXPECT_THAT(acceptor_.heard.Next(), testing::EndsWith(last));
    EXPECT_THAT(heard_.Next(), testing::EndsWith(last));
  }
}

}  // namespace
}  // namespace sluice
