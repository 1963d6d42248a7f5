// One request about many partitions: each is asked on its shard, the answer has
// them in the order asked.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "broker/handlers/by_host.h"
#include "broker/handlers/handler_deps.h"
#include "broker/handlers/leader_calls.h"
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
  using Result = typename decltype(Response::results)::value_type;

  struct Steps {
    std::function<Ask(const Partition&, const TopicPartition&)> make;
    // On the host's executor; answers there, once, now or later.
    std::function<void(PartitionHost&, const Ask&,
                       absl::AnyInvocable<void(Outcome)>)>
        ask;
    std::function<void(Outcome, Result&)> put;
    // Set: the request is to be forwarded, and this is how, on the worker.
    std::function<void(LeaderPeer&, std::vector<Partition>, int64_t timeout_us,
                       PeerReply<Response>)>
        forward;
    int64_t deadline_us = INT64_MAX;
    bool writes = false;  // internal topics refuse it
    // Of a partition whose leader elsewhere did not answer.
    ErrorCode lost = ErrorCode::kLeaderNotAvailable;
  };

  static void Start(const HandlerDeps& deps,
                    const std::vector<Partition>& partitions, Steps steps,
                    api::Answer<Response> done) {
    const auto gather = std::make_shared<Gather>();
    gather->steps = std::move(steps);
    gather->done = std::move(done);
    auto spread = SpreadOver(deps, partitions, *gather);
    if (!spread.ok() || gather->missing == 0) {
      deps.worker->Post([gather, status = spread.status()] {
        if (!status.ok()) gather->response = {};
        gather->done(status, std::move(gather->response));
      });
      return;
    }
    for (auto& [host, asked] : spread->by_host) {
      host->executor()->Post([worker = deps.worker, host = host, gather,
                              asked = std::move(asked)] {
        for (const Asked& one : asked) AskOne(worker, host, gather, one);
      });
    }
    for (auto& [leader, handed] : spread->by_leader) {
      deps.worker->Post([leaders = deps.leaders, leader = leader, gather,
                         handed = std::move(handed)]() mutable {
        Forward(leaders, leader, gather, std::move(handed));
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
  struct Handed {
    std::vector<size_t> results;
    std::vector<Partition> partitions;
  };
  struct Spread {
    ByHost<Asked> by_host;
    std::map<LeaderCalls::Leader, Handed> by_leader;
  };

  static absl::StatusOr<Spread> SpreadOver(
      const HandlerDeps& deps, const std::vector<Partition>& partitions,
      Gather& gather) {
    RETURN_IF_ERROR(CheckPartitionCount(partitions.size()));
    const std::shared_ptr<const MetadataImage> image = deps.image->Load();
    const bool forwards =
        gather.steps.forward != nullptr && deps.leaders != nullptr;
    Spread spread;
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
      const absl::Status writable =
          gather.steps.writes ? CheckWritable(*image->FindTopic(tp->topic_id))
                              : absl::OkStatus();
      if (!writable.ok()) {
        result.error = api::ItemError(writable);
        continue;
      }
      ++gather.missing;
      const size_t place = gather.response.results.size() - 1;
      const auto leader =
          forwards ? deps.leaders->Elsewhere(*image, *tp) : std::nullopt;
      if (leader.has_value()) {
        Handed& handed = spread.by_leader[*leader];
        handed.results.push_back(place);
        Partition& part = handed.partitions.emplace_back(asked);
        part.topic = {};
        part.topic.id = tp->topic_id;
        continue;
      }
      spread.by_host.Add(deps.hosts->HostOf(*tp),
                         Asked{place, gather.steps.make(asked, *tp)});
    }
    return spread;
  }

  // On the worker; so is the answer.
  static void Forward(LeaderCalls* leaders, const LeaderCalls::Leader& leader,
                      const std::shared_ptr<Gather>& gather, Handed handed) {
    gather->steps.forward(
        *leaders->At(leader.endpoint), std::move(handed.partitions),
        leaders->TimeLeftUs(gather->steps.deadline_us),
        [leader, gather, places = std::move(handed.results)](
            absl::StatusOr<Response> answer) {
          const absl::Status why =
              answer.ok() && answer->results.size() != places.size()
                  ? absl::InternalError("an answer of another shape")
                  : answer.status();
          for (size_t i = 0; i < places.size(); ++i) {
            Result& result = gather->response.results[places[i]];
            if (!why.ok()) {
              result.error = ForwardFailure(leader, why, gather->steps.lost);
              continue;
            }
            Result& told = answer->results[i];
            told.topic = std::move(result.topic);  // as it was asked for
            result = std::move(told);
          }
          gather->missing -= places.size();
          if (gather->missing > 0) return;
          gather->done(absl::OkStatus(), std::move(gather->response));
        });
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
