// Each rule: a history that breaks it, found under its number, and one that
// looks like it and is legal.
#include <limits>

#include "test/check/check_testing.h"

namespace sluice::check {
namespace {

constexpr ProducerId kProducer{7};

class ProducerInvariantsTest : public CheckTest {
 protected:
  struct Sent {
    int epoch = 0;
    int32_t sequence = 0;
    int records = 1;
    int64_t producer = kProducer.value();
  };

  static StoredBatch BatchOf(const ReplicaView& view, const Sent& sent) {
    StoredBatch batch;
    batch.base = view.leo;
    batch.last = view.leo + (sent.records - 1);
    batch.epoch = view.leader_epoch;
    batch.crc = static_cast<uint32_t>(
        (int64_t{sent.epoch} * 31 + sent.sequence) * 31 + sent.producer);
    batch.producer = ProducerId(sent.producer);
    batch.producer_epoch = static_cast<int16_t>(sent.epoch);
    batch.base_sequence = sent.sequence;
    return batch;
  }

  static void Learn(ProducerTable& table, const StoredBatch& batch) {
    BatchHeader header;
    header.base_offset = batch.base;
    header.last_offset_delta =
        static_cast<int32_t>(batch.last.value() - batch.base.value());
    header.producer_id = batch.producer;
    header.producer_epoch = batch.producer_epoch;
    header.base_sequence = batch.base_sequence;
    table.Apply(header);
  }

