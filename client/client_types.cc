#include "client/client_types.h"

#include "absl/strings/str_split.h"
#include "common/base/error.h"

namespace sluice {

absl::StatusOr<std::vector<api::Endpoint>> ParseBootstrap(
    std::string_view text) {
  std::vector<api::Endpoint> endpoints;
  for (absl::string_view part : absl::StrSplit(AbslView(text), ',')) {
    const auto endpoint = api::ParseEndpoint(StdView(part));
    if (!endpoint.has_value()) {
      return MakeError(ErrorCode::kInvalidRequest, "bootstrap '", text, "': '",
                       StdView(part),
                       "' is not an address; use host:port[,host:port...], "
                       "for example 127.0.0.1:9001");
    }
    endpoints.push_back(*endpoint);
  }
  return endpoints;
}

}  // namespace sluice
