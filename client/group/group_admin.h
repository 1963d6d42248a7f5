// Groups and their offsets from outside, through any broker that answers.
#pragma once

#include "client/client_types.h"
#include "client/group/group_connections.h"
#include "client/metadata_cache.h"

// Those that are one question to one broker: they differ in their types alone.
#define SLUICE_GROUP_ADMIN_CALLS(X) \
  X(DescribeGroups)                 \
  X(DeleteGroups)                   \
  X(FetchOffsets)                   \
  X(CommitOffsets)                  \
  X(DeleteOffsets)

namespace sluice {

// Lives on the client's executor. Each call tries the known brokers in turn
// until one answers or `timeout_us` passed; an answer in which a coordinator
// was not there for one of its items is asked for again meanwhile, and given as
// it is at the end. All of it may be done twice without harm: deleting again
// answers GROUP_ID_NOT_FOUND.
class GroupAdmin {
 public:
  struct Deps {
    ClientDeps client;
    ClientOptions options;
    MetadataCache* metadata = nullptr;
    GroupConnections* connections = nullptr;
  };
  explicit GroupAdmin(Deps deps) : deps_(std::move(deps)) {}

  // All pages, at most kGroupsMax groups.
  void ListGroups(v1::ListGroupsRequest request, int64_t timeout_us,
                  PeerReply<v1::ListGroupsResponse> reply);
#define SLUICE_GROUP_ADMIN_CALL(Name)                          \
  void Name(v1::Name##Request request, int64_t timeout_us, \
            PeerReply<v1::Name##Response> reply);
  SLUICE_GROUP_ADMIN_CALLS(SLUICE_GROUP_ADMIN_CALL)
#undef SLUICE_GROUP_ADMIN_CALL

  static constexpr int kGroupsMax = 1'000'000;

 private:
  const Deps deps_;
};

}  // namespace sluice
