// correctness.md 3.0 and 3.1: logs that parted, and where they are cut. Each
// script: setup, fault, required.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/peers/replication_stream.h"
#include "test/scenario/leader_frames.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

// `A` has `value` on its disk, nobody else does, and `A` is dead.
void LeaveSuffix(Scenario& s, const Tp& t, int A, const std::vector<int>& others,
                 const Values& values) {
  std::vector<CaughtPtr> holds;
  for (const int other : others) holds.push_back(s.Hold(FramesOfLeader(A, other)));
  for (const std::string& value : values) {
    s.UntilAcked(s.Send(A, t, value, /*acks=*/1));
  }
  const Values log = s.LogOf(A, t);
  for (const int other : others) {
    s.Expect(s.LogOf(other, t).size() + values.size() == log.size(),
             "the suffix is on no other replica");
  }
  s.Kill(A);
  for (const CaughtPtr& hold : holds) s.DropHeld(hold);
}

// F2, KIP-101 second, the half with equal ends. min ISR 1: m2 is on the old
// leader's disk alone and the other leads with m3 at the same offset -> the old
// leader returns, its log as long as the new one's -> it compares epochs, not
// lengths: cuts m2 and copies m3 (T3, RP12).
TEST(DivergenceScenarios, F2EqualEndsWithOtherRecordsAreFoundAndCut) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.replicas = 2, .min_isr = 1});
  const auto [A, B] = s.ReplicasOf<2>(t);
  s.Produce(t, "m1");
  s.UntilHighWatermark(B, t, 1);
  LeaveSuffix(s, t, A, {B}, {"m2"});
  s.UntilLeader(t, B);
  s.Produce(t, "m3");
  s.ExpectLog(A, t, {"m1", "m2"});
  s.ExpectLog(B, t, {"m1", "m3"});
  s.Boot(A);
  s.UntilLog(A, t, {"m1", "m3"});
  s.Converge({{t, {"m1", "m3"}}});
}

// F4, KIP-279. min ISR 2 of 2: A leads with a2 that nobody copies; B leads with
// b2, stored below min ISR and so not committed; A leads again -> B returns
// with an epoch that A's log does not have -> A names the end of the epoch
// before it, B cuts to what both have and asks again: no b2 beside a2 (RP12).
TEST(DivergenceScenarios, F4AnEpochTheLeaderDoesNotKnowIsResolvedInTwoSteps) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.replicas = 2, .min_isr = 2});
  const auto [A, B] = s.ReplicasOf<2>(t);
  s.Produce(t, "m1");
  s.UntilHighWatermark(B, t, 1);
  LeaveSuffix(s, t, A, {B}, {"a2", "a3"});
  s.UntilLeader(t, B);
  const AnswerPtr b2 = s.Send(B, t, "b2", /*acks=*/1);
  s.UntilAcked(b2);
  s.Expect(b2->below_min_isr, "b2 is stored, not committed");
  const auto epochs_of_b = s.Core(B, t).epochs().starts();
  s.Kill(B);
  s.UntilNoLeader(t);
  s.Boot(A);
  s.UntilLeader(t, A);
  const auto epochs_of_a = s.Core(A, t).epochs().starts();
  s.Expect(epochs_of_a.size() == 2 && epochs_of_b.size() == 2 &&
               epochs_of_a.back().epoch > epochs_of_b.back().epoch,
           "each has an epoch that the other does not know");
  const auto asks = s.Watch({MessageKind::kFollowerFrame, B, A,
                             [](const Message& message) {
                               return !sim::Wire<FollowerFrame>::Decode(
                                           message.bytes).adds.empty();
                             }});
  s.Boot(B);
  s.UntilLog(B, t, {"m1", "a2", "a3"});
  s.Expect(asks->count >= 2, "B asked again when it had cut");
  s.Converge({{t, {"m1", "a2", "a3"}}});
}

