// The ledger can fail.
#include "test/sim/record_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace sluice::sim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class RecordLedgerTest : public testing::Test {
 protected:
  void Write(int64_t number, int64_t offset,
             LeaderEpoch by = kNoLeaderEpoch) {
    ledger.OnSent(tp, {1, number});
    ledger.OnAcked(tp, {1, number}, Offset(offset), by);
  }
  void Read(int64_t number, int64_t offset) {
    ledger.OnRead(tp, {1, number}, Offset(offset));
  }

  const NamedPartition tp{"t", PartitionIndex(0)};
  std::vector<std::string> found;
  RecordLedger ledger{[this](const std::string& what) { found.push_back(what); }};
};

TEST_F(RecordLedgerTest, WhatFitsIsSilent) {
  for (int i = 0; i < 3; ++i) {
    Write(i, i);
    Read(i, i);
  }
  ledger.CheckEnd(tp, Offset(0), Offset(3));
  EXPECT_THAT(found, IsEmpty());
}

TEST_F(RecordLedgerTest, AMissingRecordIsLost) {
  Write(0, 0);
  Write(1, 1);
  Read(0, 0);
  ledger.CheckEnd(tp, Offset(0), Offset(1));
  EXPECT_THAT(found, ElementsAre(HasSubstr("LOST")));
}

TEST_F(RecordLedgerTest, TwoRecordsAtAnOffsetAreDivergent) {
  Write(0, 0);
  Write(1, 1);
  Read(1, 0);
  EXPECT_THAT(found, ElementsAre(HasSubstr("DIVERGENT")));
}

// What all power took may be gone; what was acknowledged since then not.
TEST_F(RecordLedgerTest, BehindALossWhatIsAcknowledgedAnewIsPromisedAnew) {
  Write(0, 0, LeaderEpoch(3));
  Write(1, 1, LeaderEpoch(3));
  ledger.MayLose(tp, LeaderEpoch(3));
  Write(2, 2, LeaderEpoch(3));  // the answer came late
  Write(3, 1, LeaderEpoch(4));
  Write(4, 2, LeaderEpoch(4));
  EXPECT_EQ(ledger.acked_anew(), 2);
  ledger.IsKept(tp, Offset(1));
  Read(0, 0);
  Read(3, 1);
  ledger.CheckEnd(tp, Offset(0), Offset(2));
  EXPECT_THAT(found, ElementsAre(HasSubstr("LOST: t-0 has nothing at offset 2")));
}

TEST_F(RecordLedgerTest, BehindALossAnOffsetIsNotGivenTwice) {
  ledger.MayLose(tp, LeaderEpoch(3));
  Write(3, 1, LeaderEpoch(4));
  Write(4, 1, LeaderEpoch(5));
  EXPECT_THAT(found, ElementsAre(HasSubstr("DIVERGENT")));
}

TEST_F(RecordLedgerTest, WhatNobodySentIsAPhantom) {
  Read(7, 0);
  EXPECT_THAT(found, ElementsAre(HasSubstr("PHANTOM")));
}

TEST_F(RecordLedgerTest, AcknowledgedRecordsAreInOrder) {
  Write(1, 0);
  Write(0, 1);
  Read(1, 0);
  Read(0, 1);
  ledger.CheckEnd(tp, Offset(0), Offset(2));
  EXPECT_THAT(found, ElementsAre(HasSubstr("REORDER")));
}

TEST_F(RecordLedgerTest, AHoleIsAGap) {
  Write(0, 0);
  Write(1, 2);
  Read(0, 0);
  Read(1, 2);
  ledger.CheckEnd(tp, Offset(0), Offset(3));
  EXPECT_THAT(found, ElementsAre(HasSubstr("GAP")));
}

TEST_F(RecordLedgerTest, WhatWasDeletedMayBeMissingAndMayNotComeBack) {
  for (int i = 0; i < 4; ++i) Write(i, i);
  Read(0, 0);
  ledger.OnTrimming(tp, Offset(2));
  EXPECT_TRUE(ledger.MayBeginAt(tp, Offset(2)));
  EXPECT_FALSE(ledger.MayBeginAt(tp, Offset(3)));
  ledger.OnTrimmed(tp, Offset(2));
  Read(2, 2);
  Read(3, 3);
  ledger.CheckEnd(tp, Offset(2), Offset(4));
  EXPECT_THAT(found, IsEmpty());
  ledger.CheckEnd(tp, Offset(1), Offset(4));
  EXPECT_THAT(found, ElementsAre(HasSubstr("BACK")));
}

TEST_F(RecordLedgerTest, ALogStartThatWasToldDoesNotGoBack) {
  ledger.OnTrimming(tp, Offset(5));
  const auto tell = [&](int32_t epoch, int64_t start, int64_t began_us,
                        int64_t ended_us) {
    ledger.OnEarliest(tp,
                      {LeaderEpoch(epoch), Offset(start), began_us, ended_us});
  };
  tell(2, 3, 10, 20);
  tell(2, 0, 15, 25);  // asked before
  tell(1, 0, 30, 40);  // of a deposed leader
  tell(3, 3, 30, 40);
  EXPECT_THAT(found, IsEmpty());
  tell(3, 2, 50, 60);
  EXPECT_THAT(found, ElementsAre(HasSubstr("BACK")));
}

TEST_F(RecordLedgerTest, ALogDoesNotBeginWhereNobodyAskedItTo) {
  ledger.OnTrimming(tp, Offset(5));
  ledger.OnEarliest(tp, {LeaderEpoch(1), Offset(6), 0, 1});
  EXPECT_THAT(found, ElementsAre(HasSubstr("LOST")));
}

TEST_F(RecordLedgerTest, WhatWasDeletedMayBeStoredOnceMore) {
  ledger.OnIdempotent(1);
  for (int i = 0; i < 2; ++i) {
    Write(i, i);
    Read(i, i);
  }
  Read(0, 2);
  ledger.CheckEnd(tp, Offset(0), Offset(3));
  EXPECT_THAT(found, ElementsAre(HasSubstr("REORDER")));
  found.clear();
  ledger.OnTrimming(tp, Offset(2));
  ledger.CheckEnd(tp, Offset(2), Offset(3));
  EXPECT_THAT(found, IsEmpty());
}

TEST(RecordNameTest, NoTwoRecordsHaveTheSameBytes) {
  std::set<std::string> values;
  for (const int bytes : {1, 8, 100}) {
    values.clear();
    for (int producer = 0; producer < 3; ++producer) {
      for (int64_t number = 0; number < 200; ++number) {
        const std::string value = RecordName{producer, number}.Value(bytes);
        EXPECT_TRUE(values.insert(value).second) << value;
        EXPECT_GE(value.size(), static_cast<size_t>(bytes));
      }
    }
  }
}

TEST_F(RecordLedgerTest, MoreThanWasAskedForIsLost) {
  Write(0, 0);
  ledger.OnTrimming(tp, Offset(1));
  ledger.OnTrimmed(tp, Offset(2));
  EXPECT_THAT(found, ElementsAre(HasSubstr("LOST")));
}

}  // namespace
}  // namespace sluice::sim
