#include "controller/metadata/record_codec.h"

#include "common/base/str_cat.h"

namespace sluice {

std::optional<CandidateLog> FromMessage(const v1::CandidateLog& log) {
  if (log.last_epoch() < -1 || log.log_end_offset() < 0 ||
      log.high_watermark() < 0) {
    return std::nullopt;
  }
  return CandidateLog{NodeId(log.broker_id()), LeaderEpoch(log.last_epoch()),
                      Offset(log.log_end_offset()),
                      Offset(log.high_watermark()), log.failed()};
}

v1::CandidateLog ToMessage(const CandidateLog& log) {
  v1::CandidateLog out;
  out.set_broker_id(log.node.value());
  out.set_last_epoch(log.last_epoch.value());
  out.set_log_end_offset(log.end.value());
  out.set_high_watermark(log.high_watermark.value());
  out.set_failed(log.failed);
  return out;
}

UncleanLoss LossOf(const v1::UncleanLoss& loss) {
  return {NodeId(loss.leader_id()), Offset(loss.first_offset()),
          Offset(loss.known_end_offset())};
}

v1::UncleanLoss ToMessage(const UncleanLoss& loss) {
  v1::UncleanLoss out;
  out.set_leader_id(loss.leader.value());
  out.set_first_offset(loss.first.value());
  out.set_known_end_offset(loss.known_end.value());
  return out;
}

internal::v1::PartitionRecord ToRecord(const TopicPartition& tp,
                                       const PartitionImage& partition) {
  internal::v1::PartitionRecord record;
  record.set_topic_id(tp.topic_id.ToBytes());
  record.set_partition(tp.partition.value());
  SetNodes(partition.replicas, record.mutable_replicas());
  for (const DirectoryId& id : partition.directories) {
    record.add_directories(BytesOf(id));
  }
  SetNodes(partition.isr, record.mutable_isr());
  SetNodes(partition.elr, record.mutable_elr());
  SetNodes(partition.unverified_elr, record.mutable_unverified_elr());
  SetNodes(partition.last_full_isr, record.mutable_last_full_isr());
  record.set_leader(partition.leader.value());
  record.set_leader_epoch(partition.leader_epoch.value());
  record.set_partition_epoch(partition.partition_epoch.value());
  record.set_last_unclean_leader_epoch(
      partition.last_unclean_leader_epoch.value());
  SetNodes(partition.adding_replicas, record.mutable_adding_replicas());
  SetNodes(partition.removing_replicas, record.mutable_removing_replicas());
  record.set_durability_settling(partition.durability_settling);
  for (const CandidateLog& log : partition.candidates) {
    *record.add_candidates() = ToMessage(log);
  }
  SetNodes(partition.failed_replicas, record.mutable_failed_replicas());
  record.set_unclean_ordered(partition.unclean_ordered);
  if (partition.unclean_loss != UncleanLoss()) {
    *record.mutable_unclean_loss() = ToMessage(partition.unclean_loss);
  }
  record.set_log_start_offset(partition.log_start.value());
  return record;
}

std::string NodesText(const std::vector<NodeId>& nodes) {
  std::string text = "[";
  for (size_t i = 0; i < nodes.size(); ++i) {
    text += StrCat(i == 0 ? "" : ",", nodes[i]);
  }
  return text + "]";
}

}  // namespace sluice
