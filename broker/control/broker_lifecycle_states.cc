#include "broker/control/broker_lifecycle.h"

namespace sluice {

std::string_view BrokerLifecycle::NameOf(State state) {
  switch (state) {
    case State::kFindingCluster:
      return "finding the cluster";
    case State::kRegistering:
      return "registering";
    case State::kRecovering:
      return "recovering";
    case State::kUnfencing:
      return "unfencing";
    case State::kRunning:
      return "running";
    case State::kHandingOver:
      return "handing over";
    case State::kClosing:
      return "closing";
    case State::kStopped:
      return "stopped";
  }
  return "unknown";
}

}  // namespace sluice
