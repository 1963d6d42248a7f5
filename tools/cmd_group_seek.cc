#include <CLI/App.hpp>
#include <fstream>
#include <ios>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "client/group/group_errors.h"
#include "common/base/error.h"
#include "tools/commands.h"
#include "tools/group_text.h"
#include "tools/output.h"
#include "tools/seek_plan.h"
#include "tools/time_text.h"
#include "tools/topic_lookup.h"

namespace sluice::cli {
namespace {

struct Options {
  std::string group;
  std::vector<std::string> topics;
  std::vector<int32_t> partitions;
  std::string to;
  std::optional<int64_t> shift;
  std::string back;
  std::string file;
  bool exports = false;
  bool dry_run = false;  // what it does by itself
  bool execute = false;
};

using Committed = std::map<NamedPartition, Offset>;
using Facts = std::map<NamedPartition, PartitionFacts>;

// More is no list of kSeekPartitionsMax lines.
constexpr int64_t kFileBytesMax = 4 << 20;

absl::StatusOr<std::string> ContentsOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kFileBytesMax + 1, '\0');
  // A directory can be opened and not read.
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || !file.is_open()) {
    return MakeError(ErrorCode::kInvalidRequest, "--file ", path,
                     " cannot be read; name a file of lines "
                     "TOPIC,PARTITION,OFFSET");
  }
  text.resize(static_cast<size_t>(file.gcount()));
  if (static_cast<int64_t>(text.size()) > kFileBytesMax) {
    return MakeError(ErrorCode::kInvalidRequest, "--file ", path,
                     " has more than ", kFileBytesMax,
                     " bytes; seek in several calls");
  }
  return text;
}

absl::StatusOr<SeekTarget> TargetOf(const Context& context,
                                    const Options& options) {
  const int64_t now_ms = context.clock().WallMillis();
  SeekTarget target;
  if (!options.to.empty()) return SeekTargetOf(options.to, now_ms);
  if (options.shift.has_value()) {
    target.kind = SeekTarget::Kind::kShift;
    target.number = *options.shift;
    return target;
  }
  if (!options.back.empty()) {
    const auto back_ms = DurationMsOf(options.back);
    if (!back_ms.ok()) return back_ms.status();
    target.kind = SeekTarget::Kind::kTime;
    target.number = std::max<int64_t>(0, now_ms - *back_ms);
    return target;
  }
  const auto text = ContentsOf(options.file);
  if (!text.ok()) return text.status();
  auto offsets = OffsetsFromCsv(*text);
  if (!offsets.ok()) return offsets.status();
  if (offsets->empty()) {
    return MakeError(ErrorCode::kInvalidRequest, "--file ", options.file,
                     " names no partition; its lines are "
                     "TOPIC,PARTITION,OFFSET");
  }
  target.kind = SeekTarget::Kind::kOffsets;
  target.offsets = *std::move(offsets);
  return target;
}

Committed CommittedOf(const v1::GroupDescription& group) {
  Committed committed;
  for (const auto& partition : group.partitions()) {
    if (partition.committed_offset() < 0) continue;
    committed[{partition.topic(), PartitionIndex(partition.partition())}] =
        Offset(partition.committed_offset());
  }
  return committed;
}

// Those of the file, or of the topics named, or that the group has committed.
absl::StatusOr<std::vector<NamedPartition>> Chosen(
    const Context& context, BlockingClient* client, const Options& options,
    const SeekTarget& target, const Committed& committed) {
  std::vector<NamedPartition> chosen;
  std::map<std::string, std::vector<int32_t>> of_file;
  for (const auto& [tp, offset] : target.offsets) {
    of_file[tp.topic].push_back(tp.partition.value());
  }
  for (const auto& [topic, partitions] : of_file) {
    const auto all = PartitionsOf(context, client, topic, partitions);
    if (!all.ok()) return all.status();
    chosen.insert(chosen.end(), all->begin(), all->end());
  }
  for (const std::string& topic : options.topics) {
    const auto all = PartitionsOf(context, client, topic, options.partitions);
    if (!all.ok()) return all.status();
    chosen.insert(chosen.end(), all->begin(), all->end());
  }
  if (target.kind != SeekTarget::Kind::kOffsets && options.topics.empty()) {
    for (const auto& [tp, offset] : committed) chosen.push_back(tp);
  }
  if (chosen.empty()) {
    return MakeError(ErrorCode::kInvalidRequest, "group ", options.group,
                     " has committed nothing; say which topic with --topic");
  }
  if (chosen.size() > kSeekPartitionsMax) {
    return MakeError(ErrorCode::kInvalidRequest, chosen.size(),
                     " partitions are more than ", kSeekPartitionsMax,
                     "; seek topic by topic");
  }
  return chosen;
}

