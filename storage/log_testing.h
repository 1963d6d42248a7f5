// A log on a disk in memory, for tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/env/mem_file_system.h"
#include "storage/batch_testing.h"
#include "storage/log.h"

namespace sluice {

// IP4: what is known of producers is what `batches`, all of a log from `first`
// on, tell. Of what lay below, more may be known.
inline void ExpectProducersOf(const ProducerTable& known,
                              std::string_view batches, Offset first) {
  ProducerTable told;
  BatchCursor cursor(batches);
  for (;;) {
    const auto batch = cursor.Next();
    ASSERT_TRUE(batch.ok()) << batch.status();
    if (!batch->has_value()) break;
    first = std::min(first, (*batch)->header().base_offset);
    told.Apply((*batch)->header());
  }
  for (const auto& [id, state] : told.producers()) {
    const ProducerState* same = known.Find(id);
    ASSERT_NE(same, nullptr) << "producer " << id;
    EXPECT_EQ(same->epoch, state.epoch);
    ASSERT_GE(same->size(), state.size());
    const size_t older = same->size() - state.size();
    for (size_t i = 0; i < state.size(); ++i) {
      EXPECT_EQ(same->at(older + i), state.at(i)) << "producer " << id;
    }
    if (older > 0) {
      EXPECT_LT(same->at(older - 1).last_offset(), first);
    }
  }
  for (const auto& [id, state] : known.producers()) {
    if (told.Find(id) == nullptr) {
      EXPECT_LT(state.newest().last_offset(), first) << "producer " << id;
    }
  }
}

class LogTestBase : public ::testing::Test {
 protected:
  static constexpr const char* kPath = "/d/p";

  LogTestBase() {
    EXPECT_TRUE(CreateDirectories(fs_, "/d").ok());
    config_.segment_bytes = 1 << 20;
    config_.index_interval_bytes = 256;
  }

  // Ends the log that is open; opens it with marks_ and config_.
  absl::Status Open() {
    log_.reset();
    auto log = Log::Open({&fs_, budget_}, kPath, config_, marks_);
    if (!log.ok()) return log.status();
    log_ = *std::move(log);
    return absl::OkStatus();
  }

  // One batch of `records`, with values of `value_bytes`.
  AppendInfo Append(int records = 1, int32_t epoch = 1,
                    size_t value_bytes = 20) {
    auto info = log_->AppendAsLeader(
        MakeBatch({records, Codec::kNone, NextValue(value_bytes)}),
        LeaderEpoch(epoch));
    EXPECT_TRUE(info.ok()) << info.status();
    return info.ok() ? *info : AppendInfo();
  }
  // Never the same twice, and without zero bytes.
  std::string NextValue(size_t bytes) {
    std::string value = std::to_string(++values_);
    value.resize(bytes, static_cast<char>('a' + values_ % 26));
    return value;
  }

  // What a broker stores after a sync.
  void SyncAndMark() {
    ASSERT_TRUE(log_->SyncNow().ok());
    marks_ = MarksOf(*log_);
  }
  static RecoveryMarks MarksOf(const Log& log) {
    RecoveryMarks marks;
    marks.log_start = log.log_start();
    marks.recovery_point = log.durable_leo();
    marks.durable_mark = log.durable_leo();
    marks.high_watermark = log.durable_leo();
    marks.epochs = log.epochs();
    return marks;
  }

  // All batches from the one that holds `from` on, from the files.
  absl::StatusOr<std::string> Read(Offset from, Offset upto,
                                   int64_t bytes_max = 1 << 20) {
    std::string all;
    while (from < upto) {
      auto plan = log_->PlanRead(from, upto, bytes_max);
      if (!plan.ok()) return plan.status();
      auto read = ExecuteRead(*plan, /*no_wait=*/false);
      if (!read.ok()) return read.status();
      if ((*read)->batches.empty()) break;
      all.append((*read)->batches.view());
      from = (*read)->next_offset;
    }
    return all;
  }
  std::string ReadAll() {
    const auto all = Read(log_->log_start(), log_->leo());
    EXPECT_TRUE(all.ok()) << all.status();
    return all.value_or("");
  }

  static std::string LogFile(int64_t base) {
    return std::string(kPath) + "/" + SegmentFileName(Offset(base), ".log");
  }
  static std::string IndexFile(int64_t base) {
    return std::string(kPath) + "/" + SegmentFileName(Offset(base), ".index");
  }
  static std::string ProducersFile(int64_t offset) {
    return std::string(kPath) + "/" +
           SegmentFileName(Offset(offset), ".snapshot");
  }
  std::string Content(const std::string& path) {
    auto content = ReadFile(fs_, path, 1 << 30);
    EXPECT_TRUE(content.ok()) << content.status();
    return content.value_or("");
  }
  void SetContent(const std::string& path, const std::string& content) {
    auto file = fs_.Open(path, OpenMode::kCreate);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->Truncate(0).ok());
    ASSERT_TRUE((*file)->Write(0, content).ok());
    ASSERT_TRUE((*file)->SyncData().ok());
  }
  // Every file below the partition's directory, and what it holds.
  std::vector<std::pair<std::string, std::string>> Snapshot() {
    std::vector<std::pair<std::string, std::string>> files;
    const auto entries = fs_.List(kPath);
    EXPECT_TRUE(entries.ok());
    for (const DirectoryEntry& entry : *entries) {
      files.emplace_back(entry.name,
                         Content(std::string(kPath) + "/" + entry.name));
    }
    return files;
  }

  MemFileSystem fs_;
  LogConfig config_;
  RecoveryMarks marks_;
  std::shared_ptr<TailBudget> budget_;
  std::unique_ptr<Log> log_;
  int values_ = 0;
};

}  // namespace sluice
