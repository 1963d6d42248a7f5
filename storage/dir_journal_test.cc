// The journal's bytes: torn ends, damage, rewriting, crashes at every step.
#include "storage/dir_journal.h"

#include <gtest/gtest.h>

#include <set>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "storage/dir_store_testing.h"

namespace sluice {
namespace {

using Operation = MemFileSystem::Operation;

JournalState SomeState() {
  JournalState state;
  state.facts = {DirectoryId(Uuid(5, 5)), ClusterId(Uuid(6, 6)), NodeId(4)};
  state.boot_id = "boot";
  state.clean_stop = BrokerEpoch(8);
  for (int i = 0; i < 5; ++i) state.partitions[Tp(1, i)] = Marks(i * 100);
  return state;
}

std::string Marked(int64_t synced_up_to, const TopicPartition& tp,
                   int64_t at) {
  JournalWriter writer(synced_up_to);
  writer.AddMarks(tp, Marks(at));
  return std::move(writer).Finish();
}

// ---- Bytes ----

TEST(DirJournalTest, AStateSurvivesEncoding) {
  const JournalState state = SomeState();
  const std::string bytes = EncodeJournal(state);
  const auto parsed = ParseJournal(bytes, "j");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->state, state);
  EXPECT_EQ(parsed->valid_bytes, static_cast<int64_t>(bytes.size()));
  EXPECT_FALSE(parsed->torn);
}

TEST(DirJournalTest, LaterRecordsReplaceEarlierOnes) {
  std::string bytes = EncodeJournal(SomeState());
  JournalWriter writer(static_cast<int64_t>(bytes.size()));
  writer.AddMarks(Tp(1, 0), Marks(7));
  writer.AddRemoved(Tp(1, 1));
  writer.AddRunStarted("next");
  bytes.append(std::move(writer).Finish());
  const auto parsed = ParseJournal(bytes, "j");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->state.partitions.at(Tp(1, 0)), Marks(7));
  EXPECT_FALSE(parsed->state.partitions.contains(Tp(1, 1)));
  EXPECT_EQ(parsed->state.boot_id, "next");
  EXPECT_FALSE(parsed->state.clean_stop.has_value());
}

TEST(DirJournalTest, TheSizeOfMarksIsKnownWithoutWritingThem) {
  for (const PartitionMarks& marks : {PartitionMarks(), Marks(5)}) {
    JournalWriter writer(0);
    writer.AddMarks(Tp(1, 0), marks);
    EXPECT_EQ(MarksRecordBytes(marks),
              static_cast<int64_t>(std::move(writer).Finish().size() -
                                   kFrameHeaderBytes));
  }
}

TEST(DirJournalTest, ManyRecordsAreSplitIntoFrames) {
  JournalState state = SomeState();
  for (int i = 0; i < 30'000; ++i) state.partitions[Tp(2, i)] = Marks(i);
  const std::string bytes = EncodeJournal(state);
  ASSERT_GT(bytes.size(), 2 * kFrameRecordsBytes);
  const auto parsed = ParseJournal(bytes, "j");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->state, state);
  // All of it was durable before the file had its name.
  for (size_t at = 100; at < bytes.size(); at += bytes.size() / 20) {
    std::string bad = bytes;
    bad[at] ^= 1;
    EXPECT_EQ(CodeOf(ParseJournal(bad, "j").status()),
              ErrorCode::kStorageError);
  }
}

// storage/FORMAT.md, byte by byte: who changes this changes the format.
TEST(DirJournalTest, TheBytesAreThoseOfTheFormat) {
  const std::string directory(16, 'd');
  const std::string cluster(16, 'c');
  const std::string topic(16, 't');
  std::string records;
  records.append({1, 0, 0, 0, 36}).append(directory).append(cluster);
  records.append({0, 0, 0, 4});
  records.append({2, 0, 0, 0, 6, 0, 4}).append("boot");
  records.append({3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9});
  records.append({4, 0, 0, 0, 84}).append(topic).append({0, 0, 0, 2});
  for (const char mark : {5, 6, 7, 3}) {
    records.append({0, 0, 0, 0, 0, 0, 0, mark});
  }
  records.append({1, 0, 1, 'n', 0, 0, 0, 2});
  records.append({0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3});
  records.append({0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 4});
  std::string frame;
  PutBig32(frame, static_cast<uint32_t>(records.size()));
  PutBig64(frame, 0);
  frame.append(records);
  std::string expected = "SLUICEDJ";
  PutBig32(expected, 1);
  PutBig64(expected, 24 + 8 + frame.size());
  PutBig32(expected, Crc32c(expected));
  expected.append("SLJF");
  PutBig32(expected, Crc32c(frame));
  expected.append(frame);

  JournalState state;
  state.facts = {*DirectoryId::FromBytes(directory),
                 *ClusterId::FromBytes(cluster), NodeId(4)};
  state.boot_id = "boot";
  state.clean_stop = BrokerEpoch(9);
  PartitionMarks& marks = state.partitions[{*TopicId::FromBytes(topic),
                                            PartitionIndex(2)}];
  marks.high_watermark = Offset(5);
  marks.recovery_point = Offset(6);
  marks.durable_mark = Offset(7);
  marks.log_start = Offset(3);
  marks.lossy = true;
  marks.topic_name = "n";
  marks.epochs.Assign(LeaderEpoch(1), Offset(3));
  marks.epochs.Assign(LeaderEpoch(8), Offset(4));
  EXPECT_EQ(EncodeJournal(state), expected);
  EXPECT_EQ(ParseJournal(expected, "j")->state, state);
}

