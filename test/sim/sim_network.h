// Calls and streams between the processes of a simulated cluster, through the
// same peer interfaces as gRPC's and with the same codecs: in order on one
// stream, late, or broken. What is lost, late, doubled or held is decided here,
// per message.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "client/peers/broker_peer.h"
#include "client/peers/controller_peer.h"
#include "client/peers/group_peer.h"
#include "client/peers/leader_peer.h"
#include "client/peers/replication_stream.h"
#include "common/base/random.h"
#include "common/env/sim_world.h"
#include "controller/raft_driver/raft_transport.h"
#include "test/sim/client_observer.h"
#include "test/sim/sim_stream.h"

namespace sluice::sim {

// How a link treats messages.
struct LinkQuality {
  int64_t delay_min_us = 100;
  int64_t delay_jitter_us = 300;  // uniform, on top
  int64_t delay_mean_us = 0;      // exponential, on top
  // Of a million messages. Half of the lost reset their connection, half leave
  // it silent.
  int32_t lost_ppm = 0;
  int32_t repeated_ppm = 0;  // calls and Raft's messages
  int64_t repeated_after_us_max = 0;
};

// How a client talks to brokers.
struct BrokerUse {
  ClientObserver* observer = nullptr;  // may be null
  // Above 0: its data calls go to any of the brokers 1..forward_over and ask it
  // to hand on what others lead (Route::kForward). 0: to the leaders.
  int forward_over = 0;
};

// Streams that clients open, and brokers that hand on.
enum class StreamUse { kProduce, kSubscribe, kWatch, kConsume };
inline constexpr int kStreamUseCount = 4;

struct UseCounts {
  int64_t opened = 0;
  int64_t heard = 0;   // messages of brokers
  int64_t broken = 0;  // not by who opened them
};

struct NetworkCounts {
  int64_t sent = 0;
  int64_t delivered = 0;
  int64_t lost = 0;
  int64_t delayed = 0;  // beyond the network's minimum and jitter
  int64_t repeated = 0;
  int64_t held = 0;
  int64_t stalled = 0;            // by a partition
  int64_t reset = 0;              // streams, by a lost message
  int64_t keepalive_expired = 0;  // streams
  std::array<UseCounts, kStreamUseCount> uses{};
};

class SimNetwork {
 public:
  // How long a connection may be silent before both ends give it up: of the
  // control plane and replication, and of a client's data calls
  // (common/rpc/channels.h).
  static constexpr int64_t kKeepaliveUs = 3'000'000;
  static constexpr int64_t kDataKeepaliveUs = 15'000'000;

  SimNetwork(SimWorld* world, uint64_t seed);
  ~SimNetwork();

  // Node n's internal listener is "n<n>:1", its public one "public<n>:1".
  static api::Endpoint EndpointOf(NodeId id);
  static api::Endpoint PublicEndpointOf(NodeId id);

  // ---- Processes ----

  // Its machine is on, its listeners are open.
  void Up(LifePtr life);
  // kKernelLives: its sockets are closed, the other ends hear of it. Else
  // (power, cable) they find out by their keepalive, or when it is back.
  enum class Death { kKernelLives, kSilent };
  void Down(const LifePtr& life, Death death = Death::kKernelLives);
  // It answers nothing, its kernel takes what comes; until Resume.
  void Pause(const LifePtr& life);
  void Resume(const LifePtr& life) { life->hung = false; }
  // Listening; null: refused.
  LifePtr Find(NodeId id) const;
  LifePtr Find(const api::Endpoint& endpoint) const;
  bool powered(NodeId id) const { return !dark_.contains(id); }

  // ---- Links ----

  // Nothing passes from `a` to `b`: what is sent waits until the link is mended
  // or the connection's keepalive has run out.
  void CutOneWay(NodeId a, NodeId b);
  void Cut(NodeId a, NodeId b);
  void Mend(NodeId a, NodeId b);
  void Heal();
  // Exactly these, (from, to); what was cut already stays so since then.
  using Cuts = std::set<std::pair<NodeId, NodeId>>;
  void SetCuts(const Cuts& cuts);
  bool Reaches(NodeId a, NodeId b) const { return !cuts_.contains({a, b}); }
  // Every connection between them is reset: both ends hear at once. So many
  // streams were cut.
  int Reset(NodeId a, NodeId b);
  // Their connections carry nothing any more, which nobody notices until the
  // keepalive runs out. New ones work. The lanes of the streams on them.
  std::set<uint64_t> HalfOpen(NodeId a, NodeId b);
  void SetQuality(const LinkQuality& quality) { quality_ = quality; }
  void SetQuality(NodeId a, NodeId b, const LinkQuality& quality);
  void ClearQuality();

  // ---- Single messages ----

