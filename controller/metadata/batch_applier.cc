#include "controller/metadata/batch_applier.h"

#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <set>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"
#include "controller/metadata/record_codec.h"

namespace sluice {
namespace {

using internal::v1::ConfigRecord;
using internal::v1::MetadataRecord;

template <class... Parts>
absl::Status Misfit(const Parts&... parts) {
  return MakeError(ErrorCode::kInvalidRecord, parts...,
                   "; the metadata log and its replay disagree: this node must "
                   "not go on");
}

template <class... Parts>
absl::Status Unknown(const Parts&... parts) {
  return MakeError(ErrorCode::kUnsupportedFormat, parts...,
                   "; a newer version wrote the metadata log: upgrade this "
                   "node");
}

// A field that this program does not know, in the record or in a message inside
// it, would be dropped in silence and the states would differ from there on.
bool HasUnknownFields(const google::protobuf::Message& message) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  if (!reflection.GetUnknownFields(message).empty()) return true;
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const google::protobuf::FieldDescriptor* field : fields) {
    if (field->cpp_type() !=
        google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      continue;
    }
    if (!field->is_repeated()) {
      if (HasUnknownFields(reflection.GetMessage(message, field))) return true;
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      if (HasUnknownFields(reflection.GetRepeatedMessage(message, field, i))) {
        return true;
      }
    }
  }
  return false;
}

absl::StatusOr<TopicId> TopicIdOf(const std::string& bytes) {
  const auto id = TopicId::FromBytes(bytes);
  if (!id.has_value() || !id->is_set()) {
    return Misfit("a topic id has ", bytes.size(), " bytes, not 16");
  }
  return *id;
}

bool AllDistinct(const std::vector<NodeId>& nodes) {
  return std::set<NodeId>(nodes.begin(), nodes.end()).size() == nodes.size();
}

bool Within(const std::vector<NodeId>& some, const std::vector<NodeId>& all) {
  for (const NodeId node : some) {
    if (!Contains(all, node)) return false;
  }
  return true;
}

template <class Logs>
absl::Status ReadCandidates(const TopicPartition& tp, const Logs& logs,
                            std::vector<CandidateLog>* out) {
  out->clear();
  for (const v1::CandidateLog& log : logs) {
    const auto candidate = FromMessage(log);
    if (!candidate.has_value()) {
      return Misfit("partition ", tp, ": the log of replica ", log.broker_id(),
                    " ends at ", log.log_end_offset(), " in epoch ",
                    log.last_epoch());
    }
    out->push_back(*candidate);
  }
  return absl::OkStatus();
}

// RP17, as far as one record can tell.
absl::Status CheckPartition(const TopicPartition& tp,
                            const PartitionImage& partition) {
  const bool sane =
      !partition.replicas.empty() && AllDistinct(partition.replicas) &&
      AllDistinct(partition.isr) && Within(partition.isr, partition.replicas) &&
      Within(partition.elr, partition.replicas) &&
      Within(partition.unverified_elr, partition.replicas) &&
      (partition.leader == kNoNode ||
       (Contains(partition.isr, partition.leader) &&
        partition.candidates.empty() && !partition.unclean_ordered)) &&
      Within(partition.failed_replicas, partition.replicas) &&
      partition.directories.size() == partition.replicas.size() &&
      partition.log_start >= Offset(0);
  if (sane) return absl::OkStatus();
  return Misfit("partition ", tp, ": leader ", partition.leader, ", replicas ",
                NodesText(partition.replicas), ", ISR ",
                NodesText(partition.isr), ", ELR ", NodesText(partition.elr),
                ", ", partition.directories.size(), " directories, log start ",
                partition.log_start);
}

}  // namespace

BatchApplier::BatchApplier(const MetadataImage& before, LogIndex offset,
                           Term term)
    : image_(std::make_shared<MetadataImage>(before)) {
  image_->offset_ = offset;
  image_->term_ = term;
}

