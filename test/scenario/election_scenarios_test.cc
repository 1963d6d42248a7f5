// Elections of the best log (design/replication.md 4): whole clusters that lose
// their power, logs that are gone, and what an unclean election may cost (F15,
// F32).
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "common/base/str_cat.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

const std::vector<int> kBrokers = {1, 2, 3};

void BootAll(Scenario& s) {
  for (const int id : kBrokers) s.Boot(id);
}

void UntilSomebodyLeads(Scenario& s, const Tp& t) {
  s.Until("somebody leads", [&] {
    const NodeId leader = s.Committed(t).leader;
    if (leader == kNoNode) return false;
    const auto* core = s.FindCore(leader.value(), t);
    return core != nullptr && core->leads() &&
           core->leader_epoch() == s.Committed(t).leader_epoch;
  });
}

// Leader `A` does not reach `away`, which leaves the ISR, and commits `value`
// with the rest.
void CommitWithout(Scenario& s, const Tp& t, int A, int away,
                   const std::set<int>& rest, const std::string& value) {
  s.Cut(A, away);
  const AnswerPtr sent = s.Send(A, t, value);
  s.UntilIsr(t, rest);
  s.UntilAcked(sent);
}

bool IsUnclean(Scenario& s, const Tp& t) {
  return s.Committed(t).last_unclean_leader_epoch != kNoLeaderEpoch;
}

// Disk mode, everybody loses power at once, the controllers too -> all comes
// back by itself and nothing is lost or given up.
TEST(ElectionScenarios, F15APowerCutOfEverybodyLosesNothingOnDisks) {
  Scenario s;
  const Tp t = s.CreateTopic("t");
  s.Produce(t, "m1");
  s.Produce(t, "m2");
  s.PowerCutAll({1, 2, 3, 101, 102, 103});
  for (const int id : {101, 102, 103}) s.Boot(id);
  BootAll(s);
  UntilSomebodyLeads(s, t);
  s.Expect(!IsUnclean(s, t), "it was a clean election");
  s.UntilIsr(t, {1, 2, 3});
  s.Produce(t, "m3");
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

// Memory mode: one replica has m1 and m2 on its disk, nobody has m3 -> the
// longest log leads without an operator, the others follow it, and what may be
// lost is said.
TEST(ElectionScenarios, F15APowerCutOfEverybodyInMemoryModeElectsTheLongestLog) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.in_memory = true});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.Produce(t, "m2");
  s.UntilLog(B, t, {"m1", "m2"});
  s.Stop(B);  // its log is on its disk
  s.Boot(B);
  s.UntilIsr(t, {A, B, C});
  s.Produce(t, "m3");
  s.PowerCutAll({1, 2, 3, 101, 102, 103});
  for (const int id : {101, 102, 103}) s.Boot(id);
  // Were it late, the last full ISR need not wait for it.
  s.Boot(B);
  s.Until("B serves", [&] { return s.sim().at(B).serving; });
  s.Boot(A);
  s.Boot(C);
  s.UntilLeader(t, B);
  s.Expect(IsUnclean(s, t), "it is marked as unclean");
  s.Expect(s.Committed(t).unclean_loss.first <= Offset(2),
           "what may be lost begins no later than what is lost");
  s.MayLose(t);
  s.UntilIsr(t, {A, B, C});
  s.Produce(t, "m4");
  s.Converge({{t, {"m1", "m2", "m4"}}});
}

// All have lost their power and come back but one of the last full ISR, which
// may hold more than all others -> nobody leads, until it has told.
struct OneIsSilent {
  Scenario& s;
  Tp t;
  CaughtPtr told;

  explicit OneIsSilent(Scenario& scenario) : s(scenario) {
    t = s.CreateTopic("t", {.in_memory = true});
    s.Produce(t, "m1");
    s.PowerCutAll(kBrokers);
    s.UntilNoLeader(t);
    const int silent = s.Committed(t).last_full_isr.front().value();
    told = s.Hold({MessageKind::kReportReplicas, silent, kAnyone});
    BootAll(s);
    s.Until("the others have told of their logs",
            [&] { return s.Committed(t).candidates.size() == 2; });
  }
};

TEST(ElectionScenarios, F15TheLastFullIsrIsWaitedFor) {
  Scenario s;
  const OneIsSilent scene(s);
  const Tp t = scene.t;
  s.Throughout(5'000, "nobody leads",
               [&] { return s.Committed(t).leader == kNoNode; });
  s.Deliver(scene.told);
  UntilSomebodyLeads(s, t);
  s.MayLose(t);
  s.Converge();
}

