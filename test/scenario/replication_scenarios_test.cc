// correctness.md 3.1: what a log keeps and what it cuts when leaders come and
// go. Each script: setup, fault, required. The RP and T numbers are those of
// its sections 2.2 and 3.0.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/peers/replication_stream.h"
#include "common/base/str_cat.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

// The frames by which `leader` tells `follower` what is committed, once it has
// all records.
Match FramesOfLeader(int leader, int follower) {
  return {MessageKind::kLeaderFrame, leader, follower};
}

// Those of them that carry records.
Match DataOfLeader(int leader, int follower) {
  return {MessageKind::kLeaderFrame, leader, follower,
          [](const Message& message) {
            return !sim::Wire<LeaderFrame>::Decode(message.bytes).data.empty();
          }};
}

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

// F1, KIP-101 first. m2 is on both replicas and acknowledged; the follower's
// high watermark is still 1 -> it loses its power and comes back, and when it
// is in sync again the leader dies -> the follower keeps m2 (T0: no cut at the
// own high watermark) and leads with it (T5).
TEST(ReplicationScenarios, F1AFollowerThatRestartsKeepsWhatItDidNotKnowCommitted) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.replicas = 2, .min_isr = 1});
  const auto [A, B] = s.ReplicasOf<2>(t);
  s.Produce(t, "m1");
  s.UntilHighWatermark(B, t, 1);
  const AnswerPtr m2 = s.Send(A, t, "m2");
  s.UntilLog(B, t, {"m1", "m2"});
  const auto told = s.Hold(FramesOfLeader(A, B));
  s.UntilAcked(m2);
  s.Expect(s.Core(B, t).high_watermark() == Offset(1), "B.HW lags");
  s.PowerCut(B);
  s.DropHeld(told);
  s.UntilIsr(t, {A});  // T1: out of the ISR until it has caught up again
  // What it copies anew would hide what it cut.
  const auto copies = s.Hold(DataOfLeader(A, B));
  s.Boot(B);
  s.UntilIsr(t, {A, B});
  s.Expect(copies->count == 0, "B has copied nothing");
  s.ExpectLog(B, t, {"m1", "m2"});
  s.PowerCut(A);
  s.UntilLeader(t, B);
  s.ExpectValue(t, 1, "m2");
  s.Boot(A);
  s.Converge({{t, {"m1", "m2"}}});
}

// F1, the other half. As above, but the leader dies before the follower has
// caught up with it -> the follower is in no ISR and no ELR, so nobody leads
// until the leader is back (T1, T6, RP20).
TEST(ReplicationScenarios, F1AFollowerThatHasNotCaughtUpIsNotElected) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.replicas = 2, .min_isr = 1});
  const auto [A, B] = s.ReplicasOf<2>(t);
  s.Produce(t, "m1");
  s.PowerCut(B);
  s.UntilIsr(t, {A});
  s.Produce(t, "m2");
  s.Cut(A, B);
  s.Boot(B);
  s.Until("B is alive", [&] { return !s.IsFenced(B); });
  s.PowerCut(A);
  s.UntilNoLeader(t);
  s.Expect(!s.IsInIsr(t, B) && !s.ElrOf(t).contains(B), "B counts nowhere");
  s.Throughout(5'000, "nobody leads",
               [&] { return s.Committed(t).leader == kNoNode; });
  s.Heal();
  s.Boot(A);
  s.UntilLeader(t, A);
  s.Converge({{t, {"m1", "m2"}}});
}

