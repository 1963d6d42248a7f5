// What is not as it should be, asked of every broker: of some of it the broker
// that has it is the only one to know.
#pragma once

#include <cstdint>
#include <memory>

#include "client/admin.h"
#include "client/client_types.h"
#include "client/metadata_cache.h"
#include "sluice/v1/cluster.pb.h"

namespace sluice {

// One question to any broker, then one to each of the others that it says are
// alive, all at once. What comes back is the first answer, with what the others
// alone know put before it: data directories that are full, views of committed
// offsets that cannot be opened.
//
// Lives on the client's executor and keeps itself alive until it has answered,
// after `timeout_us` at the latest. A broker that gives no answer by then has
// told nothing of itself: one that is dead is an issue of the first answer.
class ClusterHealth : public std::enable_shared_from_this<ClusterHealth> {
 public:
  static constexpr int kBrokersMax = 1000;  // that are asked
  static constexpr int64_t kBrokerTimeoutUs = 2'000'000;

  static void Start(const ClientDeps& deps, Admin* admin,
                    MetadataCache* metadata, int64_t timeout_us,
                    PeerReply<v1::DescribeClusterResponse> reply);

  ClusterHealth(const ClientDeps& deps, MetadataCache* metadata,
                int64_t timeout_us,
                PeerReply<v1::DescribeClusterResponse> reply);

 private:
  void OnFirst(absl::StatusOr<v1::DescribeClusterResponse> answer);
  void OnOther(int32_t broker_id,
               const absl::StatusOr<v1::DescribeClusterResponse>& answer);
  void Finish();

  const ClientDeps deps_;
  MetadataCache* const metadata_;
  const std::weak_ptr<const void> metadata_lives_;
  const int64_t deadline_us_;
  PeerReply<v1::DescribeClusterResponse> reply_;
  v1::DescribeClusterResponse first_;
  google::protobuf::RepeatedPtrField<v1::HealthIssue> own_;
  int asked_ = 0;  // and not answered
};

}  // namespace sluice