  // Into the log of `id`; its table learns of it, or does not.
  void Store(int id, const Sent& sent, bool learns = true) {
    ProducerTable& table = tables_[id];
    At(id, [&](ReplicaView& view) {
      const StoredBatch batch = BatchOf(view, sent);
      if (view.epochs.empty()) view.epochs.push_back({batch.epoch, batch.base});
      view.batches.push_back(batch);
      view.leo = batch.last.Next();
      if (learns) Learn(table, batch);
    });
    At(id, [](ReplicaView& view) {
      view.durable_leo = view.position = view.leo;
    });
  }
  // At the leader, then at a follower.
  void Copy(const Sent& sent) {
    Store(1, sent);
    Store(2, sent);
  }
  // Everywhere, and committed.
  void Commit(const Sent& sent) {
    Store(1, sent);
    for (const int follower : {2, 3}) {
      Store(follower, sent);
      Acknowledge(1, follower);
    }
    MoveHw(1, replica(1).leo.value());
  }
  // A table that has learnt what the log of `id` holds.
  void Replay(int id) {
    tables_[id].Clear();
    for (const StoredBatch& batch : replica(id).batches) {
      Learn(tables_[id], batch);
    }
  }
  // A log of which all below 10 is gone, and what it knows.
  static ReplicaView Trimmed(const Sent& sent, ProducerTable& table) {
    ReplicaView view;
    view.log_start = view.leo = Offset(10);
    view.batches.push_back(BatchOf(view, sent));
    view.leo = view.batches.back().last.Next();
    Learn(table, view.batches.back());
    return view;
  }
  void Answer(const Sent& sent, int64_t base, bool duplicate = false) {
    producers_.OnAnswered({"t", {}, PartitionIndex(0),
                           ProducerId(sent.producer),
                           static_cast<int16_t>(sent.epoch), sent.sequence,
                           Offset(base), duplicate});
  }
};

// ---- IP1 ----

TEST_F(ProducerInvariantsTest, IP1ASequenceIsStoredTwice) {
  Store(1, {.sequence = 0});
  Store(1, {.sequence = 1});
  ExpectNone();
  Store(1, {.sequence = 1});
  ExpectFound(Rule::kIP1);
}

TEST_F(ProducerInvariantsTest, IP1ASequenceIsMissing) {
  Store(1, {.sequence = 0, .records = 3});
  Store(1, {.sequence = 3});
  ExpectNone();
  Store(1, {.sequence = 5});
  ExpectFound(Rule::kIP1);
}

TEST_F(ProducerInvariantsTest, IP1TheFirstIsMissing) {
  Store(1, {.sequence = 4});
  ExpectFound(Rule::kIP1);
}

TEST_F(ProducerInvariantsTest, IP1TwoProducersCountApart) {
  Store(1, {.sequence = 0});
  Store(1, {.sequence = 0, .producer = 8});
  Store(1, {.sequence = 1, .producer = 8});
  Store(1, {.sequence = 1});
  AppendAt(1, 0, 100);  // nobody's
  Store(1, {.sequence = 2});
  ExpectNone();
  EXPECT_EQ(findings_.evaluations(Rule::kIP1), 5u);
}

TEST_F(ProducerInvariantsTest, IP1BehindTheLastSequenceComesZero) {
  constexpr int32_t kLast = std::numeric_limits<int32_t>::max();
  Store(1, {.sequence = 0, .records = kLast});
  Store(1, {.sequence = kLast});
  Store(1, {.sequence = 0});
  ExpectNone();
  Store(1, {.sequence = 2});
  ExpectFound(Rule::kIP1);
}

TEST_F(ProducerInvariantsTest, IP1ABatchMayWrapInside) {
  constexpr int32_t kLast = std::numeric_limits<int32_t>::max();
  Store(1, {.sequence = 0, .records = kLast - 1});
  Store(1, {.sequence = kLast - 1, .records = 3});
  Store(1, {.sequence = 1});
  ExpectNone();
}

TEST_F(ProducerInvariantsTest, IP1WhatWasCutMayComeAgain) {
  Copy({.sequence = 0});
  Copy({.sequence = 1});
  At(2, [this](ReplicaView& view) {
    CutTo(view, 1);
    Replay(2);
  });
  Store(2, {.sequence = 1});
  ExpectNone();
}

// What lay below the start of a log may have been anything.
TEST_F(ProducerInvariantsTest, IP1ALogThatBeginsLater) {
  ProducerTable table;
  const ReplicaView view = Trimmed({.sequence = 4}, table);
  producers_.OnChange(node(2), {kTp, std::nullopt, &view, &table});
  ExpectNone();
  EXPECT_EQ(findings_.evaluations(Rule::kIP4), 2u);
}

// From where a log begins it is folded as any other.
TEST_F(ProducerInvariantsTest, IP4ATrimmedLogOfWhichNothingIsKnown) {
  ProducerTable table;
  const ReplicaView view = Trimmed({.sequence = 4}, table);
  const ProducerTable knows_nothing;
  producers_.OnChange(node(2), {kTp, std::nullopt, &view, &knows_nothing});
  ExpectFound(Rule::kIP4);
}

TEST_F(ProducerInvariantsTest, IP4ATrimmedLogMayKnowWhatWasThereBefore) {
  ProducerTable table;
  Learn(table, BatchOf(ReplicaView(), {.sequence = 9, .producer = 8}));
  ReplicaView older;
  older.leo = Offset(5);
  Learn(table, BatchOf(older, {.sequence = 3}));
  const ReplicaView view = Trimmed({.sequence = 4}, table);
  producers_.OnChange(node(2), {kTp, std::nullopt, &view, &table});
  ExpectNone();
}

TEST_F(ProducerInvariantsTest, IP4OfWhoBeganBehindTheTrimAllIsJudged) {
  ProducerTable table;
  ReplicaView older;
  older.leo = Offset(5);
  Learn(table, BatchOf(older, {.sequence = 3}));
  ReplicaView view = Trimmed({.sequence = 4}, table);
  // The first of a new epoch is forgotten.
  view.batches.push_back(BatchOf(view, {.epoch = 1, .sequence = 0}));
  view.leo = view.leo.Next();
  view.batches.push_back(BatchOf(view, {.epoch = 1, .sequence = 1}));
  Learn(table, view.batches.back());
  view.leo = view.leo.Next();
  producers_.OnChange(node(2), {kTp, std::nullopt, &view, &table});
  ExpectFound(Rule::kIP4);
}

// ---- IP2 ----

TEST_F(ProducerInvariantsTest, IP2ARetryIsAnsweredWithWhereItWasStored) {
  Commit({.sequence = 0});
  Commit({.sequence = 1});
  Answer({.sequence = 1}, 1);
  Answer({.sequence = 0}, 0, /*duplicate=*/true);
  ExpectNone();
  EXPECT_EQ(findings_.evaluations(Rule::kIP2), 2u);
}

TEST_F(ProducerInvariantsTest, IP2ARetryIsAnsweredWithAnotherOffset) {
  Commit({.sequence = 0});
  Commit({.sequence = 1});
  Answer({.sequence = 0}, 1, /*duplicate=*/true);
  ExpectFound(Rule::kIP2);
}

TEST_F(ProducerInvariantsTest, IP2AnotherEpochIsAnotherBatch) {
  Commit({.sequence = 0});
  Answer({.epoch = 1, .sequence = 0}, 0);
  ExpectFound(Rule::kIP2);
}

TEST_F(ProducerInvariantsTest, IP2WhatIsNotCommittedIsNotStored) {
  Store(1, {.sequence = 0});
  Answer({.sequence = 0}, 0);
  ExpectFound(Rule::kIP2);
}

TEST_F(ProducerInvariantsTest, IP2ATopicOfTheSameNameSaysNothing) {
  Commit({.sequence = 0});
  Answer({.sequence = 0}, 0);
  ExpectNone();
  CheckTest::Batch remove;
  remove.add_records()->mutable_remove_topic()->set_id(kTp.topic_id.ToBytes());
  CheckTest::Commit(remove);
  CreateTopic(TopicId(Uuid(8, 8)), "t");
  Answer({.sequence = 0}, 0);
  EXPECT_EQ(findings_.evaluations(Rule::kIP2), 1u);
}

// ---- IP3 ----

TEST_F(ProducerInvariantsTest, IP3AnOlderEpochWrites) {
  Store(1, {.epoch = 1, .sequence = 0});
  ExpectNone();
  Store(1, {.epoch = 0, .sequence = 0});
  ExpectFound(Rule::kIP3);
}

TEST_F(ProducerInvariantsTest, IP3ANewEpochGoesOnWithTheOldSequence) {
  Store(1, {.epoch = 0, .sequence = 0});
  Store(1, {.epoch = 1, .sequence = 1});
  ExpectFound(Rule::kIP3);
}

TEST_F(ProducerInvariantsTest, IP3ANewEpochBeginsWithZero) {
  Store(1, {.epoch = 0, .sequence = 0});
  Store(1, {.epoch = 0, .sequence = 1});
  Store(1, {.epoch = 2, .sequence = 0});
  Store(1, {.epoch = 2, .sequence = 1});
  ExpectNone();
  EXPECT_EQ(findings_.evaluations(Rule::kIP3), 1u);
}

// ---- IP4 ----

TEST_F(ProducerInvariantsTest, IP4AFollowerLearnsNothing) {
  Copy({.sequence = 0});
  ExpectNone();
  Store(1, {.sequence = 1});
  Store(2, {.sequence = 1}, /*learns=*/false);
  ExpectFound(Rule::kIP4);
}

TEST_F(ProducerInvariantsTest, IP4TheLastFiveBatchesAreKnown) {
  for (int i = 0; i < 8; ++i) Copy({.sequence = i});
  ExpectNone();
  EXPECT_GE(findings_.evaluations(Rule::kIP4), 8u);
  tables_[2].Clear();
  for (size_t i = 4; i < 8; ++i) Learn(tables_[2], replica(2).batches[i]);
  producers_.CheckTable(node(2), kTp, replica(2), tables_[2]);
  ExpectFound(Rule::kIP4);
}

TEST_F(ProducerInvariantsTest, IP4ACutLeavesThemAsTheyWere) {
  Copy({.sequence = 0});
  Copy({.sequence = 1});
  At(2, [](ReplicaView& view) { CutTo(view, 1); });
  ExpectFound(Rule::kIP4);
}

TEST_F(ProducerInvariantsTest, IP4ACutTakesAProducerAway) {
  Copy({.sequence = 0});
  Copy({.sequence = 0, .producer = 8});
  const ProducerTable before = tables_[2];
  At(2, [this](ReplicaView& view) {
    CutTo(view, 1);
    Replay(2);
  });
  ExpectNone();
  producers_.CheckTable(node(2), kTp, replica(2), before);
  ExpectFound(Rule::kIP4);
}

TEST_F(ProducerInvariantsTest, IP4AStartThatForgets) {
  Copy({.sequence = 0});
  const std::vector<StoredBatch> batches = replica(2).batches;
  End(2, check::End::kKilled);
  const auto start = [&](int incarnation) {
    Boot(2, incarnation);
    At(2, [&](ReplicaView& view) {
      view.batches = batches;
      view.epochs.push_back({LeaderEpoch(0), Offset(0)});
      view.leo = view.durable_leo = view.position = Offset(1);
    });
  };
  start(2);
  ExpectNone();
  End(2, check::End::kKilled);
  tables_[2].Clear();
  start(3);
  ExpectFound(Rule::kIP4);
}

TEST_F(ProducerInvariantsTest, IP4ANewLeaderThatForgot) {
  Commit({.sequence = 0});
  tables_[2].Clear();
  ExpectNone();
  Change({.leader = 2});
  Lead(2, 1);
  ExpectFound(Rule::kIP4);
}

// ---- IP5 ----

class IdentityTest : public CheckTest {
 protected:
  // Broker 1 is given [first, next).
  void AllocateBlock(int64_t first, int64_t next) {
    Batch batch;
    auto* record = batch.add_records()->mutable_producer_ids();
    record->set_broker_id(1);
    record->set_broker_epoch(EpochOf(1).value());
    record->set_first_producer_id(first);
    record->set_next_producer_id(next);
    Commit(batch);
  }
  void Give(int broker, int64_t id, int32_t epoch = 0) {
    producers_.OnIdentified({NodeId(broker), ProducerId(id), epoch});
  }
};

TEST_F(IdentityTest, IP5AnIdIsGivenTwice) {
  AllocateBlock(1000, 1003);
  Give(1, 1000);
  Give(1, 1002);
  ExpectNone();
  Give(2, 1000);
  ExpectFound(Rule::kIP5);
}

TEST_F(IdentityTest, IP5AnIdIsOfNoBlock) {
  AllocateBlock(1000, 1003);
  Give(1, 1003);
  ExpectFound(Rule::kIP5);
}

TEST_F(IdentityTest, IP5AnIdIsGivenBeforeItsBlockIsCommitted) {
  Give(1, 1000);
  ExpectFound(Rule::kIP5);
}

TEST_F(IdentityTest, IP5TheNextEpochIsTheSameIdentity) {
  AllocateBlock(1000, 1003);
  Give(1, 1000);
  Give(2, 1000, 1);
  Give(3, 1000, 1);  // a call that came twice
  AllocateBlock(1003, 1004);
  Give(1, 1003);
  ExpectNone();
  EXPECT_EQ(findings_.evaluations(Rule::kIP5), 2u);
}

}  // namespace
}  // namespace sluice::check
