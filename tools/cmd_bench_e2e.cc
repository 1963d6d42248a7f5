#include <time.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <condition_variable>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

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
  int64_t records = 0;
  int64_t record_size = 100;
  int64_t throughput = -1;
  std::string acks = "all";
  int64_t linger_ms = 0;
  std::string dev_directory;
};

// A record begins with whose it is and when it was due.
struct Stamp {
  uint64_t run = 0;
  int64_t due_us = 0;
};
constexpr int64_t kPollUs = 100'000;
constexpr int64_t kPollBytes = 8 << 20;

// Shared by the thread that sends, the one that reads, and acknowledgements.
class Progressed {
 public:
  void Read(int64_t count) {
    std::lock_guard lock(mutex_);
    read_ += count;
    moved_.notify_one();
  }
  void End(const absl::Status& status) {
    std::lock_guard lock(mutex_);
    if (!ended_.has_value()) ended_ = status;
    moved_.notify_one();
  }
  bool ended() {
    std::lock_guard lock(mutex_);
    return ended_.has_value();
  }
  // Until that many were read, or nothing more is to be waited for.
  absl::Status AwaitRead(int64_t count) {
    std::unique_lock lock(mutex_);
    moved_.wait(lock, [&] { return read_ >= count || ended_.has_value(); });
    return read_ >= count ? absl::OkStatus() : *ended_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable moved_;
  int64_t read_ = 0;
  std::optional<absl::Status> ended_;
};

void SleepUntil(int64_t mono_us) {
  const timespec until{mono_us / 1'000'000, (mono_us % 1'000'000) * 1000};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
}

// Counts a record of this run, once, from when it was due until now.
class Reader {
 public:
  Reader(const Context& context, BlockingConsumer* consumer, uint64_t run,
         Progressed* progressed)
      : context_(context),
        consumer_(consumer),
        run_(run),
        progressed_(progressed) {}

  void ReadUntilEnded() {
    int64_t heard_us = context_.clock().MonoMicros();
    while (!progressed_->ended()) {
      const auto batches = consumer_->PollBatches(kPollUs, kPollBytes);
      if (!batches.ok()) return progressed_->End(batches.status());
      const int64_t now_us = context_.clock().MonoMicros();
      const int64_t count = Take(*batches, now_us);
      if (count > 0) {
        heard_us = now_us;
        progressed_->Read(count);
      } else if (now_us - heard_us > context_.timeout_us()) {
        return progressed_->End(MakeError(
            ErrorCode::kRequestTimedOut, "none of this run's records came for ",
            context_.timeout_ms, " ms; ", latencies_.count(), " were read"));
      }
    }
  }
  const LatencyHistogram& latencies() const { return latencies_; }

 private:
  int64_t Take(const std::vector<FetchedBatch>& batches, int64_t now_us) {
    int64_t count = 0;
    for (const FetchedBatch& batch : batches) {
      const absl::Status decoded =
          ForEachRecord(batch, [&](const DecodedRecord& record) {
            Stamp stamp;
            const std::string_view value = record.value.value_or("");
            if (value.size() < sizeof(stamp)) return true;
            std::memcpy(&stamp, value.data(), sizeof(stamp));
            if (stamp.run != run_) return true;  // somebody else's
            latencies_.Record(now_us - stamp.due_us);
            ++count;
            return true;
          });
      if (!decoded.ok()) progressed_->End(decoded);
    }
    return count;
  }

