// Topics and the cluster, through any broker that answers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/client_types.h"
#include "client/metadata_cache.h"

namespace sluice {

// Lives on the client's executor. Each call tries the known brokers in turn
// until one answers or `timeout_us` passed; an answer of NOT_CONTROLLER or
// another retriable whole-request error is retried after a pause. A mutation
// whose outcome is unknown is tried again too: creating then answers
// TOPIC_ALREADY_EXISTS, adding partitions INVALID_PARTITIONS, deleting
// UNKNOWN_TOPIC_OR_PARTITION, if the first try had succeeded; altering configs
// sets the same values again, electing answers ELECTION_NOT_NEEDED. Answers of
// items are the broker's own.
class Admin {
 public:
  Admin(const ClientDeps& deps, const ClientOptions& client,
        MetadataCache* metadata);

  void CreateTopics(v1::CreateTopicsRequest request, int64_t timeout_us,
                    PeerReply<v1::CreateTopicsResponse> reply);
  void CreatePartitions(v1::CreatePartitionsRequest request,
                        int64_t timeout_us,
                        PeerReply<v1::CreatePartitionsResponse> reply);
  void DeleteTopics(v1::DeleteTopicsRequest request, int64_t timeout_us,
                    PeerReply<v1::DeleteTopicsResponse> reply);
  // All pages, at most kTopicsMax topics.
  void ListTopics(v1::ListTopicsRequest request, int64_t timeout_us,
                  PeerReply<v1::ListTopicsResponse> reply);
  // All pages. With include_log every leader is asked and `logs` has each
  // partition once: its leader's answer, or the last error.
  void DescribeTopics(v1::DescribeTopicsRequest request, int64_t timeout_us,
                      PeerReply<v1::DescribeTopicsResponse> reply);
  void DescribeConfigs(v1::DescribeConfigsRequest request, int64_t timeout_us,
                       PeerReply<v1::DescribeConfigsResponse> reply);
  void AlterConfigs(v1::AlterConfigsRequest request, int64_t timeout_us,
                    PeerReply<v1::AlterConfigsResponse> reply);
  void ElectLeaders(v1::ElectLeadersRequest request, int64_t timeout_us,
                    PeerReply<v1::ElectLeadersResponse> reply);
  // Asks the broker that the request names. BROKER_NOT_AVAILABLE: it is not
  // alive.
  void ResetReplica(v1::ResetReplicaRequest request, int64_t timeout_us,
                    PeerReply<v1::ResetReplicaResponse> reply);
  void DescribeCluster(int64_t timeout_us,
                       PeerReply<v1::DescribeClusterResponse> reply);
  void GetMetadata(v1::GetMetadataRequest request, int64_t timeout_us,
                   PeerReply<v1::GetMetadataResponse> reply);
  void DescribeQuorum(int64_t timeout_us,
                      PeerReply<v1::DescribeQuorumResponse> reply);

  static constexpr int kTopicsMax = 1'000'000;

 private:
  const ClientDeps deps_;
  const ClientOptions client_;
  MetadataCache* const metadata_;
};

}  // namespace sluice
