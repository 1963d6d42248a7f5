#include <CLI/App.hpp>
#include <iostream>
#include <memory>

#include "common/base/error.h"
#include "tools/commands.h"
#include "tools/output.h"
#include "tools/topic_lookup.h"

namespace sluice::cli {
namespace {

struct Options {
  std::string topic;
  int32_t partition = 0;
  int32_t broker = 0;
  bool without_leader = false;
  bool dry_run = false;
};

absl::Status Reset(Context* context, const Options& options) {
  if (PrintedShape(context->format(), v1::ResetReplicaResponse())) {
    return absl::OkStatus();
  }
  const std::string name =
      options.topic + "-" + std::to_string(options.partition);
  v1::ResetReplicaRequest request;
  request.mutable_topic()->set_name(options.topic);
  request.set_partition(options.partition);
  request.set_broker_id(options.broker);
  request.set_without_leader(options.without_leader);
  request.set_validate_only(options.dry_run);
  if (!options.dry_run) {
    const auto confirmed = Confirm(
        *context,
        "Set the files of " + name + " on broker " +
            std::to_string(options.broker) + " aside and " +
            (options.without_leader
                 ? "let it begin empty? Records that no other replica holds "
                   "are lost to readers."
                 : "fill it again from its leader?"));
    if (!confirmed.ok()) return confirmed;
  }
  auto client = context->Client();
  if (!client.ok()) return client.status();
  const auto response =
      (*client)->ResetReplica(request, context->timeout_us());
  if (!response.ok()) return response.status();
  if (response->has_error()) return TopicError(name, response->error());
  Print(context->format(), *response, [&](OutputFormat format) {
    if (format == OutputFormat::kName) {
      std::cout << name << '\n';
      return;
    }
    std::cout << (options.dry_run ? "would reset " : "reset ") << name
              << " on broker " << options.broker
              << "; it had failed: " << response->set_aside() << '\n';
  });
  if (options.dry_run) std::cerr << "dry run: nothing was changed\n";
  return absl::OkStatus();
}

}  // namespace

void AddPartitionResetReplica(CLI::App* partition, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = partition->add_subcommand(
      "reset-replica",
      "set the files of a FAILED replica aside, fill it again");
  command->add_option("TOPIC", options->topic, "its topic")->required();
  command->add_option("PARTITION", options->partition, "its partition")
      ->required();
  command->add_option("BROKER", options->broker, "the broker that has it")
      ->required();
  command->add_flag("--without-leader", options->without_leader,
                    "also where nobody leads: it begins empty, and may be "
                    "elected so when no better log is left");
  command->add_flag("--dry-run", options->dry_run, "check only");
  context->AddYes(command);
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice cluster health                        # names it\n"
      "  sluice partition reset-replica orders 3 2\n"
      "  sluice partition reset-replica orders 3 2 --yes\n"
      "The old files stay on the broker as PARTITION.stray-N, for somebody to "
      "look at (sluice log dump) and to delete.");
  context->OnChosen(command,
                    [context, options] { return Reset(context, *options); });
}

}  // namespace sluice::cli
