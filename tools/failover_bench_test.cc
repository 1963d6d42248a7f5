#include "tools/failover_bench.h"

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace sluice::cli {
namespace {

TEST(ChooseVictimTest, TheLeaderOfMostThatIsNotTheActiveController) {
  EXPECT_EQ(*ChooseVictim(FailoverVictim::kLeader, {1, 1, 1, 2, 2, 3}, 1), 2);
  EXPECT_EQ(*ChooseVictim(FailoverVictim::kLeader, {1, 1, 1, 2, 2, 3}, 101), 1);
}

TEST(ChooseVictimTest, TheActiveControllerOnlyWhenNobodyElseLeads) {
  EXPECT_EQ(*ChooseVictim(FailoverVictim::kLeader, {1, 1, -1}, 1), 1);
}

TEST(ChooseVictimTest, TheActiveControllerWhenAskedFor) {
  EXPECT_EQ(*ChooseVictim(FailoverVictim::kActiveController, {1, 2}, 103), 103);
}

TEST(ChooseVictimTest, NobodyToKillIsAnError) {
  for (const auto& none :
       {ChooseVictim(FailoverVictim::kLeader, {-1, -1}, 1),
        ChooseVictim(FailoverVictim::kActiveController, {1}, -1)}) {
    ASSERT_FALSE(none.ok());
    EXPECT_EQ(CodeOf(none.status()), ErrorCode::kInvalidRequest);
  }
}

TEST(FailoverResultTest, TheMedianAndTheWorstAreOfTheRounds) {
  FailoverResult result;
  EXPECT_EQ(result.MedianUs(), 0);
  for (const int64_t gap : {900, 100, 300}) {
    FailoverRound round;
    round.longest_gap_us = gap;
    result.rounds.push_back(round);
  }

  EXPECT_EQ(result.MedianUs(), 300);
  EXPECT_EQ(result.WorstUs(), 900);
}

}  // namespace
}  // namespace sluice::cli
