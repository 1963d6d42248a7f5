// A call that somebody else than its handler may end.
#pragma once

#include "absl/status/status.h"

namespace sluice::rpc {

class Endable {
 public:
  virtual ~Endable() = default;
  // Fails the call and tells its handler; harmless once it is answered. Any
  // thread; never blocks.
  virtual void EndCall(const absl::Status& why) = 0;
};

}  // namespace sluice::rpc
