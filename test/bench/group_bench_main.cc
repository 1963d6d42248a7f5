// Consumer groups under load (figures.py starts it).
//
//   group_bench --mode=commits   commits of many groups, at --calls_per_s or as
//                                many as go
//   group_bench --mode=probe     one group of each partition of
//                                __consumer_offsets commits on and on; prints
//                                "running" when all do; a line on stdin ends it
//   group_bench --mode=members   --members join one group; prints when it is
//                                stable; then they leave
// All: --bootstrap=H:P,... --topic=T --partitions=N (of T, which exists).
// Prints JSON. Exit: 0, or 1 with the reason on stderr.
#include <gflags/gflags.h>

#include <csignal>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/env/thread_slice.h"
#include "test/bench/commit_load.h"
#include "test/bench/commit_probe.h"
#include "test/bench/member_crowd.h"

DEFINE_string(mode, "", "commits, probe, members");
DEFINE_string(bootstrap, "127.0.0.1:9001", "brokers");
DEFINE_string(topic, "", "a topic that exists");
DEFINE_int32(partitions, 100, "of the topic");
DEFINE_int32(offsets_partitions, 16, "of __consumer_offsets");
DEFINE_int32(groups, 10'000, "that commit");
DEFINE_int32(offsets_per_call, 100, "partitions of one commit");
DEFINE_int64(calls, 10'000, "commits in all");
DEFINE_int64(calls_per_s, 0, "0: as many as go");
DEFINE_int32(in_flight, 256, "commits that are not answered, at most");
DEFINE_int32(members, 1'000, "that join");

namespace sluice::bench {
namespace {

using Json = nlohmann::ordered_json;

double Ms(int64_t us) { return static_cast<double>(us) / 1000; }

Json JsonOf(const cli::LatencyHistogram& latencies) {
  return {{"p50", Ms(latencies.PercentileUs(50))},
          {"p99", Ms(latencies.PercentileUs(99))},
          {"p99.9", Ms(latencies.PercentileUs(99.9))},
          {"max", Ms(latencies.max_us())}};
}

absl::StatusOr<Json> Commits(BenchClient* client) {
  CommitLoadOptions options;
  options.topic = FLAGS_topic;
  options.partitions = FLAGS_partitions;
  options.groups = FLAGS_groups;
  options.offsets_per_call = FLAGS_offsets_per_call;
  options.calls = FLAGS_calls;
  options.calls_per_s = FLAGS_calls_per_s;
  options.in_flight_max = FLAGS_in_flight;
  ASSIGN_OR_RETURN(const auto result, RunCommitLoad(client, options));
  if (result->failed > 0) {
    std::cerr << "group_bench: " << result->failed
              << " commits failed, the first: " << result->first_error.message()
              << '\n';
  }
  const int64_t offsets = result->calls * options.offsets_per_call;
  const double seconds = static_cast<double>(result->took_us) / 1'000'000;
  return Json{{"groups", options.groups},
              {"calls", result->calls},
              {"failed", result->failed},
              {"offsets", offsets},
              {"seconds", seconds},
              {"callsPerSecond", static_cast<double>(result->calls) / seconds},
              {"offsetsPerSecond", static_cast<double>(offsets) / seconds},
              {"latencyMs", JsonOf(result->latencies)}};
}

absl::StatusOr<Json> Probe(BenchClient* client) {
  ASSIGN_OR_RETURN(const auto probe,
                   CommitProbe::Start(client, FLAGS_topic,
                                      FLAGS_offsets_partitions));
  while (!probe->Running()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  std::cout << "running" << std::endl;
  std::string line;
  std::getline(std::cin, line);  // or its end: the caller is gone
  Json groups = Json::array();
  for (const CommitProbe::Group& group : probe->Seen()) {
    groups.push_back({{"group", group.name},
                      {"partition", group.coordinator.partition},
                      {"coordinator", group.coordinator.node_id},
                      {"acknowledged", group.acknowledged},
                      {"failed", group.failed},
                      {"gapFromS", Ms(group.gap_from_us) / 1000},
                      {"gapToS", Ms(group.gap_to_us) / 1000}});
  }
  return Json{{"groups", std::move(groups)}};
}

absl::StatusOr<Json> Members(BenchClient* client) {
  CrowdOptions options;
  options.topic = FLAGS_topic;
  options.partitions = FLAGS_partitions;
  options.members = FLAGS_members;
  ASSIGN_OR_RETURN(const CrowdResult result, RunCrowd(client, options));
  return Json{{"members", options.members},
              {"stableMs", Ms(result.stable_us)},
              {"generation", result.generation},
              {"leaveMs", Ms(result.leave_us)}};
}

absl::StatusOr<Json> Run(BenchClient* client) {
  if (FLAGS_mode == "commits") return Commits(client);
  if (FLAGS_mode == "probe") return Probe(client);
  if (FLAGS_mode == "members") return Members(client);
  return MakeError(ErrorCode::kInvalidRequest, "--mode=", FLAGS_mode,
                   " is none of commits, probe, members");
}

absl::Status Main() {
  ClientOptions options;
  ASSIGN_OR_RETURN(options.bootstrap, ParseBootstrap(FLAGS_bootstrap));
  if (FLAGS_topic.empty() || FLAGS_partitions <= 0 || FLAGS_groups <= 0 ||
      FLAGS_offsets_per_call <= 0 || FLAGS_offsets_per_call > FLAGS_partitions ||
      FLAGS_calls <= 0 || FLAGS_in_flight <= 0 || FLAGS_members <= 0 ||
      FLAGS_members > FLAGS_partitions * (FLAGS_mode == "members" ? 1 : 1000)) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "a --topic, and counts above 0; no more offsets a call "
                     "than partitions, no more members either");
  }
  (void)RequestThreadSlice(kThreadSliceUsDefault);  // as the CLI does
  BenchClient client(options);
  ASSIGN_OR_RETURN(const Json json, Run(&client));
  std::cout << json.dump() << std::endl;
  return absl::OkStatus();
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  std::signal(SIGPIPE, SIG_IGN);
  gflags::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
  const absl::Status status = sluice::bench::Main();
  if (status.ok()) return 0;
  std::cerr << "group_bench: " << status.message() << '\n';
  return 1;
}
