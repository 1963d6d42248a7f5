// The logs that a shard found at the start, opened one by one: what somebody
// waits for first (Rule T1).
#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "broker/shard.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {
namespace {

// Nothing is there: it never held anything durable, or nobody wants it now.
internal::v1::ReplicaVerdict EmptyVerdict(const TopicPartition& tp) {
  internal::v1::ReplicaVerdict verdict;
  verdict.set_topic_id(tp.topic_id.ToBytes());
  verdict.set_partition(tp.partition.value());
  verdict.set_last_epoch(kNoLeaderEpoch.value());
  return verdict;
}

}  // namespace

LogConfig Shard::NewLogConfig() const {
  LogConfig config;
  config.tail_cache_bytes =
      std::max<int64_t>(tail_cache_bytes_ / kTailCachePart, 1);
  return config;
}

void Shard::RecoverLogs(VerdictSink tell) {
  tell_verdicts_ = std::move(tell);
  for (LogDirectory* directory : directories_) {
    for (const auto& [tp, marks] : directory->partitions_at_start()) {
      if (IndexOf(tp, shard_count_) != index_) continue;
      if (!unrecovered_.emplace(tp, Unrecovered{directory, marks}).second) {
        directory->SetAside(tp, "another data directory has it, too",
                            executor(), [](bool) {});
      }
    }
  }
  found_logs_ = unrecovered_.size();
  next_progress_us_ = context_.deps.clock->MonoMicros() + kProgressUs;
  RecoverNext();
}

// What was recovered is hosted in the task behind: what was posted meanwhile,
// requests and metadata, has its turn between two logs.
void Shard::RecoverNext() {
  if (closed_) return;
  if (const auto last = std::exchange(just_recovered_, std::nullopt);
      last.has_value() && context_.image != nullptr) {
    Host(*last);
    if (candidates_.contains(*last)) TellLog(*last);
  }
  if (unrecovered_.empty()) {
    tell_verdicts_(std::exchange(verdicts_, {}), /*last=*/true);
    recover_first_.clear();
    wanted_first_.clear();
    return;
  }
  const TopicPartition tp = NextToRecover();
  const Unrecovered found = unrecovered_.at(tp);
  unrecovered_.erase(tp);
  verdicts_.push_back(RecoverOne(tp, found.directory, found.marks));
  if (wanted_first_.contains(tp) || verdicts_.back().failed() ||
      verdicts_.size() >= kVerdictsTold) {
    TellVerdicts();
  }
  just_recovered_ = tp;
  const int64_t now_us = context_.deps.clock->MonoMicros();
  if (now_us >= next_progress_us_) {
    next_progress_us_ = now_us + kProgressUs;
    LOG(INFO) << "broker " << context_.deps.self << " shard " << index_
              << ": " << found_logs_ - unrecovered_.size() << " of "
              << found_logs_ << " logs are recovered";
  }
  executor()->Post([this, alive = alive_] {
    if (*alive) RecoverNext();
  });
}

TopicPartition Shard::NextToRecover() {
  while (!recover_first_.empty()) {
    const TopicPartition tp = recover_first_.front();
    recover_first_.pop_front();
    if (unrecovered_.contains(tp)) return tp;
  }
  return unrecovered_.begin()->first;
}

bool Shard::WantRecovered(const TopicPartition& tp) {
  if (!unrecovered_.contains(tp)) return false;
  if (wanted_first_.insert(tp).second && !MUTANT(kWantedWaits)) {
    recover_first_.push_back(tp);
  }
  return true;
}

void Shard::RecoverFirst(const std::vector<TopicPartition>& wanted) {
  for (const TopicPartition& tp : wanted) {
    if (WantRecovered(tp)) continue;
    const bool told = std::any_of(
        directories_.begin(), directories_.end(), [&](LogDirectory* directory) {
          return directory->partitions_at_start().contains(tp);
        });
    if (!told) verdicts_.push_back(EmptyVerdict(tp));
  }
  TellVerdicts();
}

LogDirectory* Shard::ForgetUnrecovered(const TopicPartition& tp) {
  const auto found = unrecovered_.find(tp);
  if (found == unrecovered_.end()) return nullptr;
  LogDirectory* directory = found->second.directory;
  unrecovered_.erase(found);
  // Its broker may wait for a verdict.
  verdicts_.push_back(EmptyVerdict(tp));
  if (wanted_first_.contains(tp)) TellVerdicts();
  return directory;
}

void Shard::TellVerdicts() {
  if (verdicts_.empty()) return;
  tell_verdicts_(std::exchange(verdicts_, {}), /*last=*/false);
}

internal::v1::ReplicaVerdict Shard::RecoverOne(const TopicPartition& tp,
                                               LogDirectory* directory,
                                               const RecoveryMarks& marks) {
  internal::v1::ReplicaVerdict verdict;
  verdict.set_topic_id(tp.topic_id.ToBytes());
  verdict.set_partition(tp.partition.value());
  auto log = Log::Open({context_.deps.fs, tail_budget_},
                       directory->PartitionPath(tp), NewLogConfig(), marks);
  if (CodeOf(log.status()) == ErrorCode::kStorageFull) {
    // Says nothing against what is stored: a replica that is called failed for
    // it would be set aside and copied anew.
    context_.deps.on_fatal(log.status());
  }
  if (!log.ok()) {
    LOG(ERROR) << "replica " << tp.ToString()
               << " cannot be used: " << log.status().ToString()
               << "; its files are left as they are in "
               << directory->PartitionPath(tp);
    unusable_[tp] = {std::string(log.status().message()), directory};
    verdict.set_last_epoch(-1);
    verdict.set_failed(true);
    return verdict;
  }
  const RecoveryReport& report = (*log)->recovery_report();
  verdict.set_last_epoch((*log)->epochs().last_epoch().value());
  verdict.set_log_end_offset(report.leo.value());
  verdict.set_lossy(report.lossy);
  if (report.bytes_cut > 0 || report.lossy) {
    LOG(WARNING) << "broker " << context_.deps.self << " recovered "
                 << tp.ToString() << ": LEO " << report.leo << ", HW "
                 << report.high_watermark << ", torn bytes cut "
                 << report.bytes_cut << (report.lossy ? ", LOSSY" : "");
  }
  recovered_[tp] = {*std::move(log), directory, report.high_watermark,
                    report.lossy};
  return verdict;
}

}  // namespace sluice
