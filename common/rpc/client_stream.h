// The client's end of a bidirectional or a server-streaming call on gRPC's
// callback API. The counterpart of server_stream.h.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "common/base/error.h"
#include "common/rpc/status_wire.h"
#include "common/rpc/write_queue.h"

namespace sluice::rpc {

// Owned by shared_ptr: one reference is gRPC's, from Start() until OnDone, the
// others belong to whoever sends; the last deletes. A stream that only gRPC
// holds goes on until the other end or Close() ends it.
//
//   auto stream = std::make_shared<MyStream>();
//   stub->async()->Fetch(stream->context(), stream.get());
//   stream->Start();
//
// Messages sent after the stream broke vanish. Send, Consumed, HalfClose and
// Close may be called from any thread and never block. The events run on
// threads of gRPC's and must not block.
template <class Out, class In>
class ClientStream
    : public grpc::ClientBidiReactor<Out, In>,
      public std::enable_shared_from_this<ClientStream<Out, In>> {
 public:
  ClientStream(const ClientStream&) = delete;
  ClientStream& operator=(const ClientStream&) = delete;

  // For metadata and a deadline, before the stub is called.
  grpc::ClientContext* context() { return &context_; }

  // Once, right after the stub was given this reactor.
  void Start() {
    self_ = this->shared_from_this();
    // Writes and reads start outside of gRPC's reactions; released when the
    // first read fails.
    this->AddHold();
    {
      std::lock_guard lock(mutex_);
      ReadNext();
    }
    this->StartCall();
  }

  // False: the stream is over and the message vanished; or it passed a limit,
  // which ends the stream with BUSY.
  bool Send(Out message) {
    std::lock_guard lock(mutex_);
    if (over_ || closing_) return false;
    if (!queue_.Push(std::move(message))) {
      Cancel(MakeError(ErrorCode::kBusy, "stream: ", queue_.bytes(),
                       " bytes wait for a peer that does not read; open it "
                       "again and send less"));
      return false;
    }
    WriteNext();
    return true;
  }

  // Sends what was accepted, then that no more comes. The other end may go on.
  void HalfClose() {
    std::lock_guard lock(mutex_);
    if (over_ || closing_) return;
    closing_ = true;
    WriteNext();
  }

  // Ends the stream at once; OnClosed gets `why`.
  void Close(absl::Status why) {
    std::lock_guard lock(mutex_);
    if (!over_) Cancel(std::move(why));
  }

  // One message that OnMessage was given is dealt with.
  void Consumed() {
    std::lock_guard lock(mutex_);
    --unconsumed_;
    ReadNext();
  }

 protected:
  explicit ClientStream(const StreamLimits& limits = {})
      : queue_(limits), unconsumed_max_(limits.unconsumed_max) {}

  // One at a time, in order; at most limits.unconsumed_max are out before
  // Consumed() is called for them.
  virtual void OnMessage(In message) = 0;
  // Every message sent so far is on the wire.
  virtual void OnDrained() {}
  // Once, after every other event: what the server or Close() ended it with,
  // or a transport error (status_wire.h). gRPC's reference goes when it
  // returns.
  virtual void OnClosed(const absl::Status& why) = 0;

 private:
  void OnReadDone(bool ok) final {
    if (!ok) {
      {
        std::lock_guard lock(mutex_);
        reading_ = false;
        over_ = true;
        queue_.Drop();
      }
      this->RemoveHold();
      return;
    }
    In message;
    {
      std::lock_guard lock(mutex_);
      message = std::move(incoming_);
      incoming_ = In();
      ++unconsumed_;
    }
    OnMessage(std::move(message));
    std::lock_guard lock(mutex_);
    reading_ = false;
    ReadNext();
  }

  void OnWriteDone(bool ok) final {
    bool drained = false;
    {
      std::lock_guard lock(mutex_);
      queue_.OnWritten();
      // A write that failed: the read that is always under way, or is started
      // by the next Consumed(), fails as well and ends the stream.
      if (!ok) queue_.Drop();
      if (ok && !over_) WriteNext();
      drained = ok && queue_.idle() && !over_ && !closing_;
    }
    if (drained) OnDrained();
  }

  void OnDone(const grpc::Status& status) final {
    // Deletes on return unless somebody else holds a reference.
    const auto self = std::move(self_);
    std::unique_lock lock(mutex_);
    over_ = true;
    const absl::Status why =
        closed_.has_value() ? *closed_ : FromGrpcStatus(status);
    lock.unlock();
    OnClosed(why);
  }

  void Cancel(absl::Status why) {
    if (closed_.has_value()) return;
    closed_ = std::move(why);
    closing_ = true;
    half_closed_ = true;  // nothing more to say
    queue_.Drop();
    // A read must be under way to see the end.
    unconsumed_max_ = INT32_MAX;
    ReadNext();
    context_.TryCancel();
  }

  void WriteNext() {
    if (const Out* message = queue_.StartNext()) {
      this->StartWrite(message);
    } else if (closing_ && !half_closed_ && queue_.idle()) {
      half_closed_ = true;
      this->StartWritesDone();
    }
  }

  // One read at a time, and the next only after OnMessage returned.
  void ReadNext() {
    if (reading_ || over_ || unconsumed_ >= unconsumed_max_) return;
    reading_ = true;
    this->StartRead(&incoming_);
  }

  grpc::ClientContext context_;

  std::mutex mutex_;
  // Guarded by mutex_.
  WriteQueue<Out> queue_;
  In incoming_;
  int unconsumed_max_;
  int unconsumed_ = 0;
  bool reading_ = false;
  bool closing_ = false;
  bool half_closed_ = false;
  bool over_ = false;
  std::optional<absl::Status> closed_;

  std::shared_ptr<void> self_;  // written before and after gRPC's events
};

// A server-streaming call: receives only.
//
//   auto reader = std::make_shared<MyReader>();
//   stub->async()->FollowMetadata(reader->context(), &request, reader.get());
//   reader->Start();
//
// `request` has been serialized when the stub returns.
template <class In>
class ClientReader : public grpc::ClientReadReactor<In>,
                     public std::enable_shared_from_this<ClientReader<In>> {
 public:
  ClientReader(const ClientReader&) = delete;
  ClientReader& operator=(const ClientReader&) = delete;

  grpc::ClientContext* context() { return &context_; }

  void Start() {
    self_ = this->shared_from_this();
    this->AddHold();
    {
      std::lock_guard lock(mutex_);
      ReadNext();
    }
    this->StartCall();
  }

  void Close(absl::Status why) {
    std::lock_guard lock(mutex_);
    if (over_ || closed_.has_value()) return;
    closed_ = std::move(why);
    unconsumed_max_ = INT32_MAX;
    ReadNext();
    context_.TryCancel();
  }

  void Consumed() {
    std::lock_guard lock(mutex_);
    --unconsumed_;
    ReadNext();
  }

 protected:
  explicit ClientReader(const StreamLimits& limits = {})
      : unconsumed_max_(limits.unconsumed_max) {}

  virtual void OnMessage(In message) = 0;
  virtual void OnClosed(const absl::Status& why) = 0;

 private:
  void OnReadDone(bool ok) final {
    if (!ok) {
      {
        std::lock_guard lock(mutex_);
        reading_ = false;
        over_ = true;
      }
      this->RemoveHold();
      return;
    }
    In message;
    {
      std::lock_guard lock(mutex_);
      message = std::move(incoming_);
      incoming_ = In();
      ++unconsumed_;
    }
    OnMessage(std::move(message));
    std::lock_guard lock(mutex_);
    reading_ = false;
    ReadNext();
  }

  void OnDone(const grpc::Status& status) final {
    const auto self = std::move(self_);
    std::unique_lock lock(mutex_);
    over_ = true;
    const absl::Status why =
        closed_.has_value() ? *closed_ : FromGrpcStatus(status);
    lock.unlock();
    OnClosed(why);
  }

  void ReadNext() {
    if (reading_ || over_ || unconsumed_ >= unconsumed_max_) return;
    reading_ = true;
    this->StartRead(&incoming_);
  }

  grpc::ClientContext context_;

  std::mutex mutex_;
  // Guarded by mutex_.
  In incoming_;
  int unconsumed_max_;
  int unconsumed_ = 0;
  bool reading_ = false;
  bool over_ = false;
  std::optional<absl::Status> closed_;

  std::shared_ptr<void> self_;
};

}  // namespace sluice::rpc