  const Context& context_;
  BlockingConsumer* const consumer_;
  const uint64_t run_;
  Progressed* const progressed_;
  LatencyHistogram latencies_;
};

// Open loop with a throughput: record i is due at start + i / throughput,
// however late it is sent. Without one a record is due when the one before it
// was read.
absl::Status SendAll(const Context& context, const Options& options,
                     uint64_t run, BlockingProducer& producer,
                     Progressed* progressed) {
  std::string value(static_cast<size_t>(options.record_size), 'e');
  const Clock& clock = context.clock();
  Progress progress(&clock, "sent", options.records);
  const int64_t start_us = clock.MonoMicros();
  for (int64_t i = 0; i < options.records; ++i) {
    Stamp stamp{run, clock.MonoMicros()};
    if (options.throughput > 0) {
      stamp.due_us = start_us + i * 1'000'000 / options.throughput;
      if (stamp.due_us > clock.MonoMicros()) SleepUntil(stamp.due_us);
    }
    std::memcpy(value.data(), &stamp, sizeof(stamp));
    ProducerRecord record;
    record.topic = options.topic;
    record.value = value;
    RETURN_IF_ERROR(
        producer.Send(std::move(record), [progressed](const auto& result) {
          if (!result.ok()) progressed->End(result.status());
        }));
    if (options.throughput <= 0) RETURN_IF_ERROR(progressed->AwaitRead(i + 1));
    if (progressed->ended()) break;
    progress.Update(i + 1);
  }
  return progressed->AwaitRead(options.records);
}

absl::StatusOr<std::map<NamedPartition, Offset>> EndsOf(
    const Context& context, BlockingClient* client, const std::string& topic) {
  ASSIGN_OR_RETURN(const auto partitions,
                   PartitionsOf(context, client, topic, {}));
  return client->LookUpOffsets(partitions, api::OffsetPosition::kLatest,
                               context.timeout_us());
}

absl::Status BenchE2e(Context* context, const Options& options) {
  ProducerOptions producing;
  ASSIGN_OR_RETURN(producing.acks, AcksFromName(options.acks));
  producing.linger_ms = options.linger_ms;
  ASSIGN_OR_RETURN(const auto dev, OptionalDevCluster(options.dev_directory));
  ASSIGN_OR_RETURN(BlockingClient * client, ClientFor(context, dev));
  ASSIGN_OR_RETURN(const auto ends, EndsOf(*context, client, options.topic));
  std::optional<ServerUsage> usage;
  if (dev.has_value()) usage.emplace(*dev);
  ConsumerOptions consuming;
  consuming.reset = OffsetReset::kNone;
  BlockingConsumer consumer(client, consuming);
  consumer.AssignAt(ends);
  const int64_t start_us = context->clock().MonoMicros();
  const uint64_t run = static_cast<uint64_t>(start_us) ^
                       (static_cast<uint64_t>(getpid()) << 48);
  Progressed progressed;
  Reader reader(*context, &consumer, run, &progressed);
  std::thread reading([&reader] { reader.ReadUntilEnded(); });
  absl::Status sent;
  {
    BlockingProducer producer(client, producing);
    sent = SendAll(*context, options, run, producer, &progressed);
    progressed.End(sent);
    reading.join();
  }
  RETURN_IF_ERROR(sent);
  PerfSummary summary;
  summary.verb = "sent and read";
  summary.records = reader.latencies().count();
  summary.bytes = summary.records * options.record_size;
  summary.took_us = context->clock().MonoMicros() - start_us;
  summary.latencies = &reader.latencies();
  if (usage.has_value()) summary.servers = usage->Since();
  Print(context->format(), JsonOf(summary),
        [&](OutputFormat) { std::cout << TextOf(summary); });
  return absl::OkStatus();
}

}  // namespace

void AddBenchE2e(CLI::App* bench, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = bench->add_subcommand(
      "e2e", "latency from when a record is due until it is read, open loop");
  command->add_option("--topic", options->topic, "where to, and read from")
      ->required();
  command->add_option("--num-records", options->records, "how many")
      ->required()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command
      ->add_option("--record-size", options->record_size, "bytes of a value")
      ->check(CLI::Range(static_cast<int64_t>(sizeof(Stamp)),
                         kProducerBatchBytesMax))
      ->capture_default_str();
  command
      ->add_option("--throughput", options->throughput,
                   "records/s; -1: the next when the one before was read")
      ->check(CLI::Range(int64_t{-1}, int64_t{100'000'000}))
      ->capture_default_str();
  command->add_option("--acks", options->acks, "all, 1, 0")
      ->check(CLI::IsMember({"all", "-1", "1", "0"}))
      ->capture_default_str();
  command
      ->add_option("--linger-ms", options->linger_ms,
                   "how long a batch waits to fill")
      ->check(CLI::Range(0, 60'000))
      ->capture_default_str();
  AddDevDirectory(command, &options->dev_directory);
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice bench e2e --topic t --num-records 10000\n"
      "  sluice bench e2e --topic t --num-records 600000 --throughput 20000 "
      "--record-size 1024");
  context->OnChosen(command, [context, options] {
    return BenchE2e(context, *options);
  });
}

}  // namespace sluice::cli
