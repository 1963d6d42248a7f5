// A membership of a group at work: its calls, its timers, its offsets.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/client_types.h"
#include "client/group/group_connections.h"
#include "client/group/group_membership.h"
#include "client/metadata_cache.h"

namespace sluice {

struct CommittedPosition {
  Offset offset;
  LeaderEpoch leader_epoch = kNoLeaderEpoch;  // of the record before it
  std::string metadata;
  // Whose offset it is. Set: it counts for no other topic that has the name
  // since (F72).
  TopicId topic_id;
};
using CommittedPositions = std::map<NamedPartition, CommittedPosition>;

// Lives on the client's executor. Carries out what GroupMembership decides; who
// listens is called there, never in the middle of a call to this.
//
// Commits go out one at a time, in their order, each with the membership that
// it was made under: a retry never overtakes a later one, and what was read
// under an old generation is never committed under a new one.
class GroupMember {
 public:
  struct Deps {
    ClientDeps client;
    ClientOptions options;
    MetadataCache* metadata = nullptr;
    GroupConnector* groups = nullptr;
  };
  struct Listener {
    // To be answered by Released.
    std::function<void(const membership::Partitions&, bool lost)> on_release;
    std::function<void(const membership::Partitions& added)> on_assigned;
    std::function<void(const absl::Status&)> on_failed;
  };
  using CommitDone = std::function<void(const absl::Status&)>;
  using FetchDone =
      std::function<void(const absl::StatusOr<CommittedPositions>&)>;

  // The leader of a group looks this often whether its topics have grown.
  static constexpr int64_t kTopicsAgeMaxUs = 10'000'000;
  static constexpr int64_t kLookUpTimeoutUs = 5'000'000;
  static constexpr int64_t kLeaveTimeoutUs = 5'000'000;
  // Beyond, a commit is refused with BUSY.
  static constexpr size_t kCommitsWaitingMax = 64;

  GroupMember(Deps deps, const membership::Options& options,
              Listener listener);
  ~GroupMember();
  GroupMember(const GroupMember&) = delete;
  GroupMember& operator=(const GroupMember&) = delete;

  void Subscribe(const std::set<std::string>& topics);
  void PollBegan() { Do(membership::PollBegan{}); }
  void PollEnded() { Do(membership::PollEnded{}); }
  void Released() { Do(membership::Released{}); }

  // Tried again until it is settled or `timeout_us` passed. UNKNOWN_MEMBER_ID
  // for who is in no generation; UNKNOWN_TOPIC_ID where the topic was deleted
  // and made again. The status is that of the first partition that was refused;
  // the others may be committed.
  void Commit(const CommittedPositions& positions, int64_t timeout_us,
              CommitDone done);
  // Where the group begins what it has never read, also others' partitions: one
  // of which something is committed keeps that, INVALID_COMMIT_OFFSET. So who
  // comes late, or tries again, moves nobody who reads already.
  void CommitBegins(const CommittedPositions& positions, int64_t timeout_us,
                    CommitDone done);
  // Those that have one, of the topics that have the names now.
  void FetchCommitted(const std::vector<NamedPartition>& partitions,
                      int64_t timeout_us, FetchDone done);
  // Waits for the answer, kLeaveTimeoutUs at most. Nothing comes afterwards.
  void Leave(std::function<void()> done);

  bool is_leader() const { return membership_.is_leader(); }
  const std::string& member_id() const { return membership_.member_id(); }
  int32_t generation() const { return membership_.generation(); }

 private:
  struct Claim {
    std::string member_id;
    int32_t generation = membership::kNoGeneration;
  };
  struct WaitingCommit {
    v1::CommitOffsetsRequest request;
    // In the order of the request.
    std::shared_ptr<const CommittedPositions> positions;
    int64_t deadline_us = 0;
    CommitDone done;
  };
  struct LookUp {
    membership::CallId call = 0;
    std::set<std::string> topics;
    int64_t refresh_count = 0;  // when it began
    TimerId timer = 0;
  };

  void Do(membership::Event event);
  void Carry(membership::FindCoordinator action);
  void Carry(membership::SendJoin action);
  void Carry(membership::LookUpTopics action);
  void Carry(membership::SendSync action);
  void Carry(membership::SendHeartbeat action);
  void Carry(membership::SendLeave action);
  void Carry(membership::Release action);
  void Carry(membership::Assigned action);
  void Carry(membership::Failed action);
  void Carry(membership::Left action);
  void SetTimer();
  void OnMetadata();
  void FinishLookUp(bool timed_out);
  void WatchTopics();
  consumer::PartitionCounts KnownCounts(
      const std::set<std::string>& topics) const;
  std::shared_ptr<GroupPeer> CoordinatorPeer();
  int64_t RoundTimeoutUs() const;
  void Commit(const CommittedPositions& positions, bool begins,
              int64_t timeout_us, CommitDone done);
  void NextCommit();
  bool IsMadeAgain(const NamedPartition& tp, TopicId topic_id) const;
  absl::Status Judge(const CommittedPositions& asked,
                     const v1::CommitOffsetsResponse& response) const;
  void Heed(ErrorCode code);
  void PutQuery(const std::vector<NamedPartition>& partitions,
                std::map<std::string, std::string>& names,
                v1::GroupOffsetsQuery* query) const;
  void OnCommitted(const absl::Status& status);
  Claim CurrentClaim() const { return {member_id(), generation()}; }
  // Of calls whose answer may come when this is gone.
  template <class Call>
  auto Guarded(Call call);

  const Deps deps_;
  const membership::Options options_;
  const Listener listener_;
  Random random_;
  GroupMembership membership_;
  GroupConnections connections_;

  std::deque<membership::Event> events_;
  bool stepping_ = false;
  TimerId timer_ = 0;
  TimerId topics_timer_ = 0;

  // The one that was found last; asked while the membership believes in it.
  std::optional<api::Endpoint> coordinator_;
  size_t next_broker_ = 0;
  std::set<std::string> topics_;  // that are watched
  consumer::PartitionCounts told_counts_;
  std::optional<LookUp> look_up_;

  std::deque<WaitingCommit> commits_;
  bool committing_ = false;
  std::vector<std::function<void()>> leaving_;
  bool left_ = false;
  std::shared_ptr<void> observation_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice
