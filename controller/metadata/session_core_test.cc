#include "controller/metadata/session_core.h"

#include <gtest/gtest.h>

#include <string>

#include "common/base/str_cat.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using Dial = SessionCore::Dial;
using Kind = SessionAction::Kind;

std::string Text(const SessionActions& actions) {
  std::string text;
  for (const auto& action : actions) {
    text += text.empty() ? "" : " ";
    if (action.kind == Kind::kResign) {
      text += "resign";
      continue;
    }
    text += StrCat(action.kind == Kind::kDial ? "dial" : "fence",
                   action.broker);
  }
  return text;
}

constexpr int64_t kMs = 1000;

class SessionCoreTest : public testing::Test {
 protected:
  void Brokers(int count) { cluster_.StartAll(count); }
  SessionActions Activate() { return core_.Activate(cluster_.image(), now_); }
  void Beat(int id) {
    core_.OnHeartbeat(NodeId(id), cluster_.EpochOf(id),
                      static_cast<uint64_t>(id), now_);
  }
  SessionActions Break(int id) {
    return core_.OnStreamClosed(NodeId(id), cluster_.EpochOf(id),
                                static_cast<uint64_t>(id), now_);
  }
  SessionActions Answer(int id, Dial result) {
    return core_.OnDialResult(NodeId(id), cluster_.EpochOf(id), result, now_);
  }
  SessionState State(int id) {
    return core_.StateOf(NodeId(id), cluster_.EpochOf(id));
  }
  // Ticks every 100 ms; what came out, with times. `beating` have heartbeats.
  std::string Pass(int64_t ms, std::vector<int> beating = {}) {
    std::string text;
    for (const int64_t end = now_ + ms * kMs; now_ < end;) {
      now_ += 100 * kMs;
      for (const int id : beating) Beat(id);
      const std::string actions = Text(core_.OnTick(now_));
      if (!actions.empty()) {
        text += StrCat(text.empty() ? "" : "; ", actions, " at ",
                       (now_ - start_) / kMs);
      }
    }
    return text;
  }
  void Mark() { start_ = now_; }

  TestCluster cluster_;
  SessionCore core_{SessionOptions{.tick_us = 100 * kMs}};
  int64_t now_ = 1000000;
  int64_t start_ = 1000000;
};

TEST_F(SessionCoreTest, AHangCostsTheSessionWhateverTheStream) {
  Brokers(1);
  Activate();
  Answer(1, Dial::kConnected);
  Beat(1);
  EXPECT_EQ(State(1), SessionState::kConnected);
  Mark();
  EXPECT_EQ(Pass(10000, {1}), "");
  Mark();
  EXPECT_EQ(Pass(4000), "fence1 at 3000");
  EXPECT_EQ(State(1), SessionState::kNone);
  // It wakes up on the same stream.
  Beat(1);
  EXPECT_EQ(State(1), SessionState::kConnected);
}

// An asymmetric cut: the quorum still hears it, no broker does. Nobody would
// lead anything while it is active.
TEST_F(SessionCoreTest, WhoHearsNoBrokerAnyMoreResignsOnceAndThenFences) {
  Brokers(3);
  Activate();
  for (const int id : {1, 2, 3}) Answer(id, Dial::kConnected);
  Mark();
  EXPECT_EQ(Pass(1000, {1, 2, 3}), "");
  Mark();
  // Nobody took over: what is owed to the brokers' partitions comes first.
  EXPECT_EQ(Pass(5000), "resign at 1500; fence1 fence2 fence3 at 3000");
}

TEST_F(SessionCoreTest, OneBrokerThatIsHeardIsReasonEnoughToStay) {
  Brokers(3);
  Activate();
  for (const int id : {1, 2, 3}) Beat(id);
  Mark();
  EXPECT_EQ(Pass(3500, {2}), "fence1 fence3 at 3000");
}

TEST_F(SessionCoreTest, WhoNeverHeardABrokerDoesNotPassTheRoleOn) {
  Brokers(3);
  Activate();
  for (const int id : {1, 2, 3}) Answer(id, Dial::kNoAnswer);
  Mark();
  const std::string passed = Pass(5000);
  EXPECT_EQ(passed.find("resign"), std::string::npos) << passed;
  EXPECT_NE(passed.find("fence1 fence2 fence3"), std::string::npos) << passed;
}

