#include "test/chaos/chaos_value.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/base/error.h"
#include "storage/batch_builder.h"
#include "storage/batch_header.h"

namespace sluice::chaos {
namespace {

TEST(ChaosValueTest, AValueSaysWhoseItIs) {
  const std::string value = MakeValue({3, 41}, 40);
  EXPECT_EQ(value.size(), 40u);
  EXPECT_EQ(NameIn(value), (check::ValueName{3, 41}));
  EXPECT_NE(value, MakeValue({4, 41}, 40));
  for (const char* other : {"", "3", "3:41", "x:41:a", "3:y:a", ":3:41:a"}) {
    EXPECT_EQ(NameIn(other), std::nullopt) << other;
  }
}

// As a leader stores it: three records from offset `base` on, in epoch 7.
std::string StoredBatch(int64_t base, const std::vector<std::string>& values) {
  BatchBuilder builder(BatchOptions{});
  for (const std::string& value : values) {
    RecordView record;
    record.value = value;
    EXPECT_TRUE(builder.Add(record));
  }
  MutableBuffer batch = *builder.Finish();
  EXPECT_TRUE(AssignOffsets(batch, Offset(base), LeaderEpoch(7)).ok());
  return std::string(batch.view());
}

TEST(ChaosValueTest, RecordsAreFoundInBatchesWithOffsetEpochNameAndHash) {
  const std::string bytes =
      StoredBatch(10, {MakeValue({1, 5}, 30), "not ours"}) +
      StoredBatch(12, {MakeValue({2, 6}, 30)});
  const auto records = RecordsIn(bytes);
  ASSERT_TRUE(records.ok()) << records.status();
  ASSERT_EQ(records->size(), 3u);
  EXPECT_EQ((*records)[0].offset, 10);
  EXPECT_EQ((*records)[0].epoch, 7);
  EXPECT_EQ((*records)[0].value.name, (check::ValueName{1, 5}));
  EXPECT_EQ((*records)[0].value.hash, check::HashOf(MakeValue({1, 5}, 30)));
  EXPECT_EQ((*records)[1].value.name, (check::ValueName{-1, 11}));
  EXPECT_EQ((*records)[2].offset, 12);
  EXPECT_EQ(RecordsIn(bytes, 11)->size(), 2u);
}

TEST(ChaosValueTest, DamageIsAnError) {
  std::string bytes = StoredBatch(0, {MakeValue({1, 5}, 30)});
  bytes.back() ^= 1;
  EXPECT_EQ(CodeOf(RecordsIn(bytes).status()), ErrorCode::kCorruptMessage);
  bytes.back() ^= 1;
  bytes.pop_back();
  EXPECT_EQ(CodeOf(RecordsIn(bytes).status()), ErrorCode::kCorruptMessage);
}

}  // namespace
}  // namespace sluice::chaos
