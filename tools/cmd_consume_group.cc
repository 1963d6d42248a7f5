// `sluice consume -g`: a member of a group that commits what it has printed.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <iostream>
#include <map>
#include <utility>

#include "common/base/error.h"
#include "tools/consume.h"
#include "tools/time_text.h"
#include "tools/topic_lookup.h"

namespace sluice::cli {
namespace {

constexpr int64_t kPollUs = 300'000;
constexpr int64_t kPollBytes = 4 << 20;

// Ctrl-C and SIGTERM leave the group in good order: the others need not wait
// for a session.
std::atomic<bool> stopped = false;
void Stop(int) { stopped = true; }

class StopsOnSignals {
 public:
  StopsOnSignals()
      : interrupt_(std::signal(SIGINT, Stop)),
        terminate_(std::signal(SIGTERM, Stop)) {
    stopped = false;
  }
  ~StopsOnSignals() {
    std::signal(SIGINT, interrupt_);
    std::signal(SIGTERM, terminate_);
  }

 private:
  void (*const interrupt_)(int);
  void (*const terminate_)(int);
};

std::string NamesOf(const membership::Partitions& partitions) {
  std::string names;
  for (const auto& tp : partitions) names += " " + tp.ToString();
  return names.empty() ? " nothing" : names;
}

// Where a group begins that has never read the topic.
absl::Status SetReset(const ConsumeOptions& options, int64_t now_ms,
                      GroupConsumerOptions& consuming) {
  const std::string from = options.from.value_or("latest");
  if (from == "earliest") {
    consuming.reset = GroupReset::kEarliest;
    return absl::OkStatus();
  }
  if (from == "latest") return absl::OkStatus();
  if (from.empty() || from[0] != '@') {
    return MakeError(ErrorCode::kInvalidRequest, "--from ", from,
                     " cannot be where a group begins: use earliest, latest or "
                     "@TIME; `sluice group seek ", options.group,
                     "` moves one that has begun");
  }
  const auto time_ms = TimeMsOf(from.substr(1), now_ms);
  if (!time_ms.ok()) return time_ms.status();
  // As it was said: it may be long until the group lets this one in.
  consuming.reset = GroupReset::kTime;
  consuming.reset_time_ms = std::max<int64_t>(0, *time_ms);
  return absl::OkStatus();
}

absl::StatusOr<GroupConsumerOptions> OptionsOf(const ConsumeOptions& options,
                                               int64_t now_ms) {
  GroupConsumerOptions consuming;
  const absl::Status reset = SetReset(options, now_ms, consuming);
  if (!reset.ok()) return reset;
  if (!options.partitions.empty() || options.to >= 0) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "-p and --to do not go with -g: the group says which "
                     "partitions, and all of them are read on");
  }
  consuming.auto_commit = false;  // what was printed, not what was polled
  consuming.membership.group_id = options.group;
  consuming.membership.instance_id = options.instance_id;
  consuming.membership.client_id = "sluice-cli";
  consuming.membership.session_timeout_ms = options.session_timeout_ms;
  consuming.membership.heartbeat_interval_ms =
      std::min(options.heartbeat_interval_ms, options.session_timeout_ms / 3);
  consuming.membership.max_poll_interval_ms = options.max_poll_interval_ms;
  consuming.membership.rack = options.rack;
  consuming.fetching.rack = options.rack;
  if (!options.assignors.empty()) consuming.membership.assignors.clear();
  for (const std::string& name : options.assignors) {
    const auto assignor = consumer::AssignorFromName(name);
    if (!assignor.has_value()) {
      return MakeError(ErrorCode::kInvalidRequest, "--assignor ", name,
                       "; use range, roundrobin, sticky or cooperative-sticky");
    }
    consuming.membership.assignors.push_back(*assignor);
  }
  return consuming;
}

class GroupRun {
 public:
  GroupRun(Context* context, BlockingClient* client,
           const ConsumeOptions& options, const GroupConsumerOptions& consuming,
           RecordFormat format, std::map<NamedPartition, Offset> ends)
      : options_(options),
        ends_(std::move(ends)),
        printer_(options, std::move(format)),
        consumer_(client, context->group_connector(), consuming, Listener()) {}

  absl::Status Run() {
    const absl::Status subscribed = consumer_.Subscribe({options_.topic});
    if (!subscribed.ok()) return subscribed;
    absl::Status status = Loop();
    if (!printer_.Flush()) return status;  // what nobody read is not committed
    if (status.ok()) status = CommitAtEnd();
    // A member that has failed has nothing to leave.
    const absl::Status closed = consumer_.Close();
    return status.ok() ? closed : status;
  }

