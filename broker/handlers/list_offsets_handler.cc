#include "broker/handlers/list_offsets_handler.h"

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "broker/handlers/topic_resolver.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

// Belongs to the worker; shards post their parts there.
struct Gather {
  api::ListOffsetsResponse response;
  api::Answer<api::ListOffsetsResponse> done;
  size_t missing = 0;
};

struct Asked {
  size_t result;
  OffsetRequest request;
};
using ByHost = std::map<PartitionHost*, std::vector<Asked>>;

absl::StatusOr<ByHost> Spread(const HandlerDeps& deps,
                              const api::ListOffsetsRequest& request,
                              api::ListOffsetsResponse& response) {
  RETURN_IF_ERROR(CheckPartitionCount(request.partitions.size()));
  const std::shared_ptr<const MetadataImage> image = deps.image->Load();
  ByHost by_host;
  SeenPartitions seen;
  for (const api::ListOffsetsPartition& asked : request.partitions) {
    api::ListOffsetsResult& result = response.results.emplace_back();
    result.topic = asked.topic;
    result.partition = asked.partition;
    const auto tp = ResolvePartition(*image, asked.topic, asked.partition);
    if (!tp.ok()) {
      result.error = api::ItemError(tp.status());
      continue;
    }
    RETURN_IF_ERROR(seen.Add(*tp));
    by_host[deps.hosts->HostOf(*tp)].push_back(
        {response.results.size() - 1,
         {*tp, asked.position, asked.leader_epoch, request.isolation}});
  }
  return by_host;
}

void Take(OffsetOutcome outcome, api::ListOffsetsResult& result) {
  result.error = std::move(outcome.error);
  result.leader = std::move(outcome.leader);
  result.offset = outcome.offset;
  result.leader_epoch = outcome.leader_epoch;
  result.high_watermark = outcome.high_watermark;
  result.last_stable_offset = outcome.last_stable_offset;
}

}  // namespace

void ListOffsetsHandler::ListOffsets(
    const api::ListOffsetsRequest& request,
    api::Answer<api::ListOffsetsResponse> done) {
  const auto gather = std::make_shared<Gather>();
  gather->done = std::move(done);
  auto by_host = Spread(deps_, request, gather->response);
  if (!by_host.ok() || by_host->empty()) {
    deps_.worker->Post([gather, status = by_host.status()] {
      if (!status.ok()) gather->response = {};
      gather->done(status, std::move(gather->response));
    });
    return;
  }
  gather->missing = by_host->size();
  for (auto& [host, asked] : *by_host) {
    host->executor()->Post([worker = deps_.worker, host = host, gather,
                            asked = std::move(asked)] {
      std::vector<std::pair<size_t, OffsetOutcome>> found;
      for (const Asked& one : asked) {
        found.emplace_back(one.result, host->FindOffset(one.request));
      }
      worker->Post([gather, found = std::move(found)]() mutable {
        for (auto& [index, outcome] : found) {
          Take(std::move(outcome), gather->response.results[index]);
        }
        if (--gather->missing == 0) {
          gather->done(absl::OkStatus(), std::move(gather->response));
        }
      });
    });
  }
}

}  // namespace sluice
