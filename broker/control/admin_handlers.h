// ClusterService and TopicService of a broker: reads from the metadata that it
// has applied, changes forwarded to the active controller.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "broker/control/controller_directory.h"
#include "broker/replica_host.h"
#include "broker/present_metadata.h"
#include "common/api/log_api.h"
#include "common/base/error.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/image.h"
#include "sluice/v1/cluster.pb.h"
#include "sluice/v1/topic.pb.h"

namespace sluice {

// The methods (BrokerApi's) may be called on any thread; they post. Replies
// run on the control executor.
//
// A change is forwarded until the request's timeout or the caller's deadline.
// REQUEST_TIMED_OUT: no controller took it, nothing was changed.
// OUTCOME_UNKNOWN, of the whole request or of a topic: an attempt's answer got
// lost; look before asking again. A successful change is answered once this
// broker's own image has it, or at the deadline.
class AdminHandlers {
 public:
  static constexpr int64_t kTimeoutDefaultMs = 30000;
  static constexpr int64_t kTimeoutMaxMs = 300000;
  static constexpr int64_t kAttemptUs = 10000000;
  // Answers leave so long before the caller's deadline.
  static constexpr int64_t kDeadlineMarginUs = 50000;
  static constexpr int64_t kQuorumTimeoutUs = 5000000;
  // DescribeCluster waits so long for what the active controller says of the
  // others.
  static constexpr int64_t kVotersTimeoutUs = 500000;
  static constexpr int64_t kStaleUs = 5000000;
  static constexpr size_t kChangesMax = 1000;  // forwarded at a time

  // Answers for the partitions given, in their order, on the control executor.
  using DescribeLogs = std::function<void(
      std::vector<TopicPartition>,
      absl::AnyInvocable<void(std::vector<v1::PartitionLog>)> done)>;

  // Answers what it was that failed, on the control executor.
  using ResetDone = absl::AnyInvocable<void(absl::StatusOr<std::string>)>;
  using ResetReplicaTask =
      std::function<void(const ReplicaReset& order, ResetDone done)>;

  // Paths of views of committed offsets that cannot be opened, and why.
  using ClosedViews =
      std::function<std::vector<std::pair<std::string, absl::Status>>()>;

  struct Deps {
    Executor* executor = nullptr;
    const Clock* clock = nullptr;
    ControllerDirectory* directory = nullptr;
    std::shared_ptr<const ConfigRegistry> configs;
    NodeId node_id;
    std::string cluster_name;
    std::function<ClusterId()> cluster_id;
    // Empty (offset 0) until this process's own registration is applied: reads
    // are refused with BROKER_NOT_AVAILABLE, but for DescribeCluster, which
    // says so among its issues.
    std::function<std::shared_ptr<const MetadataImage>()> image;
    std::function<int64_t()> last_contact_us;
    DescribeLogs describe_logs;
    ResetReplicaTask reset_replica;
    // This node's memory, for DescribeCluster. May be null.
    std::function<void(v1::DescribeClusterResponse&)> add_memory;
    // Data directories that refuse appends for want of room. May be null.
    std::function<std::vector<std::string>()> full_directories;
    // May be null.
    ClosedViews closed_views;
  };

  explicit AdminHandlers(Deps deps);
  ~AdminHandlers();
  AdminHandlers(const AdminHandlers&) = delete;

  // On the control executor: an image was published.
  void OnImage(const MetadataImage& image);
  // Answers what waits with SHUTTING_DOWN or, where it was done, its result.
  void Stop();

  void DescribeCluster(const api::CallContext& context,
                       v1::DescribeClusterRequest request,
                       PeerReply<v1::DescribeClusterResponse> reply);
  void GetMetadata(const api::CallContext& context,
                   v1::GetMetadataRequest request,
                   PeerReply<v1::GetMetadataResponse> reply);
  void DescribeQuorum(const api::CallContext& context,
                      v1::DescribeQuorumRequest request,
                      PeerReply<v1::DescribeQuorumResponse> reply);
  void CreateTopics(const api::CallContext& context,
                    v1::CreateTopicsRequest request,
                    PeerReply<v1::CreateTopicsResponse> reply);
  void DeleteTopics(const api::CallContext& context,
                    v1::DeleteTopicsRequest request,
                    PeerReply<v1::DeleteTopicsResponse> reply);
  void ListTopics(const api::CallContext& context,
                  v1::ListTopicsRequest request,
                  PeerReply<v1::ListTopicsResponse> reply);
  void DescribeTopics(const api::CallContext& context,
                      v1::DescribeTopicsRequest request,
                      PeerReply<v1::DescribeTopicsResponse> reply);

