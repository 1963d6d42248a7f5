// Moves the starts of logs up.
#pragma once

#include <map>

#include "absl/functional/any_invocable.h"
#include "client/metadata_cache.h"

namespace sluice {

// Deletes what lies below an offset in many partitions (kNoOffset: all that is
// committed), following leaders, until all answered or `timeout_us` passed.
// Every partition has its own result. Lives on the client's executor; keeps
// itself alive until `done` ran, which it does once.
class RecordDeletion {
 public:
  using Results = std::map<NamedPartition, api::DeleteRecordsResult>;
  using Done = absl::AnyInvocable<void(Results)>;

  static void Start(const ClientDeps& deps, const ClientOptions& client,
                    MetadataCache* metadata,
                    std::map<NamedPartition, Offset> before, bool validate_only,
                    int64_t timeout_us, Done done);
};

}  // namespace sluice
