// Whose copies of what are damaged, because a bit flipped, a write went astray
// or reads fail: until those copies are whole again.
//
// What a copy may cost is what the product can know: damage below the durable
// mark that its journal has is found by name and never served. Above it, a write
// that never came and one that went astray look alike; so bits flip below the
// mark alone, and a machine whose write went astray keeps its power until the
// mark has passed that write.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/random.h"
#include "storage/dir_journal.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {

struct DiskLieCounts {
  int64_t told = 0;    // copies that were damaged, or could not be read
  int64_t found = 0;   // for which somebody set them aside
  int64_t healed = 0;  // and whole again, for whatever reason
};

class DiskLies {
 public:
  explicit DiskLies(SimCluster* cluster) : cluster_(cluster) {}

  bool Lies(NodeId node, const TopicPartition& tp) const {
    return unreadable_.contains(node) || copies_.contains({node, tp});
  }
  // Nothing of it is in the page cache alone while nobody can tell that from
  // what a power cut takes.
  bool MayLosePower(NodeId node) const;
  const DiskLieCounts& counts() const { return counts_; }

  // One bit of one of the copies; nullopt: none has a record below its mark.
  std::optional<TopicPartition> FlipBit(NodeId node,
                                        const std::vector<TopicPartition>& of,
                                        Random& random);
  // The next write to the log of this copy. `evicted`: its page leaves the page
  // cache once it may.
  void Misdirect(NodeId node, const TopicPartition& tp, bool evicted);
  // What was not written until now goes where it belongs.
  void EndMisdirection(NodeId node);
  // All that a broker has, from here to there.
  void BeginUnreadable(NodeId node) { unreadable_.insert(node); }
  void EndUnreadable(NodeId node, const MetadataImage& newest);

  // Its broker has quarantined it, which a lie excuses.
  void NoteFound(NodeId node, const TopicPartition& tp);
  // Which copies are whole again.
  void Refresh(const MetadataImage& newest);

 private:
  struct Copy {
    bool awaits_write = false;  // which will go astray
    bool evicted = false;       // and its page then leaves the page cache
    // The write is in the log below that offset.
    std::optional<Offset> astray_below;
    bool found = false;
  };
  using Key = std::pair<NodeId, TopicPartition>;
  // Where a batch lies on the disk.
  struct Place {
    std::string file;
    int64_t at = 0;
    int64_t bytes = 0;
  };

  // What the journal on the disk says.
  PartitionMarks MarksOf(NodeId node, const TopicPartition& tp) const;
  std::vector<Place> Marked(NodeId node, const TopicPartition& tp) const;
  void Follow(const Key& key, Copy& copy);
  bool IsHarmed(const Key& key, const Copy& copy) const;
  bool IsWhole(const Key& key, const Copy& copy,
               const MetadataImage& newest) const;

  SimCluster* const cluster_;
  std::map<Key, Copy> copies_;
  std::set<NodeId> unreadable_;
  DiskLieCounts counts_;
};

}  // namespace sluice::sim
