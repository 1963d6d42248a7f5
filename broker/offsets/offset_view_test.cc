#include "broker/offsets/offset_view.h"

#include <gtest/gtest.h>

#include <map>

#include "common/base/error.h"
#include "common/base/random.h"

namespace sluice::offsets {
namespace {

const TopicId kTopic{Uuid(1, 2)};

OffsetKey KeyOf(const std::string& group, int32_t partition) {
  return {group, {kTopic, PartitionIndex(partition)}};
}

ViewRecord Put(int64_t at, const std::string& group, int32_t partition,
               int64_t offset) {
  return {Offset(at),
          OffsetPut{KeyOf(group, partition), {.offset = Offset(offset)}}};
}

ViewBatch BatchOf(int64_t base, int32_t epoch,
                  std::vector<ViewRecord> records) {
  const auto count = static_cast<int64_t>(records.size());
  return {.base = Offset(base),
          .next = Offset(base + count),
          .epoch = LeaderEpoch(epoch),
          .records = std::move(records)};
}

// A store that takes a batch whole.
class Store {
 public:
  Applied applied() const {
    const auto found = map_.find(AppliedKey());
    return found == map_.end() ? Applied{} : *DecodeApplied(found->second);
  }
  absl::Status Take(const ViewBatch& batch, int64_t limit = INT64_MAX) {
    auto writes = ApplyBatch(applied(), Offset(limit), batch);
    if (!writes.ok()) return writes.status();
    for (const ViewWrite& w : *writes) {
      if (w.value.has_value()) {
        map_[w.key] = *w.value;
      } else {
        map_.erase(w.key);
      }
    }
    return absl::OkStatus();
  }
  std::optional<CommittedOffset> Get(const std::string& group,
                                     int32_t partition) const {
    const auto found = map_.find(EncodeOffsetKey(KeyOf(group, partition)));
    if (found == map_.end()) return std::nullopt;
    return DecodeCommittedOffset(found->second);
  }
  const std::map<std::string, std::string>& map() const { return map_; }

