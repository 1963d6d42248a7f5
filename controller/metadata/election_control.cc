#include "controller/metadata/election_control.h"

#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"
#include "controller/metadata/partition_change.h"
#include "controller/metadata/record_codec.h"
#include "controller/metadata/topic_control.h"

namespace sluice {
namespace {

using v1::ElectLeadersRequest;

absl::Status CheckRequest(const ElectLeadersRequest& request) {
  if (request.kind() != ElectLeadersRequest::KIND_PREFERRED &&
      request.kind() != ElectLeadersRequest::KIND_UNCLEAN) {
    return MakeError(ErrorCode::kInvalidRequest, "an election of kind ",
                     static_cast<int>(request.kind()),
                     "; it is KIND_PREFERRED or KIND_UNCLEAN");
  }
  if (request.kind() == ElectLeadersRequest::KIND_UNCLEAN &&
      request.topics().empty()) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "an unclean election has to name its topics: it may lose "
                     "records");
  }
  int64_t partitions = 0;
  for (const auto& topic : request.topics()) {
    partitions += topic.partitions_size();
  }
  if (request.topics_size() > kTopicsPerCallMax ||
      partitions > kPartitionsPerCallMax || request.timeout_ms() < 0) {
    return MakeError(ErrorCode::kInvalidRequest, request.topics_size(),
                     " topics, ", partitions,
                     " partitions in one call with a timeout of ",
                     request.timeout_ms(), " ms; at most ", kTopicsPerCallMax,
                     " and ", kPartitionsPerCallMax,
                     ", and no negative timeout are allowed");
  }
  return absl::OkStatus();
}

}  // namespace

ControlResultOr<v1::ElectLeadersResponse> ElectionControl::Elect(
    const ElectLeadersRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  ControlResult<v1::ElectLeadersResponse> result;
  if (request.topics().empty()) PreferEverywhere(result);
  for (const auto& named : request.topics()) ElectIn(request, named, result);
  if (request.validate_only()) result.batch.Clear();
  return result;
}

void ElectionControl::ElectIn(const ElectLeadersRequest& request,
                              const v1::TopicPartitions& named,
                              ControlResult<v1::ElectLeadersResponse>& out) {
  const auto topic = FindTopicOf(image_, named.topic());
  if (!topic.ok()) {
    Result* answer = out.response.add_results();
    answer->set_topic(named.topic().name().substr(0, kTopicNameBytesMax));
    answer->set_topic_id(named.topic().id().substr(0, 16));
    answer->set_partition(-1);
    *answer->mutable_error() = ToError(topic.status());
    return;
  }
  const auto elect = [&](PartitionIndex index) {
    ElectOne(request.kind(), **topic, index, out.response.add_results(),
             out.batch);
  };
  for (const int32_t index : named.partitions()) elect(PartitionIndex(index));
  if (!named.partitions().empty()) return;
  for (const auto& [index, partition] : (*topic)->partitions) elect(index);
}

void ElectionControl::PreferEverywhere(
    ControlResult<v1::ElectLeadersResponse>& out) {
  for (const auto& [id, topic] : image_.topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      if (partition->leader == partition->replicas.front()) continue;
      if (out.response.results_size() >= kPartitionsPerCallMax) return;
      ElectOne(ElectLeadersRequest::KIND_PREFERRED, *topic, index,
               out.response.add_results(), out.batch);
    }
  }
}

