// Offsets by timestamp, on the partitions of a simulated cluster.
#include "broker/shard_fixture_testing.h"
#include "broker/time_lookup.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using testing::HasSubstr;

class PartitionTimesTest : public ShardFixture {
 protected:
  struct Asked {
    std::optional<OffsetOutcome> outcome;
  };

  std::shared_ptr<Asked> Ask(int id, api::OffsetPosition position,
                             int64_t timestamp_ms = 0,
                             int64_t timeout_us = 20 * kSecondUs,
                             std::optional<LeaderEpoch> epoch = {}) {
    auto call = std::make_shared<Asked>();
    OffsetRequest request;
    request.tp = tp;
    request.position = position;
    request.timestamp_ms = timestamp_ms;
    request.leader_epoch = epoch;
    request.deadline_us = world().MonoMicros() + timeout_us;
    cluster->AtShard(id, tp, [call, request](Shard& at) {
      at.FindOffsetByTime(request, [call](OffsetOutcome outcome) {
        EXPECT_FALSE(call->outcome.has_value());
        call->outcome = std::move(outcome);
      });
    });
    return call;
  }
  OffsetOutcome End(const std::shared_ptr<Asked>& call) {
    EXPECT_TRUE(world().RunUntil([&] { return call->outcome.has_value(); },
                                 30 * kSecondUs));
    return call->outcome.value_or(OffsetOutcome());
  }
  OffsetOutcome At(int64_t timestamp_ms, int id = 1) {
    return End(Ask(id, api::OffsetPosition::kTimestamp, timestamp_ms));
  }
  OffsetOutcome Newest(int id = 1) {
    return End(Ask(id, api::OffsetPosition::kMaxTimestamp));
  }
  // `records` in one batch, a millisecond apart.
  void AppendAt(int64_t timestamp_ms, int records = 1,
                const std::string& value = "v", Codec codec = Codec::kNone) {
    MutableBuffer batch = MakeBatch({.records = records,
                                     .codec = codec,
                                     .value = value,
                                     .timestamp_ms = timestamp_ms});
    const AppendOutcome outcome = Finish(Append(1, std::move(batch)));
    ASSERT_TRUE(outcome.error.ok()) << outcome.error.message;
  }
};

TEST_F(PartitionTimesTest, TheFirstRecordOfThatTimeOrLaterIsFound) {
  Open(3);
  const int64_t t = world().WallMillis();
  AppendAt(t, 10);                                  // 0..9
  AppendAt(t + 100, 10, "compressible", Codec::kZstd);  // 10..19
  AppendAt(t + 50, 1);                              // 20: out of order
  const struct {
    int64_t at;
    int64_t offset;
    int64_t timestamp_ms;
  } rows[] = {{0, 0, t},
              {t, 0, t},
              {t + 4, 4, t + 4},
              {t + 10, 10, t + 100},
              {t + 60, 10, t + 100},
              {t + 109, 19, t + 109},
              {t + 110, -1, -1},
              {INT64_MAX, -1, -1}};
  for (const auto& row : rows) {
    const OffsetOutcome outcome = At(row.at);
    EXPECT_TRUE(outcome.error.ok()) << outcome.error.message;
    EXPECT_EQ(outcome.offset, Offset(row.offset)) << row.at - t;
    EXPECT_EQ(outcome.timestamp_ms, row.timestamp_ms) << row.at - t;
    EXPECT_EQ(outcome.leader_epoch,
              row.offset < 0 ? kNoLeaderEpoch : LeaderEpoch(0));
    EXPECT_EQ(outcome.high_watermark, Offset(21));
  }
}

TEST_F(PartitionTimesTest, OfEqualGreatestTimestampsTheFirstRecordIsNamed) {
  Open(3);
  EXPECT_EQ(Newest().offset, kNoOffset);
  const int64_t t = world().WallMillis();
  AppendAt(t, 3);
  AppendAt(t + 500, 1);
  AppendAt(t + 499, 2);  // 4 and, as late as 3, 5
  AppendAt(t + 10, 2);
  const OffsetOutcome outcome = Newest();
  EXPECT_TRUE(outcome.error.ok()) << outcome.error.message;
  EXPECT_EQ(outcome.offset, Offset(3));
  EXPECT_EQ(outcome.timestamp_ms, t + 500);
}

// Many segments, hence many pieces: others have their turn in between.
TEST_F(PartitionTimesTest, ALongLogIsLookedThroughInPieces) {
  Open(1, {{"segment.bytes", "4096"}});
  const int64_t t = world().WallMillis();
  for (int i = 0; i < 40; ++i) AppendAt(t + i, 1, std::string(1000, 'x'));
  const auto far = Ask(1, api::OffsetPosition::kTimestamp, t + 39);
  const auto near = Ask(1, api::OffsetPosition::kTimestamp, t);
  bool near_first = false;
  EXPECT_TRUE(world().RunUntil(
      [&] {
        near_first |= near->outcome.has_value() && !far->outcome.has_value();
        return far->outcome.has_value();
      },
      kSecondUs));
  EXPECT_TRUE(near_first);
  EXPECT_EQ(End(far).offset, Offset(39));
  EXPECT_EQ(End(near).offset, Offset(0));
  EXPECT_EQ(Newest().offset, Offset(39));
}

TEST_F(PartitionTimesTest, WhatIsNotCommittedIsNotFound) {
  Open(3, {{"min.insync.replicas", "2"}});
  const int64_t t = world().WallMillis();
  AppendAt(t);
  cluster->network().Cut(NodeId(1), NodeId(2));
  cluster->network().Cut(NodeId(1), NodeId(3));
  const auto hidden = Append(1, MakeBatch({.timestamp_ms = t + 100}),
                             api::Acks::kLeader);
  ASSERT_TRUE(Finish(hidden).error.ok());
  EXPECT_EQ(At(t + 1).offset, kNoOffset);
  EXPECT_EQ(Newest().offset, Offset(0));
}