  using FilterId = uint64_t;
  // The newest filter is asked first.
  FilterId AddFilter(MessageFilter filter);
  void RemoveFilter(FilterId id) { filters_.erase(id); }
  // In the order they were sent.
  std::vector<Message> held() const;
  // Delivers it now, though its call or stream may be over by then: the
  // receiver's process gets what a late packet brings.
  void Release(uint64_t sequence);
  void ReleaseAll();
  void DropHeld(uint64_t sequence);
  void AddObserver(MessageObserver observer) {
    observers_.push_back(std::move(observer));
  }
  const NetworkCounts& counts() const { return counts_; }
  UseCounts& use(StreamUse use) {
    return counts_.uses[static_cast<size_t>(use)];
  }

  // ---- What a process is given ----

  std::unique_ptr<ControllerPeer> MakeControllerPeer(LifePtr own, NodeId to,
                                                     Executor* executor);
  std::unique_ptr<ReplicationConnector> MakeConnector(LifePtr own);
  std::unique_ptr<RaftTransport> MakeRaftTransport(LifePtr own,
                                                   std::vector<NodeId> peers);
  std::unique_ptr<BrokerDialer> MakeDialer(LifePtr own);
  // For a client: a life that listens to nothing.
  std::unique_ptr<BrokerConnector> MakeBrokerConnector(LifePtr own,
                                                       BrokerUse use = {});
  // Whether clients may watch metadata; else there are no watches, as with a
  // transport that has none.
  void SetWatches(bool watches) { watches_ = watches; }
  bool watches() const { return watches_; }
  // For a broker: what it hands on.
  std::unique_ptr<LeaderConnector> MakeLeaderConnector(LifePtr own);
  // Calls of groups: a client's, or those that a broker hands on.
  // `forward_over` as in BrokerUse.
  std::unique_ptr<GroupConnector> MakeGroupConnector(LifePtr own,
                                                     int forward_over = 0);

  // ---- What those are made of ----

  struct EndDeps {
    LifePtr life;
    Executor* executor = nullptr;
    SimStream::OnEnd on_end;
  };
  StreamPtr Connect(SimStream::Form form, EndDeps opener, EndDeps acceptor);
  // `deliver` runs on the receiving end's executor. From a process that is no
  // more nothing is sent.
  void Send(const StreamPtr& stream, Side to, MessageKind kind,
            std::string bytes, Delivery deliver,
            absl::Status status = absl::OkStatus());
  // This end hears nothing any more.
  void CloseEnd(const StreamPtr& stream, Side side);

  // Nothing gets through, one way or both.
  bool IsSilent(const SimStream& stream) const;

  SimWorld* world() { return world_; }
  Random& random() { return random_; }
  // Of one message on a good link.
  int64_t Latency();

 private:
  struct Held {
    StreamPtr stream;
    Side to;
    ParcelPtr parcel;
  };

  void Observe(const Message& message, Fate fate);
  Verdict Judge(const Message& message);
  std::optional<Verdict> JudgeByChance(const Message& message,
                                       const LinkQuality& quality);
  const LinkQuality& QualityOf(NodeId a, NodeId b) const;
  void Lose(const StreamPtr& stream, Side to, const ParcelPtr& parcel,
            Verdict::Action action);
  void Repeat(const StreamPtr& stream, Side to, const ParcelPtr& parcel,
              int64_t after_us);
  void Arrive(const StreamPtr& stream, Side to, const ParcelPtr& parcel);
  void Drain(const StreamPtr& stream, Side to);
  void Deliver(const StreamPtr& stream, Side to, const ParcelPtr& parcel);
  void Break(const StreamPtr& stream, const absl::Status& why);
  void EndOne(const StreamPtr& stream, Side side, const absl::Status& why);
  void ForgetIfOver(const StreamPtr& stream);
  // Whether a packet from `a` cannot reach `b` now.
  bool IsBlocked(const SimStream& stream, NodeId a, NodeId b) const;
  void DrainAll();
  void StartKeepalives();
  void CheckKeepalives();
  std::vector<StreamPtr> Between(NodeId a, NodeId b) const;

  SimWorld* const world_;
  Random random_;
  std::unique_ptr<Executor> wire_;
  std::map<NodeId, LifePtr> lives_;
  std::set<NodeId> dark_;  // without power
  std::map<std::pair<NodeId, NodeId>, int64_t> cuts_;  // since when
  LinkQuality quality_;
  std::map<std::pair<NodeId, NodeId>, LinkQuality> qualities_;
  std::map<uint64_t, StreamPtr> streams_;  // until both ends are over
  std::map<FilterId, MessageFilter> filters_;
  std::map<uint64_t, Held> held_;  // by sequence
  std::vector<MessageObserver> observers_;
  NetworkCounts counts_;
  uint64_t next_sequence_ = 1;
  uint64_t next_lane_ = 1;
  FilterId next_filter_ = 1;
  bool watching_ = false;
  bool watches_ = true;
};

}  // namespace sluice::sim
