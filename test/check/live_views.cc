#include "test/check/live_views.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "broker/control/broker_lifecycle.h"
#include "broker/coordinator/group_log.h"
#include "broker/replicas.h"
#include "common/base/crc32c.h"
#include "test/check/log_mirror.h"

namespace sluice::check {
namespace {

constexpr int kReadEntriesMax = 1 << 20;
constexpr size_t kReadEntriesBytesMax = 1 << 30;

// A log may give fewer entries than it was asked for.
absl::StatusOr<std::vector<raft::Entry>> ReadAll(const raft::LogView& log,
                                                 LogIndex from, LogIndex end) {
  std::vector<raft::Entry> all;
  while (from < end) {
    auto some = log.Read(from, end, kReadEntriesMax, kReadEntriesBytesMax);
    if (!some.ok()) return some.status();
    if (some->empty()) break;
    from = some->back().index.Next();
    std::move(some->begin(), some->end(), std::back_inserter(all));
  }
  return all;
}

EntryView Digest(const raft::Entry& entry) {
  const uint64_t crc = Crc32c(entry.payload.view());
  return {entry.term,
          crc << 8 | static_cast<uint64_t>(static_cast<int>(entry.type))};
}

RaftFacts FactsOf(const RaftNode& node, const raft::RaftCore& core) {
  RaftFacts facts;
  facts.self = core.self();
  facts.role = core.role();
  facts.hard_state = core.hard_state();
  facts.durable_hard_state = core.durable_hard_state();
  facts.commit = core.commit_index();
  facts.applied = node.applied_index();
  facts.last = core.log().last_index();
  facts.durable = core.durable_index();
  facts.truncations = core.log().truncations();
  facts.pending_proposals = node.pending_proposals();
  return facts;
}

// Entries that cannot be read now (a fault of the disk) are looked for again
// at the next change.
// `committed`: as of before the event, which may have cut, appended and
// committed.
void UpdateLog(const raft::LogView& log, bool truncated, LogIndex committed,
               RaftView& view) {
  view.log_before = view.log.size();
  // What is committed stays; of the rest anything may have been replaced.
  size_t kept = view.log.size();
  if (truncated) {
    kept = std::min(kept, static_cast<size_t>(committed.value()));
  }
  std::vector<EntryView> old(view.log.begin() + static_cast<int64_t>(kept),
                             view.log.end());
  view.log.resize(kept);
  const LogIndex from(static_cast<int64_t>(kept) + 1);
  if (from <= view.last) {
    const auto entries = ReadAll(log, from, view.last.Next());
    if (entries.ok()) {
      for (const raft::Entry& entry : *entries) {
        view.log.push_back(Digest(entry));
      }
    }
  }
  const size_t same = std::min(old.size(), view.log.size() - kept);
  const auto end = old.begin() + static_cast<int64_t>(same);
  view.log_kept =
      kept + static_cast<size_t>(
                 std::mismatch(old.begin(), end,
                               view.log.begin() + static_cast<int64_t>(kept))
                     .first -
                 old.begin());
}

void FillCore(const replica::ReplicaCore& core, ReplicaView& view) {
  view.state = core.state();
  view.leader = core.leader();
  view.leader_epoch = core.leader_epoch();
  view.partition_epoch = core.partition_epoch();
  view.high_watermark = core.high_watermark();
  view.position = core.position();
  view.durable_counts = core.durable_counts();
  view.promises_disk = core.promises_disk();
  view.min_isr = core.min_isr();
  view.last_unclean_leader_epoch = core.last_unclean_leader_epoch();
  view.leads = core.leads();
  view.hw_is_truth = core.hw_is_truth();
  view.epoch_start = core.epoch_start();
  view.isr = core.isr();
  view.maximal_isr = core.maximal_isr();
  view.followers = core.follower_states();
  view.proposal = core.proposal();
}

void FillLog(const Log& log, ReplicaView& view) {
  view.log_start = log.log_start();
  view.leo = log.leo();
  view.durable_leo = log.durable_leo();
  view.epochs = log.epochs().starts();
}

// After a cut all of it is read again, so that nothing is taken for granted.
void UpdateBatches(const Log& log, const MemFileSystem& disk, bool cut,
                   LogPlace& place, ReplicaView& view) {
  view.batches_before = view.batches.size();
  view.batches_kept = view.batches.size();
  if (!cut) {
    const Offset from = view.batches.empty() ? log.log_start()
                                             : view.batches.back().last.Next();
    if (from < log.leo()) ReadBatches(log, disk, from, place, view.batches);
    return;
  }
  const std::vector<StoredBatch> old = std::exchange(view.batches, {});
  place = {};
  ReadBatches(log, disk, log.log_start(), place, view.batches);
  const size_t both = std::min(old.size(), view.batches.size());
  view.batches_kept = 0;
  while (view.batches_kept < both &&
         old[view.batches_kept].SameRecords(view.batches[view.batches_kept])) {
    ++view.batches_kept;
  }
}

}  // namespace

LiveNode::LiveNode(const Process& process, NodeView* view)
    : process_(process), view_(view) {
  if (process.broker == nullptr) return;
  view->incarnation = process.broker->incarnation();
  for (const auto& shard : process.broker->replicas().shards()) {
    shards_.push_back({shard.get(), {}, 0, 0});
  }
}

Changes LiveNode::Refresh() {
  Changes changes;
  if (process_.controller != nullptr) RefreshController(changes);
  if (process_.broker != nullptr) RefreshBroker(changes);
  return changes;
}

// ---- The controller role ----

void LiveNode::RefreshController(Changes& changes) {
  const auto& image = process_.controller->controller().image();
  if (image != view_->controller_image) {
    view_->controller_image = image;
    changes.controller_image = true;
  }
  const RaftNode& node = process_.controller->raft();
  const raft::RaftCore* core = node.core();
  if (core == nullptr) return;
  const RaftFacts now = FactsOf(node, *core);
  const bool first = !view_->raft.has_value();
  if (!first && static_cast<const RaftFacts&>(*view_->raft) == now) return;
  changes.raft = true;
  if (first) {
    view_->raft.emplace();
    view_->raft->voters = core->voters();
  } else {
    changes.raft_before = *view_->raft;
  }
  RaftView& view = *view_->raft;
  const bool truncated = !first && now.truncations != view.truncations;
  const LogIndex committed = view.commit;
  static_cast<RaftFacts&>(view) = now;
  view.log_before = view.log_kept = view.log.size();
  if (truncated || view.log.size() < static_cast<size_t>(now.last.value())) {
    UpdateLog(core->log(), truncated, committed, view);
  }
}

absl::StatusOr<std::vector<raft::Entry>> LiveNode::ReadEntries(
    LogIndex from, LogIndex end) const {
  return ReadAll(process_.controller->raft().core()->log(), from, end);
}

// ---- The broker role ----

void LiveNode::RefreshBroker(Changes& changes) {
  const BrokerLifecycle& life = process_.broker->lifecycle();
  view_->broker_epoch = life.epoch();
  if (process_.broker->image() != view_->broker_image) {
    view_->broker_image = process_.broker->image();
    changes.broker_image = true;
  }
  for (ShardState& state : shards_) RefreshShard(state, changes);
  if (!view_->logs_recovered && life.logs_recovered()) {
    view_->logs_recovered = true;
    changes.logs_recovered = true;
  }
  view_->closing = life.state() >= BrokerLifecycle::State::kClosing;
  if (!view_->released && life.released()) {
    view_->released = changes.released = true;
  }
}

LiveNode::Version LiveNode::VersionOf(const Partition& partition) {
  const Log& log = partition.log();
  return {&partition,           partition.core().steps(), log.generation(),
          log.leo(),            log.durable_leo(),        partition.failed(),
          partition.cutting(),  partition.lossy_on_disk()};
}

void LiveNode::RefreshShard(ShardState& state, Changes& changes) {
  const auto& partitions = state.shard->partitions();
  if (partitions.size() != state.versions.size() ||
      state.shard->recovered().size() != state.recovered ||
      state.shard->unusable().size() != state.unusable) {
    return Rebuild(state, changes);
  }
  size_t i = 0;
  for (const auto& [tp, partition] : partitions) {
    Version& seen = state.versions[i++];
    // What was noted before it is found as it is now.
    if (seen.partition != partition.get()) return Rebuild(state, changes);
    const Version now = VersionOf(*partition);
    if (now == seen) continue;
    const bool cut = now.generation != seen.generation;
    seen = now;
    Note(tp, *partition, cut, changes);
  }
}

void LiveNode::Rebuild(ShardState& state, Changes& changes) {
  const auto old = std::exchange(state.versions, {});
  for (const auto& [tp, partition] : state.shard->partitions()) {
    const Version now = VersionOf(*partition);
    const auto found =
        std::find_if(old.begin(), old.end(), [&](const Version& version) {
          return version.partition == now.partition;
        });
    state.versions.push_back(now);
    if (found != old.end() && *found == now) continue;
    Note(tp, *partition,
         found == old.end() || found->generation != now.generation, changes);
  }
  state.recovered = state.shard->recovered().size();
  state.unusable = state.shard->unusable().size();
  for (const auto& [tp, log] : state.shard->recovered()) {
    if (!view_->replicas.contains(tp)) NoteRecovered(tp, log, changes);
  }
  for (const auto& [tp, why] : state.shard->unusable()) {
    if (!view_->replicas.contains(tp)) NoteUnusable(tp, changes);
  }
  RemoveGone(changes);
}

void LiveNode::RemoveGone(Changes& changes) {
  for (auto it = view_->replicas.begin(); it != view_->replicas.end();) {
    const TopicPartition& tp = it->first;
    const bool there = std::any_of(
        shards_.begin(), shards_.end(), [&tp](const ShardState& state) {
          return state.shard->partitions().contains(tp) ||
                 state.shard->recovered().contains(tp) ||
                 state.shard->unusable().contains(tp);
        });
    if (there) {
      ++it;
      continue;
    }
    changes.replicas.push_back({tp, it->second, nullptr});
    places_.erase(tp);
    it = view_->replicas.erase(it);
  }
}

ReplicaView& LiveNode::Touch(const TopicPartition& tp, Changes& changes) {
  const auto [it, fresh] = view_->replicas.try_emplace(tp);
  ReplicaChange change{tp, std::nullopt, &it->second};
  if (!fresh) change.before = it->second;
  changes.replicas.push_back(std::move(change));
  return it->second;
}

void LiveNode::Note(const TopicPartition& tp, const Partition& partition,
                    bool log_was_cut, Changes& changes) {
  ReplicaView& view = Touch(tp, changes);
  view.hosted = true;
  view.lossy = partition.lossy_on_disk();
  view.failed = partition.failed();
  view.corrupt = partition.corrupt();
  view.cutting = partition.cutting();
  FillCore(partition.core(), view);
  FillLog(partition.log(), view);
  UpdateBatches(partition.log(), *process_.disk, log_was_cut, places_[tp],
                view);
  changes.replicas.back().producers = &partition.log().producers();
}

void LiveNode::NoteRecovered(const TopicPartition& tp,
                             const Shard::Recovered& found, Changes& changes) {
  ReplicaView& view = Touch(tp, changes);
  view.high_watermark = found.high_watermark;
  view.lossy = found.lossy;
  FillLog(*found.log, view);
  view.position = view.leo;
  UpdateBatches(*found.log, *process_.disk, /*cut=*/true, places_[tp], view);
  changes.replicas.back().producers = &found.log->producers();
}

void LiveNode::NoteUnusable(const TopicPartition& tp, Changes& changes) {
  ReplicaView& view = Touch(tp, changes);
  view.failed = view.corrupt = true;
}

const Partition* LiveNode::Find(const TopicPartition& tp) const {
  for (const ShardState& state : shards_) {
    if (const Partition* found = state.shard->Find(tp)) return found;
  }
  return nullptr;
}

std::optional<std::vector<StoredBatch>> LiveNode::ReadLog(
    const TopicPartition& tp) const {
  const Partition* partition = Find(tp);
  if (partition == nullptr) return std::nullopt;
  std::vector<StoredBatch> batches;
  LogPlace anywhere;
  ReadBatches(partition->log(), *process_.disk, partition->log().log_start(),
              anywhere, batches);
  return batches;
}

absl::StatusOr<std::vector<offsets::ViewBatch>> LiveNode::ReadGroupBatches(
    const TopicPartition& tp, Offset from, Offset upto) const {
  std::vector<offsets::ViewBatch> batches;
  const Partition* partition = Find(tp);
  if (partition == nullptr) return batches;
  absl::Status failed;
  LogPlace anywhere;
  VisitBatches(partition->log(), *process_.disk, from, anywhere,
               [&](const BatchView& batch) {
                 if (!failed.ok() || batch.header().next_offset() > upto) {
                   return;
                 }
                 auto decoded = coordinator::DecodeBatch(batch);
                 failed = decoded.status();
                 if (failed.ok()) batches.push_back(*std::move(decoded));
               });
  if (!failed.ok()) return failed;
  return batches;
}

const ProducerTable* LiveNode::FindProducers(const TopicPartition& tp) const {
  const Partition* partition = Find(tp);
  return partition == nullptr ? nullptr : &partition->log().producers();
}

std::optional<std::string> LiveNode::LogBytes(const TopicPartition& tp) const {
  const Partition* partition = Find(tp);
  if (partition == nullptr) return std::nullopt;
  return ReadLogBytes(partition->log(), *process_.disk);
}

}  // namespace sluice::check
