#include "tools/run_verifier.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "common/base/murmur2.h"

namespace sluice::cli {
namespace {

constexpr int kPartitions = 3;
constexpr int kLines = 300;

// A log as a correct cluster leaves it; each test breaks one thing.
class RunVerifierTest : public testing::Test {
 protected:
  struct Record {
    int64_t line;
    std::string key;
    std::string value;
  };

  RunVerifierTest() : logs_(kPartitions), verifier_(kLines, kPartitions) {
    for (int64_t line = 1; line <= kLines; ++line) {
      verifier_.Sent(line, TextOf(line));
      const int p = PartitionOf(line);
      acknowledged_at_[line] = static_cast<int64_t>(logs_[p].size());
      logs_[p].push_back({line, std::to_string(line), TextOf(line)});
    }
  }

  static std::string TextOf(int64_t line) {
    return line % 10 == 0 ? "" : "#include <" + std::to_string(line) + ">";
  }
  static int PartitionOf(int64_t line) {
    return PartitionForKey(std::to_string(line), kPartitions).value();
  }
  void Acknowledge(int64_t line) {
    verifier_.Acknowledged(line, PartitionIndex(PartitionOf(line)),
                           Offset(acknowledged_at_[line]));
  }
  void AcknowledgeAll() {
    for (int64_t line = 1; line <= kLines; ++line) Acknowledge(line);
  }
  // Every log from offset 0.
  RunReport ReadAll() {
    for (int p = 0; p < kPartitions; ++p) {
      int64_t offset = 0;
      for (const Record& record : logs_[p]) {
        verifier_.Read(PartitionIndex(p), Offset(offset++), record.key,
                       record.value);
      }
    }
    return verifier_.Finish();
  }
  // Where a line is in its log.
  size_t IndexOf(int64_t line) const {
    const auto& log = logs_[PartitionOf(line)];
    for (size_t i = 0; i < log.size(); ++i) {
      if (log[i].line == line) return i;
    }
    return log.size();
  }
  std::vector<Record>& LogOf(int64_t line) { return logs_[PartitionOf(line)]; }

