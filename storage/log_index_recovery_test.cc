// Indexes are caches: whatever has become of them, a log opens and reads right
// (ST3).
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "common/base/bytes.h"
#include "storage/log_testing.h"

namespace sluice {
namespace {

using Operation = MemFileSystem::Operation;

class IndexRecoveryTest : public LogTestBase {
 protected:
  void SetUp() override { ASSERT_TRUE(Open().ok()); }

  // Opens and expects the log to end at `leo`, with `bytes` in it.
  void ExpectLog(int64_t leo, const std::string& bytes) {
    const absl::Status opened = Open();
    ASSERT_TRUE(opened.ok()) << opened;
    EXPECT_EQ(log_->leo(), Offset(leo));
    EXPECT_EQ(ReadAll(), bytes);
  }
  // Every entry names the last offset of a batch and where it begins.
  void ExpectIndexHolds(int64_t base) {
    const std::string log = Content(LogFile(base));
    const std::string index = Content(IndexFile(base));
    ASSERT_EQ(index.size() % 8, 0u);
    EXPECT_GT(index.size(), 8u);
    for (size_t at = 0; at < index.size(); at += 8) {
      if (at > 0) {
        EXPECT_LT(LoadBig32(index.data() + at - 8),
                  LoadBig32(index.data() + at));
      }
      const uint32_t position = LoadBig32(index.data() + at + 4);
      ASSERT_LT(position, log.size());
      const auto batch = BatchView::Parse(log.substr(position));
      ASSERT_TRUE(batch.ok()) << batch.status();
      EXPECT_EQ(batch->header().last_offset(),
                Offset(base + LoadBig32(index.data() + at)));
    }
  }
};

TEST_F(IndexRecoveryTest, IndexesThatAreMissingOrWrongAreRebuilt) {
  config_.segment_bytes = 3000;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 60; ++i) Append(1, 1, 100);
  SyncAndMark();
  ASSERT_TRUE(log_->SaveCaches().ok());
  const std::string all = ReadAll();
  const auto bases = log_->segment_bases();
  ASSERT_GE(bases.size(), 3u);
  log_.reset();
  std::map<Offset, std::string> rights;
  for (const Offset base : bases) rights[base] = Content(IndexFile(base.value()));
  const std::vector<std::function<std::string(std::string)>> wrongs = {
      [](std::string) { return std::string(); },
      [](std::string s) { return s.substr(0, s.size() - 3); },
      [](std::string s) { return s.substr(0, 8); },
      [](std::string s) { return std::string(s.size(), '\0'); },
      [](std::string s) { return std::string(s.size(), '\x7f'); },
      [](std::string s) {
        s.back() ^= 1;  // the last position
        return s;
      },
      [](std::string s) {
        s[s.size() - 5] ^= 1;  // the last offset
        return s;
      },
      [](std::string s) { return s.substr(0, 8) + s; },
      [](std::string s) { return s + std::string(16, '\x7f'); },
  };
  for (const auto& wrong : wrongs) {
    for (const Offset base : bases) {
      const std::string file = IndexFile(base.value());
      SetContent(file, wrong(Content(file)));
    }
    ExpectLog(60, all);
    ASSERT_TRUE(log_->SaveCaches().ok());
    log_.reset();
    for (const Offset base : bases) {
      ExpectIndexHolds(base.value());
      SetContent(IndexFile(base.value()), rights[base]);
    }
  }
  for (const Offset base : bases) {
    ASSERT_TRUE(fs_.RemoveFile(IndexFile(base.value())).ok());
  }
  ExpectLog(60, all);
}

TEST_F(IndexRecoveryTest, AnIndexLeftBehindByAnotherLifeIsNotBelieved) {
  for (int i = 0; i < 30; ++i) Append(1, 1, 100);
  ASSERT_TRUE(log_->SaveCaches().ok());
  const std::string stale = Content(IndexFile(0));
  marks_.log_start = Offset(0);
  ASSERT_TRUE(log_->ResetTo(Offset(0)).ok());
  for (int i = 0; i < 30; ++i) Append(3, 1, 50 + static_cast<size_t>(i));
  SyncAndMark();
  const std::string all = ReadAll();
  const Offset leo = log_->leo();
  SetContent(IndexFile(0), stale);
  ExpectLog(leo.value(), all);
}

TEST_F(IndexRecoveryTest, WithoutRoomForIndexesTheLogOpensAllTheSame) {
  config_.segment_bytes = 3000;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 60; ++i) Append(1, 1, 100);
  SyncAndMark();
  const std::string all = ReadAll();
  for (const Offset base : log_->segment_bases()) {
    fs_.RemoveFile(IndexFile(base.value())).IgnoreError();
  }
  fs_.FailNextOn(".index", Operation::kWrite, 1000, /*full=*/true);
  ExpectLog(60, all);
}

}  // namespace
}  // namespace sluice