TEST_F(PartitionTimesTest, WhatWasDeletedIsNotFound) {
  Open(1);
  const int64_t t = world().WallMillis();
  for (const int64_t ms : {t + 900, t, t + 5}) AppendAt(ms);
  TrimRequest trim;
  trim.tp = tp;
  trim.before = Offset(1);
  trim.deadline_us = world().MonoMicros() + kSecondUs;
  std::optional<TrimOutcome> trimmed;
  cluster->AtShard(1, tp, [&](Shard& at) {
    at.Trim(trim, [&](TrimOutcome outcome) { trimmed = std::move(outcome); });
  });
  ASSERT_TRUE(world().RunUntil([&] { return trimmed.has_value(); }, kSecondUs));
  ASSERT_TRUE(trimmed->error.ok()) << trimmed->error.message;
  EXPECT_EQ(At(0).offset, Offset(1));
  EXPECT_EQ(At(t + 6).offset, kNoOffset);
  EXPECT_EQ(Newest().offset, Offset(2));
}

TEST_F(PartitionTimesTest, BadInputIsRefusedByName) {
  Open(3);
  const auto at = [&](int id, int64_t timestamp_ms,
                      std::optional<LeaderEpoch> epoch) {
    return End(Ask(id, api::OffsetPosition::kTimestamp, timestamp_ms,
                   20 * kSecondUs, epoch))
        .error;
  };
  EXPECT_EQ(at(1, -1, {}).code, ErrorCode::kInvalidRequest);
  EXPECT_THAT(at(1, -1, {}).message, HasSubstr("timestamp_ms -1"));
  EXPECT_EQ(at(1, INT64_MIN, {}).code, ErrorCode::kInvalidRequest);
  EXPECT_EQ(at(2, 0, {}).code, ErrorCode::kNotLeader);
  EXPECT_EQ(at(1, 0, LeaderEpoch(7)).code, ErrorCode::kUnknownLeaderEpoch);
  const auto beside = [&](api::OffsetPosition position, int64_t timestamp_ms) {
    OffsetRequest request;
    request.tp = tp;
    request.position = position;
    request.timestamp_ms = timestamp_ms;
    return shard(1).FindOffset(request).error;
  };
  for (const auto position :
       {api::OffsetPosition::kEarliest, api::OffsetPosition::kLatest}) {
    EXPECT_EQ(beside(position, 5).code, ErrorCode::kInvalidRequest);
    EXPECT_THAT(beside(position, -5).message, HasSubstr("timestamp_ms -5"));
    EXPECT_EQ(beside(position, 0).code, ErrorCode::kNone);
  }
  EXPECT_EQ(End(Ask(1, api::OffsetPosition::kMaxTimestamp, 5)).error.code,
            ErrorCode::kInvalidRequest);
  // Only by its own call.
  EXPECT_EQ(FindOffset(1, api::OffsetPosition::kTimestamp).error.code,
            ErrorCode::kInvalidRequest);
}

TEST_F(PartitionTimesTest, ALookupThatHasNoTimeLeftSaysHowFarItCame) {
  Open(1);
  AppendAt(world().WallMillis());
  const OffsetOutcome late =
      End(Ask(1, api::OffsetPosition::kMaxTimestamp, 0, 0));
  EXPECT_EQ(late.error.code, ErrorCode::kRequestTimedOut);
}

TEST_F(PartitionTimesTest, MoreLookupsThanTheLimitAreBusy) {
  Open(1);
  AppendAt(world().WallMillis());
  OffsetRequest request;
  request.tp = tp;
  request.position = api::OffsetPosition::kMaxTimestamp;
  size_t answered = 0;
  size_t busy = 0;
  cluster->AtShard(1, tp, [&](Shard& at) {
    // One has its turn, the others wait for theirs.
    for (size_t i = 0; i < kTimeLookupsMax + 3; ++i) {
      at.FindOffsetByTime(request, [&](OffsetOutcome outcome) {
        ++answered;
        busy += outcome.error.code == ErrorCode::kBusy;
      });
    }
  });
  ASSERT_TRUE(world().RunUntil(
      [&] { return answered == kTimeLookupsMax + 3; }, 600 * kSecondUs));
  EXPECT_EQ(busy, 2u);
}

// The log goes on elsewhere: whoever looks is told so, on the way too.
TEST_F(PartitionTimesTest, ALookupEndsWithTheLeadership) {
  Open(3, {{"segment.bytes", "4096"}});
  const int64_t t = world().WallMillis();
  for (int i = 0; i < 40; ++i) AppendAt(t + i, 1, std::string(1000, 'x'));
  OffsetRequest request;
  request.tp = tp;
  request.position = api::OffsetPosition::kTimestamp;
  request.timestamp_ms = t + 39;
  const auto under_way = std::make_shared<Asked>();
  cluster->AtShard(1, tp, [&](Shard& at) {
    at.FindOffsetByTime(request, [under_way](OffsetOutcome outcome) {
      under_way->outcome = std::move(outcome);
    });
    at.CloseClean([](absl::Status) {});
  });
  EXPECT_EQ(End(under_way).error.code, ErrorCode::kShuttingDown);
  cluster->Stop(1, SimCluster::End::kKill);
  ASSERT_TRUE(world().RunUntil([&] { return leader() > 1; }, 30 * kSecondUs));
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  EXPECT_EQ(At(t + 39, leader()).offset, Offset(39));
  const int follower = leader() == 2 ? 3 : 2;
  EXPECT_EQ(At(t + 39, follower).error.code, ErrorCode::kNotLeader);
}

}  // namespace
}  // namespace sluice
