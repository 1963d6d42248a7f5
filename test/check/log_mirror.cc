#include "test/check/log_mirror.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include "common/base/str_cat.h"
#include "storage/batch_header.h"
#include "storage/segment.h"

namespace sluice::check {
namespace {

StoredBatch ViewOf(const BatchView& batch) {
  const BatchHeader& header = batch.header();
  StoredBatch stored{header.base_offset, header.last_offset(),
                     header.leader_epoch, header.crc, batch.CrcMatches()};
  // Markers of transactions carry no sequence.
  if (header.producer_id != kNoProducerId && header.base_sequence >= 0) {
    stored.producer = header.producer_id;
    stored.producer_epoch = header.producer_epoch;
    stored.base_sequence = header.base_sequence;
  }
  return stored;
}

// Those of the batches in `bytes` that lie in [from, upto); returns where they
// end.
Offset Take(std::string_view bytes, Offset from, Offset upto,
            BatchVisitor visit) {
  BatchCursor cursor(bytes);
  while (from < upto) {
    const auto batch = cursor.Next();
    if (!batch.ok() || !batch->has_value()) break;
    if ((*batch)->header().next_offset() <= from) continue;
    if ((*batch)->header().next_offset() > upto) break;
    visit(**batch);
    from = (*batch)->header().next_offset();
  }
  return from;
}

std::string SegmentPath(const Log& log, Offset base) {
  return StrCat(log.path(), "/", SegmentFileName(base, ".log"));
}

Offset TakeFromSegment(const Log& log, const MemFileSystem& disk, Offset from,
                       BatchVisitor visit) {
  const std::vector<Offset> bases = log.segment_bases();
  const auto after = std::upper_bound(bases.begin(), bases.end(), from);
  if (after == bases.begin()) return from;
  const auto bytes = disk.Peek(SegmentPath(log, *std::prev(after)));
  if (!bytes.has_value()) return from;
  const Offset upto = after == bases.end() ? log.leo() : *after;
  return Take(*bytes, from, upto, visit);
}

}  // namespace

void VisitBatches(const Log& log, const MemFileSystem& disk, Offset from,
                  BatchVisitor visit) {
  while (from < log.leo()) {
    const auto tail = log.ReadInMemory(from, log.leo(),
                                       std::numeric_limits<int32_t>::max());
    const Offset next =
        tail.has_value()
            ? Take(tail->batches.view(), from, log.leo(), visit)
            : TakeFromSegment(log, disk, from, visit);
    if (next == from) return;
    from = next;
  }
}

void ReadBatches(const Log& log, const MemFileSystem& disk, Offset from,
                 std::vector<StoredBatch>& out) {
  VisitBatches(log, disk, from, [&out](const BatchView& batch) {
    out.push_back(ViewOf(batch));
  });
}

std::string ReadLogBytes(const Log& log, const MemFileSystem& disk) {
  std::string bytes;
  for (const Offset base : log.segment_bases()) {
    bytes += disk.Peek(SegmentPath(log, base)).value_or("");
  }
  return bytes;
}

}  // namespace sluice::check
