#include "client/blocking_client.h"

#include <chrono>

#include "client/cluster_health.h"
#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice {

BlockingClient::BlockingClient(const ClientDeps& deps, ClientOptions options)
    : deps_(deps), options_(std::move(options)) {
  Run([this] {
    metadata_ = std::make_unique<MetadataCache>(deps_, options_);
    admin_ = std::make_unique<Admin>(deps_, options_, metadata_.get());
  });
}

BlockingClient::~BlockingClient() {
  Run([this] {
    admin_.reset();
    metadata_.reset();
  });
}

void BlockingClient::Run(absl::AnyInvocable<void()> body) {
  Await<bool>([&](absl::AnyInvocable<void(bool)> done) {
    body();
    done(true);
  });
}

absl::StatusOr<v1::CreateTopicsResponse> BlockingClient::CreateTopics(
    const v1::CreateTopicsRequest& request, int64_t timeout_us) {
  return Await<absl::StatusOr<v1::CreateTopicsResponse>>([&](auto reply) {
    admin_->CreateTopics(request, timeout_us, std::move(reply));
  });
}

absl::StatusOr<v1::CreatePartitionsResponse> BlockingClient::CreatePartitions(
    const v1::CreatePartitionsRequest& request, int64_t timeout_us) {
  return Await<absl::StatusOr<v1::CreatePartitionsResponse>>([&](auto reply) {
    admin_->CreatePartitions(request, timeout_us, std::move(reply));
  });
}

absl::StatusOr<v1::DeleteTopicsResponse> BlockingClient::DeleteTopics(
    const v1::DeleteTopicsRequest& request, int64_t timeout_us) {
  return Await<absl::StatusOr<v1::DeleteTopicsResponse>>([&](auto reply) {
    admin_->DeleteTopics(request, timeout_us, std::move(reply));
  });
}

absl::StatusOr<v1::ListTopicsResponse> BlockingClient::ListTopics(
    const v1::ListTopicsRequest& request, int64_t timeout_us) {
  return Await<absl::StatusOr<v1::ListTopicsResponse>>([&](auto reply) {
    admin_->ListTopics(request, timeout_us, std::move(reply));
  });
}

absl::StatusOr<v1::DescribeTopicsResponse> BlockingClient::DescribeTopics(
    const v1::DescribeTopicsRequest& request, int64_t timeout_us) {
  return Await<absl::StatusOr<v1::DescribeTopicsResponse>>([&](auto reply) {
    admin_->DescribeTopics(request, timeout_us, std::move(reply));
  });
}

absl::StatusOr<v1::DescribeConfigsResponse> BlockingClient::DescribeConfigs(
    const v1::DescribeConfigsRequest& request, int64_t timeout_us) {
  return Await<absl::StatusOr<v1::DescribeConfigsResponse>>([&](auto reply) {
    admin_->DescribeConfigs(request, timeout_us, std::move(reply));
  });
}

absl::StatusOr<v1::AlterConfigsResponse> BlockingClient::AlterConfigs(
    const v1::AlterConfigsRequest& request, int64_t timeout_us) {
  return Await<absl::StatusOr<v1::AlterConfigsResponse>>([&](auto reply) {
    admin_->AlterConfigs(request, timeout_us, std::move(reply));
  });
}

absl::StatusOr<v1::ElectLeadersResponse> BlockingClient::ElectLeaders(
    const v1::ElectLeadersRequest& request, int64_t timeout_us) {
  return Await<absl::StatusOr<v1::ElectLeadersResponse>>([&](auto reply) {
    admin_->ElectLeaders(request, timeout_us, std::move(reply));
  });
}

absl::StatusOr<v1::ResetReplicaResponse> BlockingClient::ResetReplica(
    const v1::ResetReplicaRequest& request, int64_t timeout_us) {
  return Await<absl::StatusOr<v1::ResetReplicaResponse>>([&](auto reply) {
    admin_->ResetReplica(request, timeout_us, std::move(reply));
  });
}

