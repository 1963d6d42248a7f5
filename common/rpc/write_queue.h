// The messages of one stream that wait for the one in flight.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <deque>
#include <utility>

#include "common/base/invariant.h"

namespace sluice::rpc {

inline int64_t WireBytes(const grpc::ByteBuffer& message) {
  return static_cast<int64_t>(message.Length());
}
inline int64_t WireBytes(const google::protobuf::MessageLite& message) {
  return static_cast<int64_t>(message.ByteSizeLong());
}

// What a stream may hold. Senders bound themselves by credits; these are the
// walls behind that.
struct StreamLimits {
  // Messages accepted and not yet on the wire. A sender that passes it ends
  // the stream with BUSY. One message always fits.
  int64_t queue_bytes_max = int64_t{64} << 20;
  size_t queue_messages_max = 65'536;
  // Messages read and not yet consumed; past it the stream is not read, and
  // HTTP/2's window holds the sender back.
  int unconsumed_max = 16;
};

// Guarded by its stream's mutex. Keeps the message in flight at a fixed
// address until its write is done.
template <class Out>
class WriteQueue {
 public:
  explicit WriteQueue(const StreamLimits& limits) : limits_(limits) {}

  // False, and nothing changed: past a limit.
  bool Push(Out message) {
    const int64_t bytes = WireBytes(message);
    if (!items_.empty() && (bytes_ + bytes > limits_.queue_bytes_max ||
                            items_.size() >= limits_.queue_messages_max)) {
      return false;
    }
    bytes_ += bytes;
    items_.push_back(Item{std::move(message), bytes});
    return true;
  }

  // The message to write now; nullptr while one is in flight or none waits.
  const Out* StartNext() {
    if (in_flight_ || items_.empty()) return nullptr;
    in_flight_ = true;
    return &items_.front().message;
  }

  void OnWritten() {
    INVARIANT(in_flight_ && !items_.empty(), "write done without a write");
    bytes_ -= items_.front().bytes;
    items_.pop_front();
    in_flight_ = false;
  }

  // Forgets what is not in flight.
  void Drop() {
    while (items_.size() > (in_flight_ ? 1u : 0u)) {
      bytes_ -= items_.back().bytes;
      items_.pop_back();
    }
  }

  bool idle() const { return items_.empty(); }
  int64_t bytes() const { return bytes_; }

 private:
  struct Item {
    Out message;
    int64_t bytes;
  };

  const StreamLimits limits_;
  std::deque<Item> items_;
  int64_t bytes_ = 0;
  bool in_flight_ = false;
};

}  // namespace sluice::rpc
