#include "storage/time_search.h"

#include <gtest/gtest.h>

#include <vector>

#include "common/base/error.h"
#include "storage/batch_testing.h"

namespace sluice {
namespace {

// The k-th record of a batch is k ms later than its first.
Buffer Batch(int64_t base, int64_t timestamp_ms, int records = 1,
             Codec codec = Codec::kNone) {
  return MakeStoredBatch(
      Offset(base), LeaderEpoch(4),
      {.records = records, .codec = codec, .timestamp_ms = timestamp_ms});
}

Buffer Join(const std::vector<Buffer>& batches) {
  std::vector<std::string_view> parts;
  for (const Buffer& batch : batches) parts.push_back(batch.view());
  return Concatenate(parts).Publish();
}

int64_t First(const std::vector<Buffer>& pieces, int64_t at, int64_t from = 0) {
  TimeSearch search = TimeSearch::FirstAt(at, Offset(from));
  for (const Buffer& piece : pieces) {
    const auto found = search.Look(piece);
    EXPECT_TRUE(found.ok()) << found.status();
    if (!found.ok() || *found) break;
  }
  const auto record = search.Found();
  EXPECT_TRUE(record.ok()) << record.status();
  if (!record.ok() || !record->has_value()) return -1;
  EXPECT_GE((*record)->timestamp_ms, at);
  EXPECT_EQ((*record)->leader_epoch, LeaderEpoch(4));
  return (*record)->offset.value();
}

int64_t Greatest(const std::vector<Buffer>& pieces, int64_t from = 0) {
  TimeSearch search = TimeSearch::Greatest(Offset(from));
  for (const Buffer& piece : pieces) {
    const auto found = search.Look(piece);
    EXPECT_TRUE(found.ok()) << found.status();
    EXPECT_FALSE(*found);
  }
  const auto record = search.Found();
  EXPECT_TRUE(record.ok()) << record.status();
  return record.ok() && record->has_value() ? (*record)->offset.value() : -1;
}

TEST(TimeSearchTest, TheFirstRecordByOffsetNotByTime) {
  const std::vector<Buffer> log = {
      Join({Batch(0, 100, 5), Batch(5, 300, 5, Codec::kLz4)}),
      Join({Batch(10, 200, 5), Batch(15, 303)})};
  EXPECT_EQ(First(log, 0), 0);
  EXPECT_EQ(First(log, 104), 4);
  EXPECT_EQ(First(log, 105), 5);
  EXPECT_EQ(First(log, 201), 5);
  EXPECT_EQ(First(log, 304), 9);
  EXPECT_EQ(First(log, 305), -1);
  EXPECT_EQ(Greatest(log), 9);
  EXPECT_EQ(First({}, 0), -1);
  EXPECT_EQ(Greatest({}), -1);
}

TEST(TimeSearchTest, OfEqualsTheFirst) {
  EXPECT_EQ(Greatest({Batch(0, 100), Batch(1, 200), Batch(2, 200)}), 1);
  EXPECT_EQ(Greatest({Join({Batch(0, 199, 2), Batch(2, 200)})}), 1);
}

TEST(TimeSearchTest, RecordsBelowTheLogStartAreNone) {
  const std::vector<Buffer> log = {Batch(0, 900, 3), Batch(3, 901, 1),
                                   Batch(4, 100, 2)};
  EXPECT_EQ(First(log, 0, 2), 2);
  EXPECT_EQ(First(log, 901, 2), 2);
  EXPECT_EQ(First(log, 0, 3), 3);
  EXPECT_EQ(Greatest(log, 2), 2);
  EXPECT_EQ(Greatest(log, 3), 3);
  EXPECT_EQ(Greatest(log, 4), 5);
}

TEST(TimeSearchTest, RecordsWithoutATimestampAreNeverMeant) {
  EXPECT_EQ(First({Batch(0, -1)}, 0), -1);
  EXPECT_EQ(Greatest({Batch(0, -1)}), -1);
  EXPECT_EQ(Greatest({Batch(0, -1), Batch(1, 0)}), 1);
}

TEST(TimeSearchTest, ABatchThatCannotBeDecodedIsAnErrorWhereItIsNeeded) {
  const Buffer sound = Batch(0, 100, 3, Codec::kZstd);
  std::string bytes(sound.view());
  for (size_t i = kBatchHeaderBytes; i < bytes.size(); ++i) bytes[i] = 'x';
  const Buffer bad = MutableBuffer::Adopt(std::move(bytes)).Publish();
  TimeSearch first = TimeSearch::FirstAt(101, Offset(0));
  EXPECT_EQ(CodeOf(first.Look(bad).status()), ErrorCode::kCorruptMessage);
  TimeSearch passes = TimeSearch::FirstAt(500, Offset(0));
  EXPECT_TRUE(passes.Look(bad).ok());
  TimeSearch greatest = TimeSearch::Greatest(Offset(0));
  EXPECT_TRUE(greatest.Look(bad).ok());
  EXPECT_EQ(CodeOf(greatest.Found().status()), ErrorCode::kCorruptMessage);
}

}  // namespace
}  // namespace sluice
