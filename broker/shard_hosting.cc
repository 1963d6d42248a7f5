// Which partitions a shard hosts: logs found at the start, metadata, removal.
#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "broker/shard.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {

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
  if (first) SetStraysAside();
  for (const TopicPartition& tp : changes.partitions_removed) {
    if (IndexOf(tp, shard_count_) == index_) Drop(tp);
  }
  for (const TopicPartition& tp : Touched(changes)) Host(tp);
  if (!changes.partitions_removed.empty()) {
    for (auto& [tp, partition] : partitions_) partition->OnTopicsRemoved();
  }
  if (first) ScheduleTick();
}

void Shard::Host(const TopicPartition& tp) {
  const PartitionImage* state = context_.image->FindPartition(tp);
  if (state == nullptr) return;
  if (!Contains(state->replicas, context_.deps.self)) {
    // A committed change that this process sees removes the files (ST11).
    Drop(tp);
    return;
  }
  const TopicImage& topic = *context_.image->FindTopic(tp.topic_id);
  if (unrecovered_.contains(tp)) {
    // Clients or an election wait for it.
    if (state->leader == context_.deps.self || state->leader == kNoNode) {
      WantRecovered(tp);
    }
  } else if (!BlockedByOldFiles(tp, *state)) {
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
  Observe(tp, topic, deps);
  auto created = std::make_unique<Partition>(std::move(deps),
                                             configs_->SettingsOf(topic));
  return partitions_.emplace(tp, std::move(created)).first->second.get();
}

// What was applied to a view was committed.
void Shard::Observe(const TopicPartition& tp, const TopicImage& topic,
                    Partition::Deps& deps) {
  if (context_.deps.observers == nullptr) return;
  deps.observer = context_.deps.observers->Observe(
      {.tp = tp,
       .topic = &topic,
       .directory = deps.directory->path(),
       .epochs = &deps.log->epochs(),
       .leo = deps.log->leo(),
       .executor = context_.deps.executor});
  if (deps.observer == nullptr) return;
  deps.high_watermark = deps.observer->RestartHighWatermark(deps.high_watermark);
}

// ---- Removal ----

// Whatever is there of it, closed; null: nothing.
LogDirectory* Shard::Forget(const TopicPartition& tp) {
  LogDirectory* directory = ForgetUnrecovered(tp);
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
  return directory;
}

void Shard::Drop(const TopicPartition& tp) {
  host_again_.erase(tp);
  candidates_.erase(tp);
  // Behind all that the log has asked of the directory.
  LogDirectory* directory = Forget(tp);
  if (directory == nullptr) return;
  directory->Delete(tp);
  if (context_.deps.observers != nullptr) {
    context_.deps.observers->Forget(tp, directory->path());
  }
}

// What was on disk at the start and is not in the first metadata: its topic was
// deleted while this broker was away, or these files belong to nobody. Never
// deleted here (ST11). What is not open yet is not opened for that.
void Shard::SetStraysAside() {
  std::set<TopicPartition> strays;
  const auto look = [&](const auto& found) {
    for (const auto& [tp, what] : found) {
      const PartitionImage* state = context_.image->FindPartition(tp);
      if (state == nullptr || !Contains(state->replicas, context_.deps.self)) {
        strays.insert(tp);
      }
    }
  };
  look(unrecovered_);
  look(recovered_);
  look(unusable_);
  for (const TopicPartition& tp : strays) {
    LogDirectory* directory = Forget(tp);
    if (MUTANT(kStrayDeleted)) {
      directory->Delete(tp);
      continue;
    }
    directory->SetAside(
        tp,
        context_.image->FindPartition(tp) == nullptr
            ? "the metadata knows no such topic id (deleted meanwhile?)"
            : "this broker is no replica of it any more",
        executor(), [](bool) {});
  }
}

}  // namespace sluice
