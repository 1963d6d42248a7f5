// The invariants of test/check on a simulated cluster: told of every event, of
// processes that come and go, and of what crosses the network.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "test/check/checker.h"
#include "test/check/findings.h"
#include "test/sim/consume_streams.h"
#include "test/sim/group_calls.h"
#include "test/sim/produce_answers.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {

class ClusterChecks final : public ClusterObserver {
 public:
  static constexpr int64_t kEventsBetweenScans = 1000;

  using Lies = std::function<bool(NodeId, const TopicPartition&)>;

  // `lies` as of check::Checker::Deps. `on_violation`: the first one; the run
  // should end.
  ClusterChecks(SimCluster* cluster, Lies lies,
                std::function<void(const std::string&)> on_violation);
  ~ClusterChecks() override {
    *alive_ = false;
    cluster_->RemoveObserver(this);
  }

  void AfterEvent(NodeId ran);
  // Healed and quiet.
  void AtEnd();
  // By acks=all, at this offset; kNoLeaderEpoch: of whichever leader.
  void OnAcknowledged(const TopicPartition& tp, Offset offset,
                      LeaderEpoch by = kNoLeaderEpoch) {
    checker_.OnAcknowledged(tp, offset.Next(), by);
  }
  void OnSyncFailed(NodeId node) { checker_.OnSyncFailed(node); }
  void OnTopicCreated(const TopicId& id) { checker_.OnTopicCreated(id); }
  // As GroupInvariants::OnOwned.
  void OnOwned(const std::string& group, int process,
               const std::string& instance, int32_t generation,
               const std::set<consumer::NamedPartition>& partitions) {
    checker_.groups().OnOwned(group, process, instance, generation,
                              partitions);
  }
  const check::Findings& findings() const { return findings_; }

  void OnBoot(SimNode& node) override;
  void OnEnd(SimNode& node, ProcessEnd how) override;
  void OnWiped(SimNode& node) override { checker_.OnWiped(node.id); }

 private:
  void OnMessage(const Message& message, Fate fate);

  SimCluster* const cluster_;
  const std::function<void(const std::string&)> on_violation_;
  check::Findings findings_;
  check::Checker checker_;
  // Told to the checks behind the event, when its other effects were seen.
  ProduceAnswers produce_answers_;
  GroupCalls group_calls_{&checker_.groups()};
  ConsumeStreams consume_streams_;
  // The network outlives this, and what ends with it still says farewell.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  int64_t events_ = 0;
};

}  // namespace sluice::sim
