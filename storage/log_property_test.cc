// Random lives of a log beside a model of it: appends, cuts, failed writes,
// syncs that come late, and ends of every kind, also inside an operation and
// inside the recovery from the end before (F48, F49).
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "storage/log_testing.h"

namespace sluice {
namespace {

using Operation = MemFileSystem::Operation;

struct ModelBatch {
  Offset base;
  Offset next;
  LeaderEpoch epoch;
  std::string bytes;
};

class LogLife : public LogTestBase {
 public:
  void TestBody() override {}

  void Run(uint64_t seed) {
    random_ = std::make_unique<Random>(seed);
    config_.segment_bytes = random_->Between(1, 3000);
    config_.index_interval_bytes = static_cast<int32_t>(random_->Between(1, 600));
    config_.tail_cache_bytes = random_->Between(0, 1500);
    config_.producer_snapshot_bytes = random_->Between(1, 2000);
    ASSERT_TRUE(Open().ok());
    const int64_t steps = random_->Between(5, 60);
    for (int64_t i = 0; i < steps && !HasFailure(); ++i) {
      Step();
      CheckProducers();
    }
    if (!HasFailure()) EndAndRecover();
  }
  std::map<std::string, int64_t> counts;

 private:
  void Step() {
    if (random_->OneIn(12)) return EndAndRecover();
    // The machine may end inside the operation.
    if (random_->OneIn(15)) fs_.StopAfter(random_->Between(0, 6));
    const int64_t what = random_->Between(0, 99);
    if (what < 50) {
      AppendSome();
    } else if (what < 62) {
      SyncSome();
    } else if (what < 70) {
      StoreMarks();
    } else if (what < 76) {
      BeginEpoch();
    } else if (what < 84) {
      Truncate();
    } else if (what < 88) {
      MoveLogStart();
    } else if (what < 90) {
      Reset();
    } else {
      CheckARead();
    }
    if (fs_.stopped()) {
      ++counts["ended inside an operation"];
      EndAndRecover();
    }
  }

  // ---- Operations: the model changes with the log ----

  void AppendSome() {
    const int rows = static_cast<int>(random_->Between(1, 4));
    const LeaderEpoch epoch =
        std::max(log_->epochs().last_epoch(), committed_epoch_);
    std::vector<ModelBatch> row;
    std::string payload;
    Offset at = log_->leo();
    for (int i = 0; i < rows; ++i) {
      TestBatch what{static_cast<int>(random_->Between(1, 3)), Codec::kNone,
                     NextValue(static_cast<size_t>(random_->Between(1, 500)))};
      if (random_->OneIn(2)) {
        what.producer_id = random_->Between(0, 3);
        what.producer_epoch = static_cast<int16_t>(random_->OneIn(9));
        what.base_sequence = static_cast<int32_t>(random_->Between(0, 9));
      }
      const Buffer batch = MakeStoredBatch(at, epoch, what);
      const Offset next = BatchView::Parse(batch.view())->header().next_offset();
      row.push_back({at, next, epoch, std::string(batch.view())});
      payload.append(batch.view());
      at = next;
    }
    const bool fails = random_->OneIn(10);
    if (fails) {
      fs_.FailNextOn("/p/", Operation::kWrite, 1, random_->OneIn(2));
    }
    const auto info =
        random_->OneIn(2)
            ? log_->AppendAsLeader(MutableBuffer::CopyOf(payload), epoch)
            : log_->AppendAsFollower(Buffer::CopyOf(payload));
    fs_.FailNextOn("nothing", Operation::kWrite, 0);
    if (info.ok()) {
      ASSERT_EQ(info->next, at);
      Accept(row);
    } else if (fs_.stopped()) {
      // Nobody was told anything: any prefix of the row may be found.
      attempted_ = row;
    } else {
      ++counts["failed write"];
      ASSERT_TRUE(fails) << info.status();
      ASSERT_FALSE(log_->failed());
    }
  }

  void Accept(const std::vector<ModelBatch>& row) {
    before_cut_.reset();  // an append made the cut durable
    for (const ModelBatch& batch : row) {
      model_.push_back(batch);
      epochs_.Assign(batch.epoch, batch.base);
    }
  }

  void SyncSome() {
    if (random_->OneIn(3)) {
      // A late sync: reported at some later step, or never.
      if (auto taken = log_->TakeUnsynced()) under_way_.push_back(*taken);
      ++counts["late sync"];
      return;
    }
    if (under_way_.empty()) {
      const absl::Status synced = log_->SyncNow();
      ASSERT_TRUE(synced.ok() || fs_.stopped()) << synced;
      if (synced.ok()) before_cut_.reset();
      return;
    }
    const Unsynced synced = under_way_.front();
    under_way_.erase(under_way_.begin());
    for (const auto& file : synced.targets.files) {
      if (!file->SyncData().ok()) return;
    }
    for (const std::string& directory : synced.targets.directories) {
      if (!fs_.SyncDirectory(directory).ok()) return;
    }
    log_->MarkDurable(synced);
    if (synced.generation == log_->generation()) before_cut_.reset();
  }

