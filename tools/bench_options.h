// What the benches share: a local cluster whose processes they may look at.
#pragma once

#include <optional>
#include <string>

#include "tools/cli_context.h"
#include "tools/dev_cluster.h"

namespace sluice::cli {

void AddDevDirectory(CLI::App* command, std::string* directory);
// nullopt when no directory was given.
absl::StatusOr<std::optional<DevCluster>> OptionalDevCluster(
    const std::string& directory);
// A client of that cluster unless --bootstrap names another.
absl::StatusOr<BlockingClient*> ClientFor(
    Context* context, const std::optional<DevCluster>& dev);

}  // namespace sluice::cli
