// correctness.md 3.4: clocks, deaths at any moment, and long absences.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/base/str_cat.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kYearMs = 365 * 24 * kHourMs;

// Nobody was fenced and no leader changed since `epochs`.
bool StandsStill(Scenario& s, const Tp& t, LeaderEpoch epoch) {
  return s.Committed(t).leader_epoch == epoch && !s.IsFenced(1) &&
         !s.IsFenced(2) && !s.IsFenced(3);
}

// F61. The wall clock of one process, then of all, jumps by an hour, a year,
// back and forth, and to 0 -> nobody is fenced, no leader changes, records are
// acknowledged, no process ends on a negative duration.
TEST(TimeScenarios, F61WallClockJumpsChangeNothing) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const LeaderEpoch epoch = s.Committed(t).leader_epoch;
  Values values;
  const auto goes_on = [&] {
    values.push_back(StrCat("m", values.size()));
    s.Produce(t, values.back());
    s.Throughout(5'000, "nobody was fenced",
                 [&] { return StandsStill(s, t, epoch); });
  };
  const std::vector<std::vector<int>> victims = {
      {s.Committed(t).leader.value()}, {s.ActiveController()}, s.sim().ids()};
  for (const std::vector<int>& nodes : victims) {
    for (const int64_t jump : {kHourMs, -kHourMs, kYearMs, -kYearMs}) {
      for (const int node : nodes) s.sim().at(node).host.JumpWall(jump);
      goes_on();
    }
    for (const int node : nodes) s.sim().at(node).host.SetWall(0);
    goes_on();
  }
  // Strobing: back and forth, ten times a second.
  for (int i = 0; i < 50; ++i) {
    for (const int node : s.sim().ids()) {
      s.sim().at(node).host.JumpWall(i % 2 == 0 ? kHourMs : -kHourMs);
    }
    s.RunFor(100);
  }
  goes_on();
  // Nor does it make anybody immortal: a broker falls silent, the clocks go
  // back, its session ends as ever.
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Isolate(C);
  for (const int node : s.sim().ids()) {
    s.sim().at(node).host.JumpWall(-kHourMs);
  }
  s.Until("C is fenced", [&] { return s.IsFenced(C); });
  s.UntilIsr(t, {A, B});
  s.Converge({{t, values}});
}

