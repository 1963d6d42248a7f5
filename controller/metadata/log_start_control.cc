#include "controller/metadata/log_start_control.h"

#include <map>
#include <set>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "controller/metadata/partition_change.h"

namespace sluice {

using internal::v1::AdvanceLogStart;
using internal::v1::AlterPartitionsRequest;
using internal::v1::AlterPartitionsResponse;
using internal::v1::PartitionChangeRecord;

namespace {

// By topic id and number.
using Changes =
    std::map<std::pair<std::string, int32_t>, PartitionChangeRecord*>;

// One record a partition and batch: each raises the partition epoch by one.
Changes ChangesOf(internal::v1::MetadataBatch& batch) {
  Changes changes;
  for (auto& record : *batch.mutable_records()) {
    if (!record.has_partition_change()) continue;
    PartitionChangeRecord* change = record.mutable_partition_change();
    changes[{change->topic_id(), change->partition()}] = change;
  }
  return changes;
}

}  // namespace

absl::Status LogStartControl::Check(NodeId sender,
                                    const AdvanceLogStart& wanted,
                                    const TopicPartition& tp,
                                    const TopicImage* topic,
                                    const PartitionImage* partition) const {
  if (topic == nullptr) {
    return MakeError(ErrorCode::kUnknownTopicId, "no topic has the id ",
                     tp.topic_id);
  }
  if (partition == nullptr) {
    return MakeError(ErrorCode::kUnknownTopicOrPartition, "topic ", topic->name,
                     " has no partition ", tp.partition);
  }
  if (wanted.leader_epoch() > partition->leader_epoch.value()) {
    return MakeError(ErrorCode::kNotController, "partition ", tp,
                     ": leader epoch ", wanted.leader_epoch(), " against ",
                     partition->leader_epoch,
                     " here: this controller is behind; ask another");
  }
  // What an older leader took for committed need not have been.
  if (wanted.leader_epoch() < partition->leader_epoch.value() &&
      !MUTANT(kOlderLeaderTrims)) {
    return MakeError(ErrorCode::kFencedLeaderEpoch, "partition ", tp,
                     ": leader epoch ", wanted.leader_epoch(), " against ",
                     partition->leader_epoch, " here; wait for the metadata");
  }
  if (sender != partition->leader && !MUTANT(kOlderLeaderTrims)) {
    return MakeError(ErrorCode::kInvalidRequest, "partition ", tp, ": broker ",
                     sender, " does not lead it, ", partition->leader, " does");
  }
  if (wanted.log_start_offset() < 0) {
    return MakeError(ErrorCode::kInvalidRequest, "partition ", tp,
                     ": a log start of ", wanted.log_start_offset());
  }
  return absl::OkStatus();
}

void LogStartControl::Record(const TopicPartition& tp, const TopicImage& topic,
                             const PartitionImage& partition, Offset start,
                             internal::v1::MetadataBatch& batch) const {
  PartitionChange change(tp, partition, configs_.ElectionRulesOf(topic));
  change.AdvanceLogStart(start);
  auto record = change.Build([&](NodeId n) { return image_.IsActive(n); });
  if (record.has_value()) {
    *batch.add_records()->mutable_partition_change() = *std::move(record);
  }
}

absl::Status LogStartControl::Advance(
    const AlterPartitionsRequest& request,
    ControlResult<AlterPartitionsResponse>& result) const {
  Changes changed = ChangesOf(result.batch);
  std::set<TopicPartition> seen;
  for (const AdvanceLogStart& wanted : request.log_starts()) {
    const auto id = TopicId::FromBytes(wanted.topic_id());
    if (!id.has_value()) {
      return MakeError(ErrorCode::kInvalidRequest, "a topic id has ",
                       wanted.topic_id().size(), " bytes, not 16");
    }
    const TopicPartition tp{*id, PartitionIndex(wanted.partition())};
    if (!seen.insert(tp).second) {
      return MakeError(ErrorCode::kInvalidRequest, "partition ", tp,
                       " is twice in one call");
    }
    auto* answer = result.response.add_log_starts();
    answer->set_topic_id(wanted.topic_id());
    answer->set_partition(wanted.partition());
    const TopicImage* topic = image_.FindTopic(tp.topic_id);
    const PartitionImage* partition =
        topic == nullptr ? nullptr : topic->Find(tp.partition);
    const Offset registered =
        partition == nullptr ? kNoOffset : partition->log_start;
    answer->set_log_start_offset(registered.value());
    const absl::Status status =
        Check(NodeId(request.broker_id()), wanted, tp, topic, partition);
    if (!status.ok()) {
      *answer->mutable_error() = ToError(status);
      continue;
    }
    const Offset start(wanted.log_start_offset());
    if (start <= registered && !MUTANT(kRegisteredStartFalls)) continue;
    answer->set_log_start_offset(start.value());
    const auto found = changed.find({wanted.topic_id(), wanted.partition()});
    if (found != changed.end()) {
      found->second->set_log_start_offset(start.value());
    } else {
      Record(tp, *topic, *partition, start, result.batch);
    }
  }
  return absl::OkStatus();
}

}  // namespace sluice
