// A client of a simulated cluster that remembers: what was acknowledged, what
// was ever read. Then it looks for what is lost, doubled or changed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/cluster_testing.h"
#include "common/api/log_api.h"

namespace sluice {

// Every record's value is its own; none is ever sent twice.
class SimClient {
 public:
  struct Sent {
    std::string value;
    api::Acks acks = api::Acks::kAll;
    std::optional<AppendOutcome> outcome;  // none: nobody knows
    bool acknowledged() const {
      return outcome.has_value() && outcome->error.ok();
    }
  };

  explicit SimClient(SimCluster* cluster) : cluster_(cluster) {}

  // Sends one record to whoever leads by the committed metadata. Counts as
  // acknowledged the moment the broker says so.
  std::shared_ptr<Sent> Produce(const TopicPartition& tp,
                                api::Acks acks = api::Acks::kAll,
                                int64_t timeout_us = 5'000'000);
  // Runs the world until one more is acknowledged.
  bool ProduceOne(const TopicPartition& tp,
                  api::Acks acks = api::Acks::kAll,
                  int64_t limit_us = 30'000'000);

  size_t acknowledged(const TopicPartition& tp) const;

  // Reads all that the leader shows; "" when all holds, else what does not:
  // RP1 (a record that all acknowledged is missing or elsewhere), RP8 (what was read
  // before has changed or gone), a record twice, RP22 (a gap).
  std::string CheckReadable(const TopicPartition& tp);
  // Every running replica holds the same below the lowest high watermark; with
  // `converged`, all of it (RP9, RP24).
  std::string CheckReplicas(const TopicPartition& tp, bool converged);

 private:
  using Records = std::map<Offset, std::string>;
  // Of one read at node `id`; an error text instead.
  std::string ReadAll(int id, const TopicPartition& tp, Records& out);

  SimCluster* const cluster_;
  int64_t next_value_ = 1;
  std::map<TopicPartition, std::vector<std::shared_ptr<Sent>>> sent_;
  std::map<TopicPartition, Records> delivered_;
};

// Values of whole batches, by offset; an error text for bytes that are none.
std::string DecodeValues(std::string_view batches,
                         std::map<Offset, std::string>& out);

}  // namespace sluice
