#include "test/sim/cluster_checks.h"

#include <utility>

#include "test/sim/wire.h"

namespace sluice::sim {

ClusterChecks::ClusterChecks(
    SimCluster* cluster, Lies lies,
    std::function<void(const std::string&)> on_violation)
    : cluster_(cluster),
      on_violation_(std::move(on_violation)),
      findings_([this](const check::Violation& violation) {
        on_violation_(violation.ToString());
      }),
      checker_({&findings_, cluster->shared_configs(), std::move(lies)}),
      consume_streams_(&checker_.groups(), on_violation_) {
  cluster->AddObserver(this);
  cluster->network().AddObserver(
      [this, alive = alive_](const Message& message, Fate fate) {
        if (*alive) OnMessage(message, fate);
      });
}

void ClusterChecks::OnMessage(const Message& message, Fate fate) {
  group_calls_.OnMessage(message, fate);
  consume_streams_.OnMessage(message, fate);
  if (fate != Fate::kSent) return;
  produce_answers_.OnSent(message);
  if (message.kind > MessageKind::kRaftObserve) return;
  checker_.OnRaftSent(message.from, Wire<raft::Message>::Decode(message.bytes));
}

void ClusterChecks::AfterEvent(NodeId ran) {
  checker_.AfterEvent(ran);
  for (const check::ProducerAnswer& answer : produce_answers_.Take()) {
    checker_.OnProducerAnswered(answer);
  }
  for (const check::IdentityAnswer& answer :
       produce_answers_.TakeIdentities()) {
    checker_.OnProducerIdentified(answer);
  }
  group_calls_.TellAnswers();
  consume_streams_.TellAnswers();
  if (++events_ % kEventsBetweenScans == 0) checker_.FullScan();
}

void ClusterChecks::AtEnd() {
  checker_.FullScan();
  checker_.AtEnd();
}

void ClusterChecks::OnBoot(SimNode& node) {
  checker_.OnBoot(node.id,
                  {node.broker.get(), node.controller.get(), &node.fs,
                   &node.views});
}

void ClusterChecks::OnEnd(SimNode& node, ProcessEnd how) {
  switch (how) {
    case ProcessEnd::kStopped:
      return checker_.OnEnd(node.id, check::End::kStopped);
    case ProcessEnd::kKilled:
      return checker_.OnEnd(node.id, check::End::kKilled);
    case ProcessEnd::kPowerCut:
      return checker_.OnEnd(node.id, check::End::kPowerCut);
  }
}

}  // namespace sluice::sim
