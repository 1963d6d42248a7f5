#include "broker/consume/ack_ledger.h"

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace sluice::consume {
namespace {

using Mode = AckLedger::Mode;
const NamedPartition kA{"t", PartitionIndex(0)};
const NamedPartition kB{"t", PartitionIndex(1)};
constexpr LeaderEpoch kEpoch{3};

ErrorCode Ack(AckLedger& ledger, const NamedPartition& tp, int64_t offset) {
  return CodeOf(ledger.Acknowledge(tp, {Offset(offset)}));
}

// What would be committed now, as "a=5 b=2".
std::map<NamedPartition, int64_t> Due(AckLedger& ledger, size_t most = 100) {
  std::map<NamedPartition, int64_t> due;
  for (const auto& [tp, position] : ledger.TakeDue(most)) {
    due[tp] = position.offset.value();
  }
  return due;
}
using Offsets = std::map<NamedPartition, int64_t>;

TEST(AckLedgerTest, WhatIsAcknowledgedIsDueOnce) {
  AckLedger ledger(Mode::kExplicit);
  ledger.Begin(kA);
  EXPECT_FALSE(ledger.HasUnacknowledged());
  ledger.Pushed(kA, Offset(10), kEpoch, 100);
  EXPECT_TRUE(ledger.HasUnacknowledged());
  EXPECT_EQ(Ack(ledger, kA, 4), ErrorCode::kNone);
  EXPECT_TRUE(ledger.HasUnacknowledged());
  EXPECT_EQ(Due(ledger), (Offsets{{kA, 4}}));
  EXPECT_FALSE(ledger.HasDue());
  EXPECT_TRUE(ledger.IsUnsettled({kA}));
  EXPECT_FALSE(ledger.IsUnsettled({kB}));
  // Acknowledged meanwhile: due when the other has ended.
  EXPECT_EQ(Ack(ledger, kA, 10), ErrorCode::kNone);
  EXPECT_FALSE(ledger.HasDue());
  ledger.OnCommitted(kA, Offset(4));
  EXPECT_EQ(Due(ledger), (Offsets{{kA, 10}}));
  ledger.OnCommitted(kA, Offset(10));
  EXPECT_FALSE(ledger.IsUnsettled());
  EXPECT_FALSE(ledger.HasUnacknowledged());
}

// Row 6 of docs/consume.md.
TEST(AckLedgerTest, OnlyForwardAndOnlyWhatWasPushedOfWhatIsAssigned) {
  AckLedger ledger(Mode::kExplicit);
  ledger.Begin(kA);
  EXPECT_EQ(Ack(ledger, kA, 0), ErrorCode::kInvalidCommitOffset);
  ledger.Pushed(kA, Offset(10), kEpoch, 100);
  EXPECT_EQ(Ack(ledger, kA, 11), ErrorCode::kInvalidCommitOffset);
  EXPECT_EQ(Ack(ledger, kA, 7), ErrorCode::kNone);
  EXPECT_EQ(Ack(ledger, kA, 7), ErrorCode::kInvalidCommitOffset);
  EXPECT_EQ(Ack(ledger, kA, 3), ErrorCode::kInvalidCommitOffset);
  EXPECT_EQ(Ack(ledger, kA, -1), ErrorCode::kInvalidCommitOffset);
  EXPECT_EQ(Ack(ledger, kB, 1), ErrorCode::kInvalidRequest);
  AckLedger::Position wordy{Offset(8)};
  wordy.metadata = std::string(4'097, 'm');
  EXPECT_EQ(CodeOf(ledger.Acknowledge(kA, wordy)),
            ErrorCode::kOffsetMetadataTooLarge);
  EXPECT_EQ(Due(ledger), (Offsets{{kA, 7}}));
}

TEST(AckLedgerTest, WhereTheClientBeginsMayBeAcknowledged) {
  AckLedger ledger(Mode::kExplicit);
  ledger.Begin(kA);
  ledger.Sought(kA, Offset(42));
  EXPECT_FALSE(ledger.HasUnacknowledged());
  EXPECT_EQ(Ack(ledger, kA, 43), ErrorCode::kInvalidCommitOffset);
  EXPECT_EQ(Ack(ledger, kA, 42), ErrorCode::kNone);
  EXPECT_EQ(Due(ledger), (Offsets{{kA, 42}}));
  ledger.Pushed(kA, Offset(50), kEpoch, 100);
  EXPECT_TRUE(ledger.HasUnacknowledged());
  // Assigned anew it was not sought.
  ledger.Begin(kA);
  EXPECT_EQ(Ack(ledger, kA, 42), ErrorCode::kInvalidCommitOffset);
}

TEST(AckLedgerTest, TheEpochIsThatOfTheLastRecord) {
  AckLedger ledger(Mode::kExplicit);
  ledger.Begin(kA);
  ledger.Pushed(kA, Offset(10), kEpoch, 100);
  ASSERT_EQ(Ack(ledger, kA, 9), ErrorCode::kNone);
  // In the middle: which epoch it has is not known here.
  EXPECT_EQ(ledger.TakeDue(1).at(kA).leader_epoch, kNoLeaderEpoch);
  ledger.OnCommitted(kA, Offset(9));
  ASSERT_EQ(Ack(ledger, kA, 10), ErrorCode::kNone);
  EXPECT_EQ(ledger.TakeDue(1).at(kA).leader_epoch, kEpoch);
}

TEST(AckLedgerTest, WhatIsPushedWeighsUntilItIsAcknowledged) {
  AckLedger ledger(Mode::kExplicit);
  ledger.Begin(kA);
  ledger.Begin(kB);
  ledger.Pushed(kA, Offset(10), kEpoch, 100);
  ledger.Pushed(kA, Offset(20), kEpoch, 200);
  ledger.Pushed(kB, Offset(5), kEpoch, 7);
  EXPECT_EQ(ledger.unacknowledged_bytes(), 307);
  ASSERT_EQ(Ack(ledger, kA, 19), ErrorCode::kNone);  // whole pushes count
  EXPECT_EQ(ledger.unacknowledged_bytes(), 207);
  ASSERT_EQ(Ack(ledger, kA, 20), ErrorCode::kNone);
  EXPECT_EQ(ledger.unacknowledged_bytes(), 7);
  ledger.End({kA, kB});
  EXPECT_EQ(ledger.unacknowledged_bytes(), 0);
  AckLedger automatic(Mode::kAuto);
  automatic.Begin(kA);
  automatic.Pushed(kA, Offset(10), kEpoch, 100);
  automatic.Pushed(kA, Offset(20), kEpoch, 200);
  automatic.Release(299);
  EXPECT_EQ(automatic.unacknowledged_bytes(), 200);
  automatic.Release(1);
  EXPECT_EQ(automatic.unacknowledged_bytes(), 0);
}

// A client that grants and never acknowledges takes no more memory than that.
TEST(AckLedgerTest, BeyondItsLimitPushesWeighTogether) {
  AckLedger ledger(Mode::kExplicit);
  ledger.Begin(kA);
  const auto most = static_cast<int64_t>(AckLedger::kUnreleasedMax);
  for (int64_t n = 1; n <= most + 5; ++n) {
    ledger.Pushed(kA, Offset(n), kEpoch, 1);
  }
  // One of another partition is remembered all the same.
  ledger.Begin(kB);
  ledger.Pushed(kB, Offset(1), kEpoch, 3);
  EXPECT_EQ(ledger.unacknowledged_bytes(), most + 5 + 3);
  ASSERT_EQ(Ack(ledger, kA, most + 4), ErrorCode::kNone);
  EXPECT_EQ(ledger.unacknowledged_bytes(), 6 + 3);
  ASSERT_EQ(Ack(ledger, kA, most + 5), ErrorCode::kNone);
  EXPECT_EQ(ledger.unacknowledged_bytes(), 3);
}

TEST(AckLedgerTest, WhatIsRefusedMayBeAcknowledgedAgain) {
  AckLedger ledger(Mode::kExplicit);
  ledger.Begin(kA);
  ledger.Pushed(kA, Offset(10), kEpoch, 100);
  ASSERT_EQ(Ack(ledger, kA, 5), ErrorCode::kNone);
  ASSERT_EQ(Due(ledger), (Offsets{{kA, 5}}));
  ledger.OnRefused(kA);
  EXPECT_FALSE(ledger.IsUnsettled());
  EXPECT_EQ(Ack(ledger, kA, 5), ErrorCode::kNone);
  ASSERT_EQ(Due(ledger), (Offsets{{kA, 5}}));
  // Nobody answered: it is due again, with what came since.
  ASSERT_EQ(Ack(ledger, kA, 6), ErrorCode::kNone);
  ledger.OnUnanswered(kA);
  EXPECT_EQ(Due(ledger), (Offsets{{kA, 6}}));
}

TEST(AckLedgerTest, AGrantReleasesAsManyBytesOfTheOldest) {
  AckLedger ledger(Mode::kAuto);
  ledger.Begin(kA);
  ledger.Begin(kB);
  // Credit from before anything was pushed is no word about it.
  EXPECT_FALSE(ledger.Release(1'000));
  ledger.Pushed(kA, Offset(10), kEpoch, 100);
  ledger.Pushed(kB, Offset(5), kEpoch, 50);
  ledger.Pushed(kA, Offset(20), kEpoch, 100);
  EXPECT_FALSE(ledger.HasDue());
  EXPECT_TRUE(ledger.Release(99));
  EXPECT_FALSE(ledger.HasDue());
  EXPECT_TRUE(ledger.Release(1));
  EXPECT_EQ(Due(ledger), (Offsets{{kA, 10}}));
  ledger.OnCommitted(kA, Offset(10));
  EXPECT_TRUE(ledger.Release(149));
  EXPECT_EQ(Due(ledger), (Offsets{{kB, 5}}));
  EXPECT_TRUE(ledger.HasUnacknowledged());
  EXPECT_TRUE(ledger.Release(500));
  EXPECT_EQ(Due(ledger), (Offsets{{kA, 20}}));
  EXPECT_FALSE(ledger.HasUnacknowledged());
  // The rest of the 500 is gone: it was of nothing.
  ledger.Pushed(kB, Offset(6), kEpoch, 10);
  EXPECT_TRUE(ledger.HasUnacknowledged());
}

TEST(AckLedgerTest, WhatWasRevokedIsNotReleasedForItsNextTime) {
  AckLedger ledger(Mode::kAuto);
  ledger.Begin(kA);
  ledger.Pushed(kA, Offset(10), kEpoch, 100);
  ledger.End({kA});
  ledger.Begin(kA);
  ledger.Pushed(kA, Offset(5), kEpoch, 100);
  EXPECT_TRUE(ledger.Release(100));
  EXPECT_FALSE(ledger.HasDue());
  EXPECT_TRUE(ledger.Release(100));
  EXPECT_EQ(Due(ledger), (Offsets{{kA, 5}}));
}

TEST(AckLedgerTest, WhatWasGivenUpIsNotReleased) {
  AckLedger ledger(Mode::kAuto);
  ledger.Begin(kA);
  ledger.Begin(kB);
  ledger.Pushed(kA, Offset(10), kEpoch, 100);
  ledger.Pushed(kA, Offset(20), kEpoch, 100);
  ledger.Pushed(kB, Offset(5), kEpoch, 50);
  EXPECT_TRUE(ledger.Release(100));
  EXPECT_EQ(Due(ledger), (Offsets{{kA, 10}}));
  ledger.Seal({kA});
  ledger.OnCommitted(kA, Offset(10));
  EXPECT_TRUE(ledger.Release(100));
  EXPECT_FALSE(ledger.HasDue());
  // Its bytes were released in their turn.
  EXPECT_TRUE(ledger.Release(50));
  EXPECT_EQ(Due(ledger), (Offsets{{kB, 5}}));
}

TEST(AckLedgerTest, ManyPushesAreReleasedTogether) {
  AckLedger ledger(Mode::kAuto);
  ledger.Begin(kA);
  const auto most = static_cast<int64_t>(AckLedger::kUnreleasedMax);
  for (int64_t i = 1; i <= most + 10; ++i) {
    ledger.Pushed(kA, Offset(i), kEpoch, 1);
  }
  ledger.Release(most + 9);
  EXPECT_EQ(Due(ledger), (Offsets{{kA, most - 1}}));
  ledger.OnCommitted(kA, Offset(most - 1));
  ledger.Release(1);
  EXPECT_EQ(Due(ledger), (Offsets{{kA, most + 10}}));
}

TEST(AckLedgerTest, OneCommitTakesItsMost) {
  AckLedger ledger(Mode::kExplicit);
  for (const auto& tp : {kA, kB}) {
    ledger.Begin(tp);
    ledger.Pushed(tp, Offset(1), kEpoch, 1);
    ASSERT_EQ(Ack(ledger, tp, 1), ErrorCode::kNone);
  }
  EXPECT_EQ(Due(ledger, 1), (Offsets{{kA, 1}}));
  EXPECT_EQ(Due(ledger, 1), (Offsets{{kB, 1}}));
  // A late answer for a partition that was assigned anew since.
  ledger.Begin(kA);
  ledger.OnCommitted(kA, Offset(1));
  ledger.Pushed(kA, Offset(1), kEpoch, 1);
  EXPECT_EQ(Ack(ledger, kA, 1), ErrorCode::kNone);
  EXPECT_TRUE(ledger.HasDue());
  EXPECT_EQ(ledger.DropDue().size(), 1u);
  EXPECT_FALSE(ledger.HasDue());
}

}  // namespace
}  // namespace sluice::consume
