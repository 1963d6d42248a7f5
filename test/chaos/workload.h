// Clients that use a cluster while somebody harms it: producers at a steady
// pace, consumers, one who asks for the end of the log; all recorded.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "client/blocking_client.h"
#include "common/env/real_clock.h"
#include "common/env/thread_executor.h"
#include "test/chaos/recorder.h"

namespace sluice::chaos {

struct WorkloadOptions {
  std::vector<api::Endpoint> bootstrap;
  std::string topic;
  int32_t partitions = 1;
  // One each; -1 all, 1 the leader, 0 nobody.
  std::vector<int32_t> producer_acks = {-1, -1, 1};
  int32_t consumers = 2;
  int64_t records_per_s = 1000;  // of a producer
  size_t value_bytes = 100;
  int64_t delivery_timeout_ms = 60'000;
  int64_t final_read_timeout_ms = 60'000;
};

class Workload {
 public:
  explicit Workload(const WorkloadOptions& options);
  ~Workload();

  void Start();
  // No new records; waits until each send has ended, one way or the other. An
  // error that no fault explains, met by any client on the way: a consumer's
  // position that is gone, a record that is refused.
  absl::Status Stop();
  // Of a quiet cluster: reads every partition from its start to its end.
  absl::Status ReadAll();

  const Recorder& recorder() const { return recorder_; }

 private:
  // One application: a connection table and a thread of its own.
  struct Client;

  std::unique_ptr<Client> MakeClient();
  void Produce(int32_t producer, int32_t acks);
  void Consume(int32_t consumer);
  void AskForEnds();
  absl::Status ReadTo(const std::map<NamedPartition, Offset>& starts,
                      const std::map<NamedPartition, Offset>& ends);
  void Unexpected(std::string_view who, const absl::Status& error);
  // Sleeps; false when it is time to stop.
  bool Pause(int64_t us) const;
  std::vector<NamedPartition> Partitions() const;

  const WorkloadOptions options_;
  RealClock clock_;
  Recorder recorder_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  absl::Status unexpected_;  // the first; guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace sluice::chaos