AppliedBatch BatchApplier::Finish() {
  for (auto& [id, topic] : edited_) {
    image_->topics_.Set(id, std::move(topic));
  }
  edited_.clear();
  return AppliedBatch{std::move(image_), std::move(changes_)};
}

absl::Status BatchApplier::Apply(const MetadataRecord& record) {
  if (MUTANT(kUnknownRecordSkipped) &&
      record.record_case() == MetadataRecord::RECORD_NOT_SET) {
    return absl::OkStatus();
  }
  if (HasUnknownFields(record)) {
    return Unknown("metadata offset ", image_->offset_,
                   " holds a record or a field of one that this program does "
                   "not know");
  }
  switch (record.record_case()) {
    case MetadataRecord::kFeatureLevel:
      return On(record.feature_level());
    case MetadataRecord::kRegisterBroker:
      return On(record.register_broker());
    case MetadataRecord::kBrokerChange:
      return On(record.broker_change());
    case MetadataRecord::kTopic:
      return On(record.topic());
    case MetadataRecord::kRemoveTopic:
      return On(record.remove_topic());
    case MetadataRecord::kPartition:
      return On(record.partition());
    case MetadataRecord::kPartitionChange:
      return On(record.partition_change());
    case MetadataRecord::kConfig:
      return On(record.config());
    case MetadataRecord::kProducerIds:
      return On(record.producer_ids());
    case MetadataRecord::kNoOp:
      return absl::OkStatus();
    case MetadataRecord::RECORD_NOT_SET:
      break;
  }
  return Unknown("metadata offset ", image_->offset_,
                 " holds a record without a type");
}

absl::Status BatchApplier::On(const internal::v1::FeatureLevelRecord& record) {
  if (record.level() < kFeatureLevelMin || record.level() > kFeatureLevelMax) {
    return Unknown("feature level ", record.level(), " is not in ",
                   kFeatureLevelMin, "..", kFeatureLevelMax);
  }
  if (record.level() < image_->feature_level_) {
    return Misfit("feature level falls from ", image_->feature_level_, " to ",
                  record.level());
  }
  image_->feature_level_ = record.level();
  return absl::OkStatus();
}

absl::Status BatchApplier::On(
    const internal::v1::RegisterBrokerRecord& record) {
  auto broker = std::make_shared<BrokerImage>();
  broker->id = NodeId(record.broker_id());
  broker->epoch = BrokerEpoch(image_->offset_.value());
  const auto incarnation = IncarnationId::FromBytes(record.incarnation_id());
  const auto directories = DirectoriesOf(record.directories());
  if (record.broker_id() <= 0 || !incarnation.has_value() ||
      !directories.has_value()) {
    return Misfit("registration of broker ", record.broker_id(),
                  " has a bad id");
  }
  const BrokerImage* old = image_->FindBroker(broker->id);
  if (old != nullptr && !old->fenced) {
    return Misfit("broker ", broker->id, " registers anew while epoch ",
                  old->epoch, " is not fenced (RP19)");
  }
  broker->incarnation = *incarnation;
  broker->listeners.assign(record.listeners().begin(),
                           record.listeners().end());
  broker->rack = record.rack();
  broker->directories = {directories->begin(), directories->end()};
  broker->feature_min = record.feature_min();
  broker->feature_max = record.feature_max();
  broker->version = record.version();
  broker->was_clean = record.was_clean();
  broker->demoted =
      old != nullptr && old->demoted && !MUTANT(kDemotionForgotten);
  changes_.brokers_changed.insert(broker->id);
  image_->brokers_[broker->id] = std::move(broker);
  return absl::OkStatus();
}

