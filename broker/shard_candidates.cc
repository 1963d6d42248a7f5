// What replicas here tell of their logs while nobody leads: elections of the
// best log (design/replication.md 4).
#include "broker/shard.h"

namespace sluice {

void Shard::NoteElection(const TopicPartition& tp, const TopicImage& topic,
                         const PartitionImage& state) {
  if (!state.AsksForLogs(configs_->SettingsOf(topic).unclean_elections)) {
    candidates_.erase(tp);
    return;
  }
  // At once when it is asked; what got lost, by the tick.
  if (candidates_.insert(tp).second) TellLog(tp);
}

std::optional<CandidateLog> Shard::LogNow(const TopicPartition& tp) const {
  CandidateLog unusable;
  unusable.node = context_.deps.self;
  unusable.failed = true;
  if (unusable_.contains(tp) || host_again_.contains(tp)) return unusable;
  const Partition* partition = Find(tp);
  if (partition == nullptr) return std::nullopt;
  return partition->LogNow();
}

void Shard::TellLog(const TopicPartition& tp) {
  const PartitionImage* state = context_.image->FindPartition(tp);
  const std::optional<CandidateLog> now = LogNow(tp);
  if (state == nullptr || !now.has_value() ||
      context_.deps.failures == nullptr) {
    return;
  }
  const CandidateLog* shown = state->CandidateOf(context_.deps.self);
  if (shown != nullptr && *shown == *now) return;
  internal::v1::ReplicaVerdict verdict;
  verdict.set_topic_id(tp.topic_id.ToBytes());
  verdict.set_partition(tp.partition.value());
  verdict.set_candidate_epoch(state->leader_epoch.value());
  verdict.set_last_epoch(now->last_epoch.value());
  verdict.set_log_end_offset(now->end.value());
  verdict.set_high_watermark(now->high_watermark.value());
  verdict.set_failed(now->failed);
  context_.deps.failures->TellLog(std::move(verdict));
}

void Shard::TellLogs(int64_t now_us) {
  if (candidates_.empty() || now_us < tell_again_us_) return;
  tell_again_us_ = now_us + kTellAgainUs;
  for (const TopicPartition& tp : candidates_) TellLog(tp);
}

}  // namespace sluice
