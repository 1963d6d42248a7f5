// Runs in processes of their own: one that dies is a finding, not the end.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "test/sim/death_note.h"
#include "test/sim/fuzz_run.h"

namespace sluice::sim {

inline constexpr char kCrashed[] = "CRASHED";
// It took more of a processor than any run does: some event never ends.
inline constexpr char kHung[] = "HUNG";
// A run takes about a second, thirty in a build with sanitizers.
inline constexpr int kRunProcessorSecondsMax = 300;

// `plan` in a child; a failure of kHung or kCrashed where that died, with what
// it said of why: "CRASHED: RP4: broker/partition.cc:12: ...".
RunResult RunInChild(const SwarmPlan& plan);

// Seeds on their way through some processes, each in one of them.
class SeedWorkers {
 public:
  // What a process does for a seed.
  using RunSeed = std::function<RunResult(uint64_t seed)>;

  SeedWorkers(std::vector<uint64_t> seeds, int jobs, RunSeed run,
              int processor_seconds_max = kRunProcessorSecondsMax);
  ~SeedWorkers();

  // Until all are done or `on_result` has had enough: it returns false.
  void Run(const std::function<bool(uint64_t seed, const RunResult&)>&
               on_result);

 private:
  struct Worker {
    int pid = 0;
    int fd = -1;          // its results come here
    std::unique_ptr<DeathNote> note;
    size_t next = 0;      // which of the seeds it is at
  };

  // A process for the seeds from the `from`th on, `jobs` apart.
  void Launch(Worker& worker, size_t from);
  // What it died of.
  RunResult Reap(Worker& worker);
  bool Take(Worker& worker,
            const std::function<bool(uint64_t, const RunResult&)>& on_result);

  const std::vector<uint64_t> seeds_;
  const RunSeed run_;
  const int processor_seconds_max_;
  std::vector<Worker> workers_;
};

}  // namespace sluice::sim