TEST_F(SessionCoreTest, TheOnlyBrokersSilenceIsItsOwn) {
  Brokers(1);
  Activate();
  Beat(1);
  Mark();
  EXPECT_EQ(Pass(4000), "fence1 at 3000");
}

// Hung processes: their kernels still connect, so the network is well.
TEST_F(SessionCoreTest, WhoseListenersConnectIsNotCutOffFrom) {
  Brokers(2);
  Activate();
  Beat(1);
  Beat(2);
  for (const int id : {1, 2}) Answer(id, Dial::kConnected);
  Mark();
  std::string text;
  for (const int id : {1, 2}) Break(id);
  while ((now_ - start_) / kMs < 4000) {
    text += Pass(100);
    for (const int id : {1, 2}) Answer(id, Dial::kConnected);
  }
  EXPECT_EQ(text.find("resign"), std::string::npos) << text;
  EXPECT_NE(text.find("fence1"), std::string::npos) << text;
}

TEST_F(SessionCoreTest, ItsOwnSleepIsNoSilenceOfOthers) {
  Brokers(2);
  Activate();
  Beat(1);
  Beat(2);
  Pass(500, {1, 2});
  now_ += 20000 * kMs;
  Mark();
  EXPECT_EQ(Pass(1000, {1, 2}), "");
}

TEST_F(SessionCoreTest, ARefusedDialFencesNow) {
  Brokers(2);
  Activate();
  Beat(1);
  Beat(2);
  Answer(1, Dial::kConnected);
  Answer(2, Dial::kConnected);
  EXPECT_EQ(Text(Break(1)), "dial1");
  EXPECT_EQ(State(1), SessionState::kBroken);
  EXPECT_EQ(Text(Answer(1, Dial::kRefused)), "fence1");
  EXPECT_EQ(State(1), SessionState::kNone);
  EXPECT_EQ(State(2), SessionState::kConnected);
}

TEST_F(SessionCoreTest, AConnectedDialKeepsTheSessionAndDialsAgain) {
  Brokers(1);
  Activate();
  Beat(1);
  Answer(1, Dial::kConnected);
  Mark();
  EXPECT_EQ(Text(Break(1)), "dial1");
  EXPECT_EQ(Text(Answer(1, Dial::kConnected)), "");
  // Nobody answers the second dial: the session ends from the last heartbeat.
  EXPECT_EQ(Pass(4000), "dial1 at 100; fence1 at 3000");
}

TEST_F(SessionCoreTest, AProcessThatDiesAfterAConnectedDialIsFoundByTheNext) {
  Brokers(1);
  Activate();
  Beat(1);
  Answer(1, Dial::kConnected);
  Break(1);
  Answer(1, Dial::kConnected);
  Mark();
  EXPECT_EQ(Pass(100), "dial1 at 100");
  EXPECT_EQ(Text(Answer(1, Dial::kRefused)), "fence1");
}

// The kernel closes a dying process's stream before its listener, at times:
// 500 ms to the next dial were seen as 800 ms without acknowledgements.
TEST_F(SessionCoreTest, DialsComeSoonerAtFirstAndAgainAfterTheNextBreak) {
  Brokers(1);
  Activate();
  Beat(1);
  Answer(1, Dial::kConnected);
  const auto dials = [&] {
    Mark();
    Break(1);
    Answer(1, Dial::kConnected);
    std::string text;
    while ((now_ - start_) / kMs < 2500) {
      const std::string passed = Pass(100);
      if (passed.empty()) continue;
      text += (text.empty() ? "" : "; ") + passed;
      Answer(1, Dial::kConnected);
    }
    return text;
  };

  const std::string first = dials();
  Beat(1);
  const std::string second = dials();

  EXPECT_EQ(first,
            "dial1 at 100; dial1 at 200; dial1 at 400; dial1 at 800; "
            "dial1 at 1300; dial1 at 1800; dial1 at 2300");
  EXPECT_EQ(second, first);
}

TEST_F(SessionCoreTest, ALostHostCostsItsSessionAndNoMore) {
  Brokers(3);
  Activate();
  for (int id = 1; id <= 3; ++id) {
    Beat(id);
    Answer(id, Dial::kConnected);
  }
  Mark();
  Break(1);
  Answer(1, Dial::kNoAnswer);
  std::string text;
  while ((now_ - start_) / kMs < 4000) {
    const std::string passed = Pass(100, {2, 3});
    if (passed.find("dial1") != std::string::npos) Answer(1, Dial::kNoAnswer);
    if (passed.find("fence1") != std::string::npos) text = passed;
  }
  EXPECT_EQ(text, "fence1 at 3000");
}

