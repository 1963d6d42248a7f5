#include "broker/handlers/fetch_handler.h"

#include <algorithm>
#include <utility>

#include "broker/handlers/fetch_call.h"
#include "broker/handlers/routed_fetch.h"
#include "broker/handlers/topic_resolver.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

// 0 and less mean the default.
int32_t Clamp(int32_t asked, int32_t by_default, int32_t max) {
  return asked <= 0 ? by_default : std::min(asked, max);
}

absl::Status CheckRequest(const api::FetchRequest& request) {
  RETURN_IF_ERROR(CheckPartitionCount(request.partitions.size()));
  if (request.max_wait_ms < 0) {
    return MakeError(ErrorCode::kInvalidRequest, "max_wait_ms ",
                     request.max_wait_ms, "; 0 answers at once, at most ",
                     FetchHandler::kMaxWaitMsMax);
  }
  if (request.rack.size() > kRackBytesMax) {
    return MakeError(ErrorCode::kInvalidRequest, "a rack of ",
                     request.rack.size(), " bytes; at most ",
                     kRackBytesMax);
  }
  return absl::OkStatus();
}

absl::Status Fill(const MetadataImage& image, const api::FetchRequest& request,
                  FetchCall& call) {
  SeenPartitions seen;
  for (const api::FetchPartition& asked : request.partitions) {
    api::FetchResult result;
    result.topic = asked.topic;
    result.partition = asked.partition;
    const auto tp = ResolvePartition(image, asked.topic, asked.partition);
    if (!tp.ok()) {
      result.error = api::ItemError(tp.status());
      call.AddRefused(std::move(result));
      continue;
    }
    RETURN_IF_ERROR(seen.Add(*tp));
    call.AddRead(std::move(result),
                 {*tp, asked.offset,
                  Clamp(asked.max_bytes, FetchHandler::kPartitionBytesDefault,
                        FetchHandler::kMaxBytesMax),
                  asked.leader_epoch, asked.last_fetched_epoch});
  }
  return absl::OkStatus();
}

}  // namespace

FetchHandler::FetchHandler(HandlerDeps deps, int64_t waiting_max,
                           int64_t memory_bytes)
    : deps_(std::move(deps)),
      waiting_(Budget::Of(waiting_max)),
      memory_(Budget::Of(memory_bytes)) {}

CancelCall FetchHandler::Fetch(const api::CallContext& context,
                               api::FetchRequest request,
                               api::Answer<api::FetchResponse> done) {
  if (absl::Status status = CheckRequest(request); !status.ok()) {
    deps_.worker->Post([done = std::move(done), status]() mutable {
      done(status, {});
    });
    return [] {};
  }
  if (request.route == api::Route::kDirect || deps_.leaders == nullptr) {
    return FetchHere(context, std::move(request), std::move(done));
  }
  const auto routed = RoutedFetch::Start(
      *this, deps_, memory_, context, std::move(request), std::move(done));
  return [weak = std::weak_ptr<RoutedFetch>(routed)] {
    if (const auto under_way = weak.lock()) under_way->Cancel();
  };
}

CancelCall FetchHandler::FetchHere(const api::CallContext& context,
                                   api::FetchRequest request,
                                   api::Answer<api::FetchResponse> done) {
  FetchCall::Options options;
  options.max_bytes = Clamp(request.max_bytes, kMaxBytesDefault, kMaxBytesMax);
  options.min_bytes = std::clamp<int64_t>(request.min_bytes, 1,
                                          options.max_bytes);
  const int64_t wait_ms = std::min(request.max_wait_ms, kMaxWaitMsMax);
  options.deadline_us = std::min(deps_.clock->MonoMicros() + wait_ms * 1000,
                                 context.deadline_us - kDeadlineMarginUs);
  options.isolation = request.isolation;
  options.form = request.form;
  options.rack = std::move(request.rack);
  options.waiting = waiting_;
  options.memory = memory_;
  // Answered by the call, or below when the request is refused whole.
  auto answer = std::make_shared<api::Answer<api::FetchResponse>>(
      std::move(done));
  const auto call = std::make_shared<FetchCall>(
      deps_, std::move(options),
      [answer](absl::Status s, api::FetchResponse response) {
        (*answer)(std::move(s), std::move(response));
      });
  const absl::Status status = Fill(*deps_.image->Load(), request, *call);
  if (!status.ok()) {
    deps_.worker->Post([answer, status] { (*answer)(status, {}); });
    return [] {};
  }
  call->Launch();
  return [weak = std::weak_ptr<FetchCall>(call)] {
    if (const auto waiting = weak.lock()) waiting->Cancel();
  };
}

}  // namespace sluice
