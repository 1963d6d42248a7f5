// What clients of one cluster did and saw, as plain data: what was sent and
// how that ended, what brokers answered to readers, what consumers were given,
// and what every replica held in the end. The simulator fills one in memory,
// the chaos rig through the text of HISTORY.md; history_checker.h judges it.
//
// Times are microseconds of one clock, so that "ended before that began" means
// something across clients.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sluice::check {

// Names one send for ever: its producer and its number there, rising.
struct ValueName {
  int32_t producer = 0;
  int64_t number = 0;

  auto operator<=>(const ValueName&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const ValueName& name) {
    return H::combine(std::move(h), name.producer, name.number);
  }
};

// What a reader can tell about a record: the name inside it and a hash over
// all of its bytes.
struct Value {
  ValueName name;
  uint64_t hash = 0;

  auto operator<=>(const Value&) const = default;
  std::string ToString() const;  // "2:17#1f"
};

// 64 bits over the bytes; equal on every machine.
uint64_t HashOf(std::string_view bytes);

inline constexpr int32_t kEpochUnknown = -1;
inline constexpr int64_t kOffsetUnknown = -1;

enum class SendOutcome : uint8_t {
  kOpen,     // no answer yet: as kUnknown
  kOk,       // acknowledged
  kFailed,   // certainly not stored, now or later
  kUnknown,  // may be stored, also later
};

struct Send {
  static constexpr int32_t kAnyAttempts = INT32_MAX;

  Value value;
  int32_t partition = 0;
  int32_t acks = -1;  // -1 all, 1 the leader, 0 nobody
  // Requests that carried it and may have stored it each: a producer without
  // idempotence promises no more. With it: 1.
  int32_t attempts = 1;
  SendOutcome outcome = SendOutcome::kOpen;
  int64_t invoked_us = 0;
  int64_t ended_us = -1;
  int64_t offset = kOffsetUnknown;  // as acknowledged; none with acks = 0
  // Of the leader that acknowledged it: of a batch that was sent again not
  // the one that appended it.
  int32_t acked_epoch = kEpochUnknown;
};

// A record where somebody found it.
struct StoredRecord {
  int64_t offset = 0;
  int32_t epoch = kEpochUnknown;  // of the leader that appended it
  Value value;
};

// A leader's answer about a partition, whatever records came with it.
struct Answer {
  enum class Kind : uint8_t { kFetch, kLatest };

  Kind kind = Kind::kFetch;
  int32_t partition = 0;
  int64_t began_us = 0;
  int64_t ended_us = 0;
  // In which the answer was given: from the answer, or from the question when
  // the broker checks it.
  int32_t leader_epoch = kEpochUnknown;
  int64_t high_watermark = 0;
};

// A run of records in History::records().
struct RecordRun {
  size_t first = 0;
  size_t count = 0;
};

// A consumer was given [from, next) of a partition. A session is one
// assignment of one partition to one consumer: positions in it are continuous,
// from `start` on if that is known.
struct Session {
  int32_t consumer = 0;
  int32_t partition = 0;
  int64_t start = kOffsetUnknown;
};
struct Poll {
  int64_t session = 0;  // index in sessions()
  int64_t from = 0;
  int64_t next = 0;
  RecordRun records;
};

// What was there when nothing happened any more: read by a consumer from the
// log's start to the high watermark, or the log of one replica as it lies on
// its disk.
struct Copy {
  static constexpr int32_t kFinalRead = -1;

  int32_t partition = 0;
  int32_t replica = kFinalRead;
  int64_t log_start = 0;
  int64_t end = 0;
  RecordRun records;
};

class History {
 public:
  // The number of the partition with this name; made when it is new.
  int32_t PartitionOf(std::string_view name);

  // INVALID_REQUEST when the name was sent before or the partition is unknown
  // (so for all below).
  absl::StatusOr<size_t> AddSend(const Send& send);
  // Another request carries it; kAnyAttempts: nobody counted them.
  absl::Status AddAttempts(size_t send, int32_t count);
  // Once a send. `offset` and `acked_epoch` with kOk alone.
  absl::Status EndSend(size_t send, SendOutcome outcome, int64_t ended_us,
                       int64_t offset = kOffsetUnknown,
                       int32_t acked_epoch = kEpochUnknown);
  absl::Status AddAnswer(const Answer& answer);
  absl::StatusOr<int64_t> AddSession(const Session& session);
  absl::Status AddPoll(int64_t session, int64_t from, int64_t next,
                       const std::vector<StoredRecord>& records);
  // Then its records, in the order they were found.
  absl::Status AddCopy(int32_t partition, int32_t replica, int64_t log_start,
                       int64_t end);
  absl::Status AddToLastCopy(const std::vector<StoredRecord>& records);

  const std::vector<std::string>& partitions() const { return partitions_; }
  const std::vector<Send>& sends() const { return sends_; }
  // nullptr: never sent. Valid until the next AddSend.
  const Send* Find(const ValueName& name) const;
  // What AddSend returned for it; -1: never sent.
  int64_t IndexOf(const ValueName& name) const;
  const std::vector<Answer>& answers() const { return answers_; }
  const std::vector<Session>& sessions() const { return sessions_; }
  // Of one session in the order they came.
  const std::vector<Poll>& polls() const { return polls_; }
  const std::vector<Copy>& copies() const { return copies_; }
  const std::vector<StoredRecord>& records() const { return records_; }

 private:
  absl::Status CheckPartition(int32_t partition) const;

  std::vector<std::string> partitions_;
  absl::flat_hash_map<std::string, int32_t> partition_of_;
  std::vector<Send> sends_;
  absl::flat_hash_map<ValueName, size_t> send_of_;
  std::vector<Answer> answers_;
  std::vector<Session> sessions_;
  std::vector<Poll> polls_;
  std::vector<Copy> copies_;
  std::vector<StoredRecord> records_;
};

}  // namespace sluice::check
