#include "client/cluster_health.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/error.h"

namespace sluice {
namespace {

// Of so many a broker tells at most, of itself.
constexpr int kOwnIssuesMax = 16;

const v1::Endpoint* PublicEndpoint(const v1::Broker& broker) {
  for (const v1::Listener& listener : broker.listeners()) {
    if (listener.name() == "PUBLIC" && listener.endpoint().port() > 0) {
      return &listener.endpoint();
    }
  }
  return nullptr;
}

// What is in no metadata: a replica that failed is told with its topic.
bool IsOfItsDisks(const v1::HealthIssue& issue) {
  return issue.kind() == v1::HealthIssue::KIND_DISK_FULL ||
         (issue.kind() == v1::HealthIssue::KIND_REPLICA_FAILED &&
          issue.topic().empty());
}

}  // namespace

void ClusterHealth::Start(const ClientDeps& deps, Admin* admin,
                          MetadataCache* metadata, int64_t timeout_us,
                          PeerReply<v1::DescribeClusterResponse> reply) {
  auto self = std::make_shared<ClusterHealth>(deps, metadata, timeout_us,
                                              std::move(reply));
  admin->DescribeCluster(
      timeout_us, [self](absl::StatusOr<v1::DescribeClusterResponse> answer) {
        self->OnFirst(std::move(answer));
      });
}

ClusterHealth::ClusterHealth(const ClientDeps& deps, MetadataCache* metadata,
                             int64_t timeout_us,
                             PeerReply<v1::DescribeClusterResponse> reply)
    : deps_(deps),
      metadata_(metadata),
      metadata_lives_(metadata->lifetime()),
      deadline_us_(deps.clock->MonoMicros() + timeout_us),
      reply_(std::move(reply)) {}

void ClusterHealth::OnFirst(
    absl::StatusOr<v1::DescribeClusterResponse> answer) {
  const int64_t left_us = deadline_us_ - deps_.clock->MonoMicros();
  if (!answer.ok() || left_us <= 0 || metadata_lives_.expired()) {
    return reply_(std::move(answer));
  }
  first_ = *std::move(answer);
  std::vector<std::pair<int32_t, api::Endpoint>> others;
  for (const v1::Broker& broker : first_.brokers()) {
    const v1::Endpoint* endpoint = PublicEndpoint(broker);
    if (broker.fenced() || broker.id() == first_.answering_node_id() ||
        endpoint == nullptr ||
        static_cast<int>(others.size()) == kBrokersMax) {
      continue;
    }
    others.emplace_back(broker.id(),
                        api::Endpoint{endpoint->host(), endpoint->port()});
  }
  asked_ = static_cast<int>(others.size());
  if (asked_ == 0) return Finish();
  for (const auto& [id, endpoint] : others) {
    metadata_->connections().At(endpoint)->DescribeCluster(
        {}, std::min(left_us, kBrokerTimeoutUs),
        [self = shared_from_this(),
         id = id](const absl::StatusOr<v1::DescribeClusterResponse>& told) {
          self->OnOther(id, told);
        });
  }
}

void ClusterHealth::OnOther(
    int32_t broker_id,
    const absl::StatusOr<v1::DescribeClusterResponse>& answer) {
  int taken = 0;
  if (answer.ok() && answer->answering_node_id() == broker_id) {
    for (const v1::HealthIssue& issue : answer->issues()) {
      if (!IsOfItsDisks(issue) || issue.broker_id() != broker_id ||
          taken == kOwnIssuesMax) {
        continue;
      }
      ++taken;
      *own_.Add() = issue;
    }
  }
  if (--asked_ == 0) Finish();
}

void ClusterHealth::Finish() {
  // Brokers answer in any order; who watches this wants to see what moved.
  std::stable_sort(own_.begin(), own_.end(),
                   [](const v1::HealthIssue& a, const v1::HealthIssue& b) {
                     return a.broker_id() < b.broker_id();
                   });
  for (v1::HealthIssue& issue : *first_.mutable_issues()) {
    *own_.Add() = std::move(issue);
  }
  first_.mutable_issues()->Swap(&own_);
  reply_(std::move(first_));
}

}  // namespace sluice
