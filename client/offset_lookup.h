// Where partitions begin and end.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "client/metadata_cache.h"

namespace sluice {

// What is asked of each partition.
struct OffsetQuery {
  OffsetQuery(api::OffsetPosition asked)  // NOLINT(google-explicit-constructor)
      : position(asked) {}
  // The first record of `timestamp_ms` or later.
  static OffsetQuery At(int64_t timestamp_ms) {
    OffsetQuery query(api::OffsetPosition::kTimestamp);
    query.timestamp_ms = timestamp_ms;
    return query;
  }

  api::OffsetPosition position;
  int64_t timestamp_ms = 0;  // kTimestamp
};

// Asks the leaders of many partitions for offsets: the earliest, the latest, or
// by timestamp (kNoOffset where there is no such record),
// following leaders, until all answered or `timeout_us` passed. Lives on the
// client's executor; keeps itself alive until `done` ran, which it does once.
class OffsetLookup {
 public:
  using Done = absl::AnyInvocable<void(
      absl::StatusOr<std::map<NamedPartition, Offset>>)>;

  static void Start(const ClientDeps& deps, const ClientOptions& client,
                    MetadataCache* metadata,
                    std::vector<NamedPartition> partitions,
                    const OffsetQuery& query, int64_t timeout_us,
                    Done done);
};

}  // namespace sluice
