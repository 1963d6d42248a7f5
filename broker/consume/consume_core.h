// A stream of GroupService.Consume: a complete consumer on behalf of a client
// that has stubs alone. Step(event, now) -> actions; docs/consume.md has the
// states, and its table is the plan of the tests.
//
//   Opening -> (Joining -> Syncing -> Reading -> Revoking -> Joining ...) -> over
//
// What is in brackets is GroupMembership's: the same machine as the client
// library's. Here is what stands between it and the client: what was pushed and
// what is acknowledged (AckLedger), where reading begins (StartFinder), when
// partitions that are revoked are let go of, and how the stream ends.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/consume/ack_ledger.h"
#include "broker/consume/consume_types.h"
#include "broker/consume/open_options.h"
#include "broker/consume/start_finder.h"
#include "client/backoff.h"
#include "client/group/group_membership.h"
#include "common/base/random.h"

namespace sluice::consume {

class ConsumeCore {
 public:
  static constexpr int64_t kNever = INT64_MAX;
  static constexpr int64_t kOpenWithinUs = 10'000'000;
  // A topic that this broker does not know (yet) is looked for so long.
  static constexpr int64_t kTopicPatienceUs = 3'000'000;
  static constexpr int64_t kAskAgainUs = 200'000;
  static constexpr int64_t kReadAgainMinUs = 50'000;
  static constexpr int64_t kReadAgainMaxUs = 1'000'000;
  // A partition that nobody has room to read for so long ends the stream: its
  // client would wait for it and not know.
  static constexpr int64_t kBusyMaxUs = 10'000'000;
  // What a grant releases is committed so often, and at each end.
  static constexpr int64_t kAutoCommitUs = 1'000'000;
  // The last commits may not hold up who leaves, or a broker that stops.
  static constexpr int64_t kLastCommitUs = 5'000'000;
  static constexpr size_t kOffsetsPerCommit = 1'000;
  static constexpr int kOffsetsPerMessageMax = 1'000;
  // More credit than this is not remembered (SubscribeStream).
  static constexpr int64_t kCreditBytesMax = 64 << 20;

  struct Deps {
    Random* random = nullptr;
    // Of this stream: nobody can guess it.
    std::string secret;
    std::string client_id;  // when the client does not say
  };

  ConsumeCore(Deps deps, int64_t now_us);
  ConsumeCore(const ConsumeCore&) = delete;

  // `now_us` never goes back. Actions are carried out in order before the next
  // Step; nothing follows Finish, and nothing is told after it.
  std::vector<Action> Step(const Event& event, int64_t now_us);
  // When a Tick is due; kNever: none.
  int64_t NextWakeUs() const;

  // ---- Queries ----
  enum class Phase { kOpening, kOpen, kLeaving, kMoving, kOver };
  Phase phase() const { return phase_; }
  bool opened() const { return membership_ != nullptr; }
  const OpenOptions& options() const { return options_; }
  // "": none yet.
  std::string member_id() const;
  // It is the member that its client's resume token named.
  bool took_over() const;
  bool revoking() const { return revoke_.has_value(); }
  int64_t unacknowledged_bytes() const {
    return ledger_ == nullptr ? 0 : ledger_->unacknowledged_bytes();
  }
  // Whose partitions are counted for CountsChanged.
  const std::set<std::string>& topics() const { return options_.topics; }

 private:
  // A partition that is assigned and not revoked.
  struct Reading {
    enum class State { kFinding, kAwaitsSeek, kReads, kWaits };
    State state = State::kFinding;
    bool begun() const {
      return state == State::kReads || state == State::kWaits;
    }
    Place place;                    // kReads, kWaits: from where
    int64_t again_us = kNever;      // kWaits
    int64_t delay_us = kReadAgainMinUs;
    int64_t busy_since_us = kNever;  // no room to read it
  };
  struct Revoke {
    int64_t id = 0;
    Partitions partitions;
    int64_t deadline_us = kNever;
    bool acknowledged = false;
  };

  // ---- consume_core.cc: the stream ----
  void On(const ClientSaid& e);
  void On(const HalfClosed& e);
  void On(const Broken& e);
  void On(const BrokerStops& e);
  void On(const TakenOver& e);
  void On(const Tick&) {}
  void OnOpen(const v1::ConsumeOpen& open);
  void OnOwnTopics(const consumer::PartitionCounts& counts);
  void Advance();
  void AdvanceMembership();
  void CheckStall();
  void CheckEnd();
  void Refuse(const absl::Status& why);
  void LeaveWith(const absl::Status& why, const std::string& reason);
  void FinishWith(const absl::Status& why);
  void Do(Action action) { actions_.push_back(std::move(action)); }
  void PushMessage(v1::ConsumeResponse message) { Do(Push{std::move(message)}); }

