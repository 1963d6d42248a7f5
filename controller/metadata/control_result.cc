#include "controller/metadata/control_result.h"

#include <string>

#include "common/base/error.h"

namespace sluice {

v1::Error ToError(const absl::Status& status) {
  v1::Error error;
  error.set_code(static_cast<v1::ErrorCode>(CodeOf(status)));
  error.set_message(std::string(status.message()));
  return error;
}

}  // namespace sluice
