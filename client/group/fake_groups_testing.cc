#include "client/group/fake_groups_testing.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice {
namespace {

constexpr int64_t kLatencyUs = 700;

void SetError(v1::Error* error, ErrorCode code, const std::string& why) {
  error->set_code(static_cast<v1::ErrorCode>(static_cast<int>(code)));
  error->set_message(why);
}

}  // namespace

// Answers about groups, each after a while, on the client's executor.
class FakeGroupPeer final
    : public GroupPeer,
      public std::enable_shared_from_this<FakeGroupPeer> {
 public:
  FakeGroupPeer(FakeGroups* groups, api::Endpoint endpoint, Executor* executor)
      : groups_(groups),
        endpoint_(std::move(endpoint)),
        id_(NodeId(endpoint_.port - 9000)),
        executor_(executor) {}

  const api::Endpoint& endpoint() const override { return endpoint_; }

  void FindCoordinator(const v1::FindCoordinatorRequest& request, int64_t t,
                       PeerReply<v1::FindCoordinatorResponse> reply) override {
    Call<v1::FindCoordinatorResponse>(
        "FindCoordinator", t, std::move(reply),
        [this, request](auto answer) {
          v1::FindCoordinatorResponse response;
          for (const std::string& key : request.keys()) {
            auto* result = response.add_results();
            result->set_key(key);
            if (groups_->down.contains(groups_->coordinator)) {
              SetError(result->mutable_error(),
                       ErrorCode::kCoordinatorNotAvailable, "it is down");
              continue;
            }
            const auto at = FakeCluster::EndpointOf(groups_->coordinator);
            result->set_node_id(groups_->coordinator.value());
            result->mutable_endpoint()->set_host(at.host);
            result->mutable_endpoint()->set_port(at.port);
          }
          answer(response);
        });
  }

  void JoinGroup(const v1::JoinGroupRequest& request, int64_t t,
                 PeerReply<v1::JoinGroupResponse> reply) override {
    Grouped<v1::JoinGroupResponse>(
        "JoinGroup", t, std::move(reply), request.group_id(),
        [this, request](group::RequestId id) -> group::Event {
          group::Join join{.request = id,
                           .member = group::MemberId(request.member_id()),
                           .instance =
                               group::InstanceId(request.group_instance_id()),
                           .client_id = request.client_id()};
          join.session_timeout_us =
              int64_t{request.session_timeout_ms()} * 1000;
          join.rebalance_timeout_us =
              int64_t{request.rebalance_timeout_ms()} * 1000;
          join.protocol_type = request.protocol_type();
          for (const auto& p : request.protocols()) {
            join.protocols.push_back({p.name(), p.metadata()});
          }
          join.reason = request.reason();
          join.now_us = groups_->clock_->MonoMicros();
          return join;
        },
        [](const group::Action& action) {
          const auto& a = std::get<group::AnswerJoin>(action);
          v1::JoinGroupResponse response;
          if (a.code != ErrorCode::kNone) {
            SetError(response.mutable_error(), a.code, "by the core");
          }
          response.set_member_id(a.member.ToString());
          response.set_generation_id(a.generation.value());
          response.set_protocol_name(a.protocol_name);
          response.set_leader_id(a.leader.ToString());
          response.set_skip_assignment(a.skip_assignment);
          for (const auto& m : a.members) {
            auto* member = response.add_members();
            member->set_member_id(m.id.ToString());
            member->set_group_instance_id(m.instance.ToString());
            member->set_metadata(m.metadata);
          }
          return response;
        });
  }

  void SyncGroup(const v1::SyncGroupRequest& request, int64_t t,
                 PeerReply<v1::SyncGroupResponse> reply) override {
    Grouped<v1::SyncGroupResponse>(
        "SyncGroup", t, std::move(reply), request.group_id(),
        [this, request](group::RequestId id) -> group::Event {
          group::Sync sync{.request = id,
                           .member = group::MemberId(request.member_id()),
                           .instance =
                               group::InstanceId(request.group_instance_id()),
                           .generation =
                               group::Generation(request.generation_id()),
                           .protocol_type = request.protocol_type(),
                           .protocol_name = request.protocol_name(),
                           .assignments = {}};
          for (const auto& a : request.assignments()) {
            sync.assignments.push_back(
                {group::MemberId(a.member_id()), a.assignment()});
          }
          sync.now_us = groups_->clock_->MonoMicros();
          return sync;
        },
        [](const group::Action& action) {
          const auto& a = std::get<group::AnswerSync>(action);
          v1::SyncGroupResponse response;
          if (a.code != ErrorCode::kNone) {
            SetError(response.mutable_error(), a.code, "by the core");
          }
          response.set_generation_id(a.generation.value());
          response.set_assignment(a.assignment);
          return response;
        });
  }

  void Heartbeat(const v1::HeartbeatRequest& request, int64_t t,
                 PeerReply<v1::HeartbeatResponse> reply) override {
    Grouped<v1::HeartbeatResponse>(
        "Heartbeat", t, std::move(reply), request.group_id(),
        [this, request](group::RequestId id) -> group::Event {
          return group::Heartbeat{
              id, group::MemberId(request.member_id()),
              group::InstanceId(request.group_instance_id()),
              group::Generation(request.generation_id()),
              groups_->clock_->MonoMicros()};
        },
        [](const group::Action& action) {
          const auto& a = std::get<group::AnswerHeartbeat>(action);
          v1::HeartbeatResponse response;
          if (a.code != ErrorCode::kNone) {
            SetError(response.mutable_error(), a.code, "by the core");
          }
          return response;
        });
  }

  void LeaveGroup(const v1::LeaveGroupRequest& request, int64_t t,
                  PeerReply<v1::LeaveGroupResponse> reply) override {
    Grouped<v1::LeaveGroupResponse>(
        "LeaveGroup", t, std::move(reply), request.group_id(),
        [this, request](group::RequestId id) -> group::Event {
          group::Leave leave{.request = id, .members = {}};
          for (const auto& m : request.members()) {
            leave.members.push_back({group::MemberId(m.member_id()),
                                     group::InstanceId(m.group_instance_id()),
                                     m.reason()});
          }
          leave.now_us = groups_->clock_->MonoMicros();
          return leave;
        },
        [](const group::Action& action) {
          const auto& a = std::get<group::AnswerLeave>(action);
          v1::LeaveGroupResponse response;
          if (a.code != ErrorCode::kNone) {
            SetError(response.mutable_error(), a.code, "by the core");
          }
          return response;
        });
  }

  void CommitOffsets(const v1::CommitOffsetsRequest& request, int64_t t,
                     PeerReply<v1::CommitOffsetsResponse> reply) override {
    Call<v1::CommitOffsetsResponse>(
        "CommitOffsets", t, std::move(reply), [this, request](auto answer) {
          if (!IsCoordinator()) {
            v1::CommitOffsetsResponse response;
            for (const auto& offset : request.offsets()) {
              auto* result = response.add_results();
              *result->mutable_topic() = offset.topic();
              result->set_partition(offset.partition());
              SetError(result->mutable_error(), ErrorCode::kNotCoordinator,
                       "elsewhere");
            }
            return answer(response);
          }
          answer(groups_->Commit(request, executor_));
        });
  }

  void FetchOffsets(const v1::FetchOffsetsRequest& request, int64_t t,
                    PeerReply<v1::FetchOffsetsResponse> reply) override {
    Call<v1::FetchOffsetsResponse>(
        "FetchOffsets", t, std::move(reply), [this, request](auto answer) {
          if (!IsCoordinator()) {
            v1::FetchOffsetsResponse response;
            for (const auto& asked : request.groups()) {
              auto* group = response.add_groups();
              group->set_group_id(asked.group_id());
              SetError(group->mutable_error(), ErrorCode::kNotCoordinator,
                       "elsewhere");
            }
            return answer(response);
          }
          answer(groups_->Fetch(request));
        });
  }

  // An administrator's calls are canned by who tests them.
  void DeleteOffsets(const v1::DeleteOffsetsRequest&, int64_t,
                     PeerReply<v1::DeleteOffsetsResponse> reply) override {
    Refuse(std::move(reply));
  }
  void ListGroups(const v1::ListGroupsRequest&, int64_t,
                  PeerReply<v1::ListGroupsResponse> reply) override {
    Refuse(std::move(reply));
  }
  void DescribeGroups(const v1::DescribeGroupsRequest&, int64_t,
                      PeerReply<v1::DescribeGroupsResponse> reply) override {
    Refuse(std::move(reply));
  }
  void DeleteGroups(const v1::DeleteGroupsRequest&, int64_t,
                    PeerReply<v1::DeleteGroupsResponse> reply) override {
    Refuse(std::move(reply));
  }

 private:
  template <class Response>
  void Refuse(PeerReply<Response> reply) {
    executor_->Post([reply = std::move(reply)]() mutable {
      reply(MakeError(ErrorCode::kUnsupportedVersion, "not by this fake"));
    });
  }

  bool IsCoordinator() const { return groups_->coordinator == id_; }

  template <class Response>
  using Body = std::function<void(std::function<void(const Response&)>)>;

  template <class Response>
  void Call(const std::string& method, int64_t timeout_us,
            PeerReply<Response> reply, Body<Response> body) {
    ++groups_->calls[method];
    auto once = std::make_shared<PeerReply<Response>>(std::move(reply));
    const auto finish = [once](absl::StatusOr<Response> result) {
      if (*once == nullptr) return;
      std::exchange(*once, nullptr)(std::move(result));
    };
    executor_->PostAfter(timeout_us, [finish] {
      finish(absl::DeadlineExceededError("no answer in time"));
    });
    executor_->PostAfter(kLatencyUs, [this, self = shared_from_this(), method,
                                      finish, body] {
      if (groups_->down.contains(id_)) {
        return finish(absl::UnavailableError("connection refused"));
      }
      const auto fate = groups_->fate ? groups_->fate(id_, method)
                                      : FakeGroups::Fate::kDeliver;
      if (fate == FakeGroups::Fate::kHang) return;
      if (fate == FakeGroups::Fate::kLoseRequest) {
        return finish(absl::UnavailableError("reset"));
      }
      body([this, self, finish, fate](const Response& response) {
        executor_->PostAfter(kLatencyUs, [this, self, finish, fate, response] {
          if (fate == FakeGroups::Fate::kLoseAnswer ||
              groups_->down.contains(id_)) {
            return finish(absl::UnavailableError("reset"));
          }
          finish(response);
        });
      });
    });
  }

  template <class Response>
  void Grouped(const std::string& method, int64_t timeout_us,
               PeerReply<Response> reply, const std::string& group,
               std::function<group::Event(group::RequestId)> event,
               std::function<Response(const group::Action&)> convert) {
    Call<Response>(
        method, timeout_us, std::move(reply),
        [this, self = shared_from_this(), group, event,
         convert](std::function<void(const Response&)> answer) {
          if (!IsCoordinator()) {
            Response response;
            SetError(response.mutable_error(), ErrorCode::kNotCoordinator,
                     "elsewhere");
            return answer(response);
          }
          const group::RequestId id(groups_->next_request_++);
          groups_->Get(group).waiting[id] =
              [convert, answer](const group::Action& action) {
                answer(convert(action));
              };
          groups_->Step(group, event(id), executor_);
        });
  }

  FakeGroups* const groups_;
  const api::Endpoint endpoint_;
  const NodeId id_;
  Executor* const executor_;
};

