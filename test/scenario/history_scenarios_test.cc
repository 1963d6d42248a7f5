// Where logs begin, when leaders come and go meanwhile: DeleteRecords (RP23,
// F34), and what is left of the epochs (F26). Each script: setup, fault, required.
#include <gtest/gtest.h>

#include <algorithm>

#include "client/peers/replication_stream.h"
#include "test/scenario/leader_frames.h"
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

// Answers of `leader` that `follower` asks from out of its log.
CaughtPtr WatchOutOfRange(Scenario& s, int leader, int follower) {
  return s.Watch({MessageKind::kLeaderFrame, leader, follower,
                  [](const Message& message) {
                    const auto answers =
                        sim::Wire<LeaderFrame>::Decode(message.bytes)
                            .add_answers;
                    return std::any_of(
                        answers.begin(), answers.end(), [](const auto& answer) {
                          return answer.error.code ==
                                 ErrorCode::kOffsetOutOfRange;
                        });
                  }});
}

// m1 and m2 in the first epoch, of A; m3 to m5 in the second, of B, whose log
// begins inside of it: at m4.
void TrimInsideTheSecondEpoch(Scenario& s, const Tp& t, int A, int B, int C) {
  s.UntilLeader(t, B);
  s.UntilIsr(t, {B, C});
  for (const char* value : {"m3", "m4", "m5"}) s.Produce(t, value);
  const LeaderEpoch second = s.Committed(t).leader_epoch;
  s.UntilAcked(s.Trim(B, t, 3));
  for (const int broker : {B, C}) UntilBegins(s, broker, t, 3);
  const auto starts = s.Core(B, t).epochs().starts();
  s.Expect(starts.size() == 1 && starts.front().epoch == second &&
               starts.front().start == Offset(3),
           "B knows the second epoch alone, from its log start on");
  s.Expect(!s.sim().up(A), "A was away all the while");
}

// F26. A trim cuts the epoch history inside an epoch -> a follower that was away
// since the epoch before, its log shorter than where the leader's begins, is told
// so once and follows from there.
TEST(HistoryScenarios, F26WhoKnowsOlderEpochsOnlyFollowsFromTheLogStart) {
  Scenario s;
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.Produce(t, "m2");
  s.Kill(A);
  TrimInsideTheSecondEpoch(s, t, A, B, C);
  const auto refused = WatchOutOfRange(s, B, A);
  s.Boot(A);
  s.UntilIsr(t, {A, B, C});
  UntilBegins(s, A, t, 3);
  s.Expect(refused->count <= 1, "A is not told again and again");
  s.Converge({{t, {"m4", "m5"}}});
}

// F26. The same, and its log goes on past where the leader's begins, with records
// of the older epoch that nobody else has -> no epoch is common to both: it
// begins anew there, and nothing of its own is left.
TEST(HistoryScenarios, F26ALogOfAnOlderEpochPastTheLogStartIsCut) {
  Scenario s;
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.Produce(t, "m2");
  const auto to_b = s.Hold(FramesOfLeader(A, B));
  const auto to_c = s.Hold(FramesOfLeader(A, C));
  for (const char* value : {"x3", "x4", "x5", "x6"}) {
    s.UntilAcked(s.Send(A, t, value, /*acks=*/1));
  }
  s.Kill(A);
  s.DropHeld(to_b);
  s.DropHeld(to_c);
  TrimInsideTheSecondEpoch(s, t, A, B, C);
  s.ExpectLog(A, t, {"m1", "m2", "x3", "x4", "x5", "x6"});
  const auto refused = WatchOutOfRange(s, B, A);
  s.Boot(A);
  s.UntilIsr(t, {A, B, C});
  UntilBegins(s, A, t, 3);
  s.Expect(refused->count <= 1, "A is not told again and again");
  s.Converge({{t, {"m4", "m5"}}});
}

}  // namespace
}  // namespace sluice::scenario
