// The history of a run while it happens, for many threads.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "client/client_types.h"
#include "common/env/clock.h"
#include "test/check/history.h"

namespace sluice::chaos {

// Times are the clock's, taken inside: when a call records the beginning of
// something it has not begun, when it records an end it has ended.
class Recorder {
 public:
  // Partitions [0, partitions) of `topic`; what is said of others is ignored.
  Recorder(const Clock* clock, std::string topic, int32_t partitions);

  // Before the value is given to a producer. Each name once.
  void Sending(const check::Value& value, int32_t partition, int32_t acks);
  // A request carries these values: the first is the send itself, each further
  // one may store it again, but for acks = all (idempotent).
  void Carried(const std::vector<check::StoredRecord>& records);
  // The leader of that epoch said that they are stored, as it was asked to.
  void Answered(const std::vector<check::ValueName>& names,
                int32_t leader_epoch);
  // Told to the application; an answer was there before.
  void Acknowledged(const check::ValueName& name, int64_t offset);
  // kFailed if no request ever carried it, else kUnknown: what was told after
  // an attempt is not trusted to speak of the attempts before.
  void GaveUp(const check::ValueName& name);

  void Shown(check::Answer::Kind kind, const NamedPartition& tp,
             int64_t began_us, int32_t leader_epoch, int64_t high_watermark);
  int64_t OpenSession(int32_t consumer, int32_t partition, int64_t start);
  void Polled(int64_t session, int64_t from, int64_t next,
              const std::vector<check::StoredRecord>& records);
  void FinalRead(int32_t partition, int64_t log_start, int64_t end,
                 const std::vector<check::StoredRecord>& records);

  // By acks = all, of each partition, so far.
  std::vector<int64_t> AckedByPartition() const;
  int64_t NowUs() const { return clock_->MonoMicros(); }
  absl::Status WriteTo(const std::string& path) const;

 private:
  const Clock* const clock_;
  const std::string topic_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  check::History history_;
  std::vector<bool> carried_;         // by send
  std::vector<int32_t> acked_epoch_;  // by send, of the last such answer
  std::vector<int64_t> acked_;
};

}  // namespace sluice::chaos
