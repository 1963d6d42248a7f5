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
  std::vector<std::string> words;  // keys; for set, key=value
  bool dry_run = false;
};

void Name(const std::string& topic, v1::ConfigResource* resource) {
  resource->set_type(v1::ConfigResource::TYPE_TOPIC);
  resource->set_name(topic);
}

std::string SourceText(v1::ConfigEntry::Source source) {
  switch (source) {
    case v1::ConfigEntry::SOURCE_TOPIC: return "topic";
    case v1::ConfigEntry::SOURCE_NODE: return "broker default";
    case v1::ConfigEntry::SOURCE_DEFAULT: return "default";
    default: return "?";
  }
}

using Entries = google::protobuf::RepeatedPtrField<v1::ConfigEntry>;

void PrintEntries(const Entries& entries, OutputFormat format) {
  const bool wide = format == OutputFormat::kWide;
  std::vector<std::string> header = {"KEY", "VALUE", "SOURCE", "DEFAULT"};
  if (wide) header.insert(header.end(), {"ALLOWED", "MEANING"});
  Table table(std::move(header));
  for (const v1::ConfigEntry& entry : entries) {
    if (format == OutputFormat::kName) {
      std::cout << entry.name() << '\n';
      continue;
    }
    std::vector<std::string> row = {entry.name(), entry.value(),
                                    SourceText(entry.source()),
                                    entry.default_value()};
    if (wide) {
      row.insert(row.end(), {entry.allowed(), entry.documentation()});
    }
    table.Add(std::move(row));
  }
  if (format != OutputFormat::kName) table.Print(std::cout);
}

absl::Status Get(Context* context, const Options& options) {
  if (PrintedShape(context->format(), v1::DescribeConfigsResponse())) {
    return absl::OkStatus();
  }
  auto client = context->Client();
  if (!client.ok()) return client.status();
  v1::DescribeConfigsRequest request;
  auto* asked = request.add_resources();
  Name(options.topic, asked->mutable_resource());
  for (const std::string& key : options.words) asked->add_names(key);
  const auto response =
      (*client)->DescribeConfigs(request, context->timeout_us());
  if (!response.ok()) return response.status();
  for (const auto& result : response->results()) {
    if (result.has_error()) return TopicError(options.topic, result.error());
  }
  Print(context->format(), *response, [&](OutputFormat format) {
    for (const auto& result : response->results()) {
      PrintEntries(result.configs(), format);
    }
  });
  return absl::OkStatus();
}

absl::Status Alter(Context* context, const Options& options,
                   const v1::AlterConfigsRequest& request) {
  if (PrintedShape(context->format(), v1::AlterConfigsResponse())) {
    return absl::OkStatus();
  }
  auto client = context->Client();
  if (!client.ok()) return client.status();
  const auto response = (*client)->AlterConfigs(request, context->timeout_us());
  if (!response.ok()) return response.status();
  for (const auto& result : response->results()) {
    if (result.has_error()) return TopicError(options.topic, result.error());
  }
  Print(context->format(), *response, [&](OutputFormat format) {
    for (const auto& result : response->results()) {
      PrintEntries(result.configs(), format);
    }
  });
  if (options.dry_run) std::cerr << "dry run: nothing was changed\n";
  return absl::OkStatus();
}

absl::Status Set(Context* context, const Options& options) {
  v1::AlterConfigsRequest request;
  request.set_validate_only(options.dry_run);
  auto* resource = request.add_resources();
  Name(options.topic, resource->mutable_resource());
  for (const std::string& pair : options.words) {
    const size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return context->Misused(MakeError(
          ErrorCode::kInvalidRequest, pair,
          " is not KEY=VALUE; for example min.insync.replicas=2"));
    }
    auto* change = resource->add_changes();
    change->set_name(pair.substr(0, equals));
    change->set_operation(v1::ConfigChange::OPERATION_SET);
    change->set_value(pair.substr(equals + 1));
  }
  return Alter(context, options, request);
}

absl::Status Unset(Context* context, const Options& options) {
  v1::AlterConfigsRequest request;
  request.set_validate_only(options.dry_run);
  auto* resource = request.add_resources();
  Name(options.topic, resource->mutable_resource());
  for (const std::string& key : options.words) {
    auto* change = resource->add_changes();
    change->set_name(key);
    change->set_operation(v1::ConfigChange::OPERATION_DELETE);
  }
  return Alter(context, options, request);
}

}  // namespace

void AddConfigGet(CLI::App* config, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = config->add_subcommand(
      "get", "values of a topic, where each comes from, its default");
  command->add_option("TOPIC", options->topic, "the topic")->required();
  command->add_option("KEY", options->words, "keys; none: all");
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice config get orders\n"
      "  sluice config get orders durability min.insync.replicas\n"
      "  sluice config get orders -o wide      # what may be set, and why");
  context->OnChosen(command,
                    [context, options] { return Get(context, *options); });
}

void AddConfigSet(CLI::App* config, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      config->add_subcommand("set", "set values of a topic, while it is used");
  command->add_option("TOPIC", options->topic, "the topic")->required();
  command->add_option("KEY=VALUE", options->words, "all are set, or none")
      ->required();
  command->add_flag("--dry-run", options->dry_run, "check only");
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice config set orders min.insync.replicas=2\n"
      "  sluice config set orders durability=memory flush.ms=1000\n"
      "  sluice config set orders durability=disk --dry-run\n"
      "A switch to durability=disk holds once what is acknowledged is synced\n"
      "on every in-sync replica; until then answers name memory.");
  context->OnChosen(command,
                    [context, options] { return Set(context, *options); });
}

void AddConfigUnset(CLI::App* config, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      config->add_subcommand("unset", "back to the default, while it is used");
  command->add_option("TOPIC", options->topic, "the topic")->required();
  command->add_option("KEY", options->words, "keys")->required();
  command->add_flag("--dry-run", options->dry_run, "check only");
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice config unset orders min.insync.replicas\n"
      "  sluice config unset orders flush.ms flush.messages --dry-run");
  context->OnChosen(command,
                    [context, options] { return Unset(context, *options); });
}

}  // namespace sluice::cli
