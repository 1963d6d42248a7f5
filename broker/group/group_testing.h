// A group core with its requests, its log and its clock, for tests.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/group/group_core.h"
#include "common/base/random.h"

namespace sluice::group {

inline constexpr int64_t kSecondUs = 1'000'000;

// How a test's client joins; the rest are defaults.
struct JoinSpec {
  std::string member;    // "": new
  std::string instance;  // "": dynamic
  std::vector<Protocol> protocols = {{"range", "subscription"}};
  std::string type = "consumer";
  int64_t session_timeout_us = 10 * kSecondUs;
  int64_t rebalance_timeout_us = 30 * kSecondUs;
  bool member_id_required = true;
  bool can_skip_assignment = true;
  std::string stream;   // of Consume, that joins for it
  std::string resumes;  // that it takes over from
  std::string host = "host";
};

class GroupTester {
 public:
  explicit GroupTester(GroupConfig config = {});

  GroupCore& core() { return *core_; }
  int64_t now_us() const { return now_us_; }

  // ---- What goes in. The number under which the answer comes ----

  RequestId Join(const JoinSpec& spec);
  RequestId Sync(const MemberId& member, Generation generation,
                 std::vector<MemberAssignment> assignments = {},
                 const std::string& instance = "",
                 const std::string& stream = "");
  RequestId Heartbeat(const MemberId& member, Generation generation,
                      const std::string& instance = "",
                      const std::string& stream = "");
  RequestId Leave(std::vector<LeavingMember> members);
  RequestId Delete();
  void CommitAccepted(const MemberId& member);
  void Resign();
  // Ticks at every deadline on the way.
  void Advance(int64_t us);

  // ---- What came out ----

  // nullopt: not answered yet. A second answer of one request ends the test.
  std::optional<AnswerJoin> JoinAnswer(RequestId request) const;
  std::optional<AnswerSync> SyncAnswer(RequestId request) const;
  ErrorCode HeartbeatCode(RequestId request) const;
  AnswerLeave LeaveAnswer(RequestId request) const;
  std::optional<ErrorCode> DeleteCode(RequestId request) const;
  // What the log holds: written in order, committed or not.
  const std::vector<WriteGroup>& writes() const { return writes_; }
  int rebalances() const { return rebalances_; }
  const std::string& rebalance_reason() const { return rebalance_reason_; }

  // ---- The log: commits at once unless held ----

  void HoldWrites() { hold_writes_ = true; }
  // The oldest write that is not settled.
  void SettleWrite(const absl::Status& status = absl::OkStatus());
  void ReleaseWrites();
  // Another coordinator goes on from the newest committed image.
  void FailOver();

  // ---- Ways that tests go often ----

  // A new dynamic member, its join parked or answered; with its request.
  MemberId Admit(JoinSpec spec, RequestId* request = nullptr);
  // An empty group becomes stable with so many members; member i gets "ai".
  std::vector<MemberId> MakeStable(int members, const JoinSpec& spec = {});

 private:
  void Do(const Event& event);
  void Take(const Action& action);
  RequestId NextRequest();

  const GroupConfig config_;
  Random random_{1};
  std::unique_ptr<GroupCore> core_;
  int64_t now_us_ = 1'000 * kSecondUs;
  RequestId next_request_{1};
  std::map<RequestId, Action> answers_;
  std::vector<WriteGroup> writes_;
  size_t settled_writes_ = 0;
  std::optional<GroupImage> committed_;
  bool hold_writes_ = false;
  int rebalances_ = 0;
  std::string rebalance_reason_;
};

// A known member's next join.
JoinSpec Again(const MemberId& member, JoinSpec spec = {});
// What a commit of this member and generation is answered.
ErrorCode CommitCode(GroupTester& group, const MemberId& member,
                     Generation generation, const std::string& instance = "",
                     const std::string& stream = "");

}  // namespace sluice::group
