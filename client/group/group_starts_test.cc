// Where members begin: at a time, where others have begun, and when their topic is
// made again (F72).
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/fake_cluster_testing.h"
#include "client/group/fake_groups_testing.h"
#include "client/group/group_consumer.h"
#include "client/producer.h"
#include "common/base/error.h"

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

NamedPartition Tp(int partition) { return {"t", PartitionIndex(partition)}; }

class GroupStartsTest : public testing::Test {
 protected:
  GroupStartsTest() {
    groups_.config.initial_rebalance_delay_us = 3 * kSecond;
    deps_.client = {executor_.get(), &world_, &cluster_, 1};
    deps_.options.bootstrap = {FakeCluster::EndpointOf(NodeId(1))};
    metadata_ = std::make_unique<MetadataCache>(deps_.client, deps_.options);
    deps_.metadata = metadata_.get();
    deps_.groups = &groups_;
    producer_ = std::make_unique<Producer>(deps_.client, deps_.options,
                                           ProducerOptions(), metadata_.get());
    options_.membership.group_id = "g";
    options_.reset = GroupReset::kEarliest;
    options_.auto_commit = false;
    cluster_.AddTopic("t", 2);
  }
  void TearDown() override {
    consumer_.reset();
    producer_.reset();
  }

  void Produce(int first, int count, int partition = 0) {
    int acked = 0;
    for (int i = first; i < first + count; ++i) {
      ProducerRecord record;
      record.topic = "t";
      record.value = std::to_string(i);
      record.partition = PartitionIndex(partition);
      ASSERT_TRUE(producer_
                      ->Send(std::move(record),
                             [&](const auto& r) { acked += r.ok(); })
                      .ok());
    }
    ASSERT_TRUE(Until([&] { return acked == count; }));
  }
  // Polls all the time, until it `stands_`.
  void Start() {
    consumer_ = std::make_unique<GroupConsumer>(deps_, options_);
    ASSERT_TRUE(consumer_->Subscribe({"t"}).ok());
    Poll();
  }
  void Poll() {
    consumer_->Poll(kSecond, 1 << 20, [this](absl::StatusOr<GroupPoll> polled) {
      if (!polled.ok()) return;
      for (const FetchedBatch& batch : polled->batches) {
        EXPECT_TRUE(ForEachRecord(batch, [&](const DecodedRecord& record) {
                      read_.push_back(std::stoi(std::string(*record.value)));
                      return true;
                    }).ok());
      }
      executor_->PostAfter(1'000, [this] {
        if (!stands_) Poll();
      });
    });
  }
  bool Until(const std::function<bool()>& done) {
    return world_.RunUntil(done, 60 * kSecond);
  }
  bool UntilRead(size_t count) {
    return Until([&] { return read_.size() >= count; });
  }
  std::optional<absl::Status> Commit(int64_t within_us) {
    std::optional<absl::Status> committed;
    consumer_->Commit([&](const absl::Status& s) { committed = s; });
    world_.RunUntil([&] { return committed.has_value(); }, within_us);
    return committed;
  }
  // What a reader of the group would be told now.
  CommittedPositions Committed() {
    std::optional<absl::StatusOr<CommittedPositions>> found;
    consumer_->FetchCommitted({Tp(0), Tp(1)},
                              [&](const auto& answer) { found = answer; });
    EXPECT_TRUE(Until([&] { return found.has_value(); }));
    EXPECT_TRUE(found->ok()) << found->status();
    return found->ok() ? **found : CommittedPositions();
  }
  static std::vector<int> Range(int first, int count) {
    std::vector<int> all;
    for (int i = first; i < first + count; ++i) all.push_back(i);
    return all;
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 1};
  FakeGroups groups_{&world_, &cluster_};
  GroupMember::Deps deps_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Producer> producer_;
  GroupConsumerOptions options_;
  std::unique_ptr<GroupConsumer> consumer_;
  bool stands_ = false;
  std::vector<int> read_;
};

// A member that waited for its leader in vain has begun, and committed, when the
// leader says where the group begins; or the leader says it twice.
TEST_F(GroupStartsTest, ALeaderThatComesLateMovesNobody) {
  options_.reset = GroupReset::kLatest;
  Produce(0, 10, 0);
  Produce(100, 10, 1);
  groups_.fate = [this](NodeId, const std::string& method) {
    if (method == "CommitOffsets" && groups_.committed["g"].empty()) {
      groups_.committed["g"][Tp(1)] = {Offset(5), kNoLeaderEpoch, "",
                                       cluster_.IdOf("t")};
    }
    return FakeGroups::Fate::kDeliver;
  };
  Start();
  ASSERT_TRUE(UntilRead(5));
  EXPECT_EQ(read_, Range(105, 5));
  EXPECT_EQ(groups_.committed["g"][Tp(0)].offset, Offset(10));
  ASSERT_EQ(groups_.commits.size(), 1u);
  EXPECT_EQ(groups_.commits[0].tp, Tp(0));
}

