// For tests of what is shipped to followers: streams that remember, a log that
// is made up.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/replication/replica_shipper.h"
#include "common/env/sim_world.h"

namespace sluice {

inline const TopicPartition kA{TopicId(Uuid(1, 1)), PartitionIndex(0)};
inline const TopicPartition kB{TopicId(Uuid(1, 1)), PartitionIndex(1)};

inline Question Asked(int32_t epoch, int64_t number = 1) {
  return {LeaderEpoch(epoch), AddNumber(number)};
}

struct SentToFollower final : LeaderStream {
  void Send(LeaderFrame frame) override { frames.push_back(std::move(frame)); }
  void Close() override { closed = true; }
  std::vector<LeaderFrame> frames;
  bool closed = false;
};

struct SentToLeader final : FollowerStream {
  void Send(FollowerFrame frame) override {
    frames.push_back(std::move(frame));
  }
  void Close() override { closed = true; }
  std::vector<FollowerFrame> frames;
  bool closed = false;
};

// A log whose every record is a batch of `batch_bytes`, one batch a read.
struct FakeSource final : ShipSource {
  Offset leo() const override { return leo_; }
  Offset high_watermark() const override { return hw_; }
  Offset log_start() const override { return Offset(0); }
  bool IsInSync(NodeId) const override { return in_sync; }
  std::optional<ReadResult> ReadTail(Offset from, int64_t) override {
    if (from < tail_from) return std::nullopt;
    return Batch(from);
  }
  void ReadDisk(Offset from, int64_t,
                absl::AnyInvocable<void(absl::StatusOr<ReadResult>)> done)
      override {
    if (reads_at_once) return done(Batch(from));
    disk_reads.emplace_back(from, std::move(done));
  }
  ReadResult Batch(Offset from) const {
    const Offset base(from.value() / batch_records * batch_records);
    return {Buffer::Take(std::string(batch_bytes, 'x')), base,
            base + batch_records};
  }

  Offset leo_, hw_, tail_from;
  size_t batch_bytes = 1000;
  int64_t batch_records = 1;
  bool reads_at_once = false;
  bool in_sync = true;
  std::vector<std::pair<
      Offset, absl::AnyInvocable<void(absl::StatusOr<ReadResult>)>>>
      disk_reads;
};

class ReplicaShipperTest : public testing::Test {
 protected:
  void Make(int64_t window_bytes) {
    shipper = std::make_unique<ReplicaShipper>(
        FollowerSession{7, NodeId(2), BrokerEpoch(5), stream, window_bytes,
                        StreamKind::kMain},
        executor.get(), nullptr, world.MonoMicros());
  }
  std::vector<Offset> Shipped(const TopicPartition& tp) {
    std::vector<Offset> offsets;
    for (const LeaderFrame& frame : stream->frames) {
      for (const ReplicaData& data : frame.data) {
        if (data.tp == tp) offsets.push_back(data.high_watermark);
      }
    }
    return offsets;
  }

  SimWorld world;
  std::unique_ptr<Executor> executor = world.NewExecutor();
  std::shared_ptr<SentToFollower> stream = std::make_shared<SentToFollower>();
  FakeSource source, other;
  std::unique_ptr<ReplicaShipper> shipper;
};

}  // namespace sluice
