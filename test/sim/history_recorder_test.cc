// That the history of a simulated run is whole, and that its judge sees what is
// wrong with one.
#include "test/sim/history_recorder.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "test/check/history_checker.h"
#include "test/sim/workload.h"

namespace sluice::sim {
namespace {

using check::Flaw;

class HistoryRecorderTest : public testing::Test {
 protected:
  void SetUp() override {
    plan.topics.push_back({.name = "t", .partitions = 2, .replicas = 3});
    plan.load.weak_producer = true;
    plan.load.list_every_us = 100'000;
    plan.load.identify_every_us = 100'000;
    cluster.BootAll();
    ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
    ASSERT_TRUE(cluster.CreateTopic("t", 2, 3).ok());
    workload = std::make_unique<Workload>(
        &cluster, &plan,
        [this](const std::string& what) { reports.push_back(what); });
    workload->Start();
    cluster.RunFor(3'000);
    workload->Stop();
    cluster.RunFor(3'000);
    ASSERT_TRUE(workload->AllAnswered()) << workload->Unanswered();
    workload->CheckEnd(20'000'000);
    history = workload->history();
  }
  // The last answer to a fetch from partition 0.
  check::Answer LastAnswer() const {
    check::Answer last;
    for (const check::Answer& answer : history.answers()) {
      if (answer.partition == 0) last = answer;
    }
    return last;
  }
  int64_t Count(Flaw flaw) const {
    return check::CheckHistory(history).count(flaw);
  }

  SwarmPlan plan;
  SimCluster cluster{SimOptions(), 7};
  std::vector<std::string> reports;
  std::unique_ptr<Workload> workload;
  check::History history;
};

TEST_F(HistoryRecorderTest, AHealthyRunIsWholeAndWithoutFlaw) {
  EXPECT_EQ(reports, std::vector<std::string>());
  const check::HistoryVerdict verdict = check::CheckHistory(history);
  EXPECT_TRUE(verdict.passed()) << verdict.ToTable();
  EXPECT_EQ(verdict.sent, workload->ledger().sent());
  EXPECT_EQ(verdict.acked, workload->ledger().acked());
  EXPECT_GT(verdict.acked, 100);
  EXPECT_EQ(verdict.acked + verdict.acked_weak, verdict.sent);
  EXPECT_GT(verdict.acked_weak, 100);
  EXPECT_EQ(verdict.records_polled, workload->records_read());
  EXPECT_EQ(verdict.copies, 2);
  EXPECT_EQ(verdict.records_copied, verdict.sent);
  EXPECT_GT(verdict.answers, 10);
  EXPECT_EQ(verdict.answers_without_epoch, 0);
  EXPECT_EQ(verdict.acks_without_epoch, 0);
}

TEST_F(HistoryRecorderTest, WhatIsAnsweredToListOffsetsIsThereAndJudged) {
  check::Answer latest;
  for (const check::Answer& answer : history.answers()) {
    if (answer.kind == check::Answer::Kind::kLatest) latest = answer;
  }
  ASSERT_GT(latest.high_watermark, 0);
  EXPECT_GT(workload->earliest_answers(), 10);
  latest.began_us = latest.ended_us = cluster.world().MonoMicros();
  --latest.high_watermark;
  ASSERT_TRUE(history.AddAnswer(latest).ok());
  EXPECT_EQ(Count(Flaw::kHwBack), 1);
}

TEST_F(HistoryRecorderTest, AnOlderHighWatermarkOfTheSameLeaderIsSeen) {
  check::Answer answer = LastAnswer();
  ASSERT_GT(answer.high_watermark, 0);
  answer.began_us = answer.ended_us = cluster.world().MonoMicros();
  answer.high_watermark = 0;
  ASSERT_TRUE(history.AddAnswer(answer).ok());
  EXPECT_EQ(Count(Flaw::kHwBack), 1);
  EXPECT_EQ(Count(Flaw::kStale), 1);
}

TEST_F(HistoryRecorderTest, ARecordThatIsNotThereInTheEndIsSeen) {
  ASSERT_TRUE(history.AddCopy(0, check::Copy::kFinalRead, 0, 0).ok());
  EXPECT_GT(Count(Flaw::kLostTail), 0);
}

TEST_F(HistoryRecorderTest, WhatNobodySentAndWhatWasChangedIsSeen) {
  const auto session = history.AddSession({9, 0, 0});
  ASSERT_TRUE(session.ok());
  const check::Send* sent = history.Find({0, 0});
  ASSERT_NE(sent, nullptr);
  check::Value torn = sent->value;
  ++torn.hash;
  ASSERT_TRUE(
      history.AddPoll(*session, 0, 2, {{0, 0, {{77, 1}, 1}}, {1, 0, torn}})
          .ok());
  EXPECT_GT(Count(Flaw::kPhantom), 0);
  EXPECT_GT(Count(sent->partition == 0 ? Flaw::kTorn : Flaw::kPhantom), 0);
  EXPECT_GT(Count(Flaw::kDivergent), 0);
}

}  // namespace
}  // namespace sluice::sim
