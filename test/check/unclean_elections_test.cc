// RP20, RP1: elections of the best log, and what they may cost.
#include "test/check/check_testing.h"

namespace sluice::check {
namespace {

class UncleanElectionsTest : public CheckTest {
 protected:
  using Logs = std::vector<CandidateLog>;

  // Three records are committed everywhere; then every process has died with
  // the last two of them, and nobody is eligible.
  void LoseTwoOfThree() {
    for (const int id : {2, 3}) Follow(id, 1, 0);
    for (const uint32_t crc : {100u, 101u, 102u}) Produce(1, {2, 3}, crc);
    for (const int id : {1, 2, 3}) {
      At(id, [](ReplicaView& view) {
        CutTo(view, 1);
        view.leads = false;
        view.leader = kNoNode;
        view.state = replica::State::kWaiting;
        view.high_watermark = Offset(1);
      });
    }
    Change({.leader = -1, .isr = Ids{}});
    Forget();
  }
  // 2 is elected and leads epoch 2; all know.
  void ElectTwo() {
    LoseTwoOfThree();
    Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 1)}});
    Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
    for (const int id : {1, 2, 3}) {
      At(id, [](ReplicaView& view) {
        view.last_unclean_leader_epoch = LeaderEpoch(2);
      });
    }
    Lead(2, 2);
    ExpectNone();
  }
  void TakeBackAt(int id) {
    At(id, [](ReplicaView& view) {
      CutTo(view, 0);
      view.high_watermark = Offset(0);
    });
  }
  static CandidateLog Log(int node, int64_t end, bool failed = false) {
    return {NodeId(node), LeaderEpoch(0), Offset(end), Offset(1), failed};
  }
};

TEST_F(UncleanElectionsTest, TheLedgerIsWhatTheElectedOneHolds) {
  LoseTwoOfThree();
  Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 1)}});
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
  EXPECT_EQ(replication_.committed(kTp), Offset(1));
  Lead(2, 2);
  ExpectNone();
}

// A log that ends below where a trim left off lacks nothing that is there.
TEST_F(UncleanElectionsTest, F34WhatATrimHadDeletedIsNotLost) {
  LoseTwoOfThree();
  Change({.log_start = 2});
  Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 1)}});
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 2});
  EXPECT_EQ(replication_.committed(kTp), Offset(2));
  ExpectNone();
  At(2, [](ReplicaView& view) {
    CutTo(view, 0);
    view.log_start = view.high_watermark = Offset(2);
    view.leo = view.durable_leo = view.position = Offset(2);
    view.last_unclean_leader_epoch = LeaderEpoch(2);
  });
  Lead(2, 2);
  ExpectNone();
}

// ---- RP5, RP13, MD2 behind it ----

TEST_F(UncleanElectionsTest, RP13WhoHasNotJoinedMayGiveUpWhatItKnew) {
  ElectTwo();
  TakeBackAt(3);
  ExpectNone();
  At(1, [](ReplicaView& view) {
    view.failed = true;
    view.state = replica::State::kFailed;
  });
  ExpectNone();
}

TEST_F(UncleanElectionsTest, RP5WhoHasJoinedGivesUpNothing) {
  ElectTwo();
  Follow(3, 2, 2);
  ExpectNone();
  TakeBackAt(3);
  ExpectFound(Rule::kRP5);
}

TEST_F(UncleanElectionsTest, RP5WhoLeadsGivesUpNothing) {
  ElectTwo();
  MoveHw(2, 0);
  ExpectFound(Rule::kRP5);
}

TEST_F(UncleanElectionsTest, RP13WhoHasJoinedCutsNothingThatItKnows) {
  ElectTwo();
  Follow(3, 2, 2);
  At(3, [](ReplicaView& view) {
    view.failed = true;
    view.state = replica::State::kFailed;
  });
  ExpectFound(Rule::kRP13);
}

