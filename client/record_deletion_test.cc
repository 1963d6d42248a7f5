#include "client/record_deletion.h"

#include <optional>

#include "client/fake_cluster_testing.h"
#include "common/base/error.h"
#include <gtest/gtest.h>

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

class RecordDeletionTest : public testing::Test {
 protected:
  RecordDeletionTest() {
    deps_ = {executor_.get(), &world_, &cluster_, 1};
    client_.bootstrap = {FakeCluster::EndpointOf(NodeId(1))};
    metadata_ = std::make_unique<MetadataCache>(deps_, client_);
    cluster_.AddTopic("t", 3);
    for (auto& partition : cluster_.topic("t").partitions) {
      partition.end = Offset(10);
    }
  }

  static NamedPartition Tp(int partition) {
    return {"t", PartitionIndex(partition)};
  }
  RecordDeletion::Results Delete(std::map<NamedPartition, Offset> before,
                                 bool validate_only = false) {
    std::optional<RecordDeletion::Results> answer;
    RecordDeletion::Start(deps_, client_, metadata_.get(), std::move(before),
                          validate_only, 5 * kSecond,
                          [&](auto results) { answer = std::move(results); });
    EXPECT_TRUE(world_.RunUntil([&] { return answer.has_value(); },
                                6 * kSecond));
    return answer.value_or(RecordDeletion::Results());
  }
  Offset StartOf(int partition) {
    return cluster_.topic("t").partitions[static_cast<size_t>(partition)].start;
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 3};
  ClientDeps deps_;
  ClientOptions client_;
  std::unique_ptr<MetadataCache> metadata_;
};

TEST_F(RecordDeletionTest, EveryLeaderIsAskedAndEveryPartitionHasItsResult) {
  const auto results =
      Delete({{Tp(0), Offset(4)}, {Tp(1), Offset(11)}, {Tp(2), kNoOffset}});
  ASSERT_EQ(results.size(), 3u);
  EXPECT_TRUE(results.at(Tp(0)).error.ok());
  EXPECT_EQ(results.at(Tp(0)).log_start_offset, Offset(4));
  EXPECT_EQ(results.at(Tp(1)).error.code, ErrorCode::kOffsetOutOfRange);
  EXPECT_EQ(results.at(Tp(2)).log_start_offset, Offset(10));
  EXPECT_EQ(StartOf(0), Offset(4));
  EXPECT_EQ(StartOf(1), Offset(0));
  EXPECT_EQ(StartOf(2), Offset(10));
}

TEST_F(RecordDeletionTest, AMovedLeaderIsFollowed) {
  ASSERT_TRUE(Delete({{Tp(0), Offset(1)}}).at(Tp(0)).error.ok());
  cluster_.MoveLeader("t", 0, NodeId(3));
  EXPECT_TRUE(Delete({{Tp(0), Offset(2)}}).at(Tp(0)).error.ok());
  EXPECT_EQ(StartOf(0), Offset(2));
}

TEST_F(RecordDeletionTest, ValidateOnlyMovesNothing) {
  const auto results = Delete({{Tp(0), Offset(4)}}, true);
  EXPECT_EQ(results.at(Tp(0)).log_start_offset, Offset(4));
  EXPECT_EQ(StartOf(0), Offset(0));
}

TEST_F(RecordDeletionTest, WhoDoesNotAnswerInTimeHasAnErrorOfHisOwn) {
  cluster_.Kill(cluster_.topic("t").partitions[1].leader);
  const auto results = Delete({{Tp(0), Offset(4)}, {Tp(1), Offset(4)}});
  EXPECT_TRUE(results.at(Tp(0)).error.ok());
  EXPECT_FALSE(results.at(Tp(1)).error.ok());
}

}  // namespace
}  // namespace sluice
