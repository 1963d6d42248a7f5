// correctness.md 3.1: who is in the ISR, by whose word, and what counts while
// leader and controller do not know the same.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "client/peers/replication_stream.h"
#include "common/base/str_cat.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

constexpr char kLagTimeMs[] = "replica.lag.time.max.ms";

// An active controller's answer about a partition.
bool HasResult(const Message& message) {
  return sim::Wire<internal::v1::AlterPartitionsResponse>::Decode(message.bytes)
             .results_size() > 0;
}
internal::v1::AlterPartitionResult FirstResult(const std::string& bytes) {
  return sim::Wire<internal::v1::AlterPartitionsResponse>::Decode(bytes)
      .results(0);
}

std::set<NodeId> NodesOf(const std::set<int>& ids) {
  std::set<NodeId> nodes;
  for (const int id : ids) nodes.insert(NodeId(id));
  return nodes;
}

// C is dead and out of the ISR; A leads {A, B} and has committed up to `last`.
void LeaveIsr(Scenario& s, const Tp& t, int A, int B, int C,
              const std::string& last) {
  s.Kill(C);
  s.UntilIsr(t, {A, B});
  s.Produce(t, last);
}

Match AsksToAdd(int A, const std::set<int>& isr) {
  return {MessageKind::kAlterPartitions, A, kAnyone,
          [isr](const Message& message) { return AsksForIsr(message, isr); }};
}

// F7, KIP-903. C has caught up and A asks to add it; the question is under way
// while C comes back as another incarnation, with an empty disk or with the old
// one -> the question arrives -> it is refused, A takes its proposal back and C
// may not be elected (RP14, RP15, RP18).
void RunF7(bool wiped) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  LeaveIsr(s, t, A, B, C, "m2");
  const auto question = s.Hold(AsksToAdd(A, {A, B, C}));
  s.Boot(C);
  s.UntilCaught(question);
  s.Expect(s.Core(C, t).leo() == Offset(2), "C had caught up");
  const BrokerEpoch asked_for = s.NewestImage().FindBroker(NodeId(C))->epoch;
  s.Kill(C);
  s.Cut(A, C);
  if (wiped) s.WipeLogs(C);
  s.Boot(C);
  s.Until("C is another incarnation", [&] {
    return s.NewestImage().FindBroker(NodeId(C))->epoch > asked_for &&
           !s.IsFenced(C);
  });
  const auto reply = s.Watch(
      {MessageKind::kAlterPartitionsReply, kAnyone, A, HasResult});
  s.Deliver(question);
  s.UntilCaught(reply);
  s.Expect(FirstResult(reply->bytes.front()).error().code() != 0,
           "the question is refused");
  s.Until("A takes it back", [&] {
    return s.Core(A, t).maximal_isr() == NodesOf({A, B}) ||
           s.Core(A, t).maximal_isr() == NodesOf({B});
  });
  s.Throughout(2'000, "C is not in sync", [&] {
    return !s.IsInIsr(t, C) && !s.ElrOf(t).contains(C);
  });
  s.Heal();
  s.UntilIsr(t, {A, B, C});
  s.Converge({{t, {"m1", "m2"}}});
}

TEST(IsrScenarios, F7AnAdditionOfAWipedIncarnationIsRefused) { RunF7(true); }

TEST(IsrScenarios, F7AnAdditionOfAnOlderIncarnationIsRefused) { RunF7(false); }

