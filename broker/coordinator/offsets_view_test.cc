#include "broker/coordinator/offsets_view.h"

#include <string>
#include <vector>

#include "broker/coordinator/offsets_view_testing.h"
#include "storage/batch_builder.h"

namespace sluice::coordinator {
namespace {

TEST_F(OffsetsViewTest, FollowsWhatIsCommittedAndDurable) {
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Put({Put("a", 1, 6), Put("a", 0, 7)}, 1);
  replica_.Progress();
  EXPECT_EQ(view_->applied().next, Offset(0));
  replica_.hw = Offset(3);
  replica_.durable = Offset(1);
  replica_.Progress();
  EXPECT_EQ(view_->applied().next, Offset(1));
  EXPECT_EQ(Find("a", 0), 5);
  EXPECT_EQ(Find("a", 1), std::nullopt);
  replica_.durable = Offset(3);
  replica_.Progress();
  EXPECT_EQ(view_->applied(), (offsets::Applied{Offset(3), LeaderEpoch(1)}));
  EXPECT_EQ(Find("a", 0), 7);
  EXPECT_EQ(moved_, 2);
}

TEST_F(OffsetsViewTest, ARestartGoesOnWhereItWas) {
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Commit();
  KvBatch nothing;
  nothing.Put("x", "");
  ASSERT_TRUE(env_.disk.Write(nothing, KvStore::Sync::kYes).ok());  // flushed
  replica_.Put({Put("a", 0, 6)}, 1);
  replica_.Commit();
  Restart();
  EXPECT_EQ(view_->applied().next, Offset(1));
  EXPECT_EQ(observer_->RestartHighWatermark(Offset(0)), Offset(1));
  replica_.Progress();
  EXPECT_EQ(Find("a", 0), 6);
}

// F58: the log lost its end, and another took its place.
TEST_F(OffsetsViewTest, AViewOfAnotherHistoryIsDropped) {
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Put({Put("a", 0, 6)}, 1);
  replica_.Commit();
  KvBatch nothing;
  nothing.Put("x", "");
  ASSERT_TRUE(env_.disk.Write(nothing, KvStore::Sync::kYes).ok());
  replica_.observer = nullptr;  // the process is gone
  replica_.CutTo(Offset(1));
  replica_.Put({Put("b", 0, 9)}, 2);
  replica_.Put({Put("b", 0, 10)}, 2);
  Restart();
  EXPECT_EQ(view_->applied().next, Offset(0));
  replica_.Commit();
  EXPECT_EQ(Find("a", 0), 5);
  EXPECT_EQ(Find("b", 0), 10);
  EXPECT_EQ(view_->applied().epoch, LeaderEpoch(2));
}

TEST_F(OffsetsViewTest, ACutBelowWhatIsAppliedEmptiesIt) {
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Put({Put("a", 0, 6)}, 1);
  replica_.Commit();
  replica_.CutTo(Offset(1));
  EXPECT_EQ(view_->applied().next, Offset(0));
  EXPECT_EQ(Find("a", 0), std::nullopt);
  replica_.Progress();
  EXPECT_EQ(Find("a", 0), 5);
}

TEST_F(OffsetsViewTest, ACutAboveIsNothing) {
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Commit();
  replica_.Put({Put("a", 0, 6)}, 1);
  replica_.CutTo(Offset(1));
  EXPECT_EQ(Find("a", 0), 5);
}

// What was being read is of the old log.
TEST_F(OffsetsViewTest, AReadThatACutOvertakesIsForgotten) {
  replica_.executor = env_.shard();
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Put({Put("a", 0, 6)}, 1);
  replica_.Commit();  // the read is under way
  replica_.CutTo(Offset(1));
  env_.Settle();
  replica_.Progress();
  env_.Settle();
  EXPECT_EQ(view_->applied().next, Offset(1));
  EXPECT_EQ(Find("a", 0), 5);
}

TEST_F(OffsetsViewTest, ALongLogIsTakenInPieces) {
  for (int i = 0; i < 200; ++i) {
    std::vector<Change> changes;
    for (int p = 0; p < 200; ++p) changes.push_back(Put("a", p, i));
    replica_.Put(changes, 1);
  }
  replica_.Commit();
  EXPECT_LT(view_->applied().next, replica_.leo());  // the shard's turn ends
  EXPECT_GT(view_->applied().next, Offset(0));
  env_.Settle();
  EXPECT_EQ(view_->applied().next, replica_.leo());
  EXPECT_EQ(Find("a", 199), 199);
}

TEST_F(OffsetsViewTest, GroupsAreInOrder) {
  replica_.Put({EmptyGroup("b"), EmptyGroup("a"), EmptyGroup("bb")}, 1);
  replica_.Put({offsets::GroupGone{"b"}}, 1);
  replica_.Commit();
  std::vector<std::string> names;
  ASSERT_TRUE(view_
                  ->ScanGroups("",
                               [&](const std::string& name, std::string_view) {
                                 names.push_back(name);
                                 return true;
                               })
                  .ok());
  EXPECT_EQ(names, (std::vector<std::string>{"a", "bb"}));
}

TEST_F(OffsetsViewTest, ADamagedStoreIsReplacedAndReplayed) {
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Commit();
  env_.disk.SetReadsFail(true);
  EXPECT_EQ(CodeOf(view_->FindOffset(Key("a", 0)).status()),
            ErrorCode::kStorageError);
  EXPECT_FALSE(view_->usable());
  env_.Settle();
  EXPECT_EQ(env_.set_aside, 1);
  replica_.Progress();
  EXPECT_TRUE(view_->usable());
  EXPECT_EQ(Find("a", 0), 5);
}

TEST_F(OffsetsViewTest, AWriteThatFailsReplacesTheStore) {
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Commit();
  env_.disk.FailWriteAfter(0);
  replica_.Put({Put("a", 0, 6)}, 1);
  replica_.Commit();
  EXPECT_FALSE(view_->usable());
  EXPECT_EQ(view_->applied().next, Offset(1));
  env_.Settle();
  replica_.Progress();
  EXPECT_EQ(Find("a", 0), 6);
}

TEST_F(OffsetsViewTest, AStoreThatCannotBeOpenedIsSetAsideAtTheStart) {
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Commit();
  env_.open_fails = 2;  // the old one, and the first new one
  Restart();
  EXPECT_FALSE(view_->usable());
  env_.world.RunFor(2 * ViewStore::kOpenAgainUs);
  replica_.Progress();
  EXPECT_TRUE(view_->usable());
  EXPECT_EQ(Find("a", 0), 5);
}

TEST_F(OffsetsViewTest, WhatKeepsAStoreFromBeingOpenedIsTold) {
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Commit();
  EXPECT_TRUE(env_.store->trouble().ok());
  env_.open_fails = 1;
  env_.set_aside_fails = 1;
  Restart();
  EXPECT_FALSE(view_->usable());
  EXPECT_EQ(env_.store->trouble().message(), "Permission denied");
  env_.world.RunFor(2 * ViewStore::kOpenAgainUs);
  EXPECT_TRUE(env_.store->trouble().ok()) << env_.store->trouble();
  EXPECT_EQ(env_.set_aside, 1) << "what can be opened again is not damaged";
  replica_.Progress();
  EXPECT_EQ(Find("a", 0), 5);
}

TEST_F(OffsetsViewTest, WhatWasFoundDamagedIsNotOpenedBeforeItIsSetAside) {
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Commit();
  env_.set_aside_fails = 2;
  env_.disk.SetReadsFail(true);
  EXPECT_FALSE(view_->FindOffset(Key("a", 0)).ok());
  const int opened_before = env_.opened;
  env_.world.RunFor(2 * ViewStore::kOpenAgainUs - 1'000'000);
  EXPECT_EQ(env_.opened, opened_before);
  EXPECT_EQ(env_.store->trouble().message(), "Permission denied");
  env_.world.RunFor(ViewStore::kOpenAgainUs);
  EXPECT_EQ(env_.set_aside, 3);
  EXPECT_TRUE(env_.store->trouble().ok());
  replica_.Progress();
  EXPECT_EQ(Find("a", 0), 5);
}

TEST_F(OffsetsViewTest, AFullDiskIsNoDamageAtTheStart) {
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Commit();
  env_.SetFull(true);
  Restart();
  env_.world.RunFor(3 * ViewStore::kOpenAgainUs);
  EXPECT_FALSE(view_->usable());
  EXPECT_EQ(CodeOf(env_.store->trouble()), ErrorCode::kStorageFull);
  env_.SetFull(false);
  env_.world.RunFor(2 * ViewStore::kOpenAgainUs);
  EXPECT_TRUE(env_.store->trouble().ok());
  EXPECT_EQ(env_.set_aside, 0);
  replica_.Progress();
  EXPECT_EQ(Find("a", 0), 5);
}

TEST_F(OffsetsViewTest, AFullDiskIsNoDamageInUse) {
  replica_.Put({Put("a", 0, 5)}, 1);
  replica_.Commit();
  env_.SetFull(true);
  replica_.Put({Put("a", 0, 6)}, 1);
  replica_.Commit();
  EXPECT_FALSE(view_->usable());
  env_.world.RunFor(3 * ViewStore::kOpenAgainUs);
  EXPECT_EQ(CodeOf(env_.store->trouble()), ErrorCode::kStorageFull);
  env_.SetFull(false);
  env_.world.RunFor(2 * ViewStore::kOpenAgainUs);
  EXPECT_EQ(env_.set_aside, 0);
  replica_.Progress();
  EXPECT_TRUE(view_->usable());
  EXPECT_EQ(Find("a", 0), 6);
}

TEST_F(OffsetsViewTest, WhatItDoesNotUnderstandStopsIt) {
  replica_.Put({Put("a", 0, 5)}, 1);
  BatchBuilder builder({});
  RecordView record;
  record.key = "no key of ours";
  ASSERT_TRUE(builder.Add(record));
  replica_.Store(*builder.Finish(), LeaderEpoch(1));
  replica_.Put({Put("a", 0, 6)}, 1);
  replica_.CommitTo(Offset(1));
  EXPECT_EQ(Find("a", 0), 5);
  replica_.Commit();
  EXPECT_FALSE(view_->usable());
  EXPECT_FALSE(view_->stopped().empty());
  EXPECT_EQ(view_->applied().next, Offset(1));
}

// GR7: at every moment the view is what a replay of the log says, whatever was
// restarted, lost or cut on the way.
TEST_F(OffsetsViewTest, IsAReplayOfItsLogThroughAnything) {
  env_.checkpoint_bytes = 600;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    int32_t epoch = replica_.epochs().last_epoch().value() + 1;
    for (int step = 0; step < 60; ++step) {
      switch (random.Below(10)) {
        case 0:
        case 1:
        case 2: {
          std::vector<Change> changes;
          for (uint64_t i = 0; i <= random.Below(3); ++i) {
            const std::string group(
                1, static_cast<char>('a' + random.Below(3)));
            const auto p = static_cast<int32_t>(random.Below(4));
            if (random.OneIn(4)) {
              changes.push_back(offsets::OffsetGone{Key(group, p)});
            } else {
              changes.push_back(Put(group, p, random.Between(0, 1000)));
            }
          }
          replica_.Put(changes, epoch);
          break;
        }
        case 3:
          replica_.Commit();
          break;
        case 4:
          Restart(&random);
          // What was committed is learned anew.
          replica_.hw = observer_->RestartHighWatermark(
              Offset(random.Between(0, replica_.hw.value())));
          break;
        case 7:  // the directory is gone
          env_.disk.Wipe();
          Restart();
          replica_.hw = Offset(random.Between(0, replica_.hw.value()));
          replica_.Progress();
          break;
        case 8:
          if (!view_->usable()) break;
          env_.disk.SetReadsFail(true);  // until it is replaced
          (void)view_->FindOffset(Key("a", 0));
          break;
        case 9: {
          const auto numbers = env_.Checkpoints();
          if (numbers.empty()) break;
          const uint64_t at = random.Below(numbers.size());
          env_.fs.FlipRandomBit(ViewWorld::KeysOf(numbers[at]), random);
          break;
        }
        case 5: {
          const Offset target(random.Between(0, replica_.leo().value()));
          // An unclean election: another history from there on.
          if (random.OneIn(2)) replica_.observer = nullptr;
          replica_.CutTo(target);
          ++epoch;
          if (replica_.observer == nullptr) Restart(&random);
          break;
        }
        case 6:
          replica_.executor = random.OneIn(2) ? env_.shard() : nullptr;
          break;
      }
      if (random.OneIn(2)) env_.Settle();
      EXPECT_LE(view_->applied().next,
                std::min(replica_.hw, replica_.durable));
      if (!view_->usable()) continue;  // being replaced, or filled
      EXPECT_EQ(Dump(), Replay(view_->applied().next)) << "step " << step;
    }
    replica_.Commit();
    for (int i = 0; i < 3; ++i) {
      env_.Settle();
      replica_.Progress();
    }
    EXPECT_EQ(view_->applied().next, replica_.leo());
  }
}

}  // namespace
}  // namespace sluice::coordinator
