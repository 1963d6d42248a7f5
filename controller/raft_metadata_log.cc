#include "controller/raft_metadata_log.h"

#include <algorithm>
#include <utility>

#include "common/api/log_api.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

// Entries looked at in one read of the store.
constexpr int kReadEntriesMax = 4096;

}  // namespace

RaftNodeEvents RaftMetadataLog::Events(
    std::function<void(const absl::Status&)> on_fatal) {
  RaftNodeEvents events;
  events.on_cluster = [this](const raft::BootstrapRecord& record) {
    cluster_id_ = record.cluster_id;
    salt_ = record.salt;
  };
  events.apply = [this](const raft::Entry& entry) { OnEntry(entry); };
  events.on_soft_state = [this](const raft::SoftState& soft) {
    OnSoftState(soft);
  };
  events.on_durable_term = [this](Term term) { OnDurableTerm(term); };
  events.on_fatal = std::move(on_fatal);
  return events;
}

void RaftMetadataLog::Start(MetadataLogEvents events) {
  events_ = std::move(events);
  listening_ = true;
}

void RaftMetadataLog::OnEntry(const raft::Entry& entry) {
  INVARIANT(events_.on_committed != nullptr, "entry ", entry.index,
            " was applied before the controller listened");
  applied_ = entry.index;
  if (listening_ && entry.type == raft::EntryType::kRecords) {
    events_.on_committed(CommittedEntry{entry.index, entry.term,
                                        std::string(entry.payload.view())});
  }
  applied_term_ = entry.term;
  TellRole();
}

void RaftMetadataLog::OnSoftState(const raft::SoftState& soft) {
  soft_ = soft;
  TellRole();
}

void RaftMetadataLog::OnDurableTerm(Term term) {
  durable_term_ = term;
  TellRole();
}

void RaftMetadataLog::TellRole() {
  MetadataLogRole role;
  role.active =
      soft_.role == raft::Role::kLeader && applied_term_ == soft_.term;
  role.term = soft_.term;
  role.leader = soft_.leader.is_set() ? soft_.leader.node : kNoNode;
  // An entry of a term is committed: a quorum keeps that term.
  role.durable_term = MUTANT(kUndurableTermTold)
                          ? soft_.term
                          : std::max(durable_term_, applied_term_);
  const bool same = role.active == told_.active && role.term == told_.term &&
                    role.leader == told_.leader &&
                    role.durable_term == told_.durable_term;
  if (same || !listening_) return;
  told_ = role;
  events_.on_role(role);
}

absl::StatusOr<LogIndex> RaftMetadataLog::Propose(
    std::string payload, absl::AnyInvocable<void(absl::Status)> done) {
  ASSIGN_OR_RETURN(
      const raft::EntryId id,
      node_->Propose(Buffer::Take(std::move(payload)), std::move(done)));
  return id.index;
}

absl::Status RaftMetadataLog::TransferLeadership() {
  return node_->TransferLeadership();
}

void RaftMetadataLog::ReadIndex(
    absl::AnyInvocable<void(absl::StatusOr<LogIndex>)> done) {
  node_->ReadIndex(std::move(done));
}

absl::StatusOr<std::vector<CommittedEntry>> RaftMetadataLog::ReadCommitted(
    LogIndex from, size_t bytes_max) {
  std::vector<CommittedEntry> found;
  // Until something is found: a stretch may hold Raft's own entries alone.
  while (found.empty() && from <= applied_) {
    ASSIGN_OR_RETURN(
        const std::vector<raft::Entry> entries,
        store_->Read(from, applied_.Next(), kReadEntriesMax, bytes_max));
    INVARIANT(!entries.empty(), "the log reads nothing at ", from,
              " though it holds ", applied_);
    for (const raft::Entry& entry : entries) {
      if (entry.type != raft::EntryType::kRecords) continue;
      found.push_back(
          {entry.index, entry.term, std::string(entry.payload.view())});
    }
    from = entries.back().index.Next();
  }
  return found;
}

v1::DescribeQuorumResponse RaftMetadataLog::Describe() const {
  const RaftNodeStatus status = node_->Status();
  v1::DescribeQuorumResponse response;
  response.set_leader_id(
      status.soft.leader.is_set() ? status.soft.leader.node.value() : -1);
  response.set_term(status.soft.term.value());
  response.set_commit_index(status.commit_index.value());
  for (const RaftPeer& peer : status.peers) {
    v1::Voter* voter =
        peer.is_voter ? response.add_voters() : response.add_observers();
    voter->set_id(peer.id.node.value());
    voter->set_directory_id(peer.id.directory.ToBytes());
    if (const auto endpoint = api::ParseEndpoint(peer.endpoint)) {
      voter->mutable_endpoint()->set_host(endpoint->host);
      voter->mutable_endpoint()->set_port(endpoint->port);
    }
    voter->set_match_index(peer.match.value());
    voter->set_last_contact_ms(peer.last_contact_ms);
    voter->set_is_leader(peer.is_leader);
  }
  return response;
}

}  // namespace sluice
