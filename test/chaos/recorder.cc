#include "test/chaos/recorder.h"

#include <fstream>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/str_cat.h"
#include "test/check/history_text.h"

namespace sluice::chaos {

using check::Send;
using check::SendOutcome;

Recorder::Recorder(const Clock* clock, std::string topic, int32_t partitions)
    : clock_(clock),
      topic_(std::move(topic)),
      acked_(static_cast<size_t>(partitions), 0) {
  for (int32_t p = 0; p < partitions; ++p) {
    history_.PartitionOf(StrCat(topic_, "-", p));
  }
}

void Recorder::Sending(const check::Value& value, int32_t partition,
                       int32_t acks) {
  std::lock_guard lock(mutex_);
  Send send;
  send.value = value;
  send.partition = partition;
  send.acks = acks;
  send.invoked_us = NowUs();
  const auto added = history_.AddSend(send);
  INVARIANT(added.ok(), std::string(added.status().message()));
  carried_.push_back(false);
  acked_epoch_.push_back(check::kEpochUnknown);
}

void Recorder::Carried(const std::vector<check::StoredRecord>& records) {
  std::lock_guard lock(mutex_);
  for (const check::StoredRecord& record : records) {
    const int64_t index = history_.IndexOf(record.value.name);
    INVARIANT(index >= 0, "a request carries what nobody sent");
    const auto send = static_cast<size_t>(index);
    // The producers that wait for all replicas are idempotent: however often
    // they send it, it is stored once.
    if (carried_[send] && history_.sends()[send].acks != -1) {
      const absl::Status added = history_.AddAttempts(send, 1);
      INVARIANT(added.ok(), std::string(added.message()));
    }
    carried_[send] = true;
  }
}

void Recorder::Answered(const std::vector<check::ValueName>& names,
                        int32_t leader_epoch) {
  std::lock_guard lock(mutex_);
  for (const check::ValueName& name : names) {
    acked_epoch_[static_cast<size_t>(history_.IndexOf(name))] = leader_epoch;
  }
}

void Recorder::Acknowledged(const check::ValueName& name, int64_t offset) {
  std::lock_guard lock(mutex_);
  const auto send = static_cast<size_t>(history_.IndexOf(name));
  INVARIANT(acked_epoch_[send] != check::kEpochUnknown,
            "acknowledged, and no answer said so");
  const absl::Status ended = history_.EndSend(
      send, SendOutcome::kOk, NowUs(), offset, acked_epoch_[send]);
  INVARIANT(ended.ok(), std::string(ended.message()));
  const Send& sent = history_.sends()[send];
  if (sent.acks == -1) ++acked_[static_cast<size_t>(sent.partition)];
}

void Recorder::GaveUp(const check::ValueName& name) {
  std::lock_guard lock(mutex_);
  const auto send = static_cast<size_t>(history_.IndexOf(name));
  const absl::Status ended = history_.EndSend(
      send, carried_[send] ? SendOutcome::kUnknown : SendOutcome::kFailed,
      NowUs());
  INVARIANT(ended.ok(), std::string(ended.message()));
}

void Recorder::Shown(check::Answer::Kind kind, const NamedPartition& tp,
                     int64_t began_us, int32_t leader_epoch,
                     int64_t high_watermark) {
  if (tp.topic != topic_ || tp.partition.value() < 0 ||
      tp.partition.value() >= std::ssize(acked_)) {
    return;
  }
  std::lock_guard lock(mutex_);
  const absl::Status added =
      history_.AddAnswer({kind, tp.partition.value(), began_us, NowUs(),
                          leader_epoch, high_watermark});
  INVARIANT(added.ok(), std::string(added.message()));
}

int64_t Recorder::OpenSession(int32_t consumer, int32_t partition,
                              int64_t start) {
  std::lock_guard lock(mutex_);
  const auto session = history_.AddSession({consumer, partition, start});
  INVARIANT(session.ok(), std::string(session.status().message()));
  return *session;
}

void Recorder::Polled(int64_t session, int64_t from, int64_t next,
                      const std::vector<check::StoredRecord>& records) {
  std::lock_guard lock(mutex_);
  const absl::Status added = history_.AddPoll(session, from, next, records);
  INVARIANT(added.ok(), std::string(added.message()));
}

void Recorder::FinalRead(int32_t partition, int64_t log_start, int64_t end,
                         const std::vector<check::StoredRecord>& records) {
  std::lock_guard lock(mutex_);
  absl::Status added = history_.AddCopy(partition, check::Copy::kFinalRead,
                                        log_start, end);
  if (added.ok()) added = history_.AddToLastCopy(records);
  INVARIANT(added.ok(), std::string(added.message()));
}

std::vector<int64_t> Recorder::AckedByPartition() const {
  std::lock_guard lock(mutex_);
  return acked_;
}

absl::Status Recorder::WriteTo(const std::string& path) const {
  std::lock_guard lock(mutex_);
  std::ofstream out(path, std::ios::binary);
  if (!out) {
    return MakeError(ErrorCode::kInvalidRequest, path, " cannot be written");
  }
  return check::WriteHistory(history_, out);
}

}  // namespace sluice::chaos
