// What a control decides: records to commit and the answer to give once they
// are committed. Controls are pure: they read an image and never change it.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/internal/v1/metadata.pb.h"
#include "sluice/v1/common.pb.h"

namespace sluice {

// One decision is one atomic Raft entry (MD3). Raft takes 8 MiB; the rest is
// room for the batch's own fields. Elections of more are split by partition.
inline constexpr size_t kBatchBytesMax = (8 << 20) - (4 << 10);

// Items of one request that are looked at; more is INVALID_REQUEST.
inline constexpr int kTopicsPerCallMax = 1000;
inline constexpr int kPartitionsPerCallMax = 50000;

// Of an item's error in an answer; what is longer is cut in its middle.
inline constexpr size_t kErrorMessageBytesMax = 1024;

template <class Response>
struct ControlResult {
  internal::v1::MetadataBatch batch;  // no records: nothing to commit
  Response response;
};

// A whole-request failure is the status, an item's failure is in the response.
template <class Response>
using ControlResultOr = absl::StatusOr<ControlResult<Response>>;

// For the body of an answer; retriable errors carry no hint of their own.
v1::Error ToError(const absl::Status& status);

}  // namespace sluice
