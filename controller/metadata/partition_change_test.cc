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
    PartitionChange change(tp, before, row.min_isr);
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
  PartitionChange change(tp, before, 2);
  change.SetIsr({n1, n2, n3});
  change.Verify(n2);
  EXPECT_FALSE(change.Build([](NodeId) { return true; }).has_value());
}

TEST(PartitionChangeTest, TheLastFullIsrIsKeptWhileShort) {
  PartitionImage before = Image({1, {1, 2}, {}, {}});
  const TopicPartition tp{TopicId(Uuid(1, 1)), PartitionIndex(0)};
  PartitionChange change(tp, before, 2);
  change.LeaveIsr(n2);
  auto record = change.Build([](NodeId node) { return node == n1; });
  ASSERT_TRUE(record.has_value());
  EXPECT_FALSE(record->has_last_full_isr());  // still 1,2
  before.isr = {n1};
  before.elr = {n2};
  PartitionChange grow(tp, before, 2);
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
  PartitionChange change(tp, before, 2);
  change.MoveTo(n3, fresh);
  change.Drop(n3);
  const auto record = change.Build([](NodeId) { return true; });
  ASSERT_TRUE(record.has_value());
  ASSERT_EQ(record->directories().ids_size(), 3);
  EXPECT_EQ(record->directories().ids(2), fresh.ToBytes());
  EXPECT_EQ(record->directories().ids(0), "");
  EXPECT_FALSE(record->has_isr());
}

}  // namespace
}  // namespace sluice
