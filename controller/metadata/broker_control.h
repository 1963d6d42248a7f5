// The life of a broker: registration, fencing, unfencing, demotion, controlled
// shutdown, and what its recovered replicas hold.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/control_result.h"
#include "controller/metadata/image.h"
#include "sluice/internal/v1/controller.pb.h"

namespace sluice {

inline constexpr int kDirectoriesPerBrokerMax = 64;
inline constexpr int kListenersPerBrokerMax = 16;
inline constexpr int kBrokersMax = 1000;

// What is known of the session of a broker's registered incarnation.
enum class SessionState {
  kNone,       // expired, or fenced by a refused dial
  kConnected,  // its liveness stream stands
  kBroken,     // alive until it expires, without a stream
};

// Made for one request; decides against `image`.
class BrokerControl {
 public:
  BrokerControl(const MetadataImage& image, const ConfigRegistry& configs)
      : image_(image), configs_(configs) {}

  // One batch: the old incarnation is fenced and out of every ISR, others are
  // elected, ELR and directories follow design/replication.md 3.2, the new
  // registration comes last. The broker epoch is the offset at which the batch
  // commits; a repeated registration of the same incarnation has no records
  // and answers with the epoch that it has.
  // Errors: INCONSISTENT_CLUSTER_ID, INVALID_REGISTRATION, UNSUPPORTED_VERSION,
  // DUPLICATE_BROKER_REGISTRATION while the old incarnation may live.
  ControlResultOr<internal::v1::RegisterBrokerResponse> Register(
      const internal::v1::RegisterBrokerRequest& request,
      const ClusterId& cluster_id, SessionState old_session);

  // One batch for all its partitions. Empty when there is nothing to do: no
  // such incarnation, or it is that way already.
  internal::v1::MetadataBatch Fence(NodeId broker, BrokerEpoch epoch);
  // Elects leaders where only this broker was missing; it becomes a replica of
  // internal partitions that have too few. The caller has seen that it applied
  // its own registration (MD5).
  internal::v1::MetadataBatch Unfence(NodeId broker, BrokerEpoch epoch);
  // Controlled shutdown: out of every ISR, leaderships move; what nobody else
  // can lead has no leader, and the broker stays in its ELR.
  internal::v1::MetadataBatch BeginStop(NodeId broker, BrokerEpoch epoch);
  // A gray failure, in one batch: its leaderships move to in-sync replicas
  // that are not demoted; what nobody else can lead stays. It leaves every ISR
  // that is large enough without it. Of a broker that is demoted: what can
  // move by now.
  internal::v1::MetadataBatch Demote(NodeId broker, BrokerEpoch epoch);
  // It may lead again. What it led does not move back by itself.
  internal::v1::MetadataBatch ClearDemotion(NodeId broker, BrokerEpoch epoch);

  // STALE_BROKER_EPOCH, INVALID_REQUEST (a bad id, too many). Verdicts on
  // replicas that it does not have (a topic deleted meanwhile) are skipped.
  ControlResultOr<internal::v1::ReportReplicasResponse> ReportReplicas(
      const internal::v1::ReportReplicasRequest& request);

 private:
  absl::Status CheckRegistration(
      const internal::v1::RegisterBrokerRequest& request,
      const ClusterId& cluster_id) const;
  absl::Status CheckDirectories(
      const internal::v1::RegisterBrokerRequest& request) const;
  absl::Status CheckOldIncarnation(
      const internal::v1::RegisterBrokerRequest& request,
      const BrokerImage& old, SessionState session) const;
  void WriteRestart(const internal::v1::RegisterBrokerRequest& request,
                    const BrokerImage& old, internal::v1::MetadataBatch& out);
  // The registered incarnation `epoch` of `broker`, or null.
  const BrokerImage* Find(NodeId broker, BrokerEpoch epoch) const;
  internal::v1::MetadataBatch Deactivate(NodeId broker, BrokerEpoch epoch,
                                         bool fence);

  const MetadataImage& image_;
  const ConfigRegistry& configs_;
};

// STALE_BROKER_EPOCH unless `epoch` is what `broker` is registered with.
absl::Status CheckBrokerEpoch(const MetadataImage& image, NodeId broker,
                              BrokerEpoch epoch);

// The replicas of `broker` whose logs decide an election, those of partitions
// without a leader first; at most kPartitionsPerCallMax.
std::vector<TopicPartition> WantedVerdicts(const MetadataImage& image,
                                           NodeId broker);

// Whether `broker` leads any partition.
bool LeadsAny(const MetadataImage& image, NodeId broker);

}  // namespace sluice
