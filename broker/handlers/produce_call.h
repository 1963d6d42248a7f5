// One Produce request on its way through the shards.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "broker/broker_api.h"
#include "broker/handlers/handler_deps.h"
#include "broker/handlers/produce_forwarding.h"
#include "broker/partition_host.h"
#include "common/api/log_api.h"
#include "common/env/budget.h"

namespace sluice {

// Hears what becomes of one request: on its home executor, each call once
// unless it says otherwise.
class ProduceListener {
 public:
  virtual ~ProduceListener() = default;
  // First, when the whole request is refused; of the others only OnOrdered
  // follows.
  virtual void OnRefused(absl::Status why) = 0;
  // Else first: the results that will come, with topic and partition.
  virtual void OnParts(const std::vector<api::ProduceResult>& parts) = 0;
  // Every batch has its place in its log or was refused: the next request of
  // the same connection may follow.
  virtual void OnOrdered() = 0;
  // Of part `index`, for each.
  virtual void OnResult(size_t index, api::ProduceResult result) = 0;
};

// Filled by one thread, then launched; from then on it belongs to the executor
// `home` (null: that of its first shard) and is kept alive by what is under way.
class ProduceCall : public std::enable_shared_from_this<ProduceCall> {
 public:
  struct Options {
    api::Acks acks = api::Acks::kAll;
    int64_t deadline_us = 0;
    api::AppendOrigin origin = api::AppendOrigin::kClient;
    Budget::Share share;
    Executor* home = nullptr;
    // Where batches for other leaders go; null: to the partition here, which
    // says NOT_LEADER.
    std::shared_ptr<ProduceForwarder> forwarder;
    // Until the launch: who leads what.
    std::shared_ptr<const MetadataImage> image;
  };
  struct Append {
    TopicPartition tp;
    MutableBuffer batches;
    std::optional<LeaderEpoch> leader_epoch;
  };

  ProduceCall(const HandlerDeps& deps, Options options,
              std::shared_ptr<ProduceListener> listener);

  // In the order asked. `result` holds what is known before: the topic as it
  // was asked for, the partition, an error, record indexes.
  void AddResult(api::ProduceResult result);
  void AddAppend(api::ProduceResult result, Append append);

  // Once. Called on the home executor the listener hears of the parts, and of
  // those that are refused, before it returns.
  void Launch();

 private:
  struct Piece {
    size_t result;  // in results_
    AppendRequest request;
  };

  // What one leader elsewhere gets, and of which results it is.
  struct Handover {
    ForwardedProduce produce;
    std::vector<size_t> results;
  };

  void AddHandover(const LeaderCalls::Leader& leader, api::ProduceResult result,
                   Append append);
  void HandOver();
  void OnHandedOver(size_t index, api::ProduceResult answer);
  // Tells the listener of the parts and of those that are refused already.
  void Begin();
  void AppendPiece(PartitionHost* host, Piece piece);
  // Runs `step` on the home executor; at once when `host` lives there.
  void AtHome(PartitionHost* host, Task step);
  void OnOrdered();
  void OnOutcome(size_t index, AppendOutcome outcome);
  void Answer(size_t index);

  const HandlerDeps deps_;
  Options options_;
  const std::shared_ptr<ProduceListener> listener_;
  std::vector<api::ProduceResult> results_;
  std::vector<size_t> refused_;  // in results_: no append
  // By host, in the order asked.
  std::vector<std::pair<PartitionHost*, std::vector<Piece>>> groups_;
  std::vector<Handover> handovers_;  // by leader
  Executor* home_ = nullptr;
  size_t unordered_ = 0;
  size_t unanswered_ = 0;
};

}  // namespace sluice
