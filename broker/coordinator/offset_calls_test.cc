// Commits, fetches and deletions by the rules (GR1, GR8; correctness.md 5.3).
#include <gtest/gtest.h>

#include "broker/coordinator/coordinator_world_testing.h"

namespace sluice::coordinator {
namespace {

class OffsetCallsTest : public CoordinatorTest {
 protected:
  OffsetCallsTest() { Serve(); }

  v1::CommitOffsetsRequest MemberCommit(const std::string& member,
                                        int32_t generation, int64_t offset) {
    auto request = CommitOf("g", 0, offset);
    request.set_member_id(member);
    request.set_generation_id(generation);
    return request;
  }
  v1::DeleteOffsetsResponse Delete(const std::string& group) {
    v1::DeleteOffsetsRequest request;
    request.set_group_id(group);
    request.add_topics()->mutable_topic()->set_name("orders");
    Answered<v1::DeleteOffsetsResponse> answer;
    coordinator_->DeleteOffsets({}, request, answer.Reply());
    return answer.get();
  }
  v1::DeleteGroupResult DeleteGroup(const std::string& group) {
    Answered<v1::DeleteGroupResult> answer;
    coordinator_->DeleteGroup(group, answer.Reply());
    return answer.get();
  }
};

TEST_F(OffsetCallsTest, EachBadPartitionHasItsError) {
  auto request = CommitOf("g", 0, -1);
  const auto add = [&](const std::string& topic, int32_t partition) {
    auto* put = request.add_offsets();
    put->mutable_topic()->set_name(topic);
    put->set_partition(partition);
    put->set_offset(3);
    return put;
  };
  add("nothing", 0);
  add("orders", 4);
  add("orders", 1)->set_metadata(std::string(4097, 'm'));
  add("orders", 2)->set_metadata(std::string(4096, 'm'));
  add("orders", 3)->set_offset(int64_t{1} << 60);  // beyond the log's end
  const auto answer = Commit(request);
  ASSERT_EQ(answer.get().results_size(), 6);
  const v1::ErrorCode expected[] = {
      v1::ERROR_CODE_INVALID_COMMIT_OFFSET,
      v1::ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION,
      v1::ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION,
      v1::ERROR_CODE_OFFSET_METADATA_TOO_LARGE,
      v1::ERROR_CODE_UNSPECIFIED,
      v1::ERROR_CODE_UNSPECIFIED};
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(answer.get().results(i).error().code(), expected[i]) << i;
  }
  EXPECT_EQ(Committed("g", 0), -1);
  EXPECT_EQ(Committed("g", 3), int64_t{1} << 60);
}

TEST_F(OffsetCallsTest, APartitionTwiceIsRefusedWhole) {
  auto request = CommitOf("g", 0, 1);
  *request.add_offsets() = request.offsets(0);
  EXPECT_EQ(CodeOfCommit(Commit(request)), ErrorCode::kInvalidRequest);
  EXPECT_EQ(Committed("g", 0), -1);
}

// F71: who was thought dead does not rewind its successor.
TEST_F(OffsetCallsTest, OnlyTheCurrentGenerationCommits) {
  const std::string member = MakeStable("g");
  EXPECT_EQ(CodeOfCommit(Commit(MemberCommit(member, 1, 5))),
            ErrorCode::kNone);
  EXPECT_EQ(CodeOfCommit(Commit(MemberCommit(member, 0, 4))),
            ErrorCode::kIllegalGeneration);
  EXPECT_EQ(CodeOfCommit(Commit(MemberCommit("zombie", 1, 4))),
            ErrorCode::kUnknownMemberId);
  EXPECT_EQ(CodeOfCommit(Commit(CommitOf("g", 0, 4))),
            ErrorCode::kUnknownMemberId);
  EXPECT_EQ(Committed("g", 0), 5);
}

TEST_F(OffsetCallsTest, AGenerationOfNoGroupIsRefused) {
  EXPECT_EQ(CodeOfCommit(Commit(MemberCommit("m", 3, 5))),
            ErrorCode::kGroupIdNotFound);
  EXPECT_EQ(coordinator_->DescribeGroup("g").error().code(),
            v1::ERROR_CODE_GROUP_ID_NOT_FOUND);
}

TEST_F(OffsetCallsTest, AStandaloneCommitMakesAGroup) {
  Commit(CommitOf("g", 0, 5));
  const auto listed = coordinator_->ListGroups("", 10, {});
  ASSERT_TRUE(listed.ok());
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ((*listed)[0].group_id(), "g");
  EXPECT_EQ((*listed)[0].state(), v1::GROUP_STATE_EMPTY);
  const auto described = coordinator_->DescribeGroup("g");
  ASSERT_GE(described.partitions_size(), 1);
  EXPECT_EQ(described.partitions(0).committed_offset(), 5);
  EXPECT_EQ(coordinator_->groups_loaded(), 0u);
}

TEST_F(OffsetCallsTest, AnEmptyGroupIsDescribedWithWhatItNeverCommitted) {
  Commit(CommitOf("g", 2, 5));
  const auto described = coordinator_->DescribeGroup("g");
  ASSERT_EQ(described.partitions_size(), 4);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(described.partitions(i).topic(), "orders");
    EXPECT_EQ(described.partitions(i).partition(), i);
    EXPECT_EQ(described.partitions(i).committed_offset(), i == 2 ? 5 : -1);
  }
  // Of a Stable one members say which are theirs.
  const std::string member = MakeStable("stable");
  auto request = MemberCommit(member, 1, 5);
  request.set_group_id("stable");
  Commit(request);
  ASSERT_EQ(StateOf("stable"), v1::GROUP_STATE_STABLE);
  EXPECT_EQ(coordinator_->DescribeGroup("stable").partitions_size(), 1);
}

