// What a coordinator is set to, and its limits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "broker/group/group_types.h"
#include "broker/offsets/offset_expiry.h"
#include "controller/metadata/config_registry.h"

namespace sluice::coordinator {

struct CoordinatorConfig {
  group::GroupConfig group;
  offsets::ExpiryRule expiry = offsets::ExpiryRule::kWithTopic;
  int64_t retention_ms = int64_t{7} * 24 * 3'600'000;
  // Of logs that a directory's views have taken, between two checkpoints.
  int64_t view_checkpoint_bytes = 64 << 20;
  int64_t sweep_every_us = 600'000'000;
  // A commit that the in-sync replicas have not stored by then is answered
  // REQUEST_TIMED_OUT.
  int64_t commit_timeout_us = 5'000'000;

  // ---- Of one partition of __consumer_offsets; beyond them BUSY ----
  size_t groups_max = 100'000;  // loaded: with members, or asked for just now
  size_t requests_max = 50'000;  // waiting: parked joins and syncs, commits
  int64_t request_bytes_max = 64 << 20;  // of those
};

// As `sluiced --set` says.
CoordinatorConfig CoordinatorConfigFrom(const ConfigRegistry& configs);

// Partitions in one commit, groups in one call.
inline constexpr int kOffsetsPerCommitMax = 10'000;
inline constexpr int kGroupsPerCallMax = 1'000;
inline constexpr int kDescribedPerCallMax = 100;
inline constexpr int kMembersPerLeaveMax = 1'000;
inline constexpr int kProtocolsPerJoinMax = 16;
// What a member says of itself, all protocols together; a group's record holds
// it for each member.
inline constexpr int64_t kJoinBytesMax = 1 << 20;
inline constexpr size_t kMemberTextBytesMax = 249;  // ids, names
inline constexpr size_t kReasonBytesMax = 255;

// Appends of commits that are not in every in-sync replica's log yet, of one
// partition; what comes meanwhile is one batch, up to about so many bytes.
inline constexpr int kCommitAppendsMax = 1;
inline constexpr int64_t kGatheredBytesMax = 256 << 10;
// Records of one batch that removes things; more take several.
inline constexpr size_t kRemovalsPerBatch = 10'000;
// Groups that one turn of the sweep looks at.
inline constexpr int kGroupsPerSweepTurn = 50;

}  // namespace sluice::coordinator
