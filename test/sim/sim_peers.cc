#include <optional>
#include <utility>

#include "common/base/error.h"
#include "test/sim/sim_call.h"
#include "test/sim/sim_network.h"

namespace sluice::sim {
namespace {

// Two ends of a stream, A's messages and B's.
template <class A, class B>
struct SimPipe {
  SimNetwork* network = nullptr;
  LifePtr a_life;
  LifePtr b_life;
  Executor* a_executor = nullptr;
  Executor* b_executor = nullptr;
  PeerStreamEvents<B> a_events;  // what A hears
  PeerStreamEvents<A> b_events;
  std::shared_ptr<Lane> to_a = std::make_shared<Lane>();
  std::shared_ptr<Lane> to_b = std::make_shared<Lane>();
  bool a_open = true;
  bool b_open = true;
  SimNetwork::BreakId break_id = 0;

  void CloseA(absl::Status why) {
    if (!std::exchange(a_open, false)) return;
    if (a_events.on_closed) a_events.on_closed(std::move(why));
  }
  void CloseB(absl::Status why) {
    if (!std::exchange(b_open, false)) return;
    if (b_events.on_closed) b_events.on_closed(std::move(why));
  }
};

template <class A, class B>
class EndA final : public PeerStream<A> {
 public:
  explicit EndA(std::shared_ptr<SimPipe<A, B>> pipe) : pipe_(std::move(pipe)) {}
  ~EndA() override { Close(absl::CancelledError("gone")); }
  void Send(const A& message) override {
    if (!pipe_->a_open) return;
    pipe_->network->Carry(pipe_->a_life, pipe_->b_life, pipe_->b_executor,
                          pipe_->to_b, [pipe = pipe_, message] {
                            if (!pipe->b_open) return;
                            if (pipe->b_events.on_message) {
                              pipe->b_events.on_message(message);
                            }
                          });
    pipe_->a_executor->PostAfter(100, [pipe = pipe_] {
      if (pipe->a_open && pipe->a_events.on_drained) pipe->a_events.on_drained();
    });
  }
  void Close(absl::Status why) override {
    if (!std::exchange(pipe_->a_open, false)) return;
    pipe_->network->Carry(pipe_->a_life, pipe_->b_life, pipe_->b_executor,
                          pipe_->to_b,
                          [pipe = pipe_, why] { pipe->CloseB(why); });
  }

 private:
  std::shared_ptr<SimPipe<A, B>> pipe_;
};

template <class A, class B>
class EndB final : public PeerStream<B> {
 public:
  explicit EndB(std::shared_ptr<SimPipe<A, B>> pipe) : pipe_(std::move(pipe)) {}
  ~EndB() override { Close(absl::CancelledError("gone")); }
  void Send(const B& message) override {
    if (!pipe_->b_open) return;
    pipe_->network->Carry(pipe_->b_life, pipe_->a_life, pipe_->a_executor,
                          pipe_->to_a, [pipe = pipe_, message] {
                            if (!pipe->a_open) return;
                            if (pipe->a_events.on_message) {
                              pipe->a_events.on_message(message);
                            }
                          });
    pipe_->b_executor->PostAfter(100, [pipe = pipe_] {
      if (pipe->b_open && pipe->b_events.on_drained) pipe->b_events.on_drained();
    });
  }
  void Close(absl::Status why) override {
    if (!std::exchange(pipe_->b_open, false)) return;
    pipe_->network->Carry(pipe_->b_life, pipe_->a_life, pipe_->a_executor,
                          pipe_->to_a,
                          [pipe = pipe_, why] { pipe->CloseA(why); });
  }

 private:
  std::shared_ptr<SimPipe<A, B>> pipe_;
};

class SimControllerPeer final : public ControllerPeer {
 public:
  SimControllerPeer(SimNetwork* network, LifePtr own, NodeId to,
                    Executor* executor)
      : network_(network), own_(std::move(own)), to_(to), executor_(executor) {}

