// The records of the chaos rig: what a value looks like and how it is found
// again in batches.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "test/check/history.h"

namespace sluice::chaos {

// "PRODUCER:NUMBER:filler". The filler differs from value to value.
std::string MakeValue(const check::ValueName& name, size_t bytes);

// nullopt: it is no value of ours.
std::optional<check::ValueName> NameIn(std::string_view value);

// Every record of whole batches that lie one behind the other, checksums
// verified, from offset `from` on. A value that is none of ours gets the name
// -1:OFFSET, which nobody sent. CORRUPT_MESSAGE.
absl::StatusOr<std::vector<check::StoredRecord>> RecordsIn(
    std::string_view batches, int64_t from = 0);

}  // namespace sluice::chaos
