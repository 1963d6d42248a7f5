// A cluster made by hand for tests of the invariants: three brokers, one
// partition, views that a test bends as it likes. Every step goes to every
// family of invariants, in the order in which Checker would.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "controller/metadata/delta.h"
#include "controller/metadata/record_codec.h"
#include "test/check/cluster.h"
#include "test/check/findings.h"
#include "test/check/isr_invariants.h"
#include "test/check/metadata_invariants.h"
#include "test/check/producer_invariants.h"
#include "test/check/raft_invariants.h"
#include "test/check/replication_invariants.h"
#include "test/check/storage_invariants.h"

namespace sluice::check {

class CheckTest : public testing::Test {
 protected:
  using Batch = internal::v1::MetadataBatch;
  using Ids = std::vector<int>;

  // Brokers 1..3 are registered and active, partition kTp has replicas and ISR
  // {1, 2, 3}, min ISR 2, leader 1 in epoch 0, which has begun.
  void SetUp() override;

  // ---- Metadata: what is committed ----

  void Commit(const Batch& batch);
  // As BrokerControl writes them, or would with a fault.
  void Register(int broker, int incarnation, bool was_clean = false);
  void Fence(int broker, bool fenced);
  void MarkStopping(int broker);
  void CreateTopic(const TopicId& id, const std::string& name,
                   std::map<std::string, std::string> configs = {});
  void SetConfig(const std::string& key, const std::string& value);
  struct PartitionChange {
    std::optional<int> leader;  // with a new leader epoch
    std::optional<Ids> isr;
    std::optional<Ids> elr;
    std::optional<Ids> unverified_elr;
    std::optional<int> leader_epoch;
    std::optional<int> partition_epoch;  // else the next one
    std::optional<bool> durability_settling;
    std::optional<int64_t> log_start;
    std::optional<std::vector<CandidateLog>> candidates;
    std::optional<bool> ordered;
    std::optional<Ids> last_full_isr;
    // The leader is elected unclean; from here on records may be lost.
    std::optional<int64_t> lost_from;
    std::optional<int> unclean_epoch;  // as marked; else the leader's
  };
  // Into `batch`, or committed by itself.
  void AddChange(Batch& batch, const PartitionChange& change);
  void Change(const PartitionChange& change);
  const PartitionImage& partition() const {
    return *cluster_.committed->FindPartition(kTp);
  }
  BrokerEpoch EpochOf(int broker) const {
    return cluster_.committed->FindBroker(NodeId(broker))->epoch;
  }

  // ---- Processes ----

  static IncarnationId Incarnation(int broker, int number) {
    return IncarnationId(Uuid(static_cast<uint64_t>(broker),
                              static_cast<uint64_t>(number)));
  }
  // The disk of this broker, of kTp.
  void LieAt(int broker) {
    cluster_.lies = [broker](NodeId node, const TopicPartition& tp) {
      return node == NodeId(broker) && tp == kTp;
    };
  }
  NodeView& node(int id) { return cluster_.nodes[NodeId(id)]; }
  void Boot(int id, int incarnation);
  void End(int id, check::End how);
  void Wipe(int id);

  // ---- Replicas ----

  ReplicaView& replica(int id) { return node(id).replicas[kTp]; }
  // An event at `id` that changes its replica.
  void At(int id, const std::function<void(ReplicaView&)>& event);
  void Lead(int id, int epoch);
  // Asks, then is accepted.
  void Follow(int id, int leader, int epoch);
  // A record of `epoch` at the end of the view.
  static void Append(ReplicaView& view, int epoch, uint32_t crc);
  static void CutTo(ReplicaView& view, int64_t end);
  // The leader appends a record, all `followers` take and sync and acknowledge
  // it, the HW moves, the followers adopt it.
  void Produce(int leader, const Ids& followers, uint32_t crc);
  // The parts of it.
  void AppendAt(int id, int epoch, uint32_t crc);
  void Acknowledge(int leader, int follower);
  void MoveHw(int id, int64_t to);
  // `leader` asks for this ISR; the followers' broker epochs are as registered.
  void Propose(int leader, const Ids& isr);

  // ---- What was found ----

  // What the way to a scene breaks itself.
  void Forget() { findings_ = Findings(); }
  void ExpectNone() {
    EXPECT_FALSE(findings_.first().has_value())
        << findings_.first()->ToString();
  }
  void ExpectFound(Rule rule) {
    ASSERT_TRUE(findings_.first().has_value()) << "nothing was found";
    EXPECT_EQ(NameOf(findings_.first()->rule), NameOf(rule))
        << findings_.first()->ToString();
  }

  // Not as the first, perhaps.
  void ExpectAmong(Rule rule) { EXPECT_GT(findings_.violations(rule), 0u); }

  static const TopicPartition kTp;

  Findings findings_;
  Cluster cluster_;
  RaftInvariants raft_{&findings_, &cluster_};
  ReplicationInvariants replication_{&findings_, &cluster_};
  IsrInvariants isr_{&findings_, &cluster_, &replication_};
  StorageInvariants storage_{&findings_, &cluster_};
  MetadataInvariants metadata_{&findings_, &cluster_};
  ProducerInvariants producers_{&findings_, &cluster_, &replication_};
  // What each replica's log knows of producers, for tests of that.
  std::map<int, ProducerTable> tables_;
  LogIndex offset_{0};
};

}  // namespace sluice::check