absl::StatusOr<Facts> FactsOf(const Context& context, BlockingClient* client,
                              const SeekTarget& target,
                              const std::vector<NamedPartition>& chosen,
                              const Committed& committed) {
  const auto earliest = client->LookUpOffsets(
      chosen, api::OffsetPosition::kEarliest, context.timeout_us());
  if (!earliest.ok()) return earliest.status();
  const auto latest = client->LookUpOffsets(
      chosen, api::OffsetPosition::kLatest, context.timeout_us());
  if (!latest.ok()) return latest.status();
  std::map<NamedPartition, Offset> times;
  if (target.kind == SeekTarget::Kind::kTime) {
    auto found = client->LookUpOffsets(chosen, OffsetQuery::At(target.number),
                                       context.timeout_us());
    if (!found.ok()) return found.status();
    times = *std::move(found);
  }
  Facts facts;
  for (const NamedPartition& tp : chosen) {
    PartitionFacts& one = facts[tp];
    one.earliest = earliest->at(tp);
    one.latest = latest->at(tp);
    const auto known = committed.find(tp);
    if (known != committed.end()) one.committed = known->second;
    const auto time = times.find(tp);
    if (time != times.end() && time->second != kNoOffset) {
      one.at_time = time->second;
    }
  }
  return facts;
}

void PrintPlan(const Context& context, const std::vector<SeekRow>& rows) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const SeekRow& row : rows) {
    json.push_back({{"topic", row.tp.topic},
                    {"partition", row.tp.partition.value()},
                    {"from", row.from.has_value() ? row.from->value() : -1},
                    {"to", row.to.value()},
                    {"note", row.note}});
  }
  Print(context.format(), json, [&](OutputFormat format) {
    Table table({"TOPIC", "PARTITION", "FROM", "TO", "NOTE"});
    for (const SeekRow& row : rows) {
      if (format == OutputFormat::kName) {
        std::cout << row.tp.ToString() << '\n';
        continue;
      }
      table.Add({row.tp.topic, std::to_string(row.tp.partition.value()),
                 row.from.has_value() ? std::to_string(row.from->value())
                                      : "none",
                 std::to_string(row.to.value()),
                 row.note.empty() ? "-" : row.note});
    }
    if (format != OutputFormat::kName) table.Print(std::cout);
  });
}

absl::Status Execute(const Context& context, BlockingGroups* groups,
                     const std::string& group,
                     const std::vector<SeekRow>& rows) {
  v1::CommitOffsetsRequest request;
  request.set_group_id(group);
  request.set_administrative(true);
  for (const SeekRow& row : rows) {
    v1::OffsetCommit* commit = request.add_offsets();
    commit->mutable_topic()->set_name(row.tp.topic);
    commit->set_partition(row.tp.partition.value());
    commit->set_offset(row.to.value());
  }
  const auto response = groups->CommitOffsets(request, context.timeout_us());
  if (!response.ok()) return response.status();
  for (const v1::OffsetCommitResult& result : response->results()) {
    const absl::Status status = StatusOf(result.error());
    if (status.ok()) continue;
    return MakeErrorStatus(
        CodeOf(status),
        StrCat("group ", group, ", ", result.topic().name(), "-",
               result.partition(), ": ", StdView(status.message())));
  }
  std::cerr << "moved " << rows.size() << " offsets of group " << group
            << '\n';
  return absl::OkStatus();
}

