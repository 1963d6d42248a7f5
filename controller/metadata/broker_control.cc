#include "controller/metadata/broker_control.h"

#include <algorithm>
#include <set>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"
#include "controller/metadata/internal_topics.h"
#include "controller/metadata/partition_sweep.h"
#include "controller/metadata/record_codec.h"

namespace sluice {
namespace {

using internal::v1::MetadataBatch;
using internal::v1::RegisterBrokerRequest;

template <class... Parts>
absl::Status Refuse(const RegisterBrokerRequest& request,
                    const Parts&... parts) {
  return MakeError(ErrorCode::kInvalidRegistration, "registration of broker ",
                   request.broker_id(), ": ", parts...);
}

std::set<DirectoryId> DirectorySet(const RegisterBrokerRequest& request) {
  std::set<DirectoryId> ids;
  for (const auto& directory : request.directories()) {
    if (const auto id = DirectoryId::FromBytes(directory.id())) ids.insert(*id);
  }
  return ids;
}

// Every directory carries the marker of the last incarnation (RP18).
bool StoppedClean(const RegisterBrokerRequest& request,
                  const BrokerImage& old) {
  return std::all_of(request.directories().begin(), request.directories().end(),
                     [&](const auto& directory) {
                       return directory.clean_broker_epoch() ==
                              old.epoch.value();
                     });
}

// The process died but the kernel, and with it the page cache, lived.
bool SameBoot(const RegisterBrokerRequest& request) {
  return !request.boot_id().empty() &&
         std::all_of(request.directories().begin(), request.directories().end(),
                     [&](const auto& directory) {
                       return directory.last_boot_id() == request.boot_id();
                     });
}

absl::Status CheckListeners(const RegisterBrokerRequest& request) {
  if (request.listeners_size() < 1 ||
      request.listeners_size() > kListenersPerBrokerMax) {
    return Refuse(request, request.listeners_size(), " listeners, not 1..",
                  kListenersPerBrokerMax);
  }
  std::set<std::string> names;
  for (const auto& listener : request.listeners()) {
    const int port = listener.endpoint().port();
    if (listener.name().empty() || !names.insert(listener.name()).second ||
        listener.endpoint().host().empty() || port < 1 || port > 65535) {
      return Refuse(request, "listener \"", listener.name(), "\" at ",
                    listener.endpoint().host(), ":", port,
                    " has no name, host or port of its own");
    }
  }
  if (!names.count(kInternalListener)) {
    return Refuse(request, "no listener is called ", kInternalListener,
                  "; other nodes could not reach it");
  }
  return absl::OkStatus();
}

// False: it says nothing about the partition as it is now.
bool TellOf(const internal::v1::ReplicaVerdict& verdict, NodeId broker,
            const PartitionImage& partition, const ElectionRules& rules,
            PartitionChange& change) {
  if (!verdict.has_candidate_epoch()) {
    if (verdict.failed()) {
      change.Fail(broker);
    } else if (verdict.lossy()) {
      change.Drop(broker);
    } else {
      change.Verify(broker);
      change.ClearFailed(broker);
    }
    return true;
  }
  // In a newer epoch its log may have grown, or been cut, since.
  const bool is_current =
      verdict.candidate_epoch() == partition.leader_epoch.value() ||
      MUTANT(kOlderCandidateCounts);
  if (!is_current || !partition.AsksForLogs(rules.unclean)) return false;
  if (verdict.failed()) {
    change.Fail(broker);
  } else {
    change.ClearFailed(broker);
  }
  change.Tell({broker, LeaderEpoch(std::max(verdict.last_epoch(), -1)),
               Offset(std::max<int64_t>(verdict.log_end_offset(), 0)),
               Offset(std::max<int64_t>(verdict.high_watermark(), 0)),
               verdict.failed()});
  return true;
}

}  // namespace

absl::Status CheckBrokerEpoch(const MetadataImage& image, NodeId broker,
                              BrokerEpoch epoch) {
  const BrokerImage* known = image.FindBroker(broker);
  if (known != nullptr && known->epoch == epoch) return absl::OkStatus();
  return MakeError(ErrorCode::kStaleBrokerEpoch, "broker ", broker, " epoch ",
                   epoch, ": registered is ",
                   known == nullptr ? kNoBrokerEpoch : known->epoch,
                   "; register again");
}

std::vector<TopicPartition> WantedVerdicts(const MetadataImage& image,
                                           NodeId broker) {
  std::vector<TopicPartition> leaderless, others;
  for (const auto& [id, topic] : image.topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      const bool is_candidate = partition->AsksForLogs(/*unclean=*/false) &&
                                Contains(partition->replicas, broker);
      // Also who stopped cleanly: it may be elected as soon as it is alive.
      if (!is_candidate && !Contains(partition->unverified_elr, broker) &&
          (!Contains(partition->elr, broker) || MUTANT(kCleanNotAwaited))) {
        continue;
      }
      (partition->leader == kNoNode ? leaderless : others)
          .push_back(TopicPartition{id, index});
    }
  }
  leaderless.insert(leaderless.end(), others.begin(), others.end());
  if (leaderless.size() > kPartitionsPerCallMax) {
    leaderless.resize(kPartitionsPerCallMax);
  }
  return leaderless;
}

