// What a partition remembers of idempotent producers, by the broker's rules
// (correctness.md IP1-IP3), for the fake cluster of client tests.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "storage/batch_header.h"

namespace sluice {

class FakeProducers {
 public:
  struct Verdict {
    ErrorCode error = ErrorCode::kNone;
    // Set: stored already, there; nothing is to be appended.
    std::optional<Offset> duplicate;
  };

  Verdict Judge(const BatchHeader& header) const;
  // `header` was judged fine and stored at `base`.
  void OnStored(const BatchHeader& header, Offset base);
  // As if they had expired.
  void Forget() { producers_.clear(); }

 private:
  static constexpr size_t kBatchesKept = 5;
  struct Batch {
    int32_t base_sequence = 0;
    int32_t last_sequence = 0;
    Offset base;
  };
  struct Producer {
    int16_t epoch = 0;
    std::deque<Batch> batches;
  };

  std::map<ProducerId, Producer> producers_;
};

}  // namespace sluice