// F8. C's ack of m2 is still under way when C loses its power and its disk, and
// comes back as another incarnation -> the ack arrives late -> it says nothing
// of the new C: that one is not in sync before it has copied all (RP4, RP14).
TEST(IsrScenarios, F8AnAckOfAnOlderIncarnationMovesNothing) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  const auto ack = s.Hold({MessageKind::kFollowerFrame, C, A});
  const AnswerPtr m2 = s.Send(A, t, "m2");
  s.UntilLog(C, t, {"m1", "m2"});
  s.UntilCaught(ack);
  const BrokerEpoch old = s.NewestImage().FindBroker(NodeId(C))->epoch;
  s.PowerCut(C);
  s.WipeLogs(C);
  s.Cease(ack);
  const auto copies = s.Hold({MessageKind::kLeaderFrame, A, C});
  s.Boot(C);
  s.Until("A knows the new incarnation", [&] {
    const BrokerImage* broker =
        s.sim().at(A).broker->image()->FindBroker(NodeId(C));
    return broker != nullptr && broker->epoch > old && !broker->fenced;
  });
  s.UntilIsr(t, {A, B});
  s.Deliver(ack);
  s.RunFor(500);
  const auto followers = s.Core(A, t).follower_states();
  s.Expect(followers.at(NodeId(C)).durable <= Offset(0),
           "nothing is known of the new C's disk");
  s.Expect(!s.IsInIsr(t, C), "C is not in sync");
  s.UntilAcked(m2);
  s.Deliver(copies);
  s.UntilIsr(t, {A, B, C});
  s.Converge({{t, {"m1", "m2"}}});
}

// A asks to add C; the controller applies it, and neither the reply nor the
// metadata reach A. What is held, in the order it should be given back.
struct Unheard {
  CaughtPtr reply;
  CaughtPtr metadata;
};
Unheard AddBehindTheLeadersBack(Scenario& s, const Tp& t, int A, int B, int C) {
  const auto question = s.Hold(AsksToAdd(A, {A, B, C}));
  s.Boot(C);
  s.UntilCaught(question);
  Unheard unheard;
  unheard.reply = s.Hold({MessageKind::kAlterPartitionsReply, kAnyone, A});
  unheard.metadata = s.Hold({MessageKind::kMetadataRecords, kAnyone, A});
  s.Deliver(question);
  s.UntilIsr(t, {A, B, C});
  s.UntilCaught(unheard.reply);
  s.Expect(s.Core(A, t).isr().size() == 2,
           "the leader does not know that C is in sync");
  return unheard;
}

// F9: the maximal ISR. The controller has C in the ISR, the leader does not know
// yet and goes on with {A, B} -> the leader dies and C is elected -> nothing is
// lost: the high watermark had waited for C (RP3, RP4).
TEST(IsrScenarios, F9TheHighWatermarkWaitsForAProposedMember) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, C, B] = s.ReplicasOf<3>(t);  // C is elected before B
  s.Produce(t, "m1");
  LeaveIsr(s, t, A, B, C, "m2");
  AddBehindTheLeadersBack(s, t, A, B, C);
  const auto copies = s.Hold({MessageKind::kLeaderFrame, A, C});
  const AnswerPtr m3 = s.Send(A, t, "m3");
  s.UntilLog(B, t, {"m1", "m2", "m3"});
  s.RunFor(500);
  s.Expect(s.Core(A, t).durable_leo() == Offset(3) &&
               s.Core(B, t).durable_leo() == Offset(3),
           "the ISR that the leader knows has m3");
  s.ExpectUnanswered(m3);
  s.Expect(s.Core(A, t).high_watermark() == Offset(2), "HW waits for C");
  s.Kill(A);
  s.DropHeld(copies);
  s.UntilLeader(t, C);
  s.Converge({{t, {"m1", "m2"}}});
}

