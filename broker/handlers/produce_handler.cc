#include "broker/handlers/produce_handler.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>
#include <variant>

#include "broker/handlers/produce_stream.h"
#include "broker/handlers/refused_session.h"
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
  std::optional<SequenceStart> start;
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

bool NamesProducer(const api::ProducePartition& asked) {
  return asked.producer_id.has_value() || asked.producer_epoch.has_value() ||
         asked.base_sequence.has_value();
}

absl::Status CheckProducer(const api::ProducePartition& asked) {
  if (!NamesProducer(asked)) return absl::OkStatus();
  if (std::holds_alternative<MutableBuffer>(asked.payload)) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "producer_id, producer_epoch and base_sequence are for "
                     "typed records; batches carry their own");
  }
  if (!asked.partition.has_value()) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "base_sequence: records that the broker spreads over "
                     "partitions cannot be numbered by one sequence; name the "
                     "partition");
  }
  if (asked.producer_id.value_or(kNoProducerId).value() < 0 ||
      asked.producer_epoch.value_or(-1) < 0 ||
      *asked.producer_epoch > std::numeric_limits<int16_t>::max() ||
      asked.base_sequence.value_or(-1) < 0) {
    return MakeError(ErrorCode::kInvalidRecord, "producer ",
                     asked.producer_id.value_or(kNoProducerId), " epoch ",
                     asked.producer_epoch.value_or(-1), " sequence ",
                     asked.base_sequence.value_or(-1),
                     ": an idempotent producer sets all three, from 0 on (an "
                     "epoch is at most 32767)");
  }
  return absl::OkStatus();
}

absl::Status CheckPartition(const api::ProducePartition& asked) {
  RETURN_IF_ERROR(CheckProducer(asked));
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
  status = CheckWritable(**topic);
  if (!status.ok()) return Refused(asked, api::ItemError(status));
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
    if (asked.producer_id.has_value()) {
      work.start = {*asked.producer_id,
                    static_cast<int16_t>(*asked.producer_epoch),
                    *asked.base_sequence};
    }
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
                                 work.batch_bytes_max, now_ms, work.start);
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

// Gathers the results of a unary call.
class WholeAnswer final : public ProduceListener {
 public:
  WholeAnswer(absl::AnyInvocable<void()> order_fixed,
              api::Answer<api::ProduceResponse> done)
      : order_fixed_(std::move(order_fixed)), done_(std::move(done)) {}

  void OnRefused(absl::Status why) override { done_(std::move(why), {}); }
  void OnParts(const std::vector<api::ProduceResult>& parts) override {
    response_.results.resize(parts.size());
    missing_ = parts.size();
  }
  void OnOrdered() override {
    if (order_fixed_) order_fixed_();
  }
  void OnResult(size_t index, api::ProduceResult result) override {
    response_.results[index] = std::move(result);
    if (--missing_ == 0) done_(absl::OkStatus(), std::move(response_));
  }

 private:
  absl::AnyInvocable<void()> order_fixed_;
  api::Answer<api::ProduceResponse> done_;
  api::ProduceResponse response_;
  size_t missing_ = 0;
};

}  // namespace

ProduceHandler::ProduceHandler(HandlerDeps deps, int64_t bytes_in_flight_max,
                               int64_t streams_max)
    : deps_(std::move(deps)),
      in_flight_(Budget::Of(bytes_in_flight_max)),
      streams_(Budget::Of(streams_max)),
      rotation_(std::make_shared<KeylessRotation>()) {}

