// One Produce request on its way through the shards.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "broker/broker_api.h"
#include "broker/handlers/handler_deps.h"
#include "broker/partition_host.h"
#include "common/api/log_api.h"
#include "common/env/budget.h"

namespace sluice {

// Filled by one thread, then launched; from then on it belongs to the executor
// of its first shard and is kept alive by what is under way.
class ProduceCall : public std::enable_shared_from_this<ProduceCall> {
 public:
  struct Options {
    api::Acks acks = api::Acks::kAll;
    int64_t deadline_us = 0;
    api::AppendOrigin origin = api::AppendOrigin::kClient;
    Budget::Share share;
  };
  struct Append {
    TopicPartition tp;
    MutableBuffer batches;
    std::optional<LeaderEpoch> leader_epoch;
  };

  ProduceCall(const HandlerDeps& deps, Options options,
              absl::AnyInvocable<void()> order_fixed,
              api::Answer<api::ProduceResponse> done);

  // In the order of the answer. `result` holds what is known before: the topic
  // as it was asked for, the partition, an error, record indexes.
  void AddResult(api::ProduceResult result) {
    results_.push_back(std::move(result));
  }
  void AddAppend(api::ProduceResult result, Append append);

  // Once. Answers on a thread of the broker's, later.
  void Launch();

 private:
  struct Piece {
    size_t result;  // in results_
    AppendRequest request;
  };

  void AppendPiece(PartitionHost* host, Piece piece);
  // Runs `step` on the home executor; at once when `host` lives there.
  void AtHome(PartitionHost* host, Task step);
  void OnOrdered();
  void OnOutcome(size_t index, AppendOutcome outcome);
  void Finish();

  const HandlerDeps deps_;
  Options options_;
  absl::AnyInvocable<void()> order_fixed_;
  api::Answer<api::ProduceResponse> done_;
  std::vector<api::ProduceResult> results_;
  // By host, in the order asked.
  std::vector<std::pair<PartitionHost*, std::vector<Piece>>> groups_;
  Executor* home_ = nullptr;
  size_t unordered_ = 0;
  size_t unanswered_ = 0;
};

}  // namespace sluice
