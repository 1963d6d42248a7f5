// What every partition of a shard shares. Everything here outlives them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "broker/log_directory.h"
#include "broker/replica_host.h"
#include "broker/replica_observer.h"
#include "broker/replication/catch_up_throttle.h"
#include "broker/replication/follower_links.h"
#include "broker/replication/line_pacer.h"
#include "broker/replication/replica_shipper.h"
#include "broker/shard_counters.h"
#include "common/api/log_api.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "controller/metadata/image.h"

namespace sluice {

struct ShardContext {
  // What the owner of the shards gives.
  struct Deps {
    NodeId self;
    Executor* executor = nullptr;
    Clock* clock = nullptr;
    FileSystem* fs = nullptr;
    // Cold reads; its thread may wait for a disk.
    Executor* io_executor = nullptr;
    // Decompresses what producers send, to validate it.
    Executor* worker_executor = nullptr;
    FollowerLinks* links = nullptr;
    IsrProposals* isr_proposals = nullptr;
    LogStartRecords* log_starts = nullptr;
    ReplicaFailures* failures = nullptr;  // may be null
    ReplicaObservers* observers = nullptr;  // may be null
    // A disk that cannot be trusted any more: ends the process. Nothing that
    // was not acknowledged before is acknowledged afterwards.
    std::function<void(absl::Status)> on_fatal;
  };

  Deps deps;
  // The newest; null before the first.
  std::shared_ptr<const MetadataImage> image;

  // ---- Streams, by the shard ----
  std::map<StreamId, std::unique_ptr<ReplicaShipper>> sessions;
  std::map<std::pair<NodeId, StreamKind>, StreamId> session_of;
  struct Link {
    StreamId id = 0;
    std::shared_ptr<FollowerStream> stream;
  };
  std::map<LeaderLink, Link> links_open;
  AddNumber last_add_number = kNoAddNumber;
  std::set<LeaderLink> links_wanted;  // asked for since the last tick
  // Frames to leaders, sent together at the end of the turn.
  std::map<LeaderLink, FollowerFrame> outgoing;
  std::function<void()> flush_outgoing_soon;
  // What this shard sends on catch-up streams.
  CatchUpThrottle catch_up;

  ShardCounters counters;
  LinePacer refused_data;    // of leaders
  LinePacer silent_leaders;
  LinePacer refused_appends;  // of clients

  // What comes of it by `link`, of the acceptance that `question` asked for, is
  // not taken here: the leader shall stop, and have back the credit that those
  // bytes hold.
  void SendRemove(const LeaderLink& link, const TopicPartition& tp,
                  const Question& question);
  // For the next question to a leader, about whichever partition: a replica that
  // goes away and comes back must not ask twice by one number.
  AddNumber NextAddNumber() { return last_add_number = last_add_number.Next(); }

  // Null when the broker has no session of that kind here.
  ReplicaShipper* ShipperOf(NodeId broker, StreamKind kind) const;
  // The link is open, or asked for; false: there is no address for it.
  bool WantLink(const LeaderLink& link);
  // As the newest image has it; nullopt: the broker or its listener is
  // unknown.
  std::optional<api::Endpoint> EndpointOf(NodeId broker,
                                          std::string_view listener) const;
  // A hint without an endpoint when the leader is not known or nobody leads.
  api::LeaderHint HintTo(NodeId leader, LeaderEpoch epoch) const;
};

}  // namespace sluice
