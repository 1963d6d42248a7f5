// The server's end of a bidirectional or a server-streaming call on gRPC's
// callback API: lifetime, one write in flight, a bounded queue, an ordered end.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "common/base/error.h"
#include "common/rpc/status_wire.h"
#include "common/rpc/write_queue.h"

namespace sluice::rpc {

// The half that sends, over either reactor of gRPC's. Owned by shared_ptr: one
// reference is gRPC's, from Start() until OnDone, the others belong to whoever
// sends; the last deletes. Send and End may be called from any thread, also
// after the stream is over; they never block.
//
// The events run on threads of gRPC's and must not block; a subclass posts
// them to the executor that owns the session.
template <class Reactor, class Out>
class ServerStreamBase
    : public Reactor,
      public std::enable_shared_from_this<ServerStreamBase<Reactor, Out>> {
 public:
  ServerStreamBase(const ServerStreamBase&) = delete;
  ServerStreamBase& operator=(const ServerStreamBase&) = delete;

  // False: the stream is over or ending and the message vanished; or it passed
  // a limit, which ends the stream with BUSY.
  bool Send(Out message) {
    std::lock_guard lock(mutex_);
    if (end_.has_value()) return false;
    if (!queue_.Push(std::move(message))) {
      end_ = MakeError(ErrorCode::kBusy, "stream: ", queue_.bytes(),
                       " bytes wait for a peer that does not read; open it "
                       "again and read faster");
      queue_.Drop();
      FinishWhenIdle();
      return false;
    }
    WriteNext();
    return true;
  }

  // Sends what was accepted, then the status. The first call counts.
  void End(absl::Status why) {
    std::lock_guard lock(mutex_);
    if (end_.has_value()) return;
    end_ = std::move(why);
    FinishWhenIdle();
  }

  // Sends nothing more. The status comes after a message that is on its way: a
  // peer that does not read takes neither, and is cut off without it. Gives
  // back all that the stream holds, whatever the peer does.
  void EndAtOnce(absl::Status why) {
    std::lock_guard lock(mutex_);
    if (done_) return;
    if (!end_.has_value()) end_ = std::move(why);
    queue_.Drop();
    if (queue_.idle()) return FinishWhenIdle();
    if (context_ != nullptr) context_->TryCancel();  // OnWriteDone follows
  }

 protected:
  explicit ServerStreamBase(const StreamLimits& limits,
                            const grpc::CallbackServerContext* context = nullptr)
      : context_(context), queue_(limits) {}

  // Every message sent so far is on the wire.
  virtual void OnDrained() {}
  // Once, after every other event: the client is gone (kCancelled), or what
  // End() was given has been sent. Nothing is sent any more. gRPC's reference
  // goes when it returns.
  virtual void OnClosed(const absl::Status& why) = 0;

  // gRPC's reference; before the reactor is handed to gRPC.
  void Hold() { self_ = this->shared_from_this(); }
  std::mutex& mutex() { return mutex_; }
  bool ending() const { return end_.has_value(); }  // under mutex()

 private:
  void OnWriteDone(bool ok) final {
    bool drained = false;
    {
      std::lock_guard lock(mutex_);
      queue_.OnWritten();
      if (!ok) {
        // The connection is gone: OnCancel follows or was here.
        queue_.Drop();
      } else {
        WriteNext();
      }
      FinishWhenIdle();
      drained = queue_.idle() && !end_.has_value();
    }
    if (drained) OnDrained();
  }

  void OnCancel() final {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    queue_.Drop();
    if (!end_.has_value()) end_ = ClientGone();
    FinishWhenIdle();
  }

  void OnDone() final {
    // Deletes on return unless somebody else holds a reference.
    const auto self = std::move(self_);
    std::unique_lock lock(mutex_);
    done_ = true;
    const absl::Status why = cancelled_ ? ClientGone() : *end_;
    lock.unlock();
    OnClosed(why);
  }

  static absl::Status ClientGone() {
    return absl::CancelledError("the client ended the call or is gone");
  }

  void WriteNext() {
    if (const Out* message = queue_.StartNext()) this->StartWrite(message);
  }

  void FinishWhenIdle() {
    if (!end_.has_value() || finished_ || !queue_.idle()) return;
    finished_ = true;
    this->Finish(ToGrpcStatus(*end_));
  }

  std::mutex mutex_;
  // gRPC's, until OnDone; null: the call is never ended at once.
  const grpc::CallbackServerContext* const context_;
  // Guarded by mutex_.
  WriteQueue<Out> queue_;
  std::optional<absl::Status> end_;
  bool finished_ = false;
  bool cancelled_ = false;
  bool done_ = false;

  std::shared_ptr<void> self_;  // written before and after gRPC's events
};

// A server-streaming call.
template <class Out>
class ServerWriter
    : public ServerStreamBase<grpc::ServerWriteReactor<Out>, Out> {
 public:
  // Once, right after construction; then hand it to gRPC.
  void Start() { this->Hold(); }

 protected:
  explicit ServerWriter(const StreamLimits& limits = {})
      : ServerStreamBase<grpc::ServerWriteReactor<Out>, Out>(limits) {}
};

// A bidirectional call. Messages come one at a time, in order; at most
// limits.unconsumed_max are out before Consumed() is called for them.
template <class In, class Out>
class ServerStream
    : public ServerStreamBase<grpc::ServerBidiReactor<In, Out>, Out> {
 public:
  // Once, right after construction; then hand it to gRPC.
  void Start() {
    this->Hold();
    std::lock_guard lock(this->mutex());
    ReadNext();
  }

  // One message that OnMessage was given is dealt with. Any thread.
  void Consumed() {
    std::lock_guard lock(this->mutex());
    --unconsumed_;
    ReadNext();
  }

 protected:
  explicit ServerStream(const StreamLimits& limits = {},
                        const grpc::CallbackServerContext* context = nullptr)
      : ServerStreamBase<grpc::ServerBidiReactor<In, Out>, Out>(limits,
                                                                context),
        unconsumed_max_(limits.unconsumed_max) {}

  virtual void OnMessage(In message) = 0;
  // The client sends no more. It still reads: End() when all is said. Also
  // called when the client is gone; OnClosed follows then by itself.
  virtual void OnHalfClosed() { this->End(absl::OkStatus()); }

 private:
  void OnReadDone(bool ok) final {
    if (!ok) {
      bool half_closed = false;
      {
        std::lock_guard lock(this->mutex());
        reading_ = false;
        no_more_ = true;
        half_closed = !this->ending();
      }
      if (half_closed) OnHalfClosed();
      return;
    }
    In message;
    {
      std::lock_guard lock(this->mutex());
      message = std::move(incoming_);
      incoming_ = In();
      ++unconsumed_;
    }
    OnMessage(std::move(message));
    std::lock_guard lock(this->mutex());
    reading_ = false;
    ReadNext();
  }

  // One read at a time, and the next only after OnMessage returned.
  void ReadNext() {
    if (reading_ || no_more_ || this->ending() ||
        unconsumed_ >= unconsumed_max_) {
      return;
    }
    reading_ = true;
    this->StartRead(&incoming_);
  }

  const int unconsumed_max_;
  // Guarded by mutex().
  In incoming_;
  int unconsumed_ = 0;
  bool reading_ = false;
  bool no_more_ = false;
};

}  // namespace sluice::rpc
