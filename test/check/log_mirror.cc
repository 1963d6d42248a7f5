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

struct Taken {
  Offset next;       // where those that were visited end
  size_t bytes = 0;  // up to there
};

// Those of the batches in `bytes` that lie in [from, upto).
Taken Take(std::string_view bytes, Offset from, Offset upto,
           BatchVisitor visit) {
  BatchCursor cursor(bytes);
  Taken taken{from};
  while (taken.next < upto) {
    const auto batch = cursor.Next();
    if (!batch.ok() || !batch->has_value()) break;
    const Offset next = (*batch)->header().next_offset();
    if (next > upto) break;
    taken.bytes += (*batch)->bytes().size();
    if (next <= taken.next) continue;
    visit(**batch);
    taken.next = next;
  }
  return taken;
}

std::string SegmentPath(const Log& log, Offset base) {
  return StrCat(log.path(), "/", SegmentFileName(base, ".log"));
}

Offset TakeFromSegment(const Log& log, const MemFileSystem& disk, Offset from,
                       LogPlace& place, BatchVisitor visit) {
  const std::vector<Offset> bases = log.segment_bases();
  const auto after = std::upper_bound(bases.begin(), bases.end(), from);
  if (after == bases.begin()) return from;
  const Offset segment = *std::prev(after);
  const auto bytes = disk.PeekWritten(SegmentPath(log, segment));
  if (!bytes.has_value()) return from;
  const bool known = place.next == from && place.segment == segment &&
                     place.bytes <= bytes->size();
  const size_t at = known ? place.bytes : 0;
  const Offset upto = after == bases.end() ? log.leo() : *after;
  const Taken taken =
      Take(std::string_view(*bytes).substr(at), from, upto, visit);
  place = {taken.next, segment, at + taken.bytes};
  return taken.next;
}

}  // namespace

void VisitBatches(const Log& log, const MemFileSystem& disk, Offset from,
                  LogPlace& place, BatchVisitor visit) {
  while (from < log.leo()) {
    const auto tail = log.ReadInMemory(from, log.leo(),
                                       std::numeric_limits<int32_t>::max());
    const Offset next =
        tail.has_value()
            ? Take(tail->batches.view(), from, log.leo(), visit).next
            : TakeFromSegment(log, disk, from, place, visit);
    if (next == from) return;
    from = next;
  }
}

void ReadBatches(const Log& log, const MemFileSystem& disk, Offset from,
                 LogPlace& place, std::vector<StoredBatch>& out) {
  VisitBatches(log, disk, from, place, [&out](const BatchView& batch) {
    out.push_back(ViewOf(batch));
  });
}

std::string ReadLogBytes(const Log& log, const MemFileSystem& disk) {
  std::string bytes;
  for (const Offset base : log.segment_bases()) {
    bytes += disk.PeekWritten(SegmentPath(log, base)).value_or("");
  }
  return bytes;
}

}  // namespace sluice::check
