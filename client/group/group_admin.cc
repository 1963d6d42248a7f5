#include "client/group/group_admin.h"

#include <utility>

#include "client/any_broker_call.h"
#include "client/group/group_errors.h"

namespace sluice {
namespace {

// The first of them that is about a coordinator, if any.
template <class Items>
absl::Status MissingCoordinator(const Items& items) {
  for (const auto& item : items) {
    const absl::Status status = StatusOf(item.error());
    if (IsOfCoordinator(CodeOf(status))) return status;
  }
  return absl::OkStatus();
}

absl::Status Judge(const v1::ListGroupsResponse& answer) {
  for (const v1::Error& error : answer.errors()) {
    const absl::Status status = StatusOf(error);
    if (IsRetriableStatus(status)) return status;
  }
  return absl::OkStatus();
}
absl::Status Judge(const v1::DescribeGroupsResponse& answer) {
  return MissingCoordinator(answer.groups());
}
absl::Status Judge(const v1::DeleteGroupsResponse& answer) {
  return MissingCoordinator(answer.results());
}
absl::Status Judge(const v1::FetchOffsetsResponse& answer) {
  const absl::Status missing = MissingCoordinator(answer.groups());
  if (!missing.ok()) return missing;
  for (const v1::GroupOffsets& group : answer.groups()) {
    const absl::Status one = MissingCoordinator(group.offsets());
    if (!one.ok()) return one;
  }
  return absl::OkStatus();
}
absl::Status Judge(const v1::CommitOffsetsResponse& answer) {
  return MissingCoordinator(answer.results());
}
absl::Status Judge(const v1::DeleteOffsetsResponse& answer) {
  const absl::Status status = StatusOf(answer.error());
  if (IsOfCoordinator(CodeOf(status))) return status;
  return MissingCoordinator(answer.results());
}

template <class Request, class Response>
void Call(const GroupAdmin::Deps& deps,
          void (GroupPeer::*method)(const Request&, int64_t,
                                    PeerReply<Response>),
          Request request, int64_t timeout_us, PeerReply<Response> reply) {
  std::make_shared<AnyBrokerCall<Response>>(
      deps.client, deps.options, deps.metadata, timeout_us,
      [connections = deps.connections, method, request = std::move(request)](
          const api::Endpoint& endpoint, int64_t left_us,
          PeerReply<Response> answer) {
        ((*connections->At(endpoint)).*method)(request, left_us,
                                               std::move(answer));
      },
      std::move(reply), [](const Response& answer) { return Judge(answer); })
      ->Try();
}

// Pages until there is no next token.
class GroupPages : public std::enable_shared_from_this<GroupPages> {
 public:
  GroupPages(GroupAdmin::Deps deps, v1::ListGroupsRequest request,
             int64_t timeout_us, PeerReply<v1::ListGroupsResponse> reply)
      : deps_(std::move(deps)),
        request_(std::move(request)),
        timeout_us_(timeout_us),
        reply_(std::move(reply)) {}

  void Next() {
    Call<v1::ListGroupsRequest, v1::ListGroupsResponse>(
        deps_, &GroupPeer::ListGroups, request_, timeout_us_,
        [self = shared_from_this()](
            absl::StatusOr<v1::ListGroupsResponse> page) {
          self->OnPage(std::move(page));
        });
  }

 private:
  void OnPage(absl::StatusOr<v1::ListGroupsResponse> page) {
    if (!page.ok()) return reply_(page.status());
    const std::string token = page->next_page_token();
    page->clear_next_page_token();
    all_.MergeFrom(*page);
    if (token.empty() || token == request_.page_token() ||
        all_.groups_size() >= GroupAdmin::kGroupsMax) {
      return reply_(std::move(all_));
    }
    request_.set_page_token(token);
    Next();
  }

  const GroupAdmin::Deps deps_;
  v1::ListGroupsRequest request_;
  const int64_t timeout_us_;
  PeerReply<v1::ListGroupsResponse> reply_;
  v1::ListGroupsResponse all_;
};

}  // namespace

void GroupAdmin::ListGroups(v1::ListGroupsRequest request, int64_t timeout_us,
                            PeerReply<v1::ListGroupsResponse> reply) {
  std::make_shared<GroupPages>(deps_, std::move(request), timeout_us,
                               std::move(reply))
      ->Next();
}

#define SLUICE_GROUP_ADMIN_CALL(Name)                                       \
  void GroupAdmin::Name(v1::Name##Request request, int64_t timeout_us,      \
                        PeerReply<v1::Name##Response> reply) {              \
    Call(deps_, &GroupPeer::Name, std::move(request), timeout_us,           \
         std::move(reply));                                                 \
  }
SLUICE_GROUP_ADMIN_CALLS(SLUICE_GROUP_ADMIN_CALL)
#undef SLUICE_GROUP_ADMIN_CALL

}  // namespace sluice
