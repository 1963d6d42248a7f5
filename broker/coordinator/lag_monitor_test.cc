// When lags are asked, of whom, and how many are told.
#include "broker/coordinator/lag_monitor.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/coordinator/coordinator_world_testing.h"
#include "storage/batch_testing.h"

namespace sluice::coordinator {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kEnd = 100;  // of every partition

// One shard with a coordinator of one partition.
class LagMonitorTest : public testing::Test {
 protected:
  LagMonitorTest() {
    metadata_.StartAll(1);
    metadata_.CreateOn("t", {1}, {}, 2'000);
    metadata_.CreateOn("other", {1}, {}, 1);
    EXPECT_TRUE(metadata_.EnsureInternal(kConsumerOffsetsTopic).ok());
    GroupCoordinators::Deps deps;
    deps.clock = &views_.world;
    deps.fs = &views_.fs;
    deps.io_executor = worker_.get();
    deps.files = views_.Files();
    deps.directories = {"/data"};
    deps.shards = {views_.shard()};
    deps.self = NodeId(1);
    deps.on_watch = [this] { monitor_->Wake(); };
    coordinators_ = std::make_unique<GroupCoordinators>(std::move(deps));
    monitor_ = std::make_unique<LagMonitor>(LagMonitor::Deps{
        Sources(), coordinators_.get(), {views_.shard()}});
  }
  ~LagMonitorTest() override { replica_.observer = nullptr; }

  LagSources Sources() {
    LagSources sources;
    sources.clock = &views_.world;
    sources.worker = worker_.get();
    sources.list_offsets = [this](const api::CallContext&,
                                  const api::ListOffsetsRequest& request,
                                  api::Answer<api::ListOffsetsResponse> done) {
      // Only lags need where logs begin.
      const bool of_lags = request.partitions[0].position ==
                           api::OffsetPosition::kEarliest;
      ++list_calls_;
      lag_calls_ += of_lags;
      api::ListOffsetsResponse response;
      for (const auto& asked : request.partitions) {
        auto& result = response.results.emplace_back();
        result.offset = asked.position == api::OffsetPosition::kEarliest
                            ? Offset(0)
                            : Offset(kEnd);
      }
      if (!holds_lags_ || !of_lags) return done(absl::OkStatus(), std::move(response));
      held_.push_back([done = std::move(done),
                       response = std::move(response)]() mutable {
        done(absl::OkStatus(), std::move(response));
      });
    };
    sources.fetch = [](const api::CallContext&, api::FetchRequest request,
                       api::Answer<api::FetchResponse> done) {
      TestBatch what;
      what.records = 1;
      what.timestamp_ms = SimWorld::kEpochWallMs;
      api::FetchResponse response;
      response.results.emplace_back().batches.push_back(MakeStoredBatch(
          request.partitions[0].offset, LeaderEpoch(1), what));
      done(absl::OkStatus(), std::move(response));
    };
    return sources;
  }

  // Hosts the partition, and leads it.
  void Host() {
    const TopicImage* topic = metadata_.image().FindTopic(kConsumerOffsetsTopic);
    ReplicaObservers::Found found;
    found.tp = {topic->id, PartitionIndex(0)};
    found.topic = topic;
    found.directory = "/data";
    found.epochs = &replica_.epochs();
    found.leo = replica_.leo();
    found.executor = views_.shard();
    tp_ = found.tp;
    observer_ = coordinators_->Observe(found);
    observer_->Attach(&replica_);
    replica_.observer = observer_.get();
    replica_.metadata = metadata_.shared();
    Lead(1);
  }
  void Lead(int32_t epoch) {
    OnShard([this, epoch] {
      replica_.epoch = LeaderEpoch(epoch);
      replica_.leso = replica_.leo();
      replica_.leads = true;
      replica_.commits_at_once = true;
      replica_.Commit();
    });
  }
  void OnShard(std::function<void()> task) {
    views_.shard()->Post(std::move(task));
    views_.world.RunFor(1'000);
  }
  void Commit(const std::string& group, int32_t partitions, int64_t offset) {
    v1::CommitOffsetsRequest request;
    request.set_group_id(group);
    for (int32_t p = 0; p < partitions; ++p) {
      auto* put = request.add_offsets();
      put->mutable_topic()->set_name("t");
      put->set_partition(p);
      put->set_offset(offset);
    }
    Answered<v1::CommitOffsetsResponse> answer;
    OnShard([&] {
      coordinators_->Find(views_.shard(), tp_)
          ->CommitOffsets({}, request, answer.Reply());
    });
    ASSERT_TRUE(answer.came());
    for (const auto& result : answer.get().results()) {
      ASSERT_FALSE(result.has_error()) << result.DebugString();
    }
  }
  void Run(int64_t seconds) { views_.world.RunFor(seconds * kSecond); }
  int64_t Told() const {
    int64_t count = 0;
    if (monitor_->lags() == nullptr) return 0;
    for (const auto& group : monitor_->lags()->groups.groups()) {
      count += group.partitions_size();
    }
    return count;
  }

  ViewWorld views_;
  std::unique_ptr<Executor> worker_ = views_.world.NewExecutor();
  TestCluster metadata_;
  FakeReplica replica_;
  TopicPartition tp_;
  int list_calls_ = 0;
  int lag_calls_ = 0;
  bool holds_lags_ = false;
  std::vector<absl::AnyInvocable<void()>> held_;
  std::unique_ptr<LagMonitor> monitor_;
  std::unique_ptr<GroupCoordinators> coordinators_;
  std::unique_ptr<ReplicaObserver> observer_;
};

TEST_F(LagMonitorTest, WithoutCommitsItSleeps) {
  Host();
  Run(100);
  EXPECT_EQ(list_calls_, 0);
  EXPECT_EQ(monitor_->lags(), nullptr);
}

TEST_F(LagMonitorTest, LagsAreTheDescriptionsOfTheGroups) {
  Host();
  Run(1);
  for (int i = 1; i <= 4; ++i) {
    Commit("g", 1, 10 * i);
    Run(10);
  }
  Run(30);
  ASSERT_EQ(Told(), 1);
  const auto& group = monitor_->lags()->groups.groups(0);
  EXPECT_EQ(group.group_id(), "g");
  const auto& one = group.partitions(0);
  EXPECT_EQ(one.topic(), "t");
  EXPECT_EQ(one.committed_offset(), 40);
  EXPECT_EQ(one.lag_records(), kEnd - 40);
  EXPECT_GT(one.lag_ms(), 0);
  EXPECT_EQ(one.state(), v1::LAG_STATE_STOP);  // silent for 40 s
  EXPECT_FALSE(monitor_->lags()->left_out);
}

// Members that are all gone are what somebody is to be woken for.
TEST_F(LagMonitorTest, WhatNobodyCommitsAnyMoreIsToldByANewCoordinatorToo) {
  Host();
  Commit("g", 2, 7);
  OnShard([this] {
    replica_.leads = false;
    replica_.Progress();
  });
  Run(100);
  EXPECT_EQ(Told(), 0);
  const int before = list_calls_;
  Run(100);
  EXPECT_EQ(list_calls_, before);  // it is another's to tell
  Lead(2);
  Run(1);
  EXPECT_EQ(Told(), 2);
  Run(1'000);
  EXPECT_EQ(Told(), 2);
}

TEST_F(LagMonitorTest, TheFirstByNameAreToldAndThatThereAreMore) {
  Host();
  Commit("b", 600, 1);
  Commit("a", 300, 1);
  Run(60);
  EXPECT_EQ(Told(), 900);
  EXPECT_FALSE(monitor_->lags()->left_out);
  Commit("c", 100, 1);
  Run(60);
  EXPECT_EQ(Told(), LagMonitor::kLagsMax);
  EXPECT_FALSE(monitor_->lags()->left_out);
  Commit("c", 101, 1);
  Run(60);
  EXPECT_EQ(Told(), LagMonitor::kLagsMax);
  EXPECT_TRUE(monitor_->lags()->left_out);
  ASSERT_EQ(monitor_->lags()->groups.groups_size(), 3);
  EXPECT_EQ(monitor_->lags()->groups.groups(0).group_id(), "a");
  EXPECT_EQ(monitor_->lags()->groups.groups(2).partitions_size(), 100);
  // One group alone may be too many.
  Commit("0", 1'500, 1);
  Run(60);
  ASSERT_EQ(monitor_->lags()->groups.groups_size(), 1);
  EXPECT_EQ(Told(), LagMonitor::kLagsMax);
  EXPECT_TRUE(monitor_->lags()->left_out);
}

// Leaders that do not answer are not asked over and over.
TEST_F(LagMonitorTest, LagsThatHangAreNotAskedAgain) {
  Host();
  holds_lags_ = true;
  Commit("g", 1, 1);
  Run(200);
  EXPECT_EQ(lag_calls_, 1);
  EXPECT_GT(list_calls_, 10);  // high watermarks go on
  EXPECT_EQ(monitor_->lags(), nullptr);
  holds_lags_ = false;
  worker_->Post([this] {
    for (auto& answer : std::exchange(held_, {})) answer();
  });
  Run(60);
  EXPECT_EQ(Told(), 1);
  EXPECT_GT(lag_calls_, 1);
}

}  // namespace
}  // namespace sluice::coordinator
