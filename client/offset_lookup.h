// Where partitions begin and end.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "client/metadata_cache.h"

namespace sluice {

// Asks the leaders of many partitions for their earliest or latest offsets,
// following leaders, until all answered or `timeout_us` passed. Lives on the
// client's executor; keeps itself alive until `done` ran, which it does once.
class OffsetLookup {
 public:
  using Done = absl::AnyInvocable<void(
      absl::StatusOr<std::map<NamedPartition, Offset>>)>;

  static void Start(const ClientDeps& deps, const ClientOptions& client,
                    MetadataCache* metadata,
                    std::vector<NamedPartition> partitions,
                    api::OffsetPosition position, int64_t timeout_us,
                    Done done);
};

}  // namespace sluice
