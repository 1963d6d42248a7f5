#include <CLI/App.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/consumer/consumer_protocol.h"
#include "tools/commands.h"
#include "tools/group_text.h"
#include "tools/output.h"
#include "tools/time_text.h"
#include "tools/watch_loop.h"

namespace sluice::cli {
namespace {

struct Options {
  std::string group;
  bool members = false;
  bool no_lag = false;
  bool watch = false;
  int64_t lag_max = -1;
};

constexpr int64_t kWatchEveryUs = 1'000'000;

std::string OrDash(const std::string& text) {
  return text.empty() ? "-" : text;
}

void PrintHead(const v1::GroupDescription& group) {
  Table table({"GROUP", "STATE", "MEMBERS", "ASSIGNOR", "GENERATION",
               "COORDINATOR", "LAST REBALANCE"});
  table.Add({group.group_id(), StateText(group.state()),
             std::to_string(group.members_size()),
             OrDash(group.protocol_name()),
             std::to_string(group.generation_id()),
             std::to_string(group.coordinator_id()),
             OrDash(group.rebalance_reason())});
  table.Print(std::cout);
}

// "-": not known, or nothing.
std::string RateText(double per_s) {
  if (per_s <= 0) return "-";
  char text[32];
  std::snprintf(text, sizeof text, per_s < 10 ? "%.1f" : "%.0f", per_s);
  return text;
}

using Members = std::map<std::string, const v1::GroupMember*>;

std::vector<std::string> RowOf(const v1::GroupPartition& partition,
                               const Members& members, bool wide,
                               int64_t now_ms) {
  const bool known = !partition.has_lag_error() && partition.high_watermark() >= 0;
  const auto member = members.find(partition.member_id());
  std::vector<std::string> row = {
      partition.topic(), std::to_string(partition.partition()),
      OffsetText(partition.committed_offset()),
      known ? std::to_string(partition.high_watermark()) : "-",
      known ? std::to_string(partition.lag_records()) : "-",
      known ? AgeText(partition.lag_ms()) : "-",
      RateText(partition.read_records_per_s()),
      RateText(partition.append_records_per_s()),
      LagStateText(partition.state()),
      OrDash(partition.member_id())};
  if (!wide) return row;
  row.push_back(member == members.end() ? "-" : member->second->client_host());
  row.push_back(partition.has_committed_leader_epoch()
                    ? std::to_string(partition.committed_leader_epoch())
                    : "-");
  row.push_back(partition.committed_offset() < 0
                    ? "-"
                    : AgeText(std::max<int64_t>(
                          0, now_ms - partition.commit_time_ms())) +
                          " ago");
  row.push_back(known ? std::to_string(partition.log_start_offset()) : "-");
  row.push_back(OrDash(partition.metadata()));
  return row;
}

void PrintPartitions(const Context& context, const v1::GroupDescription& group,
                     bool wide) {
  Members members;
  for (const auto& member : group.members()) {
    members[member.member_id()] = &member;
  }
  std::vector<std::string> header = {"TOPIC", "PARTITION", "COMMITTED",
                                     "HIGH WATERMARK", "LAG", "LAG TIME",
                                     "READ/S", "APPENDED/S", "STATE",
                                     "MEMBER"};
  if (wide) {
    for (const char* more :
         {"HOST", "EPOCH", "COMMIT", "LOG START", "METADATA"}) {
      header.push_back(more);
    }
  }
  Table table(header);
  for (const auto& partition : group.partitions()) {
    table.Add(RowOf(partition, members, wide, context.clock().WallMillis()));
  }
  table.Print(std::cout);
}

std::string AssignmentText(const v1::GroupDescription& group,
                           const v1::GroupMember& member) {
  if (group.protocol_type() != consumer::kProtocolType ||
      member.assignment().empty()) {
    return "-";
  }
  const auto decoded = consumer::DecodeAssignment(member.assignment());
  if (!decoded.ok()) return "unreadable";
  std::string text;
  for (const auto& tp : decoded->partitions) {
    text += (text.empty() ? "" : " ") + tp.ToString();
  }
  return OrDash(text);
}

void PrintMembers(const v1::GroupDescription& group) {
  Table table({"MEMBER", "INSTANCE", "CLIENT", "HOST", "SESSION", "LEADER",
               "ASSIGNMENT"});
  for (const auto& member : group.members()) {
    table.Add({member.member_id(), OrDash(member.group_instance_id()),
               OrDash(member.client_id()), OrDash(member.client_host()),
               AgeText(member.session_timeout_ms()),
               member.member_id() == group.leader_id() ? "yes" : "-",
               AssignmentText(group, member)});
  }
  table.Print(std::cout);
}

void PrintGroup(const Context& context, const Options& options,
                const v1::GroupDescription& group, OutputFormat format) {
  if (format == OutputFormat::kName) {
    std::cout << group.group_id() << '\n';
    return;
  }
  if (options.members) return PrintMembers(group);
  PrintHead(group);
  if (group.partitions().empty()) return;
  std::cout << '\n';
  PrintPartitions(context, group, format == OutputFormat::kWide);
}

// What a table has no column for.
void PrintNotes(const v1::GroupDescription& group) {
  for (const auto& partition : group.partitions()) {
    const std::string name =
        StrCat(partition.topic(), "-", partition.partition());
    if (partition.has_lag_error()) {
      std::cerr << name << ": its lag is not known: "
                << partition.lag_error().message() << '\n';
    } else if (partition.lag_records() < 0) {
      std::cerr << name << ": " << partition.committed_offset()
                << " is committed, " << -partition.lag_records()
                << " beyond the end of the log: who reads on there is out of "
                   "range and starts by its reset policy; `sluice group seek "
                << group.group_id() << "` moves it\n";
    }
  }
}

void JudgeLag(const Options& options, const v1::GroupDescription& group,
              Context* context) {
  if (options.lag_max < 0) return;
  for (const auto& partition : group.partitions()) {
    if (partition.has_lag_error() ||
        partition.lag_records() > options.lag_max) {
      context->exit = kExitUnhealthy;
    }
  }
}

absl::Status Describe(Context* context, const Options& options) {
  if (PrintedShape(context->format(), v1::GroupDescription())) {
    return absl::OkStatus();
  }
  auto groups = context->Groups();
  if (!groups.ok()) return groups.status();
  return WatchLoop(kWatchEveryUs)
      .Run(options.watch, [&]() -> absl::StatusOr<WatchLoop::Sight> {
        ASSIGN_OR_RETURN(
            auto group,
            DescribeGroup(*context, *groups, options.group, !options.no_lag));
        JudgeLag(options, group, context);
        WatchLoop::Sight sight;
        sight.state = group.SerializeAsString();
        sight.print = [&, group = std::move(group)] {
          Print(context->format(), group, [&](OutputFormat format) {
            PrintGroup(*context, options, group, format);
          });
          std::cout.flush();  // before what goes to stderr
          PrintNotes(group);
        };
        return sight;
      });
}

}  // namespace

void AddGroupDescribe(CLI::App* group, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = group->add_subcommand(
      "describe", "members, committed offsets, lag of one group");
  command->add_option("GROUP", options->group, "group")->required();
  command->add_flag("--members", options->members,
                    "members and what they were assigned");
  CLI::Option* no_lag = command->add_flag(
      "--no-lag", options->no_lag,
      "ask the coordinator alone, not the partitions' leaders");
  CLI::Option* lag_max =
      command
          ->add_option("--lag-max", options->lag_max,
                       "exit code 3 when a partition lags by more records, or "
                       "nobody knows")
          ->check(CLI::Range(int64_t{0}, INT64_MAX))
          ->excludes(no_lag);
  command
      ->add_flag("-w,--watch", options->watch,
                 "go on, print when something changes; until Ctrl-C, or the "
                 "group is gone")
      ->excludes(lag_max);
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "LAG is in records, LAG TIME the age of the first one that is not "
      "committed.\nA partition that was never committed lags by all that its "
      "log holds; a group\nwithout members shows every partition of the topics "
      "that it has committed.\nSTATE over the last ten commits: OK; WARN reads and falls "
      "behind; STALL commits\nalways the same; STOP does not commit any more; "
      "REWIND went back. READ/S and\nAPPENDED/S are of the same commits.\n"
      "Examples:\n  sluice group describe billing\n"
      "  sluice group describe billing --members\n"
      "  sluice group describe billing --watch\n"
      "  sluice group describe billing --lag-max 1000 -o json");
  context->OnChosen(command, [context, options] {
    return Describe(context, *options);
  });
}

}  // namespace sluice::cli
