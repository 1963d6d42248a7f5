// LogService.Produce and ProduceStream: judges a request, spreads it over the
// shards that own its partitions, and puts their answers together.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "broker/broker_api.h"
#include "broker/handlers/handler_deps.h"
#include "broker/handlers/produce_call.h"
#include "broker/handlers/typed_records.h"
#include "common/api/log_api.h"
#include "common/env/budget.h"

namespace sluice {

// Whole-request errors, before anything is appended: INVALID_REQUIRED_ACKS,
// INVALID_REQUEST (a negative timeout, too many or no partitions, one named
// twice, a transactional id). Everything else is in the results: the errors of
// topic_resolver.h; INVALID_REQUEST for batches without a partition, producer
// fields beside batches, or with records that the broker is to spread;
// INVALID_RECORD for half of an identity; BUSY with retry_after_ms when the bytes in flight are at their
// limit; REQUEST_TOO_LARGE for too many typed records; and what the partition
// answers (broker/partition_host.h), or its leader elsewhere (produce_forwarding.h). Cheap to copy; copies share the budgets.
class ProduceHandler {
 public:
  static constexpr int64_t kTimeoutDefaultMs = 30000;
  static constexpr int64_t kTimeoutMaxMs = 300000;
  // Payloads from their arrival to their answer, of the whole broker.
  static constexpr int64_t kBytesInFlightMax = 256 << 20;
  static constexpr size_t kTypedRecordsMax = 100000;  // of one request
  static constexpr int64_t kStreamsMax = 20000;       // of the whole broker

  explicit ProduceHandler(HandlerDeps deps,
                          int64_t bytes_in_flight_max = kBytesInFlightMax,
                          int64_t streams_max = kStreamsMax);

  // As BrokerApi::Produce. Any thread; `order_fixed` may be null.
  void Produce(const api::CallContext& context, api::ProduceRequest request,
               absl::AnyInvocable<void()> order_fixed,
               api::Answer<api::ProduceResponse> done);

  // As BrokerApi::ProduceStream. Any thread. A stream beyond kStreamsMax is
  // finished with BUSY.
  std::shared_ptr<ProduceSession> ProduceStream(
      const api::CallContext& context, const api::ProduceStreamRequest& first,
      std::shared_ptr<ProduceSink> sink);

  // One request, whose listener lives on `home` (null: any executor of the
  // broker's). `forwarder`: what other brokers lead goes there, if the request
  // is to be forwarded; null: by calls of its own.
  void Start(const api::CallContext& context, api::ProduceRequest request,
             Executor* home, std::shared_ptr<ProduceListener> listener,
             std::shared_ptr<ProduceForwarder> forwarder = nullptr) const;
  // For a stream; null when this broker forwards nothing.
  std::shared_ptr<StreamProduceForwarder> NewStreamForwarder(
      const api::CallContext& context) const;
  Executor* worker() const { return deps_.worker; }

  // What a request holds in memory until it is answered.
  static int64_t BytesHeldBy(const api::ProduceRequest& request);

  int64_t streams() const { return streams_->taken(); }
  const Budget& memory() const { return *in_flight_; }

 private:
  // An error: for every partition of the request.
  absl::StatusOr<Budget::Share> Admit(const api::ProduceRequest& request,
                                      int32_t& retry_after_ms) const;
  Executor* HomeOf(const api::ProduceStreamRequest& first) const;
  int64_t DeadlineOf(const api::CallContext& context, int32_t timeout_ms) const;

  HandlerDeps deps_;
  std::shared_ptr<Budget> in_flight_;
  std::shared_ptr<Budget> streams_;
  std::shared_ptr<KeylessRotation> rotation_;  // on the worker
};

}  // namespace sluice
