#include "tools/verified_run.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "tools/ack_gaps.h"
#include "tools/line_source.h"
#include "tools/progress.h"

namespace sluice::cli {
namespace {

constexpr int64_t kPollUs = 500'000;
constexpr int64_t kPollBytes = 8 << 20;
constexpr int64_t kLinesMin = 2;
constexpr int64_t kLookEveryUs = 1000;
constexpr int64_t kInFlightPollUs = 20;
// So long one follower is held still before the leader dies: what is sent
// meanwhile is stored and not answered, so it is sent again and found to be
// there. Well below any session's timeout.
constexpr int64_t kHoldStillUs = 100'000;
constexpr int64_t kLeaderAskedEveryUs = 50'000;
// Not in the last twentieth of the lines before half.
constexpr int64_t kQuestionsEndPart = 20;
// The last lines wait for the kill, so that some are in flight even of a file
// that fits into one request.
constexpr int64_t kHeldBackPart = 10;

absl::StatusOr<int64_t> CountLines(const std::string& file) {
  ASSIGN_OR_RETURN(LineSource source, LineSource::Open(file));
  int64_t lines = 0;
  std::string line;
  while (source.Next(line)) ++lines;
  RETURN_IF_ERROR(source.status());
  if (lines < kLinesMin) {
    return MakeError(ErrorCode::kInvalidRequest, file, " has ", lines,
                     " lines; at least ", kLinesMin,
                     " are needed to kill a leader between them");
  }
  if (lines > RunVerifier::kLinesMax) {
    return MakeError(ErrorCode::kInvalidRequest, file, " has ", lines,
                     " lines; at most ", RunVerifier::kLinesMax, " are judged");
  }
  return lines;
}

class VerifiedRun {
 public:
  VerifiedRun(BlockingClient* client, const DevCluster& cluster,
              const VerifiedRunOptions& options, int64_t lines,
              int32_t partitions)
      : client_(client),
        cluster_(cluster),
        options_(options),
        lines_(lines),
        half_(std::max<int64_t>(1, lines / 2)),
        held_back_from_(
            std::max(half_, lines - std::max<int64_t>(1, lines / kHeldBackPart))),
        verifier_(lines, partitions),
        gaps_(partitions),
        partitions_(partitions) {}

  absl::StatusOr<VerifiedRunResult> Run() {
    RETURN_IF_ERROR(Produce());
    RETURN_IF_ERROR(Consume());
    result_.report = verifier_.Finish();
    for (int32_t p = 0; p < partitions_; ++p) {
      result_.ack_gap_us =
          std::max(result_.ack_gap_us, gaps_.LongestClosedUs(p));
    }
    return result_;
  }

 private:
  // Acknowledgements come on the client's executor, lines from the caller's
  // thread, the kill from a third.
  absl::Status Produce();
  absl::Status SendLines(BlockingProducer& producer);
  void OnSettled(int64_t line, const absl::StatusOr<RecordMetadata>& result);
  absl::Status KillAtHalf();
  // Of partition 0: who dies, and who is held still before.
  struct Roles {
    DevNode leader;
    std::optional<DevNode> held;
  };
  absl::Status AwaitHalf(absl::StatusOr<Roles>& roles);
  void OpenGate();
  absl::StatusOr<Roles> RolesInPartition0();
  // So many failed that those not held back cannot make up half.
  bool HalfIsOutOfReach() const { return failed_ > held_back_from_ - half_; }
  absl::Status Consume();
  absl::Status ReadToEnd(BlockingConsumer& consumer,
                         const std::map<NamedPartition, Offset>& ends);

  int64_t NowUs() const { return client_->deps().clock->MonoMicros(); }

  BlockingClient* const client_;
  const DevCluster& cluster_;
  const VerifiedRunOptions& options_;
  const int64_t lines_;
  const int64_t half_;
  const int64_t held_back_from_;
  RunVerifier verifier_;

  // Counted without a lock: at half a million acknowledgements a second a
  // killer that waits for one comes late.
  std::atomic<int64_t> sent_{0};
  std::atomic<int64_t> acknowledged_{0};
  std::atomic<int64_t> failed_{0};
  std::atomic<bool> gate_open_{false};  // the lines held back may go
  std::atomic<bool> sending_ended_{false};
  std::atomic<int64_t> killed_us_{0};

  // The executor's until the producer is gone.
  AckGaps gaps_;
  int64_t marked_us_ = 0;
  int64_t last_ack_us_ = 0;
  absl::Status first_error_;

