#include "test/sim/sim_sessions.h"

#include <utility>

#include "absl/functional/any_invocable.h"
#include "test/sim/sim_call.h"
#include "test/sim/sim_pipe.h"

namespace sluice::sim {
namespace {

template <class Request, class Response>
class Opener final : public FrameSender<Request> {
 public:
  using Pipe = std::shared_ptr<SimPipe<Request, Response>>;
  explicit Opener(Pipe pipe) : half_(std::move(pipe)) {}
  ~Opener() override { Close(); }
  void Send(Request frame) override { half_.Send(std::move(frame)); }
  void Close() override { half_.Close(absl::CancelledError("let go of")); }

 private:
  OpenerHalf<Request, Response> half_;
};

// The broker's end, as its edge has it (broker/rpc/session_call.h). Held by what
// the network holds, and so no longer than its process.
template <class Request>
struct Served {
  // Runs once: before the first message, or with it.
  absl::AnyInvocable<void(const Request& first)> open;
  std::shared_ptr<StreamSession<Request>> session;  // null: not yet, or over
  void Open(const Request& first) {
    if (open != nullptr) std::exchange(open, nullptr)(first);
  }
  void Close() {
    open = nullptr;
    const auto gone = std::exchange(session, nullptr);
    if (gone != nullptr) gone->OnClosed();
  }
};

// It reads on whatever comes: a client of ours stays below the session's
// limits.
template <class Request, class Response>
class Sink final : public StreamSink<Response> {
 public:
  using Pipe = SimPipe<Request, Response>;
  // Weakly: the pipe holds the session, which holds this.
  Sink(std::weak_ptr<Pipe> pipe, std::weak_ptr<Served<Request>> served)
      : pipe_(std::move(pipe)), served_(std::move(served)) {}
  void Push(Response response) override {
    if (auto pipe = pipe_.lock()) Half(std::move(pipe)).Send(std::move(response));
  }
  void Finish(absl::Status status) override {
    const auto pipe = pipe_.lock();
    if (pipe == nullptr || !pipe->b_open) return;
    // Not from within the session that says so.
    pipe->stream->ends[1].executor->Post([served = served_.lock()] {
      if (served != nullptr) served->Close();
    });
    Half(pipe).Close(status);
  }

 private:
  using Half = AcceptorHalf<Request, Response>;
  const std::weak_ptr<Pipe> pipe_;
  const std::weak_ptr<Served<Request>> served_;
};

// A session from the first message on, if not before.
template <class Request, class Response, class Open>
std::shared_ptr<Served<Request>> Accept(
    const std::shared_ptr<SimPipe<Request, Response>>& pipe,
    const LifePtr& server, const std::string& listener, Open open) {
  const auto served = std::make_shared<Served<Request>>();
  served->open = [server, listener, open = std::move(open),
                  held = std::weak_ptr(pipe),
                  self = std::weak_ptr(served)](const Request& first) {
    const auto served = self.lock();
    if (served == nullptr) return;
    api::CallContext context;
    context.client_id = "sim";
    context.listener = listener;
    served->session =
        open(*server, context, first,
             std::make_shared<Sink<Request, Response>>(held, self));
  };
  PeerStreamEvents<Request> events;
  events.on_message = [served](Request request) {
    served->Open(request);
    if (const auto session = served->session) {
      session->OnRequest(std::move(request));
    }
  };
  events.on_drained = [served] {
    if (const auto session = served->session) session->OnDrained();
  };
  events.on_closed = [served](const absl::Status&) { served->Close(); };
  pipe->SetAcceptorEvents(std::move(events));
  return served;
}

struct Kinds {
  StreamUse use;
  MessageKind request;
  MessageKind response;
  int64_t keepalive_us;
};

template <class Request, class Response>
struct Opened {
  std::shared_ptr<SimPipe<Request, Response>> pipe;
  std::weak_ptr<Served<Request>> served;  // null: nobody is there
  std::shared_ptr<FrameSender<Request>> sender() const {
    return std::make_shared<Opener<Request, Response>>(pipe);
  }
};

template <class Request, class Response, class Open>
Opened<Request, Response> OpenSession(SimDial dial, const Kinds& kinds,
                                      StreamEvents<Response> events,
                                      Open open) {
  SimNetwork* const network = dial.network;
  auto pipe = std::make_shared<SimPipe<Request, Response>>();
  pipe->network = network;
  pipe->a_kind = kinds.request;
  pipe->b_kind = kinds.response;
  pipe->b_drains_by_wire = true;
  UseCounts& counts = network->use(kinds.use);
  ++counts.opened;
  PeerStreamEvents<Response> heard;
  heard.on_message = [&counts, on_frame = std::move(events.on_frame)](
                         Response response) mutable {
    ++counts.heard;
    on_frame(std::move(response));
  };
  heard.on_closed = [&counts, on_closed = std::move(events.on_closed)](
                        absl::Status why) mutable {
    ++counts.broken;
    on_closed(std::move(why));
  };
  Opened<Request, Response> opened{pipe, {}};
  const LifePtr server = network->Find(dial.to);
  if (server == nullptr || server->broker == nullptr) {
    ConnectPipe(pipe, std::move(heard), dial.own, dial.executor, dial.own,
                dial.executor);
    pipe->b_open = false;
    network->CloseEnd(pipe->stream, Side::kAcceptor);
    dial.executor->PostAfter(
        network->Latency(),
        [pipe, to = dial.to] { pipe->EndA(Unreachable(to)); });
  } else {
    ConnectPipe(pipe, std::move(heard), std::move(dial.own), dial.executor,
                server, server->edge_executor);
    pipe->stream->keepalive_us = kinds.keepalive_us;
    opened.served =
        Accept<Request, Response>(pipe, server, dial.listener, std::move(open));
  }
  return opened;
}

// What the edge hears before any message and behind the last one.
class ConsumeOpener final : public ConsumeSender {
 public:
  using Call = Opened<v1::ConsumeRequest, ConsumePush>;
  explicit ConsumeOpener(Call call)
      : call_(std::move(call)), sender_(call_.sender()) {
    Say(MessageKind::kStreamOpen, [](Served<v1::ConsumeRequest>& served) {
      served.Open(v1::ConsumeRequest());
    });
  }
  void Send(v1::ConsumeRequest frame) override {
    if (!half_closed_) sender_->Send(std::move(frame));
  }
  void HalfClose() override {
    if (std::exchange(half_closed_, true)) return;
    Say(MessageKind::kStreamHalfClose, [](Served<v1::ConsumeRequest>& served) {
      if (const auto session = served.session) {
        session->OnNoMore(absl::OkStatus());
      }
    });
  }
  void Close() override { sender_->Close(); }

