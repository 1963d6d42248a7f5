// IP1-IP5: what logs hold of idempotent producers, what replicas know of them,
// what producers are told. The checks fold each log themselves.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "storage/producer_table.h"
#include "test/check/cluster.h"
#include "test/check/findings.h"
#include "test/check/replication_invariants.h"
#include "test/check/views.h"

namespace sluice::check {

// A broker's word to an idempotent producer that its batch is stored: acks=all.
struct ProducerAnswer {
  // As the producer named the topic; one of them is set.
  std::string topic_name;
  TopicId topic_id;
  PartitionIndex partition;
  // Of the first batch of the request.
  ProducerId producer = kNoProducerId;
  int16_t epoch = -1;
  int32_t base_sequence = -1;
  Offset base;              // where it is said to be
  bool duplicate = false;   // stored by an earlier attempt, it says
};

// A broker's answer to InitProducerId.
struct IdentityAnswer {
  NodeId broker;
  ProducerId producer;
  int32_t epoch = 0;  // 0: a new identity
};

class ProducerInvariants {
 public:
  ProducerInvariants(Findings* findings, const Cluster* cluster,
                     const ReplicationInvariants* replication)
      : findings_(*findings), cluster_(*cluster), replication_(*replication) {}

  // An event touched a replica of `node`.
  void OnChange(const NodeView& node, const ReplicaChange& change);
  // Behind the event that answered, when its other effects were seen.
  void OnAnswered(const ProducerAnswer& answer);
  // Likewise.
  void OnIdentified(const IdentityAnswer& answer);
  // All that the replica knows, whether an event touched it or not.
  void CheckTable(const NodeView& node, const TopicPartition& tp,
                  const ReplicaView& now, const ProducerTable& table);

 private:
  // Of one producer, by the records of one log: its newest epoch.
  struct Known {
    int16_t epoch = -1;
    int32_t next_sequence = 0;
    bool from_first = false;  // the log has the first of that epoch
    std::vector<StoredBatch> last;  // kProducerBatchesKept of them, oldest first
  };
  struct Replica {
    int64_t life = 0;
    size_t folded = 0;  // batches of its view
    std::map<ProducerId, Known> known;
  };
  using Key = std::pair<TopicPartition, NodeId>;

  void CheckBatch(const NodeView& node, const TopicPartition& tp,
                  const ReplicaView& now, const Replica& own,
                  const StoredBatch& batch);
  static void Fold(Replica& own, const StoredBatch& batch);
  void CheckKnown(const NodeView& node, const TopicPartition& tp,
                  const Replica& own, ProducerId id,
                  const ProducerTable& table);

  Findings& findings_;
  const Cluster& cluster_;
  const ReplicationInvariants& replication_;
  std::map<Key, Replica> replicas_;
  // What a topic's name meant when it was first answered for: one that was
  // made again may be meant either way.
  std::map<std::string, TopicId> named_;
  std::map<ProducerId, NodeId> given_;  // by this broker
};

}  // namespace sluice::check
