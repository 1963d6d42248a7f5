#include "test/check/history.h"

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"

namespace sluice::check {

std::string Value::ToString() const {
  return StrCat(name.producer, ":", name.number, "#", absl::Hex(hash));
}

// FNV-1a, then a finishing mix: its low bits alone depend on few of the last.
uint64_t HashOf(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3u;
  }
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdu;
  return hash ^ (hash >> 33);
}

int32_t History::PartitionOf(std::string_view name) {
  const auto [it, is_new] = partition_of_.try_emplace(
      std::string(name), static_cast<int32_t>(partitions_.size()));
  if (is_new) partitions_.emplace_back(name);
  return it->second;
}

absl::Status History::CheckPartition(int32_t partition) const {
  if (partition >= 0 && partition < std::ssize(partitions_)) {
    return absl::OkStatus();
  }
  return MakeError(ErrorCode::kInvalidRequest, "partition ", partition,
                   " was not named");
}

absl::StatusOr<size_t> History::AddSend(const Send& send) {
  RETURN_IF_ERROR(CheckPartition(send.partition));
  if (!send_of_.try_emplace(send.value.name, sends_.size()).second) {
    return MakeError(ErrorCode::kInvalidRequest, "value ",
                     send.value.ToString(), " is sent twice");
  }
  sends_.push_back(send);
  return sends_.size() - 1;
}

absl::Status History::AddAttempts(size_t send, int32_t count) {
  if (send >= sends_.size() || count <= 0) {
    return MakeError(ErrorCode::kInvalidRequest, count, " attempts of send ",
                     send);
  }
  int32_t& attempts = sends_[send].attempts;
  attempts = count > Send::kAnyAttempts - attempts ? Send::kAnyAttempts
                                                   : attempts + count;
  return absl::OkStatus();
}

absl::Status History::EndSend(size_t index, SendOutcome outcome,
                              int64_t ended_us, int64_t offset,
                              int32_t acked_epoch) {
  if (index >= sends_.size() || outcome == SendOutcome::kOpen) {
    return MakeError(ErrorCode::kInvalidRequest, "no end of send ", index);
  }
  Send& send = sends_[index];
  if (send.outcome != SendOutcome::kOpen) {
    return MakeError(ErrorCode::kInvalidRequest, "value ",
                     send.value.ToString(), " ends twice");
  }
  if (ended_us < send.invoked_us) {
    return MakeError(ErrorCode::kInvalidRequest, "value ",
                     send.value.ToString(), " ends before it is sent");
  }
  send.outcome = outcome;
  send.ended_us = ended_us;
  if (outcome == SendOutcome::kOk) {
    send.offset = offset;
    send.acked_epoch = acked_epoch;
  }
  return absl::OkStatus();
}

absl::Status History::AddAnswer(const Answer& answer) {
  RETURN_IF_ERROR(CheckPartition(answer.partition));
  if (answer.ended_us < answer.began_us) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "an answer comes before its question");
  }
  answers_.push_back(answer);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> History::AddSession(const Session& session) {
  RETURN_IF_ERROR(CheckPartition(session.partition));
  sessions_.push_back(session);
  return std::ssize(sessions_) - 1;
}

absl::Status History::AddPoll(int64_t session, int64_t from, int64_t next,
                              const std::vector<StoredRecord>& records) {
  if (session < 0 || session >= std::ssize(sessions_)) {
    return MakeError(ErrorCode::kInvalidRequest, "no session ", session);
  }
  polls_.push_back({session, from, next, {records_.size(), records.size()}});
  records_.insert(records_.end(), records.begin(), records.end());
  return absl::OkStatus();
}

absl::Status History::AddCopy(int32_t partition, int32_t replica,
                              int64_t log_start, int64_t end) {
  RETURN_IF_ERROR(CheckPartition(partition));
  copies_.push_back({partition, replica, log_start, end, {records_.size(), 0}});
  return absl::OkStatus();
}

absl::Status History::AddToLastCopy(const std::vector<StoredRecord>& records) {
  if (copies_.empty()) {
    return MakeError(ErrorCode::kInvalidRequest, "records of no copy");
  }
  RecordRun& run = copies_.back().records;
  if (run.first + run.count != records_.size()) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "records of a copy after something else");
  }
  records_.insert(records_.end(), records.begin(), records.end());
  run.count += records.size();
  return absl::OkStatus();
}

const Send* History::Find(const ValueName& name) const {
  const int64_t index = IndexOf(name);
  return index < 0 ? nullptr : &sends_[static_cast<size_t>(index)];
}

int64_t History::IndexOf(const ValueName& name) const {
  const auto it = send_of_.find(name);
  return it == send_of_.end() ? -1 : static_cast<int64_t>(it->second);
}

}  // namespace sluice::check
