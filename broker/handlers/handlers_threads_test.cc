// The handlers on real threads: what the other tests hold in one order must
// hold in any (run it under --config=tsan).
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "broker/handlers/fake_hosts_testing.h"
#include "broker/handlers/fetch_handler.h"
#include "broker/handlers/list_offsets_handler.h"
#include "broker/handlers/produce_handler.h"
#include "broker/handlers/subscribe_handler.h"
#include "common/env/real_clock.h"
#include "common/env/thread_executor.h"

namespace sluice {
namespace {

constexpr int kPartitions = 4;
constexpr int kClients = 4;
constexpr int kRounds = 150;

class ThreadedHosts final : public PartitionHosts {
 public:
  ThreadedHosts() {
    for (int i = 0; i < 2; ++i) {
      shards_.push_back(std::make_unique<FakeHost>(
          std::make_unique<ThreadExecutor>("shard" + std::to_string(i))));
    }
  }
  PartitionHost* HostOf(const TopicPartition& tp) override {
    return shards_[static_cast<size_t>(tp.partition.value() % 2)].get();
  }

 private:
  std::vector<std::unique_ptr<FakeHost>> shards_;
};

// Counts records until all are there.
class CountingSink final : public SubscribeSink {
 public:
  explicit CountingSink(int expected) : expected_(expected) {}

  void Push(api::SubscribeResponse response) override {
    std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_TRUE(response.result.error.ok()) << response.result.error.message;
    Offset& next = next_[response.result.partition];
    for (const api::Record& record : response.result.records) {
      EXPECT_EQ(record.offset, next);
      next = record.offset.Next();
      ++count_;
    }
    charged_ += response.charged_bytes;
    if (count_ == expected_) all_.set_value();
  }
  void Finish(absl::Status) override { finished_.set_value(); }
  int64_t TakeCharged() {
    std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(charged_, 0);
  }
  std::future<void> all() { return all_.get_future(); }
  std::future<void> finished() { return finished_.get_future(); }

 private:
  const int expected_;
  std::mutex mutex_;
  int count_ = 0;
  int64_t charged_ = 0;
  std::map<PartitionIndex, Offset> next_;
  std::promise<void> all_;
  std::promise<void> finished_;
};

class HandlersThreadsTest : public testing::Test {
 protected:
  HandlersThreadsTest() : image_(MetadataImage::Empty()) {
    cluster_.StartAll(1);
    cluster_.CreateOn("t", {1}, {}, kPartitions);
    image_.Store(cluster_.shared());
    HandlerDeps deps;
    deps.clock = &clock_;
    deps.worker = worker_.get();
    deps.hosts = hosts_.get();
    deps.image = &image_;
    deps.configs = *ConfigRegistry::Make({});
    produce_ = std::make_unique<ProduceHandler>(deps);
    fetch_ = std::make_unique<FetchHandler>(deps);
    offsets_ = std::make_unique<ListOffsetsHandler>(deps);
    subscribe_ = std::make_unique<SubscribeHandler>(deps);
  }
  ~HandlersThreadsTest() override {
    // As a process ends: the threads first.
    hosts_.reset();
    worker_.reset();
  }
  void Produce(int client, int round) {
    api::ProduceRequest request;
    auto& asked = request.partitions.emplace_back();
    asked.topic.name = "t";
    if (round % 2 == 0) {
      api::Record record;
      record.timestamp_ms = 1000;
      asked.payload = std::vector<api::Record>{record};  // the broker picks
    } else {
      asked.partition = PartitionIndex((client + round) % kPartitions);
      asked.payload = MakeBatch();
    }
    std::promise<void> done;
    produce_->Produce({}, std::move(request), [] {},
                      [&](absl::Status status, api::ProduceResponse response) {
                        EXPECT_TRUE(status.ok()) << status;
                        EXPECT_TRUE(response.results.at(0).error.ok())
                            << response.results[0].error.message;
                        done.set_value();
                      });
    done.get_future().wait();
  }
  // Over all partitions; cancelled half way every third time.
  void Fetch(int round) {
    api::FetchRequest request;
    request.max_wait_ms = 5;
    request.min_bytes = 1 << 20;
    for (int p = 0; p < kPartitions; ++p) {
      auto& asked = request.partitions.emplace_back();
      asked.topic.name = "t";
      asked.partition = PartitionIndex(p);
    }
    std::promise<void> done;
    CancelCall cancel = fetch_->Fetch(
        {}, std::move(request),
        [&](absl::Status, api::FetchResponse) { done.set_value(); });
    if (round % 3 == 0) cancel();
    done.get_future().wait();
    cancel();  // harmless
  }
  void ListOffsets() {
    api::ListOffsetsRequest request;
    for (int p = 0; p < kPartitions; ++p) {
      auto& asked = request.partitions.emplace_back();
      asked.topic.name = "t";
      asked.partition = PartitionIndex(p);
      asked.position = api::OffsetPosition::kLatest;
    }
    std::promise<void> done;
    offsets_->ListOffsets({}, request,
                          [&](absl::Status, api::ListOffsetsResponse response) {
                            EXPECT_EQ(response.results.size(), 4u);
                            done.set_value();
                          });
    done.get_future().wait();
  }

  RealClock clock_;
  TestCluster cluster_;
  Published<MetadataImage> image_;
  std::unique_ptr<ThreadExecutor> worker_ =
      std::make_unique<ThreadExecutor>("worker");
  std::unique_ptr<ThreadedHosts> hosts_ = std::make_unique<ThreadedHosts>();
  std::unique_ptr<ProduceHandler> produce_;
  std::unique_ptr<FetchHandler> fetch_;
  std::unique_ptr<ListOffsetsHandler> offsets_;
  std::unique_ptr<SubscribeHandler> subscribe_;
};

TEST_F(HandlersThreadsTest, EverythingAtOnceIsAnsweredAndPushedInOrder) {
  const int expected = kClients * kRounds;
  const auto sink = std::make_shared<CountingSink>(expected);
  std::future<void> all = sink->all();
  std::future<void> finished = sink->finished();
  const auto stream = subscribe_->Subscribe({}, sink);
  api::SubscribeRequest request;
  auto& asked = request.partitions.emplace_back();
  asked.topic.name = "t";
  asked.partition = PartitionIndex(-1);
  request.credit_bytes = 1 << 20;
  stream->OnRequest(request);

  std::vector<std::thread> clients;
  for (int client = 0; client < kClients; ++client) {
    clients.emplace_back([this, client] {
      for (int round = 0; round < kRounds; ++round) {
        Produce(client, round);
        Fetch(round);
        if (round % 10 == 0) ListOffsets();
      }
    });
  }
  for (std::thread& client : clients) client.join();
  all.wait();
  EXPECT_GT(sink->TakeCharged(), 0);
  stream->OnClosed();
  finished.wait();
  EXPECT_EQ(produce_->memory().taken(), 0);
  EXPECT_EQ(fetch_->waiting(), 0);
  EXPECT_EQ(subscribe_->streams(), 0);
}

}  // namespace
}  // namespace sluice
