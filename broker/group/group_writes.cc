// The group's log: what waits for it, and what happens when it refuses.
#include <functional>
#include <utility>

#include "broker/group/group_core.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice::group {
namespace {

void SetError(Action& answer, ErrorCode code) {
  if (auto* join = std::get_if<AnswerJoin>(&answer)) {
    *join = {.request = join->request,
             .code = code,
             .member = code == ErrorCode::kUnknownMemberId ? MemberId() : join->member};
  } else if (auto* sync = std::get_if<AnswerSync>(&answer)) {
    *sync = {.request = sync->request, .code = code};
  } else if (auto* deleted = std::get_if<AnswerDelete>(&answer)) {
    deleted->code = code;
  } else {
    INVARIANT(false, "an answer of kind ", answer.index(), " was held");
  }
}

// What a client hears of a refused write.
ErrorCode AnswerFor(const absl::Status& status) {
  switch (CodeOf(status)) {
    case ErrorCode::kMessageTooLarge: return ErrorCode::kMessageTooLarge;
    case ErrorCode::kNotLeader: return ErrorCode::kNotCoordinator;
    default: return ErrorCode::kCoordinatorNotAvailable;
  }
}

}  // namespace

WriteId GroupCore::Write(std::optional<GroupImage> image) {
  if (writes_.empty()) stall_began_us_ = now_us_;
  const WriteId id = next_write_;
  next_write_ = next_write_.Next();
  writes_.push_back({id, generation_, !image.has_value()});
  Do(WriteGroup{id, std::move(image)});
  return id;
}

// Behind all writes under way, or at once.
void GroupCore::TellOnceWritten(const MemberId& member, Action answer) {
  if (writes_.empty() || MUTANT(kGenerationToldUnwritten)) {
    return Do(std::move(answer));
  }
  held_.push_back({writes_.back().id, member, std::move(answer)});
}

void GroupCore::On(const Written& e) {
  SeeTime(e.now_us);
  if (state_ == GroupState::kDead && writes_.empty()) return;  // resigned
  INVARIANT(!writes_.empty() && writes_.front().id == e.write,
            "GR4 group ", deps_.group_id, ": write ", e.write,
            " is not the one under way");
  const PendingWrite write = writes_.front();
  writes_.pop_front();
  if (writes_.empty()) stalled_us_ += now_us_ - stall_began_us_;
  if (!e.status.ok()) {
    if (write.deletes) state_ = GroupState::kEmpty;
    FailHeld(write.id, AnswerFor(e.status));
    return OnWriteFailed(write.id, write.generation, e.status);
  }
  ReleaseHeld(write.id);
}

std::vector<GroupCore::HeldAnswer> GroupCore::TakeHeld(
    const std::function<bool(const HeldAnswer&)>& chosen) {
  std::vector<HeldAnswer> taken, kept;
  for (HeldAnswer& held : held_) {
    (chosen(held) ? taken : kept).push_back(std::move(held));
  }
  held_ = std::move(kept);
  return taken;
}

void GroupCore::ReleaseHeld(WriteId write) {
  auto released =
      TakeHeld([write](const HeldAnswer& h) { return h.write <= write; });
  for (HeldAnswer& held : released) {
    if (Member* member = Find(held.member); member != nullptr) {
      RefreshSession(*member);
    }
    Do(std::move(held.answer));
  }
}

void GroupCore::FailHeld(WriteId write, ErrorCode code) {
  auto failed =
      TakeHeld([write](const HeldAnswer& h) { return h.write <= write; });
  for (HeldAnswer& held : failed) {
    SetError(held.answer, code);
    Do(std::move(held.answer));
  }
}

void GroupCore::FailHeldOf(const MemberId& member, ErrorCode code) {
  auto failed =
      TakeHeld([&member](const HeldAnswer& h) { return h.member == member; });
  for (HeldAnswer& held : failed) {
    SetError(held.answer, code);
    Do(std::move(held.answer));
  }
}

// Of this generation nobody knows, or nobody knows its assignments: it cannot
// go on.
void GroupCore::OnWriteFailed(WriteId write, Generation generation,
                              const absl::Status& status) {
  if (generation != generation_) return;
  if (state_ != GroupState::kCompleting && state_ != GroupState::kStable) {
    return;
  }
  PrepareRebalance(StrCat("write ", write, " of generation ", generation,
                          " failed: ", StdView(status.message())));
}

}  // namespace sluice::group
