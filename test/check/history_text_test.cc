#include "test/check/history_text.h"

#include <gtest/gtest.h>

#include <sstream>

#include "common/base/error.h"
#include "test/check/history_checker.h"

namespace sluice::check {
namespace {

constexpr char kWhole[] =
    "sluice-history 1\n"
    "partition 0 orders-0\n"
    "partition 1 orders-1\n"
    "send 0 1 0 ff -1 5\n"
    "again 1 0 2\n"
    "ok 1 0 10 0 3\n"
    "send 1 1 1 a 1 11\n"
    "again 1 1 *\n"
    "fail 1 1 12\n"
    "send 1 2 0 b 0 13\n"
    "unknown 2 0 14\n"
    "send 1 2 1 c -1 15\n"
    "fetch 0 20 21 3 1\n"
    "latest 1 20 22 -1 0\n"
    "session 0 0 7 0\n"
    "poll 0 0 1 0:3:1:0:ff\n"
    "poll 0 1 1\n"
    "copy 0 2 0 1\n"
    "have 0:3:1:0:ff\n"
    "copy 1 final 0 0\n";

absl::Status Read(const std::string& text, History* history) {
  std::istringstream in(text);
  return ReadHistory(in, "run", history);
}

std::string Written(const History& history) {
  std::ostringstream out;
  EXPECT_TRUE(WriteHistory(history, out).ok());
  return out.str();
}

TEST(HistoryTextTest, WhatWasReadIsWrittenAgain) {
  History history;
  const absl::Status read = Read(kWhole, &history);
  ASSERT_TRUE(read.ok()) << read;
  EXPECT_EQ(Written(history), kWhole);
  EXPECT_EQ(history.sends()[0].attempts, 3);
  EXPECT_EQ(history.sends()[1].attempts, Send::kAnyAttempts);
  EXPECT_EQ(history.sends()[3].outcome, SendOutcome::kOpen);
}

TEST(HistoryTextTest, AnAcknowledgementMaySayWhoGaveIt) {
  const std::string head =
      "sluice-history 1\npartition 0 t-0\nsend 0 1 0 ff -1 5\n";
  History named;
  ASSERT_TRUE(Read(head + "ok 1 0 10 0 7\n", &named).ok());
  EXPECT_EQ(named.sends()[0].acked_epoch, 7);
  History unnamed;
  ASSERT_TRUE(Read(head + "ok 1 0 10 0\n", &unnamed).ok());
  EXPECT_EQ(unnamed.sends()[0].acked_epoch, kEpochUnknown);
}

TEST(HistoryTextTest, FilesAreOneHistoryWhateverTheirNumbers) {
  History history;
  ASSERT_TRUE(Read(kWhole, &history).ok());
  ASSERT_TRUE(Read("sluice-history 1\n# replicas\n\n"
                   "partition 0 orders-1\npartition 1 orders-0\n"
                   "session 0 1 9 0\npoll 0 0 1 0:3:1:0:ff\n"
                   "copy 1 final 0 1\nhave 0:3:1:0:ff\n",
                   &history)
                  .ok());
  ASSERT_EQ(history.partitions().size(), 2u);
  EXPECT_EQ(history.partitions()[history.copies()[2].partition], "orders-0");
  EXPECT_EQ(history.sessions()[history.polls()[2].session].consumer, 9);
  EXPECT_TRUE(CheckHistory(history).passed());
}

TEST(HistoryTextTest, LongCopiesAreWrittenOnSeveralLines) {
  History history;
  const int32_t partition = history.PartitionOf("t-0");
  std::vector<StoredRecord> records;
  for (int64_t i = 0; i < 3 * static_cast<int64_t>(kHistoryLineRecords) + 1;
       ++i) {
    records.push_back({i, 1, {{1, i}, 7}});
  }
  ASSERT_TRUE(history.AddCopy(partition, 1, 0, std::ssize(records)).ok());
  ASSERT_TRUE(history.AddToLastCopy(records).ok());
  History again;
  ASSERT_TRUE(Read(Written(history), &again).ok());
  EXPECT_EQ(Written(again), Written(history));
  EXPECT_EQ(again.copies()[0].records.count, records.size());
}

TEST(HistoryTextTest, WhatIsWrongIsNamedByLine) {
  const std::string head =
      "sluice-history 1\npartition 0 t-0\nsend 0 1 0 ff -1 5\n";
  const char* const kBad[] = {
      "nonsense",           "partition 2 t-2",    "partition 1",
      "send 1 1 1 ff -1 5", "send 0 1 1 ff 2 5",  "send 0 1 1 xy -1 5",
      "send 0 1 0 ff -1 5", "send 0 1 1 ff -1",   "send 0 1 1 ff -1 5 6",
      "again 1 1 1",        "again 1 0 0",        "ok 1 0 10",
      "ok 1 9 10 0",        "ok 1 0 4 0",         "ok 1 0 10 0 x",     "ok 1 0 10 0 3 4",         "fetch 0 5 4 1 1",
      "fetch 3 4 5 1 1",    "session 1 0 1 0",    "poll 0 0 1",
      "have 0:1:1:0:ff",    "copy 0 -3 0 1",      "copy 0 last 0 1",
      "send 0 1 99999999999999999999 ff -1 5",    "partition 1  t-1",
  };
  for (const char* bad : kBad) {
    History history;
    const absl::Status read = Read(head + bad + "\n", &history);
    EXPECT_EQ(CodeOf(read), ErrorCode::kInvalidRequest) << bad;
    EXPECT_EQ(std::string(read.message()).rfind("run:4: ", 0), 0u) << read;
  }
  History history;
  EXPECT_FALSE(Read("", &history).ok());
  EXPECT_FALSE(Read("sluice-history 2\n", &history).ok());
  EXPECT_FALSE(Read(head + "copy 0 1 0 1\nhave 0:1:1:0\n", &history).ok());
  EXPECT_FALSE(
      Read(head + "#" + std::string(kHistoryLineBytesMax, 'x'), &history).ok());
}

}  // namespace
}  // namespace sluice::check
