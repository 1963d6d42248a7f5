#include <CLI/App.hpp>
#include <iostream>
#include <memory>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "tools/dev_cluster.h"
#include "tools/dev_node_commands.h"

namespace sluice::cli {
namespace {

struct Options {
  std::string name;
  std::string directory;
  std::string sluiced;
  bool kill = false;
};

// A process that cannot start says so within this.
constexpr int64_t kListensWithinUs = 30'000'000;

absl::Status Start(const Options& options) {
  ASSIGN_OR_RETURN(const DevCluster cluster, LoadDevCluster(options.directory));
  ASSIGN_OR_RETURN(const DevNode node, cluster.Find(options.name));
  ASSIGN_OR_RETURN(const std::string sluiced, FindSluiced(options.sluiced));
  if (!cluster.PidOf(node).has_value()) {
    RETURN_IF_ERROR(cluster.CheckPorts({node}));
  }
  ASSIGN_OR_RETURN(const pid_t pid, cluster.Start(node, sluiced));
  RETURN_IF_ERROR(cluster.AwaitListening(node, pid, kListensWithinUs));
  std::cout << node.name << " started, pid " << pid << '\n';
  return absl::OkStatus();
}

absl::Status Stop(const Options& options) {
  ASSIGN_OR_RETURN(const DevCluster cluster, LoadDevCluster(options.directory));
  if (options.name == "all") {
    if (options.kill) {
      cluster.Stop(cluster.nodes(), true);
    } else {
      cluster.StopAll();
    }
    std::cout << "all stopped\n";
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const DevNode node, cluster.Find(options.name));
  const auto pid = cluster.PidOf(node);
  if (!pid.has_value()) {
    return MakeError(ErrorCode::kInvalidRequest, node.name,
                     " does not run; `sluice dev start ", node.name,
                     " --dir ", cluster.directory(), "` starts it");
  }
  if (!cluster.Stop({node}, options.kill)) {
    return MakeError(ErrorCode::kRequestTimedOut, node.name, " (pid ", *pid,
                     ") did not stop in time and was killed; its log is ",
                     cluster.PathOf(node, "sluiced.log"));
  }
  std::cout << node.name << (options.kill ? " killed" : " stopped")
            << ", was pid " << *pid << '\n';
  return absl::OkStatus();
}

}  // namespace

void AddDevStart(CLI::App* dev, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      dev->add_subcommand("start", "one node or controller of the cluster");
  command->add_option("NAME", options->name, "node-1, controller-1")
      ->required();
  command->add_option("--dir", options->directory, "the cluster's directory");
  command->add_option("--sluiced", options->sluiced, "the server's binary");
  command->footer("Example:\n  sluice dev start node-2 --dir /tmp/c");
  context->OnChosen(command, [options] { return Start(*options); });
}

void AddDevStop(CLI::App* dev, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = dev->add_subcommand("stop", "one of them, or all");
  command->add_option("NAME", options->name, "node-1, controller-1, all")
      ->required();
  command->add_option("--dir", options->directory, "the cluster's directory");
  command->add_flag("--kill", options->kill, "SIGKILL: no clean stop");
  command->footer(
      "Examples:\n  sluice dev stop node-1 --dir /tmp/c\n"
      "  sluice dev stop controller-2 --kill --dir /tmp/c");
  context->OnChosen(command, [options] { return Stop(*options); });
}

}  // namespace sluice::cli
