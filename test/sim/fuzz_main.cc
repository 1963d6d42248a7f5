// Runs seeds: //test/sim:fuzz -- --help.
#include <gflags/gflags.h>
#include <glog/logging.h>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/mutant.h"
#include "test/sim/child_run.h"
#include "test/sim/fuzz_runner.h"

DEFINE_int64(seed, -1, "Run this one seed.");
DEFINE_string(seeds, "", "Run these: A..B, both included; several: A..B,C..D.");
DEFINE_bool(trace, false, "With --seed: print every message and fault.");
DEFINE_bool(minimise, false,
            "With --seed: print the fewest of its faults that still fail.");
DEFINE_string(only, "",
              "With --seed: its faults of these numbers alone, as printed by "
              "--minimise: 3,7,9; none: no fault at all.");
DEFINE_int32(jobs, 2, "Processes.");
DEFINE_int32(virtual_seconds, 30, "About how long a run is, in its own time.");
DEFINE_int32(brokers, 0, "1-5, in place of what a seed draws.");
DEFINE_int32(controllers, 0, "1, 3 or 5, in place of what a seed draws.");
DEFINE_bool(harms, false,
            "Draw what harms records that the disk had, too: flipped bits, "
            "misdirected writes, errors of reads.");
DEFINE_bool(require_all, false,
            "Fail when a fault never fired or a check was never evaluated.");
DEFINE_int32(processor_seconds_max, sluice::sim::kRunProcessorSecondsMax,
             "A seed that takes more of a processor has failed: HUNG.");
DEFINE_int32(failures_max, 10, "Stop after so many failing seeds.");
DEFINE_string(mutant, "",
              "In a build with --config=mutants: the seeded bug of "
              "common/base/mutants.def to turn on.");

// jemalloc reads it: what one seed frees the next one takes. To give it to the
// kernel in between was a tenth of the time.
extern "C" const char* malloc_conf;
const char* malloc_conf = "dirty_decay_ms:-1,muzzy_decay_ms:-1";

namespace {

constexpr size_t kSeedsMax = 10'000'000;

// What is wrong with the flags that have a range; "" for nothing.
std::string WrongFlag() {
  if (FLAGS_jobs < 1) return "--jobs: at least 1";
  if (FLAGS_virtual_seconds < 1) return "--virtual_seconds: at least 1";
  if (FLAGS_brokers < 0 || FLAGS_brokers > 5) return "--brokers: 1-5";
  const int controllers = FLAGS_controllers;
  if (controllers != 0 && controllers != 1 && controllers != 3 && controllers != 5) {
    return "--controllers: 1, 3 or 5";
  }
  if (FLAGS_failures_max < 1) return "--failures_max: at least 1";
  if (FLAGS_processor_seconds_max < 1) {
    return "--processor_seconds_max: at least 1";
  }
  return "";
}

// "1..50,700..849"; nullopt: that is no list of ranges.
std::optional<std::vector<uint64_t>> ParseSeeds(const std::string& text) {
  std::vector<uint64_t> seeds;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    unsigned long long first = 0;
    unsigned long long last = 0;
    int used = 0;
    const std::string range = text.substr(at, end - at);
    if (std::sscanf(range.c_str(), "%llu..%llu%n", &first, &last, &used) != 2 ||
        static_cast<size_t>(used) != range.size() || last < first ||
        last - first >= kSeedsMax - seeds.size()) {
      return std::nullopt;
    }
    for (uint64_t seed = first; seed <= last; ++seed) seeds.push_back(seed);
    at = end + 1;
  }
  return seeds;
}

}  // namespace

int main(int argc, char** argv) {
  gflags::SetUsageMessage(
      "fuzz --seeds=A..B | --seed=N [--trace | --minimise | --only=i,j]");
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = FLAGS_trace ? 0 : google::GLOG_FATAL;
  const std::string wrong = argc > 1 ? "unknown argument " + std::string(argv[1])
                                     : WrongFlag();
  if (!wrong.empty()) {
    std::fprintf(stderr, "fuzz: %s; try --help\n", wrong.c_str());
    return 2;
  }
  if (!FLAGS_mutant.empty() && !sluice::ChooseMutant(FLAGS_mutant)) {
    std::fprintf(stderr, "--mutant=%s: this build has no such mutant\n",
                 FLAGS_mutant.c_str());
    return 2;
  }
  sluice::sim::FuzzOptions options;
  options.limits.virtual_us = int64_t{FLAGS_virtual_seconds} * 1'000'000;
  options.limits.brokers = FLAGS_brokers;
  options.limits.controllers = FLAGS_controllers;
  options.limits.harms = FLAGS_harms;
  options.jobs = FLAGS_jobs;
  options.require_all = FLAGS_require_all;
  options.failures_max = FLAGS_failures_max;
  options.processor_seconds_max = FLAGS_processor_seconds_max;
  if (FLAGS_seed >= 0) {
    const auto seed = static_cast<uint64_t>(FLAGS_seed);
    if (FLAGS_minimise) return sluice::sim::MinimiseSeed(seed, options);
    return sluice::sim::ReplaySeed(seed, FLAGS_only, FLAGS_trace, options);
  }
  auto seeds = ParseSeeds(FLAGS_seeds);
  if (!seeds.has_value()) {
    std::fprintf(stderr, "--seeds=A..B[,C..D] or --seed=N\n");
    return 2;
  }
  options.seeds = *std::move(seeds);
  return sluice::sim::RunSeeds(options);
}
