// Each rule: a history that breaks it, found under its number, and one that
// looks like it and is legal.
#include "test/check/check_testing.h"

namespace sluice::check {
namespace {

class MetadataInvariantsTest : public CheckTest {
 protected:
  // Broker 3's registration as `incarnation`, with what leaves ISR and ELR.
  void RegisterAnew(int incarnation, bool was_clean,
                    const PartitionChange& change) {
    Batch batch;
    auto* fence = batch.add_records()->mutable_broker_change();
    fence->set_broker_id(3);
    fence->set_broker_epoch(EpochOf(3).value());
    fence->set_fenced(true);
    AddChange(batch, change);
    auto* record = batch.add_records()->mutable_register_broker();
    record->set_broker_id(3);
    record->set_incarnation_id(Incarnation(3, incarnation).ToBytes());
    record->set_feature_min(1);
    record->set_feature_max(1);
    record->set_was_clean(was_clean);
    Commit(batch);
  }
};

// ---- MD1, MD2 ----

TEST_F(MetadataInvariantsTest, MD1AStateThatTheLogDoesNotGive) {
  Batch other;
  auto* topic = other.add_records()->mutable_topic();
  topic->set_name("u");
  topic->set_id(Uuid(8, 8).ToBytes());
  const auto before = cluster_.committed;
  Fence(3, true);
  Forget();
  const auto twin = ApplyBatch(*before, other, offset_, Term(1));
  ASSERT_TRUE(twin.ok());
  metadata_.OnImage(node(1), *twin->image, nullptr);
  ExpectFound(Rule::kMD1);
}

TEST_F(MetadataInvariantsTest, MD1AnOlderStateIsAPrefix) {
  const auto before = cluster_.committed;
  Change({.isr = Ids{1, 2}});
  metadata_.OnImage(node(1), *before, nullptr);
  metadata_.OnImage(node(1), *cluster_.committed, before.get());
  ExpectNone();
}

TEST_F(MetadataInvariantsTest, MD2ANodeGoesBack) {
  const auto before = cluster_.committed;
  Change({.isr = Ids{1, 2}});
  metadata_.OnImage(node(1), *before, cluster_.committed.get());
  ExpectFound(Rule::kMD2);
}

TEST_F(MetadataInvariantsTest, MD2WhatIsNotCommittedYet) {
  const auto before = cluster_.committed;
  Change({.isr = Ids{1, 2}});
  const auto ahead = std::exchange(cluster_.committed, before);
  metadata_.OnImage(node(1), *ahead, nullptr);
  ExpectFound(Rule::kMD2);
}

// ---- MD3, MD4, MD5 ----

TEST_F(MetadataInvariantsTest, MD3AFenceWithoutItsElections) {
  Fence(3, true);
  ExpectFound(Rule::kMD3);
}

TEST_F(MetadataInvariantsTest, MD3AFenceInOneBatchWithThem) {
  Batch batch;
  auto* fence = batch.add_records()->mutable_broker_change();
  fence->set_broker_id(3);
  fence->set_broker_epoch(EpochOf(3).value());
  fence->set_fenced(true);
  AddChange(batch, {.isr = Ids{1, 2}});
  Commit(batch);
  ExpectNone();
}

TEST_F(MetadataInvariantsTest, MD4AFencedBrokerJoins) {
  Change({.isr = Ids{1, 2}});
  Fence(3, true);
  ExpectNone();
  Change({.isr = Ids{1, 2, 3}});
  EXPECT_GT(findings_.evaluations(Rule::kMD4), 0u);
  ExpectFound(Rule::kMD4);
}

TEST_F(MetadataInvariantsTest, MD5UnfencedBeforeItCaughtUp) {
  End(3, check::End::kStopped);
  Change({.isr = Ids{1, 2}});
  Boot(3, 2);
  const auto old = cluster_.committed;
  RegisterAnew(2, true, {.elr = Ids{}});
  node(3).broker_image = old;
  Batch batch;
  auto* record = batch.add_records()->mutable_broker_change();
  record->set_broker_id(3);
  record->set_broker_epoch(EpochOf(3).value());
  record->set_fenced(false);
  Commit(batch);
  ExpectFound(Rule::kMD5);
}

TEST_F(MetadataInvariantsTest, MD5UnfencedWhenItHas) {
  End(3, check::End::kStopped);
  Change({.isr = Ids{1, 2}});
  Boot(3, 2);
  RegisterAnew(2, true, {.elr = Ids{}});
  Fence(3, false);
  ExpectNone();
}

// ---- MD7, MD9 ----

TEST_F(MetadataInvariantsTest, MD7AnIdIsUsedAgain) {
  Batch remove;
  remove.add_records()->mutable_remove_topic()->set_id(
      kTp.topic_id.ToBytes());
  Commit(remove);
  CreateTopic(kTp.topic_id, "t");
  ExpectFound(Rule::kMD7);
}

TEST_F(MetadataInvariantsTest, MD7ANameIsUsedAgain) {
  Batch remove;
  remove.add_records()->mutable_remove_topic()->set_id(
      kTp.topic_id.ToBytes());
  Commit(remove);
  CreateTopic(TopicId(Uuid(9, 9)), "t");
  ExpectNone();
}

TEST_F(MetadataInvariantsTest, RA16WhatIsAnsweredAsDoneIsCommitted) {
  metadata_.OnTopicCreated(kTp.topic_id);
  ExpectNone();
  metadata_.OnTopicCreated(TopicId(Uuid(9, 9)));
  ExpectFound(Rule::kRA16);
}

// A client hears of it later than another deletes it.
TEST_F(MetadataInvariantsTest, RA16WhatIsGoneAgainWasCommitted) {
  Batch remove;
  remove.add_records()->mutable_remove_topic()->set_id(
      kTp.topic_id.ToBytes());
  Commit(remove);
  metadata_.OnTopicCreated(kTp.topic_id);
  ExpectNone();
}

TEST_F(MetadataInvariantsTest, MD9ABrokerStopsWhileItLeads) {
  metadata_.OnReleased(node(1));
  ExpectFound(Rule::kMD9);
}

TEST_F(MetadataInvariantsTest, MD9AnotherBrokerDoesNotKnowYet) {
  Batch batch;
  auto* stop = batch.add_records()->mutable_broker_change();
  stop->set_broker_id(1);
  stop->set_broker_epoch(EpochOf(1).value());
  stop->set_stopping(true);
  AddChange(batch, {.leader = 2, .isr = Ids{2, 3}});
  const auto old = cluster_.committed;
  Commit(batch);
  metadata_.OnReleased(node(1));
  ExpectNone();
  node(3).broker_image = old;
  metadata_.OnReleased(node(1));
  ExpectFound(Rule::kMD9);
}

// Who has lost all by a fencing hands nothing over when it stops afterwards.
TEST_F(MetadataInvariantsTest, MD9WhatAFencingTookIsToldAlready) {
  Batch fenced;
  auto* change = fenced.add_records()->mutable_broker_change();
  change->set_broker_id(1);
  change->set_broker_epoch(EpochOf(1).value());
  change->set_fenced(true);
  AddChange(fenced, {.leader = 2, .isr = Ids{2, 3}});
  Commit(fenced);
  const auto known = cluster_.committed;
  Fence(1, false);
  Batch batch;
  auto* stop = batch.add_records()->mutable_broker_change();
  stop->set_broker_id(1);
  stop->set_broker_epoch(EpochOf(1).value());
  stop->set_stopping(true);
  Commit(batch);
  Forget();
  node(3).broker_image = known;
  metadata_.OnReleased(node(1));
  ExpectNone();
}

// ---- RP18, RP19 ----

TEST_F(MetadataInvariantsTest, RP18AKilledBrokerPassesForClean) {
  End(3, check::End::kKilled);
  Change({.isr = Ids{1, 2}});
  RegisterAnew(2, true, {.elr = Ids{}});
  ExpectFound(Rule::kRP18);
}

// The marker was written, and the process killed before it had ended (seed
// 2048).
TEST_F(MetadataInvariantsTest, RP18AKillBehindTheCleanMarker) {
  node(3).closing = true;
  End(3, check::End::kKilled);
  Change({.isr = Ids{1, 2}});
  RegisterAnew(2, true, {.elr = Ids{}});
  ExpectNone();
}

TEST_F(MetadataInvariantsTest, RP18AnUncleanBrokerStaysElectable) {
  Change({.isr = Ids{1}, .elr = Ids{2, 3}});
  End(3, check::End::kKilled);
  RegisterAnew(2, false, {.elr = Ids{2, 3}});
  ExpectFound(Rule::kRP18);
}

TEST_F(MetadataInvariantsTest, RP18AnUncleanBrokerWaitsForItsVerdict) {
  Change({.isr = Ids{1}, .elr = Ids{2, 3}});
  End(3, check::End::kKilled);
  RegisterAnew(2, false, {.elr = Ids{2}, .unverified_elr = Ids{3}});
  ExpectNone();
}

TEST_F(MetadataInvariantsTest, RP18AWipedDiskIsNotEvenDoubted) {
  Change({.isr = Ids{1}, .elr = Ids{2, 3}});
  End(3, check::End::kKilled);
  Wipe(3);
  RegisterAnew(2, false, {.elr = Ids{2}, .unverified_elr = Ids{3}});
  ExpectFound(Rule::kRP18);
}

// Asked for by a process that was dead, and its disk wiped, when it was
// committed: only its successor can tell.
TEST_F(MetadataInvariantsTest, RP18AWipeBehindTheRegistrationIsTheNextOnes) {
  Change({.isr = Ids{1}, .elr = Ids{2, 3}});
  End(3, check::End::kKilled);
  Boot(3, 2);
  End(3, check::End::kKilled);
  Wipe(3);
  RegisterAnew(2, false, {.elr = Ids{2}, .unverified_elr = Ids{3}});
  ExpectNone();
  Boot(3, 3);
  End(3, check::End::kKilled);
  RegisterAnew(3, false, {.elr = Ids{2}, .unverified_elr = Ids{3}});
  ExpectFound(Rule::kRP18);
}

TEST_F(MetadataInvariantsTest, RP18APowerCutAfterACleanStopTakesNothing) {
  Change({.isr = Ids{1}, .elr = Ids{2, 3}});
  End(3, check::End::kStopped);
  End(3, check::End::kPowerCut);
  RegisterAnew(2, true, {.elr = Ids{2, 3}});
  ExpectNone();
}

TEST_F(MetadataInvariantsTest, RP19ANewIncarnationThatIsNotFenced) {
  Change({.isr = Ids{1, 2}});
  Fence(3, true);
  ExpectNone();
  Batch batch;
  auto* record = batch.add_records()->mutable_register_broker();
  record->set_broker_id(3);
  record->set_incarnation_id(Incarnation(3, 2).ToBytes());
  record->set_feature_min(1);
  record->set_feature_max(1);
  auto* unfence = batch.add_records()->mutable_broker_change();
  unfence->set_broker_id(3);
  unfence->set_broker_epoch(offset_.value() + 1);
  unfence->set_fenced(false);
  Commit(batch);
  ExpectFound(Rule::kRP19);
}

}  // namespace
}  // namespace sluice::check
