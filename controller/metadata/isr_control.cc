#include "controller/metadata/isr_control.h"

#include <algorithm>
#include <set>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"
#include "controller/metadata/broker_control.h"
#include "controller/metadata/internal_topics.h"
#include "controller/metadata/log_start_control.h"
#include "controller/metadata/partition_change.h"
#include "controller/metadata/record_codec.h"

namespace sluice {
namespace {

using internal::v1::AlterPartition;
using internal::v1::AlterPartitionResult;
using internal::v1::PartitionChangeRecord;

void Describe(const PartitionImage& partition, AlterPartitionResult* out) {
  out->set_leader_id(partition.leader.value());
  out->set_leader_epoch(partition.leader_epoch.value());
  out->set_partition_epoch(partition.partition_epoch.value());
  SetNodes(partition.isr, out->mutable_isr());
}

void Overlay(const PartitionChangeRecord& record, AlterPartitionResult* out) {
  out->set_partition_epoch(record.partition_epoch());
  if (record.has_leader()) out->set_leader_id(record.leader());
  if (record.has_leader_epoch()) out->set_leader_epoch(record.leader_epoch());
  if (record.has_isr()) *out->mutable_isr() = record.isr().ids();
}

}  // namespace

absl::Status IsrControl::CheckDemoted(const AlterPartition& change,
                                      const TopicPartition& tp,
                                      const TopicImage& topic,
                                      const PartitionImage& partition) const {
  int others = 0;
  NodeId joining = kNoNode;
  for (const auto& member : change.new_isr()) {
    const NodeId id(member.broker_id());
    if (!image_.IsDemoted(id) || id == partition.leader) {
      ++others;
    } else if (!Contains(partition.isr, id)) {
      joining = id;
    }
  }
  if (joining == kNoNode || others < configs_.MinIsrOf(topic) ||
      MUTANT(kDemotedJoins)) {
    return absl::OkStatus();
  }
  return MakeError(ErrorCode::kIneligibleReplica, "partition ", tp, ": broker ",
                   joining, " is demoted for its slow disk and the ISR is "
                   "large enough without it; propose again without it");
}

absl::Status IsrControl::CheckIsr(NodeId sender, const AlterPartition& change,
                                  const TopicPartition& tp,
                                  const PartitionImage& partition) const {
  std::set<NodeId> members;
  for (const auto& member : change.new_isr()) {
    const NodeId id(member.broker_id());
    if (!members.insert(id).second) {
      return MakeError(ErrorCode::kInvalidRequest, "partition ", tp,
                       ": broker ", id, " is twice in the new ISR");
    }
    if (!Contains(partition.replicas, id)) {
      return MakeError(ErrorCode::kInvalidRequest, "partition ", tp,
                       ": broker ", id,
                       " of the new ISR is none of its "
                       "replicas ",
                       NodesText(partition.replicas));
    }
  }
  if (!members.count(sender)) {
    return MakeError(ErrorCode::kInvalidRequest, "partition ", tp,
                     ": the new ISR lacks its leader ", sender);
  }
  for (const auto& member : change.new_isr()) {
    const NodeId id(member.broker_id());
    const BrokerImage* broker = image_.FindBroker(id);
    const char* why = nullptr;
    if (broker == nullptr) {
      why = "is not registered";
    } else if (broker->fenced) {
      why = "is fenced";
    } else if (broker->stopping) {
      why = "is stopping";
    } else if (broker->epoch.value() != member.broker_epoch() &&
               !MUTANT(kAnyBrokerEpochJoins)) {
      why = "is registered anew";
    }
    if (why != nullptr) {
      return MakeError(ErrorCode::kIneligibleReplica, "partition ", tp,
                       ": broker ", id, " of epoch ", member.broker_epoch(),
                       " ", why, "; propose again without it");
    }
  }
  return absl::OkStatus();
}

absl::Status IsrControl::Check(NodeId sender, const AlterPartition& change,
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
  const auto epochs = [&] {
    return StrCat("leader epoch ", change.leader_epoch(), ", partition epoch ",
                  change.partition_epoch(), " against ",
                  partition->leader_epoch, " and ", partition->partition_epoch,
                  " here");
  };
  if (change.leader_epoch() > partition->leader_epoch.value() ||
      change.partition_epoch() > partition->partition_epoch.value()) {
    return MakeError(ErrorCode::kNotController, "partition ", tp, ": ",
                     epochs(), ": this controller is behind; ask another");
  }
  if (change.leader_epoch() < partition->leader_epoch.value()) {
    return MakeError(ErrorCode::kFencedLeaderEpoch, "partition ", tp, ": ",
                     epochs(), "; wait for the metadata");
  }
  if (sender != partition->leader) {
    return MakeError(ErrorCode::kInvalidRequest, "partition ", tp, ": broker ",
                     sender, " does not lead it, ", partition->leader, " does");
  }
  if (change.partition_epoch() < partition->partition_epoch.value() &&
      !MUTANT(kPartitionEpochUnchecked)) {
    return MakeError(ErrorCode::kInvalidUpdateVersion, "partition ", tp, ": ",
                     epochs(), "; wait for the metadata");
  }
  RETURN_IF_ERROR(CheckIsr(sender, change, tp, *partition));
  RETURN_IF_ERROR(CheckDemoted(change, tp, *topic, *partition));
  if (!change.durability_settled()) return absl::OkStatus();
  return CheckSettled(change, tp, *topic, *partition);
}

absl::Status IsrControl::CheckSettled(const AlterPartition& change,
                                      const TopicPartition& tp,
                                      const TopicImage& topic,
                                      const PartitionImage& partition) const {
  const int members = change.new_isr_size();
  const bool same = static_cast<size_t>(members) == partition.isr.size() &&
                    std::all_of(change.new_isr().begin(),
                                change.new_isr().end(), [&](const auto& m) {
                                  return Contains(partition.isr,
                                                  NodeId(m.broker_id()));
                                });
  if (!partition.durability_settling || !same) {
    return MakeError(ErrorCode::kInvalidRequest, "partition ", tp,
                     partition.durability_settling
                         ? ": durability settles with the ISR as it is"
                         : ": no change of durability is settling");
  }
  const int min_isr = configs_.MinIsrOf(topic);
  if (members < min_isr) {
    return MakeError(ErrorCode::kIneligibleReplica, "partition ", tp, ": ",
                     members, " in-sync replicas, min.insync.replicas is ",
                     min_isr, "; durability settles with enough of them");
  }
  return absl::OkStatus();
}

ControlResultOr<internal::v1::AlterPartitionsResponse> IsrControl::Alter(
    const internal::v1::AlterPartitionsRequest& request) {
  const NodeId sender(request.broker_id());
  RETURN_IF_ERROR(
      CheckBrokerEpoch(image_, sender, BrokerEpoch(request.broker_epoch())));
  const int asked = request.partitions_size() + request.log_starts_size();
  if (asked > kPartitionsPerCallMax) {
    return MakeError(ErrorCode::kInvalidRequest, asked,
                     " partitions in one call; at most ",
                     kPartitionsPerCallMax);
  }
  std::set<TopicPartition> seen;
  ControlResult<internal::v1::AlterPartitionsResponse> result;
  for (const AlterPartition& wanted : request.partitions()) {
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
    auto* answer = result.response.add_results();
    answer->set_topic_id(wanted.topic_id());
    answer->set_partition(wanted.partition());
    answer->set_leader_id(kNoNode.value());
    const TopicImage* topic = image_.FindTopic(tp.topic_id);
    const PartitionImage* partition =
        topic == nullptr ? nullptr : topic->Find(tp.partition);
    if (partition != nullptr) Describe(*partition, answer);
    const absl::Status status = Check(sender, wanted, tp, topic, partition);
    if (!status.ok()) {
      *answer->mutable_error() = ToError(status);
      continue;
    }
    PartitionChange change(tp, *partition, configs_.ElectionRulesOf(*topic));
    change.ShunDemoted(image_);
    // In the order of the replicas, so that equal ISRs are equal lists.
    std::vector<NodeId> isr;
    for (const NodeId node : partition->replicas) {
      for (const auto& member : wanted.new_isr()) {
        if (member.broker_id() == node.value()) isr.push_back(node);
      }
    }
    change.SetIsr(std::move(isr));
    if (wanted.durability_settled()) change.SetDurabilitySettling(false);
    if (auto record =
            change.Build([&](NodeId n) { return image_.IsActive(n); })) {
      Overlay(*record, answer);
      *result.batch.add_records()->mutable_partition_change() =
          *std::move(record);
    }
  }
  if (!result.batch.records().empty()) {
    RaiseInternalMinIsr(image_, configs_, result.batch);
  }
  RETURN_IF_ERROR(LogStartControl(image_, configs_).Advance(request, result));
  return result;
}

}  // namespace sluice
