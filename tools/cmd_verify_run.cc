#include <CLI/App.hpp>
#include <iomanip>
#include <iostream>
#include <memory>

#include "common/base/status_macros.h"
#include "tools/commands.h"
#include "tools/topic_lookup.h"
#include "tools/verified_run.h"

namespace sluice::cli {
namespace {

struct Options {
  VerifiedRunOptions run;
  std::string directory;
};

double MbPerSecond(int64_t bytes, int64_t us) {
  return static_cast<double>(bytes) / static_cast<double>(us);
}

void PrintReport(const VerifiedRunResult& result) {
  const RunReport& report = result.report;
  std::cout << "sent: " << report.sent << "\nacknowledged: "
            << report.acknowledged << "\nread: " << report.read
            << "\nlost: " << report.lost
            << "\nduplicated: " << report.duplicated
            << "\nreordered: " << report.reordered
            << "\nphantom: " << report.phantom
            << "\nretried: " << result.batches_retried
            << "\ndeduplicated: " << result.batches_deduplicated
            << "\nack_gap_ms: " << (result.ack_gap_us + 500) / 1000
            << std::fixed << std::setprecision(1) << "\nproduce_mb_s: "
            << MbPerSecond(result.bytes, result.produce_us)
            << "\nconsume_mb_s: "
            << MbPerSecond(result.bytes, result.consume_us) << std::endl;
}

absl::Status VerifyRun(Context* context, Options options) {
  ASSIGN_OR_RETURN(const DevCluster cluster, LoadDevCluster(options.directory));
  ASSIGN_OR_RETURN(BlockingClient * client,
                   context->ClientOf(BootstrapOf(cluster.shape())));
  RETURN_IF_ERROR(
      PartitionCountOf(*context, client, options.run.topic).status());
  options.run.timeout_us = context->timeout_us();
  ASSIGN_OR_RETURN(const VerifiedRunResult result,
                   RunVerified(client, cluster, options.run));
  PrintReport(result);
  for (const std::string& example : result.report.examples) {
    std::cerr << example << '\n';
  }
  if (!result.report.Passed()) context->exit = kExitError;
  return absl::OkStatus();
}

}  // namespace

void AddVerifyRun(CLI::App* root, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root->add_subcommand(
      "verify-run",
      "produce a file, kill a leader half way, read back and compare");
  command->group("");  // quickstart.sh's, not shown
  command->add_option("TOPIC", options->run.topic, "a new topic")->required();
  command->add_option("FILE", options->run.file, "its lines are the records")
      ->required();
  command->add_option("--dev-dir", options->directory,
                      "the `sluice dev` whose node is killed");
  context->AddCluster(command);
  command->footer(
      "Example:\n  sluice verify-run quickstart lines.txt --dev-dir /tmp/c");
  context->OnChosen(command, [context, options] {
    return VerifyRun(context, *options);
  });
}

}  // namespace sluice::cli
