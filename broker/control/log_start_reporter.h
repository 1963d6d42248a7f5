// Carries the trims that leaders on this broker want recorded to the active
// controller, and its decisions back.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "broker/control/controller_directory.h"
#include "broker/replica_host.h"

namespace sluice {

// Questions of kWindowUs go in one AlterPartitions call; one call is in flight.
// Asking again is safe, since a log start never falls: a question is asked until
// a controller has decided it or its deadline is over. Questions of a partition
// that wait for their call become one: the highest, for the longest.
//
// A call of its own beside the ISR changes': those have no deadline, and no
// trim is to hold them up.
//
// Record may be called from any thread; the rest belongs to the control
// executor.
class LogStartReporter final : public LogStartRecords {
 public:
  static constexpr int64_t kWindowUs = 2000;
  static constexpr int64_t kAttemptUs = 2000000;
  static constexpr size_t kPerCallMax = 10000;
  // Beyond it a question is answered BUSY at once.
  static constexpr size_t kPendingMax = 200000;

  struct Deps {
    Executor* executor = nullptr;
    const Clock* clock = nullptr;
    ControllerDirectory* directory = nullptr;
    NodeId node_id;
    // ReplicaHost::OnLogStartDecisions.
    std::function<void(std::vector<LogStartDecision>)> on_decisions;
    // kNoBrokerEpoch while not registered: questions wait.
    std::function<BrokerEpoch()> own_epoch;
    std::function<void(absl::Status)> on_stale;
  };

  explicit LogStartReporter(Deps deps);
  ~LogStartReporter() override;
  LogStartReporter(const LogStartReporter&) = delete;

  void Record(internal::v1::AdvanceLogStart wanted,
              int64_t deadline_us) override;
  // Nothing is sent or decided afterwards.
  void Stop();

  size_t pending() const { return pending_.size() + in_flight_.size(); }

 private:
  struct Question {
    internal::v1::AdvanceLogStart wanted;
    int64_t deadline_us = 0;
    bool uncertain = false;  // an attempt got no answer
  };
  using Questions = std::map<TopicPartition, Question>;
  using Response = internal::v1::AlterPartitionsResponse;

  void Add(Question question);
  void Schedule(int64_t delay_us);
  void Flush();
  // Those whose time is over, with `why` nobody has decided them.
  void GiveUp(Questions& questions, const absl::Status& why);
  void OnAnswer(ControllerDirectory::Outcome<Response> outcome);
  void Decide(const Response& answer);
  void DecideAll(const absl::Status& why);
  void AskAgain(Question question);
  void Tell(std::vector<LogStartDecision> decisions);

  Deps deps_;
  Questions pending_;
  Questions in_flight_;
  bool retry_ = false;  // the last answer left something undecided
  int failures_ = 0;
  bool stopped_ = false;
  TimerId timer_ = 0;
  std::shared_ptr<bool> alive_;
};

}  // namespace sluice
