// What the first message of a stream asks for, checked.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "broker/consume/ack_ledger.h"
#include "broker/consume/resume_token.h"
#include "client/group/membership_types.h"
#include "common/api/log_api.h"
#include "sluice/v1/group.pb.h"

namespace sluice::consume {

inline constexpr int kTopicsMax = 1'000;
inline constexpr int32_t kSessionTimeoutDefaultMs = 45'000;
inline constexpr int32_t kMaxPollIntervalDefaultMs = 300'000;
inline constexpr int32_t kHeartbeatIntervalMs = 3'000;
inline constexpr int64_t kResetBackMaxMs = int64_t{36'525} * 86'400'000;
inline constexpr size_t kTextBytesMax = 249;  // ids, names, racks

struct OpenOptions {
  // Group, ids, timeouts, assignors; `stream` is not set yet.
  membership::Options membership;
  std::set<std::string> topics;
  AckLedger::Mode ack_mode = AckLedger::Mode::kExplicit;
  v1::ConsumeOpen::Reset reset = v1::ConsumeOpen::RESET_EARLIEST;
  int64_t reset_back_ms = 0;  // with RESET_DURATION
  bool start_by_seek = false;
  api::Isolation isolation = api::Isolation::kReadUncommitted;
  api::PayloadForm form = api::PayloadForm::kRecords;

  uint32_t digest() const {
    return SubscriptionDigest(topics, membership.assignors);
  }
};

// INVALID_REQUEST says what is wrong with which field. What the coordinator
// checks (the group's id, the session timeout) is left to it.
absl::StatusOr<OpenOptions> OpenOptionsFrom(const v1::ConsumeOpen& open);

}  // namespace sluice::consume
