#include "controller/metadata/log_start_control.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "common/base/error.h"
#include "controller/metadata/record_codec.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using internal::v1::AlterPartitionsRequest;

class LogStartControlTest : public testing::Test {
 protected:
  LogStartControlTest() {
    cluster_.StartAll(4);
    tp_ = cluster_.CreateOn("t", {1, 2, 3});
    // An epoch that can be missed by one to either side.
    cluster_.Fence(1);
    cluster_.Unfence(1);
  }

  // What the partition's leader asks.
  AlterPartitionsRequest Trim(int64_t start) const {
    return TrimOf(tp_, start);
  }
  AlterPartitionsRequest TrimOf(const TopicPartition& tp, int64_t start) const {
    const PartitionImage& now = cluster_.At(tp);
    AlterPartitionsRequest request;
    request.set_broker_id(now.leader.value());
    request.set_broker_epoch(cluster_.EpochOf(now.leader.value()).value());
    auto* wanted = request.add_log_starts();
    wanted->set_topic_id(tp.topic_id.ToBytes());
    wanted->set_partition(tp.partition.value());
    wanted->set_leader_epoch(now.leader_epoch.value());
    wanted->set_log_start_offset(start);
    return request;
  }
  // Of the first log start asked for.
  internal::v1::LogStartResult Ask(const AlterPartitionsRequest& request) {
    const auto response = cluster_.Alter(request);
    EXPECT_TRUE(response.ok()) << response.status();
    if (!response.ok() || response->log_starts_size() == 0) return {};
    return response->log_starts(0);
  }
  static ErrorCode CodeIn(const internal::v1::LogStartResult& result) {
    return CodeFromNumber(static_cast<int32_t>(result.error().code()));
  }

  TestCluster cluster_;
  TopicPartition tp_;
};

TEST_F(LogStartControlTest, ItIsRecordedAndTheRestOfThePartitionStays) {
  const PartitionImage before = cluster_.At(tp_);
  const auto result = Ask(Trim(7));
  EXPECT_FALSE(result.has_error()) << result.error().message();
  EXPECT_EQ(result.log_start_offset(), 7);
  EXPECT_EQ(result.topic_id(), tp_.topic_id.ToBytes());
  PartitionImage expected = before;
  expected.log_start = Offset(7);
  expected.partition_epoch = PartitionEpoch(before.partition_epoch.value() + 1);
  EXPECT_EQ(cluster_.At(tp_), expected);
  EXPECT_EQ(ToRecord(tp_, cluster_.At(tp_)).log_start_offset(), 7);
}

// RP23: what was deleted stays so, whoever asks for what.
TEST_F(LogStartControlTest, F34ItNeverFalls) {
  EXPECT_EQ(Ask(Trim(7)).log_start_offset(), 7);
  const uint64_t before = MetaHash(cluster_.image());
  for (const int64_t start : {0, 6, 7}) {
    const auto result = Ask(Trim(start));
    EXPECT_FALSE(result.has_error()) << result.error().message();
    EXPECT_EQ(result.log_start_offset(), 7) << start;
    EXPECT_EQ(MetaHash(cluster_.image()), before) << start;
  }
  // And no record may say so.
  internal::v1::MetadataBatch batch;
  auto* record = batch.add_records()->mutable_partition_change();
  record->set_topic_id(tp_.topic_id.ToBytes());
  record->set_partition(tp_.partition.value());
  record->set_partition_epoch(cluster_.At(tp_).partition_epoch.value() + 1);
  record->set_log_start_offset(6);
  const auto applied =
      ApplyBatch(cluster_.image(), batch, cluster_.image().offset().Next(),
                 cluster_.image().term());
  EXPECT_FALSE(applied.ok());
}