// The active controller dies before the last one tells -> what the others told
// is in the metadata, the next controller elects.
TEST(ElectionScenarios, F15WhatWasToldOutlivesItsController) {
  Scenario s;
  const OneIsSilent scene(s);
  const Tp t = scene.t;
  s.Kill(s.ActiveController());
  s.UntilController();
  s.Expect(s.Committed(t).candidates.size() == 2, "two have told");
  s.Deliver(scene.told);
  UntilSomebodyLeads(s, t);
  s.MayLose(t);
  s.Converge();
}

// A replica that is eligible and away is waited for, whatever the others hold.
TEST(ElectionScenarios, F15WhoIsEligibleIsWaitedFor) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.in_memory = true});
  s.Produce(t, "m1");
  s.PowerCutAll(kBrokers);
  s.UntilNoLeader(t);
  s.Expect(!s.ElrOf(t).empty(), "somebody is eligible");
  const int away = *s.ElrOf(t).begin();
  for (const int id : kBrokers) {
    if (id != away) s.Boot(id);
  }
  s.Throughout(8'000, "nobody leads, nobody is asked", [&] {
    return s.Committed(t).leader == kNoNode &&
           s.Committed(t).candidates.empty();
  });
  s.Boot(away);
  UntilSomebodyLeads(s, t);
  s.MayLose(t);
  s.Converge();
}

// RF 1 in memory mode -> its only replica leads again.
TEST(ElectionScenarios, F15TheOnlyReplicaLeadsAgain) {
  Scenario s;
  const Tp t = s.CreateTopic(
      "t", {.replicas = 1, .min_isr = 1, .in_memory = true});
  const auto [A] = s.ReplicasOf<1>(t);
  s.Produce(t, "m1");
  s.PowerCut(A);
  s.UntilNoLeader(t);
  s.Boot(A);
  s.UntilLeader(t, A);
  s.MayLose(t);
  s.Produce(t, "m2");
  s.Converge();
}

// F32, allowed by the topic. min ISR 1: m2 is on the leader's disk alone, which
// stays away -> a replica without m2 leads at once, marked; when the old leader
// is back it cuts what was committed there, and fails nowhere (RP13).
TEST(ElectionScenarios, F32ATopicMayPreferToGoOn) {
  Scenario s;
  const Tp t = s.CreateTopic(
      "t", {.replicas = 2,
            .min_isr = 1,
            .configs = {{"unclean.leader.election.enable", "true"}}});
  const auto [A, B] = s.ReplicasOf<2>(t);
  s.Produce(t, "m1");
  s.UntilHighWatermark(B, t, 1);
  CommitWithout(s, t, A, B, {A}, "m2");
  s.Kill(A);
  s.UntilLeader(t, B);
  s.Expect(IsUnclean(s, t), "it is marked as unclean");
  s.MayLose(t);
  s.Produce(t, "m3");
  s.Heal();
  s.Boot(A);
  s.UntilLog(A, t, {"m1", "m3"});
  s.Converge({{t, {"m1", "m3"}}});
}

// The same topic without the permission -> nobody leads until the old leader
// is back with m2.
TEST(ElectionScenarios, F32WithoutPermissionTheRecordIsWaitedFor) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.replicas = 2, .min_isr = 1});
  const auto [A, B] = s.ReplicasOf<2>(t);
  s.Produce(t, "m1");
  CommitWithout(s, t, A, B, {A}, "m2");
  s.Kill(A);
  s.UntilNoLeader(t);
  s.Throughout(5'000, "nobody leads and nobody is asked", [&] {
    return s.Committed(t).leader == kNoNode &&
           s.Committed(t).candidates.empty();
  });
  s.Heal();
  s.Boot(A);
  s.UntilLeader(t, A);
  s.Converge({{t, {"m1", "m2"}}});
}

