// Configs of topics: described from the image, altered by the controllers.
#include <algorithm>
#include <utility>

#include "broker/control/admin_handlers.h"
#include "common/base/status_macros.h"
#include "controller/metadata/config_control.h"

namespace sluice {
namespace {

absl::Status Describe(const MetadataImage& image, const ConfigRegistry& configs,
                      const v1::DescribeConfigsResource& asked,
                      v1::DescribeConfigsResult& answer) {
  ASSIGN_OR_RETURN(const TopicImage* topic,
                   FindConfigured(image, asked.resource()));
  if (asked.names_size() > kConfigsPerResourceMax) {
    return MakeError(ErrorCode::kInvalidRequest, asked.names_size(),
                     " keys of one topic; at most ", kConfigsPerResourceMax);
  }
  std::vector<std::string> names(asked.names().begin(), asked.names().end());
  if (names.empty()) names = ConfigRegistry::TopicKeys();
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(
        *answer.add_configs(),
        configs.Explain(name, topic->configs, topic->replication_factor()));
  }
  return absl::OkStatus();
}

void AsTheControllerSays(v1::AlterConfigsResponse&, bool) {}

}  // namespace

void AdminHandlers::DescribeConfigs(
    const api::CallContext&, v1::DescribeConfigsRequest request,
    PeerReply<v1::DescribeConfigsResponse> reply) {
  using Response = v1::DescribeConfigsResponse;
  Read<Response>(
      std::move(reply),
      [this, request = std::move(request)]() -> absl::StatusOr<Response> {
        if (request.resources_size() < 1 ||
            request.resources_size() > kTopicsPerCallMax) {
          return MakeError(ErrorCode::kInvalidRequest, request.resources_size(),
                           " resources in one call; at least 1, at most ",
                           kTopicsPerCallMax);
        }
        Response response;
        for (const auto& asked : request.resources()) {
          v1::DescribeConfigsResult& answer = *response.add_results();
          *answer.mutable_resource() = asked.resource();
          const absl::Status described =
              Describe(*deps_.image(), *deps_.configs, asked, answer);
          if (described.ok()) continue;
          answer.clear_configs();
          *answer.mutable_error() = ToError(described);
        }
        return response;
      });
}

void AdminHandlers::AlterConfigs(const api::CallContext& context,
                                 v1::AlterConfigsRequest request,
                                 PeerReply<v1::AlterConfigsResponse> reply) {
  const int resources = request.resources_size();
  Forward(context, std::move(request), resources,
          &ControllerPeer::AlterConfigs, &AsTheControllerSays,
          std::move(reply));
}

}  // namespace sluice
