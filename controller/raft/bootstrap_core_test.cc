#include "controller/raft/bootstrap_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>

namespace sluice::raft {
namespace {

using testing::IsEmpty;

std::vector<BootstrapVoter> Initial(int count) {
  std::vector<BootstrapVoter> result;
  for (int n = 1; n <= count; ++n) {
    result.push_back({NodeId(n), DirectoryId(), "host" + std::to_string(n)});
  }
  return result;
}

// Cores, a network that keeps order, records that are durable when told.
class BootstrapCoreTest : public testing::Test {
 protected:
  struct Node {
    std::unique_ptr<Random> random;
    std::unique_ptr<BootstrapCore> core;
    std::optional<BootstrapRecord> writing, disk;
    DirectoryId directory;
    int done = 0;
    std::string complaint;
  };

  void Boot(int n, uint64_t disk = 1, int initial = 3) {
    Node& node = nodes_[n];
    node.directory = DirectoryId(Uuid(n, disk));
    node.random = std::make_unique<Random>(++boots_);
    BootstrapConfig config{.self = {NodeId(n), node.directory},
                           .initial = Initial(initial),
                           .retry_ticks = 1};
    node.core =
        std::make_unique<BootstrapCore>(config, node.disk, *node.random);
    node.done = 0;
    Do(n, node.core->Start());
  }
  void Crash(int n) {
    nodes_[n].core.reset();
    nodes_[n].writing.reset();
  }
  void Do(int n, BootstrapActions actions) {
    Node& node = nodes_[n];
    if (actions.persist.has_value()) node.writing = actions.persist;
    for (Message& m : actions.messages) network_.push_back(std::move(m));
    if (actions.done.has_value()) ++node.done;
    if (!actions.complaint.empty()) node.complaint = actions.complaint;
  }
  void Persist(int n) {
    Node& node = nodes_[n];
    if (!node.writing.has_value()) return;
    node.disk = std::exchange(node.writing, std::nullopt);
    Do(n, node.core->Persisted());
  }
  void Deliver() {
    while (!network_.empty()) {
      const Message m = std::move(network_.front());
      network_.pop_front();
      const int to = m.to.node.value();
      if (nodes_.count(to) > 0 && nodes_[to].core != nullptr) {
        Do(to, nodes_[to].core->Step(m));
      }
    }
  }
  void Round(bool persist = true) {
    for (auto& [n, node] : nodes_) {
      if (node.core != nullptr) Do(n, node.core->Tick());
    }
    Deliver();
    for (auto& [n, node] : nodes_) {
      if (persist) Persist(n);
    }
    Deliver();
  }

