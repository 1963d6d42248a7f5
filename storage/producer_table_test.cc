#include "storage/producer_table.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "storage/batch_testing.h"

namespace sluice {
namespace {

constexpr int32_t kLast = std::numeric_limits<int32_t>::max();

struct Batch {
  int64_t id = 7;
  int16_t epoch = 0;
  int32_t sequence = 0;
  int records = 1;
};

class ProducerTableTest : public testing::Test {
 protected:
  static std::string BytesOf(const std::vector<Batch>& batches) {
    std::string all;
    for (const Batch& batch : batches) {
      const MutableBuffer bytes = MakeBatch({.records = batch.records,
                                             .producer_id = batch.id,
                                             .producer_epoch = batch.epoch,
                                             .base_sequence = batch.sequence});
      all.append(bytes.data(), bytes.size());
    }
    return all;
  }
  absl::StatusOr<std::optional<StoredRun>> Judge(
      const std::vector<Batch>& batches) {
    return table_.Judge(BytesOf(batches), idle_below_);
  }
  ErrorCode CodeFor(const std::vector<Batch>& batches) {
    return CodeOf(Judge(batches).status());
  }
  bool IsNew(const Batch& batch) {
    const auto judged = Judge({batch});
    return judged.ok() && !judged->has_value();
  }
  // The offset at which it is stored; -1: it is not.
  int64_t StoredAt(const std::vector<Batch>& batches) {
    const auto judged = Judge(batches);
    return judged.ok() && judged->has_value() ? (**judged).base.value() : -1;
  }
  // At the end of the log.
  void Store(const Batch& batch) {
    std::string bytes = BytesOf({batch});
    BatchHeader header = *BatchHeader::Parse(bytes);
    header.base_offset = end_;
    table_.Apply(header);
    end_ = header.next_offset();
  }
  // What the leader would do.
  void Produce(const Batch& batch) {
    ASSERT_TRUE(IsNew(batch)) << Judge({batch}).status();
    Store(batch);
  }

