#include "client/blocking_client.h"

#include <atomic>
#include <thread>

#include "client/fake_cluster_testing.h"
#include "common/env/thread_executor.h"
#include <gtest/gtest.h>

namespace sluice {
namespace {

// Threads are the subject, so the executor is a real one. The brokers run on
// it too; their clock stands still.
TEST(BlockingClientTest, ThreadsShareOneProducerWithinItsBuffer) {
  SimWorld world;
  FakeCluster cluster(&world, 3);
  cluster.AddTopic("t", 4);
  ThreadExecutor executor("client");
  ClientOptions options;
  options.bootstrap = {FakeCluster::EndpointOf(NodeId(1))};
  BlockingClient client({&executor, &world, &cluster, 1}, options);
  constexpr int kThreads = 3;
  constexpr int kEach = 500;
  std::atomic<int> acked = 0;
  {
    ProducerOptions producing;
    producing.buffer_memory = 2000;  // senders wait for each other
    producing.linger_ms = 0;
    BlockingProducer producer(&client, producing);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          ProducerRecord record;
          record.topic = "t";
          record.key = std::to_string(t);
          record.value = std::to_string(i);
          ASSERT_TRUE(
              producer
                  .Send(std::move(record),
                        [&](const auto& result) { acked += result.ok(); })
                  .ok());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(producer.Flush(60'000'000).ok());
    EXPECT_EQ(acked, kThreads * kEach);
    EXPECT_EQ(producer.counters().records_acked, kThreads * kEach);
  }
  ConsumerOptions consuming;
  consuming.reset = OffsetReset::kEarliest;
  BlockingConsumer consumer(&client, consuming);
  std::vector<NamedPartition> all;
  for (int p = 0; p < 4; ++p) all.push_back({"t", PartitionIndex(p)});
  consumer.Assign(all);
  int read = 0;
  std::map<std::string, int> next;
  while (read < kThreads * kEach) {
    auto records = consumer.Poll(60'000'000);
    ASSERT_TRUE(records.ok()) << records.status();
    for (const ConsumerRecord& record : *records) {
      EXPECT_EQ(*record.value, std::to_string(next[*record.key]++));
      ++read;
    }
  }
  const auto ends =
      client.LookUpOffsets(all, api::OffsetPosition::kLatest, 60'000'000);
  ASSERT_TRUE(ends.ok());
  int64_t total = 0;
  for (const auto& [tp, end] : *ends) total += end.value();
  EXPECT_EQ(total, kThreads * kEach);
}

}  // namespace
}  // namespace sluice
