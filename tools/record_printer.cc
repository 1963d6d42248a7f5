#include <iostream>

#include "tools/consume.h"

namespace sluice::cli {

absl::StatusOr<bool> RecordPrinter::Print(const FetchedBatch& batch, Offset end,
                                          Offset* next) {
  bool more = true;
  if (batch.truncated_from != kNoOffset) {
    std::cerr << "note    " << batch.tp.ToString()
              << ": an election took back what offsets [" << batch.from << ", "
              << batch.truncated_from
              << ") held; what is printed of them from here on is what the log "
                 "holds now\n";
  }
  const auto read = ForEachRecord(batch, [&](const DecodedRecord& record) {
    if (record.offset >= end) return false;
    if (options_.output == "json") {
      out_ += RecordJson(batch.tp, record) + "\n";
    } else {
      format_.Append(batch.tp, record, out_);
    }
    if (next != nullptr) *next = record.offset + 1;
    if (++printed_ == options_.count) more = false;
    return more;
  });
  if (!read.ok()) return read;
  return more;
}

bool RecordPrinter::Flush() {
  std::cout << out_ << std::flush;
  out_.clear();
  return std::cout.good();
}

}  // namespace sluice::cli
