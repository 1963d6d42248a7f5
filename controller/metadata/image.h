// The state of the cluster at one metadata offset: the fold of a prefix of the
// committed log (MD1), the same on controllers and brokers. Immutable and
// cheap to copy; only delta.cc makes new ones.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"
#include "controller/metadata/persistent_map.h"
#include "sluice/internal/v1/metadata.pb.h"

namespace sluice {

// The one feature level that this program knows (MD8).
inline constexpr int32_t kFeatureLevelMin = 1;
inline constexpr int32_t kFeatureLevelMax = 1;

inline constexpr char kInternalListener[] = "INTERNAL";
inline constexpr char kPublicListener[] = "PUBLIC";

struct BrokerImage {
  NodeId id;
  BrokerEpoch epoch = kNoBrokerEpoch;  // offset of its registration (RP19)
  IncarnationId incarnation;
  bool fenced = true;
  bool stopping = false;
  // A gray failure: it leads and counts only where nobody else does. Outlives
  // its registrations, until its disks were seen to be fast again.
  bool demoted = false;
  std::vector<internal::v1::BrokerListener> listeners;
  std::string rack;
  std::set<DirectoryId> directories;
  int32_t feature_min = 0;
  int32_t feature_max = 0;
  std::string version;
  bool was_clean = false;

  // May lead and be in an ISR.
  bool active() const { return !fenced && !stopping; }
  const internal::v1::BrokerListener* FindListener(std::string_view name) const;
};

// What a replica of a partition without a leader told of its log: what an
// election of the best log chooses by (design/replication.md 4).
struct CandidateLog {
  NodeId node;
  LeaderEpoch last_epoch = kNoLeaderEpoch;  // -1: empty
  Offset end{0};
  Offset high_watermark{0};
  bool failed = false;  // its log cannot be used

  bool operator==(const CandidateLog&) const = default;
};

// What an unclean election may have cost: acknowledged records from `first` on,
// the elected replica's high watermark.
struct UncleanLoss {
  NodeId leader = kNoNode;
  Offset first{0};
  // The furthest end or high watermark that any replica told, the elected one
  // included.
  Offset known_end{0};

  bool operator==(const UncleanLoss&) const = default;
};

// Invariants (RP17): leader is kNoNode or in isr; isr within replicas;
// isr, elr and unverified_elr share no member; with |isr| >= min ISR both ELR
// lists are empty; with a leader there are no candidates and no order.
struct PartitionImage {
  std::vector<NodeId> replicas;          // preferred leader first
  std::vector<DirectoryId> directories;  // one a replica; unset: not known
  std::vector<NodeId> isr;
  // Eligible leader replicas that may be elected as soon as they are alive.
  std::vector<NodeId> elr;
  // Held all that is committed when they stopped unclean; electable only
  // after their verdict. Not in `elr` meanwhile.
  std::vector<NodeId> unverified_elr;
  std::vector<NodeId> last_full_isr;  // the last with >= min ISR members
  NodeId leader = kNoNode;
  LeaderEpoch leader_epoch{0};
  PartitionEpoch partition_epoch{0};
  LeaderEpoch last_unclean_leader_epoch = kNoLeaderEpoch;
  UncleanLoss unclean_loss;  // of the election that began that epoch
  std::vector<NodeId> adding_replicas;
  std::vector<NodeId> removing_replicas;
  // Of a topic with durability=disk: some acknowledged records may be in
  // memory alone, from before it was that.
  bool durability_settling = false;
  // Told in this leader epoch, in which nobody leads; in the order of the
  // replicas.
  std::vector<CandidateLog> candidates;
  // An operator ordered that the best log leads, whoever else may come back.
  bool unclean_ordered = false;
  // Reported unusable, and not in the ISR since.
  std::vector<NodeId> failed_replicas;
  // Where the log begins since the last trim; never falls. No replica deletes
  // anything by a trim before it is here, and none that leads shows less.
  Offset log_start{0};

  bool operator==(const PartitionImage&) const = default;
  // Unset for a node that is no replica.
  DirectoryId DirectoryOf(NodeId node) const;
  // Null when `node` has told nothing.
  const CandidateLog* CandidateOf(NodeId node) const;
  // Nobody leads, and nobody who is known to hold all that was committed is
  // waited for, or not any more: each live replica tells of its log. `unclean`
  // is the topic's unclean.leader.election.enable.
  bool AsksForLogs(bool unclean) const;
};

// Whether `node` is in `list` (a few members: replicas, an ISR).
bool Contains(const std::vector<NodeId>& list, NodeId node);

struct TopicImage {
  TopicId id;
  std::string name;
  internal::v1::TopicRecord::Kind kind = internal::v1::TopicRecord::KIND_USER;
  bool write_fenced = false;
  // Indexes are 0..size-1 without a gap.
  PersistentMap<PartitionIndex, std::shared_ptr<const PartitionImage>>
      partitions;
  std::map<std::string, std::string> configs;  // overrides only

  bool internal() const {
    return kind == internal::v1::TopicRecord::KIND_INTERNAL;
  }
  const PartitionImage* Find(PartitionIndex partition) const;
  int32_t replication_factor() const;  // of partition 0; 0 without partitions
};

class MetadataImage {
 public:
  using Brokers = std::map<NodeId, std::shared_ptr<const BrokerImage>>;
  using Topics = PersistentMap<TopicId, std::shared_ptr<const TopicImage>>;
  using Names = PersistentMap<std::string, TopicId>;
  // "" is the cluster, "7" is broker 7.
  using Configs = std::map<std::string, std::map<std::string, std::string>>;

  // The state before the first record.
  static std::shared_ptr<const MetadataImage> Empty();

  // The last entry applied; 0 before the first.
  LogIndex offset() const { return offset_; }
  Term term() const { return term_; }
  int32_t feature_level() const { return feature_level_; }  // 0: none yet

  const Brokers& brokers() const { return brokers_; }
  const Topics& topics() const { return topics_; }  // by id
  const Names& names() const { return names_; }     // by name, for paging
  const Configs& configs() const { return configs_; }
  // Of the producer ids [first, next) given so far, to any broker; equal
  // before the first block.
  ProducerId first_producer_id() const { return first_producer_id_; }
  ProducerId next_producer_id() const { return next_producer_id_; }
  int64_t partition_count() const { return partition_count_; }
  int64_t replica_count() const { return replica_count_; }

  // Null when there is none. What is returned lives as long as the image.
  const BrokerImage* FindBroker(NodeId id) const;
  const TopicImage* FindTopic(const TopicId& id) const;
  const TopicImage* FindTopic(std::string_view name) const;
  const PartitionImage* FindPartition(const TopicPartition& tp) const;

  bool IsActive(NodeId id) const;
  bool IsDemoted(NodeId id) const;
  int ActiveBrokerCount() const;

 private:
  friend class BatchApplier;

  LogIndex offset_{0};
  Term term_{0};
  int32_t feature_level_ = 0;
  Brokers brokers_;
  Topics topics_;
  Names names_;
  Configs configs_;
  ProducerId first_producer_id_ = kNoProducerId;
  ProducerId next_producer_id_ = kNoProducerId;
  int64_t partition_count_ = 0;
  int64_t replica_count_ = 0;
};

// Equal for equal states at equal offsets, on every node (MD1, RA6). Walks
// everything: for tests and checks.
uint64_t MetaHash(const MetadataImage& image);

}  // namespace sluice
