#include "common/obs/metric_collector.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <utility>

namespace sluice {

struct MetricCollector::Source {
  std::string owner;
  Executor* executor;
  Fill fill;
  std::atomic<bool> asked{false};
};

// One Collect; the tasks that come too late keep it alive.
struct MetricCollector::Round {
  std::mutex mutex;
  std::condition_variable answered;
  // Guarded by mutex.
  MetricSet metrics;
  size_t open = 0;
  std::vector<const Source*> done;
};

MetricCollector::MetricCollector() = default;
MetricCollector::~MetricCollector() = default;

void MetricCollector::AddSource(std::string owner, Executor* executor,
                                Fill fill) {
  auto source = std::make_shared<Source>();
  source->owner = std::move(owner);
  source->executor = executor;
  source->fill = std::move(fill);
  sources_.push_back(std::move(source));
}

MetricCollector::Collected MetricCollector::Collect(int64_t timeout_us) {
  const auto round = std::make_shared<Round>();
  Collected collected;
  for (const auto& source : sources_) {
    if (source->executor == nullptr) {
      source->fill(collected.metrics);
      continue;
    }
    if (source->asked.exchange(true)) continue;
    {
      const std::lock_guard lock(round->mutex);
      ++round->open;
    }
    source->executor->Post([source, round] {
      MetricSet part;
      source->fill(part);
      source->asked = false;
      const std::lock_guard lock(round->mutex);
      round->metrics.Merge(part);
      round->done.push_back(source.get());
      --round->open;
      round->answered.notify_all();
    });
  }
  std::unique_lock lock(round->mutex);
  round->answered.wait_for(lock, std::chrono::microseconds(timeout_us),
                           [&] { return round->open == 0; });
  collected.metrics.Merge(round->metrics);
  std::set<std::string> silent;
  const std::set<const Source*> done(round->done.begin(), round->done.end());
  for (const auto& source : sources_) {
    if (source->executor != nullptr && !done.contains(source.get())) {
      silent.insert(source->owner);
    }
  }
  collected.silent.assign(silent.begin(), silent.end());
  return collected;
}

}  // namespace sluice
