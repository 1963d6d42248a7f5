#include "broker/replica/isr_policy.h"

#include <gtest/gtest.h>

#include "broker/replica/caught_up_samples.h"

namespace sluice::replica {
namespace {

constexpr NodeId kA{1}, kB{2}, kC{3};
constexpr int64_t kLimitUs = 1'600;

class IsrPolicyTest : public testing::Test {
 protected:
  IsrPolicyTest() {
    for (NodeId n : replicas_) standing_[n] = {BrokerEpoch(n.value()), true};
    for (NodeId n : {kB, kC}) {
      followers_[n] = {.broker_epoch = BrokerEpoch(n.value()),
                       .appended = Offset(10),
                       .durable = Offset(10),
                       .last_caught_up_us = 5'000,
                       .accepted = true};
    }
  }

  IsrView View() {
    return {.self = kA,
            .replicas = replicas_,
            .isr = isr_,
            .standing = standing_,
            .followers = followers_,
            .durable_counts = true,
            .own_position = Offset(10),
            .leo = Offset(10),
            .high_watermark = Offset(8),
            .epoch_start = Offset(5),
            .now_us = 5'000,
            .lag_time_max_us = kLimitUs};
  }

  std::vector<NodeId> replicas_ = {kA, kB, kC};
  std::vector<NodeId> isr_ = {kA, kB};
  std::map<NodeId, Standing> standing_;
  std::map<NodeId, FollowerState> followers_;
};

TEST_F(IsrPolicyTest, TheMaximalIsrHasWhoIsAddedAndWhoIsNotYetRemoved) {
  const Proposal add{.isr = {{kA, {}}, {kB, {}}, {kC, {}}}};
  const Proposal remove{.isr = {{kA, {}}}};

  EXPECT_EQ(MaximalIsr(View(), std::nullopt), (std::set<NodeId>{kB}));
  EXPECT_EQ(MaximalIsr(View(), add), (std::set<NodeId>{kB, kC}));
  EXPECT_EQ(MaximalIsr(View(), remove), (std::set<NodeId>{kB}));
}

TEST_F(IsrPolicyTest, AnUnknownPositionHoldsEverythingUp) {
  EXPECT_EQ(CommittedUpTo(View(), std::nullopt, 2), Offset(10));
  followers_[kB].durable = kNoOffset;
  EXPECT_EQ(CommittedUpTo(View(), std::nullopt, 2), std::nullopt);
  followers_.erase(kB);
  EXPECT_EQ(CommittedUpTo(View(), std::nullopt, 2), std::nullopt);
}

TEST_F(IsrPolicyTest, MinIsrIsOfTheCommittedIsr) {
  const Proposal add{.isr = {{kA, {}}, {kB, {}}, {kC, {}}}};
  EXPECT_EQ(CommittedUpTo(View(), add, 3), std::nullopt);
}

TEST_F(IsrPolicyTest, EachConditionOfJoiningIsNeeded) {  // RP14
  ASSERT_TRUE(MayJoin(View(), kC));
  const auto without = [&](auto&& change) {
    auto followers = followers_;
    auto standing = standing_;
    change();
    const bool may = MayJoin(View(), kC);
    followers_ = followers;
    standing_ = standing;
    return may;
  };
  EXPECT_FALSE(without([&] { followers_[kC].accepted = false; }));
  EXPECT_FALSE(without([&] { followers_[kC].durable = Offset(7); }));
  EXPECT_FALSE(without([&] { followers_[kC].broker_epoch = BrokerEpoch(9); }));
  EXPECT_FALSE(without([&] { standing_[kC].active = false; }));
  EXPECT_FALSE(without([&] { standing_.erase(kC); }));
  EXPECT_FALSE(without([&] { followers_.erase(kC); }));
  EXPECT_FALSE(without([&] {
    followers_[kC].durable = Offset(9);
    followers_[kC].last_caught_up_us = 1'000;
  }));
  IsrView view = View();
  view.epoch_start = Offset(11);
  EXPECT_FALSE(MayJoin(view, kC));
}

TEST_F(IsrPolicyTest, ABetterIsrTakesAndLeavesInOneQuestion) {
  followers_[kB].durable = Offset(9);
  followers_[kB].last_caught_up_us = 1'000;

  const auto better = BetterIsr(View());

  const std::map<NodeId, BrokerEpoch> expected = {{kA, BrokerEpoch(1)},
                                                  {kC, BrokerEpoch(3)}};
  EXPECT_EQ(better, expected);
}

TEST_F(IsrPolicyTest, AMemberWhoseBrokerIsInactiveLeaves) {
  isr_ = {kA, kB, kC};
  EXPECT_EQ(BetterIsr(View()), std::nullopt);
  standing_[kB].active = false;
  ASSERT_TRUE(BetterIsr(View()).has_value());
  EXPECT_EQ(BetterIsr(View())->count(kB), 0u);
}

TEST(CaughtUpSamplesTest, APositionWasCaughtUpWhenTheLogEndedThere) {
  CaughtUpSamples samples(1'600);  // every 100 us
  samples.Note(1'000, Offset(0));
  samples.Note(1'200, Offset(10));
  samples.Note(1'250, Offset(20));  // too soon after the last
  samples.Note(1'400, Offset(30));

  EXPECT_EQ(samples.CaughtUpAt(Offset(-1)), -1);
  EXPECT_EQ(samples.CaughtUpAt(Offset(0)), 1'000);
  EXPECT_EQ(samples.CaughtUpAt(Offset(9)), 1'000);
  EXPECT_EQ(samples.CaughtUpAt(Offset(10)), 1'200);
  EXPECT_EQ(samples.CaughtUpAt(Offset(29)), 1'200);  // on the safe side
  EXPECT_EQ(samples.CaughtUpAt(Offset(99)), 1'400);
}

TEST(CaughtUpSamplesTest, WhileTheLogStandsStillTimePasses) {
  CaughtUpSamples samples(1'600);
  samples.Note(1'000, Offset(5));
  samples.Note(9'000, Offset(5));

  EXPECT_EQ(samples.CaughtUpAt(Offset(5)), 9'000);
}

TEST(CaughtUpSamplesTest, OldSamplesAreForgotten) {
  CaughtUpSamples samples(1'600);
  for (int i = 0; i < 1'000; ++i) samples.Note(i * 100, Offset(i));

  EXPECT_EQ(samples.CaughtUpAt(Offset(967)), -1);
  EXPECT_EQ(samples.CaughtUpAt(Offset(968)), 96'800);
}

TEST_F(IsrPolicyTest, ADemotedBrokerCountsOnlyWhereThereAreTooFewWithoutIt) {
  isr_ = {kA, kB, kC};
  standing_[kC].demoted = true;
  IsrView view = View();
  view.min_isr = 2;
  EXPECT_EQ(BetterIsr(view), (std::map<NodeId, BrokerEpoch>{
                                 {kA, BrokerEpoch(1)}, {kB, BrokerEpoch(2)}}));
  view.min_isr = 3;
  EXPECT_EQ(BetterIsr(view), std::nullopt);
  isr_ = {kA, kB};
  EXPECT_TRUE(BetterIsr(view).has_value());  // it joins
  view.min_isr = 2;
  EXPECT_EQ(BetterIsr(view), std::nullopt);
  // Who lags is no help.
  followers_[kB].durable = Offset(9);
  followers_[kB].last_caught_up_us = 0;
  EXPECT_EQ(BetterIsr(view), (std::map<NodeId, BrokerEpoch>{
                                 {kA, BrokerEpoch(1)}, {kC, BrokerEpoch(3)}}));
  // A leader does not judge itself.
  standing_[kA].demoted = true;
  view.min_isr = 1;
  isr_ = {kA};
  EXPECT_EQ(BetterIsr(view), std::nullopt);
}

}  // namespace
}  // namespace sluice::replica
