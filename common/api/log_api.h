// What LogService's handlers take and give: plain structs with Buffers. The
// protobuf edge, a raw edge and Kafka's wire are thin translations of these,
// and the simulator calls the handlers with them directly.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "common/base/buffer.h"
#include "common/base/epoch_history.h"
#include "common/base/error.h"
#include "common/base/ids.h"

namespace sluice::api {

// Who calls and until when. Every handler gets one.
struct CallContext {
  std::string client_id;
  std::string client_software;
  std::string peer_address;
  std::string listener;   // the listener's name
  std::string principal;  // "" while there is no authentication
  int64_t deadline_us = INT64_MAX;  // Clock::MonoMicros
};

// By name or by id; the answer echoes the form that was used.
struct TopicRef {
  std::string name;
  TopicId id;

  bool by_id() const { return id.is_set(); }
  bool operator==(const TopicRef&) const = default;
};

struct Endpoint {
  std::string host;
  int32_t port = 0;

  std::string ToString() const { return host + ":" + std::to_string(port); }
  auto operator<=>(const Endpoint&) const = default;
};

// "host:port", "[v6]:port"; nullopt for anything else.
std::optional<Endpoint> ParseEndpoint(std::string_view text);

struct LeaderHint {
  NodeId leader_id = kNoNode;
  LeaderEpoch leader_epoch = kNoLeaderEpoch;
  Endpoint endpoint;

  bool operator==(const LeaderHint&) const = default;
};

// kNone means success.
struct ItemError {
  ErrorCode code = ErrorCode::kNone;
  std::string message;
  int32_t retry_after_ms = 0;

