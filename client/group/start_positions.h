// Where a member begins to read the partitions that it was given.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "client/group/group_member.h"

namespace sluice {

// Where a group begins a topic that it has never read.
enum class GroupReset {
  kEarliest,
  kLatest,
  kDuration,  // at what came `reset_back_ms` ago
  kTime,      // at what came at `reset_time_ms` or later
  kNone,
};

// Where the group has committed, it goes on. Where it has not:
//
// - It has committed other partitions of the topic: this one was added since,
//   while somebody was there or not. It is read from its first record on,
//   whatever `reset` says: nobody has seen one.
// - It has committed none of the topic: `reset` decides. Unless that is the
//   earliest, the group's leader alone looks where all partitions of the topic
//   are, and commits that at once, in one call, also without auto-commit; the
//   other members wait for it, kLeaderPatienceUs long. So the group begins in one
//   place, and has, from then on, committed. What is committed by then stays: a
//   leader that comes late moves nobody back.
//
// Lives on the client's executor; keeps itself alive until `done` ran, once.
class StartPositions : public std::enable_shared_from_this<StartPositions> {
 public:
  using Done = std::function<void(const absl::StatusOr<CommittedPositions>&)>;
  struct Question {
    GroupMember* member = nullptr;
    std::weak_ptr<const void> lives;  // as long as `member`
    std::vector<NamedPartition> partitions;
    GroupReset reset = GroupReset::kLatest;
    int64_t reset_back_ms = 0;  // kDuration: before it is looked up
    int64_t reset_time_ms = 0;  // kTime
    int64_t timeout_us = 0;
    Done done;
  };
  static constexpr int64_t kLeaderPatienceUs = 5'000'000;
  static constexpr int64_t kAskAgainUs = 100'000;

  static void Start(const GroupMember::Deps& deps, Question question);
  StartPositions(const GroupMember::Deps& deps, Question question);

 private:
  void Ask();
  void OnCommitted(const absl::StatusOr<CommittedPositions>& committed);
  void BeginTopics();
  using Offsets = std::map<NamedPartition, Offset>;
  void OnLatest(const absl::StatusOr<Offsets>& ends);
  void LookUpTimes(Offsets ends);
  void BeginAt(const Offsets& begins);
  void ReadFromStart();
  void Finish(const absl::StatusOr<CommittedPositions>& result);
  // Of who has the name now, as far as is known: taken before it is asked where
  // the topic begins or ends.
  TopicId IdOf(const std::string& topic) const;
  // Of these topics, all that exist.
  std::vector<NamedPartition> AllOf(const std::set<std::string>& topics) const;
  int64_t LeftUs() const;

  const GroupMember::Deps deps_;
  Question question_;
  const int64_t begun_us_;
  CommittedPositions starts_;
  std::set<std::string> new_topics_;      // that the group never read
  std::map<std::string, TopicId> ids_;    // of these, when they were looked at
  std::vector<NamedPartition> from_first_;
};

}  // namespace sluice
