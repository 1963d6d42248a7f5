#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/replication/follower_links.h"
#include "broker/replication/leader_sessions.h"
#include "broker/replication/replica_shipper.h"
#include "broker/replication/shipper_testing.h"
#include "common/base/error.h"
#include "common/env/sim_world.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

TEST_F(ReplicaShipperTest, CreditBoundsWhatIsOnTheWayAndAcksReturnIt) {
  Make(2500);
  source.leo_ = Offset(10);
  shipper->Accept(kA, Asked(3), Offset(0), &source);
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(3));  // past the window by one at most

  shipper->OnAck(kA, Asked(2), Offset(3));  // of an older epoch
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(3));

  shipper->OnAck(kA, Asked(3), Offset(2));
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(5));
  shipper->OnAck(kA, Asked(3), Offset(2));  // again: returns nothing
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(5));
}

TEST_F(ReplicaShipperTest, PartitionsTakeTurns) {
  Make(4000);
  source.leo_ = other.leo_ = Offset(100);
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  shipper->Accept(kB, Asked(1), Offset(0), &other);
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(2));
  EXPECT_THAT(Shipped(kB), SizeIs(2));
}

TEST_F(ReplicaShipperTest, AHighWatermarkLeavesAtOnceWhenNoDataCarriesIt) {
  Make(1 << 20);
  source.leo_ = Offset(1);
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  world.RunFor(1);
  stream->frames.clear();

  source.hw_ = Offset(1);
  shipper->OnHighWatermark(kA);
  shipper->OnHighWatermark(kA);  // the same one twice: sent once
  world.RunFor(1);
  ASSERT_THAT(stream->frames, SizeIs(1));
  EXPECT_THAT(stream->frames[0].high_watermarks, SizeIs(1));
  EXPECT_EQ(stream->frames[0].high_watermarks[0].high_watermark, Offset(1));
}

TEST_F(ReplicaShipperTest, WhatIsNotInMemoryComesFromDiskInOrder) {
  Make(1 << 20);
  source.leo_ = Offset(3);
  source.tail_from = Offset(2);
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(0));
  for (int i = 0; i < 2; ++i) {
    ASSERT_THAT(source.disk_reads, SizeIs(i + 1));
    EXPECT_EQ(source.disk_reads[i].first, Offset(i));
    source.disk_reads[i].second(source.Batch(Offset(i)));
    world.RunFor(1);
  }
  EXPECT_THAT(Shipped(kA), SizeIs(3));
}

TEST_F(ReplicaShipperTest, ADiskReadOfAnOlderAcceptanceIsDropped) {
  Make(1 << 20);
  source.leo_ = Offset(3);
  source.tail_from = Offset(3);
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  world.RunFor(1);
  shipper->Accept(kA, Asked(2), Offset(2), &source);
  source.disk_reads[0].second(source.Batch(Offset(0)));
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(0));
}

TEST_F(ReplicaShipperTest, AReadThatAnswersAtOnceDoesNotOvertakeTheAcceptance) {
  Make(1 << 20);
  source.leo_ = Offset(3);
  source.tail_from = Offset(2);
  source.reads_at_once = true;
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  world.RunFor(1);
  ASSERT_THAT(stream->frames, SizeIs(1));
  EXPECT_THAT(stream->frames[0].add_answers, SizeIs(1));
  EXPECT_THAT(stream->frames[0].data, SizeIs(3));
}

TEST_F(ReplicaShipperTest, DiskReadsUnderWayHoldCredit) {
  Make(ReplicaShipper::kFrameBytesMax + 1);
  std::vector<FakeSource> sources(10);
  for (int i = 0; i < 10; ++i) {
    sources[i].leo_ = sources[i].tail_from = Offset(5);
    shipper->Accept({kA.topic_id, PartitionIndex(i)}, Asked(1),
                    Offset(0), &sources[i]);
  }
  world.RunFor(1);
  EXPECT_THAT(sources[0].disk_reads, SizeIs(1));
  EXPECT_THAT(sources[1].disk_reads, SizeIs(1));  // past the window by one
  EXPECT_THAT(sources[2].disk_reads, SizeIs(0));

  // A failed read returns what it held, and the follower hears of it.
  sources[0].disk_reads[0].second(MakeError(ErrorCode::kStorageError, "EIO"));
  shipper->Drop({kA.topic_id, PartitionIndex(1)});
  world.RunFor(1);
  EXPECT_THAT(sources[2].disk_reads, SizeIs(1));
  EXPECT_THAT(sources[3].disk_reads, SizeIs(1));
  ASSERT_THAT(stream->frames.back().removed, SizeIs(1));
  EXPECT_EQ(stream->frames.back().removed[0].error.code,
            ErrorCode::kStorageError);
}

