// Leader epochs of what was read, and logs that were cut below it (KIP-320).
#include <algorithm>
#include <utility>

#include "client/consumer.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {

// False: another topic of the same name has another log. Position and epochs
// say nothing of that one, and what was fetched is dropped. A broker whose
// metadata lags may tell of the one before: that is no news.
bool Consumer::NoteTopic(Partition& partition) {
  const MetadataCache::Topic* topic = metadata_->Find(partition.tp.topic);
  if (topic == nullptr || topic->id == partition.topic_id) return true;
  if (!partition.topic_id.is_set()) {
    partition.topic_id = topic->id;
    return true;
  }
  if (topic->id == partition.last_topic_id) return true;
  partition.last_topic_id = std::exchange(partition.topic_id, topic->id);
  if (MUTANT(kPositionOutlivesTopic)) {
    partition.epochs.Clear();
    return true;
  }
  MoveTo(partition, *partition.position);
  partition.high_watermark = kNoOffset;
  partition.replica.reset();
  return false;
}

// Past the last record of whole batches; the fetch offset when there is none.
Offset Consumer::NoteBatches(Partition& partition,
                             const std::vector<Buffer>& batches) {
  Offset end = partition.fetch_offset;
  for (const Buffer& buffer : batches) {
    BatchCursor cursor(buffer.view());
    while (true) {
      const auto batch = cursor.Next();
      if (!batch.ok() || !batch->has_value()) break;
      const BatchHeader& header = (*batch)->header();
      end = std::max(end, header.next_offset());
      if (MUTANT(kReaderForgetsEpochs)) continue;
      partition.epochs.Assign(
          header.leader_epoch,
          std::max(header.base_offset, partition.fetch_offset));
    }
  }
  const std::vector<EpochStart>& starts = partition.epochs.starts();
  if (starts.size() > kEpochsMax) {
    // The epoch that ends there stays.
    partition.epochs.TrimTo(starts[starts.size() - kEpochsMax + 1].start);
  }
  return end;
}

// The histories agree up to where the older of both ends of the leader's epoch
// lies, at most: the next fetch, from there, asks again.
void Consumer::OnTruncated(Partition& partition,
                           const api::FetchResult& result) {
  const EpochEnd theirs = *result.diverging;
  Offset agreed = result.log_start_offset;
  if (theirs.epoch != kNoLeaderEpoch) {
    EpochEnd own = partition.epochs.EndOf(theirs.epoch, partition.fetch_offset);
    if (own.epoch == kNoLeaderEpoch) {
      // Every epoch that was read is newer than that.
      own.end = partition.epochs.starts().empty()
                    ? partition.fetch_offset
                    : partition.epochs.starts().front().start;
    }
    agreed = std::max(std::min(own.end, theirs.end), result.log_start_offset);
  }
  const Offset position = *partition.position;
  const Offset given = partition.truncated_from.value_or(position);
  EpochHistory epochs = partition.epochs;
  // What was fetched and not given yet is fetched again from here.
  MoveTo(partition, std::min(agreed, position));
  epochs.TruncateTo(*partition.position);
  partition.epochs = std::move(epochs);
  if (*partition.position == given) return;
  if (given == position) ++counters_.truncations;
  partition.truncated_from = given;
}

// The leader's log agrees with all that lies below the position. False: the
// application has to say how to go on.
bool Consumer::TellTruncation(Partition& partition) {
  if (!partition.truncated_from.has_value()) return true;
  const Offset from = *partition.position;
  // Told when the first batch from there was pushed.
  if (options_.reset != OffsetReset::kNone) return true;
  const Offset given = *std::exchange(partition.truncated_from, {});
  FailPartition(
      partition,
      MakeError(ErrorCode::kLogTruncated, "the log was cut to offset ", from,
                " below offset ", given, ", up to which it was read: an "
                "election took back what [", from, ", ", given,
                ") held; read on from offset ", from));
  return false;
}

}  // namespace sluice
