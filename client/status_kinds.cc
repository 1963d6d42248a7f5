#include "client/status_kinds.h"

#include "common/base/error.h"

namespace sluice {

bool IsTransportError(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kAborted:
      return true;
    default:
      return false;
  }
}

bool IsRetriableStatus(const absl::Status& status) {
  return IsRetriable(CodeOf(status)) || IsTransportError(status);
}

}  // namespace sluice
