// A consumer that shares the partitions of its topics with its group.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/consumer.h"
#include "client/group/group_member.h"
#include "client/group/start_positions.h"
#include "client/group/topic_watch.h"

namespace sluice {

struct GroupConsumerOptions {
  membership::Options membership;
  // How much is fetched, and when (fetch_bytes_min, fetch_wait_ms_max,
  // partition_bytes_max). Its reset is not looked at.
  ConsumerOptions fetching;
  GroupReset reset = GroupReset::kLatest;
  int64_t reset_back_ms = 0;  // with kDuration
  int64_t reset_time_ms = 0;  // with kTime, since 1970
  bool auto_commit = true;
  int64_t auto_commit_interval_ms = 5'000;
  int32_t max_poll_records = 500;
};

// What a member has to know of its partitions. Kafka's rebalance listener, as a
// value: what it asks for is done when the next Poll begins.
struct Rebalance {
  enum class Kind {
    kAssigned,  // begin with these; Seek says where, else they go on
    kRevoked,   // finish with these, and commit
    kLost,      // they are another's already: commits are refused
  };
  Kind kind = Kind::kAssigned;
  membership::Partitions partitions;
};

struct GroupPoll {
  std::vector<FetchedBatch> batches;  // or
  std::optional<Rebalance> rebalance;
};

// Lives on the client's executor (BlockingGroupConsumer is the door for
// threads). Built on Consumer, which fetches, and GroupMember, which belongs.
//
// What Poll gave is done with when the next Poll begins, and only then: that is
// what auto-commit commits, and a partition is given back to the group only
// between two polls. So with auto-commit every record is read at least once,
// and who commits before it works reads at most once. Who does not poll for
// max_poll_interval_ms is taken out of the group.
class GroupConsumer {
 public:
  using PollCallback = absl::AnyInvocable<void(absl::StatusOr<GroupPoll>)>;
  using Done = GroupMember::CommitDone;
  using Committed = GroupMember::FetchDone;

  GroupConsumer(const GroupMember::Deps& deps,
                const GroupConsumerOptions& options);
  // A waiting Poll is answered with SHUTTING_DOWN. Leaves nothing behind but
  // the membership, until its session is over: Close first.
  ~GroupConsumer();

  // INVALID_REQUEST when empty.
  absl::Status Subscribe(const std::set<std::string>& topics);
  // To all topics whose whole name matches, also those made later (topic_watch.h
  // looks every 10 s). Until one does Poll gives nothing. INVALID_REQUEST: no
  // pattern of RE2's.
  absl::Status SubscribePattern(const std::string& pattern);
  // Records of up to max_poll_records offsets, about bytes_max at most; or what
  // became of the partitions; nothing after timeout_us. One at a time. Errors
  // as Consumer::Poll, and FENCED_INSTANCE_ID and other ends of the membership,
  // which stay.
  void Poll(int64_t timeout_us, int64_t bytes_max, PollCallback callback);

  // Where the last Poll left off, of everything assigned. While the group makes
  // a new generation the answer is REBALANCE_IN_PROGRESS: poll on.
  void Commit(Done done);
  void CommitOffsets(const CommittedPositions& positions, Done done);
  void FetchCommitted(const std::vector<NamedPartition>& partitions,
                      Committed done);
  // With auto-commit, commits; then leaves the group, so that the others need
  // not wait. Poll answers SHUTTING_DOWN from here on.
  void Close(std::function<void(const absl::Status&)> done);

  // INVALID_REQUEST when not assigned.
  absl::Status Seek(const NamedPartition& tp, Offset offset);
  absl::Status Pause(const NamedPartition& tp);
  absl::Status Resume(const NamedPartition& tp);
  // Where the record lies that comes next: also when the log was cut below what
  // was read, and nothing has come since (seed 1450).
  std::optional<Offset> Position(const NamedPartition& tp) const;
  std::vector<NamedPartition> Assignment() const;
  const GroupMember& member() const { return member_; }

 private:
  // Told to the application and not taken back.
  struct Owned {
    std::optional<Offset> position;  // handed out up to here
    LeaderEpoch epoch = kNoLeaderEpoch;
    TopicId topic_id;  // whose position it is; unset: not known yet
    bool paused = false;
    bool fetched = false;  // Consumer has it
    std::deque<FetchedBatch> waiting;
  };
  enum class ReleaseStage { kNone, kWanted, kCommitting, kDue, kTold };

  // group_consumer.cc
  void AcknowledgeLast();
  void AnswerIfAny();
  void Answer(absl::StatusOr<GroupPoll> result);
  bool TakeRecords(GroupPoll& into);
  void Pull();
  void OnPulled(absl::StatusOr<Consumer::Batches> batches);
  absl::Status NotAssigned(const NamedPartition& tp) const;
  int64_t PollLeftUs() const;

  // group_rebalances.cc
  void OnRelease(const membership::Partitions& partitions, bool lost);
  void OnAssigned(const membership::Partitions& added);
  void OnFailed(const absl::Status& status);
  bool ReleaseStep(GroupPoll& into);
  bool AssignStep(GroupPoll& into);
  void GiveUp(const membership::Partitions& partitions);
  void FindStarts();
  void OnStarts(uint64_t round,
                const absl::StatusOr<CommittedPositions>& starts);
  void FetchWhatStarted();
  void AutoCommitIfDue();
  CommittedPositions Positions(const membership::Partitions* of) const;

  const GroupMember::Deps deps_;
  const GroupConsumerOptions options_;
  Consumer consumer_;
  GroupMember member_;
  std::unique_ptr<TopicWatch> topic_watch_;  // null: topics are named

  std::map<NamedPartition, Owned> owned_;
  NamedPartition last_taken_;  // round robin
  // Of the membership, not told yet.
  std::optional<membership::Partitions> assigned_;
  membership::Partitions releasing_;
  bool releasing_lost_ = false;
  ReleaseStage release_stage_ = ReleaseStage::kNone;
  // Told as assigned, and to be started when the next Poll begins.
  bool starts_due_ = false;
  uint64_t starts_round_ = 0;
  std::optional<absl::Status> failed_;
  std::deque<absl::Status> errors_;
  bool closed_ = false;

  PollCallback poll_;  // waiting; null: none
  int64_t poll_bytes_max_ = 0;
  int64_t poll_deadline_us_ = 0;
  TimerId poll_timer_ = 0;
  bool beginning_ = false;  // Poll tells the membership so, and answers then
  bool pulling_ = false;

  int64_t next_auto_commit_us_ = 0;
  CommittedPositions auto_committed_;
  bool auto_committing_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice
