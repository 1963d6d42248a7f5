// Record batches on their way out in the RECORDS form.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/api/log_api.h"
#include "common/base/buffer.h"
#include "common/base/ids.h"

namespace sluice {

struct DecodedRecords {
  std::vector<api::Record> records;
  int64_t bytes = 0;  // of keys, values and headers, and some for each record
  // Set when `bytes_max` ended it: the first record left out.
  Offset stopped_at = kNoOffset;
};

// The records of `batches` from `from` on. Stops before the record that would
// pass `bytes_max`, never before the first. Control batches hold no records
// for readers. CORRUPT_MESSAGE and the errors of storage/record_reader.h.
absl::StatusOr<DecodedRecords> DecodeRecords(const std::vector<Buffer>& batches,
                                             Offset from, int64_t bytes_max);

// Turns what was read into the RECORDS form, within `bytes_max` of decoded
// bytes; returns how many it took. Where a batch cannot be decoded the result
// becomes an error.
int64_t DecodeInto(api::FetchResult& result, Offset from, int64_t bytes_max);

}  // namespace sluice
