// What a client's requests to a partition are answered with.
#include "broker/shard_fixture_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

using PartitionRequests = ShardFixture;

const std::map<std::string, std::string> kTwoInSync = {
    {"min.insync.replicas", "2"}};

// ---- acks ----

TEST_F(PartitionRequests, AcksNoneIsAnsweredAfterTheValidationWithoutAnOffset) {
  Open(1);
  const AppendOutcome outcome = AppendNow(1, api::Acks::kNone);
  EXPECT_TRUE(outcome.error.ok());
  EXPECT_EQ(outcome.base_offset, kNoOffset);
  EXPECT_EQ(outcome.durability, "") << "nothing was promised";
  EXPECT_EQ(partition(1).leo(), Offset(1));

  const auto bad = Append(1, MutableBuffer::CopyOf("no batch"),
                          api::Acks::kNone);
  EXPECT_EQ(Finish(bad).error.code, ErrorCode::kCorruptMessage);
  EXPECT_EQ(partition(1).leo(), Offset(1));
}

TEST_F(PartitionRequests, AcksLeaderWaitsForTheLeadersDiskAlone) {
  Open(3, kTwoInSync);
  cluster->Stop(2, SimCluster::End::kKill);
  cluster->Stop(3, SimCluster::End::kKill);
  const auto call = Append(1, Batch(), api::Acks::kLeader);
  world().RunUntil([&] { return partition(1).leo() == Offset(1); },
                   kSecondUs);
  EXPECT_FALSE(call->outcome.has_value());
  const AppendOutcome outcome = Finish(call);
  EXPECT_TRUE(outcome.error.ok()) << outcome.error.message;
  EXPECT_EQ(outcome.base_offset, Offset(0));
  EXPECT_EQ(outcome.durability, "disk");
  EXPECT_EQ(partition(1).log().durable_leo(), Offset(1));
  EXPECT_EQ(partition(1).high_watermark(), Offset(0));
}

TEST_F(PartitionRequests, AcksLeaderInMemoryModeWaitsForNoDisk) {
  Open(1, {{"durability", "memory"}});
  const int64_t syncs = cluster->fs(1).sync_count();
  const AppendOutcome outcome = AppendNow(1, api::Acks::kLeader);
  EXPECT_TRUE(outcome.error.ok());
  EXPECT_EQ(outcome.durability, "memory");
  EXPECT_EQ(partition(1).log().durable_leo(), Offset(0));
  EXPECT_EQ(cluster->fs(1).sync_count(), syncs);
}

TEST_F(PartitionRequests, AcksAllWaitsForEveryInSyncReplicasDisk) {
  Open(3, kTwoInSync);
  const AppendOutcome outcome = AppendNow(1);
  ASSERT_TRUE(outcome.error.ok()) << outcome.error.message;
  for (int id = 1; id <= 3; ++id) {
    EXPECT_GE(partition(id).log().durable_leo(), Offset(1)) << id;
  }
}

TEST_F(PartitionRequests, BelowMinIsrAcksAllIsRefusedAndNothingAppended) {
  Open(3, kTwoInSync);
  cluster->Stop(2, SimCluster::End::kKill);
  cluster->Stop(3, SimCluster::End::kKill);
  world().RunFor(kSecondUs);
  ASSERT_THAT(cluster->image().FindPartition(tp)->isr, SizeIs(1));
  EXPECT_EQ(AppendNow(1).error.code, ErrorCode::kNotEnoughReplicas);
  EXPECT_EQ(partition(1).leo(), Offset(0));

  // acks=1 is stored, is not visible, and the answer says so.
  const AppendOutcome weak = AppendNow(1, api::Acks::kLeader);
  EXPECT_TRUE(weak.error.ok());
  EXPECT_TRUE(weak.below_min_isr);
  EXPECT_EQ(partition(1).high_watermark(), Offset(0));
  EXPECT_EQ(Read(1, 1).error.code, ErrorCode::kOffsetNotAvailable);
}

