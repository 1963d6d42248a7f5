// Carries the ISR changes that leaders on this broker propose to the active
// controller and its decisions back.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "broker/control/controller_directory.h"
#include "broker/replica_host.h"

namespace sluice {

// Proposals of kWindowUs go in one AlterPartitions call; one call is in flight.
// A proposal is asked again, unchanged, until a controller has decided it
// (RP15): an answer that got lost is found out by its partition epoch (F11).
// One that newer epochs of its partition have overtaken is dropped.
//
// Propose may be called from any thread; the rest belongs to the control
// executor.
class IsrReporter final : public IsrProposals {
 public:
  static constexpr int64_t kWindowUs = 2000;
  static constexpr int64_t kAttemptUs = 2000000;
  static constexpr size_t kPerCallMax = 10000;
  // Beyond it proposals are answered kUnknown at once.
  static constexpr size_t kPendingMax = 200000;

  struct Deps {
    Executor* executor = nullptr;
    const Clock* clock = nullptr;
    ControllerDirectory* directory = nullptr;
    NodeId node_id;
    // ReplicaHost::OnIsrDecisions.
    std::function<void(std::vector<IsrDecision>)> on_decisions;
    // kNoBrokerEpoch while not registered: proposals wait.
    std::function<BrokerEpoch()> own_epoch;
    std::function<void(absl::Status)> on_stale;
  };

  explicit IsrReporter(Deps deps);
  ~IsrReporter() override;
  IsrReporter(const IsrReporter&) = delete;

  void Propose(internal::v1::AlterPartition proposal) override;
  // Nothing is sent or decided afterwards.
  void Stop();

  size_t pending() const { return pending_.size() + in_flight_.size(); }

  // What the leader shall do about the controller's word on one proposal
  // (kafka-semantics.md 2.4); nullopt: ask again.
  static std::optional<IsrDecision::Outcome> OutcomeOf(ErrorCode code);

 private:
  using Proposals = std::map<TopicPartition, internal::v1::AlterPartition>;

  void Add(internal::v1::AlterPartition proposal);
  void Schedule(int64_t delay_us);
  void Flush();
  // `uncertain`: an earlier attempt of the call may have got through.
  void OnAnswer(absl::StatusOr<internal::v1::AlterPartitionsResponse> answer,
                bool uncertain);
  void Decide(const internal::v1::AlterPartitionsResponse& answer,
              bool uncertain);
  void DecideAll(IsrDecision::Outcome outcome);
  void AskAgain(internal::v1::AlterPartition proposal);

  Deps deps_;
  Proposals pending_;
  Proposals in_flight_;
  bool retry_ = false;  // the last answer left something undecided
  int failures_ = 0;
  bool stopped_ = false;
  TimerId timer_ = 0;
  std::shared_ptr<bool> alive_;
};

}  // namespace sluice
