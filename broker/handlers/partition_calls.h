// One request about many partitions: each is asked on its shard, the answer has
// them in the order asked.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "broker/handlers/handler_deps.h"
#include "broker/handlers/topic_resolver.h"
#include "common/api/log_api.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {

// `Partition` is the request's part about one partition, `Ask` and `Outcome`
// what a PartitionHost takes and gives. The answer belongs to the worker, where
// shards post their parts. Whole-request errors: INVALID_REQUEST (too many or
// no partitions, one named twice); all others are in the results.
template <class Partition, class Ask, class Outcome, class Response>
class PartitionCalls {
 public:
  struct Steps {
    std::function<Ask(const Partition&, const TopicPartition&)> make;
    // On the host's executor; answers there, once, now or later.
    std::function<void(PartitionHost&, const Ask&,
                       absl::AnyInvocable<void(Outcome)>)>
        ask;
    std::function<void(Outcome, typename decltype(Response::results)::value_type&)> put;
  };

  static void Start(const HandlerDeps& deps,
                    const std::vector<Partition>& partitions, Steps steps,
                    api::Answer<Response> done) {
    const auto gather = std::make_shared<Gather>();
    gather->steps = std::move(steps);
    gather->done = std::move(done);
    auto by_host = Spread(deps, partitions, *gather);
    if (!by_host.ok() || by_host->empty()) {
      deps.worker->Post([gather, status = by_host.status()] {
        if (!status.ok()) gather->response = {};
        gather->done(status, std::move(gather->response));
      });
      return;
    }
    for (auto& [host, asked] : *by_host) {
      host->executor()->Post([worker = deps.worker, host = host, gather,
                              asked = std::move(asked)] {
        for (const Asked& one : asked) AskOne(worker, host, gather, one);
      });
    }
  }

 private:
  struct Gather {
    Steps steps;
    Response response;
    api::Answer<Response> done;
    size_t missing = 0;
  };
  struct Asked {
    size_t result;
    Ask ask;
  };
  using ByHost = std::map<PartitionHost*, std::vector<Asked>>;

  static absl::StatusOr<ByHost> Spread(const HandlerDeps& deps,
                                       const std::vector<Partition>& partitions,
                                       Gather& gather) {
    RETURN_IF_ERROR(CheckPartitionCount(partitions.size()));
    const std::shared_ptr<const MetadataImage> image = deps.image->Load();
    ByHost by_host;
    SeenPartitions seen;
    for (const Partition& asked : partitions) {
      auto& result = gather.response.results.emplace_back();
      result.topic = asked.topic;
      result.partition = asked.partition;
      const auto tp = ResolvePartition(*image, asked.topic, asked.partition);
      if (!tp.ok()) {
        result.error = api::ItemError(tp.status());
        continue;
      }
      RETURN_IF_ERROR(seen.Add(*tp));
      by_host[deps.hosts->HostOf(*tp)].push_back(
          {gather.response.results.size() - 1, gather.steps.make(asked, *tp)});
      ++gather.missing;
    }
    return by_host;
  }

  static void AskOne(Executor* worker, PartitionHost* host,
                     const std::shared_ptr<Gather>& gather, const Asked& one) {
    gather->steps.ask(
        *host, one.ask,
        [worker, gather, index = one.result](Outcome outcome) mutable {
          worker->Post([gather, index, outcome = std::move(outcome)]() mutable {
            auto& result = gather->response.results[index];
            result.error = std::move(outcome.error);
            result.leader = std::move(outcome.leader);
            gather->steps.put(std::move(outcome), result);
            if (--gather->missing > 0) return;
            gather->done(absl::OkStatus(), std::move(gather->response));
          });
        });
  }
};

}  // namespace sluice
