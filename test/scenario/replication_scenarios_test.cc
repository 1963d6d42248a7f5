// correctness.md 3.1: what a log keeps and what it cuts when leaders come and
// go. Each script: setup, fault, required. The RP and T numbers are those of
// its sections 2.2 and 3.0.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/peers/replication_stream.h"
#include "common/base/str_cat.h"
#include "test/scenario/leader_frames.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

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
