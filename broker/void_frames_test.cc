// What belongs to no question that is open, or to an older one, changes nothing
// at either end of a stream (replication/README.md).
#include "broker/shard_fixture_testing.h"

namespace sluice {
namespace {

// Larger than any that is asked here: void all the same.
constexpr AddNumber kNeverAsked{1'000'000};
// A process counts its streams from 1; what names none that is open is dropped.
constexpr StreamId kStreamsMax = 16;

class VoidFrames : public ShardFixture {
 protected:
  void OpenPair() {
    Open(2);
    ASSERT_EQ(leader(), 1);
    ASSERT_TRUE(AppendNow(1).error.ok());
    ASSERT_TRUE(world().RunUntil(
        [&] { return partition(2).leo() == Offset(1); }, kSecondUs));
  }
  LeaderEpoch epoch() { return partition(1).leader_epoch(); }
  // By every stream to the leader that may be open.
  void ToFollower(const LeaderFrame& frame) {
    for (StreamId id = 1; id <= kStreamsMax; ++id) {
      for (const StreamKind kind : {StreamKind::kMain, StreamKind::kCatchUp}) {
        shard(2).OnLeaderFrame({NodeId(1), kind}, id, frame);
      }
    }
    world().RunFor(1'000);
  }
  void ToLeader(const FollowerFrame& frame) {
    for (StreamId id = 1; id <= kStreamsMax; ++id) {
      shard(1).OnFollowerFrame(id, frame);
    }
    world().RunFor(1'000);
  }
};

TEST_F(VoidFrames, DataThatNoQuestionBroughtIsNotAppended) {
  OpenPair();
  LeaderFrame frame;
  frame.data.push_back({tp, epoch(), MakeStoredBatch(Offset(1), epoch()),
                        Offset(2), kNeverAsked});
  ToFollower(frame);
  EXPECT_EQ(partition(2).leo(), Offset(1));
  ASSERT_TRUE(AppendNow(1).error.ok());  // it follows on
}

TEST_F(VoidFrames, AnAnswerToAnotherQuestionEndsNothing) {
  OpenPair();
  LeaderFrame frame;
  AddAnswer answer;
  answer.tp = tp;
  answer.leader_epoch = epoch();
  answer.error = api::ItemError(ErrorCode::kNotLeader, "an older one");
  answer.add_number = kNeverAsked;
  frame.add_answers.push_back(answer);
  frame.removed.push_back({tp, epoch(), answer.error, kNeverAsked});
  frame.moved.push_back({tp, epoch(), StreamKind::kCatchUp, kNeverAsked});
  ToFollower(frame);
  EXPECT_EQ(partition(2).core().state(), replica::State::kFollowing);
}

TEST_F(VoidFrames, AnAcknowledgementOfAnotherAcceptanceDoesNotCount) {
  OpenPair();
  // The follower has no room: it asks, is accepted, and refuses what comes.
  cluster->fs(2).FailNextOn(".log", MemFileSystem::Operation::kWrite,
                            MemFileSystem::kForEver, /*full=*/true);
  const auto call = Append(1, Batch());
  ASSERT_TRUE(world().RunUntil(
      [&] { return partition(1).durable_leo() == Offset(2); }, kSecondUs));
  FollowerFrame frame;
  frame.acks.push_back(
      {tp, epoch(), Offset(2), Offset(2), kNeverAsked});
  for (int i = 0; i < 3'000; ++i) {
    ToLeader(frame);
    ASSERT_EQ(partition(1).high_watermark(), Offset(1));
  }
  cluster->fs(2).ClearFaults();
  EXPECT_TRUE(world().RunUntil(
      [&] { return partition(1).high_watermark() == Offset(2); },
      10 * kSecondUs));
}

TEST_F(VoidFrames, ARemovalOfAnotherAcceptanceEndsNothing) {
  OpenPair();
  FollowerFrame frame;
  frame.removes.push_back({tp, epoch(), kNeverAsked});
  ToLeader(frame);
  const int64_t began_us = world().MonoMicros();
  ASSERT_TRUE(AppendNow(1).error.ok());
  // It was not asked for anew first.
  EXPECT_LT(world().MonoMicros() - began_us,
            replica::ReplicaCore::kAskAgainMinUs);
}

TEST_F(VoidFrames, AQuestionThatIsOlderThanTheNewestChangesNothing) {
  OpenPair();
  FollowerFrame frame;
  // 0 comes before all of them; on the wire it is refused.
  frame.adds.push_back(
      {tp, epoch(), Offset(0), kNoLeaderEpoch, kNoAddNumber});
  ToLeader(frame);
  ASSERT_TRUE(AppendNow(1).error.ok());
  EXPECT_EQ(partition(2).core().state(), replica::State::kFollowing);
}

}  // namespace
}  // namespace sluice
