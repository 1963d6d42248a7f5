#include "client/fake_cluster_testing.h"

#include <algorithm>

#include "client/fake_stream_testing.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "storage/record_reader.h"

namespace sluice {

class FakePeer final : public BrokerPeer,
                       public std::enable_shared_from_this<FakePeer> {
 public:
  FakePeer(FakeCluster* cluster, NodeId id, Executor* executor)
      : cluster_(cluster),
        id_(id),
        endpoint_(FakeCluster::EndpointOf(id)),
        executor_(executor) {}

  const api::Endpoint& endpoint() const override { return endpoint_; }

  void Produce(api::ProduceRequest request, int64_t timeout_us,
               PeerReply<api::ProduceResponse> reply) override {
    auto shared = std::make_shared<api::ProduceRequest>(std::move(request));
    Call<api::ProduceResponse>(
        "Produce", timeout_us,
        [this, shared] { return cluster_->Produce(id_, std::move(*shared)); },
        std::move(reply));
  }

  std::shared_ptr<ProduceSender> OpenProduceStream(
      ProduceStreamEvents events) override {
    ++cluster_->calls["ProduceStream"];
    auto stream = std::make_shared<FakeStream>(cluster_, id_, executor_,
                                               std::move(events));
    cluster_->streams_.emplace(id_, stream);
    return std::make_shared<FakeSender>(std::move(stream));
  }

  void Fetch(const api::FetchRequest& request, int64_t timeout_us,
             PeerReply<api::FetchResponse> reply) override {
    const int64_t end_us =
        cluster_->world_->MonoMicros() + int64_t{request.max_wait_ms} * 1000;
    LongPoll(request, end_us, timeout_us,
             std::make_shared<PeerReply<api::FetchResponse>>(std::move(reply)));
  }

  void ListOffsets(const api::ListOffsetsRequest& request, int64_t timeout_us,
                   PeerReply<api::ListOffsetsResponse> reply) override {
    Call<api::ListOffsetsResponse>(
        "ListOffsets", timeout_us,
        [this, request] { return cluster_->ListOffsets(id_, request); },
        std::move(reply));
  }

  void DeleteRecords(const api::DeleteRecordsRequest& request,
                     int64_t timeout_us,
                     PeerReply<api::DeleteRecordsResponse> reply) override {
    Call<api::DeleteRecordsResponse>(
        "DeleteRecords", timeout_us,
        [this, request] { return cluster_->DeleteRecords(id_, request); },
        std::move(reply));
  }

  void GetMetadata(const v1::GetMetadataRequest& request, int64_t timeout_us,
                   PeerReply<v1::GetMetadataResponse> reply) override {
    Call<v1::GetMetadataResponse>(
        "GetMetadata", timeout_us,
        [this, request] { return cluster_->GetMetadata(request); },
        std::move(reply));
  }

  void DescribeTopics(const v1::DescribeTopicsRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeTopicsResponse> reply) override {
    Call<v1::DescribeTopicsResponse>(
        "DescribeTopics", timeout_us,
        [this, request] { return cluster_->Describe(id_, request); },
        std::move(reply));
  }

  void CreateTopics(const v1::CreateTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::CreateTopicsResponse> reply) override {
    Call<v1::CreateTopicsResponse>(
        "CreateTopics", timeout_us,
        [this, request] { return cluster_->Create(request); },
        std::move(reply));
  }

  void DescribeCluster(const v1::DescribeClusterRequest&, int64_t timeout_us,
                       PeerReply<v1::DescribeClusterResponse> reply) override {
    Call<v1::DescribeClusterResponse>(
        "DescribeCluster", timeout_us,
        [this] { return cluster_->DescribeCluster(id_); },
        std::move(reply));
  }

  std::shared_ptr<MetadataWatchSender> OpenMetadataWatch(
      MetadataWatchEvents events) override {
    ++cluster_->calls["WatchMetadata"];
    if (!cluster_->open_watch) return nullptr;
    return cluster_->open_watch(id_, std::move(events));
  }

  void DescribeQuorum(const v1::DescribeQuorumRequest&, int64_t timeout_us,
                      PeerReply<v1::DescribeQuorumResponse> reply) override {
    Call<v1::DescribeQuorumResponse>(
        "DescribeQuorum", timeout_us,
        [] { return v1::DescribeQuorumResponse(); }, std::move(reply));
  }

  void InitProducerId(const v1::InitProducerIdRequest&, int64_t timeout_us,
                      PeerReply<v1::InitProducerIdResponse> reply) override {
    Call<v1::InitProducerIdResponse>(
        "InitProducerId", timeout_us,
        [this] {
          v1::InitProducerIdResponse response;
          response.set_producer_id(cluster_->next_producer_id_++);
          return response;
        },
        std::move(reply));
  }

  void CreatePartitions(
      const v1::CreatePartitionsRequest& request, int64_t timeout_us,
      PeerReply<v1::CreatePartitionsResponse> reply) override {
    Call<v1::CreatePartitionsResponse>(
        "CreatePartitions", timeout_us,
        [this, request] { return cluster_->Grow(request); },
        std::move(reply));
  }

  void DeleteTopics(const v1::DeleteTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::DeleteTopicsResponse> reply) override {
    Call<v1::DeleteTopicsResponse>(
        "DeleteTopics", timeout_us,
        [this, request] {
          v1::DeleteTopicsResponse response;
          for (const auto& topic : request.topics()) {
            cluster_->topics_.erase(topic.name());
            response.add_results()->set_name(topic.name());
          }
          return response;
        },
        std::move(reply));
  }

  // It has no configs: what comes is a result a resource.
  void DescribeConfigs(const v1::DescribeConfigsRequest& request,
                       int64_t timeout_us,
                       PeerReply<v1::DescribeConfigsResponse> reply) override {
    Call<v1::DescribeConfigsResponse>(
        "DescribeConfigs", timeout_us,
        [request] {
          v1::DescribeConfigsResponse response;
          for (const auto& asked : request.resources()) {
            *response.add_results()->mutable_resource() = asked.resource();
          }
          return response;
        },
        std::move(reply));
  }

  void AlterConfigs(const v1::AlterConfigsRequest& request, int64_t timeout_us,
                    PeerReply<v1::AlterConfigsResponse> reply) override {
    Call<v1::AlterConfigsResponse>(
        "AlterConfigs", timeout_us,
        [request] {
          v1::AlterConfigsResponse response;
          for (const auto& asked : request.resources()) {
            *response.add_results()->mutable_resource() = asked.resource();
          }
          return response;
        },
        std::move(reply));
  }

  // Nothing there is to be elected or reset.
  void ElectLeaders(const v1::ElectLeadersRequest&, int64_t timeout_us,
                    PeerReply<v1::ElectLeadersResponse> reply) override {
    Call<v1::ElectLeadersResponse>(
        "ElectLeaders", timeout_us, [] { return v1::ElectLeadersResponse(); },
        std::move(reply));
  }

  void ResetReplica(const v1::ResetReplicaRequest&, int64_t timeout_us,
                    PeerReply<v1::ResetReplicaResponse> reply) override {
    Call<v1::ResetReplicaResponse>(
        "ResetReplica", timeout_us, [] { return v1::ResetReplicaResponse(); },
        std::move(reply));
  }

  // Pages of two, to have pages.
  void ListTopics(const v1::ListTopicsRequest& request, int64_t timeout_us,
                  PeerReply<v1::ListTopicsResponse> reply) override {
    Call<v1::ListTopicsResponse>(
        "ListTopics", timeout_us,
        [this, request] {
          v1::ListTopicsResponse response;
          for (const auto& [name, topic] : cluster_->topics_) {
            if (name <= request.page_token()) continue;
            if (response.topics_size() == 2) {
              response.set_next_page_token(response.topics(1).name());
              break;
            }
            response.add_topics()->set_name(name);
          }
          return response;
        },
        std::move(reply));
  }

 private:
  int64_t Latency() {
    return cluster_->random_.Between(FakeCluster::kLatencyMinUs,
                                     FakeCluster::kLatencyMaxUs);
  }

  // Requests of one connection arrive in order.
  int64_t ArrivalDelay() {
    const int64_t now_us = cluster_->world_->MonoMicros();
    last_arrival_us_ = std::max(last_arrival_us_, now_us + Latency());
    return last_arrival_us_ - now_us;
  }

  template <class Response>
  void Call(const std::string& method, int64_t timeout_us,
            std::function<Response()> body, PeerReply<Response> reply) {
    ++cluster_->calls[method];
    auto once = std::make_shared<PeerReply<Response>>(std::move(reply));
    const auto answer = [once](absl::StatusOr<Response> result) {
      if (*once == nullptr) return;
      auto last = std::move(*once);
      *once = nullptr;
      last(std::move(result));
    };
    const auto lost = [answer](const char* why) {
      answer(absl::UnavailableError(why));
    };
    executor_->PostAfter(timeout_us, [answer] {
      answer(absl::DeadlineExceededError("no answer in time"));
    });
    executor_->PostAfter(ArrivalDelay(), [=, this, self = shared_from_this()] {
      if (cluster_->down_.contains(id_)) return lost("connection refused");
      const auto fate = cluster_->fate ? cluster_->fate(id_, method)
                                       : FakeCluster::Fate::kDeliver;
      if (fate == FakeCluster::Fate::kHang) return;
      if (fate == FakeCluster::Fate::kLoseRequest) return lost("reset");
      Response response = body();
      if (fate == FakeCluster::Fate::kLoseAnswer) return lost("reset");
      executor_->PostAfter(Latency(), [=, this, self = self] {
        if (cluster_->down_.contains(id_)) return lost("connection reset");
        answer(response);
      });
    });
  }

  // Errors, or as much as was asked for.
  static bool IsEnough(const api::FetchRequest& request,
                       const absl::StatusOr<api::FetchResponse>& answer) {
    if (!answer.ok()) return true;
    size_t bytes = 0;
    for (const api::FetchResult& result : answer->results) {
      if (!result.error.ok()) return true;
      for (const Buffer& batch : result.batches) bytes += batch.size();
    }
    return bytes >= static_cast<size_t>(std::max(1, request.min_bytes));
  }

  void LongPoll(const api::FetchRequest& request, int64_t end_us,
                int64_t timeout_us,
                std::shared_ptr<PeerReply<api::FetchResponse>> reply) {
    Call<api::FetchResponse>(
        "Fetch", timeout_us,
        [this, request] { return cluster_->Fetch(id_, request); },
        [=, this,
         self = shared_from_this()](absl::StatusOr<api::FetchResponse> answer) {
          if (IsEnough(request, answer) ||
              cluster_->world_->MonoMicros() >= end_us) {
            (*reply)(std::move(answer));
            return;
          }
          executor_->PostAfter(2'000, [=, this, self = shared_from_this()] {
            LongPoll(request, end_us, timeout_us, reply);
          });
        });
  }