int64_t ProduceHandler::BytesHeldBy(const api::ProduceRequest& request) {
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

void ProduceHandler::Produce(const api::CallContext& context,
                             api::ProduceRequest request,
                             absl::AnyInvocable<void()> order_fixed,
                             api::Answer<api::ProduceResponse> done) {
  Start(context, std::move(request), /*home=*/nullptr,
        std::make_shared<WholeAnswer>(std::move(order_fixed),
                                      std::move(done)));
}

void ProduceHandler::Start(const api::CallContext& context,
                           api::ProduceRequest request, Executor* home,
                           std::shared_ptr<ProduceListener> listener,
                           std::shared_ptr<ProduceForwarder> forwarder) const {
  if (absl::Status status = CheckRequest(request); !status.ok()) {
    Executor* const on = home != nullptr ? home : deps_.worker;
    on->Post([status = std::move(status), listener = std::move(listener)] {
      listener->OnRefused(status);
      listener->OnOrdered();
    });
    return;
  }
  ProduceCall::Options options;
  options.acks = static_cast<api::Acks>(request.acks);
  options.deadline_us = DeadlineOf(context, request.timeout_ms);
  options.origin = request.origin;
  options.home = home;
  const std::shared_ptr<const MetadataImage> image = deps_.image->Load();
  if (request.route == api::Route::kForward && deps_.leaders != nullptr) {
    options.forwarder =
        forwarder != nullptr
            ? std::move(forwarder)
            : std::make_shared<UnaryProduceForwarder>(deps_.leaders,
                                                      context.client_id);
    options.image = image;
  }
  api::ItemError refusal;
  auto share = Admit(request, refusal.retry_after_ms);
  if (share.ok()) options.share = *std::move(share);
  const auto call = std::make_shared<ProduceCall>(deps_, std::move(options),
                                                  std::move(listener));
  if (!share.ok()) {
    const int32_t retry_after_ms = refusal.retry_after_ms;
    refusal = api::ItemError(share.status());
    refusal.retry_after_ms = retry_after_ms;
    for (const api::ProducePartition& asked : request.partitions) {
      call->AddResult(Refused(asked, refusal).result);
    }
    return call->Launch();
  }
  Work work;
  bool typed = false;
  for (api::ProducePartition& asked : request.partitions) {
    work.push_back(WorkOf(deps_, *image, std::move(asked)));
    typed = typed || std::holds_alternative<TypedWork>(work.back());
  }
  if (!typed) {
    Fill(deps_, nullptr, std::move(work), *call);
    return call->Launch();
  }
  deps_.worker->Post([deps = deps_, rotation = rotation_,
                      work = std::move(work), call]() mutable {
    Fill(deps, rotation.get(), std::move(work), *call);
    call->Launch();
  });
}

std::shared_ptr<ProduceSession> ProduceHandler::ProduceStream(
    const api::CallContext& context, const api::ProduceStreamRequest& first,
    std::shared_ptr<ProduceSink> sink) {
  std::optional<Budget::Share> share = streams_->TryTake(1);
  if (share.has_value()) {
    return std::make_shared<sluice::ProduceStream>(
        sluice::ProduceStream::Deps{*this, context, HomeOf(first),
                                    *std::move(share)},
        std::move(sink));
  }
  deps_.worker->Post([sink = std::move(sink), taken = streams_->taken()] {
    sink->Finish(MakeError(ErrorCode::kBusy, taken,
                           " produce streams are open on this broker, the "
                           "limit; try again later, or use Produce"));
  });
  return std::make_shared<RefusedSession<api::ProduceStreamRequest>>();
}

std::shared_ptr<StreamProduceForwarder> ProduceHandler::NewStreamForwarder(
    const api::CallContext& context) const {
  return deps_.leaders == nullptr
             ? nullptr
             : std::make_shared<StreamProduceForwarder>(deps_.leaders,
                                                        context.client_id);
}

// A stream lives with the partition it writes first: most write to few, and an
// answer needs no other thread then.
Executor* ProduceHandler::HomeOf(const api::ProduceStreamRequest& first) const {
  if (first.request.partitions.empty()) return deps_.worker;
  const api::ProducePartition& asked = first.request.partitions.front();
  const std::shared_ptr<const MetadataImage> image = deps_.image->Load();
  const auto topic = ResolveTopic(*image, asked.topic);
  if (!topic.ok() || !asked.partition.has_value()) return deps_.worker;
  return deps_.hosts->HostOf({(*topic)->id, *asked.partition})->executor();
}

absl::StatusOr<Budget::Share> ProduceHandler::Admit(
    const api::ProduceRequest& request, int32_t& retry_after_ms) const {
  const size_t typed = CountTypedRecords(request);
  if (typed > kTypedRecordsMax) {
    return MakeError(ErrorCode::kRequestTooLarge, typed,
                     " typed records in one request; at most ",
                     kTypedRecordsMax, ": send fewer, or whole batches");
  }
  auto share = in_flight_->TryTake(BytesHeldBy(request));
  if (share.has_value()) return *std::move(share);
  retry_after_ms = kBusyRetryAfterMs;
  return MakeError(
      ErrorCode::kBusy, in_flight_->taken(),
      " bytes of produce requests are under way on this broker, the limit "
      "is ", in_flight_->max(), "; try again in ", kBusyRetryAfterMs, " ms");
}

int64_t ProduceHandler::DeadlineOf(const api::CallContext& context,
                                   int32_t timeout_ms) const {
  const int64_t wait_ms = std::min<int64_t>(
      timeout_ms == 0 ? kTimeoutDefaultMs : timeout_ms, kTimeoutMaxMs);
  return std::min(deps_.clock->MonoMicros() + wait_ms * 1000,
                  context.deadline_us - kDeadlineMarginUs);
}

}  // namespace sluice
