// Where logs begin, when leaders come and go meanwhile: DeleteRecords (RP23,
// F34). Each script: setup, fault, required.
#include <gtest/gtest.h>

#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

// m1 to m4 on three replicas; A leads.
Tp FourRecords(Scenario& s) {
  const Tp t = s.CreateTopic("t");
  for (const char* value : {"m1", "m2", "m3", "m4"}) s.Produce(t, value);
  return t;
}

void ExpectBegins(Scenario& s, int broker, const Tp& t, int64_t start) {
  s.Expect(s.Core(broker, t).log_start() == Offset(start),
           "where the log of a replica begins");
}

void UntilBegins(Scenario& s, int broker, const Tp& t, int64_t start) {
  s.Until("the log of a replica begins there", [&, broker, start] {
    return s.Core(broker, t).log_start() == Offset(start);
  });
}

// F34. The trim was answered -> leader after leader loses its power -> each
// next one begins there too, and nobody reads what was deleted.
TEST(HistoryScenarios, F34WhatWasAnsweredAsDeletedStaysDeleted) {
  Scenario s;
  const Tp t = FourRecords(s);
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  const AnswerPtr trimmed = s.Trim(A, t, 2);
  s.UntilAcked(trimmed);
  s.Expect(trimmed->offset == Offset(2), "the new log start");
  for (const int broker : {A, B, C}) UntilBegins(s, broker, t, 2);
  s.PowerCut(A);
  s.UntilLeader(t, B);
  s.Expect(s.Fetch(B, t, 1).code == ErrorCode::kOffsetOutOfRange,
           "m2 is deleted at the next leader");
  s.ExpectValue(t, 2, "m3");
  s.Boot(A);
  s.UntilIsr(t, {A, B, C});
  s.PowerCutAll({A, B, C});
  for (const int broker : {A, B, C}) s.Boot(broker);
  s.Converge({{t, {"m3", "m4"}}});
  for (const int broker : {A, B, C}) ExpectBegins(s, broker, t, 2);
}

// F34, the race. A leader asks for a trim and dies before the controllers hear of
// it -> nobody has deleted anything, and what comes late has no effect.
TEST(HistoryScenarios, F34ATrimThatIsNotRecordedHasDeletedNothing) {
  Scenario s;
  const Tp t = FourRecords(s);
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  const auto asked = s.Hold({MessageKind::kAlterPartitions, A, kAnyone});
  const AnswerPtr trimmed = s.Trim(A, t, 2);
  s.UntilCaught(asked);
  for (const int broker : {A, B, C}) ExpectBegins(s, broker, t, 0);
  s.ExpectValue(t, 0, "m1");
  s.ExpectUnanswered(trimmed);
  s.PowerCut(A);
  s.UntilLeader(t, B);
  s.Deliver(asked);
  s.ExpectValue(t, 0, "m1");
  s.Boot(A);
  s.UntilIsr(t, {A, B, C});
  s.Expect(s.Committed(t).log_start == Offset(0), "nothing was recorded");
  s.Produce(t, "m5");
  // Said again, to whoever leads now.
  s.UntilAcked(s.Trim(s.Committed(t).leader.value(), t, 3));
  s.Converge({{t, {"m4", "m5"}}});
}

// F34. It is recorded, and whoever asked never hears the answer -> every replica
// has it from the metadata, and so has the next leader.
TEST(HistoryScenarios, F34ATrimThatIsRecordedOutlivesWhoAskedForIt) {
  Scenario s;
  const Tp t = FourRecords(s);
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  const auto answer =
      s.Hold({MessageKind::kAlterPartitionsReply, kAnyone, A});
  const AnswerPtr trimmed = s.Trim(A, t, 2);
  s.UntilCaught(answer);
  s.UntilAcked(trimmed);
  s.Expect(s.Fetch(A, t, 1).code == ErrorCode::kOffsetOutOfRange,
           "m2 is deleted");
  s.PowerCut(A);
  s.DropHeld(answer);
  s.UntilLeader(t, B);
  ExpectBegins(s, B, t, 2);
  s.Expect(s.Fetch(B, t, 1).code == ErrorCode::kOffsetOutOfRange,
           "m2 is deleted at the next leader");
  s.Converge({{t, {"m3", "m4"}}});
}

