// Errors on the wire: our absl::Status and google.rpc's rich error model, in
// both directions. Pure; any thread.
#pragma once

#include <grpcpp/support/status.h>

#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/api/log_api.h"
#include "sluice/v1/common.pb.h"

namespace sluice::rpc {

inline constexpr char kErrorDomain[] = "sluice";

// A status travels in HTTP/2 trailers, of which a client takes 8 KiB, base64
// and the text a second time included: longer texts are cut.
inline constexpr size_t kStatusMessageBytesMax = 1024;
// Facts beyond these are left out of ErrorInfo.
inline constexpr size_t kFactsMax = 16;
inline constexpr size_t kFactBytesMax = 256;

// Attaches a fact for programs, next to the message for people. It becomes
// ErrorInfo.metadata[name] at the edge and comes back as a fact. No effect on
// OK.
void SetFact(absl::Status& status, std::string_view name,
             std::string_view value);
std::map<std::string, std::string> FactsOf(const absl::Status& status);

// How long to wait before a retry of a call that failed with `code`; 0 where
// a retry without a change does not help.
int64_t RetryDelayMs(ErrorCode code);

// A status with an ErrorCode gets google.rpc.Status details: ErrorInfo (domain
// "sluice", reason = the error's name, metadata = `code` and the facts) and
// RetryInfo where a retry helps. A status without one (a bug of ours, or the
// file system's) is given the nearest code first: no bare status leaves us.
grpc::Status ToGrpcStatus(const absl::Status& status);

// The other direction. With our ErrorInfo: the same code, message and facts.
// Without: what gRPC itself says of the transport. A connection that is gone,
// refused, reset or cut by the other end is kUnavailable and an elapsed
// deadline kDeadlineExceeded, both without an ErrorCode payload: the outcome
// of the call is unknown. A message above gRPC's own limit is
// REQUEST_TOO_LARGE, an unknown method UNSUPPORTED_VERSION.
absl::Status FromGrpcStatus(const grpc::Status& status);

// The body's Error. kNone leaves `out` as a default message; the caller
// leaves the field absent then.
void ItemErrorToProto(const api::ItemError& error, v1::Error* out);
// A number that is not ours (a newer peer's) becomes kUnknownServerError.
api::ItemError ItemErrorFromProto(const v1::Error& error);

// The text with every byte that is not UTF-8 replaced by '?', cut to at most
// `bytes_max` on a character's boundary: protobuf strings hold nothing else.
std::string WireText(std::string_view text, size_t bytes_max);

}  // namespace sluice::rpc
