// Each rule: a history that breaks it, found under its number, and one that
// looks like it and is legal.
#include "test/check/check_testing.h"

namespace sluice::check {
namespace {

class StorageInvariantsTest : public CheckTest {
 protected:
  // Broker 2 holds three records, the last of them not synced, and goes.
  void Leave(check::End how, bool lossy = false) {
    Produce(1, {2, 3}, 100);
    Produce(1, {2, 3}, 101);
    AppendAt(1, 0, 102);
    At(2, [&](ReplicaView& view) {
      Append(view, 0, 102);
      view.lossy = lossy;
    });
    ExpectNone();
    End(2, how);
  }
  // Its next process finds the first `records`.
  void Find(int records, bool lossy = false) {
    Boot(2, 2);
    At(2, [&](ReplicaView& view) {
      for (int i = 0; i < records; ++i) {
        Append(view, 0, 100 + static_cast<uint32_t>(i));
      }
      view.durable_leo = view.position = view.leo;
      view.high_watermark = std::min(view.leo, Offset(2));
      view.lossy = lossy;
    });
    storage_.OnRecovered(node(2));
  }
};

TEST_F(StorageInvariantsTest, ST4ASyncAfterOneThatFailed) {
  storage_.OnSyncFailed(node(1));
  At(1, [](ReplicaView& view) { Append(view, 0, 100); });
  ExpectNone();
  At(1, [](ReplicaView& view) { view.durable_leo = view.leo; });
  ExpectFound(Rule::kST4);
}

TEST_F(StorageInvariantsTest, ST4TheNextProcessMaySync) {
  storage_.OnSyncFailed(node(1));
  End(1, check::End::kKilled);
  Boot(1, 2);
  At(1, [](ReplicaView& view) { Append(view, 0, 100); });
  At(1, [](ReplicaView& view) { view.durable_leo = view.leo; });
  EXPECT_EQ(findings_.violations(Rule::kST4), 0u);
  EXPECT_EQ(findings_.evaluations(Rule::kST4), 1u);  // when the first one ended
}

TEST_F(StorageInvariantsTest, ST4AProcessEndsWithWhatWasDurableWhenASyncFailed) {
  At(1, [](ReplicaView& view) {
    Append(view, 0, 100);
    view.durable_leo = view.leo;
  });
  storage_.OnSyncFailed(node(1));
  storage_.OnSyncFailed(node(1));
  End(1, check::End::kKilled);
  EXPECT_EQ(findings_.evaluations(Rule::kST4), 1u);
  ExpectNone();
}

TEST_F(StorageInvariantsTest, ST4AProcessEndsWithMoreThanThat) {
  storage_.OnSyncFailed(node(1));
  // Seen by no event: the views are those of its last moment.
  replica(1).durable_leo = Offset(5);
  storage_.OnSyncFailed(node(1));
  End(1, check::End::kKilled);
  ExpectFound(Rule::kST4);
}

TEST_F(StorageInvariantsTest, ST5APowerCutTakesWhatWasSynced) {
  Leave(check::End::kPowerCut);
  Find(1);
  ExpectFound(Rule::kST5);
}

TEST_F(StorageInvariantsTest, ST5APowerCutTakesWhatWasNot) {
  Leave(check::End::kPowerCut);
  Find(2);
  ExpectNone();
}

// What lies below the last mark is found damaged, never found short.
TEST_F(StorageInvariantsTest, ST5ADiskThatLiesLosesNothingUnnoticed) {
  LieAt(2);
  Leave(check::End::kPowerCut);
  Find(1);
  ExpectFound(Rule::kST5);
}

TEST_F(StorageInvariantsTest, ST8AKillTakesNothing) {
  Leave(check::End::kKilled);
  Find(2);
  ExpectFound(Rule::kST8);
}

TEST_F(StorageInvariantsTest, ST8AKillLeavesThePageCache) {
  Leave(check::End::kKilled);
  Find(3);
  ExpectNone();
}

TEST_F(StorageInvariantsTest, ST8AKillAndThenThePower) {
  Leave(check::End::kKilled);
  End(2, check::End::kPowerCut);
  Find(2);
  ExpectNone();
}

// Seeds 259 and 320: what a process had when its replica failed, not what an
// older one left, is what the next one finds.
TEST_F(StorageInvariantsTest, ST8AFailedReplicaLeavesWhatItHad) {
  Leave(check::End::kKilled);
  Find(3);
  At(2, [](ReplicaView& view) { Append(view, 0, 103); });
  At(2, [](ReplicaView& view) { view.failed = true; });
  Forget();  // of what is committed it has all
  End(2, check::End::kKilled);
  Find(3);
  ExpectFound(Rule::kST8);
}

TEST_F(StorageInvariantsTest, ST5AFailedReplicaAndThenThePower) {
  Leave(check::End::kKilled);
  Find(3);
  At(2, [](ReplicaView& view) { Append(view, 0, 103); });
  At(2, [](ReplicaView& view) { view.failed = true; });
  Forget();
  End(2, check::End::kKilled);
  End(2, check::End::kPowerCut);
  Find(3);
  ExpectNone();
}

TEST_F(StorageInvariantsTest, ST8AHealthyLogTakesItselfForLossy) {
  Leave(check::End::kPowerCut);
  Find(2, /*lossy=*/true);
  ExpectFound(Rule::kST8);
}

// Its marks said so before, and it was killed before they said otherwise.
TEST_F(StorageInvariantsTest, ST8ALossThatWasNotForgottenYet) {
  Leave(check::End::kPowerCut, /*lossy=*/true);
  Find(3, /*lossy=*/true);
  ExpectNone();
}

TEST_F(StorageInvariantsTest, ST7ASecondRecoveryFindsLess) {
  Leave(check::End::kPowerCut);
  Find(3);
  End(2, check::End::kPowerCut);
  Find(2);
  ExpectFound(Rule::kST7);
}

TEST_F(StorageInvariantsTest, ST7ASecondRecoveryFindsTheSame) {
  Leave(check::End::kPowerCut);
  Find(3);
  End(2, check::End::kPowerCut);
  Find(3);
  ExpectNone();
}

TEST_F(StorageInvariantsTest, ST11AReplicaVanishes) {
  Leave(check::End::kKilled);
  Boot(2, 2);
  storage_.OnRecovered(node(2));
  ExpectFound(Rule::kST11);
}

TEST_F(StorageInvariantsTest, ST11AWipedDiskHasNone) {
  Leave(check::End::kKilled);
  Wipe(2);
  Boot(2, 2);
  storage_.OnRecovered(node(2));
  ExpectNone();
}

TEST_F(StorageInvariantsTest, ST11ADeletedTopicMayGo) {
  Leave(check::End::kKilled);
  Batch remove;
  remove.add_records()->mutable_remove_topic()->set_id(
      kTp.topic_id.ToBytes());
  Commit(remove);
  Boot(2, 2);
  storage_.OnRecovered(node(2));
  ExpectNone();
}

TEST_F(StorageInvariantsTest, RP10AnEpochThatItLedIsForgotten) {
  Produce(1, {2, 3}, 100);
  End(1, check::End::kPowerCut);
  Boot(1, 2);
  At(1, [](ReplicaView& view) {
    view.epochs.push_back({LeaderEpoch(-1), Offset(0)});
    Append(view, 0, 100);
    view.epochs = {};
    view.durable_leo = view.leo;
  });
  ExpectFound(Rule::kRP10);
}

TEST_F(StorageInvariantsTest, ST1OtherBytesThanWereAppended) {
  Produce(1, {2, 3}, 100);
  std::vector<StoredBatch> batches = replica(1).batches;
  storage_.OnReread(node(1), kTp, replica(1), batches);
  ExpectNone();
  batches.back().crc_matches = false;
  storage_.OnReread(node(1), kTp, replica(1), batches);
  ExpectFound(Rule::kST1);
}

}  // namespace
}  // namespace sluice::check
