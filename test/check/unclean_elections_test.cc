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