absl::StatusOr<v1::DescribeClusterResponse> BlockingClient::DescribeCluster(
    int64_t timeout_us) {
  return Await<absl::StatusOr<v1::DescribeClusterResponse>>([&](auto reply) {
    admin_->DescribeCluster(timeout_us, std::move(reply));
  });
}

absl::StatusOr<v1::DescribeClusterResponse> BlockingClient::DescribeHealth(
    int64_t timeout_us) {
  return Await<absl::StatusOr<v1::DescribeClusterResponse>>([&](auto reply) {
    ClusterHealth::Start(deps_, admin_.get(), metadata_.get(), timeout_us,
                         std::move(reply));
  });
}

absl::StatusOr<v1::GetMetadataResponse> BlockingClient::GetMetadata(
    const v1::GetMetadataRequest& request, int64_t timeout_us) {
  return Await<absl::StatusOr<v1::GetMetadataResponse>>([&](auto reply) {
    admin_->GetMetadata(request, timeout_us, std::move(reply));
  });
}

absl::StatusOr<v1::DescribeQuorumResponse> BlockingClient::DescribeQuorum(
    int64_t timeout_us) {
  return Await<absl::StatusOr<v1::DescribeQuorumResponse>>([&](auto reply) {
    admin_->DescribeQuorum(timeout_us, std::move(reply));
  });
}

absl::StatusOr<std::map<NamedPartition, Offset>> BlockingClient::LookUpOffsets(
    const std::vector<NamedPartition>& partitions, const OffsetQuery& query,
    int64_t timeout_us) {
  return Await<absl::StatusOr<std::map<NamedPartition, Offset>>>(
      [&](auto reply) {
        OffsetLookup::Start(deps_, options_, metadata_.get(), partitions,
                            query, timeout_us, std::move(reply));
      });
}

RecordDeletion::Results BlockingClient::DeleteRecords(
    const std::map<NamedPartition, Offset>& before, bool validate_only,
    int64_t timeout_us) {
  return Await<RecordDeletion::Results>([&](auto reply) {
    RecordDeletion::Start(deps_, options_, metadata_.get(), before,
                          validate_only, timeout_us, std::move(reply));
  });
}

BlockingProducer::BlockingProducer(BlockingClient* client,
                                   const ProducerOptions& options)
    : client_(client), options_(options) {
  ProducerOptions unbounded = options;
  unbounded.buffer_memory =
      INT64_MAX / 2;  // counted here, before the hand-over
  client_->Run([&] {
    producer_ = std::make_unique<Producer>(
        client_->deps(), client_->options(), unbounded, client_->metadata(),
        [this](int64_t bytes) { OnReleased(bytes); });
  });
}

BlockingProducer::~BlockingProducer() {
  client_->Run([this] {
    Drain();
    producer_.reset();
  });
}

absl::Status BlockingProducer::Send(ProducerRecord record,
                                    SendCallback callback) {
  const int64_t charge = ChargeOf(record);
  std::unique_lock lock(mutex_);
  const auto fits = [&] {
    return used_bytes_ == 0 || used_bytes_ + charge <= options_.buffer_memory;
  };
  if (!fits() &&
      !space_.wait_for(lock, std::chrono::milliseconds(options_.max_block_ms),
                       fits)) {
    return MakeError(ErrorCode::kBufferExhausted, "buffer_memory of ",
                     options_.buffer_memory, " bytes stayed full for ",
                     options_.max_block_ms,
                     " ms; the cluster does not keep up (see `sluice cluster "
                     "health`)");
  }
  used_bytes_ += charge;
  queued_.push_back({std::move(record), std::move(callback)});
  if (drain_posted_) return absl::OkStatus();
  drain_posted_ = true;
  lock.unlock();
  client_->deps().executor->Post([this] { Drain(); });
  return absl::OkStatus();
}

void BlockingProducer::Drain() {
  std::vector<Item> items;
  {
    std::lock_guard lock(mutex_);
    items.swap(queued_);
    drain_posted_ = false;
  }
  if (producer_ == nullptr) return;
  for (Item& item : items) {
    const absl::Status sent =
        producer_->Send(std::move(item.record), std::move(item.callback));
    (void)sent;  // its buffer has no bound
  }
}