  // ---- admin_partitions.cc ----
  void CreatePartitions(const api::CallContext& context,
                        v1::CreatePartitionsRequest request,
                        PeerReply<v1::CreatePartitionsResponse> reply);
  // Of this broker itself: answered once its own image has the topic. Made as
  // often as it is asked it has the same effect.
  void EnsureInternalTopic(
      const std::string& name, int64_t deadline_us,
      PeerReply<internal::v1::EnsureInternalTopicResponse> reply);

  // ---- admin_configs.cc ----
  void DescribeConfigs(const api::CallContext& context,
                       v1::DescribeConfigsRequest request,
                       PeerReply<v1::DescribeConfigsResponse> reply);
  // Sets of values: an attempt whose answer got lost is made again, and has
  // the same effect.
  void AlterConfigs(const api::CallContext& context,
                    v1::AlterConfigsRequest request,
                    PeerReply<v1::AlterConfigsResponse> reply);
  // admin_elections.cc
  void ElectLeaders(const api::CallContext& context,
                    v1::ElectLeadersRequest request,
                    PeerReply<v1::ElectLeadersResponse> reply);
  // Of a replica on this broker.
  void ResetReplica(const api::CallContext& context,
                    v1::ResetReplicaRequest request,
                    PeerReply<v1::ResetReplicaResponse> reply);

 private:
  struct Waiter {
    LogIndex offset;
    Task done;
    TimerId timer = 0;
  };

  // Runs `task` on the executor, or answers SHUTTING_DOWN when stopped.
  template <class Response>
  void Run(PeerReply<Response> reply,
           absl::AnyInvocable<void(PeerReply<Response>)> handler);
  // Forwards a change, lets `correct` look at the answer (with whether an
  // earlier attempt may have been carried out), and waits until it is applied
  // here.
  template <class Response>
  void Change(int64_t deadline_us, bool validate_only,
              ControllerDirectory::Attempt<Response> attempt,
              absl::AnyInvocable<void(Response&, bool uncertain)> correct,
              PeerReply<Response> reply);
  // All of a request that needs no look at the metadata before: on the
  // executor, checked, then Change. `count`: topics or resources named.
  template <class Request, class Response>
  void Forward(const api::CallContext& context, Request request, int count,
               void (ControllerPeer::*call)(const Request&, int64_t,
                                            PeerReply<Response>),
               void (*correct)(Response&, bool uncertain),
               PeerReply<Response> reply);
  void WaitForImage(LogIndex offset, int64_t deadline_us, Task done);
  void CreateNow(const api::CallContext& context,
                 const v1::CreateTopicsRequest& request,
                 PeerReply<v1::CreateTopicsResponse> reply);
  void DeleteNow(const api::CallContext& context,
                 const v1::DeleteTopicsRequest& request,
                 PeerReply<v1::DeleteTopicsResponse> reply);
  void GrowNow(const api::CallContext& context,
               const v1::CreatePartitionsRequest& request,
               PeerReply<v1::CreatePartitionsResponse> reply);
  v1::DescribeClusterResponse DescribeClusterNow() const;
  // What this broker alone knows, and what puts the rest in doubt.
  google::protobuf::RepeatedPtrField<v1::HealthIssue> OwnIssues() const;
  // Which controllers the active one misses; its answer may be an error.
  void AskForQuorum(int64_t deadline_us,
                    PeerReply<v1::DescribeQuorumResponse> reply);
  // As Run, for what is answered from the image.
  template <class Response>
  void Read(PeerReply<Response> reply,
            absl::AnyInvocable<absl::StatusOr<Response>()> answer);
  void AddLogs(v1::DescribeTopicsResponse response,
               PeerReply<v1::DescribeTopicsResponse> reply);
  absl::StatusOr<int64_t> CheckChange(const api::CallContext& context,
                                      int topics, int32_t timeout_ms) const;
  std::string ListenerOf(const api::CallContext& context) const;

