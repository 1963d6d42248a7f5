#include "tools/canned_groups_testing.h"

#include <utility>

namespace sluice::cli {
namespace {

class CannedGroupPeer final : public GroupPeer {
 public:
  CannedGroupPeer(CannedGroups* canned, std::shared_ptr<GroupPeer> real,
                  Executor* executor)
      : canned_(canned), real_(std::move(real)), executor_(executor) {}

  const api::Endpoint& endpoint() const override { return real_->endpoint(); }

  void FindCoordinator(const v1::FindCoordinatorRequest& request, int64_t t,
                       PeerReply<v1::FindCoordinatorResponse> reply) override {
    real_->FindCoordinator(request, t, std::move(reply));
  }
  void JoinGroup(const v1::JoinGroupRequest& request, int64_t t,
                 PeerReply<v1::JoinGroupResponse> reply) override {
    real_->JoinGroup(request, t, std::move(reply));
  }
  void SyncGroup(const v1::SyncGroupRequest& request, int64_t t,
                 PeerReply<v1::SyncGroupResponse> reply) override {
    real_->SyncGroup(request, t, std::move(reply));
  }
  void Heartbeat(const v1::HeartbeatRequest& request, int64_t t,
                 PeerReply<v1::HeartbeatResponse> reply) override {
    real_->Heartbeat(request, t, std::move(reply));
  }
  void LeaveGroup(const v1::LeaveGroupRequest& request, int64_t t,
                  PeerReply<v1::LeaveGroupResponse> reply) override {
    real_->LeaveGroup(request, t, std::move(reply));
  }
  void CommitOffsets(const v1::CommitOffsetsRequest& request, int64_t t,
                     PeerReply<v1::CommitOffsetsResponse> reply) override {
    canned_->last_commit = request;
    ++canned_->commits;
    if (!canned_->committed.has_value()) {
      return real_->CommitOffsets(request, t, std::move(reply));
    }
    Answer(*canned_->committed, std::move(reply));
  }
  void FetchOffsets(const v1::FetchOffsetsRequest& request, int64_t t,
                    PeerReply<v1::FetchOffsetsResponse> reply) override {
    real_->FetchOffsets(request, t, std::move(reply));
  }
  void DeleteOffsets(const v1::DeleteOffsetsRequest& request, int64_t,
                     PeerReply<v1::DeleteOffsetsResponse> reply) override {
    canned_->last_delete_offsets = request;
    ++canned_->deletes;
    Answer(canned_->offsets_deleted, std::move(reply));
  }
  void ListGroups(const v1::ListGroupsRequest& request, int64_t,
                  PeerReply<v1::ListGroupsResponse> reply) override {
    canned_->last_list = request;
    Answer(canned_->list, std::move(reply));
  }
  void DescribeGroups(const v1::DescribeGroupsRequest& request, int64_t,
                      PeerReply<v1::DescribeGroupsResponse> reply) override {
    canned_->last_describe = request;
    Answer(canned_->described, std::move(reply));
  }
  void DeleteGroups(const v1::DeleteGroupsRequest& request, int64_t,
                    PeerReply<v1::DeleteGroupsResponse> reply) override {
    canned_->last_delete = request;
    ++canned_->deletes;
    Answer(canned_->deleted, std::move(reply));
  }

 private:
  template <class Response>
  void Answer(Response response, PeerReply<Response> reply) {
    executor_->Post([response = std::move(response),
                     reply = std::move(reply)]() mutable {
      reply(std::move(response));
    });
  }

  CannedGroups* const canned_;
  const std::shared_ptr<GroupPeer> real_;
  Executor* const executor_;
};

class CannedGroupConnector final : public GroupConnector {
 public:
  CannedGroupConnector(CannedGroups* canned, FakeGroups* groups)
      : canned_(canned), groups_(groups) {}

  std::shared_ptr<GroupPeer> ConnectGroups(const api::Endpoint& endpoint,
                                           Executor* executor) override {
    return std::make_shared<CannedGroupPeer>(
        canned_, groups_->ConnectGroups(endpoint, executor), executor);
  }

 private:
  CannedGroups* const canned_;
  FakeGroups* const groups_;
};

}  // namespace

std::unique_ptr<GroupConnector> CannedGroups::Connector() {
  return std::make_unique<CannedGroupConnector>(this, groups_);
}

}  // namespace sluice::cli
