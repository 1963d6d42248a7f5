// correctness.md 3.2: what controllers promise each other, on whole processes
// with their disks.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/base/str_cat.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

// Every other controller.
std::vector<int> OthersOf(Scenario& s, int node) {
  std::vector<int> others;
  for (const int id : s.sim().controller_ids()) {
    if (id != node) others.push_back(id);
  }
  return others;
}

LogIndex LastOf(Scenario& s, int node) { return s.RaftOf(node).log().last_index(); }

bool HasRaft(Scenario& s, int node) {
  const auto& process = s.sim().at(node).controller;
  return process != nullptr && process->raft().core() != nullptr;
}

// F35, the first crash. V is asked for its vote and its disk has not written it
// when V loses its power -> V has told nobody, and is free when it is back; one
// leader a term (RA1, RA2).
TEST(RaftScenarios, F35AVoteThatIsNotOnDiskWasToldToNobody) {
  Scenario s;
  const int X = s.ActiveController();
  const std::vector<int> others = OthersOf(s, X);
  const int V = others[1];
  const Term before = s.RaftOf(X).term();
  s.Drop({MessageKind::kRaftPreVote, V});  // the other one campaigns
  s.HangDisk(V);
  const auto asked = s.Watch({MessageKind::kRaftVote, others[0], V});
  const auto told = s.Watch({MessageKind::kRaftVoteReply, V});
  s.Kill(X);
  s.UntilCaught(asked);
  s.Until("V has decided", [&] {
    return s.RaftOf(V).hard_state().vote.node == NodeId(others[0]);
  });
  s.RunFor(100);
  s.Expect(s.RaftOf(V).durable_hard_state().term == before,
           "the vote is not on V's disk");
  s.Expect(told->count == 0, "V has told nobody");
  s.PowerCut(V);
  s.FreeDisk(V);
  s.Boot(V);
  s.Until("V has read its disk", [&] { return HasRaft(s, V); });
  s.Expect(s.RaftOf(V).durable_hard_state().term == before,
           "V knows nothing of the vote");
  s.UntilController();
  s.Converge();
}

// F35, the second crash. V's vote is on its disk, its answer on the way, when V
// loses its power -> back, V still has voted: nobody else gets its vote in that
// term (RA2).
TEST(RaftScenarios, F35AVoteThatIsOnDiskStandsAfterACrash) {
  Scenario s;
  const int X = s.ActiveController();
  const std::vector<int> others = OthersOf(s, X);
  const int V = others[1];
  s.Drop({MessageKind::kRaftPreVote, V});  // the other one campaigns
  const auto told = s.Hold({MessageKind::kRaftVoteReply, V, others[0]});
  s.Kill(X);
  s.UntilCaught(told);
  const raft::HardState voted = s.RaftOf(V).hard_state();
  s.Expect(voted.vote.node == NodeId(others[0]), "V voted");
  s.Expect(s.RaftOf(V).durable_hard_state() == voted, "and that is on its disk");
  s.PowerCut(V);
  s.Boot(V);
  s.Until("V has read its disk", [&] { return HasRaft(s, V); });
  s.Expect(s.RaftOf(V).hard_state() == voted, "the vote stands");
  s.DropHeld(told);
  s.Boot(X);
  s.UntilController();
  s.Converge();
}

// F36. A voter's disks are replaced and it comes back under the same id, while
// the leader is dead -> with one voter left it must not help to elect anybody,
// nor acknowledge: it is another disk, no voter (RA12).
TEST(RaftScenarios, F36AWipedVoterElectsNobody) {
  Scenario s;
  const int X = s.ActiveController();
  const int V = OthersOf(s, X)[0];
  s.Kill(V);
  s.Wipe(V);
  s.Boot(V);
  s.Until("V follows the log as no voter", [&] {
    return HasRaft(s, V) && s.RaftOf(V).commit_index() >= LogIndex(1);
  });
  const auto votes = s.Watch({MessageKind::kRaftVoteReply, V});
  const Term term = s.RaftOf(X).term();
  s.Kill(X);
  s.Throughout(10'000, "nobody leads",
               [&] { return s.ActiveController() == 0; });
  s.Expect(votes->count == 0, "V answers no vote");
  s.Boot(X);
  s.UntilController();
  s.Expect(s.RaftOf(s.ActiveController()).term() > term, "a new term");
  s.Converge();
}

