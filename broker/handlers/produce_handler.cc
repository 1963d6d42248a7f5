#include "broker/handlers/produce_handler.h"

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

#include "broker/handlers/produce_call.h"
#include "broker/handlers/topic_resolver.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

using Records = std::vector<api::Record>;

// Typed records that still need a partition or an encoding, at their place
// among what is ready.
struct TypedWork {
  api::TopicRef ref;
  TopicId topic;
  int32_t partition_count = 0;
  int64_t batch_bytes_max = 0;
  std::optional<PartitionIndex> partition;  // unset: to be picked
  std::optional<LeaderEpoch> leader_epoch;
  Records records;
};
struct ReadyWork {
  api::ProduceResult result;
  std::optional<ProduceCall::Append> append;  // unset: result.error says why
};
using Work = std::vector<std::variant<ReadyWork, TypedWork>>;

ReadyWork Refused(const api::ProducePartition& asked, api::ItemError error) {
  ReadyWork work;
  work.result.topic = asked.topic;
  work.result.partition = asked.partition.value_or(PartitionIndex(-1));
  work.result.error = std::move(error);
  return work;
}

absl::Status CheckRequest(const api::ProduceRequest& request) {
  if (request.acks < -1 || request.acks > 1) {
    return MakeError(ErrorCode::kInvalidRequiredAcks, "acks ", request.acks,
                     "; use -1 (all in-sync replicas), 0 or 1 (the leader)");
  }
  if (request.timeout_ms < 0) {
    return MakeError(ErrorCode::kInvalidRequest, "timeout_ms ",
                     request.timeout_ms, "; 0 means ",
                     ProduceHandler::kTimeoutDefaultMs);
  }
  if (!request.transactional_id.empty()) {
    return MakeError(ErrorCode::kInvalidRequest, "transactional_id \"",
                     request.transactional_id,
                     "\": this version has no transactions; leave it unset");
  }
  RETURN_IF_ERROR(CheckPartitionCount(request.partitions.size()));
  std::set<std::pair<std::string, PartitionIndex>> seen;
  for (const api::ProducePartition& asked : request.partitions) {
    const std::string topic =
        asked.topic.by_id() ? asked.topic.id.ToString() : asked.topic.name;
    const PartitionIndex partition =
        asked.partition.value_or(PartitionIndex(-1));
    if (seen.emplace(topic, partition).second) continue;
    return MakeError(ErrorCode::kInvalidRequest, "partition ", partition,
                     " of topic \"", topic,
                     "\" is named twice; put its batches or records together");
  }
  return absl::OkStatus();
}

absl::Status CheckPartition(const api::ProducePartition& asked) {
  if (asked.producer_id.has_value() || asked.producer_epoch.has_value() ||
      asked.base_sequence.has_value()) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "producer_id, producer_epoch and base_sequence: this "
                     "version has no idempotent producers; leave them unset");
  }
  const auto* records = std::get_if<Records>(&asked.payload);
  if (records == nullptr && !asked.partition.has_value()) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "batches need a partition; only typed records are "
                     "spread by the broker");
  }
  if (records != nullptr && records->empty()) {
    return MakeError(ErrorCode::kInvalidRecord,
                     "no records; send at least one");
  }
  return absl::OkStatus();
}

int64_t BytesHeldBy(const api::ProduceRequest& request) {
  int64_t bytes = 0;
  for (const api::ProducePartition& asked : request.partitions) {
    bytes += static_cast<int64_t>(sizeof(asked));
    if (const auto* records = std::get_if<Records>(&asked.payload)) {
      bytes += WeightOf(*records);
    } else {
      bytes += static_cast<int64_t>(
          std::get<MutableBuffer>(asked.payload).size());
    }
  }
  return bytes;
}

size_t CountTypedRecords(const api::ProduceRequest& request) {
  size_t count = 0;
  for (const api::ProducePartition& asked : request.partitions) {
    const auto* records = std::get_if<Records>(&asked.payload);
    if (records != nullptr) count += records->size();
  }
  return count;
}

std::variant<ReadyWork, TypedWork> WorkOf(const HandlerDeps& deps,
                                          const MetadataImage& image,
                                          api::ProducePartition asked) {
  absl::Status status = CheckPartition(asked);
  if (!status.ok()) return Refused(asked, api::ItemError(status));
  const auto topic = ResolveTopic(image, asked.topic);
  if (!topic.ok()) return Refused(asked, api::ItemError(topic.status()));
  if (asked.partition.has_value()) {
    status = ResolvePartition(**topic, *asked.partition).status();
    if (!status.ok()) return Refused(asked, api::ItemError(status));
  }
  if (auto* records = std::get_if<Records>(&asked.payload)) {
    TypedWork work;
    work.ref = std::move(asked.topic);
    work.topic = (*topic)->id;
    work.partition_count = static_cast<int32_t>((*topic)->partitions.size());
    work.batch_bytes_max = deps.configs->SettingsOf(**topic).max_message_bytes;
    work.partition = asked.partition;
    work.leader_epoch = asked.leader_epoch;
    work.records = std::move(*records);
    return work;
  }
  ReadyWork work;
  work.result.topic = std::move(asked.topic);
  work.result.partition = *asked.partition;
  work.append.emplace();
  work.append->tp = {(*topic)->id, *asked.partition};
  work.append->batches = std::move(std::get<MutableBuffer>(asked.payload));
  work.append->leader_epoch = asked.leader_epoch;
  return work;
}

