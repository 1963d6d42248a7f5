// The metadata log on Raft.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "controller/metadata_log.h"
#include "controller/raft/log_reader.h"
#include "controller/raft/types.h"
#include "controller/raft_driver/raft_node.h"

namespace sluice {

// Made before the RaftNode, because the node is made with its events:
//   RaftMetadataLog log(&store, node_id);
//   RaftNode node(deps, options, log.Events(on_fatal), seed);
//   log.Attach(&node);
// then Controller::Start() (which gives this its listener), then node.Start().
// Belongs to the controller's executor; `store` and the node outlive it.
class RaftMetadataLog final : public MetadataLog {
 public:
  RaftMetadataLog(const raft::LogReader* store, NodeId self)
      : store_(store), self_(self) {}

  RaftNodeEvents Events(std::function<void(const absl::Status&)> on_fatal);
  void Attach(RaftNode* node) { node_ = node; }

  void Start(MetadataLogEvents events) override;
  // The node is its owner's to stop.
  void Stop() override { listening_ = false; }
  absl::StatusOr<LogIndex> Propose(
      std::string payload,
      absl::AnyInvocable<void(absl::Status)> done) override;
  absl::Status TransferLeadership() override;
  void ReadIndex(
      absl::AnyInvocable<void(absl::StatusOr<LogIndex>)> done) override;
  absl::StatusOr<std::vector<CommittedEntry>> ReadCommitted(
      LogIndex from, size_t bytes_max) override;
  ClusterId cluster_id() const override { return cluster_id_; }
  Uuid salt() const override { return salt_; }
  v1::DescribeQuorumResponse Describe() const override;

 private:
  void OnEntry(const raft::Entry& entry);
  void OnSoftState(const raft::SoftState& soft);
  void OnDurableTerm(Term term);
  void TellRole();

  const raft::LogReader* const store_;
  const NodeId self_;
  RaftNode* node_ = nullptr;
  MetadataLogEvents events_;
  bool listening_ = false;
  ClusterId cluster_id_;
  Uuid salt_;
  raft::SoftState soft_;
  Term durable_term_{-1};
  // The newest term of which an entry was applied: a leader of it knows all
  // that was committed before.
  Term applied_term_{-1};
  LogIndex applied_{0};
  MetadataLogRole told_;
};

}  // namespace sluice
