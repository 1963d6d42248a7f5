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
  std::vector<std::string> names;
  int32_t partitions = 0;
  int32_t replication_factor = 0;
  std::vector<std::string> configs;
  bool if_not_exists = false;
  bool dry_run = false;
};

absl::Status AddConfigs(const Options& options, v1::NewTopic* topic) {
  for (const std::string& pair : options.configs) {
    const size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return MakeError(ErrorCode::kInvalidRequest, "--config ", pair,
                       " is not key=value; for example "
                       "--config min.insync.replicas=2");
    }
    const std::string key = pair.substr(0, equals);
    if (topic->configs().contains(key)) {
      return MakeError(ErrorCode::kInvalidRequest, "--config ", key,
                       " stands twice; which value is meant?");
    }
    (*topic->mutable_configs())[key] = pair.substr(equals + 1);
  }
  return absl::OkStatus();
}

void PrintTable(const v1::CreateTopicsResponse& response) {
  Table table({"TOPIC", "PARTITIONS", "REPLICAS", "STATUS"});
  for (const auto& result : response.results()) {
    const auto code = CodeFromNumber(result.error().code());
    if (code == ErrorCode::kNone) {
      table.Add({result.name(), std::to_string(result.partition_count()),
                 std::to_string(result.replication_factor()), "ok"});
    } else {
      table.Add({result.name(), "-", "-", std::string(NameOf(code))});
    }
  }
  table.Print(std::cout);
}

absl::Status Create(Context* context, const Options& options) {
  v1::CreateTopicsRequest request;
  request.set_validate_only(options.dry_run);
  for (const std::string& name : options.names) {
    v1::NewTopic* topic = request.add_topics();
    topic->set_name(name);
    topic->set_partition_count(options.partitions);
    topic->set_replication_factor(options.replication_factor);
    if (auto bad = AddConfigs(options, topic); !bad.ok()) {
      return context->Misused(bad);
    }
  }
  if (PrintedShape(context->format(), v1::CreateTopicsResponse())) {
    return absl::OkStatus();
  }
  auto client = context->Client();
  if (!client.ok()) return client.status();
  const auto response =
      (*client)->CreateTopics(request, context->timeout_us());
  if (!response.ok()) return response.status();
  Print(context->format(), *response, [&](OutputFormat format) {
    if (format != OutputFormat::kName) return PrintTable(*response);
    for (const auto& result : response->results()) {
      std::cout << result.name() << '\n';
    }
  });
  if (options.dry_run) std::cerr << "dry run: nothing was created\n";
  for (const auto& result : response->results()) {
    const auto code = CodeFromNumber(result.error().code());
    if (code == ErrorCode::kNone) continue;
    if (options.if_not_exists && code == ErrorCode::kTopicAlreadyExists) {
      continue;
    }
    return TopicError(result.name(), result.error());
  }
  return absl::OkStatus();
}

}  // namespace

void AddTopicCreate(CLI::App* topic, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = topic->add_subcommand("create", "create topics");
  command->add_option("NAME", options->names, "names")->required();
  command
      ->add_option("-p,--partitions", options->partitions,
                      "partitions of each; default 1")
      ->check(CLI::Range(1, INT32_MAX));
  command
      ->add_option("-r,--replication-factor", options->replication_factor,
                      "replicas of each partition; default 3, or as many as "
                      "there are brokers")
      ->check(CLI::Range(1, INT32_MAX));
  command->add_option("-c,--config", options->configs,
                      "key=value, repeatable: min.insync.replicas, "
                      "durability, max.message.bytes, segment.bytes, "
                      "flush.messages, flush.ms")
      ->allow_extra_args(false);
  command->add_flag("--if-not-exists", options->if_not_exists,
                    "one that is there is no error");
  command->add_flag("--dry-run", options->dry_run, "check only");
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n"
      "  sluice topic create orders --partitions 6 --replication-factor 3\n"
      "  sluice topic create fast -p 12 --config durability=memory");
  context->OnChosen(command,
                    [context, options] { return Create(context, *options); });
}

}  // namespace sluice::cli
