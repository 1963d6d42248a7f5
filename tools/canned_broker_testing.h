// Brokers in memory whose answers about the cluster and its topics a test can
// write by hand.
#pragma once

#include <memory>
#include <optional>

#include "client/fake_cluster_testing.h"

namespace sluice::cli {

// The rest, records above all, is the fake cluster's.
class CannedBroker {
 public:
  explicit CannedBroker(FakeCluster* brokers) : brokers_(brokers) {}

  std::unique_ptr<BrokerConnector> Connector();

  // Unset: as the fake cluster answers.
  std::optional<v1::DescribeClusterResponse> cluster;
  std::optional<v1::DescribeTopicsResponse> topics;
  std::optional<v1::DescribeConfigsResponse> configs;
  std::optional<v1::AlterConfigsResponse> altered;
  std::optional<v1::ElectLeadersResponse> elected;
  std::optional<v1::ResetReplicaResponse> reset;
  // When set: how every ElectLeaders but the first fails.
  absl::Status elected_again;
  // What was asked last.
  v1::CreateTopicsRequest last_create;
  v1::CreatePartitionsRequest last_create_partitions;
  v1::DeleteTopicsRequest last_delete;
  v1::DescribeConfigsRequest last_describe_configs;
  v1::AlterConfigsRequest last_alter;
  v1::ElectLeadersRequest last_elect;
  v1::ResetReplicaRequest last_reset;
  int elections_asked = 0;

 private:
  FakeCluster* const brokers_;
};

}  // namespace sluice::cli
