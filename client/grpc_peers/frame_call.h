// A data stream over gRPC, at the end that opens it.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

#include "client/peers/frame_stream.h"
#include "common/env/executor.h"
#include "common/rpc/client_stream.h"

namespace sluice {

// A Codec is
//   using In, Out;               // structs: what comes, what is sent
//   static constexpr char kMethod[];
//   absl::StatusOr<In> Decode(grpc::ByteBuffer*) const;
//   grpc::ByteBuffer Encode(Out) const;
template <class Codec>
class FrameCall final
    : public rpc::ClientStream<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  using In = typename Codec::In;
  using Out = typename Codec::Out;

  FrameCall(std::shared_ptr<grpc::Channel> channel, Executor* executor,
            StreamEvents<In> events, Codec codec)
      : stub_(std::move(channel)),
        codec_(std::move(codec)),
        executor_(executor),
        events_(std::move(events)) {}

  void Open() {
    stub_.PrepareBidiStreamingCall(context(), Codec::kMethod, {}, this);
    Start();
  }

  // Past the queue's bound the stream ends with BUSY and the events say so.
  void SendFrame(Out frame) { Send(codec_.Encode(std::move(frame))); }

  // On the executor no event comes after this, and nothing is posted to it any
  // more: it may end.
  void CloseByOwner() {
    {
      std::lock_guard lock(mutex_);
      if (executor_ != nullptr && executor_->IsCurrent()) {
        closed_ = true;
        executor_ = nullptr;
      }
    }
    Close(absl::CancelledError("closed by this end"));
  }

 private:
  std::shared_ptr<FrameCall> Self() {
    return std::static_pointer_cast<FrameCall>(shared_from_this());
  }

  // False: its owner has let go.
  bool PostToOwner(Task task) {
    std::lock_guard lock(mutex_);
    if (executor_ == nullptr) return false;
    executor_->Post(std::move(task));
    return true;
  }

  void OnMessage(grpc::ByteBuffer bytes) override {
    auto frame = codec_.Decode(&bytes);
    if (!frame.ok()) {
      Close(frame.status());
      return Consumed();
    }
    if (TakenAtOnce(*frame)) return Consumed();
    waiting_.fetch_add(1, std::memory_order_relaxed);
    const bool posted =
        PostToOwner([self = Self(), frame = *std::move(frame)]() mutable {
          if (!self->closed_) self->events_.on_frame(std::move(frame));
          self->waiting_.fetch_sub(1, std::memory_order_release);
          self->Consumed();
        });
    if (!posted) Consumed();
  }

  // Not past a frame that waits for the executor.
  bool TakenAtOnce(In& frame) {
    if (waiting_.load(std::memory_order_acquire) > 0) return false;
    std::lock_guard lock(mutex_);
    return executor_ != nullptr && events_.take_at_once != nullptr &&
           events_.take_at_once(frame);
  }

  void OnClosed(const absl::Status& why) override {
    PostToOwner([self = Self(), why] {
      if (!std::exchange(self->closed_, true)) self->events_.on_closed(why);
      self->events_ = {};
    });
  }

  grpc::GenericStub stub_;
  const Codec codec_;
  std::mutex mutex_;
  Executor* executor_;  // guarded by mutex_; null: let go of
  std::atomic<int> waiting_{0};  // frames that are posted to the executor
  // On the executor, but for take_at_once: under mutex_.
  StreamEvents<In> events_;
  bool closed_ = false;
};

// The half that its owner holds.
template <class Codec>
class FrameCallSender final : public FrameSender<typename Codec::Out> {
 public:
  explicit FrameCallSender(std::shared_ptr<FrameCall<Codec>> call)
      : call_(std::move(call)) {}
  ~FrameCallSender() override { call_->CloseByOwner(); }

  void Send(typename Codec::Out frame) override {
    call_->SendFrame(std::move(frame));
  }
  void Close() override { call_->CloseByOwner(); }

 private:
  const std::shared_ptr<FrameCall<Codec>> call_;
};

template <class Codec>
std::shared_ptr<FrameSender<typename Codec::Out>> OpenFrameCall(
    std::shared_ptr<grpc::Channel> channel, Executor* executor,
    StreamEvents<typename Codec::In> events, Codec codec) {
  auto call = std::make_shared<FrameCall<Codec>>(
      std::move(channel), executor, std::move(events), std::move(codec));
  call->Open();
  return std::make_shared<FrameCallSender<Codec>>(std::move(call));
}

}  // namespace sluice
