// Brokers whose GroupService a test can break: the coordinator's own machine
// (broker/group) behind it, offsets in a map, a log that never fails. Clients of
// several executors one after the other, not at once.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/group/commit_rules.h"
#include "broker/group/group_core.h"
#include "client/fake_cluster_testing.h"
#include "client/group/group_connections.h"
#include "client/group/group_member.h"
#include "common/base/random.h"
#include "common/env/clock.h"

namespace sluice {

class FakeGroups final : public GroupConnector {
 public:
  enum class Fate { kDeliver, kLoseRequest, kLoseAnswer, kHang };
  struct Taken {
    std::string member_id;
    int32_t generation = -1;
    NamedPartition tp;
    Offset offset;
  };

  // Brokers are at FakeCluster::EndpointOf(id). `topics` has the ids of topics.
  FakeGroups(const Clock* clock, const FakeCluster* topics, uint64_t seed = 1);

  std::shared_ptr<GroupPeer> ConnectGroups(const api::Endpoint& endpoint,
                                           Executor* executor) override;

  NodeId coordinator{1};  // of every group
  // To another broker, which goes on from the log.
  void MoveCoordinator(NodeId to);
  std::set<NodeId> down;
  bool lags = false;  // knows no topic by its id
  std::function<Fate(NodeId broker, const std::string& method)> fate;
  // A group is made with it.
  group::GroupConfig config;
  std::map<std::string, int> calls;  // by method

  group::GroupCore& core(const std::string& group);
  std::map<std::string, CommittedPositions> committed;  // by group
  std::vector<Taken> commits;                           // in order

 private:
  friend class FakeGroupPeer;
  struct Group {
    std::unique_ptr<group::GroupCore> core;
    group::GroupImage image;  // in the log
    Executor* executor = nullptr;  // where its timer is: the newest client's
    TimerId timer = 0;
    int64_t timer_at_us = 0;
    // Executor and reply of what is parked.
    std::map<group::RequestId, std::function<void(const group::Action&)>>
        waiting;
  };

  Group& Get(const std::string& group);
  void Step(const std::string& name, const group::Event& event,
            Executor* executor);
  void Carry(const std::string& name, const group::Action& action,
             Executor* executor);
  v1::CommitOffsetsResponse Commit(const v1::CommitOffsetsRequest& request,
                                   Executor* executor);
  v1::FetchOffsetsResponse Fetch(const v1::FetchOffsetsRequest& request);

  // By the id of its topic, or by its name; nullopt: no topic has this id.
  std::optional<NamedPartition> Resolve(const v1::TopicRef& topic,
                                        int32_t partition) const;

  const Clock* const clock_;
  const FakeCluster* const topics_;
  Random random_;
  std::map<std::string, Group> groups_;
  int64_t next_request_ = 1;
};

}  // namespace sluice
