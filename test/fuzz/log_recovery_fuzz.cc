// Log::Open on arbitrary files (storage/log_recovery.h; ST2, ST3, ST7).
//
// Property: the answer is a log or one of the two errors that are promised.
// - CORRUPT_MESSAGE changes no segment that lies above the log start, and
//   another try says it again.
// - A log that is scanned whole (recovery point 0) is the longest prefix of
//   whole, valid, contiguous batches of the files, byte for byte, and can be
//   read. The prefix is found here by a scan that knows nothing of segments'
//   indexes, marks or windows.
// - Bytes are cut only above what was durable; an end below a mark is told
//   (marks_ahead, lossy).
// - Opening it again gives the same log, also after a power cut, also after
//   one in the middle of the first recovery (ST7); it takes an append, which
//   is there after the next power cut.
//
// Input: flags, marks, then pieces of files (ReadCase).
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/env/mem_file_system.h"
#include "storage/batch_testing.h"
#include "storage/log.h"
#include "test/fuzz/fuzz_input.h"

namespace sluice::fuzz {
namespace {

constexpr const char* kPath = "/d/p";

enum Flag : uint8_t {
  kCleanShutdown = 1,
  kLossy = 2,
  kRepairCrcs = 4,
  kScanAll = 8,  // recovery point 0
};

struct Case {
  RecoveryMarks marks;
  std::map<std::string, std::string> files;  // by name
  int64_t stop_after = 0;                    // changes of the first recovery
  uint64_t crash_seed = 0;
};

void RepairCrcs(std::string& segment) {
  for (size_t at = 0; at + kBatchHeaderBytes <= segment.size();) {
    const auto batch = BatchView::Parse(std::string_view(segment).substr(at));
    if (!batch.ok()) return;
    BatchHeader header = batch->header();
    header.crc = Crc32c(batch->bytes().substr(kBatchCrcFrom));
    header.Store(segment.data() + at);
    at += static_cast<size_t>(header.size_bytes());
  }
}

Case ReadCase(FuzzInput& in) {
  Case what;
  const uint8_t flags = in.U8();
  what.stop_after = in.U8();
  what.crash_seed = in.U8();
  RecoveryMarks& marks = what.marks;
  marks.log_start = Offset(in.U16());
  marks.recovery_point = Offset(in.U16());
  marks.durable_mark = Offset(in.U16());
  marks.high_watermark = Offset(in.U16());
  marks.clean_shutdown = (flags & kCleanShutdown) != 0;
  marks.lossy = (flags & kLossy) != 0;
  if ((flags & kScanAll) != 0) marks.recovery_point = Offset(0);
  for (uint8_t count = in.Below(8); count > 0; --count) {
    const LeaderEpoch epoch(in.U8());
    marks.epochs.Assign(epoch, Offset(in.U16()));
  }
  std::string* last = nullptr;
  while (!in.empty()) {
    const uint8_t kind = in.Below(3);
    if (kind == 2) {  // sectors that were never written
      const uint16_t zeros = in.U16();
      if (last != nullptr) last->append(zeros % 2048, '\0');
      continue;
    }
    const Offset base(in.U16());
    last = &what.files[SegmentFileName(base, kind == 0 ? ".log" : ".index")];
    last->append(in.Piece());
  }
  if ((flags & kRepairCrcs) != 0) {
    for (auto& [name, content] : what.files) {
      if (name.ends_with(".log")) RepairCrcs(content);
    }
  }
  return what;
}

LogConfig Config() {
  LogConfig config;
  config.segment_bytes = 4096;
  config.index_interval_bytes = 64;
  return config;
}

std::unique_ptr<MemFileSystem> MakeDisk(const Case& what) {
  auto fs = std::make_unique<MemFileSystem>();
  absl::Status done = CreateDirectories(*fs, kPath);
  for (const auto& [name, content] : what.files) {
    auto file = fs->Open(StrCat(kPath, "/", name), OpenMode::kCreate);
    INVARIANT(file.ok(), file.status().ToString());
    done.Update((*file)->Write(0, content));
  }
  done.Update(fs->SyncAll("/"));
  INVARIANT(done.ok(), done.ToString());
  return fs;
}

// Segments on a disk, by base.
std::map<Offset, std::string> SegmentsOn(MemFileSystem& fs) {
  std::map<Offset, std::string> segments;
  const auto entries = fs.List(kPath);
  INVARIANT(entries.ok(), entries.status().ToString());
  for (const DirectoryEntry& entry : *entries) {
    if (const auto base = ParseSegmentFileName(entry.name, ".log")) {
      segments[*base] = *fs.Peek(StrCat(kPath, "/", entry.name));
    }
  }
  return segments;
}

// Those that count with this log start: the last that begins at or below it,
// and all after.
void DropBelow(Offset log_start, std::map<Offset, std::string>& segments) {
  while (segments.size() > 1 &&
         std::next(segments.begin())->first <= log_start) {
    segments.erase(segments.begin());
  }
}

struct Prefix {
  std::string bytes;
  Offset end;
};

Prefix ValidPrefix(const std::map<Offset, std::string>& segments,
                   const RecoveryMarks& marks) {
  if (segments.empty()) return {"", marks.log_start};
  Prefix prefix{"", segments.begin()->first};
  LeaderEpoch epoch(0);
  // No batch is of an older epoch than those that began before the first.
  for (const EpochStart& known : marks.epochs.starts()) {
    if (known.start < prefix.end) epoch = std::max(epoch, known.epoch);
  }
  for (const auto& [base, content] : segments) {
    if (base != prefix.end) return prefix;
    BatchCursor cursor(content);
    for (;;) {
      const auto batch = cursor.Next();
      if (!batch.ok()) return prefix;
      if (!batch->has_value()) break;
      const BatchHeader& header = (*batch)->header();
      if (!(*batch)->CrcMatches() || header.base_offset != prefix.end ||
          header.leader_epoch < epoch) {
        return prefix;
      }
      epoch = header.leader_epoch;
      prefix.end = header.next_offset();
      prefix.bytes.append((*batch)->bytes());
    }
  }
  return prefix;
}

// What must be the same however often a log is opened.
struct Opened {
  ErrorCode code = ErrorCode::kNone;
  Offset log_start;
  Offset leo;
  EpochHistory epochs;
  std::string bytes;  // of all segments

