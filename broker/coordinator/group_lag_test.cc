// Lag in records and in time, of leaders that answer and of those that do not.
#include "broker/coordinator/group_lag.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "common/env/sim_world.h"
#include "storage/batch_testing.h"

namespace sluice::coordinator {
namespace {

struct FakeLog {
  Offset start;
  Offset end;
  ErrorCode error = ErrorCode::kNone;
};

class GroupLagTest : public testing::Test {
 protected:
  GroupLagTest() : worker_(world_.NewExecutor()) {
    sources_.clock = &world_;
    sources_.worker = worker_.get();
    sources_.list_offsets = [this](const api::CallContext&,
                                   const api::ListOffsetsRequest& request,
                                   api::Answer<api::ListOffsetsResponse> done) {
      EXPECT_EQ(request.route, api::Route::kForward);
      api::ListOffsetsResponse response;
      for (const auto& asked : request.partitions) {
        auto& result = response.results.emplace_back();
        const FakeLog& log = logs_.at(asked.partition.value());
        result.error.code = log.error;
        result.offset = asked.position == api::OffsetPosition::kEarliest
                            ? log.start
                            : log.end;
      }
      done(absl::OkStatus(), std::move(response));
    };
    // Batches of ten records, one a second, from the world's beginning on.
    sources_.fetch = [this](const api::CallContext&, api::FetchRequest request,
                            api::Answer<api::FetchResponse> done) {
      ++fetches_;
      const int64_t from = request.partitions[0].offset.value();
      TestBatch what;
      what.records = 10;
      what.timestamp_ms = SimWorld::kEpochWallMs + from / 10 * 1000;
      api::FetchResponse response;
      auto& result = response.results.emplace_back();
      result.batches.push_back(
          MakeStoredBatch(Offset(from / 10 * 10), LeaderEpoch(1), what));
      done(absl::OkStatus(), std::move(response));
    };
  }

  static v1::GroupPartition& Add(v1::DescribeGroupsResponse& response,
                                 int32_t partition, int64_t committed) {
    auto* group =
        response.groups().empty() ? response.add_groups()
                                  : response.mutable_groups(0);
    auto* out = group->add_partitions();
    out->set_topic("t");
    out->set_partition(partition);
    out->set_committed_offset(committed);
    return *out;
  }
  v1::DescribeGroupsResponse Ask(v1::DescribeGroupsResponse response) {
    std::optional<v1::DescribeGroupsResponse> answer;
    worker_->Post([&] {
      AddLag(sources_, {}, std::move(response),
             [&](v1::DescribeGroupsResponse done) { answer = std::move(done); });
    });
    world_.RunFor(1'000);
    EXPECT_TRUE(answer.has_value());
    return answer.value_or(v1::DescribeGroupsResponse());
  }

  SimWorld world_;
  std::unique_ptr<Executor> worker_;
  LagSources sources_;
  std::map<int32_t, FakeLog> logs_;
  int fetches_ = 0;
};

TEST_F(GroupLagTest, CountsRecordsAndTheAgeOfTheFirstUnread) {
  world_.RunFor(100'000'000);
  logs_[0] = {Offset(0), Offset(100)};
  logs_[1] = {Offset(20), Offset(100)};
  logs_[2] = {Offset(0), Offset(100)};
  logs_[3] = {Offset(0), Offset(100), ErrorCode::kLeaderNotAvailable};
  v1::DescribeGroupsResponse response;
  Add(response, 0, 35);
  Add(response, 1, -1);  // nothing committed: from where the log begins
  Add(response, 2, 130);  // beyond the end
  Add(response, 3, 5);
  const auto told = Ask(std::move(response)).groups(0);
  EXPECT_EQ(told.partitions(0).lag_records(), 65);
  EXPECT_EQ(told.partitions(0).high_watermark(), 100);
  // Its batch begins at 30, with the third second; records a millisecond apart.
  EXPECT_EQ(told.partitions(0).lag_ms(), 100'000 - 3'005);
  EXPECT_EQ(told.partitions(1).lag_records(), 80);
  EXPECT_EQ(told.partitions(1).log_start_offset(), 20);
  EXPECT_EQ(told.partitions(1).lag_ms(), 100'000 - 2'000);
  EXPECT_EQ(told.partitions(2).lag_records(), -30);
  EXPECT_EQ(told.partitions(2).lag_ms(), 0);
  EXPECT_EQ(told.partitions(3).lag_error().code(),
            v1::ERROR_CODE_LEADER_NOT_AVAILABLE);
  EXPECT_EQ(fetches_, 2);
}

TEST_F(GroupLagTest, NobodyIsAskedTwiceForTheSame) {
  logs_[0] = {Offset(0), Offset(100)};
  v1::DescribeGroupsResponse response;
  Add(response, 0, 35);
  Add(response, 0, 35);
  const auto told = Ask(std::move(response)).groups(0);
  EXPECT_EQ(told.partitions(0).lag_records(), 65);
  EXPECT_EQ(told.partitions(1).lag_records(), 65);
  EXPECT_EQ(fetches_, 1);
}

TEST_F(GroupLagTest, AnEmptyDescriptionIsAnsweredAtOnce) {
  EXPECT_EQ(Ask({}).groups_size(), 0);
  EXPECT_EQ(fetches_, 0);
}

}  // namespace
}  // namespace sluice::coordinator
