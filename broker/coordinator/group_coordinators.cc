#include "broker/coordinator/group_coordinators.h"

#include <utility>

#include "common/base/str_cat.h"
#include "controller/metadata/internal_topics.h"

namespace sluice::coordinator {
namespace {

// In the broker's data directory, beside its partitions.
constexpr char kViewDirectory[] = "/offsets-view";

}  // namespace

GroupCoordinators::GroupCoordinators(Deps deps) : deps_(std::move(deps)) {
  Random random(deps_.random_seed);
  for (Executor* shard : deps_.shards) {
    shards_[shard].random = Random(random.Next64());
  }
  for (const std::string& directory : deps_.directories) {
    stores_[directory] = std::make_unique<ViewStore>(ViewStore::Deps{
        deps_.files, directory + kViewDirectory, deps_.io_executor, deps_.fs,
        deps_.clock, deps_.config.view_checkpoint_bytes});
    stores_[directory]->Open();
  }
}

std::vector<std::pair<std::string, absl::Status>>
GroupCoordinators::ClosedViews() const {
  std::vector<std::pair<std::string, absl::Status>> closed;
  for (const auto& [directory, store] : stores_) {
    const absl::Status trouble = store->trouble();
    if (!trouble.ok()) closed.emplace_back(store->path(), trouble);
  }
  return closed;
}

GroupCoordinator* GroupCoordinators::Find(Executor* shard,
                                          const TopicPartition& tp) {
  const auto& hosted = shards_.at(shard).hosted;
  const auto found = hosted.find(tp);
  return found == hosted.end() ? nullptr : found->second;
}

ShardGroups GroupCoordinators::CollectFacts(Executor* shard) const {
  const Shard& of = shards_.at(shard);
  ShardGroups facts;
  facts.counters = of.counters;
  for (const auto& [tp, hosted] : of.hosted) {
    facts.loaded += static_cast<int64_t>(hosted->groups_loaded());
    facts.requests_waiting += static_cast<int64_t>(hosted->requests_waiting());
  }
  return facts;
}

std::vector<TopicPartition> GroupCoordinators::Watched(
    Executor* shard) const {
  std::vector<TopicPartition> watched;
  for (const auto& [tp, hosted] : shards_.at(shard).hosted) {
    const auto some = hosted->lag_windows().Watched();
    watched.insert(watched.end(), some.begin(), some.end());
  }
  return watched;
}

void GroupCoordinators::NoteHighWatermarks(
    Executor* shard,
    const std::vector<std::pair<TopicPartition, Offset>>& known) {
  const int64_t now_ms = deps_.clock->WallMillis();
  for (const auto& [tp, hosted] : shards_.at(shard).hosted) {
    for (const auto& [partition, high_watermark] : known) {
      hosted->lag_windows().NoteHighWatermark(partition, high_watermark,
                                              now_ms);
    }
  }
}

CommittedGroups GroupCoordinators::CommittedOf(Executor* shard, size_t max) {
  CommittedGroups all;
  for (const auto& [tp, hosted] : shards_.at(shard).hosted) {
    CommittedGroups some = hosted->CommittedOf(max);
    all.left_out |= some.left_out;
    for (auto& group : some.groups) all.groups.push_back(std::move(group));
  }
  return all;
}

std::unique_ptr<ReplicaObserver> GroupCoordinators::Observe(
    const Found& found) {
  if (!found.topic->internal() || found.topic->name != kConsumerOffsetsTopic) {
    return nullptr;
  }
  Shard& shard = shards_.at(found.executor);
  GroupCoordinator::Deps deps;
  deps.executor = found.executor;
  deps.clock = deps_.clock;
  deps.store = stores_.at(found.directory).get();
  deps.self = deps_.self;
  deps.tp = found.tp;
  deps.name = StrCat(found.topic->name, "-", found.tp.partition);
  deps.config = deps_.config;
  deps.random_seed = shard.random.Next64();
  deps.counters = &shard.counters;
  deps.on_watch = deps_.on_watch;
  deps.on_destroyed = [&shard, tp = found.tp] { shard.hosted.erase(tp); };
  deps.epochs = found.epochs;
  deps.leo = found.leo;
  auto made = std::make_unique<GroupCoordinator>(std::move(deps));
  shard.hosted[found.tp] = made.get();
  return made;
}

void GroupCoordinators::Forget(const TopicPartition& tp,
                               const std::string& directory) {
  const auto store = stores_.find(directory);
  if (store != stores_.end()) OffsetsView::Erase(*store->second, tp);
}

}  // namespace sluice::coordinator
