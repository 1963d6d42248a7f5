// Which partitions a shard hosts: logs found at the start, metadata, removal.
#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "broker/shard.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {

LogConfig Shard::NewLogConfig() const {
  LogConfig config;
  config.tail_cache_bytes =
      std::max<int64_t>(tail_cache_bytes_ / kTailCachePart, 1);
  return config;
}

// ---- Recovery (Rule T1) ----

std::vector<internal::v1::ReplicaVerdict> Shard::RecoverLogs() {
  std::vector<internal::v1::ReplicaVerdict> verdicts;
  for (LogDirectory* directory : directories_) {
    for (const auto& [tp, marks] : directory->partitions_at_start()) {
      if (IndexOf(tp, shard_count_) != index_) continue;
      if (recovered_.contains(tp) || unusable_.contains(tp)) {
        directory->SetAside(tp, "another data directory has it, too",
                            executor(), [](bool) {});
        continue;
      }
      verdicts.push_back(RecoverOne(tp, directory, marks));
    }
  }
  return verdicts;
}

internal::v1::ReplicaVerdict Shard::RecoverOne(const TopicPartition& tp,
                                               LogDirectory* directory,
                                               const RecoveryMarks& marks) {
  internal::v1::ReplicaVerdict verdict;
  verdict.set_topic_id(tp.topic_id.ToBytes());
  verdict.set_partition(tp.partition.value());
  auto log = Log::Open({context_.deps.fs, tail_budget_},
                       directory->PartitionPath(tp), NewLogConfig(), marks);
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

// ---- Metadata ----

std::set<TopicPartition> Shard::Touched(const MetadataChanges& changes) const {
  std::set<TopicPartition> touched;
  const auto add = [&](const std::set<TopicPartition>& some) {
    for (const TopicPartition& tp : some) {
      if (IndexOf(tp, shard_count_) == index_) touched.insert(tp);
    }
  };
  add(changes.partitions_created);
  add(changes.partitions_changed);
  if (!changes.brokers_changed.empty()) {
    // A replica's standing depends on its brokers' epochs and fencing.
    for (const auto& [tp, partition] : partitions_) touched.insert(tp);
    return touched;
  }
  for (const TopicId& topic : changes.topics_changed) {
    for (auto it = partitions_.lower_bound({topic, PartitionIndex(0)});
         it != partitions_.end() && it->first.topic_id == topic; ++it) {
      touched.insert(it->first);
    }
  }
  return touched;
}

void Shard::ApplyMetadata(std::shared_ptr<const MetadataImage> image,
                          const MetadataChanges& changes) {
  if (closed_) return;
  const bool first = context_.image == nullptr;
  context_.image = std::move(image);
  for (const TopicPartition& tp : changes.partitions_removed) {
    if (IndexOf(tp, shard_count_) == index_) Drop(tp);
  }
  for (const TopicPartition& tp : Touched(changes)) Host(tp);
  if (first) {
    SetStraysAside();
    ScheduleTick();
  }
}

void Shard::Host(const TopicPartition& tp) {
  const PartitionImage* state = context_.image->FindPartition(tp);
  if (state == nullptr) return;
  if (!Contains(state->replicas, context_.deps.self)) {
    // A committed change that this process sees removes the files; what was
    // found at the start is set aside (ST11).
    candidates_.erase(tp);
    if (!recovered_.contains(tp)) Drop(tp);
    return;
  }
  const TopicImage& topic = *context_.image->FindTopic(tp.topic_id);
  if (!BlockedByOldFiles(tp, *state)) {
    Partition* partition = Find(tp);
    if (partition == nullptr) partition = Create(tp, topic, *state);
    if (partition != nullptr) {
      partition->OnMetadata(*context_.image, *state,
                            configs_->SettingsOf(topic));
    }
  }
  NoteElection(tp, topic, *state);
}

// ST2: a corrupt replica is kept as evidence while it counts anywhere. Then
// another one leads with all that was committed, and it is filled anew.
bool Shard::BlockedByOldFiles(const TopicPartition& tp,
                              const PartitionImage& state) {
  Partition* partition = Find(tp);
  if (partition != nullptr && partition->corrupt()) {
    partition->NoteLeader(state);
    unusable_[tp] = {partition->failure(), partition->directory()};
  }
  const auto found = unusable_.find(tp);
  if (found == unusable_.end()) return false;
  Unusable& old = found->second;
  const NodeId self = context_.deps.self;
  if (old.moving || state.leader == kNoNode || state.leader == self ||
      Contains(state.isr, self) || Contains(state.elr, self) ||
      Contains(state.unverified_elr, self)) {
    return true;
  }
  SetReplicaAside(tp, old.why + "; it is filled again from its leader",
                  [](bool) {});
  return true;
}

void Shard::SetReplicaAside(const TopicPartition& tp, const std::string& reason,
                            absl::AnyInvocable<void(bool moved)> done) {
  Unusable& old = unusable_.at(tp);
  old.moving = true;
  if (Partition* partition = Find(tp)) {
    partition->Close();
    partitions_.erase(tp);
  }
  old.directory->SetAside(
      tp, reason, executor(),
      [this, alive = alive_, tp, done = std::move(done)](bool moved) mutable {
        if (!*alive || closed_) return;
        if (moved && unusable_.erase(tp) > 0) Host(tp);
        done(moved);
      });
}

LogDirectory* Shard::DirectoryFor(const PartitionImage& state) const {
  const DirectoryId wanted = state.DirectoryOf(context_.deps.self);
  for (LogDirectory* directory : directories_) {
    if (directory->id() == wanted) return directory;
  }
  // None is recorded yet: the one with the fewest partitions of this shard.
  std::map<LogDirectory*, size_t> counts;
  for (const auto& [tp, p] : partitions_) ++counts[p->directory()];
  return *std::min_element(directories_.begin(), directories_.end(),
                           [&](LogDirectory* a, LogDirectory* b) {
                             return counts[a] < counts[b];
                           });
}

bool Shard::OpenNew(const TopicPartition& tp, const PartitionImage& state,
                    Recovered& out) {
  LogDirectory* directory = DirectoryFor(state);
  auto log = Log::Open({context_.deps.fs, tail_budget_},
                       directory->PartitionPath(tp), NewLogConfig(),
                       RecoveryMarks());
  if (log.ok()) {
    out = {*std::move(log), directory, Offset(0)};
    host_again_.erase(tp);
    return true;
  }
  if (CodeOf(log.status()) == ErrorCode::kStorageFull) {
    LOG_IF(ERROR, host_again_.insert(tp).second)
        << "no room for the log of " << tp.ToString() << ": "
        << log.status().ToString() << "; tried again every second";
  } else {
    context_.deps.on_fatal(log.status());
  }
  return false;
}

Partition* Shard::Create(const TopicPartition& tp, const TopicImage& topic,
                         const PartitionImage& state) {
  Recovered replica;
  if (const auto found = recovered_.find(tp); found != recovered_.end()) {
    replica = std::move(found->second);
    recovered_.erase(found);
  } else if (!OpenNew(tp, state, replica)) {
    return nullptr;
  }
  Partition::Deps deps;
  deps.shard = &context_;
  deps.tp = tp;
  deps.topic_name = topic.name;
  deps.directory = replica.directory;
  deps.log = std::move(replica.log);
  deps.high_watermark = replica.high_watermark;
  deps.lossy = replica.lossy;
  deps.lag_time_max_us = configs_->NodeNumber(kReplicaLagTimeMaxMs) * 1000;
  deps.producer_expiration_us =
      configs_->NodeNumber(kProducerIdExpirationMs) * 1000;
  auto created = std::make_unique<Partition>(std::move(deps),
                                             configs_->SettingsOf(topic));
  return partitions_.emplace(tp, std::move(created)).first->second.get();
}

// ---- Removal ----

void Shard::Drop(const TopicPartition& tp) {
  LogDirectory* directory = nullptr;
  host_again_.erase(tp);
  candidates_.erase(tp);
  if (const auto found = unusable_.find(tp); found != unusable_.end()) {
    directory = found->second.directory;
    unusable_.erase(found);
  }
  if (const auto found = recovered_.find(tp); found != recovered_.end()) {
    directory = found->second.directory;
    recovered_.erase(found);
  }
  if (const auto found = partitions_.find(tp); found != partitions_.end()) {
    directory = found->second->directory();
    found->second->Close();
    partitions_.erase(found);
  }
  // Behind all that the log has asked of the directory.
  if (directory != nullptr) directory->Delete(tp);
}

// What was on disk at the start and is in no metadata: its topic was deleted
// while this broker was away, or these files belong to nobody. Never deleted
// here (ST11).
void Shard::SetStraysAside() {
  const auto why = [&](const TopicPartition& tp) {
    return context_.image->FindPartition(tp) == nullptr
               ? "the metadata knows no such topic id (deleted meanwhile?)"
               : "this broker is no replica of it any more";
  };
  for (auto& [tp, replica] : std::exchange(recovered_, {})) {
    replica.log.reset();
    if (MUTANT(kStrayDeleted)) {
      replica.directory->Delete(tp);
      continue;
    }
    replica.directory->SetAside(tp, why(tp), executor(), [](bool) {});
  }
  for (auto it = unusable_.begin(); it != unusable_.end();) {
    const PartitionImage* state = context_.image->FindPartition(it->first);
    if (state != nullptr &&
        Contains(state->replicas, context_.deps.self)) {
      ++it;
      continue;
    }
    it->second.directory->SetAside(it->first, why(it->first), executor(),
                                   [](bool) {});
    it = unusable_.erase(it);
  }
}

}  // namespace sluice
