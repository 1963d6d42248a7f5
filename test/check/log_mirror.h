// Reads which batches a log holds, past every fault and counter.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "common/env/mem_file_system.h"
#include "storage/batch_header.h"
#include "storage/log.h"
#include "test/check/views.h"

namespace sluice::check {

// The batches of `log` from `from` (a batch boundary) up to its end: from memory
// where the tail is, else from the segments in the page cache of `disk`. Stops
// early where no whole batch follows.
using BatchVisitor = absl::FunctionRef<void(const BatchView& batch)>;
void VisitBatches(const Log& log, const MemFileSystem& disk, Offset from,
                  BatchVisitor visit);
// Added to `out`.
void ReadBatches(const Log& log, const MemFileSystem& disk, Offset from,
                 std::vector<StoredBatch>& out);

// The bytes of its segments up to the end, one behind the other.
std::string ReadLogBytes(const Log& log, const MemFileSystem& disk);

}  // namespace sluice::check
