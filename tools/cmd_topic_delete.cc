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
  bool dry_run = false;
};

absl::Status Delete(Context* context, const Options& options) {
  if (PrintedShape(context->format(), v1::DeleteTopicsResponse())) {
    return absl::OkStatus();
  }
  std::string all;
  v1::DeleteTopicsRequest request;
  request.set_validate_only(options.dry_run);
  for (const std::string& name : options.names) {
    request.add_topics()->set_name(name);
    all += (all.empty() ? "" : ", ") + name;
  }
  if (!options.dry_run) {
    const auto confirmed = Confirm(
        *context, "Delete " + all + " with all records, for good?");
    if (!confirmed.ok()) return confirmed;
  }
  auto client = context->Client();
  if (!client.ok()) return client.status();
  const auto response =
      (*client)->DeleteTopics(request, context->timeout_us());
  if (!response.ok()) return response.status();
  Print(context->format(), *response, [&](OutputFormat format) {
    Table table({"TOPIC", "STATUS"});
    for (const auto& result : response->results()) {
      const auto code = CodeFromNumber(result.error().code());
      const std::string& name =
          result.name().empty() ? result.topic().name() : result.name();
      if (format == OutputFormat::kName) {
        std::cout << name << '\n';
      } else {
        table.Add({name, code == ErrorCode::kNone
                             ? "deleted"
                             : std::string(NameOf(code))});
      }
    }
    if (format != OutputFormat::kName) table.Print(std::cout);
  });
  if (options.dry_run) std::cerr << "dry run: nothing was deleted\n";
  for (const auto& result : response->results()) {
    const auto code = CodeFromNumber(result.error().code());
    if (code == ErrorCode::kNone) continue;
    return TopicError(result.topic().name(), result.error());
  }
  return absl::OkStatus();
}

}  // namespace

void AddTopicDelete(CLI::App* topic, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      topic->add_subcommand("delete", "delete topics and their records");
  command->alias("rm");
  command->add_option("NAME", options->names, "names")->required();
  command->add_flag("--dry-run", options->dry_run, "check only");
  context->AddYes(command);
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice topic delete orders\n"
      "  sluice topic delete orders --yes      # in scripts\n"
      "  sluice topic delete orders --dry-run");
  context->OnChosen(command,
                    [context, options] { return Delete(context, *options); });
}

}  // namespace sluice::cli
