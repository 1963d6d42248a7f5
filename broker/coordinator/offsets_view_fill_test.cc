// A view that is lost, and the checkpoints that are there (GR7, F58).
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "broker/coordinator/offsets_view_testing.h"

namespace sluice::coordinator {
namespace {

class OffsetsViewFillTest : public OffsetsViewTest {
 protected:
  static constexpr int kPartitions = 60;

  OffsetsViewFillTest() {
    env_.checkpoint_bytes = 1 << 10;
    Restart();
  }

  // A batch that takes a checkpoint's worth of log, and its checkpoint.
  void PutMany(int64_t value, int32_t epoch) {
    std::vector<Change> changes;
    for (int p = 0; p < kPartitions; ++p) {
      changes.push_back(Put("a", p, value));
    }
    replica_.Put(changes, epoch);
    replica_.Commit();
    env_.Settle();
  }
  // Three checkpoints at most are left of them.
  void PutRounds(int rounds, int32_t epoch = 1) {
    for (int i = 1; i <= rounds; ++i) PutMany(1000 * i, epoch);
    ASSERT_GE(env_.Checkpoints().size(), 2u);
  }
  Offset MarkOf(uint64_t number) {
    for (const auto& one : *env_.store->checkpoints().Now()) {
      if (one.number != number) continue;
      const auto* mark =
          one.manifest.Find({TopicId(Uuid(9, 9)), PartitionIndex(3)});
      return mark == nullptr ? kNoOffset : mark->next;
    }
    return kNoOffset;
  }
  // The directory is removed while the broker is down.
  void Lose() {
    env_.disk.Wipe();
    replica_.lowest_read = Offset(INT64_MAX);
    Restart();
  }
  void Recover() {
    for (int i = 0; i < 4; ++i) {
      replica_.Progress();
      env_.Settle();
    }
  }
  void FlipAnOffsetIn(uint64_t number) {
    const std::string path = ViewWorld::KeysOf(number);
    const auto keys = env_.fs.Peek(path);
    ASSERT_TRUE(keys.has_value());
    // The last value has neither metadata nor member: 31 bytes, the committed
    // offset in the second to the ninth.
    env_.fs.FlipBit(path, static_cast<int64_t>(keys->size()) - 31 + 8);
  }
  void ExpectWhole() {
    EXPECT_TRUE(view_->usable());
    EXPECT_EQ(view_->applied().next, replica_.leo());
    EXPECT_EQ(Dump(), Replay(replica_.leo()));
  }
};

TEST_F(OffsetsViewFillTest, ALostViewTakesACheckpointAndTheLogBehindIt) {
  PutRounds(5);
  replica_.Put({Put("b", 0, 7)}, 1);
  replica_.Commit();
  const Offset mark = MarkOf(env_.Checkpoints().front());
  EXPECT_EQ(mark, replica_.leo() - 1);
  Lose();
  Recover();
  ExpectWhole();
  EXPECT_EQ(replica_.lowest_read, mark);
  EXPECT_EQ(Find("b", 0), 7);
}

TEST_F(OffsetsViewFillTest, OneThatFailsWhileItRunsDoesTheSame) {
  PutRounds(3);
  replica_.lowest_read = Offset(INT64_MAX);
  env_.disk.SetReadsFail(true);
  EXPECT_FALSE(view_->FindOffset(Key("a", 0)).ok());
  Recover();
  ExpectWhole();
  EXPECT_EQ(env_.set_aside, 1);
  EXPECT_GE(replica_.lowest_read, MarkOf(env_.Checkpoints().front()));
}

TEST_F(OffsetsViewFillTest, AndSoDoesOneWhoseLogIsCutBelowIt) {
  PutRounds(3);
  const auto numbers = env_.Checkpoints();
  const Offset older = MarkOf(numbers[1]);
  replica_.lowest_read = Offset(INT64_MAX);
  replica_.CutTo(older + 1);
  EXPECT_EQ(view_->applied().next, Offset(0));
  Recover();
  ExpectWhole();
  EXPECT_EQ(view_->applied().next, older);
  EXPECT_EQ(Find("a", 0), 2000);
}

TEST_F(OffsetsViewFillTest, AFlippedBitCostsTheCheckpointAndNothingElse) {
  PutRounds(3);
  const auto numbers = env_.Checkpoints();
  const Offset older = MarkOf(numbers[1]);
  FlipAnOffsetIn(numbers[0]);
  Lose();
  Recover();
  ExpectWhole();
  EXPECT_EQ(replica_.lowest_read, older);
  // What is replayed makes checkpoints again: of another number.
  const auto left = env_.Checkpoints();
  EXPECT_EQ(std::count(left.begin(), left.end(), numbers[0]), 0);
  EXPECT_TRUE(*env_.fs.Exists("/data/offsets-view.checkpoints/damaged"));
}

TEST_F(OffsetsViewFillTest, WithoutAGoodCheckpointAllOfTheLogIsReplayed) {
  PutRounds(3);
  for (const uint64_t number : env_.Checkpoints()) FlipAnOffsetIn(number);
  Lose();
  Recover();
  ExpectWhole();
  EXPECT_EQ(replica_.lowest_read, Offset(0));
}

TEST_F(OffsetsViewFillTest, AFileThatIsMissingOrShortIsFoundAsWell) {
  PutRounds(3);
  const auto numbers = env_.Checkpoints();
  ASSERT_TRUE(env_.fs.RemoveFile(ViewWorld::KeysOf(numbers[0])).ok());
  {
    auto file = env_.fs.Open(ViewWorld::KeysOf(numbers[1]),
                             OpenMode::kReadWrite);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->Truncate(*(*file)->Size() - 1).ok());
  }
  Lose();
  Recover();
  ExpectWhole();
  EXPECT_LT(replica_.lowest_read, MarkOf(numbers[1]) == kNoOffset
                                      ? replica_.leo()
                                      : MarkOf(numbers[1]));
}

// F58: the log lost what the checkpoint was made of.
TEST_F(OffsetsViewFillTest, ACheckpointPastTheLogsEndIsNotTaken) {
  PutRounds(3);
  replica_.observer = nullptr;
  replica_.CutTo(Offset(1));
  Lose();
  replica_.Commit();
  Recover();
  EXPECT_EQ(view_->applied().next, replica_.leo());
  EXPECT_EQ(Dump(), Replay(replica_.leo()));
}

// As long as it was, and another history.
TEST_F(OffsetsViewFillTest, ACheckpointOfAnotherHistoryIsNotTaken) {
  PutRounds(3);
  const Offset end = replica_.leo();
  replica_.observer = nullptr;
  replica_.CutTo(Offset(1));
  while (replica_.leo() < end + 10) replica_.Put({Put("b", 0, 7)}, 2);
  Lose();
  replica_.Commit();
  Recover();
  ExpectWhole();
  EXPECT_EQ(replica_.lowest_read, Offset(0));
  EXPECT_EQ(Find("a", 1), std::nullopt);
}

TEST_F(OffsetsViewFillTest, ACheckpointBelowTheLogsStartIsNotTaken) {
  PutRounds(3);
  const Offset mark = MarkOf(env_.Checkpoints().front());
  replica_.Put({Put("b", 0, 7)}, 1);
  replica_.Put({Put("b", 1, 8)}, 1);
  replica_.Commit();
  replica_.start = mark + 1;
  Lose();
  Recover();
  EXPECT_EQ(view_->applied().next, replica_.leo());
  EXPECT_EQ(Find("a", 0), std::nullopt);  // as a replay has it
  EXPECT_EQ(Find("b", 1), 8);
}

// GR7: never ahead of min(high watermark, durable end).
TEST_F(OffsetsViewFillTest, WaitsUntilWhatItHasIsCommittedAndDurable) {
  PutRounds(3);
  const Offset newest = MarkOf(env_.Checkpoints().front());
  Lose();
  replica_.hw = newest - 1;
  Recover();
  EXPECT_EQ(view_->applied().next, Offset(0));
  EXPECT_FALSE(view_->usable());
  replica_.hw = newest;
  replica_.durable = newest - 1;
  Recover();
  EXPECT_EQ(view_->applied().next, Offset(0));
  replica_.durable = newest;
  Recover();
  EXPECT_EQ(view_->applied().next, newest);
  ExpectWhole();
}

TEST_F(OffsetsViewFillTest, ACutWhileItIsFilledEndsThat) {
  PutRounds(3);
  const Offset older = MarkOf(env_.Checkpoints()[1]);
  Lose();
  replica_.Progress();  // the first piece is asked for
  EXPECT_FALSE(view_->usable());
  replica_.CutTo(older);
  Recover();
  ExpectWhole();
  EXPECT_EQ(view_->applied().next, older);
  EXPECT_EQ(Find("a", 0), 2000);
}

// By half in the store, and the process dies: there is no mark, so it is empty.
TEST_F(OffsetsViewFillTest, ADeathWhileItIsFilledLeavesNothingToBeRead) {
  for (int i = 0; i < 3; ++i) {
    for (int group = 0; group < 80; ++group) {
      std::vector<Change> changes;
      for (int p = 0; p < kPartitions; ++p) {
        changes.push_back(Put("a" + std::to_string(group), p, 1000 + i));
      }
      replica_.Put(changes, 1);
    }
    PutMany(1000 + i, 1);
  }
  Lose();
  const size_t before = env_.disk.unsynced_batches();
  replica_.Progress();
  while (env_.disk.unsynced_batches() == before) {
    ASSERT_TRUE(env_.world.Step());
  }
  ASSERT_FALSE(view_->usable()) << "filled at once: no death in between";
  KvBatch nothing;
  nothing.Put("x", "");
  ASSERT_TRUE(env_.disk.Write(nothing, KvStore::Sync::kYes).ok());
  Restart();
  EXPECT_EQ(view_->applied().next, Offset(0));
  Recover();
  EXPECT_EQ(view_->applied().next, replica_.leo());
  for (int group = 0; group < 80; ++group) {
    EXPECT_EQ(Find("a" + std::to_string(group), 59), 1002);
  }
}

// Before there was one, or after the directory of checkpoints is removed.
TEST_F(OffsetsViewFillTest, NoCheckpointIsNoFault) {
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Commit();
  env_.Settle();
  EXPECT_TRUE(env_.Checkpoints().empty());
  Lose();
  Recover();
  ExpectWhole();
  EXPECT_EQ(Find("a", 0), 5);
}

}  // namespace
}  // namespace sluice::coordinator