// ---- Torn ends and damage ----

TEST(DirJournalTest, AnEndThatIsCutAnywhereIsTorn) {
  const std::string base = EncodeJournal(SomeState());
  const auto synced = static_cast<int64_t>(base.size());
  const std::string longer = base + Marked(synced, Tp(9, 0), 1);
  const std::string all = longer + Marked(synced, Tp(9, 1), 2);
  for (size_t end = base.size(); end <= all.size(); ++end) {
    const auto parsed = ParseJournal(std::string_view(all).substr(0, end), "j");
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->state.partitions.contains(Tp(9, 0)),
              end >= longer.size());
    EXPECT_EQ(parsed->state.partitions.contains(Tp(9, 1)),
              end == all.size());
    EXPECT_EQ(parsed->torn, end != base.size() && end != longer.size() &&
                                end != all.size());
  }
}

TEST(DirJournalTest, UnsyncedFramesBehindAHoleAreDropped) {
  const std::string base = EncodeJournal(SomeState());
  const auto synced = static_cast<int64_t>(base.size());
  const std::string first = Marked(synced, Tp(9, 0), 1);
  // Written while the first one's sync was still under way.
  const std::string second = Marked(synced, Tp(9, 1), 2);
  for (size_t at = 0; at < first.size(); ++at) {
    std::string torn = first;
    torn[at] ^= 1;
    const auto parsed = ParseJournal(base + torn + second, "j");
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->valid_bytes, synced);
    EXPECT_FALSE(parsed->state.partitions.contains(Tp(9, 1)));
  }
}

// ST2: what a later frame knows to be synced is never cut.
TEST(DirJournalTest, AFlippedBitBelowWhatWasSyncedIsDamage) {
  const std::string base = EncodeJournal(SomeState());
  const std::string first =
      Marked(static_cast<int64_t>(base.size()), Tp(9, 0), 1);
  const std::string good = base + first;
  const std::string second =
      Marked(static_cast<int64_t>(good.size()), Tp(9, 1), 2);
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] ^= 16;
    const auto parsed = ParseJournal(bad + second, "j");
    // The version is judged before anything else is believed.
    const bool version = at >= 8 && at < 12;
    EXPECT_EQ(CodeOf(parsed.status()), version
                                           ? ErrorCode::kUnsupportedFormat
                                           : ErrorCode::kStorageError)
        << at;
  }
}

TEST(DirJournalTest, AJournalShorterThanItWasMadeIsDamage) {
  const std::string base = EncodeJournal(SomeState());
  for (size_t end = 0; end < base.size(); ++end) {
    EXPECT_EQ(CodeOf(ParseJournal(std::string_view(base).substr(0, end), "j")
                         .status()),
              ErrorCode::kStorageError);
  }
}

TEST(DirJournalTest, AForeignFileIsDamage) {
  for (const std::string& bytes :
       {std::string(1000, '\0'), std::string(1000, 'x'), std::string()}) {
    EXPECT_EQ(CodeOf(ParseJournal(bytes, "j").status()),
              ErrorCode::kStorageError);
  }
}

// ---- Formats of others ----

TEST(DirJournalTest, ANewerVersionIsRefusedByName) {
  std::string bytes = EncodeJournal(SomeState());
  StoreBig32(bytes.data() + 8, kFormatVersion + 1);
  const absl::Status refused = ParseJournal(bytes, "the journal").status();
  EXPECT_EQ(CodeOf(refused), ErrorCode::kUnsupportedFormat);
  EXPECT_NE(refused.message().find("the journal has format version 2"),
            absl::string_view::npos);
}

