// A cluster of brokers in memory for tests of the client: leaders, epochs and
// one committed log a partition, under virtual time, with faults on order.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/client_types.h"
#include "client/fake_producers_testing.h"
#include "common/base/random.h"
#include "common/env/sim_world.h"

namespace sluice {

class FakeCluster final : public BrokerConnector {
 public:
  struct Stored {
    Offset offset;
    std::string key;
    std::string value;
  };
  struct Partition {
    NodeId leader{1};
    LeaderEpoch epoch{1};
    std::vector<Buffer> batches;
    FakeProducers producers;
    Offset start{0};
    Offset end{0};
    // A follower in the rack of readers that have one; kNoNode: there is none.
    NodeId near = kNoNode;
    Offset near_high_watermark{INT64_MAX};
    ErrorCode near_error = ErrorCode::kNone;  // its answer, when set
  };
  struct Topic {
    TopicId id;
    std::vector<Partition> partitions;
  };
  // What becomes of one request or answer. A stream ends when it loses one;
  // one that hangs is silent from there on.
  enum class Fate { kDeliver, kLoseRequest, kLoseAnswer, kHang };

  FakeCluster(SimWorld* world, int brokers, uint64_t seed = 1);

  std::shared_ptr<BrokerPeer> Connect(const api::Endpoint& endpoint,
                                      Executor* executor) override;

  static api::Endpoint EndpointOf(NodeId id) {
    return {"b" + std::to_string(id.value()), 9000 + id.value()};
  }
  // Leaders go round robin over the brokers.
  void AddTopic(const std::string& name, int partitions);
  // More partitions of topics that it has.
  v1::CreatePartitionsResponse Grow(
      const v1::CreatePartitionsRequest& request);
  // The topic of the name is another one from now on, empty, with as many
  // partitions.
  void MakeAgain(const std::string& name);
  Topic& topic(const std::string& name) { return topics_.at(name); }
  // Of the topic that has this id; nullopt: none.
  std::optional<std::string> NameOf(TopicId id) const;
  // Unset: no topic has the name.
  TopicId IdOf(const std::string& name) const;
  void MoveLeader(const std::string& topic, int partition, NodeId to);
  // What an unclean election does: the next leader's log ends at `end`, a
  // boundary of batches.
  void CutLog(const std::string& topic, int partition, Offset end);
  // Kills a broker: connections are refused, streams break, answers on their
  // way are lost.
  void Kill(NodeId id);
  void Start(NodeId id) { down_.erase(id); }
  // Breaks every stream to it: what it has taken is done, answers are lost.
  void BreakStreams(NodeId id);
  // Everything it led goes to the next broker alive.
  void ElectAfterDeathOf(NodeId id);
  std::vector<Stored> Read(const std::string& topic, int partition) const;

  // Asked for each call before it is carried out; default: deliver.
  std::function<Fate(NodeId broker, const std::string& method)> fate;
  // Extra time for the answers of one partition, by "topic-partition".
  std::map<std::string, int64_t> answer_delay_us;
  // A code that the next Produce answers for each partition, until empty.
  std::vector<ErrorCode> produce_errors;
  bool disk_full = false;  // appends are STORAGE_FULL, sequences judged before
  int64_t batch_bytes_max = INT64_MAX;  // larger ones are MESSAGE_TOO_LARGE
  bool hints = true;            // NOT_LEADER tells the leader
  bool stale_metadata = false;  // GetMetadata answers as of the last freeze
  void FreezeMetadata() { frozen_ = topics_; }
  std::map<std::string, int> calls;  // by method
  int max_payload_batches = 0;
  int max_partitions_per_request = 0;
  std::map<std::string, int> in_flight;  // produces, by partition
  int max_in_flight = 0;
  std::vector<int> produce_acks;
  // What a broker's OpenMetadataWatch gives; unset: it has no watches.
  std::function<std::shared_ptr<MetadataWatchSender>(NodeId broker,
                                                     MetadataWatchEvents)>
      open_watch;
  // Of DescribeCluster, by the broker that is asked.
  std::set<NodeId> fenced;
  std::map<NodeId, std::vector<v1::HealthIssue>> issues_told;

 private:
  friend class FakePeer;
  friend class FakeStream;
  static constexpr int64_t kLatencyMinUs = 200;
  static constexpr int64_t kLatencyMaxUs = 1'500;

  api::ProduceResponse Produce(NodeId at, api::ProduceRequest request);
  api::ProduceResult ProduceOne(NodeId at, api::ProducePartition& part);
  void Append(Partition& state, MutableBuffer bytes, api::ProduceResult& result);
  api::FetchResponse Fetch(NodeId at, const api::FetchRequest& request);
  api::FetchResult FetchOne(NodeId at, const api::FetchPartition& part);
  // What a reader with a rack is told; nullopt: as any other is.
  std::optional<api::FetchResult> FetchNear(NodeId at,
                                            const api::FetchPartition& part);
  api::ListOffsetsResponse ListOffsets(NodeId at,
                                       const api::ListOffsetsRequest& request);
  api::DeleteRecordsResponse DeleteRecords(
      NodeId at, const api::DeleteRecordsRequest& request);
  v1::DescribeClusterResponse DescribeCluster(NodeId at);
  v1::GetMetadataResponse GetMetadata(const v1::GetMetadataRequest& request);
  v1::DescribeTopicsResponse Describe(NodeId at,
                                      const v1::DescribeTopicsRequest& request);
  v1::CreateTopicsResponse Create(const v1::CreateTopicsRequest& request);
  // Null with `error` set when `at` cannot serve it.
  Partition* Check(NodeId at, const api::TopicRef& topic,
                   PartitionIndex partition,
                   const std::optional<LeaderEpoch>& epoch,
                   api::ItemError& error, std::optional<api::LeaderHint>& hint);

  SimWorld* const world_;
  const int broker_count_;
  Random random_;
  std::map<std::string, Topic> topics_;
  std::map<std::string, Topic> frozen_;
  std::set<NodeId> down_;
  int64_t next_producer_id_ = 1000;
  std::multimap<NodeId, std::weak_ptr<class FakeStream>> streams_;
};

}  // namespace sluice
