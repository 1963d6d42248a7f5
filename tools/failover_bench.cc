#include "tools/failover_bench.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <thread>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "tools/ack_gaps.h"
#include "tools/cluster_issues.h"

namespace sluice::cli {
namespace {

constexpr int64_t kLookEveryUs = 20'000;
// The stream is steady before a kill, and again after it, for so long.
constexpr int64_t kSteadyUs = 1'000'000;

int64_t MedianOf(std::vector<int64_t> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Sends a record to each partition in turn, evenly, from a thread of its own,
// whether or not earlier ones were acknowledged.
class AckStream {
 public:
  AckStream(BlockingClient* client, const FailoverOptions& options)
      : clock_(client->deps().clock),
        options_(options),
        gaps_(options.partitions),
        producer_(client, Producing()),
        thread_([this] { Send(); }) {}
  ~AckStream() { Stop().IgnoreError(); }  // of a run that failed already

  // No more records; waits for the last acknowledgements.
  absl::Status Stop() {
    stopping_ = true;
    if (!thread_.joinable()) return absl::OkStatus();
    thread_.join();
    return producer_.Flush(options_.timeout_us * 2);
  }

  void Mark() {
    std::lock_guard lock(mutex_);
    gaps_.Mark(clock_->MonoMicros());
  }
  // Whether each of `partitions` was acknowledged at or after `since_us`.
  bool AllHeardSince(const std::vector<int32_t>& partitions,
                     int64_t since_us) const {
    std::lock_guard lock(mutex_);
    return std::all_of(
        partitions.begin(), partitions.end(),
        [&](int32_t p) { return gaps_.LastUs(p) >= since_us; });
  }
  std::vector<int64_t> GapsOf(const std::vector<int32_t>& partitions) const {
    std::lock_guard lock(mutex_);
    std::vector<int64_t> gaps;
    for (const int32_t p : partitions) {
      gaps.push_back(gaps_.LongestClosedUs(p));
    }
    return gaps;
  }
  int64_t acknowledged() const { return acknowledged_; }
  int64_t failed() const { return failed_; }

 private:
  static ProducerOptions Producing() {
    ProducerOptions producing;
    producing.acks = -1;
    producing.linger_ms = 0;
    return producing;
  }

  void Send() {
    const int64_t step_us =
        std::max<int64_t>(1, options_.interval_us / options_.partitions);
    const std::string value(static_cast<size_t>(options_.record_bytes), 'x');
    int64_t due_us = clock_->MonoMicros();
    while (!stopping_) {
      // Some at a time: waking for each would cost more than it sends.
      for (int32_t p = 0; p < options_.partitions && !stopping_; ++p) {
        due_us += step_us;
        if (due_us - clock_->MonoMicros() > 1000) SleepUntil(due_us);
        ProducerRecord record;
        record.topic = options_.topic;
        record.partition = PartitionIndex(p);
        record.value = value;
        const auto queued = producer_.Send(
            std::move(record),
            [this, p](const auto& result) { OnSettled(p, result.ok()); });
        if (!queued.ok()) ++failed_;
      }
    }
  }

  static void SleepUntil(int64_t mono_us) {
    const timespec until{mono_us / 1'000'000, (mono_us % 1'000'000) * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
  }

  void OnSettled(int32_t partition, bool ok) {
    if (!ok) {
      ++failed_;
      return;
    }
    ++acknowledged_;
    std::lock_guard lock(mutex_);
    gaps_.Acknowledged(partition, clock_->MonoMicros());
  }

  const Clock* const clock_;
  const FailoverOptions& options_;
  mutable std::mutex mutex_;
  AckGaps gaps_;  // guarded by mutex_
  std::atomic<int64_t> acknowledged_{0};
  std::atomic<int64_t> failed_{0};
  std::atomic<bool> stopping_{false};
  BlockingProducer producer_;
  std::thread thread_;  // last: starts when all else is there
};

class FailoverBench {
 public:
  FailoverBench(BlockingClient* client, const DevCluster& cluster,
                const FailoverOptions& options)
      : client_(client),
        cluster_(cluster),
        options_(options),
        stream_(client, options) {
    for (int32_t p = 0; p < options.partitions; ++p) all_.push_back(p);
  }

  absl::StatusOr<FailoverResult> Run() {
    FailoverResult result;
    for (int i = 0; i < options_.rounds; ++i) {
      ASSIGN_OR_RETURN(FailoverRound round, Round());
      std::cerr << "round " << i + 1 << ": killed " << round.killed
                << (round.was_active_controller ? " (active controller)" : "")
                << ", led " << round.led << " partitions: longest gap "
                << round.longest_gap_us / 1000 << " ms\n";
      result.rounds.push_back(std::move(round));
    }
    RETURN_IF_ERROR(stream_.Stop());
    result.acknowledged = stream_.acknowledged();
    result.failed = stream_.failed();
    return result;
  }

 private:
  absl::StatusOr<FailoverRound> Round() {
    RETURN_IF_ERROR(AwaitHealthy());
    RETURN_IF_ERROR(AwaitSteady());
    ASSIGN_OR_RETURN(const std::vector<int32_t> leaders, Leaders());
    ASSIGN_OR_RETURN(const auto described,
                     client_->DescribeCluster(options_.timeout_us));
    ASSIGN_OR_RETURN(const int32_t id,
                     ChooseVictim(options_.victim, leaders,
                                  described.active_controller_id()));
    ASSIGN_OR_RETURN(const DevNode node, cluster_.FindId(id));
    FailoverRound round;
    round.killed = node.name;
    round.was_active_controller = id == described.active_controller_id();
    std::vector<int32_t> led;
    std::vector<int32_t> others;
    for (const int32_t p : all_) {
      (leaders[static_cast<size_t>(p)] == id ? led : others).push_back(p);
    }
    round.led = static_cast<int>(led.size());
    stream_.Mark();
    cluster_.Stop({node}, /*kill=*/true);
    RETURN_IF_ERROR(AwaitSteady());
    const auto gaps = stream_.GapsOf(led.empty() ? all_ : led);
    round.longest_gap_us = *std::max_element(gaps.begin(), gaps.end());
    round.median_gap_us = MedianOf(gaps);
    for (const int64_t gap : stream_.GapsOf(others)) {
      round.longest_other_gap_us = std::max(round.longest_other_gap_us, gap);
    }
    RETURN_IF_ERROR(Restart(node, round));
    return round;
  }

  absl::Status Restart(const DevNode& node, FailoverRound& round) {
    const int64_t start_us = NowUs();
    ASSIGN_OR_RETURN(const pid_t pid, cluster_.Start(node, options_.sluiced));
    RETURN_IF_ERROR(cluster_.AwaitListening(node, pid, options_.timeout_us));
    RETURN_IF_ERROR(AwaitHealthy());
    round.healthy_again_us = NowUs() - start_us;
    return absl::OkStatus();
  }

  absl::Status Await(const char* what, const std::function<bool()>& there) {
    const int64_t end_us = NowUs() + options_.timeout_us;
    while (!there()) {
      if (NowUs() > end_us) {
        return MakeError(ErrorCode::kRequestTimedOut, what, ": not within ",
                         options_.timeout_us / 1'000'000,
                         " s; `sluice cluster health` and the logs in ",
                         cluster_.directory(), " say why");
      }
      usleep(kLookEveryUs);
    }
    return absl::OkStatus();
  }

  absl::Status AwaitHealthy() {
    return Await("a healthy cluster", [this] {
      const auto cluster = client_->DescribeCluster(1'000'000);
      if (!cluster.ok() || HasIssueToMend(*cluster)) return false;
      int up = 0;
      for (const auto& broker : cluster->brokers()) up += !broker.fenced();
      return up == cluster_.shape().nodes;
    });
  }

  // Every partition acknowledges, kSteadyUs from now and later.
  absl::Status AwaitSteady() {
    const int64_t since_us = NowUs() + kSteadyUs;
    return Await("acknowledgements of every partition", [this, since_us] {
      return stream_.AllHeardSince(all_, since_us);
    });
  }

  absl::StatusOr<std::vector<int32_t>> Leaders() {
    v1::GetMetadataRequest request;
    request.add_topics()->set_name(options_.topic);
    ASSIGN_OR_RETURN(const auto metadata,
                     client_->GetMetadata(request, options_.timeout_us));
    std::vector<int32_t> leaders(all_.size(), -1);
    for (const auto& topic : metadata.topics()) {
      for (const auto& partition : topic.partitions()) {
        if (partition.partition() < options_.partitions) {
          leaders[static_cast<size_t>(partition.partition())] =
              partition.leader_id();
        }
      }
    }
    return leaders;
  }

  int64_t NowUs() const { return client_->deps().clock->MonoMicros(); }

  BlockingClient* const client_;
  const DevCluster& cluster_;
  const FailoverOptions& options_;
  std::vector<int32_t> all_;
  AckStream stream_;
};

}  // namespace

int64_t FailoverResult::MedianUs() const {
  std::vector<int64_t> gaps;
  for (const FailoverRound& round : rounds) {
    gaps.push_back(round.longest_gap_us);
  }
  return MedianOf(std::move(gaps));
}

int64_t FailoverResult::WorstUs() const {
  int64_t worst = 0;
  for (const FailoverRound& round : rounds) {
    worst = std::max(worst, round.longest_gap_us);
  }
  return worst;
}

absl::StatusOr<int32_t> ChooseVictim(FailoverVictim victim,
                                     const std::vector<int32_t>& leaders,
                                     int32_t active_controller) {
  if (victim == FailoverVictim::kActiveController) {
    if (active_controller > 0) return active_controller;
    return MakeError(ErrorCode::kInvalidRequest,
                     "no controller is active: nothing to kill");
  }
  std::map<int32_t, int> led;
  for (const int32_t leader : leaders) {
    if (leader > 0) ++led[leader];
  }
  if (led.size() > 1) led.erase(active_controller);
  if (led.empty()) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "no partition has a leader: nothing to kill");
  }
  return std::max_element(led.begin(), led.end(),
                          [](const auto& a, const auto& b) {
                            return a.second < b.second;
                          })
      ->first;
}

absl::StatusOr<FailoverResult> RunFailoverBench(
    BlockingClient* client, const DevCluster& cluster,
    const FailoverOptions& options) {
  FailoverBench bench(client, cluster, options);
  return bench.Run();
}

}  // namespace sluice::cli