// A frame whose CRC is right, of these records.
std::string Frame(const std::string& records) {
  std::string frame = "SLJF";
  PutBig32(frame, 0);
  PutBig32(frame, static_cast<uint32_t>(records.size()));
  PutBig64(frame, 0);
  frame.append(records);
  StoreBig32(frame.data() + 4, Crc32c(std::string_view(frame).substr(8)));
  return frame;
}

TEST(DirJournalTest, RecordsThatThisVersionDoesNotWriteAreRefused) {
  const std::string base = EncodeJournal(SomeState());
  const std::string uuid(16, 'u');
  const std::string wrongs[] = {
      std::string("\x09\0\0\0\0", 5),              // an unknown type
      std::string("\x03\0\0\0\x04zzzz", 9),        // a short clean stop
      std::string("\x03\0\0\0\x09zzzzzzzzz", 14),  // a long one
      std::string("\x03\0\0\0\xffz", 6),           // past the frame
      std::string("\x03\0\0", 3),                  // half a record
      std::string("\x05\0\0\0\x14", 5) + uuid + "\xff\xff\xff\xff",
  };
  for (const std::string& wrong : wrongs) {
    EXPECT_EQ(CodeOf(ParseJournal(base + Frame(wrong), "j").status()),
              ErrorCode::kUnsupportedFormat);
  }
  EXPECT_TRUE(ParseJournal(base + Frame(""), "j").ok());
}

TEST(DirJournalTest, MarksOutOfRangeAreRefused) {
  const std::string base = EncodeJournal(SomeState());
  JournalWriter writer(0);
  writer.AddMarks(Tp(1, 0), Marks(300));
  const std::string good = std::move(writer).Finish().substr(kFrameHeaderBytes);
  // Byte of the record, what it becomes: high watermark, flag, name length,
  // epoch count, a falling epoch.
  const std::pair<size_t, char> wrongs[] = {
      {25, '\x80'}, {57, 2}, {58, 1}, {66, 1}, {good.size() - 12, '\xff'}};
  ASSERT_TRUE(ParseJournal(base + Frame(good), "j").ok());
  for (const auto& [at, value] : wrongs) {
    std::string bad = good;
    bad[at] = value;
    EXPECT_EQ(CodeOf(ParseJournal(base + Frame(bad), "j").status()),
              ErrorCode::kUnsupportedFormat)
        << at;
  }
}

// ---- In the store ----

class JournalFileTest : public DirStoreTestBase {};

TEST_F(JournalFileTest, ATornEndIsCutBeforeAnythingIsWrittenBehindIt) {
  Open();
  store_->Put(Tp(1, 0), Marks(10));
  ASSERT_TRUE(store_->FlushDurably().ok());
  store_.reset();
  SetJournal(Journal() + std::string(700, 'x'));
  Open();
  EXPECT_EQ(Journal().find("xxx"), std::string::npos);
  EXPECT_EQ(*store_->Find(Tp(1, 0)), Marks(10));
  store_->Put(Tp(1, 1), Marks(11));
  ASSERT_TRUE(store_->FlushDurably().ok());
  fs_.CrashLosingAll();
  Open();
  EXPECT_EQ(store_->partitions().size(), 2u);
}

TEST_F(JournalFileTest, NothingOfAFailedWriteIsLeftBehindALaterOne) {
  Open();
  for (int i = 0; i < 100; ++i) store_->Put(Tp(1, i), Marks(1));
  fs_.FailNextOn("journal", Operation::kWrite);
  ASSERT_FALSE(store_->Flush().ok());
  for (int i = 1; i < 100; ++i) store_->Remove(Tp(1, i));
  ASSERT_TRUE(store_->FlushDurably().ok());
  const auto parsed = ParseJournal(Journal(), "j");
  ASSERT_TRUE(parsed.ok());
  EXPECT_FALSE(parsed->torn);
  EXPECT_EQ(parsed->state.partitions.size(), 1u);
}

TEST_F(JournalFileTest, NothingOfAnOlderDraftIsLeftInARewrite) {
  Open();
  auto draft = fs_.Open("/data/d/journal.tmp", OpenMode::kCreate);
  ASSERT_TRUE(draft.ok());
  ASSERT_TRUE((*draft)->Write(0, std::string(5000, 'x')).ok());
  ASSERT_TRUE(store_->Compact().ok());
  EXPECT_EQ(Journal().find("xxx"), std::string::npos);
}