// F62. Monotonic clocks that run up to 10 % fast or slow, each its own way -> no
// fencing without a cause, and a dead leader is still replaced.
TEST(TimeScenarios, F62ClocksOfDifferentRatesFenceNobody) {
  ScenarioOptions options;
  options.drift_ppm = {{1, 100'000},    {2, -100'000}, {3, 50'000},
                       {101, -100'000}, {102, 100'000}, {103, -50'000}};
  Scenario s(options);
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  const LeaderEpoch epoch = s.Committed(t).leader_epoch;
  const int controller = s.ActiveController();
  const Term term = s.RaftOf(controller).term();
  s.Produce(t, "m1");
  s.Throughout(60'000, "nobody was fenced",
               [&] { return StandsStill(s, t, epoch); });
  s.Expect(s.RaftOf(controller).term() == term, "no controller was deposed");
  s.ExpectIsr(t, {A, B, C});
  s.PowerCut(A);
  s.UntilLeader(t, B);
  s.Produce(t, "m2");
  s.Boot(A);
  s.UntilIsr(t, {A, B, C});
  s.Converge({{t, {"m1", "m2"}}});
}

// F76. Any one process dies, as by OOM, abort or kill -9, at any moment of a
// produce -> the same each time: nothing acknowledged is lost, it comes back,
// and none ends itself on what it finds. The moments: so many events in. Who is
// not the leader's death costs no record; nor does the leader's, once another
// one leads.
class DeathOf : public testing::TestWithParam<int> {};

TEST_P(DeathOf, F76AProcessAtAnyMomentLosesNothing) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const int victim = GetParam();
  for (int moment = 0; moment < 12; ++moment) {
    const int leader = s.Committed(t).leader.value();
    const AnswerPtr answer = s.Send(leader, t, StrCat("m", moment));
    const int64_t end = s.sim().world().event_count() + 1 + 7 * moment;
    s.Until("the moment", [&] {
      return s.sim().world().event_count() >= end;
    });
    s.Kill(victim);
    s.RunFor(30 * moment);
    s.Boot(victim);
    s.RunFor(100);  // it registers: what the metadata said before is over
    s.Until("all are in sync again", [&] {
      return s.Committed(t).isr.size() == 3 && s.ActiveController() != 0;
    });
    if (leader != victim) s.UntilAcked(answer);
    s.Produce(t, StrCat("after ", moment));
  }
  s.Converge();
}

INSTANTIATE_TEST_SUITE_P(Processes, DeathOf,
                         testing::Values(1, 2, 3, 101, 102, 103),
                         testing::PrintToStringParamName());

// F77. All controllers are down for ten minutes under load -> produce and fetch
// go on, for the ISR needs no change; brokers do not give themselves up; when
// the controllers are back nobody is fenced and everything works.
TEST(TimeScenarios, F77BrokersOutliveTheirControllers) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  s.Produce(t, "m0");
  const LeaderEpoch epoch = s.Committed(t).leader_epoch;
  for (const int controller : {101, 102, 103}) s.Kill(controller);
  Values values{"m0"};
  for (int second = 1; second <= 600; ++second) {
    values.push_back(StrCat("m", second));
    const int64_t sent_ms = s.NowMs();
    s.Produce(t, values.back());
    s.Expect(s.NowMs() - sent_ms < 1'000, "records are acknowledged as ever");
    if (second % 60 == 0) s.ExpectValue(t, second, values.back());
    s.RunFor(1'000 - (s.NowMs() - sent_ms));
  }
  for (const int broker : {1, 2, 3}) {
    s.Expect(s.sim().at(broker).broker != nullptr, "every broker lives");
  }
  for (const int controller : {101, 102, 103}) s.Boot(controller);
  s.UntilController();
  s.Throughout(20'000, "nobody was fenced",
               [&] { return StandsStill(s, t, epoch); });
  const Tp later = s.CreateTopic("later", {});
  s.Produce(later, "after");
  s.Converge({{t, values}, {later, {"after"}}});
}

// Of the 36 or fewer that find a leader to be sent to.
constexpr int kSwizzledAcksMin = 12;

// F78: swizzle. Every process is stopped in some order and goes on in another,
// under load; then the same with the links of every process -> it converges and
// nothing is lost; while some are left records are acknowledged, and as soon as
// all are back.
void RunF78(uint64_t seed, bool links) {
  ScenarioOptions options;
  options.seed = seed;
  Scenario s(options);
  const Tp t = s.CreateTopic("t", {});
  s.Produce(t, "m0");
  std::vector<AnswerPtr> answers;
  const auto load = [&] {
    const NodeId leader = s.Committed(t).leader;
    if (leader != kNoNode) {
      answers.push_back(
          s.Send(leader.value(), t, StrCat("n", answers.size())));
    }
    s.RunFor(s.sim().random().Between(10, 1'000));
  };
  const auto acked = [&] {
    return std::count_if(answers.begin(), answers.end(),
                         [](const auto& a) { return a->acked(); });
  };
  const auto shuffled = [&] {
    std::vector<int> ids = s.sim().ids();
    for (size_t i = ids.size(); i > 1; --i) {
      std::swap(ids[i - 1], ids[s.sim().random().Below(i)]);
    }
    return ids;
  };
  for (int round = 0; round < 3; ++round) {
    for (const int id : shuffled()) {
      if (links) {
        s.Isolate(id);
      } else {
        s.Pause(id);
      }
      load();
    }
    for (const int id : shuffled()) {
      if (links) {
        for (const int other : s.sim().ids()) s.Mend(id, other);
      } else {
        s.Resume(id);
      }
      load();
    }
    s.UntilIsr(t, {1, 2, 3}, 3 * Scenario::kLimitMs);
    s.Produce(t, StrCat("round ", round));
  }
  s.Expect(acked() >= kSwizzledAcksMin,
           StrCat(acked(), " of ", answers.size(), " were acknowledged"));
  s.Converge();
}

TEST(TimeScenarios, F78SwizzledProcessesConverge) { RunF78(1, false); }

TEST(TimeScenarios, F78SwizzledLinksConverge) { RunF78(2, true); }

}  // namespace
}  // namespace sluice::scenario
