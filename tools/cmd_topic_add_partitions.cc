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
  int32_t total = 0;
  bool dry_run = false;
};

constexpr char kWarning[] =
    "records with a key go to other partitions from then on: what was written "
    "before and what is written after is in order for each key, one behind the "
    "other is not";

absl::Status AddPartitions(Context* context, const Options& options) {
  if (PrintedShape(context->format(), v1::CreatePartitionsResponse())) {
    return absl::OkStatus();
  }
  auto client = context->Client();
  if (!client.ok()) return client.status();
  std::cerr << "warning: " << kWarning << '\n';
  if (!options.dry_run) {
    const auto count = PartitionCountOf(*context, *client, options.topic);
    if (!count.ok()) return count.status();
    const auto confirmed = Confirm(
        *context, StrCat("Give topic ", options.topic, " ", options.total,
                         " partitions instead of ", *count,
                         "? They cannot be taken away again."));
    if (!confirmed.ok()) return confirmed;
  }
  v1::CreatePartitionsRequest request;
  auto* topic = request.add_topics();
  topic->mutable_topic()->set_name(options.topic);
  topic->set_total_count(options.total);
  request.set_validate_only(options.dry_run);
  const auto response =
      (*client)->CreatePartitions(request, context->timeout_us());
  if (!response.ok()) return response.status();
  for (const auto& result : response->results()) {
    if (result.has_error()) return TopicError(options.topic, result.error());
  }
  Print(context->format(), *response, [&](OutputFormat) {
    for (const auto& result : response->results()) {
      std::cout << options.topic << ": " << result.partition_count()
                << " partitions\n";
    }
  });
  if (options.dry_run) std::cerr << "dry run: nothing was changed\n";
  return absl::OkStatus();
}

}  // namespace

void AddTopicAddPartitions(CLI::App* topic, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = topic->add_subcommand(
      "add-partitions", "give a topic more partitions");
  command->add_option("NAME", options->topic, "topic")->required();
  command->add_option("--partitions", options->total,
                      "how many it has afterwards")
      ->required()
      ->check(CLI::Range(1, 1'000'000));
  command->add_flag("--dry-run", options->dry_run, "check only");
  context->AddYes(command);
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Records with a key go to other partitions from then on: a key's order "
      "holds\nwithin what was written before and within what is written after, "
      "not across.\nConsumers of groups read the new ones from their first "
      "record.\n"
      "Examples:\n  sluice topic add-partitions orders --partitions 12\n"
      "  sluice topic add-partitions orders --partitions 12 --dry-run");
  context->OnChosen(command, [context, options] {
    return AddPartitions(context, *options);
  });
}

}  // namespace sluice::cli