TEST_F(OffsetCallsTest, AnOperatorSetsOffsetsOfAnEmptyGroupOnly) {
  const std::string member = MakeStable("g");
  auto seek = CommitOf("g", 0, 1);
  seek.set_administrative(true);
  EXPECT_EQ(CodeOfCommit(Commit(seek)), ErrorCode::kNonEmptyGroup);
  env_.world.RunFor(11'000'000);  // it is gone
  EXPECT_EQ(CodeOfCommit(Commit(seek)), ErrorCode::kNone);
  EXPECT_EQ(Committed("g", 0), 1);
}

// A leader says where its group begins what it has never read, late.
TEST_F(OffsetCallsTest, WhereAGroupBeginsMovesNobodyWhoHasCommitted) {
  const std::string member = MakeStable("g");
  const auto begin = [&](int partition, int64_t offset, int32_t generation) {
    auto request = CommitOf("g", partition, offset);
    request.set_member_id(member);
    request.set_generation_id(generation);
    request.set_administrative(true);
    return Commit(request);
  };
  EXPECT_EQ(CodeOfCommit(begin(0, 5, 0)), ErrorCode::kIllegalGeneration);
  EXPECT_EQ(CodeOfCommit(begin(0, 5, 1)), ErrorCode::kNone);
  EXPECT_EQ(CodeOfCommit(begin(0, 9, 1)), ErrorCode::kInvalidCommitOffset);
  EXPECT_EQ(Committed("g", 0), 5);
  // Nor one whose commit is on its way.
  replica_.commits_at_once = false;
  auto reads = CommitOf("g", 1, 20);
  reads.set_member_id(member);
  reads.set_generation_id(1);
  const auto first = Commit(reads);
  const auto late = begin(1, 10, 1);
  replica_.Commit();
  EXPECT_EQ(CodeOfCommit(first), ErrorCode::kNone);
  EXPECT_EQ(CodeOfCommit(late), ErrorCode::kInvalidCommitOffset);
  EXPECT_EQ(Committed("g", 1), 20);
}

TEST_F(OffsetCallsTest, AReaderMayNameItself) {
  const std::string member = MakeStable("g");
  v1::GroupOffsetsQuery query;
  query.set_group_id("g");
  query.set_member_id(member);
  query.set_generation_id(1);
  EXPECT_FALSE(coordinator_->FetchOffsets(query).has_error());
  query.set_generation_id(2);
  EXPECT_EQ(coordinator_->FetchOffsets(query).error().code(),
            v1::ERROR_CODE_ILLEGAL_GENERATION);
  query.set_member_id("other");
  EXPECT_EQ(coordinator_->FetchOffsets(query).error().code(),
            v1::ERROR_CODE_UNKNOWN_MEMBER_ID);
}

TEST_F(OffsetCallsTest, ItsOwnViewIsReadWhoeverLeads) {
  Commit(CommitOf("g", 0, 7));
  StopLeading();
  EXPECT_EQ(CodeFromNumber(static_cast<int32_t>(Fetch("g").error().code())),
            ErrorCode::kNotCoordinator);
  v1::GroupOffsetsQuery query;
  query.set_group_id("g");
  const v1::GroupOffsets own = coordinator_->FetchOwnView(query);
  EXPECT_FALSE(own.has_error()) << own.DebugString();
  EXPECT_EQ(own.applied_offset(), replica_.leo().value());
  ASSERT_EQ(own.offsets_size(), 1);
  EXPECT_EQ(own.offsets(0).offset(), 7);
}