  FakeCluster* const cluster_;
  const NodeId id_;
  const api::Endpoint endpoint_;
  Executor* const executor_;
  int64_t last_arrival_us_ = 0;
};

FakeCluster::FakeCluster(SimWorld* world, int brokers, uint64_t seed)
    : world_(world), broker_count_(brokers), random_(seed) {}

std::shared_ptr<BrokerPeer> FakeCluster::Connect(const api::Endpoint& endpoint,
                                                 Executor* executor) {
  return std::make_shared<FakePeer>(this, NodeId(endpoint.port - 9000),
                                    executor);
}

void FakeCluster::Kill(NodeId id) {
  down_.insert(id);
  BreakStreams(id);
}

// Later: the caller may be in the middle of a stream's event.
void FakeCluster::BreakStreams(NodeId id) {
  const auto [first, last] = streams_.equal_range(id);
  for (auto it = first; it != last; ++it) {
    if (const auto stream = it->second.lock()) {
      stream->BreakSoon();
    }
  }
  streams_.erase(first, last);
}

void FakeCluster::AddTopic(const std::string& name, int partitions) {
  Topic topic;
  topic.id = TopicId(random_.NextUuid());
  for (int i = 0; i < partitions; ++i) {
    Partition partition;
    partition.leader = NodeId(1 + i % broker_count_);
    topic.partitions.push_back(std::move(partition));
  }
  topics_[name] = std::move(topic);
}

