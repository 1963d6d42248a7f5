// What members are told when a group refuses: the code, and a sentence.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "common/api/log_api.h"
#include "common/base/error.h"
#include "sluice/v1/group.pb.h"

namespace sluice::coordinator {

// What calls that wait for others are told to do about it.
inline constexpr int32_t kRetryAfterMs = 100;

// Absent for kNone.
void PutError(ErrorCode code, std::string_view group, v1::Error* out);
void PutError(const absl::Status& why, v1::Error* out);
void PutHint(const api::LeaderHint& leader, v1::CoordinatorHint* out);

// The error of any answer about one group.
template <class Answer>
void Refuse(ErrorCode code, std::string_view group, Answer& answer) {
  if (code != ErrorCode::kNone) PutError(code, group, answer.mutable_error());
}

// Why a coordinator does not answer now, and who it is instead.
struct Refusal {
  absl::Status why;
  api::LeaderHint coordinator;  // with NOT_COORDINATOR
};

// Of an answer that has `error` and `coordinator`.
template <class Answer>
void PutRefusal(const Refusal& refusal, Answer& answer) {
  PutError(refusal.why, answer.mutable_error());
  if (CodeOf(refusal.why) == ErrorCode::kNotCoordinator) {
    PutHint(refusal.coordinator, answer.mutable_coordinator());
  }
}
// Every partition has it.
void PutRefusal(const Refusal& refusal, const v1::CommitOffsetsRequest& request,
                v1::CommitOffsetsResponse& response);

}  // namespace sluice::coordinator
