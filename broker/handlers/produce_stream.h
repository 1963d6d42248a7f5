// One ProduceStream: requests taken in order, results let out by partition.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "broker/broker_api.h"
#include "broker/handlers/answer_order.h"
#include "broker/handlers/produce_handler.h"
#include "common/api/log_api.h"
#include "common/env/budget.h"

namespace sluice {

// Belongs to one executor, `home`; its methods post there. The next request is
// taken when the order of the one before is fixed, so appends happen in the
// order received; it is answered whenever its partitions are settled.
//
// Within its limits a request is consumed as it comes, which lets the edge read
// another; at a limit that waits for answers, and for the client to read them.
// BUSY ends a stream whose edge does not heed that, at kRequestsWall.
class ProduceStream final : public ProduceSession,
                            public std::enable_shared_from_this<ProduceStream> {
 public:
  // Taken or waiting to be, or answered and the answer not on the wire yet.
  static constexpr int64_t kRequestsInFlightMax = 1000;
  // Of those that are not answered (ProduceHandler::BytesHeldBy).
  static constexpr int64_t kBytesInFlightMax = 32 << 20;
  static constexpr int64_t kRequestsWall = 2 * kRequestsInFlightMax;

  struct Deps {
    ProduceHandler handler;
    api::CallContext context;
    Executor* home = nullptr;
    Budget::Share share;
  };
  ProduceStream(Deps deps, std::shared_ptr<ProduceSink> sink);

  void OnRequest(api::ProduceStreamRequest request) override;
  void OnDrained() override;
  void OnNoMore(absl::Status why) override;
  void OnClosed() override;

 private:
  class Request;
  struct Waiting {
    api::ProduceStreamRequest request;
    int64_t bytes = 0;
  };

  void Receive(api::ProduceStreamRequest request);
  // Lets the edge read on as far as the limits allow.
  void ReadOn();
  void TakeNext();
  void OnOrdered();
  // Sends what the request has, with others of this turn.
  void SendSoon(std::shared_ptr<Request> request);
  // It has its last result.
  void SendNow(Request& request);
  static void SendInOrder(std::vector<std::shared_ptr<Request>> requests);
  void OnComplete(int64_t bytes);
  void FinishIfDone();
  void End(absl::Status status);

  Deps deps_;

  // On home.
  std::shared_ptr<ProduceSink> sink_;  // null: the stream is over
  std::deque<Waiting> waiting_;        // for their turn to be taken
  bool taking_ = false;
  AnswerOrder order_;
  int64_t requests_in_flight_ = 0;
  int64_t bytes_in_flight_ = 0;
  int64_t unanswered_ = 0;  // requests taken
  int64_t undrained_ = 0;   // answered since the last OnDrained
  int64_t unconsumed_ = 0;
  int64_t taken_ = 0;
  std::vector<std::shared_ptr<Request>> sending_;
  // Made for the first request that is to be forwarded.
  std::shared_ptr<StreamProduceForwarder> forwarder_;
  std::optional<absl::Status> no_more_;
};

}  // namespace sluice