TEST_F(ReplicaShipperTest, AFollowerThatWantsTheMiddleOfABatchIsTold) {
  Make(1 << 20);
  source.leo_ = Offset(4);
  source.batch_records = 2;
  shipper->Accept(kA, Asked(1), Offset(1), &source);
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(0));
  ASSERT_THAT(stream->frames.back().removed, SizeIs(1));
  EXPECT_EQ(stream->frames.back().removed[0].error.code,
            ErrorCode::kCorruptMessage);
  EXPECT_EQ(stream->frames.back().removed[0].leader_epoch, LeaderEpoch(1));
}

TEST_F(ReplicaShipperTest, DroppingAPartitionReturnsItsCredit) {
  Make(1000);
  source.leo_ = other.leo_ = Offset(5);
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  world.RunFor(1);
  shipper->Accept(kB, Asked(1), Offset(0), &other);
  world.RunFor(1);
  EXPECT_THAT(Shipped(kB), SizeIs(0));
  shipper->Drop(kA);
  world.RunFor(1);
  EXPECT_THAT(Shipped(kB), SizeIs(1));
}

TEST_F(ReplicaShipperTest, ARemovalThatWasAskedInAnOlderEpochHasNoEffect) {
  Make(1000);
  source.leo_ = Offset(5);
  shipper->Accept(kA, Asked(2), Offset(0), &source);
  EXPECT_FALSE(shipper->DropAsAsked(kA, Asked(1)));
  EXPECT_FALSE(shipper->DropAsAsked(kB, Asked(2)));
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(1));
  EXPECT_TRUE(shipper->DropAsAsked(kA, Asked(2)));
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(1));
}

// Remembers what one shard is told.
struct FakePort final : ReplicationPort {
  void OnLinkOpen(const LeaderLink& link, StreamId id,
                  std::shared_ptr<FollowerStream>) override {
    open.push_back(id);
    kinds.push_back(link.kind);
  }
  void OnLeaderFrame(const LeaderLink&, StreamId, LeaderFrame frame) override {
    leader_frames.push_back(std::move(frame));
  }
  void OnLinkClosed(const LeaderLink&, StreamId id) override {
    closed.push_back(id);
  }
  void OnSessionOpen(FollowerSession s) override { sessions.push_back(s); }
  void OnFollowerFrame(StreamId, FollowerFrame frame) override {
    follower_frames.push_back(std::move(frame));
  }
  void OnSessionClosed(StreamId id) override { ended.push_back(id); }

  std::vector<StreamId> open, closed, ended;
  std::vector<StreamKind> kinds;
  std::vector<LeaderFrame> leader_frames;
  std::vector<FollowerFrame> follower_frames;
  std::vector<FollowerSession> sessions;
};

struct FakePorts final : ReplicationPorts {
  size_t port_count() const override { return 2; }
  ReplicationPort* port(size_t index) override { return &ports[index]; }
  size_t IndexOf(const TopicPartition& tp) const override {
    return static_cast<size_t>(tp.partition.value()) % 2;
  }
  FakePort ports[2];
};

struct FakeConnector final : ReplicationConnector {
  std::shared_ptr<FollowerStream> Open(
      const api::Endpoint& endpoint, Executor*,
      StreamEvents<LeaderFrame> e) override {
    endpoints.push_back(endpoint);
    streams.push_back(std::make_shared<SentToLeader>());
    events.push_back(std::move(e));
    return streams.back();
  }
  std::vector<api::Endpoint> endpoints;
  std::vector<std::shared_ptr<SentToLeader>> streams;
  std::vector<StreamEvents<LeaderFrame>> events;
};

class FollowerLinksTest : public testing::Test {
 protected:
  SimWorld world;
  std::unique_ptr<Executor> executor = world.NewExecutor();
  FakeConnector connector;
  FakePorts ports;
  FollowerLinks links{{executor.get(), &connector, &ports, Random(1)}};
  const api::Endpoint endpoint{"127.0.0.1", 1};
};

