#include "broker/shard.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"

namespace sluice {

Shard::Shard(Deps deps)
    : index_(deps.index),
      shard_count_(deps.shard_count),
      directories_(std::move(deps.directories)),
      configs_(std::move(deps.configs)),
      tail_cache_bytes_(deps.tail_cache_bytes),
      tail_budget_(std::make_shared<TailBudget>(deps.tail_cache_bytes)) {
  context_.deps = std::move(deps.context);
  context_.catch_up.SetLimit(
      std::max<int64_t>(configs_->NodeNumber(kReplicaCatchUpBytes) /
                            static_cast<int64_t>(shard_count_),
                        1));
  context_.flush_outgoing_soon = [this] {
    if (flush_scheduled_) return;
    flush_scheduled_ = true;
    context_.deps.executor->Post([this, alive = alive_] {
      if (!*alive) return;
      flush_scheduled_ = false;
      FlushOutgoing();
    });
  };
}

Shard::~Shard() { *alive_ = false; }

size_t Shard::IndexOf(const TopicPartition& tp, size_t shard_count) {
  // Consecutive partitions of a topic go to different shards. Not
  // absl::Hash: it is salted per process, and runs shall be repeatable.
  const uint64_t h = tp.topic_id.low() * 0x9e3779b97f4a7c15ull;
  return ((h >> 32) + static_cast<uint32_t>(tp.partition.value())) %
         shard_count;
}

Partition* Shard::Find(const TopicPartition& tp) {
  const auto found = partitions_.find(tp);
  return found == partitions_.end() ? nullptr : found->second.get();
}

const Partition* Shard::Find(const TopicPartition& tp) const {
  const auto found = partitions_.find(tp);
  return found == partitions_.end() ? nullptr : found->second.get();
}

// ---- PartitionHost ----

void Shard::Append(AppendRequest request, Task ordered,
                   absl::AnyInvocable<void(AppendOutcome)> done) {
  Partition* partition = Find(request.tp);
  if (partition == nullptr) {
    ordered();
    return done(NotHere<AppendOutcome>(request.tp));
  }
  partition->Append(std::move(request), std::move(ordered), std::move(done));
}

void Shard::Read(const ReadRequest& request,
                 absl::AnyInvocable<void(ReadOutcome)> done) {
  Partition* partition = Find(request.tp);
  if (partition == nullptr) return done(NotHere<ReadOutcome>(request.tp));
  partition->Read(request, std::move(done));
}

OffsetOutcome Shard::FindOffset(const OffsetRequest& request) {
  Partition* partition = Find(request.tp);
  return partition == nullptr ? NotHere<OffsetOutcome>(request.tp)
                              : partition->FindOffset(request);
}

EpochEndOutcome Shard::FindEpochEnd(const EpochEndRequest& request) {
  Partition* partition = Find(request.tp);
  return partition == nullptr ? NotHere<EpochEndOutcome>(request.tp)
                              : partition->FindEpochEnd(request);
}

void Shard::Trim(const TrimRequest& request,
                 absl::AnyInvocable<void(TrimOutcome)> done) {
  Partition* partition = Find(request.tp);
  if (partition == nullptr) return done(NotHere<TrimOutcome>(request.tp));
  partition->Trim(request, std::move(done));
}

// Whoever asks here saw newer or older metadata than this shard has.
template <class Outcome>
Outcome Shard::NotHere(const TopicPartition& tp) const {
  Outcome outcome;
  const PartitionImage* known =
      context_.image == nullptr ? nullptr : context_.image->FindPartition(tp);
  const NodeId self = context_.deps.self;
  if (known == nullptr) {
    outcome.error = api::ItemError(MakeError(
        ErrorCode::kUnknownTopicOrPartition, "broker ", self,
        " does not know partition ", tp, " (yet); try again"));
  } else if (known->leader != self) {
    outcome.leader = context_.HintTo(known->leader, known->leader_epoch);
    outcome.error = api::ItemError(
        MakeError(ErrorCode::kNotLeader, "broker ", self, " does not lead ",
                  tp, "; the leader is ", known->leader));
  } else if (unrecovered_.contains(tp)) {
    outcome.error = api::ItemError(RecoversStill(tp));
  } else if (const auto why = unusable_.find(tp); why != unusable_.end()) {
    // With other replicas one of them takes over in a moment.
    outcome.error = api::ItemError(
        MakeError(known->replicas.size() < 2 ? ErrorCode::kReplicaFailed
                                             : ErrorCode::kLeaderNotAvailable,
                  "the replica of ", tp, " on broker ", self,
                  " failed: ",
                  why->second.directory->WithoutPath(why->second.why)));
  } else {
    outcome.error = api::ItemError(
        MakeError(ErrorCode::kStorageFull, "broker ", self,
                  " has no room for the log of ", tp, "; try again later"));
  }
  return outcome;
}

absl::Status Shard::RecoversStill(const TopicPartition& tp) const {
  return MakeError(ErrorCode::kReplicaRecovering, "broker ",
                   context_.deps.self, " has just started and recovers the log "
                   "of ", tp, " soon, one of ", unrecovered_.size(), " of ",
                   found_logs_, " that are left; try again");
}

WaitId Shard::WaitForProgress(const TopicPartition& tp, Offset offset,
                              Task wake) {
  Partition* partition = Find(tp);
  if (partition == nullptr) {
    context_.deps.executor->Post(std::move(wake));
    return kWaitPosted;
  }
  return partition->WaitForProgress(offset, std::move(wake));
}

void Shard::CancelWait(const TopicPartition& tp, WaitId wait) {
  if (Partition* partition = Find(tp)) partition->CancelWait(wait);
}

v1::PartitionLog Shard::DescribeLog(const TopicPartition& tp) {
  if (Partition* partition = Find(tp)) return partition->DescribeLog();
  v1::PartitionLog log;
  log.set_partition(tp.partition.value());
  const auto why = unrecovered_.contains(tp)
                       ? api::ItemError(RecoversStill(tp))
                       : NotHere<OffsetOutcome>(tp).error;
  log.mutable_error()->set_code(
      static_cast<v1::ErrorCode>(static_cast<int>(why.code)));
  log.mutable_error()->set_message(why.message);
  return log;
}

void Shard::OnIsrDecisions(const std::vector<IsrDecision>& decisions) {
  for (const IsrDecision& decision : decisions) {
    if (Partition* p = Find(decision.tp)) p->OnIsrDecision(decision);
  }
}

void Shard::OnLogStartDecisions(
    const std::vector<LogStartDecision>& decisions) {
  for (const LogStartDecision& decision : decisions) {
    if (Partition* p = Find(decision.tp)) p->OnLogStartDecision(decision);
  }
}

// ---- Time ----

void Shard::ScheduleTick() {
  context_.deps.executor->PostAfter(kTickUs, [this, alive = alive_] {
    if (!*alive || closed_) return;
    Tick();
    ScheduleTick();
  });
}

void Shard::Tick() {
  const int64_t now_us = context_.deps.clock->MonoMicros();
  context_.links_wanted.clear();
  for (auto& [tp, partition] : partitions_) partition->Tick(now_us);
  FlushOutgoing();
  if (now_us >= next_marks_us_) {
    next_marks_us_ = now_us + kMarksEveryUs;
    WriteMarks();
  }
  TickShippers(now_us);
  TellLogs(now_us);
  if (!host_again_.empty() && now_us >= host_again_us_) {
    host_again_us_ = now_us + kHostAgainUs;
    const std::set<TopicPartition> again = host_again_;
    for (const TopicPartition& tp : again) Host(tp);
  }
}

void Shard::TickShippers(int64_t now_us) {
  context_.catch_up.Tick(now_us, context_.counters.appended_bytes,
                         context_.counters.read_bytes);
  for (auto& [id, shipper] : context_.sessions) shipper->Tick(now_us);
}

void Shard::WriteMarks() {
  std::map<LogDirectory*,
           std::vector<std::pair<TopicPartition, PartitionMarks>>>
      changed;
  for (auto& [tp, partition] : partitions_) {
    if (auto marks = partition->TakeChangedMarks()) {
      changed[partition->directory()].emplace_back(tp, *std::move(marks));
    }
  }
  // In their own order: that of addresses differs from process to process.
  for (LogDirectory* directory : directories_) {
    const auto found = changed.find(directory);
    if (found != changed.end()) directory->PutMarks(std::move(found->second));
  }
}

// ---- The end ----

void Shard::CloseClean(absl::AnyInvocable<void(absl::Status)> done) {
  closed_ = true;
  closing_.done = std::move(done);
  // The next start must not take for synced what this one has not opened.
  if (!unrecovered_.empty()) {
    closing_.worst = MakeError(
        ErrorCode::kReplicaRecovering, unrecovered_.size(), " of ", found_logs_,
        " logs were not recovered yet; the directories get no clean marker");
  }
  std::map<LogDirectory*, SyncSet> targets;
  for (LogDirectory* directory : directories_) targets[directory];
  for (auto& [tp, partition] : partitions_) {
    partition->Close();
    auto unsynced = partition->TakeForClose();
    if (!unsynced.ok()) {
      closing_.worst = unsynced.status();
      continue;
    }
    targets[partition->directory()].Add(std::move(unsynced->targets));
    closing_.logs.emplace(tp, *std::move(unsynced));
  }
  closing_.directories_left = targets.size();
  for (LogDirectory* directory : directories_) {
    directory->group_commit().Request(
        std::move(targets.at(directory)), context_.deps.executor,
        [this, alive = alive_] {
          if (!*alive || --closing_.directories_left > 0) return;
          FinishClose();
        });
  }
}

void Shard::FinishClose() {
  for (const auto& [tp, unsynced] : closing_.logs) {
    Find(tp)->FinishClose(unsynced);
  }
  WriteMarks();
  closing_.done(closing_.worst);
}

// ---- For metrics ----

Shard::Facts Shard::CollectFacts() const {
  Facts facts;
  for (const auto& [tp, partition] : partitions_) {
    ++facts.replicas;
    facts.log_bytes += partition->log().size_bytes();
    facts.producers +=
        static_cast<int64_t>(partition->log().producers().size());
    if (partition->failed()) ++facts.failed;
    if (!partition->leads()) continue;
    ++facts.leaders;
    facts.hw_lag_records_max =
        std::max(facts.hw_lag_records_max,
                 partition->leo() - partition->high_watermark());
  }
  facts.failed += static_cast<int64_t>(unusable_.size());
  facts.to_recover = static_cast<int64_t>(unrecovered_.size());
  for (const auto& [id, shipper] : context_.sessions) {
    if (shipper->session().kind == StreamKind::kMain) continue;
    facts.catching_up += static_cast<int64_t>(shipper->replica_count());
  }
  return facts;
}

}  // namespace sluice
