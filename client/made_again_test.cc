// F72. A topic is deleted and made again while it is read: nothing that is known
// of the old one says anything of the new one.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/consumer.h"
#include "client/fake_cluster_testing.h"
#include "client/producer.h"
#include "common/base/error.h"

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

NamedPartition Tp(int partition) { return {"t", PartitionIndex(partition)}; }

class MadeAgainTest : public testing::Test {
 protected:
  void Start(const ConsumerOptions& options) {
    deps_ = {executor_.get(), &world_, &cluster_, 1};
    client_.bootstrap = {FakeCluster::EndpointOf(NodeId(1)),
                         FakeCluster::EndpointOf(NodeId(2))};
    metadata_ = std::make_unique<MetadataCache>(deps_, client_);
    producer_ = std::make_unique<Producer>(deps_, client_, ProducerOptions(),
                                           metadata_.get());
    consumer_ =
        std::make_unique<Consumer>(deps_, client_, options, metadata_.get());
  }
  void TearDown() override {
    consumer_.reset();
    producer_.reset();
  }

  void Produce(int first, int count) {
    int acked = 0;
    for (int i = first; i < first + count; ++i) {
      ProducerRecord record;
      record.topic = "t";
      record.value = std::to_string(i);
      record.partition = PartitionIndex(0);
      ASSERT_TRUE(producer_
                      ->Send(std::move(record),
                             [&](const auto& result) { acked += result.ok(); })
                      .ok());
    }
    ASSERT_TRUE(world_.RunUntil([&] { return acked == count; }, 10 * kSecond));
  }
  absl::StatusOr<Consumer::Batches> Poll() {
    std::optional<absl::StatusOr<Consumer::Batches>> answer;
    consumer_->Poll(kSecond, 1 << 20,
                    [&](auto batches) { answer = std::move(batches); });
    EXPECT_TRUE(
        world_.RunUntil([&] { return answer.has_value(); }, 2 * kSecond));
    return *std::move(answer);
  }
  std::vector<int> ReadValues(size_t count) {
    std::vector<int> values;
    for (int polls = 0; polls < 100 && values.size() < count; ++polls) {
      const auto batches = Poll();
      EXPECT_TRUE(batches.ok()) << batches.status();
      if (!batches.ok()) break;
      for (const FetchedBatch& batch : *batches) {
        EXPECT_TRUE(ForEachRecord(batch, [&](const DecodedRecord& record) {
                      values.push_back(std::stoi(std::string(*record.value)));
                      return true;
                    }).ok());
      }
    }
    return values;
  }
  static std::vector<int> Range(int first, int count) {
    std::vector<int> all;
    for (int i = first; i < first + count; ++i) all.push_back(i);
    return all;
  }
  // Ten records of the old topic are read, the new one has a hundred.
  void Begin(OffsetReset reset) {
    cluster_.AddTopic("t", 1);
    ConsumerOptions options;
    options.reset = reset;
    Start(options);
    consumer_->Assign({Tp(0)});
    ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(0)).ok());
    Produce(0, 10);
    ASSERT_EQ(ReadValues(10), Range(0, 10));
    cluster_.MakeAgain("t");
    Produce(100, 100);
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 3};
  ClientDeps deps_;
  ClientOptions client_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Producer> producer_;
  std::unique_ptr<Consumer> consumer_;
};

TEST_F(MadeAgainTest, ItIsReadByThePolicyNotFromWhereTheOldOneStood) {
  Begin(OffsetReset::kEarliest);
  EXPECT_EQ(ReadValues(100), Range(100, 100));
  EXPECT_EQ(consumer_->Position(Tp(0)), Offset(100));
  EXPECT_EQ(consumer_->counters().truncations, 0);
}

TEST_F(MadeAgainTest, WithoutAPolicyItIsAnError) {
  Begin(OffsetReset::kNone);
  absl::Status told;
  for (int i = 0; i < 20 && told.ok(); ++i) {
    const auto batches = Poll();
    told = batches.status();
    if (batches.ok()) {
      EXPECT_TRUE(batches->empty());
    }
  }
  EXPECT_EQ(CodeOf(told), ErrorCode::kOffsetOutOfRange);
  EXPECT_NE(told.message().find("made again"), std::string::npos) << told;
  ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(90)).ok());
  EXPECT_EQ(ReadValues(10), Range(190, 10));
}

TEST_F(MadeAgainTest, BatchesSayOfWhichTopicTheyAre) {
  Begin(OffsetReset::kEarliest);
  while (true) {
    const auto batches = Poll();
    ASSERT_TRUE(batches.ok());
    if (batches->empty()) continue;
    EXPECT_EQ((*batches)[0].topic_id, cluster_.topic("t").id);
    break;
  }
}

// A position that was kept elsewhere, with the id of its topic.
TEST_F(MadeAgainTest, APositionOfTheOldOneIsNone) {
  cluster_.AddTopic("t", 1);
  const TopicId old = cluster_.topic("t").id;
  cluster_.MakeAgain("t");
  ConsumerOptions options;
  options.reset = OffsetReset::kEarliest;
  Start(options);
  Produce(100, 100);
  consumer_->Assign({Tp(0)});
  ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(10), LeaderEpoch(1), old).ok());
  EXPECT_EQ(ReadValues(100), Range(100, 100));
}

// A broker whose metadata lags tells of the old one again: nothing is read
// twice, and nothing skipped.
TEST_F(MadeAgainTest, OlderMetadataIsNoNews) {
  cluster_.AddTopic("t", 1);
  cluster_.FreezeMetadata();
  ConsumerOptions options;
  options.reset = OffsetReset::kEarliest;
  Start(options);
  consumer_->Assign({Tp(0)});
  ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(0)).ok());
  Produce(0, 10);
  ASSERT_EQ(ReadValues(10), Range(0, 10));
  cluster_.MakeAgain("t");
  Produce(100, 50);
  ASSERT_EQ(ReadValues(50), Range(100, 50));
  cluster_.stale_metadata = true;
  metadata_->Refresh();
  world_.RunFor(kSecond);
  cluster_.stale_metadata = false;
  metadata_->Refresh();
  world_.RunFor(kSecond);
  Produce(150, 50);
  EXPECT_EQ(ReadValues(50), Range(150, 50));
  EXPECT_EQ(consumer_->counters().resets, 1);
}

}  // namespace
}  // namespace sluice
