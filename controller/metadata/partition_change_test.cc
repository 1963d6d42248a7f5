#include "controller/metadata/partition_change.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "common/base/str_cat.h"
#include "controller/metadata/record_codec.h"

namespace sluice {
namespace {

using Ids = std::vector<int32_t>;

struct State {
  int32_t leader;
  Ids isr;
  Ids elr;
  Ids unverified;
};

struct Row {
  const char* claim;
  int min_isr;
  State before;
  Ids active;
  std::function<void(PartitionChange&)> tell;
  State after;
  bool epoch_rises;
};

std::string Text(int32_t leader, const std::vector<NodeId>& isr,
                 const std::vector<NodeId>& elr,
                 const std::vector<NodeId>& unverified) {
  return StrCat("leader ", leader, " isr ", NodesText(isr), " elr ",
                NodesText(elr), " unverified ", NodesText(unverified));
}

PartitionImage Image(const State& state) {
  PartitionImage image;
  image.replicas = {NodeId(1), NodeId(2), NodeId(3)};
  image.directories.resize(3);
  image.isr = NodesOf(state.isr);
  image.elr = NodesOf(state.elr);
  image.unverified_elr = NodesOf(state.unverified);
  image.last_full_isr = image.isr;
  image.leader = NodeId(state.leader);
  image.leader_epoch = LeaderEpoch(7);
  image.partition_epoch = PartitionEpoch(20);
  return image;
}

const NodeId n1{1}, n2{2}, n3{3};

std::vector<NodeId> Nodes(const Ids& ids) { return NodesOf(ids); }

const std::vector<Row>& Rows() {
  static const auto* const rows = new std::vector<Row>{
      {"a follower leaves, enough stay: no ELR, same epoch", 2,
       {1, {1, 2, 3}, {}, {}}, {1, 2},
       [](auto& c) { c.LeaveIsr(n3); },
       {1, {1, 2}, {}, {}}, false},
      {"F13: below min ISR who leaves joins the ELR", 2,
       {1, {1, 2}, {}, {}}, {1, 3},
       [](auto& c) { c.LeaveIsr(n2); },
       {1, {1}, {2}, {}}, false},
      {"RP20: the leader dies, the first of the replicas in the ISR leads", 2,
       {1, {3, 2, 1}, {}, {}}, {2, 3},
       [](auto& c) { c.LeaveIsr(n1); },
       {2, {3, 2}, {}, {}}, true},
      {"RP20: a dead ISR member is not elected", 1,
       {1, {1, 2, 3}, {}, {}}, {3},
       [](auto& c) { c.LeaveIsr(n1); },
       {3, {3}, {}, {}}, true},
      {"F13: ISR empty, a living ELR member leads and is the ISR", 2,
       {1, {1}, {2}, {}}, {2, 3},
       [](auto& c) { c.LeaveIsr(n1); },
       {2, {2}, {1}, {}}, true},
      {"an out-of-sync replica is never elected", 2,
       {1, {1}, {2}, {}}, {3},
       [](auto& c) { c.LeaveIsr(n1); },
       {-1, {}, {1, 2}, {}}, true},
      {"F15: with a dead ELR nobody leads, whoever lives outside of it", 2,
       {-1, {}, {1, 2}, {}}, {3},
       [](auto&) {},
       {-1, {}, {1, 2}, {}}, false},
      {"RP18: an unclean member is out of the ISR and unverified", 2,
       {2, {2, 3}, {}, {}}, {2},
       [](auto& c) { c.Doubt(n3); },
       {2, {2}, {}, {3}}, false},
      {"an unverified member is not elected", 2,
       {-1, {}, {}, {3}}, {3},
       [](auto&) {},
       {-1, {}, {}, {3}}, false},
      {"its verdict makes it electable", 2,
       {-1, {}, {}, {3}}, {3},
       [](auto& c) { c.Verify(n3); },
       {3, {3}, {}, {}}, true},
      {"verified but not alive: it waits in the ELR", 2,
       {-1, {}, {}, {3}}, {},
       [](auto& c) { c.Verify(n3); },
       {-1, {}, {3}, {}}, false},
      {"doubt overrules an earlier verified place in the ELR", 2,
       {-1, {}, {2, 3}, {}}, {3},
       [](auto& c) { c.Doubt(n2); },
       {3, {3}, {}, {2}}, true},
      {"F7: lost data leaves every list", 2,
       {-1, {}, {2}, {3}}, {},
       [](auto& c) { c.Drop(n2); c.Drop(n3); },
       {-1, {}, {}, {}}, false},
      {"a failed leader hands over", 2,
       {1, {1, 2}, {}, {}}, {1, 2, 3},
       [](auto& c) { c.Drop(n1); },
       {2, {2}, {}, {}}, true},
      {"RP17: the ISR grows to min ISR, the ELR lists are emptied", 2,
       {1, {1}, {2}, {3}}, {1, 3},
       [](auto& c) { c.SetIsr({n1, n3}); },
       {1, {1, 3}, {}, {}}, false},
      {"the ISR grows and is still short: the ELR loses who joined", 3,
       {1, {1}, {2, 3}, {}}, {1, 2},
       [](auto& c) { c.SetIsr({n1, n2}); },
       {1, {1, 2}, {3}, {}}, false},
      {"F31: min ISR over RF keeps everyone who leaves eligible", 4,
       {1, {1, 2, 3}, {}, {}}, {1, 2},
       [](auto& c) { c.LeaveIsr(n3); },
       {1, {1, 2}, {3}, {}}, false},
      {"min ISR 1: electing the ELR member empties the ELR", 1,
       {-1, {}, {2, 3}, {}}, {3},
       [](auto&) {},
       {3, {3}, {}, {}}, true},
      {"MD4: a leader that became inactive does not stay", 2,
       {1, {1, 2, 3}, {}, {}}, {2, 3},
       [](auto&) {},
       {2, {2, 3}, {}, {}}, true},
  };
  return *rows;
}

TEST(PartitionChangeTest, NextStateTable) {
  for (const Row& row : Rows()) {
    SCOPED_TRACE(row.claim);
    const PartitionImage before = Image(row.before);
    const TopicPartition tp{TopicId(Uuid(1, 1)), PartitionIndex(0)};
    PartitionChange change(tp, before, {row.min_isr});
    row.tell(change);
    const std::vector<NodeId> active = NodesOf(row.active);
    const auto record =
        change.Build([&](NodeId node) { return Contains(active, node); });
    PartitionImage after = before;
    if (record.has_value()) {
      EXPECT_EQ(record->partition_epoch(), 21);  // RP16
      if (record->has_leader()) after.leader = NodeId(record->leader());
      if (record->has_isr()) after.isr = NodesOf(record->isr().ids());
      if (record->has_elr()) after.elr = NodesOf(record->elr().ids());
      if (record->has_unverified_elr()) {
        after.unverified_elr = NodesOf(record->unverified_elr().ids());
      }
      EXPECT_EQ(record->has_leader_epoch(), row.epoch_rises);
      EXPECT_EQ(record->has_leader(), row.epoch_rises);
      if (record->has_leader_epoch()) {
        EXPECT_EQ(record->leader_epoch(), 8);
      }
    } else {
      EXPECT_FALSE(row.epoch_rises);
    }
    EXPECT_EQ(Text(after.leader.value(), after.isr, after.elr,
                   after.unverified_elr),
              Text(row.after.leader, NodesOf(row.after.isr),
                   NodesOf(row.after.elr), NodesOf(row.after.unverified)));
  }
}

TEST(PartitionChangeTest, NothingChangedIsNoRecord) {
  const PartitionImage before = Image({1, {1, 2, 3}, {}, {}});
  const TopicPartition tp{TopicId(Uuid(1, 1)), PartitionIndex(0)};
  PartitionChange change(tp, before, {2});
  change.SetIsr({n1, n2, n3});
  change.Verify(n2);
  EXPECT_FALSE(change.Build([](NodeId) { return true; }).has_value());
}

TEST(PartitionChangeTest, TheLastFullIsrIsKeptWhileShort) {
  PartitionImage before = Image({1, {1, 2}, {}, {}});
  const TopicPartition tp{TopicId(Uuid(1, 1)), PartitionIndex(0)};
  PartitionChange change(tp, before, {2});
  change.LeaveIsr(n2);
  auto record = change.Build([](NodeId node) { return node == n1; });
  ASSERT_TRUE(record.has_value());
  EXPECT_FALSE(record->has_last_full_isr());  // still 1,2
  before.isr = {n1};
  before.elr = {n2};
  PartitionChange grow(tp, before, {2});
  grow.SetIsr({n1, n3});
  record = grow.Build([](NodeId) { return true; });
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(NodesOf(record->last_full_isr().ids()),
            (std::vector<NodeId>{n1, n3}));
}

TEST(PartitionChangeTest, AMovedReplicaHasItsNewDirectory) {
  const PartitionImage before = Image({1, {1, 2}, {}, {}});
  const TopicPartition tp{TopicId(Uuid(1, 1)), PartitionIndex(0)};
  const DirectoryId fresh{Uuid(9, 9)};
  PartitionChange change(tp, before, {2});
  change.MoveTo(n3, fresh);
  change.Drop(n3);
  const auto record = change.Build([](NodeId) { return true; });
  ASSERT_TRUE(record.has_value());
  ASSERT_EQ(record->directories().ids_size(), 3);
  EXPECT_EQ(record->directories().ids(2), fresh.ToBytes());
  EXPECT_EQ(record->directories().ids(0), "");
  EXPECT_FALSE(record->has_isr());
}

// ---- The best log (design/replication.md 4) ----

struct Told {
  int32_t node;
  int32_t last_epoch;
  int64_t end;
  int64_t high_watermark = 0;
  bool failed = false;
};

struct BestLogRow {
  const char* claim;
  State before;          // leader none
  Ids last_full_isr;
  std::vector<Told> told;
  Ids active;
  bool unclean = false;  // the topic allows it
  bool ordered = false;
  int32_t leader = -1;   // afterwards
  bool marked = true;    // as unclean
};

const std::vector<BestLogRow>& BestLogRows() {
  static const auto* const rows = new std::vector<BestLogRow>{
      {"all of the last full ISR have told: the longest log leads",
       {-1, {}, {}, {}}, {1, 2}, {{1, 5, 90}, {2, 5, 100}, {3, 5, 80}},
       {1, 2, 3}, false, false, 2},
      {"a newer epoch is better than a longer log",
       {-1, {}, {}, {}}, {1, 2}, {{1, 5, 90}, {2, 4, 100}}, {1, 2}, false,
       false, 1},
      {"equal logs: the preferred replica", {-1, {}, {}, {}}, {2, 3},
       {{2, 5, 90}, {3, 5, 90}}, {2, 3}, false, false, 2},
      {"a member of the last full ISR is missing: nobody leads",
       {-1, {}, {}, {}}, {1, 2}, {{1, 5, 90}, {3, 5, 80}}, {1, 3}, false,
       false, -1},
      {"somebody alive has not told: nobody leads yet", {-1, {}, {}, {}},
       {1, 2}, {{1, 5, 90}, {2, 5, 80}}, {1, 2, 3}, false, false, -1},
      {"who is not alive need not tell, outside of the last full ISR",
       {-1, {}, {}, {}}, {1, 2}, {{1, 5, 90}, {2, 5, 80}}, {1, 2}, false,
       false, 1},
      {"the best log has told and is down: nobody leads", {-1, {}, {}, {}},
       {1, 2}, {{1, 5, 90}, {2, 5, 80}}, {2}, false, false, -1},
      {"... unless the topic allows it", {-1, {}, {}, {}}, {1, 2},
       {{1, 5, 90}, {2, 5, 80}}, {2}, true, false, 2},
      {"... or an operator orders it", {-1, {}, {}, {}}, {1, 2},
       {{1, 5, 90}, {2, 5, 80}}, {2}, false, true, 2},
      {"a log that cannot be used is not elected", {-1, {}, {}, {}}, {2},
       {{1, 5, 90, 0, true}, {2, 5, 80}}, {1, 2}, false, false, 2},
      {"a failed member of the last full ISR is for people to judge",
       {-1, {}, {}, {}}, {1, 2}, {{1, 5, 90, 0, true}, {2, 5, 80}}, {1, 2},
       false, false, -1},
      {"nothing but failed logs: no order helps", {-1, {}, {}, {}}, {1},
       {{1, 5, 90, 0, true}}, {1}, true, true, -1},
      {"RP20: an eligible replica that is down is waited for",
       {-1, {}, {1}, {}}, {1, 2}, {{2, 5, 80}, {3, 5, 90}}, {2, 3}, false,
       false, -1},
      {"an unverified one, too", {-1, {}, {}, {1}}, {1, 2},
       {{2, 5, 80}, {3, 5, 90}}, {2, 3}, false, false, -1},
      {"F32: an operator gives it up, its history ends", {-1, {}, {1}, {2}},
       {1, 2}, {{3, 5, 90}}, {3}, false, true, 3},
      {"F32: the topic gives it up", {-1, {}, {1}, {}}, {1, 2},
       {{2, 5, 80}, {3, 5, 90}}, {2, 3}, true, false, 3},
      {"an order does not keep an eligible replica from leading",
       {-1, {}, {1}, {}}, {1, 2}, {{3, 5, 90}}, {1, 3}, false, true, 1, false},
  };
  return *rows;
}

TEST(PartitionChangeTest, BestLogTable) {
  for (const BestLogRow& row : BestLogRows()) {
    SCOPED_TRACE(row.claim);
    PartitionImage before = Image(row.before);
    before.last_full_isr = NodesOf(row.last_full_isr);
    before.unclean_ordered = row.ordered;
    const TopicPartition tp{TopicId(Uuid(1, 1)), PartitionIndex(0)};
    PartitionChange change(tp, before, {2, row.unclean});
    for (const Told& told : row.told) {
      change.Tell({NodeId(told.node), LeaderEpoch(told.last_epoch),
                   Offset(told.end), Offset(told.high_watermark),
                   told.failed});
    }
    const std::vector<NodeId> active = NodesOf(row.active);
    const auto record =
        change.Build([&](NodeId node) { return Contains(active, node); });
    ASSERT_TRUE(record.has_value());
    EXPECT_EQ(record->has_leader() ? record->leader() : -1, row.leader);
    EXPECT_EQ(record->has_last_unclean_leader_epoch(),
              row.leader != -1 && row.marked);
    if (row.leader == -1) {
      EXPECT_EQ(static_cast<size_t>(record->candidates().logs_size()),
                row.told.size());
      continue;
    }
    EXPECT_EQ(record->leader_epoch(), 8);  // RP16
    EXPECT_EQ(NodesOf(record->isr().ids()), Nodes({row.leader}));
    EXPECT_EQ(record->has_unclean_ordered(), row.ordered);  // RP17: it is over
    EXPECT_FALSE(record->unclean_ordered());
    if (!row.marked) continue;
    EXPECT_EQ(record->last_unclean_leader_epoch(), 8);  // RP13
    EXPECT_EQ(record->has_elr(), !row.before.elr.empty());
    EXPECT_EQ(record->elr().ids_size() + record->unverified_elr().ids_size(),
              0);
  }
}

TEST(PartitionChangeTest, AnUncleanElectionSaysWhatItMayHaveLost) {
  PartitionImage before = Image({-1, {}, {}, {}});
  before.last_full_isr = {n1, n2};
  const TopicPartition tp{TopicId(Uuid(1, 1)), PartitionIndex(0)};
  PartitionChange change(tp, before, {2});
  change.Tell({n1, LeaderEpoch(5), Offset(90), Offset(85), false});
  change.Tell({n2, LeaderEpoch(4), Offset(100), Offset(70), false});
  change.Tell({n3, LeaderEpoch(4), Offset(60), Offset(110), false});
  const auto record = change.Build([](NodeId) { return true; });
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->unclean_loss().leader_id(), 1);
  EXPECT_EQ(record->unclean_loss().first_offset(), 85);
  EXPECT_EQ(record->unclean_loss().known_end_offset(), 110);
  EXPECT_EQ(record->candidates().logs_size(), 0);
}

TEST(PartitionChangeTest, WhatAReplicaToldIsReplacedAndForgotten) {
  PartitionImage before = Image({-1, {}, {}, {}});
  before.last_full_isr = {n1, n2};
  before.candidates = {{n1, LeaderEpoch(5), Offset(90), Offset(85), false}};
  const TopicPartition tp{TopicId(Uuid(1, 1)), PartitionIndex(0)};
  PartitionChange again(tp, before, {2});
  again.Tell({n1, LeaderEpoch(5), Offset(95), Offset(85), false});
  auto record = again.Build([](NodeId node) { return node == n1; });
  ASSERT_TRUE(record.has_value());
  ASSERT_EQ(record->candidates().logs_size(), 1);
  EXPECT_EQ(record->candidates().logs(0).log_end_offset(), 95);
  PartitionChange gone(tp, before, {2});
  gone.ForgetLog(n1);
  record = gone.Build([](NodeId) { return false; });
  ASSERT_TRUE(record.has_value());
  EXPECT_TRUE(record->has_candidates());
  EXPECT_EQ(record->candidates().logs_size(), 0);
}

TEST(PartitionChangeTest, TheFirstReplicaLeadsAgainWhenItIsInSync) {
  const TopicPartition tp{TopicId(Uuid(1, 1)), PartitionIndex(0)};
  const PartitionImage before = Image({2, {2, 1, 3}, {}, {}});
  PartitionChange change(tp, before, {2});
  change.PreferFirst();
  const auto record = change.Build([](NodeId) { return true; });
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->leader(), 1);
  EXPECT_EQ(record->leader_epoch(), 8);
  EXPECT_FALSE(record->has_isr());
  EXPECT_FALSE(record->has_last_unclean_leader_epoch());
  const PartitionImage lagging = Image({2, {2, 3}, {}, {}});
  PartitionChange none(tp, lagging, {2});
  none.PreferFirst();
  EXPECT_FALSE(none.Build([](NodeId) { return true; }).has_value());
}

TEST(PartitionChangeTest, AFailedReplicaIsShownUntilItIsInSync) {
  const TopicPartition tp{TopicId(Uuid(1, 1)), PartitionIndex(0)};
  PartitionImage before = Image({1, {1, 2, 3}, {}, {}});
  PartitionChange fails(tp, before, {2});
  fails.Fail(n3);
  auto record = fails.Build([](NodeId) { return true; });
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(NodesOf(record->failed_replicas().ids()), Nodes({3}));
  EXPECT_EQ(NodesOf(record->isr().ids()), Nodes({1, 2}));
  before = Image({1, {1, 2}, {}, {}});
  before.failed_replicas = {n3};
  PartitionChange joins(tp, before, {2});
  joins.SetIsr({n1, n2, n3});
  record = joins.Build([](NodeId) { return true; });
  ASSERT_TRUE(record.has_value());
  EXPECT_TRUE(record->has_failed_replicas());
  EXPECT_EQ(record->failed_replicas().ids_size(), 0);
}

}  // namespace
}  // namespace sluice