// F37. The leader has entries that are on no disk and loses its power -> it is
// back without them -> it does not lead, nor write, in its old term again: those
// positions could be filled twice (RA10).
TEST(RaftScenarios, F37ALeaderThatLostItsTailIsResignedInItsTerm) {
  Scenario s;
  const int X = s.ActiveController();
  const Term term = s.RaftOf(X).term();
  const LogIndex durable = s.RaftOf(X).durable_index();
  s.HangDisk(X);
  for (const int other : OthersOf(s, X)) s.Cut(X, other);
  s.Propose(X, "lost");
  s.Until("X has an entry in memory alone",
          [&] { return LastOf(s, X) > s.RaftOf(X).durable_index(); }, 300);
  const LogIndex tail = LastOf(s, X);
  // X is the one to campaign when it is back.
  for (const int other : OthersOf(s, X)) {
    s.Drop({MessageKind::kRaftPreVote, other});
  }
  s.PowerCut(X);
  s.FreeDisk(X);
  s.Boot(X);
  s.Heal();
  s.Until("X has read its disk", [&] { return HasRaft(s, X); });
  s.Expect(LastOf(s, X) < tail && LastOf(s, X) >= durable, "the tail is lost");
  bool led_again = false;
  s.Until("a leader of a newer term", [&] {
    led_again = led_again || (HasRaft(s, X) &&
                              s.RaftOf(X).role() == raft::Role::kLeader &&
                              s.RaftOf(X).term() == term);
    const int active = s.ActiveController();
    return active != 0 && s.RaftOf(active).term() > term;
  });
  s.Expect(!led_again, "X is resigned in its term");
  s.Expect(s.ActiveController() == X, "X leads, in a term of its own");
  s.Converge();
}