// A start must not claim that what it read was synced before it was.
TEST_F(JournalFileTest, APowerCutInAStartAfterAKillIsNoDamage) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    WipeDisk();
    Open();
    for (int i = 0; i < 20; ++i) store_->Put(Tp(1, i), Marks(1));
    ASSERT_TRUE(store_->Flush().ok());  // and nobody syncs it
    fs_.Kill();
    store_.reset();
    fs_.StopAfter(static_cast<int64_t>(seed % 4));
    OpenFails().IgnoreError();
    Random random(seed);
    fs_.CrashReordering(random);
    Open();
    ASSERT_FALSE(HasFailure()) << seed;
  }
}

TEST_F(JournalFileTest, DamageIsRefusedAndNothingIsChanged) {
  Open();
  store_->Put(Tp(1, 0), Marks(10));
  ASSERT_TRUE(store_->FlushDurably().ok());
  store_->Put(Tp(1, 1), Marks(10));
  ASSERT_TRUE(store_->FlushDurably().ok());
  store_.reset();
  const std::string good = Journal();
  for (size_t at = 0; at < good.size() / 2; at += 5) {
    std::string bad = good;
    bad[at] ^= 1;
    SetJournal(bad);
    const ErrorCode code = CodeOf(OpenFails());
    EXPECT_TRUE(code == ErrorCode::kStorageError ||
                code == ErrorCode::kUnsupportedFormat)
        << at;
    EXPECT_EQ(Journal(), bad);
  }
  SetJournal(good);
  Open();
}

