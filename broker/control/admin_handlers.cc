#include "broker/control/admin_handlers.h"

#include <algorithm>
#include <set>
#include <utility>

#include "broker/control/metadata_answers.h"
#include "broker/control/quorum_health.h"
#include "broker/present_metadata.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/base/version.h"
#include "controller/metadata/control_result.h"
#include "controller/metadata/health.h"
#include "controller/metadata/topic_control.h"

namespace sluice {
namespace {

// Before the issues that `response` has, which give way at kHealthIssuesMax.
void PutFirst(google::protobuf::RepeatedPtrField<v1::HealthIssue> issues,
              v1::DescribeClusterResponse& response) {
  for (v1::HealthIssue& issue : *response.mutable_issues()) {
    if (static_cast<size_t>(issues.size()) == kHealthIssuesMax) break;
    *issues.Add() = std::move(issue);
  }
  response.mutable_issues()->Swap(&issues);
}

// Before what the image says of brokers and partitions: without a quorum
// nothing of that can be mended. An error leaves the answer as it is; a
// controller that answers nobody is soon no active one, and that is an issue.
void AddQuorumIssues(const absl::StatusOr<v1::DescribeQuorumResponse>& quorum,
                     v1::DescribeClusterResponse& response) {
  if (!quorum.ok()) return;
  google::protobuf::RepeatedPtrField<v1::HealthIssue> issues;
  for (v1::HealthIssue& issue : QuorumIssues(*quorum)) {
    *issues.Add() = std::move(issue);
  }
  PutFirst(std::move(issues), response);
}

}  // namespace

using api::CallContext;

AdminHandlers::AdminHandlers(Deps deps)
    : deps_(std::move(deps)), alive_(std::make_shared<bool>(true)) {}

AdminHandlers::~AdminHandlers() {
  for (auto& [id, waiter] : waiters_) deps_.executor->Cancel(waiter.timer);
}

void AdminHandlers::OnImage(const MetadataImage& image) {
  std::vector<Task> ready;
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    if (it->second.offset > image.offset()) {
      ++it;
      continue;
    }
    deps_.executor->Cancel(it->second.timer);
    ready.push_back(std::move(it->second.done));
    it = waiters_.erase(it);
  }
  for (Task& done : ready) done();
}

void AdminHandlers::Stop() {
  stopped_ = true;
  for (auto& [id, waiter] : std::exchange(waiters_, {})) {
    deps_.executor->Cancel(waiter.timer);
    waiter.done();
  }
}

void AdminHandlers::WaitForImage(LogIndex offset, int64_t deadline_us,
                                 Task done) {
  if (stopped_ || deps_.image()->offset() >= offset) {
    done();
    return;
  }
  const uint64_t id = next_waiter_++;
  Waiter& waiter = waiters_[id];
  waiter.offset = offset;
  waiter.done = std::move(done);
  waiter.timer = deps_.executor->PostAfter(
      std::max<int64_t>(0, deadline_us - deps_.clock->MonoMicros()),
      [this, alive = std::weak_ptr<bool>(alive_), id] {
        if (alive.expired()) return;
        const auto found = waiters_.find(id);
        if (found == waiters_.end()) return;
        Task late = std::move(found->second.done);
        waiters_.erase(found);
        late();
      });
}

std::string AdminHandlers::ListenerOf(const CallContext& context) const {
  const BrokerImage* own = deps_.image()->FindBroker(deps_.node_id);
  const bool known = own != nullptr && !context.listener.empty() &&
                     own->FindListener(context.listener) != nullptr;
  return known ? context.listener : std::string(kPublicListener);
}

// ---- Reads ----

void AdminHandlers::DescribeCluster(
    const CallContext& context, v1::DescribeClusterRequest,
    PeerReply<v1::DescribeClusterResponse> reply) {
  using Response = v1::DescribeClusterResponse;
  Run<Response>(
      std::move(reply), [this, context](PeerReply<Response> answer) mutable {
        Response response = DescribeClusterNow();
        if (deps_.directory->active() == kNoNode) {
          answer(std::move(response));
          return;
        }
        AskForQuorum(
            std::min(deps_.clock->MonoMicros() + kVotersTimeoutUs,
                     context.deadline_us - kDeadlineMarginUs),
            [response = std::move(response), answer = std::move(answer)](
                absl::StatusOr<v1::DescribeQuorumResponse> quorum) mutable {
              AddQuorumIssues(quorum, response);
              answer(std::move(response));
            });
      });
}

