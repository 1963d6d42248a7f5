// Chooses brokers and directories for new replicas.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/base/random.h"
#include "controller/metadata/image.h"

namespace sluice {

// One per request: consecutive calls of Place continue one stripe over the
// active brokers, so that within a request
// - no broker has two replicas of a partition;
// - replicas are on as many racks as there are (a broker without a rack counts
//   as the rack "");
// - each broker leads as many partitions as any other, give or take one.
// The start is random, so that requests do not all begin with one broker.
class ReplicaPlacer {
 public:
  ReplicaPlacer(const MetadataImage& image, Random& random);

  int broker_count() const { return static_cast<int>(brokers_.size()); }

  // The partitions placed from here on are more of `topic`: they count together
  // with those it has, each as led by the first of its replicas.
  void Continue(const TopicImage& topic);

  // The next partition's replicas, leader first. 1 <= replication_factor <=
  // broker_count().
  std::vector<NodeId> Place(int replication_factor);

  // The directory for one more replica on `broker` (active or not), in turns;
  // unset when it has none.
  DirectoryId DirectoryFor(NodeId broker);

 private:
  struct Candidate {
    NodeId id;
    std::string rack;
    int64_t led = 0;  // partitions placed or, with Continue, of the topic
  };
  // Whoever leads fewest; among equals the next of the stripe.
  size_t NextLeader() const;

  const MetadataImage& image_;
  std::vector<Candidate> brokers_;  // neighbours are of different racks
  size_t next_ = 0;                 // partitions placed
  size_t start_ = 0;
  std::map<NodeId, uint64_t> turns_;
  Random& random_;
};

}  // namespace sluice
