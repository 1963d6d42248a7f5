#include "broker/handlers/routed_fetch.h"

#include <algorithm>
#include <utility>

#include "broker/handlers/topic_resolver.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {

std::shared_ptr<RoutedFetch> RoutedFetch::Start(
    FetchHandler handler, const HandlerDeps& deps,
    std::shared_ptr<Budget> memory, const api::CallContext& context,
    api::FetchRequest request, api::Answer<api::FetchResponse> done) {
  std::shared_ptr<RoutedFetch> fetch(
      new RoutedFetch(std::move(handler), deps, std::move(memory), context,
                      std::move(request), std::move(done)));
  deps.worker->Post([fetch] { fetch->Begin(); });
  return fetch;
}

RoutedFetch::RoutedFetch(FetchHandler handler, const HandlerDeps& deps,
                         std::shared_ptr<Budget> memory,
                         const api::CallContext& context,
                         api::FetchRequest request,
                         api::Answer<api::FetchResponse> done)
    : handler_(std::move(handler)),
      deps_(deps),
      context_(context),
      deadline_us_(std::min(
          deps.clock->MonoMicros() +
              int64_t{std::clamp(request.max_wait_ms, 0,
                                 FetchHandler::kMaxWaitMsMax)} *
                  1000,
          context.deadline_us - kDeadlineMarginUs)),
      request_(std::move(request)),
      done_(std::move(done)),
      memory_(memory->Nothing()) {}

void RoutedFetch::Cancel() {
  deps_.worker->Post([self = shared_from_this()] {
    self->Finish(absl::CancelledError("the caller gave up"));
  });
}

// ---- Parts ----

void RoutedFetch::Begin() {
  absl::Status status = Split(*deps_.image->Load());
  if (!status.ok()) return Finish(std::move(status));
  for (const Part& part : parts_) {
    if (!part.leader.has_value()) continue;
    if (memory_.TryAdd(part.request.max_bytes)) continue;
    return Finish(MakeError(
        ErrorCode::kBusy,
        "no memory is left for fetch answers of other brokers; try again in ",
        kBusyRetryAfterMs, " ms, or ask the leaders"));
  }
  AskAll(/*wait=*/parts_.size() == 1);
}

RoutedFetch::Part& RoutedFetch::PartOf(
    const std::optional<LeaderCalls::Leader>& leader) {
  for (Part& part : parts_) {
    if (part.leader == leader) return part;
  }
  Part& part = parts_.emplace_back();
  part.leader = leader;
  part.request.isolation = request_.isolation;
  part.request.form = request_.form;
  part.request.min_bytes = request_.min_bytes;
  if (!leader.has_value()) part.request.rack = request_.rack;
  return part;
}

absl::Status RoutedFetch::Split(const MetadataImage& image) {
  SeenPartitions seen;
  response_.results.resize(request_.partitions.size());
  for (size_t i = 0; i < request_.partitions.size(); ++i) {
    const api::FetchPartition& asked = request_.partitions[i];
    api::FetchResult& result = response_.results[i];
    result.topic = asked.topic;
    result.partition = asked.partition;
    result.next_offset = asked.offset;
    const auto tp = ResolvePartition(image, asked.topic, asked.partition);
    std::optional<LeaderCalls::Leader> leader;
    if (tp.ok()) {
      RETURN_IF_ERROR(seen.Add(*tp));
      leader = deps_.leaders->Elsewhere(image, *tp);
    }
    Part& part = PartOf(leader);
    part.places.push_back(i);
    api::FetchPartition& told = part.request.partitions.emplace_back(asked);
    if (!leader.has_value()) continue;
    told.topic = {};
    told.topic.id = tp->topic_id;
  }
  const int32_t all = request_.max_bytes <= 0
                          ? FetchHandler::kMaxBytesDefault
                          : std::min(request_.max_bytes,
                                     FetchHandler::kMaxBytesMax);
  const int32_t each = std::max<int32_t>(
      all / static_cast<int32_t>(parts_.size()), 1);
  for (Part& part : parts_) {
    part.request.max_bytes =
        part.leader.has_value() ? std::min(each, kPartBytesMax) : each;
  }
  return absl::OkStatus();
}

