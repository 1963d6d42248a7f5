// Many seeds in several processes; one seed again, whole or in part.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "test/sim/child_run.h"
#include "test/sim/swarm.h"

namespace sluice::sim {

struct FuzzOptions {
  std::vector<uint64_t> seeds;
  DrawLimits limits;
  int jobs = 2;
  int failures_max = 10;
  int processor_seconds_max = kRunProcessorSecondsMax;  // of one seed
  bool require_all = false;
};

// Exit codes: 0 all held, 1 a seed failed or a count is zero.
int RunSeeds(const FuzzOptions& options);
int ReplaySeed(uint64_t seed, const std::string& only, bool trace,
               const FuzzOptions& options);
int MinimiseSeed(uint64_t seed, const FuzzOptions& options);

}  // namespace sluice::sim
