#include "client/grpc_peers/grpc_replication_connector.h"

#include <grpcpp/generic/generic_stub.h>

#include <utility>

#include "common/base/error.h"
#include "common/rpc/channels.h"
#include "common/rpc/client_stream.h"
#include "common/rpc/keep_awake.h"
#include "common/rpc/replication_wire.h"

namespace sluice {
namespace {

constexpr char kFetch[] = "/sluice.internal.v1.ReplicationService/Fetch";

class LeaderCall final
    : public rpc::ClientStream<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  LeaderCall(const api::Endpoint& leader, Executor* executor,
             StreamEvents<LeaderFrame> events)
      : stub_(rpc::MakeChannel(leader, rpc::ChannelUse::kReplication)),
        executor_(executor),
        events_(std::move(events)) {}

  void Open() {
    stub_.PrepareBidiStreamingCall(context(), kFetch, {}, this);
    Start();
  }

  // On the executor no event comes after this.
  void CloseByOwner() {
    if (executor_->IsCurrent()) closed_ = true;
    Close(absl::CancelledError("closed by the follower"));
  }

 private:
  std::shared_ptr<LeaderCall> Self() {
    return std::static_pointer_cast<LeaderCall>(shared_from_this());
  }

  void OnMessage(grpc::ByteBuffer bytes) override {
    auto frame = rpc::DecodeLeaderFrame(&bytes);
    if (!frame.ok()) {
      Close(frame.status());
      return Consumed();
    }
    executor_->Post([self = Self(), frame = *std::move(frame)]() mutable {
      if (!self->closed_) self->events_.on_frame(std::move(frame));
      self->Consumed();
    });
  }

  void OnClosed(const absl::Status& why) override {
    executor_->Post([self = Self(), why] {
      if (!std::exchange(self->closed_, true)) self->events_.on_closed(why);
      self->events_ = {};
    });
  }

  grpc::GenericStub stub_;
  Executor* const executor_;
  // On the executor.
  StreamEvents<LeaderFrame> events_;
  bool closed_ = false;
};

// The half that the follower holds.
class ToLeader final : public FollowerStream {
 public:
  explicit ToLeader(std::shared_ptr<LeaderCall> call)
      : call_(std::move(call)) {}
  ~ToLeader() override { call_->CloseByOwner(); }

  void Send(FollowerFrame frame) override {
    // Past the queue's bound the stream ends with BUSY and the events say so.
    call_->Send(rpc::EncodeFollowerFrame(frame));
  }
  void Close() override { call_->CloseByOwner(); }

 private:
  const std::shared_ptr<LeaderCall> call_;
};

class GrpcReplicationConnector final : public ReplicationConnector {
 public:
  std::shared_ptr<FollowerStream> Open(
      const api::Endpoint& leader, Executor* executor,
      StreamEvents<LeaderFrame> events) override {
    auto call =
        std::make_shared<LeaderCall>(leader, executor, std::move(events));
    call->Open();
    return std::make_shared<ToLeader>(std::move(call));
  }

 private:
  rpc::KeepAwake keep_awake_;
};

}  // namespace

std::unique_ptr<ReplicationConnector> MakeGrpcReplicationConnector() {
  return std::make_unique<GrpcReplicationConnector>();
}

}  // namespace sluice