FakeGroups::FakeGroups(const Clock* clock, const FakeCluster* topics,
                       uint64_t seed)
    : clock_(clock), topics_(topics), random_(seed) {}

std::optional<NamedPartition> FakeGroups::Resolve(const v1::TopicRef& topic,
                                                  int32_t partition) const {
  if (!topic.has_id()) {
    return NamedPartition{topic.name(), PartitionIndex(partition)};
  }
  const auto id = TopicId::FromBytes(topic.id());
  const auto name =
      id.has_value() && !lags ? topics_->NameOf(*id) : std::nullopt;
  if (!name.has_value()) return std::nullopt;
  return NamedPartition{*name, PartitionIndex(partition)};
}

std::shared_ptr<GroupPeer> FakeGroups::ConnectGroups(
    const api::Endpoint& endpoint, Executor* executor) {
  return std::make_shared<FakeGroupPeer>(this, endpoint, executor);
}

FakeGroups::Group& FakeGroups::Get(const std::string& name) {
  Group& group = groups_[name];
  if (group.core == nullptr) {
    group.core = std::make_unique<group::GroupCore>(
        group::GroupCore::Deps{name, config, &random_});
  }
  return group;
}

group::GroupCore& FakeGroups::core(const std::string& group) {
  return *Get(group).core;
}

