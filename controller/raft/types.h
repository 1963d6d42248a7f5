// The vocabulary of Raft: entries, messages, what must be made durable.
// Plain structs; controller/rpc/raft_wire.cc carries them on the wire
// (proto/sluice/internal/v1/raft.proto), raft_driver keeps them on disk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/buffer.h"
#include "common/base/ids.h"

namespace sluice::raft {

// A voter is a node *and* its disk: a wiped disk is somebody else (RA12).
struct VoterId {
  NodeId node = kNoNode;
  DirectoryId directory;

  auto operator<=>(const VoterId&) const = default;
  bool is_set() const { return node != kNoNode; }
  std::string ToString() const;  // "3@<first 8 hex digits>"
};

// Numbers on disk and on the wire; never reused.
enum class EntryType : int32_t {
  kNoOp = 1,       // a leader's first entry in its term; no payload
  kRecords = 2,    // payload is the controller's
  kBootstrap = 3,  // index 1 only; payload is the encoded BootstrapRecord
};

struct Entry {
  Term term;
  LogIndex index;
  EntryType type = EntryType::kRecords;
  Buffer payload;

  // What an entry counts against byte limits.
  size_t Bytes() const { return payload.size() + kOverheadBytes; }
  static constexpr size_t kOverheadBytes = 32;
};

struct EntryId {
  LogIndex index;
  Term term;
  auto operator<=>(const EntryId&) const = default;
};

// Durable before any answer that tells of it (RA2).
struct HardState {
  Term term;
  VoterId vote;  // unset: none in this term

  bool operator==(const HardState&) const = default;
};

struct BootstrapVoter {
  NodeId id = kNoNode;
  DirectoryId directory;
  std::string endpoint;  // host:port of the internal listener

  bool operator==(const BootstrapVoter&) const = default;
  VoterId voter() const { return {id, directory}; }
};

// What makes some empty controllers a cluster: written once, by the lowest
// initial id. `salt` sets this cluster's producer ids apart.
struct BootstrapRecord {
  ClusterId cluster_id;
  Uuid salt;
  std::vector<BootstrapVoter> voters;  // ascending by id

  bool operator==(const BootstrapRecord&) const = default;
  bool Names(const VoterId& who) const;
};

// The index of the bootstrap record in every log, and its term.
inline constexpr LogIndex kBootstrapIndex{1};
inline constexpr Term kBootstrapTerm{0};

// Numbers on the wire; never reused.
enum class MessageType : int32_t {
  // Would you vote for me? Changes nothing at either side.
  //   term: the one the sender would campaign in; log_index, log_term: its
  //   last entry.
  kPreVote = 1,
  //   reject; term: the asked one when granted, else the answerer's own.
  kPreVoteResponse = 2,
  //   As kPreVote. flag: the leader told it to (leases do not protect).
  kVote = 3,
  //   reject. A grant is sent once term and vote are durable (RA2).
  kVoteResponse = 4,
  // Leader to follower. log_index, log_term: the entry before `entries`
  // (which may be empty); commit_index.
  kAppend = 5,
  //   Accepted: log_index is the last entry that matches the leader and is
  //   durable here (RA9). reject: log_index is the one that did not match;
  //   reject_hint, reject_hint_term: the last entry that may match.
  kAppendResponse = 6,
  // Leader to follower: context is the round, commit_index what the follower
  // is known to hold of what is committed.
  kHeartbeat = 7,
  //   context: the round.
  kHeartbeatResponse = 8,
  // Leader to the voter that should replace it: campaign now.
  kTimeoutNow = 9,
  // A non-voter that hears no leader asks to be sent the log.
  //   log_index: its last entry.
  kObserve = 10,

  // First start (bootstrap_core.h). cluster_id is unset in probes and in
  // answers of empty nodes; to.directory is unset in all of them.
  //   Who are you, what do you know? bootstrap: the initial ids and endpoints
  //   of the sender's configuration, directories unset.
  kBootstrapProbe = 20,
  //   bootstrap: the answerer's record; none: it is empty. reject: its
  //   configuration names other initial controllers.
  kBootstrapAnswer = 21,
  //   bootstrap: the record to accept.
  kBootstrapOffer = 22,
  //   cluster_id: the one the sender belongs to now, durably. reject: not the
  //   offered record's, or the record does not name this disk.
  kBootstrapAck = 23,
};

// One struct for all of them: the edge has one codec. Fields that a type does
// not name are left at their defaults.
struct Message {
  MessageType type = MessageType::kHeartbeat;
  ClusterId cluster_id;  // a foreign cluster's message is refused
  VoterId from;
  VoterId to;  // a directory that is set and not mine: meant for a lost disk
  Term term;
  LogIndex log_index;
  Term log_term;
  LogIndex commit_index;
  bool reject = false;
  LogIndex reject_hint;
  Term reject_hint_term;
  std::vector<Entry> entries;  // contiguous, terms not falling
  int64_t context = 0;
  bool flag = false;
  std::optional<BootstrapRecord> bootstrap;
};

// "APPEND 1->2 t3 prev 4/2 [5/3 6/3] commit 4": for scripts and logs.
std::string Describe(const Message& message);
std::string_view NameOf(MessageType type);
bool IsBootstrap(MessageType type);

enum class Role { kFollower, kPreCandidate, kCandidate, kLeader };
std::string_view NameOf(Role role);

// What others may want to know and no disk has to.
struct SoftState {
  Role role = Role::kFollower;
  Term term;
  VoterId leader;  // unset: none known

  bool operator==(const SoftState&) const = default;
};

// The answer to ReadIndex(id). ok: whoever has applied `index` may answer the
// read. Else leadership was lost: ask the next leader.
struct ReadState {
  uint64_t id = 0;
  bool ok = false;
  LogIndex index;
};

}  // namespace sluice::raft
