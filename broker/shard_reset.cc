// The way out of a FAILED replica: an operator has its files set aside.
#include <glog/logging.h>

#include <utility>

#include "broker/shard.h"
#include "common/base/error.h"
#include "controller/metadata/record_codec.h"

namespace sluice {

absl::Status Shard::CheckReset(const ReplicaReset& order) const {
  const TopicPartition& tp = order.tp;
  const NodeId self = context_.deps.self;
  const PartitionImage* state =
      context_.image == nullptr ? nullptr : context_.image->FindPartition(tp);
  if (state == nullptr || !Contains(state->replicas, self)) {
    return MakeError(ErrorCode::kNotAReplica, "broker ", self,
                     " has no replica of ", tp);
  }
  const Partition* partition = Find(tp);
  const auto unusable = unusable_.find(tp);
  if (unusable == unusable_.end() &&
      (partition == nullptr || !partition->failed())) {
    return MakeError(ErrorCode::kInvalidRequest, "the replica of ", tp,
                     " on broker ", self,
                     " has not failed: there is nothing to reset");
  }
  if (unusable != unusable_.end() && unusable->second.moving) {
    return MakeError(ErrorCode::kBusy, "the files of ", tp,
                     " are being set aside; try again later");
  }
  if (Contains(state->isr, self) || Contains(state->elr, self) ||
      Contains(state->unverified_elr, self)) {
    return MakeError(ErrorCode::kIneligibleReplica, "the replica of ", tp,
                     " on broker ", self, " still counts, ISR ",
                     NodesText(state->isr), ", ELR ", NodesText(state->elr),
                     ": the controllers have not heard of its failure yet; "
                     "try again later");
  }
  if (state->leader == kNoNode && !order.without_leader) {
    return MakeError(ErrorCode::kLeaderNotAvailable, "nobody leads ", tp,
                     ": there is no replica to fill this one from; start the "
                     "brokers of the others, or let it begin empty (sluice "
                     "partition reset-replica --without-leader)");
  }
  return absl::OkStatus();
}

void Shard::ResetReplica(const ReplicaReset& order, ResetDone done) {
  if (closed_) {
    return done(MakeError(ErrorCode::kShuttingDown, "broker ",
                          context_.deps.self, " is stopping"));
  }
  if (absl::Status may = CheckReset(order); !may.ok()) {
    return done(std::move(may));
  }
  const TopicPartition tp = order.tp;
  const Partition* partition = Find(tp);
  const auto found = unusable_.find(tp);
  const std::string why = found != unusable_.end() ? found->second.why
                                                   : partition->failure();
  if (order.validate_only) return done(why);
  LOG(WARNING) << "broker " << context_.deps.self << " resets its replica of "
               << tp.ToString() << " by order; it had failed: " << why;
  if (found == unusable_.end()) {
    unusable_[tp] = {why, partition->directory()};
  }
  SetReplicaAside(tp, why + "; an operator had it reset",
                  [this, tp, why, done = std::move(done)](bool moved) mutable {
                    if (moved) return done(why);
                    unusable_.at(tp).moving = false;
                    done(MakeError(ErrorCode::kStorageError,
                                   "its files could not be moved; the log of "
                                   "the broker says why"));
                  });
}

}  // namespace sluice
