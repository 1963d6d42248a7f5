#include "controller/rpc/grpc_raft_transport.h"

#include <glog/logging.h>

#include <utility>

#include "common/base/error.h"
#include "common/rpc/async/cq_client_stream.h"
#include "common/rpc/channels.h"
#include "controller/rpc/raft_wire.h"

namespace sluice {
namespace {

constexpr char kExchange[] = "/sluice.internal.v1.RaftService/Exchange";

bool IsRefusal(const absl::Status& why) {
  const ErrorCode code = CodeOf(why);
  return code == ErrorCode::kInconsistentClusterId ||
         code == ErrorCode::kInvalidRequest || code == ErrorCode::kBusy;
}

}  // namespace

GrpcRaftTransport::GrpcRaftTransport(Deps deps)
    : deps_(std::move(deps)),
      random_(deps_.random_seed),
      alive_(std::make_shared<GrpcRaftTransport*>(this)) {
  for (const RaftPeerAddress& peer : deps_.peers) {
    links_[peer.id].endpoint = peer.endpoint;
  }
}

GrpcRaftTransport::~GrpcRaftTransport() { Stop(); }

void GrpcRaftTransport::Serve(rpc::CompletionLoop* server_loop) {
  method_ = std::make_shared<Method>(Method::Deps{
      .loop = server_loop,
      .request =
          [this](auto* context, Wire* wire, auto* queue, void* tag) {
            service_.RequestExchange(context, &wire->stream, queue, queue,
                                     tag);
          },
      .accept =
          [executor = deps_.executor,
           weak = std::weak_ptr<GrpcRaftTransport*>(alive_)](
              std::shared_ptr<In> stream, Wire&) {
            executor->Post([weak, stream = std::move(stream)]() mutable {
              const auto self = weak.lock();
              if (self == nullptr || !(*self)->running()) {
                return stream->Close(MakeError(
                    ErrorCode::kShuttingDown, "this controller does not run"));
              }
              (*self)->Accept(std::move(stream));
            });
          },
      .options = {.executor = deps_.executor, .state = {.is_server = true}}});
  method_->Listen();
}

void GrpcRaftTransport::Start(RaftTransportEvents events) {
  events_ = std::move(events);
  running_ = true;
  for (auto& [peer, link] : links_) Open(peer);
}

void GrpcRaftTransport::Stop() {
  if (!std::exchange(running_, false)) return;
  for (auto& [peer, link] : links_) {
    if (link.timer != 0) deps_.executor->Cancel(link.timer);
    if (link.stream != nullptr) {
      link.stream->Close(absl::CancelledError("this controller stops"));
    }
    link = {.endpoint = link.endpoint};
  }
  for (auto& [id, incoming] : incoming_) {
    incoming.stream->Close(
        MakeError(ErrorCode::kShuttingDown, "this controller stops"));
  }
  incoming_.clear();
  // events_ stays: one of them may be what called this.
}

void GrpcRaftTransport::Send(NodeId to, raft::Message message) {
  const auto found = links_.find(to);
  if (found == links_.end() || !found->second.up) return;
  internal::v1::RaftMessage proto = RaftMessageToProto(message);
  const size_t bytes = proto.ByteSizeLong();
  // Past the bound it is dropped: Raft sends again.
  found->second.stream->Send(std::move(proto), bytes);
}

// ---- To the peers ----

// A new channel each time: a peer that came back is reached at once, without
// the backoff of the connection that broke.
void GrpcRaftTransport::Open(NodeId peer) {
  Link& link = links_.at(peer);
  link.timer = 0;
  link.up = false;
  const uint64_t attempt = ++link.attempt;
  const std::weak_ptr<GrpcRaftTransport*> weak = alive_;
  const auto current = [weak, peer, attempt]() -> GrpcRaftTransport* {
    const auto self = weak.lock();
    if (self == nullptr || !(*self)->running()) return nullptr;
    return (*self)->links_.at(peer).attempt == attempt ? *self : nullptr;
  };
  rpc::MessageEvents<internal::v1::RaftClosed> events;
  events.on_open = [current, peer] {
    GrpcRaftTransport* self = current();
    if (self == nullptr) return;
    Link& opened = self->links_.at(peer);
    opened.up = true;
    opened.complained = false;
    self->events_.on_link_up(peer);
  };
  events.on_closed = [current, peer, attempt](const absl::Status& why) {
    GrpcRaftTransport* self = current();
    if (self != nullptr) self->OnLinkClosed(peer, attempt, why);
  };
  using Call = rpc::CqClientStream<internal::v1::RaftClosed,
                                   internal::v1::RaftMessage>;
  link.stream = Call::Open(
      {.loop = deps_.client_loop,
       .channel = rpc::MakeChannel(link.endpoint, rpc::ChannelUse::kControl),
       .method = kExchange,
       .options = {.executor = deps_.executor,
                   .queued_bytes_max = kQueueBytesMax}},
      std::move(events));
}

void GrpcRaftTransport::OnLinkClosed(NodeId peer, uint64_t attempt,
                                     const absl::Status& why) {
  Link& link = links_.at(peer);
  link.stream = nullptr;
  const bool was_up = std::exchange(link.up, false);
  if (!std::exchange(link.complained, true) || IsRefusal(why)) {
    LOG(INFO) << "no Raft stream to controller " << peer << " at "
              << link.endpoint.ToString() << ": " << why.message();
  }
  const int64_t wait_us =
      IsRefusal(why) ? kRefusedWaitUs
                     : kReopenMinUs + static_cast<int64_t>(random_.Below(
                                          kReopenMaxUs - kReopenMinUs));
  const std::weak_ptr<GrpcRaftTransport*> weak = alive_;
  link.timer = deps_.executor->PostAfter(wait_us, [weak, peer, attempt] {
    const auto self = weak.lock();
    if (self == nullptr || !(*self)->running()) return;
    if ((*self)->links_.at(peer).attempt == attempt) (*self)->Open(peer);
  });
  if (was_up) events_.on_link_broken(peer);
}

// ---- From the peers ----

void GrpcRaftTransport::Accept(std::shared_ptr<In> stream) {
  if (incoming_.size() >= kIncomingMax) {
    return stream->Close(MakeError(
        ErrorCode::kBusy, incoming_.size(),
        " Raft streams are open to this controller; is a client of another "
        "service calling it?"));
  }
  const uint64_t id = next_incoming_++;
  incoming_[id].stream = stream;
  const std::weak_ptr<GrpcRaftTransport*> weak = alive_;
  const auto current = [weak]() -> GrpcRaftTransport* {
    const auto self = weak.lock();
    return self == nullptr || !(*self)->running() ? nullptr : *self;
  };
  rpc::MessageEvents<internal::v1::RaftMessage> events;
  events.on_message = [current, id](internal::v1::RaftMessage message) {
    if (GrpcRaftTransport* self = current()) {
      self->OnMessage(id, std::move(message));
    }
  };
  events.on_closed = [current, id](const absl::Status&) {
    if (GrpcRaftTransport* self = current()) self->OnIncomingClosed(id);
  };
  stream->AttachAndDrive(std::move(events));
}

void GrpcRaftTransport::OnMessage(uint64_t id,
                                  internal::v1::RaftMessage message) {
  const auto found = incoming_.find(id);
  if (found == incoming_.end()) return;
  auto parsed = RaftMessageFromProto(std::move(message));
  if (!parsed.ok()) return CloseIncoming(id, parsed.status());
  if (found->second.from == kNoNode) found->second.from = parsed->from.node;
  if (found->second.from != parsed->from.node) {
    return CloseIncoming(
        id, MakeError(ErrorCode::kInvalidRequest, "a stream of controller ",
                      found->second.from, " carries a message from ",
                      parsed->from.node));
  }
  if (absl::Status s = events_.on_message(*std::move(parsed)); !s.ok()) {
    CloseIncoming(id, std::move(s));
  }
}

void GrpcRaftTransport::CloseIncoming(uint64_t id, absl::Status why) {
  const auto found = incoming_.find(id);
  if (found == incoming_.end()) return;
  LOG(WARNING) << "closed a Raft stream of controller " << found->second.from
               << ": " << why.message();
  const auto stream = std::move(found->second.stream);
  incoming_.erase(found);
  stream->Close(std::move(why));
}

void GrpcRaftTransport::OnIncomingClosed(uint64_t id) {
  const auto found = incoming_.find(id);
  if (found == incoming_.end()) return;
  const NodeId from = found->second.from;
  incoming_.erase(found);
  if (from == kNoNode) return;
  // A peer that has opened a newer stream already is not gone.
  for (const auto& [other, incoming] : incoming_) {
    if (incoming.from == from && other > id) return;
  }
  events_.on_link_broken(from);
}

}  // namespace sluice
