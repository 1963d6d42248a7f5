// A simulated cluster whose every event is checked: for gtest.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>

#include "test/sim/cluster_checks.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {

// The test fails at the first violation, with its number and the virtual time.
class CheckedCluster : public SimCluster {
 public:
  CheckedCluster(SimOptions options, uint64_t seed)
      : SimCluster(std::move(options), seed),
        checks_(this, /*lies=*/nullptr, [this](const std::string& what) {
          ADD_FAILURE() << what << "\nat " << world().MonoMicros() << " us";
        }) {
    world().Watch([this](NodeId ran) { checks_.AfterEvent(ran); });
  }
  ~CheckedCluster() { world().Watch(nullptr); }

  ClusterChecks& checks() { return checks_; }

 private:
  ClusterChecks checks_;
};

}  // namespace sluice::sim
