// Batches for partitions that other brokers lead.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "broker/handlers/leader_calls.h"
#include "client/peers/leader_peer.h"
#include "common/api/log_api.h"

namespace sluice {

// The parts of one request that one leader gets: batches, by topic id.
struct ForwardedProduce {
  LeaderCalls::Leader leader;
  api::ProduceRequest request;
  int64_t deadline_us = 0;
  // On the worker, once for each partition of `request`, by its place there.
  std::function<void(size_t part, api::ProduceResult result)> on_result;
};

// Belongs to the worker. A part whose leader is not heard of any more is
// answered REQUEST_TIMED_OUT: it may be stored.
class ProduceForwarder {
 public:
  virtual ~ProduceForwarder() = default;
  virtual void Forward(ForwardedProduce produce) = 0;
};

// One call each, in no order.
class UnaryProduceForwarder final : public ProduceForwarder {
 public:
  UnaryProduceForwarder(LeaderCalls* leaders, std::string client_id)
      : leaders_(*leaders), client_id_(std::move(client_id)) {}
  void Forward(ForwardedProduce produce) override;

 private:
  LeaderCalls& leaders_;
  const std::string client_id_;
};

// For one client's ProduceStream: a stream to each leader, so that what goes to
// one leader gets there in the order given. A stream that breaks is opened
// again by the next produce.
class StreamProduceForwarder final
    : public ProduceForwarder,
      public std::enable_shared_from_this<StreamProduceForwarder> {
 public:
  StreamProduceForwarder(LeaderCalls* leaders, std::string client_id)
      : leaders_(*leaders), client_id_(std::move(client_id)) {}
  void Forward(ForwardedProduce produce) override;
  // The client's stream is over: answers are nobody's any more.
  void Close();

 private:
  struct Pending {
    std::map<std::pair<TopicId, PartitionIndex>, size_t> parts;  // unanswered
    LeaderCalls::Leader leader;
    std::function<void(size_t, api::ProduceResult)> on_result;
  };
  struct Link {
    uint64_t id = 0;
    std::shared_ptr<ProduceSender> sender;
    std::map<int64_t, Pending> pending;  // by correlation id
  };

  Link& Open(const LeaderCalls::Leader& leader);
  void OnAnswer(const LeaderCalls::Leader& leader, uint64_t id,
                api::ProduceStreamResponse answer);
  void OnClosed(const LeaderCalls::Leader& leader, uint64_t id,
                const absl::Status& why);

  LeaderCalls& leaders_;
  const std::string client_id_;
  std::map<LeaderCalls::Leader, Link> links_;
  uint64_t next_link_ = 1;
  int64_t next_correlation_ = 1;
  bool closed_ = false;
};

}  // namespace sluice
