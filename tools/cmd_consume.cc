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
#include "tools/record_format.h"
#include "tools/topic_lookup.h"

namespace sluice::cli {
namespace {

struct Options {
  std::string topic;
  std::string from = "latest";
  int64_t to = -1;
  int64_t count = -1;
  std::vector<int32_t> partitions;
  bool exit_at_end = false;
  std::string format = "%v\\n";
  std::string output;
  std::string rack;
};

using Offsets = std::map<NamedPartition, Offset>;
constexpr int64_t kPollUs = 500'000;
constexpr int64_t kPollBytes = 4 << 20;

// --from, understood.
struct Start {
  api::OffsetPosition position = api::OffsetPosition::kLatest;
  std::optional<int64_t> offset;
  int64_t back = 0;  // records before `position`
};

absl::StatusOr<Start> StartOf(const std::string& from) {
  Start start;
  if (from == "latest") return start;
  if (from == "earliest") {
    start.position = api::OffsetPosition::kEarliest;
    return start;
  }
  int64_t number = 0;
  // The one number that has no opposite is as good as no number.
  if (!absl::SimpleAtoi(from, &number) || number == INT64_MIN) {
    return MakeError(ErrorCode::kInvalidRequest, "--from ", from,
                     from[0] == '@' ? ": this version has no index by time"
                                    : "",
                     "; use earliest, latest, N (an offset) or -N (the last N "
                     "records of each partition)");
  }
  if (from[0] == '-') {
    start.back = -number;
  } else {
    start.offset = number;
  }
  return start;
}

absl::StatusOr<Offsets> StartOffsets(
    const Context& context, BlockingClient* client, const Start& start,
    const std::vector<NamedPartition>& partitions) {
  if (start.offset.has_value()) {
    Offsets offsets;
    for (const auto& tp : partitions) offsets[tp] = Offset(*start.offset);
    return offsets;
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

// Prints what was polled; false when enough was printed.
class Printer {
 public:
  Printer(const Options& options, RecordFormat format)
      : options_(options), format_(std::move(format)) {}

  absl::StatusOr<bool> Print(const FetchedBatch& batch, Offset end) {
    bool more = true;
    const auto read = ForEachRecord(batch, [&](const DecodedRecord& record) {
      if (record.offset >= end) return false;
      if (options_.output == "json") {
        out_ += RecordJson(batch.tp, record) + "\n";
      } else {
        format_.Append(batch.tp, record, out_);
      }
      if (++printed_ == options_.count) more = false;
      return more;
    });
    if (!read.ok()) return read;
    return more;
  }

  // False when nobody reads any more (`| head`).
  bool Flush() {
    std::cout << out_ << std::flush;
    out_.clear();
    return std::cout.good();
  }

 private:
  const Options& options_;
  const RecordFormat format_;
  std::string out_;
  int64_t printed_ = 0;
};

absl::StatusOr<Offsets> EndOffsets(
    const Context& context, BlockingClient* client, const Options& options,
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
absl::Status Loop(BlockingConsumer& consumer, Printer& printer,
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

absl::Status Consume(Context* context, const Options& options) {
  auto format = RecordFormat::Parse(options.format);
  if (!format.ok()) return context->Misused(format.status());
  const auto from = StartOf(options.from);
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
  Printer printer(options, *std::move(format));
  return Loop(consumer, printer, *ends, *starts,
              options.exit_at_end ? std::optional(context->timeout_us())
                                  : std::nullopt);
}

}  // namespace

void AddConsume(CLI::App* root, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      root->add_subcommand("consume", "print records as they come");
  command->add_option("TOPIC", options->topic, "topic")->required();
  command->add_option("--from", options->from,
                      "earliest, latest, N (offset), -N (the last N)")
      ->capture_default_str();
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
  context->AddCluster(command);
  command->footer(
      "Examples:\n  sluice consume orders --from earliest --exit-at-end\n"
      "  sluice consume orders --from -10 --format '%t %p %o %k %v\\n'\n"
      "  sluice consume orders -n 1 -o json");
  context->OnChosen(command,
                    [context, options] { return Consume(context, *options); });
}

}  // namespace sluice::cli
