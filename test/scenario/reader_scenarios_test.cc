// correctness.md 3.1, F33: readers that are near a follower (KIP-392).
#include <gtest/gtest.h>

#include <string>

#include "test/scenario/leader_frames.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

// F33. m2 is committed and read at the leader; a follower in sync has it and
// does not know so -> its readers get what it knows to be committed only, and
// who is ahead of it is to ask again, never to begin anew; it knows -> they get
// the rest. The leader dies -> m2 is read at the next one, and at its follower.
TEST(ReaderScenarios, F33AFollowerShowsOnlyWhatItKnowsToBeCommitted) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.UntilHighWatermark(B, t, 1);
  const AnswerPtr m2 = s.Send(A, t, "m2");
  s.UntilLog(B, t, {"m1", "m2"});
  const auto told = s.Hold(FramesOfLeader(A, B));
  s.UntilAcked(m2);
  s.ExpectValue(t, 1, "m2");
  s.Expect(s.Core(B, t).high_watermark() == Offset(1), "B.HW lags");
  s.Expect(s.FetchNear(B, t, 0).values == Values{"m1"}, "m1 alone is shown");
  s.Expect(s.FetchNear(B, t, 1).values.empty(), "nothing behind it");
  s.Expect(s.FetchNear(B, t, 2).code == ErrorCode::kOffsetNotAvailable,
           "who has read m2 at the leader is to ask again");
  s.Expect(s.Fetch(B, t, 0).code == ErrorCode::kNotLeader,
           "who is in no rack is sent to the leader");
  s.Deliver(told);
  s.UntilHighWatermark(B, t, 2);
  s.Expect(s.FetchNear(B, t, 1).values == Values{"m2"}, "then m2 is shown");
  s.Kill(A);
  s.UntilLeader(t, B);
  s.ExpectValue(t, 1, "m2");
  s.Produce(t, "m3");
  s.UntilHighWatermark(C, t, 3);
  s.Expect(s.FetchNear(C, t, 1).values == (Values{"m2", "m3"}),
           "the next leader's follower shows all of it");
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

// F33. A follower has a record that was never committed, and is cut below it by
// the next leader -> at no time a reader near it sees that record, and then they
// see the new history.
TEST(ReaderScenarios, F33AFollowerThatCutsItsLogHasShownNothingOfIt) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  s.UntilHighWatermark(B, t, 1);
  s.UntilHighWatermark(C, t, 1);
  const auto to_c = s.Hold(FramesOfLeader(A, C));
  const AnswerPtr lost = s.Send(A, t, "a2");
  s.UntilLog(B, t, {"m1", "a2"});
  const auto shows_no_suffix = [&] {
    const Values from_0 = s.FetchNear(B, t, 0).values;
    s.Expect((from_0.empty() || from_0 == Values{"m1"}) &&
                 s.FetchNear(B, t, 1).values.empty(),
             "a2 is shown to nobody");
    return !from_0.empty();
  };
  s.Expect(shows_no_suffix(), "m1 is shown");
  s.Kill(A);
  s.Kill(B);
  s.DropHeld(to_c);
  s.UntilLeader(t, C);
  s.UntilIsr(t, {C});
  s.Expect(!lost->acked(), "a2 was not acknowledged");
  s.ExpectLog(C, t, {"m1"});
  s.Boot(B);
  while (!s.IsInIsr(t, B)) {
    shows_no_suffix();
    s.RunFor(1);
  }
  s.ExpectLog(B, t, {"m1"});
  s.RunFor(10);  // its leader hears of it last
  s.Produce(t, "c2");
  s.UntilHighWatermark(B, t, 2);
  s.Expect(s.FetchNear(B, t, 0).values == (Values{"m1", "c2"}),
           "the new history is shown");
  s.Converge({{t, {"m1", "c2"}}});
}

}  // namespace
}  // namespace sluice::scenario