  ProducerTable table_{4};
  Offset end_{100};
  Offset idle_below_{0};
};

TEST_F(ProducerTableTest, ARowOfSequencesIsTaken) {
  Produce({.sequence = 0, .records = 3});
  Produce({.sequence = 3, .records = 2});
  Produce({.sequence = 5});
  EXPECT_EQ(table_.Find(ProducerId(7))->size(), 3u);
  EXPECT_EQ(table_.last_offset(), Offset(105));
}

TEST_F(ProducerTableTest, BatchesWithoutAProducerChangeNothing) {
  Store({.id = -1, .epoch = -1, .sequence = -1});
  EXPECT_TRUE(table_.empty());
  EXPECT_TRUE(IsNew({.id = -1, .epoch = -1, .sequence = -1}));
}

// IP2.
TEST_F(ProducerTableTest, EachOfTheLastFiveIsKnownAgainWhereItLies) {
  for (int i = 0; i < 7; ++i) Produce({.sequence = 2 * i, .records = 2});
  for (int i = 2; i < 7; ++i) {
    EXPECT_EQ(StoredAt({{.sequence = 2 * i, .records = 2}}), 100 + 2 * i) << i;
  }
  EXPECT_EQ(CodeFor({{.sequence = 2, .records = 2}}),
            ErrorCode::kDuplicateSequence);
  EXPECT_EQ(CodeFor({{.sequence = 0, .records = 2}}),
            ErrorCode::kDuplicateSequence);
}

TEST_F(ProducerTableTest, AGapIsRefused) {
  Produce({.sequence = 0, .records = 3});
  EXPECT_EQ(CodeFor({{.sequence = 4}}), ErrorCode::kOutOfOrderSequence);
  // Nobody wrote it, though it lies behind.
  EXPECT_EQ(CodeFor({{.sequence = kLast}}), ErrorCode::kOutOfOrderSequence);
}

// What a client takes for stored must be stored, all of it.
TEST_F(ProducerTableTest, ABatchThatIsOnlyPartlyStoredIsNoDuplicate) {
  Produce({.sequence = 0, .records = 4});
  EXPECT_EQ(CodeFor({{.sequence = 2, .records = 4}}),
            ErrorCode::kOutOfOrderSequence);
  EXPECT_EQ(CodeFor({{.sequence = 0, .records = 5}}),
            ErrorCode::kOutOfOrderSequence);
  EXPECT_EQ(CodeFor({{.sequence = 1, .records = 3}}),
            ErrorCode::kDuplicateSequence);
}

// IP1.
TEST_F(ProducerTableTest, SequencesWrapToZero) {
  Store({.sequence = kLast - 3, .records = 3});
  EXPECT_TRUE(IsNew({.sequence = kLast, .records = 1}));
  Produce({.sequence = kLast, .records = 3});  // ends with 1
  Produce({.sequence = 2});
  EXPECT_EQ(StoredAt({{.sequence = kLast, .records = 3}}), 103);
  EXPECT_EQ(CodeFor({{.sequence = 4}}), ErrorCode::kOutOfOrderSequence);
  Produce({.sequence = 3});
  Produce({.sequence = 4});
  Produce({.sequence = 5});
  EXPECT_EQ(CodeFor({{.sequence = kLast - 3, .records = 3}}),
            ErrorCode::kDuplicateSequence);
}

TEST_F(ProducerTableTest, ABatchMayEndWithTheLastSequence) {
  Store({.sequence = kLast - 3, .records = 3});
  Produce({.sequence = kLast});
  EXPECT_TRUE(IsNew({.sequence = 0}));
  EXPECT_EQ(CodeFor({{.sequence = 1}}), ErrorCode::kOutOfOrderSequence);
}

// IP3.
TEST_F(ProducerTableTest, AnOlderEpochIsRefusedAndANewOneBeginsWithZero) {
  Produce({.epoch = 3, .sequence = 0});
  Produce({.epoch = 3, .sequence = 1});
  EXPECT_EQ(CodeFor({{.epoch = 2, .sequence = 0}}),
            ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(CodeFor({{.epoch = 2, .sequence = 2}}),
            ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(CodeFor({{.epoch = 4, .sequence = 2}}),
            ErrorCode::kOutOfOrderSequence);
  Produce({.epoch = 4, .sequence = 0});
  EXPECT_EQ(CodeFor({{.epoch = 3, .sequence = 1}}),
            ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(table_.Find(ProducerId(7))->size(), 1u);
}

// F67: we differ from Kafka, which takes any.
TEST_F(ProducerTableTest, WhoIsNotKnownBeginsWithZero) {
  EXPECT_EQ(CodeFor({{.sequence = 5}}), ErrorCode::kUnknownProducerId);
  EXPECT_TRUE(IsNew({.sequence = 0}));
  EXPECT_TRUE(IsNew({.epoch = 9, .sequence = 0}));
}

TEST_F(ProducerTableTest, APayloadOfSeveralBatchesIsJudgedOneUponTheOther) {
  const std::vector<Batch> row = {{.sequence = 0, .records = 2},
                                  {.sequence = 2}, {.sequence = 3}};
  EXPECT_EQ(StoredAt(row), -1);
  EXPECT_TRUE(Judge(row).ok());
  for (const Batch& batch : row) Store(batch);
  const auto again = Judge(row);
  ASSERT_TRUE(again.ok() && again->has_value()) << again.status();
  EXPECT_EQ((**again).base, Offset(100));
  EXPECT_EQ((**again).next, Offset(104));
  EXPECT_EQ(CodeFor({{.sequence = 4}, {.sequence = 6}}),
            ErrorCode::kOutOfOrderSequence);
  EXPECT_EQ(CodeFor({{.sequence = 4}, {.sequence = 4}}),
            ErrorCode::kInvalidRecord);
  EXPECT_EQ(CodeFor({{.sequence = 3}, {.sequence = 4}}),
            ErrorCode::kInvalidRecord);
}

TEST_F(ProducerTableTest, StoredBatchesThatLieApartHaveNoOneOffset) {
  Produce({.sequence = 0});
  Produce({.id = 8, .sequence = 0});
  Produce({.sequence = 1});
  EXPECT_EQ(CodeFor({{.sequence = 0}, {.sequence = 1}}),
            ErrorCode::kDuplicateSequence);
}

TEST_F(ProducerTableTest, MoreBatchesThanAreKnownAgainAreRefused) {
  std::vector<Batch> row;
  for (int i = 0; i < 5; ++i) row.push_back({.sequence = i});
  EXPECT_TRUE(Judge(row).ok());
  row.push_back({.sequence = 5});
  EXPECT_EQ(CodeFor(row), ErrorCode::kInvalidRecord);
}

TEST_F(ProducerTableTest, AFullTableTakesANewProducerForASilentOneOnly) {
  for (int64_t id = 1; id <= 4; ++id) Produce({.id = id, .sequence = 0});
  Produce({.id = 1, .sequence = 1});  // 2 is the oldest now, at offset 101
  EXPECT_EQ(CodeFor({{.id = 5, .sequence = 0}}), ErrorCode::kTooManyProducers);
  EXPECT_TRUE(IsNew({.id = 3, .sequence = 1}));
  idle_below_ = Offset(101);
  EXPECT_EQ(CodeFor({{.id = 5, .sequence = 0}}), ErrorCode::kTooManyProducers);
  idle_below_ = Offset(102);
  Produce({.id = 5, .sequence = 0});
  EXPECT_EQ(table_.size(), 4u);
  EXPECT_EQ(table_.Find(ProducerId(2)), nullptr);
  EXPECT_NE(table_.Find(ProducerId(1)), nullptr);
}

// A follower, or a start, has nobody to refuse.
TEST_F(ProducerTableTest, TheOnesThatAppendedLastAreKept) {
  for (int64_t id = 1; id <= 9; ++id) Store({.id = id, .sequence = 0});
  EXPECT_EQ(table_.size(), 4u);
  for (int64_t id = 6; id <= 9; ++id) {
    EXPECT_NE(table_.Find(ProducerId(id)), nullptr) << id;
  }
}

TEST_F(ProducerTableTest, WhoAppendedNothingFromAnOffsetOnIsForgotten) {
  for (int64_t id = 1; id <= 3; ++id) Produce({.id = id, .sequence = 0});
  Produce({.id = 1, .sequence = 1});
  table_.ExpireBelow(Offset(102));
  EXPECT_EQ(table_.Find(ProducerId(2)), nullptr);
  EXPECT_EQ(table_.size(), 2u);
  EXPECT_EQ(CodeFor({{.id = 2, .sequence = 1}}),
            ErrorCode::kUnknownProducerId);
}

}  // namespace
}  // namespace sluice