TEST_F(SessionCoreTest, ManySilentDialsAreTheControllersOwnFault) {
  Brokers(3);
  Activate();
  for (int id = 1; id <= 3; ++id) {
    Beat(id);
    Answer(id, Dial::kConnected);
  }
  Mark();
  Pass(2000, {3});
  Break(1);
  Break(2);
  Answer(1, Dial::kNoAnswer);
  Answer(2, Dial::kNoAnswer);  // 2 of 3: a full session from here on
  std::string fences;
  while ((now_ - start_) / kMs < 7000) {
    const std::string passed = Pass(100, {3});
    for (const int id : {1, 2}) {
      if (passed.find(StrCat("dial", id)) != std::string::npos) {
        Answer(id, Dial::kNoAnswer);  // does not extend a second time
      }
    }
    if (passed.find("fence") != std::string::npos) fences += passed;
  }
  EXPECT_EQ(fences, "fence1 fence2 at 5000");
}

TEST_F(SessionCoreTest, ARefusedDialFencesWhateverTheOthersDo) {
  Brokers(3);
  EXPECT_EQ(Text(Activate()), "dial1 dial2 dial3");
  Answer(1, Dial::kNoAnswer);
  Answer(2, Dial::kNoAnswer);
  EXPECT_EQ(Text(Answer(3, Dial::kRefused)), "fence3");
}

TEST_F(SessionCoreTest, ANewActiveControllerGivesEverybodyAFreshSession) {
  Brokers(2);
  Mark();
  EXPECT_EQ(Text(Activate()), "dial1 dial2");
  EXPECT_EQ(State(1), SessionState::kBroken);
  Answer(1, Dial::kConnected);
  Answer(2, Dial::kConnected);
  Beat(1);
  EXPECT_EQ(Pass(4000, {1}), "dial2 at 100; fence2 at 3000");
  EXPECT_EQ(State(1), SessionState::kConnected);
}

TEST_F(SessionCoreTest, ADialThatIsLateForAStreamThatCameBackIsIgnored) {
  Brokers(1);
  Activate();
  Beat(1);
  Answer(1, Dial::kConnected);
  Break(1);
  Beat(1);
  EXPECT_EQ(Text(Answer(1, Dial::kRefused)), "");
  EXPECT_EQ(State(1), SessionState::kConnected);
  // A stream's end that comes after its successor's first message.
  EXPECT_EQ(Text(core_.OnStreamClosed(NodeId(1), cluster_.EpochOf(1), 77,
                                      now_)),
            "");
}

TEST_F(SessionCoreTest, WhatTheControllerSleptThroughCountsAgainstNobody) {
  Brokers(1);
  Activate();
  Answer(1, Dial::kConnected);
  Beat(1);
  Pass(200, {1});
  now_ += 60000 * kMs;  // SIGSTOP of the controller
  EXPECT_EQ(Text(core_.OnTick(now_)), "");
  Mark();
  // The one tick that was due has passed; all the rest of it was sleep.
  EXPECT_EQ(Pass(4000), "fence1 at 2900");
}

TEST_F(SessionCoreTest, AnOlderIncarnationSaysNothing) {
  Brokers(1);
  Activate();
  const BrokerEpoch old = cluster_.EpochOf(1);
  Answer(1, Dial::kConnected);
  Beat(1);
  cluster_.Register(TestCluster::Registration(1, 2));
  core_.OnRegistered(NodeId(1), cluster_.EpochOf(1), now_);
  EXPECT_EQ(core_.StateOf(NodeId(1), old), SessionState::kNone);
  EXPECT_EQ(State(1), SessionState::kBroken);
  core_.OnHeartbeat(NodeId(1), old, 1, now_);
  EXPECT_EQ(State(1), SessionState::kBroken);
  EXPECT_EQ(Text(core_.OnDialResult(NodeId(1), old, Dial::kRefused, now_)),
            "");
  core_.Deactivate();
  EXPECT_EQ(core_.size(), 0u);
}

}  // namespace
}  // namespace sluice