 private:
  void Say(MessageKind kind, void (*hear)(Served<v1::ConsumeRequest>&)) {
    if (!call_.pipe->a_open) return;
    call_.pipe->network->Send(
        call_.pipe->stream, Side::kAcceptor, kind, "",
        [served = call_.served, hear](const Parcel&) {
          if (const auto there = served.lock()) hear(*there);
        });
  }

  const Call call_;
  const std::shared_ptr<FrameSender<v1::ConsumeRequest>> sender_;
  bool half_closed_ = false;
};

// One question, then answers: as a session whose only request is the first.
class WatchAsSession final : public StreamSession<v1::WatchMetadataRequest> {
 public:
  WatchAsSession(BrokerApi& broker, api::CallContext context,
                 std::shared_ptr<WatchSink> sink)
      : broker_(broker),
        context_(std::move(context)),
        sink_(std::move(sink)) {}
  void OnRequest(v1::WatchMetadataRequest request) override {
    if (sink_ == nullptr) return;
    watch_ = broker_.WatchMetadata(context_, std::move(request),
                                   std::exchange(sink_, nullptr));
  }
  void OnDrained() override { watch_->OnDrained(); }
  void OnClosed() override { watch_->OnClosed(); }

 private:
  BrokerApi& broker_;
  const api::CallContext context_;
  std::shared_ptr<WatchSink> sink_;
  std::shared_ptr<WatchSession> watch_;
};

}  // namespace

std::shared_ptr<ProduceSender> OpenSimProduceStream(
    SimDial dial, ProduceStreamEvents events) {
  return OpenSession<api::ProduceStreamRequest, api::ProduceStreamResponse>(
      std::move(dial),
      {StreamUse::kProduce, MessageKind::kProduceStream,
       MessageKind::kProduceStreamReply, SimNetwork::kDataKeepaliveUs},
      std::move(events),
      [](const Life& server, const api::CallContext& context,
         const api::ProduceStreamRequest& first,
         std::shared_ptr<ProduceSink> sink) {
        return server.broker->ProduceStream(context, first, std::move(sink));
      }).sender();
}

std::shared_ptr<SubscribeSender> OpenSimSubscription(SimDial dial,
                                                     SubscribeEvents events) {
  return OpenSession<api::SubscribeRequest, api::SubscribeResponse>(
      std::move(dial),
      {StreamUse::kSubscribe, MessageKind::kSubscribe,
       MessageKind::kSubscribeReply, SimNetwork::kDataKeepaliveUs},
      std::move(events),
      [](const Life& server, const api::CallContext& context,
         const api::SubscribeRequest&, std::shared_ptr<SubscribeSink> sink) {
        return server.broker->Subscribe(context, std::move(sink));
      }).sender();
}

std::shared_ptr<MetadataWatchSender> OpenSimWatch(SimDial dial,
                                                  MetadataWatchEvents events) {
  return OpenSession<v1::WatchMetadataRequest, v1::WatchMetadataResponse>(
      std::move(dial),
      {StreamUse::kWatch, MessageKind::kWatchMetadata,
       MessageKind::kWatchMetadataReply, SimNetwork::kKeepaliveUs},
      std::move(events),
      [](const Life& server, const api::CallContext& context,
         const v1::WatchMetadataRequest&, std::shared_ptr<WatchSink> sink) {
        return std::make_shared<WatchAsSession>(*server.broker, context,
                                                std::move(sink));
      }).sender();
}

std::shared_ptr<ConsumeSender> OpenSimConsume(SimDial dial,
                                              ConsumeEvents events) {
  return std::make_shared<ConsumeOpener>(
      OpenSession<v1::ConsumeRequest, ConsumePush>(
          std::move(dial),
          {StreamUse::kConsume, MessageKind::kConsume,
           MessageKind::kConsumeReply, SimNetwork::kDataKeepaliveUs},
          std::move(events),
          [](const Life& server, const api::CallContext& context,
             const v1::ConsumeRequest&, std::shared_ptr<ConsumeSink> sink) {
            return server.consume->Consume(context, std::move(sink));
          }));
}

}  // namespace sluice::sim
