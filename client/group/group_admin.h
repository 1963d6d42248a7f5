// Groups and their offsets from outside, through any broker that answers.
#pragma once

#include "client/client_types.h"
#include "client/group/group_connections.h"
#include "client/metadata_cache.h"

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
  void DescribeGroups(v1::DescribeGroupsRequest request, int64_t timeout_us,
                      PeerReply<v1::DescribeGroupsResponse> reply);
  void DeleteGroups(v1::DeleteGroupsRequest request, int64_t timeout_us,
                    PeerReply<v1::DeleteGroupsResponse> reply);
  void FetchOffsets(v1::FetchOffsetsRequest request, int64_t timeout_us,
                    PeerReply<v1::FetchOffsetsResponse> reply);
  void CommitOffsets(v1::CommitOffsetsRequest request, int64_t timeout_us,
                     PeerReply<v1::CommitOffsetsResponse> reply);
  void DeleteOffsets(v1::DeleteOffsetsRequest request, int64_t timeout_us,
                     PeerReply<v1::DeleteOffsetsResponse> reply);

  static constexpr int kGroupsMax = 1'000'000;

 private:
  const Deps deps_;
};

}  // namespace sluice
