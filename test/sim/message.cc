#include "test/sim/message.h"

#include <algorithm>

#include "common/base/str_cat.h"
#include "sluice/internal/v1/controller.pb.h"
#include "sluice/internal/v1/replication.pb.h"
#include "sluice/v1/cluster.pb.h"
#include "sluice/v1/group.pb.h"
#include "sluice/v1/log.pb.h"
#include "sluice/v1/topic.pb.h"
#include "sluice/v1/transaction.pb.h"
#include "test/sim/wire.h"

namespace sluice::sim {
namespace {

constexpr std::string_view kNames[] = {
#define X(name) #name,
    SLUICE_MESSAGE_KINDS(X)
#undef X
};

constexpr size_t kTextBytesMax = 400;

template <class T>
std::string TextOf(std::string_view bytes) {
  return Wire<T>::Decode(bytes).ShortDebugString();
}

std::string RaftText(std::string_view bytes) {
  return raft::Describe(Wire<raft::Message>::Decode(bytes));
}

std::string BodyOf(MessageKind kind, std::string_view bytes) {
  if (kind <= MessageKind::kBootstrapAck) return RaftText(bytes);
  switch (kind) {
#define INTERNAL(name)                                            \
  case MessageKind::k##name:                                      \
    return TextOf<internal::v1::name##Request>(bytes);            \
  case MessageKind::k##name##Reply:                               \
    return TextOf<internal::v1::name##Response>(bytes);
#define PUBLIC(name, prefix)                                      \
  case MessageKind::k##prefix##name:                              \
    return TextOf<v1::name##Request>(bytes);                      \
  case MessageKind::k##prefix##name##Reply:                       \
    return TextOf<v1::name##Response>(bytes);
    INTERNAL(Hello)
    INTERNAL(RegisterBroker)
    INTERNAL(ReportReplicas)
    INTERNAL(AlterPartitions)
    INTERNAL(AllocateProducerIds)
    INTERNAL(EnsureInternalTopic)
    INTERNAL(Liveness)
    PUBLIC(CreateTopics, Forward)
    PUBLIC(CreatePartitions, Forward)
    PUBLIC(DeleteTopics, Forward)
    PUBLIC(AlterConfigs, Forward)
    PUBLIC(ElectLeaders, Forward)
    PUBLIC(DescribeQuorum, Forward)
    PUBLIC(Produce, )
    PUBLIC(ProduceStream, )
    PUBLIC(Subscribe, )
    PUBLIC(WatchMetadata, )
    PUBLIC(Consume, )
    PUBLIC(OffsetForLeaderEpoch, )
    PUBLIC(Fetch, )
    PUBLIC(ListOffsets, )
    PUBLIC(DeleteRecords, )
    PUBLIC(DescribeCluster, )
    PUBLIC(GetMetadata, )
    PUBLIC(DescribeQuorum, )
    PUBLIC(CreateTopics, )
    PUBLIC(CreatePartitions, )
    PUBLIC(DeleteTopics, )
    PUBLIC(ListTopics, )
    PUBLIC(DescribeTopics, )
    PUBLIC(DescribeConfigs, )
    PUBLIC(AlterConfigs, )
    PUBLIC(ElectLeaders, )
    PUBLIC(ResetReplica, )
    PUBLIC(InitProducerId, )
    PUBLIC(FindCoordinator, )
    PUBLIC(JoinGroup, )
    PUBLIC(SyncGroup, )
    PUBLIC(Heartbeat, )
    PUBLIC(LeaveGroup, )
    PUBLIC(CommitOffsets, )
    PUBLIC(FetchOffsets, )
    PUBLIC(DeleteOffsets, )
    PUBLIC(ListGroups, )
    PUBLIC(DescribeGroups, )
    PUBLIC(DeleteGroups, )
#undef INTERNAL
#undef PUBLIC
    case MessageKind::kFollowMetadata:
      return TextOf<internal::v1::FollowMetadataRequest>(bytes);
    case MessageKind::kMetadataRecords:
      return TextOf<internal::v1::FollowMetadataResponse>(bytes);
    case MessageKind::kFollowerFrame:
      return TextOf<internal::v1::FollowerFrame>(bytes);
    case MessageKind::kLeaderFrame:
      return TextOf<internal::v1::LeaderFrame>(bytes);
    default:
      return "";
  }
}

}  // namespace

std::string_view NameOf(MessageKind kind) {
  return kNames[static_cast<size_t>(kind)];
}

std::string_view NameOf(Fate fate) {
  switch (fate) {
    case Fate::kSent: return "sent";
    case Fate::kDelivered: return "delivered";
    case Fate::kDuplicated: return "delivered again";
    case Fate::kLost: return "lost";
    case Fate::kHeld: return "held";
  }
  return "";
}

std::string Describe(const Message& message) {
  std::string body = message.status.ok()
                         ? BodyOf(message.kind, message.bytes)
                         : std::string(message.status.ToString());
  if (body.size() > kTextBytesMax) {
    body.resize(kTextBytesMax);
    body += "...";
  }
  return StrCat("#", message.sequence, " ", NameOf(message.kind), " ",
                message.from, "->", message.to, " ", body);
}

}  // namespace sluice::sim
