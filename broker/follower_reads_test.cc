// Readers near an in-sync follower (KIP-392; F33).
#include "broker/shard_fixture_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// Node 1 leads, in rack "a"; node 2 is in "b", node 3 in "c".
class FollowerReads : public ShardFixture {
 protected:
  void Start() {
    SimCluster::Options options;
    options.racks = {{1, "a"}, {2, "b"}, {3, "c"}};
    Open(3, {{"min.insync.replicas", "1"}}, options);
    ASSERT_EQ(leader(), 1);
  }
  ReadOutcome ReadNear(int id, int64_t offset, const std::string& rack,
                       std::optional<LeaderEpoch> epoch = {},
                       std::optional<LeaderEpoch> last = {}) {
    std::optional<ReadOutcome> outcome;
    ReadRequest request;
    request.tp = tp;
    request.offset = Offset(offset);
    request.max_bytes = 1 << 20;
    request.rack = rack;
    request.leader_epoch = epoch;
    request.last_fetched_epoch = last;
    // Now, not a message later.
    shard(id).Read(request, [&](ReadOutcome o) { outcome = std::move(o); });
    EXPECT_TRUE(
        world().RunUntil([&] { return outcome.has_value(); }, kSecondUs));
    return outcome.value_or(ReadOutcome());
  }
  void Fill(int records) {
    for (int i = 0; i < records; ++i) {
      ASSERT_TRUE(AppendNow(1).error.ok());
    }
    world().RunFor(kSecondUs);
  }
};

TEST_F(FollowerReads, TheLeaderNamesAnInSyncFollowerInTheReadersRack) {
  Start();
  Fill(2);
  const ReadOutcome near = ReadNear(1, 0, "b");
  ASSERT_TRUE(near.error.ok()) << near.error.message;
  ASSERT_TRUE(near.preferred_replica.has_value());
  EXPECT_EQ(near.preferred_replica->id, NodeId(2));
  EXPECT_EQ(near.preferred_replica->endpoint.host, "b2");
  EXPECT_THAT(near.batches, IsEmpty());
  EXPECT_EQ(near.next_offset, Offset(0));
  // Its own rack, one without replicas, no rack: it gives records itself.
  for (const char* rack : {"a", "z", ""}) {
    const ReadOutcome own = ReadNear(1, 0, rack);
    EXPECT_FALSE(own.preferred_replica.has_value()) << rack;
    EXPECT_THAT(Values(own), SizeIs(2)) << rack;
  }
}

TEST_F(FollowerReads, AFollowerGivesWhatItKnowsToBeCommitted) {
  Start();
  Fill(2);
  const ReadOutcome read = ReadNear(2, 0, "b", partition(1).core().leader_epoch());
  ASSERT_TRUE(read.error.ok()) << read.error.message;
  EXPECT_THAT(Values(read), SizeIs(2));
  EXPECT_EQ(read.high_watermark, Offset(2));
  // Where the log begins is the leader's to say.
  EXPECT_EQ(read.log_start_offset, kNoOffset);
  // Who has no rack is sent to the leader, as ever.
  EXPECT_EQ(Read(2, 0).error.code, ErrorCode::kNotLeader);
}

TEST_F(FollowerReads, AboveWhatItKnowsToBeCommittedItHasNothing) {
  Start();
  Fill(1);
  // Stored by all, committed nowhere: the others cannot say that they have it.
  auto call = Append(1, Batch("hidden"));
  ASSERT_TRUE(world().RunUntil(
      [&] { return partition(2).leo() == Offset(2); }, kSecondUs));
  ASSERT_EQ(partition(2).high_watermark(), Offset(1));
  const ReadOutcome read = ReadNear(2, 0, "b");
  EXPECT_THAT(Values(read), ElementsAre("v"));
  EXPECT_EQ(read.next_offset, Offset(1));
  Finish(call);
}

TEST_F(FollowerReads, AReaderAheadOfAFollowerIsToAskAgain) {
  Start();
  Fill(1);
  const LeaderEpoch epoch = partition(1).core().leader_epoch();
  // As a consumer that has read offset 5 at the leader.
  for (const auto last : {std::optional<LeaderEpoch>(), std::optional(epoch)}) {
    EXPECT_EQ(ReadNear(2, 6, "b", epoch, last).error.code,
              ErrorCode::kOffsetNotAvailable);
  }
  // Below its log's start: the leader alone knows what readers may be told.
  EXPECT_EQ(ReadNear(2, -1, "b", epoch).error.code,
            ErrorCode::kOffsetNotAvailable);
}

TEST_F(FollowerReads, EpochsAreCheckedAsTheLeaderDoes) {
  Start();
  Fill(1);
  const int32_t epoch = partition(1).core().leader_epoch().value();
  EXPECT_EQ(ReadNear(2, 0, "b", LeaderEpoch(epoch - 1)).error.code,
            ErrorCode::kFencedLeaderEpoch);
  EXPECT_EQ(ReadNear(2, 0, "b", LeaderEpoch(epoch + 1)).error.code,
            ErrorCode::kUnknownLeaderEpoch);
  EXPECT_EQ(
      ReadNear(2, 1, "b", LeaderEpoch(epoch), LeaderEpoch(epoch + 1)).error.code,
      ErrorCode::kUnknownLeaderEpoch);
}

TEST_F(FollowerReads, OneThatIsNotInSyncIsNotRead) {
  Start();
  Fill(1);
  cluster->metadata().SetIsr(tp, {1, 3});
  cluster->Publish();
  // It follows on, and is about to be let in again.
  ASSERT_TRUE(world().RunUntil(
      [&] {
        return partition(2).core().isr().size() == 2 &&
               partition(2).core().state() == replica::State::kFollowing;
      },
      kSecondUs));
  EXPECT_EQ(ReadNear(2, 0, "b").error.code, ErrorCode::kNotLeader);
}

TEST_F(FollowerReads, AReaderThatWaitsAtAFollowerIsWokenByTheHighWatermark) {
  Start();
  Fill(1);
  int woken = 0;
  const WaitId wait =
      shard(2).WaitForProgress(tp, Offset(1), [&] { ++woken; });
  EXPECT_NE(wait, kWaitPosted);
  world().RunFor(kSecondUs);
  EXPECT_EQ(woken, 0);
  Fill(1);
  EXPECT_EQ(woken, 1);
}

TEST_F(FollowerReads, OneThatItsLeaderDoesNotHearIsNotRead) {
  Start();
  Fill(1);
  cluster->network().Cut(NodeId(1), NodeId(2));
  ASSERT_TRUE(world().RunUntil(
      [&] {
        return partition(2).core().state() != replica::State::kFollowing;
      },
      kSecondUs));
  EXPECT_EQ(ReadNear(2, 0, "b").error.code, ErrorCode::kNotLeader);
}

TEST_F(FollowerReads, AReaderThatWaitsAtAFollowerThatIsCutOffIsWoken) {
  Start();
  Fill(1);
  int woken = 0;
  ASSERT_NE(shard(2).WaitForProgress(tp, Offset(1), [&] { ++woken; }),
            kWaitPosted);
  cluster->network().Cut(NodeId(1), NodeId(2));
  ASSERT_TRUE(world().RunUntil([&] { return woken > 0; }, kSecondUs));
  EXPECT_EQ(ReadNear(2, 1, "b").error.code, ErrorCode::kNotLeader);
}

}  // namespace
}  // namespace sluice
