// Whole consumers in one group, against brokers in memory and the coordinator's
// own rules, in virtual time.
#include "client/group/group_consumer.h"

#include <gtest/gtest.h>

#include "client/fake_cluster_testing.h"
#include "client/group/fake_groups_testing.h"
#include "client/producer.h"
#include "common/base/error.h"

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;
using membership::Partitions;

NamedPartition Tp(int partition) { return {"t", PartitionIndex(partition)}; }

// A consumer, and the application that polls it as fast as it can.
struct App {
  std::unique_ptr<GroupConsumer> consumer;
  bool polls = true;
  bool polling = false;
  std::vector<Rebalance> rebalances;
  std::map<NamedPartition, std::vector<int>> read;
  std::vector<absl::Status> errors;
  std::function<void(const Rebalance&)> on_rebalance;
  size_t batch_records_max = 0;

  size_t count() const {
    size_t all = 0;
    for (const auto& [tp, values] : read) all += values.size();
    return all;
  }
};

class GroupConsumerTest : public testing::Test {
 protected:
  GroupConsumerTest() {
    groups_.config.initial_rebalance_delay_us = 100'000;
    deps_.client = {executor_.get(), &world_, &cluster_, 1};
    deps_.options.bootstrap = {FakeCluster::EndpointOf(NodeId(1)),
                               FakeCluster::EndpointOf(NodeId(2))};
    metadata_ = std::make_unique<MetadataCache>(deps_.client, deps_.options);
    deps_.metadata = metadata_.get();
    deps_.groups = &groups_;
    producer_ = std::make_unique<Producer>(deps_.client, deps_.options,
                                           ProducerOptions(), metadata_.get());
    options_.membership.group_id = "g";
    options_.membership.session_timeout_ms = 10'000;
    options_.membership.heartbeat_interval_ms = 500;
    options_.membership.max_poll_interval_ms = 30'000;
    options_.reset = GroupReset::kEarliest;
    options_.auto_commit_interval_ms = 1'000;
  }
  void TearDown() override {
    for (auto& app : apps_) app->consumer.reset();
    producer_.reset();
  }

  void Produce(int partition, int first, int count) {
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
    ASSERT_TRUE(world_.RunUntil([&] { return acked == count; }, 10 * kSecond));
  }

  App& Start() {
    App& app = *apps_.emplace_back(std::make_unique<App>());
    auto deps = deps_;
    deps.client.seed = apps_.size();
    app.consumer = std::make_unique<GroupConsumer>(deps, options_);
    EXPECT_TRUE(app.consumer->Subscribe({"t"}).ok());
    Poll(app);
    return app;
  }

