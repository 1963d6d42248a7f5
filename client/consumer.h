// Reads assigned partitions from their leaders.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "client/client_types.h"
#include "client/fetched_batch.h"
#include "client/metadata_cache.h"
#include "common/base/epoch_history.h"

namespace sluice {

// Where to read when there is no position or it is not in the log any more.
enum class OffsetReset { kEarliest, kLatest, kNone };

struct ConsumerOptions {
  OffsetReset reset = OffsetReset::kLatest;
  int32_t fetch_wait_ms_max = 500;
  int32_t fetch_bytes_min = 1;
  int32_t fetch_bytes_max = 8 << 20;
  int32_t partition_bytes_max = 1 << 20;
  // Fetched and not yet polled; no more is fetched beyond.
  int64_t buffer_bytes_max = 32 << 20;
  int32_t requests_in_flight_max = 4;  // a broker
  // Where this consumer is. Set: partitions are read from an in-sync follower
  // in this rack, if there is one and the leader is elsewhere.
  std::string rack;
};

struct ConsumerCounters {
  int64_t bytes_fetched = 0;
  int64_t fetches = 0;
  int64_t resets = 0;
  int64_t truncations = 0;  // of logs, below what was read of them
  int64_t follower_fetches = 0;  // of partitions, from followers
  int64_t follower_returns = 0;  // of partitions, to their leaders
};

// Lives on the client's executor (BlockingConsumer is the door for threads).
//
// Each partition's records come in order, each offset once, from the position
// on. What comes is committed: the broker serves nothing above the high
// watermark. Fetches ahead of Poll up to buffer_bytes_max. Leaders are
// followed as by the producer. Invariant: every buffered batch of a partition
// begins at its position and they are contiguous.
//
// Knows the leader epochs of what it has read, and every fetch says the last
// one: a log that was cut below the position (an unclean election) is noticed
// by its leader before anything of the other history comes (KIP-320). The
// position then goes back to where the histories part. With reset = none Poll
// answers LOG_TRUNCATED and the partition rests until Seek; else it goes on
// from there, and the next batch says so (FetchedBatch::truncated_from).
//
// Reads a topic, not a name: when the topic is deleted and made again its
// position counts for nothing (F72), as one that the log does not hold.
//
// With a rack the leader is asked first and may name a follower nearby
// (KIP-392). That one is read until metadata_age_max_ms have passed, then the
// leader is asked again who is near. Whatever else a follower answers than
// records, or nothing yet, brings the partition back to its leader, who alone
// says where the log begins and what it holds, for kLeaderAgainUs at least.
// Only OFFSET_NOT_AVAILABLE (it is a little behind) is waited out,
// kBehindMax times.
class Consumer {
 public:
  using Batches = std::vector<FetchedBatch>;
  using PollCallback = absl::AnyInvocable<void(absl::StatusOr<Batches>)>;

  Consumer(const ClientDeps& deps, const ClientOptions& client,
           const ConsumerOptions& options, MetadataCache* metadata);
  // A waiting Poll is answered with SHUTTING_DOWN.
  ~Consumer();

  // Exactly these from now on. Partitions that stay keep their positions; new
  // ones begin where `reset` says unless Seek comes first.
  void Assign(const std::vector<NamedPartition>& partitions);
  // Drops what was fetched. `epoch` is that of the record before `offset`, as
  // it was read once: it is checked like one that was read here. `topic_id` is
  // whose offset it is, if that is known. INVALID_REQUEST when not assigned.
  absl::Status Seek(const NamedPartition& tp, Offset offset,
                    LeaderEpoch epoch = kNoLeaderEpoch,
                    TopicId topic_id = TopicId());

  // A paused partition is not fetched, and what was fetched of it is dropped,
  // so that others have the buffer; its position stays. No-op when not assigned.
  void Pause(const NamedPartition& tp);
  void Resume(const NamedPartition& tp);

  // Answers with what is there (one batch run per partition, at most about
  // bytes_max), else waits for it up to timeout_us, then with nothing. One
  // Poll at a time. Errors: OFFSET_OUT_OF_RANGE and LOG_TRUNCATED with reset =
  // none, UNKNOWN_TOPIC_OR_PARTITION, and others that a retry does not help; the
  // partition then rests until Seek, the others go on at the next Poll.
  void Poll(int64_t timeout_us, int64_t bytes_max, PollCallback callback);

