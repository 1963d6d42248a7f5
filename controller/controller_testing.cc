#include "controller/controller_testing.h"

namespace sluice {

void FakeMetadataLog::Start(MetadataLogEvents events) {
  events_ = std::move(events);
  listening_ = true;
}

void FakeMetadataLog::TellRole(bool active, NodeId leader) {
  active_ = active;
  leader_ = leader;
  if (!listening_) return;
  MetadataLogRole role;
  role.active = active;
  role.term = term_;
  role.leader = leader;
  role.durable_term = term_;
  events_.on_role(role);
}

void FakeMetadataLog::Lead(Term term) {
  term_ = term;
  SkipIndex();  // the leader's no-op
  TellRole(true, NodeId(1));
}

void FakeMetadataLog::Depose(Term term, NodeId leader) {
  term_ = term;
  TellRole(false, leader);
  auto pending = std::exchange(pending_, {});
  for (Proposal& proposal : pending) {
    proposal.done(MakeError(ErrorCode::kOutcomeUnknown, "deposed"));
  }
  auto reads = std::exchange(reads_, {});
  for (auto& read : reads) {
    read(MakeError(ErrorCode::kNotController, "deposed"));
  }
}

void FakeMetadataLog::Release() {
  held_ = false;
  for (size_t i = pending_.size(); i > 0; --i) {
    executor_->PostAfter(kCommitUs, [this] { CommitNext(); });
  }
  auto reads = std::exchange(reads_, {});
  for (auto& read : reads) read(last_);
}

void FakeMetadataLog::DeliverForeign(std::string payload) {
  last_ = last_.Next();
  committed_.push_back({last_, term_, std::move(payload)});
  if (listening_) events_.on_committed(committed_.back());
}

absl::StatusOr<LogIndex> FakeMetadataLog::Propose(
    std::string payload, absl::AnyInvocable<void(absl::Status)> done) {
  ++proposals_;
  if (refusal.has_value()) return *refusal;
  if (!active_) return MakeError(ErrorCode::kNotController, "not active");
  last_ = last_.Next();
  pending_.push_back(
      {{last_, term_, std::move(payload)}, std::move(done)});
  const LogIndex index = last_;
  if (!held_) executor_->PostAfter(kCommitUs, [this] { CommitNext(); });
  return index;
}

void FakeMetadataLog::CommitNext() {
  if (pending_.empty() || held_) return;
  Proposal proposal = std::move(pending_.front());
  pending_.erase(pending_.begin());
  committed_.push_back(proposal.entry);
  if (listening_) events_.on_committed(proposal.entry);
  proposal.done(absl::OkStatus());
}

void FakeMetadataLog::ReadIndex(
    absl::AnyInvocable<void(absl::StatusOr<LogIndex>)> done) {
  reads_.push_back(std::move(done));
  if (held_) return;
  executor_->PostAfter(kCommitUs, [this] {
    if (held_ || reads_.empty()) return;
    auto read = std::move(reads_.front());
    reads_.erase(reads_.begin());
    if (active_) {
      read(last_);
    } else {
      read(MakeError(ErrorCode::kNotController, "not active"));
    }
  });
}

absl::StatusOr<std::vector<CommittedEntry>> FakeMetadataLog::ReadCommitted(
    LogIndex from, size_t bytes_max) {
  ++store_reads_;
  if (broken_) return MakeError(ErrorCode::kStorageError, "broken");
  std::vector<CommittedEntry> found;
  size_t bytes = 0;
  for (const CommittedEntry& entry : committed_) {
    if (entry.index < from) continue;
    bytes += entry.payload.size();
    if (!found.empty() && bytes > bytes_max) break;
    found.push_back(entry);
  }
  return found;
}

v1::DescribeQuorumResponse FakeMetadataLog::Describe() const {
  v1::DescribeQuorumResponse response;
  response.set_leader_id(leader_.value());
  response.set_term(term_.value());
  return response;
}

void FakeDialer::Dial(const api::Endpoint& endpoint, int64_t timeout_us,
                      Executor* executor,
                      absl::AnyInvocable<void(DialResult)> reply) {
  dialed.push_back(endpoint.host);
  const auto found = answers.find(endpoint.host);
  const DialResult result =
      found == answers.end() ? DialResult::kConnected : found->second;
  const int64_t after_us =
      result == DialResult::kNoAnswer ? timeout_us : int64_t{500};
  executor->PostAfter(after_us, [result, reply = std::move(reply)]() mutable {
    reply(result);
  });
}

}  // namespace sluice