TEST_F(UncleanElectionsTest, RP5TheNextUncleanElectionIsAnotherHistory) {
  ElectTwo();
  Follow(3, 2, 2);
  Change({.leader = -1, .isr = Ids{}});
  Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 1)}});
  Change({.leader = 1, .isr = Ids{1}, .candidates = Logs{}, .lost_from = 0});
  At(3, [](ReplicaView& view) {
    view.last_unclean_leader_epoch = LeaderEpoch(4);
  });
  Forget();
  TakeBackAt(3);
  ExpectNone();
}

TEST_F(UncleanElectionsTest, RP5AnotherLifeHasNotJoinedYet) {
  ElectTwo();
  Follow(3, 2, 2);
  End(3, check::End::kKilled);
  Boot(3, 2);
  At(3, [](ReplicaView& view) {
    Append(view, 0, 100);
    view.high_watermark = Offset(1);
    view.last_unclean_leader_epoch = LeaderEpoch(2);
  });
  TakeBackAt(3);
  ExpectNone();
}

TEST_F(UncleanElectionsTest, MD2EpochsGoOnWhateverIsElected) {
  ElectTwo();
  At(3, [](ReplicaView& view) { view.partition_epoch = PartitionEpoch(9); });
  Forget();
  At(3, [](ReplicaView& view) { view.partition_epoch = PartitionEpoch(8); });
  ExpectFound(Rule::kMD2);
}

// ---- RP20 ----

TEST_F(UncleanElectionsTest, RP20MoreIsLostThanWasSaid) {
  LoseTwoOfThree();
  Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 1)}});
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 2});
  ExpectFound(Rule::kRP20);
}

TEST_F(UncleanElectionsTest, RP20NotAllHaveToldAndNobodyOrderedIt) {
  LoseTwoOfThree();
  Change({.candidates = Logs{Log(2, 1)}});
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
  ExpectFound(Rule::kRP20);
}

TEST_F(UncleanElectionsTest, RP20AnOrderIsAnOrder) {
  LoseTwoOfThree();
  Change({.candidates = Logs{Log(2, 1)}, .ordered = true});
  Change({.leader = 2,
          .isr = Ids{2},
          .candidates = Logs{},
          .ordered = false,
          .lost_from = 1});
  ExpectNone();
}

TEST_F(UncleanElectionsTest, RP20AFailedLogIsNoAnswer) {
  LoseTwoOfThree();
  Change({.candidates = Logs{Log(1, 1, true), Log(2, 1), Log(3, 0, true)}});
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
  ExpectFound(Rule::kRP20);
}

TEST_F(UncleanElectionsTest, RP20ABetterLogWasTold) {
  LoseTwoOfThree();
  Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 2)}});
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
  ExpectFound(Rule::kRP20);
}

TEST_F(UncleanElectionsTest, RP20WhileSomebodyIsEligible) {
  LoseTwoOfThree();
  Change({.elr = Ids{1},
          .candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 1)}});
  Forget();  // 1 does not hold what is committed
  Change({.leader = 2,
          .isr = Ids{2},
          .elr = Ids{},
          .candidates = Logs{},
          .lost_from = 1});
  ExpectFound(Rule::kRP20);
}

TEST_F(UncleanElectionsTest, RP20WhileSomebodyIsInSync) {
  LoseTwoOfThree();
  Change({.isr = Ids{1}, .candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 1)}});
  Forget();  // 1 does not hold what is committed
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
  ExpectFound(Rule::kRP20);
}

TEST_F(UncleanElectionsTest, RP20WhileSomebodyIsDoubted) {
  LoseTwoOfThree();
  Change({.unverified_elr = Ids{3},
          .candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 1)}});
  Change({.leader = 2,
          .isr = Ids{2},
          .unverified_elr = Ids{},
          .candidates = Logs{},
          .lost_from = 1});
  ExpectFound(Rule::kRP20);
}

TEST_F(UncleanElectionsTest, RP20TheTopicMayAllowIt) {
  LoseTwoOfThree();
  SetConfig(kUncleanLeaderElection, "true");
  Change({.candidates = Logs{Log(2, 1)}});
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
  ExpectNone();
}

