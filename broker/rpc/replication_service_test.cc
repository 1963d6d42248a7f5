// The follower's connector against the leader's service, over a socket.
#include "broker/rpc/replication_service.h"

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>

#include "client/grpc_peers/grpc_replication_connector.h"
#include "common/base/error.h"
#include "common/env/thread_executor.h"
#include "common/rpc/server.h"
#include "common/rpc/status_wire.h"

namespace sluice {
namespace {

const TopicPartition kTp{TopicId(Uuid(7, 9)), PartitionIndex(3)};

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
                     ack.durable_leo, Offset(0)});
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
        {kTp, LeaderEpoch(4), Offset(appended), Offset(durable)});
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

}  // namespace
}  // namespace sluice
