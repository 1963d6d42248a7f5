// Where logs begin: RP23, F34, and that all replicas begin alike in the end.
#include "test/check/check_testing.h"

namespace sluice::check {
namespace {

class LogStartsTest : public CheckTest {
 protected:
  void Begin(int id, int64_t start) {
    At(id, [&](ReplicaView& view) { view.log_start = Offset(start); });
  }
};

TEST_F(LogStartsTest, RP23WhatIsNotCommittedIsDeleted) {
  Produce(1, {2, 3}, 100);
  Change({.log_start = 2});
  At(3, [](ReplicaView& view) {
    Append(view, 0, 101);
    view.log_start = view.high_watermark = view.leo;
  });
  ExpectAmong(Rule::kRP23);
}

TEST_F(LogStartsTest, RP23WhatIsCommittedMayBeDeleted) {
  Produce(1, {2, 3}, 100);
  Change({.log_start = 1});
  for (const int id : {1, 2, 3}) Begin(id, 1);
  replication_.CheckConverged(kTp);
  ExpectNone();
}

TEST_F(LogStartsTest, RP23NothingIsDeletedBeforeItIsRecorded) {
  Produce(1, {2, 3}, 100);
  Begin(1, 1);
  ExpectFound(Rule::kRP23);
}

TEST_F(LogStartsTest, F34ALeaderThatShowsLessThanTheOneBefore) {
  Produce(1, {2, 3}, 100);
  Change({.log_start = 1});
  Begin(1, 1);
  Change({.leader = 2, .isr = Ids{2, 3}});
  ExpectNone();
  Lead(2, 1);
  ExpectFound(Rule::kRP23);
}

TEST_F(LogStartsTest, F34ALeaderThatShowsMoreThanTheOneBefore) {
  Produce(1, {2, 3}, 100);
  Change({.log_start = 1});
  Change({.leader = 2, .isr = Ids{2, 3}});
  Begin(2, 1);
  Lead(2, 1);
  // It is deposed, and does not know.
  At(1, [](ReplicaView& view) { view.position = view.leo; });
  ExpectNone();
}

TEST_F(LogStartsTest, RP24AReplicaThatBeginsEarlier) {
  Produce(1, {2, 3}, 100);
  Produce(1, {2, 3}, 101);
  Change({.log_start = 1});
  for (const int id : {1, 2}) Begin(id, 1);
  replication_.CheckConverged(kTp);
  ExpectFound(Rule::kRP24);
}

TEST_F(LogStartsTest, RP24AReplicaThatBeginsLater) {
  Produce(1, {2, 3}, 100);
  Produce(1, {2, 3}, 101);
  Begin(2, 1);
  Forget();  // RP23
  replication_.CheckConverged(kTp);
  ExpectFound(Rule::kRP24);
}

}  // namespace
}  // namespace sluice::check
