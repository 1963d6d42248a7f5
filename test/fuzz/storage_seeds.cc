#include <cstdint>
#include <map>
#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/random.h"
#include "common/base/str_cat.h"
#include "common/env/mem_file_system.h"
#include "storage/batch_testing.h"
#include "storage/dir_store.h"
#include "storage/log.h"
#include "storage/producer_snapshot.h"
#include "test/fuzz/seeds.h"

namespace sluice::fuzz {
namespace {

void Must(const absl::Status& status) {
  INVARIANT(status.ok(), status.ToString());
}

// ---- Varints, record batches ----

std::string RichBatch(Codec codec) {
  BatchOptions options;
  options.codec = codec;
  options.producer_id = ProducerId(4711);
  options.producer_epoch = 2;
  options.base_sequence = 100;
  BatchBuilder builder(options);
  const std::vector<RecordHeaderView> headers = {{"h", "1"},
                                                 {"empty", std::nullopt}};
  RecordView record;
  record.timestamp_ms = 1'700'000'000'000;
  record.key = "key";
  record.value = "value";
  record.headers = headers;
  INVARIANT(builder.Add(record), "the record must fit");
  record.key = std::nullopt;
  record.value = "";
  record.headers = {};
  record.timestamp_ms += 5;
  INVARIANT(builder.Add(record), "the record must fit");
  auto batch = builder.Finish();
  Must(batch.status());
  return std::string(batch->view());
}

void AddRecordSeeds(std::vector<Seed>& seeds) {
  std::string varints;
  for (const int64_t n : {int64_t{0}, int64_t{-1}, int64_t{300}, INT64_MAX,
                          INT64_MIN, int64_t{INT32_MIN}}) {
    PutVarint64(varints, n);
  }
  seeds.push_back({"varint_fuzz", "numbers", varints});
  seeds.push_back({"varint_fuzz", "padded", std::string("\x81\x80\x80\x80\0", 5)});

  const auto add = [&](const char* name, int choices, std::string payload) {
    seeds.push_back({"records_fuzz", name,
                     SeedWriter().U8(choices).Raw(payload).Finish()});
  };
  add("plain", 0, RichBatch(Codec::kNone));
  add("lz4", 0, RichBatch(Codec::kLz4));
  add("zstd", 0, RichBatch(Codec::kZstd));
  add("two", 1, RichBatch(Codec::kNone) + RichBatch(Codec::kZstd));
  add("repaired", 3, RichBatch(Codec::kNone));
  add("compressed_here", 7, RichBatch(Codec::kNone));
  add("keyed", 17, RichBatch(Codec::kNone));
}

// ---- Segments ----

using Files = std::map<std::string, std::string>;

LogConfig SmallConfig() {
  LogConfig config;
  config.segment_bytes = 900;
  config.index_interval_bytes = 64;
  return config;
}

// What a log of three segments leaves on a disk, two epochs in it.
Files LogFiles(size_t value_bytes) {
  MemFileSystem fs;
  Must(CreateDirectories(fs, "/d"));
  auto log = Log::Open({&fs, nullptr}, "/d/p", SmallConfig(), {});
  Must(log.status());
  for (int i = 0; i < 7; ++i) {
    const std::string value(value_bytes, static_cast<char>('a' + i));
    Must((*log)
             ->AppendAsLeader(MakeBatch({1 + i % 2, Codec::kNone, value}),
                              LeaderEpoch(i < 4 ? 1 : 3))
             .status());
  }
  Must((*log)->SaveCaches());
  Must((*log)->SyncNow());
  Files files;
  const auto entries = fs.List("/d/p");
  Must(entries.status());
  for (const DirectoryEntry& entry : *entries) {
    // Those are producer_snapshot_fuzz's.
    if (entry.name.ends_with(".snapshot")) continue;
    files[entry.name] = *fs.Peek(StrCat("/d/p/", entry.name));
  }
  return files;
}

struct Marks {
  int64_t recovery_point = 0;
  int64_t durable_mark = 0;
  int64_t log_start = 0;
};

std::string RecoverySeed(int flags, const Marks& marks, const Files& files,
                         int zeros = 0) {
  SeedWriter out;
  out.U8(flags).U8(3).U8(9);
  out.U16(marks.log_start).U16(marks.recovery_point).U16(marks.durable_mark);
  out.U16(marks.durable_mark);
  out.U8(2).U8(1).U16(0).U8(3).U16(6);  // epochs
  for (const auto& [name, content] : files) {
    const bool is_log = name.ends_with(".log");
    const auto base =
        ParseSegmentFileName(name, is_log ? ".log" : ".index");
    INVARIANT(base.has_value(), name);
    out.U8(is_log ? 0 : 1).U16(base->value()).Piece(content);
  }
  if (zeros > 0) out.U8(2).U16(zeros);
  return out.Finish();
}

Files LogsOnly(Files files) {
  std::erase_if(files,
                [](const auto& file) { return !file.first.ends_with(".log"); });
  return files;
}

void AddRecoverySeeds(std::vector<Seed>& seeds) {
  constexpr int kClean = 1;
  constexpr int kRepair = 4;
  constexpr int kScanAll = 8;
  const auto add = [&](const char* name, std::string bytes) {
    seeds.push_back({"log_recovery_fuzz", name, std::move(bytes)});
  };
  const Files whole = LogFiles(150);
  add("whole", RecoverySeed(kScanAll, {}, whole));
  add("clean", RecoverySeed(kClean, {10, 10, 0}, whole));
  add("from_recovery_point", RecoverySeed(0, {6, 7, 0}, whole));
  add("log_start", RecoverySeed(0, {6, 7, 3}, whole));
  add("reset", RecoverySeed(0, {50, 50, 50}, whole));
  Files torn = LogsOnly(whole);
  torn.rbegin()->second.resize(torn.rbegin()->second.size() - 40);
  add("torn", RecoverySeed(kScanAll, {0, 5, 0}, torn));
  add("torn_durable", RecoverySeed(kScanAll, {0, 10, 0}, torn));
  Files zeros = LogsOnly(whole);
  zeros.rbegin()->second.resize(zeros.rbegin()->second.size() / 2);
  add("zeros", RecoverySeed(kScanAll, {}, zeros, 700));
  Files flipped = LogsOnly(whole);
  flipped.begin()->second[100] ^= 1;
  add("flipped", RecoverySeed(kScanAll, {}, flipped));
  add("repaired", RecoverySeed(kScanAll | kRepair, {}, flipped));
  Files gap = LogsOnly(whole);
  gap.erase(std::next(gap.begin()));
  add("gap", RecoverySeed(kScanAll, {}, gap));
  add("small", RecoverySeed(kScanAll | kRepair, {}, LogsOnly(LogFiles(5))));
}

// ---- Journals ----

void AddJournalSeeds(std::vector<Seed>& seeds) {
  MemFileSystem fs;
  Random random(1);
  auto store = DirStore::Open({&fs, &random}, "/data/d", {}, "boot-1");
  Must(store.status());
  Must((*store)->SetIdentity(ClusterId(Uuid(3, 3)), NodeId(5)));
  PartitionMarks marks;
  marks.high_watermark = Offset(5);
  marks.durable_mark = Offset(9);
  marks.epochs.Assign(LeaderEpoch(1), Offset(0));
  marks.epochs.Assign(LeaderEpoch(4), Offset(7));
  marks.topic_name = std::string("orders");
  for (int32_t i = 0; i < 3; ++i) {
    (*store)->Put({TopicId(Uuid(1, 1)), PartitionIndex(i)}, marks);
  }
  Must((*store)->FlushDurably());
  const std::string compact = *fs.Peek("/data/d/journal");
  (*store)->Remove({TopicId(Uuid(1, 1)), PartitionIndex(1)});
  Must((*store)->StopClean(BrokerEpoch(12)));
  const std::string stopped = *fs.Peek("/data/d/journal");

  const auto add = [&](const char* name, int flags, std::string_view journal) {
    seeds.push_back({"dir_store_fuzz", name,
                     SeedWriter().U8(flags).Raw(journal).Finish()});
  };
  add("running", 0, compact);
  add("stopped", 4, stopped);
  add("compacted", 8, stopped);
  add("repaired", 3, stopped);
  add("torn", 0, std::string_view(stopped).substr(0, stopped.size() - 7));
  add("header", 0, std::string_view(stopped).substr(0, kJournalHeaderBytes));
  std::string flipped = stopped;
  flipped[kJournalHeaderBytes + 30] ^= 4;
  add("flipped", 0, flipped);
}

// ---- Producers ----

std::string SnapshotOf(int producers, int batches, Offset offset) {
  ProducerTable table;
  BatchHeader header;
  for (int i = 0; i < producers * batches; ++i) {
    header.base_offset = Offset(2 * i);
    header.last_offset_delta = 1;
    header.max_timestamp_ms = 1'700'000'000'000 + i;
    header.producer_id = ProducerId(3 + i % producers);
    header.producer_epoch = 0;
    header.base_sequence = 2 * (i / producers);
    table.Apply(header);
  }
  return EncodeProducerSnapshot(table, offset, LeaderEpoch(1));
}

void AddSnapshotSeeds(std::vector<Seed>& seeds) {
  const auto add = [&](const char* name, int flags, std::string_view bytes) {
    seeds.push_back({"producer_snapshot_fuzz", name,
                     SeedWriter().U8(flags).Raw(bytes).Finish()});
  };
  add("empty", 0, SnapshotOf(1, 0, Offset(2)));
  add("of_the_log", 0, SnapshotOf(1, 1, Offset(2)));
  const std::string three = SnapshotOf(3, 7, Offset(42));
  add("three", 0, three);
  add("repaired", 1, three);
  add("too_early", 1, SnapshotOf(3, 7, Offset(41)));
  add("short", 1, std::string_view(three).substr(0, three.size() - 5));
}

}  // namespace

std::vector<Seed> StorageSeeds() {
  std::vector<Seed> seeds;
  AddRecordSeeds(seeds);
  AddRecoverySeeds(seeds);
  AddJournalSeeds(seeds);
  AddSnapshotSeeds(seeds);
  return seeds;
}

}  // namespace sluice::fuzz
