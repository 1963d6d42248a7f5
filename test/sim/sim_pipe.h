// A stream of typed messages between two processes.
#pragma once

#include <memory>
#include <utility>

#include "client/peers/controller_peer.h"
#include "test/sim/sim_network.h"
#include "test/sim/wire.h"

namespace sluice::sim {

// A: what the opener sends; B: what the acceptor does.
template <class A, class B>
struct SimPipe {
  SimNetwork* network = nullptr;
  StreamPtr stream;
  MessageKind a_kind = MessageKind::kStreamEnd;
  MessageKind b_kind = MessageKind::kStreamEnd;
  PeerStreamEvents<B> a_events;  // what the opener hears
  PeerStreamEvents<A> b_events;
  bool drains = true;  // whether its ends may ask for on_drained
  bool a_open = true;
  bool b_open = true;

  void EndA(const absl::Status& why) {
    if (!std::exchange(a_open, false)) return;
    network->CloseEnd(stream, Side::kOpener);
    if (a_events.on_closed) a_events.on_closed(why);
  }
  void EndB(const absl::Status& why) {
    if (!std::exchange(b_open, false)) return;
    network->CloseEnd(stream, Side::kAcceptor);
    if (b_events.on_closed) b_events.on_closed(why);
  }
};

// The sending halves, for both kinds of stream interface.
template <class A, class B>
class OpenerHalf {
 public:
  using Pipe = std::shared_ptr<SimPipe<A, B>>;
  explicit OpenerHalf(Pipe pipe) : pipe_(std::move(pipe)) {}

  void Send(A message) {
    if (!pipe_->a_open) return;
    pipe_->network->Send(
        pipe_->stream, Side::kAcceptor, pipe_->a_kind,
        Wire<A>::Encode(std::move(message)),
        [pipe = pipe_](const Parcel& parcel) {
          if (pipe->b_open && pipe->b_events.on_message) {
            pipe->b_events.on_message(Wire<A>::Decode(parcel.bytes));
          }
        });
    if (!pipe_->drains) return;
    pipe_->stream->ends[0].executor->PostAfter(kDrainUs, [pipe = pipe_] {
      if (pipe->a_open && pipe->a_events.on_drained) {
        pipe->a_events.on_drained();
      }
    });
  }
  void Close(const absl::Status& why) {
    if (!std::exchange(pipe_->a_open, false)) return;
    pipe_->network->Send(pipe_->stream, Side::kAcceptor,
                         MessageKind::kStreamEnd, "",
                         [pipe = pipe_, why](const Parcel&) {
                           pipe->EndB(why);
                         });
    pipe_->network->CloseEnd(pipe_->stream, Side::kOpener);
  }

  static constexpr int64_t kDrainUs = 100;

 private:
  const Pipe pipe_;
};

template <class A, class B>
class AcceptorHalf {
 public:
  using Pipe = std::shared_ptr<SimPipe<A, B>>;
  explicit AcceptorHalf(Pipe pipe) : pipe_(std::move(pipe)) {}

  void Send(B message) {
    if (!pipe_->b_open) return;
    pipe_->network->Send(
        pipe_->stream, Side::kOpener, pipe_->b_kind,
        Wire<B>::Encode(std::move(message)),
        [pipe = pipe_](const Parcel& parcel) {
          if (pipe->a_open && pipe->a_events.on_message) {
            pipe->a_events.on_message(Wire<B>::Decode(parcel.bytes));
          }
        });
    if (!pipe_->drains) return;
    pipe_->stream->ends[1].executor->PostAfter(
        OpenerHalf<A, B>::kDrainUs, [pipe = pipe_] {
          // Asked for when it is due: Accept() has returned by then.
          if (pipe->b_open && pipe->b_events.on_drained) {
            pipe->b_events.on_drained();
          }
        });
  }
  void Close(const absl::Status& why) {
    if (!std::exchange(pipe_->b_open, false)) return;
    pipe_->network->Send(pipe_->stream, Side::kOpener, MessageKind::kStreamEnd,
                         "", [pipe = pipe_, why](const Parcel&) {
                           pipe->EndA(why);
                         });
    pipe_->network->CloseEnd(pipe_->stream, Side::kAcceptor);
  }

 private:
  const Pipe pipe_;
};

// Connects the pipe's stream; what either end hears of a broken one.
template <class A, class B>
void ConnectPipe(const std::shared_ptr<SimPipe<A, B>>& pipe, LifePtr opener,
                 Executor* opener_executor, LifePtr acceptor,
                 Executor* acceptor_executor) {
  const std::weak_ptr<SimPipe<A, B>> held = pipe;
  pipe->stream = pipe->network->Connect(
      SimStream::Form::kStream,
      {std::move(opener), opener_executor,
       [held](const absl::Status& why) {
         if (const auto pipe = held.lock()) pipe->EndA(why);
       }},
      {std::move(acceptor), acceptor_executor,
       [held](const absl::Status& why) {
         if (const auto pipe = held.lock()) pipe->EndB(why);
       }});
}

}  // namespace sluice::sim