  int boots_ = 0;
  std::map<int, Node> nodes_;
  std::deque<Message> network_;
};

TEST_F(BootstrapCoreTest, TheLowestIdMakesOneRecordForAll) {
  for (int n : {3, 2, 1}) Boot(n);
  for (int i = 0; i < 3; ++i) Round();

  ASSERT_TRUE(nodes_[1].disk.has_value());
  const BootstrapRecord& record = *nodes_[1].disk;
  EXPECT_TRUE(record.cluster_id.is_set());
  ASSERT_EQ(record.voters.size(), 3u);
  for (int n : {1, 2, 3}) {
    EXPECT_EQ(nodes_[n].disk, record);
    EXPECT_EQ(nodes_[n].done, 1);
    EXPECT_EQ(record.voters[n - 1].directory, nodes_[n].directory);
    EXPECT_EQ(record.voters[n - 1].endpoint, "host" + std::to_string(n));
  }
}

TEST_F(BootstrapCoreTest, NothingIsMadeWhileOneIsMissing) {
  Boot(1);
  Boot(2);
  for (int i = 0; i < 20; ++i) Round();
  EXPECT_FALSE(nodes_[1].disk.has_value());
}

TEST_F(BootstrapCoreTest, ARecordIsToldToNobodyBeforeItIsDurable) {
  for (int n : {1, 2, 3}) Boot(n);
  Round(/*persist=*/false);
  Round(/*persist=*/false);
  ASSERT_TRUE(nodes_[1].writing.has_value());
  EXPECT_EQ(nodes_[1].done, 0);
  EXPECT_FALSE(nodes_[2].writing.has_value());
  const ClusterId lost = nodes_[1].writing->cluster_id;
  Crash(1);
  Boot(1);
  for (int i = 0; i < 3; ++i) Round();
  ASSERT_TRUE(nodes_[2].disk.has_value());
  EXPECT_EQ(nodes_[2].disk, nodes_[1].disk);
  EXPECT_NE(nodes_[2].disk->cluster_id, lost);
}

TEST_F(BootstrapCoreTest, WhoHasTheRecordOffersItWhenTheFirstSenderIsDead) {
  for (int n : {1, 2, 3}) Boot(n);
  Deliver();
  Persist(1);
  for (const Message& m : std::exchange(network_, {})) {
    if (m.to.node == NodeId(2)) network_.push_back(m);  // 3's is lost
  }
  Deliver();
  Crash(1);
  for (int i = 0; i < 3; ++i) Round();

  ASSERT_TRUE(nodes_[3].disk.has_value());
  EXPECT_EQ(nodes_[3].disk, nodes_[2].disk);
  EXPECT_EQ(nodes_[3].done, 1);
}

TEST_F(BootstrapCoreTest, AWipedDiskLearnsTheRecordAndIsNotNamed) {
  for (int n : {1, 2, 3}) Boot(n);
  for (int i = 0; i < 3; ++i) Round();
  for (int wiped : {3, 1}) {
    Crash(wiped);
    nodes_[wiped].disk.reset();
    Boot(wiped, /*disk=*/2);
    for (int i = 0; i < 3; ++i) Round();

    EXPECT_EQ(nodes_[wiped].disk, nodes_[2].disk);  // also the lowest id
    EXPECT_FALSE(nodes_[wiped].disk->Names(
        {NodeId(wiped), nodes_[wiped].directory}));  // RA12
    EXPECT_NE(nodes_[wiped].complaint.find("observes"), std::string::npos);
  }
}

TEST_F(BootstrapCoreTest, ASecondRecordIsNeverAccepted) {
  for (int n : {1, 2, 3}) Boot(n);
  for (int i = 0; i < 3; ++i) Round();
  const BootstrapRecord first = *nodes_[2].disk;
  Message offer;
  offer.type = MessageType::kBootstrapOffer;
  offer.from = {NodeId(1), DirectoryId(Uuid(1, 1))};
  offer.to.node = NodeId(2);
  offer.bootstrap = first;
  offer.bootstrap->cluster_id = ClusterId(Uuid(66, 66));
  Do(2, nodes_[2].core->Step(offer));

  EXPECT_FALSE(nodes_[2].writing.has_value());
  ASSERT_EQ(network_.size(), 1u);
  EXPECT_TRUE(network_[0].reject);
  EXPECT_EQ(network_[0].cluster_id, first.cluster_id);
}

TEST_F(BootstrapCoreTest, AnEmptyNodeIgnoresAnOfferThatDoesNotNameItsDisk) {
  Boot(2);
  network_.clear();
  Message offer;
  offer.type = MessageType::kBootstrapOffer;
  offer.from = {NodeId(1), DirectoryId(Uuid(1, 1))};
  offer.to.node = NodeId(2);
  offer.bootstrap = BootstrapRecord{
      ClusterId(Uuid(6, 6)), Uuid(1, 1),
      {{NodeId(2), DirectoryId(Uuid(2, 99)), "old disk"}}};
  Do(2, nodes_[2].core->Step(offer));
  EXPECT_FALSE(nodes_[2].writing.has_value());
}

TEST_F(BootstrapCoreTest, ControllersThatNameDifferentSetsDoNotForm) {
  Boot(1, 1, 3);
  Boot(2, 1, 3);
  Boot(3, 1, 2);  // believes there are two
  for (int i = 0; i < 5; ++i) Round();
  EXPECT_FALSE(nodes_[1].disk.has_value());
  EXPECT_NE(nodes_[1].complaint.find("--controllers"), std::string::npos);
}

TEST_F(BootstrapCoreTest, ASoleControllerFormsAtOnceAndARestartKeepsIt) {
  Boot(1, 1, 1);
  Persist(1);
  EXPECT_EQ(nodes_[1].done, 1);
  const BootstrapRecord record = *nodes_[1].disk;
  Crash(1);
  Boot(1, 1, 1);
  EXPECT_EQ(nodes_[1].done, 1);
  EXPECT_EQ(nodes_[1].core->record(), record);
}

TEST_F(BootstrapCoreTest, OffersStopOnceEveryNamedVoterIsKnownToHaveIt) {
  for (int n : {1, 2, 3}) Boot(n);
  for (int i = 0; i < 4; ++i) Round();
  for (int n : {1, 2, 3}) Do(n, nodes_[n].core->Tick());
  EXPECT_THAT(network_, IsEmpty());
}

TEST_F(BootstrapCoreTest, AControllerThatIsNotInitialNeverForms) {
  Boot(4, 1, 3);
  for (int n : {1, 2, 3}) Boot(n);
  for (int i = 0; i < 4; ++i) Round();
  EXPECT_EQ(nodes_[4].disk, nodes_[1].disk);
  EXPECT_FALSE(nodes_[4].disk->Names({NodeId(4), nodes_[4].directory}));
}

}  // namespace
}  // namespace sluice::raft
