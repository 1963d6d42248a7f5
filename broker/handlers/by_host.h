// What goes to each host of partitions, in the order in which the hosts were
// first named: the order of their addresses is another one in each process, and
// the same seed would run differently.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

namespace sluice {

class PartitionHost;

// A broker has a few hosts, one a shard: they are looked for one by one.
template <class Item>
class ByHost {
 public:
  using Entry = std::pair<PartitionHost*, std::vector<Item>>;

  void Add(PartitionHost* host, Item item) {
    auto found = std::find_if(
        entries_.begin(), entries_.end(),
        [host](const Entry& entry) { return entry.first == host; });
    if (found == entries_.end()) {
      found = entries_.insert(entries_.end(), Entry{host, {}});
    }
    found->second.push_back(std::move(item));
  }

  auto begin() { return entries_.begin(); }
  auto end() { return entries_.end(); }

 private:
  std::vector<Entry> entries_;
};

}  // namespace sluice
