// Reading from a follower nearby, and when to come back to the leader (KIP-392).
#include <algorithm>
#include <utility>

#include "client/consumer.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {

Consumer::Target Consumer::TargetOf(Partition& partition,
                                    const PartitionLeader& leader,
                                    int64_t now_us, Asked& asked) {
  Target target;
  target.near =
      !options_.rack.empty() && now_us >= partition.leader_until_us;
  if (partition.replica_until_us <= now_us) partition.replica.reset();
  asked.of_follower = target.near && partition.replica.has_value();
  target.endpoint =
      asked.of_follower ? *partition.replica : leader.endpoint;
  return target;
}

void Consumer::ReadFrom(Partition& partition, const api::Endpoint& replica) {
  partition.backoff.Reset();
  partition.unknown_since_us = 0;
  metadata_->Trust(partition.tp);
  if (replica.port == 0) {  // nobody can go there
    partition.leader_until_us = deps_.clock->MonoMicros() + kLeaderAgainUs;
    return;
  }
  partition.replica = replica;
  partition.replica_until_us =
      deps_.clock->MonoMicros() + client_.metadata_age_max_ms * 1000;
  partition.behind = 0;
}

void Consumer::OnFollowerError(Partition& partition,
                               const absl::Status& error) {
  const int64_t now_us = deps_.clock->MonoMicros();
  if (CodeOf(error) == ErrorCode::kOffsetNotAvailable &&
      ++partition.behind < kBehindMax) {
    partition.not_before_us = now_us + partition.backoff.NextDelayUs(random_);
    return;
  }
  if (MUTANT(kFollowerErrorsBelieved) &&
      CodeOf(error) == ErrorCode::kOffsetOutOfRange) {
    return FailPartition(partition, error);
  }
  ++counters_.follower_returns;
  partition.replica.reset();
  partition.behind = 0;
  partition.leader_until_us = now_us + kLeaderAgainUs;
  partition.backoff.Reset();
}

}  // namespace sluice
