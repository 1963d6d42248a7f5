#include "tools/canned_broker_testing.h"

namespace sluice::cli {
namespace {

class CannedPeer final : public BrokerPeer {
 public:
  CannedPeer(CannedBroker* canned, std::shared_ptr<BrokerPeer> real,
             Executor* executor)
      : canned_(canned), real_(std::move(real)), executor_(executor) {}

  const api::Endpoint& endpoint() const override { return real_->endpoint(); }
  void Produce(api::ProduceRequest request, int64_t timeout_us,
               PeerReply<api::ProduceResponse> reply) override {
    real_->Produce(std::move(request), timeout_us, std::move(reply));
  }
  std::shared_ptr<ProduceSender> OpenProduceStream(
      ProduceStreamEvents events) override {
    return real_->OpenProduceStream(std::move(events));
  }
  void Fetch(const api::FetchRequest& request, int64_t timeout_us,
             PeerReply<api::FetchResponse> reply) override {
    real_->Fetch(request, timeout_us, std::move(reply));
  }
  void ListOffsets(const api::ListOffsetsRequest& request, int64_t timeout_us,
                   PeerReply<api::ListOffsetsResponse> reply) override {
    real_->ListOffsets(request, timeout_us, std::move(reply));
  }
  void DeleteRecords(const api::DeleteRecordsRequest& request,
                     int64_t timeout_us,
                     PeerReply<api::DeleteRecordsResponse> reply) override {
    real_->DeleteRecords(request, timeout_us, std::move(reply));
  }
  void DescribeCluster(const v1::DescribeClusterRequest& request,
                       int64_t timeout_us,
                       PeerReply<v1::DescribeClusterResponse> reply) override {
    if (!canned_->cluster.has_value()) {
      real_->DescribeCluster(request, timeout_us, std::move(reply));
      return;
    }
    Answer(*canned_->cluster, std::move(reply));
  }
  void GetMetadata(const v1::GetMetadataRequest& request, int64_t timeout_us,
                   PeerReply<v1::GetMetadataResponse> reply) override {
    real_->GetMetadata(request, timeout_us, std::move(reply));
  }
  void DescribeQuorum(const v1::DescribeQuorumRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeQuorumResponse> reply) override {
    real_->DescribeQuorum(request, timeout_us, std::move(reply));
  }
  void CreateTopics(const v1::CreateTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::CreateTopicsResponse> reply) override {
    canned_->last_create = request;
    real_->CreateTopics(request, timeout_us, std::move(reply));
  }
  void CreatePartitions(
      const v1::CreatePartitionsRequest& request, int64_t timeout_us,
      PeerReply<v1::CreatePartitionsResponse> reply) override {
    canned_->last_create_partitions = request;
    real_->CreatePartitions(request, timeout_us, std::move(reply));
  }
  void DeleteTopics(const v1::DeleteTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::DeleteTopicsResponse> reply) override {
    canned_->last_delete = request;
    real_->DeleteTopics(request, timeout_us, std::move(reply));
  }
  void DescribeConfigs(const v1::DescribeConfigsRequest& request,
                       int64_t timeout_us,
                       PeerReply<v1::DescribeConfigsResponse> reply) override {
    canned_->last_describe_configs = request;
    if (!canned_->configs.has_value()) {
      real_->DescribeConfigs(request, timeout_us, std::move(reply));
      return;
    }
    Answer(*canned_->configs, std::move(reply));
  }
  void AlterConfigs(const v1::AlterConfigsRequest& request, int64_t timeout_us,
                    PeerReply<v1::AlterConfigsResponse> reply) override {
    canned_->last_alter = request;
    if (!canned_->altered.has_value()) {
      real_->AlterConfigs(request, timeout_us, std::move(reply));
      return;
    }
    Answer(*canned_->altered, std::move(reply));
  }
  void ElectLeaders(const v1::ElectLeadersRequest& request, int64_t timeout_us,
                    PeerReply<v1::ElectLeadersResponse> reply) override {
    canned_->last_elect = request;
    if (++canned_->elections_asked > 1 && !canned_->elected_again.ok()) {
      executor_->Post([why = canned_->elected_again,
                       reply = std::move(reply)]() mutable { reply(why); });
      return;
    }
    if (!canned_->elected.has_value()) {
      real_->ElectLeaders(request, timeout_us, std::move(reply));
      return;
    }
    Answer(*canned_->elected, std::move(reply));
  }
  void ResetReplica(const v1::ResetReplicaRequest& request, int64_t timeout_us,
                    PeerReply<v1::ResetReplicaResponse> reply) override {
    canned_->last_reset = request;
    if (!canned_->reset.has_value()) {
      real_->ResetReplica(request, timeout_us, std::move(reply));
      return;
    }
    Answer(*canned_->reset, std::move(reply));
  }
  void InitProducerId(const v1::InitProducerIdRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::InitProducerIdResponse> reply) override {
    real_->InitProducerId(request, timeout_us, std::move(reply));
  }
  void ListTopics(const v1::ListTopicsRequest& request, int64_t timeout_us,
                  PeerReply<v1::ListTopicsResponse> reply) override {
    real_->ListTopics(request, timeout_us, std::move(reply));
  }
  void DescribeTopics(const v1::DescribeTopicsRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeTopicsResponse> reply) override {
    if (!canned_->topics.has_value()) {
      real_->DescribeTopics(request, timeout_us, std::move(reply));
      return;
    }
    Answer(*canned_->topics, std::move(reply));
  }

 private:
  template <class Response>
  void Answer(Response response, PeerReply<Response> reply) {
    executor_->Post([response = std::move(response),
                     reply = std::move(reply)]() mutable {
      reply(std::move(response));
    });
  }

  CannedBroker* const canned_;
  const std::shared_ptr<BrokerPeer> real_;
  Executor* const executor_;
};

class CannedConnector final : public BrokerConnector {
 public:
  CannedConnector(CannedBroker* canned, FakeCluster* brokers)
      : canned_(canned), brokers_(brokers) {}

  std::shared_ptr<BrokerPeer> Connect(const api::Endpoint& endpoint,
                                      Executor* executor) override {
    return std::make_shared<CannedPeer>(
        canned_, brokers_->Connect(endpoint, executor), executor);
  }

 private:
  CannedBroker* const canned_;
  FakeCluster* const brokers_;
};

}  // namespace

std::unique_ptr<BrokerConnector> CannedBroker::Connector() {
  return std::make_unique<CannedConnector>(this, brokers_);
}

}  // namespace sluice::cli
