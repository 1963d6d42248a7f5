// A membership on a stage: its events by hand, its actions to look at.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "client/group/group_membership.h"
#include "common/base/error.h"

namespace sluice::membership {

inline constexpr int64_t kSecondUs = 1'000'000;

inline Partitions Of(const std::string& topic, std::initializer_list<int> numbers) {
  Partitions partitions;
  for (const int n : numbers) partitions.insert({topic, PartitionIndex(n)});
  return partitions;
}

inline std::string BytesOf(const Partitions& partitions) {
  consumer::Assignment assignment;
  assignment.partitions = {partitions.begin(), partitions.end()};
  return consumer::EncodeAssignment(assignment);
}

class MembershipTest : public testing::Test {
 protected:
  MembershipTest() { Make({consumer::Assignor::kRange}); }

  void Make(std::vector<consumer::Assignor> assignors, const std::string& instance = "") {
    Options options;
    options.group_id = "g";
    options.instance_id = instance;
    options.session_timeout_ms = 10'000;
    options.heartbeat_interval_ms = 3'000;
    options.max_poll_interval_ms = 60'000;
    options.assignors = std::move(assignors);
    m_ = std::make_unique<GroupMembership>(
        GroupMembership::Deps{options, &random_});
    actions_.clear();
  }

  void Do(const Event& event) { actions_ = m_->Step(event, now_us_); }
  // Time passes; what was due is done.
  void Pass(int64_t us) {
    now_us_ += us;
    Do(Tick{});
  }
  template <class T>
  const T* Find() const {
    for (const Action& action : actions_) {
      if (const T* found = std::get_if<T>(&action)) return found;
    }
    return nullptr;
  }
  template <class T>
  T The() const {
    const T* found = Find<T>();
    EXPECT_NE(found, nullptr) << "no such action";
    return found == nullptr ? T() : *found;
  }

  // From nothing to the first join, which is under way afterwards.
  SendJoin BeginJoin(std::set<std::string> topics = {"t"}) {
    Do(Subscribe{std::move(topics)});
    const auto find = The<FindCoordinator>();
    Do(PollBegan{});
    Do(CoordinatorFound{find.call, absl::OkStatus()});
    return The<SendJoin>();
  }
  Joined JoinedAs(CallId call, const std::string& member, int32_t generation,
                  const std::string& leader = "other",
                  const std::string& protocol = "range") {
    Joined joined{call, absl::OkStatus(), {}};
    joined.response.set_member_id(member);
    joined.response.set_generation_id(generation);
    joined.response.set_leader_id(leader);
    joined.response.set_protocol_name(protocol);
    return joined;
  }
  // A follower that is given `partitions`.
  void BecomeStable(const Partitions& partitions,
                    const std::string& protocol = "range") {
    const SendJoin join = BeginJoin();
    Do(JoinedAs(join.call, "m", 1, "other", protocol));
    Do(Synced{The<SendSync>().call, absl::OkStatus(), BytesOf(partitions)});
    ASSERT_EQ(m_->phase(), GroupMembership::Phase::kStable);
  }
  void Beat(const absl::Status& status) {
    Pass(3 * kSecondUs);
    Do(HeartbeatAnswered{The<SendHeartbeat>().call, status});
  }
  static absl::Status Error(ErrorCode code) { return MakeError(code, "so"); }

  Random random_{1};
  int64_t now_us_ = 1;
  std::unique_ptr<GroupMembership> m_;
  std::vector<Action> actions_;
};

}  // namespace sluice::membership
