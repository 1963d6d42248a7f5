// correctness.md 3.1, F56: a broker that is alive and whose disk is of no use.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "common/base/str_cat.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

bool IsDemoted(Scenario& s, int broker) {
  return s.NewestImage().IsDemoted(NodeId(broker));
}

void SlowDisk(Scenario& s, int broker, int64_t task_us) {
  s.Note(StrCat("each task of the disk of ", broker, " takes ", task_us, " us"));
  s.sim().SetDisks(broker, task_us, /*hung=*/false);
}

// A record every 100 ms, to whoever leads, acknowledged or not.
class Load {
 public:
  Load(Scenario* s, Tp t) : s_(*s), t_(std::move(t)) {}

  template <class Holds>
  void Until(const char* what, int64_t limit_ms, Holds holds) {
    const int64_t end_ms = s_.NowMs() + limit_ms;
    while (!holds()) {
      s_.Expect(s_.NowMs() < end_ms, what);
      Send();
    }
  }
  void For(int64_t ms) {
    for (const int64_t end_ms = s_.NowMs() + ms; s_.NowMs() < end_ms;) Send();
  }

 private:
  void Send() {
    const NodeId leader = s_.Committed(t_).leader;
    if (leader != kNoNode) {
      s_.Send(leader.value(), t_, StrCat("load", ++sent_));
    }
    s_.RunFor(100);
  }

  Scenario& s_;
  const Tp t_;
  int sent_ = 0;
};

// The leader's fsync hangs, disk mode -> within a few seconds another one
// leads without it and records are acknowledged; when the disk answers again
// the broker counts again, after a while, and leads again by order.
TEST(GrayFailureScenarios, F56AHungFsyncOfALeaderMovesItsLeaderships) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const Tp alone = s.CreateTopic("alone", {.replicas = 1, .min_isr = 1});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  const int only = s.Committed(alone).leader.value();
  s.Produce(t, "m1");
  s.RunFor(1'000);
  s.HangDisk(A);
  const AnswerPtr stuck = s.Send(A, t, "m2");
  const int64_t hung_ms = s.NowMs();
  s.UntilLeader(t, B);
  s.Expect(s.NowMs() - hung_ms < 6'000, "long before the lag limit");
  s.Expect(IsDemoted(s, A), "A is demoted");
  s.Expect(!s.IsFenced(A), "A is not fenced");
  s.ExpectIsr(t, {B, C});
  // Where nobody else is, nothing moves.
  s.ExpectLeader(alone, only);
  s.Produce(t, "m3");
  s.FreeDisk(A);
  s.Throughout(20'000, "not trusted at once",
               [&] { return IsDemoted(s, A) && !s.IsInIsr(t, A); });
  s.Until("A is cleared", [&] { return !IsDemoted(s, A); });
  s.UntilIsr(t, {A, B, C});
  s.ExpectLeader(t, B);  // nothing moves back by itself
  const auto elected = s.Elect(t, v1::ElectLeadersRequest::KIND_PREFERRED);
  s.Expect(!elected.has_error(), "A may lead again");
  s.UntilLeader(t, A);
  s.Produce(t, "m4");
  s.Converge();
}

// gray.failure.latency.ms=3600000 on the controllers: nothing moves until the
// disk watch ends the process, half a minute after the hang began.
TEST(GrayFailureScenarios, F56WhereDemotionIsOffALeaderThatHangsLeadsOn) {
  Scenario s({.settings = {{"gray.failure.latency.ms", "3600000"}}});
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.RunFor(1'000);
  s.HangDisk(A);
  const AnswerPtr stuck = s.Send(A, t, "m2");
  s.Throughout(20'000, "nobody is demoted, A leads on", [&] {
    return !IsDemoted(s, A) && s.Committed(t).leader == NodeId(A) &&
           s.IsInIsr(t, A);
  });
  s.FreeDisk(A);
  s.Produce(t, "m3");
  s.ExpectLeader(t, A);
  s.Converge();
}

// In memory mode nobody waits for the disk: what hangs is the marks alone.
TEST(GrayFailureScenarios, F56AHungDiskIsSeenInMemoryModeToo) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.in_memory = true});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Load load(&s, t);
  load.For(3'000);
  s.Expect(!IsDemoted(s, A), "nobody is demoted without a cause");
  s.HangDisk(A);
  load.Until("another one leads", 8'000,
             [&] { return s.Committed(t).leader == NodeId(B); });
  s.Expect(IsDemoted(s, A), "A is demoted");
  s.ExpectIsr(t, {B, C});
  s.Produce(t, "m1");
  s.Converge();
}

