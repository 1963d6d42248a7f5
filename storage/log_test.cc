#include "storage/log.h"

#include <gtest/gtest.h>

#include "common/env/mem_file_system.h"
#include "storage/batch_testing.h"

namespace sluice {
namespace {

TEST(LogTest, WhatWasSyncedIsReadAfterAPowerCut) {
  MemFileSystem fs;
  auto log = Log::Open({&fs, nullptr}, "/p", {}, {});
  ASSERT_TRUE(log.ok()) << log.status();
  const auto info = (*log)->AppendAsLeader(MakeBatch({3}), LeaderEpoch(1));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->next, Offset(3));
  ASSERT_TRUE((*log)->SyncNow().ok());
  EXPECT_EQ((*log)->durable_leo(), Offset(3));
  fs.CrashLosingAll();
  log = Log::Open({&fs, nullptr}, "/p", {}, {});
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ((*log)->leo(), Offset(3));
  const auto plan = (*log)->PlanRead(Offset(0), Offset(3), 1000);
  ASSERT_TRUE(plan.ok());
  const auto read = ExecuteRead(*plan, false);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ((*read)->batches.view(), info->batches.view());
}

}  // namespace
}  // namespace sluice