v1::DescribeClusterResponse AdminHandlers::DescribeClusterNow() const {
  v1::DescribeClusterResponse response =
      AnswerDescribeCluster(*deps_.image(), *deps_.configs);
  const ClusterId cluster_id = deps_.cluster_id();
  if (cluster_id.is_set()) response.set_cluster_id(cluster_id.ToString());
  response.set_cluster_name(deps_.cluster_name);
  response.set_answering_node_id(deps_.node_id.value());
  response.set_active_controller_id(deps_.directory->active().value());
  response.set_version(kVersion);
  if (deps_.add_memory) deps_.add_memory(response);
  for (const ConfiguredController& known : deps_.directory->controllers()) {
    v1::Controller* controller = response.add_controllers();
    controller->set_id(known.id.value());
    controller->mutable_endpoint()->set_host(known.endpoint.host);
    controller->mutable_endpoint()->set_port(known.endpoint.port);
  }
  PutFirst(OwnIssues(), response);
  return response;
}

google::protobuf::RepeatedPtrField<v1::HealthIssue> AdminHandlers::OwnIssues()
    const {
  // First what puts the rest in doubt.
  google::protobuf::RepeatedPtrField<v1::HealthIssue> issues;
  const auto add = [&](v1::HealthIssue::Kind kind, std::string message) {
    v1::HealthIssue* issue = issues.Add();
    issue->set_kind(kind);
    issue->set_partition(-1);
    issue->set_broker_id(deps_.node_id.value());
    issue->set_message(std::move(message));
  };
  const int64_t silent_us = deps_.clock->MonoMicros() - deps_.last_contact_us();
  const absl::Status present = CheckMetadataIsPresent(*deps_.image());
  if (deps_.directory->active() == kNoNode) {
    add(v1::HealthIssue::KIND_NO_CONTROLLER,
        StrCat("broker ", deps_.node_id,
               " knows of no active controller: leaders, ISRs and topics "
               "cannot change, ",
               present.ok() ? "reads and writes go on"
                            : "and it serves nobody before it has read the "
                              "metadata; brokers that have it go on",
               "; check that a majority of the controllers runs and is "
               "reachable"));
  }
  if (!present.ok()) {
    add(v1::HealthIssue::KIND_METADATA_STALE, std::string(present.message()));
  } else if (silent_us > kStaleUs) {
    add(v1::HealthIssue::KIND_METADATA_STALE,
        StrCat("broker ", deps_.node_id, " has not heard for ",
               silent_us / 1000000, " s whether its metadata (offset ",
               deps_.image()->offset(),
               ") is the newest: this answer may be old; ask another broker, "
               "check the way from this one to the controllers"));
  }
  if (deps_.full_directories) {
    for (const std::string& path : deps_.full_directories()) {
      add(v1::HealthIssue::KIND_DISK_FULL,
          StrCat("data directory ", path, " of broker ", deps_.node_id,
                 " is full: it refuses appends, and hands its leaderships to "
                 "in-sync replicas whose brokers have room; free some there, "
                 "or delete or trim topics. It goes on by itself, without a "
                 "restart"));
    }
  }
  if (!deps_.closed_views) return issues;
  for (const auto& [path, why] : deps_.closed_views()) {
    const bool full = CodeOf(why) == ErrorCode::kStorageFull;
    add(full ? v1::HealthIssue::KIND_DISK_FULL
             : v1::HealthIssue::KIND_REPLICA_FAILED,
        StrCat("the view of committed offsets in ", path, " of broker ",
               deps_.node_id, " cannot be opened: ", StdView(why.message()),
               ". Groups that it coordinates wait; ",
               full ? "free room on that file system"
                    : "mend what is named, or delete that directory: all in "
                      "it comes back from the log",
               ". It is tried every few seconds, without a restart; until "
               "then, stopping the broker lets others coordinate"));
  }
  return issues;
}

void AdminHandlers::GetMetadata(const CallContext& context,
                                v1::GetMetadataRequest request,
                                PeerReply<v1::GetMetadataResponse> reply) {
  Read<v1::GetMetadataResponse>(
      std::move(reply), [this, context, request = std::move(request)] {
        auto response =
            AnswerGetMetadata(*deps_.image(), ListenerOf(context), request);
        if (response.ok()) {
          const ClusterId cluster_id = deps_.cluster_id();
          if (cluster_id.is_set()) {
            response->set_cluster_id(cluster_id.ToString());
          }
          response->set_active_controller_id(
              deps_.directory->active().value());
        }
        return response;
      });
}

void AdminHandlers::ListTopics(const CallContext&,
                               v1::ListTopicsRequest request,
                               PeerReply<v1::ListTopicsResponse> reply) {
  Read<v1::ListTopicsResponse>(
      std::move(reply), [this, request = std::move(request)] {
        return AnswerListTopics(*deps_.image(), request);
      });
}

