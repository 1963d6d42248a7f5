// Each rule: a history that breaks it, found under its number, and one that
// looks like it and is legal.
#include "test/check/check_testing.h"

namespace sluice::check {
namespace {

using ReplicationTest = CheckTest;

TEST_F(ReplicationTest, AQuietLifeHasNoFindings) {
  for (uint32_t i = 0; i < 5; ++i) Produce(1, {2, 3}, 100 + i);
  replication_.OnAcknowledged(kTp, Offset(5));
  replication_.FullScan();
  replication_.CheckConverged(kTp);
  ExpectNone();
  EXPECT_EQ(replication_.committed(kTp), Offset(5));
  EXPECT_GT(findings_.evaluations(Rule::kRP4), 0u);
}

// ---- RP1 ----

TEST_F(ReplicationTest, RP1ALeaderWithoutACommittedRecord) {
  Produce(1, {2, 3}, 100);
  At(2, [](ReplicaView& view) {
    view.high_watermark = Offset(0);
    view.last_unclean_leader_epoch = kNoLeaderEpoch;
  });
  // It was told so by RP5 already: only the new leader matters here.
  Forget();
  At(3, [](ReplicaView& view) {
    view.batches.back().crc = 999;
    view.state = replica::State::kLeading;
    view.leads = true;
    view.leader_epoch = LeaderEpoch(1);
    view.epochs.push_back({LeaderEpoch(1), view.leo});
  });
  ExpectFound(Rule::kRP1);
}

TEST_F(ReplicationTest, RP1ALateLeaderNeedNotHaveWhatTheNextCommitted) {
  Produce(1, {2, 3}, 100);
  Change({.leader = 2, .isr = Ids{1, 2, 3}});
  Change({.leader = 3, .isr = Ids{1, 2, 3}});
  Lead(3, 2);
  Follow(1, 3, 2);
  Follow(2, 3, 2);
  Produce(3, {1, 2}, 101);
  // 2 hears only now that it was to lead epoch 1: nothing says what it had
  // then but its log, which here is that of a twin.
  Boot(2, 1);
  At(2, [](ReplicaView& view) {
    Append(view, 0, 100);
    view.hosted = true;
    view.durable_leo = view.position = view.leo;
    view.state = replica::State::kStarting;
    view.leads = true;
    view.leader = NodeId(2);
    view.leader_epoch = LeaderEpoch(1);
    view.epoch_start = view.leo;
    view.epochs.push_back({LeaderEpoch(1), view.leo});
  });
  EXPECT_NE(findings_.first().has_value() ? findings_.first()->rule
                                          : Rule::kRP2,
            Rule::kRP1);
}

// ---- RP2, MD6 ----

TEST_F(ReplicationTest, RP2AMemberOfTheIsrWithoutACommittedRecord) {
  // 3 is in the ISR of the metadata; its leader does not count it.
  At(1, [](ReplicaView& view) {
    view.maximal_isr = {NodeId(1), NodeId(2)};
    view.isr = {NodeId(1), NodeId(2)};
    view.partition_epoch = PartitionEpoch(7);  // as it believes
  });
  AppendAt(1, 0, 100);
  AppendAt(2, 0, 100);
  Acknowledge(1, 2);
  Forget();  // RP3
  MoveHw(1, 1);
  ExpectFound(Rule::kRP2);
}

TEST_F(ReplicationTest, RP2WhoIsOutOfIsrAndElrMayLag) {
  Change({.isr = Ids{1, 2}});
  At(1, [](ReplicaView& view) {
    view.maximal_isr = {NodeId(1), NodeId(2)};
    view.isr = {NodeId(1), NodeId(2)};
    view.partition_epoch = PartitionEpoch(1);
  });
  Produce(1, {2}, 100);
  ExpectNone();
}

TEST_F(ReplicationTest, RP2TheElrHoldsAllToo) {
  Change({.isr = Ids{1}, .elr = Ids{2, 3}});
  At(1, [](ReplicaView& view) {
    view.maximal_isr = view.isr.empty() ? std::set<NodeId>{}
                                        : std::set<NodeId>{NodeId(1)};
    view.isr = {NodeId(1)};
    view.min_isr = 1;  // the fault: it takes itself for enough
    view.partition_epoch = PartitionEpoch(1);
  });
  AppendAt(1, 0, 100);
  MoveHw(1, 1);
  ExpectFound(Rule::kRP2);
}

TEST_F(ReplicationTest, MD6AZombieCommitsWhatItsSuccessorLacks) {
  Change({.leader = 2, .isr = Ids{2, 3}});
  AppendAt(1, 0, 100);
  At(1, [](ReplicaView& view) { view.maximal_isr = {NodeId(1)}; });
  MoveHw(1, 1);
  ExpectFound(Rule::kMD6);
}

TEST_F(ReplicationTest, MD6AZombieMayCommitWhatAllOfThemHave) {
  AppendAt(1, 0, 100);
  for (const int id : {2, 3}) {
    AppendAt(id, 0, 100);
    Acknowledge(1, id);
  }
  Change({.leader = 2, .isr = Ids{2, 3}});
  MoveHw(1, 1);
  ExpectNone();
}

TEST_F(ReplicationTest, RP13ACutBelowTheHw) {
  Produce(1, {2, 3}, 100);
  At(2, [](ReplicaView& view) {
    CutTo(view, 0);
    view.high_watermark = Offset(0);
  });
  EXPECT_TRUE(findings_.first()->rule == Rule::kRP5 ||
              findings_.first()->rule == Rule::kRP13);
  EXPECT_GT(findings_.evaluations(Rule::kRP13), 0u);
}

TEST_F(ReplicationTest, RP13AReplicaThatFails) {
  At(2, [](ReplicaView& view) {
    view.failed = true;
    view.state = replica::State::kFailed;
  });
  ExpectFound(Rule::kRP13);
}

TEST_F(ReplicationTest, RP13ADiskThatLiesExplainsIt) {
  LieAt(2);
  At(2, [](ReplicaView& view) {
    view.failed = view.corrupt = true;
    view.state = replica::State::kFailed;
  });
  ExpectNone();
}

TEST_F(ReplicationTest, RP13ADiskThatLiesExplainsNoOtherHistory) {
  LieAt(2);
  At(2, [](ReplicaView& view) {
    view.failed = true;
    view.state = replica::State::kFailed;
  });
  ExpectFound(Rule::kRP13);
}

TEST_F(ReplicationTest, ST2TheDiskOfAnotherLies) {
  LieAt(3);
  At(2, [](ReplicaView& view) { view.failed = view.corrupt = true; });
  ExpectFound(Rule::kST2);
}

TEST_F(ReplicationTest, ST2QuarantineOfAnHonestDisk) {
  At(2, [](ReplicaView& view) { view.failed = view.corrupt = true; });
  ExpectFound(Rule::kST2);
}

TEST_F(ReplicationTest, RP5AReplicaThatWasCorruptBeginsAnew) {
  LieAt(2);
  Produce(1, {2, 3}, 100);
  At(2, [](ReplicaView& view) { view.failed = view.corrupt = true; });
  At(2, [](ReplicaView& view) {
    CutTo(view, 0);
    view.high_watermark = Offset(0);
    view.failed = view.corrupt = false;
  });
  for (const auto& violation : {findings_.first()}) {
    EXPECT_TRUE(!violation.has_value() || violation->rule != Rule::kRP5)
        << violation->ToString();
  }
}

TEST_F(ReplicationTest, RP13ACutAboveTheHwIsWhatFollowersDo) {
  Produce(1, {2, 3}, 100);
  AppendAt(1, 0, 101);
  AppendAt(2, 0, 101);
  Change({.leader = 3, .isr = Ids{3, 2}});
  Lead(3, 1);
  At(2, [](ReplicaView& view) {
    CutTo(view, 1);
    view.state = replica::State::kAsking;
    view.leader = NodeId(3);
    view.leader_epoch = LeaderEpoch(1);
    view.partition_epoch = PartitionEpoch(1);
  });
  ExpectNone();
}

// ---- RP7, RP8 ----

TEST_F(ReplicationTest, RP7AFollowerShowsWhatNobodyCommitted) {
  AppendAt(1, 0, 100);
  AppendAt(2, 0, 100);
  MoveHw(2, 1);
  ExpectFound(Rule::kRP7);
}

TEST_F(ReplicationTest, RP7AFollowerShowsItsOwnSuffix) {
  AppendAt(1, 0, 100);
  AppendAt(2, 0, 100);
  Change({.leader = 3, .isr = Ids{3}, .elr = Ids{}});
  // 3 never had it; as a leader it commits another record there.
  At(3, [](ReplicaView& view) { view.min_isr = 1; });
  Lead(3, 1);
  At(3, [](ReplicaView& view) {
    view.min_isr = 1;
    view.maximal_isr = {NodeId(3)};
  });
  AppendAt(3, 1, 200);
  MoveHw(3, 1);
  MoveHw(2, 1);
  ExpectFound(Rule::kRP7);
}

TEST_F(ReplicationTest, RP8AZombieCommitsAnotherRecord) {
  Change({.leader = 3, .isr = Ids{3, 1}});
  Lead(3, 1);
  AppendAt(3, 1, 200);
  Change({.leader = 1, .isr = Ids{1}});
  Lead(1, 2);
  At(1, [](ReplicaView& view) { view.min_isr = 1; });
  AppendAt(1, 2, 300);
  MoveHw(1, 1);
  ExpectNone();
  // As if 1 had acknowledged to epoch 1 what it held in it.
  At(1, [](ReplicaView& view) { view.failed = true; });
  At(3, [](ReplicaView& view) {
    view.maximal_isr = {NodeId(3)};
    view.min_isr = 1;
  });
  Forget();
  MoveHw(3, 1);
  ExpectFound(Rule::kRP8);
}

TEST_F(ReplicationTest, RP8WhatTwoLeadersCommitIsTheSame) {
  Produce(1, {2, 3}, 100);
  Change({.leader = 2, .isr = Ids{1, 2, 3}});
  Lead(2, 1);
  Follow(1, 2, 1);
  Follow(3, 2, 1);
  Produce(2, {1, 3}, 101);
  ExpectNone();
}

// ---- RP9, RP11, RP22, ST1: batches ----

TEST_F(ReplicationTest, RP9OneEpochOneOffsetTwoRecords) {
  AppendAt(1, 0, 100);
  AppendAt(2, 0, 200);
  ExpectFound(Rule::kRP9);
}

TEST_F(ReplicationTest, RP9AnotherEpochIsAnotherHistory) {
  AppendAt(1, 0, 100);
  Change({.leader = 2, .isr = Ids{2, 3}});
  Lead(2, 1);
  AppendAt(2, 1, 200);
  ExpectNone();
}

TEST_F(ReplicationTest, RP11ARecordThatItsLeaderNeverWrote) {
  AppendAt(2, 0, 100);
  ExpectFound(Rule::kRP11);
}

// A leader whose log was trimmed to its end writes what its log begins with; a
// follower still holds the batch before (seed 4440).
TEST_F(ReplicationTest, RP11TheFirstRecordBehindATrim) {
  Produce(1, {2, 3}, 100);
  Change({.log_start = 1});
  At(1, [](ReplicaView& view) {
    view.batches.clear();
    view.log_start = Offset(1);
  });
  AppendAt(1, 0, 101);
  AppendAt(2, 0, 101);
  ExpectNone();
  At(3, [](ReplicaView& view) {
    view.batches.clear();
    view.log_start = Offset(1);
  });
  AppendAt(3, 0, 102);
  ExpectFound(Rule::kRP9);
}

TEST_F(ReplicationTest, RP22AGap) {
  At(1, [](ReplicaView& view) {
    view.batches.push_back({Offset(1), Offset(1), LeaderEpoch(0), 5});
    view.leo = Offset(2);
  });
  ExpectFound(Rule::kRP22);
}

TEST_F(ReplicationTest, RP22ABatchOfManyRecordsIsNoGap) {
  At(1, [](ReplicaView& view) {
    view.batches.push_back({Offset(0), Offset(9), LeaderEpoch(0), 5});
    view.leo = Offset(10);
  });
  ExpectNone();
}

TEST_F(ReplicationTest, ST1ABatchWithAWrongCrc) {
  At(1, [](ReplicaView& view) {
    Append(view, 0, 100);
    view.batches.back().crc_matches = false;
  });
  ExpectFound(Rule::kST1);
}

// ---- RP10 ----

TEST_F(ReplicationTest, RP10AnEpochThatIsNotInTheHistory) {
  At(1, [](ReplicaView& view) {
    Append(view, 0, 100);
    view.epochs.clear();
  });
  ExpectFound(Rule::kRP10);
}

// A follower that takes what its leader has trimmed meanwhile (seed 376).
TEST_F(ReplicationTest, RP10WhatIsTrimmedAsItIsTakenHasNoEpochsAnyMore) {
  Change({.isr = Ids{1, 2}});
  At(1, [](ReplicaView& view) {
    view.maximal_isr = {NodeId(1), NodeId(2)};
    view.isr = {NodeId(1), NodeId(2)};
    view.partition_epoch = PartitionEpoch(1);
  });
  Produce(1, {2}, 100);
  Produce(1, {2}, 101);
  Change({.log_start = 1});
  At(3, [](ReplicaView& view) {
    Append(view, 0, 100);
    Append(view, 0, 101);
    view.log_start = view.high_watermark = Offset(1);
    view.epochs = {{LeaderEpoch(0), Offset(1)}};
  });
  ExpectNone();
}

TEST_F(ReplicationTest, RP10AnEpochThatBeganElsewhere) {
  Produce(1, {2, 3}, 100);
  Produce(1, {2, 3}, 101);
  Change({.leader = 2, .isr = Ids{1, 2, 3}});
  Lead(2, 1);
  At(2, [](ReplicaView& view) {
    view.epochs.back().start = Offset(1);
    view.epoch_start = Offset(1);
    Append(view, 1, 102);
  });
  ExpectFound(Rule::kRP10);
}

TEST_F(ReplicationTest, RP10AnEpochWithoutRecordsIsKept) {
  Produce(1, {2, 3}, 100);
  Change({.leader = 2, .isr = Ids{1, 2, 3}});
  Lead(2, 1);
  Change({.leader = 3, .isr = Ids{1, 2, 3}});
  Lead(3, 2);
  AppendAt(3, 2, 101);
  ExpectNone();
}

// ---- RP12 ----

TEST_F(ReplicationTest, RP12AcceptedWithAnotherHistory) {
  Produce(1, {2, 3}, 100);
  AppendAt(1, 0, 101);
  AppendAt(2, 0, 101);
  Change({.leader = 3, .isr = Ids{3, 2}});
  Lead(3, 1);
  AppendAt(3, 1, 200);
  Follow(2, 3, 1);  // it kept its record 1 of epoch 0
  ExpectFound(Rule::kRP12);
}

TEST_F(ReplicationTest, RP12AcceptedAfterTheCut) {
  Produce(1, {2, 3}, 100);
  AppendAt(1, 0, 101);
  AppendAt(2, 0, 101);
  Change({.leader = 3, .isr = Ids{3, 2}});
  Lead(3, 1);
  AppendAt(3, 1, 200);
  At(2, [](ReplicaView& view) { CutTo(view, 1); });
  Follow(2, 3, 1);
  ExpectNone();
}

// ---- RP16 ----

TEST_F(ReplicationTest, RP16TwoLeadersOfAnEpoch) {
  Lead(2, 0);
  ExpectFound(Rule::kRP16);
}

TEST_F(ReplicationTest, RP16ARestartedBrokerLeadsItsOldEpoch) {
  End(1, check::End::kKilled);
  Boot(1, 2);
  Lead(1, 0);
  ExpectFound(Rule::kRP16);
}

TEST_F(ReplicationTest, RP16ARestartedBrokerLeadsANewerEpoch) {
  End(1, check::End::kKilled);
  Boot(1, 1);
  At(1, [](ReplicaView& view) {
    view.epochs.push_back({LeaderEpoch(0), Offset(0)});
  });
  Change({.leader = 2, .isr = Ids{2, 3, 1}});
  Change({.leader = 1, .isr = Ids{2, 3, 1}});
  Lead(1, 2);
  ExpectNone();
}

// Seed 195: it commits, tells, and fails at its next append, in one event.
TEST_F(ReplicationTest, RP7WhatALeaderCommittedAsItFailed) {
  AppendAt(1, 0, 100);
  for (const int follower : {2, 3}) {
    AppendAt(follower, 0, 100);
    Acknowledge(1, follower);
  }
  At(1, [](ReplicaView& view) {
    view.high_watermark = Offset(1);
    view.failed = true;
  });
  MoveHw(2, 1);
  ExpectNone();
}

TEST_F(ReplicationTest, RP4WhatALeaderMayNotCommitAsItFails) {
  AppendAt(1, 0, 100);
  At(1, [](ReplicaView& view) {
    view.high_watermark = Offset(1);
    view.failed = true;
  });
  ExpectFound(Rule::kRP4);
}

// ---- RP21, RP24 ----

TEST_F(ReplicationTest, RP21AnAnswerBeforeTheHw) {
  AppendAt(1, 0, 100);
  replication_.OnAcknowledged(kTp, Offset(1));
  ExpectFound(Rule::kRP21);
}

TEST_F(ReplicationTest, RP24AReplicaThatStayedBehind) {
  Produce(1, {2, 3}, 100);
  AppendAt(1, 0, 101);
  replication_.CheckConverged(kTp);
  ExpectFound(Rule::kRP24);
}

TEST_F(ReplicationTest, ST8AReplicaInSyncThatIsStillMarkedLossy) {
  Produce(1, {2, 3}, 100);
  At(2, [](ReplicaView& view) { view.lossy = true; });
  replication_.CheckConverged(kTp);
  ExpectFound(Rule::kST8);
}

TEST_F(ReplicationTest, RP24AnIsrThatIsNotFull) {
  Change({.isr = Ids{1, 2}});
  replication_.CheckConverged(kTp);
  ExpectFound(Rule::kRP24);
}

}  // namespace
}  // namespace sluice::check
