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

// F34. The trim was answered -> leader after leader loses its power -> each
// next one begins there too, and nobody reads what was deleted.
TEST(HistoryScenarios, F34WhatWasAnsweredAsDeletedStaysDeleted) {
  Scenario s;
  const Tp t = FourRecords(s);
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  const AnswerPtr trimmed = s.Trim(A, t, 2);
  s.UntilAcked(trimmed);
  s.Expect(trimmed->offset == Offset(2), "the new log start");
  for (const int broker : {A, B, C}) ExpectBegins(s, broker, t, 2);
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

// F34, the race. Nobody but the leader knows of the trim when it dies -> the
// next one has all records; no reader was told of a start that is not kept.
TEST(HistoryScenarios, F34ATrimThatDiesWithItsLeaderWasSeenByNobody) {
  Scenario s;
  const Tp t = FourRecords(s);
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  const auto to_b = s.Hold({MessageKind::kLeaderFrame, A, B});
  const auto to_c = s.Hold({MessageKind::kLeaderFrame, A, C});
  const AnswerPtr trimmed = s.Trim(A, t, 2);
  s.Until("the leader has moved", [&] {
    return s.Core(A, t).log_start() == Offset(2);
  });
  s.Expect(s.Fetch(A, t, 0).code == ErrorCode::kOffsetNotAvailable,
           "a reader is told to wait");
  s.ExpectUnanswered(trimmed);
  s.PowerCut(A);
  s.DropHeld(to_b);
  s.DropHeld(to_c);
  s.UntilLeader(t, B);
  s.ExpectValue(t, 0, "m1");
  s.Boot(A);
  s.UntilIsr(t, {A, B, C});
  s.Produce(t, "m5");
  // Said again, to whoever leads now.
  s.UntilAcked(s.Trim(s.Committed(t).leader.value(), t, 3));
  s.Converge({{t, {"m4", "m5"}}});
}

// A replica that was away begins where its leader does, and is in sync only
// when that is on its disk.
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
  ExpectBegins(s, C, t, 5);
  s.Kill(A);
  s.Kill(B);
  s.Expect(s.Fetch(C, t, 4).code != ErrorCode::kNone, "m5 is deleted");
  s.Boot(A);
  s.Boot(B);
  s.Converge({{t, {}}});
}

}  // namespace
}  // namespace sluice::scenario
