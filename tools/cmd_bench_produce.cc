#include <time.h>

#include <CLI/App.hpp>
#include <condition_variable>
#include <iostream>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "common/base/error.h"
#include "common/base/random.h"
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
  int64_t records = 0;
  int64_t record_size = 1000;
  int64_t throughput = -1;
  std::string acks = "all";
  int64_t batch_size = 256 << 10;
  int64_t linger_ms = 5;
  bool no_idempotence = false;
  std::string compression = "none";
  int64_t max_in_flight = 0;
  int64_t buffer_memory = 32 << 20;
  std::string dev_directory;
};

void SleepUntil(int64_t mono_us) {
  const timespec until{mono_us / 1'000'000, (mono_us % 1'000'000) * 1000};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
}

// Counts what is not settled, for senders that wait.
class InFlight {
 public:
  void Add() {
    std::lock_guard lock(mutex_);
    ++count_;
  }
  void Done() {
    std::lock_guard lock(mutex_);
    --count_;
    fewer_.notify_one();
  }
  void AwaitBelow(int64_t limit) {
    std::unique_lock lock(mutex_);
    fewer_.wait(lock, [&] { return count_ < limit; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable fewer_;
  int64_t count_ = 0;
};

// Filled on the executor by acknowledgements; outlives the producer.
struct Outcome {
  InFlight in_flight;
  LatencyHistogram latencies;
  int64_t failed = 0;
  int64_t last_us = 0;
  absl::Status first_error;
};

// Open loop: with a throughput record i is due at start + i / throughput and
// its latency counts from then, however late it is sent, so that a stall is
// seen by all the records it delays. Without one it counts from the call of
// Send, the wait for buffer memory included.
absl::Status SendAll(const Context& context, const Options& options,
                     BlockingProducer& producer, Outcome* outcome) {
  // Letters, as kafka-producer-perf-test sends: they compress somewhat.
  Random random(1);
  std::string value(static_cast<size_t>(options.record_size), ' ');
  for (char& c : value) c = static_cast<char>('A' + random.Below(26));
  const Clock& clock = context.clock();
  Progress progress(&clock, "sent", options.records);
  const int64_t start_us = clock.MonoMicros();
  for (int64_t i = 0; i < options.records; ++i) {
    int64_t due_us = clock.MonoMicros();
    if (options.throughput > 0) {
      due_us = start_us + i * 1'000'000 / options.throughput;
      if (due_us > clock.MonoMicros()) SleepUntil(due_us);
    }
    if (options.max_in_flight > 0) {
      outcome->in_flight.AwaitBelow(options.max_in_flight);
      if (options.throughput <= 0) due_us = clock.MonoMicros();
    }
    ProducerRecord record;
    record.topic = options.topic;
    record.value = value;
    outcome->in_flight.Add();
    const auto sent = producer.Send(
        std::move(record),
        [&clock, outcome, due_us](const auto& result) {
          const int64_t now_us = clock.MonoMicros();
          if (result.ok()) {
            outcome->latencies.Record(now_us - due_us);
            outcome->last_us = now_us;
          } else if (outcome->failed++ == 0) {
            outcome->first_error = result.status();
          }
          outcome->in_flight.Done();
        });
    if (!sent.ok()) return sent;
    progress.Update(i + 1);
  }
  outcome->in_flight.AwaitBelow(1);  // everything is settled
  return absl::OkStatus();
}

absl::Status Report(Context* context, const Options& options,
                    const Outcome& outcome, int64_t took_us,
                    const std::optional<ServerUsage>& usage) {
  PerfSummary summary;
  summary.verb = "sent";
  summary.records = outcome.latencies.count();
  summary.failed = outcome.failed;
  summary.bytes = summary.records * options.record_size;
  summary.took_us = took_us;
  summary.latencies = &outcome.latencies;
  if (usage.has_value()) summary.servers = usage->Since();
  Print(context->format(), JsonOf(summary),
        [&](OutputFormat) { std::cout << TextOf(summary); });
  if (outcome.failed == 0) return absl::OkStatus();
  return MakeErrorStatus(
      CodeOf(outcome.first_error),
      StrCat(outcome.failed, " of ", options.records,
             " records were not acknowledged; the first: ",
             StdView(outcome.first_error.message())));
}

absl::Status BenchProduce(Context* context, const Options& options) {
  ProducerOptions producing;
  ASSIGN_OR_RETURN(producing.acks, AcksFromName(options.acks));
  ASSIGN_OR_RETURN(producing.codec, CodecFromName(options.compression));
  producing.batch_bytes = options.batch_size;
  producing.linger_ms = options.linger_ms;
  if (options.no_idempotence) producing.enable_idempotence = false;
  producing.buffer_memory = options.buffer_memory;
  ASSIGN_OR_RETURN(const auto dev,
                   OptionalDevCluster(options.dev_directory));
  ASSIGN_OR_RETURN(BlockingClient * client, ClientFor(context, dev));
  RETURN_IF_ERROR(PartitionCountOf(*context, client, options.topic).status());
  std::optional<ServerUsage> usage;
  if (dev.has_value()) usage.emplace(*dev);
  Outcome outcome;
  const int64_t start_us = context->clock().MonoMicros();
  {
    BlockingProducer producer(client, producing);
    RETURN_IF_ERROR(SendAll(*context, options, producer, &outcome));
  }
  const int64_t end_us =
      outcome.last_us > 0 ? outcome.last_us : context->clock().MonoMicros();
  return Report(context, options, outcome, end_us - start_us, usage);
}

}  // namespace

void AddBenchProduce(CLI::App* bench, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = bench->add_subcommand(
      "produce", "throughput and latency of acknowledgements, open loop");
  command->add_option("--topic", options->topic, "where to")->required();
  command->add_option("--num-records", options->records, "how many")
      ->required()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command->add_option("--record-size", options->record_size, "bytes of a value")
      ->check(CLI::Range(int64_t{1}, kProducerBatchBytesMax))
      ->capture_default_str();
  command
      ->add_option("--throughput", options->throughput,
                   "records/s; -1: as many as go")
      ->check(CLI::Range(int64_t{-1}, int64_t{100'000'000}))
      ->capture_default_str();
  command->add_option("--acks", options->acks, "all, 1, 0; without all not idempotent")
      ->check(CLI::IsMember({"all", "-1", "1", "0"}))
      ->capture_default_str();
  command->add_option("--batch-size", options->batch_size, "bytes of a batch")
      ->check(CLI::Range(int64_t{1}, kProducerBatchBytesMax))
      ->capture_default_str();
  CLI::Option* linger =
      command
          ->add_option("--linger-ms", options->linger_ms,
                       "how long a batch waits to fill; 0 with "
                       "--max-in-flight 1 unless given")
          ->check(CLI::Range(0, 60'000))
          ->capture_default_str();
  command->add_flag("--no-idempotence", options->no_idempotence,
                    "one request in flight a partition");
  command->add_option("--compression", options->compression, "none, lz4, zstd")
      ->check(CLI::IsMember({"none", "lz4", "zstd"}))
      ->capture_default_str();
  command
      ->add_option("--max-in-flight", options->max_in_flight,
                   "records not acknowledged; 1: one at a time; 0: as many as "
                   "--buffer-memory holds")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--buffer-memory", options->buffer_memory, "bytes")
      ->check(CLI::Range(int64_t{1} << 20, int64_t{1} << 34))
      ->capture_default_str();
  AddDevDirectory(command, &options->dev_directory);
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n"
      "  sluice bench produce --topic t --num-records 1000000 --record-size "
      "1024\n"
      "  sluice bench produce --topic t --num-records 10000 --record-size 100 "
      "--max-in-flight 1\n"
      "  sluice bench produce --topic t --num-records 100000 --throughput "
      "10000 -o json");
  context->OnChosen(command, [context, options, linger] {
    if (options->max_in_flight == 1 && linger->count() == 0) {
      options->linger_ms = 0;
    }
    return BenchProduce(context, *options);
  });
}

}  // namespace sluice::cli
