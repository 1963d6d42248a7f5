// One end of a data stream, without a transport: plain structs with Buffers.
// gRPC and the simulator each implement it; neither promises more than: frames
// of one stream arrive in order or not at all, and a stream that breaks loses
// what was in flight.
#pragma once

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

namespace sluice {

// One end of an open stream. Send never blocks and may be called from any
// thread; frames sent after the stream broke vanish. The number of bytes
// accepted but not yet on the wire is bounded by the caller (by credits, or by
// what it has unanswered).
// Destroying it, or Close(), ends the stream; no callback runs afterwards
// once Close() was called on the callbacks' executor.
template <class Out>
class FrameSender {
 public:
  virtual ~FrameSender() = default;
  virtual void Send(Out frame) = 0;
  virtual void Close() = 0;
};

// Run on the executor that was given when the stream was opened, but for
// take_at_once.
template <class In>
struct StreamEvents {
  absl::AnyInvocable<void(In frame)> on_frame;
  // Once; nothing follows.
  absl::AnyInvocable<void(absl::Status why)> on_closed;
  // May be null. Is asked first, on the thread that read the frame, once all
  // frames before it are dealt with: for frames that another executor waits
  // for. True: it has taken the frame, on_frame does not hear of it. Must not
  // block; is not asked once Close() was called on the executor.
  absl::AnyInvocable<bool(In& frame)> take_at_once;
};

}  // namespace sluice