  ItemError() = default;
  ItemError(ErrorCode c, std::string m) : code(c), message(std::move(m)) {}
  explicit ItemError(const absl::Status& status)
      : code(CodeOf(status)), message(std::string(status.message())) {}
  bool ok() const { return code == ErrorCode::kNone; }
};

struct RecordHeader {
  std::string key;
  std::optional<std::string> value;
};

struct Record {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<RecordHeader> headers;
  int64_t timestamp_ms = 0;  // produce: 0 means the broker's clock
  Offset offset;             // fetch only
};

// What becomes of what another broker leads: NOT_LEADER, or it is handed on.
enum class Route { kDirect, kForward };

// ---- Produce ----

// Bytes the edge owns and the log may patch in place (offsets and epoch lie
// outside the CRC). A foreign payload is copied into one by the edge.
struct ProducePartition {
  TopicRef topic;
  std::optional<PartitionIndex> partition;
  std::variant<MutableBuffer, std::vector<Record>> payload;
  std::optional<LeaderEpoch> leader_epoch;
  std::optional<ProducerId> producer_id;
  std::optional<int32_t> producer_epoch;
  std::optional<int32_t> base_sequence;
};

enum class AppendOrigin { kClient, kCoordinator, kReplication, kMirror };

enum class Acks : int32_t { kAll = -1, kNone = 0, kLeader = 1 };

struct ProduceRequest {
  int32_t acks = -1;       // as sent: validated by the handler
  int32_t timeout_ms = 0;  // 0: the default
  std::vector<ProducePartition> partitions;
  std::string transactional_id;
  AppendOrigin origin = AppendOrigin::kClient;
  Route route = Route::kDirect;
};

struct RecordError {
  int32_t record_index = 0;
  std::string message;
};

struct ProduceResult {
  TopicRef topic;
  PartitionIndex partition{-1};
  ItemError error;
  Offset base_offset = kNoOffset;
  int64_t log_append_time_ms = -1;
  Offset log_start_offset = kNoOffset;
  std::optional<LeaderHint> leader;
  std::vector<RecordError> record_errors;
  int32_t record_count = 0;
  std::string durability;
  bool below_min_isr = false;
  std::vector<int32_t> record_indexes;
  bool duplicate = false;  // stored by an earlier attempt, at base_offset
};

struct ProduceResponse {
  std::vector<ProduceResult> results;
  int32_t throttle_ms = 0;
};

// ---- ProduceStream ----

struct ProduceStreamRequest {
  int64_t correlation_id = 0;  // the client's; only echoed
  ProduceRequest request;
};

// Results of one request: some now, others in later answers. Those of one
// partition come in the order of the requests.
struct ProduceStreamResponse {
  int64_t correlation_id = 0;
  std::vector<ProduceResult> results;
  bool complete = false;  // no other answer follows for this request
  ItemError error;        // the whole request was refused: nothing is appended
  int32_t throttle_ms = 0;
};

// ---- Fetch ----

enum class Isolation { kReadUncommitted, kReadCommitted };
enum class PayloadForm { kRecords, kBatches };

struct FetchPartition {
  TopicRef topic;
  PartitionIndex partition;
  Offset offset;
  int32_t max_bytes = 0;  // 0: the default
  std::optional<LeaderEpoch> leader_epoch;
  // Of the last record before `offset`, as the reader has it.
  std::optional<LeaderEpoch> last_fetched_epoch;
};

struct FetchRequest {
  std::vector<FetchPartition> partitions;
  int32_t min_bytes = 1;
  int32_t max_wait_ms = 0;
  int32_t max_bytes = 0;  // 0: the default
  Isolation isolation = Isolation::kReadUncommitted;
  PayloadForm form = PayloadForm::kRecords;
  std::string rack;  // of the reader; set: followers may be read
  Route route = Route::kDirect;
};

struct AbortedTransaction {
  ProducerId producer_id;
  Offset first_offset;
};

struct FetchResult {
  TopicRef topic;
  PartitionIndex partition;
  ItemError error;
  Offset high_watermark = kNoOffset;
  Offset last_stable_offset = kNoOffset;
  Offset log_start_offset = kNoOffset;
  Offset next_offset = kNoOffset;
  // Whole batches as stored; the edge (or a worker) decodes them for the
  // RECORDS form, dropping records below the offset asked for.
  std::vector<Buffer> batches;
  std::vector<Record> records;
  std::optional<LeaderHint> leader;
  NodeId preferred_replica;  // 0: none
  Endpoint preferred_endpoint;
  std::vector<AbortedTransaction> aborted_transactions;
  LeaderEpoch leader_epoch = kNoLeaderEpoch;
  std::optional<EpochEnd> diverging;  // with LOG_TRUNCATED
  LeaderEpoch last_record_epoch = kNoLeaderEpoch;
};

struct FetchResponse {
  std::vector<FetchResult> results;
  int32_t throttle_ms = 0;
  // What it takes of the broker's budget: to be kept until it is on the wire.
  std::shared_ptr<const void> held;
};

// ---- ListOffsets ----

enum class OffsetPosition {
  kEarliest,
  kLatest,
  kTimestamp,
  kMaxTimestamp,
  kInvalid,
};

struct ListOffsetsPartition {
  TopicRef topic;
  PartitionIndex partition;
  OffsetPosition position = OffsetPosition::kInvalid;
  std::optional<LeaderEpoch> leader_epoch;
  int64_t timestamp_ms = 0;  // kTimestamp: of the first record, or later
};

struct ListOffsetsRequest {
  std::vector<ListOffsetsPartition> partitions;
  Isolation isolation = Isolation::kReadUncommitted;
  Route route = Route::kDirect;
};

struct ListOffsetsResult {
  TopicRef topic;
  PartitionIndex partition;
  ItemError error;
  Offset offset = kNoOffset;  // by timestamp, kNoOffset: no such record
  LeaderEpoch leader_epoch = kNoLeaderEpoch;
  std::optional<LeaderHint> leader;
  Offset high_watermark = kNoOffset;
  Offset last_stable_offset = kNoOffset;
  int64_t timestamp_ms = -1;  // by timestamp: of that record
};

struct ListOffsetsResponse {
  std::vector<ListOffsetsResult> results;
};

// ---- OffsetForLeaderEpoch ----

struct OffsetForLeaderEpochPartition {
  TopicRef topic;
  PartitionIndex partition;
  LeaderEpoch leader_epoch = kNoLeaderEpoch;  // asked about
  std::optional<LeaderEpoch> current_leader_epoch;
};

struct OffsetForLeaderEpochRequest {
  std::vector<OffsetForLeaderEpochPartition> partitions;
  Route route = Route::kDirect;
};

struct OffsetForLeaderEpochResult {
  TopicRef topic;
  PartitionIndex partition;
  ItemError error;
  EpochEnd end;  // kNoLeaderEpoch and kNoOffset: unknown
  std::optional<LeaderHint> leader;
  Offset log_start_offset = kNoOffset;
};

struct OffsetForLeaderEpochResponse {
  std::vector<OffsetForLeaderEpochResult> results;
};

// ---- DeleteRecords ----

struct DeleteRecordsPartition {
  TopicRef topic;
  PartitionIndex partition;
  Offset before_offset = kNoOffset;  // kNoOffset: the high watermark
  std::optional<LeaderEpoch> leader_epoch;
};

struct DeleteRecordsRequest {
  std::vector<DeleteRecordsPartition> partitions;
  int32_t timeout_ms = 0;  // 0: the default
  bool validate_only = false;
  Route route = Route::kDirect;
};

struct DeleteRecordsResult {
  TopicRef topic;
  PartitionIndex partition;
  ItemError error;
  Offset log_start_offset = kNoOffset;
  Offset high_watermark = kNoOffset;
  std::optional<LeaderHint> leader;
};

struct DeleteRecordsResponse {
  std::vector<DeleteRecordsResult> results;
};

// ---- Subscribe ----

enum class StartPosition { kEarliest, kLatest };

struct SubscribePartition {
  TopicRef topic;
  PartitionIndex partition;  // -1: every partition of the topic
  std::variant<StartPosition, Offset> start = StartPosition::kEarliest;
  // Checked until the first read or answer; not with every partition.
  std::optional<LeaderEpoch> leader_epoch;
};

struct SubscribeRequest {
  std::vector<SubscribePartition> partitions;
  std::vector<SubscribePartition> stop;
  int64_t credit_bytes = 0;
  // First message only.
  Isolation isolation = Isolation::kReadUncommitted;
  PayloadForm form = PayloadForm::kRecords;
  Route route = Route::kDirect;
  std::string rack;  // of the reader; set: an in-sync follower may push
};

struct SubscribeResponse {
  FetchResult result;  // one partition; an error ends it
  int64_t charged_bytes = 0;
};

// A handler answers exactly once, on any thread. A non-OK status fails the
// whole request.
template <class Response>
using Answer = absl::AnyInvocable<void(absl::Status, Response)>;

}  // namespace sluice::api