absl::Status BatchApplier::On(const internal::v1::BrokerChangeRecord& record) {
  const NodeId id(record.broker_id());
  const BrokerImage* old = image_->FindBroker(id);
  if (old == nullptr || old->epoch.value() != record.broker_epoch()) {
    return Misfit("change of broker ", id, " epoch ", record.broker_epoch(),
                  ", registered is ",
                  old == nullptr ? kNoBrokerEpoch : old->epoch);
  }
  auto broker = std::make_shared<BrokerImage>(*old);
  if (record.has_fenced()) broker->fenced = record.fenced();
  if (record.has_stopping()) broker->stopping = record.stopping();
  if (record.has_demoted()) broker->demoted = record.demoted();
  image_->brokers_[id] = std::move(broker);
  changes_.brokers_changed.insert(id);
  return absl::OkStatus();
}

TopicImage* BatchApplier::Edit(const TopicId& id) {
  const auto found = edited_.find(id);
  if (found != edited_.end()) return found->second.get();
  const TopicImage* topic = image_->FindTopic(id);
  if (topic == nullptr) return nullptr;
  return edited_.emplace(id, std::make_shared<TopicImage>(*topic))
      .first->second.get();
}

absl::Status BatchApplier::On(const internal::v1::TopicRecord& record) {
  ASSIGN_OR_RETURN(const TopicId id, TopicIdOf(record.id()));
  if (!internal::v1::TopicRecord::Kind_IsValid(record.kind())) {
    return Unknown("topic ", record.name(), " is of kind ",
                   static_cast<int>(record.kind()));
  }
  if (changes_.topics_removed.count(id)) {
    return Misfit("topic id ", id, " is used again (MD7)");
  }
  if (TopicImage* topic = Edit(id)) {
    if (topic->name != record.name()) {
      return Misfit("topic ", id, " is called ", topic->name, ", not ",
                    record.name());
    }
    topic->write_fenced = record.write_fenced();
    if (!changes_.topics_created.count(id)) {
      changes_.topics_changed.insert(id);
    }
    return absl::OkStatus();
  }
  if (const TopicId* taken = image_->names_.Find(record.name())) {
    return Misfit("topic name ", record.name(), " belongs to ", *taken);
  }
  auto topic = std::make_shared<TopicImage>();
  topic->id = id;
  topic->name = record.name();
  if (record.kind() != internal::v1::TopicRecord::KIND_UNSPECIFIED) {
    topic->kind = record.kind();
  }
  topic->write_fenced = record.write_fenced();
  image_->names_.Set(topic->name, id);
  edited_[id] = std::move(topic);
  changes_.topics_created.insert(id);
  return absl::OkStatus();
}

absl::Status BatchApplier::On(const internal::v1::RemoveTopicRecord& record) {
  ASSIGN_OR_RETURN(const TopicId id, TopicIdOf(record.id()));
  const TopicImage* topic = Edit(id);
  if (topic == nullptr) return Misfit("removed topic ", id, " is unknown");
  const bool created_here = changes_.topics_created.erase(id) > 0;
  changes_.topics_changed.erase(id);
  if (!created_here) changes_.topics_removed.insert(id);
  for (const auto& [index, partition] : topic->partitions) {
    const TopicPartition tp{id, index};
    changes_.partitions_changed.erase(tp);
    if (changes_.partitions_created.erase(tp) == 0) {
      changes_.partitions_removed.insert(tp);
    }
    --image_->partition_count_;
    image_->replica_count_ -= static_cast<int64_t>(partition->replicas.size());
  }
  image_->names_.Erase(topic->name);
  image_->topics_.Erase(id);
  edited_.erase(id);
  return absl::OkStatus();
}

