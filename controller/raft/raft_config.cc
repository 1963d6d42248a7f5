#include "controller/raft/raft_config.h"

#include <set>

#include "common/base/error.h"

namespace sluice::raft {
namespace {

absl::Status Invalid(std::string_view what) {
  return MakeError(ErrorCode::kInvalidConfig, "raft configuration: ", what);
}

}  // namespace

absl::Status RaftConfig::Validate() const {
  if (self.node.value() <= 0) return Invalid("node id must be positive");
  if (!self.directory.is_set()) return Invalid("directory id is unset");
  if (!cluster_id.is_set()) return Invalid("cluster id is unset");
  if (voters.empty()) return Invalid("no voters");
  std::set<NodeId> ids;
  for (const VoterId& voter : voters) {
    if (voter.node.value() <= 0 || !voter.directory.is_set()) {
      return Invalid("a voter without id or directory");
    }
    if (!ids.insert(voter.node).second) {
      return Invalid("two voters with one node id");
    }
  }
  if (heartbeat_ticks < 1) return Invalid("heartbeat_ticks < 1");
  if (election_timeout_min_ticks < 2 * heartbeat_ticks) {
    return Invalid("election_timeout_min_ticks < 2 * heartbeat_ticks");
  }
  if (election_timeout_max_ticks <= election_timeout_min_ticks) {
    return Invalid("election_timeout_max_ticks <= ..._min_ticks");
  }
  if (broken_link_min_ticks < 1 ||
      broken_link_max_ticks < broken_link_min_ticks) {
    return Invalid("broken_link_min_ticks, broken_link_max_ticks");
  }
  if (entry_bytes_max == 0 || append_bytes_max == 0 ||
      append_entries_max < 1 || inflight_appends_max < 1 ||
      uncommitted_bytes_max < entry_bytes_max || uncommitted_entries_max < 1 ||
      apply_bytes_max == 0 || pending_reads_max < 1 || observers_max < 0) {
    return Invalid("a limit is zero or uncommitted_bytes_max is below "
                   "entry_bytes_max");
  }
  return absl::OkStatus();
}

}  // namespace sluice::raft
