// A world for a controller without Raft and gRPC: a log that commits after a
// while, brokers that are dialed by number, streams that remember.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/peers/controller_peer.h"
#include "common/base/error.h"
#include "common/env/sim_world.h"
#include "controller/metadata_log.h"

namespace sluice {

// Commits in the order proposed, kCommitUs later, while it leads.
class FakeMetadataLog final : public MetadataLog {
 public:
  static constexpr int64_t kCommitUs = 2000;

  explicit FakeMetadataLog(Executor* executor) : executor_(executor) {}

  // ---- What a test does to it ----
  void Lead(Term term);
  void Depose(Term term, NodeId leader);
  // Nothing proposed commits and no read is confirmed until Release(): the
  // quorum is away.
  void Hold() { held_ = true; }
  void Release();
  // A committed entry of another leader.
  void DeliverForeign(std::string payload);
  // Refused at once by Propose.
  std::optional<absl::Status> refusal;
  int transfers = 0;  // asked for
  absl::Status transfer_answer;
  // Raft's own entries take indexes too.
  void SkipIndex() { last_ = last_.Next(); }
  void SetClusterId(ClusterId id) { cluster_id_ = id; }
  size_t proposals() const { return proposals_; }
  const std::vector<CommittedEntry>& committed() const { return committed_; }
  size_t reads_of_the_store() const { return store_reads_; }
  void BreakStore() { broken_ = true; }

  // ---- MetadataLog ----
  void Start(MetadataLogEvents events) override;
  void Stop() override { listening_ = false; }
  absl::StatusOr<LogIndex> Propose(
      std::string payload,
      absl::AnyInvocable<void(absl::Status)> done) override;
  absl::Status TransferLeadership() override {
    ++transfers;
    return transfer_answer;
  }
  void ReadIndex(
      absl::AnyInvocable<void(absl::StatusOr<LogIndex>)> done) override;
  absl::StatusOr<std::vector<CommittedEntry>> ReadCommitted(
      LogIndex from, size_t bytes_max) override;
  ClusterId cluster_id() const override { return cluster_id_; }
  Uuid salt() const override { return Uuid(0x5a17, 1); }
  v1::DescribeQuorumResponse Describe() const override;

 private:
  struct Proposal {
    CommittedEntry entry;
    absl::AnyInvocable<void(absl::Status)> done;
  };
  void CommitNext();
  void TellRole(bool active, NodeId leader);

  Executor* const executor_;
  MetadataLogEvents events_;
  bool listening_ = false;
  bool active_ = false;
  bool held_ = false;
  bool broken_ = false;
  Term term_{0};
  NodeId leader_ = kNoNode;
  LogIndex last_{1};  // the bootstrap record
  ClusterId cluster_id_{Uuid(1, 2)};
  std::vector<CommittedEntry> committed_;
  std::vector<Proposal> pending_;
  std::vector<absl::AnyInvocable<void(absl::StatusOr<LogIndex>)>> reads_;
  size_t proposals_ = 0;
  size_t store_reads_ = 0;
};

// Knows brokers by their host, as TestCluster names them: "b<id>".
class FakeDialer final : public BrokerDialer {
 public:
  std::map<std::string, DialResult> answers;  // kConnected unless told
  std::vector<std::string> dialed;

  void Dial(const api::Endpoint& endpoint, int64_t timeout_us,
            Executor* executor,
            absl::AnyInvocable<void(DialResult)> reply) override;
};

// The sending half of a stream, as the edge would hand it over.
template <class Out>
class FakeStream final : public PeerStream<Out> {
 public:
  void Send(const Out& message) override { sent.push_back(message); }
  void Close(absl::Status why) override { closed = std::move(why); }

  std::vector<Out> sent;
  std::optional<absl::Status> closed;
};

// Where a reply arrives.
template <class Response>
class Reply {
 public:
  PeerReply<Response> Catch() {
    return [slot = slot_](absl::StatusOr<Response> answer) {
      ++slot->count;
      slot->answer = std::move(answer);
    };
  }
  bool arrived() const { return slot_->answer.has_value(); }
  int count() const { return slot_->count; }
  const absl::StatusOr<Response>& answer() const { return *slot_->answer; }
  ErrorCode code() const { return CodeOf(slot_->answer->status()); }
  const Response& operator*() const { return **slot_->answer; }
  const Response* operator->() const { return &**slot_->answer; }

 private:
  struct Slot {
    int count = 0;
    std::optional<absl::StatusOr<Response>> answer;
  };
  std::shared_ptr<Slot> slot_ = std::make_shared<Slot>();
};

}  // namespace sluice
