#include "test/chaos/workload.h"

#include <unistd.h>

#include <algorithm>

#include "client/grpc_peers/grpc_broker_connector.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "test/chaos/chaos_value.h"
#include "test/chaos/recording_connector.h"

namespace sluice::chaos {
namespace {

// A request that hangs is given up soon: a fault lasts seconds.
constexpr int64_t kRequestTimeoutMs = 10'000;
constexpr int64_t kPaceUs = 10'000;
constexpr int64_t kPollUs = 100'000;
constexpr int64_t kPollBytes = 256 << 10;
constexpr int64_t kAskEveryUs = 30'000;
constexpr int64_t kLookUpTimeoutUs = 2'000'000;
constexpr int64_t kFlushMarginUs = 10'000'000;
// Every other consumer then reads everything anew, in a new session; the
// others stay at the log's end all the time.
constexpr int64_t kSessionUs = 5'000'000;

std::string BytesOf(const FetchedBatch& fetched) {
  std::string bytes;
  for (const Buffer& buffer : fetched.batches) bytes += buffer.view();
  return bytes;
}

// A record whose time is up, and what was on its way behind it.
bool MayFail(ErrorCode code) {
  return code == ErrorCode::kDeliveryTimedOut ||
         code == ErrorCode::kOutOfOrderSequence ||
         code == ErrorCode::kUnknownProducerId ||
         code == ErrorCode::kOutcomeUnknown;
}

}  // namespace

struct Workload::Client {
  Client(Recorder* recorder, const Clock* clock, ClientOptions options,
         uint64_t seed)
      : connector(MakeRecordingConnector(MakeGrpcBrokerConnector(), recorder)),
        executor("client"),
        blocking(ClientDeps{&executor, clock, connector.get(), seed},
                 std::move(options)) {}

