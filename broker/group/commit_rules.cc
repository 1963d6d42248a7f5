#include "broker/group/commit_rules.h"

#include <string>

#include "common/base/mutant.h"
#include "common/consumer/consumer_protocol.h"

namespace sluice::group {

ErrorCode CheckGroupId(std::string_view group_id) {
  const bool valid = !group_id.empty() && group_id.size() <= kGroupIdBytesMax;
  return valid ? ErrorCode::kNone : ErrorCode::kInvalidGroupId;
}

ErrorCode CheckCommit(const GroupCore* group, const CommitClaim& claim) {
  const bool has_generation = claim.generation >= Generation(0);
  if (group == nullptr) {
    return has_generation ? ErrorCode::kGroupIdNotFound : ErrorCode::kNone;
  }
  const GroupState state = group->state();
  if (state == GroupState::kDead) return ErrorCode::kCoordinatorNotAvailable;
  if (!has_generation && state == GroupState::kEmpty) return ErrorCode::kNone;
  if (has_generation || !claim.member.empty() || !claim.instance.empty()) {
    const ErrorCode member =
        group->CheckMember(claim.member, claim.instance, claim.stream);
    if (member != ErrorCode::kNone) return member;
    if (claim.generation != group->generation() &&
        !MUTANT(kOldGenerationCommits)) {
      return ErrorCode::kIllegalGeneration;
    }
  } else if (!claim.transactional && state != GroupState::kEmpty &&
             !MUTANT(kStrangerCommits)) {
    return ErrorCode::kUnknownMemberId;
  }
  // It knows of the new generation and not yet of what it owns in it.
  if (!claim.transactional && state == GroupState::kCompleting) {
    return ErrorCode::kRebalanceInProgress;
  }
  return ErrorCode::kNone;
}

ErrorCode CheckPartitionCommit(const PartitionCommit& commit) {
  if (!commit.partition_exists) return ErrorCode::kUnknownTopicOrPartition;
  if (commit.offset < 0) return ErrorCode::kInvalidCommitOffset;
  if (commit.metadata.has_value() &&
      commit.metadata->size() > kOffsetMetadataBytesMax) {
    return ErrorCode::kOffsetMetadataTooLarge;
  }
  if (commit.begins && commit.has_offset) {
    return ErrorCode::kInvalidCommitOffset;
  }
  return ErrorCode::kNone;
}

ErrorCode CheckFetch(const GroupCore* group) {
  const bool dead = group != nullptr && group->state() == GroupState::kDead;
  return dead ? ErrorCode::kGroupIdNotFound : ErrorCode::kNone;
}

ErrorCode CheckDeleteOffsets(const GroupCore* group, bool has_offsets,
                             std::string_view topic) {
  if (group == nullptr) {
    return has_offsets ? ErrorCode::kNone : ErrorCode::kGroupIdNotFound;
  }
  switch (group->state()) {
    case GroupState::kDead: return ErrorCode::kGroupIdNotFound;
    case GroupState::kEmpty: return ErrorCode::kNone;
    case GroupState::kPreparing:
    case GroupState::kCompleting:
    case GroupState::kStable:
      break;
  }
  if (group->protocol_type() != consumer::kProtocolType) return ErrorCode::kNonEmptyGroup;
  const auto topics = group->SubscribedTopics();
  // Unknown subscriptions may be to any topic.
  const bool subscribed =
      !topics.has_value() || topics->count(std::string(topic)) > 0;
  return subscribed ? ErrorCode::kGroupSubscribedToTopic : ErrorCode::kNone;
}

ErrorCode CheckSeek(const GroupCore* group) {
  if (group == nullptr || group->state() == GroupState::kEmpty) {
    return ErrorCode::kNone;
  }
  return group->state() == GroupState::kDead ? ErrorCode::kCoordinatorNotAvailable
                                             : ErrorCode::kNonEmptyGroup;
}

}  // namespace sluice::group
