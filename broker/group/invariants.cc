// What holds after every Step.
#include "broker/group/group_core.h"
#include "common/base/invariant.h"

namespace sluice::group {

void GroupCore::CheckInvariants(Generation generation_before) const {
  INVARIANT(generation_ >= generation_before, "GR4 group ", deps_.group_id,
            ": generation ", generation_before, " -> ", generation_);
  const bool has_members = !members_.empty();
  switch (state_) {
    case GroupState::kEmpty:
    case GroupState::kDead:
      INVARIANT(!has_members && leader_.empty(), "group ", deps_.group_id,
                " is ", NameOf(state_), " and has ", members_.size(),
                " members");
      break;
    case GroupState::kPreparing:
      INVARIANT(join_deadline_us_ != kNever, "group ", deps_.group_id,
                " would prepare for good");
      break;
    case GroupState::kCompleting:
    case GroupState::kStable:
      INVARIANT(has_members && !protocol_name_.empty(), "group ",
                deps_.group_id, " is ", NameOf(state_), " with ",
                members_.size(), " members and protocol ", protocol_name_);
      INVARIANT(pending_syncs_.empty() || sync_deadline_us_ != kNever,
                "group ", deps_.group_id, " would wait for syncs for good");
      break;
  }
  INVARIANT(leader_.empty() != has_members && (!has_members || Find(leader_)),
            "group ", deps_.group_id, ": leader ", leader_, " of ",
            members_.size(), " members");
  size_t with_instance = 0;
  for (const auto& [id, member] : members_) {
    INVARIANT(!member.joining || state_ == GroupState::kPreparing, "member ",
              id, " joins a group that is ", NameOf(state_));
    INVARIANT(!member.syncing || state_ == GroupState::kCompleting, "member ",
              id, " syncs with a group that is ", NameOf(state_));
    if (member.image.instance.empty()) continue;
    ++with_instance;
    const auto known = instances_.find(member.image.instance);
    INVARIANT(known != instances_.end() && known->second == id, "GR5 instance ",
              member.image.instance, " is not member ", id);
  }
  INVARIANT(with_instance == instances_.size(), "GR5 group ", deps_.group_id,
            ": ", instances_.size(), " instances, ", with_instance,
            " static members");
  INVARIANT(held_.empty() || !writes_.empty(), "group ", deps_.group_id,
            " holds answers and waits for no write");
  for (const MemberId& id : pending_syncs_) {
    INVARIANT(HasMember(id), "member ", id, " is awaited and unknown");
  }
}

}  // namespace sluice::group
