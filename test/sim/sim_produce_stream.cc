#include "test/sim/sim_produce_stream.h"

#include <utility>

#include "test/sim/sim_call.h"
#include "test/sim/sim_pipe.h"

namespace sluice::sim {
namespace {

using Pipe = SimPipe<api::ProduceStreamRequest, api::ProduceStreamResponse>;

class Opener final : public ProduceSender {
 public:
  explicit Opener(std::shared_ptr<Pipe> pipe) : half_(std::move(pipe)) {}
  ~Opener() override { Close(); }
  void Send(api::ProduceStreamRequest frame) override {
    half_.Send(std::move(frame));
  }
  void Close() override { half_.Close(absl::CancelledError("let go of")); }

 private:
  OpenerHalf<api::ProduceStreamRequest, api::ProduceStreamResponse> half_;
};

// The edge's end of it. It reads on whatever comes: a client of ours stays
// below the session's limits.
class Sink final : public ProduceSink {
 public:
  // Weakly: the pipe holds the session, which holds this.
  explicit Sink(std::weak_ptr<Pipe> pipe) : pipe_(std::move(pipe)) {}
  void Push(api::ProduceStreamResponse response) override {
    if (auto pipe = pipe_.lock()) Half(std::move(pipe)).Send(std::move(response));
  }
  void Finish(absl::Status status) override {
    if (auto pipe = pipe_.lock()) Half(std::move(pipe)).Close(status);
  }

 private:
  using Half =
      AcceptorHalf<api::ProduceStreamRequest, api::ProduceStreamResponse>;
  const std::weak_ptr<Pipe> pipe_;
};

// What runs at the broker: a session from the first message on.
void Accept(const std::shared_ptr<Pipe>& pipe, const LifePtr& server,
            const std::string& listener) {
  auto session = std::make_shared<std::shared_ptr<ProduceSession>>();
  const std::weak_ptr<Pipe> held = pipe;
  PeerStreamEvents<api::ProduceStreamRequest> events;
  events.on_message = [held, server, session,
                       listener](api::ProduceStreamRequest request) {
    if (*session == nullptr) {
      api::CallContext context;
      context.client_id = "sim";
      context.listener = listener;
      *session = server->broker->ProduceStream(
          context, request, std::make_shared<Sink>(held));
    }
    (*session)->OnRequest(std::move(request));
  };
  events.on_drained = [session] {
    if (*session != nullptr) (*session)->OnDrained();
  };
  events.on_closed = [session](const absl::Status&) {
    if (*session != nullptr) (*session)->OnClosed();
  };
  pipe->SetAcceptorEvents(std::move(events));
}

}  // namespace

std::shared_ptr<ProduceSender> OpenSimProduceStream(
    SimNetwork* network, LifePtr own, Executor* executor, NodeId to,
    std::string listener, ProduceStreamEvents events) {
  auto pipe = std::make_shared<Pipe>();
  pipe->network = network;
  pipe->a_kind = MessageKind::kProduceStream;
  pipe->b_kind = MessageKind::kProduceStreamReply;
  PeerStreamEvents<api::ProduceStreamResponse> heard = {
      std::move(events.on_frame), std::move(events.on_closed), nullptr};
  const LifePtr server = network->Find(to);
  if (server == nullptr || server->broker == nullptr) {
    ConnectPipe(pipe, std::move(heard), own, executor, own, executor);
    pipe->b_open = false;
    network->CloseEnd(pipe->stream, Side::kAcceptor);
    executor->PostAfter(network->Latency(),
                        [pipe, to] { pipe->EndA(Unreachable(to)); });
    return std::make_shared<Opener>(pipe);
  }
  ConnectPipe(pipe, std::move(heard), std::move(own), executor, server,
              server->edge_executor);
  pipe->stream->keepalive_us = SimNetwork::kDataKeepaliveUs;
  Accept(pipe, server, listener);
  return std::make_shared<Opener>(pipe);
}

}  // namespace sluice::sim
