// What brokers tell idempotent producers, read off the wire: for the checks
// (IP2, IP5).
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "common/api/log_api.h"
#include "test/check/producer_invariants.h"
#include "test/sim/message.h"

namespace sluice::sim {

// Of each request, sent by whoever, what it asks for is kept until it is
// answered or its stream's end is sent; of requests whose answer never comes
// the last kRequestsMax.
class ProduceAnswers {
 public:
  static constexpr size_t kRequestsMax = 10'000;

  // Every message as it is sent.
  void OnSent(const Message& message);
  // What was answered since the last call: records stored, by acks=all.
  std::vector<check::ProducerAnswer> Take() {
    return std::exchange(answers_, {});
  }
  // Identities, likewise.
  std::vector<check::IdentityAnswer> TakeIdentities() {
    return std::exchange(identities_, {});
  }

 private:
  // Lane, correlation id: lanes are numbered in their order.
  using RequestId = std::pair<uint64_t, int64_t>;

  void OnRequest(RequestId id, const api::ProduceRequest& request);
  void OnResults(RequestId id, const std::vector<api::ProduceResult>& results);

  std::map<RequestId, std::vector<check::ProducerAnswer>> asked_;
  std::vector<check::ProducerAnswer> answers_;
  std::vector<check::IdentityAnswer> identities_;
};

}  // namespace sluice::sim
