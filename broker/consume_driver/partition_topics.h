// Which topic of its name the records of a partition are of.
#pragma once

#include <map>
#include <optional>

#include "common/base/ids.h"
#include "common/consumer/named_partition.h"

namespace sluice {

// Names are used again, ids never are: what is acknowledged and committed is of
// the topic that was read, also when its reading is over and when another one
// has its name. One topic a partition: the newest that was put.
class PartitionTopics {
 public:
  using NamedPartition = consumer::NamedPartition;

  void Put(const NamedPartition& named, TopicId id) {
    if (const auto before = IdOf(named); before.has_value()) {
      names_.erase({*before, named.partition});
    }
    ids_[named] = id;
    names_[{id, named.partition}] = named;
  }
  std::optional<TopicId> IdOf(const NamedPartition& named) const {
    const auto found = ids_.find(named);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }
  // Null: it is none of them, or not any more.
  const NamedPartition* NameOf(const TopicPartition& tp) const {
    const auto found = names_.find(tp);
    return found == names_.end() ? nullptr : &found->second;
  }

 private:
  std::map<NamedPartition, TopicId> ids_;
  std::map<TopicPartition, NamedPartition> names_;
};

}  // namespace sluice
