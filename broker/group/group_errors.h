// The errors that only groups and committed offsets have: Kafka's numbers, ours
// from 10000. They are ErrorCodes like those of common/base/error.h, whose
// table names them for the wire.
#pragma once

#include "common/base/error.h"

namespace sluice::group {

inline constexpr ErrorCode kOffsetMetadataTooLarge{12};
inline constexpr ErrorCode kCoordinatorLoadInProgress{14};
inline constexpr ErrorCode kCoordinatorNotAvailable{15};
inline constexpr ErrorCode kNotCoordinator{16};
inline constexpr ErrorCode kIllegalGeneration{22};
inline constexpr ErrorCode kInconsistentGroupProtocol{23};
inline constexpr ErrorCode kInvalidGroupId{24};
inline constexpr ErrorCode kUnknownMemberId{25};
inline constexpr ErrorCode kInvalidSessionTimeout{26};
inline constexpr ErrorCode kRebalanceInProgress{27};
inline constexpr ErrorCode kNonEmptyGroup{68};
inline constexpr ErrorCode kGroupIdNotFound{69};
inline constexpr ErrorCode kMemberIdRequired{79};
inline constexpr ErrorCode kGroupMaxSizeReached{81};
inline constexpr ErrorCode kFencedInstanceId{82};
inline constexpr ErrorCode kGroupSubscribedToTopic{86};
inline constexpr ErrorCode kUnstableOffsetCommit{88};
inline constexpr ErrorCode kInvalidCommitOffset{10020};

}  // namespace sluice::group
