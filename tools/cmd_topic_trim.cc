#include <CLI/App.hpp>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <optional>

#include "common/base/error.h"
#include "sluice/v1/log.pb.h"
#include "tools/commands.h"
#include "tools/output.h"
#include "tools/topic_lookup.h"

namespace sluice::cli {
namespace {

struct Options {
  std::string topic;
  std::string before;
  std::vector<int32_t> partitions;
  bool dry_run = false;
};

// "end" is kNoOffset.
absl::StatusOr<Offset> OffsetOf(const std::string& before) {
  if (before == "end") return kNoOffset;
  const bool digits =
      !before.empty() && before.size() <= 18 &&
      before.find_first_not_of("0123456789") == std::string::npos;
  if (digits) return Offset(std::strtoll(before.c_str(), nullptr, 10));
  return MakeError(ErrorCode::kInvalidRequest, "--before '", before,
                   "' is no offset; use a number from 0, or end");
}

v1::DeleteRecordsResponse MessageOf(
    const RecordDeletion::Results& results) {
  v1::DeleteRecordsResponse response;
  for (const auto& [tp, result] : results) {
    v1::DeleteRecordsResult* out = response.add_results();
    out->mutable_topic()->set_name(tp.topic);
    out->set_partition(tp.partition.value());
    out->set_log_start_offset(result.log_start_offset.value());
    out->set_high_watermark(result.high_watermark.value());
    if (result.error.ok()) continue;
    out->mutable_error()->set_code(static_cast<v1::ErrorCode>(
        static_cast<int>(result.error.code)));
    out->mutable_error()->set_message(result.error.message);
  }
  return response;
}

std::string Known(int64_t offset) {
  return offset < 0 ? "-" : std::to_string(offset);
}

void PrintResults(const Context& context,
                  const v1::DeleteRecordsResponse& response) {
  Print(context.format(), response, [&](OutputFormat format) {
    Table table({"PARTITION", "LOG START", "HIGH WATERMARK", "STATUS"});
    for (const v1::DeleteRecordsResult& result : response.results()) {
      const auto code = CodeFromNumber(result.error().code());
      if (format == OutputFormat::kName) {
        std::cout << result.topic().name() << '-' << result.partition() << '\n';
        continue;
      }
      table.Add({std::to_string(result.partition()),
                 Known(result.log_start_offset()),
                 Known(result.high_watermark()),
                 code == ErrorCode::kNone ? "ok" : std::string(NameOf(code))});
    }
    if (format != OutputFormat::kName) table.Print(std::cout);
  });
}

absl::Status Trim(Context* context, const Options& options) {
  if (PrintedShape(context->format(), v1::DeleteRecordsResponse())) {
    return absl::OkStatus();
  }
  const auto before = OffsetOf(options.before);
  if (!before.ok()) return context->Misused(before.status());
  auto client = context->Client();
  if (!client.ok()) return client.status();
  const auto partitions =
      PartitionsOf(*context, *client, options.topic, options.partitions);
  if (!partitions.ok()) return partitions.status();
  if (!options.dry_run) {
    const auto confirmed = Confirm(
        *context,
        StrCat("Delete the records of ", options.topic, " before ",
               *before == kNoOffset ? std::string("its end")
                                    : StrCat("offset ", *before),
               " in ", partitions->size(), " partition(s), for good?"));
    if (!confirmed.ok()) return confirmed;
  }
  std::map<NamedPartition, Offset> starts;
  for (const NamedPartition& tp : *partitions) starts[tp] = *before;
  const v1::DeleteRecordsResponse response = MessageOf((*client)->DeleteRecords(
      starts, options.dry_run, context->timeout_us()));
  PrintResults(*context, response);
  if (options.dry_run) std::cerr << "dry run: nothing was deleted\n";
  for (const v1::DeleteRecordsResult& result : response.results()) {
    if (CodeFromNumber(result.error().code()) == ErrorCode::kNone) continue;
    return TopicError(options.topic, result.error());
  }
  return absl::OkStatus();
}

}  // namespace

void AddTopicTrim(CLI::App* topic, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = topic->add_subcommand(
      "trim", "delete records from the beginning of a topic");
  command->add_option("NAME", options->topic, "topic")->required();
  command->add_option("--before", options->before,
                      "the first offset that stays, or end: nothing stays")
      ->required();
  command->add_option("-p,--partition", options->partitions,
                      "only these; repeatable")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_flag("--dry-run", options->dry_run, "check only");
  context->AddYes(command);
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Whole batches go: the one that holds the offset stays. Done means: the "
      "controllers\nhave recorded it, so no leader shows those records again.\n"
      "Examples:\n  sluice topic trim orders --before 1000 -p 0\n"
      "  sluice topic trim orders --before end --yes   # empties it\n"
      "  sluice topic trim orders --before 1000 --dry-run");
  context->OnChosen(command,
                    [context, options] { return Trim(context, *options); });
}

}  // namespace sluice::cli
