// What a group core can be told. Plain facts with their time; nothing here
// refers to a call, a log or a clock. `now_us` never goes back.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "broker/group/group_types.h"

namespace sluice::group {

// ---- From clients: remote input, validated here. Each is answered once, now
// ---- or later ----

struct Join {
  RequestId request;
  MemberId member;      // empty: a new member
  InstanceId instance;  // empty: dynamic
  std::string client_id;
  std::string client_host;
  int64_t session_timeout_us = 0;
  int64_t rebalance_timeout_us = 0;  // not positive: the session timeout
  std::string protocol_type;
  std::vector<Protocol> protocols;
  std::string reason;
  // A new dynamic member first gets an id and comes again with it.
  bool member_id_required = true;
  // The client knows JoinAnswer::skip_assignment.
  bool can_skip_assignment = true;
  int64_t now_us = 0;
  StreamSecret stream;
  // Set: the membership goes over from this stream to `stream`.
  StreamSecret resumes;
};

struct MemberAssignment {
  MemberId member;
  std::string assignment;

  bool operator==(const MemberAssignment&) const = default;
};

struct Sync {
  RequestId request;
  MemberId member;
  InstanceId instance;
  Generation generation;
  std::string protocol_type;  // "": not said
  std::string protocol_name;  // "": not said
  std::vector<MemberAssignment> assignments;  // the leader's
  int64_t now_us = 0;
  StreamSecret stream;
};

struct Heartbeat {
  RequestId request;
  MemberId member;
  InstanceId instance;
  Generation generation;
  int64_t now_us = 0;
  StreamSecret stream;
};

struct LeavingMember {
  MemberId member;      // empty: by instance, as an administrator may
  InstanceId instance;
  std::string reason;
  StreamSecret stream;  // empty: whichever it has
};

struct Leave {
  RequestId request;
  std::vector<LeavingMember> members;
  int64_t now_us = 0;
};

// A commit of this member was accepted (commit_rules.h): a sign of life.
struct CommitAccepted {
  MemberId member;
  int64_t now_us = 0;
};

// Only an empty group goes.
struct Delete {
  RequestId request;
  int64_t now_us = 0;
};

// ---- From the log ----

// A write is committed, or nothing of it ever will be. Who does not know says
// nothing and, as leadership is over then, Resign. In the order of the writes.
struct Written {
  WriteId write;
  absl::Status status;
  int64_t now_us = 0;
};

// This broker is not the group's coordinator any more.
struct Resign {};

// ---- Time ----

// At NextDeadline() or later.
struct Tick {
  int64_t now_us = 0;
};

using Event = std::variant<Join, Sync, Heartbeat, Leave, CommitAccepted, Delete,
                           Written, Resign, Tick>;

}  // namespace sluice::group
