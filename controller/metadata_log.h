// The replicated log under the controller, as the controller sees it. Raft
// implements it (raft_metadata_log.h), tests fake it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "sluice/v1/cluster.pb.h"

namespace sluice {

struct CommittedEntry {
  LogIndex index;
  Term term;
  std::string payload;  // a serialized MetadataBatch; never empty
};

struct MetadataLogRole {
  // This node leads, has committed an entry of its own term and has delivered
  // everything before it.
  bool active = false;
  Term term;
  NodeId leader = kNoNode;  // as far as known
  // The newest term that this node cannot forget: no other may be told to
  // brokers, who follow no node of a term below one that they heard of. Behind
  // `term` while the disk is slow.
  Term durable_term;

  // Who leads durable_term, as far as known: what may be told with it.
  NodeId DurableLeader() const {
    return durable_term == term ? leader : kNoNode;
  }
};

// Runs on the executor of the controller, in the order of the log. Entries of
// Raft's own are not delivered: indexes rise, with gaps.
struct MetadataLogEvents {
  absl::AnyInvocable<void(CommittedEntry)> on_committed;
  absl::AnyInvocable<void(MetadataLogRole)> on_role;
};

// Methods are called on the controller's executor; callbacks run there, never
// from inside the call.
class MetadataLog {
 public:
  virtual ~MetadataLog() = default;

  // Before anything else, once. Entries committed by earlier lives of the
  // process are delivered from the first one on.
  virtual void Start(MetadataLogEvents events) = 0;
  // No event follows.
  virtual void Stop() = 0;

  // Appends and answers where, in the current term. `done` runs once, later:
  // OK after the entry was delivered to on_committed; NOT_CONTROLLER when it
  // never will be; OUTCOME_UNKNOWN when leadership was lost while it was under
  // way. An error (NOT_CONTROLLER, BUSY, MESSAGE_TOO_LARGE): nothing was
  // appended and `done` is dropped.
  virtual absl::StatusOr<LogIndex> Propose(
      std::string payload, absl::AnyInvocable<void(absl::Status)> done) = 0;

  // Asks another voter that is in touch to lead instead. OK: it was asked, and
  // this node leads on if it does not answer. NOT_CONTROLLER, INVALID_REQUEST
  // (there is no other voter within reach): nothing happened.
  virtual absl::Status TransferLeadership() = 0;

  // Confirms by a quorum round begun after the call that this node still leads
  // (RA14); NOT_CONTROLLER otherwise.
  virtual void ReadIndex(
      absl::AnyInvocable<void(absl::StatusOr<LogIndex>)> done) = 0;

  // Delivered entries from `from` on, in order, up to `bytes_max` but at least
  // one if there is one. An error is a broken store.
  virtual absl::StatusOr<std::vector<CommittedEntry>> ReadCommitted(
      LogIndex from, size_t bytes_max) = 0;

  // Unset until the cluster was bootstrapped.
  virtual ClusterId cluster_id() const = 0;
  // The cluster's random salt, of its bootstrap record; unset until then.
  virtual Uuid salt() const = 0;
  virtual v1::DescribeQuorumResponse Describe() const = 0;
};

}  // namespace sluice