// Syncs that take a second and a half each: no hang, and of no use. They are
// fast again -> cleared, but not while they are only half as slow.
TEST(GrayFailureScenarios, F56SlowFsyncsThatHeal) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Load load(&s, t);
  load.For(2'000);
  SlowDisk(s, A, 1'500'000);
  load.Until("another one leads", 15'000,
             [&] { return s.Committed(t).leader == NodeId(B); });
  s.Expect(IsDemoted(s, A), "A is demoted");
  SlowDisk(s, A, 300'000);  // of three tasks: a sync takes longer
  load.For(40'000);
  s.Expect(IsDemoted(s, A), "half as slow is not healed");
  s.ExpectIsr(t, {B, C});
  SlowDisk(s, A, 0);
  load.Until("A is cleared", 45'000, [&] { return !IsDemoted(s, A); });
  load.Until("A is in sync", 5'000, [&] { return s.IsInIsr(t, A); });
  s.Converge();
}

// A follower whose syncs hang leaves the ISR before the lag limit has run out.
TEST(GrayFailureScenarios, F56AFollowerWhoseFsyncHangsLeavesTheIsr) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.HangDisk(C);
  const AnswerPtr waits = s.Send(A, t, "m2");
  const int64_t hung_ms = s.NowMs();
  s.UntilIsr(t, {A, B});
  s.Expect(s.NowMs() - hung_ms < 6'000, "long before the lag limit");
  s.UntilAcked(waits);
  s.ExpectLeader(t, A);
  s.Converge({{t, {"m1", "m2"}}});
}

// All disks are slow -> nobody is: there is nowhere to go.
TEST(GrayFailureScenarios, F56WhereAllDisksAreSlowNobodyIsDemoted) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Load load(&s, t);
  load.For(2'000);
  for (const int broker : {A, B, C}) SlowDisk(s, broker, 1'200'000);
  for (int second = 0; second < 30; ++second) {
    load.For(1'000);
    for (const int broker : {A, B, C}) {
      s.Expect(!IsDemoted(s, broker), "nobody is demoted");
    }
  }
  s.ExpectLeader(t, A);
  s.Converge();
}

// A demoted broker starts anew on the same slow disk -> it is demoted still: it
// leads nothing and counts only when another one is gone.
TEST(GrayFailureScenarios, F56ADemotionOutlivesARestart) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Load load(&s, t);
  load.For(1'000);
  s.HangDisk(A);
  load.Until("another one leads", 10'000,
             [&] { return s.Committed(t).leader == NodeId(B); });
  s.Kill(A);
  s.Until("A is fenced", [&] { return s.IsFenced(A); });
  SlowDisk(s, A, 700'000);
  s.Boot(A);
  s.Until("A is back", [&] { return !s.IsFenced(A); });
  load.For(15'000);
  s.Expect(IsDemoted(s, A), "A is demoted still");
  s.ExpectIsr(t, {B, C});
  s.Kill(C);
  s.UntilIsr(t, {A, B});
  s.ExpectLeader(t, B);
  s.RunFor(200);  // its leader hears of it
  s.Produce(t, "with two");
  s.Boot(C);
  s.UntilIsr(t, {B, C});
  SlowDisk(s, A, 0);
  load.Until("A is cleared", 45'000, [&] { return !IsDemoted(s, A); });
  s.Converge();
}

// The active controller dies while a broker is demoted -> the next one knows it
// from the metadata, and judges it by what it hears itself.
TEST(GrayFailureScenarios, F56ADemotionOutlivesItsController) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Load load(&s, t);
  load.For(1'000);
  s.HangDisk(A);
  load.Until("another one leads", 10'000,
             [&] { return s.Committed(t).leader == NodeId(B); });
  const int controller = s.ActiveController();
  s.Kill(controller);
  s.UntilController();
  load.For(40'000);
  s.Expect(IsDemoted(s, A), "A is demoted still");
  s.ExpectIsr(t, {B, C});
  // It hung so long that its process gave it up.
  s.UntilDead(A);
  s.FreeDisk(A);
  s.Boot(A);
  load.Until("A is cleared", 60'000, [&] { return !IsDemoted(s, A); });
  s.Converge();
}

}  // namespace
}  // namespace sluice::scenario
