#include "tools/group_text.h"

#include "client/group/group_errors.h"
#include "common/base/error.h"

namespace sluice::cli {

std::string StateText(v1::GroupState state) {
  switch (state) {
    case v1::GROUP_STATE_EMPTY:
      return "Empty";
    case v1::GROUP_STATE_PREPARING_REBALANCE:
      return "PreparingRebalance";
    case v1::GROUP_STATE_COMPLETING_REBALANCE:
      return "CompletingRebalance";
    case v1::GROUP_STATE_STABLE:
      return "Stable";
    case v1::GROUP_STATE_DEAD:
      return "Dead";
    default:
      return "Unknown";
  }
}

v1::GroupState StateFromText(const std::string& name) {
  if (name == "empty") return v1::GROUP_STATE_EMPTY;
  if (name == "preparing") return v1::GROUP_STATE_PREPARING_REBALANCE;
  if (name == "completing") return v1::GROUP_STATE_COMPLETING_REBALANCE;
  if (name == "stable") return v1::GROUP_STATE_STABLE;
  return v1::GROUP_STATE_UNSPECIFIED;
}

std::string LagStateText(v1::LagState state) {
  switch (state) {
    case v1::LAG_STATE_OK:
      return "OK";
    case v1::LAG_STATE_WARN:
      return "WARN";
    case v1::LAG_STATE_STALL:
      return "STALL";
    case v1::LAG_STATE_STOP:
      return "STOP";
    case v1::LAG_STATE_REWIND:
      return "REWIND";
    default:
      return "-";
  }
}

absl::StatusOr<v1::GroupDescription> DescribeGroup(const Context& context,
                                                   BlockingGroups* groups,
                                                   const std::string& group,
                                                   bool include_lag) {
  v1::DescribeGroupsRequest request;
  request.add_group_ids(group);
  request.set_include_lag(include_lag);
  auto response = groups->Describe(request, context.timeout_us());
  if (!response.ok()) return response.status();
  if (response->groups_size() != 1) {
    return MakeError(ErrorCode::kUnknownServerError, "group ", group,
                     ": the broker answered for ", response->groups_size(),
                     " groups");
  }
  v1::GroupDescription& found = *response->mutable_groups(0);
  const absl::Status status = StatusOf(found.error());
  if (!status.ok()) {
    return MakeErrorStatus(CodeOf(status),
                           StrCat("group ", group, ": ",
                                  StdView(status.message())));
  }
  if (found.state() == v1::GROUP_STATE_DEAD) {
    return MakeError(ErrorCode::kGroupIdNotFound, "there is no group ", group);
  }
  return std::move(found);
}

absl::Status CheckInactive(const v1::GroupDescription& description) {
  if (description.members().empty()) return absl::OkStatus();
  std::string names;
  for (const v1::GroupMember& member : description.members()) {
    names += (names.empty() ? "" : ", ") + member.member_id() + " (" +
             member.client_id() + " at " + member.client_host() + ")";
  }
  return MakeError(ErrorCode::kNonEmptyGroup, "group ", description.group_id(),
                   " has ", description.members_size(), " active members: ",
                   names, "; nothing was changed");
}

std::string OffsetText(int64_t offset) {
  return offset < 0 ? "none" : std::to_string(offset);
}

}  // namespace sluice::cli
