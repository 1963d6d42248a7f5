// What the `sluice group` commands have in common.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/cli_context.h"

namespace sluice::cli {

// "Stable"; "Unknown" for a number of a newer broker.
std::string StateText(v1::GroupState state);
// "stable", "preparing", ...; UNSPECIFIED for anything else.
v1::GroupState StateFromText(const std::string& name);
// "OK", "WARN", ...; "-": not known.
std::string LagStateText(v1::LagState state);

// One group. GROUP_ID_NOT_FOUND when there is none, or a dead one.
absl::StatusOr<v1::GroupDescription> DescribeGroup(const Context& context,
                                                   BlockingGroups* groups,
                                                   const std::string& group,
                                                   bool include_lag);

// NON_EMPTY_GROUP names the members of a group that has some: it may not be
// changed from outside then.
absl::Status CheckInactive(const v1::GroupDescription& description);

// "none" below 0.
std::string OffsetText(int64_t offset);

}  // namespace sluice::cli
