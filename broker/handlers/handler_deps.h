// What every request handler works with.
#pragma once

#include <memory>

#include "broker/partition_host.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "common/env/published.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/image.h"

namespace sluice {

class LeaderCalls;

// Outlives the handlers and every call under way.
struct HandlerDeps {
  const Clock* clock = nullptr;
  // Encodes and decodes records, answers what needs no shard, and owns the
  // streams of Subscribe.
  Executor* worker = nullptr;
  PartitionHosts* hosts = nullptr;
  // The metadata that this broker has applied.
  const Published<MetadataImage>* image = nullptr;
  std::shared_ptr<const ConfigRegistry> configs;
  // Null: nothing is handed on, Route::kForward is as kDirect.
  LeaderCalls* leaders = nullptr;
};

// Partitions named in one request; more is INVALID_REQUEST.
inline constexpr size_t kPartitionsPerRequestMax = 10000;
// The rack of a reader.
inline constexpr size_t kRackBytesMax = 255;
// What BUSY answers advise.
inline constexpr int32_t kBusyRetryAfterMs = 100;
// Answers leave so long before the caller's deadline.
inline constexpr int64_t kDeadlineMarginUs = 50000;

}  // namespace sluice