TEST_F(FollowerLinksTest, OpensOnceKnownAndRoutesFramesToTheOwningShard) {
  links.Want({NodeId(3)}, endpoint);
  world.RunFor(1000);
  EXPECT_THAT(connector.streams, SizeIs(0));  // who are we?
  links.SetIdentity({.broker_id = NodeId(1), .broker_epoch = BrokerEpoch(4)});
  links.Want({NodeId(3)}, endpoint);
  world.RunFor(1000);
  ASSERT_THAT(connector.streams, SizeIs(1));
  const FollowerFrame& hello = connector.streams[0]->frames[0];
  EXPECT_EQ(hello.open->leader_id, NodeId(3));
  EXPECT_EQ(hello.credit_bytes, FollowerLinks::kWindowBytes);

  LeaderFrame frame;
  frame.add_answers.push_back({.tp = kA});
  frame.high_watermarks.push_back({.tp = kB});
  connector.events[0].on_frame(std::move(frame));
  EXPECT_THAT(ports.ports[0].leader_frames, SizeIs(1));
  EXPECT_THAT(ports.ports[1].leader_frames, SizeIs(1));
  EXPECT_THAT(ports.ports[0].leader_frames[0].high_watermarks, SizeIs(0));
}

TEST_F(FollowerLinksTest, FramesGoStraightToTheirShardsButForARefusal) {
  links.SetIdentity({.broker_id = NodeId(1)});
  links.Want({NodeId(3)}, endpoint);
  world.RunFor(1000);
  LeaderFrame frame;
  frame.high_watermarks.push_back({.tp = kB});
  EXPECT_TRUE(connector.events[0].take_at_once(frame));
  EXPECT_THAT(ports.ports[1].leader_frames, SizeIs(1));

  LeaderFrame refusal;
  refusal.refused = api::ItemError(ErrorCode::kBusy, "");
  EXPECT_FALSE(connector.events[0].take_at_once(refusal));
  EXPECT_FALSE(refusal.refused.ok());
}

