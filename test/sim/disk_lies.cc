#include "test/sim/disk_lies.h"

#include <algorithm>

#include "broker/partition.h"
#include "storage/batch_header.h"

namespace sluice::sim {
namespace {

constexpr Offset kSomewhere{INT64_MAX};

}  // namespace

bool DiskLies::MayLosePower(NodeId node) const {
  return std::none_of(copies_.begin(), copies_.end(), [&](const auto& entry) {
    return entry.first.first == node && (entry.second.awaits_write ||
                                         entry.second.astray_below.has_value());
  });
}

PartitionMarks DiskLies::MarksOf(NodeId node, const TopicPartition& tp) const {
  const std::string path = SimCluster::JournalPath();
  const auto bytes = cluster_->at(node.value()).fs.PeekDurable(path);
  if (!bytes.has_value()) return {};
  const auto journal = ParseJournal(*bytes, path);
  if (!journal.ok()) return {};
  const auto found = journal->state.partitions.find(tp);
  return found == journal->state.partitions.end() ? PartitionMarks()
                                                  : found->second;
}

std::vector<DiskLies::Place> DiskLies::Marked(NodeId node,
                                              const TopicPartition& tp) const {
  const PartitionMarks marks = MarksOf(node, tp);
  const Offset start =
      std::max(marks.log_start,
               cluster_->LogStart(node.value(), tp).value_or(Offset(0)));
  std::vector<Place> places;
  for (const std::string& file : cluster_->LogFiles(node.value(), tp)) {
    const auto bytes = cluster_->at(node.value()).fs.PeekDurable(file);
    if (!bytes.has_value()) continue;
    BatchCursor cursor(*bytes);
    int64_t at = 0;
    for (auto batch = cursor.Next(); batch.ok() && batch->has_value();
         batch = cursor.Next()) {
      const auto size = static_cast<int64_t>((*batch)->bytes().size());
      const BatchHeader& header = (*batch)->header();
      if (header.next_offset() > marks.durable_mark) break;
      if (header.base_offset >= start) places.push_back({file, at, size});
      at += size;
    }
  }
  return places;
}

std::optional<TopicPartition> DiskLies::FlipBit(
    NodeId node, const std::vector<TopicPartition>& of, Random& random) {
  const size_t first = of.empty() ? 0 : random.Below(of.size());
  for (size_t i = 0; i < of.size(); ++i) {
    const TopicPartition& tp = of[(first + i) % of.size()];
    const std::vector<Place> places = Marked(node, tp);
    if (places.empty()) continue;
    // A restart looks at the newest, who reads everything at the others.
    const Place& place = random.OneIn(2) ? places.back()
                                         : places[random.Below(places.size())];
    cluster_->at(node.value()).fs.FlipBit(
        place.file, place.at + random.Between(0, place.bytes - 1),
        static_cast<int>(random.Below(8)));
    counts_.told += copies_.try_emplace({node, tp}).second ? 1 : 0;
    return tp;
  }
  return std::nullopt;
}

void DiskLies::Misdirect(NodeId node, const TopicPartition& tp, bool evicted) {
  cluster_->at(node.value())
      .fs.MisdirectNextWrite(SimCluster::LogHome(tp), ".log");
  const auto [it, fresh] = copies_.try_emplace({node, tp});
  counts_.told += fresh ? 1 : 0;
  it->second.awaits_write = true;
  it->second.evicted = evicted;
}

void DiskLies::EndMisdirection(NodeId node) {
  for (auto& [key, copy] : copies_) {
    if (key.first != node || !copy.awaits_write) continue;
    Follow(key, copy);
    copy.awaits_write = false;
  }
  cluster_->at(node.value()).fs.ForgetMisdirection();
}

void DiskLies::EndUnreadable(NodeId node, const MetadataImage& newest) {
  unreadable_.erase(node);
  for (const auto& [id, topic] : newest.topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      if (!Contains(partition->replicas, node)) continue;
      counts_.told += copies_.try_emplace({node, {id, index}}).second ? 1 : 0;
    }
  }
}

// What became of a write that goes astray.
void DiskLies::Follow(const Key& key, Copy& copy) {
  MemFileSystem& fs = cluster_->at(key.first.value()).fs;
  const Partition* own = cluster_->FindReplica(key.first.value(), key.second);
  if (copy.awaits_write && !fs.misdirects_next()) {
    copy.awaits_write = false;
    copy.astray_below = kSomewhere;
  }
  if (!copy.astray_below.has_value()) return;
  // Of a process that is gone by now the next one knows how far it had come.
  if (*copy.astray_below == kSomewhere && own != nullptr) {
    copy.astray_below = own->log().leo();
  }
  const std::vector<std::string> files =
      cluster_->LogFiles(key.first.value(), key.second);
  const bool there =
      std::any_of(files.begin(), files.end(),
                  [&](const std::string& file) { return fs.IsHarmed(file); });
  if (there &&
      MarksOf(key.first, key.second).durable_mark < *copy.astray_below) {
    return;
  }
  bool all = true;
  for (const std::string& file : files) {
    if (copy.evicted && fs.IsHarmed(file)) all &= fs.DropCache(file);
  }
  if (all) copy.astray_below.reset();
}

bool DiskLies::IsHarmed(const Key& key, const Copy& copy) const {
  if (copy.awaits_write || copy.astray_below.has_value()) return true;
  SimNode& machine = cluster_->at(key.first.value());
  const std::vector<std::string> files =
      cluster_->LogFiles(key.first.value(), key.second);
  return std::any_of(files.begin(), files.end(), [&](const std::string& file) {
    return machine.fs.IsHarmed(file);
  });
}

// It may count again: nothing of it is damaged, and it holds what is committed.
bool DiskLies::IsWhole(const Key& key, const Copy& copy,
                       const MetadataImage& newest) const {
  const auto& [node, tp] = key;
  const PartitionImage* state = newest.FindPartition(tp);
  if (state == nullptr || !Contains(state->replicas, node)) return true;
  if (!Contains(state->isr, node) || IsHarmed(key, copy)) return false;
  const Partition* own = cluster_->FindReplica(node.value(), tp);
  const Partition* leader =
      state->leader == kNoNode
          ? nullptr
          : cluster_->FindReplica(state->leader.value(), tp);
  return own != nullptr && leader != nullptr && leader->leads() &&
         !own->failed() && own->core().position() >= leader->high_watermark();
}

void DiskLies::NoteFound(NodeId node, const TopicPartition& tp) {
  const auto copy = copies_.find({node, tp});
  if (copy == copies_.end() || copy->second.found) return;
  copy->second.found = true;
  ++counts_.found;
}

void DiskLies::Refresh(const MetadataImage& newest) {
  for (auto it = copies_.begin(); it != copies_.end();) {
    auto& [key, copy] = *it;
    Follow(key, copy);
    if (unreadable_.contains(key.first) || !IsWhole(key, copy, newest)) {
      ++it;
      continue;
    }
    ++counts_.healed;
    it = copies_.erase(it);
  }
}

}  // namespace sluice::sim
