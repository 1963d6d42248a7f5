#include "test/fuzz/image_checks.h"

#include <algorithm>
#include <set>
#include <vector>

#include "common/base/invariant.h"

namespace sluice::fuzz {
namespace {

void CheckPartition(const TopicPartition& tp, const PartitionImage& p) {
  const auto within = [&](const std::vector<NodeId>& nodes) {
    return std::set<NodeId>(nodes.begin(), nodes.end()).size() ==
               nodes.size() &&
           std::all_of(nodes.begin(), nodes.end(), [&](NodeId node) {
             return Contains(p.replicas, node);
           });
  };
  INVARIANT(!p.replicas.empty() && within(p.replicas) && within(p.isr) &&
                p.directories.size() == p.replicas.size() &&
                (p.leader == kNoNode || Contains(p.isr, p.leader)),
            "RP17 ", tp);
}

}  // namespace

void CheckConsistent(const MetadataImage& image) {
  int64_t partitions = 0;
  int64_t replicas = 0;
  size_t topics = 0;
  for (const auto& [id, topic] : image.topics()) {
    ++topics;
    INVARIANT(topic->id == id && image.FindTopic(topic->name) == topic.get(),
              "topic ", id, " is not found by its name");
    INVARIANT(internal::v1::TopicRecord::Kind_IsValid(topic->kind),
              "MD8 topic kind ", static_cast<int>(topic->kind));
    int32_t next = 0;
    for (const auto& [index, partition] : topic->partitions) {
      INVARIANT(index.value() == next++, "partition ", index, " of ", id);
      CheckPartition({id, index}, *partition);
      ++partitions;
      replicas += static_cast<int64_t>(partition->replicas.size());
    }
  }
  size_t names = 0;
  for (const auto& [name, id] : image.names()) {
    ++names;
    INVARIANT(image.FindTopic(id) != nullptr, "a name of no topic");
  }
  INVARIANT(names == topics && partitions == image.partition_count() &&
                replicas == image.replica_count(),
            topics, " topics by ", names, " names, ", partitions, "/",
            replicas, " partitions/replicas counted as ",
            image.partition_count(), "/", image.replica_count());
}

}  // namespace sluice::fuzz
