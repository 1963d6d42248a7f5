// Whether a broker's metadata is the present.
#pragma once

#include "absl/status/status.h"
#include "common/base/error.h"
#include "controller/metadata/image.h"

namespace sluice {

// A process that has just started reads the metadata log from its beginning;
// until its own registration is applied its handlers see the empty image, and
// what they do not find there may well exist. BROKER_NOT_AVAILABLE (retriable,
// any other broker may answer).
inline absl::Status CheckMetadataIsPresent(const MetadataImage& image) {
  if (image.offset() > LogIndex(0)) return absl::OkStatus();
  return MakeError(ErrorCode::kBrokerNotAvailable,
                   "this broker has just started and has not read the "
                   "cluster's metadata yet; ask again or ask another, and if "
                   "it lasts see that a majority of the controllers runs");
}

}  // namespace sluice
