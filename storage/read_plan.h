// A read of a log that can run on another thread: planned by the log's owner,
// executed on an I/O thread (or at once, without waiting for a disk), and
// dropped by the owner when the log's generation has moved meanwhile.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/buffer.h"
#include "common/base/epoch_history.h"
#include "common/base/ids.h"
#include "common/env/file_system.h"
#include "storage/offset_index.h"

namespace sluice {

// Whole batches: the first one contains the offset asked for and may begin
// below it.
struct ReadResult {
  Buffer batches;
  Offset base;         // of the first batch
  Offset next_offset;  // where to go on; equals the offset asked when empty
};

// Holds what it needs of the log: files stay readable after they are removed.
struct ReadPlan {
  uint64_t generation = 0;
  Offset from;
  Offset upto;  // batches that end above are not given
  int64_t bytes_max = 0;

  std::shared_ptr<File> file;
  // Set for a sealed segment without a known position.
  std::shared_ptr<const SealedIndex> index;
  Offset segment_base;
  // Of the batch that ends at index_offset, or of the segment's first batch.
  int64_t position = 0;
  std::optional<Offset> index_offset;
  int64_t position_end = 0;  // the segment's bytes at planning
  EpochHistory epochs;
};

// Reads past this many bytes are cut to it: a caller's bytes_max is a wish.
inline constexpr int64_t kReadBytesMax = 64 << 20;

// Any thread. `no_wait`: nullopt when a disk would have to be waited for.
// Checks of every batch that it gives: base offset = the expected next, magic,
// length within the segment, the epoch = the epoch history's, CRC (ST1).
// CORRUPT_MESSAGE: the replica must be quarantined. kStorageError: EIO; that
// request fails (ST10).
absl::StatusOr<std::optional<ReadResult>> ExecuteRead(const ReadPlan& plan,
                                                      bool no_wait);

}  // namespace sluice
