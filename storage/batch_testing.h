// Batches for tests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/buffer.h"
#include "common/base/crc32c.h"
#include "common/base/invariant.h"
#include "storage/batch_builder.h"
#include "storage/batch_header.h"

namespace sluice {

struct TestBatch {
  int records = 1;
  Codec codec = Codec::kNone;
  std::string value = "value";
  int64_t timestamp_ms = 1000;
  // Of an idempotent producer; -1: none.
  int64_t producer_id = -1;
  int16_t producer_epoch = -1;
  int32_t base_sequence = -1;
};

inline MutableBuffer MakeBatch(const TestBatch& what = {}) {
  BatchOptions options;
  options.codec = what.codec;
  options.bytes_max = 64 << 20;
  options.producer_id = ProducerId(what.producer_id);
  options.producer_epoch = what.producer_epoch;
  options.base_sequence = what.base_sequence;
  BatchBuilder builder(options);
  for (int i = 0; i < what.records; ++i) {
    RecordView record;
    record.value = what.value;
    record.timestamp_ms = what.timestamp_ms + i;
    INVARIANT(builder.Add(record), "the record must fit");
  }
  auto batch = builder.Finish();
  INVARIANT(batch.ok(), batch.status().ToString());
  return *std::move(batch);
}

// As a leader would store it.
inline Buffer MakeStoredBatch(Offset base, LeaderEpoch epoch,
                              const TestBatch& what = {}) {
  MutableBuffer batch = MakeBatch(what);
  const auto next = AssignOffsets(batch, base, epoch);
  INVARIANT(next.ok(), next.status().ToString());
  return std::move(batch).Publish();
}

inline MutableBuffer Concatenate(const std::vector<std::string_view>& parts) {
  std::string all;
  for (const std::string_view part : parts) all.append(part);
  return MutableBuffer::Adopt(std::move(all));
}

// Stores a changed header, its CRC made right for it.
inline void Rewrite(std::string& batch, BatchHeader header) {
  header.Store(batch.data());
  header.crc = Crc32c(std::string_view(batch).substr(kBatchCrcFrom));
  header.Store(batch.data());
}

}  // namespace sluice
