// A group of replicas and short words for what befalls it. For tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "broker/replica/replica_testing.h"

namespace sluice::replica {

class ScenarioTest : public testing::Test {
 protected:
  void Begin(const GroupOptions& options) {
    group_ = std::make_unique<ReplicaGroup>(options);
    group_->KeepActions();
    group_->Settle();
    // Followers that have an open link and were accepted.
    group_->Run(300'000);
  }

  void TearDown() override {
    EXPECT_EQ(group_->checker().violation().value_or(""), "");
  }

  ReplicaGroup& group() { return *group_; }
  ReplicaCore& core(int n) { return group_->core(n); }
  ModelController& controller() { return group_->controller(); }

  // The controller moves leadership; only `n` of all replicas has heard of it.
  void Lead(int n) {
    controller().Prefer(NodeId(n));
    group_->Apply(n, controller().version());
  }

  // From now on nothing travels between them.
  void Cut(int a, int b) {
    group_->BreakLink(a, b);
    group_->BreakLink(b, a);
    group_->node(a).wants_link = kNoNode;
    group_->node(b).wants_link = kNoNode;
  }

  int64_t IdAt(int n, int64_t offset) {
    return group_->node(n).log.At(Offset(offset)).id;
  }
  int64_t Leo(int n) { return group_->node(n).log.leo().value(); }
  int64_t Hw(int n) { return core(n).high_watermark().value(); }

  std::vector<NodeId> Isr() { return controller().now().isr; }
  bool InIsr(int n) {
    const auto isr = Isr();
    return std::find(isr.begin(), isr.end(), NodeId(n)) != isr.end();
  }

  void ExpectSameLogs(int a, int b) {
    ASSERT_EQ(Leo(a), Leo(b));
    for (int64_t o = 0; o < Leo(a); ++o) {
      EXPECT_EQ(IdAt(a, o), IdAt(b, o)) << "offset " << o;
    }
  }

  // A broker that is down comes back and is unfenced.
  void ComeBack(int n) {
    group_->Restart(n);
    group_->Settle();
    controller().Unfence(NodeId(n));
    group_->Settle();
  }

  template <class A>
  std::vector<A> Done(int n) {
    std::vector<A> result;
    for (const Action& action : group_->node(n).done) {
      if (const A* a = std::get_if<A>(&action)) result.push_back(*a);
    }
    return result;
  }

  std::unique_ptr<ReplicaGroup> group_;
};

}  // namespace sluice::replica
