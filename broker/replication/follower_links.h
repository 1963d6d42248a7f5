// This broker's streams towards the leaders it follows: up to two per leader
// broker, for all shards (design/replication.md 1; README.md).
#pragma once

#include <map>
#include <memory>

#include "broker/replication/replication_port.h"
#include "client/peers/replication_stream.h"
#include "common/base/random.h"
#include "common/env/executor.h"

namespace sluice {

// Lives on one executor (the replication executor); Want may be called from
// any thread. A link that breaks is reported to every shard; it is opened
// again when a shard wants it again, after 50 to 200 ms.
class FollowerLinks {
 public:
  struct Deps {
    Executor* executor;
    ReplicationConnector* connector;
    ReplicationPorts* ports;
    Random random;
  };

  // Bytes a leader may have on the way to us on one stream.
  static constexpr int64_t kWindowBytes = 8 << 20;
  static constexpr int64_t kCatchUpWindowBytes = 4 << 20;

  explicit FollowerLinks(Deps deps);

  // Who we say we are; before this no link opens. Called again with the new
  // epoch after a new registration: open links are closed.
  void SetIdentity(OpenSession identity);
  void Want(const LeaderLink& wanted, api::Endpoint endpoint);
  // Closes everything; nothing opens afterwards.
  void Stop();

 private:
  struct Link {
    StreamId id = 0;
    std::shared_ptr<FollowerStream> stream;  // null: none open
    api::Endpoint endpoint;
    bool wanted = false;
    bool waiting = false;  // for the backoff
  };

  void Open(const LeaderLink& to);
  void OnFrame(const LeaderLink& from, StreamId id, LeaderFrame frame);
  // Any thread.
  void Route(const LeaderLink& from, StreamId id, LeaderFrame frame) const;
  void OnClosed(const LeaderLink& to, StreamId id, const absl::Status& why);
  void ScheduleOpen(const LeaderLink& to);

  Deps deps_;
  std::optional<OpenSession> identity_;
  std::map<LeaderLink, Link> links_;
  StreamId next_id_ = 1;
  bool stopped_ = false;
};

}  // namespace sluice
