// Replication streams: a follower's way to its leaders.
#include <utility>

#include "test/sim/sim_network.h"
#include "test/sim/sim_pipe.h"

namespace sluice::sim {
namespace {

using FramePipe = SimPipe<FollowerFrame, LeaderFrame>;

class FollowerEnd final : public FollowerStream {
 public:
  explicit FollowerEnd(std::shared_ptr<FramePipe> pipe)
      : half_(std::move(pipe)) {}
  ~FollowerEnd() override { Close(); }
  void Send(FollowerFrame frame) override { half_.Send(std::move(frame)); }
  void Close() override { half_.Close(absl::OkStatus()); }

 private:
  OpenerHalf<FollowerFrame, LeaderFrame> half_;
};

class LeaderEnd final : public LeaderStream {
 public:
  explicit LeaderEnd(std::shared_ptr<FramePipe> pipe)
      : half_(std::move(pipe)) {}
  ~LeaderEnd() override { Close(); }
  void Send(LeaderFrame frame) override { half_.Send(std::move(frame)); }
  void Close() override { half_.Close(absl::OkStatus()); }

 private:
  AcceptorHalf<FollowerFrame, LeaderFrame> half_;
};

template <class Message>
PeerStreamEvents<Message> AsPeerEvents(StreamEvents<Message> events) {
  return {[on_frame = std::move(events.on_frame),
           take_at_once = std::move(events.take_at_once)](
              Message frame) mutable {
            if (take_at_once && take_at_once(frame)) return;
            on_frame(std::move(frame));
          },
          std::move(events.on_closed), nullptr};
}

class SimConnector final : public ReplicationConnector {
 public:
  SimConnector(SimNetwork* network, LifePtr own)
      : network_(network), own_(std::move(own)) {}

  std::shared_ptr<FollowerStream> Open(
      const api::Endpoint& leader, Executor* executor,
      StreamEvents<LeaderFrame> events) override {
    auto pipe = std::make_shared<FramePipe>();
    pipe->network = network_;
    pipe->a_kind = MessageKind::kFollowerFrame;
    pipe->b_kind = MessageKind::kLeaderFrame;
    const LifePtr server = network_->Find(leader);
    if (server == nullptr || server->replication == nullptr) {
      ConnectPipe(pipe, AsPeerEvents(std::move(events)), own_, executor, own_,
                  executor);
      pipe->b_open = false;
      network_->CloseEnd(pipe->stream, Side::kAcceptor);
      executor->PostAfter(network_->Latency(), [pipe] {
        pipe->EndA(absl::UnavailableError("refused"));
      });
      return std::make_shared<FollowerEnd>(pipe);
    }
    ConnectPipe(pipe, AsPeerEvents(std::move(events)), own_, executor, server,
                server->replication->executor());
    network_->Send(pipe->stream, Side::kAcceptor, MessageKind::kStreamOpen, "",
                   [pipe, server](const Parcel&) {
                     pipe->SetAcceptorEvents(
                         AsPeerEvents(server->replication->Accept(
                             std::make_shared<LeaderEnd>(pipe))));
                   });
    return std::make_shared<FollowerEnd>(pipe);
  }

 private:
  SimNetwork* const network_;
  const LifePtr own_;
};

}  // namespace

std::unique_ptr<ReplicationConnector> SimNetwork::MakeConnector(LifePtr own) {
  return std::make_unique<SimConnector>(this, std::move(own));
}

}  // namespace sluice::sim
