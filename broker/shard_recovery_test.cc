// Logs that a start finds are opened one by one, those first that are waited
// for, while the broker serves the others.
#include <algorithm>

#include "broker/shard_fixture_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using End = SimCluster::End;

class ShardRecovery : public ShardFixture {
 protected:
  static constexpr int kFollowed = 40;
  static constexpr int kLed = 5;

  // Broker 2 leads topics "f0".."f39", which broker 1 follows; broker 1 alone
  // has "t" and "l0".."l4". Broker 1 is killed and starts again, with tasks of
  // its shard taking up to 5 ms.
  void Restart() {
    Open(2, {}, {.shards = 1, .shard_us_max = 5'000});
    for (int i = 0; i < kFollowed; ++i) Create(followed, "f", i, {2, 1});
    for (int i = 0; i < kLed; ++i) Create(led, "l", i, {1});
    before = std::make_shared<const MetadataImage>(cluster->image());
    cluster->Stop(1, End::kKill);
    world().RunFor(5 * kSecondUs);
    cluster->Start(1);
  }
  void Create(std::vector<TopicPartition>& out, const std::string& name, int i,
              std::vector<int32_t> replicas) {
    out.push_back(
        cluster->CreateTopic(name + std::to_string(i), std::move(replicas), {}));
    ASSERT_TRUE(cluster->RunUntilHealthy(out.back()));
  }
  int OpenCount(const std::vector<TopicPartition>& logs) {
    return static_cast<int>(
        std::count_if(logs.begin(), logs.end(), [&](const TopicPartition& of) {
          return shard(1).recovered().contains(of) ||
                 shard(1).partitions().contains(of);
        }));
  }
  bool IsOpen(const TopicPartition& of) { return OpenCount({of}) == 1; }
  int64_t left() { return shard(1).CollectFacts().to_recover; }
  void RunUntilAllAreOpen() {
    ASSERT_TRUE(world().RunUntil(
        [&] {
          return left() == 0 && OpenCount(followed) == kFollowed &&
                 OpenCount(led) == kLed;
        },
        60 * kSecondUs));
    for (const TopicPartition& of : followed) {
      ASSERT_TRUE(cluster->RunUntilHealthy(of));
    }
  }

  std::vector<TopicPartition> followed, led;
  std::shared_ptr<const MetadataImage> before;
};

TEST_F(ShardRecovery, WhatIsWantedIsOpenedNextAndTheRestFollows) {
  Restart();
  const TopicPartition last = *std::max_element(followed.begin(),
                                                followed.end());
  ASSERT_TRUE(world().RunUntil([&] { return OpenCount(followed) > 3; },
                               kSecondUs));
  ASSERT_FALSE(IsOpen(last));
  shard(1).RecoverFirst({last});
  const int open_before = OpenCount(followed);
  ASSERT_TRUE(world().RunUntil([&] { return IsOpen(last); }, kSecondUs));
  // Those that only broker 1 has were asked for first.
  EXPECT_LE(OpenCount(followed), open_before + 1);
  RunUntilAllAreOpen();
}

TEST_F(ShardRecovery, WhatOnlyThisBrokerHasIsServedBeforeAllIsOpen) {
  Restart();
  for (const TopicPartition& of : led) {
    tp = of;
    ASSERT_TRUE(world().RunUntil([&] { return leader() == 1; }, kSecondUs));
  }
  EXPECT_TRUE(AppendNow(1).error.ok());
  EXPECT_GT(left(), 0);
  RunUntilAllAreOpen();
}

TEST_F(ShardRecovery, MeanwhileItSaysThatItRecovers) {
  Restart();
  tp = *std::max_element(led.begin(), led.end());
  ASSERT_TRUE(world().RunUntil([&] { return left() > 0; }, kSecondUs));
  ASSERT_FALSE(IsOpen(tp));
  // It led this before, and here it is told so, before it has opened it.
  shard(1).ApplyMetadata(before, EverythingIn(*before));
  const OffsetOutcome outcome = FindOffset(1, api::OffsetPosition::kLatest);
  EXPECT_EQ(outcome.error.code, ErrorCode::kReplicaRecovering);
  EXPECT_THAT(outcome.error.message, testing::HasSubstr("try again"));
  // It goes on from there.
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  EXPECT_TRUE(AppendNow(1).error.ok());
}

TEST_F(ShardRecovery, AReplicaThatIsDescribedSaysThatItRecovers) {
  Restart();
  const TopicPartition last = *std::max_element(followed.begin(),
                                                followed.end());
  ASSERT_TRUE(world().RunUntil([&] { return OpenCount(followed) > 3; },
                               kSecondUs));
  EXPECT_EQ(shard(1).DescribeLog(last).error().code(),
            v1::ERROR_CODE_REPLICA_RECOVERING);
  RunUntilAllAreOpen();
  // As any follower.
  EXPECT_EQ(shard(1).DescribeLog(last).error().code(),
            v1::ERROR_CODE_NOT_LEADER);
}

TEST_F(ShardRecovery, WhatIsDeletedBeforeItIsOpenedIsNotWaitedFor) {
  Restart();
  // Registered, so it is waited for.
  const BrokerEpoch old = before->FindBroker(NodeId(1))->epoch;
  ASSERT_TRUE(world().RunUntil(
      [&] { return cluster->image().FindBroker(NodeId(1))->epoch > old; },
      kSecondUs));
  const auto last = std::max_element(led.begin(), led.end());
  ASSERT_FALSE(IsOpen(*last));
  cluster->DeleteTopic("l" + std::to_string(last - led.begin()));
  led.erase(last);
  for (const TopicPartition& of : led) {
    ASSERT_TRUE(cluster->RunUntilReadable(of));
  }
}

TEST_F(ShardRecovery, StoppedInTheMiddleItDoesNotPassForClean) {
  Restart();
  ASSERT_TRUE(world().RunUntil([&] { return OpenCount(followed) > 3; },
                               kSecondUs));
  EXPECT_EQ(CodeOf(cluster->StopClean(1)), ErrorCode::kReplicaRecovering);
  cluster->Start(1);
  EXPECT_FALSE(cluster->broker(1)->directory().previous_run().clean());
  RunUntilAllAreOpen();
}

}  // namespace
}  // namespace sluice
