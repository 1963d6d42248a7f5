// Asks every so often how far the partitions go that groups coordinated here
// commit: what lag states are judged by, and the lags that metrics tell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "broker/coordinator/group_coordinators.h"
#include "broker/coordinator/group_lag.h"

namespace sluice::coordinator {

// As DescribeGroups tells them, of the last round.
struct KnownLags {
  v1::DescribeGroupsResponse groups;
  bool left_out = false;  // there are more offsets than are told
};

// On the worker but for Wake. It sleeps while nothing is committed.
class LagMonitor {
 public:
  static constexpr int64_t kEveryUs = 10'000'000;
  // Partitions of one round; more are asked in the next.
  static constexpr size_t kPartitionsMax = 10'000;
  // Lags are told anew each so many rounds: the age of a first unread record
  // costs reading its batch.
  static constexpr int kRoundsPerLags = 3;
  // Committed offsets, in order of their groups' names, whose lag metrics tell:
  // as many series of each kind. DescribeGroups tells of all.
  static constexpr size_t kLagsMax = 1'000;

  struct Deps {
    LagSources sources;
    GroupCoordinators* coordinators = nullptr;
    std::vector<Executor*> shards;
  };

  explicit LagMonitor(Deps deps) : deps_(std::move(deps)) {}
  ~LagMonitor() { *alive_ = false; }
  LagMonitor(const LagMonitor&) = delete;

  // Any thread: there is something to watch.
  void Wake();
  // Null: nothing is known.
  const std::shared_ptr<const KnownLags>& lags() const { return lags_; }

 private:
  // What the shards have, of one round.
  struct Gathered {
    std::vector<TopicPartition> watched;
    CommittedGroups committed;
  };

  void Round();
  void Ask(std::vector<TopicPartition> watched);
  void Tell(const std::vector<TopicPartition>& asked,
            const api::ListOffsetsResponse& answer);
  void AskLags(CommittedGroups committed);
  void RoundLater();

  const Deps deps_;
  // On the worker.
  bool awake_ = false;
  bool woken_again_ = false;  // since the last round began
  int rounds_ = 0;            // since it was woken
  size_t missing_ = 0;
  Gathered gathered_;
  bool asking_lags_ = false;
  std::shared_ptr<const KnownLags> lags_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::coordinator