void BlockingProducer::OnReleased(int64_t bytes) {
  {
    std::lock_guard lock(mutex_);
    used_bytes_ -= bytes;
  }
  space_.notify_all();
}

absl::Status BlockingProducer::Flush(int64_t timeout_us) {
  return client_->Await<absl::Status>(
      [this, timeout_us](absl::AnyInvocable<void(absl::Status)> done) {
        Drain();
        // Whichever comes first answers; the other finds nothing to call.
        auto shared = std::make_shared<absl::AnyInvocable<void(absl::Status)>>(
            std::move(done));
        const auto answer = [shared](absl::Status status) {
          if (*shared == nullptr) return;
          auto once = std::move(*shared);
          *shared = nullptr;
          once(std::move(status));
        };
        Executor* executor = client_->deps().executor;
        const TimerId timer = executor->PostAfter(timeout_us, [answer] {
          answer(MakeError(ErrorCode::kDeliveryTimedOut,
                           "not everything was acknowledged in time"));
        });
        producer_->Flush([answer, executor, timer] {
          executor->Cancel(timer);
          answer(absl::OkStatus());
        });
      });
}

ProducerCounters BlockingProducer::counters() {
  ProducerCounters counters;
  client_->Run([&] { counters = producer_->counters(); });
  return counters;
}

BlockingConsumer::BlockingConsumer(BlockingClient* client,
                                   const ConsumerOptions& options)
    : client_(client) {
  client_->Run([&] {
    consumer_ = std::make_unique<Consumer>(client_->deps(), client_->options(),
                                           options, client_->metadata());
  });
}

BlockingConsumer::~BlockingConsumer() {
  client_->Run([this] { consumer_.reset(); });
}

void BlockingConsumer::Assign(const std::vector<NamedPartition>& partitions) {
  client_->Run([&] { consumer_->Assign(partitions); });
}

void BlockingConsumer::AssignAt(
    const std::map<NamedPartition, Offset>& starts) {
  client_->Run([&] {
    std::vector<NamedPartition> partitions;
    for (const auto& [tp, start] : starts) partitions.push_back(tp);
    consumer_->Assign(partitions);
    for (const auto& [tp, start] : starts) {
      const absl::Status sought = consumer_->Seek(tp, start);
      INVARIANT(sought.ok(), tp, ": ", sought.message());  // just assigned
    }
  });
}

absl::Status BlockingConsumer::Seek(const NamedPartition& tp, Offset offset) {
  absl::Status status;
  client_->Run([&] { status = consumer_->Seek(tp, offset); });
  return status;
}

absl::StatusOr<std::vector<FetchedBatch>> BlockingConsumer::PollBatches(
    int64_t timeout_us, int64_t bytes_max) {
  return client_->Await<absl::StatusOr<std::vector<FetchedBatch>>>(
      [&](auto done) {
        consumer_->Poll(timeout_us, bytes_max, std::move(done));
      });
}

absl::StatusOr<std::vector<ConsumerRecord>> BlockingConsumer::Poll(
    int64_t timeout_us) {
  constexpr int64_t kPollBytes = 1 << 20;
  auto batches = PollBatches(timeout_us, kPollBytes);
  if (!batches.ok()) return batches.status();
  std::vector<ConsumerRecord> records;
  for (const FetchedBatch& batch : *batches) {
    const absl::Status read =
        ForEachRecord(batch, [&](const DecodedRecord& record) {
          records.push_back(OwnedRecord(batch.tp, record));
          return true;
        });
    if (!read.ok()) return read;
  }
  return records;
}

std::optional<Offset> BlockingConsumer::Position(const NamedPartition& tp) {
  std::optional<Offset> position;
  client_->Run([&] { position = consumer_->Position(tp); });
  return position;
}

ConsumerCounters BlockingConsumer::counters() {
  ConsumerCounters counters;
  client_->Run([&] { counters = consumer_->counters(); });
  return counters;
}

}  // namespace sluice
