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

  SeedWorkers(std::vector<uint64_t> seeds, int jobs, RunSeed run);
  ~SeedWorkers();

  // Until all are done or `on_result` has had enough: it returns false.
  void Run(const std::function<bool(uint64_t seed, const RunResult&)>&
               on_result);

 private:
  struct Worker {
    int pid = 0;
    int fd = -1;          // its results come here
    size_t next = 0;      // which of the seeds it is at
  };

  // A process for the seeds from the `from`th on, `jobs` apart.
  void Launch(Worker& worker, size_t from);
  void Reap(Worker& worker);
  bool Take(Worker& worker,
            const std::function<bool(uint64_t, const RunResult&)>& on_result);

  const std::vector<uint64_t> seeds_;
  const RunSeed run_;
  std::vector<Worker> workers_;
};

}  // namespace sluice::sim