  // Next offset that Poll will give; nullopt while not known.
  std::optional<Offset> Position(const NamedPartition& tp) const;
  // The leader epoch of the record before it, to be kept with the position;
  // kNoLeaderEpoch while not known.
  LeaderEpoch PositionEpoch(const NamedPartition& tp) const;
  // As of the last answer; kNoOffset before.
  Offset HighWatermark(const NamedPartition& tp) const;
  const ConsumerCounters& counters() const { return counters_; }

 private:
  struct Partition {
    explicit Partition(NamedPartition name) : tp(std::move(name)) {}

    const NamedPartition tp;
    std::optional<Offset> position;  // handed out up to here
    Offset fetch_offset;             // fetched up to here
    Offset high_watermark = kNoOffset;
    // Where the epochs of what was fetched began, the last kEpochsMax.
    EpochHistory epochs;
    TopicId topic_id;  // whose position and epochs these are
    TopicId last_topic_id;  // that had the name before
    // The position that a cut of the log has taken back, until told.
    std::optional<Offset> truncated_from;
    std::deque<FetchedBatch> buffered;
    int64_t buffered_bytes = 0;
    uint64_t generation = 0;  // rises with Seek: older answers are dropped
    bool in_flight = false;
    bool resetting = false;
    bool failed = false;
    bool paused = false;
    int64_t not_before_us = 0;
    int64_t unknown_since_us = 0;  // its topic
    Backoff backoff{20'000, 200'000};
    std::optional<api::Endpoint> replica;  // a follower that is read
    int64_t replica_until_us = 0;
    int32_t behind = 0;  // OFFSET_NOT_AVAILABLE of the replica, in a row
    int64_t leader_until_us = 0;  // no follower is asked for before
  };
  using PartitionRef = std::shared_ptr<Partition>;
  struct Asked {
    PartitionRef partition;
    uint64_t generation = 0;
    LeaderEpoch leader_epoch;
    bool of_follower = false;
  };
  // One request's: whom it goes to, and whether followers may answer it.
  struct Target {
    api::Endpoint endpoint;
    bool near = false;

    auto operator<=>(const Target&) const = default;
  };

  static constexpr int64_t kLeaderAgainUs = 5'000'000;
  static constexpr int32_t kBehindMax = 10;
  static constexpr size_t kEpochsMax = 32;
  // Before it asks again about an offset that is gone: the app still reads.
  static constexpr int64_t kFullPauseUs = 50'000;

  void MoveTo(Partition& partition, Offset offset);
  void SchedulePump(int64_t delay_us);
  void Pump();
  bool MayFetch(const Partition& partition, int64_t now_us) const;
  void Fetch(const Target& target, std::vector<Asked> asked);
  void OnFetched(const api::Endpoint& endpoint, std::vector<Asked> asked,
                 absl::StatusOr<api::FetchResponse> answer);
  void OnResult(const Asked& asked, api::FetchResult& result);
  void OnError(const Asked& asked, const absl::Status& error);
  // ---- consumer_truncation.cc ----
  bool NoteTopic(Partition& partition);
  Offset NoteBatches(Partition& partition, const std::vector<Buffer>& batches);
  void OnTruncated(Partition& partition, const api::FetchResult& result);
  bool TellTruncation(Partition& partition);
  // ---- consumer_followers.cc ----
  Target TargetOf(Partition& partition, const PartitionLeader& leader,
                  int64_t now_us, Asked& asked);
  void ReadFrom(Partition& partition, const api::Endpoint& replica);
  void OnFollowerError(Partition& partition, const absl::Status& error);
  // ---- consumer_fetches.cc, on ----
  bool CheckTopic(Partition& partition, int64_t now_us);
  void Reset(const PartitionRef& partition, api::OffsetPosition to);
  void OnOutOfRange(const PartitionRef& partition, const absl::Status& error);
  void FailPartition(Partition& partition, absl::Status why);
  Batches Take(int64_t bytes_max);
  void AnswerPoll();

  const ClientDeps deps_;
  const ClientOptions client_;
  const ConsumerOptions options_;
  MetadataCache* const metadata_;
  Random random_;

  std::map<NamedPartition, PartitionRef> partitions_;
  std::map<api::Endpoint, int32_t> in_flight_;
  NamedPartition last_taken_;  // round robin
  int64_t buffered_bytes_ = 0;
  std::deque<absl::Status> errors_;  // for the next Poll; at most one each

  PollCallback poll_;  // waiting; null: none
  int64_t poll_bytes_max_ = 0;
  TimerId poll_timer_ = 0;
  TimerId pump_timer_ = 0;
  int64_t pump_at_us_ = INT64_MAX;
  ConsumerCounters counters_;
  std::shared_ptr<void> observation_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice
