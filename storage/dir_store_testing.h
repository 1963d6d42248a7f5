// A log directory on a disk in memory, for tests.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/env/mem_file_system.h"
#include "storage/dir_store.h"

namespace sluice {

inline TopicPartition Tp(uint64_t topic, int32_t partition) {
  return {TopicId(Uuid(7, topic)), PartitionIndex(partition)};
}

inline PartitionMarks Marks(int64_t at) {
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

class DirStoreTestBase : public ::testing::Test {
 protected:
  static constexpr const char* kDirectory = "/data/d";
  static constexpr const char* kJournal = "/data/d/journal";

  void Open(const DirStore::Expected& expected = {},
            const std::string& boot_id = "boot") {
    store_.reset();
    auto store =
        DirStore::Open({&fs_, &random_}, kDirectory, expected, boot_id);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  absl::Status OpenFails(const DirStore::Expected& expected = {}) {
    return DirStore::Open({&fs_, &random_}, kDirectory, expected, "boot")
        .status();
  }

  std::string Journal() {
    return ReadFile(fs_, kJournal, 1 << 30).value_or("(missing)");
  }
  void SetJournal(const std::string& content) {
    auto file = fs_.Open(kJournal, OpenMode::kCreate);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->Truncate(0).ok());
    ASSERT_TRUE((*file)->Write(0, content).ok());
    ASSERT_TRUE((*file)->SyncData().ok());
  }
  void WipeDisk() {
    store_.reset();
    fs_.Kill();
    const auto there = fs_.Exists("/data");
    if (there.ok() && *there) {
      ASSERT_TRUE(RemoveTree(fs_, "/data").ok());
    }
    ASSERT_TRUE(fs_.SyncAll("/").ok());
  }

  MemFileSystem fs_;
  Random random_{1};
  std::unique_ptr<DirStore> store_;
};

}  // namespace sluice
