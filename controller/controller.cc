#include "controller/controller.h"

#include <glog/logging.h>

#include <utility>

#include "common/base/error.h"
#include "controller/metadata/broker_control.h"
#include "controller/metadata/isr_control.h"
#include "controller/metadata/producer_id_control.h"

namespace sluice {

using internal::v1::MetadataBatch;

namespace {

void NoFinish(auto&, LogIndex) {}

}  // namespace

Controller::Controller(Deps deps)
    : deps_(std::move(deps)),
      random_(deps_.random_seed),
      pipeline_(deps_.log),
      // Posted: it comes from inside a walk over the followers.
      feed_(deps_.log,
            [this](absl::Status why) { Run([this, why] { Fail(why); }); }),
      sessions_(
          {deps_.executor, deps_.clock, deps_.dialer, deps_.sessions,
           GrayFailureOptions::Of(*deps_.configs)},
          {[this](NodeId broker, BrokerEpoch epoch, const std::string& why) {
             FenceBroker(broker, epoch, why);
           },
           [this](NodeId broker, BrokerEpoch epoch) {
             UnfenceBroker(broker, epoch);
           },
           [this](NodeId broker, BrokerEpoch epoch) {
             BeginStop(broker, epoch);
           },
           [this](NodeId broker, BrokerEpoch epoch, const std::string& why) {
             DemoteBroker(broker, epoch, why);
           },
           [this](NodeId broker, BrokerEpoch epoch, const std::string& why) {
             ClearDemotion(broker, epoch, why);
           },
           [this](const std::string& reason) { Resign(reason); }}),
      alive_(std::make_shared<bool>(true)) {}

Controller::~Controller() { Stop(); }

void Controller::Start() {
  deps_.log->Start(
      {[this](CommittedEntry entry) { OnCommitted(std::move(entry)); },
       [this](MetadataLogRole role) { OnRole(role); }});
}

void Controller::Stop() {
  if (stopped_) return;
  stopped_ = true;
  const absl::Status why = MakeError(ErrorCode::kShuttingDown, "controller ",
                                     deps_.node_id, " is stopping");
  role_.active = false;
  deps_.log->Stop();
  pipeline_.End(why);
  sessions_.Deactivate(why);
  feed_.CloseAll(why);
}

void Controller::Fail(absl::Status why) {
  if (stopped_) return;
  LOG(ERROR) << "controller " << deps_.node_id << " cannot go on: " << why;
  Stop();
  if (deps_.on_fatal) deps_.on_fatal(std::move(why));
}

void Controller::Run(absl::AnyInvocable<void()> task) {
  deps_.executor->Post(
      [alive = std::weak_ptr<bool>(alive_), task = std::move(task)]() mutable {
        if (!alive.expired()) task();
      });
}

absl::Status Controller::CheckActive() const {
  if (stopped_) {
    return MakeError(ErrorCode::kShuttingDown, "controller ", deps_.node_id,
                     " is stopping");
  }
  if (role_.active) return absl::OkStatus();
  return MakeError(ErrorCode::kNotController, "controller ", deps_.node_id,
                   " is not active in term ", role_.term, "; the active one ",
                   role_.leader == kNoNode || role_.leader == deps_.node_id
                       ? std::string("is not known yet, try again")
                       : StrCat("is ", role_.leader));
}

void Controller::OnCommitted(CommittedEntry entry) {
  if (stopped_) return;
  MetadataBatch batch;
  auto changes = pipeline_.Commit(entry, &batch);
  if (!changes.ok()) {
    Fail(changes.status());
    return;
  }
  if (role_.active) NoteUncleanElections(batch);
  sessions_.OnCommitted(pipeline_.committed(), *changes);
  feed_.OnCommitted(entry.index, entry.term, std::move(batch));
}

void Controller::NoteUncleanElections(const MetadataBatch& batch) {
  for (const auto& record : batch.records()) {
    if (record.broker_change().demoted()) ++demotions_;
    const auto& change = record.partition_change();
    if (!change.has_last_unclean_leader_epoch()) continue;
    ++unclean_elections_;
    const auto id = TopicId::FromBytes(change.topic_id());
    const TopicImage* topic =
        id.has_value() ? image()->FindTopic(*id) : nullptr;
    const v1::UncleanLoss& loss = change.unclean_loss();
    LOG(WARNING) << "UNCLEAN ELECTION of broker " << loss.leader_id()
                 << " for partition "
                 << (topic == nullptr ? change.topic_id() : topic->name) << "-"
                 << change.partition() << " in epoch "
                 << change.last_unclean_leader_epoch()
                 << ": acknowledged records from offset "
                 << loss.first_offset()
                 << " on may be lost; the furthest that any replica told was "
                 << loss.known_end_offset();
  }
}

void Controller::OnRole(MetadataLogRole role) {
  if (stopped_) return;
  const bool was_active = role_.active;
  const bool new_term = role.term != role_.term;
  role_ = role;
  if (was_active && (!role.active || new_term)) {
    const absl::Status why =
        MakeError(ErrorCode::kNotController, "controller ", deps_.node_id,
                  " lost its role in term ", role.term);
    LOG(INFO) << why.message();
    pipeline_.End(why);
    sessions_.Deactivate(why);
  }
  if (role.active && (!was_active || new_term)) {
    LOG(INFO) << "controller " << deps_.node_id << " is active in term "
              << role.term << " at offset " << image()->offset() << " with "
              << image()->brokers().size() << " brokers, "
              << image()->partition_count() << " partitions";
    pipeline_.Begin(role.term);
    if (image()->feature_level() == 0) {
      MetadataBatch first;
      first.add_records()->mutable_feature_level()->set_level(kFeatureLevelMax);
      ProposeBatch(std::move(first), [](absl::StatusOr<LogIndex>) {});
    }
    sessions_.Activate(image());
  }
  feed_.OnRole(role);
}

void Controller::ProposeBatch(MetadataBatch batch,
                              DecisionPipeline::Done done) {
  batch.set_timestamp_ms(deps_.clock->WallMillis());
  pipeline_.Propose(std::move(batch), std::move(done));
}

void Controller::Hello(internal::v1::HelloRequest,
                       PeerReply<internal::v1::HelloResponse> reply) {
  Run([this, reply = std::move(reply)]() mutable {
    internal::v1::HelloResponse response;
    const ClusterId cluster = deps_.log->cluster_id();
    if (cluster.is_set()) response.set_cluster_id(cluster.ToBytes());
    response.set_node_id(deps_.node_id.value());
    response.set_active_controller_id(role_.DurableLeader().value());
    response.set_term(role_.durable_term.value());
    response.set_cluster_name(deps_.cluster_name);
    reply(std::move(response));
  });
}

SessionState Controller::OldSession(NodeId broker) const {
  const BrokerImage* latest = pipeline_.latest()->FindBroker(broker);
  if (latest == nullptr) return SessionState::kNone;
  // Registered a moment ago and not committed yet: it may be alive.
  if (latest->epoch.value() > image()->offset().value()) {
    return SessionState::kBroken;
  }
  return sessions_.StateOf(broker, latest->epoch);
}

void Controller::RegisterBroker(
    internal::v1::RegisterBrokerRequest request,
    PeerReply<internal::v1::RegisterBrokerResponse> reply) {
  using Response = internal::v1::RegisterBrokerResponse;
  const NodeId broker(request.broker_id());
  Carry<Response>(
      [this, request = std::move(request)](const MetadataImage& latest) {
        const NodeId id(request.broker_id());
        auto result =
            BrokerControl(latest, *deps_.configs)
                .Register(request, deps_.log->cluster_id(), OldSession(id));
        if (result.ok() && !result->batch.records().empty()) {
          LOG(INFO) << "broker " << id << " registers from "
                    << request.directories_size() << " directories, "
                    << result->batch.records_size() - 1
                    << " records clear up after its last life";
        }
        return result;
      },
      [this, broker](Response& response, LogIndex offset) {
        if (response.broker_epoch() == 0) {
          response.set_broker_epoch(offset.value());
        }
        for (const TopicPartition& tp : WantedVerdicts(*image(), broker)) {
          auto* wanted = response.add_wanted();
          wanted->set_topic_id(tp.topic_id.ToBytes());
          wanted->set_partition(tp.partition.value());
        }
      },
      std::move(reply));
}

void Controller::ReportReplicas(
    internal::v1::ReportReplicasRequest request,
    PeerReply<internal::v1::ReportReplicasResponse> reply) {
  using Response = internal::v1::ReportReplicasResponse;
  Carry<Response>(
      [this, request = std::move(request)](const MetadataImage& latest) {
        for (const auto& verdict : request.verdicts()) {
          if (!verdict.lossy() && !verdict.failed()) continue;
          LOG(WARNING) << "broker " << request.broker_id() << " reports a "
                       << (verdict.failed() ? "failed" : "lossy")
                       << " replica of partition " << verdict.partition()
                       << " that ends at epoch " << verdict.last_epoch()
                       << ", offset " << verdict.log_end_offset();
        }
        return BrokerControl(latest, *deps_.configs).ReportReplicas(request);
      },
      NoFinish<Response>, std::move(reply));
}

void Controller::AlterPartitions(
    internal::v1::AlterPartitionsRequest request,
    PeerReply<internal::v1::AlterPartitionsResponse> reply) {
  using Response = internal::v1::AlterPartitionsResponse;
  Carry<Response>(
      [this, request = std::move(request)](const MetadataImage& latest) {
        return IsrControl(latest, *deps_.configs).Alter(request);
      },
      NoFinish<Response>, std::move(reply));
}

void Controller::AllocateProducerIds(
    internal::v1::AllocateProducerIdsRequest request,
    PeerReply<internal::v1::AllocateProducerIdsResponse> reply) {
  using Response = internal::v1::AllocateProducerIdsResponse;
  Carry<Response>(
      [this, request = std::move(request)](const MetadataImage& latest) {
        return ProducerIdControl(latest, deps_.log->salt(),
                                 deps_.producer_id_block)
            .Allocate(request);
      },
      NoFinish<Response>, std::move(reply));
}

void Controller::DescribeQuorum(v1::DescribeQuorumRequest,
                                PeerReply<v1::DescribeQuorumResponse> reply) {
  Run([this, reply = std::move(reply)]() mutable {
    if (absl::Status status = CheckActive(); !status.ok()) {
      reply(std::move(status));
      return;
    }
    reply(deps_.log->Describe());
  });
}

PeerStreamEvents<internal::v1::LivenessRequest> Controller::AcceptLiveness(
    std::shared_ptr<PeerStream<internal::v1::LivenessResponse>> stream) {
  return sessions_.Accept(std::move(stream), CheckActive());
}

PeerStreamEvents<internal::v1::FollowMetadataRequest>
Controller::AcceptMetadataFollower(
    internal::v1::FollowMetadataRequest request,
    std::shared_ptr<PeerStream<internal::v1::FollowMetadataResponse>> stream) {
  if (stopped_) {
    stream->Close(CheckActive());
    return {};
  }
  return feed_.Accept(request, std::move(stream));
}

void Controller::FenceBroker(NodeId broker, BrokerEpoch epoch,
                             const std::string& why) {
  MetadataBatch batch =
      BrokerControl(*pipeline_.latest(), *deps_.configs).Fence(broker, epoch);
  if (batch.records().empty()) return;
  LOG(WARNING) << "broker " << broker << " epoch " << epoch
               << " is fenced: " << why << "; " << batch.records_size() - 1
               << " partitions change";
  ProposeBatch(std::move(batch), [this, broker,
                                  epoch](absl::StatusOr<LogIndex> result) {
    if (result.ok() || !role_.active) return;
    // Tried again; a controller that is handing over leaves it to the next.
    LOG(WARNING) << "broker " << broker
                 << " is not fenced yet: " << result.status();
    sessions_.RetryFence(broker, epoch);
  });
}

void Controller::UnfenceBroker(NodeId broker, BrokerEpoch epoch) {
  const BrokerImage* known = pipeline_.latest()->FindBroker(broker);
  if (known == nullptr || !known->fenced || known->stopping) return;
  MetadataBatch batch =
      BrokerControl(*pipeline_.latest(), *deps_.configs).Unfence(broker, epoch);
  if (batch.records().empty()) return;
  LOG(INFO) << "broker " << broker << " epoch " << epoch << " is unfenced; "
            << batch.records_size() - 1 << " partitions change";
  // Refused: its next heartbeat asks again.
  ProposeBatch(std::move(batch), [](absl::StatusOr<LogIndex>) {});
}

void Controller::Resign(const std::string& why) {
  const absl::Status asked = deps_.log->TransferLeadership();
  LOG(WARNING) << "controller " << deps_.node_id << " resigns: " << why << "; "
               << (asked.ok() ? "another voter was asked to lead"
                              : std::string(asked.message()));
}

void Controller::BeginStop(NodeId broker, BrokerEpoch epoch) {
  MetadataBatch batch = BrokerControl(*pipeline_.latest(), *deps_.configs)
                            .BeginStop(broker, epoch);
  if (batch.records().empty()) return;
  LOG(INFO) << "broker " << broker << " epoch " << epoch << " wants to stop; "
            << batch.records_size() - 1 << " partitions change";
  // Refused: its next heartbeat asks again.
  ProposeBatch(std::move(batch), [](absl::StatusOr<LogIndex>) {});
}

void Controller::DemoteBroker(NodeId broker, BrokerEpoch epoch,
                              const std::string& why) {
  MetadataBatch batch =
      BrokerControl(*pipeline_.latest(), *deps_.configs).Demote(broker, epoch);
  if (batch.records().empty()) return;
  LOG(WARNING) << "broker " << broker << " epoch " << epoch
               << " is demoted: " << why << "; " << batch.records_size()
               << " records move what others can lead";
  // Refused: it is judged again.
  ProposeBatch(std::move(batch), [](absl::StatusOr<LogIndex>) {});
}

void Controller::ClearDemotion(NodeId broker, BrokerEpoch epoch,
                               const std::string& why) {
  MetadataBatch batch = BrokerControl(*pipeline_.latest(), *deps_.configs)
                            .ClearDemotion(broker, epoch);
  if (batch.records().empty()) return;
  LOG(INFO) << "broker " << broker << " epoch " << epoch
            << " is demoted no more: " << why;
  ProposeBatch(std::move(batch), [](absl::StatusOr<LogIndex>) {});
}

}  // namespace sluice
