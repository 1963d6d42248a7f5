// The controller role of one process: decides on one executor, by the pure
// controls of controller/metadata, and lets the replicated log carry out.
// Operations decide -> records -> commit -> replay -> reply.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "controller/broker_sessions.h"
#include "controller/controller_api.h"
#include "controller/decision_pipeline.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/control_result.h"
#include "controller/metadata/image.h"
#include "controller/metadata/producer_id_control.h"
#include "controller/metadata_feed.h"
#include "controller/metadata_log.h"

namespace sluice {

// Owned by `executor`: constructed, started, stopped and destroyed there (or
// before it runs and after it ended). ControllerApi's methods may be called on
// any thread. What is answered as done is committed, hence durable on a
// majority of controllers.
//
// Answers: NOT_CONTROLLER when this node is not active (nothing happened),
// OUTCOME_UNKNOWN when it lost that role while a change was under way (ask
// again: registrations and ISR changes are idempotent, for topics look),
// BUSY when too much is under way. A refusal (a bad request, a stale epoch) is
// answered only after a quorum confirmed that this node still leads, so that
// a deposed controller refuses nothing (F22).
class Controller final : public ControllerApi {
 public:
  struct Deps {
    Executor* executor = nullptr;
    const Clock* clock = nullptr;
    MetadataLog* log = nullptr;
    BrokerDialer* dialer = nullptr;
    std::shared_ptr<const ConfigRegistry> configs;
    NodeId node_id;
    std::string cluster_name;
    uint64_t random_seed = 0;
    SessionOptions sessions;
    int32_t producer_id_block = kProducerIdBlockSize;
    // A committed record that cannot be applied (MD8) or a broken store: the
    // owner ends the process. The controller has stopped by itself.
    absl::AnyInvocable<void(absl::Status)> on_fatal;
  };

  explicit Controller(Deps deps);
  ~Controller() override;
  Controller(const Controller&) = delete;

  void Start();
  // Fails what is under way and closes every stream. Idempotent.
  void Stop();

  // On executor(): what this node has applied.
  const std::shared_ptr<const MetadataImage>& image() const {
    return pipeline_.committed();
  }
  bool active() const { return role_.active; }
  // Committed while this node was active, since its start.
  int64_t unclean_elections() const { return unclean_elections_; }
  int64_t demotions() const { return demotions_; }

  void Hello(internal::v1::HelloRequest request,
             PeerReply<internal::v1::HelloResponse> reply) override;
  void RegisterBroker(
      internal::v1::RegisterBrokerRequest request,
      PeerReply<internal::v1::RegisterBrokerResponse> reply) override;
  void ReportReplicas(
      internal::v1::ReportReplicasRequest request,
      PeerReply<internal::v1::ReportReplicasResponse> reply) override;
  void AlterPartitions(
      internal::v1::AlterPartitionsRequest request,
      PeerReply<internal::v1::AlterPartitionsResponse> reply) override;
  void AllocateProducerIds(
      internal::v1::AllocateProducerIdsRequest request,
      PeerReply<internal::v1::AllocateProducerIdsResponse> reply) override;
  void CreateTopics(v1::CreateTopicsRequest request,
                    PeerReply<v1::CreateTopicsResponse> reply) override;
  void CreatePartitions(
      v1::CreatePartitionsRequest request,
      PeerReply<v1::CreatePartitionsResponse> reply) override;
  void EnsureInternalTopic(
      internal::v1::EnsureInternalTopicRequest request,
      PeerReply<internal::v1::EnsureInternalTopicResponse> reply) override;
  void DeleteTopics(v1::DeleteTopicsRequest request,
                    PeerReply<v1::DeleteTopicsResponse> reply) override;
  void AlterConfigs(v1::AlterConfigsRequest request,
                    PeerReply<v1::AlterConfigsResponse> reply) override;
  void ElectLeaders(v1::ElectLeadersRequest request,
                    PeerReply<v1::ElectLeadersResponse> reply) override;
  void DescribeQuorum(v1::DescribeQuorumRequest request,
                      PeerReply<v1::DescribeQuorumResponse> reply) override;

