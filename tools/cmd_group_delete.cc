// Groups, or single offsets of theirs, deleted.
#include <CLI/App.hpp>
#include <algorithm>
#include <iostream>
#include <memory>

#include "client/group/group_errors.h"
#include "common/base/error.h"
#include "tools/commands.h"
#include "tools/group_text.h"
#include "tools/output.h"

namespace sluice::cli {
namespace {

struct GroupsOptions {
  std::vector<std::string> groups;
  bool dry_run = false;
};

std::string JoinedNames(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

absl::Status CheckDeletable(const Context& context, BlockingGroups* groups,
                            const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const auto group = DescribeGroup(context, groups, name, false);
    if (!group.ok()) return group.status();
    const absl::Status inactive = CheckInactive(*group);
    if (!inactive.ok()) return inactive;
    // Described are also partitions that nobody has committed.
    const auto& described = group->partitions();
    std::cout << name << ": "
              << std::count_if(described.begin(), described.end(),
                               [](const v1::GroupPartition& partition) {
                                 return partition.committed_offset() >= 0;
                               })
              << " committed offsets\n";
  }
  return absl::OkStatus();
}

absl::Status Delete(Context* context, const GroupsOptions& options) {
  auto groups = context->Groups();
  if (!groups.ok()) return groups.status();
  if (options.dry_run) {
    const auto deletable = CheckDeletable(*context, *groups, options.groups);
    if (!deletable.ok()) return deletable;
    std::cerr << "dry run: nothing was deleted\n";
    return absl::OkStatus();
  }
  const auto confirmed = Confirm(
      *context, "Delete the groups " + JoinedNames(options.groups) +
                    " with all their committed offsets?");
  if (!confirmed.ok()) return confirmed;
  v1::DeleteGroupsRequest request;
  for (const std::string& name : options.groups) request.add_group_ids(name);
  const auto response = (*groups)->Delete(request, context->timeout_us());
  if (!response.ok()) return response.status();
  absl::Status first;
  for (const v1::DeleteGroupResult& result : response->results()) {
    const absl::Status status = StatusOf(result.error());
    if (status.ok()) {
      std::cout << "deleted " << result.group_id() << '\n';
      continue;
    }
    const std::string why = StrCat("group ", result.group_id(), ": ",
                                   StdView(status.message()));
    if (first.ok()) {
      first = MakeErrorStatus(CodeOf(status), why);
    } else {
      std::cerr << "not deleted: " << why << '\n';
    }
  }
  return first;
}

struct OffsetsOptions {
  std::string group;
  std::string topic;
  std::vector<int32_t> partitions;
  bool dry_run = false;
};

bool IsMeant(const OffsetsOptions& options, const v1::GroupPartition& have) {
  if (have.topic() != options.topic || have.committed_offset() < 0) {
    return false;
  }
  return options.partitions.empty() ||
         std::count(options.partitions.begin(), options.partitions.end(),
                    have.partition()) > 0;
}

absl::Status ShowOffsets(const Context& context, BlockingGroups* groups,
                         const OffsetsOptions& options) {
  const auto group = DescribeGroup(context, groups, options.group, false);
  if (!group.ok()) return group.status();
  for (const auto& have : group->partitions()) {
    if (have.topic() != options.topic || have.member_id().empty()) continue;
    return MakeError(ErrorCode::kGroupSubscribedToTopic, options.topic, "-",
                     have.partition(), " is read by member ", have.member_id(),
                     " of group ", options.group,
                     "; stop the members first; nothing was changed");
  }
  Table table({"TOPIC", "PARTITION", "COMMITTED"});
  for (const auto& have : group->partitions()) {
    if (!IsMeant(options, have)) continue;
    table.Add({have.topic(), std::to_string(have.partition()),
               OffsetText(have.committed_offset())});
  }
  table.Print(std::cout);
  if (!group->members().empty()) {
    std::cerr << "group " << options.group << " has members: this is refused "
              << "while one of them subscribes to " << options.topic << '\n';
  }
  std::cerr << "dry run: nothing was deleted\n";
  return absl::OkStatus();
}

absl::Status DeleteOffsets(Context* context, const OffsetsOptions& options) {
  auto groups = context->Groups();
  if (!groups.ok()) return groups.status();
  if (options.dry_run) return ShowOffsets(*context, *groups, options);
  const std::string which =
      options.partitions.empty()
          ? "all partitions of " + options.topic
          : options.topic + ", partitions " + Joined(options.partitions);
  const auto confirmed =
      Confirm(*context, "Delete what group " + options.group +
                            " has committed of " + which + "?");
  if (!confirmed.ok()) return confirmed;
  v1::DeleteOffsetsRequest request;
  request.set_group_id(options.group);
  auto* topic = request.add_topics();
  topic->mutable_topic()->set_name(options.topic);
  for (const int32_t partition : options.partitions) {
    topic->add_partitions(partition);
  }
  const auto response =
      (*groups)->DeleteOffsets(request, context->timeout_us());
  const absl::Status status = StatusOf(response);
  if (!status.ok()) return status;
  absl::Status first;
  for (const v1::OffsetCommitResult& result : response->results()) {
    const std::string name =
        options.topic + "-" + std::to_string(result.partition());
    const absl::Status one = StatusOf(result.error());
    if (one.ok()) {
      std::cout << "deleted " << name << '\n';
    } else if (first.ok()) {
      first = MakeErrorStatus(CodeOf(one),
                              StrCat(name, ": ", StdView(one.message())));
    }
  }
  return first;
}

}  // namespace

void AddGroupDelete(CLI::App* group, Context* context) {
  auto options = std::make_shared<GroupsOptions>();
  CLI::App* command = group->add_subcommand(
      "delete", "groups without members, with their offsets");
  command->add_option("GROUP", options->groups, "one or more")
      ->required()
      ->expected(1, 1'000);
  command->add_flag("--dry-run", options->dry_run,
                    "check, and say what would go");
  context->AddYes(command);
  context->AddCluster(command);
  command->footer(
      "Examples:\n  sluice group delete billing\n"
      "  sluice group delete old-1 old-2 --yes\n"
      "  sluice group delete billing --dry-run");
  context->OnChosen(command,
                    [context, options] { return Delete(context, *options); });
}

void AddGroupDeleteOffsets(CLI::App* group, Context* context) {
  auto options = std::make_shared<OffsetsOptions>();
  CLI::App* command = group->add_subcommand(
      "delete-offsets", "what a group has committed of a topic");
  command->add_option("GROUP", options->group, "group")->required();
  command->add_option("TOPIC", options->topic, "topic")->required();
  command->add_option("-p,--partition", options->partitions,
                      "only these; repeatable")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_flag("--dry-run", options->dry_run, "say what would go");
  context->AddYes(command);
  context->AddCluster(command);
  command->footer(
      "Refused while a member of the group subscribes to the topic. Its "
      "members then\nbegin where their reset policy says.\n"
      "Examples:\n  sluice group delete-offsets billing orders\n"
      "  sluice group delete-offsets billing orders -p 3 --yes");
  context->OnChosen(command, [context, options] {
    return DeleteOffsets(context, *options);
  });
}

}  // namespace sluice::cli
