// A producer whose records are numbered, and the check of what became of them.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "test/sim/sim_client.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {

// Sends numbered values to the partitions in turn and remembers which were
// acknowledged.
class SimLoad {
 public:
  SimLoad(SimCluster* cluster, std::string topic, int partitions,
          ProducerOptions options = {});

  void Send(int count);
  // One every `every_us`.
  void SendSteadily(int count, int64_t every_us);
  bool AwaitAcks(int64_t limit_us);
  // The longest time without an acknowledgement since the last call.
  int64_t TakeGapUs();

  int sent() const { return sent_; }
  int acked() const { return acked_; }
  ProducerCounters counters() { return client_.producer().counters(); }
  const std::vector<std::pair<int, absl::Status>>& failed() const {
    return failed_;
  }

  // Reads every partition from the start: nothing that was acknowledged is
  // missing, offsets have no gap, the numbers of a partition rise (but for what
  // a retry repeats, without idempotence), and nothing was never sent.
  void Check();

 private:
  struct Seen {
    std::map<PartitionIndex, Offset> next;
    std::map<PartitionIndex, std::vector<int>> numbers;
    std::set<int> all;
  };
  void OnAck(int number);
  bool HasAll(const Seen& seen) const;
  void ReadAll(Seen& seen);

  SimCluster* const cluster_;
  const std::string topic_;
  const int partitions_;
  const bool once_;
  SimClient client_;
  int sent_ = 0;
  int acked_ = 0;
  std::set<int> acknowledged_;
  std::vector<std::pair<int, absl::Status>> failed_;
  int64_t last_ack_us_ = -1;
  int64_t gap_us_ = 0;
};

}  // namespace sluice::sim