  const std::unique_ptr<BrokerConnector> connector;
  ThreadExecutor executor;
  BlockingClient blocking;
};

Workload::Workload(const WorkloadOptions& options)
    : options_(options),
      recorder_(&clock_, options.topic, options.partitions) {}

Workload::~Workload() {
  stopping_ = true;
  for (std::thread& thread : threads_) thread.join();
}

std::unique_ptr<Workload::Client> Workload::MakeClient() {
  ClientOptions options;
  options.bootstrap = options_.bootstrap;
  options.request_timeout_ms = kRequestTimeoutMs;
  return std::make_unique<Client>(&recorder_, &clock_, std::move(options),
                                  static_cast<uint64_t>(clock_.MonoMicros()));
}

std::vector<NamedPartition> Workload::Partitions() const {
  std::vector<NamedPartition> partitions;
  for (int32_t p = 0; p < options_.partitions; ++p) {
    partitions.push_back({options_.topic, PartitionIndex(p)});
  }
  return partitions;
}

bool Workload::Pause(int64_t us) const {
  if (!stopping_) usleep(static_cast<useconds_t>(us));
  return !stopping_;
}

void Workload::Start() {
  int32_t number = 0;
  for (const int32_t acks : options_.producer_acks) {
    threads_.emplace_back([this, acks, number] { Produce(number, acks); });
    ++number;
  }
  for (int32_t c = 0; c < options_.consumers; ++c) {
    threads_.emplace_back([this, c] { Consume(c); });
  }
  threads_.emplace_back([this] { AskForEnds(); });
}

void Workload::Produce(int32_t producer_number, int32_t acks) {
  const auto client = MakeClient();
  ProducerOptions options;
  options.acks = acks;
  options.delivery_timeout_ms = options_.delivery_timeout_ms;
  options.max_block_ms = options_.delivery_timeout_ms;
  BlockingProducer producer(&client->blocking, options);
  const int64_t began_us = clock_.MonoMicros();
  int64_t number = 0;
  do {
    const int64_t due = (clock_.MonoMicros() - began_us) *
                        options_.records_per_s / 1'000'000;
    for (; number < due && !stopping_; ++number) {
      const check::ValueName name{producer_number, number};
      const auto partition = static_cast<int32_t>(number % options_.partitions);
      ProducerRecord record;
      record.topic = options_.topic;
      record.partition = PartitionIndex(partition);
      record.value = MakeValue(name, options_.value_bytes);
      recorder_.Sending({name, check::HashOf(*record.value)}, partition, acks);
      const absl::Status queued = producer.Send(
          std::move(record),
          [this, name](const absl::StatusOr<RecordMetadata>& result) {
            if (result.ok()) {
              recorder_.Acknowledged(name, result->offset.value());
            } else {
              recorder_.GaveUp(name);
              if (!MayFail(CodeOf(result.status()))) {
                Unexpected("a producer", result.status());
              }
            }
          });
      if (!queued.ok()) recorder_.GaveUp(name);
    }
  } while (Pause(kPaceUs));
  const int64_t patience_us =
      options_.delivery_timeout_ms * 1000 + kFlushMarginUs;
  if (absl::Status s = producer.Flush(patience_us); !s.ok()) {
    Unexpected("a producer has sends that do not end", s);
  }
}

void Workload::Consume(int32_t consumer_number) {
  const auto client = MakeClient();
  ConsumerOptions options;
  options.reset = OffsetReset::kNone;
  BlockingConsumer consumer(&client->blocking, options);
  std::vector<int64_t> sessions(static_cast<size_t>(options_.partitions));
  const bool reads_anew = consumer_number % 2 == 1;
  int64_t session_end_us = 0;
  do {
    if (clock_.MonoMicros() >= session_end_us) {
      session_end_us =
          reads_anew ? clock_.MonoMicros() + kSessionUs : INT64_MAX;
      std::map<NamedPartition, Offset> starts;
      for (const NamedPartition& tp : Partitions()) {
        starts.emplace(tp, Offset(0));
        sessions[static_cast<size_t>(tp.partition.value())] =
            recorder_.OpenSession(consumer_number, tp.partition.value(), 0);
      }
      consumer.Assign({});
      consumer.AssignAt(starts);
    }
    const auto polled = consumer.PollBatches(kPollUs, kPollBytes);
    if (!polled.ok()) {
      Unexpected("a consumer", polled.status());
      continue;
    }
    for (const FetchedBatch& fetched : *polled) {
      const auto records = RecordsIn(BytesOf(fetched), fetched.from.value());
      // What cannot be read is a hole: the judge finds the gap.
      recorder_.Polled(
          sessions[static_cast<size_t>(fetched.tp.partition.value())],
          fetched.from.value(), fetched.next.value(),
          records.ok() ? *records : std::vector<check::StoredRecord>());
    }
  } while (!stopping_);
}

void Workload::AskForEnds() {
  const auto client = MakeClient();
  do {
    // The connector records each broker's answer.
    (void)client->blocking.LookUpOffsets(
        Partitions(), api::OffsetPosition::kLatest, kLookUpTimeoutUs);
  } while (Pause(kAskEveryUs));
}

absl::Status Workload::Stop() {
  stopping_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  std::lock_guard lock(mutex_);
  return unexpected_;
}

void Workload::Unexpected(std::string_view who, const absl::Status& error) {
  std::lock_guard lock(mutex_);
  if (!unexpected_.ok()) return;
  unexpected_ = MakeError(CodeOf(error), who, ": ", NameOf(CodeOf(error)), ": ",
                          StdView(error.message()));
}

absl::Status Workload::ReadAll() {
  const auto client = MakeClient();
  const int64_t timeout_us = options_.final_read_timeout_ms * 1000;
  ASSIGN_OR_RETURN(
      const auto starts,
      client->blocking.LookUpOffsets(
          Partitions(), api::OffsetPosition::kEarliest, timeout_us));
  ASSIGN_OR_RETURN(const auto ends,
                   client->blocking.LookUpOffsets(
                       Partitions(), api::OffsetPosition::kLatest, timeout_us));
  return ReadTo(starts, ends);
}

absl::Status Workload::ReadTo(const std::map<NamedPartition, Offset>& starts,
                              const std::map<NamedPartition, Offset>& ends) {
  const auto client = MakeClient();
  ConsumerOptions options;
  options.reset = OffsetReset::kNone;
  BlockingConsumer consumer(&client->blocking, options);
  consumer.AssignAt(starts);
  std::map<NamedPartition, Offset> positions = starts;
  std::map<NamedPartition, std::vector<check::StoredRecord>> found;
  const int64_t deadline_us =
      clock_.MonoMicros() + options_.final_read_timeout_ms * 1000;
  while (positions != ends) {
    if (clock_.MonoMicros() > deadline_us) {
      return MakeError(ErrorCode::kRequestTimedOut,
                       "the final read did not come to the end");
    }
    ASSIGN_OR_RETURN(const auto polled,
                     consumer.PollBatches(kPollUs, kPollBytes));
    for (const FetchedBatch& fetched : polled) {
      ASSIGN_OR_RETURN(const auto records,
                       RecordsIn(BytesOf(fetched), fetched.from.value()));
      auto& all = found[fetched.tp];
      all.insert(all.end(), records.begin(), records.end());
      positions[fetched.tp] = fetched.next;
      if (fetched.next > ends.at(fetched.tp)) {
        return MakeError(ErrorCode::kUnknownServerError, fetched.tp,
                         " grows while nobody writes");
      }
    }
  }
  for (const auto& [tp, end] : ends) {
    recorder_.FinalRead(tp.partition.value(), starts.at(tp).value(),
                        end.value(), found[tp]);
  }
  return absl::OkStatus();
}

}  // namespace sluice::chaos