  bool operator==(const Opened&) const = default;
};

std::string Joined(const std::map<Offset, std::string>& segments) {
  std::string all;
  for (const auto& [base, content] : segments) all += content;
  return all;
}

Opened Describe(MemFileSystem& fs,
                const absl::StatusOr<std::unique_ptr<Log>>& log) {
  Opened opened;
  opened.code = CodeOf(log.status());
  if (!log.ok()) return opened;
  opened.log_start = (*log)->log_start();
  opened.leo = (*log)->leo();
  opened.epochs = (*log)->epochs();
  opened.bytes = Joined(SegmentsOn(fs));
  return opened;
}

Opened Open(MemFileSystem& fs, const RecoveryMarks& marks) {
  return Describe(fs, Log::Open({&fs, nullptr}, kPath, Config(), marks));
}

// All records from the log start on, through the log's own reads.
void CheckReads(Log& log) {
  Offset at = log.log_start();
  while (at < log.leo()) {
    const auto plan = log.PlanRead(at, log.leo(), 1 << 20);
    INVARIANT(plan.ok(), "read at ", at, ": ", plan.status().ToString());
    const auto read = ExecuteRead(*plan, /*no_wait=*/false);
    INVARIANT(read.ok() && read->has_value(), "read at ", at, ": ",
              read.status().ToString());
    INVARIANT((*read)->next_offset > at, "a read at ", at, " of ", log.leo(),
              " gives nothing");
    at = (*read)->next_offset;
  }
}

void CheckCorrupt(MemFileSystem& fs, const Case& what) {
  std::map<Offset, std::string> was = SegmentsOn(*MakeDisk(what));
  std::map<Offset, std::string> is = SegmentsOn(fs);
  DropBelow(what.marks.log_start, was);
  DropBelow(what.marks.log_start, is);
  INVARIANT(was == is, "a corrupt log was changed");
  const Opened again = Open(fs, what.marks);
  INVARIANT(again.code == ErrorCode::kCorruptMessage,
            "corrupt, then: ", NameOf(again.code));
}

void CheckReport(const Log& log, const RecoveryMarks& marks) {
  const RecoveryReport& report = log.recovery_report();
  const Offset durable = std::max(marks.durable_mark, marks.recovery_point);
  INVARIANT(report.log_start <= report.leo &&
                report.high_watermark <= report.leo,
            "RP6 log start ", report.log_start, ", HW ",
            report.high_watermark, ", LEO ", report.leo);
  INVARIANT(report.bytes_cut == 0 || report.cut_from >= durable ||
                durable <= marks.log_start,
            "ST2 cut at ", report.cut_from, ", durable was ", durable);
  const bool ahead = report.leo < std::max(durable, marks.high_watermark);
  INVARIANT(report.marks_ahead == ahead && (!ahead || report.lossy),
            "ST8 LEO ", report.leo, " below a mark is not told");
  INVARIANT(log.durable_leo() == log.leo(), "not all that is kept is durable");
}

void CheckWholeScan(MemFileSystem& fs, Log& log, const Case& what) {
  std::map<Offset, std::string> segments = SegmentsOn(*MakeDisk(what));
  DropBelow(what.marks.log_start, segments);
  Prefix want = ValidPrefix(segments, what.marks);
  if (want.end < what.marks.log_start) want = {"", what.marks.log_start};
  INVARIANT(log.leo() == want.end, "recovered to ", log.leo(),
            ", the valid prefix ends at ", want.end);
  INVARIANT(Joined(SegmentsOn(fs)) == want.bytes,
            "the recovered bytes are not the valid prefix");
  CheckReads(log);
}

void CheckAppend(MemFileSystem& fs, std::unique_ptr<Log> log) {
  const LeaderEpoch epoch =
      std::max(log->epochs().last_epoch(), LeaderEpoch(1));
  const Offset end = log->leo();
  const auto appended = log->AppendAsLeader(MakeBatch({.records = 2}), epoch);
  INVARIANT(appended.ok() && appended->base == end,
            appended.status().ToString());
  const absl::Status synced = log->SyncNow();
  INVARIANT(synced.ok(), synced.ToString());
  RecoveryMarks marks;
  marks.log_start = log->log_start();
  marks.recovery_point = end;
  marks.durable_mark = log->leo();
  marks.high_watermark = log->leo();
  marks.epochs = log->epochs();
  log.reset();
  fs.CrashLosingAll();
  const Opened opened = Open(fs, marks);
  INVARIANT(opened.code == ErrorCode::kNone && opened.leo == end + 2 &&
                opened.epochs == marks.epochs,
            "after an append: ", NameOf(opened.code), ", LEO ", opened.leo);
}

void CheckInterrupted(const Case& what, const Opened& want) {
  const auto fs = MakeDisk(what);
  fs->StopAfter(what.stop_after % 32);
  // Whatever it says: the machine dies meanwhile.
  (void)Log::Open({fs.get(), nullptr}, kPath, Config(), what.marks);
  Random random(what.crash_seed);
  fs->Crash(random);
  const Opened again = Open(*fs, what.marks);
  INVARIANT(again == want, "ST7 interrupted after ", what.stop_after % 32,
            " changes: ", NameOf(again.code), " to ", again.leo, ", else ",
            NameOf(want.code), " to ", want.leo);
}

void Check(const Case& what) {
  const auto fs = MakeDisk(what);
  auto log = Log::Open({fs.get(), nullptr}, kPath, Config(), what.marks);
  const Opened first = Describe(*fs, log);
  if (!log.ok()) {
    INVARIANT(first.code == ErrorCode::kCorruptMessage, "not promised: ",
              log.status().ToString());
    CheckCorrupt(*fs, what);
    return CheckInterrupted(what, first);
  }
  CheckReport(**log, what.marks);
  if (what.marks.recovery_point == Offset(0)) {
    CheckWholeScan(*fs, **log, what);
  }
  log->reset();
  INVARIANT(Open(*fs, what.marks) == first, "ST7 opened twice");
  fs->CrashLosingAll();
  auto again = Log::Open({fs.get(), nullptr}, kPath, Config(), what.marks);
  INVARIANT(Describe(*fs, again) == first, "ST7 opened after a power cut");
  CheckInterrupted(what, first);
  CheckAppend(*fs, *std::move(again));
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::FuzzInput input(data, size);
  sluice::fuzz::Check(sluice::fuzz::ReadCase(input));
  return 0;
}
