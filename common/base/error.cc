#include "common/base/error.h"

#include <optional>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"

namespace sluice {
namespace {

constexpr char kPayloadUrl[] = "sluice/ErrorCode";

}  // namespace

absl::Status MakeErrorStatus(ErrorCode code, const std::string& message) {
  if (code == ErrorCode::kNone) return absl::OkStatus();
  absl::Status status(CanonicalCodeOf(code),
                      message);
  status.SetPayload(kPayloadUrl,
                    absl::Cord(StrCat(static_cast<int32_t>(code))));
  return status;
}

ErrorCode CodeOf(const absl::Status& status) {
  if (status.ok()) return ErrorCode::kNone;
  if (const auto payload = status.GetPayload(kPayloadUrl)) {
    int32_t number = 0;
    if (absl::SimpleAtoi(std::string(*payload), &number)) {
      return CodeFromNumber(number);
    }
  }
  switch (status.code()) {
    case absl::StatusCode::kDeadlineExceeded:
      return ErrorCode::kRequestTimedOut;
    case absl::StatusCode::kResourceExhausted:
      return ErrorCode::kBusy;
    case absl::StatusCode::kInvalidArgument:
      return ErrorCode::kInvalidRequest;
    case absl::StatusCode::kUnavailable:
      return ErrorCode::kBrokerNotAvailable;
    case absl::StatusCode::kDataLoss:
      return ErrorCode::kCorruptMessage;
    default:
      return ErrorCode::kUnknownServerError;
  }
}

std::string_view NameOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNone:
      return "NONE";
#define X(id, name, number, status_code, retriable) \
  case ErrorCode::id:                               \
    return name;
      SLUICE_ERRORS(X)
#undef X
  }
  return "UNKNOWN_SERVER_ERROR";
}

ErrorCode CodeFromName(std::string_view wanted) {
#define X(id, name, number, status_code, retriable) \
  if (wanted == name) return ErrorCode::id;
  SLUICE_ERRORS(X)
#undef X
  return wanted == "NONE" ? ErrorCode::kNone : ErrorCode::kUnknownServerError;
}

ErrorCode CodeFromNumber(int32_t wanted) {
  switch (wanted) {
    case 0:
      return ErrorCode::kNone;
#define X(id, name, number, status_code, retriable) \
  case number:                                      \
    return ErrorCode::id;
      SLUICE_ERRORS(X)
#undef X
    default:
      return ErrorCode::kUnknownServerError;
  }
}

absl::StatusCode CanonicalCodeOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNone:
      return absl::StatusCode::kOk;
#define X(id, name, number, status_code, retriable) \
  case ErrorCode::id:                               \
    return absl::StatusCode::status_code;
      SLUICE_ERRORS(X)
#undef X
  }
  return absl::StatusCode::kUnknown;
}

bool IsRetriable(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNone:
      return false;
#define X(id, name, number, status_code, retriable) \
  case ErrorCode::id:                               \
    return retriable;
      SLUICE_ERRORS(X)
#undef X
  }
  return false;
}

}  // namespace sluice
