#include "test/scenario/group_calls_testing.h"

namespace sluice::scenario {

void EveryGroupCall::Make() {
  Find();
  Join();
  Commit();
  Look();
  Leave();
}

// The topic of their offsets is made for the first who asks.
void EveryGroupCall::Find() {
  v1::FindCoordinatorRequest request;
  request.add_keys(kGroup);
  constexpr int kTries = 50;
  for (int i = 0; i < kTries; ++i) {
    const auto found = Ask(&GroupPeer::FindCoordinator, request);
    if (found.results_size() == 1 && found.results(0).node_id() > 0) return;
    s_.RunFor(100);
  }
}

void EveryGroupCall::Join() {
  v1::JoinGroupRequest request;
  request.set_group_id(kGroup);
  request.set_session_timeout_ms(30'000);
  request.set_protocol_type("consumer");
  auto* protocol = request.add_protocols();
  protocol->set_name("range");
  protocol->set_metadata("any");
  constexpr int kTries = 50;
  for (int i = 0; i < kTries && generation_ < 0; ++i) {
    const auto joined = Ask(&GroupPeer::JoinGroup, request);
    member_id_ = joined.member_id();
    request.set_member_id(member_id_);
    if (joined.has_error()) {
      s_.RunFor(100);
    } else if (!member_id_.empty()) {
      generation_ = joined.generation_id();
    }
  }
  auto sync = Of<v1::SyncGroupRequest>();
  auto* assigned = sync.add_assignments();
  assigned->set_member_id(member_id_);
  assigned->set_assignment("all");
  Ask(&GroupPeer::SyncGroup, sync);
  Ask(&GroupPeer::Heartbeat, Of<v1::HeartbeatRequest>());
}

void EveryGroupCall::Commit() {
  auto request = Of<v1::CommitOffsetsRequest>();
  auto* offset = request.add_offsets();
  offset->mutable_topic()->set_name(t_.topic);
  offset->set_partition(t_.partition);
  offset->set_offset(1);
  Ask(&GroupPeer::CommitOffsets, request);
}

void EveryGroupCall::Look() {
  v1::FetchOffsetsRequest fetch;
  fetch.add_groups()->set_group_id(kGroup);
  Ask(&GroupPeer::FetchOffsets, fetch);
  Ask(&GroupPeer::ListGroups, v1::ListGroupsRequest());
  v1::DescribeGroupsRequest describe;
  describe.add_group_ids(kGroup);
  Ask(&GroupPeer::DescribeGroups, describe);
}

void EveryGroupCall::Leave() {
  v1::LeaveGroupRequest leave;
  leave.set_group_id(kGroup);
  leave.add_members()->set_member_id(member_id_);
  Ask(&GroupPeer::LeaveGroup, leave);
  v1::DeleteOffsetsRequest offsets;
  offsets.set_group_id(kGroup);
  offsets.add_topics()->mutable_topic()->set_name(t_.topic);
  Ask(&GroupPeer::DeleteOffsets, offsets);
  v1::DeleteGroupsRequest remove;
  remove.add_group_ids(kGroup);
  Ask(&GroupPeer::DeleteGroups, remove);
}

}  // namespace sluice::scenario
