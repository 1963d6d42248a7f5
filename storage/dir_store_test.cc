#include "storage/dir_store.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/env/mem_file_system.h"

namespace sluice {
namespace {

TopicPartition Tp(uint64_t topic, int32_t partition) {
  return {TopicId(Uuid(7, topic)), PartitionIndex(partition)};
}

PartitionMarks Marks(int64_t at) {
  PartitionMarks marks;
  marks.high_watermark = Offset(at);
  marks.recovery_point = Offset(at + 1);
  marks.durable_mark = Offset(at + 2);
  marks.log_start = Offset(at / 2);
  marks.epochs.Assign(LeaderEpoch(1), Offset(0));
  marks.epochs.Assign(LeaderEpoch(4), Offset(at));
  marks.topic_name = "orders";
  return marks;
}

class DirStoreTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<DirStore>> Open(
      const DirStore::Expected& expected = {},
      const std::string& boot_id = "boot") {
    return DirStore::Open({&fs_, &random_}, "/data/d", expected, boot_id);
  }

  MemFileSystem fs_;
  Random random_{1};
};

TEST_F(DirStoreTest, MarksThatWereFlushedDurablySurviveAPowerCut) {
  auto store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_TRUE((*store)->is_new());
  const DirectoryId id = (*store)->facts().directory_id;
  EXPECT_TRUE((*store)->SetIdentity(ClusterId(Uuid(1, 2)), NodeId(3)).ok());
  (*store)->Put(Tp(1, 0), Marks(10));
  EXPECT_TRUE((*store)->FlushDurably().ok());
  fs_.CrashLosingAll();
  store->reset();
  store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_FALSE((*store)->is_new());
  EXPECT_EQ((*store)->facts().directory_id, id);
  EXPECT_EQ((*store)->facts().cluster_id, ClusterId(Uuid(1, 2)));
  EXPECT_EQ((*store)->facts().node_id, NodeId(3));
  ASSERT_NE((*store)->Find(Tp(1, 0)), nullptr);
  EXPECT_EQ(*(*store)->Find(Tp(1, 0)), Marks(10));
}

}  // namespace
}  // namespace sluice
