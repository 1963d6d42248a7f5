#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "tools/bench_options.h"
#include "tools/commands.h"
#include "tools/failover_bench.h"
#include "tools/output.h"
#include "tools/topic_lookup.h"

namespace sluice::cli {
namespace {

struct Options {
  FailoverOptions bench;
  std::string directory;
  std::string kill = "leader";
  std::string durability;
  int64_t interval_ms = 20;
  std::string sluiced;
};

double Ms(int64_t us) { return static_cast<double>(us) / 1000; }

nlohmann::ordered_json JsonOf(const FailoverResult& result) {
  nlohmann::ordered_json json;
  json["medianGapMs"] = Ms(result.MedianUs());
  json["worstGapMs"] = Ms(result.WorstUs());
  json["acknowledged"] = result.acknowledged;
  json["failed"] = result.failed;
  json["rounds"] = nlohmann::ordered_json::array();
  for (const FailoverRound& round : result.rounds) {
    json["rounds"].push_back(
        {{"killed", round.killed},
         {"wasActiveController", round.was_active_controller},
         {"partitionsLed", round.led},
         {"longestGapMs", Ms(round.longest_gap_us)},
         {"medianGapMs", Ms(round.median_gap_us)},
         {"longestOtherGapMs", Ms(round.longest_other_gap_us)},
         {"healthyAgainMs", Ms(round.healthy_again_us)}});
  }
  return json;
}

void PrintTable(const FailoverResult& result) {
  Table table({"ROUND", "KILLED", "LED", "LONGEST GAP MS", "MEDIAN GAP MS",
               "OTHERS' LONGEST MS", "HEALTHY AGAIN MS"});
  int number = 0;
  for (const FailoverRound& round : result.rounds) {
    table.Add({std::to_string(++number),
               round.killed +
                   (round.was_active_controller ? " (controller)" : ""),
               std::to_string(round.led),
               std::to_string(round.longest_gap_us / 1000),
               std::to_string(round.median_gap_us / 1000),
               std::to_string(round.longest_other_gap_us / 1000),
               std::to_string(round.healthy_again_us / 1000)});
  }
  table.Print(std::cout);
  std::cout << "longest acknowledgement gap: median "
            << result.MedianUs() / 1000 << " ms, worst "
            << result.WorstUs() / 1000 << " ms; " << result.acknowledged
            << " records acknowledged, " << result.failed << " failed\n";
}

absl::Status CreateTopic(const Context& context, BlockingClient* client,
                         const Options& options, int nodes) {
  v1::CreateTopicsRequest request;
  v1::NewTopic* topic = request.add_topics();
  topic->set_name(options.bench.topic);
  topic->set_partition_count(options.bench.partitions);
  topic->set_replication_factor(std::min(3, nodes));
  if (!options.durability.empty()) {
    (*topic->mutable_configs())["durability"] = options.durability;
  }
  ASSIGN_OR_RETURN(const auto response,
                   client->CreateTopics(request, context.timeout_us()));
  for (const auto& result : response.results()) {
    const ErrorCode code = CodeFromNumber(result.error().code());
    if (code == ErrorCode::kNone) continue;
    return TopicError(result.name(), result.error());
  }
  return PartitionCountOf(context, client, options.bench.topic).status();
}

void DeleteTopic(const Context& context, BlockingClient* client,
                 const std::string& name) {
  v1::DeleteTopicsRequest request;
  request.add_topics()->set_name(name);
  const auto deleted = client->DeleteTopics(request, context.timeout_us());
  if (deleted.ok() && !deleted->results().empty() &&
      !deleted->results(0).has_error()) {
    return;
  }
  std::cerr << "topic " << name << " is left; `sluice topic delete " << name
            << "` removes it\n";
}

absl::Status BenchFailover(Context* context, Options options) {
  ASSIGN_OR_RETURN(const DevCluster cluster, LoadDevCluster(options.directory));
  if (cluster.shape().nodes < 2) {
    return MakeError(ErrorCode::kInvalidRequest, cluster.directory(), " has ",
                     cluster.shape().nodes,
                     " node; a failover needs another: `sluice dev --nodes 3`");
  }
  ASSIGN_OR_RETURN(options.bench.sluiced, FindSluiced(options.sluiced));
  ASSIGN_OR_RETURN(BlockingClient * client,
                   context->ClientOf(BootstrapOf(cluster.shape())));
  options.bench.topic = StrCat("bench-failover-", getpid());
  options.bench.interval_us = options.interval_ms * 1000;
  options.bench.victim = options.kill == "leader"
                             ? FailoverVictim::kLeader
                             : FailoverVictim::kActiveController;
  RETURN_IF_ERROR(
      CreateTopic(*context, client, options, cluster.shape().nodes));
  const auto result = RunFailoverBench(client, cluster, options.bench);
  DeleteTopic(*context, client, options.bench.topic);
  if (!result.ok()) return result.status();
  Print(context->format(), JsonOf(*result),
        [&](OutputFormat) { PrintTable(*result); });
  return absl::OkStatus();
}

}  // namespace

void AddBenchFailover(CLI::App* bench, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = bench->add_subcommand(
      "failover",
      "kills a node of a `sluice dev`, restarts it, and tells how long "
      "acknowledgements stayed away");
  command->add_option("--dev-dir", options->directory,
                      "the `sluice dev` whose nodes are killed");
  command
      ->add_option("--partitions", options->bench.partitions,
                   "of the topic that is made for it and deleted")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command->add_option("--rounds", options->bench.rounds, "kills")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      ->add_option("--kill", options->kill,
                   "leader: of the most partitions, not the active controller; "
                   "active-controller")
      ->check(CLI::IsMember({"leader", "active-controller"}))
      ->capture_default_str();
  command
      ->add_option("--interval-ms", options->interval_ms,
                   "between two records of one partition: no gap is seen "
                   "finer")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      ->add_option("--durability", options->durability,
                   "disk or memory; else the cluster's default")
      ->check(CLI::IsMember({"disk", "memory"}));
  command->add_option("--sluiced", options->sluiced, "the server's binary");
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice bench failover --dev-dir /tmp/c --rounds 5\n"
      "  sluice bench failover --dev-dir /tmp/c --kill active-controller");
  context->OnChosen(command, [context, options] {
    return BenchFailover(context, *options);
  });
}

}  // namespace sluice::cli