// F6. A has a suffix that nobody else has. B leads; A comes back and asks it
// where to cut, but B is a stale leader by then (cut off from the controllers,
// with a suffix of its own) and its answer is late: C leads already -> the
// answer arrives in C's epoch -> it has no effect; A cuts where C says, and so
// does B (RP12: computed and applied in one leader epoch).
TEST(DivergenceScenarios, F6AStaleLeadersAnswerCutsNothing) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.UntilHighWatermark(B, t, 1);
  s.UntilHighWatermark(C, t, 1);
  LeaveSuffix(s, t, A, {B, C}, {"a2", "a3"});
  s.UntilLeader(t, B);
  s.Produce(t, "b2");
  const auto to_c = s.Hold(FramesOfLeader(B, C));
  s.UntilAcked(s.Send(B, t, "y3", /*acks=*/1));
  const auto to_a = s.Hold(FramesOfLeader(B, A));
  s.Boot(A);
  s.UntilCaught(to_a);
  s.CutOff(B);
  s.Until("A asked B in B's epoch", [&] {
    return s.Core(A, t).leader() == NodeId(B);
  });
  s.UntilLeader(t, C);
  s.Expect(s.Core(B, t).leads(), "B does not know that it is stale");
  s.UntilLog(A, t, {"m1", "b2"});
  s.Deliver(to_a);
  s.RunFor(100);
  s.ExpectLog(A, t, {"m1", "b2"});
  s.Cease(to_c);
  s.Heal();
  s.UntilLog(B, t, {"m1", "b2"});
  s.Converge({{t, {"m1", "b2"}}});
}

// F6, of one leader in two epochs. A has x2's place empty and tells F, which has
// x2, to cut there; the answer is late. F leads meanwhile and commits x2, A
// copies it and leads again -> the answer arrives while F asks anew -> it cuts
// nothing: it is of an older epoch (RP11, RP12).
TEST(DivergenceScenarios, F6AnOlderEpochsAnswerOfTheSameLeaderCutsNothing) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [C, A, F] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  const auto to_a = s.Hold(FramesOfLeader(C, A));
  s.Send(C, t, "x2");
  s.UntilLog(F, t, {"m1", "x2"});
  const auto answers = s.Hold(FramesOfLeader(A, F));
  s.CutOff(C);
  s.UntilLeader(t, A);
  s.UntilCaught(answers);
  const auto frame = sim::Wire<LeaderFrame>::Decode(answers->bytes.front());
  s.Expect(frame.add_answers.size() == 1 && frame.add_answers[0].diverging &&
               frame.add_answers[0].diverging_end_offset == Offset(1),
           "A tells F to cut x2");
  s.DropHeld(to_a);
  s.CutOff(A);
  s.UntilLeader(t, F);
  s.Rejoin(C);
  s.UntilIsr(t, {C, F});
  s.UntilHighWatermark(F, t, 2);
  s.Rejoin(A);
  s.UntilIsr(t, {A, C, F});
  s.Kill(C);
  s.UntilIsr(t, {A, F});
  s.CutOff(F);
  s.UntilLeader(t, A);
  const LeaderEpoch now = s.Committed(t).leader_epoch;
  const auto asks = s.Watch(
      {MessageKind::kFollowerFrame, F, A, [now](const Message& message) {
         const auto adds =
             sim::Wire<FollowerFrame>::Decode(message.bytes).adds;
         return !adds.empty() && adds.front().leader_epoch == now;
       }});
  s.Rejoin(F);
  s.UntilCaught(asks);
  s.Expect(s.Core(F, t).high_watermark() == Offset(2), "F knows x2 committed");
  s.Deliver(answers);
  s.UntilIsr(t, {A, F});
  s.Converge({{t, {"m1", "x2"}}});
}

// F24, KAFKA-14704. A has a suffix of a dead epoch; meanwhile B has committed
// far past it -> A returns, and what B answers carries B's high watermark -> A's
// own never shows its suffix (RP7: adopted after the cut and the append).
TEST(DivergenceScenarios, F24AHighWatermarkShowsNoSuffixThatWillBeCut) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.UntilHighWatermark(B, t, 1);
  s.UntilHighWatermark(C, t, 1);
  LeaveSuffix(s, t, A, {B, C}, {"a2", "a3"});
  s.UntilLeader(t, B);
  for (const char* value : {"b2", "b3", "b4", "b5"}) s.Produce(t, value);
  const auto answers = s.Watch({MessageKind::kLeaderFrame, B, A});
  s.Boot(A);
  bool had_suffix = false;
  bool shown = false;
  s.Until("A has B's log", [&] {
    const auto* core = s.FindCore(A, t);
    if (core == nullptr) return false;
    const Values log = s.LogOf(A, t);
    const bool suffix = log.size() > 1 && log[1] == "a2";
    had_suffix = had_suffix || suffix;
    shown = shown || (suffix && core->high_watermark() > Offset(1));
    return core->high_watermark() == Offset(5);
  });
  s.Expect(had_suffix && answers->count > 0, "A came back with its suffix");
  s.Expect(!shown, "it was shown to nobody");
  s.Converge({{t, {"m1", "b2", "b3", "b4", "b5"}}});
}

}  // namespace
}  // namespace sluice::scenario