TEST_F(PartitionRequests, WithoutTheFollowersAProduceTimesOutAsUnknown) {
  SimCluster::Options options;
  options.node_defaults = {{"replica.lag.time.max.ms", "2000"}};
  Open(3, kTwoInSync, options);
  cluster->network().Cut(NodeId(1), NodeId(2));
  cluster->network().Cut(NodeId(1), NodeId(3));
  const auto early = Append(1, Batch(), api::Acks::kAll, kSecondUs / 2);
  const auto late = Append(1, Batch(), api::Acks::kAll, 5 * kSecondUs);
  // Stored, in the ISR still: time is over.
  const AppendOutcome timed_out = Finish(early);
  EXPECT_EQ(timed_out.error.code, ErrorCode::kRequestTimedOut);
  EXPECT_EQ(timed_out.base_offset, kNoOffset);
  EXPECT_THAT(timed_out.error.message, HasSubstr("outcome is unknown"));
  // The ISR has shrunk meanwhile: it may never be acknowledged.
  EXPECT_EQ(Finish(late).error.code,
            ErrorCode::kNotEnoughReplicasAfterAppend);
  EXPECT_THAT(cluster->image().FindPartition(tp)->isr, SizeIs(1));
}

TEST_F(PartitionRequests, AProduceThatLosesItsLeaderIsToldWhoLeadsNow) {
  Open(3, kTwoInSync);
  cluster->network().Cut(NodeId(1), NodeId(2));
  cluster->network().Cut(NodeId(1), NodeId(3));
  const auto call = Append(1, Batch(), api::Acks::kAll, 60 * kSecondUs);
  world().RunFor(100'000);
  cluster->metadata().Fence(1);
  cluster->Publish();
  const AppendOutcome outcome = Finish(call);
  EXPECT_EQ(outcome.error.code, ErrorCode::kNotLeader);
  ASSERT_TRUE(outcome.leader.has_value());
  EXPECT_EQ(outcome.leader->leader_id, NodeId(2));
  EXPECT_EQ(outcome.leader->endpoint.host, "b2");
}

// ---- What is appended ----

TEST_F(PartitionRequests, BatchesThatBreakARuleAreRefusedWhole) {
  Open(1, {{"max.message.bytes", "1024"}});
  std::string torn(Batch().view());
  torn.back() ^= 1;
  const MutableBuffer good = Batch();
  const auto second_bad = Append(1, Concatenate({good.view(), torn}));
  EXPECT_EQ(Finish(second_bad).error.code, ErrorCode::kCorruptMessage);
  const auto large = Append(1, Batch(std::string(2000, 'x')));
  EXPECT_EQ(Finish(large).error.code, ErrorCode::kMessageTooLarge);
  EXPECT_EQ(partition(1).leo(), Offset(0));
}

TEST_F(PartitionRequests, ACompressedBatchIsValidatedByTheWorkerAndOrdered) {
  Open(1);
  const auto call = Append(1, Batch("squeezed", Codec::kLz4, 10));
  const AppendOutcome outcome = Finish(call);
  ASSERT_TRUE(outcome.error.ok()) << outcome.error.message;
  EXPECT_EQ(outcome.record_count, 10);
  EXPECT_THAT(Values(Read(1, 0)), SizeIs(10));

  // Bytes that do not decompress, under a CRC that is right.
  std::string bad(Batch("squeezed", Codec::kLz4, 10).view());
  bad[kBatchHeaderBytes + 8] ^= 0x55;
  Rewrite(bad, *BatchHeader::Parse(bad));
  EXPECT_FALSE(Finish(Append(1, MutableBuffer::Adopt(bad))).error.ok());
  EXPECT_EQ(partition(1).leo(), Offset(10));
}

TEST_F(PartitionRequests, AnAppendWhosePartitionGoesDuringValidationIsAnswered) {
  Open(1);
  const auto call = Append(1, Batch("squeezed", Codec::kLz4, 10));
  cluster->DeleteTopic("t");
  Finish(call);
  EXPECT_FALSE(call->outcome->error.ok());
}

TEST_F(PartitionRequests, AnAnswerMayAppendAgainInsideTheStepThatGaveIt) {
  Open(1, {{"durability", "memory"}});
  std::vector<Offset> bases;
  bool done = false;
  std::function<void(Shard&)> next = [&](Shard& at) {
    AppendRequest request;
    request.tp = tp;
    request.batches = Batch();
    request.acks = bases.size() % 2 == 0 ? api::Acks::kAll
                                         : api::Acks::kLeader;
    request.deadline_us = INT64_MAX;
    at.Append(std::move(request), [] {}, [&](AppendOutcome outcome) {
      EXPECT_TRUE(outcome.error.ok());
      bases.push_back(outcome.base_offset);
      if (bases.size() < 100) {
        next(at);
      } else {
        done = true;
      }
    });
  };
  cluster->AtShard(1, tp, next);
  ASSERT_TRUE(world().RunUntil([&] { return done; }, kSecondUs));
  for (size_t i = 0; i < bases.size(); ++i) {
    EXPECT_EQ(bases[i], Offset(static_cast<int64_t>(i)));
  }
}

// ---- Who is asked ----

TEST_F(PartitionRequests, OnlyTheLeaderAnswersAndOthersNameIt) {
  Open(3);
  const AppendOutcome append = AppendNow(2);
  EXPECT_EQ(append.error.code, ErrorCode::kNotLeader);
  ASSERT_TRUE(append.leader.has_value());
  EXPECT_EQ(append.leader->leader_id, NodeId(1));
  EXPECT_EQ(append.leader->endpoint.host, "b1");
  const ReadOutcome read = Read(3, 0);
  EXPECT_EQ(read.error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(read.leader->leader_id, NodeId(1));
  const OffsetOutcome offset =
      FindOffset(2, api::OffsetPosition::kEarliest);
  EXPECT_EQ(offset.error.code, ErrorCode::kNotLeader);

  tp.partition = PartitionIndex(7);
  EXPECT_EQ(AppendNow(1).error.code, ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(Read(1, 0).error.code, ErrorCode::kUnknownTopicOrPartition);
}

TEST_F(PartitionRequests, AnotherLeaderEpochIsFencedOrUnknown) {  // RP11
  Open(1);
  const LeaderEpoch now = partition(1).core().leader_epoch();
  const LeaderEpoch old = now - 1, newer = now + 1;
  EXPECT_EQ(Finish(Append(1, Batch(), api::Acks::kAll, kSecondUs, old))
                .error.code,
            ErrorCode::kFencedLeaderEpoch);
  EXPECT_EQ(Finish(Append(1, Batch(), api::Acks::kAll, kSecondUs, newer))
                .error.code,
            ErrorCode::kUnknownLeaderEpoch);
  EXPECT_EQ(Read(1, 0, 100, old).error.code, ErrorCode::kFencedLeaderEpoch);
  EXPECT_EQ(Read(1, 0, 100, newer).error.code,
            ErrorCode::kUnknownLeaderEpoch);
  EXPECT_EQ(FindOffset(1, api::OffsetPosition::kLatest, old).error.code,
            ErrorCode::kFencedLeaderEpoch);
  EXPECT_EQ(FindOffset(1, api::OffsetPosition::kLatest, newer).error.code,
            ErrorCode::kUnknownLeaderEpoch);
  EXPECT_EQ(partition(1).leo(), Offset(0));
  EXPECT_TRUE(
      Finish(Append(1, Batch(), api::Acks::kAll, kSecondUs, now)).error.ok());
}

// ---- Reads ----

TEST_F(PartitionRequests, AReadGivesWhatIsCommittedInWholeBatches) {
  Open(1);
  for (const char* value : {"a", "b", "c"}) {
    ASSERT_TRUE(AppendNow(1, api::Acks::kAll, value).error.ok());
  }
  EXPECT_THAT(Values(Read(1, 0)), ElementsAre("a", "b", "c"));
  EXPECT_THAT(Values(Read(1, 1)), ElementsAre("b", "c"));
  // One batch comes whole however little is wanted; a second does not.
  const ReadOutcome one = Read(1, 0, 1);
  EXPECT_THAT(Values(one), ElementsAre("a"));
  EXPECT_EQ(one.next_offset, Offset(1));
  EXPECT_EQ(one.high_watermark, Offset(3));

  const ReadOutcome end = Read(1, 3);
  EXPECT_TRUE(end.error.ok());
  EXPECT_THAT(end.batches, IsEmpty());
  EXPECT_EQ(end.next_offset, Offset(3));
  EXPECT_EQ(Read(1, 4).error.code, ErrorCode::kOffsetOutOfRange);
  EXPECT_EQ(Read(1, -1).error.code, ErrorCode::kOffsetOutOfRange);
}

TEST_F(PartitionRequests, WhatTheFollowersLackIsNotVisible) {  // RP7, F23
  Open(3, kTwoInSync);
  ASSERT_TRUE(AppendNow(1, api::Acks::kAll, "seen").error.ok());
  cluster->network().Cut(NodeId(1), NodeId(2));
  cluster->network().Cut(NodeId(1), NodeId(3));
  ASSERT_TRUE(AppendNow(1, api::Acks::kLeader, "hidden").error.ok());
  EXPECT_THAT(Values(Read(1, 0)), ElementsAre("seen"));
  EXPECT_EQ(Read(1, 2).error.code, ErrorCode::kOffsetNotAvailable);
  EXPECT_EQ(FindOffset(1, api::OffsetPosition::kLatest).offset, Offset(1));
  EXPECT_EQ(FindOffset(1, api::OffsetPosition::kEarliest).offset, Offset(0));
}

TEST_F(PartitionRequests, ANewLeaderDoesNotSayLatestBeforeItKnows) {  // RP5
  Open(3, kTwoInSync);
  ASSERT_TRUE(AppendNow(1).error.ok());
  // Nobody reaches the one that is elected next.
  cluster->network().Cut(NodeId(2), NodeId(3));
  cluster->network().Cut(NodeId(1), NodeId(2));
  cluster->Stop(1, SimCluster::End::kKill);
  ASSERT_TRUE(world().RunUntil([&] { return leader() == 2; }, kSecondUs));
  if (!partition(2).core().hw_is_truth()) {
    EXPECT_EQ(FindOffset(2, api::OffsetPosition::kLatest).error.code,
              ErrorCode::kOffsetNotAvailable);
  }
  cluster->network().Heal();
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  EXPECT_EQ(FindOffset(2, api::OffsetPosition::kLatest).offset, Offset(1));
}

// ---- Readers' epochs ----

TEST_F(PartitionRequests, AReaderOfAnotherHistoryIsToldWhereItParts) {  // RP8
  Open(3, kTwoInSync);
  ASSERT_TRUE(AppendNow(1, api::Acks::kAll, "a").error.ok());
  const int32_t first = partition(1).core().leader_epoch().value();
  cluster->Stop(1, SimCluster::End::kKill);
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  const int now = leader();
  ASSERT_NE(now, 0);
  ASSERT_TRUE(AppendNow(now, api::Acks::kAll, "b").error.ok());
  const int32_t second = partition(now).core().leader_epoch().value();
  ASSERT_GT(second, first);

  // What a reader could have of this log is read on.
  const ReadOutcome good = ReadAfter(now, 1, first);
  EXPECT_TRUE(good.error.ok()) << good.error.message;
  EXPECT_THAT(Values(good), ElementsAre("b"));
  EXPECT_EQ(good.last_record_epoch, LeaderEpoch(second));
  EXPECT_TRUE(ReadAfter(now, 2, second).error.ok());
  EXPECT_TRUE(ReadAfter(now, 0, first).error.ok());

  // More of the first epoch than this log has: it was cut.
  const ReadOutcome beyond = ReadAfter(now, 2, first);
  EXPECT_EQ(beyond.error.code, ErrorCode::kLogTruncated);
  EXPECT_THAT(beyond.error.message, HasSubstr("ends at 1"));
  EXPECT_EQ(beyond.diverging, (EpochEnd{LeaderEpoch(first), Offset(1)}));
  EXPECT_THAT(beyond.batches, IsEmpty());
  // Also past the end of the log, where no offset is in range.
  EXPECT_EQ(ReadAfter(now, 9, first).error.code, ErrorCode::kLogTruncated);
  // From an epoch that is not known here: the reader knows a newer leader.
  EXPECT_EQ(ReadAfter(now, 2, second + 1).error.code,
            ErrorCode::kUnknownLeaderEpoch);
}

TEST_F(PartitionRequests, AReaderOfAnEpochWithoutRecordsIsToldSoInWords) {
  Open(3, kTwoInSync);
  const int32_t first = partition(1).core().leader_epoch().value();
  cluster->Stop(1, SimCluster::End::kKill);
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  const int now = leader();
  ASSERT_NE(now, 0);
  ASSERT_TRUE(AppendNow(now, api::Acks::kAll, "a").error.ok());

  const ReadOutcome none = ReadAfter(now, 1, first);
  EXPECT_EQ(none.error.code, ErrorCode::kLogTruncated);
  EXPECT_EQ(none.diverging, (EpochEnd{kNoLeaderEpoch, kNoOffset}));
  EXPECT_THAT(none.error.message, HasSubstr("no record of that epoch"));
  EXPECT_THAT(none.error.message, Not(HasSubstr("-1")));
}

TEST_F(PartitionRequests, AnEpochsEndIsToldOrSaidToBeUnknown) {
  Open(3, kTwoInSync);
  ASSERT_TRUE(AppendNow(1, api::Acks::kAll, "a").error.ok());
  const LeaderEpoch first = partition(1).core().leader_epoch();
  cluster->Stop(1, SimCluster::End::kKill);
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  const int now = leader();
  const LeaderEpoch second = partition(now).core().leader_epoch();
  ASSERT_TRUE(AppendNow(now).error.ok());
  const auto end = [&](LeaderEpoch epoch, std::optional<LeaderEpoch> at = {}) {
    return shard(now).FindEpochEnd({tp, epoch, at});
  };
  EXPECT_EQ(end(first).end, (EpochEnd{first, Offset(1)}));
  EXPECT_EQ(end(second, second).end, (EpochEnd{second, Offset(2)}));
  EXPECT_EQ(end(first).log_start_offset, Offset(0));
  // Never 0.
  EXPECT_EQ(end(LeaderEpoch(-1)).end, EpochEnd());
  EXPECT_EQ(end(second + 1).end, EpochEnd());
  EXPECT_TRUE(end(second + 1).error.ok());
  EXPECT_EQ(end(first, first).error.code, ErrorCode::kFencedLeaderEpoch);
  EXPECT_EQ(end(first, second + 1).error.code, ErrorCode::kUnknownLeaderEpoch);
  const int other = now == 2 ? 3 : 2;
  const EpochEndOutcome elsewhere = shard(other).FindEpochEnd({tp, first, {}});
  EXPECT_EQ(elsewhere.error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(elsewhere.leader->leader_id, NodeId(now));
}

// ---- Waits ----

TEST_F(PartitionRequests, AWaitEndsWhenTheLimitMovesOrLeadershipDoes) {
  Open(3, kTwoInSync);
  int woken = 0;
  EXPECT_NE(shard(1).WaitForProgress(tp, Offset(0), [&] { ++woken; }), 0u);
  world().RunFor(kSecondUs);
  EXPECT_EQ(woken, 0);
  ASSERT_TRUE(AppendNow(1).error.ok());
  world().RunFor(1'000);
  EXPECT_EQ(woken, 1);
  // Past already: at once.
  EXPECT_EQ(shard(1).WaitForProgress(tp, Offset(0), [&] { ++woken; }),
            kWaitPosted);
  world().RunFor(1'000);
  EXPECT_EQ(woken, 2);
  const WaitId dropped =
      shard(1).WaitForProgress(tp, Offset(1), [&] { ADD_FAILURE(); });
  shard(1).CancelWait(tp, dropped);

  shard(1).WaitForProgress(tp, Offset(1), [&] { ++woken; });
  cluster->metadata().Fence(1);
  cluster->Publish();
  world().RunFor(kSecondUs);
  EXPECT_EQ(woken, 3);
  // Not led here: at once.
  EXPECT_EQ(shard(1).WaitForProgress(tp, Offset(1), [&] { ++woken; }),
            kWaitPosted);
}

// ---- Facts ----

TEST_F(PartitionRequests, TheLeaderDescribesItsLogAndItsFollowers) {
  Open(3, kTwoInSync);
  ASSERT_TRUE(AppendNow(1).error.ok());
  const v1::PartitionLog log = shard(1).DescribeLog(tp);
  EXPECT_FALSE(log.has_error());
  EXPECT_EQ(log.log_end_offset(), 1);
  EXPECT_EQ(log.high_watermark(), 1);
  EXPECT_EQ(log.replicas_size(), 2);
  EXPECT_EQ(log.replicas(0).durable_offset(), 1);
  EXPECT_TRUE(shard(2).DescribeLog(tp).has_error());

  EXPECT_EQ(shard(1).CollectFacts().leaders, 1);
  EXPECT_EQ(shard(2).CollectFacts().leaders, 0);
  EXPECT_EQ(shard(2).CollectFacts().replicas, 1);
  EXPECT_EQ(shard(1).CollectFacts().hw_lag_records_max, 0);
  EXPECT_EQ(shard(1).counters().appended_batches, 1);
  EXPECT_GT(shard(1).counters().appended_bytes, 0);
  EXPECT_EQ(shard(2).counters().replicated_bytes,
            shard(1).counters().appended_bytes);
}

}  // namespace
}  // namespace sluice
