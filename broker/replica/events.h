// What a replica core can be told. Plain facts with their time; nothing here
// refers to a file, a stream or a clock.
#pragma once

#include <cstdint>
#include <map>
#include <variant>
#include <vector>

#include "common/base/epoch_history.h"
#include "common/base/error.h"
#include "common/base/ids.h"

namespace sluice::replica {

// ---- From the metadata ----

// A broker as the controller has it registered.
struct Standing {
  BrokerEpoch epoch = kNoBrokerEpoch;
  bool active = false;  // neither fenced nor stopping
  // A gray failure: it counts only where there are too few without it.
  bool demoted = false;

  bool operator==(const Standing&) const = default;
};

// The partition's committed state, or that of one of its brokers, changed.
// A state older than the newest one told is dropped (MD2). Told only from the
// broker's own registration on (Rule T3).
struct MetadataChanged {
  NodeId leader = kNoNode;
  LeaderEpoch leader_epoch = kNoLeaderEpoch;
  PartitionEpoch partition_epoch;
  std::vector<NodeId> replicas;
  std::vector<NodeId> isr;
  int min_isr = 1;
  bool durable = true;  // durability=disk: positions count once fsynced
  LeaderEpoch last_unclean_leader_epoch = kNoLeaderEpoch;
  std::map<NodeId, Standing> standing;  // of the replicas that are registered
  int64_t now_us = 0;
  // Electable though out of the ISR, verified or not.
  std::vector<NodeId> elr;
  // With durable: what is acknowledged may still be in memory alone, from
  // before it was that.
  bool durability_settling = false;
  // Where the partition's log begins since the last trim.
  Offset log_start{0};
  // A batch of the own log begins there; false too where nobody looked, as it
  // matters only to who begins to lead, with more and less than that.
  bool log_start_in_log = false;
};

// The answer to a ProposeIsr; one for each, or none once a newer metadata
// state made the question void.
struct IsrAnswer {
  enum class Outcome {
    kApplied,     // the metadata follows, or has come already
    kNotApplied,  // refused before any effect, and no copy of the question can
                  // take effect any more: the only answer that reverts (RP15)
    kStale,       // newer metadata is on its way
    kUnknown,     // may or may not be applied, now or later: stays pending
  };
  Outcome outcome = Outcome::kUnknown;
  // Of the proposal that is answered. The answer to an older one may come when
  // the next is under way, for which it says nothing.
  LeaderEpoch leader_epoch;
  PartitionEpoch partition_epoch;
  PartitionEpoch applied_epoch;  // kApplied: the partition's with it
};

// ---- From the own log ----

// The log grew to `leo`; in a follower's log `started` are the epochs that
// began with it. Only after a CheckProduce that was OK (leader) or an
// AppendData (follower).
struct Appended {
  Offset leo;
  std::vector<EpochStart> started;
  int64_t now_us = 0;
};

// All below `durable_leo` survives a power cut.
struct Flushed {
  Offset durable_leo;
  int64_t now_us = 0;
};

// PersistEpochStart is durable.
struct EpochStartPersisted {
  LeaderEpoch epoch;
  int64_t now_us = 0;
};

// TruncateTo or ResetTo is durable, the marks too; `leo` is where the log ends
// now: the batch boundary at or below the target.
struct TruncateDone {
  Offset leo;
};

// ---- Time ----

// Every 100 ms or so: lag, repeated questions.
struct Tick {
  int64_t now_us = 0;
};

// ---- As leader: from followers. Remote input, validated here ----

struct FollowerAdd {
  NodeId broker;
  BrokerEpoch broker_epoch;  // of the session it came by
  LeaderEpoch leader_epoch;
  Offset fetch_offset;             // the follower's LEO
  LeaderEpoch last_fetched_epoch;  // of its last record; none: -1
};

struct FollowerAck {
  NodeId broker;
  BrokerEpoch broker_epoch;
  LeaderEpoch leader_epoch;
  Offset appended;
  Offset durable;
  int64_t now_us = 0;
};

// Its session ended or it does not want the partition any more.
struct FollowerGone {
  NodeId broker;
};

// ---- As follower: from the leader. Frames of one link come in order; of an
// ---- older link, not at all ----

struct LinkOpened {
  NodeId leader;
};

struct LinkClosed {
  NodeId leader;
};

// `leader_epoch` is always the one the frame carries; `fetch_offset` the one of
// the Add that is answered: an answer to an earlier Add has no effect.
struct AddAccepted {
  LeaderEpoch leader_epoch;
  Offset fetch_offset;
  Offset log_start = kNoOffset;  // the leader's; -1: not said
};

struct Diverging {
  LeaderEpoch leader_epoch;
  LeaderEpoch epoch;  // the leader's largest epoch <= the one asked
  Offset end;         // where it ends there
  Offset fetch_offset = kNoOffset;  // -1: not said
};

// An Add was refused, an acceptance ended, or what came could not be used.
struct AddError {
  LeaderEpoch leader_epoch;
  ErrorCode code = ErrorCode::kNone;
  Offset log_start = kNoOffset;     // with kOffsetOutOfRange
  Offset fetch_offset = kNoOffset;  // with kOffsetOutOfRange
};

// Batches that begin at `base_offset` are at hand; AppendData says whether
// they may be appended.
struct DataReceived {
  LeaderEpoch leader_epoch;
  Offset base_offset;
};

// By itself, or with data, after Appended told of them.
struct HighWatermarkReceived {
  LeaderEpoch leader_epoch;
  Offset high_watermark;
};

using Event =
    std::variant<MetadataChanged, IsrAnswer, Appended, Flushed,
                 EpochStartPersisted, TruncateDone, Tick, FollowerAdd,
                 FollowerAck, FollowerGone, LinkOpened, LinkClosed, AddAccepted,
                 Diverging, AddError, DataReceived, HighWatermarkReceived>;

}  // namespace sluice::replica
