#include <CLI/App.hpp>
#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <optional>

#include "absl/strings/numbers.h"
#include "common/base/error.h"
#include "tools/commands.h"
#include "tools/consume.h"
#include "tools/record_format.h"
#include "tools/time_text.h"
#include "tools/topic_lookup.h"

namespace sluice::cli {
namespace {

using Offsets = std::map<NamedPartition, Offset>;
constexpr int64_t kPollUs = 500'000;
constexpr int64_t kPollBytes = 4 << 20;

// --from, understood.
struct Start {
  api::OffsetPosition position = api::OffsetPosition::kLatest;
  std::optional<int64_t> offset;
  int64_t back = 0;  // records before `position`
  std::optional<int64_t> time_ms;
};

absl::StatusOr<Start> StartOf(const std::string& from, int64_t now_ms) {
  Start start;
  if (from == "latest") return start;
  if (from == "earliest") {
    start.position = api::OffsetPosition::kEarliest;
    return start;
  }
  if (from[0] == '@') {
    const auto time_ms = TimeMsOf(from.substr(1), now_ms);
    if (!time_ms.ok()) {
      return MakeErrorStatus(CodeOf(time_ms.status()),
                             StrCat("--from ", from, ": ",
                                    StdView(time_ms.status().message())));
    }
    start.time_ms = *time_ms;
    return start;
  }
  int64_t number = 0;
  // The one number that has no opposite is as good as no number.
  if (!absl::SimpleAtoi(from, &number) || number == INT64_MIN) {
    return MakeError(ErrorCode::kInvalidRequest, "--from ", from,
                     "; use earliest, latest, N (an offset), -N (the last N "
                     "records of each partition) or @TIME");
  }
  if (from[0] == '-') {
    start.back = -number;
  } else {
    start.offset = number;
  }
  return start;
}

// Where there is no such record yet: the end.
absl::StatusOr<Offsets> OffsetsAtTime(
    const Context& context, BlockingClient* client, int64_t time_ms,
    const std::vector<NamedPartition>& partitions) {
  auto offsets = client->LookUpOffsets(partitions, OffsetQuery::At(time_ms),
                                       context.timeout_us());
  if (!offsets.ok()) return offsets;
  const auto ends = client->LookUpOffsets(
      partitions, api::OffsetPosition::kLatest, context.timeout_us());
  if (!ends.ok()) return ends;
  for (auto& [tp, offset] : *offsets) {
    if (offset == kNoOffset) offset = ends->at(tp);
  }
  return offsets;
}

absl::StatusOr<Offsets> StartOffsets(
    const Context& context, BlockingClient* client, const Start& start,
    const std::vector<NamedPartition>& partitions) {
  if (start.offset.has_value()) {
    Offsets offsets;
    for (const auto& tp : partitions) offsets[tp] = Offset(*start.offset);
    return offsets;
  }
  if (start.time_ms.has_value()) {
    return OffsetsAtTime(context, client, *start.time_ms, partitions);
  }
  auto offsets =
      client->LookUpOffsets(partitions, start.position, context.timeout_us());
  if (!offsets.ok() || start.back == 0) return offsets;
  auto earliest = client->LookUpOffsets(
      partitions, api::OffsetPosition::kEarliest, context.timeout_us());
  if (!earliest.ok()) return earliest;
  for (auto& [tp, offset] : *offsets) {
    offset = std::max(offset - start.back, earliest->at(tp));
  }
  return offsets;
}

absl::StatusOr<Offsets> EndOffsets(
    const Context& context, BlockingClient* client, const ConsumeOptions& options,
    const std::vector<NamedPartition>& partitions) {
  Offsets ends;
  for (const auto& tp : partitions) ends[tp] = Offset(INT64_MAX);
  if (options.exit_at_end) {
    auto latest = client->LookUpOffsets(
        partitions, api::OffsetPosition::kLatest, context.timeout_us());
    if (!latest.ok()) return latest;
    ends = *std::move(latest);
  }
  for (auto& [tp, end] : ends) {
    if (options.to >= 0) end = std::min(end, Offset(options.to));
  }
  return ends;
}

// What is still to be read before the end, of the first partition that lags.
absl::Status NoProgress(int64_t silent_us, const Offsets& ends,
                        const Offsets& positions) {
  const auto lagging =
      std::find_if(positions.begin(), positions.end(), [&](const auto& p) {
        return p.second < ends.at(p.first);
      });
  return MakeError(ErrorCode::kRequestTimedOut, "nothing of partition ",
                   lagging->first.partition, " of \"", lagging->first.topic,
                   "\" came for ", silent_us / 1'000'000,
                   " s: read to offset ", lagging->second, " of ",
                   ends.at(lagging->first),
                   "; `sluice cluster health` says whether it has a leader");
}

// `silent_us_max`: an end that was promised and does not come.
absl::Status Loop(BlockingConsumer& consumer, RecordPrinter& printer,
                  const Offsets& ends, Offsets positions,
                  std::optional<int64_t> silent_us_max) {
  using Clock = std::chrono::steady_clock;
  auto last = Clock::now();
  const auto finished = [&] {
    return std::all_of(positions.begin(), positions.end(), [&](const auto& p) {
      return p.second >= ends.at(p.first);
    });
  };
  while (!finished()) {
    auto batches = consumer.PollBatches(kPollUs, kPollBytes);
    if (!batches.ok()) {
      printer.Flush();
      return batches.status();
    }
    const auto now = Clock::now();
    if (!batches->empty()) last = now;
    const int64_t silent_us =
        std::chrono::duration_cast<std::chrono::microseconds>(now - last)
            .count();
    if (silent_us_max.has_value() && silent_us >= *silent_us_max) {
      return NoProgress(silent_us, ends, positions);
    }
    for (const FetchedBatch& batch : *batches) {
      const auto more = printer.Print(batch, ends.at(batch.tp));
      if (!more.ok() || !*more) {
        printer.Flush();
        return more.status();
      }
      positions[batch.tp] = batch.next;
    }
    if (!printer.Flush()) return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status Consume(Context* context, const ConsumeOptions& options) {
  auto format = RecordFormat::Parse(options.format);
  if (!format.ok()) return context->Misused(format.status());
  if (!options.group.empty()) {
    return ConsumeInGroup(context, options, *std::move(format));
  }
  if (!options.instance_id.empty() || !options.assignors.empty()) {
    return context->Misused(MakeError(
        ErrorCode::kInvalidRequest,
        "--instance-id and --assignor are of a group; name it with -g"));
  }
  const auto from = StartOf(options.from.value_or("latest"),
                            context->clock().WallMillis());
  if (!from.ok()) return context->Misused(from.status());
  if (options.count == 0) return absl::OkStatus();
  auto client = context->Client();
  if (!client.ok()) return client.status();
  const auto partitions =
      PartitionsOf(*context, *client, options.topic, options.partitions);
  if (!partitions.ok()) return partitions.status();
  auto ends = EndOffsets(*context, *client, options, *partitions);
  if (!ends.ok()) return ends.status();
  auto starts = StartOffsets(*context, *client, *from, *partitions);
  if (!starts.ok()) return starts.status();
  ConsumerOptions consuming;
  consuming.reset = OffsetReset::kNone;  // an offset asked for by number
  consuming.rack = options.rack;
  BlockingConsumer consumer(*client, consuming);
  Offsets unfinished;
  for (const auto& [tp, start] : *starts) {
    if (start < ends->at(tp)) unfinished.emplace(tp, start);
  }
  consumer.AssignAt(unfinished);
  RecordPrinter printer(options, *std::move(format));
  return Loop(consumer, printer, *ends, *starts,
              options.exit_at_end ? std::optional(context->timeout_us())
                                  : std::nullopt);
}

void AddGroupOptions(CLI::App* command, ConsumeOptions* options) {
  command
      ->add_option("-g,--group", options->group,
                   "share the topic with this group, and commit")
      ->check([](const std::string& id) -> std::string {
        // As a script's variable that is not set would be.
        return id.empty() ? "a group's id has 1 to 249 bytes" : "";
      });
  command->add_option("--instance-id", options->instance_id,
                      "a static member: its restart costs no rebalance")
      ->needs("--group");
  command
      ->add_option("--assignor", options->assignors,
                   "range, roundrobin, sticky, cooperative-sticky; repeatable, "
                   "the preferred first; else range, cooperative-sticky")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      ->add_option("--session-timeout-ms", options->session_timeout_ms,
                   "after so long without a sign of life others take over")
      ->check(CLI::Range(6'000, 1'800'000))
      ->capture_default_str();
  command
      ->add_option("--max-poll-interval-ms", options->max_poll_interval_ms,
                   "after so long without printing too")
      ->check(CLI::Range(1'000, 86'400'000))
      ->capture_default_str();
  command
      ->add_option("--commit-interval-ms", options->commit_interval_ms,
                   "how often what was printed is committed")
      ->check(CLI::Range(int64_t{0}, int64_t{86'400'000}))
      ->capture_default_str();
}

}  // namespace

void AddConsume(CLI::App* root, Context* context) {
  auto options = std::make_shared<ConsumeOptions>();
  CLI::App* command =
      root->add_subcommand("consume", "print records as they come");
  command->add_option("TOPIC", options->topic, "topic")->required();
  command->add_option("--from", options->from,
                      "earliest, latest, N (offset), -N (the last N), @TIME; "
                      "else latest");
  command->add_option("--to", options->to, "stop before this offset")
      ->check(CLI::Range(int64_t{0}, INT64_MAX));
  command->add_option("-n,--count", options->count, "stop after so many")
      ->check(CLI::Range(int64_t{0}, INT64_MAX));
  command->add_option("-p,--partition", options->partitions,
                      "only these; repeatable")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_flag("-e,--exit-at-end", options->exit_at_end,
                    "stop where the log ended when this began");
  command->add_option("--format", options->format,
                      "%t topic %p partition %o offset %k key %v value %d ms "
                      "%h headers %K %V sizes")
      ->capture_default_str();
  command->add_option("-o,--output", options->output,
                      "json: one object a line")
      ->check(CLI::IsMember({"json"}));
  command->add_option("--rack", options->rack,
                      "where this is: read in-sync followers in this rack, if "
                      "the leader is in another");
  AddGroupOptions(command, options.get());
  context->AddCluster(command);
  command->footer(
      "@TIME is RFC 3339, relative (@-2h) or milliseconds since 1970: from the "
      "first\nrecord of then or later.\n"
      "With -g the topic is shared with everybody who names the same group, "
      "and what\nwas printed is committed: a restart goes on there. --from "
      "then says where a\ngroup begins that has never read the topic: earliest, "
      "latest or @TIME.\n"
      "Examples:\n  sluice consume orders --from earliest --exit-at-end\n"
      "  sluice consume orders --from -10 --format '%t %p %o %k %v\\n'\n"
      "  sluice consume orders --from @-15m -n 1 -o json\n"
      "  sluice consume orders -g billing --from earliest");
  context->OnChosen(command,
                    [context, options] { return Consume(context, *options); });
}

}  // namespace sluice::cli