// A replica's view is compared with the others' by whoever runs the cluster:
// no member, so none is looked for.
TEST_F(OffsetCallsTest, AReaderOfItsOwnViewIsNoMember) {
  const std::string member = MakeStable("g");
  Commit(MemberCommit(member, 1, 5));
  v1::GroupOffsetsQuery query;
  query.set_group_id("g");
  query.set_member_id("other");
  query.set_generation_id(9);
  ASSERT_EQ(coordinator_->FetchOffsets(query).error().code(),
            v1::ERROR_CODE_UNKNOWN_MEMBER_ID);
  const v1::GroupOffsets own = coordinator_->FetchOwnView(query);
  EXPECT_FALSE(own.has_error()) << own.DebugString();
  ASSERT_EQ(own.offsets_size(), 1);
  EXPECT_EQ(own.offsets(0).offset(), 5);
  // A follower does not know any member, and answers all the same.
  StopLeading();
  EXPECT_EQ(coordinator_->FetchOwnView(query).offsets_size(), 1);
}

TEST_F(OffsetCallsTest, NamedPartitionsAreAnsweredInOrder) {
  Commit(CommitOf("g", 2, 5));
  v1::GroupOffsetsQuery query;
  query.set_group_id("g");
  auto* topic = query.add_topics();
  topic->mutable_topic()->set_id(orders_.topic_id.ToBytes());
  topic->add_partitions(3);
  topic->add_partitions(2);
  topic->add_partitions(7);
  const auto found = coordinator_->FetchOffsets(query);
  ASSERT_EQ(found.offsets_size(), 3);
  EXPECT_EQ(found.offsets(0).offset(), -1);
  EXPECT_FALSE(found.offsets(0).has_error());
  EXPECT_EQ(found.offsets(1).offset(), 5);
  EXPECT_TRUE(found.offsets(1).topic().has_id());
  EXPECT_EQ(found.offsets(2).error().code(),
            v1::ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION);
}

TEST_F(OffsetCallsTest, CommitsAreJudgedBesideTheirPartition) {
  for (int i = 1; i <= 4; ++i) {
    Commit(CommitOf("g", 0, 10 * i));
    coordinator_->lag_windows().NoteHighWatermark(
        orders_, Offset(30 * i), env_.world.WallMillis());
    env_.world.RunFor(10'000'000);
  }
  const auto described = coordinator_->DescribeGroup("g").partitions(0);
  EXPECT_EQ(described.state(), v1::LAG_STATE_WARN);
  EXPECT_DOUBLE_EQ(described.read_records_per_s(), 1);
  EXPECT_DOUBLE_EQ(described.append_records_per_s(), 3);
  Delete("g");
  EXPECT_TRUE(coordinator_->lag_windows().Watched().empty());
}

// ---- Deleting ----

TEST_F(OffsetCallsTest, DeletesTheOffsetsOfATopic) {
  Commit(CommitOf("g", 0, 5));
  Commit(CommitOf("g", 1, 6));
  EXPECT_EQ(Delete("g").results_size(), 2);
  EXPECT_EQ(Fetch("g").offsets_size(), 0);
  EXPECT_EQ(Delete("nobody").error().code(),
            v1::ERROR_CODE_GROUP_ID_NOT_FOUND);
}

TEST_F(OffsetCallsTest, WhatMayBeSubscribedIsNotDeleted) {
  const std::string member = MakeStable("g");
  Commit(MemberCommit(member, 1, 5));
  const auto refused = Delete("g");
  ASSERT_EQ(refused.results_size(), 1);
  EXPECT_EQ(refused.results(0).error().code(),
            v1::ERROR_CODE_GROUP_SUBSCRIBED_TO_TOPIC);
  EXPECT_EQ(Committed("g", 0), 5);
}

TEST_F(OffsetCallsTest, AnEmptyGroupGoesWithItsOffsets) {
  Commit(CommitOf("g", 0, 5));
  Commit(CommitOf("h", 0, 6));
  EXPECT_FALSE(DeleteGroup("g").has_error());
  EXPECT_EQ(Fetch("g").offsets_size(), 0);
  EXPECT_EQ(Committed("h", 0), 6);
  EXPECT_EQ(DeleteGroup("g").error().code(),
            v1::ERROR_CODE_GROUP_ID_NOT_FOUND);
  MakeStable("i");
  EXPECT_EQ(DeleteGroup("i").error().code(), v1::ERROR_CODE_NON_EMPTY_GROUP);
}