// F10. C lags and the leader asks to remove it; the request is lost, so C stays
// in the controllers' ISR -> the leader dies and C is elected -> nothing is lost:
// a proposed removal counts still (RP3, RP15).
TEST(IsrScenarios, F10ARemovedMemberCountsUntilTheRemovalIsCommitted) {
  ScenarioOptions options;
  options.settings = {{kLagTimeMs, "1000"}};
  Scenario s(options);
  const Tp t = s.CreateTopic("t", {});
  const auto [A, C, B] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  const auto copies = s.Hold({MessageKind::kLeaderFrame, A, C});
  const auto removal = s.Drop(AsksToAdd(A, {A, B}));
  const AnswerPtr m2 = s.Send(A, t, "m2");
  s.UntilCaught(removal);
  s.RunFor(2'000);
  s.ExpectIsr(t, {A, B, C});
  s.ExpectLog(B, t, {"m1", "m2"});
  s.ExpectUnanswered(m2);
  s.Expect(s.Core(A, t).high_watermark() == Offset(1), "HW waits for C");
  s.Kill(A);
  s.DropHeld(copies);
  s.Cease(removal);
  s.UntilLeader(t, C);
  s.Converge({{t, {"m1"}}});
}

// F11. An addition is applied, its reply is lost and the controller fails over
// -> the leader asks the next controller with the old partition epoch -> that
// says INVALID_UPDATE_VERSION; the ISR changed exactly once and the leader goes
// on by the metadata (RP15, RP16).
TEST(IsrScenarios, F11AQuestionAskedTwiceChangesTheIsrOnce) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  LeaveIsr(s, t, A, B, C, "m2");
  const Unheard unheard = AddBehindTheLeadersBack(s, t, A, B, C);
  const PartitionEpoch applied = s.Committed(t).partition_epoch;
  const int old = s.ActiveController();
  s.Kill(old);
  s.DropHeld(unheard.reply);
  const auto second = s.Watch(
      {MessageKind::kAlterPartitionsReply, kAnyone, A, HasResult});
  s.Until("another controller is active", [&] {
    const int active = s.ActiveController();
    return active != 0 && active != old;
  });
  s.UntilCaught(second);
  s.Expect(FirstResult(second->bytes.front()).error().code() ==
               static_cast<int>(ErrorCode::kInvalidUpdateVersion),
           "asked again, it is refused by the partition epoch");
  s.Expect(s.Committed(t).partition_epoch == applied,
           "the ISR changed exactly once");
  s.Expect(s.Core(A, t).maximal_isr().contains(NodeId(C)), "C counts still");
  s.Deliver(unheard.metadata);
  s.Until("A knows the ISR", [&] { return s.Core(A, t).isr().size() == 3; });
  s.Produce(t, "m3");
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

// F12: removed and added again before the leader looks. C was in sync; it dies,
// its disk is replaced and it registers, and the leader learns all of that at
// once -> what it knew of C must not admit it (RP14: only what is said in the
// current epoch, by the registered incarnation).
TEST(IsrScenarios, F12WhatAReplicaReportedBeforeItsRemovalIsVoid) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.Until("A knows that C has m1", [&] {
    return s.Core(A, t).follower_states().at(NodeId(C)).durable == Offset(1);
  });
  const auto metadata = s.Hold({MessageKind::kMetadataRecords, kAnyone, A});
  const BrokerEpoch old = s.NewestImage().FindBroker(NodeId(C))->epoch;
  s.Kill(C);
  s.WipeLogs(C);
  const auto copies = s.Hold({MessageKind::kLeaderFrame, A, C});
  s.Boot(C);
  s.Until("C is back, with nothing", [&] {
    return s.NewestImage().FindBroker(NodeId(C))->epoch > old &&
           !s.IsFenced(C) && s.FindCore(C, t) != nullptr &&
           s.Core(C, t).leo() == Offset(0);
  });
  s.Expect(s.Core(A, t).isr().size() == 3, "A has heard nothing of it");
  const auto asked = s.Watch(AsksToAdd(A, {A, B, C}));
  s.Deliver(metadata);
  s.Until("A knows", [&] {
    return s.sim().at(A).broker->image()->offset() == s.NewestImage().offset();
  });
  s.Throughout(2'000, "C is not in sync",
               [&] { return asked->count == 0 && !s.IsInIsr(t, C); });
  s.Deliver(copies);
  s.UntilIsr(t, {A, B, C});
  s.Expect(asked->count > 0, "C is added when it has copied all");
  s.Converge({{t, {"m1"}}});
}

