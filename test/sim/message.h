// What travels between the processes of a simulated cluster, as the network
// and its filters see it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/base/ids.h"

namespace sluice::sim {

// A call's request and its reply are two kinds; so are the two directions of a
// stream. Client calls reach a broker's public services, the others the
// internal ones.
#define SLUICE_MESSAGE_KINDS(X)                                              \
  /* Raft, one way each */                                                   \
  X(RaftPreVote) X(RaftPreVoteReply) X(RaftVote) X(RaftVoteReply)            \
  X(RaftAppend) X(RaftAppendReply) X(RaftHeartbeat) X(RaftHeartbeatReply)    \
  X(RaftTimeoutNow) X(RaftObserve) X(BootstrapProbe) X(BootstrapAnswer)      \
  X(BootstrapOffer) X(BootstrapAck)                                          \
  /* a broker's calls to a controller */                                     \
  X(Hello) X(HelloReply) X(RegisterBroker) X(RegisterBrokerReply)            \
  X(ReportReplicas) X(ReportReplicasReply)                                   \
  X(AlterPartitions) X(AlterPartitionsReply)                                 \
  X(AllocateProducerIds) X(AllocateProducerIdsReply)                         \
  X(ForwardCreateTopics) X(ForwardCreateTopicsReply)                         \
  X(ForwardCreatePartitions) X(ForwardCreatePartitionsReply)                 \
  X(EnsureInternalTopic) X(EnsureInternalTopicReply)                         \
  X(ForwardDeleteTopics) X(ForwardDeleteTopicsReply)                         \
  X(ForwardAlterConfigs) X(ForwardAlterConfigsReply)                         \
  X(ForwardElectLeaders) X(ForwardElectLeadersReply)                         \
  X(ForwardDescribeQuorum) X(ForwardDescribeQuorumReply)                     \
  /* its streams to a controller: the first message of each is the call */   \
  X(Liveness) X(LivenessReply) X(FollowMetadata) X(MetadataRecords)          \
  /* replication: follower to leader, leader to follower */                  \
  X(FollowerFrame) X(LeaderFrame)                                            \
  /* a client's calls to a broker */                                         \
  X(ProduceStream) X(ProduceStreamReply)                                     \
  X(Subscribe) X(SubscribeReply) X(WatchMetadata) X(WatchMetadataReply)      \
  X(Consume) X(ConsumeReply)                                                 \
  X(OffsetForLeaderEpoch) X(OffsetForLeaderEpochReply)                       \
  X(Produce) X(ProduceReply) X(Fetch) X(FetchReply)                          \
  X(ListOffsets) X(ListOffsetsReply)                                         \
  X(DeleteRecords) X(DeleteRecordsReply)                                     \
  X(DescribeCluster) X(DescribeClusterReply)                                 \
  X(GetMetadata) X(GetMetadataReply)                                         \
  X(DescribeQuorum) X(DescribeQuorumReply)                                   \
  X(CreateTopics) X(CreateTopicsReply) X(DeleteTopics) X(DeleteTopicsReply)  \
  X(CreatePartitions) X(CreatePartitionsReply)                               \
  X(ListTopics) X(ListTopicsReply) X(DescribeTopics) X(DescribeTopicsReply)  \
  X(DescribeConfigs) X(DescribeConfigsReply)                                 \
  X(AlterConfigs) X(AlterConfigsReply)                                       \
  X(ElectLeaders) X(ElectLeadersReply) X(ResetReplica) X(ResetReplicaReply)  \
  X(InitProducerId) X(InitProducerIdReply)                                   \
  /* a member's or an operator's, or one that a broker hands on */           \
  X(FindCoordinator) X(FindCoordinatorReply)                                 \
  X(JoinGroup) X(JoinGroupReply) X(SyncGroup) X(SyncGroupReply)              \
  X(Heartbeat) X(HeartbeatReply) X(LeaveGroup) X(LeaveGroupReply)            \
  X(CommitOffsets) X(CommitOffsetsReply)                                     \
  X(FetchOffsets) X(FetchOffsetsReply)                                       \
  X(DeleteOffsets) X(DeleteOffsetsReply)                                     \
  X(ListGroups) X(ListGroupsReply) X(DescribeGroups) X(DescribeGroupsReply)  \
  X(DeleteGroups) X(DeleteGroupsReply)                                       \
  /* of any stream; HalfClose: its opener sends no more and listens on; the   \
     end is said by the process or by its kernel */                          \
  X(StreamOpen) X(StreamHalfClose) X(StreamEnd)

enum class MessageKind : uint8_t {
#define X(name) k##name,
  SLUICE_MESSAGE_KINDS(X)
#undef X
};
inline constexpr int kMessageKindCount = 0
#define X(name) +1
    SLUICE_MESSAGE_KINDS(X)
#undef X
    ;

std::string_view NameOf(MessageKind kind);
// The reply's kind of a call. `kind` must be a call's.
inline MessageKind ReplyOf(MessageKind kind) {
  return static_cast<MessageKind>(static_cast<uint8_t>(kind) + 1);
}

struct Message {
  uint64_t sequence = 0;  // in the order sent, from 1
  MessageKind kind = MessageKind::kStreamEnd;
  NodeId from;
  NodeId to;
  uint64_t lane = 0;  // the stream; a unary call is one of its own
  int64_t sent_us = 0;
  // As on the wire: wire.h reads it. "" for a call that was refused.
  std::string_view bytes;
  absl::Status status;  // of a refused call, of a stream's end
};

// One line for people: "#12 AlterPartitions 2->101 {...}".
std::string Describe(const Message& message);

// What becomes of a message that is being sent.
struct Verdict {
  enum class Action {
    kDeliver,
    // Vanishes. A call's caller waits for its deadline; a stream is silent from
    // here on and ends for both when its keepalive has run out. Raft's
    // transport promises less than a stream: the one message is gone.
    kDrop,
    // Vanishes, and the connection under it is reset: both ends hear at once.
    kReset,
    // Kept until SimNetwork::Release. What follows it in its stream waits.
    kHold,
  };
  Action action = Action::kDeliver;
  int64_t delay_us = 0;  // beyond the network's own
  // Calls and Raft's messages: it arrives once more, so much later, as the
  // retry of a client library that had given up does. The answer is nobody's.
  std::optional<int64_t> again_after_us;

  static Verdict Deliver() { return {}; }
  static Verdict Drop() { return {.action = Action::kDrop}; }
  static Verdict Reset() { return {.action = Action::kReset}; }
  static Verdict Hold() { return {.action = Action::kHold}; }
  static Verdict Delay(int64_t us) { return {.delay_us = us}; }
  static Verdict Twice(int64_t after_us) {
    return {.again_after_us = after_us};
  }
};

// nullopt: no opinion; the next filter is asked, at last the network's faults.
using MessageFilter = std::function<std::optional<Verdict>(const Message&)>;

// What became of a message.
enum class Fate { kSent, kDelivered, kDuplicated, kLost, kHeld };
std::string_view NameOf(Fate fate);
using MessageObserver = std::function<void(const Message&, Fate)>;

}  // namespace sluice::sim