bool LeadsAny(const MetadataImage& image, NodeId broker) {
  for (const auto& [id, topic] : image.topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      if (partition->leader == broker) return true;
    }
  }
  return false;
}

const BrokerImage* BrokerControl::Find(NodeId broker, BrokerEpoch epoch) const {
  const BrokerImage* known = image_.FindBroker(broker);
  return known != nullptr && known->epoch == epoch ? known : nullptr;
}

absl::Status BrokerControl::CheckDirectories(
    const RegisterBrokerRequest& request) const {
  if (request.directories_size() < 1 ||
      request.directories_size() > kDirectoriesPerBrokerMax) {
    return Refuse(request, request.directories_size(), " directories, not 1..",
                  kDirectoriesPerBrokerMax);
  }
  std::set<DirectoryId> ids;
  for (const auto& directory : request.directories()) {
    const auto id = DirectoryId::FromBytes(directory.id());
    if (!id.has_value() || !id->is_set()) {
      return Refuse(request, "a directory id has ", directory.id().size(),
                    " bytes or is all zero");
    }
    if (!ids.insert(*id).second) {
      return Refuse(request, "directory ", *id, " is named twice");
    }
  }
  for (const auto& [other, broker] : image_.brokers()) {
    if (other.value() == request.broker_id()) continue;
    for (const DirectoryId& id : ids) {
      if (broker->directories.count(id)) {
        return Refuse(request, "directory ", id, " belongs to broker ", other,
                      "; start it with the node id that it was made with");
      }
    }
  }
  return absl::OkStatus();
}

absl::Status BrokerControl::CheckRegistration(
    const RegisterBrokerRequest& request, const ClusterId& cluster_id) const {
  if (request.cluster_id() != cluster_id.ToBytes()) {
    const auto id = ClusterId::FromBytes(request.cluster_id());
    return MakeError(ErrorCode::kInconsistentClusterId, "broker ",
                     request.broker_id(), " belongs to cluster ",
                     id.has_value() ? id->ToString() : "(no id)",
                     ", this is cluster ", cluster_id,
                     "; check --controllers and --data_dirs");
  }
  const auto incarnation = IncarnationId::FromBytes(request.incarnation_id());
  if (request.broker_id() < 1 || !incarnation.has_value() ||
      !incarnation->is_set()) {
    return Refuse(request,
                  "the id must be positive and the incarnation 16 "
                  "bytes, not all zero; it has ",
                  request.incarnation_id().size());
  }
  const int level = std::max(image_.feature_level(), kFeatureLevelMin);
  if (request.feature_min() > level || request.feature_max() < level) {
    return MakeError(ErrorCode::kUnsupportedVersion, "broker ",
                     request.broker_id(), " knows feature levels ",
                     request.feature_min(), "..", request.feature_max(),
                     ", the cluster is at ", level,
                     "; start a version that knows it");
  }
  RETURN_IF_ERROR(CheckListeners(request));
  RETURN_IF_ERROR(CheckDirectories(request));
  if (image_.FindBroker(NodeId(request.broker_id())) == nullptr &&
      image_.brokers().size() >= kBrokersMax) {
    return Refuse(request, image_.brokers().size(),
                  " brokers are registered, the limit");
  }
  return absl::OkStatus();
}