v1::CreatePartitionsResponse FakeCluster::Grow(
    const v1::CreatePartitionsRequest& request) {
  v1::CreatePartitionsResponse response;
  for (const v1::NewPartitions& asked : request.topics()) {
    auto* result = response.add_results();
    *result->mutable_topic() = asked.topic();
    std::vector<Partition>& partitions =
        topics_.at(asked.topic().name()).partitions;
    const auto total = static_cast<size_t>(asked.total_count());
    if (total <= partitions.size()) {
      result->mutable_error()->set_code(v1::ERROR_CODE_INVALID_PARTITIONS);
    }
    while (partitions.size() < total) {
      const auto turn = static_cast<int>(partitions.size()) % broker_count_;
      partitions.emplace_back().leader = NodeId(1 + turn);
    }
    result->set_partition_count(static_cast<int32_t>(partitions.size()));
  }
  return response;
}

void FakeCluster::MoveLeader(const std::string& topic, int partition,
                             NodeId to) {
  Partition& moved = topics_.at(topic).partitions.at(partition);
  moved.leader = to;
  moved.epoch = moved.epoch.Next();
}

void FakeCluster::ElectAfterDeathOf(NodeId id) {
  for (auto& [name, topic] : topics_) {
    for (size_t i = 0; i < topic.partitions.size(); ++i) {
      if (topic.partitions[i].leader != id) continue;
      NodeId next = id;
      do {
        next = NodeId(1 + next.value() % broker_count_);
      } while (down_.contains(next));
      MoveLeader(name, static_cast<int>(i), next);
    }
  }
}

