// What a failure of a call says: whether it is worth asking again.
#pragma once

#include "absl/status/status.h"

namespace sluice {

// An error of the connection, not of the broker: the request may or may not
// have been carried out.
bool IsTransportError(const absl::Status& status);
// Whether asking again, here or elsewhere, may help.
bool IsRetriableStatus(const absl::Status& status);

}  // namespace sluice
