// Sends records to the leaders of their partitions.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "client/client_types.h"
#include "client/metadata_cache.h"
#include "client/record_accumulator.h"
#include "common/base/random.h"

namespace sluice {

struct ProducerOptions {
  int32_t acks = -1;               // -1 all, 0 none, 1 the leader
  // Each record is stored once, in order, whatever is sent again. Needs acks =
  // all. Unset: on with it, off without.
  std::optional<bool> enable_idempotence;
  int64_t batch_bytes = 256 << 10;  // at most kProducerBatchBytesMax
  int64_t linger_ms = 5;
  Codec codec = Codec::kNone;  // none, lz4, zstd
  int64_t buffer_memory = 32 << 20;
  int64_t max_block_ms = 60'000;
  int64_t delivery_timeout_ms = 120'000;
  int64_t request_bytes_max = 4 << 20;
  // Of one partition in one request: several batches when they piled up.
  int64_t partition_request_bytes_max = 1 << 20;
  // Of one partition; at most kInFlightMax. Without idempotence it is one, for
  // a retry would change the order.
  int32_t requests_in_flight_max = 5;

  // What is refused, and sent again; on the client's executor, for each time.
  // Says why somebody waits; the batch's own callback says how it ended.
  std::function<void(const NamedPartition&, const absl::Status&)> on_retry;

  // INVALID_CONFIG: enable_idempotence without acks = all.
  absl::Status Check() const;
  bool idempotent() const { return enable_idempotence.value_or(acks == -1); }
};
// How many batches of a producer a partition remembers: more in flight could
// not be told from duplicates.
inline constexpr int32_t kInFlightMax = 5;
inline constexpr int64_t kProducerBatchBytesMax = 1 << 20;

struct ProducerCounters {
  int64_t records_sent = 0;  // given to Send
  int64_t records_acked = 0;
  int64_t records_failed = 0;
  int64_t bytes_acked = 0;   // keys, values, headers
  int64_t batches_sent = 0;  // first attempts
  // Sent again; without idempotence each may be in the log twice.
  int64_t batches_retried = 0;
  // Acknowledged as stored by an earlier attempt.
  int64_t batches_deduplicated = 0;
  int64_t records_retried = 0;
  // Refused as too large and sent again in halves, which count as retried.
  int64_t batches_split = 0;
  int64_t requests = 0;
  int64_t streams = 0;  // opened
  // Partitions that went on in another epoch or under another producer id,
  // since a batch had failed.
  int64_t epochs_begun = 0;
};

// Lives on the client's executor (BlockingProducer is the door for threads).
//
// One ProduceStream a broker carries the batches of the partitions it leads.
//
// Idempotent: each record is stored once and in the order sent, with several
// batches of a partition in flight, through any fail-over; or its callback says
// that it failed. DELIVERY_TIMED_OUT and OUTCOME_UNKNOWN leave open whether it
// is stored, other errors mean that it is not. A batch that failed does not
// stop those behind it; those that were on their way with it may fail with
// OUT_OF_ORDER_SEQUENCE.
// Otherwise at least once: a request whose outcome is unknown is sent again.
// Following: NOT_LEADER's hint is used at once; a transport error, an epoch
// error or an answer that stays out for a second has the metadata refreshed,
// and what was in flight to a deposed leader is sent to the new one.
class Producer {
 public:
  // `on_released`: buffer memory came free (may be null). `metadata` is shared
  // by the client's parts and outlives this.
  Producer(const ClientDeps& deps, const ClientOptions& client,
           const ProducerOptions& options, MetadataCache* metadata,
           std::function<void(int64_t bytes)> on_released = nullptr);
  // Fails what is left: SHUTTING_DOWN what was never sent, OUTCOME_UNKNOWN
  // what was. Callbacks run before it returns.
  ~Producer();

  // The callback always runs, perhaps before Send returns. Errors at once:
  // BUFFER_EXHAUSTED (wait for on_released) and what ProducerOptions::Check
  // says; the callback then never runs.
  // Through the callback: MESSAGE_TOO_LARGE (the record alone is larger than
  // its topic takes), INVALID_REQUEST (no such partition), UNKNOWN_TOPIC_OR_PARTITION (after max_block_ms without
  // metadata), DELIVERY_TIMED_OUT with the last error, and every error of the
  // broker that a retry does not help.
  absl::Status Send(ProducerRecord record, SendCallback callback);
  // Sends without lingering; `done` runs when every record sent before is
  // settled.
  void Flush(absl::AnyInvocable<void()> done);

  int64_t buffered_bytes() const { return buffered_bytes_; }
  const ProducerCounters& counters() const { return counters_; }

 private:
  struct WaitingRecord {
    ProducerRecord record;
    SendCallback callback;
    int64_t since_us = 0;
    int64_t charge = 0;
    std::vector<FlushToken> flushes;
  };
  struct TopicState {
    std::vector<std::unique_ptr<PartitionQueue>> queues;
    std::deque<WaitingRecord> waiting;  // for metadata
    int32_t sticky = -1;
    int64_t sticky_bytes = 0;
  };
  struct Link;
  using LinkPtr = std::shared_ptr<Link>;
  struct Request {
    int64_t id = 0;
    Link* link = nullptr;
    int64_t sent_us = 0;
    int64_t deadline_us = 0;
    int64_t bytes = 0;
    std::vector<FlightPtr> flights;
    size_t next_result = 0;  // results mostly come in the order asked
  };
  using RequestPtr = std::shared_ptr<Request>;
  // The stream to one broker.
  struct Link {
    api::Endpoint endpoint;
    std::shared_ptr<BrokerPeer> peer;
    std::shared_ptr<ProduceSender> sender;
    std::map<int64_t, RequestPtr> requests;  // unanswered, by id
    int64_t bytes = 0;                       // of those
    int64_t heard_us = 0;                    // the last answer
  };
  using ByEndpoint = std::map<api::Endpoint, std::vector<PartitionQueue*>>;