void AdminHandlers::DescribeTopics(
    const CallContext& context, v1::DescribeTopicsRequest request,
    PeerReply<v1::DescribeTopicsResponse> reply) {
  Run<v1::DescribeTopicsResponse>(
      std::move(reply), [this, context, request = std::move(request)](
                            PeerReply<v1::DescribeTopicsResponse> answer) {
        const absl::Status present = CheckMetadataIsPresent(*deps_.image());
        if (!present.ok()) {
          answer(present);
          return;
        }
        auto response = AnswerDescribeTopics(*deps_.image(), *deps_.configs,
                                             ListenerOf(context), request);
        if (response.ok() && request.include_log()) {
          AddLogs(*std::move(response), std::move(answer));
        } else {
          answer(std::move(response));
        }
      });
}

void AdminHandlers::AddLogs(v1::DescribeTopicsResponse response,
                            PeerReply<v1::DescribeTopicsResponse> reply) {
  std::vector<TopicPartition> asked;
  std::vector<std::pair<int, int>> places;  // topic, log
  for (int t = 0; t < response.topics_size(); ++t) {
    v1::TopicDescription& topic = *response.mutable_topics(t);
    const auto id = TopicId::FromBytes(topic.metadata().id());
    if (topic.metadata().has_error() || !id.has_value()) continue;
    for (const auto& partition : topic.metadata().partitions()) {
      v1::PartitionLog* log = topic.add_logs();
      log->set_partition(partition.partition());
      if (NodeId(partition.leader_id()) == deps_.node_id) {
        asked.push_back({*id, PartitionIndex(partition.partition())});
        places.emplace_back(t, topic.logs_size() - 1);
        continue;
      }
      *log->mutable_error() = ToError(MakeError(
          ErrorCode::kNotLeader, "broker ", deps_.node_id, " does not lead ",
          topic.metadata().name(), "-", partition.partition(),
          partition.leader_id() < 0
              ? std::string(", nobody does")
              : StrCat("; ask its leader, broker ", partition.leader_id())));
    }
  }
  if (asked.empty()) {
    reply(std::move(response));
    return;
  }
  deps_.describe_logs(
      std::move(asked),
      [response = std::move(response), places = std::move(places),
       reply = std::move(reply)](std::vector<v1::PartitionLog> logs) mutable {
        for (size_t i = 0; i < places.size(); ++i) {
          v1::PartitionLog* log = response.mutable_topics(places[i].first)
                                      ->mutable_logs(places[i].second);
          const int32_t partition = log->partition();
          if (i < logs.size()) *log = std::move(logs[i]);
          log->set_partition(partition);
        }
        reply(std::move(response));
      });
}

void AdminHandlers::AskForQuorum(
    int64_t deadline_us, PeerReply<v1::DescribeQuorumResponse> reply) {
  using Response = v1::DescribeQuorumResponse;
  deps_.directory->CallActive<Response>(
      deadline_us, kQuorumTimeoutUs,
      [](ControllerPeer* peer, int64_t timeout_us, PeerReply<Response> r) {
        peer->DescribeQuorum({}, timeout_us, std::move(r));
      },
      [reply = std::move(reply)](
          ControllerDirectory::Outcome<Response> outcome) mutable {
        reply(std::move(outcome.response));
      });
}

void AdminHandlers::DescribeQuorum(
    const CallContext& context, v1::DescribeQuorumRequest,
    PeerReply<v1::DescribeQuorumResponse> reply) {
  Run<v1::DescribeQuorumResponse>(
      std::move(reply),
      [this, context](PeerReply<v1::DescribeQuorumResponse> answer) {
        AskForQuorum(std::min(deps_.clock->MonoMicros() + kQuorumTimeoutUs,
                              context.deadline_us - kDeadlineMarginUs),
                     std::move(answer));
      });
}

// ---- Changes ----

absl::StatusOr<int64_t> AdminHandlers::CheckChange(const CallContext& context,
                                                   int topics,
                                                   int32_t timeout_ms) const {
  if (topics < 1 || topics > kTopicsPerCallMax) {
    return MakeError(ErrorCode::kInvalidRequest, topics,
                     " topics in one call; at least 1, at most ",
                     kTopicsPerCallMax);
  }
  if (timeout_ms < 0) {
    return MakeError(ErrorCode::kInvalidRequest, "timeout_ms ", timeout_ms,
                     "; 0 means ", kTimeoutDefaultMs);
  }
  if (changes_ >= kChangesMax) {
    return MakeError(ErrorCode::kBusy, changes_,
                     " changes of topics are under way through this broker, "
                     "the limit; try again later");
  }
  const int64_t wait_ms = std::min<int64_t>(
      timeout_ms == 0 ? kTimeoutDefaultMs : timeout_ms, kTimeoutMaxMs);
  return std::min(deps_.clock->MonoMicros() + wait_ms * 1000,
                  context.deadline_us - kDeadlineMarginUs);
}

void AdminHandlers::CreateTopics(const CallContext& context,
                                 v1::CreateTopicsRequest request,
                                 PeerReply<v1::CreateTopicsResponse> reply) {
  Run<v1::CreateTopicsResponse>(
      std::move(reply), [this, context, request = std::move(request)](
                            PeerReply<v1::CreateTopicsResponse> answer) {
        CreateNow(context, request, std::move(answer));
      });
}

void AdminHandlers::CreateNow(const CallContext& context,
                              const v1::CreateTopicsRequest& request,
                              PeerReply<v1::CreateTopicsResponse> reply) {
  using Response = v1::CreateTopicsResponse;
  const auto deadline_us =
      CheckChange(context, request.topics_size(), request.timeout_ms());
  if (!deadline_us.ok()) {
    reply(deadline_us.status());
    return;
  }
  std::set<std::string> existed;
  for (const v1::NewTopic& topic : request.topics()) {
    if (deps_.image()->FindTopic(topic.name()) != nullptr) {
      existed.insert(topic.name());
    }
  }
  Change<Response>(
      *deadline_us, request.validate_only(),
      [request](ControllerPeer* peer, int64_t timeout_us,
                PeerReply<Response> r) {
        peer->CreateTopics(request, timeout_us, std::move(r));
      },
      [existed = std::move(existed)](Response& response, bool uncertain) {
        if (!uncertain) return;
        for (auto& result : *response.mutable_results()) {
          if (!result.has_error() ||
              CodeFromNumber(static_cast<int32_t>(result.error().code())) !=
                  ErrorCode::kTopicAlreadyExists ||
              existed.count(result.name())) {
            continue;
          }
          *result.mutable_error() = ToError(MakeError(
              ErrorCode::kOutcomeUnknown, "topic \"", result.name(),
              "\" exists now: an attempt whose answer got lost created it, or "
              "somebody else did; describe it"));
        }
      },
      std::move(reply));
}

void AdminHandlers::DeleteTopics(const CallContext& context,
                                 v1::DeleteTopicsRequest request,
                                 PeerReply<v1::DeleteTopicsResponse> reply) {
  Run<v1::DeleteTopicsResponse>(
      std::move(reply), [this, context, request = std::move(request)](
                            PeerReply<v1::DeleteTopicsResponse> answer) {
        DeleteNow(context, request, std::move(answer));
      });
}

void AdminHandlers::DeleteNow(const CallContext& context,
                              const v1::DeleteTopicsRequest& request,
                              PeerReply<v1::DeleteTopicsResponse> reply) {
  using Response = v1::DeleteTopicsResponse;
  const auto deadline_us =
      CheckChange(context, request.topics_size(), request.timeout_ms());
  if (!deadline_us.ok()) {
    reply(deadline_us.status());
    return;
  }
  // By id from the second attempt on: a topic that was made anew under the
  // same name meanwhile is another one (MD7).
  v1::DeleteTopicsRequest by_id = request;
  std::vector<std::pair<std::string, std::string>> known;  // name, id
  for (v1::TopicRef& ref : *by_id.mutable_topics()) {
    v1::Error none;
    const TopicImage* topic = FindTopicRef(*deps_.image(), ref, &none);
    known.emplace_back();
    if (topic == nullptr) continue;
    known.back() = {topic->name, topic->id.ToBytes()};
    ref.set_id(topic->id.ToBytes());
  }
  Change<Response>(
      *deadline_us, request.validate_only(),
      [request, by_id = std::move(by_id), again = false](
          ControllerPeer* peer, int64_t timeout_us,
          PeerReply<Response> r) mutable {
        const bool second = std::exchange(again, true);
        peer->DeleteTopics(second ? by_id : request, timeout_us, std::move(r));
      },
      [request, known = std::move(known)](Response& response, bool uncertain) {
        if (response.results_size() != request.topics_size()) return;
        for (int i = 0; i < response.results_size(); ++i) {
          v1::DeleteTopicResult& result = *response.mutable_results(i);
          *result.mutable_topic() = request.topics(i);
          const ErrorCode code =
              CodeFromNumber(static_cast<int32_t>(result.error().code()));
          const bool gone = code == ErrorCode::kUnknownTopicOrPartition ||
                            code == ErrorCode::kUnknownTopicId;
          if (!uncertain || !gone || known[i].second.empty()) continue;
          // It was there when the request came and is not any more.
          result.clear_error();
          result.set_name(known[i].first);
          result.set_id(known[i].second);
        }
      },
      std::move(reply));
}

}  // namespace sluice
