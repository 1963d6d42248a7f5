// What a shard is told of the replication streams that all shards share.
#pragma once

#include <cstdint>
#include <memory>

#include "client/peers/replication_stream.h"
#include "common/base/ids.h"

namespace sluice {

// A stream's number in this process: never reused, so that what belongs to an
// older stream is told apart.
using StreamId = uint64_t;

// One of a follower's two streams towards a leader.
struct LeaderLink {
  NodeId leader;
  StreamKind kind = StreamKind::kMain;

  auto operator<=>(const LeaderLink&) const = default;
};

struct FollowerSession {
  StreamId id = 0;
  NodeId broker_id;
  BrokerEpoch broker_epoch;
  std::shared_ptr<LeaderStream> stream;
  // This shard's part of the stream's credit window: bytes of record batches
  // that may be on their way without an acknowledgement.
  int64_t window_bytes = 0;
  StreamKind kind = StreamKind::kMain;
};

// What a follower was accepted for.
struct Question {
  LeaderEpoch leader_epoch;
  AddNumber number;

  auto operator<=>(const Question&) const = default;
};

// Implemented by a shard; may be called from any thread, takes effect on the
// shard's executor in the order of the calls.
class ReplicationPort {
 public:
  virtual ~ReplicationPort() = default;

  // As follower: a link towards a leader.
  virtual void OnLinkOpen(const LeaderLink& link, StreamId id,
                          std::shared_ptr<FollowerStream> stream) = 0;
  virtual void OnLeaderFrame(const LeaderLink& link, StreamId id,
                             LeaderFrame frame) = 0;
  virtual void OnLinkClosed(const LeaderLink& link, StreamId id) = 0;

  // As leader: the session of a follower.
  virtual void OnSessionOpen(FollowerSession session) = 0;
  virtual void OnFollowerFrame(StreamId session, FollowerFrame frame) = 0;
  virtual void OnSessionClosed(StreamId session) = 0;
};

// Which shard owns a partition; fixed for the life of the process.
class ReplicationPorts {
 public:
  virtual ~ReplicationPorts() = default;
  virtual size_t port_count() const = 0;
  virtual ReplicationPort* port(size_t index) = 0;
  virtual size_t IndexOf(const TopicPartition& tp) const = 0;
};

}  // namespace sluice
