#include "controller/metadata/producer_id_control.h"

#include <gtest/gtest.h>

#include <set>

#include "common/base/error.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using internal::v1::AllocateProducerIdsRequest;
using internal::v1::MetadataBatch;

class ProducerIdControlTest : public testing::Test {
 protected:
  static constexpr Uuid kSalt{0x123456789abcdef0, 5};

  void SetUp() override { cluster_.StartAll(2); }

  AllocateProducerIdsRequest RequestOf(int broker) {
    AllocateProducerIdsRequest request;
    request.set_broker_id(broker);
    request.set_broker_epoch(cluster_.EpochOf(broker).value());
    return request;
  }
  int64_t Allocate(int broker) {
    auto result = ProducerIdControl(cluster_.image(), kSalt)
                      .Allocate(RequestOf(broker));
    EXPECT_TRUE(result.ok()) << result.status();
    cluster_.Apply(result->batch);
    EXPECT_EQ(result->response.count(), kProducerIdBlockSize);
    return result->response.first_producer_id();
  }
  static MetadataBatch Block(int64_t first, int64_t next) {
    MetadataBatch batch;
    auto* record = batch.add_records()->mutable_producer_ids();
    record->set_first_producer_id(first);
    record->set_next_producer_id(next);
    return batch;
  }
  absl::Status Replay(const MetadataBatch& batch) {
    return ApplyBatch(cluster_.image(), batch,
                      cluster_.image().offset().Next(), Term(9))
        .status();
  }

  TestCluster cluster_;
};

TEST_F(ProducerIdControlTest, IP5BlocksFollowEachOtherWhoeverAsks) {
  const int64_t first = Allocate(1);
  EXPECT_EQ(first, FirstProducerIdOf(kSalt).value());
  EXPECT_EQ(Allocate(2), first + kProducerIdBlockSize);
  EXPECT_EQ(Allocate(1), first + 2 * kProducerIdBlockSize);
  EXPECT_EQ(cluster_.image().first_producer_id().value(), first);
  EXPECT_EQ(cluster_.image().next_producer_id().value(),
            first + 3 * kProducerIdBlockSize);
}

TEST_F(ProducerIdControlTest, IP5AnotherIncarnationGetsOtherIds) {
  const int64_t before = Allocate(1);
  cluster_.Fence(1);
  cluster_.Start(1);
  EXPECT_EQ(Allocate(1), before + kProducerIdBlockSize);
}

TEST_F(ProducerIdControlTest, ClustersBeginWhereTheirSaltsSay) {
  EXPECT_NE(FirstProducerIdOf(kSalt), FirstProducerIdOf(Uuid(77, 5)));
  for (const uint64_t high : {uint64_t{0}, ~uint64_t{0}, uint64_t{1} << 63}) {
    const int64_t first = FirstProducerIdOf(Uuid(high, 1)).value();
    EXPECT_GE(first, 0);
    EXPECT_LT(first, int64_t{1} << 62);
    EXPECT_EQ(first % kProducerIdBlockSize, 0);
  }
}

TEST_F(ProducerIdControlTest, OnlyTheRegisteredIncarnationIsGivenIds) {
  auto stale = RequestOf(1);
  stale.set_broker_epoch(stale.broker_epoch() - 1);
  auto stranger = RequestOf(1);
  stranger.set_broker_id(9);
  for (const auto& request : {stale, stranger, AllocateProducerIdsRequest()}) {
    const auto result =
        ProducerIdControl(cluster_.image(), kSalt).Allocate(request);
    EXPECT_EQ(CodeOf(result.status()), ErrorCode::kStaleBrokerEpoch)
        << result.status();
  }
}

TEST_F(ProducerIdControlTest, IP5ReplayRefusesABlockThatDoesNotFollow) {
  const int64_t first = Allocate(1);
  const int64_t next = first + kProducerIdBlockSize;
  EXPECT_TRUE(Replay(Block(next, next + 7)).ok());
  for (const auto& [from, to] : {std::pair{first, next}, {next + 1, next + 2},
                                 {next, next}, {next, next - 1}, {-5, 3}}) {
    EXPECT_EQ(CodeOf(Replay(Block(from, to))), ErrorCode::kInvalidRecord)
        << from << ".." << to;
  }
}

TEST_F(ProducerIdControlTest, TheFirstBlockIsNotNegative) {
  EXPECT_EQ(CodeOf(Replay(Block(-5, 3))), ErrorCode::kInvalidRecord);
  EXPECT_EQ(CodeOf(Replay(Block(0, 0))), ErrorCode::kInvalidRecord);
  EXPECT_TRUE(Replay(Block(0, 1000)).ok());
}

TEST_F(ProducerIdControlTest, TheStateHashTellsBlocks) {
  const uint64_t before = MetaHash(cluster_.image());
  const auto one = ApplyBatch(cluster_.image(), Block(0, 10),
                              cluster_.image().offset().Next(), Term(1));
  const auto two = ApplyBatch(cluster_.image(), Block(0, 20),
                              cluster_.image().offset().Next(), Term(1));
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(std::set<uint64_t>({before, MetaHash(*one->image),
                                MetaHash(*two->image)}).size(),
            3u);
}

}  // namespace
}  // namespace sluice
