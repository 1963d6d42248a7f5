// Which of its two streams a replica is on, and that one slows no other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "broker/replication/catch_up_throttle.h"
#include "broker/replication/shipper_testing.h"

namespace sluice {
namespace {

using testing::SizeIs;

class StreamKindsTest : public ReplicaShipperTest {
 protected:
  void MakeOf(StreamKind kind, int64_t window_bytes = 4 << 20) {
    shipper = std::make_unique<ReplicaShipper>(
        FollowerSession{7, NodeId(2), BrokerEpoch(5), stream, window_bytes,
                        kind},
        executor.get(), &throttle, world.MonoMicros());
  }
  // Where it was told to go, if it was; nothing of it follows.
  std::optional<StreamKind> MovedTo(const TopicPartition& tp) {
    std::optional<StreamKind> to;
    for (const LeaderFrame& frame : stream->frames) {
      for (const ReplicaData& data : frame.data) {
        EXPECT_FALSE(data.tp == tp && to.has_value());
      }
      for (const ReplicaMoved& moved : frame.moved) {
        if (moved.tp == tp) to = moved.to;
      }
    }
    return to;
  }
  void Tick(int64_t written = 0) {
    world.RunFor(100'000);
    written_ += written;
    throttle.Tick(world.MonoMicros(), written_, 0);
    shipper->Tick(world.MonoMicros());
    world.RunFor(1);
  }

  CatchUpThrottle throttle;
  int64_t written_ = 0;
};

TEST_F(StreamKindsTest, WhoIsOutOfTheIsrAndFarBehindLeavesTheMainStream) {
  MakeOf(StreamKind::kMain);
  source.in_sync = false;
  source.leo_ = Offset(1000);
  source.batch_bytes = ReplicaShipper::kFarBehindBytes / 999;
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  world.RunFor(1);
  EXPECT_EQ(MovedTo(kA), StreamKind::kCatchUp);
  EXPECT_THAT(Shipped(kA), SizeIs(0));
  EXPECT_THAT(stream->frames[0].add_answers, SizeIs(1));  // and was accepted
}

TEST_F(StreamKindsTest, WhoIsNearOrInTheIsrStays) {
  MakeOf(StreamKind::kMain);
  source.in_sync = false;
  source.leo_ = Offset(200);
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  other.leo_ = Offset(100'000);
  other.tail_from = Offset(50'000);  // the disk, but acks wait for it
  shipper->Accept(kB, Asked(1), Offset(0), &other);
  world.RunFor(1);
  EXPECT_EQ(MovedTo(kA), std::nullopt);
  EXPECT_THAT(Shipped(kA), SizeIs(200));
  EXPECT_EQ(MovedTo(kB), std::nullopt);
  EXPECT_THAT(other.disk_reads, SizeIs(1));
}

TEST_F(StreamKindsTest, WhoNeedsTheDiskAndIsOutOfTheIsrLeavesTheMainStream) {
  MakeOf(StreamKind::kMain);
  source.leo_ = Offset(3);
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(3));
  source.in_sync = false;
  source.leo_ = Offset(6);
  source.tail_from = Offset(5);  // what follows was evicted
  shipper->OnAppended(kA);
  world.RunFor(1);
  EXPECT_EQ(MovedTo(kA), StreamKind::kCatchUp);
  EXPECT_THAT(source.disk_reads, SizeIs(0));
}

TEST_F(StreamKindsTest, TheCatchUpStreamEndsWhereTheRestFitsAFrame) {
  MakeOf(StreamKind::kCatchUp);
  source.in_sync = false;
  source.leo_ = Offset(1000);
  source.tail_from = Offset(600);
  source.reads_at_once = true;
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  world.RunFor(1);
  EXPECT_EQ(MovedTo(kA), StreamKind::kMain);
  // Judged at 600, 728 and 856, where the rest is 256 pieces at most.
  EXPECT_THAT(Shipped(kA), SizeIs(856));
  // Nothing is shipped any more.
  source.leo_ = Offset(2000);
  shipper->OnAppended(kA);
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(856));
}

TEST_F(StreamKindsTest, WhoHasEverythingIsSentBackAtOnce) {
  MakeOf(StreamKind::kCatchUp);
  source.leo_ = Offset(10);
  shipper->Accept(kA, Asked(1), Offset(10), &source);
  world.RunFor(1);
  EXPECT_EQ(MovedTo(kA), StreamKind::kMain);
}

TEST_F(StreamKindsTest, OneReplicaHoldsAPartOfTheWindow) {
  MakeOf(StreamKind::kMain, 16 * ReplicaShipper::kFrameBytesMax);
  source.leo_ = other.leo_ = Offset(100);
  source.batch_bytes = other.batch_bytes = ReplicaShipper::kFrameBytesMax;
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  shipper->Accept(kB, Asked(1), Offset(0), &other);
  world.RunFor(1);
  // A acknowledges nothing; B goes on.
  EXPECT_THAT(Shipped(kA), SizeIs(4));
  for (int acked = 4; acked < 100; acked += 4) {
    EXPECT_THAT(Shipped(kB), SizeIs(acked));
    shipper->OnAck(kB, Asked(1), Offset(acked));
    world.RunFor(1);
  }
  EXPECT_THAT(Shipped(kA), SizeIs(4));
  shipper->OnAck(kA, Asked(1), Offset(1));
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(5));
}

TEST_F(StreamKindsTest, WhoeverHangsGivesTheWindowBack) {
  MakeOf(StreamKind::kMain, 2 * ReplicaShipper::kFrameBytesMax);
  source.leo_ = other.leo_ = Offset(100);
  source.batch_bytes = other.batch_bytes = ReplicaShipper::kFrameBytesMax;
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  world.RunFor(1);
  shipper->Accept(kB, Asked(1), Offset(0), &other);
  world.RunFor(1);
  EXPECT_THAT(Shipped(kB), SizeIs(0));  // A has it all
  for (int tick = 0; tick < 49; ++tick) Tick();
  EXPECT_EQ(MovedTo(kA), std::nullopt);
  for (int tick = 0; tick < 3; ++tick) Tick();
  EXPECT_EQ(MovedTo(kA), StreamKind::kCatchUp);
  EXPECT_THAT(Shipped(kB), SizeIs(2));
}

TEST_F(StreamKindsTest, BulkCopyGivesWayToClients) {
  throttle.SetLimit(10 * ReplicaShipper::kFrameBytesMax);
  MakeOf(StreamKind::kCatchUp, 100 * ReplicaShipper::kFrameBytesMax);
  source.in_sync = false;
  source.leo_ = Offset(100'000);
  source.tail_from = Offset(100'000);
  source.reads_at_once = true;
  source.batch_bytes = ReplicaShipper::kFrameBytesMax / 2;
  const auto ack_all = [&] {
    shipper->OnAck(kA, Asked(1), Offset(100'000));
  };
  Tick(1);  // a client writes
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  for (int tick = 0; tick < 10; ++tick) {
    ack_all();
    Tick(1);
  }
  const size_t of_a_second = Shipped(kA).size();
  EXPECT_GE(of_a_second, 18u);  // half frames
  EXPECT_LE(of_a_second, 22u);
  // It is quiet for a second: as fast as the follower takes it.
  for (int tick = 0; tick < 12; ++tick) {
    ack_all();
    Tick();
  }
  EXPECT_GT(Shipped(kA).size(), of_a_second + 150);
}

}  // namespace
}  // namespace sluice