  // The journal is another component: here what is stored is durable.
  void StoreMarks() { marks_ = MarksOf(*log_); }

  void BeginEpoch() {
    // Newer than any that was ever seen, also in what was cut.
    newest_epoch_ += static_cast<int32_t>(random_->Between(1, 3));
    const LeaderEpoch epoch = newest_epoch_;
    ASSERT_TRUE(log_->StartEpoch(epoch));
    epochs_.Assign(epoch, log_->leo());
    StoreMarks();
  }

  void Truncate() {
    const Offset target(random_->Between(log_->log_start().value(),
                                         log_->leo().value() + 1));
    const Offset leo = log_->leo();
    const uint64_t generation = log_->generation();
    // The owner's marks go first (ST8); where epochs end a batch does, too.
    Offset end = log_->log_start();
    for (const ModelBatch& batch : model_) {
      if (batch.next <= target) end = batch.next;
    }
    marks_.durable_mark = std::min(marks_.durable_mark, end);
    marks_.recovery_point = std::min(marks_.recovery_point, end);
    if (!log_->TruncateTo(target).ok()) {
      ASSERT_TRUE(fs_.stopped());
      interrupted_cut_ = true;
      return;
    }
    if (log_->generation() != generation && !before_cut_.has_value()) {
      before_cut_ = {model_, epochs_};
    }
    while (!model_.empty() && model_.back().next > target) model_.pop_back();
    epochs_.TruncateTo(target < leo ? log_->leo() : target);
    ++counts["cut"];
    StoreMarks();
  }

  void MoveLogStart() {
    const Offset start(random_->Between(log_->log_start().value(),
                                        log_->leo().value()));
    committed_epoch_ =
        std::max(committed_epoch_, log_->epochs().EpochAt(start - 1));
    ASSERT_TRUE(log_->SetLogStart(start).ok());
    epochs_.TrimTo(start);
    while (!model_.empty() && model_.front().next <= start) {
      model_.erase(model_.begin());
    }
    StoreMarks();
    const absl::Status dropped = log_->DropBelowLogStart();
    ASSERT_TRUE(dropped.ok() || fs_.stopped()) << dropped;
  }

  void Reset() {
    // One cut at a time: else what the last one took away may come back.
    if (before_cut_.has_value()) return;
    const Offset start = log_->leo() + random_->Between(1, 50);
    marks_ = {};
    marks_.log_start = marks_.recovery_point = marks_.durable_mark =
        marks_.high_watermark = start;
    model_.clear();
    epochs_.Clear();
    const absl::Status reset = log_->ResetTo(start);
    ASSERT_TRUE(reset.ok() || fs_.stopped()) << reset;
    durable_floor_ = start;
    ++counts["reset"];
  }

  void CheckARead() {
    if (model_.empty()) return;
    const ModelBatch& batch = model_[random_->Below(model_.size())];
    const Offset from = std::max(batch.base, log_->log_start());
    if (const auto hit = log_->ReadInMemory(from, log_->leo(), 1)) {
      EXPECT_EQ(hit->batches.view(), batch.bytes);
      ++counts["read in memory"];
    }
    const auto read = Read(from, batch.next, 1);
    if (fs_.stopped()) return;
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, batch.bytes);
  }

  void CheckProducers() {
    if (fs_.stopped() || log_ == nullptr || log_->failed()) return;
    ExpectProducersOf(log_->producers(), ReadAll(), log_->leo());
  }

  // ---- The end, and what must be there after it ----

  void EndAndRecover() {
    const Offset durable =
        interrupted_cut_ ? log_->log_start()
                         : std::max(log_->durable_leo(), durable_floor_);
    const RecoveryMarks marks = marks_;
    End();
    // Recovery may be ended, too.
    while (random_->OneIn(3)) {
      fs_.StopAfter(random_->Between(0, 8));
      const absl::Status opened = Open();
      ASSERT_TRUE(opened.ok() || fs_.stopped()) << opened;
      ++counts["ended inside a recovery"];
      End();
    }
    const absl::Status opened = Open();
    ASSERT_TRUE(opened.ok()) << opened;
    CheckRecovered(durable, marks);
    CheckProducers();
    if (log_->recovery_report().producer_bytes_scanned > 0) {
      ++counts["producers read again"];
    }
    if (log_->recovery_report().epochs_changed ||
        log_->recovery_report().marks_ahead || random_->OneIn(2)) {
      StoreMarks();
    }
  }

