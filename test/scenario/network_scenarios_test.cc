// correctness.md 3.1 and 3.4: partitions, zombies and links that are worse than
// cut.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/str_cat.h"
#include "test/scenario/scenario.h"
#include "test/sim/sim_load.h"

namespace sluice::scenario {
namespace {

constexpr int64_t kSessionMs = 3'000;
constexpr int64_t kLagMs = 1'000;
constexpr int64_t kMinuteMs = 60'000;

ScenarioOptions ShortLag() {
  ScenarioOptions options;
  options.settings = {{"replica.lag.time.max.ms", std::to_string(kLagMs)}};
  return options;
}

// Committed, and the leader knows.
void UntilTheLeaderKnowsIsr(Scenario& s, const Tp& t, int leader,
                            const std::set<int>& isr) {
  s.UntilIsr(t, isr);
  s.Until("the leader knows the ISR",
          [&] { return s.Core(leader, t).isr().size() == isr.size(); });
}

// F17: a zombie leader. It has a record that nobody copied and is stopped for a
// minute; a producer's record waits in its queue -> it goes on -> no acks=all
// success for what another leader has overruled; its suffix is cut (RP16, RP21,
// MD6). What acks=1 promised may be lost, and is.
TEST(NetworkScenarios, F17AZombieLeaderAcknowledgesNothing) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.UntilHighWatermark(B, t, 1);
  const auto to_b = s.Hold({MessageKind::kLeaderFrame, A, B});
  const auto to_c = s.Hold({MessageKind::kLeaderFrame, A, C});
  const AnswerPtr weak = s.Send(A, t, "weak", /*acks=*/1);
  s.UntilAcked(weak);
  s.Pause(A);
  s.DropHeld(to_b);
  s.DropHeld(to_c);
  const AnswerPtr queued = s.Send(A, t, "queued");
  s.UntilLeader(t, B);
  s.Produce(t, "m2");
  s.RunFor(kMinuteMs);
  s.ExpectUnanswered(queued);
  s.Resume(A);
  s.UntilIsr(t, {A, B, C});
  s.RunFor(5'000);
  s.Expect(!queued->acked(), "the queued record is not acknowledged");
  s.Converge({{t, {"m1", "m2"}}});
}

// F19. For five minutes what one follower sends does not reach the leader, or
// what the leader sends does not reach it -> it leaves the ISR, and the others
// make progress within session and lag; nothing is lost (RP15, RP24).
void RunF19(bool acks_are_lost) {
  Scenario s(ShortLag());
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  if (acks_are_lost) {
    s.CutOneWay(C, A);
  } else {
    s.CutOneWay(A, C);
  }
  const int64_t cut_ms = s.NowMs();
  const AnswerPtr m2 = s.Send(A, t, "m2");
  s.UntilAcked(m2);
  s.Expect(s.NowMs() - cut_ms <= kSessionMs + 2 * kLagMs, "progress in time");
  s.ExpectIsr(t, {A, B});
  s.RunFor(5 * kMinuteMs);
  s.ExpectIsr(t, {A, B});
  s.Produce(t, "m3");
  s.Heal();
  s.UntilIsr(t, {A, B, C});
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

TEST(NetworkScenarios, F19AFollowerThatIsNotHeardLeaves) { RunF19(true); }

TEST(NetworkScenarios, F19AFollowerThatDoesNotHearLeaves) { RunF19(false); }

// F19, with every follower: nobody can acknowledge -> acks=all has no success,
// and afterwards the record is there or it is not, but on all alike (RP4).
TEST(NetworkScenarios, F19ALeaderThatHearsNoFollowerAcknowledgesNothing) {
  Scenario s(ShortLag());
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.CutOneWay(B, A);
  s.CutOneWay(C, A);
  const AnswerPtr m2 = s.Send(A, t, "m2");
  UntilTheLeaderKnowsIsr(s, t, A, {A});
  s.UntilRefused(s.Send(A, t, "m3"), ErrorCode::kNotEnoughReplicas);
  s.RunFor(5 * kMinuteMs);
  s.Expect(!m2->acked(), "m2 is not acknowledged");
  s.Heal();
  UntilTheLeaderKnowsIsr(s, t, A, {A, B, C});
  s.Produce(t, "m4");
  s.Converge();
}

// F20, controllers only. The leader reaches no follower -> its ISR shrinks below
// min ISR: acks=all fails by name, never a false OK (RP4, RP21).
TEST(NetworkScenarios, F20ALeaderThatReachesControllersOnlyRefuses) {
  Scenario s(ShortLag());
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.Cut(A, B);
  s.Cut(A, C);
  const AnswerPtr m2 = s.Send(A, t, "m2");
  s.UntilIsr(t, {A});
  s.UntilAnswered(m2);
  s.Expect(m2->code == ErrorCode::kNotEnoughReplicasAfterAppend ||
               m2->code == ErrorCode::kRequestTimedOut,
           StrCat("m2's outcome is unknown: ", NameOf(m2->code)));
  s.UntilRefused(s.Send(A, t, "m3"), ErrorCode::kNotEnoughReplicas);
  s.ExpectLeader(t, A);
  s.Heal();
  UntilTheLeaderKnowsIsr(s, t, A, {A, B, C});
  s.Produce(t, "m4");
  s.Converge({{t, {"m1", "m2", "m4"}}});
}

// F20, followers only. The leader reaches no controller -> it is fenced and
// another leads; what it is still given is not acknowledged, and clients find
// the new leader (MD4, MD6).
TEST(NetworkScenarios, F20ALeaderThatReachesFollowersOnlyIsReplaced) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.CutOff(A);
  s.UntilLeader(t, B);
  const AnswerPtr late = s.Send(A, t, "late");
  sim::SimLoad load(&s.sim(), "t", 1);
  load.Send(10);
  for (int i = 0; i < 10; ++i) s.MaySend(t, StrCat("value-", i));
  s.Until("a client's records are acknowledged",
          [&] { return load.acked() == 10; });
  s.Expect(!late->acked(), "the old leader acknowledges nothing");
  s.Heal();
  s.Converge();
}

// F20, clients only. The leader reaches no process of the cluster (RP21).
TEST(NetworkScenarios, F20ALeaderThatReachesClientsOnlyAcknowledgesNothing) {
  Scenario s(ShortLag());
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.Isolate(A);
  const AnswerPtr lost = s.Send(A, t, "lost");
  s.UntilLeader(t, B);
  s.Expect(s.Core(A, t).leads(), "A believes that it leads");
  const AnswerPtr late = s.Send(A, t, "late");
  s.Produce(t, "m2");
  s.RunFor(kMinuteMs);
  s.Expect(!lost->acked() && !late->acked(), "A acknowledges nothing");
  s.Heal();
  s.Converge({{t, {"m1", "m2"}}});
}

// F21. Which of a class of processes see each other, for a minute under load ->
// an epoch has one leader, the quorum's side goes on: in the second half of the
// minute every record is acknowledged, and the ISR has come to rest.
using Links = std::vector<std::pair<int, int>>;  // cut
void RunF21(int count, const Links& cuts, int changes_max) {
  ScenarioOptions options = ShortLag();
  options.brokers = options.controllers = count;
  Scenario s(options);
  const Tp t = s.CreateTopic("t", {.replicas = count});
  s.Produce(t, "m0");
  for (const auto& [a, b] : cuts) {
    s.Cut(a, b);
    s.Cut(100 + a, 100 + b);
    s.Cut(a, 100 + b);
    s.Cut(100 + a, b);
  }
  const PartitionEpoch before = s.Committed(t).partition_epoch;
  std::vector<AnswerPtr> answers;
  for (int second = 1; second <= 60; ++second) {
    const NodeId leader = s.Committed(t).leader;
    answers.push_back(s.Send(leader != kNoNode ? leader.value() : 1, t,
                             StrCat("m", second)));
    s.RunFor(1'000);
  }
  s.RunFor(1'000);
  const int changes = s.Committed(t).partition_epoch - before;
  const auto acked = std::count_if(answers.begin() + 30, answers.end(),
                                   [](const auto& a) { return a->acked(); });
  s.Expect(acked == 30, StrCat("the quorum goes on: ", acked, " of 30"));
  s.Expect(changes <= changes_max, StrCat("the ISR flaps: ", changes));
  s.Heal();
  s.Converge();
}

TEST(NetworkScenarios, F21AChainHasOneLeaderAnEpoch) { RunF21(3, {{1, 3}}, 3); }

// 3 sees both sides, which do not see each other.
TEST(NetworkScenarios, F21ABridgeHasOneLeaderAnEpoch) {
  RunF21(5, {{1, 4}, {1, 5}, {2, 4}, {2, 5}}, 5);
}

TEST(NetworkScenarios, F21ARingHasOneLeaderAnEpoch) {
  RunF21(5, {{1, 3}, {1, 4}, {2, 4}, {2, 5}, {3, 5}}, 5);
}

// F22. The active controller is cut off with one broker, which leads -> the
// majority elects another controller and another leader; the two that are cut
// off commit no metadata and acknowledge nothing, and what the stale controller
// says has no effect afterwards (RA5, MD2, MD6).
TEST(NetworkScenarios, F22AControllerCutOffWithABrokerCommitsNothing) {
  Scenario s(ShortLag());
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  const int X = s.ActiveController();
  for (const int node : s.sim().ids()) {
    if (node == A || node == X) continue;
    s.Cut(A, node);
    s.Cut(X, node);
  }
  const LogIndex committed = s.RaftOf(X).commit_index();
  const AnswerPtr lost = s.Send(A, t, "lost");
  const ProposedPtr proposed = s.Propose(X, "never");
  s.UntilLeader(t, B);
  s.Expect(s.ActiveController() != X, "the majority has another controller");
  s.Produce(t, "m2");
  s.RunFor(10'000);
  s.Expect(s.RaftOf(X).commit_index() == committed, "X commits nothing");
  s.Expect(s.sim().at(A).broker->image()->FindTopic("t")
                   ->Find(PartitionIndex(0))
                   ->leader == NodeId(A),
           "A lives in the past");
  s.Expect(!lost->acked(), "A acknowledges nothing");
  s.Expect(proposed->has_value() && !(*proposed)->ok(),
           "X says that it does not know what became of its topic");
  s.Heal();
  s.Converge({{t, {"m1", "m2"}}});
}

// F60, half-open. The connections between two processes carry nothing any more
// and nobody says so -> both ends find out within 30 s and go on over new ones.
TEST(NetworkScenarios, F60HalfOpenConnectionsAreGivenUp) {
  Scenario s(ShortLag());
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  const std::vector<std::pair<int, int>> links = {
      {A, B}, {A, C}, {A, s.ActiveController()}, {101, 102}, {102, 103}};
  for (const auto& [a, b] : links) {
    const int64_t before = s.sim().network().counts().keepalive_expired;
    s.HalfOpen(a, b);
    s.Until("a keepalive has run out", [&] {
      return s.sim().network().counts().keepalive_expired > before;
    }, 30'000);
    s.Until("all are in sync again", [&] {
      return s.Committed(t).isr.size() == 3 && s.ActiveController() != 0;
    });
    s.Produce(t, StrCat("after ", a, "-", b));
  }
  s.Converge();
}

}  // namespace
}  // namespace sluice::scenario