  std::vector<std::vector<Record>> logs_;
  std::map<int64_t, int64_t> acknowledged_at_;
  RunVerifier verifier_;
};

TEST_F(RunVerifierTest, APerfectRunPasses) {
  AcknowledgeAll();

  const RunReport report = ReadAll();

  EXPECT_TRUE(report.Passed());
  EXPECT_EQ(report.sent, kLines);
  EXPECT_EQ(report.acknowledged, kLines);
  EXPECT_EQ(report.read, kLines);
  EXPECT_EQ(report.lost + report.duplicated + report.reordered +
                report.phantom,
            0);
  EXPECT_TRUE(report.examples.empty());
}

TEST_F(RunVerifierTest, AnAcknowledgedLineThatIsGoneIsLost) {
  AcknowledgeAll();
  LogOf(kLines).pop_back();  // the end of a log, as after a bad truncation

  const RunReport report = ReadAll();

  EXPECT_FALSE(report.Passed());
  EXPECT_EQ(report.lost, 1);
  EXPECT_EQ(report.read, kLines - 1);
  EXPECT_EQ(report.reordered, 0);
  ASSERT_EQ(report.examples.size(), 1u);
  EXPECT_NE(report.examples[0].find("lost: line 300"), std::string::npos);
}

TEST_F(RunVerifierTest, ALineLostFromTheMiddleShiftsWhatFollowsAndFails) {
  AcknowledgeAll();
  auto& log = LogOf(100);
  const size_t at = IndexOf(100);
  const auto behind = static_cast<int64_t>(log.size() - at - 1);
  log.erase(log.begin() + static_cast<ptrdiff_t>(at));

  const RunReport report = ReadAll();

  EXPECT_FALSE(report.Passed());
  EXPECT_EQ(report.lost, 1 + behind);  // no promised offset is right any more
}

TEST_F(RunVerifierTest, ACopyElsewhereDoesNotSaveAnAcknowledgedPlace) {
  AcknowledgeAll();
  auto& log = LogOf(kLines);
  const size_t at = log.size() - 1;
  // The promised place was overwritten by a copy of the line before; the line
  // itself came again later.
  log.push_back(log[at]);
  log[at] = log[at - 1];

  const RunReport report = ReadAll();

  EXPECT_FALSE(report.Passed());
  EXPECT_EQ(report.lost, 1);
  EXPECT_EQ(report.duplicated, 1);
  EXPECT_EQ(report.reordered, 0);
}

TEST_F(RunVerifierTest, AnUnacknowledgedLineMayBeMissingButDoesNotPass) {
  for (int64_t line = 1; line < kLines; ++line) Acknowledge(line);
  LogOf(kLines).pop_back();

  const RunReport report = ReadAll();

  EXPECT_EQ(report.lost, 0);
  EXPECT_EQ(report.acknowledged, kLines - 1);
  EXPECT_FALSE(report.Passed());
}

// A retry after an unknown outcome stores a run of lines twice.
TEST_F(RunVerifierTest, ARetriedRunIsDuplicatedNotReordered) {
  AcknowledgeAll();
  auto& log = logs_[0];
  const std::vector<Record> retried(log.end() - 4, log.end());
  log.insert(log.end(), retried.begin(), retried.end());

  const RunReport report = ReadAll();

  EXPECT_FALSE(report.Passed());
  EXPECT_EQ(report.duplicated, 4);
  EXPECT_EQ(report.read, kLines + 4);
  EXPECT_EQ(report.reordered, 0);
}

TEST_F(RunVerifierTest, TwoLinesSwappedAreReordered) {
  auto& log = logs_[1];
  std::swap(log[10], log[11]);
  std::swap(acknowledged_at_[log[10].line], acknowledged_at_[log[11].line]);
  AcknowledgeAll();

  const RunReport report = ReadAll();

  EXPECT_FALSE(report.Passed());
  EXPECT_EQ(report.reordered, 1);
  EXPECT_EQ(report.lost, 0);
}

TEST_F(RunVerifierTest, EachFirstCopyBehindAHigherOneCounts) {
  auto& log = logs_[1];
  const Record early = log[20];
  log.erase(log.begin() + 20);
  log.insert(log.begin() + 10, early);  // ten lines now come after it
  for (size_t i = 10; i <= 20; ++i) {
    acknowledged_at_[log[i].line] = static_cast<int64_t>(i);
  }
  AcknowledgeAll();

  const RunReport report = ReadAll();

  EXPECT_EQ(report.reordered, 10);
  EXPECT_EQ(report.lost, 0);
  EXPECT_FALSE(report.Passed());
}

TEST_F(RunVerifierTest, AnOffsetReadTwiceIsReordered) {
  AcknowledgeAll();
  const Record& first = logs_[0].front();
  verifier_.Read(PartitionIndex(0), Offset(0), first.key, first.value);

  const RunReport report = ReadAll();

  EXPECT_EQ(report.duplicated, 1);
  EXPECT_EQ(report.reordered, 1);
  EXPECT_FALSE(report.Passed());
}

TEST_F(RunVerifierTest, WhatWasNeverSentIsPhantom) {
  AcknowledgeAll();
  const std::vector<std::pair<std::optional<std::string_view>,
                              std::optional<std::string_view>>>
      phantoms = {
          {"301", "x"},     // no such line
          {"0", ""},        // lines count from 1
          {"-5", ""},       //
          {"007", "#include <7>"},  // not the key that was sent
          {"7x", "#include <7>"},
          {"", ""},
          {std::nullopt, "#include <7>"},
          {"7", "#include <8>"},  // another line's text
          {"7", std::nullopt},
          {"99999999999999999999", ""},
      };
  for (const auto& [key, value] : phantoms) {
    verifier_.Read(PartitionIndex(PartitionOf(7)), Offset(1000), key, value);
  }
  // The right record in the wrong partition.
  verifier_.Read(PartitionIndex((PartitionOf(7) + 1) % kPartitions),
                 Offset(1000), "7", "#include <7>");
  verifier_.Read(PartitionIndex(kPartitions), Offset(0), "7", "#include <7>");

  const RunReport report = ReadAll();

  EXPECT_EQ(report.phantom, static_cast<int64_t>(phantoms.size()) + 2);
  EXPECT_EQ(report.duplicated, 0);
  EXPECT_EQ(report.lost, 0);
  EXPECT_EQ(report.examples.size(), RunVerifier::kExamplesMax);
  EXPECT_FALSE(report.Passed());
}

TEST_F(RunVerifierTest, NothingReadLosesEverything) {
  AcknowledgeAll();

  const RunReport report = verifier_.Finish();

  EXPECT_EQ(report.lost, kLines);
  EXPECT_EQ(report.read, 0);
  EXPECT_FALSE(report.Passed());
}

}  // namespace
}  // namespace sluice::cli
