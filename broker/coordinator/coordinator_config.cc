#include "broker/coordinator/coordinator_config.h"

namespace sluice::coordinator {

CoordinatorConfig CoordinatorConfigFrom(const ConfigRegistry& configs) {
  constexpr int64_t kMicrosPerMilli = 1000;
  CoordinatorConfig out;
  out.group.initial_rebalance_delay_us =
      configs.NodeNumber(kGroupInitialRebalanceDelayMs) * kMicrosPerMilli;
  out.group.session_timeout_min_us =
      configs.NodeNumber(kGroupMinSessionTimeoutMs) * kMicrosPerMilli;
  out.group.session_timeout_max_us =
      configs.NodeNumber(kGroupMaxSessionTimeoutMs) * kMicrosPerMilli;
  out.group.members_max =
      static_cast<size_t>(configs.NodeNumber(kGroupMaxSize));
  const int64_t minutes = configs.NodeNumber(kOffsetsRetentionMinutes);
  if (minutes >= 0) {
    out.expiry = offsets::ExpiryRule::kByAge;
    out.retention_ms = minutes * 60'000;
  }
  out.view_checkpoint_bytes =
      configs.NodeNumber(kOffsetsViewCheckpointBytes);
  return out;
}

}  // namespace sluice::coordinator
