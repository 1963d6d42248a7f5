// The fewest faults of a schedule that still make a run fail.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "test/sim/fault.h"
#include "test/sim/swarm.h"

namespace sluice::sim {

// Those of `faults` at `kept`, in their order. Indexes that are none are left
// out.
FaultSchedule Subset(const FaultSchedule& faults,
                     const std::vector<size_t>& kept);

// What makes two failures the same one: "LOST", "NO PROGRESS", "CRASHED: RP4".
std::string FailureClass(const std::string& failure);

struct Minimum {
  std::vector<size_t> kept;
  std::string failure;  // of the last run that failed
};

// Delta debugging: no single fault of what is left can be left out too. nullopt:
// the plan does not fail.
std::optional<Minimum> Minimise(const SwarmPlan& plan);

// The same of `count` faults: `run` says how a run with those at `kept` fails,
// "" for not at all. What FailureClass says alone counts as the same failure.
using RunKept = std::function<std::string(const std::vector<size_t>& kept)>;
std::optional<Minimum> MinimiseBy(size_t count, const RunKept& run);

}  // namespace sluice::sim
