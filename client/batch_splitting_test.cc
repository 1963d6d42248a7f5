// Batches larger than their topic takes: sent in halves, every record stored
// once and in order (IP1, MESSAGE_TOO_LARGE).
#include "client/batch_splitting.h"

#include <map>
#include <string>
#include <vector>

#include "client/fake_cluster_testing.h"
#include "client/producer.h"
#include "common/base/error.h"
#include <gtest/gtest.h>

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

class BatchSplittingTest : public testing::Test {
 protected:
  void Start(ProducerOptions options = {}) {
    cluster_.AddTopic("t", 1);
    deps_ = {executor_.get(), &world_, &cluster_, 1};
    client_.bootstrap = {FakeCluster::EndpointOf(NodeId(1))};
    metadata_ = std::make_unique<MetadataCache>(deps_, client_);
    producer_ =
        std::make_unique<Producer>(deps_, client_, options, metadata_.get());
  }
  void TearDown() override { producer_.reset(); }

  void Send(int number, size_t size = 50) {
    ProducerRecord record;
    record.topic = "t";
    record.key = "k" + std::to_string(number);
    record.value = std::to_string(number);
    record.value->resize(size, '.');
    record.headers = {{"h", std::to_string(number)}, {"null", std::nullopt}};
    record.timestamp_ms = 1'000'000 + number;
    ASSERT_TRUE(producer_
                    ->Send(std::move(record),
                           [this, number](const auto& result) {
                             EXPECT_FALSE(outcomes_.contains(number));
                             outcomes_.emplace(number, result);
                           })
                    .ok());
  }
  void SendMany(int count, size_t size = 50) {
    for (int i = 0; i < count; ++i) Send(i, size);
  }
  bool AwaitSettled(size_t count) {
    return world_.RunUntil([&] { return outcomes_.size() == count; },
                           200 * kSecond);
  }
  std::vector<int> Stored() {
    std::vector<int> numbers;
    for (const auto& stored : cluster_.Read("t", 0)) {
      numbers.push_back(std::stoi(stored.value));
      EXPECT_EQ(stored.key, "k" + std::to_string(numbers.back()));
    }
    return numbers;
  }
  static std::vector<int> Range(int count) {
    std::vector<int> all;
    for (int i = 0; i < count; ++i) all.push_back(i);
    return all;
  }
  void ExpectAllStoredOnceInOrder(int count) {
    ASSERT_TRUE(AwaitSettled(static_cast<size_t>(count)));
    EXPECT_EQ(Stored(), Range(count));
    for (const auto& [number, outcome] : outcomes_) {
      ASSERT_TRUE(outcome.ok()) << number << ": " << outcome.status();
      EXPECT_EQ(outcome->offset, Offset(number));
    }
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 1};
  ClientDeps deps_;
  ClientOptions client_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Producer> producer_;
  std::map<int, absl::StatusOr<RecordMetadata>> outcomes_;
};

