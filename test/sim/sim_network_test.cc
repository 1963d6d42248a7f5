// What the simulated network promises about single messages, streams and
// links; each injector of its own.
#include "test/sim/sim_network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace sluice::sim {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr NodeId kA{1};
constexpr NodeId kB{2};

// Two processes and a stream between them.
class SimNetworkTest : public testing::Test {
 protected:
  void SetUp() override {
    network.Up(a);
    network.Up(b);
  }
  LifePtr NewLife(NodeId id) {
    auto life = std::make_shared<Life>();
    life->id = id;
    life->clock = &world;
    return life;
  }
  StreamPtr Connect(SimStream::Form form = SimStream::Form::kStream) {
    return network.Connect(
        form,
        {a, executor.get(),
         [this](const absl::Status&) { ends.push_back("a"); }},
        {b, executor.get(),
         [this](const absl::Status&) { ends.push_back("b"); }});
  }
  void Send(const StreamPtr& stream, const std::string& text,
            MessageKind kind = MessageKind::kFollowerFrame) {
    network.Send(stream, Side::kAcceptor, kind, text,
                 [this](const Parcel& parcel) { got.push_back(parcel.bytes); });
  }
  void FilterOnce(Verdict verdict) {
    network.AddFilter([verdict, done = false](const Message&) mutable
                      -> std::optional<Verdict> {
      if (std::exchange(done, true)) return std::nullopt;
      return verdict;
    });
  }

  SimWorld world;
  SimNetwork network{&world, 1};
  std::unique_ptr<Executor> executor = world.NewExecutor();
  LifePtr a = NewLife(kA);
  LifePtr b = NewLife(kB);
  std::vector<std::string> got;
  std::vector<std::string> ends;  // who heard of an end
};