  // producer.cc: records in.
  void Place(TopicState& topic, int32_t partition_count,
             WaitingRecord& waiting);
  PartitionQueue& QueueOf(TopicState& topic, const std::string& name,
                          int32_t partition);
  int32_t ChoosePartition(TopicState& topic, const ProducerRecord& record,
                          int32_t partition_count);
  void PlaceWaiting();
  // Runs the callbacks: `first` is of the batch's first record.
  void Settle(PendingBatch& batch, absl::StatusOr<RecordMetadata> first);
  void FailWaiting(WaitingRecord& waiting, const absl::Status& why);
  void Release(int64_t bytes);
  bool IsFlushing();

  // producer_requests.cc: batches out.
  void Reschedule(PartitionQueue& queue);
  void SchedulePump(int64_t at_us);
  void Pump();
  void ExpireBatches(PartitionQueue& queue, int64_t now_us);
  void ExpireWaiting(int64_t now_us);
  void GatherDue(int64_t now_us, ByEndpoint& due);
  void AddCompanions(int64_t now_us, ByEndpoint& due);
  void TakeOffAgenda(PartitionQueue& queue);
  bool HasRoom(const api::Endpoint& endpoint) const;
  // False: it waits for a producer id.
  bool IsNumberable(PartitionQueue& queue);
  void SendTo(const api::Endpoint& endpoint,
              const std::vector<PartitionQueue*>& queues);
  void SendRequest(const RequestPtr& request, const api::Endpoint& endpoint);
  void WriteFlight(const Flight& flight, api::ProducePartition& out);
  void AwaitLeader(PartitionQueue& queue, LeaderEpoch failed);
  void Unblock();

  // producer_answers.cc: answers in.
  void OnAnswer(Link& link, api::ProduceStreamResponse answer);
  FlightPtr FlightOf(Request& request, const api::ProduceResult& result) const;
  void OnResult(Flight& flight, const api::ProduceResult& result);
  void OnSuccess(Flight& flight, const api::ProduceResult& result);
  // `suspect`: the leader may be dead or deposed.
  void OnError(Flight& flight, const absl::Status& error, bool suspect,
               int64_t retry_after_us);
  // The partition has forgotten the producer (its topic was made again), and
  // every attempt of its only unsettled batch was answered with a refusal:
  // under a new number it is stored once.
  static bool MayNumberAnew(const Flight& flight, const absl::Status& error);
  void OnDefiniteError(Flight& flight, const absl::Status& error);
  void SendAgain(Flight& flight, int64_t not_before_us);
  void FailAll(Request& request, const absl::Status& error);
  void OnMetadata();
  void LeaveDeposedLeaders();
  void LookElsewhere();

  // producer_links.cc: streams, their requests' time, who we are.
  Link& LinkTo(const api::Endpoint& endpoint);
  void OnLinkClosed(const api::Endpoint& endpoint, const absl::Status& why);
  void Forget(Link& link, int64_t request_id);
  void Watch();
  void WatchAt(int64_t at_us);
  void ExpireRequests(int64_t now_us);
  void AskIdentity();
  void OnIdentity(absl::StatusOr<v1::InitProducerIdResponse> answer);

  const ClientDeps deps_;
  const ClientOptions client_;
  const ProducerOptions options_;
  const absl::Status options_status_;
  const BatchingOptions batching_;
  MetadataCache* const metadata_;
  const std::function<void(int64_t)> on_released_;
  Random random_;

  std::map<std::string, TopicState, std::less<>> topics_;
  // Queues with something to do, by when.
  std::set<std::pair<int64_t, PartitionQueue*>, QueueOrder> agenda_;
  std::map<api::Endpoint, LinkPtr> links_;
  // Ready, but their broker's stream is full.
  std::set<PartitionQueue*, QueueOrder> blocked_;
  std::set<PartitionQueue*, QueueOrder> awaiting_leader_;
  std::set<PartitionQueue*, QueueOrder> awaiting_identity_;
  uint64_t next_queue_id_ = 1;
  int64_t next_request_id_ = 1;
  std::vector<std::weak_ptr<void>> flushes_;

  TimerId pump_timer_ = 0;
  int64_t pump_at_us_ = INT64_MAX;
  TimerId watch_timer_ = 0;
  int64_t watch_at_us_ = INT64_MAX;
  // For partitions that begin to be numbered; unset: to be asked for.
  std::optional<ProducerIdentity> identity_;
  bool asking_identity_ = false;
  Backoff identity_backoff_;
  size_t next_identity_broker_ = 0;
  TimerId identity_timer_ = 0;
  std::string identity_error_;
  int64_t looked_elsewhere_us_ = INT64_MIN / 2;
  int64_t buffered_bytes_ = 0;
  std::set<std::string, std::less<>> waiting_topics_;
  ProducerCounters counters_;
  std::shared_ptr<void> observation_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice
