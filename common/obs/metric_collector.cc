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
  Ask ask;
  std::atomic<bool> asked{false};
};

// One Collect; the tasks that come too late keep it alive.
struct MetricCollector::Round {
  std::mutex mutex;
  std::condition_variable answered;
  // Guarded by mutex.
  MetricSet metrics;
  size_t open = 0;
  std::set<const Source*> done;
};

MetricCollector::MetricCollector() = default;
MetricCollector::~MetricCollector() = default;

void MetricCollector::AddSource(std::string owner, Executor* executor,
                                Fill fill) {
  if (executor == nullptr) {
    AddSource(std::move(owner), [fill = std::move(fill)](Answer answer) {
      MetricSet part;
      fill(part);
      answer(std::move(part));
    });
    return;
  }
  // The fill is kept by this collector and by tasks that wait.
  const auto shared = std::make_shared<const Fill>(std::move(fill));
  AddSource(std::move(owner), [executor, shared](Answer answer) {
    executor->Post([shared, answer = std::move(answer)]() mutable {
      MetricSet part;
      (*shared)(part);
      answer(std::move(part));
    });
  });
}

void MetricCollector::AddSource(std::string owner, Ask ask) {
  auto source = std::make_shared<Source>();
  source->owner = std::move(owner);
  source->ask = std::move(ask);
  sources_.push_back(std::move(source));
}

MetricCollector::Collected MetricCollector::Collect(int64_t timeout_us) {
  const auto round = std::make_shared<Round>();
  for (const auto& source : sources_) {
    if (source->asked.exchange(true)) continue;
    {
      const std::lock_guard lock(round->mutex);
      ++round->open;
    }
    source->ask([source, round](MetricSet part) {
      source->asked = false;
      const std::lock_guard lock(round->mutex);
      round->metrics.Merge(part);
      round->done.insert(source.get());
      --round->open;
      round->answered.notify_all();
    });
  }
  std::unique_lock lock(round->mutex);
  round->answered.wait_for(lock, std::chrono::microseconds(timeout_us),
                           [&] { return round->open == 0; });
  Collected collected;
  collected.metrics = round->metrics;
  std::set<std::string> silent;
  for (const auto& source : sources_) {
    if (!round->done.contains(source.get())) silent.insert(source->owner);
  }
  collected.silent.assign(silent.begin(), silent.end());
  return collected;
}

}  // namespace sluice
