// Which commits of offsets a group takes, and which error the others get
// (GR1). To be asked in the step that appends the commit: what is current may
// have changed since the request came.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "broker/group/group_core.h"
#include "broker/group/group_types.h"
#include "common/base/error.h"

namespace sluice::group {

inline constexpr size_t kGroupIdBytesMax = 249;
inline constexpr size_t kOffsetMetadataBytesMax = 4096;

// ErrorCode::kInvalidGroupId: empty or too long.
ErrorCode CheckGroupId(std::string_view group_id);

// Who says it commits.
struct CommitClaim {
  MemberId member;      // empty: nobody, as a standalone consumer
  InstanceId instance;
  Generation generation = kNoGeneration;  // negative: none
  StreamSecret stream;
  // Part of a transaction, for which the producer's epoch stands too.
  bool transactional = false;
};

// `group` is nullptr when there is none: a standalone commit makes a group of
// offsets alone.
ErrorCode CheckCommit(const GroupCore* group, const CommitClaim& claim);

// One partition of a commit. An offset beyond the log's end is taken, as Kafka
// takes it.
struct PartitionCommit {
  bool partition_exists = true;
  int64_t offset = 0;
  std::optional<std::string_view> metadata;
  // Of who begins it for the group, which has committed nothing of it: whoever
  // reads it already knows better. The leader begins what others own, and may
  // come late.
  bool begins = false;
  bool has_offset = false;  // committed, or on its way
};
ErrorCode CheckPartitionCommit(const PartitionCommit& commit);

// Reading: ErrorCode::kGroupIdNotFound for a dead group; an unknown one has no offsets.
ErrorCode CheckFetch(const GroupCore* group);

// Deleting offsets of a topic: ErrorCode::kGroupIdNotFound, ErrorCode::kNonEmptyGroup for a group of
// another kind than consumers, ErrorCode::kGroupSubscribedToTopic.
ErrorCode CheckDeleteOffsets(const GroupCore* group, bool has_offsets,
                             std::string_view topic);

// Setting offsets from outside (seek) while members are active would be undone
// by their next commit: ErrorCode::kNonEmptyGroup.
ErrorCode CheckSeek(const GroupCore* group);

}  // namespace sluice::group
