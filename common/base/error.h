// The errors of Sluice: Kafka's numbers where Kafka has the error, our own
// from 10000. An error travels as an absl::Status that carries its code as a
// payload; at the edge it becomes a body field or google.rpc.ErrorInfo.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "common/base/str_cat.h"

// name, Kafka's number, absl::StatusCode, does trying again help
#define SLUICE_ERRORS(X)                                              \
  X(kUnknownServerError, "UNKNOWN_SERVER_ERROR", -1, kInternal, false)\
  X(kOffsetOutOfRange, "OFFSET_OUT_OF_RANGE", 1, kOutOfRange, false)  \
  X(kCorruptMessage, "CORRUPT_MESSAGE", 2, kDataLoss, false)          \
  X(kUnknownTopicOrPartition, "UNKNOWN_TOPIC_OR_PARTITION", 3, kNotFound, true) \
  X(kLeaderNotAvailable, "LEADER_NOT_AVAILABLE", 5, kUnavailable, true) \
  X(kNotLeader, "NOT_LEADER", 6, kFailedPrecondition, true)           \
  X(kRequestTimedOut, "REQUEST_TIMED_OUT", 7, kDeadlineExceeded, true)\
  X(kBrokerNotAvailable, "BROKER_NOT_AVAILABLE", 8, kUnavailable, true) \
  X(kMessageTooLarge, "MESSAGE_TOO_LARGE", 10, kInvalidArgument, false) \
  X(kOffsetMetadataTooLarge, "OFFSET_METADATA_TOO_LARGE", 12, kInvalidArgument, false) \
  X(kCoordinatorLoadInProgress, "COORDINATOR_LOAD_IN_PROGRESS", 14, kUnavailable, true) \
  X(kCoordinatorNotAvailable, "COORDINATOR_NOT_AVAILABLE", 15, kUnavailable, true) \
  X(kNotCoordinator, "NOT_COORDINATOR", 16, kUnavailable, true) \
  X(kInvalidTopic, "INVALID_TOPIC", 17, kInvalidArgument, false)      \
  X(kNotEnoughReplicas, "NOT_ENOUGH_REPLICAS", 19, kUnavailable, true)\
  X(kNotEnoughReplicasAfterAppend, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", 20, kUnavailable, true) \
  X(kInvalidRequiredAcks, "INVALID_REQUIRED_ACKS", 21, kInvalidArgument, false) \
  X(kIllegalGeneration, "ILLEGAL_GENERATION", 22, kFailedPrecondition, false) \
  X(kInconsistentGroupProtocol, "INCONSISTENT_GROUP_PROTOCOL", 23, kInvalidArgument, false) \
  X(kInvalidGroupId, "INVALID_GROUP_ID", 24, kInvalidArgument, false) \
  X(kUnknownMemberId, "UNKNOWN_MEMBER_ID", 25, kFailedPrecondition, false) \
  X(kInvalidSessionTimeout, "INVALID_SESSION_TIMEOUT", 26, kInvalidArgument, false) \
  X(kRebalanceInProgress, "REBALANCE_IN_PROGRESS", 27, kFailedPrecondition, true) \
  X(kInvalidTimestamp, "INVALID_TIMESTAMP", 32, kInvalidArgument, false) \
  X(kUnsupportedVersion, "UNSUPPORTED_VERSION", 35, kUnimplemented, false) \
  X(kTopicAlreadyExists, "TOPIC_ALREADY_EXISTS", 36, kAlreadyExists, false) \
  X(kInvalidPartitions, "INVALID_PARTITIONS", 37, kInvalidArgument, false) \
  X(kInvalidReplicationFactor, "INVALID_REPLICATION_FACTOR", 38, kInvalidArgument, false) \
  X(kInvalidReplicaAssignment, "INVALID_REPLICA_ASSIGNMENT", 39, kInvalidArgument, false) \
  X(kInvalidConfig, "INVALID_CONFIG", 40, kInvalidArgument, false)    \
  X(kNotController, "NOT_CONTROLLER", 41, kUnavailable, true)         \
  X(kInvalidRequest, "INVALID_REQUEST", 42, kInvalidArgument, false)  \
  X(kOutOfOrderSequence, "OUT_OF_ORDER_SEQUENCE", 45, kFailedPrecondition, false) \
  X(kDuplicateSequence, "DUPLICATE_SEQUENCE", 46, kAlreadyExists, false) \
  X(kInvalidProducerEpoch, "INVALID_PRODUCER_EPOCH", 47, kFailedPrecondition, false) \
  X(kInvalidProducerIdMapping, "INVALID_PRODUCER_ID_MAPPING", 49, kFailedPrecondition, false) \
  X(kStorageError, "STORAGE_ERROR", 56, kUnavailable, true)           \
  X(kUnknownProducerId, "UNKNOWN_PRODUCER_ID", 59, kNotFound, false)  \
  X(kNonEmptyGroup, "NON_EMPTY_GROUP", 68, kFailedPrecondition, false) \
  X(kGroupIdNotFound, "GROUP_ID_NOT_FOUND", 69, kNotFound, false) \
  X(kFencedLeaderEpoch, "FENCED_LEADER_EPOCH", 74, kFailedPrecondition, true) \
  X(kUnknownLeaderEpoch, "UNKNOWN_LEADER_EPOCH", 75, kUnavailable, true) \
  X(kUnsupportedCompressionType, "UNSUPPORTED_COMPRESSION_TYPE", 76, kInvalidArgument, false) \
  X(kStaleBrokerEpoch, "STALE_BROKER_EPOCH", 77, kFailedPrecondition, false) \
  X(kOffsetNotAvailable, "OFFSET_NOT_AVAILABLE", 78, kUnavailable, true) \
  X(kMemberIdRequired, "MEMBER_ID_REQUIRED", 79, kFailedPrecondition, true) \
  X(kPreferredLeaderNotAvailable, "PREFERRED_LEADER_NOT_AVAILABLE", 80, kFailedPrecondition, true) \
  X(kGroupMaxSizeReached, "GROUP_MAX_SIZE_REACHED", 81, kResourceExhausted, false) \
  X(kFencedInstanceId, "FENCED_INSTANCE_ID", 82, kFailedPrecondition, false) \
  X(kEligibleLeadersNotAvailable, "ELIGIBLE_LEADERS_NOT_AVAILABLE", 83, kUnavailable, true) \
  X(kElectionNotNeeded, "ELECTION_NOT_NEEDED", 84, kFailedPrecondition, false) \
  X(kGroupSubscribedToTopic, "GROUP_SUBSCRIBED_TO_TOPIC", 86, kFailedPrecondition, false) \
  X(kInvalidRecord, "INVALID_RECORD", 87, kInvalidArgument, false)    \
  X(kUnstableOffsetCommit, "UNSTABLE_OFFSET_COMMIT", 88, kUnavailable, true) \
  X(kInvalidUpdateVersion, "INVALID_UPDATE_VERSION", 95, kAborted, true) \
  X(kUnknownTopicId, "UNKNOWN_TOPIC_ID", 100, kNotFound, true)        \
  X(kDuplicateBrokerRegistration, "DUPLICATE_BROKER_REGISTRATION", 101, kAlreadyExists, true) \
  X(kBrokerIdNotRegistered, "BROKER_ID_NOT_REGISTERED", 102, kNotFound, true) \
  X(kInconsistentTopicId, "INCONSISTENT_TOPIC_ID", 103, kFailedPrecondition, true) \
  X(kInconsistentClusterId, "INCONSISTENT_CLUSTER_ID", 104, kFailedPrecondition, false) \
  X(kIneligibleReplica, "INELIGIBLE_REPLICA", 107, kFailedPrecondition, true) \
  X(kInvalidRegistration, "INVALID_REGISTRATION", 119, kInvalidArgument, false) \
  X(kBusy, "BUSY", 10000, kResourceExhausted, true)                   \
  X(kShuttingDown, "SHUTTING_DOWN", 10001, kUnavailable, true)        \
  X(kNotAReplica, "NOT_A_REPLICA", 10002, kFailedPrecondition, true)  \
  X(kDataDirInUse, "DATA_DIR_IN_USE", 10003, kFailedPrecondition, false) \
  X(kDataDirMismatch, "DATA_DIR_MISMATCH", 10004, kFailedPrecondition, false) \
  X(kUnsupportedFormat, "UNSUPPORTED_FORMAT", 10005, kFailedPrecondition, false) \
  X(kOutcomeUnknown, "OUTCOME_UNKNOWN", 10006, kUnknown, false)       \
  X(kDeliveryTimedOut, "DELIVERY_TIMED_OUT", 10007, kDeadlineExceeded, false) \
  X(kBufferExhausted, "BUFFER_EXHAUSTED", 10008, kResourceExhausted, true) \
  X(kRequestTooLarge, "REQUEST_TOO_LARGE", 10009, kResourceExhausted, false) \
  X(kStorageFull, "STORAGE_FULL", 10010, kResourceExhausted, true)    \
  X(kReplicaFailed, "REPLICA_FAILED", 10011, kUnavailable, false)     \
  X(kInsecureListener, "INSECURE_LISTENER", 10012, kInvalidArgument, false) \
  X(kTooManyProducers, "TOO_MANY_PRODUCERS", 10013, kResourceExhausted, true) \
  X(kLogTruncated, "LOG_TRUNCATED", 10014, kOutOfRange, false) \
  X(kReplicaRecovering, "REPLICA_RECOVERING", 10015, kUnavailable, true) \
  X(kInvalidCommitOffset, "INVALID_COMMIT_OFFSET", 10016, kInvalidArgument, false) \
  X(kTakenOver, "TAKEN_OVER", 10017, kAborted, false) \
  X(kConsumerStalled, "CONSUMER_STALLED", 10018, kAborted, false)

namespace sluice {

enum class ErrorCode : int32_t {
  kNone = 0,
#define X(id, name, number, status_code, retriable) id = number,
  SLUICE_ERRORS(X)
#undef X
};

// A status with this code's canonical code. The message says what failed, with
// the facts, and what to do next.
absl::Status MakeErrorStatus(ErrorCode code, const std::string& message);
template <class... Parts>
absl::Status MakeError(ErrorCode code, const Parts&... message) {
  return MakeErrorStatus(code, StrCat(message...));
}

// kNone for OK; the payload's code; for a status from elsewhere the nearest of
// ours (kStorageError for the file system's, kUnknownServerError else).
ErrorCode CodeOf(const absl::Status& status);

// "NOT_LEADER"; "NONE" for kNone; "UNKNOWN_SERVER_ERROR" for a number that is
// not in the table (a newer peer's).
std::string_view NameOf(ErrorCode code);
ErrorCode CodeFromName(std::string_view name);
// A number from the wire; unknown numbers become kUnknownServerError.
ErrorCode CodeFromNumber(int32_t number);
absl::StatusCode CanonicalCodeOf(ErrorCode code);

// Whether the same request may succeed later or elsewhere without a change by
// its author.
bool IsRetriable(ErrorCode code);

}  // namespace sluice