  // ---- consume_group.cc: the membership ----
  void On(const CountsChanged& e);
  void On(const TopicsFound& e);
  void On(const HeartbeatAnswered& e) { Tell(e); }
  void On(const Joined& e) { Tell(e); }
  void On(const LeaveAnswered& e) { Tell(e); }
  void On(const Synced& e) { Tell(e); }
  void Tell(membership::Event event);
  void Carry(const membership::FindCoordinator& a);
  void Carry(const membership::Release& a);
  void Carry(const membership::Assigned& a);
  void Carry(const membership::Failed& a);
  void Carry(const membership::Left& a);
  template <class Call>
  void Carry(const Call& call) {
    Do(call);
  }
  int64_t RevokeTimeoutUs() const;
  void OnRevokeAck(const v1::ConsumeRevokeAck& message,
                   const TopicNames& names);
  void CheckRevoke();
  StartFinder::Member AsMember() const;

  // ---- consume_offsets.cc: acknowledgements and commits ----
  void On(const CommitAnswered& e);
  void OnAck(const v1::ConsumeAck& message, const TopicNames& names);
  void Acknowledge(const google::protobuf::RepeatedPtrField<v1::OffsetCommit>&
                       offsets,
                   const TopicNames& names);
  absl::Status AcknowledgeOne(const v1::OffsetCommit& offset,
                              const TopicNames& names);
  void SendCommitIfDue();
  bool MayCommit() const;
  void RefuseDue();
  void OnCommitResults(const v1::CommitOffsetsResponse& answer);
  v1::TopicRef AsNamed(const NamedPartition& tp) const;
  void TellResult(const v1::TopicRef& topic, PartitionIndex partition,
                  Offset offset, const absl::Status& status);
  void PushResults();

  // ---- consume_reading.cc: what is read, from where ----
  void On(const OffsetsFetched& e);
  void On(const OffsetsListed& e);
  void On(const Read& e);
  void On(const ReadingEnded& e);
  void On(const LogCut& e);
  void OnSeek(const v1::ConsumeSeek& message);
  void OnCredit(int64_t bytes);
  void AdvanceReading();
  void StartAt(const NamedPartition& tp, Reading& reading, Place place);
  void StopAll();

  Deps deps_;
  OpenOptions options_;
  Phase phase_ = Phase::kOpening;
  int64_t now_us_ = 0;
  int64_t open_by_us_ = 0;
  std::vector<Action> actions_;
  CallId last_call_;

  // Of Open, until its topics are known.
  CallId topics_call_ = 0;
  int64_t topics_by_us_ = kNever;
  int64_t topics_again_us_ = kNever;

  std::unique_ptr<GroupMembership> membership_;  // null: not open
  std::deque<membership::Event> told_;
  std::unique_ptr<AckLedger> ledger_;
  std::unique_ptr<StartFinder> starts_;
  std::map<NamedPartition, Reading> reading_;
  std::map<NamedPartition, Offset> next_;  // of those that were pushed
  std::multimap<int64_t, NamedPartition> again_;  // kWaits, by time

  std::optional<Revoke> revoke_;
  int64_t last_revoke_ = 0;

  // The commit under way; 0: none.
  CallId commit_call_ = 0;
  AckLedger::Positions committing_;
  struct Committing {
    NamedPartition tp;
    v1::TopicRef topic;  // as its acknowledgement named it
  };
  std::vector<Committing> commit_order_;
  // Whose last acknowledgement named an id: which.
  std::map<NamedPartition, std::string> named_by_id_;
  int32_t commit_generation_ = membership::kNoGeneration;
  int64_t commit_not_before_us_ = 0;
  int64_t next_auto_commit_us_ = 0;
  Backoff commit_backoff_;
  v1::ConsumeCommitted results_;

  // Something is unacknowledged, and nothing was acknowledged since.
  int64_t no_progress_since_us_ = kNever;

  // ---- The end ----
  absl::Status final_;
  std::string leave_reason_;
  int64_t end_by_us_ = kNever;  // kLeaving, kMoving
  bool left_ = false;           // Leave was told
  std::optional<v1::Endpoint> elsewhere_;
};

}  // namespace sluice::consume
