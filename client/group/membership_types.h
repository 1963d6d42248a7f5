// What a group membership is told, and what it wants done. Plain facts: nothing
// here refers to a call, a clock or a thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "common/consumer/assignors.h"
#include "sluice/v1/group.pb.h"

namespace sluice::membership {

using Partitions = std::set<consumer::NamedPartition>;
// Pairs a call with its answer; an answer to an older one is dropped.
using CallId = uint64_t;

inline constexpr int32_t kNoGeneration = -1;

struct Options {
  std::string group_id;
  // Set: a static member, whose restart within the session costs no rebalance.
  std::string instance_id;
  std::string client_id = "sluice-cpp";
  int32_t session_timeout_ms = 45'000;
  int32_t heartbeat_interval_ms = 3'000;
  // Who does not poll for so long is stuck, and leaves. Also the time that the
  // others give a member to join a new generation.
  int32_t max_poll_interval_ms = 300'000;
  int32_t rebalance_timeout_ms = 0;  // 0: max_poll_interval_ms
  // In the order preferred. All cooperative: members keep what stays theirs
  // through a rebalance. Else everybody gives up everything first.
  std::vector<consumer::Assignor> assignors = {
      consumer::Assignor::kRange, consumer::Assignor::kCooperativeSticky};
  std::string rack;
  // ---- Of a stream of GroupService.Consume, which acts for a member ----
  std::string stream;  // its secret
  // Goes on as this member, from the stream that had this secret; while the
  // member is known, without a rebalance.
  std::string resumes_member_id;
  std::string resumes_stream;
  // It joins anew at once: it subscribes to other topics than that one did.
  bool resumes_changed = false;
  int64_t retry_backoff_min_ms = 50;
  int64_t retry_backoff_max_ms = 1'000;
};

// ---- From the application ----

// What it wants to read from now on; not empty.
struct Subscribe {
  std::set<std::string> topics;
};
// It waits for records: what it was given before is done with.
struct PollBegan {};
struct PollEnded {};
// It has given up what Release named.
struct Released {};
struct Leave {
  std::string reason = "the consumer was closed";
};

// ---- From the cluster ----

// How many partitions the topics have that are known; after each change.
struct CountsChanged {
  consumer::PartitionCounts counts;
};
// The answer to LookUpTopics; a topic that does not exist is absent.
struct TopicsFound {
  CallId call = 0;
  consumer::PartitionCounts counts;
};
struct CoordinatorFound {
  CallId call = 0;
  absl::Status status;
};
struct Joined {
  CallId call = 0;
  absl::Status status;  // of the call, else of the answer's body
  v1::JoinGroupResponse response;
};
struct Synced {
  CallId call = 0;
  absl::Status status;
  std::string assignment;
};
struct HeartbeatAnswered {
  CallId call = 0;
  absl::Status status;
};
struct LeaveAnswered {
  CallId call = 0;
};
// A commit or fetch of offsets that claimed this membership ended like this.
struct OffsetsAnswered {
  std::string member_id;
  int32_t generation = kNoGeneration;
  absl::Status status;
};
// At NextWakeUs or later.
struct Tick {};

using Event = std::variant<Subscribe, PollBegan, PollEnded, Released, Leave,
                           CountsChanged, TopicsFound, CoordinatorFound, Joined,
                           Synced, HeartbeatAnswered, LeaveAnswered,
                           OffsetsAnswered, Tick>;

// ---- To the cluster; each is answered by its event, once ----

struct FindCoordinator {
  CallId call = 0;
};
struct SendJoin {
  CallId call = 0;
  v1::JoinGroupRequest request;
};
// Of every topic that a member of the group subscribes to.
struct LookUpTopics {
  CallId call = 0;
  std::set<std::string> topics;
};
struct SendSync {
  CallId call = 0;
  v1::SyncGroupRequest request;
};
struct SendHeartbeat {
  CallId call = 0;
  v1::HeartbeatRequest request;
};
struct SendLeave {
  CallId call = 0;
  v1::LeaveGroupRequest request;
};

// ---- To the application ----

// It is to give these up, then say Released: not before it is done with what
// it was given of them, so while it polls. Lost: they may be another's already,
// and commits of them will be refused.
struct Release {
  Partitions partitions;
  bool lost = false;
};
// These are its own from now on, beside those that it has.
struct Assigned {
  Partitions added;
};
// The membership is over, for good.
struct Failed {
  absl::Status status;
};
// The answer to Leave.
struct Left {};

using Action =
    std::variant<FindCoordinator, SendJoin, LookUpTopics, SendSync,
                 SendHeartbeat, SendLeave, Release, Assigned, Failed, Left>;

}  // namespace sluice::membership
