// Reads which batches a log holds, past every fault and counter.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "common/env/mem_file_system.h"
#include "storage/batch_header.h"
#include "storage/log.h"
#include "test/check/views.h"

namespace sluice::check {

// Where the last look at a log's segments ended: the next one goes on there, and
// does not walk over all that is before it. Of no use once the log was cut.
struct LogPlace {
  Offset next = kNoOffset;  // the batch that begins there
  Offset segment;
  size_t bytes = 0;  // in the segment
};

// The batches of `log` from `from` (a batch boundary) up to its end: from memory
// where the tail is, else from the segments in the page cache of `disk`. Stops
// early where no whole batch follows.
using BatchVisitor = absl::FunctionRef<void(const BatchView& batch)>;
void VisitBatches(const Log& log, const MemFileSystem& disk, Offset from,
                  LogPlace& place, BatchVisitor visit);
// Added to `out`.
void ReadBatches(const Log& log, const MemFileSystem& disk, Offset from,
                 LogPlace& place, std::vector<StoredBatch>& out);

// The bytes of its segments up to the end, one behind the other.
std::string ReadLogBytes(const Log& log, const MemFileSystem& disk);

}  // namespace sluice::check