// F12, two changes of the leader in one look. C reported m2 to A in epoch e; in
// e+1 B leads without m2 and C cuts it; A knows of neither and leads again in
// e+2, by its ELR -> what C reported in e is void: it joins when it has copied m2
// in e+2 (RP4, RP14).
TEST(IsrScenarios, F12WhatAReplicaReportedInAnOlderEpochIsVoid) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.min_isr = 3});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  const auto to_b = s.Hold({MessageKind::kLeaderFrame, A, B});
  s.Send(A, t, "m2");
  s.UntilLog(C, t, {"m1", "m2"});
  s.Until("A knows that C has m2", [&] {
    return s.Core(A, t).follower_states().at(NodeId(C)).durable == Offset(2);
  });
  const LeaderEpoch before = s.Core(A, t).leader_epoch();
  const auto metadata = s.Hold({MessageKind::kMetadataRecords, kAnyone, A});
  s.CutOff(A);
  s.UntilLeader(t, B);
  s.UntilLog(C, t, {"m1"});
  s.CutOff(B);
  s.CutOff(C);
  s.UntilNoLeader(t);
  s.Rejoin(A);
  s.Until("A is elected", [&] { return s.Committed(t).leader == NodeId(A); });
  s.Expect(s.Core(A, t).leader_epoch() == before, "A has heard nothing of it");
  s.DropHeld(metadata);
  s.UntilLeader(t, A);
  s.DropHeld(to_b);
  const auto copies = s.Hold(
      {MessageKind::kLeaderFrame, A, C, [](const Message& message) {
         return !sim::Wire<LeaderFrame>::Decode(message.bytes).data.empty();
       }});
  const auto asked = s.Watch(AsksToAdd(A, {A, C}));
  s.Rejoin(C);
  s.UntilCaught(copies);
  s.Throughout(2'000, "C is not in sync", [&] {
    return asked->count == 0 && !s.Core(A, t).maximal_isr().contains(NodeId(C));
  });
  s.ExpectLog(C, t, {"m1"});
  s.Deliver(copies);
  s.UntilIsr(t, {A, C});
  s.Converge({{t, {"m1", "m2"}}});
}

// F16, KAFKA-18106. The leader is killed and back long before its session would
// have expired -> it registers as a new incarnation -> in the batch of that
// registration, or before it, it is out of the ISR and the leader epoch has
// risen; it does not lead again in its old epoch (RP16, RP18, RP19).
TEST(IsrScenarios, F16ARestartFasterThanTheSessionGivesTheLeadershipUp) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  const LeaderEpoch epoch = s.Committed(t).leader_epoch;
  const BrokerEpoch old = s.NewestImage().FindBroker(NodeId(A))->epoch;
  const int64_t killed_ms = s.NowMs();
  s.Kill(A);
  s.Boot(A);
  s.Until("A is registered anew", [&] {
    return s.NewestImage().FindBroker(NodeId(A))->epoch > old;
  });
  s.Expect(s.NowMs() - killed_ms < 3'000, "faster than a session");
  s.Expect(!s.IsInIsr(t, A), "A is out of the ISR");
  s.Expect(s.Committed(t).leader_epoch > epoch, "the leader epoch has risen");
  s.UntilLeader(t, B);
  s.Produce(t, "m2");
  s.UntilIsr(t, {A, B, C});
  s.Converge({{t, {"m1", "m2"}}});
}

// F18, KAFKA-6880. C is cut off from the controllers only: fenced, and still
// fetching all that A has -> it is not admitted to the ISR until its broker is
// alive to the controllers (RP14, MD4).
TEST(IsrScenarios, F18AFencedFetcherIsNotAdmitted) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.CutOff(C);
  s.Until("C is fenced", [&] { return s.IsFenced(C); });
  s.UntilIsr(t, {A, B});
  s.Produce(t, "m2");
  s.UntilLog(C, t, {"m1", "m2"});
  s.Expect(s.IsFenced(C), "C fetches while it is fenced");
  s.Throughout(10'000, "C is not in sync", [&] {
    return !s.IsInIsr(t, C) && !s.Core(A, t).maximal_isr().contains(NodeId(C));
  });
  s.Heal();
  s.UntilIsr(t, {A, B, C});
  s.Converge({{t, {"m1", "m2"}}});
}

}  // namespace
}  // namespace sluice::scenario
