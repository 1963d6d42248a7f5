// correctness.md 3.1, F56 and F60, as far as it is of streams: a replica that is
// far behind, and how it comes back (broker/replication/README.md).
#include <gtest/gtest.h>

#include <string>

#include "client/peers/replication_stream.h"
#include "common/base/str_cat.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

// More pieces than may lie between a replica on the main stream and the end.
constexpr int kFarBehind = 400;

Match Moves(int leader, int follower, StreamKind to) {
  return {MessageKind::kLeaderFrame, leader, follower,
          [to](const Message& message) {
            const auto frame = sim::Wire<LeaderFrame>::Decode(message.bytes);
            for (const ReplicaMoved& moved : frame.moved) {
              if (moved.to == to) return true;
            }
            return false;
          }};
}

Match Ships(int leader, int follower, const TopicId& topic) {
  return {MessageKind::kLeaderFrame, leader, follower,
          [topic](const Message& message) {
            const auto frame = sim::Wire<LeaderFrame>::Decode(message.bytes);
            for (const ReplicaData& data : frame.data) {
              if (data.tp.topic_id == topic) return true;
            }
            return false;
          }};
}

// C is down and lacks kFarBehind records of t.
Values FallBehind(Scenario& s, const Tp& t, int C, const std::set<int>& rest) {
  Values values;
  const auto produce = [&] {
    values.push_back(StrCat("m", values.size()));
    s.Produce(t, values.back());
  };
  produce();
  s.Kill(C);
  s.UntilIsr(t, rest);
  for (int i = 0; i < kFarBehind; ++i) produce();
  return values;
}

// C comes back far behind, under load -> it is filled on the catch-up stream
// and changes over without a gap or a duplicate.
TEST(StreamScenarios, F56WhoIsFarBehindChangesOverTwice) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Values values = FallBehind(s, t, C, {A, B});
  const auto away = s.Watch(Moves(A, C, StreamKind::kCatchUp));
  const auto back = s.Watch(Moves(A, C, StreamKind::kMain));
  s.Boot(C);
  while (!s.IsInIsr(t, C)) {
    values.push_back(StrCat("m", values.size()));
    s.Produce(t, values.back());
  }
  s.Expect(away->count > 0 && back->count > 0, "C was moved and moved back");
  s.UntilLog(C, t, values);
  s.Produce(t, "last");
  values.push_back("last");
  s.Converge({{t, values}});
}

// The stream breaks at the moment of a change-over, each way -> it is asked for
// again, and nothing is missing.
TEST(StreamScenarios, F60AStreamThatBreaksAtTheChangeOverLosesNothing) {
  for (const StreamKind to : {StreamKind::kCatchUp, StreamKind::kMain}) {
    Scenario s;
    const Tp t = s.CreateTopic("t", {});
    const auto [A, B, C] = s.ReplicasOf<3>(t);
    Values values = FallBehind(s, t, C, {A, B});
    const auto broken = s.Reset(Moves(A, C, to));
    s.Boot(C);
    s.UntilCaught(broken, 3);
    s.Expect(!s.IsInIsr(t, C), "C cannot get on");
    s.Cease(broken);
    s.UntilIsr(t, {A, B, C});
    s.UntilLog(C, t, values);
    s.Converge({{t, values}});
  }
}

bool Asks(const Message& message, const TopicId& topic) {
  for (const AddReplica& add :
       sim::Wire<FollowerFrame>::Decode(message.bytes).adds) {
    if (add.tp.topic_id == topic) return true;
  }
  return false;
}

bool Answers(const Message& message, const TopicId& topic) {
  for (const AddAnswer& answer :
       sim::Wire<LeaderFrame>::Decode(message.bytes).add_answers) {
    if (answer.tp.topic_id == topic) return true;
  }
  return false;
}

// Seed 398016. C asks once more on its catch-up stream, which is slow, just
// before the answer comes; by the time that question arrives C is on the main
// stream, and the answer to it is lost with its stream -> the leader heeds the
// newest question alone, and C stays in sync.
TEST(StreamScenarios, F60AnOlderQuestionThatComesLastChangesNothing) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  const TopicId id = s.sim().TopicIdOf("t");
  Values values = FallBehind(s, t, C, {A, B});
  const auto refill = s.Hold(Ships(A, C, id));
  s.Boot(C);
  s.UntilCaught(refill);
  const auto late =
      s.Hold({MessageKind::kFollowerFrame, C, A,
              [id](const Message& message) { return Asks(message, id); }});
  s.UntilCaught(late);
  s.Cease(late);
  s.Deliver(refill);
  s.UntilIsr(t, {A, B, C});
  // The order is what was meant: held up, it has been overtaken.
  s.Expect(late->held.size() == 1, "the question is still on its way");
  const auto lost =
      s.Reset({MessageKind::kLeaderFrame, A, C,
               [id](const Message& message) { return Answers(message, id); }});
  s.Deliver(late);
  s.RunFor(1'000);
  s.Cease(lost);
  for (int i = 0; i < 20; ++i) {
    values.push_back(StrCat("n", i));
    const int64_t sent_ms = s.NowMs();
    s.Produce(t, values.back());
    s.Expect(s.NowMs() - sent_ms < 100, "acknowledged as ever");
  }
  s.UntilLog(C, t, values);
  s.ExpectIsr(t, {A, B, C});
  s.Converge({{t, values}});
}

// What fills a replica of one partition is held up -> another partition of the
// same two brokers is not: its replica joins, and records are acknowledged.
TEST(StreamScenarios, F56ARefillThatHangsHoldsUpNoOtherPartition) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Tp other;
  for (int i = 0; other.topic.empty(); ++i) {
    const Tp made = s.CreateTopic(StrCat("other", i), {});
    if (s.Committed(made).leader == NodeId(A)) other = made;
  }
  Values values = FallBehind(s, t, C, {A, B});
  const auto refill = s.Hold(Ships(A, C, s.sim().TopicIdOf("t")));
  s.Boot(C);
  s.UntilCaught(refill);
  s.UntilIsr(other, {A, B, C});
  for (int i = 0; i < 100; ++i) {
    const int64_t sent_ms = s.NowMs();
    s.Produce(other, StrCat("o", i));
    s.Expect(s.NowMs() - sent_ms < 100, "acknowledged as ever");
  }
  s.Expect(!s.IsInIsr(t, C), "C waits");
  s.Deliver(refill);
  s.UntilIsr(t, {A, B, C});
  s.Converge({{t, values}});
}

// The leader dies in the middle of a refill -> the next one fills C, from where
// its log ends.
TEST(StreamScenarios, F56ARefillGoesOnWithTheNextLeader) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Values values = FallBehind(s, t, C, {A, B});
  const auto refill = s.Hold(Ships(A, C, s.sim().TopicIdOf("t")));
  s.Boot(C);
  s.UntilCaught(refill);
  s.Kill(A);
  s.UntilLeader(t, B);
  s.UntilIsr(t, {B, C});
  s.UntilLog(C, t, values);
  s.Converge({{t, values}});
}

}  // namespace
}  // namespace sluice::scenario