// What is parked at the old one is never answered by it: its clients hear
// NOT_COORDINATOR from its core, or nothing.
void FakeGroups::MoveCoordinator(NodeId to) {
  coordinator = to;
  for (auto& [name, group] : groups_) {
    for (const group::Action& action : group.core->Step(group::Resign{})) {
      Carry(name, action, nullptr);
    }
    group.waiting.clear();
    group.core = std::make_unique<group::GroupCore>(
        group::GroupCore::Deps{name, config, &random_}, group.image,
        clock_->MonoMicros());
  }
}

void FakeGroups::Step(const std::string& name, const group::Event& event,
                      Executor* executor) {
  Group& group = Get(name);
  for (const group::Action& action : group.core->Step(event)) {
    Carry(name, action, executor);
  }
  const int64_t due_us = group.core->NextDeadlineUs();
  if (executor != nullptr && group.executor != executor) {
    group.executor = executor;
    group.timer = 0;
  }
  if (executor == nullptr || due_us == group::kNever ||
      (group.timer != 0 && group.timer_at_us <= due_us)) {
    return;
  }
  if (group.timer != 0) executor->Cancel(group.timer);
  group.timer_at_us = due_us;
  group.timer = executor->PostAfter(
      std::max<int64_t>(0, due_us - clock_->MonoMicros()),
      [this, name, executor] {
        Get(name).timer = 0;
        Step(name, group::Tick{clock_->MonoMicros()}, executor);
      });
}