absl::Status BrokerControl::CheckOldIncarnation(
    const RegisterBrokerRequest& request, const BrokerImage& old,
    SessionState session) const {
  // Two processes cannot hold the same directories: with its stream broken,
  // the old one is dead.
  const bool old_is_dead = session == SessionState::kNone ||
                           (session == SessionState::kBroken &&
                            DirectorySet(request) == old.directories);
  if (old_is_dead) return absl::OkStatus();
  return MakeError(ErrorCode::kDuplicateBrokerRegistration, "broker ",
                   request.broker_id(), " is registered with epoch ", old.epoch,
                   " by incarnation ", old.incarnation,
                   session == SessionState::kConnected
                       ? ", which is connected"
                       : ", whose session has not expired",
                   "; give each broker its own --node_id, or try again");
}

ControlResultOr<internal::v1::RegisterBrokerResponse> BrokerControl::Register(
    const RegisterBrokerRequest& request, const ClusterId& cluster_id,
    SessionState old_session) {
  RETURN_IF_ERROR(CheckRegistration(request, cluster_id));
  ControlResult<internal::v1::RegisterBrokerResponse> result;
  const BrokerImage* old = image_.FindBroker(NodeId(request.broker_id()));
  if (old != nullptr) {
    if (old->incarnation.ToBytes() == request.incarnation_id()) {
      result.response.set_broker_epoch(old->epoch.value());
      return result;
    }
    RETURN_IF_ERROR(CheckOldIncarnation(request, *old, old_session));
    WriteRestart(request, *old, result.batch);
  }
  auto* record = result.batch.add_records()->mutable_register_broker();
  record->set_broker_id(request.broker_id());
  record->set_incarnation_id(request.incarnation_id());
  *record->mutable_listeners() = request.listeners();
  // A later broker's fields: a record that this version does not know would
  // stop every node that replays it (MD8).
  for (auto& listener : *record->mutable_listeners()) {
    listener.DiscardUnknownFields();
  }
  record->set_rack(request.rack());
  for (const auto& directory : request.directories()) {
    record->add_directories(directory.id());
  }
  record->set_feature_min(request.feature_min());
  record->set_feature_max(request.feature_max());
  record->set_version(request.version());
  record->set_was_clean(old == nullptr || StoppedClean(request, *old));
  record->set_boot_id(request.boot_id());
  return result;
}

void BrokerControl::WriteRestart(const RegisterBrokerRequest& request,
                                 const BrokerImage& old, MetadataBatch& out) {
  if (!old.fenced) {
    auto* change = out.add_records()->mutable_broker_change();
    change->set_broker_id(old.id.value());
    change->set_broker_epoch(old.epoch.value());
    change->set_fenced(true);
  }
  if (MUTANT(kRegistrationKeepsIsr)) return;
  const bool clean = StoppedClean(request, old);
  const bool same_boot = SameBoot(request);
  const std::set<DirectoryId> now = DirectorySet(request);
  // A replica whose directory is gone is refilled in a new one, if any.
  std::vector<DirectoryId> homes;
  std::set_difference(now.begin(), now.end(), old.directories.begin(),
                      old.directories.end(), std::back_inserter(homes));
  if (homes.empty()) homes.assign(now.begin(), now.end());
  size_t turn = 0;
  SweepPartitions(
      image_, configs_, old.id,
      [&](NodeId node) { return node != old.id && image_.IsActive(node); },
      [&](const TopicPartition& tp, const PartitionImage& partition,
          PartitionChange& change) {
        if (!MUTANT(kCandidateOutlivesRestart)) change.ForgetLog(old.id);
        change.ClearFailed(old.id);
        const DirectoryId home = partition.DirectoryOf(old.id);
        if (home.is_set() && !now.count(home) &&
            !MUTANT(kWipedDiskUnnoticed)) {
          change.MoveTo(old.id, homes[turn++ % homes.size()]);
          change.Drop(old.id);
          return true;
        }
        if (clean) {
          change.LeaveIsr(old.id);
          return true;
        }
        const bool on_disk =
            configs_.PromisesDisk(*image_.FindTopic(tp.topic_id), partition);
        if (on_disk || same_boot || MUTANT(kElrKeptOnUnclean)) {
          change.Doubt(old.id);
        } else {
          change.Drop(old.id);
        }
        return true;
      },
      out);
}

