#include <CLI/App.hpp>
#include <iostream>
#include <memory>

#include "client/group/group_errors.h"
#include "common/base/error.h"
#include "tools/commands.h"
#include "tools/group_text.h"
#include "tools/output.h"

namespace sluice::cli {
namespace {

struct Options {
  std::vector<std::string> states;
};

void PrintGroups(const v1::ListGroupsResponse& response, OutputFormat format) {
  Table table({"GROUP", "STATE", "MEMBERS", "PROTOCOL TYPE", "COORDINATOR"});
  for (const v1::ListedGroup& group : response.groups()) {
    if (format == OutputFormat::kName) {
      std::cout << group.group_id() << '\n';
      continue;
    }
    table.Add({group.group_id(), StateText(group.state()),
               std::to_string(group.member_count()),
               group.protocol_type().empty() ? "-" : group.protocol_type(),
               std::to_string(group.coordinator_id())});
  }
  if (format != OutputFormat::kName) table.Print(std::cout);
}

absl::Status List(Context* context, const Options& options) {
  if (PrintedShape(context->format(), v1::ListGroupsResponse())) {
    return absl::OkStatus();
  }
  v1::ListGroupsRequest request;
  for (const std::string& name : options.states) {
    request.add_states(StateFromText(name));
  }
  auto groups = context->Groups();
  if (!groups.ok()) return groups.status();
  const auto response = (*groups)->List(request, context->timeout_us());
  if (!response.ok()) return response.status();
  Print(context->format(), *response, [&](OutputFormat format) {
    PrintGroups(*response, format);
  });
  // The list is printed, and not whole.
  for (const v1::Error& error : response->errors()) {
    const absl::Status status = StatusOf(error);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

void AddGroupList(CLI::App* group, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = group->add_subcommand("list", "every group, by name");
  command
      ->add_option("--state", options->states,
                   "only these: empty, preparing, completing, stable")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"empty", "preparing", "completing", "stable"}));
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice group list\n"
      "  sluice group list --state empty -o name");
  context->OnChosen(command,
                    [context, options] { return List(context, *options); });
}

}  // namespace sluice::cli