std::vector<FakeCluster::Stored> FakeCluster::Read(const std::string& topic,
                                                   int partition) const {
  std::vector<Stored> all;
  for (const Buffer& bytes :
       topics_.at(topic).partitions.at(partition).batches) {
    BatchCursor cursor(bytes.view());
    for (auto batch = cursor.Next(); batch.ok() && batch->has_value();
         batch = cursor.Next()) {
      auto reader = RecordReader::Open(**batch);
      INVARIANT(reader.ok(), reader.status().ToString());
      for (auto record = reader->Next(); record.ok() && record->has_value();
           record = reader->Next()) {
        all.push_back({(*record)->offset,
                       std::string((*record)->key.value_or("")),
                       std::string((*record)->value.value_or(""))});
      }
    }
  }
  return all;
}

// Whoever is asked knows who is there, and of disks only its own.
v1::DescribeClusterResponse FakeCluster::DescribeCluster(NodeId at) {
  v1::DescribeClusterResponse response;
  response.set_answering_node_id(at.value());
  for (int id = 1; id <= broker_count_; ++id) {
    v1::Broker* broker = response.add_brokers();
    broker->set_id(id);
    broker->set_fenced(fenced.contains(NodeId(id)));
    v1::Listener* listener = broker->add_listeners();
    listener->set_name("PUBLIC");
    const api::Endpoint endpoint = EndpointOf(NodeId(id));
    listener->mutable_endpoint()->set_host(endpoint.host);
    listener->mutable_endpoint()->set_port(endpoint.port);
  }
  const auto& told = issues_told[at];
  *response.mutable_issues() = {told.begin(), told.end()};
  return response;
}

v1::GetMetadataResponse FakeCluster::GetMetadata(
    const v1::GetMetadataRequest& request) {
  v1::GetMetadataResponse response;
  for (int id = 1; id <= broker_count_; ++id) {
    v1::Broker* broker = response.add_brokers();
    broker->set_id(id);
    v1::Listener* listener = broker->add_listeners();
    listener->set_name("PUBLIC");
    listener->mutable_endpoint()->set_host(EndpointOf(NodeId(id)).host);
    listener->mutable_endpoint()->set_port(EndpointOf(NodeId(id)).port);
  }
  const auto& topics = stale_metadata ? frozen_ : topics_;
  for (const v1::TopicRef& ref : request.topics()) {
    v1::TopicMetadata* metadata = response.add_topics();
    metadata->set_name(ref.name());
    const auto found = topics.find(ref.name());
    if (found == topics.end()) {
      metadata->mutable_error()->set_code(
          v1::ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION);
      metadata->mutable_error()->set_message("no topic " + ref.name());
      continue;
    }
    metadata->set_id(found->second.id.ToBytes());
    int index = 0;
    for (const Partition& partition : found->second.partitions) {
      v1::PartitionMetadata* out = metadata->add_partitions();
      out->set_partition(index++);
      out->set_leader_id(partition.leader.value());
      out->set_leader_epoch(partition.epoch.value());
      if (partition.leader == kNoNode) continue;
      out->mutable_leader_endpoint()->set_host(
          EndpointOf(partition.leader).host);
      out->mutable_leader_endpoint()->set_port(
          EndpointOf(partition.leader).port);
    }
  }
  return response;
}

v1::DescribeTopicsResponse FakeCluster::Describe(
    NodeId at, const v1::DescribeTopicsRequest& request) {
  v1::GetMetadataRequest all;
  for (const auto& topic : request.topics()) *all.add_topics() = topic;
  v1::DescribeTopicsResponse response;
  const auto metadata = GetMetadata(all);
  for (const auto& topic : metadata.topics()) {
    auto* out = response.add_topics();
    *out->mutable_metadata() = topic;
    if (!request.include_log()) continue;
    for (const auto& partition : topic.partitions()) {
      v1::PartitionLog* log = out->add_logs();
      log->set_partition(partition.partition());
      if (partition.leader_id() != at.value()) {
        log->mutable_error()->set_code(v1::ERROR_CODE_NOT_LEADER);
      } else {
        log->set_log_end_offset(topics_[topic.name()]
                                    .partitions[partition.partition()]
                                    .end.value());
      }
    }
  }
  return response;
}

v1::CreateTopicsResponse FakeCluster::Create(
    const v1::CreateTopicsRequest& request) {
  v1::CreateTopicsResponse response;
  for (const auto& topic : request.topics()) {
    auto* result = response.add_results();
    result->set_name(topic.name());
    if (topics_.contains(topic.name())) {
      result->mutable_error()->set_code(v1::ERROR_CODE_TOPIC_ALREADY_EXISTS);
    } else {
      AddTopic(topic.name(), topic.partition_count());
    }
  }
  return response;
}

}  // namespace sluice
