// Programs that use groups, each a process on a machine of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "client/group/group_admin.h"
#include "client/group/group_consumer.h"
#include "test/sim/group_app.h"
#include "test/sim/group_plan.h"
#include "test/sim/open_calls.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {

// What such a process is made of, below the library's group parts.
class GroupProcess {
 public:
  // `forwards`: its calls of groups go to any broker, which hands them on.
  GroupProcess(SimCluster* cluster, bool forwards);
  ~GroupProcess();

  GroupMember::Deps MemberDeps();
  GroupConnector* groups() { return groups_.get(); }
  Executor* executor() { return executor_.get(); }
  NodeId node() const { return life_->id; }
  const LifePtr& life() const { return life_; }
  const Clock& clock() const { return host_; }
  // SIGKILL: what goes from here on is seen by nobody.
  void Die();
  // SIGSTOP: time passes, nothing runs.
  void Pause();
  void Resume();
  bool paused() const { return host_.paused(); }

 private:
  SimCluster* const cluster_;
  SimHost host_;
  const LifePtr life_;
  std::unique_ptr<Executor> executor_;
  ClientDeps deps_;
  ClientOptions options_;
  std::unique_ptr<BrokerConnector> connector_;
  std::unique_ptr<GroupConnector> groups_;
  std::unique_ptr<MetadataCache> metadata_;
};

// A member of a group, of the real library. It polls until it is closed, dies,
// or its membership is over.
class GroupProgram final : public GroupApp {
 public:
  static constexpr int64_t kPollUs = 200'000;
  static constexpr int64_t kPollBytes = 1 << 20;

  struct Deps {
    SimCluster* cluster = nullptr;
    const GroupPlan* plan = nullptr;
    std::string instance;  // "": a dynamic member
    int number = 0;        // of the process
    OpenCalls* polls = nullptr;
    // What it was given.
    std::function<void(const FetchedBatch&)> on_batch;
    // After each poll: what it has, in which generation; negative: none.
    std::function<void(int32_t generation,
                       const std::set<NamedPartition>& partitions)>
        on_owned;
    std::function<void(const std::string&)> report;
  };
  explicit GroupProgram(Deps deps);
  // It dies; what it had is nobody's until its session is over.
  ~GroupProgram() override;

  // Commits and leaves; over when that is answered.
  void Close() override;
  // It does not poll again for so long.
  void Hang(int64_t us) override { hang_us_ = us; }
  void Pause() override;
  void Resume() override { process_.Resume(); }
  bool paused() const override { return process_.paused(); }
  bool over() const override { return over_; }
  bool closing() const { return closing_; }

  int number() const override { return deps_.number; }
  NodeId node() const { return process_.node(); }
  int32_t generation() const override {
    return consumer_->member().generation();
  }
  std::set<NamedPartition> Assignment() const override;
  bool knows_positions() const override { return true; }
  std::optional<Offset> Position(const NamedPartition& tp) const override {
    return consumer_->Position(tp);
  }
  std::string ToString() const override;

 private:
  void Poll();
  void OnPolled(const absl::StatusOr<GroupPoll>& polled);
  void OnError(const absl::Status& error);
  void PollLater();
  void TellOwned();

  const Deps deps_;
  GroupProcess process_;
  std::unique_ptr<GroupConsumer> consumer_;
  OpenCalls::Id poll_ = 0;  // 0: none that is to be answered in time
  int64_t hang_us_ = 0;
  bool closing_ = false;
  bool over_ = false;
};

}  // namespace sluice::sim
