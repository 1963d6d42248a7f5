#include "tools/seek_plan.h"

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace sluice::cli {
namespace {

NamedPartition Tp(int partition) { return {"t", PartitionIndex(partition)}; }

PartitionFacts Facts(std::optional<Offset> committed) {
  PartitionFacts facts;
  facts.committed = committed;
  facts.earliest = Offset(10);
  facts.latest = Offset(100);
  return facts;
}

SeekRow Planned(SeekTarget target, PartitionFacts facts) {
  const auto rows = PlanSeek(target, {{Tp(0), facts}});
  EXPECT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->size(), 1u);
  return rows->at(0);
}

TEST(SeekPlanTest, TargetsAreWordsOffsetsAndTimes) {
  EXPECT_EQ(SeekTargetOf("earliest", 0)->kind, SeekTarget::Kind::kEarliest);
  EXPECT_EQ(SeekTargetOf("latest", 0)->kind, SeekTarget::Kind::kLatest);
  EXPECT_EQ(SeekTargetOf("42", 0)->number, 42);
  const auto time = SeekTargetOf("@-1s", 5'000);
  EXPECT_EQ(time->kind, SeekTarget::Kind::kTime);
  EXPECT_EQ(time->number, 4'000);
  for (const char* wrong : {"", "-1", "x", "@", "@x", "1.5"}) {
    EXPECT_FALSE(SeekTargetOf(wrong, 0).ok()) << wrong;
  }
}

TEST(SeekPlanTest, EveryWayLandsWithinTheLog) {
  using Kind = SeekTarget::Kind;
  EXPECT_EQ(Planned({Kind::kEarliest, 0, {}}, Facts(Offset(50))).to,
            Offset(10));
  EXPECT_EQ(Planned({Kind::kLatest, 0, {}}, Facts({})).to, Offset(100));
  EXPECT_EQ(Planned({Kind::kOffset, 50, {}}, Facts({})).to, Offset(50));
  const SeekRow low = Planned({Kind::kOffset, 5, {}}, Facts({}));
  EXPECT_EQ(low.to, Offset(10));
  EXPECT_EQ(low.note, "the log begins at 10");
  const SeekRow high = Planned({Kind::kOffset, 101, {}}, Facts({}));
  EXPECT_EQ(high.to, Offset(100));
  EXPECT_EQ(high.note, "the log ends at 100");
  EXPECT_EQ(Planned({Kind::kShift, -20, {}}, Facts(Offset(50))).to,
            Offset(30));
  EXPECT_EQ(Planned({Kind::kShift, -70, {}}, Facts(Offset(50))).to,
            Offset(10));
  EXPECT_EQ(Planned({Kind::kShift, INT64_MAX, {}}, Facts(Offset(50))).to,
            Offset(100));
  EXPECT_EQ(Planned({Kind::kOffsets, 0, {{Tp(0), Offset(77)}}}, Facts({})).to,
            Offset(77));
}

TEST(SeekPlanTest, ATimeWithoutRecordsIsTheEnd) {
  SeekTarget target;
  target.kind = SeekTarget::Kind::kTime;
  PartitionFacts facts = Facts(Offset(20));
  EXPECT_EQ(Planned(target, facts).to, Offset(100));
  EXPECT_NE(Planned(target, facts).note, "");
  facts.at_time = Offset(60);
  const SeekRow row = Planned(target, facts);
  EXPECT_EQ(row.to, Offset(60));
  EXPECT_EQ(row.from, Offset(20));
  EXPECT_EQ(row.note, "");
}

TEST(SeekPlanTest, ADistanceFromNothingIsRefused) {
  SeekTarget target;
  target.kind = SeekTarget::Kind::kShift;
  const auto rows = PlanSeek(target, {{Tp(3), Facts({})}});
  EXPECT_EQ(CodeOf(rows.status()), ErrorCode::kInvalidRequest);
  EXPECT_NE(rows.status().message().find("t-3"), absl::string_view::npos);
}

TEST(SeekPlanTest, WhatIsExportedIsReadBack) {
  const std::map<NamedPartition, Offset> offsets = {
      {Tp(0), Offset(1)}, {Tp(1), Offset(0)}, {{"a.b", PartitionIndex(2)},
                                               Offset(INT64_MAX)}};
  const auto back = OffsetsFromCsv("# saved\n\n" + CsvOf(offsets) + "\r\n");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, offsets);
}

TEST(SeekPlanTest, AFileThatMakesNoSenseNamesItsLine) {
  for (const char* wrong :
       {"t,0", "t,0,1,2", ",0,1", "t,-1,1", "t,0,-1", "t,x,1", "t,0,x",
        "t,99999999999,1", "t,0,99999999999999999999"}) {
    const auto read = OffsetsFromCsv(std::string("t,9,9\n") + wrong);
    ASSERT_FALSE(read.ok()) << wrong;
    EXPECT_NE(read.status().message().find("line 2"), absl::string_view::npos);
  }
  EXPECT_FALSE(OffsetsFromCsv("t,0,1\nt,0,2").ok());
  std::string many;
  for (size_t i = 0; i <= kSeekPartitionsMax; ++i) {
    many += StrCat("t,", i, ",0\n");
  }
  EXPECT_FALSE(OffsetsFromCsv(many).ok());
}

}  // namespace
}  // namespace sluice::cli