TEST_F(LogStartControlTest, EachCheckHasItsNameAndNoEffect) {
  ASSERT_EQ(cluster_.At(tp_).leader, NodeId(2));
  const int leader_epoch = cluster_.At(tp_).leader_epoch.value();
  Ask(Trim(5));
  const auto wanted = [](AlterPartitionsRequest& r) {
    return r.mutable_log_starts(0);
  };
  const struct {
    const char* what;
    std::function<void(AlterPartitionsRequest&)> spoil;
    ErrorCode code;
    int64_t registered;
  } rows[] = {
      {"topic",
       [&](auto& r) { wanted(r)->set_topic_id(Uuid(8, 8).ToBytes()); },
       ErrorCode::kUnknownTopicId, -1},
      {"partition", [&](auto& r) { wanted(r)->set_partition(1); },
       ErrorCode::kUnknownTopicOrPartition, -1},
      {"leader epoch ahead",
       [&](auto& r) { wanted(r)->set_leader_epoch(leader_epoch + 1); },
       ErrorCode::kNotController, 5},
      {"leader epoch behind",
       [&](auto& r) { wanted(r)->set_leader_epoch(leader_epoch - 1); },
       ErrorCode::kFencedLeaderEpoch, 5},
      {"not the leader",
       [&](auto& r) {
         r.set_broker_id(1);
         r.set_broker_epoch(cluster_.EpochOf(1).value());
       },
       ErrorCode::kInvalidRequest, 5},
      {"negative", [&](auto& r) { wanted(r)->set_log_start_offset(-1); },
       ErrorCode::kInvalidRequest, 5},
  };
  const uint64_t before = MetaHash(cluster_.image());
  for (const auto& row : rows) {
    auto request = Trim(9);
    row.spoil(request);
    const auto result = Ask(request);
    EXPECT_EQ(NameOf(CodeIn(result)), NameOf(row.code))
        << row.what << ": " << result.error().message();
    EXPECT_EQ(result.log_start_offset(), row.registered) << row.what;
    EXPECT_EQ(MetaHash(cluster_.image()), before) << row.what;
  }
}

TEST_F(LogStartControlTest, WholeRequestsAreRefused) {
  auto request = Trim(3);
  request.set_broker_epoch(1);
  EXPECT_EQ(CodeOf(cluster_.Alter(request).status()),
            ErrorCode::kStaleBrokerEpoch);
  request = Trim(3);
  *request.add_log_starts() = request.log_starts(0);
  EXPECT_EQ(CodeOf(cluster_.Alter(request).status()),
            ErrorCode::kInvalidRequest);
  request = Trim(3);
  request.mutable_log_starts(0)->set_topic_id("short");
  EXPECT_EQ(CodeOf(cluster_.Alter(request).status()),
            ErrorCode::kInvalidRequest);
  request = Trim(3);
  for (int i = 0; i < kPartitionsPerCallMax; ++i) request.add_log_starts();
  EXPECT_EQ(CodeOf(cluster_.Alter(request).status()),
            ErrorCode::kInvalidRequest);
  EXPECT_EQ(cluster_.At(tp_).log_start, Offset(0));
}

// Both lists of one call: one record a partition, one partition epoch.
TEST_F(LogStartControlTest, ATrimAndAnIsrChangeOfOneCallAreOneRecord) {
  auto request = Trim(4);
  *request.add_partitions() = cluster_.Proposal(tp_, {1, 2, 3}).partitions(0);
  const PartitionEpoch epoch = cluster_.At(tp_).partition_epoch;
  EXPECT_EQ(Ask(request).log_start_offset(), 4);
  EXPECT_EQ(cluster_.At(tp_).isr, Nodes({1, 2, 3}));
  EXPECT_EQ(cluster_.At(tp_).log_start, Offset(4));
  EXPECT_EQ(cluster_.At(tp_).partition_epoch, epoch.Next());
}

// RP15: the leader's question about its ISR names the partition epoch before
// the trim, so it is stale and can have no effect any more.
TEST_F(LogStartControlTest, AnIsrChangeUnderWayIsAskedAnew) {
  const auto proposal = cluster_.Proposal(tp_, {1, 2, 3});
  Ask(Trim(4));
  const auto response = cluster_.Alter(proposal);
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(CodeFromNumber(response->results(0).error().code()),
            ErrorCode::kInvalidUpdateVersion);
  cluster_.SetIsr(tp_, {1, 2, 3});
  EXPECT_EQ(cluster_.At(tp_).log_start, Offset(4));
}

TEST_F(LogStartControlTest, ManyTrimsAreOneBatch) {
  const auto tp = cluster_.CreateOn("many", {1, 2, 3}, {}, 500);
  AlterPartitionsRequest request = TrimOf(tp, 1);
  for (int p = 1; p < 500; ++p) {
    const auto next = TrimOf({tp.topic_id, PartitionIndex(p)}, p + 1);
    *request.add_log_starts() = next.log_starts(0);
  }
  const size_t entries = cluster_.log().size();
  EXPECT_EQ(Ask(request).log_start_offset(), 1);
  EXPECT_EQ(cluster_.log().size(), entries + 1);
  const PartitionImage& last = cluster_.At({tp.topic_id, PartitionIndex(499)});
  EXPECT_EQ(last.log_start, Offset(500));
}

}  // namespace
}  // namespace sluice
