#include "broker/group/group_testing.h"

#include <utility>

#include "broker/group/commit_rules.h"
#include "common/base/invariant.h"

namespace sluice::group {

GroupTester::GroupTester(GroupConfig config)
    : config_(config),
      core_(std::make_unique<GroupCore>(
          GroupCore::Deps{"g", config, &random_})) {}

RequestId GroupTester::NextRequest() {
  const RequestId request = next_request_;
  next_request_ = next_request_.Next();
  return request;
}

void GroupTester::Do(const Event& event) {
  std::vector<Action> actions = core_->Step(event);
  for (const Action& action : actions) Take(action);
  while (!hold_writes_ && settled_writes_ < writes_.size()) SettleWrite();
}

void GroupTester::Take(const Action& action) {
  std::optional<RequestId> request;
  if (const auto* a = std::get_if<AnswerJoin>(&action)) request = a->request;
  if (const auto* a = std::get_if<AnswerSync>(&action)) request = a->request;
  if (const auto* a = std::get_if<AnswerHeartbeat>(&action)) {
    request = a->request;
  }
  if (const auto* a = std::get_if<AnswerLeave>(&action)) request = a->request;
  if (const auto* a = std::get_if<AnswerDelete>(&action)) request = a->request;
  if (request.has_value()) {
    INVARIANT(answers_.emplace(*request, action).second, "request ", *request,
              " is answered twice");
  } else if (const auto* write = std::get_if<WriteGroup>(&action)) {
    writes_.push_back(*write);
  } else if (const auto* began = std::get_if<RebalanceBegan>(&action)) {
    ++rebalances_;
    rebalance_reason_ = began->why;
  }
}

// ---- Requests ----

RequestId GroupTester::Join(const JoinSpec& spec) {
  const RequestId request = NextRequest();
  Do(group::Join{.request = request,
                 .member = MemberId(spec.member),
                 .instance = InstanceId(spec.instance),
                 .client_id = "client",
                 .client_host = spec.host,
                 .session_timeout_us = spec.session_timeout_us,
                 .rebalance_timeout_us = spec.rebalance_timeout_us,
                 .protocol_type = spec.type,
                 .protocols = spec.protocols,
                 .member_id_required = spec.member_id_required,
                 .can_skip_assignment = spec.can_skip_assignment,
                 .now_us = now_us_,
                 .stream = StreamSecret(spec.stream),
                 .resumes = StreamSecret(spec.resumes)});
  return request;
}

RequestId GroupTester::Sync(const MemberId& member, Generation generation,
                            std::vector<MemberAssignment> assignments,
                            const std::string& instance,
                            const std::string& stream) {
  const RequestId request = NextRequest();
  Do(group::Sync{.request = request,
                 .member = member,
                 .instance = InstanceId(instance),
                 .generation = generation,
                 .assignments = std::move(assignments),
                 .now_us = now_us_,
                 .stream = StreamSecret(stream)});
  return request;
}

RequestId GroupTester::Heartbeat(const MemberId& member, Generation generation,
                                 const std::string& instance,
                                 const std::string& stream) {
  const RequestId request = NextRequest();
  Do(group::Heartbeat{request, member, InstanceId(instance), generation,
                      now_us_, StreamSecret(stream)});
  return request;
}

RequestId GroupTester::Leave(std::vector<LeavingMember> members) {
  const RequestId request = NextRequest();
  Do(group::Leave{request, std::move(members), now_us_});
  return request;
}

RequestId GroupTester::Delete() {
  const RequestId request = NextRequest();
  Do(group::Delete{request, now_us_});
  return request;
}

void GroupTester::CommitAccepted(const MemberId& member) {
  Do(group::CommitAccepted{member, now_us_});
}

void GroupTester::Resign() { Do(group::Resign{}); }

void GroupTester::Advance(int64_t us) {
  const int64_t until = now_us_ + us;
  while (core_->NextDeadlineUs() <= until) {
    now_us_ = std::max(now_us_, core_->NextDeadlineUs());
    Do(Tick{now_us_});
  }
  now_us_ = until;
}

// ---- Answers ----

namespace {

template <class Answer>
std::optional<Answer> AnswerOf(const std::map<RequestId, Action>& answers,
                               RequestId request) {
  const auto found = answers.find(request);
  if (found == answers.end()) return std::nullopt;
  return std::get<Answer>(found->second);
}

}  // namespace

std::optional<AnswerJoin> GroupTester::JoinAnswer(RequestId request) const {
  return AnswerOf<AnswerJoin>(answers_, request);
}

std::optional<AnswerSync> GroupTester::SyncAnswer(RequestId request) const {
  return AnswerOf<AnswerSync>(answers_, request);
}

ErrorCode GroupTester::HeartbeatCode(RequestId request) const {
  return AnswerOf<AnswerHeartbeat>(answers_, request).value().code;
}

AnswerLeave GroupTester::LeaveAnswer(RequestId request) const {
  return AnswerOf<AnswerLeave>(answers_, request).value();
}

std::optional<ErrorCode> GroupTester::DeleteCode(RequestId request) const {
  const auto answer = AnswerOf<AnswerDelete>(answers_, request);
  if (!answer.has_value()) return std::nullopt;
  return answer->code;
}

// ---- The log ----

void GroupTester::SettleWrite(const absl::Status& status) {
  INVARIANT(settled_writes_ < writes_.size(), "no write is under way");
  const WriteGroup write = writes_[settled_writes_++];
  if (status.ok()) committed_ = write.image;
  std::vector<Action> actions =
      core_->Step(Written{write.write, status, now_us_});
  for (const Action& action : actions) Take(action);
}

void GroupTester::ReleaseWrites() {
  hold_writes_ = false;
  while (settled_writes_ < writes_.size()) SettleWrite();
}

void GroupTester::FailOver() {
  settled_writes_ = writes_.size();
  const GroupCore::Deps deps = {"g", config_, &random_};
  core_ = committed_.has_value()
              ? std::make_unique<GroupCore>(deps, *committed_, now_us_)
              : std::make_unique<GroupCore>(deps);
}

// ---- Ways ----

MemberId GroupTester::Admit(JoinSpec spec, RequestId* request) {
  const auto first = JoinAnswer(Join(spec));
  INVARIANT(first.has_value() && first->code == ErrorCode::kMemberIdRequired,
            "a new member is not asked to come again");
  spec.member = first->member.ToString();
  const RequestId second = Join(spec);
  if (request != nullptr) *request = second;
  return first->member;
}

std::vector<MemberId> GroupTester::MakeStable(int members,
                                              const JoinSpec& spec) {
  std::vector<MemberId> ids;
  for (int i = 0; i < members; ++i) ids.push_back(Admit(spec));
  // The initial delay, and once more for who came meanwhile.
  while (core_->state() == GroupState::kPreparing) {
    Advance(config_.initial_rebalance_delay_us);
  }
  std::vector<MemberAssignment> assignments;
  for (int i = 0; i < members; ++i) {
    assignments.push_back({ids[i], "a" + std::to_string(i)});
  }
  for (const MemberId& id : ids) {
    Sync(id, core_->generation(), assignments);
  }
  INVARIANT(core_->state() == GroupState::kStable, "the group is ",
            NameOf(core_->state()));
  return ids;
}

JoinSpec Again(const MemberId& member, JoinSpec spec) {
  spec.member = member.ToString();
  return spec;
}

ErrorCode CommitCode(GroupTester& group, const MemberId& member,
                     Generation generation, const std::string& instance,
                     const std::string& stream) {
  return CheckCommit(&group.core(), {.member = member,
                                     .instance = InstanceId(instance),
                                     .generation = generation,
                                     .stream = StreamSecret(stream)});
}

}  // namespace sluice::group
