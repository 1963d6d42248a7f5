// A broker's view of one controller, without a transport. The messages are
// the internal protobuf records: on the control plane they are the vocabulary
// of cores and drivers alike (ARCHITECTURE.md).
#pragma once

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "common/api/log_api.h"
#include "common/env/executor.h"
#include "sluice/internal/v1/controller.pb.h"

namespace sluice {

template <class Response>
using PeerReply = absl::AnyInvocable<void(absl::StatusOr<Response>)>;

// One end of an open stream. Send never blocks and may be called from any
// thread; what is sent after the stream broke vanishes.
template <class Out>
class PeerStream {
 public:
  virtual ~PeerStream() = default;
  virtual void Send(const Out& message) = 0;
  // Ends the stream; the other end sees `why`. No event follows when called
  // on the events' executor.
  virtual void Close(absl::Status why) = 0;
};

template <class In>
struct PeerStreamEvents {
  absl::AnyInvocable<void(In message)> on_message;
  absl::AnyInvocable<void(absl::Status why)> on_closed;  // once, last
  // Every message sent so far is on the wire: time for the next ones. A
  // sender of much data sends a bounded piece and waits for this. May be null.
  absl::AnyInvocable<void()> on_drained;
};

using LivenessStream = PeerStream<internal::v1::LivenessRequest>;
// Receives only.
using MetadataStream = PeerStream<internal::v1::FollowMetadataRequest>;

// Replies and events run on the executor the peer was made with; each reply
// exactly once: with the answer, with an error of the controller (CodeOf:
// NOT_CONTROLLER, ...), or with a transport error (kUnavailable,
// kDeadlineExceeded: the outcome is unknown).
class ControllerPeer {
 public:
  virtual ~ControllerPeer() = default;

  virtual NodeId id() const = 0;

  virtual void Hello(const internal::v1::HelloRequest& request,
                     int64_t timeout_us,
                     PeerReply<internal::v1::HelloResponse> reply) = 0;
  virtual void RegisterBroker(
      const internal::v1::RegisterBrokerRequest& request, int64_t timeout_us,
      PeerReply<internal::v1::RegisterBrokerResponse> reply) = 0;
  virtual void ReportReplicas(
      const internal::v1::ReportReplicasRequest& request, int64_t timeout_us,
      PeerReply<internal::v1::ReportReplicasResponse> reply) = 0;
  virtual void AlterPartitions(
      const internal::v1::AlterPartitionsRequest& request, int64_t timeout_us,
      PeerReply<internal::v1::AlterPartitionsResponse> reply) = 0;
  virtual void AllocateProducerIds(
      const internal::v1::AllocateProducerIdsRequest& request,
      int64_t timeout_us,
      PeerReply<internal::v1::AllocateProducerIdsResponse> reply) = 0;
  virtual void CreateTopics(const v1::CreateTopicsRequest& request,
                            int64_t timeout_us,
                            PeerReply<v1::CreateTopicsResponse> reply) = 0;
  virtual void CreatePartitions(
      const v1::CreatePartitionsRequest& request, int64_t timeout_us,
      PeerReply<v1::CreatePartitionsResponse> reply) = 0;
  virtual void EnsureInternalTopic(
      const internal::v1::EnsureInternalTopicRequest& request,
      int64_t timeout_us,
      PeerReply<internal::v1::EnsureInternalTopicResponse> reply) = 0;
  virtual void DeleteTopics(const v1::DeleteTopicsRequest& request,
                            int64_t timeout_us,
                            PeerReply<v1::DeleteTopicsResponse> reply) = 0;
  virtual void AlterConfigs(const v1::AlterConfigsRequest& request,
                            int64_t timeout_us,
                            PeerReply<v1::AlterConfigsResponse> reply) = 0;
  virtual void ElectLeaders(const v1::ElectLeadersRequest& request,
                            int64_t timeout_us,
                            PeerReply<v1::ElectLeadersResponse> reply) = 0;
  virtual void DescribeQuorum(const v1::DescribeQuorumRequest& request,
                              int64_t timeout_us,
                              PeerReply<v1::DescribeQuorumResponse> reply) = 0;

  virtual std::shared_ptr<LivenessStream> OpenLiveness(
      PeerStreamEvents<internal::v1::LivenessResponse> events) = 0;
  virtual std::shared_ptr<MetadataStream> FollowMetadata(
      const internal::v1::FollowMetadataRequest& request,
      PeerStreamEvents<internal::v1::FollowMetadataResponse> events) = 0;
};

// What a refused dial tells: nobody listens there, the process is dead.
enum class DialResult { kConnected, kRefused, kNoAnswer };

// The active controller's probe of a broker's internal listener
// (design/replication.md 5): a bare TCP connect.
class BrokerDialer {
 public:
  virtual ~BrokerDialer() = default;
  // `reply` runs on `executor`, once, after at most timeout_us.
  virtual void Dial(const api::Endpoint& endpoint, int64_t timeout_us,
                    Executor* executor,
                    absl::AnyInvocable<void(DialResult)> reply) = 0;
};

}  // namespace sluice
