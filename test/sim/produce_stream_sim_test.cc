// ProduceStream under faults of the network: whatever becomes of single
// messages, records are stored once and in order (correctness.md IP1, F67).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "test/sim/checked_cluster.h"
#include "test/sim/sim_cluster.h"
#include "test/sim/sim_load.h"

namespace sluice::sim {
namespace {

constexpr int64_t kSecond = 1'000'000;

class ProduceStreamSimTest : public testing::Test {
 protected:
  void SetUp() override {
    SimOptions options;
    options.separate = true;
    cluster = std::make_unique<CheckedCluster>(options, 1);
    cluster->BootAll();
    ASSERT_TRUE(cluster->AwaitHealthy()) << cluster->Health();
    const absl::Status created = cluster->CreateTopic(
        "t", 2, 3, {{"min.insync.replicas", "2"}});
    ASSERT_TRUE(created.ok()) << created;
    ProducerOptions producing;
    producing.enable_idempotence = true;
    producing.batch_bytes = 1;  // a batch a record
    producing.linger_ms = 0;
    load = std::make_unique<SimLoad>(cluster.get(), "t", 2, producing);
    load->Send(20);
    ASSERT_TRUE(load->AwaitAcks(5 * kSecond));
  }

  // The `which`th message of a kind from now on meets `verdict`.
  void Meet(MessageKind kind, int which, const Verdict& verdict) {
    cluster->network().AddFilter(
        [kind, which, verdict, seen = 0](
            const Message& message) mutable -> std::optional<Verdict> {
          if (message.kind != kind || seen++ != which) return std::nullopt;
          return verdict;
        });
  }
  void ExpectAllOnce(int64_t limit_us) {
    ASSERT_TRUE(load->AwaitAcks(limit_us))
        << load->acked() << " of " << load->sent();
    EXPECT_THAT(load->failed(), testing::IsEmpty());
    load->Check();
  }

  std::unique_ptr<CheckedCluster> cluster;
  std::unique_ptr<SimLoad> load;
};

TEST_F(ProduceStreamSimTest, AResetWithAnAnswerOnItsWayStoresNothingTwice) {
  for (int which = 0; which < 6; ++which) {
    Meet(MessageKind::kProduceStreamReply, which, Verdict::Reset());
    load->Send(20);
    ExpectAllOnce(10 * kSecond);
  }
  EXPECT_GT(load->counters().batches_retried, 0);
  EXPECT_GT(load->counters().batches_deduplicated, 0);
  // Each answer was compared with the log, a batch a record.
  EXPECT_GE(cluster->checks().findings().evaluations(check::Rule::kIP2),
            static_cast<uint64_t>(load->acked()));
}

TEST_F(ProduceStreamSimTest, AResetWithARequestOnItsWayLosesNothing) {
  for (int which = 0; which < 6; ++which) {
    Meet(MessageKind::kProduceStream, which, Verdict::Reset());
    load->Send(20);
    ExpectAllOnce(10 * kSecond);
  }
  EXPECT_GT(load->counters().batches_retried, 0);
}

TEST_F(ProduceStreamSimTest, ASilentStreamIsLeft) {
  for (const MessageKind kind :
       {MessageKind::kProduceStream, MessageKind::kProduceStreamReply}) {
    Meet(kind, 2, Verdict::Drop());
    load->Send(20);
    ExpectAllOnce(2 * SimNetwork::kDataKeepaliveUs);
  }
}

TEST_F(ProduceStreamSimTest, AHeldRequestHoldsWhatFollowsAndKeepsItsOrder) {
  Meet(MessageKind::kProduceStream, 1, Verdict::Hold());
  load->Send(20);
  cluster->world().RunFor(2 * kSecond);
  EXPECT_LT(load->acked(), load->sent());
  cluster->network().ReleaseAll();
  ExpectAllOnce(10 * kSecond);
}

// What comes late on a stream that was left meanwhile is not stored again.
TEST_F(ProduceStreamSimTest, AHeldRequestThatComesAfterItsRetryIsNotStored) {
  NodeId client = kNoNode;
  NodeId broker = kNoNode;
  cluster->network().AddFilter(
      [&](const Message& message) -> std::optional<Verdict> {
        if (message.kind != MessageKind::kProduceStream || client != kNoNode) {
          return std::nullopt;
        }
        client = message.from;
        broker = message.to;
        return Verdict::Hold();
      });
  load->Send(20);
  cluster->world().RunFor(100'000);
  cluster->network().Reset(client, broker);
  ExpectAllOnce(10 * kSecond);
  cluster->network().ReleaseAll();
  cluster->world().RunFor(kSecond);
  load->Check();
}

}  // namespace
}  // namespace sluice::sim
