// The replication stream of one ordered broker pair, follower -> leader
// (design/replication.md 1), without a transport. gRPC and the simulator each
// implement it; neither promises more than: frames of one stream arrive in
// order or not at all, and a stream that breaks loses what was in flight.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/peers/frame_stream.h"
#include "common/api/log_api.h"
#include "common/base/buffer.h"
#include "common/base/ids.h"
#include "common/env/executor.h"

namespace sluice {

// Which of the two streams of a pair of brokers: replication.proto.
enum class StreamKind { kMain, kCatchUp };

// Which question of a follower about a partition (replication.proto). What
// belongs to an acceptance echoes that of its question. From 1.
using AddNumber = StrongNumber<struct AddNumberTag, int64_t>;
inline constexpr AddNumber kNoAddNumber{0};  // nothing was asked

struct OpenSession {
  ClusterId cluster_id;
  NodeId broker_id;
  BrokerEpoch broker_epoch;
  IncarnationId incarnation_id;
  NodeId leader_id;
  StreamKind kind = StreamKind::kMain;
};

struct AddReplica {
  TopicPartition tp;
  LeaderEpoch leader_epoch;
  Offset fetch_offset;
  LeaderEpoch last_fetched_epoch = kNoLeaderEpoch;
  AddNumber add_number = kNoAddNumber;
};

struct AckReplica {
  TopicPartition tp;
  LeaderEpoch leader_epoch;
  Offset appended_leo;
  Offset durable_leo;
  AddNumber add_number = kNoAddNumber;
};

struct RemoveReplica {
  TopicPartition tp;
  LeaderEpoch leader_epoch;
  AddNumber add_number = kNoAddNumber;
};

struct FollowerFrame {
  std::optional<OpenSession> open;
  std::vector<AddReplica> adds;
  std::vector<AckReplica> acks;
  std::vector<RemoveReplica> removes;
  int64_t credit_bytes = 0;
};

struct AddAnswer {
  TopicPartition tp;
  LeaderEpoch leader_epoch;
  api::ItemError error;
  Offset log_start_offset = kNoOffset;  // with OFFSET_OUT_OF_RANGE
  bool diverging = false;
  LeaderEpoch diverging_epoch = kNoLeaderEpoch;
  Offset diverging_end_offset = kNoOffset;
  Offset fetch_offset = kNoOffset;
  AddNumber add_number = kNoAddNumber;
};

struct ReplicaData {
  TopicPartition tp;
  LeaderEpoch leader_epoch;
  Buffer batches;
  Offset high_watermark;
  AddNumber add_number = kNoAddNumber;
};

struct HighWatermarkMoved {
  TopicPartition tp;
  LeaderEpoch leader_epoch;
  Offset high_watermark;
  AddNumber add_number = kNoAddNumber;
};

struct ReplicaRemoved {
  TopicPartition tp;
  LeaderEpoch leader_epoch;
  api::ItemError error;
  AddNumber add_number = kNoAddNumber;
};

// All that this stream carries of the replica came before.
struct ReplicaMoved {
  TopicPartition tp;
  LeaderEpoch leader_epoch;
  StreamKind to = StreamKind::kMain;
  AddNumber add_number = kNoAddNumber;
};

struct LeaderFrame {
  api::ItemError refused;  // kNone: not refused
  std::vector<AddAnswer> add_answers;
  std::vector<ReplicaData> data;
  std::vector<HighWatermarkMoved> high_watermarks;
  std::vector<ReplicaRemoved> removed;
  std::vector<ReplicaMoved> moved;
};

using FollowerStream = FrameSender<FollowerFrame>;  // held by the follower
using LeaderStream = FrameSender<LeaderFrame>;      // held by the leader

// The follower's way out.
class ReplicationConnector {
 public:
  virtual ~ReplicationConnector() = default;
  // Never fails at once: a leader that cannot be reached shows as on_closed.
  virtual std::shared_ptr<FollowerStream> Open(
      const api::Endpoint& leader, Executor* executor,
      StreamEvents<LeaderFrame> events) = 0;
};

// The leader's way in: implemented by the broker, called by the edge.
class ReplicationAcceptor {
 public:
  virtual ~ReplicationAcceptor() = default;
  // Where the events of accepted streams must run.
  virtual Executor* executor() = 0;
  // On executor(). The edge then delivers frames to what is returned.
  virtual StreamEvents<FollowerFrame> Accept(
      std::shared_ptr<LeaderStream> stream) = 0;
};

}  // namespace sluice
