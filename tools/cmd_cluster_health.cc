#include <CLI/App.hpp>
#include <iostream>
#include <memory>

#include "common/base/status_macros.h"
#include "tools/cluster_issues.h"
#include "tools/commands.h"
#include "tools/output.h"
#include "tools/watch_loop.h"

namespace sluice::cli {
namespace {

struct Options {
  bool watch = false;
  bool exit_when_healthy = false;
};

constexpr int64_t kWatchEveryUs = 500'000;

std::string KindOf(const v1::HealthIssue& issue) {
  // "KIND_NO_LEADER" -> "NO_LEADER"
  return v1::HealthIssue::Kind_Name(issue.kind()).substr(5);
}

std::string Counted(int count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

void PrintTable(const v1::DescribeClusterResponse& cluster) {
  if (cluster.issues().empty()) {
    std::cout << "healthy: " << Counted(cluster.brokers_size(), "broker")
              << ", " << Counted(cluster.partition_count(), "partition")
              << "\n";
    return;
  }
  Table table({"ISSUE", "WHERE", "WHY AND WHAT NEXT"});
  for (const auto& issue : cluster.issues()) {
    const std::string where =
        !issue.topic().empty()
            ? issue.topic() + "-" + std::to_string(issue.partition())
            : (issue.broker_id() > 0
                   ? "broker " + std::to_string(issue.broker_id())
                   : "cluster");
    table.Add({KindOf(issue), where, issue.message()});
  }
  table.Print(std::cout);
}

void PrintOnce(const Context& context,
               const v1::DescribeClusterResponse& cluster) {
  Print(context.format(), cluster, [&](OutputFormat format) {
    if (format != OutputFormat::kName) return PrintTable(cluster);
    for (const auto& issue : cluster.issues()) {
      std::cout << KindOf(issue) << '\n';
    }
  });
}

WatchLoop::Sight SightOf(Context* context, const Options& options,
                         const v1::DescribeClusterResponse& cluster) {
  WatchLoop::Sight sight;
  for (const auto& issue : cluster.issues()) {
    sight.state += issue.ShortDebugString() + "\n";
  }
  sight.print = [context, cluster] { PrintOnce(*context, cluster); };
  // A broker that has just started knows of no broker, itself included: it
  // cannot say yet.
  const bool known = cluster.brokers_size() > 0;
  const bool healthy = known && cluster.issues().empty();
  context->exit = healthy ? kExitOk : kExitUnhealthy;
  if (options.exit_when_healthy && known && !HasIssueToMend(cluster)) {
    sight.ends = absl::OkStatus();
  }
  return sight;
}

absl::Status Health(Context* context, const Options& options) {
  if (PrintedShape(context->format(), v1::DescribeClusterResponse())) {
    return absl::OkStatus();
  }
  auto client = context->Client();
  if (!client.ok()) return client.status();
  return WatchLoop(kWatchEveryUs)
      .Run(options.watch || options.exit_when_healthy,
           [&]() -> absl::StatusOr<WatchLoop::Sight> {
             context->exit.reset();
             ASSIGN_OR_RETURN(
                 const auto cluster,
                 (*client)->DescribeHealth(context->timeout_us()));
             return SightOf(context, options, cluster);
           });
}

}  // namespace

void AddClusterHealth(CLI::App* cluster, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = cluster->add_subcommand(
      "health", "what is not as it should be; exit code 3 if anything");
  context->AddCluster(command);
  context->AddOutput(command);
  command->add_flag("-w,--watch", options->watch,
                    "go on, print when something changes");
  command->add_flag("-e,--exit-when-healthy", options->exit_when_healthy,
                    "wait until nothing is wrong that can be mended: of an "
                    "unclean election it tells, with exit code 3");
  command->footer(
      "Examples:\n  sluice cluster health\n"
      "  sluice cluster health --watch --exit-when-healthy   # in scripts");
  context->OnChosen(command,
                    [context, options] { return Health(context, *options); });
}

}  // namespace sluice::cli
