// Raft's messages, one stream per ordered pair of controllers, and the bare
// connect with which a controller probes a broker.
#include <map>
#include <utility>

#include "test/sim/sim_network.h"
#include "test/sim/wire.h"

namespace sluice::sim {
namespace {

constexpr int64_t kReopenMinUs = 50'000;
constexpr int64_t kReopenMaxUs = 200'000;

MessageKind KindOf(raft::MessageType type) {
  using Type = raft::MessageType;
  switch (type) {
    case Type::kPreVote: return MessageKind::kRaftPreVote;
    case Type::kPreVoteResponse: return MessageKind::kRaftPreVoteReply;
    case Type::kVote: return MessageKind::kRaftVote;
    case Type::kVoteResponse: return MessageKind::kRaftVoteReply;
    case Type::kAppend: return MessageKind::kRaftAppend;
    case Type::kAppendResponse: return MessageKind::kRaftAppendReply;
    case Type::kHeartbeat: return MessageKind::kRaftHeartbeat;
    case Type::kHeartbeatResponse: return MessageKind::kRaftHeartbeatReply;
    case Type::kTimeoutNow: return MessageKind::kRaftTimeoutNow;
    case Type::kObserve: return MessageKind::kRaftObserve;
    case Type::kBootstrapProbe: return MessageKind::kBootstrapProbe;
    case Type::kBootstrapAnswer: return MessageKind::kBootstrapAnswer;
    case Type::kBootstrapOffer: return MessageKind::kBootstrapOffer;
    case Type::kBootstrapAck: return MessageKind::kBootstrapAck;
  }
  INVARIANT(false, "a Raft message of type ", static_cast<int>(type));
}

class SimRaftTransport final : public RaftTransport {
 public:
  SimRaftTransport(SimNetwork* network, LifePtr own, std::vector<NodeId> peers)
      : network_(network), own_(std::move(own)), peers_(std::move(peers)) {}
  ~SimRaftTransport() override { Stop(); }

  void Start(RaftTransportEvents events) override {
    events_ = std::move(events);
    own_->raft = &events_;
    for (const NodeId peer : peers_) {
      if (peer != own_->id) Open(peer);
    }
  }
  void Stop() override {
    if (own_->raft == &events_) own_->raft = nullptr;
    for (auto& [peer, link] : std::exchange(links_, {})) {
      if (link.timer != 0) own_->controller_executor->Cancel(link.timer);
      if (link.stream != nullptr) {
        network_->CloseEnd(link.stream, Side::kOpener);
      }
    }
  }
  void Send(NodeId to, raft::Message message) override {
    const auto link = links_.find(to);
    if (link == links_.end() || !link->second.up) return;
    const LifePtr peer = link->second.stream->ends[1].life;
    const MessageKind kind = KindOf(message.type);
    network_->Send(link->second.stream, Side::kAcceptor, kind,
                   Wire<raft::Message>::Encode(std::move(message)),
                   [network = network_, stream = link->second.stream,
                    peer](const Parcel& parcel) {
                     if (peer->raft == nullptr) return;
                     const absl::Status taken = peer->raft->on_message(
                         Wire<raft::Message>::Decode(parcel.bytes));
                     if (!taken.ok()) Refuse(network, stream, taken);
                   });
  }

 private:
  struct Link {
    StreamPtr stream;
    TimerId timer = 0;
    bool up = false;
  };

  // At the acceptor: the sender is none of its own, or talks nonsense.
  static void Refuse(SimNetwork* network, const StreamPtr& stream,
                     const absl::Status& why) {
    network->Send(stream, Side::kOpener, MessageKind::kStreamEnd, "",
                  [network, stream, why](const Parcel&) {
                    const auto on_end = stream->end(Side::kOpener).on_end;
                    network->CloseEnd(stream, Side::kOpener);
                    if (on_end) on_end(why);
                  });
    network->CloseEnd(stream, Side::kAcceptor);
  }

  void Open(NodeId to) {
    Link& link = links_[to];
    link.timer = 0;
    const LifePtr peer = network_->Find(to);
    if (peer == nullptr || peer->raft == nullptr) return OpenLater(to);
    const StreamPtr stream = network_->Connect(
        SimStream::Form::kLossy,
        {own_, own_->controller_executor,
         [this, to](const absl::Status&) { OnEnd(to); }},
        {peer, peer->controller_executor,
         nullptr});
    stream->ends[1].on_end = [peer, from = own_->id,
                              lane = stream->lane](const absl::Status&) {
      // One that has opened a newer stream already is not gone.
      if (peer->raft != nullptr && peer->raft_lanes[from] == lane) {
        peer->raft->on_link_broken(from);
      }
    };
    link.stream = stream;
    network_->Send(stream, Side::kAcceptor, MessageKind::kStreamOpen, "",
                   [this, network = network_, stream, peer,
                    from = own_->id](const Parcel&) {
                     peer->raft_lanes[from] = stream->lane;
                     network->Send(stream, Side::kOpener,
                                   MessageKind::kStreamOpen, "",
                                   [this, stream](const Parcel&) {
                                     OnOpen(stream);
                                   });
                   });
  }
  void OpenLater(NodeId to) {
    links_[to].timer = own_->controller_executor->PostAfter(
        network_->random().Between(kReopenMinUs, kReopenMaxUs),
        [this, to] { Open(to); });
  }
  // Runs only while this lives: its stream's end is closed by Stop().
  void OnOpen(const StreamPtr& stream) {
    const NodeId to = stream->ends[1].life->id;
    const auto link = links_.find(to);
    if (link == links_.end() || link->second.stream != stream) return;
    link->second.up = true;
    events_.on_link_up(to);
  }
  void OnEnd(NodeId to) {
    Link& link = links_[to];
    link.stream = nullptr;
    const bool was_up = std::exchange(link.up, false);
    OpenLater(to);
    if (was_up) events_.on_link_broken(to);
  }

  SimNetwork* const network_;
  const LifePtr own_;
  const std::vector<NodeId> peers_;
  RaftTransportEvents events_;
  std::map<NodeId, Link> links_;
};

class SimDialer final : public BrokerDialer {
 public:
  SimDialer(SimNetwork* network, LifePtr own)
      : network_(network), own_(std::move(own)) {}

  void Dial(const api::Endpoint& endpoint, int64_t timeout_us,
            Executor* executor,
            absl::AnyInvocable<void(DialResult)> reply) override {
    const NodeId to(std::stoi(endpoint.host.substr(1)));
    const bool reaches = network_->powered(to) &&
                         network_->Reaches(own_->id, to) &&
                         network_->Reaches(to, own_->id);
    DialResult result = DialResult::kNoAnswer;
    if (reaches) {
      // The kernel of a process that stands still takes the connection.
      result = network_->Find(to) == nullptr ? DialResult::kRefused
                                             : DialResult::kConnected;
    }
    const int64_t after_us =
        reaches ? 2 * network_->Latency() : timeout_us;
    executor->PostAfter(after_us,
                        [result, reply = std::move(reply)]() mutable {
                          reply(result);
                        });
  }

 private:
  SimNetwork* const network_;
  const LifePtr own_;
};

}  // namespace

std::unique_ptr<RaftTransport> SimNetwork::MakeRaftTransport(
    LifePtr own, std::vector<NodeId> peers) {
  return std::make_unique<SimRaftTransport>(this, std::move(own),
                                            std::move(peers));
}

std::unique_ptr<BrokerDialer> SimNetwork::MakeDialer(LifePtr own) {
  return std::make_unique<SimDialer>(this, std::move(own));
}

}  // namespace sluice::sim
