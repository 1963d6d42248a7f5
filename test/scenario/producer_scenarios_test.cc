// correctness.md 3.1 and 3.6: what an idempotent producer sends again, at
// leaders that come and go. The client library decides when; every log and
// every answer is held to IP1-IP4.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "common/base/str_cat.h"
#include "test/scenario/scenario.h"
#include "test/sim/sim_client.h"

namespace sluice::scenario {
namespace {

// An idempotent producer with a batch for each record.
class OneByOne {
 public:
  explicit OneByOne(Scenario& s) : s_(s), client_(&s.sim(), Options()) {}

  void Send(const Tp& tp, const std::string& value) {
    s_.Note(StrCat("a client sends ", value));
    s_.MaySend(tp, value);
    ProducerRecord record;
    record.topic = tp.topic;
    record.partition = PartitionIndex(tp.partition);
    record.value = value;
    const absl::Status taken = client_.producer().Send(
        std::move(record), [this, value](const auto& result) {
          stored_[value] = result.ok() ? result->offset : kNoOffset;
          s_.Note(StrCat("a client hears of ", value, ": ", stored_[value]));
        });
    s_.Expect(taken.ok(), "the producer takes a record");
  }
  void UntilAcked(const std::string& value, int64_t offset) {
    s_.Until(StrCat(value, " is answered"),
             [&] { return answered(value); }, 60'000);
    s_.Expect(stored_[value] == Offset(offset),
              StrCat(value, " is acknowledged at ", offset, ", not ",
                     stored_[value]));
  }
  bool answered(const std::string& value) const {
    return stored_.contains(value);
  }
  // Acknowledged as stored by an earlier attempt.
  int64_t deduplicated() {
    return client_.producer().counters().batches_deduplicated;
  }

 private:
  static ProducerOptions Options() {
    ProducerOptions options;
    options.enable_idempotence = true;
    options.batch_bytes = 1;
    options.linger_ms = 0;
    return options;
  }

  Scenario& s_;
  std::map<std::string, Offset> stored_;
  sim::SimClient client_;
};

// F67. Five batches are committed, their answers are lost with the leader -> the
// client sends all of them to the new leader, which has them from its own log:
// each is answered with where it is, and stored once (IP2, IP4).
TEST(ProducerScenarios, F67RetriesAtANewLeaderAreAnsweredWithWhereTheyAre) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  OneByOne client(s);
  client.Send(t, "m0");
  client.UntilAcked("m0", 0);
  const auto answers = s.Hold({MessageKind::kProduceStreamReply, A});
  Values all{"m0"};
  for (int i = 1; i <= 5; ++i) {
    all.push_back(StrCat("m", i));
    client.Send(t, all.back());
  }
  s.UntilHighWatermark(A, t, 6);
  s.UntilCaught(answers);
  s.Kill(A);
  s.DropHeld(answers);
  for (int i = 1; i <= 5; ++i) client.UntilAcked(StrCat("m", i), i);
  s.Expect(client.deduplicated() == 5, "B knew them again");
  client.Send(t, "m6");
  client.UntilAcked("m6", 6);
  all.push_back("m6");
  s.Converge({{t, all}});
}

// F67. The new leader has m2 and cannot know that it is committed, for it is not:
// C has nothing of it -> the retry is answered when C has (IP2, RP21).
TEST(ProducerScenarios, F67ARetryIsAnsweredWhenItsBatchIsCommitted) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  OneByOne client(s);
  client.Send(t, "m1");
  client.UntilAcked("m1", 0);
  const auto to_c = s.Hold({MessageKind::kLeaderFrame, A, C});
  client.Send(t, "m2");
  s.UntilLog(B, t, {"m1", "m2"});
  const auto acks = s.Hold({MessageKind::kFollowerFrame, C, B});
  const auto again = s.Watch({MessageKind::kProduceStream, kAnyone, B});
  s.Kill(A);
  s.DropHeld(to_c);
  s.UntilLeader(t, B);
  s.UntilCaught(again);
  s.RunFor(500);
  s.Expect(!client.answered("m2"), "nobody but B has m2");
  s.Deliver(acks);
  client.UntilAcked("m2", 1);
  s.Expect(client.deduplicated() == 1, "B knew it again");
  s.Converge({{t, {"m1", "m2"}}});
}

// F27 (a). The leader has appended m2, nobody has copied it -> it is killed ->
// the client stores m2 at the new leader; the old one cuts its own m2, copies
// the other, and leads again: it knows the producer by what it copied (IP1, IP4).
TEST(ProducerScenarios, F27ARecordOfADeadLeaderIsStoredOnceByItsRetry) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  OneByOne client(s);
  client.Send(t, "m1");
  client.UntilAcked("m1", 0);
  const auto to_b = s.Hold({MessageKind::kLeaderFrame, A, B});
  const auto to_c = s.Hold({MessageKind::kLeaderFrame, A, C});
  client.Send(t, "m2");
  s.UntilLog(A, t, {"m1", "m2"});
  s.Kill(A);
  s.DropHeld(to_b);
  s.DropHeld(to_c);
  client.UntilAcked("m2", 1);
  s.Expect(client.deduplicated() == 0, "nobody had it");
  s.Boot(A);
  s.UntilIsr(t, {A, B, C});
  s.Kill(B);
  s.UntilLeader(t, A);
  client.Send(t, "m3");
  client.UntilAcked("m3", 2);
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

// F67. The only replica is killed with m2's answer on its way -> back, it reads
// from its log whom it has heard: the retry is answered, not stored (IP2, IP4).
TEST(ProducerScenarios, F67ALeaderThatRestartsKnowsARetryAgain) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.replicas = 1, .min_isr = 1});
  const auto [A] = s.ReplicasOf<1>(t);
  OneByOne client(s);
  client.Send(t, "m1");
  client.UntilAcked("m1", 0);
  const auto answers = s.Hold({MessageKind::kProduceStreamReply, A});
  client.Send(t, "m2");
  s.UntilCaught(answers);
  s.Kill(A);
  s.DropHeld(answers);
  s.Boot(A);
  client.UntilAcked("m2", 1);
  s.Expect(client.deduplicated() == 1, "A knew it again");
  client.Send(t, "m3");
  client.UntilAcked("m3", 2);
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

}  // namespace
}  // namespace sluice::scenario