absl::Status CheckUse(const Options& options) {
  const int ways = !options.to.empty() + options.shift.has_value() +
                   !options.back.empty() + !options.file.empty() +
                   options.exports;
  if (ways != 1) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "say where to: one of --to, --shift, --back, --file, "
                     "--export");
  }
  if (!options.partitions.empty() && options.topics.size() != 1) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "-p is of one topic; name it with --topic");
  }
  if (!options.file.empty() && !options.topics.empty()) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "the file says which topics; leave --topic out");
  }
  return absl::OkStatus();
}

absl::Status Seek(Context* context, const Options& options) {
  if (context->format() == OutputFormat::kHelp) {
    PrintPlan(*context, {SeekRow()});
    return absl::OkStatus();
  }
  const absl::Status use = CheckUse(options);
  if (!use.ok()) return context->Misused(use);
  SeekTarget target;
  if (!options.exports) {
    auto understood = TargetOf(*context, options);
    if (!understood.ok()) return context->Misused(understood.status());
    target = *std::move(understood);
  }
  auto client = context->Client();
  if (!client.ok()) return client.status();
  auto groups = context->Groups();
  if (!groups.ok()) return groups.status();
  auto group = DescribeGroup(*context, *groups, options.group, false);
  // One that was never there may be given its place before it begins.
  const bool fresh = CodeOf(group.status()) == ErrorCode::kGroupIdNotFound;
  if (!group.ok() && (!fresh || options.exports)) return group.status();
  if (fresh) group = v1::GroupDescription();
  const Committed committed = CommittedOf(*group);
  if (options.exports) {
    std::cout << CsvOf(committed);
    return absl::OkStatus();
  }
  const absl::Status inactive = CheckInactive(*group);
  if (!inactive.ok()) return inactive;
  const auto chosen = Chosen(*context, *client, options, target, committed);
  if (!chosen.ok()) return chosen.status();
  const auto facts = FactsOf(*context, *client, target, *chosen, committed);
  if (!facts.ok()) return facts.status();
  const auto rows = PlanSeek(target, *facts);
  if (!rows.ok()) return rows.status();
  PrintPlan(*context, *rows);
  if (options.execute) {
    return Execute(*context, *groups, options.group, *rows);
  }
  std::cerr << "dry run: nothing was changed; say --execute to do it\n";
  return absl::OkStatus();
}

}  // namespace

void AddGroupSeek(CLI::App* group, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = group->add_subcommand(
      "seek", "move the committed offsets of a group without members");
  command->add_option("GROUP", options->group, "group")->required();
  command->add_option("--topic", options->topics,
                      "only these; repeatable; else all that it has committed")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("-p,--partition", options->partitions,
                      "of the one topic; repeatable")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--to", options->to,
                      "earliest, latest, an offset, or @TIME");
  command->add_option("--shift", options->shift,
                      "so many records on, or back if negative");
  command->add_option("--back", options->back,
                      "to what came this long ago: 30m, 2h, 7d");
  command->add_option("--file", options->file,
                      "lines of TOPIC,PARTITION,OFFSET");
  command->add_flag("--export", options->exports,
                    "print such lines of what is committed, change nothing");
  CLI::Option* dry_run = command->add_flag(
      "--dry-run", options->dry_run, "only show it, as without --execute");
  command
      ->add_flag("--execute", options->execute,
                 "do it; without, it is only shown")
      ->excludes(dry_run);
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Members would commit over it: stop them first.\n"
      "Examples:\n  sluice group seek billing --to earliest\n"
      "  sluice group seek billing --topic orders -p 3 --to 1234 --execute\n"
      "  sluice group seek billing --to @2026-11-26T10:00:00Z --execute\n"
      "  sluice group seek billing --shift -100 --execute\n"
      "  sluice group seek billing --export > saved.csv\n"
      "  sluice group seek billing --file saved.csv --execute");
  context->OnChosen(command,
                    [context, options] { return Seek(context, *options); });
}

}  // namespace sluice::cli