  NodeId id() const override { return to_; }

#define CALL(Method, Request, Response)                                       \
  void Method(const Request& request, int64_t timeout_us,                     \
              PeerReply<Response> reply) override {                           \
    std::make_shared<SimCall<Response>>(network_, own_, executor_,            \
                                        std::move(reply))                     \
        ->Start(                                                              \
            to_, timeout_us,                                                  \
            [](const Life& life) {                                            \
              return life.controller == nullptr ? nullptr                     \
                                                : life.controller_executor;   \
            },                                                                \
            [request](const Life& life, PeerReply<Response> answer) {         \
              life.controller->Method(request, std::move(answer));            \
            });                                                               \
  }
  CALL(Hello, internal::v1::HelloRequest, internal::v1::HelloResponse)
  CALL(RegisterBroker, internal::v1::RegisterBrokerRequest,
       internal::v1::RegisterBrokerResponse)
  CALL(ReportReplicas, internal::v1::ReportReplicasRequest,
       internal::v1::ReportReplicasResponse)
  CALL(AlterPartitions, internal::v1::AlterPartitionsRequest,
       internal::v1::AlterPartitionsResponse)
  CALL(CreateTopics, v1::CreateTopicsRequest, v1::CreateTopicsResponse)
  CALL(DeleteTopics, v1::DeleteTopicsRequest, v1::DeleteTopicsResponse)
  CALL(DescribeQuorum, v1::DescribeQuorumRequest, v1::DescribeQuorumResponse)
#undef CALL

  std::shared_ptr<LivenessStream> OpenLiveness(
      PeerStreamEvents<internal::v1::LivenessResponse> events) override {
    return Open<internal::v1::LivenessRequest>(
        std::move(events), [](ControllerApi* api, auto stream) {
          return api->AcceptLiveness(std::move(stream));
        });
  }
  std::shared_ptr<MetadataStream> FollowMetadata(
      const internal::v1::FollowMetadataRequest& request,
      PeerStreamEvents<internal::v1::FollowMetadataResponse> events) override {
    return Open<internal::v1::FollowMetadataRequest>(
        std::move(events), [request](ControllerApi* api, auto stream) {
          return api->AcceptMetadataFollower(request, std::move(stream));
        });
  }

 private:
  template <class A, class B, class Accept>
  std::shared_ptr<PeerStream<A>> Open(PeerStreamEvents<B> events,
                                      Accept accept) {
    auto pipe = std::make_shared<SimPipe<A, B>>();
    pipe->network = network_;
    pipe->a_life = own_;
    pipe->a_executor = executor_;
    pipe->a_events = std::move(events);
    const LifePtr server = network_->Find(to_);
    const auto stream = std::make_shared<EndA<A, B>>(pipe);
    if (server == nullptr || server->controller == nullptr) {
      pipe->b_life = own_;  // nobody
      pipe->b_executor = executor_;
      pipe->b_open = false;
      executor_->PostAfter(network_->Latency(), [pipe, to = to_] {
        pipe->CloseA(Unreachable(to));
      });
      return stream;
    }
    pipe->b_life = server;
    pipe->b_executor = server->controller_executor;
    const auto broken = [held = std::weak_ptr(pipe), to = to_] {
      const auto pipe = held.lock();
      if (pipe == nullptr) return;
      if (pipe->a_life->alive) {
        pipe->a_executor->PostAfter(
            200, [pipe, to] { pipe->CloseA(Unreachable(to)); });
      }
      if (pipe->b_life->alive) {
        pipe->b_executor->PostAfter(200, [pipe] {
          pipe->CloseB(absl::UnavailableError("the broker is gone"));
        });
      }
    };
    network_->OnBreak(own_, server, broken);
    pipe->to_a->on_lost = broken;
    pipe->to_b->on_lost = broken;
    network_->Carry(own_, server, server->controller_executor, pipe->to_b,
                    [pipe, server, accept = std::move(accept)] {
                      pipe->b_events = accept(
                          server->controller,
                          std::make_shared<EndB<A, B>>(pipe));
                    });
    return stream;
  }