MetadataBatch BrokerControl::Deactivate(NodeId broker, BrokerEpoch epoch,
                                        bool fence) {
  MetadataBatch batch;
  const BrokerImage* known = Find(broker, epoch);
  if (known == nullptr || (fence ? known->fenced : known->stopping)) {
    return batch;
  }
  auto* record = batch.add_records()->mutable_broker_change();
  record->set_broker_id(broker.value());
  record->set_broker_epoch(epoch.value());
  if (fence) {
    record->set_fenced(true);
  } else {
    record->set_stopping(true);
  }
  if (MUTANT(kFenceKeepsIsr) && fence) return batch;
  SweepPartitions(
      image_, configs_, broker,
      [&](NodeId node) { return node != broker && image_.IsActive(node); },
      [&](const TopicPartition&, const PartitionImage& partition,
          PartitionChange& change) {
        change.LeaveIsr(broker);
        // An election may have waited for what it tells.
        return Contains(partition.isr, broker) ||
               !partition.candidates.empty();
      },
      batch);
  return batch;
}

MetadataBatch BrokerControl::Fence(NodeId broker, BrokerEpoch epoch) {
  return Deactivate(broker, epoch, true);
}

MetadataBatch BrokerControl::BeginStop(NodeId broker, BrokerEpoch epoch) {
  return Deactivate(broker, epoch, false);
}

MetadataBatch BrokerControl::Unfence(NodeId broker, BrokerEpoch epoch) {
  MetadataBatch batch;
  const BrokerImage* known = Find(broker, epoch);
  if (known == nullptr || !known->fenced) return batch;
  auto* record = batch.add_records()->mutable_broker_change();
  record->set_broker_id(broker.value());
  record->set_broker_epoch(epoch.value());
  record->set_fenced(false);
  if (known->stopping) return batch;
  SweepPartitions(
      image_, configs_, broker,
      [&](NodeId node) { return node == broker || image_.IsActive(node); },
      [&](const TopicPartition&, const PartitionImage& partition,
          PartitionChange&) { return partition.leader == kNoNode; },
      batch);
  AddInternalReplicas(image_, configs_, broker, batch);
  return batch;
}

ControlResultOr<internal::v1::ReportReplicasResponse>
BrokerControl::ReportReplicas(
    const internal::v1::ReportReplicasRequest& request) {
  const NodeId broker(request.broker_id());
  RETURN_IF_ERROR(
      CheckBrokerEpoch(image_, broker, BrokerEpoch(request.broker_epoch())));
  if (request.verdicts_size() > kPartitionsPerCallMax) {
    return MakeError(ErrorCode::kInvalidRequest, request.verdicts_size(),
                     " verdicts in one call; at most ", kPartitionsPerCallMax);
  }
  std::set<TopicPartition> seen;
  ControlResult<internal::v1::ReportReplicasResponse> result;
  for (const auto& verdict : request.verdicts()) {
    const auto id = TopicId::FromBytes(verdict.topic_id());
    if (!id.has_value()) {
      return MakeError(ErrorCode::kInvalidRequest, "a topic id has ",
                       verdict.topic_id().size(), " bytes, not 16");
    }
    const TopicPartition tp{*id, PartitionIndex(verdict.partition())};
    if (!seen.insert(tp).second) {
      return MakeError(ErrorCode::kInvalidRequest, "partition ", tp,
                       " has two verdicts in one call");
    }
    const TopicImage* topic = image_.FindTopic(tp.topic_id);
    const PartitionImage* partition =
        topic == nullptr ? nullptr : topic->Find(tp.partition);
    if (partition == nullptr || !Contains(partition->replicas, broker)) {
      continue;
    }
    const ElectionRules rules = configs_.ElectionRulesOf(*topic);
    PartitionChange change(tp, *partition, rules);
    change.ShunDemoted(image_);
    if (!TellOf(verdict, broker, *partition, rules, change)) continue;
    if (auto record =
            change.Build([&](NodeId n) { return image_.IsActive(n); })) {
      *result.batch.add_records()->mutable_partition_change() =
          *std::move(record);
    }
  }
  return result;
}

}  // namespace sluice
