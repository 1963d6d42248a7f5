#include <CLI/App.hpp>
#include <iostream>
#include <memory>

#include "tools/commands.h"
#include "tools/output.h"

namespace sluice::cli {
namespace {

absl::Status List(Context* context, bool internal) {
  if (PrintedShape(context->format(), v1::ListTopicsResponse())) {
    return absl::OkStatus();
  }
  auto client = context->Client();
  if (!client.ok()) return client.status();
  v1::ListTopicsRequest request;
  request.set_include_internal(internal);
  const auto topics = (*client)->ListTopics(request, context->timeout_us());
  if (!topics.ok()) return topics.status();
  Print(context->format(), *topics, [&](OutputFormat format) {
    if (format == OutputFormat::kName) {
      for (const auto& topic : topics->topics()) {
        std::cout << topic.name() << '\n';
      }
      return;
    }
    const bool wide = format == OutputFormat::kWide;
    std::vector<std::string> header = {"NAME", "PARTITIONS", "REPLICAS"};
    if (wide) header.insert(header.end(), {"ID", "INTERNAL"});
    Table table(header);
    for (const auto& topic : topics->topics()) {
      std::vector<std::string> row = {
          topic.name(), std::to_string(topic.partition_count()),
          std::to_string(topic.replication_factor())};
      if (wide) {
        row.push_back(HexOf(topic.id()));
        row.push_back(topic.internal() ? "yes" : "no");
      }
      table.Add(std::move(row));
    }
    table.Print(std::cout);
  });
  return absl::OkStatus();
}

}  // namespace

void AddTopicList(CLI::App* topic, Context* context) {
  auto internal = std::make_shared<bool>(false);
  CLI::App* command = topic->add_subcommand("list", "all topics");
  command->alias("ls");
  command->add_flag("--internal", *internal, "internal ones too");
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice topic list\n  sluice topic list -o name");
  context->OnChosen(command,
                    [context, internal] { return List(context, *internal); });
}

}  // namespace sluice::cli
