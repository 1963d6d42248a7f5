#include "broker/rpc/replication_service.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

#include "common/base/error.h"
#include "common/rpc/replication_wire.h"
#include "common/rpc/server_stream.h"

namespace sluice {
namespace {

// The frames on their way to a follower that does not read are bounded by its
// credit, at most LeaderSessions::kWindowBytesMax; behind that by this.
constexpr int64_t kQueueBytesMax = int64_t{96} << 20;

class FollowerCall final
    : public rpc::ServerStream<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit FollowerCall(ReplicationAcceptor* acceptor)
      : ServerStream({.queue_bytes_max = kQueueBytesMax}),
        acceptor_(acceptor) {}

  // Before gRPC's first event: the stream is accepted ahead of its frames.
  void Accept();

  // On the acceptor's executor no event comes after this.
  void CloseByAcceptor() {
    if (acceptor_->executor()->IsCurrent()) {
      std::lock_guard lock(mutex_);
      closed_ = true;
    }
    End(absl::OkStatus());
  }

 private:
  std::shared_ptr<FollowerCall> Self() {
    return std::static_pointer_cast<FollowerCall>(shared_from_this());
  }

  void OnMessage(grpc::ByteBuffer bytes) override {
    auto frame = rpc::DecodeFollowerFrame(&bytes);
    if (!frame.ok()) {
      End(frame.status());
      return Consumed();
    }
    if (TakenAtOnce(*frame)) return Consumed();
    waiting_.fetch_add(1, std::memory_order_relaxed);
    acceptor_->executor()->Post(
        [self = Self(), frame = *std::move(frame)]() mutable {
          if (!self->closed_) self->events_.on_frame(std::move(frame));
          self->waiting_.fetch_sub(1, std::memory_order_release);
          self->Consumed();
        });
  }

  // Not past the acceptance, or a frame, that waits for the executor.
  bool TakenAtOnce(FollowerFrame& frame) {
    if (waiting_.load(std::memory_order_acquire) > 0) return false;
    std::lock_guard lock(mutex_);
    return !closed_ && events_.take_at_once != nullptr &&
           events_.take_at_once(frame);
  }

  void OnClosed(const absl::Status& why) override {
    acceptor_->executor()->Post([self = Self(), why] {
      if (!std::exchange(self->closed_, true)) self->events_.on_closed(why);
      self->events_ = {};
    });
  }

  ReplicationAcceptor* const acceptor_;
  // What is posted to the acceptor's executor: frames, and at first Accept().
  std::atomic<int> waiting_{1};
  // On the acceptor's executor, but for take_at_once: asked under mutex_.
  StreamEvents<FollowerFrame> events_;
  std::mutex mutex_;
  bool closed_ = false;  // written on that executor, under mutex_
};

// The half that the broker holds.
class ToFollower final : public LeaderStream {
 public:
  explicit ToFollower(std::shared_ptr<FollowerCall> call)
      : call_(std::move(call)) {}
  ~ToFollower() override { call_->CloseByAcceptor(); }

  void Send(LeaderFrame frame) override {
    // Past the queue's bound the stream ends with BUSY and the events say so.
    call_->Send(rpc::EncodeLeaderFrame(std::move(frame)));
  }
  void Close() override { call_->CloseByAcceptor(); }

 private:
  const std::shared_ptr<FollowerCall> call_;
};

void FollowerCall::Accept() {
  acceptor_->executor()->Post([self = Self()] {
    self->events_ =
        self->acceptor_->Accept(std::make_shared<ToFollower>(self));
    self->waiting_.fetch_sub(1, std::memory_order_release);
  });
}

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*
ReplicationService::Fetch(grpc::CallbackServerContext*) {
  const auto call = std::make_shared<FollowerCall>(acceptor_);
  call->Accept();
  call->Start();
  return call.get();
}

}  // namespace sluice