// On the worker.
void AddTyped(const HandlerDeps& deps, KeylessRotation& rotation,
              const TypedWork& work, ProduceCall& call) {
  std::vector<PickedRecords> picked;
  if (work.partition.has_value()) {
    PickedRecords& all = picked.emplace_back();
    all.partition = *work.partition;
    for (size_t i = 0; i < work.records.size(); ++i) {
      all.indexes.push_back(static_cast<int32_t>(i));
    }
  } else {
    picked = PickPartitions(work.records, work.topic, work.partition_count,
                            rotation);
  }
  const int64_t now_ms = deps.clock->WallMillis();
  for (PickedRecords& part : picked) {
    api::ProduceResult result;
    result.topic = work.ref;
    result.partition = part.partition;
    auto batches = EncodeRecords(work.records, part.indexes,
                                 work.batch_bytes_max, now_ms);
    result.record_indexes = std::move(part.indexes);
    if (!batches.ok()) {
      result.error = api::ItemError(batches.status());
      call.AddResult(std::move(result));
      continue;
    }
    call.AddAppend(std::move(result),
                   {TopicPartition{work.topic, part.partition},
                    *std::move(batches), work.leader_epoch});
  }
}

void Fill(const HandlerDeps& deps, KeylessRotation* rotation, Work work,
          ProduceCall& call) {
  for (auto& item : work) {
    if (auto* typed = std::get_if<TypedWork>(&item)) {
      AddTyped(deps, *rotation, *typed, call);
      continue;
    }
    ReadyWork& ready = std::get<ReadyWork>(item);
    if (ready.append.has_value()) {
      call.AddAppend(std::move(ready.result), *std::move(ready.append));
    } else {
      call.AddResult(std::move(ready.result));
    }
  }
}

// The same error for each partition of a request that is not looked at.
api::ProduceResponse RefuseAll(const api::ProduceRequest& request,
                               const api::ItemError& error) {
  api::ProduceResponse response;
  for (const api::ProducePartition& asked : request.partitions) {
    response.results.push_back(Refused(asked, error).result);
  }
  return response;
}

}  // namespace

ProduceHandler::ProduceHandler(HandlerDeps deps, int64_t bytes_in_flight_max)
    : deps_(std::move(deps)),
      in_flight_(Budget::Of(bytes_in_flight_max)),
      rotation_(std::make_shared<KeylessRotation>()) {}

void ProduceHandler::Produce(const api::CallContext& context,
                             api::ProduceRequest request,
                             absl::AnyInvocable<void()> order_fixed,
                             api::Answer<api::ProduceResponse> done) {
  absl::Status status = CheckRequest(request);
  api::ProduceResponse refused;
  std::optional<Budget::Share> share;
  if (status.ok()) share = Admit(request, refused);
  if (!share.has_value()) {
    deps_.worker->Post([status = std::move(status),
                        refused = std::move(refused),
                        order_fixed = std::move(order_fixed),
                        done = std::move(done)]() mutable {
      if (order_fixed) order_fixed();
      done(std::move(status), std::move(refused));
    });
    return;
  }
  ProduceCall::Options options;
  options.acks = static_cast<api::Acks>(request.acks);
  options.deadline_us = DeadlineOf(context, request.timeout_ms);
  options.origin = request.origin;
  options.share = *std::move(share);
  const auto call = std::make_shared<ProduceCall>(
      deps_, std::move(options), std::move(order_fixed), std::move(done));
  const std::shared_ptr<const MetadataImage> image = deps_.image->Load();
  Work work;
  bool typed = false;
  for (api::ProducePartition& asked : request.partitions) {
    work.push_back(WorkOf(deps_, *image, std::move(asked)));
    typed = typed || std::holds_alternative<TypedWork>(work.back());
  }
  if (!typed) {
    Fill(deps_, nullptr, std::move(work), *call);
    call->Launch();
    return;
  }
  deps_.worker->Post([deps = deps_, rotation = rotation_,
                      work = std::move(work), call]() mutable {
    Fill(deps, rotation.get(), std::move(work), *call);
    call->Launch();
  });
}

std::optional<Budget::Share> ProduceHandler::Admit(
    const api::ProduceRequest& request, api::ProduceResponse& refused) const {
  const size_t typed = CountTypedRecords(request);
  if (typed > kTypedRecordsMax) {
    refused = RefuseAll(
        request, api::ItemError(MakeError(
                     ErrorCode::kRequestTooLarge, typed,
                     " typed records in one request; at most ",
                     kTypedRecordsMax, ": send fewer, or whole batches")));
    return std::nullopt;
  }
  auto share = in_flight_->TryTake(BytesHeldBy(request));
  if (!share.has_value()) {
    api::ItemError busy(MakeError(
        ErrorCode::kBusy, in_flight_->taken(),
        " bytes of produce requests are under way on this broker, the limit "
        "is ", in_flight_->max(), "; try again in ", kBusyRetryAfterMs, " ms"));
    busy.retry_after_ms = kBusyRetryAfterMs;
    refused = RefuseAll(request, busy);
  }
  return share;
}

int64_t ProduceHandler::DeadlineOf(const api::CallContext& context,
                                   int32_t timeout_ms) const {
  const int64_t wait_ms = std::min<int64_t>(
      timeout_ms == 0 ? kTimeoutDefaultMs : timeout_ms, kTimeoutMaxMs);
  return std::min(deps_.clock->MonoMicros() + wait_ms * 1000,
                  context.deadline_us - kDeadlineMarginUs);
}

}  // namespace sluice
