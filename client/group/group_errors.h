// What the answers of GroupService say of themselves.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/error.h"
#include "sluice/v1/common.pb.h"

namespace sluice {

inline absl::Status StatusOf(const v1::Error& error) {
  const ErrorCode code = CodeFromNumber(error.code());
  return code == ErrorCode::kNone ? absl::OkStatus()
                                  : MakeErrorStatus(code, error.message());
}

// Of the call, else of the answer's body.
template <class Response>
absl::Status StatusOf(const absl::StatusOr<Response>& answer) {
  return answer.ok() ? StatusOf(answer->error()) : answer.status();
}

// The coordinator was not there, not yet, or not any more: the same question
// is worth asking again.
inline bool IsOfCoordinator(ErrorCode code) {
  return code == ErrorCode::kNotCoordinator ||
         code == ErrorCode::kCoordinatorNotAvailable ||
         code == ErrorCode::kCoordinatorLoadInProgress;
}

}  // namespace sluice
