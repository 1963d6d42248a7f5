#include <CLI/App.hpp>
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "tools/bench_options.h"
#include "tools/commands.h"
#include "tools/perf_summary.h"
#include "tools/progress.h"
#include "tools/topic_lookup.h"

namespace sluice::cli {
namespace {

struct Options {
  std::string topic;
  int64_t records = -1;
  int32_t fetch_size = 1 << 20;
  std::string dev_directory;
};

constexpr int64_t kPollUs = 500'000;
constexpr int64_t kPollBytes = 8 << 20;

using Offsets = std::map<NamedPartition, Offset>;

// Reads until every partition is at its end, or enough was read.
absl::StatusOr<PerfSummary> ReadAll(const Context& context,
                                    const Options& options,
                                    BlockingConsumer& consumer,
                                    Offsets positions, const Offsets& ends) {
  int64_t wanted = 0;
  for (const auto& [tp, end] : ends) wanted += end - positions.at(tp);
  if (options.records >= 0) wanted = std::min(wanted, options.records);
  Progress progress(&context.clock(), "read", wanted);
  PerfSummary summary;
  summary.verb = "read";
  const int64_t start_us = context.clock().MonoMicros();
  int64_t heard_us = start_us;
  while (summary.records < wanted) {
    ASSIGN_OR_RETURN(const auto batches,
                     consumer.PollBatches(kPollUs, kPollBytes));
    for (const FetchedBatch& batch : batches) {
      heard_us = context.clock().MonoMicros();
      RETURN_IF_ERROR(ForEachRecord(batch, [&](const DecodedRecord& record) {
        if (record.offset >= ends.at(batch.tp)) return false;
        ++summary.records;
        summary.bytes += static_cast<int64_t>(
            record.key.value_or("").size() + record.value.value_or("").size());
        return true;
      }));
    }
    progress.Update(summary.records);
    if (context.clock().MonoMicros() - heard_us > context.timeout_us()) {
      return MakeError(ErrorCode::kRequestTimedOut, "nothing came of ",
                       options.topic, " for ", context.timeout_ms, " ms; ",
                       summary.records, " of ", wanted, " records were read");
    }
  }
  summary.took_us = context.clock().MonoMicros() - start_us;
  return summary;
}

absl::Status BenchConsume(Context* context, const Options& options) {
  ASSIGN_OR_RETURN(const auto dev,
                   OptionalDevCluster(options.dev_directory));
  ASSIGN_OR_RETURN(BlockingClient * client, ClientFor(context, dev));
  ASSIGN_OR_RETURN(const auto partitions,
                   PartitionsOf(*context, client, options.topic, {}));
  ASSIGN_OR_RETURN(
      const Offsets ends,
      client->LookUpOffsets(partitions, api::OffsetPosition::kLatest,
                            context->timeout_us()));
  ASSIGN_OR_RETURN(
      const Offsets starts,
      client->LookUpOffsets(partitions, api::OffsetPosition::kEarliest,
                            context->timeout_us()));
  std::optional<ServerUsage> usage;
  if (dev.has_value()) usage.emplace(*dev);
  ConsumerOptions consuming;
  consuming.reset = OffsetReset::kNone;
  consuming.partition_bytes_max = options.fetch_size;
  BlockingConsumer consumer(client, consuming);
  consumer.AssignAt(starts);
  ASSIGN_OR_RETURN(PerfSummary summary,
                   ReadAll(*context, options, consumer, starts, ends));
  if (usage.has_value()) summary.servers = usage->Since();
  Print(context->format(), JsonOf(summary),
        [&](OutputFormat) { std::cout << TextOf(summary); });
  return absl::OkStatus();
}

}  // namespace

void AddBenchConsume(CLI::App* bench, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = bench->add_subcommand(
      "consume", "throughput of reading a topic from its start");
  command->add_option("--topic", options->topic, "what")->required();
  command
      ->add_option("--num-records", options->records,
                   "stop after so many; else where the log ended when this "
                   "began")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  command
      ->add_option("--fetch-size", options->fetch_size,
                   "bytes of one partition in one answer")
      ->check(CLI::Range(1, 8 << 20))
      ->capture_default_str();
  AddDevDirectory(command, &options->dev_directory);
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice bench consume --topic t\n"
      "  sluice bench consume --topic t --num-records 100000 -o json");
  context->OnChosen(command, [context, options] {
    return BenchConsume(context, *options);
  });
}

}  // namespace sluice::cli