// F32, by order. min ISR 2 of 3: m2 is committed by two replicas that stay
// away -> nobody leads until an operator orders it, then the third, without m2;
// when the others are back they cut m2 and fail nowhere (RP13).
TEST(ElectionScenarios, F32AnOrderGivesUpWhatIsAway) {
  Scenario s;
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.UntilHighWatermark(C, t, 1);
  CommitWithout(s, t, A, C, {A, B}, "m2");
  s.Kill(A);
  s.Kill(B);
  s.UntilNoLeader(t);
  s.Throughout(3'000, "nobody leads by itself",
               [&] { return s.Committed(t).leader == kNoNode; });
  const auto ordered = s.Elect(t, v1::ElectLeadersRequest::KIND_UNCLEAN);
  s.Expect(!ordered.has_error(), ordered.error().message());
  s.UntilLeader(t, C);
  s.Expect(IsUnclean(s, t), "it is marked as unclean");
  s.Expect(!s.Committed(t).unclean_ordered, "the order is carried out");
  s.MayLose(t);
  s.Heal();
  s.Boot(A);
  s.Boot(B);
  s.Converge({{t, {"m1"}}});
}

// An order, and the replica that holds everything comes back before the one
// that is to be elected has told -> it leads, clean, and the order is gone.
TEST(ElectionScenarios, F32AnOrderYieldsToWhoHoldsEverything) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.replicas = 2, .min_isr = 1});
  const auto [A, B] = s.ReplicasOf<2>(t);
  s.Produce(t, "m1");
  CommitWithout(s, t, A, B, {A}, "m2");
  s.Kill(A);
  s.UntilNoLeader(t);
  const auto told = s.Hold({MessageKind::kReportReplicas, B, kAnyone});
  s.Elect(t, v1::ElectLeadersRequest::KIND_UNCLEAN);
  s.UntilCaught(told);
  s.Heal();
  s.Boot(A);
  s.UntilLeader(t, A);
  s.Deliver(told);
  s.RunFor(2'000);
  s.Expect(!IsUnclean(s, t), "it was a clean election");
  s.Converge({{t, {"m1", "m2"}}});
}

// F30: leaderships return after a restart, by order, and under load of records
// that are in flight nothing is lost.
TEST(ElectionScenarios, F30LeadershipsReturnByOrder) {
  Scenario s;
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.Stop(A);
  s.UntilLeader(t, B);
  s.Boot(A);
  s.UntilIsr(t, {A, B, C});
  s.ExpectLeader(t, B);
  const AnswerPtr m2 = s.Send(B, t, "m2");
  const auto elected = s.Elect(t, v1::ElectLeadersRequest::KIND_PREFERRED);
  s.Expect(!elected.has_error() && elected.leader_id() == A,
           elected.error().message());
  s.UntilLeader(t, A);
  s.UntilAnswered(m2);
  const auto again = s.Elect(t, v1::ElectLeadersRequest::KIND_PREFERRED);
  s.Expect(again.error().code() == v1::ERROR_CODE_ELECTION_NOT_NEEDED,
           "it leads already");
  s.Produce(t, "m3");
  s.Converge();
}

// Of three that it was made to lose, and of 45.
constexpr int kElectionsMin = 2;
constexpr int kAckedMin = 30;

// F30: the preferred replica is to lead every second while members die and come
// back in turn, under load -> no election of who is not in the ISR, and nothing
// that was acknowledged is lost; while two are left records are acknowledged.
TEST(ElectionScenarios, F30AnElectionEverySecondLosesNothing) {
  Scenario s;
  const Tp t = s.CreateTopic("t");
  const auto members = s.ReplicasOf<3>(t);
  std::vector<AnswerPtr> answers;
  int elections = 0;
  for (int second = 0; second < 45; ++second) {
    const int away = members[static_cast<size_t>(second / 5) % 3];
    if (second % 5 == 0) s.Kill(away);
    if (second % 5 == 2) s.Boot(away);
    const NodeId leader = s.Committed(t).leader;
    if (leader != kNoNode) {
      answers.push_back(s.Send(leader.value(), t, StrCat("m", second)));
    }
    const auto elected = s.Elect(t, v1::ElectLeadersRequest::KIND_PREFERRED);
    if (!elected.has_error()) {
      ++elections;
      s.Expect(elected.leader_id() == members[0] && s.IsInIsr(t, members[0]),
               "the preferred replica leads, and is in the ISR");
    }
    s.RunFor(1'000);
  }
  s.RunFor(5'000);
  const auto acked = std::count_if(answers.begin(), answers.end(),
                                   [](const auto& a) { return a->acked(); });
  s.Expect(elections >= kElectionsMin, StrCat(elections, " elections"));
  s.Expect(acked >= kAckedMin,
           StrCat(acked, " of ", answers.size(), " were acknowledged"));
  s.Converge();
}

}  // namespace
}  // namespace sluice::scenario