// F38, Raft's figure 8. An entry of an old term reaches a majority under a
// leader of a newer one, after two leaders died -> it is not counted committed
// while no entry of the leader's own term is on a majority (RA7).
TEST(RaftScenarios, F38AnOldTermsEntryOnAMajorityIsNotCommitted) {
  ScenarioOptions options;
  options.controllers = 5;
  Scenario s(options);
  // X leads and one follower V gets its entry.
  const int X = s.ActiveController();
  const std::vector<int> others = OthersOf(s, X);
  const int V = others[0];
  s.RunFor(500);
  const LogIndex committed = s.RaftOf(X).commit_index();
  std::vector<CaughtPtr> drops;
  for (size_t i = 1; i < others.size(); ++i) {
    drops.push_back(s.Drop({MessageKind::kRaftAppend, X, others[i]}));
  }
  s.Propose(X, "old");
  s.Until("X and V have the entry", [&] {
    return s.RaftOf(V).durable_index() > committed &&
           s.RaftOf(X).durable_index() > committed;
  });
  const LogIndex old = committed.Next();
  const Term old_term = s.RaftOf(X).term();
  s.Expect(s.RaftOf(X).commit_index() == committed, "it is not committed");
  // The first leader dies; V hears nobody; another of the three leads, and its
  // entry reaches nobody.
  const auto mute = s.Drop({MessageKind::kRaftAppend, kAnyone, kAnyone,
                            [&](const Message& m) { return m.from != NodeId(X); }});
  s.Isolate(V);
  s.Kill(X);
  int O = 0;
  s.Until("a second leader", [&] {
    for (size_t i = 1; i < others.size(); ++i) {
      if (s.RaftOf(others[i]).role() == raft::Role::kLeader) O = others[i];
    }
    return O != 0;
  });
  s.Kill(O);
  for (const CaughtPtr& drop : drops) s.Cease(drop);
  s.Heal();
  s.Boot(X);
  // A third, X or V: the only ones whose log is long enough. Its own disk takes
  // no more.
  int L = 0;
  s.Until("a third leader with the old entry", [&] {
    for (const int id : {X, V}) {
      if (HasRaft(s, id) && s.RaftOf(id).role() == raft::Role::kLeader &&
          s.RaftOf(id).term() > old_term) {
        L = id;
        s.HangDisk(id);
      }
    }
    return L != 0;
  });
  const auto apart =
      s.Drop({MessageKind::kRaftAppend, L, L == X ? V : X});
  s.Cease(mute);
  std::vector<int> rest;
  for (size_t i = 1; i < others.size(); ++i) {
    if (others[i] != O) rest.push_back(others[i]);
  }
  s.Until("the old entry is on a majority", [&] {
    return s.RaftOf(rest[0]).durable_index() > old &&
           s.RaftOf(rest[1]).durable_index() > old;
  });
  s.Expect(s.RaftOf(L).durable_index() >= old &&
               s.RaftOf(L).durable_index() < LastOf(s, L),
           "the leader's own disk has the old entry, not its new one");
  const auto acks = s.Watch({MessageKind::kRaftAppendReply, kAnyone, L});
  s.RunFor(200);
  s.Expect(s.RaftOf(L).role() == raft::Role::kLeader, "it leads");
  s.Expect(s.RaftOf(L).commit_index() < old, "the old entry is not committed");
  s.FreeDisk(L);
  s.Until("its own entry is on a majority, and all is committed",
          [&] { return s.RaftOf(L).commit_index() > old; });
  s.Cease(apart);
  s.Cease(acks);
  s.Converge();
}

// F41, an outage of 6 h 33 min elsewhere. Of five voters two see one other voter
// each -> a leader among the three others within 10 election timeouts, and it
// stays: pre-vote and check-quorum (RA15).
TEST(RaftScenarios, F41PartiallyConnectedVotersKeepAStableLeader) {
  ScenarioOptions options;
  options.controllers = 5;
  Scenario s(options);
  for (const auto& [lonely, friend_of] :
       {std::pair{104, 101}, std::pair{105, 102}}) {
    for (const int other : OthersOf(s, lonely)) {
      if (other != friend_of) s.Cut(lonely, other);
    }
  }
  const auto leads_among_three = [&] {
    const int active = s.ActiveController();
    return active >= 101 && active <= 103;
  };
  s.Until("one of the three leads", leads_among_three, 10 * 800);
  s.RunFor(2'000);
  const int leader = s.UntilController();
  const Term term = s.RaftOf(leader).term();
  s.Throughout(30'000, "the leader stays", [&] {
    return s.RaftOf(leader).role() == raft::Role::kLeader &&
           s.RaftOf(leader).term() == term;
  });
  s.Expect(leads_among_three(), "among the three");
  s.CreateTopic("t", {});
  s.Converge();
}

// F41, one way only. The leader is heard and hears nobody -> it knows that it
// leads no quorum, and falls silent: another one leads (RA15: check-quorum).
TEST(RaftScenarios, F41ALeaderThatHearsNobodyIsReplaced) {
  Scenario s;
  const int X = s.ActiveController();
  for (const int other : OthersOf(s, X)) s.CutOneWay(other, X);
  s.Until("X leads no more",
          [&] { return s.RaftOf(X).role() != raft::Role::kLeader; });
  s.Until("another one leads", [&] {
    const int active = s.ActiveController();
    return active != 0 && active != X;
  });
  s.CreateTopic("t", {});
  s.Heal();
  s.Converge();
}

}  // namespace
}  // namespace sluice::scenario
