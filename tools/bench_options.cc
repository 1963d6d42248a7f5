#include "tools/bench_options.h"

#include <CLI/App.hpp>

#include "common/base/status_macros.h"

namespace sluice::cli {

void AddDevDirectory(CLI::App* command, std::string* directory) {
  command->add_option("--dev-dir", *directory,
                      "of a running `sluice dev`: its processes' CPU seconds "
                      "and peak memory are reported too");
}

absl::StatusOr<std::optional<DevCluster>> OptionalDevCluster(
    const std::string& directory) {
  if (directory.empty()) return std::optional<DevCluster>();
  ASSIGN_OR_RETURN(DevCluster cluster, LoadDevCluster(directory));
  return std::optional<DevCluster>(std::move(cluster));
}

absl::StatusOr<BlockingClient*> ClientFor(
    Context* context, const std::optional<DevCluster>& dev) {
  if (!dev.has_value() || !context->bootstrap.empty()) return context->Client();
  return context->ClientOf(BootstrapOf(dev->shape()));
}

}  // namespace sluice::cli