void FakeGroups::Carry(const std::string& name, const group::Action& action,
                       Executor* executor) {
  const auto answer = [&](group::RequestId id) {
    Group& group = Get(name);
    const auto found = group.waiting.find(id);
    if (found == group.waiting.end()) return;
    const auto reply = std::move(found->second);
    group.waiting.erase(found);
    reply(action);
  };
  std::visit(
      [&](const auto& a) {
        using A = std::decay_t<decltype(a)>;
        if constexpr (std::is_same_v<A, group::WriteGroup>) {
          if (executor == nullptr) return;
          if (a.image.has_value()) Get(name).image = *a.image;
          executor->PostAfter(kLatencyUs, [this, name, executor,
                                           core = Get(name).core.get(),
                                           write = a.write] {
            if (Get(name).core.get() != core) return;
            Step(name,
                 group::Written{write, absl::OkStatus(), clock_->MonoMicros()},
                 executor);
          });
        } else if constexpr (requires { a.request; }) {
          answer(a.request);
        }
      },
      action);
}

v1::CommitOffsetsResponse FakeGroups::Commit(
    const v1::CommitOffsetsRequest& request, Executor* executor) {
  group::CommitClaim claim;
  claim.member = group::MemberId(request.member_id());
  claim.instance = group::InstanceId(request.group_instance_id());
  if (request.has_generation_id()) {
    claim.generation = group::Generation(request.generation_id());
  }
  const ErrorCode code =
      group::CheckCommit(Get(request.group_id()).core.get(), claim);
  v1::CommitOffsetsResponse response;
  for (const v1::OffsetCommit& offset : request.offsets()) {
    auto* result = response.add_results();
    *result->mutable_topic() = offset.topic();
    result->set_partition(offset.partition());
    if (code != ErrorCode::kNone) {
      SetError(result->mutable_error(), code, "by the rules");
      continue;
    }
    const auto tp = Resolve(offset.topic(), offset.partition());
    if (!tp.has_value()) {
      SetError(result->mutable_error(), ErrorCode::kUnknownTopicId,
               "no topic has this id");
      continue;
    }
    if (request.administrative() && !request.member_id().empty() &&
        committed[request.group_id()].contains(*tp)) {
      SetError(result->mutable_error(), ErrorCode::kInvalidCommitOffset, "");
      continue;
    }
    CommittedPosition& position = committed[request.group_id()][*tp];
    position.topic_id = topics_->IdOf(tp->topic);
    position.offset = Offset(offset.offset());
    position.leader_epoch = offset.has_leader_epoch()
                                ? LeaderEpoch(offset.leader_epoch())
                                : kNoLeaderEpoch;
    commits.push_back({request.member_id(), request.generation_id(), *tp,
                       position.offset});
  }
  if (code == ErrorCode::kNone && !request.member_id().empty()) {
    Step(request.group_id(),
         group::CommitAccepted{claim.member, clock_->MonoMicros()}, executor);
  }
  return response;
}

v1::FetchOffsetsResponse FakeGroups::Fetch(
    const v1::FetchOffsetsRequest& request) {
  v1::FetchOffsetsResponse response;
  for (const v1::GroupOffsetsQuery& asked : request.groups()) {
    v1::GroupOffsets* group = response.add_groups();
    group->set_group_id(asked.group_id());
    const CommittedPositions& have = committed[asked.group_id()];
    for (const v1::TopicPartitions& topic : asked.topics()) {
      for (const int32_t partition : topic.partitions()) {
        v1::CommittedOffset* offset = group->add_offsets();
        *offset->mutable_topic() = topic.topic();
        offset->set_partition(partition);
        offset->set_offset(-1);
        const auto tp = Resolve(topic.topic(), partition);
        if (!tp.has_value()) {
          SetError(offset->mutable_error(), ErrorCode::kUnknownTopicId,
                   "no topic has this id");
          continue;
        }
        const auto found = have.find(*tp);
        if (found == have.end()) continue;
        // Of a topic that had the name before.
        if (found->second.topic_id.is_set() &&
            topics_->NameOf(found->second.topic_id) != tp->topic) {
          continue;
        }
        offset->set_offset(found->second.offset.value());
        if (found->second.leader_epoch != kNoLeaderEpoch) {
          offset->set_leader_epoch(found->second.leader_epoch.value());
        }
      }
    }
  }
  return response;
}

}  // namespace sluice