  void Poll(App& app) {
    if (!app.polls || app.polling) return;
    app.polling = true;
    app.consumer->Poll(kSecond / 2, 1 << 20,
                       [this, &app](absl::StatusOr<GroupPoll> polled) {
                         app.polling = false;
                         Take(app, std::move(polled));
                       });
  }
  void Take(App& app, absl::StatusOr<GroupPoll> polled) {
    if (!polled.ok()) {
      app.errors.push_back(polled.status());
      if (CodeOf(polled.status()) == ErrorCode::kShuttingDown) return;
    } else if (polled->rebalance.has_value()) {
      app.rebalances.push_back(*polled->rebalance);
      if (app.on_rebalance) app.on_rebalance(*polled->rebalance);
    } else {
      size_t records = 0;
      for (const FetchedBatch& batch : polled->batches) {
        EXPECT_TRUE(ForEachRecord(batch, [&](const DecodedRecord& record) {
                      app.read[batch.tp].push_back(
                          std::stoi(std::string(*record.value)));
                      ++records;
                      return true;
                    }).ok());
      }
      app.batch_records_max = std::max(app.batch_records_max, records);
    }
    executor_->PostAfter(1'000, [this, &app] { Poll(app); });
  }
  template <class Done>
  bool Until(Done done, int64_t within_us = 20 * kSecond) {
    return world_.RunUntil(done, within_us);
  }
  size_t Total() const {
    size_t all = 0;
    for (const auto& app : apps_) all += app->count();
    return all;
  }
  absl::Status Close(App& app) {
    std::optional<absl::Status> closed;
    app.polls = false;
    app.consumer->Close([&](const absl::Status& s) { closed = s; });
    EXPECT_TRUE(Until([&] { return closed.has_value(); }));
    return closed.value_or(absl::OkStatus());
  }
  // No partition's committed offset ever went back.
  void ExpectNoCommitWentBack() {
    std::map<NamedPartition, Offset> last;
    for (const auto& commit : groups_.commits) {
      const auto [known, fresh] = last.try_emplace(commit.tp, commit.offset);
      EXPECT_GE(commit.offset, known->second) << commit.tp.ToString();
      known->second = std::max(known->second, commit.offset);
    }
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 3};
  FakeGroups groups_{&world_, &cluster_};
  GroupMember::Deps deps_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Producer> producer_;
  GroupConsumerOptions options_;
  std::vector<std::unique_ptr<App>> apps_;
};

TEST_F(GroupConsumerTest, OneMemberReadsEverythingAndCommitsIt) {
  cluster_.AddTopic("t", 3);
  for (int p = 0; p < 3; ++p) Produce(p, p * 100, 10);
  App& app = Start();
  ASSERT_TRUE(Until([&] { return app.count() == 30; }));
  ASSERT_EQ(app.rebalances.size(), 1u);
  EXPECT_EQ(app.rebalances[0].kind, Rebalance::Kind::kAssigned);
  EXPECT_EQ(app.rebalances[0].partitions, (Partitions{Tp(0), Tp(1), Tp(2)}));
  EXPECT_TRUE(Close(app).ok());
  for (int p = 0; p < 3; ++p) {
    EXPECT_EQ(groups_.committed["g"][Tp(p)].offset, Offset(10));
    EXPECT_EQ(groups_.committed["g"][Tp(p)].leader_epoch, LeaderEpoch(1));
  }
  // The next one goes on there.
  Produce(1, 500, 2);
  App& next = Start();
  ASSERT_TRUE(Until([&] { return next.count() == 2; }));
  EXPECT_EQ(next.read[Tp(1)], (std::vector<int>{500, 501}));
}

TEST_F(GroupConsumerTest, MembersShareAndTakeOverFromWhoLeaves) {
  cluster_.AddTopic("t", 4);
  for (int p = 0; p < 4; ++p) Produce(p, 0, 50);
  App& a = Start();
  App& b = Start();
  ASSERT_TRUE(Until([&] { return a.count() + b.count() >= 200; }));
  ASSERT_TRUE(Until([&] {
    return a.consumer->Assignment().size() == 2 &&
           b.consumer->Assignment().size() == 2;
  }));
  EXPECT_TRUE(Close(a).ok());
  for (int p = 0; p < 4; ++p) Produce(p, 50, 5);
  ASSERT_TRUE(Until([&] { return b.consumer->Assignment().size() == 4; }));
  ASSERT_TRUE(Until([&] { return Total() == 220; }));
  for (int p = 0; p < 4; ++p) {
    std::set<int> values(a.read[Tp(p)].begin(), a.read[Tp(p)].end());
    values.insert(b.read[Tp(p)].begin(), b.read[Tp(p)].end());
    EXPECT_EQ(values.size(), 55u);
  }
  ExpectNoCommitWentBack();
}

TEST_F(GroupConsumerTest, WhoDiesIsReplacedAndNothingIsSkipped) {
  cluster_.AddTopic("t", 2);
  App& a = Start();
  App& b = Start();
  ASSERT_TRUE(Until([&] {
    return a.consumer->Assignment().size() == 1 &&
           b.consumer->Assignment().size() == 1;
  }));
  for (int p = 0; p < 2; ++p) Produce(p, 0, 20);
  ASSERT_TRUE(Until([&] { return Total() >= 40; }));
  a.polls = false;
  a.consumer.reset();  // without a word
  for (int p = 0; p < 2; ++p) Produce(p, 20, 20);
  ASSERT_TRUE(
      Until([&] { return b.consumer->Assignment().size() == 2; }, 60 * kSecond));
  ASSERT_TRUE(Until([&] {
    std::set<int> both[2];
    for (int p = 0; p < 2; ++p) {
      both[p].insert(a.read[Tp(p)].begin(), a.read[Tp(p)].end());
      both[p].insert(b.read[Tp(p)].begin(), b.read[Tp(p)].end());
    }
    return both[0].size() == 40 && both[1].size() == 40;
  }));
  ExpectNoCommitWentBack();
}

TEST_F(GroupConsumerTest, ACooperativeGroupMovesOnlyWhatHasTo) {
  options_.membership.assignors = {consumer::Assignor::kCooperativeSticky};
  cluster_.AddTopic("t", 4);
  App& a = Start();
  ASSERT_TRUE(Until([&] { return a.consumer->Assignment().size() == 4; }));
  App& b = Start();
  ASSERT_TRUE(Until([&] {
    return a.consumer->Assignment().size() == 2 &&
           b.consumer->Assignment().size() == 2;
  }));
  size_t revoked = 0;
  for (const Rebalance& r : a.rebalances) {
    EXPECT_NE(r.kind, Rebalance::Kind::kLost);
    if (r.kind == Rebalance::Kind::kRevoked) revoked += r.partitions.size();
  }
  EXPECT_EQ(revoked, 2u);
  for (int p = 0; p < 4; ++p) Produce(p, 0, 10);
  ASSERT_TRUE(Until([&] { return Total() == 40; }));
}

TEST_F(GroupConsumerTest, OnlyWhatAnEarlierPollGaveIsCommitted) {
  cluster_.AddTopic("t", 1);
  Produce(0, 0, 10);
  options_.max_poll_records = 4;
  options_.auto_commit_interval_ms = 0;
  App& app = Start();
  app.on_rebalance = [&](const Rebalance&) {};
  ASSERT_TRUE(Until([&] { return app.count() == 4; }));
  app.polls = false;
  world_.RunFor(3 * kSecond);
  EXPECT_FALSE(groups_.committed["g"].contains(Tp(0)));  // it may be at work
  app.polls = true;
  Poll(app);
  ASSERT_TRUE(Until([&] { return app.count() == 8; }));
  app.polls = false;
  world_.RunFor(3 * kSecond);
  EXPECT_EQ(groups_.committed["g"][Tp(0)].offset, Offset(4));
  EXPECT_EQ(app.batch_records_max, 4u);
}

TEST_F(GroupConsumerTest, APartitionIsGivenBackBetweenTwoPollsOnly) {
  cluster_.AddTopic("t", 2);
  for (int p = 0; p < 2; ++p) Produce(p, 0, 3);
  App& a = Start();
  ASSERT_TRUE(Until([&] { return a.count() == 6; }));
  a.polls = false;
  App& b = Start();
  world_.RunFor(5 * kSecond);
  EXPECT_TRUE(b.rebalances.empty());  // waits for the one at work
  a.polls = true;
  Poll(a);
  ASSERT_TRUE(Until([&] { return b.consumer->Assignment().size() == 1; }));
  ASSERT_GE(a.rebalances.size(), 2u);
  EXPECT_EQ(a.rebalances[1].kind, Rebalance::Kind::kRevoked);
  world_.RunFor(3 * kSecond);
  EXPECT_EQ(b.count(), 0u);  // all of it was committed before
}

TEST_F(GroupConsumerTest, WhoIsStuckLosesItsPartitions) {
  cluster_.AddTopic("t", 2);
  App& a = Start();
  App& b = Start();
  ASSERT_TRUE(Until([&] {
    return a.consumer->Assignment().size() == 1 &&
           b.consumer->Assignment().size() == 1;
  }));
  a.polls = false;  // and its heartbeats go on
  ASSERT_TRUE(
      Until([&] { return b.consumer->Assignment().size() == 2; }, 60 * kSecond));
  a.polls = true;
  Poll(a);
  ASSERT_TRUE(Until([&] {
    return !a.rebalances.empty() &&
           a.rebalances.back().kind != Rebalance::Kind::kAssigned;
  }));
  EXPECT_EQ(a.rebalances.back().kind, Rebalance::Kind::kLost);
  ASSERT_TRUE(Until([&] {
    return a.consumer->Assignment().size() == 1 &&
           b.consumer->Assignment().size() == 1;
  }));
}

TEST_F(GroupConsumerTest, ACoordinatorThatDiesCostsNoRebalance) {
  cluster_.AddTopic("t", 2);
  App& a = Start();
  App& b = Start();
  ASSERT_TRUE(Until([&] {
    return a.consumer->Assignment().size() == 1 &&
           b.consumer->Assignment().size() == 1;
  }));
  const size_t before = a.rebalances.size() + b.rebalances.size();
  const auto generation = groups_.core("g").generation();
  groups_.down.insert(NodeId(1));
  world_.RunFor(kSecond);
  groups_.MoveCoordinator(NodeId(2));
  for (int p = 0; p < 2; ++p) Produce(p, 0, 10);
  ASSERT_TRUE(Until([&] {
    return groups_.committed["g"][Tp(0)].offset == Offset(10) &&
           groups_.committed["g"][Tp(1)].offset == Offset(10);
  }));
  EXPECT_EQ(groups_.core("g").generation(), generation);
  EXPECT_EQ(a.rebalances.size() + b.rebalances.size(), before);
  EXPECT_EQ(Total(), 20u);
}

TEST_F(GroupConsumerTest, ACommitWhoseAnswerIsLostIsSentAgainBeforeLaterOnes) {
  cluster_.AddTopic("t", 1);
  Produce(0, 0, 10);
  options_.auto_commit = false;
  options_.max_poll_records = 5;
  App& app = Start();
  ASSERT_TRUE(Until([&] { return app.count() == 5; }));
  int lost = 2;
  groups_.fate = [&](NodeId, const std::string& method) {
    return method == "CommitOffsets" && lost-- > 0
               ? FakeGroups::Fate::kLoseAnswer
               : FakeGroups::Fate::kDeliver;
  };
  std::vector<std::string> done;
  app.consumer->Commit([&](const absl::Status& s) {
    EXPECT_TRUE(s.ok()) << s;
    done.push_back("first");
  });
  ASSERT_TRUE(Until([&] { return app.count() == 10; }));
  app.consumer->Commit([&](const absl::Status& s) {
    EXPECT_TRUE(s.ok()) << s;
    done.push_back("second");
  });
  ASSERT_TRUE(Until([&] { return done.size() == 2; }));
  EXPECT_EQ(done, (std::vector<std::string>{"first", "second"}));
  EXPECT_EQ(groups_.commits.size(), 4u);
  ExpectNoCommitWentBack();
}

TEST_F(GroupConsumerTest, ANewGroupBeginsAtTheEndAndSaysSoForAllPartitions) {
  options_.reset = GroupReset::kLatest;
  cluster_.AddTopic("t", 3);
  for (int p = 0; p < 3; ++p) Produce(p, 0, 10);
  App& a = Start();
  App& b = Start();
  ASSERT_TRUE(Until([&] { return groups_.committed["g"].size() == 3; }));
  for (int p = 0; p < 3; ++p) {
    EXPECT_EQ(groups_.committed["g"][Tp(p)].offset, Offset(10));
  }
  for (int p = 0; p < 3; ++p) Produce(p, 10, 5);
  ASSERT_TRUE(Until([&] { return Total() == 15; }));
  world_.RunFor(3 * kSecond);
  EXPECT_EQ(a.count() + b.count(), 15u);
}

TEST_F(GroupConsumerTest, ANewGroupMayBeginAtAnAge) {
  options_.reset = GroupReset::kDuration;
  options_.reset_back_ms = 60'000;
  cluster_.AddTopic("t", 2);
  Produce(0, 0, 3);
  world_.RunFor(120 * kSecond);
  Produce(0, 3, 2);
  App& app = Start();
  ASSERT_TRUE(Until([&] { return app.count() == 2; }));
  EXPECT_EQ(app.read[Tp(0)], (std::vector<int>{3, 4}));
  // Also of the partition in which nothing is so young.
  EXPECT_EQ(groups_.committed["g"][Tp(1)].offset, Offset(0));
}

TEST_F(GroupConsumerTest, PartitionsAddedMeanwhileAreReadFromTheirFirstRecord) {
  options_.reset = GroupReset::kLatest;
  cluster_.AddTopic("t", 1);
  Produce(0, 0, 3);
  App& a = Start();
  ASSERT_TRUE(Until([&] { return groups_.committed["g"].size() == 1; }));
  // Added, and written to, before anybody in the group knows.
  auto& partitions = cluster_.topic("t").partitions;
  partitions.emplace_back().leader = NodeId(2);
  metadata_->Refresh();
  world_.RunFor(kSecond / 10);
  Produce(1, 100, 4);
  ASSERT_TRUE(Until([&] { return a.read[Tp(1)].size() == 4; }, 30 * kSecond));
  EXPECT_TRUE(Close(a).ok());
  // And while nobody was there.
  partitions.emplace_back().leader = NodeId(3);
  metadata_->Refresh();
  world_.RunFor(kSecond / 10);
  Produce(2, 200, 4);
  App& b = Start();
  ASSERT_TRUE(Until([&] { return b.read[Tp(2)].size() == 4; }));
  EXPECT_EQ(b.count(), 4u);
}

TEST_F(GroupConsumerTest, WithoutAResetPolicyAnUnreadTopicIsAnError) {
  options_.reset = GroupReset::kNone;
  cluster_.AddTopic("t", 1);
  Produce(0, 0, 3);
  App& app = Start();
  ASSERT_TRUE(Until([&] { return !app.errors.empty(); }));
  EXPECT_EQ(CodeOf(app.errors[0]), ErrorCode::kOffsetOutOfRange);
  EXPECT_TRUE(app.consumer->Seek(Tp(0), Offset(1)).ok());
  ASSERT_TRUE(Until([&] { return app.count() == 2; }));
}

TEST_F(GroupConsumerTest, SeekPauseAndResumeAreOfOnePartition) {
  cluster_.AddTopic("t", 2);
  for (int p = 0; p < 2; ++p) Produce(p, 0, 5);
  App& app = Start();
  app.on_rebalance = [&](const Rebalance& r) {
    if (r.kind != Rebalance::Kind::kAssigned) return;
    // Where the application says, not where the group stands.
    EXPECT_TRUE(app.consumer->Seek(Tp(0), Offset(3)).ok());
    EXPECT_TRUE(app.consumer->Pause(Tp(1)).ok());
  };
  ASSERT_TRUE(Until([&] { return app.count() == 2; }));
  world_.RunFor(3 * kSecond);
  EXPECT_EQ(app.read[Tp(0)], (std::vector<int>{3, 4}));
  EXPECT_TRUE(app.read[Tp(1)].empty());
  EXPECT_TRUE(app.consumer->Resume(Tp(1)).ok());
  ASSERT_TRUE(Until([&] { return app.read[Tp(1)].size() == 5; }));
  EXPECT_TRUE(app.consumer->Pause(Tp(0)).ok());
  Produce(0, 5, 1);
  world_.RunFor(2 * kSecond);
  EXPECT_EQ(app.read[Tp(0)].size(), 2u);
  EXPECT_EQ(CodeOf(app.consumer->Seek(Tp(7), Offset(0))),
            ErrorCode::kInvalidRequest);
  EXPECT_EQ(CodeOf(app.consumer->Pause(Tp(7))), ErrorCode::kInvalidRequest);
}

TEST_F(GroupConsumerTest, AStaticMemberComesBackWithoutARebalance) {
  cluster_.AddTopic("t", 2);
  options_.membership.instance_id = "i1";
  App& a = Start();
  options_.membership.instance_id = "i2";
  App& b = Start();
  ASSERT_TRUE(Until([&] {
    return a.consumer->Assignment().size() == 1 &&
           b.consumer->Assignment().size() == 1;
  }));
  const auto had = b.consumer->Assignment();
  const size_t seen = a.rebalances.size();
  EXPECT_TRUE(Close(b).ok());
  App& again = Start();
  ASSERT_TRUE(Until([&] { return again.consumer->Assignment() == had; }));
  EXPECT_EQ(a.rebalances.size(), seen);
  // A second process with its name ends the first.
  App& thief = Start();
  ASSERT_TRUE(Until([&] { return !again.errors.empty(); }));
  EXPECT_EQ(CodeOf(again.errors[0]), ErrorCode::kFencedInstanceId);
  ASSERT_TRUE(Until([&] { return thief.consumer->Assignment() == had; }));
}

TEST_F(GroupConsumerTest, ACommitOutsideAGenerationIsRefused) {
  cluster_.AddTopic("t", 1);
  App& app = *apps_.emplace_back(std::make_unique<App>());
  app.consumer = std::make_unique<GroupConsumer>(deps_, options_);
  EXPECT_EQ(CodeOf(app.consumer->Subscribe({})), ErrorCode::kInvalidRequest);
  std::optional<absl::Status> status;
  app.consumer->CommitOffsets({{Tp(0), {Offset(1)}}},
                              [&](const absl::Status& s) { status = s; });
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(CodeOf(*status), ErrorCode::kUnknownMemberId);
}

TEST_F(GroupConsumerTest, ClosingAnswersAWaitingPoll) {
  cluster_.AddTopic("t", 1);
  App& app = Start();
  ASSERT_TRUE(Until([&] { return app.consumer->Assignment().size() == 1; }));
  ASSERT_TRUE(Until([&] { return app.polling; }));
  EXPECT_TRUE(Close(app).ok());
  ASSERT_EQ(app.errors.size(), 1u);
  EXPECT_EQ(CodeOf(app.errors[0]), ErrorCode::kShuttingDown);
  EXPECT_EQ(groups_.core("g").member_count(), 0u);
}

}  // namespace
}  // namespace sluice
