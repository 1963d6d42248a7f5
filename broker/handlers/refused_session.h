// A stream that was refused.
#pragma once

#include "broker/broker_api.h"

namespace sluice {

// Takes whatever still comes.
template <class Request>
class RefusedSession final : public StreamSession<Request> {
 public:
  void OnRequest(Request) override {}
  void OnClosed() override {}
};

}  // namespace sluice