 private:
  RebalanceListener Listener() {
    RebalanceListener listener;
    listener.on_assigned = [this](const auto& partitions) {
      joined_ = true;
      std::cerr << "group " << options_.group << ": reads"
                << NamesOf(partitions) << std::endl;
    };
    listener.on_revoked = [this](const auto& partitions) {
      const absl::Status committed = CommitPrinted();
      std::cerr << "group " << options_.group << ": gives back"
                << NamesOf(partitions)
                << (committed.ok() ? std::string()
                                   : ", not committed: " +
                                         std::string(committed.message()))
                << std::endl;
      Forget(partitions);
    };
    listener.on_lost = [this](const auto& partitions) {
      std::cerr << "group " << options_.group << ": has lost"
                << NamesOf(partitions)
                << "; their records may be printed elsewhere again"
                << std::endl;
      Forget(partitions);
    };
    return listener;
  }

  void Forget(const membership::Partitions& partitions) {
    for (const auto& tp : partitions) printed_.erase(tp);
  }

  absl::Status CommitPrinted() {
    if (printed_.empty()) return absl::OkStatus();
    absl::Status committed = consumer_.CommitOffsets(printed_);
    // What was printed of the old one; all the rest is committed.
    if (CodeOf(committed) == ErrorCode::kUnknownTopicId) {
      std::cerr << "group " << options_.group
                << ": not committed: " << committed.message() << std::endl;
      committed = absl::OkStatus();
    }
    if (committed.ok()) printed_.clear();
    return committed;
  }

  // While a generation is made nothing is taken; then the partitions are given
  // back, which commits, or they stay.
  absl::Status CommitAtEnd() {
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (true) {
      const absl::Status committed = CommitPrinted();
      if (CodeOf(committed) != ErrorCode::kRebalanceInProgress ||
          std::chrono::steady_clock::now() > until) {
        return committed;
      }
      // What it gives is not printed, so not committed.
      const auto polled = consumer_.PollBatches(kPollUs, 1);
      if (!polled.ok()) return polled.status();
    }
  }

  absl::Status Loop() {
    using Clock = std::chrono::steady_clock;
    auto committed_at = Clock::now();
    while (!stopped && !AtEnd()) {
      const auto batches = consumer_.PollBatches(kPollUs, kPollBytes);
      if (!batches.ok()) return batches.status();
      const auto more = Print(*batches);
      if (!more.ok() || !*more) return more.status();
      if (!printer_.Flush()) return absl::OkStatus();
      const auto now = Clock::now();
      if (now - committed_at <
          std::chrono::milliseconds(options_.commit_interval_ms)) {
        continue;
      }
      committed_at = now;
      const absl::Status committed = CommitPrinted();
      // One that comes too late for its generation: the next poll says what
      // becomes of the partitions.
      if (!committed.ok() && !IsOfGeneration(CodeOf(committed))) {
        return committed;
      }
    }
    return absl::OkStatus();
  }

  static bool IsOfGeneration(ErrorCode code) {
    return code == ErrorCode::kRebalanceInProgress ||
           code == ErrorCode::kIllegalGeneration ||
           code == ErrorCode::kUnknownMemberId;
  }

  absl::StatusOr<bool> Print(const std::vector<FetchedBatch>& batches) {
    for (const FetchedBatch& batch : batches) {
      Offset next = batch.from;
      const auto more = printer_.Print(batch, Offset(INT64_MAX), &next);
      if (!more.ok()) return more;
      if (*more) next = batch.next;
      printed_[batch.tp] = {next, batch.last_epoch, "", batch.topic_id};
      if (!*more) return false;
    }
    return true;
  }

  // Of what this member has now.
  bool AtEnd() {
    if (!options_.exit_at_end || !joined_) return false;
    const auto mine = consumer_.Assignment();
    return std::all_of(mine.begin(), mine.end(), [&](const auto& tp) {
      const auto end = ends_.find(tp);
      const auto position = consumer_.Position(tp);
      return end == ends_.end() ||
             (position.has_value() && *position >= end->second);
    });
  }

  const ConsumeOptions& options_;
  const std::map<NamedPartition, Offset> ends_;
  RecordPrinter printer_;
  CommittedPositions printed_;  // and not committed yet
  bool joined_ = false;
  BlockingGroupConsumer consumer_;
};

}  // namespace

absl::Status ConsumeInGroup(Context* context, const ConsumeOptions& options,
                            RecordFormat format) {
  const auto consuming = OptionsOf(options, context->clock().WallMillis());
  if (!consuming.ok()) return context->Misused(consuming.status());
  if (options.count == 0) return absl::OkStatus();
  auto client = context->Client();
  if (!client.ok()) return client.status();
  const auto partitions = PartitionsOf(*context, *client, options.topic, {});
  if (!partitions.ok()) return partitions.status();
  std::map<NamedPartition, Offset> ends;
  if (options.exit_at_end) {
    auto latest = (*client)->LookUpOffsets(
        *partitions, api::OffsetPosition::kLatest, context->timeout_us());
    if (!latest.ok()) return latest.status();
    ends = *std::move(latest);
  }
  const StopsOnSignals signals;
  GroupRun run(context, *client, options, *consuming, std::move(format),
               std::move(ends));
  return run.Run();
}

}  // namespace sluice::cli