  SimNetwork* const network_;
  const LifePtr own_;
  const NodeId to_;
  Executor* const executor_;
};

// A replication stream: the same, with frames that are moved.
struct FramePipe {
  SimNetwork* network = nullptr;
  LifePtr follower;
  LifePtr leader;
  Executor* follower_executor = nullptr;
  Executor* leader_executor = nullptr;
  StreamEvents<LeaderFrame> follower_events;
  StreamEvents<FollowerFrame> leader_events;
  std::shared_ptr<Lane> to_follower = std::make_shared<Lane>();
  std::shared_ptr<Lane> to_leader = std::make_shared<Lane>();
  bool follower_open = true;
  bool leader_open = true;

  void CloseFollower(const absl::Status& why) {
    if (!std::exchange(follower_open, false)) return;
    follower_events.on_closed(why);
  }
  void CloseLeader(const absl::Status& why) {
    if (!std::exchange(leader_open, false)) return;
    if (leader_events.on_closed) leader_events.on_closed(why);
  }
};
using FramePipePtr = std::shared_ptr<FramePipe>;

class FollowerEnd final : public FollowerStream {
 public:
  explicit FollowerEnd(FramePipePtr pipe) : pipe_(std::move(pipe)) {}
  ~FollowerEnd() override { Close(); }
  void Send(FollowerFrame frame) override {
    if (!pipe_->follower_open) return;
    pipe_->network->Carry(
        pipe_->follower, pipe_->leader, pipe_->leader_executor,
        pipe_->to_leader,
        [pipe = pipe_, frame = std::move(frame)]() mutable {
          if (pipe->leader_open && pipe->leader_events.on_frame) {
            pipe->leader_events.on_frame(std::move(frame));
          }
        });
  }
  void Close() override {
    if (!std::exchange(pipe_->follower_open, false)) return;
    pipe_->network->Carry(
        pipe_->follower, pipe_->leader, pipe_->leader_executor,
        pipe_->to_leader,
        [pipe = pipe_] { pipe->CloseLeader(absl::OkStatus()); });
  }

 private:
  const FramePipePtr pipe_;
};

class LeaderEnd final : public LeaderStream {
 public:
  explicit LeaderEnd(FramePipePtr pipe) : pipe_(std::move(pipe)) {}
  ~LeaderEnd() override { Close(); }
  void Send(LeaderFrame frame) override {
    if (!pipe_->leader_open) return;
    pipe_->network->Carry(
        pipe_->leader, pipe_->follower, pipe_->follower_executor,
        pipe_->to_follower,
        [pipe = pipe_, frame = std::move(frame)]() mutable {
          if (pipe->follower_open) {
            pipe->follower_events.on_frame(std::move(frame));
          }
        });
  }
  void Close() override {
    if (!std::exchange(pipe_->leader_open, false)) return;
    pipe_->network->Carry(
        pipe_->leader, pipe_->follower, pipe_->follower_executor,
        pipe_->to_follower,
        [pipe = pipe_] { pipe->CloseFollower(absl::OkStatus()); });
  }

 private:
  const FramePipePtr pipe_;
};

class SimConnector final : public ReplicationConnector {
 public:
  SimConnector(SimNetwork* network, LifePtr own)
      : network_(network), own_(std::move(own)) {}