TEST_F(SimNetworkTest, AStreamKeepsItsOrder) {
  const StreamPtr stream = Connect();
  std::vector<std::string> sent;
  for (int i = 0; i < 50; ++i) {
    sent.push_back(std::to_string(i));
    Send(stream, sent.back());
  }
  world.RunFor(10'000);
  EXPECT_EQ(got, sent);
}

TEST_F(SimNetworkTest, AHeldMessageHoldsWhatFollowsItInItsStreamAlone) {
  FilterOnce(Verdict::Hold());
  const StreamPtr stream = Connect();
  Send(stream, "held");
  Send(stream, "behind");
  Send(Connect(), "another stream");
  world.RunFor(60'000'000);
  EXPECT_THAT(got, ElementsAre("another stream"));
  ASSERT_EQ(network.held().size(), 1u);
  EXPECT_EQ(network.held()[0].bytes, "held");
  network.Release(network.held()[0].sequence);
  world.RunFor(1'000);
  EXPECT_THAT(got, ElementsAre("another stream", "held", "behind"));
}

TEST_F(SimNetworkTest, AHeldCallArrivesThoughItsCallerIsGone) {
  FilterOnce(Verdict::Hold());
  const StreamPtr call = Connect(SimStream::Form::kUnary);
  Send(call, "late", MessageKind::kAlterPartitions);
  network.Down(a);
  world.RunFor(60'000'000);
  EXPECT_THAT(got, IsEmpty());
  network.ReleaseAll();
  world.RunFor(1'000);
  EXPECT_THAT(got, ElementsAre("late"));
}

TEST_F(SimNetworkTest, AHeldMessageThatIsDroppedBeforeItArrivesNeverDoes) {
  FilterOnce(Verdict::Hold());
  Send(Connect(SimStream::Form::kUnary), "lost", MessageKind::kAlterPartitions);
  ASSERT_EQ(network.held().size(), 1u);
  network.DropHeld(network.held()[0].sequence);
  world.RunFor(60'000'000);
  EXPECT_THAT(got, IsEmpty());
  EXPECT_THAT(network.held(), IsEmpty());
}

// A call's user holds its stream, so the stream must let go of its user: what
// did not was a leak of megabytes a seed.
TEST_F(SimNetworkTest, AStreamThatIsOverHoldsNobody) {
  enum class Way { kClosed, kBroken, kBrokenThenDown, kCallerDown, kCalleeDown };
  for (const Way way : {Way::kClosed, Way::kBroken, Way::kBrokenThenDown,
                        Way::kCallerDown, Way::kCalleeDown}) {
    auto user = std::make_shared<StreamPtr>();
    const std::weak_ptr<StreamPtr> alive = user;
    *user = network.Connect(
        SimStream::Form::kUnary,
        {a, executor.get(), [user](const absl::Status&) {}},
        {b, executor.get(), [user](const absl::Status&) {}});
    network.Send(*user, Side::kAcceptor, MessageKind::kFetch, "request",
                 [user](const Parcel&) {});
    world.RunFor(1'000);
    if (way == Way::kClosed) network.CloseEnd(*user, Side::kOpener);
    if (way == Way::kBroken) network.Reset(kA, kB);
    if (way == Way::kBrokenThenDown) {
      network.Reset(kA, kB);
      network.Down(a);
      network.Down(b);
    }
    if (way == Way::kCallerDown) network.Down(a);
    if (way == Way::kCalleeDown) network.Down(b);
    user.reset();
    world.RunFor(1'000);
    EXPECT_TRUE(alive.expired()) << static_cast<int>(way);
    network.Up(a = NewLife(kA));
    network.Up(b = NewLife(kB));
  }
}

// The farewell of its process and the reset by its successor arrive in either
// order.
TEST_F(SimNetworkTest, AnEndIsHeardOfOnceThoughTheProcessIsBackAtOnce) {
  for (int64_t back_after_us = 0; back_after_us < 1'000; back_after_us += 50) {
    ends.clear();
    Connect();
    network.Down(b);
    world.RunFor(back_after_us);
    network.Up(b = NewLife(kB));
    world.RunFor(2'000);
    EXPECT_THAT(ends, ElementsAre("a")) << back_after_us;
  }
}

TEST_F(SimNetworkTest, ADroppedMessageSilencesItsStreamUntilTheKeepalive) {
  FilterOnce(Verdict::Drop());
  const StreamPtr stream = Connect();
  Send(stream, "lost");
  Send(stream, "after");
  world.RunFor(SimNetwork::kKeepaliveUs - 1'000);
  EXPECT_THAT(got, IsEmpty());
  EXPECT_THAT(ends, IsEmpty());
  world.RunFor(1'000'000);
  EXPECT_THAT(got, IsEmpty());
  EXPECT_THAT(ends, testing::UnorderedElementsAre("a", "b"));
}

// Else a controller that hears nothing of its link's other end waits for ever.
TEST_F(SimNetworkTest, ALostOpeningSilencesAlsoAStreamThatMayLoseMessages) {
  FilterOnce(Verdict::Drop());
  const StreamPtr stream = Connect(SimStream::Form::kLossy);
  Send(stream, "open", MessageKind::kStreamOpen);
  world.RunFor(SimNetwork::kKeepaliveUs + 1'000'000);
  EXPECT_THAT(got, IsEmpty());
  EXPECT_THAT(ends, testing::UnorderedElementsAre("a", "b"));
}

TEST_F(SimNetworkTest, AResetIsHeardAtBothEndsAtOnce) {
  const StreamPtr stream = Connect();
  network.Reset(kB, kA);
  world.RunFor(1'000);
  EXPECT_THAT(ends, testing::UnorderedElementsAre("a", "b"));
}

TEST_F(SimNetworkTest, ACallMayComeTwiceButItsReplyMayNot) {
  network.AddFilter([](const Message&) { return Verdict::Twice(60'000'000); });
  const StreamPtr call = Connect(SimStream::Form::kUnary);
  Send(call, "call", MessageKind::kAlterPartitions);
  network.Send(call, Side::kOpener, MessageKind::kAlterPartitionsReply, "reply",
               [this](const Parcel& parcel) { got.push_back(parcel.bytes); });
  world.RunFor(1'000);
  EXPECT_THAT(got, testing::UnorderedElementsAre("call", "reply"));
  world.RunFor(61'000'000);
  EXPECT_THAT(got, testing::UnorderedElementsAre("call", "reply", "call"));
}

TEST_F(SimNetworkTest, AFrameOfAStreamNeverComesTwice) {
  network.AddFilter([](const Message&) { return Verdict::Twice(1'000); });
  const StreamPtr stream = Connect();
  Send(stream, "frame");
  world.RunFor(61'000'000);
  EXPECT_THAT(got, ElementsAre("frame"));
}

TEST_F(SimNetworkTest, AShortCutOnlyDelays) {
  network.Cut(kA, kB);
  const StreamPtr stream = Connect();
  Send(stream, "one");
  Send(stream, "two");
  world.RunFor(1'000'000);
  EXPECT_THAT(got, IsEmpty());
  network.Heal();
  world.RunFor(1'000);
  EXPECT_THAT(got, ElementsAre("one", "two"));
  EXPECT_THAT(ends, IsEmpty());
}

TEST_F(SimNetworkTest, ALongCutBreaksIdleStreamsToo) {
  const StreamPtr stream = Connect();
  network.Cut(kA, kB);
  world.RunFor(4'000'000);
  EXPECT_THAT(ends, testing::UnorderedElementsAre("a", "b"));
}

TEST_F(SimNetworkTest, AOneWayCutLetsTheOtherWayPass) {
  const StreamPtr stream = Connect();
  network.CutOneWay(kB, kA);
  Send(stream, "a to b");
  network.Send(stream, Side::kOpener, MessageKind::kLeaderFrame, "b to a",
               [this](const Parcel& parcel) { got.push_back(parcel.bytes); });
  world.RunFor(1'000'000);
  EXPECT_THAT(got, ElementsAre("a to b"));
}

TEST_F(SimNetworkTest, AfterALongOneWayCutNoConnectionIsMade) {
  network.CutOneWay(kB, kA);
  world.RunFor(4'000'000);
  Send(Connect(), "needs an answer to be sent at all");
  world.RunFor(1'000'000);
  EXPECT_THAT(got, IsEmpty());
}

TEST_F(SimNetworkTest, HalfOpenConnectionsAreSilentAndNewOnesWork) {
  const StreamPtr old = Connect();
  network.HalfOpen(kA, kB);
  Send(old, "into the void");
  Send(Connect(), "new");
  world.RunFor(1'000'000);
  EXPECT_THAT(got, ElementsAre("new"));
  EXPECT_THAT(ends, IsEmpty());
  world.RunFor(3'000'000);
  EXPECT_THAT(ends, testing::UnorderedElementsAre("a", "b"));
}

TEST_F(SimNetworkTest, AKilledProcessIsHeardOfBehindWhatItSent) {
  const StreamPtr stream = Connect();
  Send(stream, "last words");
  network.Down(a);
  world.RunFor(10'000);
  EXPECT_THAT(got, ElementsAre("last words"));
  EXPECT_THAT(ends, ElementsAre("b"));
}

TEST_F(SimNetworkTest, AMachineWithoutPowerIsHeardOfByTheKeepaliveAlone) {
  const StreamPtr stream = Connect();
  network.Down(a, SimNetwork::Death::kSilent);
  world.RunFor(2'000'000);
  EXPECT_THAT(ends, IsEmpty());
  world.RunFor(2'000'000);
  EXPECT_THAT(ends, ElementsAre("b"));
}

TEST_F(SimNetworkTest, AMachineThatIsBackResetsItsOldConnections) {
  const StreamPtr stream = Connect();
  network.Down(a, SimNetwork::Death::kSilent);
  world.RunFor(100'000);
  network.Up(NewLife(kA));
  world.RunFor(1'000);
  EXPECT_THAT(ends, ElementsAre("b"));
}

TEST_F(SimNetworkTest, APausedProcessGetsAllAtOnceAndBreaksForOthers) {
  SimHost host(&world, kB);
  const auto paused = host.NewExecutor();
  const StreamPtr stream = network.Connect(
      SimStream::Form::kStream,
      {a, executor.get(), [this](const absl::Status&) { ends.push_back("a"); }},
      {b, paused.get(), [this](const absl::Status&) { ends.push_back("b"); }});
  host.Pause();
  network.Pause(b);
  Send(stream, "one");
  Send(stream, "two");
  world.RunFor(4'000'000);
  EXPECT_THAT(got, IsEmpty());
  EXPECT_THAT(ends, ElementsAre("a"));
  network.Resume(b);
  host.Resume();
  world.RunFor(1'000);
  EXPECT_THAT(got, ElementsAre("one", "two"));
  EXPECT_THAT(ends, ElementsAre("a", "b"));
}

TEST_F(SimNetworkTest, LossAndRepetitionHappenAtTheirRates) {
  LinkQuality quality;
  quality.lost_ppm = 100'000;
  quality.repeated_ppm = 100'000;
  quality.delay_mean_us = 1'000;
  network.SetQuality(quality);
  for (int i = 0; i < 1'000; ++i) {
    Send(Connect(SimStream::Form::kUnary), "x", MessageKind::kHello);
  }
  world.RunFor(1'000'000);
  EXPECT_NEAR(static_cast<double>(network.counts().lost), 100, 40);
  EXPECT_NEAR(static_cast<double>(network.counts().repeated), 90, 40);
  EXPECT_GT(network.counts().delayed, 800);
}

TEST_F(SimNetworkTest, OneSeedOneOrder) {
  std::vector<std::vector<std::string>> runs;
  for (int run = 0; run < 2; ++run) {
    SimWorld fresh;
    SimNetwork same(&fresh, 7);
    const auto on = fresh.NewExecutor();
    same.Up(a);
    same.Up(b);
    auto& seen = runs.emplace_back();
    for (int i = 0; i < 100; ++i) {
      const StreamPtr call =
          same.Connect(SimStream::Form::kUnary, {a, on.get(), nullptr},
                       {b, on.get(), nullptr});
      same.Send(call, Side::kAcceptor, MessageKind::kHello, std::to_string(i),
                [&seen](const Parcel& p) { seen.push_back(p.bytes); });
    }
    fresh.RunFor(10'000);
  }
  EXPECT_EQ(runs[0], runs[1]);
  EXPECT_FALSE(std::is_sorted(runs[0].begin(), runs[0].end()));
}

}  // namespace
}  // namespace sluice::sim