absl::Status BatchApplier::On(const internal::v1::PartitionRecord& record) {
  ASSIGN_OR_RETURN(const TopicId id, TopicIdOf(record.topic_id()));
  const TopicPartition tp{id, PartitionIndex(record.partition())};
  TopicImage* topic = Edit(id);
  if (topic == nullptr) return Misfit("partition ", tp, " of no topic");
  if (record.partition() != static_cast<int64_t>(topic->partitions.size())) {
    return Misfit("partition ", tp, " where number ", topic->partitions.size(),
                  " is next");
  }
  const auto directories = DirectoriesOf(record.directories());
  if (!directories.has_value()) return Misfit("partition ", tp, ": bad uuid");
  auto partition = std::make_shared<PartitionImage>();
  partition->replicas = NodesOf(record.replicas());
  partition->directories = *directories;
  partition->isr = NodesOf(record.isr());
  partition->elr = NodesOf(record.elr());
  partition->unverified_elr = NodesOf(record.unverified_elr());
  partition->last_full_isr = NodesOf(record.last_full_isr());
  partition->leader = NodeId(record.leader());
  partition->leader_epoch = LeaderEpoch(record.leader_epoch());
  partition->partition_epoch = PartitionEpoch(record.partition_epoch());
  partition->last_unclean_leader_epoch =
      LeaderEpoch(record.last_unclean_leader_epoch());
  partition->adding_replicas = NodesOf(record.adding_replicas());
  partition->removing_replicas = NodesOf(record.removing_replicas());
  partition->durability_settling = record.durability_settling();
  RETURN_IF_ERROR(
      ReadCandidates(tp, record.candidates(), &partition->candidates));
  partition->failed_replicas = NodesOf(record.failed_replicas());
  partition->unclean_ordered = record.unclean_ordered();
  if (record.has_unclean_loss()) {
    partition->unclean_loss = LossOf(record.unclean_loss());
  }
  partition->log_start = Offset(record.log_start_offset());
  RETURN_IF_ERROR(CheckPartition(tp, *partition));
  ++image_->partition_count_;
  image_->replica_count_ += static_cast<int64_t>(partition->replicas.size());
  topic->partitions.Set(tp.partition, std::move(partition));
  changes_.partitions_created.insert(tp);
  return absl::OkStatus();
}

absl::Status BatchApplier::On(
    const internal::v1::PartitionChangeRecord& record) {
  ASSIGN_OR_RETURN(const TopicId id, TopicIdOf(record.topic_id()));
  const TopicPartition tp{id, PartitionIndex(record.partition())};
  TopicImage* topic = Edit(id);
  const PartitionImage* old =
      topic == nullptr ? nullptr : topic->Find(tp.partition);
  if (old == nullptr) return Misfit("changed partition ", tp, " is unknown");
  if (int64_t{record.partition_epoch()} - old->partition_epoch.value() != 1) {
    return Misfit("partition ", tp, ": partition epoch ",
                  record.partition_epoch(), " after ", old->partition_epoch,
                  " (RP16)");
  }
  auto next = std::make_shared<PartitionImage>(*old);
  next->partition_epoch = PartitionEpoch(record.partition_epoch());
  if (record.has_leader()) next->leader = NodeId(record.leader());
  if (record.has_leader_epoch()) {
    next->leader_epoch = LeaderEpoch(record.leader_epoch());
  }
  if (next->leader_epoch < old->leader_epoch ||
      (next->leader != old->leader &&
       next->leader_epoch == old->leader_epoch)) {
    return Misfit("partition ", tp, ": leader ", old->leader, " -> ",
                  next->leader, " with leader epoch ", old->leader_epoch,
                  " -> ", next->leader_epoch, " (RP16)");
  }
  if (record.has_isr()) next->isr = NodesOf(record.isr().ids());
  if (record.has_elr()) next->elr = NodesOf(record.elr().ids());
  if (record.has_unverified_elr()) {
    next->unverified_elr = NodesOf(record.unverified_elr().ids());
  }
  if (record.has_last_full_isr()) {
    next->last_full_isr = NodesOf(record.last_full_isr().ids());
  }
  if (record.has_replicas()) {
    next->replicas = NodesOf(record.replicas().ids());
  }
  if (record.has_directories()) {
    const auto directories = DirectoriesOf(record.directories().ids());
    if (!directories.has_value()) return Misfit("partition ", tp, ": uuid");
    next->directories = *directories;
  }
  if (record.has_last_unclean_leader_epoch()) {
    next->last_unclean_leader_epoch =
        LeaderEpoch(record.last_unclean_leader_epoch());
  }
  if (record.has_durability_settling()) {
    next->durability_settling = record.durability_settling();
  }
  if (record.has_log_start_offset()) {
    next->log_start = Offset(record.log_start_offset());
    if (next->log_start < old->log_start) {
      return Misfit("partition ", tp, ": its log start falls from ",
                    old->log_start, " to ", next->log_start, " (RP23)");
    }
  }
  RETURN_IF_ERROR(OnElectionState(tp, record, *next));
  RETURN_IF_ERROR(CheckPartition(tp, *next));
  image_->replica_count_ += static_cast<int64_t>(next->replicas.size()) -
                            static_cast<int64_t>(old->replicas.size());
  topic->partitions.Set(tp.partition, std::move(next));
  NoteChanged(tp);
  return absl::OkStatus();
}