  Executor* executor() override { return deps_.executor; }
  NodeId ActiveController() const override { return role_.leader; }
  PeerStreamEvents<internal::v1::LivenessRequest> AcceptLiveness(
      std::shared_ptr<PeerStream<internal::v1::LivenessResponse>> stream)
      override;
  PeerStreamEvents<internal::v1::FollowMetadataRequest> AcceptMetadataFollower(
      internal::v1::FollowMetadataRequest request,
      std::shared_ptr<PeerStream<internal::v1::FollowMetadataResponse>> stream)
      override;

 private:
  // Runs `task` on the executor unless the controller is gone by then.
  void Run(absl::AnyInvocable<void()> task);

  void OnCommitted(CommittedEntry entry);
  void NoteUncleanElections(const internal::v1::MetadataBatch& batch);
  void OnRole(MetadataLogRole role);
  void Fail(absl::Status why);
  absl::Status CheckActive() const;
  // Decides against the latest image, proposes, and answers after the commit;
  // `finish` completes the answer with the offset.
  template <class Response>
  void Carry(absl::AnyInvocable<ControlResultOr<Response>(const MetadataImage&)>
                 decide,
             absl::AnyInvocable<void(Response&, LogIndex)> finish,
             PeerReply<Response> reply);
  void ProposeBatch(internal::v1::MetadataBatch batch,
                    DecisionPipeline::Done done);
  SessionState OldSession(NodeId broker) const;

  void FenceBroker(NodeId broker, BrokerEpoch epoch, const std::string& why);
  void UnfenceBroker(NodeId broker, BrokerEpoch epoch);
  void BeginStop(NodeId broker, BrokerEpoch epoch);
  void DemoteBroker(NodeId broker, BrokerEpoch epoch, const std::string& why);
  void ClearDemotion(NodeId broker, BrokerEpoch epoch, const std::string& why);
  // Where nobody else can lead, this controller stays and fences.
  void Resign(const std::string& why);

  Deps deps_;
  Random random_;
  MetadataLogRole role_;
  bool stopped_ = false;
  int64_t unclean_elections_ = 0;
  int64_t demotions_ = 0;
  DecisionPipeline pipeline_;
  MetadataFeed feed_;
  BrokerSessions sessions_;
  // Posted tasks hold it weakly.
  std::shared_ptr<bool> alive_;
};

template <class Response>
void Controller::Carry(
    absl::AnyInvocable<ControlResultOr<Response>(const MetadataImage&)> decide,
    absl::AnyInvocable<void(Response&, LogIndex)> finish,
    PeerReply<Response> reply) {
  Run([this, decide = std::move(decide), finish = std::move(finish),
       reply = std::move(reply)]() mutable {
    if (absl::Status status = CheckActive(); !status.ok()) {
      reply(std::move(status));
      return;
    }
    ControlResultOr<Response> result = decide(*pipeline_.latest());
    const bool to_commit = result.ok() && !result->batch.records().empty();
    if (!to_commit) {
      pipeline_.Confirm(
          [this, result = std::move(result), finish = std::move(finish),
           reply = std::move(reply)](absl::Status confirmed) mutable {
            if (!confirmed.ok()) {
              reply(std::move(confirmed));
            } else if (!result.ok()) {
              reply(result.status());
            } else {
              finish(result->response, image()->offset());
              reply(std::move(result->response));
            }
          });
      return;
    }
    ProposeBatch(
        std::move(result->batch),
        [response = std::move(result->response), finish = std::move(finish),
         reply = std::move(reply)](absl::StatusOr<LogIndex> committed) mutable {
          if (!committed.ok()) {
            reply(committed.status());
            return;
          }
          finish(response, *committed);
          reply(std::move(response));
        });
  });
}

}  // namespace sluice