// However long it takes until the group lets it in.
TEST_F(GroupStartsTest, ATimeIsTheTimeThatWasSaid) {
  Produce(0, 3);
  world_.RunFor(2 * kSecond);
  options_.reset = GroupReset::kTime;
  options_.reset_time_ms = world_.WallMillis();
  Produce(10, 2);
  world_.RunFor(kSecond);
  Start();
  ASSERT_TRUE(UntilRead(2));
  world_.RunFor(5 * kSecond);
  EXPECT_EQ(read_, Range(10, 2));
}

TEST_F(GroupStartsTest, ATopicThatIsMadeAgainIsReadFromItsFirstRecord) {
  Produce(0, 10);
  Start();
  ASSERT_TRUE(UntilRead(10));
  ASSERT_EQ(Commit(kSecond), absl::OkStatus());
  read_.clear();
  cluster_.MakeAgain("t");
  Produce(100, 10);  // as many: no offset tells
  ASSERT_TRUE(UntilRead(10));
  EXPECT_EQ(read_, Range(100, 10));
  EXPECT_TRUE(Committed().empty()) << "it inherited an offset";
  ASSERT_EQ(Commit(kSecond), absl::OkStatus());
  EXPECT_EQ(Committed()[Tp(0)].offset, Offset(10));
  EXPECT_EQ(Committed()[Tp(0)].topic_id, cluster_.topic("t").id);
}

// Auto-commit too: the offset is the one that it committed last, of the other.
TEST_F(GroupStartsTest, TheSameOffsetOfAnotherTopicIsCommitted) {
  options_.auto_commit = true;
  options_.auto_commit_interval_ms = 500;
  Produce(0, 10);
  Start();
  ASSERT_TRUE(UntilRead(10));
  world_.RunFor(3 * kSecond);
  ASSERT_EQ(Committed()[Tp(0)].offset, Offset(10));
  cluster_.MakeAgain("t");
  Produce(100, 10);
  ASSERT_TRUE(UntilRead(20));
  world_.RunFor(3 * kSecond);
  EXPECT_EQ(Committed()[Tp(0)].offset, Offset(10));
}

// It would have the group begin the new topic in its middle, or reset.
TEST_F(GroupStartsTest, ALateCommitDoesNotCountForATopicOfTheSameName) {
  Produce(0, 10);
  Produce(50, 1, 1);
  Start();
  ASSERT_TRUE(UntilRead(11));
  stands_ = true;  // at work on them
  world_.RunFor(2 * kSecond);
  cluster_.MakeAgain("t");
  const auto committed = Commit(2 * kSecond);
  ASSERT_TRUE(committed.has_value()) << "it asked on in vain";
  EXPECT_EQ(CodeOf(*committed), ErrorCode::kUnknownTopicId);
  EXPECT_NE(committed->message().find("made again"), std::string::npos)
      << *committed;
  EXPECT_TRUE(groups_.commits.empty());
  metadata_->Refresh();
  world_.RunFor(kSecond);
  EXPECT_TRUE(Committed().empty());
}

// A static member, which leads: it is not asked to assign when it comes back.
TEST_F(GroupStartsTest, WhatWasAddedWhileAStaticLeaderWasAwayIsRead) {
  options_.membership.instance_id = "i";
  Produce(0, 10);
  Start();
  ASSERT_TRUE(UntilRead(10));
  ASSERT_EQ(Commit(kSecond), absl::OkStatus());
  const auto generation = groups_.core("g").generation();
  for (const bool grows : {false, true}) {
    stands_ = true;
    world_.RunFor(2 * kSecond);
    consumer_.reset();  // as a process that is killed
    if (grows) {
      cluster_.topic("t").partitions.emplace_back();
      metadata_->Refresh();
      world_.RunFor(kSecond);
      Produce(200, 5, 2);
    }
    stands_ = false;
    read_.clear();
    Start();
    world_.RunFor(15 * kSecond);
    EXPECT_EQ(groups_.core("g").generation() == generation, !grows);
  }
  EXPECT_EQ(read_, Range(200, 5));
}

// The coordinator has not heard of the topic yet: that is waited out.
TEST_F(GroupStartsTest, ACoordinatorThatLagsIsAskedAgain) {
  Produce(0, 10);
  Start();
  ASSERT_TRUE(UntilRead(10));
  groups_.lags = true;
  std::optional<absl::Status> committed;
  consumer_->Commit([&](const absl::Status& s) { committed = s; });
  world_.RunFor(2 * kSecond);
  EXPECT_FALSE(committed.has_value());
  groups_.lags = false;
  ASSERT_TRUE(Until([&] { return committed.has_value(); }));
  EXPECT_TRUE(committed->ok()) << *committed;
  EXPECT_EQ(Committed()[Tp(0)].offset, Offset(10));
}

}  // namespace
}  // namespace sluice
