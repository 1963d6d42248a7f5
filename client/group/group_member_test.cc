// Commits of a membership: in order, under the claim that they were made under,
// and only so many at a time.
#include "client/group/group_member.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "client/fake_cluster_testing.h"
#include "client/group/fake_groups_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

NamedPartition Tp(int partition) { return {"t", PartitionIndex(partition)}; }

class GroupMemberTest : public testing::Test {
 protected:
  // It gives up at once what it is to release, and always polls.
  struct Member {
    membership::Partitions owned;
    std::unique_ptr<GroupMember> member;
  };

  GroupMemberTest() {
    cluster_.AddTopic("t", 2);
    groups_.config.initial_rebalance_delay_us = 100'000;
    deps_.client = {executor_.get(), &world_, &cluster_, 1};
    deps_.options.bootstrap = {FakeCluster::EndpointOf(NodeId(1)),
                               FakeCluster::EndpointOf(NodeId(2))};
    metadata_ = std::make_unique<MetadataCache>(deps_.client, deps_.options);
    deps_.metadata = metadata_.get();
    deps_.groups = &groups_;
  }
  void TearDown() override {
    for (auto& one : members_) one->member.reset();
  }

  Member& Join() {
    Member& one = *members_.emplace_back(std::make_unique<Member>());
    membership::Options options;
    options.group_id = "g";
    options.session_timeout_ms = 10'000;
    options.heartbeat_interval_ms = 500;
    GroupMember::Listener listener;
    listener.on_release = [&one](const auto& partitions, bool) {
      for (const auto& tp : partitions) one.owned.erase(tp);
      one.member->Released();
    };
    listener.on_assigned = [&one](const auto& added) {
      one.owned.insert(added.begin(), added.end());
    };
    listener.on_failed = [](const absl::Status& why) {
      ADD_FAILURE() << why;
    };
    auto deps = deps_;
    deps.client.seed = members_.size();
    one.member = std::make_unique<GroupMember>(deps, options, listener);
    one.member->Subscribe({"t"});
    one.member->PollBegan();
    return one;
  }
  bool Until(const std::function<bool()>& done) {
    return world_.RunUntil(done, 60 * kSecond);
  }
  // The next answer of `ended`.
  GroupMember::CommitDone Note() {
    return [this](const absl::Status& s) { ended_.push_back(CodeOf(s)); };
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 3};
  FakeGroups groups_{&world_, &cluster_};
  GroupMember::Deps deps_;
  std::unique_ptr<MetadataCache> metadata_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<ErrorCode> ended_;
};

// GR1, F71: the partition may be another's by the time that the commit gets
// through, and its new owner further on.
TEST_F(GroupMemberTest, WhatWasReadUnderAnOldGenerationIsNotCommittedUnderANew) {
  Member& a = Join();
  ASSERT_TRUE(Until([&] { return a.owned.size() == 2; }));
  const int32_t before = a.member->generation();
  bool lost = true;
  groups_.fate = [&](NodeId, const std::string& method) {
    return lost && method == "CommitOffsets" ? FakeGroups::Fate::kLoseRequest
                                             : FakeGroups::Fate::kDeliver;
  };
  a.member->Commit({{Tp(0), {Offset(5)}}}, 60 * kSecond, Note());
  a.member->Commit({{Tp(1), {Offset(6)}}}, 60 * kSecond, Note());
  Member& b = Join();
  ASSERT_TRUE(Until([&] {
    return a.owned.size() == 1 && b.owned.size() == 1 &&
           a.member->generation() > before;
  }));
  lost = false;
  ASSERT_TRUE(Until([&] { return ended_.size() == 2; }));
  EXPECT_EQ(ended_, std::vector<ErrorCode>(2, ErrorCode::kIllegalGeneration));
  EXPECT_TRUE(groups_.commits.empty());
}

TEST_F(GroupMemberTest, CommitsWaitForEachOtherAndOnlySoManyWait) {
  Member& a = Join();
  ASSERT_TRUE(Until([&] { return a.owned.size() == 2; }));
  int lost = 3;
  groups_.fate = [&](NodeId, const std::string& method) {
    return method == "CommitOffsets" && lost-- > 0
               ? FakeGroups::Fate::kLoseAnswer
               : FakeGroups::Fate::kDeliver;
  };
  constexpr auto kMost = static_cast<int>(GroupMember::kCommitsWaitingMax);
  for (int i = 1; i <= kMost; ++i) {
    a.member->Commit({{Tp(0), {Offset(i)}}}, 600 * kSecond, Note());
  }
  EXPECT_TRUE(ended_.empty());
  a.member->Commit({{Tp(0), {Offset(kMost + 1)}}}, 600 * kSecond, Note());
  EXPECT_EQ(ended_, std::vector<ErrorCode>{ErrorCode::kBusy});
  ASSERT_TRUE(world_.RunUntil([&] { return ended_.size() == kMost + 1u; },
                              600 * kSecond));
  for (int i = 1; i <= kMost; ++i) EXPECT_EQ(ended_[i], ErrorCode::kNone);
  // Those whose answers were lost came again, before any later one.
  Offset last(0);
  for (const auto& commit : groups_.commits) {
    EXPECT_GE(commit.offset, last);
    last = commit.offset;
  }
  EXPECT_EQ(last, Offset(kMost));
  EXPECT_EQ(groups_.commits.size(), kMost + 3u);
}

}  // namespace
}  // namespace sluice
