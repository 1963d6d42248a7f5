// A broker's group calls between its coordinators and another broker's.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/coordinator/coordinator_world_testing.h"
#include "broker/coordinator/group_handlers.h"
#include "broker/handlers/fake_hosts_testing.h"
#include "broker/offsets/coordinator_partition.h"
#include "common/base/error.h"

namespace sluice::coordinator {

// Another broker's group calls: scripted.
class FakeGroupPeer final : public GroupPeer {
 public:
#define SLUICE_GROUP_CALL(Name)                                             \
  std::function<absl::StatusOr<v1::Name##Response>(                         \
      const v1::Name##Request&)>                                            \
      on_##Name;                                                            \
  void Name(const v1::Name##Request& request, int64_t timeout_us,           \
            PeerReply<v1::Name##Response> reply) override {                 \
    ++calls;                                                                \
    last_timeout_us = timeout_us;                                           \
    reply(on_##Name(request));                                              \
  }
  SLUICE_GROUP_CALLS(SLUICE_GROUP_CALL)
#undef SLUICE_GROUP_CALL
  const api::Endpoint& endpoint() const override { return endpoint_; }

  int calls = 0;
  int64_t last_timeout_us = 0;

 private:
  const api::Endpoint endpoint_;
};

class GroupHandlersTest : public testing::Test, public GroupConnector {
 protected:
  GroupHandlersTest() : peer_(std::make_shared<FakeGroupPeer>()) {
    broker_.cluster.Start(2);
    GroupCoordinators::Deps coordinators;
    coordinators.clock = &broker_.world;
    coordinators.fs = &views_.fs;
    coordinators.io_executor = broker_.worker.get();
    coordinators.files = views_.Files();
    coordinators.directories = {"/data"};
    coordinators.shards = {broker_.even.executor(), broker_.odd.executor()};
    coordinators.self = NodeId(1);
    coordinators_ =
        std::make_unique<GroupCoordinators>(std::move(coordinators));
    GroupHandlers::Deps deps;
    deps.self = NodeId(1);
    deps.clock = &broker_.world;
    deps.worker = broker_.worker.get();
    deps.hosts = &broker_;
    deps.image = &broker_.image;
    deps.coordinators = coordinators_.get();
    deps.connector = this;
    deps.ensure_topic = [this](int64_t,
                               absl::AnyInvocable<void(absl::Status)> done) {
      ++ensured_;
      if (ensure_fails_) {
        return done(MakeError(ErrorCode::kRequestTimedOut, "no controller"));
      }
      MakeTopic();
      done(absl::OkStatus());
    };
    handlers_ = std::make_unique<GroupHandlers>(std::move(deps));
    context_.listener = kPublicListener;
    context_.client_id = "tester";
    context_.peer_address = "10.1.1.1:5";
  }

  std::shared_ptr<GroupPeer> ConnectGroups(const api::Endpoint& endpoint,
                                           Executor*) override {
    connected_.push_back(endpoint);
    return peer_;
  }

  void MakeTopic() {
    ASSERT_TRUE(broker_.cluster.EnsureInternal(kConsumerOffsetsTopic).ok());
    broker_.image.Store(broker_.cluster.shared());
  }
  // A group whose partition this broker leads, or the other one.
  std::string GroupLedBy(int32_t node) {
    const TopicImage* topic = OffsetsTopic(broker_.cluster.image());
    for (int i = 0;; ++i) {
      const std::string group = "g" + std::to_string(i);
      const PartitionIndex at = offsets::CoordinatorPartition(
          group, static_cast<int32_t>(topic->partitions.size()));
      if (topic->Find(at)->leader == NodeId(node)) return group;
    }
  }
  // Hosts and leads the group's partition here.
  void Host(const std::string& group) {
    const auto to = CoordinatorOf(broker_.cluster.image(), group);
    ASSERT_TRUE(to.ok());
    auto replica = std::make_unique<FakeReplica>();
    ReplicaObservers::Found found;
    found.tp = to->tp;
    found.topic = broker_.cluster.image().FindTopic(to->tp.topic_id);
    found.directory = "/data";
    found.epochs = &replica->epochs();
    found.leo = replica->leo();
    found.executor = broker_.HostOf(to->tp)->executor();
    observers_.push_back(coordinators_->Observe(found));
    ASSERT_NE(observers_.back(), nullptr);
    observers_.back()->Attach(replica.get());
    replica->observer = observers_.back().get();
    replica->metadata = broker_.cluster.shared();
    replica->epoch = LeaderEpoch(1);
    replica->leads = true;
    replica->commits_at_once = true;
    replica->Commit();
    replicas_.push_back(std::move(replica));
  }

  template <class Request, class Response>
  Answered<Response> Ask(void (GroupHandlers::*call)(const api::CallContext&,
                                                     Request,
                                                     PeerReply<Response>),
                         Request request) {
    Answered<Response> answer;
    (handlers_.get()->*call)(context_, std::move(request), answer.Reply());
    broker_.world.RunFor(10'000);
    return answer;
  }
  v1::HeartbeatRequest HeartbeatOf(const std::string& group) {
    v1::HeartbeatRequest request;
    request.set_group_id(group);
    return request;
  }
  ErrorCode Heartbeat(const std::string& group) {
    return Ask<v1::HeartbeatRequest, v1::HeartbeatResponse>(
               &GroupHandlers::Heartbeat, HeartbeatOf(group))
        .code();
  }
  // Of partition 0 of "a".
  Answered<v1::CommitOffsetsResponse> AskCommit(const std::string& group,
                                                int64_t offset) {
    v1::CommitOffsetsRequest commit;
    commit.set_group_id(group);
    commit.add_offsets()->mutable_topic()->set_name("a");
    commit.mutable_offsets(0)->set_offset(offset);
    return Ask<v1::CommitOffsetsRequest, v1::CommitOffsetsResponse>(
        &GroupHandlers::CommitOffsets, commit);
  }
  v1::Error Commit(const std::string& group, int64_t offset) {
    const auto answer = AskCommit(group, offset);
    return answer.came() ? answer.get().results(0).error() : v1::Error();
  }
  v1::GroupOffsets Fetch(const std::string& group, bool stable) {
    v1::FetchOffsetsRequest request;
    request.set_require_stable(stable);
    auto* query = request.add_groups();
    query->set_group_id(group);
    query->add_topics()->mutable_topic()->set_name("a");
    query->mutable_topics(0)->add_partitions(0);
    return Ask<v1::FetchOffsetsRequest, v1::FetchOffsetsResponse>(
               &GroupHandlers::FetchOffsets, request)
        .get()
        .groups(0);
  }
  v1::FindCoordinatorResponse Find(const std::vector<std::string>& keys) {
    v1::FindCoordinatorRequest request;
    for (const std::string& key : keys) request.add_keys(key);
    return Ask<v1::FindCoordinatorRequest, v1::FindCoordinatorResponse>(
               &GroupHandlers::FindCoordinator, request)
        .get();
  }

  FakeBroker broker_;
  ViewWorld views_;
  std::shared_ptr<FakeGroupPeer> peer_;
  std::vector<api::Endpoint> connected_;
  int ensured_ = 0;
  bool ensure_fails_ = false;
  api::CallContext context_;
  std::unique_ptr<GroupCoordinators> coordinators_;
  std::vector<std::unique_ptr<FakeReplica>> replicas_;
  std::vector<std::unique_ptr<ReplicaObserver>> observers_;
  std::unique_ptr<GroupHandlers> handlers_;
};

}  // namespace sluice::coordinator
