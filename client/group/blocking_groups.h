// Groups for threads: the executor-bound parts behind calls that block.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/blocking_client.h"
#include "client/group/group_admin.h"
#include "client/group/group_consumer.h"

namespace sluice {

// Groups from outside. Thread-safe; never used or destroyed on the executor,
// nor destroyed while a call waits.
class BlockingGroups {
 public:
  // Both outlive this.
  BlockingGroups(BlockingClient* client, GroupConnector* connector);
  ~BlockingGroups();

  absl::StatusOr<v1::ListGroupsResponse> List(
      const v1::ListGroupsRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::DescribeGroupsResponse> Describe(
      const v1::DescribeGroupsRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::DeleteGroupsResponse> Delete(
      const v1::DeleteGroupsRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::FetchOffsetsResponse> FetchOffsets(
      const v1::FetchOffsetsRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::CommitOffsetsResponse> CommitOffsets(
      const v1::CommitOffsetsRequest& request, int64_t timeout_us);
  absl::StatusOr<v1::DeleteOffsetsResponse> DeleteOffsets(
      const v1::DeleteOffsetsRequest& request, int64_t timeout_us);

 private:
  BlockingClient* const client_;
  std::unique_ptr<GroupConnections> connections_;  // on the executor
  std::unique_ptr<GroupAdmin> admin_;              // on the executor
};

// What is called within Poll and Close, on the thread that called them; it may
// call the consumer, but for those two. Each may be null.
struct RebalanceListener {
  std::function<void(const membership::Partitions&)> on_assigned;
  // The last moment to commit what was read of them.
  std::function<void(const membership::Partitions&)> on_revoked;
  std::function<void(const membership::Partitions&)> on_lost;
};

// As GroupConsumer. Used by one thread at a time.
class BlockingGroupConsumer {
 public:
  // `client` and `connector` outlive this.
  BlockingGroupConsumer(BlockingClient* client, GroupConnector* connector,
                        const GroupConsumerOptions& options,
                        RebalanceListener listener = {});
  // Without Close the group waits for a session.
  ~BlockingGroupConsumer();

  absl::Status Subscribe(const std::set<std::string>& topics);
  absl::Status SubscribePattern(const std::string& pattern);
  // Encoded: the caller decodes on its own thread (ForEachRecord). Empty when
  // nothing came in time.
  absl::StatusOr<std::vector<FetchedBatch>> PollBatches(int64_t timeout_us,
                                                        int64_t bytes_max);
  absl::StatusOr<std::vector<ConsumerRecord>> Poll(int64_t timeout_us);

  // Where the last Poll left off.
  absl::Status Commit();
  absl::Status CommitOffsets(const CommittedPositions& positions);
  // `done`, which may be null, runs on the executor and must not call this.
  void CommitAsync(GroupConsumer::Done done = nullptr);
  void CommitOffsetsAsync(const CommittedPositions& positions,
                          GroupConsumer::Done done = nullptr);
  absl::StatusOr<CommittedPositions> Committed(
      const std::vector<NamedPartition>& partitions);

  absl::Status Seek(const NamedPartition& tp, Offset offset);
  absl::Status Pause(const NamedPartition& tp);
  absl::Status Resume(const NamedPartition& tp);
  std::optional<Offset> Position(const NamedPartition& tp);
  std::vector<NamedPartition> Assignment();
  std::string MemberId();

  // Tells the listener that everything is revoked, commits with auto-commit,
  // and leaves the group.
  absl::Status Close();

 private:
  void Tell(const Rebalance& rebalance);

  BlockingClient* const client_;
  const RebalanceListener listener_;
  std::unique_ptr<GroupConsumer> consumer_;  // on the executor
};

}  // namespace sluice
