// Asks every owner of state for its metrics, on its own executor.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "common/env/executor.h"
#include "common/obs/metrics.h"

namespace sluice {

// AddSource before the first Collect; Collect from any thread, several at
// once. What owners answer later than the caller waited is dropped, and an
// owner that still owes an answer is not asked again, so that one that hangs
// has one task of ours in its queue, whatever scrapes it.
class MetricCollector {
 public:
  using Fill = std::function<void(MetricSet&)>;
  using Answer = absl::AnyInvocable<void(MetricSet)>;
  // Called on the collecting thread; answers once, from any thread, or never.
  using Ask = std::function<void(Answer)>;

  MetricCollector();
  ~MetricCollector();

  // `fill` runs on `executor`, or on the collecting thread when that is null.
  // Both outlive every Collect; `fill` runs no more once `executor` is gone.
  void AddSource(std::string owner, Executor* executor, Fill fill);
  // An owner that is more than one executor.
  void AddSource(std::string owner, Ask ask);

  struct Collected {
    MetricSet metrics;
    // Owners that did not answer in time, each once.
    std::vector<std::string> silent;
  };
  // Blocks the calling thread for at most `timeout_us`.
  Collected Collect(int64_t timeout_us);

 private:
  struct Source;
  struct Round;
  std::vector<std::shared_ptr<Source>> sources_;
};

}  // namespace sluice
