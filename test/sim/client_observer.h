// Who listens to what brokers answer to a client's questions.
#pragma once

#include <cstdint>

#include "common/api/log_api.h"

namespace sluice::sim {

// Told of answers as they come, before the client library is; `began_us`: when
// the question was asked, by true time.
class ClientObserver {
 public:
  virtual ~ClientObserver() = default;
  // The leader of that epoch acknowledged a batch; what the library makes of it
  // the application hears before the next one.
  virtual void OnProduced(const api::ProduceResult& result,
                          LeaderEpoch leader_epoch) = 0;
  virtual void OnFetched(const api::FetchResponse& response,
                         int64_t began_us) = 0;
  virtual void OnListed(const api::ListOffsetsRequest& request,
                        const api::ListOffsetsResponse& response,
                        int64_t began_us) = 0;
};

}  // namespace sluice::sim
