// Every public RPC is one row of this table and passes the gate before its
// handler: limits and counters today, authorization, quotas and audit later.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace sluice::rpc {

// What a call does, and to what: an access rule will name both.
enum class Operation { kRead, kWrite, kDescribe, kCreate, kDelete, kAlter };
enum class Resource { kTopic, kCluster, kProducer, kGroup };
// kLongPoll: a unary call that waits for others; ended first when the node
// stops.
enum class CallKind { kUnary, kLongPoll, kStream };

// method, its path, kind, operation, resource
#define SLUICE_PUBLIC_METHODS(X)                                              \
  X(kProduce, "/sluice.v1.LogService/Produce", kUnary, kWrite, kTopic)        \
  X(kProduceStream, "/sluice.v1.LogService/ProduceStream", kStream, kWrite,   \
    kTopic)                                                                   \
  X(kFetch, "/sluice.v1.LogService/Fetch", kLongPoll, kRead, kTopic)          \
  X(kSubscribe, "/sluice.v1.LogService/Subscribe", kStream, kRead, kTopic)    \
  X(kListOffsets, "/sluice.v1.LogService/ListOffsets", kUnary, kDescribe,     \
    kTopic)                                                                   \
  X(kOffsetForLeaderEpoch, "/sluice.v1.LogService/OffsetForLeaderEpoch",      \
    kUnary, kDescribe, kTopic)                                                \
  X(kDeleteRecords, "/sluice.v1.LogService/DeleteRecords", kUnary, kDelete,   \
    kTopic)                                                                   \
  X(kDescribeCluster, "/sluice.v1.ClusterService/DescribeCluster", kUnary,    \
    kDescribe, kCluster)                                                      \
  X(kGetMetadata, "/sluice.v1.ClusterService/GetMetadata", kUnary, kDescribe, \
    kTopic)                                                                   \
  X(kWatchMetadata, "/sluice.v1.ClusterService/WatchMetadata", kStream,       \
    kDescribe, kTopic)                                                        \
  X(kDescribeQuorum, "/sluice.v1.ClusterService/DescribeQuorum", kUnary,      \
    kDescribe, kCluster)                                                      \
  X(kCreateTopics, "/sluice.v1.TopicService/CreateTopics", kUnary, kCreate,   \
    kTopic)                                                                   \
  X(kCreatePartitions, "/sluice.v1.TopicService/CreatePartitions", kUnary,    \
    kAlter, kTopic)                                                           \
  X(kDeleteTopics, "/sluice.v1.TopicService/DeleteTopics", kUnary, kDelete,   \
    kTopic)                                                                   \
  X(kListTopics, "/sluice.v1.TopicService/ListTopics", kUnary, kDescribe,     \
    kTopic)                                                                   \
  X(kDescribeTopics, "/sluice.v1.TopicService/DescribeTopics", kUnary,        \
    kDescribe, kTopic)                                                        \
  X(kDescribeConfigs, "/sluice.v1.TopicService/DescribeConfigs", kUnary,      \
    kDescribe, kTopic)                                                        \
  X(kAlterConfigs, "/sluice.v1.TopicService/AlterConfigs", kUnary, kAlter,    \
    kTopic)                                                                   \
  X(kElectLeaders, "/sluice.v1.TopicService/ElectLeaders", kUnary, kAlter,    \
    kTopic)                                                                   \
  X(kResetReplica, "/sluice.v1.TopicService/ResetReplica", kUnary, kAlter,    \
    kTopic)                                                                   \
  X(kInitProducerId, "/sluice.v1.TransactionService/InitProducerId", kUnary,  \
    kCreate, kProducer)                                                       \
  X(kFindCoordinator, "/sluice.v1.GroupService/FindCoordinator", kUnary,      \
    kDescribe, kGroup)                                                        \
  X(kJoinGroup, "/sluice.v1.GroupService/JoinGroup", kLongPoll, kRead, kGroup)\
  X(kSyncGroup, "/sluice.v1.GroupService/SyncGroup", kLongPoll, kRead, kGroup)\
  X(kHeartbeat, "/sluice.v1.GroupService/Heartbeat", kUnary, kRead, kGroup)   \
  X(kLeaveGroup, "/sluice.v1.GroupService/LeaveGroup", kUnary, kRead, kGroup) \
  X(kCommitOffsets, "/sluice.v1.GroupService/CommitOffsets", kUnary,          \
    kRead, kGroup)                                                            \
  X(kFetchOffsets, "/sluice.v1.GroupService/FetchOffsets", kUnary,            \
    kDescribe, kGroup)                                                        \
  X(kDeleteOffsets, "/sluice.v1.GroupService/DeleteOffsets", kUnary,          \
    kDelete, kGroup)                                                          \
  X(kListGroups, "/sluice.v1.GroupService/ListGroups", kUnary,                \
    kDescribe, kGroup)                                                        \
  X(kDescribeGroups, "/sluice.v1.GroupService/DescribeGroups", kUnary,        \
    kDescribe, kGroup)                                                        \
  X(kDeleteGroups, "/sluice.v1.GroupService/DeleteGroups", kUnary,            \
    kDelete, kGroup)                                                          \
  X(kConsume, "/sluice.v1.GroupService/Consume", kStream, kRead, kGroup)

enum class Method : size_t {
#define X(method, path, kind, operation, resource) method,
  SLUICE_PUBLIC_METHODS(X)
#undef X
};

struct PublicMethod {
  std::string_view path;
  CallKind kind;
  Operation operation;
  Resource resource;
};

inline constexpr PublicMethod kPublicMethods[] = {
#define X(method, path, kind, operation, resource) \
  {path, CallKind::kind, Operation::operation, Resource::resource},
    SLUICE_PUBLIC_METHODS(X)
#undef X
};
inline constexpr size_t kPublicMethodCount = std::size(kPublicMethods);

constexpr const PublicMethod& RowOf(Method method) {
  return kPublicMethods[static_cast<size_t>(method)];
}

}  // namespace sluice::rpc
