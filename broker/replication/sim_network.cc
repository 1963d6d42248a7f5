#include "broker/replication/sim_network.h"

#include <algorithm>

namespace sluice {

// Both ends of a stream. Whoever closes it, the other end hears of it, behind
// what was sent before; when it breaks, what is under way is lost.
class SimStream : public std::enable_shared_from_this<SimStream> {
 public:
  template <class In>
  struct End {
    NodeId node;
    Executor* executor = nullptr;
    StreamEvents<In> events;
    int64_t last_us = 0;  // of the latest delivery towards it
    bool gone = false;    // hears nothing any more
  };

  SimStream(SimReplicationNetwork* network, SimWorld* world, NodeId follower,
            NodeId leader)
      : network_(network), world_(world) {
    to_follower.node = follower;
    to_leader.node = leader;
  }

  End<LeaderFrame> to_follower;
  End<FollowerFrame> to_leader;

  bool Joins(NodeId a, NodeId b) const {
    return (to_follower.node == a && to_leader.node == b) ||
           (to_follower.node == b && to_leader.node == a);
  }
  bool Has(NodeId node) const {
    return to_follower.node == node || to_leader.node == node;
  }

  template <class In>
  void Deliver(End<In>& end, In frame) {
    if (!open_ || end.gone) return;
    ++network_->frames_sent_;
    At(end, [self = shared_from_this(), &end,
             frame = std::move(frame)]() mutable {
      if (self->broken_ || end.gone || !end.events.on_frame) return;
      if (end.events.take_at_once && end.events.take_at_once(frame)) return;
      end.events.on_frame(std::move(frame));
    });
  }

  // The end of `by`, if any, hears no more.
  void Close(NodeId by) {
    if (to_follower.node == by) to_follower.gone = true;
    if (to_leader.node == by) to_leader.gone = true;
    if (!open_) return;
    open_ = false;
    Tell(to_follower);
    Tell(to_leader);
    network_->Forget(this);
  }

  void Break(NodeId gone) {
    broken_ = true;
    Close(gone);
  }

  template <class In>
  void At(End<In>& end, Task task) {
    // A leader that has not accepted yet has no executor: nobody to tell.
    if (end.executor == nullptr) return;
    end.last_us = std::max(world_->MonoMicros() + network_->Latency(),
                           end.last_us);
    end.executor->PostAfter(end.last_us - world_->MonoMicros(),
                            std::move(task));
  }

 private:
  template <class In>
  void Tell(End<In>& end) {
    if (end.gone) return;
    At(end, [self = shared_from_this(), &end] {
      if (end.gone) return;
      end.gone = true;
      if (end.events.on_closed) {
        end.events.on_closed(absl::UnavailableError("connection reset"));
      }
    });
  }

  SimReplicationNetwork* const network_;
  SimWorld* const world_;
  bool open_ = true;
  bool broken_ = false;
};

namespace {

class FollowerEnd final : public FollowerStream {
 public:
  explicit FollowerEnd(std::shared_ptr<SimStream> stream)
      : stream_(std::move(stream)) {}
  ~FollowerEnd() override { Close(); }
  void Send(FollowerFrame frame) override {
    stream_->Deliver(stream_->to_leader, std::move(frame));
  }
  void Close() override { stream_->Close(stream_->to_follower.node); }

 private:
  const std::shared_ptr<SimStream> stream_;
};

class LeaderEnd final : public LeaderStream {
 public:
  explicit LeaderEnd(std::shared_ptr<SimStream> stream)
      : stream_(std::move(stream)) {}
  ~LeaderEnd() override { Close(); }
  void Send(LeaderFrame frame) override {
    stream_->Deliver(stream_->to_follower, std::move(frame));
  }
  void Close() override { stream_->Close(stream_->to_leader.node); }

 private:
  const std::shared_ptr<SimStream> stream_;
};

}  // namespace

class SimConnector final : public ReplicationConnector {
 public:
  SimConnector(SimReplicationNetwork* network, NodeId node)
      : network_(network), node_(node) {}
  std::shared_ptr<FollowerStream> Open(
      const api::Endpoint& leader, Executor* executor,
      StreamEvents<LeaderFrame> events) override {
    return network_->Open(node_, leader, executor, std::move(events));
  }

 private:
  SimReplicationNetwork* const network_;
  const NodeId node_;
};

SimReplicationNetwork::SimReplicationNetwork(SimWorld* world,
                                             const Options& options)
    : world_(world), options_(options), random_(options.seed) {}

SimReplicationNetwork::~SimReplicationNetwork() = default;

int64_t SimReplicationNetwork::Latency() {
  return random_.Between(options_.latency_us_min, options_.latency_us_max);
}

std::unique_ptr<ReplicationConnector> SimReplicationNetwork::ConnectorFor(
    NodeId node) {
  return std::make_unique<SimConnector>(this, node);
}

void SimReplicationNetwork::Listen(NodeId node, const api::Endpoint& at,
                                   ReplicationAcceptor* acceptor) {
  listeners_[at] = {node, acceptor};
}

std::shared_ptr<FollowerStream> SimReplicationNetwork::Open(
    NodeId from, const api::Endpoint& to, Executor* executor,
    StreamEvents<LeaderFrame> events) {
  const auto found = listeners_.find(to);
  const bool reachable =
      found != listeners_.end() && !IsCut(from, found->second.node);
  const NodeId leader = found == listeners_.end() ? kNoNode
                                                  : found->second.node;
  auto stream = std::make_shared<SimStream>(this, world_, from, leader);
  stream->to_follower.executor = executor;
  stream->to_follower.events = std::move(events);
  streams_.push_back(stream);
  if (!reachable) {
    stream->Break(kNoNode);
  } else {
    ReplicationAcceptor* acceptor = found->second.acceptor;
    stream->to_leader.executor = acceptor->executor();
    stream->At(stream->to_leader, [stream, acceptor] {
      if (stream->to_leader.gone) return;
      stream->to_leader.events =
          acceptor->Accept(std::make_shared<LeaderEnd>(stream));
    });
  }
  return std::make_shared<FollowerEnd>(stream);
}

void SimReplicationNetwork::Vanish(NodeId node) {
  for (auto it = listeners_.begin(); it != listeners_.end();) {
    it = it->second.node == node ? listeners_.erase(it) : std::next(it);
  }
  const auto streams = streams_;  // closing forgets them
  for (const auto& stream : streams) {
    if (stream->Has(node)) stream->Break(node);
  }
}

void SimReplicationNetwork::Break(NodeId a, NodeId b) {
  const auto streams = streams_;
  for (const auto& stream : streams) {
    if (stream->Joins(a, b)) stream->Break(kNoNode);
  }
}

void SimReplicationNetwork::Cut(NodeId a, NodeId b) {
  cut_.insert(std::minmax(a, b));
  Break(a, b);
}

void SimReplicationNetwork::Heal() { cut_.clear(); }

bool SimReplicationNetwork::IsCut(NodeId a, NodeId b) const {
  return cut_.contains(std::minmax(a, b));
}

void SimReplicationNetwork::Forget(const SimStream* stream) {
  std::erase_if(streams_, [&](const auto& s) { return s.get() == stream; });
}

}  // namespace sluice
