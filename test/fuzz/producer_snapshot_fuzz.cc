// Snapshots of producers (storage/producer_snapshot.h; F50).
//
// Property: bytes are refused as CORRUPT_MESSAGE, or they are exactly what the
// encoder writes of the table that was read: nothing in them is ignored, and
// the table keeps its rules (batches in order, below the snapshot's offset).
// A log that finds them beside its segment knows of its producers what its
// batches tell, unless they are the snapshot of just this log.
//
// Input: a flag (1: the CRC is made right first), then the file.
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/env/mem_file_system.h"
#include "storage/batch_testing.h"
#include "storage/log.h"
#include "storage/producer_snapshot.h"
#include "test/fuzz/fuzz_input.h"

namespace sluice::fuzz {
namespace {

constexpr size_t kCrcAt = 2;
constexpr size_t kCrcFrom = 6;

void CheckTable(const ProducerSnapshot& snapshot) {
  Offset last = kNoOffset;
  INVARIANT(snapshot.producers.by_last_offset().size() ==
                snapshot.producers.size(),
            "a producer is known twice");
  for (const auto& [offset, id] : snapshot.producers.by_last_offset()) {
    const ProducerState* state = snapshot.producers.Find(id);
    INVARIANT(state != nullptr && state->size() >= 1 &&
                  state->size() <= kProducerBatchesKept,
              "producer ", id, " without batches");
    INVARIANT(state->newest().last_offset() == offset && offset > last &&
                  offset < snapshot.offset,
              "producer ", id, " out of place");
    last = offset;
    for (size_t i = 1; i < state->size(); ++i) {
      INVARIANT(state->at(i).base_offset > state->at(i - 1).last_offset(),
                "batches of producer ", id, " out of order");
    }
  }
}

// Beside a log of one batch of producer 3, at the offset it ends at.
void CheckLog(const std::string& bytes) {
  MemFileSystem fs;
  INVARIANT(CreateDirectories(fs, "/d").ok(), "no directory");
  auto log = Log::Open({&fs, nullptr}, "/d/p", {}, {});
  INVARIANT(log.ok(), log.status().ToString());
  INVARIANT((*log)
                ->AppendAsLeader(MakeBatch({.records = 2,
                                            .producer_id = 3,
                                            .producer_epoch = 0,
                                            .base_sequence = 0}),
                                 LeaderEpoch(1))
                .ok(),
            "no append");
  const ProducerTable told = (*log)->producers();
  log->reset();
  const auto file = fs.Open("/d/p/00000000000000000002.snapshot",
                            OpenMode::kCreate);
  INVARIANT(file.ok() && (*file)->Write(0, bytes).ok(), "no file");
  log = Log::Open({&fs, nullptr}, "/d/p", {}, {});
  INVARIANT(log.ok(), log.status().ToString());
  const auto snapshot = DecodeProducerSnapshot(bytes);
  const bool counts = snapshot.ok() && snapshot->offset == Offset(2) &&
                      snapshot->last_epoch == LeaderEpoch(1);
  INVARIANT(counts || (*log)->producers() == told,
            "a snapshot that does not count was believed");
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  fuzz::FuzzInput in(data, size);
  const bool repair = (in.U8() & 1) != 0;
  std::string bytes(in.Rest());
  if (repair && bytes.size() >= fuzz::kCrcFrom) {
    StoreBig32(bytes.data() + fuzz::kCrcAt,
               Crc32c(std::string_view(bytes).substr(fuzz::kCrcFrom)));
  }
  const auto snapshot = DecodeProducerSnapshot(bytes);
  if (snapshot.ok()) {
    fuzz::CheckTable(*snapshot);
    INVARIANT(EncodeProducerSnapshot(snapshot->producers, snapshot->offset,
                                     snapshot->last_epoch) == bytes ||
                  snapshot->producers.size() == kProducersPerPartitionMax,
              "other bytes are read as the same table");
  } else {
    INVARIANT(CodeOf(snapshot.status()) == ErrorCode::kCorruptMessage,
              snapshot.status().ToString());
  }
  fuzz::CheckLog(bytes);
  return 0;
}