TEST_F(FollowerLinksTest, ABrokenLinkIsReportedAndOpensAgainWithinItsBackoff) {
  links.SetIdentity({.broker_id = NodeId(1)});
  links.Want({NodeId(3)}, endpoint);
  world.RunFor(1000);
  connector.events[0].on_closed(absl::UnavailableError("gone"));
  EXPECT_THAT(ports.ports[0].closed, ElementsAre(1));
  links.Want({NodeId(3)}, endpoint);
  world.RunFor(49'000);
  EXPECT_THAT(connector.streams, SizeIs(1));
  world.RunFor(160'000);
  EXPECT_THAT(connector.streams, SizeIs(2));
  EXPECT_THAT(ports.ports[1].open, ElementsAre(1, 2));
  // A frame of the first stream is nobody's.
  LeaderFrame late;
  late.add_answers.push_back({.tp = kA});
  connector.events[0].on_frame(std::move(late));
  EXPECT_THAT(ports.ports[0].leader_frames, SizeIs(0));
}

TEST_F(FollowerLinksTest, ALeaderAtANewAddressGetsANewStream) {
  links.SetIdentity({.broker_id = NodeId(1)});
  links.Want({NodeId(3)}, endpoint);
  world.RunFor(1000);
  links.Want({NodeId(3)}, {"elsewhere", 1});
  world.RunFor(300'000);
  EXPECT_TRUE(connector.streams[0]->closed);
  ASSERT_THAT(connector.streams, SizeIs(2));
  EXPECT_EQ(connector.endpoints[1].host, "elsewhere");
}

TEST_F(FollowerLinksTest, EachKindOfStreamIsOpenedAndBreaksForItself) {
  links.SetIdentity({.broker_id = NodeId(1)});
  links.Want({NodeId(3)}, endpoint);
  links.Want({NodeId(3), StreamKind::kCatchUp}, endpoint);
  world.RunFor(1000);
  ASSERT_THAT(connector.streams, SizeIs(2));
  const FollowerFrame& main = connector.streams[0]->frames[0];
  const FollowerFrame& catch_up = connector.streams[1]->frames[0];
  EXPECT_EQ(main.open->kind, StreamKind::kMain);
  EXPECT_EQ(catch_up.open->kind, StreamKind::kCatchUp);
  EXPECT_EQ(catch_up.credit_bytes, FollowerLinks::kCatchUpWindowBytes);
  EXPECT_THAT(ports.ports[0].kinds,
              ElementsAre(StreamKind::kMain, StreamKind::kCatchUp));
  connector.events[1].on_closed(absl::UnavailableError("gone"));
  EXPECT_THAT(ports.ports[0].closed, ElementsAre(2));
  LeaderFrame frame;
  frame.moved.push_back({kB, LeaderEpoch(1), StreamKind::kCatchUp});
  connector.events[0].on_frame(std::move(frame));
  ASSERT_THAT(ports.ports[1].leader_frames, SizeIs(1));
  EXPECT_THAT(ports.ports[1].leader_frames[0].moved, SizeIs(1));
}

class LeaderSessionsTest : public testing::Test {
 protected:
  FollowerFrame Hello(int epoch, int broker = 2,
                      StreamKind kind = StreamKind::kMain) {
    FollowerFrame frame;
    frame.open = OpenSession{.broker_id = NodeId(broker),
                             .broker_epoch = BrokerEpoch(epoch),
                             .leader_id = NodeId(1),
                             .kind = kind};
    frame.credit_bytes = 1000;
    return frame;
  }

  SimWorld world;
  std::unique_ptr<Executor> executor = world.NewExecutor();
  FakePorts ports;
  absl::Status verdict;
  std::shared_ptr<Budget> memory = Budget::Of(16 << 20);
  LeaderSessions sessions{{executor.get(), &ports, NodeId(1),
                           [this](const OpenSession&) { return verdict; },
                           memory}};
};

TEST_F(LeaderSessionsTest, ANewerSessionReplacesAndAStaleOneIsRefused) {
  auto first = std::make_shared<SentToFollower>();
  auto a = sessions.Accept(first);
  a.on_frame(Hello(5));
  auto second = std::make_shared<SentToFollower>();
  auto b = sessions.Accept(second);
  b.on_frame(Hello(6));
  EXPECT_TRUE(first->closed);
  EXPECT_THAT(ports.ports[0].ended, SizeIs(1));
  EXPECT_EQ(ports.ports[0].sessions.back().window_bytes, 500);

  auto stale = std::make_shared<SentToFollower>();
  auto c = sessions.Accept(stale);
  c.on_frame(Hello(5));
  ASSERT_THAT(stale->frames, SizeIs(1));
  EXPECT_EQ(stale->frames[0].refused.code, ErrorCode::kStaleBrokerEpoch);
  EXPECT_FALSE(second->closed);
}

TEST_F(LeaderSessionsTest, FramesGoStraightToTheirShardsOnceThoseKnowIt) {
  auto events = sessions.Accept(std::make_shared<SentToFollower>());
  FollowerFrame frame;
  frame.acks.push_back({.tp = kB});
  EXPECT_FALSE(events.take_at_once(frame));
  EXPECT_THAT(frame.acks, SizeIs(1));
  events.on_frame(Hello(5));
  EXPECT_TRUE(events.take_at_once(frame));
  EXPECT_THAT(ports.ports[0].follower_frames, SizeIs(0));
  EXPECT_THAT(ports.ports[1].follower_frames, SizeIs(1));

  verdict = MakeError(ErrorCode::kInconsistentClusterId, "foreign");
  auto refused = sessions.Accept(std::make_shared<SentToFollower>());
  refused.on_frame(Hello(6));
  EXPECT_FALSE(refused.take_at_once(frame));
}

TEST_F(LeaderSessionsTest, AFollowerHasOneSessionOfEachKind) {
  std::vector<std::shared_ptr<SentToFollower>> streams;
  const auto open = [&](int epoch, StreamKind kind) {
    streams.push_back(std::make_shared<SentToFollower>());
    sessions.Accept(streams.back()).on_frame(Hello(epoch, 2, kind));
  };
  open(5, StreamKind::kMain);
  open(5, StreamKind::kCatchUp);
  EXPECT_FALSE(streams[0]->closed);
  EXPECT_EQ(ports.ports[0].sessions.back().kind, StreamKind::kCatchUp);
  open(5, StreamKind::kCatchUp);
  EXPECT_FALSE(streams[0]->closed);
  EXPECT_TRUE(streams[1]->closed);
  // A new incarnation: both of the older one's end.
  open(6, StreamKind::kCatchUp);
  EXPECT_TRUE(streams[0]->closed);
  EXPECT_TRUE(streams[2]->closed);
  open(5, StreamKind::kMain);
  EXPECT_EQ(streams[4]->frames[0].refused.code, ErrorCode::kStaleBrokerEpoch);
}

TEST_F(LeaderSessionsTest, WindowsComeFromOneBudgetAndAreNeverZero) {
  constexpr int64_t kMiB = 1 << 20;
  std::vector<StreamEvents<FollowerFrame>> events;
  // What broker `id` gets when it asks for `bytes`, both shards together.
  const auto open = [&](int id, int64_t bytes) {
    FollowerFrame hello = Hello(5, id);
    hello.credit_bytes = bytes;
    events.push_back(sessions.Accept(std::make_shared<SentToFollower>()));
    events.back().on_frame(std::move(hello));
    return 2 * ports.ports[1].sessions.back().window_bytes;
  };
  EXPECT_EQ(open(2, 8 * kMiB), 8 * kMiB);
  EXPECT_EQ(open(3, 5 * kMiB), 5 * kMiB);
  EXPECT_EQ(memory->refused(), 0);
  EXPECT_EQ(open(4, 8 * kMiB), 3 * kMiB / 2);  // half of what is left
  EXPECT_EQ(memory->refused(), 1);
  EXPECT_EQ(open(5, 1 * kMiB), 1 * kMiB);
  EXPECT_EQ(open(6, 8 * kMiB), LeaderSessions::kWindowBytesMin);
  EXPECT_EQ(open(7, 8 * kMiB), LeaderSessions::kWindowBytesMin);
  EXPECT_EQ(memory->taken(), 16 * kMiB);
  EXPECT_EQ(open(8, 8 * kMiB), LeaderSessions::kWindowBytesMin);  // past it
  EXPECT_EQ(open(9, 1000), 1000);
  // What a stream had is there for the next one.
  events[0].on_closed(absl::UnavailableError("gone"));
  EXPECT_EQ(open(10, 7 * kMiB), 7 * kMiB);
  open(3, 100);  // replaces its older stream
  EXPECT_EQ(open(11, 5 * kMiB), 5 * kMiB);
  sessions.Stop();
  world.RunFor(1);
  EXPECT_EQ(memory->taken(), 0);
}

TEST_F(LeaderSessionsTest, WhoDoesNotSayWhoItIsOrIsUnknownIsRefused) {
  auto silent = std::make_shared<SentToFollower>();
  sessions.Accept(silent).on_frame(FollowerFrame());
  EXPECT_EQ(silent->frames[0].refused.code, ErrorCode::kInvalidRequest);

  verdict = MakeError(ErrorCode::kInconsistentClusterId, "foreign");
  auto foreign = std::make_shared<SentToFollower>();
  sessions.Accept(foreign).on_frame(Hello(1));
  EXPECT_EQ(foreign->frames[0].refused.code,
            ErrorCode::kInconsistentClusterId);
  EXPECT_THAT(ports.ports[0].sessions, SizeIs(0));
}

TEST_F(LeaderSessionsTest, WhoTakesTooLongToSayWhoItIsMakesRoom) {
  auto silent = std::make_shared<SentToFollower>();
  sessions.Accept(silent);
  auto named = std::make_shared<SentToFollower>();
  sessions.Accept(named).on_frame(Hello(1));
  world.RunFor(LeaderSessions::kNamingTimeUsMax);
  EXPECT_TRUE(silent->closed);
  EXPECT_EQ(silent->frames[0].refused.code, ErrorCode::kRequestTimedOut);
  EXPECT_FALSE(named->closed);
}

TEST_F(LeaderSessionsTest, AStoppedBrokerTakesNoSession) {
  auto before = std::make_shared<SentToFollower>();
  sessions.Accept(before).on_frame(Hello(1));
  sessions.Stop();
  world.RunFor(1);
  EXPECT_TRUE(before->closed);
  EXPECT_THAT(ports.ports[0].ended, SizeIs(1));
  auto after = std::make_shared<SentToFollower>();
  sessions.Accept(after);
  EXPECT_EQ(after->frames[0].refused.code, ErrorCode::kShuttingDown);
}

TEST_F(LeaderSessionsTest, UnnamedStreamsAreBounded) {
  std::vector<std::shared_ptr<SentToFollower>> streams;
  for (size_t i = 0; i <= LeaderSessions::kUnnamedStreamsMax; ++i) {
    streams.push_back(std::make_shared<SentToFollower>());
    sessions.Accept(streams.back());
  }
  EXPECT_FALSE(streams.front()->closed);
  EXPECT_TRUE(streams.back()->closed);
  EXPECT_EQ(streams.back()->frames[0].refused.code, ErrorCode::kBusy);
}

}  // namespace
}  // namespace sluice