// A commit that is on its way into the log goes with the group.
TEST_F(OffsetCallsTest, ADeletedGroupLeavesNothingBehind) {
  Commit(CommitOf("g", 0, 5));
  replica_.commits_at_once = false;
  const auto late = Commit(CommitOf("g", 1, 6));
  Answered<v1::DeleteGroupResult> deleted;
  coordinator_->DeleteGroup("g", deleted.Reply());
  EXPECT_FALSE(deleted.came());
  EXPECT_EQ(CodeOfCommit(Commit(CommitOf("g", 2, 7))),
            ErrorCode::kCoordinatorNotAvailable);
  replica_.Commit();
  EXPECT_TRUE(late.came());
  EXPECT_FALSE(deleted.get().has_error());
  EXPECT_EQ(Fetch("g").offsets_size(), 0);
}

// ---- What goes by itself ----

TEST_F(OffsetCallsTest, OffsetsOfADeletedTopicGo) {
  Commit(CommitOf("g", 0, 5));
  v1::DeleteTopicsRequest request;
  request.add_topics()->set_name("orders");
  const auto deleted =
      TopicControl(metadata_.image(), metadata_.configs()).Delete(request);
  ASSERT_TRUE(deleted.ok());
  metadata_.Apply(deleted->batch);
  replica_.metadata = metadata_.shared();
  coordinator_->OnTopicsRemoved();
  env_.Settle();
  EXPECT_EQ(counters_.offsets_expired, 1);
  // F72: the name is somebody else's now.
  metadata_.CreateOn("orders", {1}, {}, 4);
  replica_.metadata = metadata_.shared();
  EXPECT_EQ(Fetch("g").offsets_size(), 0);
  EXPECT_EQ(Committed("g", 0), -1);
}

TEST_F(OffsetCallsTest, WhileTheTopicIsThereNothingExpires) {
  Commit(CommitOf("g", 0, 5));
  env_.world.RunFor(int64_t{30} * 24 * 3'600 * 1'000'000);
  EXPECT_EQ(Committed("g", 0), 5);
}

TEST_F(OffsetCallsTest, ByAgeOffsetsOutOfUseGo) {
  replica_.observer = nullptr;
  coordinator_.reset();
  config_.expiry = offsets::ExpiryRule::kByAge;
  config_.retention_ms = 3'600'000;
  Start();
  Serve(2);
  Commit(CommitOf("g", 0, 5));
  env_.world.RunFor(int64_t{1'800} * 1'000'000);
  Commit(CommitOf("g", 1, 6));
  env_.world.RunFor(int64_t{2'500} * 1'000'000);
  EXPECT_EQ(Committed("g", 0), -1);
  EXPECT_EQ(Committed("g", 1), 6);
  EXPECT_EQ(counters_.offsets_expired, 1);
  EXPECT_FALSE(coordinator_->DescribeGroup("g").has_error());
  // The group goes with the last of them.
  env_.world.RunFor(int64_t{2'500} * 1'000'000);
  EXPECT_EQ(Committed("g", 1), -1);
  EXPECT_EQ(counters_.offsets_expired, 2);
  EXPECT_EQ(coordinator_->DescribeGroup("g").error().code(),
            v1::ERROR_CODE_GROUP_ID_NOT_FOUND);
  EXPECT_TRUE(coordinator_->ListGroups("", 10, {})->empty());
}

// GR8, through the coordinator: the clock of a group that had members starts
// when the last one is gone.
TEST_F(OffsetCallsTest, ByAgeNothingGoesWhileAMemberIsThere) {
  replica_.observer = nullptr;
  coordinator_.reset();
  config_.expiry = offsets::ExpiryRule::kByAge;
  config_.retention_ms = 3'600'000;
  Start();
  Serve(2);
  const std::string member = MakeStable("g");
  Commit(MemberCommit(member, 1, 5));
  for (int i = 0; i < 2'000; ++i) {
    env_.world.RunFor(4'000'000);
    ASSERT_EQ(Heartbeat("g", member, 1), ErrorCode::kNone);
  }
  EXPECT_EQ(Committed("g", 0), 5);
  env_.world.RunFor(int64_t{3'000} * 1'000'000);
  EXPECT_EQ(StateOf("g"), v1::GROUP_STATE_EMPTY);
  EXPECT_EQ(Committed("g", 0), 5);
  env_.world.RunFor(int64_t{1'500} * 1'000'000);
  EXPECT_EQ(Committed("g", 0), -1);
  EXPECT_EQ(coordinator_->DescribeGroup("g").error().code(),
            v1::ERROR_CODE_GROUP_ID_NOT_FOUND);
}

}  // namespace
}  // namespace sluice::coordinator
