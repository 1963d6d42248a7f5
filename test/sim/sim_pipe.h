// A stream of typed messages between two processes.
#pragma once

#include <memory>
#include <utility>

#include "client/peers/controller_peer.h"
#include "test/sim/sim_network.h"
#include "test/sim/wire.h"

namespace sluice::sim {

// A: what the opener sends; B: what the acceptor does. What an end hears, it
// hears while the network holds its events: they hold its user, who holds this.
template <class A, class B>
struct SimPipe : std::enable_shared_from_this<SimPipe<A, B>> {
  static constexpr int64_t kStillUs = 20'000;

  SimNetwork* network = nullptr;
  StreamPtr stream;
  MessageKind a_kind = MessageKind::kStreamEnd;
  MessageKind b_kind = MessageKind::kStreamEnd;
  std::weak_ptr<PeerStreamEvents<B>> a_events;  // what the opener hears
  std::weak_ptr<PeerStreamEvents<A>> b_events;
  bool b_drains_by_wire = false;  // not before it gets through
  bool b_still = false;           // looked at again soon
  bool a_open = true;
  bool b_open = true;

  void SetAcceptorEvents(PeerStreamEvents<A> events) {
    if (const auto held = b_events.lock()) *held = std::move(events);
  }
  void HearA(B message) {
    const auto events = a_events.lock();
    if (a_open && events != nullptr && events->on_message) {
      events->on_message(std::move(message));
    }
  }
  void HearB(A message) {
    const auto events = b_events.lock();
    if (b_open && events != nullptr && events->on_message) {
      events->on_message(std::move(message));
    }
  }
  bool WantsDrainedA() const {
    const auto events = a_events.lock();
    return events != nullptr && events->on_drained != nullptr;
  }
  // Until it has accepted it may want to: that is asked when it is due.
  bool WantsDrainedB() const {
    const auto events = b_events.lock();
    return events != nullptr &&
           (events->on_drained != nullptr || events->on_message == nullptr);
  }
  void DrainedA() {
    const auto events = a_events.lock();
    if (a_open && events != nullptr && events->on_drained) {
      events->on_drained();
    }
  }
  // While nothing gets through, what was sent is not on the wire.
  void DrainB() {
    if (!b_open) return;
    if (!b_drains_by_wire || !network->IsSilent(*stream)) return DrainedB();
    if (std::exchange(b_still, true)) return;
    stream->ends[1].executor->PostAfter(
        kStillUs, [pipe = this->shared_from_this()] {
          pipe->b_still = false;
          pipe->DrainB();
        });
  }
  void DrainedB() {
    const auto events = b_events.lock();
    if (b_open && events != nullptr && events->on_drained) {
      events->on_drained();
    }
  }
  // Its user may be closing from within what they hold.
  void DropA() {
    const auto events = a_events.lock();
    if (events != nullptr) stream->ends[0].executor->Post([events] {});
  }
  void DropB() {
    const auto events = b_events.lock();
    if (events != nullptr) stream->ends[1].executor->Post([events] {});
  }
  void EndA(const absl::Status& why) {
    if (!std::exchange(a_open, false)) return;
    const auto events = a_events.lock();
    network->CloseEnd(stream, Side::kOpener);
    if (events != nullptr && events->on_closed) events->on_closed(why);
  }
  void EndB(const absl::Status& why) {
    if (!std::exchange(b_open, false)) return;
    const auto events = b_events.lock();
    network->CloseEnd(stream, Side::kAcceptor);
    if (events != nullptr && events->on_closed) events->on_closed(why);
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
          pipe->HearB(Wire<A>::Decode(parcel.bytes));
        });
    if (!pipe_->WantsDrainedA()) return;
    pipe_->stream->ends[0].executor->PostAfter(
        kDrainUs, [pipe = pipe_] { pipe->DrainedA(); });
  }
  void Close(const absl::Status& why) {
    if (!std::exchange(pipe_->a_open, false)) return;
    pipe_->network->Send(pipe_->stream, Side::kAcceptor,
                         MessageKind::kStreamEnd, "",
                         [pipe = pipe_, why](const Parcel&) {
                           pipe->EndB(why);
                         });
    pipe_->DropA();
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
          pipe->HearA(Wire<B>::Decode(parcel.bytes));
        });
    if (!pipe_->WantsDrainedB()) return;
    pipe_->stream->ends[1].executor->PostAfter(
        OpenerHalf<A, B>::kDrainUs, [pipe = pipe_] { pipe->DrainB(); });
  }
  void Close(const absl::Status& why) {
    if (!std::exchange(pipe_->b_open, false)) return;
    pipe_->network->Send(pipe_->stream, Side::kOpener, MessageKind::kStreamEnd,
                         "", [pipe = pipe_, why](const Parcel&) {
                           pipe->EndA(why);
                         });
    pipe_->DropB();
    pipe_->network->CloseEnd(pipe_->stream, Side::kAcceptor);
  }

 private:
  const Pipe pipe_;
};

// Connects the pipe's stream; what its opener hears of it. What its acceptor
// does is said when it has accepted.
template <class A, class B>
void ConnectPipe(const std::shared_ptr<SimPipe<A, B>>& pipe,
                 PeerStreamEvents<B> opener_events, LifePtr opener,
                 Executor* opener_executor, LifePtr acceptor,
                 Executor* acceptor_executor) {
  const auto a_events =
      std::make_shared<PeerStreamEvents<B>>(std::move(opener_events));
  const auto b_events = std::make_shared<PeerStreamEvents<A>>();
  pipe->a_events = a_events;
  pipe->b_events = b_events;
  pipe->stream = pipe->network->Connect(
      SimStream::Form::kStream,
      {std::move(opener), opener_executor,
       [pipe, a_events](const absl::Status& why) { pipe->EndA(why); }},
      {std::move(acceptor), acceptor_executor,
       [pipe, b_events](const absl::Status& why) { pipe->EndB(why); }});
}

}  // namespace sluice::sim