  const int32_t partitions_;
  VerifiedRunResult result_;
};

absl::Status VerifiedRun::Produce() {
  ProducerOptions producing;
  producing.enable_idempotence = true;
  const int64_t start_us = NowUs();
  absl::Status sent;
  absl::Status killed;
  {
    BlockingProducer producer(client_, producing);
    std::thread killer([this, &killed] {
      killed = KillAtHalf();
      OpenGate();
    });
    sent = SendLines(producer);
    if (sent.ok()) {
      sent = producer.Flush(producing.delivery_timeout_ms * 1000 + 5'000'000);
    }
    sending_ended_ = true;
    killer.join();
    const ProducerCounters counters = producer.counters();
    result_.batches_retried = counters.batches_retried;
    result_.batches_deduplicated = counters.batches_deduplicated;
  }  // settles what is left: no callback runs behind this
  result_.produce_us = std::max<int64_t>(1, last_ack_us_ - start_us);
  if (failed_ > 0) {
    std::cerr << failed_ << " lines were not acknowledged; the first: "
              << StdView(first_error_.message()) << '\n';
  }
  RETURN_IF_ERROR(killed);
  return sent;
}

absl::Status VerifiedRun::SendLines(BlockingProducer& producer) {
  ASSIGN_OR_RETURN(LineSource source, LineSource::Open(options_.file));
  Progress progress(client_->deps().clock, "produced", lines_);
  std::string text;
  for (int64_t line = 1; line <= lines_ && source.Next(text); ++line) {
    if (line > held_back_from_) gate_open_.wait(false);
    ProducerRecord record;
    record.topic = options_.topic;
    record.key = RunVerifier::KeyOf(line);
    verifier_.Sent(line, text);
    result_.bytes += static_cast<int64_t>(record.key->size() + text.size());
    record.value = text;
    ++sent_;
    const auto queued =
        producer.Send(std::move(record),
                      [this, line](const absl::StatusOr<RecordMetadata>& got) {
                        OnSettled(line, got);
                      });
    if (!queued.ok()) return queued;
    progress.Update(line);
  }
  return source.status();
}

void VerifiedRun::OnSettled(int64_t line,
                            const absl::StatusOr<RecordMetadata>& result) {
  if (result.ok()) {
    verifier_.Acknowledged(line, result->partition, result->offset);
  }
  if (!result.ok()) {
    if (failed_++ == 0) first_error_ = result.status();
    return;
  }
  const int64_t now_us = NowUs();
  if (const int64_t killed_us = killed_us_; killed_us != marked_us_) {
    gaps_.Mark(killed_us);
    marked_us_ = killed_us;
  }
  gaps_.Acknowledged(result->partition.value(), now_us);
  last_ack_us_ = now_us;
  ++acknowledged_;
}

void VerifiedRun::OpenGate() {
  gate_open_ = true;
  gate_open_.notify_all();
}

// Who leads is asked again and again until shortly before: an answer takes its
// time behind a burst of acknowledgements.
absl::Status VerifiedRun::AwaitHalf(absl::StatusOr<Roles>& roles) {
  const int64_t no_more_questions = half_ - lines_ / kQuestionsEndPart;
  int64_t ask_us = NowUs() + kLeaderAskedEveryUs;
  while (acknowledged_ < half_) {
    if (HalfIsOutOfReach() || sending_ended_) {
      return MakeError(ErrorCode::kDeliveryTimedOut, "only ",
                       acknowledged_.load(), " of ", lines_,
                       " lines were acknowledged, so nothing was killed");
    }
    if (acknowledged_ < no_more_questions && NowUs() >= ask_us) {
      roles = RolesInPartition0();
      ask_us = NowUs() + kLeaderAskedEveryUs;
    }
    usleep(kLookEveryUs);
  }
  return roles.status();
}

absl::Status VerifiedRun::KillAtHalf() {
  absl::StatusOr<Roles> roles = RolesInPartition0();
  RETURN_IF_ERROR(AwaitHalf(roles));
  const DevNode& node = roles->leader;
  if (!cluster_.PidOf(node).has_value()) {
    return MakeError(ErrorCode::kInvalidRequest, node.name, " of ",
                     cluster_.directory(), ", which leads ", options_.topic,
                     "-0, does not run");
  }
  const std::optional<DevNode>& follower = roles->held;
  const bool holds =
      follower.has_value() && cluster_.HoldStill(*follower, true);
  OpenGate();
  while (sent_ <= acknowledged_ + failed_ && !sending_ended_) {
    usleep(kInFlightPollUs);
  }
  // What was held back is stored meanwhile, also where it is all there is.
  if (holds) usleep(kHoldStillUs);
  const int64_t acknowledged = acknowledged_;
  result_.in_flight_at_kill = sent_ - acknowledged - failed_;
  killed_us_ = NowUs();
  cluster_.Stop({node}, /*kill=*/true);
  if (follower.has_value()) cluster_.HoldStill(*follower, false);
  result_.killed = node.name;
  std::cerr << "killed " << node.name << ", the leader of " << options_.topic
            << "-0, with SIGKILL: " << acknowledged << " of " << lines_
            << " lines acknowledged, " << result_.in_flight_at_kill
            << " in flight\n";
  return absl::OkStatus();
}

// Held still is the last in line to lead: who leads next has what the dead leader
// had stored and not answered, and knows it again.
absl::StatusOr<VerifiedRun::Roles> VerifiedRun::RolesInPartition0() {
  v1::GetMetadataRequest request;
  request.add_topics()->set_name(options_.topic);
  ASSIGN_OR_RETURN(const v1::GetMetadataResponse metadata,
                   client_->GetMetadata(request, options_.timeout_us));
  for (const auto& topic : metadata.topics()) {
    for (const auto& partition : topic.partitions()) {
      if (partition.partition() != 0 || partition.leader_id() <= 0) continue;
      Roles roles;
      ASSIGN_OR_RETURN(roles.leader, cluster_.FindId(partition.leader_id()));
      for (const int32_t replica : partition.replicas()) {
        const bool in_sync =
            std::count(partition.isr().begin(), partition.isr().end(),
                       replica) > 0;
        if (replica == partition.leader_id() || !in_sync) continue;
        ASSIGN_OR_RETURN(roles.held, cluster_.FindId(replica));
      }
      return roles;
    }
  }
  return MakeError(ErrorCode::kLeaderNotAvailable, options_.topic,
                   "-0 has no leader to kill");
}

absl::Status VerifiedRun::Consume() {
  std::vector<NamedPartition> partitions;
  for (int32_t p = 0; p < partitions_; ++p) {
    partitions.push_back({options_.topic, PartitionIndex(p)});
  }
  ASSIGN_OR_RETURN(
      const auto ends,
      client_->LookUpOffsets(partitions, api::OffsetPosition::kLatest,
                             options_.timeout_us));
  const int64_t start_us = NowUs();
  ConsumerOptions consuming;
  consuming.reset = OffsetReset::kNone;
  BlockingConsumer consumer(client_, consuming);
  std::map<NamedPartition, Offset> starts;
  for (const NamedPartition& tp : partitions) starts.emplace(tp, Offset(0));
  consumer.AssignAt(starts);
  RETURN_IF_ERROR(ReadToEnd(consumer, ends));
  result_.consume_us = std::max<int64_t>(1, NowUs() - start_us);
  return absl::OkStatus();
}

absl::Status VerifiedRun::ReadToEnd(
    BlockingConsumer& consumer,
    const std::map<NamedPartition, Offset>& ends) {
  std::map<NamedPartition, Offset> positions;
  int64_t total = 0;
  int64_t read = 0;
  for (const auto& [tp, end] : ends) {
    positions[tp] = Offset(0);
    total += end.value();
  }
  Progress progress(client_->deps().clock, "consumed", total);
  int64_t heard_us = NowUs();
  while (std::any_of(ends.begin(), ends.end(), [&](const auto& end) {
    return positions[end.first] < end.second;
  })) {
    ASSIGN_OR_RETURN(const auto batches,
                     consumer.PollBatches(kPollUs, kPollBytes));
    for (const FetchedBatch& batch : batches) {
      heard_us = NowUs();
      positions[batch.tp] = batch.next;
      RETURN_IF_ERROR(ForEachRecord(batch, [&](const DecodedRecord& record) {
        verifier_.Read(batch.tp.partition, record.offset, record.key,
                       record.value);
        ++read;
        return true;
      }));
    }
    progress.Update(read);
    if (NowUs() - heard_us > options_.timeout_us) {
      return MakeError(ErrorCode::kRequestTimedOut, "nothing came of ",
                       options_.topic, " for ", options_.timeout_us / 1'000'000,
                       " s; ", read, " of ", total, " records were read");
    }
  }
  return absl::OkStatus();
}

// What others wrote would count as duplicates and phantoms of this run.
absl::Status CheckIsEmpty(BlockingClient* client,
                          const VerifiedRunOptions& options,
                          int32_t partition_count) {
  std::vector<NamedPartition> partitions;
  for (int32_t p = 0; p < partition_count; ++p) {
    partitions.push_back({options.topic, PartitionIndex(p)});
  }
  ASSIGN_OR_RETURN(const auto ends,
                   client->LookUpOffsets(partitions,
                                         api::OffsetPosition::kLatest,
                                         options.timeout_us));
  for (const auto& [tp, end] : ends) {
    if (end == Offset(0)) continue;
    return MakeError(ErrorCode::kInvalidRequest, tp, " has had records up to ",
                     end, "; verify-run needs a topic that is new");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<VerifiedRunResult> RunVerified(
    BlockingClient* client, const DevCluster& cluster,
    const VerifiedRunOptions& options) {
  ASSIGN_OR_RETURN(const int64_t lines, CountLines(options.file));
  v1::GetMetadataRequest request;
  request.add_topics()->set_name(options.topic);
  ASSIGN_OR_RETURN(const v1::GetMetadataResponse metadata,
                   client->GetMetadata(request, options.timeout_us));
  const int32_t partitions =
      metadata.topics_size() == 1 ? metadata.topics(0).partitions_size() : 0;
  if (partitions == 0) {
    return MakeError(ErrorCode::kUnknownTopicOrPartition, "topic ",
                     options.topic, " is not there");
  }
  RETURN_IF_ERROR(CheckIsEmpty(client, options, partitions));
  VerifiedRun run(client, cluster, options, lines, partitions);
  return run.Run();
}

}  // namespace sluice::cli
