// What request handlers ask of the shard that owns a partition. The shard
// implements it; handler tests fake it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "common/api/log_api.h"
#include "common/base/buffer.h"
#include "common/base/ids.h"
#include "common/env/executor.h"
#include "sluice/v1/topic.pb.h"

namespace sluice {

struct AppendRequest {
  TopicPartition tp;
  // One or more RecordBatch v2 as sent. Validated, patched and appended by the
  // shard, all batches or none.
  MutableBuffer batches;
  api::Acks acks = api::Acks::kAll;
  int64_t deadline_us = 0;  // Clock::MonoMicros; acks = all waits until then
  std::optional<LeaderEpoch> leader_epoch;
  api::AppendOrigin origin = api::AppendOrigin::kClient;
};

struct AppendOutcome {
  api::ItemError error;
  Offset base_offset = kNoOffset;
  int32_t record_count = 0;
  Offset log_start_offset = kNoOffset;
  std::optional<api::LeaderHint> leader;  // with NOT_LEADER
  std::vector<api::RecordError> record_errors;
  std::string durability;  // "disk" or "memory": what the answer promises
  bool below_min_isr = false;
  // Stored by an earlier attempt of the same producer, at base_offset; nothing
  // was appended.
  bool duplicate = false;
};

struct ReadRequest {
  TopicPartition tp;
  Offset offset;
  int32_t max_bytes = 0;  // > 0; a batch that is larger comes whole
  std::optional<LeaderEpoch> leader_epoch;
  api::Isolation isolation = api::Isolation::kReadUncommitted;
  // Of the last record before `offset`, as the reader has it: checked.
  std::optional<LeaderEpoch> last_fetched_epoch;
  // Where the reader is. Set: an in-sync follower may answer, and a leader in
  // another rack names one in this.
  std::string rack;
};

struct PreferredReplica {
  NodeId id;
  api::Endpoint endpoint;  // for clients
};

struct ReadOutcome {
  api::ItemError error;
  bool follower = false;  // answered by one, for a reader that has a rack
  std::optional<EpochEnd> diverging;  // with LOG_TRUNCATED
  std::optional<api::LeaderHint> leader;
  // Set: nothing was read, this one is nearer to the reader.
  std::optional<PreferredReplica> preferred_replica;
  LeaderEpoch leader_epoch = kNoLeaderEpoch;
  Offset high_watermark = kNoOffset;
  Offset last_stable_offset = kNoOffset;
  Offset log_start_offset = kNoOffset;
  // Whole batches; the first may begin below the offset asked for, none ends
  // above the visible limit. Empty when nothing is there to read yet.
  std::vector<Buffer> batches;
  size_t batches_bytes = 0;
  LeaderEpoch last_record_epoch = kNoLeaderEpoch;  // in batches
  Offset next_offset = kNoOffset;
};

struct OffsetRequest {
  TopicPartition tp;
  api::OffsetPosition position = api::OffsetPosition::kInvalid;
  std::optional<LeaderEpoch> leader_epoch;
  api::Isolation isolation = api::Isolation::kReadUncommitted;
  int64_t timestamp_ms = 0;  // kTimestamp
  int64_t deadline_us = INT64_MAX;  // Clock::MonoMicros; by timestamp
};

struct OffsetOutcome {
  api::ItemError error;
  std::optional<api::LeaderHint> leader;
  Offset offset = kNoOffset;
  LeaderEpoch leader_epoch = kNoLeaderEpoch;
  Offset high_watermark = kNoOffset;
  Offset last_stable_offset = kNoOffset;
  int64_t timestamp_ms = -1;  // by timestamp: of that record
};

struct EpochEndRequest {
  TopicPartition tp;
  LeaderEpoch epoch = kNoLeaderEpoch;  // asked about
  std::optional<LeaderEpoch> leader_epoch;
};

struct EpochEndOutcome {
  api::ItemError error;
  std::optional<api::LeaderHint> leader;
  EpochEnd end;  // of kNoLeaderEpoch: unknown
  Offset log_start_offset = kNoOffset;
};

struct TrimRequest {
  TopicPartition tp;
  Offset before;  // the new log start; kNoOffset: the high watermark
  std::optional<LeaderEpoch> leader_epoch;
  int64_t deadline_us = 0;  // Clock::MonoMicros; waits for the record until then
  bool validate_only = false;
};

struct TrimOutcome {
  api::ItemError error;
  std::optional<api::LeaderHint> leader;
  Offset log_start_offset = kNoOffset;
  Offset high_watermark = kNoOffset;
};

using WaitId = uint64_t;  // 0: none
// Nothing is waited for: the wake was posted at once.
inline constexpr WaitId kWaitPosted = UINT64_MAX;

// Every method runs on executor() and every callback is called there, once;
// possibly before the method returns. A partition this broker does not host is
// UNKNOWN_TOPIC_OR_PARTITION (UNKNOWN_TOPIC_ID by id), one led elsewhere is
// NOT_LEADER with the leader.
class PartitionHost {
 public:
  virtual ~PartitionHost() = default;

  virtual Executor* executor() = 0;

  // `ordered` runs when the batches have their place in the log (or were
  // refused): the next append of the same caller may follow.
  virtual void Append(AppendRequest request, Task ordered,
                      absl::AnyInvocable<void(AppendOutcome)> done) = 0;
  virtual void Read(const ReadRequest& request,
                    absl::AnyInvocable<void(ReadOutcome)> done) = 0;
  // EARLIEST and LATEST.
  virtual OffsetOutcome FindOffset(const OffsetRequest& request) = 0;
  // TIMESTAMP and MAX_TIMESTAMP: looks through the log. BUSY: too many do.
  virtual void FindOffsetByTime(
      const OffsetRequest& request,
      absl::AnyInvocable<void(OffsetOutcome)> done) = 0;
  virtual EpochEndOutcome FindEpochEnd(const EpochEndRequest& request) = 0;
  // Moves the log start up; answered when the controllers have recorded that:
  // no later leader shows less.
  virtual void Trim(const TrimRequest& request,
                    absl::AnyInvocable<void(TrimOutcome)> done) = 0;

  // Runs `wake` once, as soon as the visible limit passes `offset` or this
  // broker stops leading the partition (as a follower that is read: soon after
  // it stops, or for no reason); at once (posted, kWaitPosted) when
  // that is so already. At most Waiters::kWaitersMax a partition; 0 when there
  // is no room: the caller answers with what it has. A wake that was posted
  // before CancelWait still runs.
  virtual WaitId WaitForProgress(const TopicPartition& tp, Offset offset,
                                 Task wake) = 0;
  virtual void CancelWait(const TopicPartition& tp, WaitId wait) = 0;

  // What DescribeTopics(include_log) tells of a partition led here.
  virtual v1::PartitionLog DescribeLog(const TopicPartition& tp) = 0;
};

// Finds the host of a partition: by hash of the topic id and partition, the
// same for the life of the process. Any thread.
class PartitionHosts {
 public:
  virtual ~PartitionHosts() = default;
  virtual PartitionHost* HostOf(const TopicPartition& tp) = 0;
};

}  // namespace sluice