// F2, KIP-101 second, the half with equal ends. min ISR 1: m2 is on the old
// leader's disk alone and the other leads with m3 at the same offset -> the old
// leader returns, its log as long as the new one's -> it compares epochs, not
// lengths: cuts m2 and copies m3 (T3, RP12).
TEST(ReplicationScenarios, F2EqualEndsWithOtherRecordsAreFoundAndCut) {
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

// F3. Memory mode, min ISR 2, both have m2, the follower's high watermark lags
// -> the follower restarts cleanly, then the leader loses its page cache -> the
// restart spent none of the one loss that is tolerated: the follower leads with
// m2 (T0, T3).
TEST(ReplicationScenarios, F3ACleanRestartSpendsNoneOfTheToleratedLosses) {
  Scenario s;
  const Tp t =
      s.CreateTopic("t", {.replicas = 2, .min_isr = 2, .in_memory = true});
  const auto [A, B] = s.ReplicasOf<2>(t);
  s.Produce(t, "m1");
  const AnswerPtr m2 = s.Send(A, t, "m2");
  s.UntilLog(B, t, {"m1", "m2"});
  const auto told = s.Hold(FramesOfLeader(A, B));
  s.UntilAcked(m2);
  s.Expect(s.Core(B, t).high_watermark() < Offset(2), "B.HW lags");
  s.Stop(B);
  s.DropHeld(told);
  s.Boot(B);
  s.UntilIsr(t, {A, B});
  s.Expect(s.Core(A, t).durable_leo() < s.Core(A, t).leo(),
           "the leader holds records in its page cache alone");
  s.PowerCut(A);
  s.UntilLeader(t, B);
  s.ExpectLog(B, t, {"m1", "m2"});
  s.Boot(A);
  s.Converge({{t, {"m1", "m2"}}});
}

// F4, KIP-279. min ISR 2 of 2: A leads with a2 that nobody copies; B leads with
// b2, stored below min ISR and so not committed; A leads again -> B returns
// with an epoch that A's log does not have -> A names the end of the epoch
// before it, B cuts to what both have and asks again: no b2 beside a2 (RP12).
TEST(ReplicationScenarios, F4AnEpochTheLeaderDoesNotKnowIsResolvedInTwoSteps) {
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

// F5, KIP-320's first try. C has m2 and tells A so in epoch e, but the word is
// still under way when A loses the leadership to B and gets it back in e+2 -> it
// arrives -> it moves nothing: only what C says in e+2, after it was accepted in
// it, counts (RP4, RP11).
TEST(ReplicationScenarios, F5AnAckOfAnOlderEpochMovesNothing) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  const LeaderEpoch before = s.Committed(t).leader_epoch;
  const auto said = s.Hold({MessageKind::kFollowerFrame, C, A});
  s.Send(A, t, "m2");
  s.UntilLog(B, t, {"m1", "m2"});
  s.UntilLog(C, t, {"m1", "m2"});
  s.UntilCaught(said);
  s.CutOff(A);
  s.UntilLeader(t, B);
  s.Heal();
  s.UntilIsr(t, {A, B, C});
  s.Kill(B);
  s.UntilLeader(t, A);
  const auto frame = sim::Wire<FollowerFrame>::Decode(said->bytes.front());
  s.Expect(!frame.acks.empty() && frame.acks.front().leader_epoch == before &&
               s.Core(A, t).leader_epoch() > before,
           "what is held is an ack of an older epoch");
  s.DeliverFirst(said);
  s.RunFor(10);
  s.Expect(s.Core(A, t).follower_states()[NodeId(C)].durable == kNoOffset,
           "the old ack says nothing of C");
  s.Deliver(said);
  s.UntilHighWatermark(A, t, 2);
  s.Converge({{t, {"m1", "m2"}}});
}

// F6. A has a suffix that nobody else has. B leads; A comes back and asks it
// where to cut, but B is a stale leader by then (cut off from the controllers,
// with a suffix of its own) and its answer is late: C leads already -> the
// answer arrives in C's epoch -> it has no effect; A cuts where C says, and so
// does B (RP12: computed and applied in one leader epoch).
TEST(ReplicationScenarios, F6AStaleLeadersAnswerCutsNothing) {
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
TEST(ReplicationScenarios, F6AnOlderEpochsAnswerOfTheSameLeaderCutsNothing) {
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

// F13, KIP-966: the last replica standing. Memory mode; partitions take the ISR
// from 3 to 1 -> the last leader loses its page cache -> a member of the ELR is
// elected, which has all that was acknowledged: the high watermark stood still
// below min ISR (RP4, RP20).
TEST(ReplicationScenarios, F13TheLastReplicaStandingMayLoseItsPageCache) {
  ScenarioOptions options;
  options.settings = {{"replica.lag.time.max.ms", "1000"}};
  Scenario s(options);
  const Tp t = s.CreateTopic("t", {.in_memory = true});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.Cut(A, B);
  const AnswerPtr m2 = s.Send(A, t, "m2");
  s.UntilIsr(t, {A, C});
  s.UntilAcked(m2);
  s.Cut(A, C);
  const AnswerPtr m3 = s.Send(A, t, "m3", /*acks=*/1);
  s.UntilIsr(t, {A});
  s.Until("A knows", [&] { return s.Core(A, t).isr().size() == 1; });
  s.Expect(s.ElrOf(t) == std::set<int>{C}, "C may be elected, B may not");
  s.UntilRefused(s.Send(A, t, "m4"), ErrorCode::kNotEnoughReplicas);
  s.Expect(s.Fetch(A, t, 0).values == Values{"m1", "m2"} &&
               s.Fetch(A, t, 2).values.empty(),
           "readers are given what is committed");
  s.Expect(s.Core(A, t).high_watermark() == Offset(2) &&
               s.Core(A, t).leo() == Offset(3),
           "m3 is stored and not committed");
  s.Expect(s.Core(A, t).durable_leo() < Offset(2), "m2 is in A's page cache");
  s.PowerCut(A);
  s.UntilLeader(t, C);
  s.ExpectLog(C, t, {"m1", "m2"});
  // Alone it commits nothing either, and so shows only what it knows to be
  // committed; B copies m2 and makes two of them.
  s.UntilIsr(t, {B, C});
  s.UntilHighWatermark(C, t, 2);
  s.ExpectValue(t, 1, "m2");
  s.Heal();
  s.Boot(A);
  s.Converge({{t, {"m1", "m2"}}});
}

// F15, KAFKA-19522. Memory mode, two replicas, min ISR 1: B is out of the ISR;
// A, the last leader, lost its page cache, says so, and is gone again: ISR and
// ELR are empty -> an election is due -> nobody leads, neither dead A nor B that
// may lack records (RP20). Once A is back and has told what it holds, the best
// log leads, and the loss is on record.
TEST(ReplicationScenarios, F15ADeadLastKnownLeaderIsNotElected) {
  Scenario s;
  const Tp t =
      s.CreateTopic("t", {.replicas = 2, .min_isr = 1, .in_memory = true});
  const auto [A, B] = s.ReplicasOf<2>(t);
  s.PowerCut(B);
  s.UntilIsr(t, {A});
  s.PowerCut(A);
  s.UntilNoLeader(t);
  s.Boot(B);
  const auto verdicts = s.Hold({MessageKind::kReportReplicas, A});
  s.Boot(A);
  s.Until("ISR and ELR are empty", [&] {
    return s.Committed(t).isr.empty() && s.ElrOf(t).empty();
  });
  s.Expect(s.IsFenced(A), "A is fenced");
  s.PowerCut(A);
  s.DropHeld(verdicts);
  s.Until("B is alive", [&] { return !s.IsFenced(B); });
  s.Throughout(10'000, "nobody leads", [&] {
    return s.Committed(t).leader == kNoNode;
  });
  s.Boot(A);
  s.Until("somebody leads", [&] {
    return s.Committed(t).leader != kNoNode;
  });
  s.Expect(s.Committed(t).last_unclean_leader_epoch ==
               s.Committed(t).leader_epoch,
           "the loss is on record");
  s.Converge();
}

// F23, KIP-207. A consumer has read up to A's high watermark 2; the followers'
// is 1 -> A dies, B leads and cannot know yet what is committed -> the consumer
// gets nothing or OFFSET_NOT_AVAILABLE, never OUT_OF_RANGE, and the latest
// offset does not go back (RP5).
TEST(ReplicationScenarios, F23ANewLeaderDoesNotMoveALatestOffsetBack) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  const AnswerPtr m2 = s.Send(A, t, "m2");
  s.UntilLog(B, t, {"m1", "m2"});
  s.UntilLog(C, t, {"m1", "m2"});
  const auto to_b = s.Hold(FramesOfLeader(A, B));
  const auto to_c = s.Hold(FramesOfLeader(A, C));
  s.UntilAcked(m2);
  s.Expect(s.Fetch(A, t, 0).values == Values{"m1", "m2"}, "m2 was read");
  s.Expect(s.Core(B, t).high_watermark() < Offset(2), "B.HW lags");
  const auto acks = s.Hold({MessageKind::kFollowerFrame, C, B});
  s.Kill(A);
  s.UntilLeader(t, B);
  s.Expect(!s.Core(B, t).hw_is_truth(), "B does not know what is committed");
  const auto fetched = s.Fetch(B, t, 2);
  s.Expect(fetched.values.empty() &&
               (fetched.code == ErrorCode::kNone ||
                fetched.code == ErrorCode::kOffsetNotAvailable),
           "the consumer waits");
  s.Expect(s.ListLatest(B, t).code == ErrorCode::kOffsetNotAvailable,
           "the latest offset is not known");
  s.Deliver(acks);
  s.Until("B knows", [&] { return s.Core(B, t).hw_is_truth(); });
  s.Expect(s.ListLatest(B, t).offset == Offset(2), "the latest offset is 2");
  s.Converge({{t, {"m1", "m2"}}});
}

// F24, KAFKA-14704. A has a suffix of a dead epoch; meanwhile B has committed
// far past it -> A returns, and what B answers carries B's high watermark -> A's
// own never shows its suffix (RP7: adopted after the cut and the append).
TEST(ReplicationScenarios, F24AHighWatermarkShowsNoSuffixThatWillBeCut) {
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

// F25, KAFKA-15510. C is caught up with A, an uncommitted m2 included, and hears
// nothing new for a while -> A dies and B leads without m2 -> C still knows the
// epoch of the last record it fetched, so the divergence at equal offsets is
// found (RP12).
TEST(ReplicationScenarios, F25AnIdleFollowerKeepsTheEpochItFetchedLast) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  const LeaderEpoch old = s.Committed(t).leader_epoch;
  const auto to_b = s.Hold(FramesOfLeader(A, B));
  const AnswerPtr m2 = s.Send(A, t, "m2");
  s.UntilLog(C, t, {"m1", "m2"});
  s.RunFor(3'000);
  s.ExpectUnanswered(m2);
  const auto asks = s.Watch({MessageKind::kFollowerFrame, C, B});
  s.Kill(A);
  s.DropHeld(to_b);
  s.UntilLeader(t, B);
  s.Produce(t, "n2");
  bool asked = false;
  for (const std::string& bytes : asks->bytes) {
    for (const AddReplica& add : sim::Wire<FollowerFrame>::Decode(bytes).adds) {
      asked = asked || (add.fetch_offset == Offset(2) &&
                        add.last_fetched_epoch == old);
    }
  }
  s.Expect(asked, "C asked from 2 on, behind a record of the old epoch");
  s.ExpectLog(C, t, {"m1", "n2"});
  s.Converge({{t, {"m1", "n2"}}});
}

// F27 (b). m2 is committed at A, and read; no follower knows it -> A is killed
// -> m2 survives on the new leader, whose high watermark catches up to the start
// of its epoch (RP1, RP5).
TEST(ReplicationScenarios, F27WhatWasCommittedBeforeAFollowerKnewSurvives) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  const AnswerPtr m2 = s.Send(A, t, "m2");
  s.UntilLog(B, t, {"m1", "m2"});
  s.UntilLog(C, t, {"m1", "m2"});
  const auto to_b = s.Hold(FramesOfLeader(A, B));
  const auto to_c = s.Hold(FramesOfLeader(A, C));
  s.UntilAcked(m2);
  s.Expect(s.Core(B, t).high_watermark() < Offset(2) &&
               s.Core(C, t).high_watermark() < Offset(2),
           "no follower knows that m2 is committed");
  s.Kill(A);
  s.UntilLeader(t, B);
  s.UntilHighWatermark(B, t, s.Core(B, t).epoch_start().value());
  s.ExpectValue(t, 1, "m2");
  s.Converge({{t, {"m1", "m2"}}});
}

// F28. Five leaders are killed one after the other, each as soon as it leads;
// some wrote records that nobody copied, some wrote nothing -> all come back ->
// the epochs of all replicas agree and no record of a dead epoch remains (RP10,
// RP24).
TEST(ReplicationScenarios, F28FiveLeaderKillsLeaveNothingOfDeadEpochs) {
  ScenarioOptions options;
  options.brokers = 5;
  Scenario s(options);
  const Tp t = s.CreateTopic("t", {.replicas = 5});
  s.Produce(t, "m1");
  Values committed{"m1"};
  for (int round = 0; round < 5; ++round) {
    const int leader = s.Committed(t).leader.value();
    const LeaderEpoch epoch = s.Committed(t).leader_epoch;
    if (round % 2 == 0) {
      std::vector<int> others;
      for (const NodeId replica : s.Committed(t).replicas) {
        if (replica != NodeId(leader)) others.push_back(replica.value());
      }
      std::vector<CaughtPtr> holds;
      for (const int other : others) {
        holds.push_back(s.Hold(FramesOfLeader(leader, other)));
      }
      s.UntilAcked(s.Send(leader, t, StrCat("dead", round), /*acks=*/1));
      s.Kill(leader);
      for (const CaughtPtr& hold : holds) s.DropHeld(hold);
    } else {
      s.Kill(leader);
    }
    s.Until("another leads", [&] {
      const PartitionImage& state = s.Committed(t);
      const auto* core = state.leader == kNoNode
                             ? nullptr
                             : s.FindCore(state.leader.value(), t);
      return state.leader_epoch > epoch && core != nullptr &&
             core->leader_epoch() == state.leader_epoch &&
             core->state() == replica::State::kLeading;
    });
    s.Boot(leader);
  }
  s.Until("the leader knows enough replicas in sync", [&] {
    const auto* core = s.FindCore(s.Committed(t).leader.value(), t);
    return core != nullptr && core->isr().size() >= 2;
  });
  committed.push_back("m2");
  s.Produce(t, "m2");
  s.Converge({{t, committed}});
}

}  // namespace
}  // namespace sluice::scenario