absl::Status ElectionControl::CheckOne(ElectLeadersRequest::Kind kind,
                                       const TopicImage& topic,
                                       PartitionIndex index,
                                       const PartitionImage& partition) const {
  const std::string name = StrCat(topic.name, "-", index);
  if (kind == ElectLeadersRequest::KIND_PREFERRED) {
    const NodeId first = partition.replicas.front();
    if (partition.leader == first) {
      return MakeError(ErrorCode::kElectionNotNeeded, name,
                       " is led by its preferred replica, broker ", first);
    }
    if (image_.IsDemoted(first)) {
      return MakeError(ErrorCode::kPreferredLeaderNotAvailable, name,
                       ": its preferred replica, broker ", first,
                       ", is demoted for its slow disk; look at that disk, "
                       "the demotion ends once it is fast again");
    }
    if (Contains(partition.isr, first)) return absl::OkStatus();
    return MakeError(ErrorCode::kPreferredLeaderNotAvailable, name,
                     ": its preferred replica, broker ", first, ", is ",
                     image_.IsActive(first) ? "not in sync yet" : "not alive",
                     ", in sync are ", NodesText(partition.isr),
                     "; wait until it is in sync");
  }
  if (partition.leader != kNoNode) {
    return MakeError(ErrorCode::kElectionNotNeeded, name,
                     " has a leader, broker ", partition.leader);
  }
  for (const NodeId node : partition.replicas) {
    const CandidateLog* log = partition.CandidateOf(node);
    if (image_.IsActive(node) && (log == nullptr || !log->failed)) {
      return absl::OkStatus();
    }
  }
  return MakeError(ErrorCode::kEligibleLeadersNotAvailable, name,
                   ": of its replicas ", NodesText(partition.replicas),
                   " none is alive with a log that can be used; start one of "
                   "these brokers");
}

void ElectionControl::ElectOne(ElectLeadersRequest::Kind kind,
                               const TopicImage& topic, PartitionIndex index,
                               Result* answer,
                               internal::v1::MetadataBatch& out) {
  const TopicPartition tp{topic.id, index};
  answer->set_topic(topic.name);
  answer->set_topic_id(topic.id.ToBytes());
  answer->set_partition(index.value());
  answer->set_leader_id(kNoNode.value());
  const PartitionImage* partition = topic.Find(index);
  absl::Status status;
  if (partition == nullptr) {
    status = MakeError(ErrorCode::kUnknownTopicOrPartition, "topic ",
                       topic.name, " has no partition ", index);
  } else if (!seen_.insert(tp).second) {
    status = MakeError(ErrorCode::kInvalidRequest, topic.name, "-", index,
                       " is in the request twice");
  } else {
    answer->set_leader_id(partition->leader.value());
    answer->set_leader_epoch(partition->leader_epoch.value());
    status = CheckOne(kind, topic, index, *partition);
  }
  if (!status.ok()) {
    *answer->mutable_error() = ToError(status);
    // Who ordered it asks again until somebody leads: what it cost is known
    // then, not when it was ordered.
    if (partition != nullptr && kind == ElectLeadersRequest::KIND_UNCLEAN &&
        partition->leader != kNoNode &&
        partition->leader_epoch == partition->last_unclean_leader_epoch) {
      *answer->mutable_loss() = ToMessage(partition->unclean_loss);
    }
    return;
  }
  PartitionChange change(tp, *partition, configs_.ElectionRulesOf(topic));
  change.ShunDemoted(image_);
  if (kind == ElectLeadersRequest::KIND_PREFERRED) {
    change.PreferFirst();
  } else {
    change.OrderUnclean();
  }
  auto record = change.Build([&](NodeId n) { return image_.IsActive(n); });
  if (record.has_value()) {
    if (record->has_leader()) answer->set_leader_id(record->leader());
    if (record->has_leader_epoch()) {
      answer->set_leader_epoch(record->leader_epoch());
    }
    if (record->has_unclean_loss()) {
      *answer->mutable_loss() = record->unclean_loss();
    }
    *out.add_records()->mutable_partition_change() = *std::move(record);
  }
  if (answer->leader_id() != kNoNode.value()) return;
  for (const NodeId node : partition->replicas) {
    if (image_.IsActive(node) && partition->CandidateOf(node) == nullptr) {
      answer->add_awaited(node.value());
    }
  }
}

}  // namespace sluice
