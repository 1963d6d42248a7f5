// Asks every so often how far the partitions go that groups coordinated here
// commit: what lag states are judged by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "broker/coordinator/group_coordinators.h"
#include "broker/coordinator/group_lag.h"

namespace sluice::coordinator {

// On the worker but for Wake. It sleeps while nobody commits.
class LagMonitor {
 public:
  static constexpr int64_t kEveryUs = 10'000'000;
  // Partitions of one round; more are asked in the next.
  static constexpr size_t kPartitionsMax = 10'000;

  struct Deps {
    LagSources sources;
    GroupCoordinators* coordinators = nullptr;
    std::vector<Executor*> shards;
  };

  explicit LagMonitor(Deps deps) : deps_(std::move(deps)) {}
  ~LagMonitor() { *alive_ = false; }
  LagMonitor(const LagMonitor&) = delete;

  // Any thread: there is something to watch.
  void Wake();

 private:
  void Round();
  void Ask(std::vector<TopicPartition> watched);
  void Tell(const std::vector<TopicPartition>& asked,
            const api::ListOffsetsResponse& answer);
  void RoundLater();

  const Deps deps_;
  // On the worker.
  bool awake_ = false;
  size_t missing_ = 0;
  std::vector<TopicPartition> watched_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::coordinator
