// What a stream of GroupService.Consume is told, and what it wants done. Plain
// facts: nothing here refers to a call, a clock or a thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/group/membership_types.h"
#include "common/base/ids.h"
#include "sluice/v1/group.pb.h"

namespace sluice::consume {

using consumer::NamedPartition;
using membership::CallId;
using membership::Partitions;

// Where reading begins.
enum class Edge { kEarliest, kLatest };
using Start = std::variant<Edge, Offset>;
// An offset is one of that topic alone, where it is known of which; the epoch is
// that of the record before it, as a client committed it.
struct Place {
  Start start = Edge::kEarliest;
  LeaderEpoch leader_epoch = kNoLeaderEpoch;
  TopicId topic_id;
};
// Which topics have these names, when they were looked at.
using TopicIds = std::map<std::string, TopicId>;

// ---- From the client ----

// Of topics that are named by id.
using TopicNames = std::map<TopicPartition, std::string>;
// What it seeks by id is by name here, if it is known.
struct ClientSaid {
  v1::ConsumeRequest message;
  // Of what it acknowledges by id: the topics whose records it was pushed last
  // there. An id that is not among them is another topic's.
  TopicNames names;
};
struct HalfClosed {};
// The connection is gone. Nothing can be pushed any more.
struct Broken {};

// ---- From this broker ----

// It stops, and is there for so long; another one to go to, if one is known.
struct BrokerStops {
  std::optional<v1::Endpoint> elsewhere;
  int64_t patience_us = 0;
};
// A newer stream on this broker has the membership.
struct TakenOver {};
// How many partitions the topics have that are known; after each change.
using membership::CountsChanged;
// The answer to LookUpTopics, of what is known now.
using membership::TopicsFound;
// At NextWakeUs or later.
struct Tick {};

// ---- From the coordinator; each answers a call, once ----

using membership::HeartbeatAnswered;
using membership::Joined;
using membership::LeaveAnswered;
using membership::Synced;
struct CommitAnswered {
  CallId call = 0;
  absl::StatusOr<v1::CommitOffsetsResponse> answer;
};
struct OffsetsFetched {
  CallId call = 0;
  absl::StatusOr<v1::GroupOffsets> answer;  // by name
  TopicIds topics;                          // that it was asked of
};

// ---- From the leaders of partitions ----

// The answer to ListOffsets; kNoOffset: no such record.
struct OffsetsListed {
  CallId call = 0;
  absl::StatusOr<std::map<NamedPartition, Offset>> answer;
};
// Records of a partition that is being read; whoever tells this keeps them
// until the actions are carried out.
struct Read {
  NamedPartition tp;
  Offset next;  // behind them
  LeaderEpoch leader_epoch = kNoLeaderEpoch;
  int64_t bytes = 0;
};
// It is not read any more.
struct ReadingEnded {
  NamedPartition tp;
  absl::Status why;
};

// Its log was cut below where reading was to begin: an election took back what
// lay there (KIP-320).
struct LogCut {
  NamedPartition tp;
  Offset stood;  // read or committed up to here
  Offset to;     // where the histories part
  LeaderEpoch leader_epoch = kNoLeaderEpoch;  // of the record before that
};

using Event =
    std::variant<ClientSaid, HalfClosed, Broken, BrokerStops, TakenOver,
                 CountsChanged, TopicsFound, Tick, HeartbeatAnswered, Joined,
                 LeaveAnswered, Synced, CommitAnswered, OffsetsFetched,
                 OffsetsListed, Read, ReadingEnded, LogCut>;

// ---- To the coordinator, and about topics ----

using membership::LookUpTopics;
using membership::SendHeartbeat;
using membership::SendJoin;
using membership::SendLeave;
using membership::SendSync;
struct SendCommit {
  CallId call = 0;
  v1::CommitOffsetsRequest request;
  // Of what was pushed (or sought), so of the topics that it came from; else
  // where a topic begins that nobody has read.
  bool of_records = true;
};
struct SendFetchOffsets {
  CallId call = 0;
  v1::GroupOffsetsQuery query;
};

// ---- To the leaders ----

// At the end or, with back_ms, of the first record of so long ago or later.
struct ListOffsets {
  CallId call = 0;
  std::vector<NamedPartition> partitions;
  std::optional<int64_t> back_ms;
  TopicIds topics;  // of these, and of no other of that name
};
struct StartReading {
  NamedPartition tp;
  Start start;
  LeaderEpoch leader_epoch = kNoLeaderEpoch;  // as of Place
  TopicId topic_id;
};
// Also of what waits to be read again.
struct StopReading {
  NamedPartition tp;
};
// So many bytes more may be read.
struct GrantReading {
  int64_t bytes = 0;
};

// ---- To the client ----

// The records of the Read that is being answered. Without this they are not
// pushed.
struct PushRecords {};
struct Push {
  v1::ConsumeResponse message;
};
// The last action: the stream ends.
struct Finish {
  absl::Status status;
};

using Action =
    std::variant<LookUpTopics, SendJoin, SendSync, SendHeartbeat, SendLeave,
                 SendCommit, SendFetchOffsets, ListOffsets, StartReading,
                 StopReading, GrantReading, PushRecords, Push, Finish>;

}  // namespace sluice::consume
