// Which error comes first (GR1): a table of claims against a group in each
// state.
#include "broker/group/commit_rules.h"

#include <gtest/gtest.h>

#include "broker/group/group_testing.h"
#include "common/consumer/consumer_protocol.h"

namespace sluice::group {
namespace {

constexpr ErrorCode kOk = ErrorCode::kNone;

// A dynamic and a static member, each as "d" and "s" in the claims.
struct Members {
  MemberId dynamic_id;
  MemberId static_id;
};

Members JoinBoth(GroupTester& group) {
  Members members;
  members.dynamic_id = group.Admit({});
  group.Join({.instance = "i"});
  for (const MemberImage& m : group.core().Image().members) {
    if (!m.instance.empty()) members.static_id = m.id;
  }
  return members;
}

// The group in this state, in generation 1 from Completing on.
Members Bring(GroupTester& group, GroupState state) {
  if (state == GroupState::kEmpty) return {};
  if (state == GroupState::kDead) {
    group.Delete();
    return {};
  }
  const Members members = JoinBoth(group);
  group.Advance(6 * kSecondUs);
  if (state == GroupState::kCompleting) return members;
  group.Sync(group.core().leader(), Generation(1));
  if (state == GroupState::kPreparing) group.Admit({});
  return members;
}

struct Row {
  std::string_view member;    // "", "d", "s", "?"
  std::string_view instance;  // "", "i", "?"
  int32_t generation;
  // In Empty, Preparing, Completing, Stable, Dead.
  ErrorCode expected[5];
};

constexpr ErrorCode kU = ErrorCode::kUnknownMemberId;
constexpr ErrorCode kF = ErrorCode::kFencedInstanceId;
constexpr ErrorCode kG = ErrorCode::kIllegalGeneration;
constexpr ErrorCode kR = ErrorCode::kRebalanceInProgress;
constexpr ErrorCode kD = ErrorCode::kCoordinatorNotAvailable;

constexpr Row kRows[] = {
    // Nobody: a standalone consumer or an administrator.
    {"", "", -1, {kOk, kU, kU, kU, kD}},
    // Anybody, without a generation.
    {"?", "", -1, {kOk, kU, kU, kU, kD}},
    {"d", "", -1, {kOk, kG, kG, kG, kD}},
    {"s", "i", -1, {kOk, kG, kG, kG, kD}},
    {"d", "i", -1, {kOk, kF, kF, kF, kD}},
    // A generation and nobody.
    {"", "", 1, {kU, kU, kU, kU, kD}},
    {"", "", 0, {kU, kU, kU, kU, kD}},
    // Who is unknown, before which generation.
    {"?", "", 7, {kU, kU, kU, kU, kD}},
    {"d", "?", 7, {kU, kU, kU, kU, kD}},
    {"d", "i", 7, {kU, kF, kF, kF, kD}},
    {"?", "i", 1, {kU, kF, kF, kF, kD}},
    // The generation, before the state.
    {"d", "", 0, {kU, kG, kG, kG, kD}},
    {"d", "", 2, {kU, kG, kG, kG, kD}},
    {"s", "i", 2, {kU, kG, kG, kG, kD}},
    // Current.
    {"d", "", 1, {kU, kOk, kR, kOk, kD}},
    {"s", "i", 1, {kU, kOk, kR, kOk, kD}},
    // A static member need not say its instance.
    {"s", "", 1, {kU, kOk, kR, kOk, kD}},
};

CommitClaim ClaimOf(const Row& row, const Members& members) {
  CommitClaim claim = {.generation = Generation(row.generation)};
  if (row.member == "d") claim.member = members.dynamic_id;
  if (row.member == "s") claim.member = members.static_id;
  if (row.member == "?") claim.member = MemberId("nobody");
  // An empty group knows neither.
  if (claim.member.empty() && !row.member.empty()) {
    claim.member = MemberId("gone");
  }
  if (row.instance == "i") claim.instance = InstanceId("i");
  if (row.instance == "?") claim.instance = InstanceId("another");
  return claim;
}

TEST(CommitRulesTest, TheFirstRuleThatIsBrokenIsTheAnswer) {
  const GroupState states[] = {GroupState::kEmpty, GroupState::kPreparing,
                               GroupState::kCompleting, GroupState::kStable,
                               GroupState::kDead};
  for (int s = 0; s < 5; ++s) {
    GroupTester group;
    const Members members = Bring(group, states[s]);
    ASSERT_EQ(group.core().state(), states[s]);
    for (const Row& row : kRows) {
      EXPECT_EQ(CheckCommit(&group.core(), ClaimOf(row, members)),
                row.expected[s])
          << "member '" << row.member << "' instance '" << row.instance
          << "' generation " << row.generation << " in "
          << NameOf(states[s]);
    }
  }
}

TEST(CommitRulesTest, ACommitWithoutAGroupMakesOneOnlyWithoutAGeneration) {
  EXPECT_EQ(CheckCommit(nullptr, {}), kOk);
  EXPECT_EQ(CheckCommit(nullptr, {.member = MemberId("m")}), kOk);
  EXPECT_EQ(CheckCommit(nullptr, {.generation = Generation(0)}),
            ErrorCode::kGroupIdNotFound);
  EXPECT_EQ(CheckCommit(nullptr, {.member = MemberId("m"),
                                  .generation = Generation(3)}),
            ErrorCode::kGroupIdNotFound);
}

// The producer's epoch fences it; old clients name no member.
TEST(CommitRulesTest, ATransactionsCommitNeedsNoMemberButAnHonestOne) {
  GroupTester group;
  const Members members = Bring(group, GroupState::kCompleting);
  const auto code = [&](CommitClaim claim) {
    claim.transactional = true;
    return CheckCommit(&group.core(), claim);
  };
  EXPECT_EQ(code({}), kOk);
  EXPECT_EQ(code({.member = members.dynamic_id, .generation = Generation(1)}),
            kOk);
  EXPECT_EQ(code({.member = members.dynamic_id, .generation = Generation(0)}),
            ErrorCode::kIllegalGeneration);
  EXPECT_EQ(code({.member = MemberId("x"), .generation = Generation(1)}),
            ErrorCode::kUnknownMemberId);
}

TEST(CommitRulesTest, EachPartitionIsCheckedByItself) {
  const std::string longest(4096, 'm'), too_long(4097, 'm');
  struct {
    PartitionCommit commit;
    ErrorCode expected;
  } const rows[] = {
      {{.offset = 0}, kOk},
      {{.offset = INT64_MAX}, kOk},  // beyond any log's end
      {{.offset = -1}, ErrorCode::kInvalidCommitOffset},
      {{.offset = 1, .metadata = ""}, kOk},
      {{.offset = 1, .metadata = longest}, kOk},
      {{.offset = 1, .metadata = too_long}, ErrorCode::kOffsetMetadataTooLarge},
      {{.partition_exists = false, .offset = -1, .metadata = too_long},
       ErrorCode::kUnknownTopicOrPartition},
      {{.offset = -1, .metadata = too_long}, ErrorCode::kInvalidCommitOffset},
      {{.offset = 5, .has_offset = true}, kOk},
      {{.offset = 5, .begins = true}, kOk},
      {{.offset = 5, .begins = true, .has_offset = true},
       ErrorCode::kInvalidCommitOffset},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(CheckPartitionCommit(row.commit), row.expected);
  }
}

TEST(CommitRulesTest, GroupIds) {
  EXPECT_EQ(CheckGroupId(""), ErrorCode::kInvalidGroupId);
  EXPECT_EQ(CheckGroupId("g"), kOk);
  EXPECT_EQ(CheckGroupId(std::string(249, 'g')), kOk);
  EXPECT_EQ(CheckGroupId(std::string(250, 'g')), ErrorCode::kInvalidGroupId);
}

// ---- Reading, deleting, seeking ----

TEST(CommitRulesTest, OffsetsOfASubscribedTopicAreNotDeleted) {
  const auto spec = [](std::string type) {
    return JoinSpec{
        .protocols = {{"range", consumer::EncodeSubscription(
                                    {.topics = {"mine"}})}},
        .type = std::move(type)};
  };
  GroupTester group;
  EXPECT_EQ(CheckDeleteOffsets(&group.core(), true, "mine"), kOk);  // empty
  const MemberId id = group.Admit(spec("consumer"));
  // Not known yet to what: it may be to this one.
  EXPECT_EQ(CheckDeleteOffsets(&group.core(), true, "other"),
            ErrorCode::kGroupSubscribedToTopic);
  group.Advance(3 * kSecondUs);
  group.Sync(id, Generation(1));
  EXPECT_EQ(CheckDeleteOffsets(&group.core(), true, "mine"),
            ErrorCode::kGroupSubscribedToTopic);
  EXPECT_EQ(CheckDeleteOffsets(&group.core(), true, "other"), kOk);

  GroupTester workers;
  workers.MakeStable(1, spec("connect"));
  EXPECT_EQ(CheckDeleteOffsets(&workers.core(), true, "other"),
            ErrorCode::kNonEmptyGroup);
  EXPECT_EQ(CheckDeleteOffsets(nullptr, true, "mine"), kOk);
  EXPECT_EQ(CheckDeleteOffsets(nullptr, false, "mine"), ErrorCode::kGroupIdNotFound);
}

TEST(CommitRulesTest, SeekingAndReading) {
  GroupTester stable;
  stable.MakeStable(1);
  GroupTester dead;
  dead.Delete();
  GroupTester empty;
  EXPECT_EQ(CheckSeek(&stable.core()), ErrorCode::kNonEmptyGroup);
  EXPECT_EQ(CheckSeek(&empty.core()), kOk);
  EXPECT_EQ(CheckSeek(&dead.core()), ErrorCode::kCoordinatorNotAvailable);
  EXPECT_EQ(CheckSeek(nullptr), kOk);
  EXPECT_EQ(CheckFetch(&stable.core()), kOk);
  EXPECT_EQ(CheckFetch(&dead.core()), ErrorCode::kGroupIdNotFound);
  EXPECT_EQ(CheckFetch(nullptr), kOk);
}

}  // namespace
}  // namespace sluice::group
