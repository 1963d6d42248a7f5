// How far groups lag behind their partitions: asked of the partitions' leaders,
// here or elsewhere, and put into descriptions of groups.
#pragma once

#include <functional>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "common/api/log_api.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "sluice/v1/group.pb.h"

namespace sluice::coordinator {

struct LagSources {
  const Clock* clock = nullptr;
  Executor* worker = nullptr;
  // BrokerApi's calls, of any partition of the cluster. Answers on any thread.
  std::function<void(const api::CallContext&, const api::ListOffsetsRequest&,
                     api::Answer<api::ListOffsetsResponse>)>
      list_offsets;
  std::function<void(const api::CallContext&, api::FetchRequest,
                     api::Answer<api::FetchResponse>)>
      fetch;
};

// Partitions of one call whose lag is told; those behind get a BUSY lag_error.
inline constexpr size_t kLagPartitionsMax = 5'000;
// First unread records that are read at a time, for their age.
inline constexpr size_t kAgesAtOnce = 16;

// On the worker, `done` too.
void AddLag(const LagSources& sources, const api::CallContext& context,
            v1::DescribeGroupsResponse response,
            absl::AnyInvocable<void(v1::DescribeGroupsResponse)> done);

}  // namespace sluice::coordinator