absl::Status BatchApplier::OnElectionState(
    const TopicPartition& tp,
    const internal::v1::PartitionChangeRecord& record, PartitionImage& next) {
  if (record.has_candidates()) {
    RETURN_IF_ERROR(
        ReadCandidates(tp, record.candidates().logs(), &next.candidates));
  }
  if (record.has_failed_replicas()) {
    next.failed_replicas = NodesOf(record.failed_replicas().ids());
  }
  if (record.has_unclean_ordered()) {
    next.unclean_ordered = record.unclean_ordered();
  }
  if (record.has_unclean_loss()) {
    next.unclean_loss = LossOf(record.unclean_loss());
  }
  return absl::OkStatus();
}

void BatchApplier::NoteChanged(const TopicPartition& tp) {
  if (!changes_.partitions_created.count(tp)) {
    changes_.partitions_changed.insert(tp);
  }
}

absl::Status BatchApplier::On(const ConfigRecord& record) {
  switch (record.resource_type()) {
    case ConfigRecord::RESOURCE_TYPE_TOPIC:
      return OnTopicConfig(record);
    case ConfigRecord::RESOURCE_TYPE_BROKER:
    case ConfigRecord::RESOURCE_TYPE_CLUSTER: {
      auto& configs = image_->configs_[record.resource_name()];
      if (record.has_value()) {
        configs[record.key()] = record.value();
      } else {
        configs.erase(record.key());
      }
      if (configs.empty()) image_->configs_.erase(record.resource_name());
      changes_.configs_changed = true;
      return absl::OkStatus();
    }
    default:
      return Unknown("configuration of resource type ",
                     static_cast<int>(record.resource_type()));
  }
}

absl::Status BatchApplier::On(const internal::v1::ProducerIdsRecord& record) {
  const ProducerId first(record.first_producer_id());
  const ProducerId next(record.next_producer_id());
  const bool is_first_block = image_->next_producer_id_ == kNoProducerId;
  if (first.value() < 0 || next <= first ||
      (!is_first_block && first != image_->next_producer_id_)) {
    return Misfit("producer ids [", first, ", ", next, ") where ",
                  image_->next_producer_id_, " is next (IP5)");
  }
  if (is_first_block) image_->first_producer_id_ = first;
  image_->next_producer_id_ = next;
  return absl::OkStatus();
}

absl::Status BatchApplier::OnTopicConfig(const ConfigRecord& record) {
  const TopicId* id = image_->names_.Find(record.resource_name());
  TopicImage* topic = id == nullptr ? nullptr : Edit(*id);
  if (topic == nullptr) {
    return Misfit("configuration of unknown topic ", record.resource_name());
  }
  if (record.has_value()) {
    topic->configs[record.key()] = record.value();
  } else {
    topic->configs.erase(record.key());
  }
  if (!changes_.topics_created.count(topic->id)) {
    changes_.topics_changed.insert(topic->id);
  }
  return absl::OkStatus();
}

}  // namespace sluice
