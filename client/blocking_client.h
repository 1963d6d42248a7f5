// A whole client for threads: the library's executor-bound parts behind calls
// that block.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "client/admin.h"
#include "client/consumer.h"
#include "client/metadata_cache.h"
#include "client/offset_lookup.h"
#include "client/producer.h"
#include "client/record_deletion.h"

namespace sluice {

// Owns the parts that live on the executor, shared by admin calls, producers
// and consumers. Thread-safe; never used or destroyed on the executor.
class BlockingClient {
 public:
  // deps.executor must outlive this and run while it lives.
  BlockingClient(const ClientDeps& deps, ClientOptions options);
  ~BlockingClient();

  // Runs `body` on the executor and returns when it did.
  void Run(absl::AnyInvocable<void()> body);
  // Starts a call on the executor and waits for its reply. Every call has a
  // timeout of its own, so this returns.
  template <class Result>
  Result Await(
      absl::AnyInvocable<void(absl::AnyInvocable<void(Result)>)> start);

  absl::StatusOr<v1::CreateTopicsResponse> CreateTopics(
      const v1::CreateTopicsRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::CreatePartitionsResponse> CreatePartitions(
      const v1::CreatePartitionsRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::DeleteTopicsResponse> DeleteTopics(
      const v1::DeleteTopicsRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::ListTopicsResponse> ListTopics(
      const v1::ListTopicsRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::DescribeTopicsResponse> DescribeTopics(
      const v1::DescribeTopicsRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::DescribeConfigsResponse> DescribeConfigs(
      const v1::DescribeConfigsRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::AlterConfigsResponse> AlterConfigs(
      const v1::AlterConfigsRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::ElectLeadersResponse> ElectLeaders(
      const v1::ElectLeadersRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::ResetReplicaResponse> ResetReplica(
      const v1::ResetReplicaRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::DescribeClusterResponse> DescribeCluster(
      int64_t timeout_us);
  // As ClusterHealth.
  absl::StatusOr<v1::DescribeClusterResponse> DescribeHealth(
      int64_t timeout_us);
  absl::StatusOr<v1::GetMetadataResponse> GetMetadata(
      const v1::GetMetadataRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::DescribeQuorumResponse> DescribeQuorum(int64_t timeout_us);
  absl::StatusOr<std::map<NamedPartition, Offset>> LookUpOffsets(
      const std::vector<NamedPartition>& partitions,
      const OffsetQuery& query, int64_t timeout_us);
  // As RecordDeletion.
  RecordDeletion::Results DeleteRecords(
      const std::map<NamedPartition, Offset>& before, bool validate_only,
      int64_t timeout_us);

  const ClientDeps& deps() const { return deps_; }
  const ClientOptions& options() const { return options_; }
  MetadataCache* metadata() { return metadata_.get(); }  // on the executor

 private:
  const ClientDeps deps_;
  const ClientOptions options_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Admin> admin_;
};

// Thread-safe. Send is cheap: records are handed to the executor in bulk.
class BlockingProducer {
 public:
  BlockingProducer(BlockingClient* client, const ProducerOptions& options);
  // Settles what is left as Producer's destructor does.
  ~BlockingProducer();

  // Waits up to max_block_ms for buffer memory (BUFFER_EXHAUSTED then, and
  // the callback never runs). The callback runs on the executor and must not
  // call this.
  absl::Status Send(ProducerRecord record, SendCallback callback);
  // Until everything sent before is settled. DELIVERY_TIMED_OUT when
  // timeout_us passed first.
  absl::Status Flush(int64_t timeout_us);
  ProducerCounters counters();

 private:
  struct Item {
    ProducerRecord record;
    SendCallback callback;
  };
  void Drain();  // on the executor
  void OnReleased(int64_t bytes);

  BlockingClient* const client_;
  const ProducerOptions options_;
  std::unique_ptr<Producer> producer_;  // on the executor

  std::mutex mutex_;
  std::condition_variable space_;
  // Guarded by mutex_.
  std::vector<Item> queued_;
  bool drain_posted_ = false;
  int64_t used_bytes_ = 0;
};

// Used by one thread at a time.
class BlockingConsumer {
 public:
  BlockingConsumer(BlockingClient* client, const ConsumerOptions& options);
  ~BlockingConsumer();

  // With OffsetReset::kNone use AssignAt: before a Seek from this thread
  // arrives the partitions may already have failed for want of a position.
  void Assign(const std::vector<NamedPartition>& partitions);
  // Exactly these from now on, each from its offset.
  void AssignAt(const std::map<NamedPartition, Offset>& starts);
  absl::Status Seek(const NamedPartition& tp, Offset offset);
  // Encoded: the caller decodes on its own thread (ForEachRecord).
  absl::StatusOr<std::vector<FetchedBatch>> PollBatches(int64_t timeout_us,
                                                        int64_t bytes_max);
  absl::StatusOr<std::vector<ConsumerRecord>> Poll(int64_t timeout_us);
  std::optional<Offset> Position(const NamedPartition& tp);
  ConsumerCounters counters();

 private:
  BlockingClient* const client_;
  std::unique_ptr<Consumer> consumer_;  // on the executor
};

template <class Result>
Result BlockingClient::Await(
    absl::AnyInvocable<void(absl::AnyInvocable<void(Result)>)> start) {
  struct Shared {
    std::mutex mutex;
    std::condition_variable done;
    std::optional<Result> result;
  };
  auto shared = std::make_shared<Shared>();
  deps_.executor->Post([start = std::move(start), shared]() mutable {
    start([shared](Result result) {
      std::lock_guard lock(shared->mutex);
      shared->result.emplace(std::move(result));
      shared->done.notify_all();
    });
  });
  std::unique_lock lock(shared->mutex);
  shared->done.wait(lock, [&] { return shared->result.has_value(); });
  return *std::move(shared->result);
}

}  // namespace sluice