// F34. Followers that hear nothing of their leader any more: their logs begin
// earlier until one of them leads.
TEST(HistoryScenarios, F34WhoHasNotFollowedTheTrimBeginsThereWhenItLeads) {
  Scenario s;
  const Tp t = FourRecords(s);
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Cut(A, B);
  s.Cut(A, C);
  for (const int follower : {B, C}) {
    s.Until("the follower asks", [&, follower] {
      return s.Core(follower, t).state() == replica::State::kAsking;
    });
  }
  s.UntilAcked(s.Trim(A, t, 2));
  ExpectBegins(s, B, t, 0);
  s.PowerCut(A);
  s.UntilLeader(t, B);
  ExpectBegins(s, B, t, 2);
  s.Converge({{t, {"m3", "m4"}}});
}

// F34. A member of the ELR was away when the log was trimmed -> it may be the
// only one that is left to lead, and begins no earlier.
TEST(HistoryScenarios, F34WhoWasAwayAndEligibleBeginsWhereTheOthersDid) {
  Scenario s;
  const Tp t = FourRecords(s);
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Kill(C);
  s.UntilIsr(t, {A, B});
  s.Kill(B);
  s.UntilIsr(t, {A});
  s.Expect(s.ElrOf(t).contains(B), "B may be elected");
  s.UntilAcked(s.Trim(A, t, 3));
  s.Kill(A);
  s.UntilNoLeader(t);
  s.Boot(B);
  s.UntilLeader(t, B);
  ExpectBegins(s, B, t, 3);
  s.Expect(s.Fetch(B, t, 2).code == ErrorCode::kOffsetOutOfRange,
           "m3 is deleted");
  // Alone it does not know whether m4 is committed.
  s.Boot(A);
  s.Boot(C);
  s.Converge({{t, {"m4"}}});
}

// F34. The only log that is left ends below where the others began.
TEST(HistoryScenarios, F34AnUncleanLeaderBeginsWhereTheOthersDid) {
  Scenario s;
  const Tp t = s.CreateTopic(
      "t", {.min_isr = 1,
            .configs = {{"unclean.leader.election.enable", "true"}}});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.Kill(C);
  s.UntilIsr(t, {A, B});
  for (const char* value : {"m2", "m3", "m4"}) s.Produce(t, value);
  s.UntilAcked(s.Trim(A, t, 3));
  s.Kill(B);
  s.Kill(A);
  s.UntilNoLeader(t);
  s.Boot(C);
  s.UntilLeader(t, C);
  s.MayLose(t);
  ExpectBegins(s, C, t, 3);
  s.Expect(s.Fetch(C, t, 0).code == ErrorCode::kOffsetOutOfRange,
           "what C holds of before is deleted too");
  s.Produce(t, "m5");
  s.ExpectValue(t, 3, "m5");
  s.Converge({{t, {"m5"}}});
}

// A replica that was away begins where its leader does.
TEST(HistoryScenarios, F34WhoWasAwayComesBackToALogThatBeginsLater) {
  Scenario s;
  const Tp t = FourRecords(s);
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Kill(C);
  s.UntilIsr(t, {A, B});
  s.Produce(t, "m5");
  s.UntilAcked(s.Trim(A, t, 5));  // past the end of C's log
  s.Boot(C);
  s.UntilIsr(t, {A, B, C});
  UntilBegins(s, C, t, 5);
  s.Kill(A);
  s.Kill(B);
  s.Expect(s.Fetch(C, t, 4).code != ErrorCode::kNone, "m5 is deleted");
  s.Boot(A);
  s.Boot(B);
  s.Converge({{t, {}}});
}

}  // namespace
}  // namespace sluice::scenario