TEST_F(JournalFileTest, IsRewrittenOnceThatHalvesIt) {
  Open();
  EXPECT_FALSE(store_->wants_compaction());
  int64_t at = 0;
  while (!store_->wants_compaction()) {
    for (int i = 0; i < 100; ++i) store_->Put(Tp(1, i), Marks(++at));
    ASSERT_TRUE(store_->FlushDurably().ok());
  }
  EXPECT_GE(static_cast<int64_t>(Journal().size()), kJournalCompactionBytes);
  const auto marks = store_->partitions();
  store_->Put(Tp(2, 0), Marks(3));  // not flushed
  ASSERT_TRUE(store_->Compact().ok());
  EXPECT_LT(Journal().size(), 20'000u);
  EXPECT_FALSE(store_->wants_compaction());
  EXPECT_FALSE(store_->Flush()->has_value());
  store_->Remove(Tp(1, 99));
  ASSERT_TRUE(store_->FlushDurably().ok());
  fs_.CrashLosingAll();
  Open();
  EXPECT_EQ(store_->partitions().size(), 100u);
  EXPECT_EQ(*store_->Find(Tp(1, 5)), marks.at(Tp(1, 5)));
  EXPECT_EQ(*store_->Find(Tp(2, 0)), Marks(3));
  EXPECT_FALSE(store_->previous_run().clean());
}

TEST_F(JournalFileTest, IsNotRewrittenWhileThatWouldNotHalveIt) {
  Open();
  for (int i = 0; i < 12'000; ++i) store_->Put(Tp(1, i), Marks(i));
  ASSERT_TRUE(store_->FlushDurably().ok());
  EXPECT_GT(static_cast<int64_t>(Journal().size()), kJournalCompactionBytes);
  EXPECT_FALSE(store_->wants_compaction());
  for (int i = 0; i < 12'000; ++i) store_->Put(Tp(1, i), Marks(i + 1));
  ASSERT_TRUE(store_->FlushDurably().ok());
  EXPECT_TRUE(store_->wants_compaction());
}

TEST_F(JournalFileTest, ASyncOfTheOldJournalSaysNothingOfTheNew) {
  Open();
  for (int i = 0; i < 100; ++i) store_->Put(Tp(1, i), Marks(1));
  const auto pending = store_->Flush();
  ASSERT_TRUE(pending->has_value());
  for (int i = 0; i < 100; ++i) store_->Remove(Tp(1, i));
  ASSERT_TRUE(store_->Compact().ok());
  ASSERT_LT(static_cast<int64_t>(Journal().size()), (*pending)->position);
  store_->Put(Tp(1, 1), Marks(2));
  ASSERT_TRUE(store_->Flush()->has_value());
  store_->MarkSynced(**pending);
  EXPECT_TRUE(store_->Flush()->has_value());  // still not synced
}

TEST_F(JournalFileTest, ARewriteThatFailsLeavesTheOldOneInUse) {
  Open();
  store_->Put(Tp(1, 0), Marks(1));
  fs_.FailNextOn("journal.tmp", Operation::kWrite, 1, /*full=*/true);
  EXPECT_EQ(CodeOf(store_->Compact()), ErrorCode::kStorageFull);
  fs_.FailNextOn("journal", Operation::kRename);
  EXPECT_EQ(CodeOf(store_->Compact()), ErrorCode::kStorageError);
  ASSERT_TRUE(store_->FlushDurably().ok());
  ASSERT_TRUE(store_->Compact().ok());
  fs_.CrashLosingAll();
  Open();
  EXPECT_EQ(*store_->Find(Tp(1, 0)), Marks(1));
  // ST4: not so once a sync has failed.
  fs_.FailNextOn("journal.tmp", Operation::kSyncData);
  EXPECT_FALSE(store_->Compact().ok());
  EXPECT_FALSE(store_->Compact().ok());
  EXPECT_FALSE(store_->FlushDurably().ok());
}

// Every step of a life, stopped after each change, ended in each way: what
// was durable is there, what was not is there wholly or not at all.
TEST_F(JournalFileTest, ACrashAtAnyStepKeepsWhatWasDurable) {
  bool interrupted = true;
  std::set<int64_t> seen;
  for (int64_t stop = 0; interrupted; ++stop) {
    for (uint64_t how = 0; how < 4; ++how) {
      WipeDisk();
      ASSERT_TRUE(fs_.CreateDirectory("/data").ok());
      ASSERT_TRUE(fs_.SyncDirectory("/").ok());
      DirectoryId id;
      int64_t durable = 0;
      int64_t put = 0;
      bool owned = false;
      bool stopped_clean = false;
      fs_.StopAfter(stop);
      auto store = DirStore::Open({&fs_, &random_}, kDirectory, {}, "one");
      if (store.ok()) {
        id = (*store)->facts().directory_id;
        owned = (*store)->SetIdentity(ClusterId(Uuid(1, 1)), NodeId(1)).ok();
        for (int i = 1; i <= 4; ++i) {
          (*store)->Put(Tp(1, 0), Marks(i));
          for (int p = 1; p < 15; ++p) (*store)->Put(Tp(1, p), Marks(i));
          put = i;
          const bool done = i == 2 ? (*store)->Compact().ok()
                                   : (*store)->FlushDurably().ok();
          if (done) durable = i;
        }
        (*store)->Put(Tp(1, 0), Marks(5));
        put = 5;
        stopped_clean = (*store)->StopClean(BrokerEpoch(9)).ok();
        if (stopped_clean) durable = 5;
      }
      interrupted = fs_.stopped();
      Random random(static_cast<uint64_t>(stop) * 4 + how);
      if (how == 0) fs_.Kill();
      if (how == 1) fs_.Crash(random);
      if (how == 2) fs_.CrashReordering(random);
      if (how == 3) fs_.CrashLosingAll();
      store = absl::UnknownError("gone");
      Open({}, "two");
      ASSERT_FALSE(HasFailure()) << "stop " << stop << " how " << how;
      if (id.is_set()) {
        EXPECT_EQ(store_->facts().directory_id, id);
      }
      if (owned) {
        EXPECT_EQ(store_->facts().node_id, NodeId(1));
      }
      if (stopped_clean) {
        EXPECT_TRUE(store_->previous_run().clean());
      }
      const PartitionMarks* marks = store_->Find(Tp(1, 0));
      const int64_t found =
          marks == nullptr ? 0 : marks->high_watermark.value();
      EXPECT_GE(found, durable);
      EXPECT_LE(found, put);
      if (marks != nullptr) {
        EXPECT_EQ(*marks, Marks(found));
      }
      if (store_->previous_run().clean()) {
        EXPECT_EQ(found, 5);
      }
      seen.insert(found);
      // What this run found stays, with what it adds.
      store_->Put(Tp(3, 3), Marks(9));
      ASSERT_TRUE(store_->FlushDurably().ok());
      fs_.CrashLosingAll();
      Open({}, "three");
      EXPECT_NE(store_->Find(Tp(3, 3)), nullptr);
      marks = store_->Find(Tp(1, 0));
      EXPECT_EQ(found, marks == nullptr ? 0 : marks->high_watermark.value());
      ASSERT_FALSE(HasFailure()) << "stop " << stop << " how " << how;
    }
  }
  EXPECT_EQ(seen.size(), 6u);
}

}  // namespace
}  // namespace sluice