// The clauses of the election itself, where nothing else is wrong.
TEST_F(UncleanElectionsTest, RP20WhileSomebodyLeads) {
  SetConfig(kUncleanLeaderElection, "true");
  Change({.leader = 2, .isr = Ids{2}, .lost_from = 0});
  ExpectFound(Rule::kRP20);
}

TEST_F(UncleanElectionsTest, RP20MarkedAsAnotherElection) {
  LoseTwoOfThree();
  Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 1)}});
  Change({.leader = 2,
          .isr = Ids{2},
          .candidates = Logs{},
          .lost_from = 1,
          .unclean_epoch = 1});
  ExpectFound(Rule::kRP20);
}

TEST_F(UncleanElectionsTest, RP20WithAnotherInSync) {
  LoseTwoOfThree();
  Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 1)}});
  Change({.leader = 2, .isr = Ids{2, 3}, .candidates = Logs{}, .lost_from = 1});
  ExpectFound(Rule::kRP20);
}

TEST_F(UncleanElectionsTest, RP20OfOneThatIsNotActive) {
  LoseTwoOfThree();
  Fence(2, true);
  Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 1)}});
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
  ExpectFound(Rule::kMD4);
  ExpectAmong(Rule::kRP20);
}

TEST_F(UncleanElectionsTest, RP20AnOrderTakesTheBestOfWhoIsActive) {
  LoseTwoOfThree();
  Fence(3, true);
  Change({.candidates = Logs{Log(2, 1), Log(3, 2)}, .ordered = true});
  Change({.leader = 2,
          .isr = Ids{2},
          .candidates = Logs{},
          .ordered = false,
          .lost_from = 1});
  ExpectNone();
}

TEST_F(UncleanElectionsTest, RP20WithoutAnOrderWhoIsGoneCountsToo) {
  LoseTwoOfThree();
  Fence(3, true);
  Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 2)}});
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
  ExpectFound(Rule::kRP20);
}

TEST_F(UncleanElectionsTest, RP20OneFailedLogOfThreeIsLeftOut) {
  LoseTwoOfThree();
  Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 2, true)}});
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
  ExpectNone();
}

TEST_F(UncleanElectionsTest, RP20ANewerEpochIsBetterThanALongerLog) {
  LoseTwoOfThree();
  At(2, [](ReplicaView& view) {
    view.epochs.push_back({LeaderEpoch(1), view.leo});
  });
  Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 2)}});
  Forget();
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
  ExpectNone();
}

TEST_F(UncleanElectionsTest, RP20ALogOfANewerEpochWasTold) {
  LoseTwoOfThree();
  Change({.candidates = Logs{Log(1, 1), Log(2, 1),
                             {NodeId(3), LeaderEpoch(1), Offset(1), Offset(1),
                              false}}});
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
  ExpectFound(Rule::kRP20);
}

// What was committed before says nothing of what the new history has.
TEST_F(UncleanElectionsTest, RP21TheNewLeaderTellsOfItsOwnHistory) {
  LoseTwoOfThree();
  Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 1)}});
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
  Lead(2, 2);
  replication_.OnAcknowledged(kTp, Offset(2), LeaderEpoch(1));
  ExpectNone();
  replication_.OnAcknowledged(kTp, Offset(2), LeaderEpoch(2));
  ExpectFound(Rule::kRP21);
}

TEST_F(UncleanElectionsTest, RP1TheNextCleanLeaderHoldsTheNewHistory) {
  LoseTwoOfThree();
  Change({.candidates = Logs{Log(1, 1), Log(2, 1), Log(3, 1)}});
  Change({.leader = 2, .isr = Ids{2}, .candidates = Logs{}, .lost_from = 1});
  Lead(2, 2);
  ExpectNone();
  At(3, [](ReplicaView& view) { CutTo(view, 0); });
  Change({.leader = 3, .isr = Ids{2, 3}});
  Forget();  // nobody asked for 3, which gave up what it knew
  Lead(3, 3);
  ExpectFound(Rule::kRP1);
}

}  // namespace
}  // namespace sluice::check
