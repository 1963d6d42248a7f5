#include "test/sim/sim_load.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sluice::sim {
namespace {

constexpr int64_t kReadLimitUs = 60'000'000;

}  // namespace

SimLoad::SimLoad(SimCluster* cluster, std::string topic, int partitions,
                 ProducerOptions options)
    : cluster_(cluster),
      topic_(std::move(topic)),
      partitions_(partitions),
      once_(options.idempotent()),
      client_(cluster, options) {}

void SimLoad::Send(int count) {
  for (int i = 0; i < count; ++i) {
    const int number = sent_++;
    ProducerRecord record;
    record.topic = topic_;
    record.partition = PartitionIndex(number % partitions_);
    record.key = std::to_string(number);
    record.value = "value-" + std::to_string(number);
    const absl::Status status = client_.producer().Send(
        std::move(record), [this, number](const auto& result) {
          if (result.ok()) {
            OnAck(number);
          } else {
            failed_.emplace_back(number, result.status());
          }
        });
    ASSERT_TRUE(status.ok()) << status;
  }
}

void SimLoad::SendSteadily(int count, int64_t every_us) {
  for (int i = 0; i < count; ++i) {
    Send(1);
    cluster_->world().RunFor(every_us);
  }
}

void SimLoad::OnAck(int number) {
  ++acked_;
  acknowledged_.insert(number);
  const int64_t now_us = cluster_->world().MonoMicros();
  if (last_ack_us_ >= 0) gap_us_ = std::max(gap_us_, now_us - last_ack_us_);
  last_ack_us_ = now_us;
}

bool SimLoad::AwaitAcks(int64_t limit_us) {
  return cluster_->world().RunUntil([&] { return acked_ == sent_; }, limit_us);
}

int64_t SimLoad::TakeGapUs() {
  last_ack_us_ = -1;
  return std::exchange(gap_us_, 0);
}

bool SimLoad::HasAll(const Seen& seen) const {
  return std::includes(seen.all.begin(), seen.all.end(), acknowledged_.begin(),
                       acknowledged_.end());
}

void SimLoad::ReadAll(Seen& seen) {
  SimClient reader(cluster_, {},
                   ConsumerOptions{.reset = OffsetReset::kEarliest});
  std::vector<NamedPartition> all;
  for (int p = 0; p < partitions_; ++p) {
    all.push_back({topic_, PartitionIndex(p)});
  }
  reader.consumer().Assign(all);
  const auto take = [&](const FetchedBatch& batch, const DecodedRecord& record) {
    Offset& next = seen.next[batch.tp.partition];
    EXPECT_EQ(record.offset, next) << "a gap in " << batch.tp.ToString();
    next = record.offset.Next();
    const int number = std::stoi(std::string(record.key.value_or("-1")));
    EXPECT_EQ(record.value, "value-" + std::to_string(number));
    seen.numbers[batch.tp.partition].push_back(number);
    seen.all.insert(number);
    return true;
  };
  const int64_t end_us = cluster_->world().MonoMicros() + kReadLimitUs;
  while (!HasAll(seen) && cluster_->world().MonoMicros() < end_us) {
    bool answered = false;
    reader.consumer().Poll(
        200'000, 16 << 20, [&](absl::StatusOr<Consumer::Batches> batches) {
          answered = true;
          ASSERT_TRUE(batches.ok()) << batches.status();
          for (const FetchedBatch& batch : *batches) {
            const absl::Status read =
                ForEachRecord(batch, [&](const DecodedRecord& record) {
                  return take(batch, record);
                });
            EXPECT_TRUE(read.ok()) << read;
          }
        });
    cluster_->world().RunUntil([&] { return answered; }, 5'000'000);
  }
}

void SimLoad::Check() {
  Seen seen;
  ReadAll(seen);
  for (const int number : acknowledged_) {
    EXPECT_TRUE(seen.all.contains(number)) << number << " is LOST";
  }
  for (const auto& [partition, numbers] : seen.numbers) {
    int newest = -1;
    std::set<int> before;
    for (const int number : numbers) {
      EXPECT_TRUE(number > newest || (!once_ && before.contains(number)))
          << number << " after " << newest << ": REORDERED or DUPLICATED";
      EXPECT_LT(number, sent_) << "PHANTOM";
      newest = std::max(newest, number);
      before.insert(number);
    }
  }
}

}  // namespace sluice::sim