TEST_F(BatchSplittingTest, DefaultProducersWriteToATopicOfSmallBatches) {
  cluster_.batch_bytes_max = 2'000;
  Start();
  SendMany(3'000);
  ExpectAllStoredOnceInOrder(3'000);
  EXPECT_GT(producer_->counters().batches_split, 0);
  EXPECT_EQ(producer_->counters().batches_deduplicated, 0);
  EXPECT_EQ(producer_->counters().epochs_begun, 0);
  // It has learnt: nothing more is refused, and it pipelines as ever.
  cluster_.max_in_flight = 0;
  const int64_t split = producer_->counters().batches_split;
  outcomes_.clear();
  SendMany(1'000);
  ASSERT_TRUE(AwaitSettled(1'000));
  EXPECT_EQ(producer_->counters().batches_split, split);
  EXPECT_GT(cluster_.max_in_flight, 1);
}

TEST_F(BatchSplittingTest, WithoutIdempotenceToo) {
  cluster_.batch_bytes_max = 2'000;
  ProducerOptions options;
  options.enable_idempotence = false;
  Start(options);
  SendMany(1'000);
  ExpectAllStoredOnceInOrder(1'000);
}

TEST_F(BatchSplittingTest, CompressedBatchesStayCompressed) {
  cluster_.batch_bytes_max = 1'500;
  ProducerOptions options;
  options.codec = Codec::kLz4;
  Start(options);
  SendMany(1'000);
  ExpectAllStoredOnceInOrder(1'000);
  for (const Buffer& stored : cluster_.topic("t").partitions[0].batches) {
    EXPECT_TRUE(BatchView::Parse(stored.view())->header().is_compressed());
  }
}

TEST_F(BatchSplittingTest, ARecordThatIsTooLargeFailsAlone) {
  cluster_.batch_bytes_max = 2'000;
  Start();
  for (int i = 0; i < 40; ++i) Send(i, i == 17 ? 5'000 : 50);
  ASSERT_TRUE(AwaitSettled(40));
  EXPECT_EQ(CodeOf(outcomes_.at(17).status()), ErrorCode::kMessageTooLarge);
  // What is behind it in the same batch goes on in the partition's next epoch.
  std::vector<int> stored;
  for (const auto& [number, outcome] : outcomes_) {
    if (outcome.ok()) stored.push_back(number);
  }
  EXPECT_EQ(stored.size(), 39u);
  EXPECT_EQ(Stored(), stored);
  Send(40);
  ASSERT_TRUE(AwaitSettled(41));
  EXPECT_TRUE(outcomes_.at(40).ok());
}

// The records between two that are too large are no batch's last or first.
TEST_F(BatchSplittingTest, ManyThatAreTooLargeFailAloneEach) {
  cluster_.batch_bytes_max = 2'000;
  Start();
  for (int i = 0; i < 200; ++i) Send(i, i % 9 == 4 ? 5'000 : 50);
  ASSERT_TRUE(AwaitSettled(200));
  std::vector<int> stored;
  for (const auto& [number, outcome] : outcomes_) {
    if (outcome.ok()) {
      stored.push_back(number);
    } else {
      EXPECT_EQ(number % 9, 4);
      EXPECT_EQ(CodeOf(outcome.status()), ErrorCode::kMessageTooLarge);
    }
  }
  EXPECT_EQ(stored.size(), 178u);
  EXPECT_EQ(Stored(), stored);
}

TEST_F(BatchSplittingTest, LostAnswersDoNotDoubleWhatWasSplit) {  // IP1, IP2
  cluster_.batch_bytes_max = 2'000;
  int calls = 0;
  cluster_.fate = [&](NodeId, const std::string& method) {
    if (method != "Produce") return FakeCluster::Fate::kDeliver;
    return ++calls % 7 == 0 ? FakeCluster::Fate::kLoseAnswer
                            : FakeCluster::Fate::kDeliver;
  };
  Start();
  SendMany(2'000);
  ExpectAllStoredOnceInOrder(2'000);
  EXPECT_GT(producer_->counters().batches_deduplicated, 0);
}

TEST_F(BatchSplittingTest, WhatGotLostBeforeTheRefusalIsStoredOnce) {
  Start();
  bool lost = false;
  cluster_.fate = [&](NodeId, const std::string& method) {
    if (method != "Produce" || lost) return FakeCluster::Fate::kDeliver;
    cluster_.batch_bytes_max = 2'000;  // its topic is altered meanwhile
    lost = true;
    return FakeCluster::Fate::kLoseRequest;
  };
  SendMany(100);
  ExpectAllStoredOnceInOrder(100);
  EXPECT_GT(producer_->counters().batches_split, 0);
}

// Stored as a whole, its answer lost, its topic altered: the halves are other
// batches, but their sequences are stored (IP1).
TEST_F(BatchSplittingTest, WhatIsStoredAsAWholeIsNotStoredInHalves) {
  Start();
  bool lost = false;
  cluster_.fate = [&](NodeId, const std::string& method) {
    if (method != "Produce" || lost) return FakeCluster::Fate::kDeliver;
    lost = true;
    return FakeCluster::Fate::kLoseAnswer;
  };
  SendMany(100);
  ASSERT_TRUE(world_.RunUntil([&] { return lost; }, kSecond));
  cluster_.batch_bytes_max = 2'000;
  ASSERT_TRUE(AwaitSettled(100));
  EXPECT_EQ(Stored(), Range(100));
  EXPECT_EQ(CodeOf(outcomes_.at(0).status()), ErrorCode::kOutcomeUnknown);
}

TEST_F(BatchSplittingTest, HalvesKeepRecordsCallbacksAndNumbers) {
  BatchOptions encoding;
  PendingBatch whole;
  whole.builder.emplace(encoding);
  std::vector<int> called;
  for (int i = 0; i < 5; ++i) {
    const std::string value(static_cast<size_t>(i == 0 ? 1'000 : 10), 'v');
    RecordView record;
    record.value = value;
    record.timestamp_ms = 100 + i;
    ASSERT_TRUE(whole.builder->Add(record));
    whole.callbacks.push_back([&called, i](const auto&) { called.push_back(i); });
  }
  whole.charged_bytes = 101;
  whole.order = 7;
  whole.attempts = 1;
  whole.number = BatchNumber{{ProducerId(9), 2}, 2147483646};
  ASSERT_TRUE(whole.Seal().ok());

  Halves halves = Split(whole);

  EXPECT_EQ(halves.first->record_count(), 1);
  EXPECT_EQ(halves.second->record_count(), 4);
  EXPECT_EQ(halves.first->charged_bytes + halves.second->charged_bytes, 101);
  EXPECT_EQ(halves.first->number->base_sequence, 2147483646);
  EXPECT_EQ(halves.second->number->base_sequence, 2147483647);
  EXPECT_EQ(halves.first->order, 7u);
  EXPECT_EQ(halves.second->order, 8u);
  ASSERT_TRUE(halves.second->Seal().ok());
  const BatchView batch = *BatchView::Parse(halves.second->bytes.view());
  EXPECT_TRUE(batch.CrcMatches());
  EXPECT_EQ(batch.header().base_sequence, 2147483647);
  EXPECT_EQ(batch.header().producer_epoch, 2);
  EXPECT_EQ(batch.header().base_timestamp_ms, 101);
  for (auto& callback : halves.second->callbacks) callback(RecordMetadata{});
  EXPECT_EQ(called, (std::vector<int>{1, 2, 3, 4}));
}

}  // namespace
}  // namespace sluice
