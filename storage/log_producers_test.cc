// The producers of a log through appends, starts and cuts (IP2, IP4). Random
// lives are in log_property_test.
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "storage/log_testing.h"
#include "storage/producer_snapshot.h"

namespace sluice {
namespace {

class LogProducersTest : public LogTestBase {
 protected:
  static constexpr int64_t kId = 77;

  void SetUp() override { ASSERT_TRUE(Open().ok()); }

  TestBatch Next(int64_t id = kId, int records = 2) {
    int32_t& sequence = sequences_[id];
    const int32_t base = std::exchange(sequence, sequence + records);
    return {.records = records, .value = NextValue(40), .producer_id = id,
            .producer_epoch = 0, .base_sequence = base};
  }
  void Produce(int count = 1, int64_t id = kId, int32_t epoch = 1) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(
          log_->AppendAsLeader(MakeBatch(Next(id)), LeaderEpoch(epoch)).ok());
    }
  }
  // A retry of the batch that began with `sequence`: where it is stored.
  int64_t StoredAt(int32_t sequence, int64_t id = kId) {
    const MutableBuffer bytes =
        MakeBatch({.records = 2, .producer_id = id, .producer_epoch = 0,
                   .base_sequence = sequence});
    const auto judged =
        log_->producers().Judge({bytes.data(), bytes.size()}, Offset(0));
    return judged.ok() && judged->has_value() ? (**judged).base.value() : -1;
  }
  void ExpectAsReplayed() {
    ExpectProducersOf(log_->producers(), ReadAll(), log_->leo());
  }
  bool HasSnapshot(int64_t offset) {
    return fs_.Exists(ProducersFile(offset)).value_or(false);
  }
  int64_t scanned() const {
    return log_->recovery_report().producer_bytes_scanned;
  }

  std::map<int64_t, int32_t> sequences_;
};

TEST_F(LogProducersTest, AFollowerKnowsWhatItsLeaderKnows) {
  Produce(7);
  const Buffer all = Buffer::CopyOf(ReadAll());
  const ProducerTable leaders = log_->producers();
  log_.reset();
  ASSERT_TRUE(RemoveTree(fs_, kPath).ok());
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(log_->AppendAsFollower(all).ok());
  EXPECT_EQ(log_->producers(), leaders);
  EXPECT_EQ(StoredAt(12), 12);
}

TEST_F(LogProducersTest, AStartAfterACrashReadsThemAgain) {
  Produce(9);
  Produce(3, 78);
  SyncAndMark();
  const ProducerTable before = log_->producers();
  log_.reset();
  fs_.CrashLosingAll();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->producers(), before);
  EXPECT_EQ(StoredAt(16), 16);
}

TEST_F(LogProducersTest, AStartAfterACleanStopReadsOnlyTheSnapshot) {
  Produce(9);
  SyncAndMark();
  const ProducerTable before = log_->producers();
  ASSERT_TRUE(log_->SaveCaches().ok());
  ASSERT_TRUE(HasSnapshot(18));
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->producers(), before);
  EXPECT_EQ(scanned(), 0);
}

TEST_F(LogProducersTest, ASegmentBeginsWithASnapshotThatGoesWithIt) {
  config_.segment_bytes = 500;
  ASSERT_TRUE(Open().ok());
  Produce(20);
  const auto bases = log_->segment_bases();
  ASSERT_GT(bases.size(), 4u);
  for (size_t i = 1; i < bases.size(); ++i) {
    EXPECT_TRUE(HasSnapshot(bases[i].value()));
  }
  ASSERT_TRUE(log_->SetLogStart(bases[3]).ok());
  ASSERT_TRUE(log_->DropBelowLogStart().ok());
  EXPECT_FALSE(HasSnapshot(bases[1].value()));
  EXPECT_FALSE(HasSnapshot(bases[2].value()));
  EXPECT_TRUE(HasSnapshot(bases[3].value()));
  SyncAndMark();
  ASSERT_TRUE(Open().ok());
  EXPECT_LT(scanned(), 600);
  ExpectAsReplayed();
}

// Who wrote to what retention took away is known still.
TEST_F(LogProducersTest, ALogStartThatMovesForgetsNobody) {
  config_.segment_bytes = 500;
  ASSERT_TRUE(Open().ok());
  Produce(1, 5);
  Produce(20);
  ASSERT_TRUE(log_->SetLogStart(log_->segment_bases()[3]).ok());
  ASSERT_TRUE(log_->DropBelowLogStart().ok());
  EXPECT_EQ(StoredAt(0, 5), 0);
  SyncAndMark();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(StoredAt(0, 5), 0);
}

TEST_F(LogProducersTest, SnapshotsComeOftenAndOldOnesGo) {
  config_.producer_snapshot_bytes = 1000;
  ASSERT_TRUE(Open().ok());
  Produce(100);
  int snapshots = 0;
  const auto entries = fs_.List(kPath);
  for (const DirectoryEntry& entry : *entries) {
    snapshots += entry.name.ends_with(".snapshot");
  }
  EXPECT_EQ(snapshots, 2);
  SyncAndMark();
  ASSERT_TRUE(Open().ok());
  EXPECT_LT(scanned(), 1200);
  ExpectAsReplayed();
}

