// RP4-RP6: when the high watermark moves, and where it may stand.
#include "test/check/check_testing.h"

namespace sluice::check {
namespace {

using HighWatermarkTest = CheckTest;

// ---- RP4 ----

TEST_F(HighWatermarkTest, RP4TheHwMovesBelowMinIsr) {
  At(1, [](ReplicaView& view) { view.isr = {NodeId(1)}; });
  Forget();
  Produce(1, {2, 3}, 100);
  ExpectFound(Rule::kRP4);
}

TEST_F(HighWatermarkTest, RP4TheHwPassesAMember) {
  AppendAt(1, 0, 100);
  AppendAt(2, 0, 100);
  Acknowledge(1, 2);
  Acknowledge(1, 3);
  MoveHw(1, 1);
  ExpectFound(Rule::kRP4);
}

TEST_F(HighWatermarkTest, RP4AMemberIsCountedWhereItNeverWas) {
  AppendAt(1, 0, 100);
  AppendAt(2, 0, 100);
  Acknowledge(1, 2);
  At(1, [&](ReplicaView& view) {
    view.followers[NodeId(3)] = {.broker_epoch = EpochOf(3),
                                 .appended = Offset(1),
                                 .durable = Offset(1),
                                 .accepted = true};
  });
  MoveHw(1, 1);
  ExpectFound(Rule::kRP4);
}

TEST_F(HighWatermarkTest, RP4WhatIsAppendedDoesNotCountInDiskMode) {
  AppendAt(1, 0, 100);
  for (const int id : {2, 3}) {
    At(id, [](ReplicaView& view) { Append(view, 0, 100); });
    Acknowledge(1, id);
  }
  MoveHw(1, 1);
  ExpectFound(Rule::kRP4);
}

TEST_F(HighWatermarkTest, RP4WhatIsAppendedCountsInMemoryMode) {
  SetConfig(kDurability, "memory");
  for (const int id : {1, 2, 3}) {
    At(id, [](ReplicaView& view) { view.durable_counts = false; });
  }
  At(1, [](ReplicaView& view) {
    Append(view, 0, 100);
    view.position = view.leo;
  });
  for (const int id : {2, 3}) {
    At(id, [](ReplicaView& view) { Append(view, 0, 100); });
    Acknowledge(1, id);
  }
  MoveHw(1, 1);
  ExpectNone();
}

// From memory to disk: what was acknowledged in memory is there, and need not
// be on disk before the leader has said so.
TEST_F(HighWatermarkTest, RP2WhileASwitchToDiskSettlesTheLogsEndCounts) {
  SetConfig(kDurability, "memory");
  for (const int id : {1, 2, 3}) {
    At(id, [](ReplicaView& view) { view.durable_counts = false; });
  }
  At(1, [](ReplicaView& view) {
    Append(view, 0, 100);
    view.position = view.leo;
  });
  for (const int id : {2, 3}) {
    At(id, [](ReplicaView& view) { Append(view, 0, 100); });
    Acknowledge(1, id);
  }
  MoveHw(1, 1);
  SetConfig(kDurability, "disk");
  Change({.durability_settling = true});
  ExpectNone();
  Change({.durability_settling = false});  // no disk has it
  ExpectFound(Rule::kRP2);
}

// ---- RP5, RP6, RP13, RP23 ----

TEST_F(HighWatermarkTest, RP5TheHwGoesBack) {
  Produce(1, {2, 3}, 100);
  MoveHw(1, 0);
  ExpectFound(Rule::kRP5);
}

TEST_F(HighWatermarkTest, RP5AnHwBelowLesoIsNoTruth) {
  Produce(1, {2, 3}, 100);
  AppendAt(1, 0, 101);
  AppendAt(2, 0, 101);
  Change({.leader = 2, .isr = Ids{1, 2, 3}});
  Lead(2, 1);  // from offset 2, its HW is 1
  ExpectNone();
  At(2, [](ReplicaView& view) { view.hw_is_truth = true; });
  ExpectFound(Rule::kRP5);
}

TEST_F(HighWatermarkTest, RP5AnotherLifeBeginsWithAnOlderMark) {
  Produce(1, {2, 3}, 100);
  End(2, check::End::kKilled);
  Boot(2, 1);
  At(2, [](ReplicaView& view) {
    Append(view, 0, 100);
    view.durable_leo = view.leo;
  });
  ExpectNone();
}

TEST_F(HighWatermarkTest, RP6AnHwPastTheEnd) {
  Produce(1, {2, 3}, 100);
  MoveHw(2, 2);
  ExpectFound(Rule::kRP6);
}

}  // namespace
}  // namespace sluice::check
