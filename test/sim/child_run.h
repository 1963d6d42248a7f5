// Runs in processes of their own: one that dies is a finding, not the end.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "test/sim/fuzz_run.h"

namespace sluice::sim {

inline constexpr char kCrashed[] = "CRASHED";

// `plan` in a child; a failure of kCrashed where that died.
RunResult RunInChild(const SwarmPlan& plan);

// Seeds on their way through some processes, each in one of them.
class SeedWorkers {
 public:
  // What a process does for a seed.
  using RunSeed = std::function<RunResult(uint64_t seed)>;

  SeedWorkers(uint64_t first, uint64_t last, int jobs, RunSeed run);
  ~SeedWorkers();

  // Until all are done or `on_result` has had enough: it returns false.
  void Run(const std::function<bool(uint64_t seed, const RunResult&)>&
               on_result);

 private:
  struct Worker {
    int pid = 0;
    int fd = -1;          // its results come here
    uint64_t next = 0;    // the seed it is at
  };

  // A process for the seeds from `from` on, `jobs` apart.
  void Launch(Worker& worker, uint64_t from);
  void Reap(Worker& worker);
  bool Take(Worker& worker,
            const std::function<bool(uint64_t, const RunResult&)>& on_result);

  const uint64_t last_;
  const RunSeed run_;
  std::vector<Worker> workers_;
};

}  // namespace sluice::sim