TEST_F(LogProducersTest, ACutTakesBackWhatItTook) {
  Produce(9);
  ASSERT_TRUE(log_->TruncateTo(Offset(13)).ok());
  ASSERT_EQ(log_->leo(), Offset(12));
  ExpectAsReplayed();
  EXPECT_EQ(StoredAt(14), -1);
  // Batches that newer ones had pushed out of the five are known again.
  EXPECT_EQ(StoredAt(2), 2);
  EXPECT_EQ(log_->producers().Find(ProducerId(kId))->size(), 5u);
}

TEST_F(LogProducersTest, ACutToBeforeAProducerForgetsIt) {
  Produce(2, 5);
  Produce(2);
  ASSERT_TRUE(log_->TruncateTo(Offset(4)).ok());
  EXPECT_EQ(log_->producers().Find(ProducerId(kId)), nullptr);
  EXPECT_EQ(StoredAt(2, 5), 2);
}

TEST_F(LogProducersTest, NoSnapshotOutlivesTheRecordsItIsOf) {
  Produce(9);
  ASSERT_TRUE(log_->SaveCaches().ok());
  ASSERT_TRUE(HasSnapshot(18));
  ASSERT_TRUE(log_->TruncateTo(Offset(10)).ok());
  EXPECT_FALSE(HasSnapshot(18));
  // Others take the same offsets.
  Produce(4, 78, /*epoch=*/2);
  ASSERT_EQ(log_->leo(), Offset(18));
  SyncAndMark();
  log_.reset();
  fs_.CrashLosingAll();
  ASSERT_TRUE(Open().ok());
  ExpectAsReplayed();
  EXPECT_EQ(StoredAt(0, 78), 10);
}

TEST_F(LogProducersTest, AResetForgetsAll) {
  Produce(9);
  ASSERT_TRUE(log_->SaveCaches().ok());
  ASSERT_TRUE(log_->ResetTo(Offset(50)).ok());
  EXPECT_TRUE(log_->producers().empty());
  EXPECT_FALSE(HasSnapshot(18));
}

// F50: one flipped bit, wherever it is.
TEST_F(LogProducersTest, ADamagedSnapshotIsNotBelieved) {
  Produce(9);
  SyncAndMark();
  ASSERT_TRUE(log_->SaveCaches().ok());
  const ProducerTable before = log_->producers();
  const std::string good = Content(ProducersFile(18));
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    SetContent(ProducersFile(18), bad);
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(log_->producers(), before) << "byte " << i;
    EXPECT_EQ(log_->recovery_report().producer_snapshots_ignored, 1);
  }
}

TEST_F(LogProducersTest, SnapshotsOfAnotherLogAreNotBelieved) {
  Produce(4, 5);
  SyncAndMark();
  ASSERT_TRUE(log_->SaveCaches().ok());
  const ProducerTable before = log_->producers();
  ProducerTable foreign;
  for (const auto& [offset, epoch, name] :
       {std::tuple{8, 2, 8}, {8, 1, 6}, {20, 1, 20}}) {
    SetContent(ProducersFile(name),
               EncodeProducerSnapshot(foreign, Offset(offset),
                                      LeaderEpoch(epoch)));
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(log_->producers(), before) << name;
    EXPECT_FALSE(HasSnapshot(20));
  }
}

TEST_F(LogProducersTest, AnUnreadableSnapshotIsMadeUpFor) {
  Produce(4);
  SyncAndMark();
  for (const std::string& content : {std::string(), std::string("junk")}) {
    SetContent(ProducersFile(8), content);
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(StoredAt(6), 6);
  }
}

TEST_F(LogProducersTest, AFullDiskCostsASnapshotNotAnAppend) {
  config_.producer_snapshot_bytes = 1;
  ASSERT_TRUE(Open().ok());
  Produce(2);
  fs_.FailNextOn(".snapshot", MemFileSystem::Operation::kWrite, 1, false);
  Produce(1);
  EXPECT_EQ(log_->leo(), Offset(6));
  SyncAndMark();
  ASSERT_TRUE(Open().ok());
  ExpectAsReplayed();
}

// Damage that the scan for producers meets below the recovery point is damage
// (ST2): what lies there cannot be known.
TEST_F(LogProducersTest, DamageBelowTheRecoveryPointIsFound) {
  Produce(6);
  SyncAndMark();
  std::string bytes = Content(LogFile(0));
  bytes[70] = static_cast<char>(bytes[70] ^ 1);
  SetContent(LogFile(0), bytes);
  EXPECT_EQ(CodeOf(Open()), ErrorCode::kCorruptMessage);
}

TEST_F(LogProducersTest, TheOldestOfTooManyGo) {
  config_.producers_max = 3;
  ASSERT_TRUE(Open().ok());
  for (int64_t id = 1; id <= 5; ++id) Produce(1, id);
  EXPECT_EQ(log_->producers().size(), 3u);
  EXPECT_EQ(log_->producers().Find(ProducerId(2)), nullptr);
  SyncAndMark();
  const ProducerTable before = log_->producers();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->producers(), before);
}

}  // namespace
}  // namespace sluice