  std::shared_ptr<FollowerStream> Open(
      const api::Endpoint& leader, Executor* executor,
      StreamEvents<LeaderFrame> events) override {
    auto pipe = std::make_shared<FramePipe>();
    pipe->network = network_;
    pipe->follower = own_;
    pipe->follower_executor = executor;
    pipe->follower_events = std::move(events);
    const LifePtr server = network_->Find(leader);
    if (server == nullptr || server->replication == nullptr) {
      pipe->leader = own_;
      pipe->leader_executor = executor;
      pipe->leader_open = false;
      executor->PostAfter(network_->Latency(), [pipe] {
        pipe->CloseFollower(absl::UnavailableError("refused"));
      });
      return std::make_shared<FollowerEnd>(pipe);
    }
    pipe->leader = server;
    pipe->leader_executor = server->replication->executor();
    const auto broken = [held = std::weak_ptr(pipe)] {
      const FramePipePtr pipe = held.lock();
      if (pipe == nullptr) return;
      const absl::Status why = absl::UnavailableError("the other end is gone");
      if (pipe->follower->alive) {
        pipe->follower_executor->PostAfter(
            200, [pipe, why] { pipe->CloseFollower(why); });
      }
      if (pipe->leader->alive) {
        pipe->leader_executor->PostAfter(
            200, [pipe, why] { pipe->CloseLeader(why); });
      }
    };
    network_->OnBreak(own_, server, broken);
    pipe->to_follower->on_lost = broken;
    pipe->to_leader->on_lost = broken;
    network_->Carry(own_, server, pipe->leader_executor, pipe->to_leader,
                    [pipe, server] {
                      pipe->leader_events = server->replication->Accept(
                          std::make_shared<LeaderEnd>(pipe));
                    });
    return std::make_shared<FollowerEnd>(pipe);
  }

 private:
  SimNetwork* const network_;
  const LifePtr own_;
};

class SimRaftTransport final : public RaftTransport {
 public:
  SimRaftTransport(SimNetwork* network, LifePtr own)
      : network_(network), own_(std::move(own)) {}

  void Start(RaftTransportEvents events) override {
    events_ = std::move(events);
    own_->raft = &events_;
    network_->Up(own_);
  }
  void Stop() override {
    if (own_->raft == &events_) own_->raft = nullptr;
  }
  void Send(NodeId to, raft::Message message) override {
    const LifePtr peer = network_->Find(to);
    if (peer == nullptr || peer->raft == nullptr) return;
    network_->Carry(own_, peer, peer->controller_executor, nullptr,
                    [peer, message = std::move(message)]() mutable {
                      if (peer->raft == nullptr) return;
                      (void)peer->raft->on_message(std::move(message));
                    });
  }

 private:
  SimNetwork* const network_;
  const LifePtr own_;
  RaftTransportEvents events_;
};

class SimDialer final : public BrokerDialer {
 public:
  SimDialer(SimNetwork* network, LifePtr own)
      : network_(network), own_(std::move(own)) {}

  void Dial(const api::Endpoint& endpoint, int64_t timeout_us,
            Executor* executor,
            absl::AnyInvocable<void(DialResult)> reply) override {
    const LifePtr found = network_->Find(endpoint);
    DialResult result = DialResult::kRefused;
    if (found != nullptr) {
      const bool answers =
          !found->hung && network_->Reaches(own_->id, found->id);
      result = answers ? DialResult::kConnected : DialResult::kNoAnswer;
    }
    const int64_t after_us =
        result == DialResult::kNoAnswer ? timeout_us : network_->Latency();
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

std::unique_ptr<ControllerPeer> SimNetwork::MakeControllerPeer(
    LifePtr own, NodeId to, Executor* executor) {
  return std::make_unique<SimControllerPeer>(this, std::move(own), to,
                                             executor);
}

std::unique_ptr<ReplicationConnector> SimNetwork::MakeConnector(LifePtr own) {
  return std::make_unique<SimConnector>(this, std::move(own));
}

std::unique_ptr<RaftTransport> SimNetwork::MakeRaftTransport(LifePtr own) {
  return std::make_unique<SimRaftTransport>(this, std::move(own));
}

std::unique_ptr<BrokerDialer> SimNetwork::MakeDialer(LifePtr own) {
  return std::make_unique<SimDialer>(this, std::move(own));
}

}  // namespace sluice::sim