  Deps deps_;
  bool stopped_ = false;
  size_t changes_ = 0;
  uint64_t next_waiter_ = 1;
  std::map<uint64_t, Waiter> waiters_;
  std::shared_ptr<bool> alive_;
};

template <class Response>
void AdminHandlers::Run(
    PeerReply<Response> reply,
    absl::AnyInvocable<void(PeerReply<Response>)> handler) {
  deps_.executor->Post([this, alive = std::weak_ptr<bool>(alive_),
                        reply = std::move(reply),
                        handler = std::move(handler)]() mutable {
    if (alive.expired() || stopped_) {
      reply(MakeError(ErrorCode::kShuttingDown,
                      "the broker is stopping; ask another"));
      return;
    }
    handler(std::move(reply));
  });
}

template <class Response>
void AdminHandlers::Read(
    PeerReply<Response> reply,
    absl::AnyInvocable<absl::StatusOr<Response>()> answer) {
  Run<Response>(std::move(reply), [this, answer = std::move(answer)](
                                      PeerReply<Response> done) mutable {
    const absl::Status present = CheckMetadataIsPresent(*deps_.image());
    done(present.ok() ? answer() : absl::StatusOr<Response>(present));
  });
}

template <class Request, class Response>
void AdminHandlers::Forward(
    const api::CallContext& context, Request request, int count,
    void (ControllerPeer::*call)(const Request&, int64_t, PeerReply<Response>),
    void (*correct)(Response&, bool), PeerReply<Response> reply) {
  Run<Response>(
      std::move(reply), [this, context, count, call, correct,
                         request = std::move(request)](
                            PeerReply<Response> answer) mutable {
        const auto deadline_us =
            CheckChange(context, count, request.timeout_ms());
        if (!deadline_us.ok()) {
          answer(deadline_us.status());
          return;
        }
        const bool validate_only = request.validate_only();
        Change<Response>(
            *deadline_us, validate_only,
            [call, request = std::move(request)](
                ControllerPeer* peer, int64_t timeout_us,
                PeerReply<Response> r) {
              (peer->*call)(request, timeout_us, std::move(r));
            },
            correct, std::move(answer));
      });
}

template <class Response>
void AdminHandlers::Change(
    int64_t deadline_us, bool validate_only,
    ControllerDirectory::Attempt<Response> attempt,
    absl::AnyInvocable<void(Response&, bool)> correct,
    PeerReply<Response> reply) {
  ++changes_;
  deps_.directory->CallActive<Response>(
      deadline_us, kAttemptUs, std::move(attempt),
      [this, alive = std::weak_ptr<bool>(alive_), deadline_us, validate_only,
       correct = std::move(correct), reply = std::move(reply)](
          ControllerDirectory::Outcome<Response> outcome) mutable {
        if (alive.expired()) return;
        --changes_;
        if (!outcome.response.ok()) {
          const ErrorCode code = CodeOf(outcome.response.status());
          const bool unknown = outcome.uncertain && !validate_only &&
                               (code == ErrorCode::kRequestTimedOut ||
                                code == ErrorCode::kShuttingDown);
          reply(unknown ? MakeError(ErrorCode::kOutcomeUnknown,
                                    "the active controller took the request "
                                    "and did not answer: it may be carried "
                                    "out, now or soon; list the topics before "
                                    "asking again")
                        : outcome.response.status());
          return;
        }
        correct(*outcome.response, outcome.uncertain);
        const LogIndex offset(outcome.response->metadata_offset());
        if (validate_only) {
          reply(std::move(outcome.response));
          return;
        }
        WaitForImage(offset, deadline_us,
                     [response = std::move(outcome.response),
                      reply = std::move(reply)]() mutable {
                       reply(std::move(response));
                     });
      });
}

}  // namespace sluice
