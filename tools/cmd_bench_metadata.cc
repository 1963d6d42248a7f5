#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <vector>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "tools/bench_options.h"
#include "tools/commands.h"
#include "tools/perf_summary.h"
#include "tools/topic_lookup.h"

namespace sluice::cli {
namespace {

struct Options {
  int clients = 1;
  int64_t changes = 1'000;
  std::string dev_directory;
};

// What one client counted.
struct Counted {
  LatencyHistogram latencies;
  absl::Status status;
};

v1::CreateTopicsRequest CreationOf(const std::string& topic) {
  v1::CreateTopicsRequest request;
  v1::NewTopic* created = request.add_topics();
  created->set_name(topic);
  created->set_partition_count(1);
  created->set_replication_factor(1);
  return request;
}

// Four values of a topic that differ each time: some 256 bytes of records.
v1::AlterConfigsRequest ChangeOf(const std::string& topic, int64_t number) {
  v1::AlterConfigsRequest request;
  auto* resource = request.add_resources();
  resource->mutable_resource()->set_type(v1::ConfigResource::TYPE_TOPIC);
  resource->mutable_resource()->set_name(topic);
  for (const char* key :
       {"retention.ms", "retention.bytes", "flush.ms", "flush.messages"}) {
    auto* change = resource->add_changes();
    change->set_name(key);
    change->set_operation(v1::ConfigChange::OPERATION_SET);
    change->set_value(std::to_string(1'000'000'000 + number));
  }
  return request;
}

// One after the other; each is committed by the quorum when it is answered.
void ChangeOn(const Context& context, BlockingClient* client,
              const std::string& topic, int64_t first, int64_t count,
              Counted* counted) {
  for (int64_t i = first; i < first + count; ++i) {
    const int64_t sent_us = context.clock().MonoMicros();
    const auto altered =
        client->AlterConfigs(ChangeOf(topic, i), context.timeout_us());
    counted->status = altered.status();
    if (altered.ok()) {
      for (const auto& result : altered->results()) {
        if (result.error().code() == 0) continue;
        counted->status = TopicError(topic, result.error());
      }
    }
    if (!counted->status.ok()) return;
    counted->latencies.Record(context.clock().MonoMicros() - sent_us);
  }
}

absl::Status ChangeAll(const Context& context, const Options& options,
                       BlockingClient* client,
                       const std::vector<std::string>& topics,
                       LatencyHistogram* latencies) {
  std::vector<Counted> counted(topics.size());
  std::vector<std::thread> clients;
  const int64_t each = options.changes / options.clients;
  const int64_t more = options.changes % options.clients;
  int64_t first = 0;
  for (size_t i = 0; i < topics.size(); ++i) {
    const int64_t count = each + (static_cast<int64_t>(i) < more ? 1 : 0);
    clients.emplace_back([&context, client, &topics, i, first, count,
                          &counted] {
      ChangeOn(context, client, topics[i], first, count, &counted[i]);
    });
    first += count;
  }
  absl::Status status;
  for (size_t i = 0; i < topics.size(); ++i) {
    clients[i].join();
    if (status.ok()) status = counted[i].status;
    latencies->Merge(counted[i].latencies);
  }
  return status;
}

absl::Status CreateTopics(const Context& context, BlockingClient* client,
                          const std::vector<std::string>& topics) {
  for (const std::string& topic : topics) {
    ASSIGN_OR_RETURN(
        const auto created,
        client->CreateTopics(CreationOf(topic), context.timeout_us()));
    for (const auto& result : created.results()) {
      if (result.error().code() != 0) {
        return TopicError(topic, result.error());
      }
    }
  }
  return absl::OkStatus();
}

void DeleteTopics(const Context& context, BlockingClient* client,
                  const std::vector<std::string>& topics) {
  for (const std::string& topic : topics) {
    v1::DeleteTopicsRequest request;
    request.add_topics()->set_name(topic);
    const auto deleted = client->DeleteTopics(request, context.timeout_us());
    if (deleted.ok() && !deleted->results().empty() &&
        deleted->results(0).error().code() == 0) {
      continue;
    }
    std::cerr << "topic " << topic << " is left; `sluice topic delete " << topic
              << "` removes it\n";
  }
}

absl::Status BenchMetadata(Context* context, const Options& options) {
  ASSIGN_OR_RETURN(const auto dev, OptionalDevCluster(options.dev_directory));
  ASSIGN_OR_RETURN(BlockingClient * client, ClientFor(context, dev));
  std::vector<std::string> topics;
  for (int i = 0; i < options.clients; ++i) {
    topics.push_back(StrCat("bench-metadata-", getpid(), "-", i));
  }
  absl::Status done = CreateTopics(*context, client, topics);
  PerfSummary summary;
  LatencyHistogram latencies;
  std::optional<ServerUsage> usage;
  if (dev.has_value()) usage.emplace(*dev);
  const int64_t start_us = context->clock().MonoMicros();
  if (done.ok()) {
    done = ChangeAll(*context, options, client, topics, &latencies);
  }
  summary.took_us = context->clock().MonoMicros() - start_us;
  if (usage.has_value()) summary.servers = usage->Since();
  DeleteTopics(*context, client, topics);
  RETURN_IF_ERROR(done);
  summary.verb = "changed";
  summary.records = latencies.count();
  const v1::AlterConfigsRequest change = ChangeOf(topics[0], 0);
  summary.bytes =
      summary.records * static_cast<int64_t>(change.ByteSizeLong());
  summary.latencies = &latencies;
  Print(context->format(), JsonOf(summary),
        [&](OutputFormat) { std::cout << TextOf(summary); });
  return absl::OkStatus();
}

}  // namespace

void AddBenchMetadata(CLI::App* bench, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = bench->add_subcommand(
      "metadata", "writes of metadata: each committed by the quorum");
  command
      ->add_option("--clients", options->clients,
                   "at a time, each with a topic of its own that is made for "
                   "it and deleted")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      ->add_option("--num-records", options->changes,
                   "changes of four configs of a topic")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32))
      ->capture_default_str();
  AddDevDirectory(command, &options->dev_directory);
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice bench metadata\n"
      "  sluice bench metadata --clients 64 --num-records 20000 -o json");
  context->OnChosen(command, [context, options] {
    return BenchMetadata(context, *options);
  });
}

}  // namespace sluice::cli
