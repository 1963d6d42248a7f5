// One end of an open RPC stream, whatever carries it: queues what is sent,
// paces what is read, and runs the owner's events on its executor.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/env/executor.h"
#include "common/rpc/async/stream_state.h"

namespace sluice::rpc {

// How a stream reaches the wire. Every Start is answered by a call of the
// MessageStream's method of the same name, from any thread, also from within
// the Start. One Start runs at a time.
template <class Out>
class StreamTransport {
 public:
  virtual ~StreamTransport() = default;
  virtual void StartRead() = 0;
  virtual void StartWrite(Out message) = 0;
  // A server's `status` goes to the client; a client's has no meaning.
  virtual void StartFinish(const absl::Status& status) = 0;
  virtual void Cancel() = 0;
};

template <class In>
struct MessageEvents {
  absl::AnyInvocable<void()> on_open;  // clients: the stream is connected
  absl::AnyInvocable<void(In message)> on_message;
  absl::AnyInvocable<void()> on_drained;  // nothing is queued any more
  absl::AnyInvocable<void(absl::Status why)> on_closed;  // once, last
};

// Any member may be called on any thread. Kept alive by its transport until
// the stream is over, so an owner may let go at any time (after Close).
template <class In, class Out>
class MessageStream final
    : public std::enable_shared_from_this<MessageStream<In, Out>> {
 public:
  struct Options {
    Executor* executor = nullptr;
    StreamState::Options state;
    // Bytes given to Send and not yet written.
    size_t queued_bytes_max = size_t{16} << 20;
  };

  explicit MessageStream(Options options)
      : executor_(options.executor),
        queued_bytes_max_(options.queued_bytes_max),
        is_server_(options.state.is_server),
        state_(options.state) {}

  // ---- The owner's side ----

  // Where messages go; reading begins. Once; on the executor, or before Start.
  void Attach(MessageEvents<In> events) {
    std::lock_guard lock(mutex_);
    INVARIANT(!attached_, "a stream has one owner");
    attached_ = true;
    events_ = std::move(events);
    wants_drained_ = events_.on_drained != nullptr;
    state_.Attached();
  }
  // Attach from outside, then let things move.
  void AttachAndDrive(MessageEvents<In> events) {
    Attach(std::move(events));
    Drive();
  }

  // False: more than queued_bytes_max would wait; nothing is queued. True and
  // without effect when the stream is over or closing. `bytes` is what the
  // message counts for.
  bool Send(Out message, size_t bytes) {
    {
      std::lock_guard lock(mutex_);
      if (!state_.takes_messages()) return true;
      // One message always fits, however large.
      if (queued_bytes_ > 0 && queued_bytes_ + bytes > queued_bytes_max_) {
        return false;
      }
      queued_bytes_ += bytes;
      queue_.push_back({std::move(message), bytes});
      state_.Queued();
    }
    Drive();
    return true;
  }

  // Ends the stream: what a server queued is still written, a client cancels.
  // No event follows when called on the executor.
  void Close(absl::Status why) {
    {
      std::lock_guard lock(mutex_);
      const bool told = std::exchange(muted_, true);
      if (told || state_.over()) return;
      if (close_status_.ok()) close_status_ = std::move(why);
      state_.Close();
    }
    // The events may be running: they are let go of after that.
    executor_->Post([self = this->shared_from_this()] { self->DropEvents(); });
    Drive();
  }

  // As Close, but the owner is told: on_closed(why).
  void Fail(absl::Status why) {
    {
      std::lock_guard lock(mutex_);
      if (close_status_.ok()) close_status_ = why;
      if (fault_.ok()) fault_ = std::move(why);
      state_.Close();
    }
    Drive();
  }

  // ---- The transport's side ----

  void Start(std::shared_ptr<StreamTransport<Out>> transport) {
    {
      std::lock_guard lock(mutex_);
      transport_ = std::move(transport);
      state_.Started();
    }
    Drive();
  }
  void OnOpen() {
    Post([](MessageEvents<In>& events) {
      if (events.on_open) events.on_open();
    });
  }
  void OnRead(In message) {
    bool deliver;
    {
      std::lock_guard lock(mutex_);
      state_.ReadDone(true);
      deliver = state_.delivers();
    }
    if (deliver) {
      executor_->Post([self = this->shared_from_this(),
                       message = std::move(message)]() mutable {
        self->Deliver(std::move(message));
      });
    }
    Drive();
  }
  void OnReadEnd() {
    {
      std::lock_guard lock(mutex_);
      state_.ReadDone(false);
    }
    Drive();
  }
  // What was read is nonsense: the stream ends with `why` at both ends.
  void OnBadRead(absl::Status why) {
    {
      std::lock_guard lock(mutex_);
      state_.ReadDone(true);
    }
    Fail(std::move(why));
  }
  void OnWritten(bool ok) {
    bool drained;
    {
      std::lock_guard lock(mutex_);
      state_.WriteDone(ok);
      queued_bytes_ -= writing_bytes_;
      writing_bytes_ = 0;
      if (!ok) ForgetQueue();
      drained = ok && wants_drained_ && state_.queued() == 0;
    }
    if (drained) {
      Post([](MessageEvents<In>& events) {
        if (events.on_drained) events.on_drained();
      });
    }
    Drive();
  }
  // The other end is gone.
  void OnBroken() {
    {
      std::lock_guard lock(mutex_);
      state_.Broken();
      ForgetQueue();
    }
    Drive();
  }
  // The transport has forgotten the stream. `status`: a client's is how the
  // server ended it; a server's is not looked at.
  void OnDone(absl::Status status) {
    {
      std::lock_guard lock(mutex_);
      if (fault_.ok()) {
        if (!is_server_) {
          fault_ = std::move(status);
        } else if (state_.broken()) {
          fault_ = absl::UnavailableError("the other end is gone");
        }
      }
      ForgetQueue();
      state_.Done();
    }
    Drive();
  }

 private:
  struct Queued {
    Out message;
    size_t bytes;
  };

  void Post(absl::AnyInvocable<void(MessageEvents<In>&)> event) {
    executor_->Post([self = this->shared_from_this(),
                     event = std::move(event)]() mutable {
      if (!self->muted()) event(self->events_);
    });
  }
  void Deliver(In message) {
    if (!muted() && events_.on_message) events_.on_message(std::move(message));
    {
      std::lock_guard lock(mutex_);
      state_.Delivered();
    }
    Drive();
  }
  void ReportClosed() {
    Post([self = this->shared_from_this()](MessageEvents<In>& events) {
      absl::Status why;
      {
        std::lock_guard lock(self->mutex_);
        why = self->fault_;
      }
      if (events.on_closed) events.on_closed(std::move(why));
      self->DropEvents();
    });
  }
  // On the executor, outside of any event but on_closed.
  void DropEvents() { events_ = {}; }
  bool muted() const {
    std::lock_guard lock(mutex_);
    return muted_;
  }
  // With the lock.
  void ForgetQueue() {
    queue_.clear();
    queued_bytes_ = writing_bytes_;
  }

  // Carries out what the state asks for. One thread at a time does it for
  // all: a transport may call back from within, and never sees two Starts at
  // once, so nothing is begun on a stream that another thread just finished.
  void Drive() {
    const auto self = this->shared_from_this();
    std::unique_lock lock(mutex_);
    if (driving_) return;  // its driver looks again before it leaves
    driving_ = true;
    while (true) {
      const StreamOp op = state_.Next();
      if (op == StreamOp::kNone) break;
      std::shared_ptr<StreamTransport<Out>> transport = transport_;
      Queued item{};
      if (op == StreamOp::kWrite) {
        item = std::move(queue_.front());
        queue_.pop_front();
        writing_bytes_ = item.bytes;
      }
      const absl::Status status = FinalStatus();
      if (op == StreamOp::kReportClosed) transport_ = nullptr;
      lock.unlock();
      Perform(op, transport.get(), std::move(item.message), status);
      transport = nullptr;
      lock.lock();
    }
    driving_ = false;
  }

  void Perform(StreamOp op, StreamTransport<Out>* transport, Out message,
               const absl::Status& status) {
    switch (op) {
      case StreamOp::kNone:
        break;
      case StreamOp::kRead:
        return transport->StartRead();
      case StreamOp::kWrite:
        return transport->StartWrite(std::move(message));
      case StreamOp::kFinish:
        return transport->StartFinish(status);
      case StreamOp::kCancel:
        return transport->Cancel();
      case StreamOp::kReportClosed:
        return ReportClosed();  // transport is null if it never started
    }
  }
  // With the lock.
  absl::Status FinalStatus() const {
    if (state_.broken()) return absl::CancelledError("the other end is gone");
    return close_status_;
  }

  Executor* const executor_;
  const size_t queued_bytes_max_;
  const bool is_server_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  StreamState state_;
  std::shared_ptr<StreamTransport<Out>> transport_;  // from Start to OnDone
  std::deque<Queued> queue_;
  size_t queued_bytes_ = 0;  // with the message being written
  size_t writing_bytes_ = 0;
  absl::Status close_status_;
  absl::Status fault_;
  bool attached_ = false;
  bool muted_ = false;
  bool driving_ = false;
  bool wants_drained_ = true;  // until Attach tells
  // Touched by the executor's thread alone, once attached.
  MessageEvents<In> events_;
};

}  // namespace sluice::rpc
