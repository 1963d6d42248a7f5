// What a replica core wants done, in the order given. Those that are answered
// by an event say so.
#pragma once

#include <map>
#include <string>
#include <variant>

#include "common/base/epoch_history.h"
#include "common/base/error.h"
#include "common/base/ids.h"

namespace sluice::replica {

// ---- The own log ----

// `epoch` begins at the LEO: note it in the log's epoch history and make that
// durable. Answered by EpochStartPersisted. Nothing is appended before.
struct PersistEpochStart {
  LeaderEpoch epoch;
};

// The data of the DataReceived at hand may be appended now; Appended follows
// when it was.
struct AppendData {};

// Cut the log at the batch boundary at or below `target`, fsync, make the
// marks durable. Answered by TruncateDone. `why` is for the log line.
struct TruncateTo {
  Offset target;
  std::string why;
};

// Drop everything and go on at `start`, which is the log start too; fsync,
// marks. Answered by TruncateDone{start}.
struct ResetTo {
  Offset start;
};

// The partition's log starts here: everything below may be deleted.
struct AdvanceLogStart {
  Offset log_start;
};

// The replica's log and its leader's contradict each other below what was
// committed: never appended to or read again, its files stay. The last action
// there is.
struct Failed {
  std::string why;
};

// ---- As follower: to the leader ----

// Dropped when the link is not open: LinkOpened or the next Tick asks again.
struct SendAdd {
  NodeId leader;
  LeaderEpoch leader_epoch;
  Offset fetch_offset;
  LeaderEpoch last_fetched_epoch;
  // Accepted, and then nothing came for as long as it may take.
  bool leader_silent = false;
};

struct SendAck {
  NodeId leader;
  LeaderEpoch leader_epoch;
  Offset appended;
  Offset durable;
};

// ---- As leader: to followers. leader_epoch and fetch_offset (from) are those
// ---- of the Add that is answered, and go back with the answer ----

// Ship what follows `from`, data and high watermarks, from now on. Replaces an
// earlier acceptance.
struct AcceptFollower {
  NodeId broker;
  Offset from;
  LeaderEpoch leader_epoch;
};

struct DivergeFollower {
  NodeId broker;
  EpochEnd end;
  LeaderEpoch leader_epoch;
  Offset fetch_offset;
};

// kFencedLeaderEpoch, kUnknownLeaderEpoch, kNotLeader, kNotAReplica,
// kStaleBrokerEpoch, kInvalidRequest, kOffsetOutOfRange (send the log start).
struct RejectFollower {
  NodeId broker;
  ErrorCode code = ErrorCode::kNone;
  std::string message;
  LeaderEpoch leader_epoch;
  Offset fetch_offset;
};

// Ship nothing more to it: its registration or the leader epoch changed.
struct DropFollower {
  NodeId broker;
};

// ---- To the controller and the clients ----

// Ask the controller to make this the ISR, by compare-and-set on both epochs.
// Answered by IsrAnswer. At most one is under way (RP15). `settled`: the ISR is
// the committed one, and all below the high watermark is on its disks.
struct ProposeIsr {
  LeaderEpoch leader_epoch;
  PartitionEpoch partition_epoch;
  std::map<NodeId, BrokerEpoch> isr;
  bool settled = false;
};

// Readers and waiting produces below it may go on.
struct HighWatermarkMoved {
  Offset high_watermark;
};

// The epoch's start is durable: produce is open.
struct BecameLeader {};

// Waiting produces end with an unknown outcome; ship nothing more.
struct LostLeadership {};

using Action =
    std::variant<PersistEpochStart, AppendData, TruncateTo, ResetTo,
                 AdvanceLogStart, Failed, SendAdd, SendAck, AcceptFollower,
                 DivergeFollower, RejectFollower, DropFollower, ProposeIsr,
                 HighWatermarkMoved, BecameLeader, LostLeadership>;

}  // namespace sluice::replica
