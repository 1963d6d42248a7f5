// What may be done next on one RPC stream: a pure core, so that every order of
// completions, sends and closes can be tried without a network.
#pragma once

#include <cstddef>

namespace sluice::rpc {

// What a stream asks of its transport or of its owner's executor.
enum class StreamOp {
  kNone,
  kRead,          // ReadDone follows
  kWrite,         // WriteDone follows
  kFinish,        // Done follows, and nothing after it
  kCancel,        // clients only; reads and writes under way fail
  kReportClosed,  // tell the owner; the stream is over
};

// At most one read and one write are under way at a time; nothing is started
// after kFinish; kFinish waits for the write under way (a server's) or for
// both (a client's). A server writes what was queued before it finishes by its
// own will; a client that closes cancels. Not thread-safe.
class StreamState {
 public:
  struct Options {
    bool is_server = false;
    // False: the request was the only message (server streaming).
    bool reads = true;
    // Messages read and not yet handled by the owner; at the limit reading
    // stops, and the sender is slowed down by flow control.
    int undelivered_max = 8;
  };

  explicit StreamState(Options options) : options_(options) {}

  // The next thing to do, which is then under way. Ask until kNone, after
  // every event.
  StreamOp Next();

  // Events of the owner.
  void Attached() { attached_ = true; }  // messages have somewhere to go
  void Queued() { ++queued_; }
  void Delivered() { --undelivered_; }
  // The owner, or a fault of what came in, ends the stream.
  void Close() { closing_ = true; }

  // Events of the transport.
  void Started() { started_ = true; }
  // Not ok: there will be no more (the peer finished, or it broke).
  void ReadDone(bool ok);
  // Not ok: the stream is broken.
  void WriteDone(bool ok);
  // The other end is gone. Also before kFinish only.
  void Broken();
  void Done() { done_ = true; }

  // Whether a message may be sent, and whether one that came in counts: what
  // a server said before it ended the stream does.
  bool takes_messages() const { return !closing_ && !broken_ && !done_; }
  bool delivers() const { return !closing_; }
  size_t queued() const { return queued_; }
  bool writing() const { return writing_; }
  // A server's half-closed stream ends well, a broken one does not.
  bool broken() const { return broken_; }
  bool over() const { return reported_; }

 private:
  StreamOp NextOfServer();
  StreamOp NextOfClient();
  StreamOp NextTransfer();

  const Options options_;
  size_t queued_ = 0;  // not counting the one being written
  int undelivered_ = 0;
  bool started_ = false;
  bool attached_ = false;
  bool reading_ = false;
  bool read_ended_ = false;
  bool writing_ = false;
  bool broken_ = false;
  bool closing_ = false;
  bool cancelled_ = false;
  bool finishing_ = false;
  bool done_ = false;
  bool reported_ = false;
};

}  // namespace sluice::rpc