  void End() {
    under_way_.clear();
    if (random_->OneIn(4) && !fs_.stopped()) log_->SaveCaches().IgnoreError();
    switch (random_->Below(4)) {
      case 0:
        return fs_.Kill();
      case 1:
        return fs_.Crash(*random_);
      case 2:
        return fs_.CrashReordering(*random_);
      default:
        return fs_.CrashLosingAll();
    }
  }

  void CheckRecovered(Offset durable, const RecoveryMarks& marks) {
    const Offset leo = log_->leo();
    EXPECT_GE(leo, durable);
    EXPECT_EQ(log_->durable_leo(), leo);
    EXPECT_EQ(log_->log_start(), marks.log_start);
    if (!interrupted_cut_) {
      EXPECT_FALSE(log_->recovery_report().lossy);
    }
    interrupted_cut_ = false;
    durable_floor_ = Offset(0);
    // The log as it was, or with a part of the append that was stopped; or as
    // before a cut that was not synced.
    const std::string found = ReadAll();
    auto before_cut = std::exchange(before_cut_, std::nullopt);
    Accept(std::exchange(attempted_, {}));
    if (!model_.empty() && model_.back().next > leo) ++counts["lost a tail"];
    if (BytesUpTo(leo, marks.log_start) != found && before_cut.has_value()) {
      ++counts["unsynced cut undone"];
      model_ = before_cut->first;
      KeepKnownEpochs(before_cut->second, marks.epochs);
    }
    EXPECT_EQ(found, BytesUpTo(leo, marks.log_start));
    EXPECT_EQ(leo, model_.empty() ? marks.log_start : model_.back().next);
    // Epochs: of all batches, and those that the marks alone know.
    EpochHistory epochs;
    for (const EpochStart& start : epochs_.starts()) {
      if (start.start < leo) epochs.Assign(start.epoch, start.start);
    }
    for (const EpochStart& start : marks.epochs.starts()) {
      if (start.start == leo) epochs.Assign(start.epoch, start.start);
    }
    // Of an empty log a batch below its start may tell what the marks do not.
    const LeaderEpoch known = epochs.EpochAt(marks.log_start);
    if (!model_.empty() || known != kNoLeaderEpoch) {
      EXPECT_EQ(log_->epochs().EpochAt(marks.log_start), known);
    }
    // What ended at the log start may be forgotten, or told by a batch below.
    const auto after = [&](std::vector<EpochStart> starts) {
      std::erase_if(starts, [&](const EpochStart& start) {
        return start.start <= marks.log_start;
      });
      return starts;
    };
    EXPECT_EQ(after(log_->epochs().starts()), after(epochs.starts()));
    epochs_ = log_->epochs();
  }

  // Of `before`, what batches tell or the marks, which the cut has lowered.
  void KeepKnownEpochs(const EpochHistory& before, const EpochHistory& marks) {
    epochs_.Clear();
    for (const EpochStart& start : before.starts()) {
      const bool told = std::any_of(
          model_.begin(), model_.end(), [&](const ModelBatch& batch) {
            return batch.epoch == start.epoch;
          });
      if (told || std::binary_search(marks.starts().begin(),
                                     marks.starts().end(), start)) {
        epochs_.Assign(start.epoch, start.start);
      }
    }
  }

  // Cuts the model to what may be there.
  std::string BytesUpTo(Offset leo, Offset log_start) {
    std::string bytes;
    std::erase_if(model_, [&](const ModelBatch& batch) {
      return batch.next > leo || batch.next <= log_start;
    });
    for (const ModelBatch& batch : model_) bytes.append(batch.bytes);
    return bytes;
  }

  std::unique_ptr<Random> random_;
  std::vector<ModelBatch> model_;  // that end above the log start
  EpochHistory epochs_;
  std::vector<Unsynced> under_way_;
  std::vector<ModelBatch> attempted_;  // by the operation that was stopped
  // What a cut that is not synced may bring back.
  std::optional<std::pair<std::vector<ModelBatch>, EpochHistory>> before_cut_;
  LeaderEpoch newest_epoch_{0};
  LeaderEpoch committed_epoch_{0};  // below the log start: none older follows
  bool interrupted_cut_ = false;
  Offset durable_floor_;
};

TEST(LogPropertyTest, WhatWasDurableIsThereAndTheRestIsAPrefix) {
  constexpr uint64_t kLives = 4000;
  std::map<std::string, int64_t> counts;
  for (uint64_t seed = 1; seed <= kLives; ++seed) {
    LogLife life;
    life.Run(seed);
    for (const auto& [what, count] : life.counts) counts[what] += count;
    ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed;
  }
  // A life without faults would prove nothing.
  for (const char* what :
       {"ended inside an operation", "ended inside a recovery", "failed write",
        "late sync", "cut", "reset", "read in memory", "lost a tail",
        "unsynced cut undone", "producers read again"}) {
    EXPECT_GT(counts[what], 100) << what;
  }
}

}  // namespace
}  // namespace sluice
