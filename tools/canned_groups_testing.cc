#include "tools/canned_groups_testing.h"

#include <utility>

#include "tools/canned_answers_testing.h"

namespace sluice::cli {
namespace {

class CannedGroupPeer final : public GroupPeer {
 public:
  CannedGroupPeer(CannedGroups* canned, std::shared_ptr<GroupPeer> real,
                  Executor* executor)
      : canned_(canned), answers_(std::move(real), executor) {}

  const api::Endpoint& endpoint() const override {
    return answers_.real().endpoint();
  }

  // What members ask.
#define SLUICE_AS_FAKED(Name)                                           \
  void Name(const v1::Name##Request& request, int64_t timeout_us,       \
            PeerReply<v1::Name##Response> reply) override {             \
    answers_.real().Name(request, timeout_us, std::move(reply));        \
  }
  SLUICE_AS_FAKED(FindCoordinator)
  SLUICE_AS_FAKED(JoinGroup)
  SLUICE_AS_FAKED(SyncGroup)
  SLUICE_AS_FAKED(Heartbeat)
  SLUICE_AS_FAKED(LeaveGroup)
  SLUICE_AS_FAKED(FetchOffsets)
#undef SLUICE_AS_FAKED

  void CommitOffsets(const v1::CommitOffsetsRequest& request, int64_t t,
                     PeerReply<v1::CommitOffsetsResponse> reply) override {
    canned_->last_commit = request;
    ++canned_->commits;
    answers_.AnswerOr(canned_->committed, &GroupPeer::CommitOffsets, request, t,
                      std::move(reply));
  }
  void DeleteOffsets(const v1::DeleteOffsetsRequest& request, int64_t,
                     PeerReply<v1::DeleteOffsetsResponse> reply) override {
    canned_->last_delete_offsets = request;
    ++canned_->deletes;
    answers_.Answer(canned_->offsets_deleted, std::move(reply));
  }
  void ListGroups(const v1::ListGroupsRequest& request, int64_t,
                  PeerReply<v1::ListGroupsResponse> reply) override {
    canned_->last_list = request;
    answers_.Answer(canned_->list, std::move(reply));
  }
  void DescribeGroups(const v1::DescribeGroupsRequest& request, int64_t,
                      PeerReply<v1::DescribeGroupsResponse> reply) override {
    canned_->last_describe = request;
    if (canned_->described_first.empty()) {
      return answers_.Answer(canned_->described, std::move(reply));
    }
    answers_.Answer(canned_->described_first.front(), std::move(reply));
    canned_->described_first.pop_front();
  }
  void DeleteGroups(const v1::DeleteGroupsRequest& request, int64_t,
                    PeerReply<v1::DeleteGroupsResponse> reply) override {
    canned_->last_delete = request;
    ++canned_->deletes;
    answers_.Answer(canned_->deleted, std::move(reply));
  }

 private:
  CannedGroups* const canned_;
  const CannedAnswers<GroupPeer> answers_;
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