 private:
  std::map<std::string, std::string> map_;
};

TEST(OffsetViewTest, TheNewestCommitOfAPartitionStands) {
  Store store;
  ASSERT_TRUE(store.Take(BatchOf(0, 1, {Put(0, "g", 0, 10), Put(1, "g", 1, 5),
                                        Put(2, "g", 0, 11)})).ok());
  EXPECT_EQ(store.Get("g", 0)->offset, Offset(11));
  EXPECT_EQ(store.Get("g", 0)->record_offset, Offset(2));
  EXPECT_EQ(store.Get("g", 1)->offset, Offset(5));
  EXPECT_EQ(store.applied(), (Applied{Offset(3), LeaderEpoch(1)}));
}

TEST(OffsetViewTest, DeletedOffsetsAndGroupsAreGone) {
  Store store;
  ASSERT_TRUE(store.Take(BatchOf(0, 1, {Put(0, "g", 0, 10), Put(1, "h", 0, 3),
                                        {Offset(2), GroupPut{"g", "image"}}}))
                  .ok());
  EXPECT_EQ(store.map().at(EncodeGroupKey("g")), "image");
  ASSERT_TRUE(store.Take(BatchOf(3, 1, {{Offset(3), OffsetGone{KeyOf("g", 0)}},
                                        {Offset(4), GroupGone{"g"}}})).ok());
  EXPECT_EQ(store.Get("g", 0), std::nullopt);
  EXPECT_EQ(store.Get("h", 0)->offset, Offset(3));
  EXPECT_EQ(store.map().count(EncodeGroupKey("g")), 0u);
}

// GR7.
TEST(OffsetViewTest, NothingBeyondTheLimitIsTaken) {
  Store store;
  const ViewBatch batch = BatchOf(0, 1, {Put(0, "g", 0, 1), Put(1, "g", 1, 1)});
  EXPECT_EQ(CodeOf(store.Take(batch, 1)), ErrorCode::kOffsetOutOfRange);
  EXPECT_TRUE(store.map().empty());
  EXPECT_TRUE(store.Take(batch, 2).ok());
}

TEST(OffsetViewTest, ABatchIsTakenOnceAndInOrder) {
  Store store;
  const ViewBatch first = BatchOf(0, 2, {Put(0, "g", 0, 1)});
  ASSERT_TRUE(store.Take(first).ok());
  EXPECT_EQ(CodeOf(store.Take(first)), ErrorCode::kOffsetOutOfRange);
  EXPECT_EQ(CodeOf(store.Take(BatchOf(5, 1, {Put(5, "g", 0, 2)}))),
            ErrorCode::kOffsetOutOfRange);
  // What was compacted away leaves a gap.
  EXPECT_TRUE(store.Take(BatchOf(5, 2, {Put(5, "g", 0, 2)})).ok());
}

TEST(OffsetViewTest, ControlBatchesOnlyMoveTheMark) {
  Store store;
  ViewBatch batch = BatchOf(0, 1, {Put(0, "g", 0, 1)});
  batch.control = true;
  batch.transactional = true;
  ASSERT_TRUE(store.Take(batch).ok());
  EXPECT_EQ(store.Get("g", 0), std::nullopt);
  EXPECT_EQ(store.applied().next, Offset(1));
}

TEST(OffsetViewTest, ATransactionsOffsetsAreRefusedByName) {
  Store store;
  ViewBatch batch = BatchOf(0, 1, {Put(0, "g", 0, 1)});
  batch.transactional = true;
  EXPECT_EQ(CodeOf(store.Take(batch)), ErrorCode::kUnsupportedFormat);
  EXPECT_TRUE(store.map().empty());
}

// F72: by topic id.
TEST(OffsetViewTest, ATopicMadeAgainHasNoOffsets) {
  Store store;
  ASSERT_TRUE(store.Take(BatchOf(0, 1, {Put(0, "g", 0, 10)})).ok());
  const OffsetKey again = {"g", {TopicId(Uuid(3, 4)), PartitionIndex(0)}};
  EXPECT_EQ(store.map().count(EncodeOffsetKey(again)), 0u);
}

// GR7: rebuild(view) = replay(log), from wherever a checkpoint was taken.
TEST(OffsetViewTest, GR7AReplayFromAnyCheckpointGivesTheSameView) {
  Random random(5);
  for (int round = 0; round < 50; ++round) {
    std::vector<ViewBatch> log;
    int64_t next = 0;
    for (int b = 0; b < 30; ++b) {
      std::vector<ViewRecord> records;
      for (int64_t r = random.Between(1, 4); r > 0; --r) {
        const std::string group = "g" + std::to_string(random.Below(3));
        const auto partition = static_cast<int32_t>(random.Below(3));
        const Offset at(next + static_cast<int64_t>(records.size()));
        switch (random.Below(4)) {
          case 0: records.push_back({at, OffsetGone{KeyOf(group, partition)}});
            break;
          case 1: records.push_back({at, GroupPut{group, std::to_string(b)}});
            break;
          default:
            records.push_back(Put(at.value(), group, partition,
                                  random.Between(0, 1000)));
        }
      }
      log.push_back(BatchOf(next, 1 + b / 10, std::move(records)));
      next = log.back().next.value();
    }
    Store whole, checkpoint;
    const size_t cut = random.Below(log.size());
    for (size_t i = 0; i < log.size(); ++i) {
      if (i == cut) checkpoint = whole;
      ASSERT_TRUE(whole.Take(log[i]).ok());
    }
    for (const ViewBatch& batch : log) {
      if (batch.base < checkpoint.applied().next) continue;
      ASSERT_TRUE(checkpoint.Take(batch).ok());
    }
    ASSERT_EQ(checkpoint.map(), whole.map());
  }
}

// ---- F58: what is on disk against the log that was recovered ----

TEST(ViewRulesTest, F58AViewAheadOfTheRecoveredLogIsDropped) {
  const auto epochs = *EpochHistory::From(
      {{LeaderEpoch(1), Offset(0)}, {LeaderEpoch(4), Offset(10)}});
  const auto valid = [&](int64_t next, int32_t epoch, int64_t leo) {
    return IsOfLog({Offset(next), LeaderEpoch(epoch)}, epochs, Offset(leo));
  };
  EXPECT_TRUE(valid(20, 4, 20));
  EXPECT_FALSE(valid(21, 4, 20));  // the log lost its end
  EXPECT_TRUE(valid(10, 1, 20));   // exactly where its epoch ends
  EXPECT_TRUE(valid(3, 1, 20));
  // Epoch 1 ends at 10: what was applied above was another history's.
  EXPECT_FALSE(valid(11, 1, 20));
  EXPECT_FALSE(valid(5, 3, 20));  // an epoch that this log never had
  EXPECT_FALSE(valid(15, 5, 20));
  EXPECT_TRUE(valid(0, -1, 0));  // nothing applied
}

TEST(ViewRulesTest, ACutBelowWhatWasAppliedDropsTheView) {
  const Applied applied = {Offset(10), LeaderEpoch(1)};
  EXPECT_TRUE(OutlivesCut(applied, Offset(11)));
  EXPECT_TRUE(OutlivesCut(applied, Offset(10)));
  EXPECT_FALSE(OutlivesCut(applied, Offset(9)));
}

TEST(ViewRulesTest, WhatWasAppliedWasCommitted) {
  const Applied applied = {Offset(10), LeaderEpoch(1)};
  EXPECT_EQ(RestartHighWatermark(Offset(4), applied), Offset(10));
  EXPECT_EQ(RestartHighWatermark(Offset(14), applied), Offset(14));
}

// GR6.
TEST(ViewRulesTest, GR6ANewCoordinatorKeepsSilentUntilItKnowsEverything) {
  const Applied applied = {Offset(10), LeaderEpoch(1)};
  EXPECT_TRUE(MayServe(true, Offset(10), Offset(10), applied));
  EXPECT_FALSE(MayServe(false, Offset(10), Offset(10), applied));
  EXPECT_FALSE(MayServe(true, Offset(9), Offset(10), applied));
  EXPECT_FALSE(MayServe(true, Offset(12), Offset(11), applied));
}

TEST(ViewRulesTest, ACommitIsAcknowledgedOnceAReadSeesIt) {
  const Applied applied = {Offset(10), LeaderEpoch(1)};
  EXPECT_TRUE(IsVisible(applied, Offset(9)));
  EXPECT_FALSE(IsVisible(applied, Offset(10)));
}

}  // namespace
}  // namespace sluice::offsets
