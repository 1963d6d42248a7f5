// One core under test and short words for what is told to it. For tests.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "broker/replica/replica_core.h"

namespace sluice::replica {

inline constexpr NodeId kA{1};  // under test
inline constexpr NodeId kB{2};
inline constexpr NodeId kC{3};
inline constexpr int64_t kLagUs = 1'000'000;

class CoreTest : public testing::Test {
 protected:
  CoreTest() { Restart({Offset(0), Offset(0), Offset(0), {}}); }

  void Restart(const Recovered& recovered) {
    core_ = std::make_unique<ReplicaCore>(Config{kA, kLagUs}, recovered);
  }

  // A leads epoch 1 of {A, B, C}, min ISR 2, on disk.
  MetadataChanged Metadata() {
    MetadataChanged m;
    m.leader = kA;
    m.leader_epoch = LeaderEpoch(1);
    m.partition_epoch = PartitionEpoch(1);
    m.replicas = {kA, kB, kC};
    m.isr = {kA, kB, kC};
    m.min_isr = 2;
    m.durable = true;
    for (NodeId n : m.replicas) m.standing[n] = {EpochOf(n), true};
    m.now_us = now_us_;
    return m;
  }

  static BrokerEpoch EpochOf(NodeId n) { return BrokerEpoch(10 * n.value()); }

  std::vector<Action> Do(const Event& event) { return core_->Step(event); }

  void Lead(const MetadataChanged& m) {
    Do(m);
    Do(EpochStartPersisted{m.leader_epoch, now_us_});
  }

  void Follow(LeaderEpoch epoch = LeaderEpoch(1)) {
    MetadataChanged m = Metadata();
    m.leader = kB;
    m.leader_epoch = epoch;
    Do(m);
  }

  void FollowAccepted() {
    Follow();
    Do(AddAccepted{LeaderEpoch(1), core_->leo()});
  }

  void Append(int64_t leo) { Do(Appended{Offset(leo), {}, now_us_}); }
  void Flush(int64_t leo) { Do(Flushed{Offset(leo), now_us_}); }

  std::vector<Action> Add(NodeId n, int64_t offset, int32_t last = -1,
                          int32_t epoch = 1) {
    return Do(FollowerAdd{n, EpochOf(n), LeaderEpoch(epoch), Offset(offset),
                          LeaderEpoch(last)});
  }
  std::vector<Action> Ack(NodeId n, int64_t appended, int64_t durable,
                          int32_t epoch = 1) {
    return Do(FollowerAck{n, EpochOf(n), LeaderEpoch(epoch), Offset(appended),
                          Offset(durable), now_us_});
  }
  std::vector<Action> Wait(int64_t us) {
    now_us_ += us;
    return Do(Tick{now_us_});
  }

  int64_t hw() const { return core_->high_watermark().value(); }

  template <class A>
  static std::vector<A> All(const std::vector<Action>& actions) {
    std::vector<A> result;
    for (const Action& action : actions) {
      if (const A* a = std::get_if<A>(&action)) result.push_back(*a);
    }
    return result;
  }
  template <class A>
  static bool Has(const std::vector<Action>& actions) {
    return !All<A>(actions).empty();
  }

  int64_t now_us_ = 1'000'000;
  std::unique_ptr<ReplicaCore> core_;
};

inline ErrorCode Refusal(const std::vector<Action>& actions) {
  for (const Action& action : actions) {
    if (const auto* a = std::get_if<RejectFollower>(&action)) return a->code;
  }
  return ErrorCode::kNone;
}

}  // namespace sluice::replica