// ---- Questions and answers ----

void RoutedFetch::AskAll(bool wait) {
  const int64_t left_us = deadline_us_ - deps_.clock->MonoMicros();
  const auto wait_ms = static_cast<int32_t>(
      wait ? std::max<int64_t>(left_us / 1000, 0) : 0);
  round_ = wait ? 2 : 1;
  missing_ = parts_.size();
  for (size_t i = 0; i < parts_.size(); ++i) {
    parts_[i].request.max_wait_ms = wait_ms;
    Ask(i);
  }
}

void RoutedFetch::Ask(size_t index) {
  Part& part = parts_[index];
  const auto self = shared_from_this();
  if (!part.leader.has_value()) {
    part.cancel = handler_.FetchHere(
        context_, part.request,
        [self, index, round = round_](absl::Status status,
                                      api::FetchResponse response) mutable {
          self->deps_.worker->Post([self, index, round,
                                    status = std::move(status),
                                    response = std::move(response)]() mutable {
            self->OnAnswer(index, round, std::move(status),
                           std::move(response));
          });
        });
    return;
  }
  deps_.leaders->At(part.leader->endpoint)
      ->Fetch(context_.client_id, part.request,
              part.request.max_wait_ms * int64_t{1000} + kGraceUs,
              [self, index, round = round_](
                  absl::StatusOr<api::FetchResponse> answer) mutable {
                absl::Status status = answer.status();
                self->OnAnswer(index, round, std::move(status),
                               answer.ok() ? *std::move(answer)
                                           : api::FetchResponse());
              });
}

void RoutedFetch::OnAnswer(size_t index, int round, absl::Status status,
                           api::FetchResponse response) {
  if (finished_ || round != round_) return;
  Put(parts_[index], status, response);
  --missing_;
  if (missing_ > 0 && (round_ == 1 || !something_)) return;
  const bool late = deps_.clock->MonoMicros() >= deadline_us_;
  if (round_ == 2 || something_ || late) return Finish(absl::OkStatus());
  AskAll(/*wait=*/true);
}

void RoutedFetch::Put(const Part& part, const absl::Status& status,
                      api::FetchResponse& response) {
  const bool whole = status.ok() && response.results.size() == part.places.size();
  for (size_t i = 0; i < part.places.size(); ++i) {
    api::FetchResult& result = response_.results[part.places[i]];
    if (!whole) {
      something_ = true;
      result.error =
          part.leader.has_value()
              ? ForwardFailure(*part.leader,
                               status.ok() ? absl::InternalError(
                                                 "an answer of another shape")
                                           : status,
                               ErrorCode::kLeaderNotAvailable)
              : api::ItemError(status);
      continue;
    }
    api::FetchResult& told = response.results[i];
    told.topic = std::move(result.topic);  // as it was asked for
    result = std::move(told);
    something_ = something_ || !result.error.ok() || !result.batches.empty() ||
                 !result.records.empty() ||
                 result.preferred_replica.value() != 0;
  }
  if (response.held != nullptr) held_.push_back(std::move(response.held));
}

void RoutedFetch::Finish(absl::Status status) {
  if (std::exchange(finished_, true)) return;
  for (Part& part : parts_) {
    if (part.cancel != nullptr) std::exchange(part.cancel, nullptr)();
  }
  if (!status.ok()) response_ = {};
  held_.push_back(std::make_shared<Budget::Share>(std::move(memory_)));
  response_.held = std::make_shared<const std::vector<std::shared_ptr<const void>>>(
      std::exchange(held_, {}));
  done_(std::move(status), std::move(response_));
}

}  // namespace sluice
