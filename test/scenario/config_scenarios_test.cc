// Configs that are altered while a topic is written to: F31, and the switch of
// durability (design/replication.md 2).
#include <gtest/gtest.h>

#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

constexpr char kMinIsr[] = "min.insync.replicas";
constexpr char kDurability[] = "durability";

bool IsSettling(Scenario& s, const Tp& t) {
  return s.Committed(t).durability_settling;
}

void UntilSettled(Scenario& s, const Tp& t, int leader) {
  s.Until("the switch to disk has settled", [&] {
    return !IsSettling(s, t) && s.Core(leader, t).promises_disk();
  });
}

// F31. C is dead, {A, B} are in sync; min ISR is raised to 3 -> acks=all is
// refused at once, the HW stands, what waits stays unanswered; lowered again ->
// all of it is committed (RP4, RP21).
TEST(ConfigScenarios, F31RaisedAboveTheIsrNothingIsWrittenUntilItIsLowered) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Kill(C);
  s.UntilIsr(t, {A, B});
  s.Produce(t, "m1");
  const auto frames = s.Hold({MessageKind::kLeaderFrame, A, B});
  const auto m2 = s.Send(A, t, "m2");
  s.SetConfig("t", kMinIsr, "3");
  s.Until("A knows", [&] { return s.Core(A, t).min_isr() == 3; });
  s.UntilRefused(s.Send(A, t, "m3"), ErrorCode::kNotEnoughReplicas);
  s.Deliver(frames);
  s.UntilLog(B, t, {"m1", "m2"});
  s.Throughout(2'000, "the high watermark stands",
               [&] { return s.Core(A, t).high_watermark() == Offset(1); });
  s.ExpectUnanswered(m2);
  s.SetConfig("t", kMinIsr, "2");
  s.UntilAcked(m2);
  s.Produce(t, "m4");
  s.Converge({{t, {"m1", "m2", "m4"}}});
}

// F31. A alone is in sync, below min ISR 2, and B is in the ELR; min ISR is
// lowered to 1 -> B is out of the ELR before A commits alone, and may not lead
// when A dies (RP1, RP17).
TEST(ConfigScenarios, F31LoweredToOneTheRestMayNotLead) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.Kill(C);
  s.UntilIsr(t, {A, B});
  s.Kill(B);
  s.UntilIsr(t, {A});
  s.Expect(s.ElrOf(t) == std::set<int>{B}, "B is in the ELR");
  s.SetConfig("t", kMinIsr, "1");
  s.Until("B is not any more", [&] { return s.ElrOf(t).empty(); });
  s.Until("A knows", [&] { return s.Core(A, t).min_isr() == 1; });
  s.Produce(t, "m2");
  s.Kill(A);
  s.UntilNoLeader(t);
  s.Boot(B);
  s.Until("B is alive", [&] { return !s.IsFenced(B); });
  s.Throughout(3'000, "nobody leads",
               [&] { return s.Committed(t).leader == kNoNode; });
  s.Boot(A);
  s.UntilLeader(t, A);
  s.Converge({{t, {"m1", "m2"}}});
}

// From memory to disk: B's disk hangs when the topic is switched -> what was
// acknowledged stays so, nothing more is while B is in sync, and no answer
// names disk; B's disk goes on -> the switch settles, answers name disk, and a
// power cut of everybody loses nothing.
TEST(ConfigScenarios, F14ASwitchToDiskIsPromisedWhenTheDisksHaveIt) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.in_memory = true});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.HangDisk(B);
  const auto m1 = s.Send(A, t, "m1");
  s.UntilAcked(m1);
  s.Expect(m1->durability == "memory", "m1 is in memory");
  s.SetConfig("t", kDurability, "disk");
  s.Expect(IsSettling(s, t), "it settles");
  s.Until("A knows", [&] { return s.Core(A, t).durable_counts(); });
  const auto m2 = s.Send(A, t, "m2");
  s.UntilLog(B, t, {"m1", "m2"});
  s.Throughout(2'000, "nothing more is committed", [&] {
    return IsSettling(s, t) && s.Core(A, t).high_watermark() == Offset(1);
  });
  s.ExpectUnanswered(m2);
  s.FreeDisk(B);
  s.UntilAcked(m2);
  s.Expect(m2->durability == "memory", "m2 came before it had settled");
  UntilSettled(s, t, A);
  const auto m3 = s.Send(A, t, "m3");
  s.UntilAcked(m3);
  s.Expect(m3->durability == "disk", "m3 is on disks");
  s.PowerCutAll({A, B, C});
  for (const int node : {A, B, C}) s.Boot(node);
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

// The same, and B loses its power before its disk has what was acknowledged ->
// as in memory mode it may not be elected, though the topic is on disk by now:
// only A has m1 (RP18, one machine lost).
TEST(ConfigScenarios, F14BeforeASwitchToDiskHasSettledALostMemoryIsALoss) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.in_memory = true});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Kill(C);
  s.UntilIsr(t, {A, B});
  s.HangDisk(B);
  s.Produce(t, "m1");
  s.SetConfig("t", kDurability, "disk");
  s.Expect(IsSettling(s, t), "it settles");
  s.PowerCut(B);
  s.UntilIsr(t, {A});
  s.Kill(A);
  s.FreeDisk(B);
  s.Boot(B);
  s.Until("B is alive", [&] { return !s.IsFenced(B); });
  s.Throughout(3'000, "B does not lead",
               [&] { return s.Committed(t).leader == kNoNode; });
  s.Boot(A);
  s.UntilLeader(t, A);
  s.Converge({{t, {"m1"}}});
}

// From disk to memory: the answers say so, and the rules of memory hold from
// the switch on: B, which loses its power, is out of ISR and ELR.
TEST(ConfigScenarios, F14ASwitchToMemoryHoldsAtOnce) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.Kill(C);
  s.UntilIsr(t, {A, B});
  s.SetConfig("t", kDurability, "memory");
  s.Until("A knows", [&] { return !s.Core(A, t).durable_counts(); });
  s.HangDisk(B);
  const auto m2 = s.Send(A, t, "m2");
  s.UntilAcked(m2);
  s.Expect(m2->durability == "memory", "m2 is in memory");
  s.PowerCut(B);
  s.UntilIsr(t, {A});
  s.FreeDisk(B);
  s.Boot(B);
  s.Until("B is alive", [&] { return !s.IsFenced(B); });
  s.Expect(!s.ElrOf(t).contains(B), "B is not in the ELR");
  s.UntilIsr(t, {A, B});
  s.Converge({{t, {"m1", "m2"}}});
}

}  // namespace
}  // namespace sluice::scenario
