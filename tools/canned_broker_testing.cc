#include "tools/canned_broker_testing.h"

#include "tools/canned_answers_testing.h"

namespace sluice::cli {
namespace {

class CannedPeer final : public BrokerPeer {
 public:
  CannedPeer(CannedBroker* canned, std::shared_ptr<BrokerPeer> real,
             Executor* executor)
      : canned_(canned), answers_(std::move(real), executor) {}

  const api::Endpoint& endpoint() const override { return answers_.real().endpoint(); }
  void Produce(api::ProduceRequest request, int64_t timeout_us,
               PeerReply<api::ProduceResponse> reply) override {
    answers_.real().Produce(std::move(request), timeout_us, std::move(reply));
  }
  std::shared_ptr<ProduceSender> OpenProduceStream(
      ProduceStreamEvents events) override {
    return answers_.real().OpenProduceStream(std::move(events));
  }
  void Fetch(const api::FetchRequest& request, int64_t timeout_us,
             PeerReply<api::FetchResponse> reply) override {
    answers_.real().Fetch(request, timeout_us, std::move(reply));
  }
  void ListOffsets(const api::ListOffsetsRequest& request, int64_t timeout_us,
                   PeerReply<api::ListOffsetsResponse> reply) override {
    answers_.real().ListOffsets(request, timeout_us, std::move(reply));
  }
  void DeleteRecords(const api::DeleteRecordsRequest& request,
                     int64_t timeout_us,
                     PeerReply<api::DeleteRecordsResponse> reply) override {
    answers_.real().DeleteRecords(request, timeout_us, std::move(reply));
  }
  void DescribeCluster(const v1::DescribeClusterRequest& request,
                       int64_t timeout_us,
                       PeerReply<v1::DescribeClusterResponse> reply) override {
    answers_.AnswerOr(canned_->cluster, &BrokerPeer::DescribeCluster, request,
                      timeout_us, std::move(reply));
  }
  void GetMetadata(const v1::GetMetadataRequest& request, int64_t timeout_us,
                   PeerReply<v1::GetMetadataResponse> reply) override {
    answers_.real().GetMetadata(request, timeout_us, std::move(reply));
  }
  void DescribeQuorum(const v1::DescribeQuorumRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeQuorumResponse> reply) override {
    answers_.real().DescribeQuorum(request, timeout_us, std::move(reply));
  }
  void CreateTopics(const v1::CreateTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::CreateTopicsResponse> reply) override {
    canned_->last_create = request;
    answers_.real().CreateTopics(request, timeout_us, std::move(reply));
  }
  void CreatePartitions(
      const v1::CreatePartitionsRequest& request, int64_t timeout_us,
      PeerReply<v1::CreatePartitionsResponse> reply) override {
    canned_->last_create_partitions = request;
    answers_.real().CreatePartitions(request, timeout_us, std::move(reply));
  }
  void DeleteTopics(const v1::DeleteTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::DeleteTopicsResponse> reply) override {
    canned_->last_delete = request;
    answers_.real().DeleteTopics(request, timeout_us, std::move(reply));
  }
  void DescribeConfigs(const v1::DescribeConfigsRequest& request,
                       int64_t timeout_us,
                       PeerReply<v1::DescribeConfigsResponse> reply) override {
    canned_->last_describe_configs = request;
    answers_.AnswerOr(canned_->configs, &BrokerPeer::DescribeConfigs, request,
                      timeout_us, std::move(reply));
  }
  void AlterConfigs(const v1::AlterConfigsRequest& request, int64_t timeout_us,
                    PeerReply<v1::AlterConfigsResponse> reply) override {
    canned_->last_alter = request;
    answers_.AnswerOr(canned_->altered, &BrokerPeer::AlterConfigs, request,
                      timeout_us, std::move(reply));
  }
  void ElectLeaders(const v1::ElectLeadersRequest& request, int64_t timeout_us,
                    PeerReply<v1::ElectLeadersResponse> reply) override {
    canned_->last_elect = request;
    if (++canned_->elections_asked > 1 && !canned_->elected_again.ok()) {
      answers_.executor()->Post([why = canned_->elected_again,
                       reply = std::move(reply)]() mutable { reply(why); });
      return;
    }
    answers_.AnswerOr(canned_->elected, &BrokerPeer::ElectLeaders, request,
                      timeout_us, std::move(reply));
  }
  void ResetReplica(const v1::ResetReplicaRequest& request, int64_t timeout_us,
                    PeerReply<v1::ResetReplicaResponse> reply) override {
    canned_->last_reset = request;
    answers_.AnswerOr(canned_->reset, &BrokerPeer::ResetReplica, request,
                      timeout_us, std::move(reply));
  }
  void InitProducerId(const v1::InitProducerIdRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::InitProducerIdResponse> reply) override {
    answers_.real().InitProducerId(request, timeout_us, std::move(reply));
  }
  void ListTopics(const v1::ListTopicsRequest& request, int64_t timeout_us,
                  PeerReply<v1::ListTopicsResponse> reply) override {
    answers_.real().ListTopics(request, timeout_us, std::move(reply));
  }
  void DescribeTopics(const v1::DescribeTopicsRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeTopicsResponse> reply) override {
    answers_.AnswerOr(canned_->topics, &BrokerPeer::DescribeTopics, request,
                      timeout_us, std::move(reply));
  }

 private:
  CannedBroker* const canned_;
  const CannedAnswers<BrokerPeer> answers_;
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
