// A program that has records pushed to it: it keeps a stream to each broker it
// needs, gives credit, and goes where leaders and metadata send it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/metadata_cache.h"
#include "client/peers/leader_peer.h"
#include "test/sim/sim_cluster.h"
#include "test/sim/subscriber_plan.h"

namespace sluice::sim {

// What subscribers met with, over a run.
struct SubscriberCounts {
  int64_t pushes = 0;
  int64_t from_followers = 0;  // of them
  int64_t sent_nearer = 0;     // a leader named a follower in the rack
  int64_t errors = 0;          // that ended one partition
  int64_t streams_broken = 0;
  int64_t moved = 0;      // by what metadata said
  int64_t out_of_credit = 0;  // the broker had nothing left to push with
  int64_t out_of_range = 0;

  void Add(const SubscriberCounts& other);
};

// Its partitions are read from their start, for ever: where it stands is all it
// remembers. What a broker owes it is checked here, what it was given is judged
// by `on_push`.
class Subscriber {
 public:
  // One push: records from `from` on, in order.
  struct Push {
    NamedPartition tp;
    Offset from;
    const api::FetchResult* result = nullptr;
    // No answer of before then is in it, and it is the leader's word; else -1.
    int64_t began_us = -1;
  };
  struct Deps {
    SimCluster* cluster = nullptr;
    SubscriberPlan plan;
    int number = 0;
    std::vector<NamedPartition> partitions;
    // Returns where to go on.
    std::function<Offset(const Push& push)> on_push;
    // It was told that its position is out of range. Where it goes on from what
    // is there; nullopt: that cannot be.
    std::function<std::optional<Offset>(const NamedPartition& tp,
                                        Offset position)>
        on_out_of_range;
    std::function<void(const std::string& what)> report;
    SubscriberCounts* counts = nullptr;
  };

  static constexpr int64_t kAgainUs = 50'000;
  // After a follower has failed it the leader is read for so long.
  static constexpr int64_t kLeaderUs = 1'000'000;

  explicit Subscriber(Deps deps);
  ~Subscriber();

  void Start();
  // It takes what there is at once from now on, and stays where it is.
  void Hurry();
  // All streams are let go of.
  void Stop();
  Offset position(const NamedPartition& tp) const {
    return places_.at(tp).next;
  }

 private:
  using StreamId = uint64_t;
  struct Place {
    Offset next;
    bool from_start = false;  // what lies below it is passed over
    StreamId stream = 0;  // 0: none
    LeaderEpoch epoch = kNoLeaderEpoch;  // whose leader was asked
    int64_t since_us = 0;                // of this subscription
    int64_t at_leader_until_us = 0;
    bool waits = false;  // for another try
  };
  struct Stream {
    api::Endpoint endpoint;
    bool near = false;  // says its rack: followers may push
    std::shared_ptr<SubscribeSender> sender;
    int64_t credit = 0;    // as given, less what was charged
    int64_t owed = 0;      // to be given
    bool gives = false;    // soon
    // Nothing of what comes was read before then: there was no credit left.
    int64_t credit_since_us = 0;
    bool said = false;  // the first message is sent
    // Whose pushes came while it had left them.
    std::set<NamedPartition> missed;
  };

  void Seek(const NamedPartition& tp);
  void SeekLater(const NamedPartition& tp);
  bool Target(const NamedPartition& tp, Place& place, api::Endpoint& to,
              bool& near);
  void Ask(const NamedPartition& tp, const api::Endpoint& to, bool near,
           Offset from = kNoOffset);
  StreamId StreamTo(const NamedPartition& tp, const api::Endpoint& to,
                    bool near);
  void Leave(const NamedPartition& tp, bool tell);
  void OnMessage(StreamId id, const api::SubscribeResponse& response);
  void OnData(StreamId id, Stream& stream,
              const api::SubscribeResponse& response, const NamedPartition& tp);
  void OnNearer(const NamedPartition& tp, bool asked_for,
                const api::FetchResult& result);
  void OnError(const NamedPartition& tp, bool near,
               const api::FetchResult& result);
  void OnOutOfRange(const NamedPartition& tp);
  void ReadLeader(Place& place);
  void OnClosed(StreamId id, const absl::Status& why);
  void GiveCredit(StreamId id);
  void OnMetadata();
  void BeRestless();

  const Deps deps_;
  const LifePtr life_;
  Random random_;
  std::unique_ptr<Executor> executor_;
  ClientDeps client_deps_;
  ClientOptions options_;
  std::unique_ptr<BrokerConnector> connector_;
  std::unique_ptr<LeaderConnector> streams_to_;
  std::unique_ptr<MetadataCache> metadata_;
  std::shared_ptr<void> observed_;
  std::map<NamedPartition, Place> places_;
  std::map<StreamId, Stream> streams_;
  StreamId next_stream_ = 1;
  NodeId gateway_{1};  // who forwards
  bool stopped_ = false;
  bool hurries_ = false;
};

}  // namespace sluice::sim
