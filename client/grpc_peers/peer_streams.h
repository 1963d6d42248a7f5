// The streams of peers over RPC streams.
#pragma once

#include <memory>
#include <utility>

#include "client/peers/controller_peer.h"
#include "common/base/error.h"
#include "common/rpc/async/message_stream.h"

namespace sluice {

// The sending half that an owner holds. A message that finds the queue full
// ends the stream with BUSY: the other end has stopped reading. Letting go of
// it ends the stream.
template <class In, class Out>
class RpcPeerStream final : public PeerStream<Out> {
 public:
  using Stream = rpc::MessageStream<In, Out>;

  explicit RpcPeerStream(std::shared_ptr<Stream> stream)
      : stream_(std::move(stream)) {}
  ~RpcPeerStream() override {
    stream_->Close(absl::CancelledError("the stream was let go of"));
  }

  void Send(const Out& message) override {
    if (!stream_->Send(message, message.ByteSizeLong())) {
      stream_->Fail(MakeError(ErrorCode::kBusy,
                              "the other end does not read what it is sent; "
                              "open the stream again"));
    }
  }
  void Close(absl::Status why) override { stream_->Close(std::move(why)); }

 private:
  const std::shared_ptr<Stream> stream_;
};

template <class In>
rpc::MessageEvents<In> ToMessageEvents(PeerStreamEvents<In> events) {
  rpc::MessageEvents<In> out;
  out.on_message = std::move(events.on_message);
  out.on_drained = std::move(events.on_drained);
  out.on_closed = std::move(events.on_closed);
  return out;
}

}  // namespace sluice
