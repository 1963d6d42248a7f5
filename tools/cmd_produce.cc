#include <CLI/App.hpp>
#include <algorithm>
#include <atomic>
#include <iomanip>
#include <iostream>
#include <memory>
#include <mutex>

#include "common/base/error.h"
#include "tools/commands.h"
#include "tools/line_source.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/retry_notice.h"
#include "tools/topic_lookup.h"

namespace sluice::cli {
namespace {

struct Options {
  std::string topic;
  std::string file;
  std::string key;
  bool has_key = false;
  std::string key_separator;
  std::vector<std::string> headers;
  std::vector<api::RecordHeader> parsed_headers;
  int32_t partition = -1;
  std::string acks = "all";
  std::string compression = "none";
  int64_t batch_size = 256 << 10;
  int64_t linger_ms = 5;
  bool no_idempotence = false;
  bool tombstone = false;
  bool dry_run = false;
  bool has_timeout = false;  // --timeout-ms was said
};

struct Outcome {
  std::atomic<int64_t> acknowledged{0};
  std::atomic<int64_t> acknowledged_bytes{0};
  std::atomic<int64_t> failed{0};
  std::mutex mutex;
  absl::Status first_error;  // guarded by mutex
};

absl::Status ParseHeaders(Options& options) {
  for (const std::string& header : options.headers) {
    const size_t equals = header.find('=');
    if (equals == std::string::npos || equals == 0) {
      return MakeError(ErrorCode::kInvalidRequest, "-H ", header,
                       " is not key=value");
    }
    options.parsed_headers.push_back(
        {header.substr(0, equals), header.substr(equals + 1)});
  }
  return absl::OkStatus();
}

absl::StatusOr<ProducerRecord> RecordOf(const Options& options,
                                        std::string line) {
  ProducerRecord record;
  record.topic = options.topic;
  if (options.partition >= 0) {
    record.partition = PartitionIndex(options.partition);
  }
  if (options.has_key) record.key = options.key;
  if (!options.key_separator.empty()) {
    const size_t at = line.find(options.key_separator);
    if (at == std::string::npos) {
      return MakeError(ErrorCode::kInvalidRecord, "the line '",
                       line.substr(0, 60), "' has no separator '",
                       options.key_separator,
                       "' (-K); the lines before it were produced");
    }
    record.key = line.substr(0, at);
    line.erase(0, at + options.key_separator.size());
  }
  if (!options.tombstone || !line.empty()) record.value = std::move(line);
  record.headers = options.parsed_headers;
  return record;
}

absl::Status SendLines(const Context& context, const Options& options,
                       LineSource& in, BlockingProducer* producer,
                       Outcome* outcome, int64_t* lines, int64_t* bytes) {
  Progress progress(&context.clock(), "records", 0);
  std::string line;
  while (in.Next(line)) {
    auto record = RecordOf(options, line);
    if (!record.ok()) return record.status();
    const auto size = static_cast<int64_t>(line.size());
    *bytes += size;
    ++*lines;
    if (producer == nullptr) continue;
    const auto sent =
        producer->Send(*std::move(record), [outcome, size](const auto& result) {
          if (result.ok()) {
            ++outcome->acknowledged;
            outcome->acknowledged_bytes += size;
            return;
          }
          std::lock_guard lock(outcome->mutex);
          if (outcome->failed++ == 0) outcome->first_error = result.status();
        });
    if (!sent.ok()) return sent;
    progress.Update(*lines);
  }
  return in.status();
}

void Report(const Outcome& outcome, int64_t took_us) {
  const int64_t bytes = outcome.acknowledged_bytes;
  const double seconds =
      static_cast<double>(std::max<int64_t>(1, took_us)) / 1e6;
  const auto acknowledged = static_cast<double>(outcome.acknowledged.load());
  std::cerr << "produced " << outcome.acknowledged << " records, "
            << HumanBytes(static_cast<double>(bytes)) << std::fixed
            << std::setprecision(2) << " in " << seconds << " s ("
            << std::setprecision(0) << acknowledged / seconds << " records/s, "
            << std::setprecision(1)
            << static_cast<double>(bytes) / seconds / 1e6 << " MB/s)\n";
}

// On the client's executor, for each refusal.
auto TellWhy(const Context& context, const Outcome& outcome) {
  return [&context, &outcome, notice = RetryNotice()](
             const NamedPartition& tp, const absl::Status& why) mutable {
    const auto line =
        notice.OnRetry(tp, why, outcome.acknowledged + outcome.failed,
                       context.clock().MonoMicros());
    if (line.has_value()) std::cerr << "sluice produce: " << *line << "\n";
  };
}

absl::Status Produce(Context* context, Options options) {
  if (auto bad = ParseHeaders(options); !bad.ok()) {
    return context->Misused(bad);
  }
  ProducerOptions producing;
  auto acks = AcksFromName(options.acks);
  if (!acks.ok()) return acks.status();
  auto codec = CodecFromName(options.compression);
  if (!codec.ok()) return codec.status();
  producing.acks = *acks;
  producing.codec = *codec;
  producing.batch_bytes = options.batch_size;
  producing.linger_ms = options.linger_ms;
  if (options.has_timeout) {
    producing.delivery_timeout_ms = context->timeout_ms;
    producing.max_block_ms = context->timeout_ms;
  }
  if (options.no_idempotence) producing.enable_idempotence = false;
  auto in = LineSource::Open(options.file);
  if (!in.ok()) return in.status();
  auto client = context->Client();
  if (!client.ok()) return client.status();
  std::vector<int32_t> chosen;
  if (options.partition >= 0) chosen.push_back(options.partition);
  auto partitions =
      PartitionsOf(*context, *client, options.topic, chosen);
  if (!partitions.ok()) return partitions.status();
  int64_t lines = 0;
  int64_t bytes = 0;
  Outcome outcome;
  producing.on_retry = TellWhy(*context, outcome);
  if (options.dry_run) {
    const auto read = SendLines(*context, options, *in, nullptr, &outcome,
                                &lines, &bytes);
    if (read.ok()) {
      std::cerr << "dry run: " << lines << " records, " << bytes
                << " bytes, nothing was produced\n";
    }
    return read;
  }
  const int64_t start_us = context->clock().MonoMicros();
  absl::Status sent;
  {
    BlockingProducer producer(*client, producing);
    sent = SendLines(*context, options, *in, &producer, &outcome, &lines,
                     &bytes);
    const absl::Status flushed =
        producer.Flush(producing.delivery_timeout_ms * 1000 + 1'000'000);
    if (sent.ok()) sent = flushed;
  }
  Report(outcome, context->clock().MonoMicros() - start_us);
  if (outcome.failed > 0) {
    return MakeErrorStatus(
        CodeOf(outcome.first_error),
        StrCat(outcome.failed.load(), " of ", lines,
               " records were not acknowledged; the first: ",
               StdView(outcome.first_error.message())));
  }
  return sent;
}

}  // namespace

void AddProduce(CLI::App* root, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root->add_subcommand(
      "produce", "one record a line, from stdin or a file");
  command->add_option("TOPIC", options->topic, "topic")->required();
  command->add_option("-f,--file", options->file, "instead of stdin");
  CLI::Option* key =
      command->add_option("-k,--key", options->key, "key of every record");
  command
      ->add_option("-K,--key-separator", options->key_separator,
                   "the key is what stands before it in each line")
      ->excludes(key);
  command->add_option("-H,--header", options->headers, "key=value, repeatable")
      ->allow_extra_args(false);
  command->add_option("-p,--partition", options->partition,
                      "this one; else by key, else spread")
      ->check(CLI::Range(0, INT32_MAX));
  command->add_option("--acks", options->acks, "all, 1, 0; without all not idempotent")
      ->check(CLI::IsMember({"all", "-1", "1", "0"}))
      ->capture_default_str();
  command->add_option("--compression", options->compression,
                      "none, lz4, zstd")
      ->check(CLI::IsMember({"none", "lz4", "zstd"}))
      ->capture_default_str();
  command->add_option("--batch-size", options->batch_size, "bytes of a batch")
      ->check(CLI::Range(int64_t{1}, kProducerBatchBytesMax))
      ->capture_default_str();
  command->add_option("--linger-ms", options->linger_ms,
                      "how long a batch waits to fill")
      ->check(CLI::Range(0, 60'000))
      ->capture_default_str();
  command->add_flag("--no-idempotence", options->no_idempotence,
                    "a batch sent again may be stored twice");
  command->add_flag("-Z,--tombstone", options->tombstone,
                    "an empty value is null");
  command->add_flag("--dry-run", options->dry_run, "read and count only");
  context->AddCluster(command);
  command->footer(
      "Examples:\n  printf 'a:1\\nb:2\\n' | sluice produce orders -K :\n"
      "  sluice produce logs -f /var/log/syslog --compression lz4");
  context->OnChosen(command, [context, options, key, command] {
    options->has_key = key->count() > 0;
    options->has_timeout = command->get_option("--timeout-ms")->count() > 0;
    return Produce(context, *options);
  });
}

}  // namespace sluice::cli
