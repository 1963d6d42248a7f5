#include "broker/handlers/typed_records.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/base/murmur2.h"
#include "common/base/status_macros.h"
#include "storage/batch_builder.h"
#include "storage/producer_table.h"

namespace sluice {
namespace {

RecordView ViewOf(const api::Record& record, int64_t now_ms,
                  std::vector<RecordHeaderView>& headers) {
  headers.clear();
  for (const api::RecordHeader& header : record.headers) {
    headers.push_back({header.key, header.value});
  }
  RecordView view;
  view.key = record.key;
  view.value = record.value;
  view.headers = headers;
  view.timestamp_ms = record.timestamp_ms == 0 ? now_ms : record.timestamp_ms;
  return view;
}

}  // namespace

PartitionIndex KeylessRotation::Next(const TopicId& topic,
                                     int32_t partition_count) {
  if (next_.size() >= kTopicsMax && !next_.contains(topic)) next_.clear();
  int32_t& next = next_[topic];
  if (next >= partition_count) next = 0;
  return PartitionIndex(next++);
}

std::vector<PickedRecords> PickPartitions(
    const std::vector<api::Record>& records, const TopicId& topic,
    int32_t partition_count, KeylessRotation& rotation) {
  std::vector<PickedRecords> picked;
  std::map<PartitionIndex, size_t> place;
  for (size_t i = 0; i < records.size(); ++i) {
    const PartitionIndex partition =
        records[i].key.has_value()
            ? PartitionForKey(*records[i].key, partition_count)
            : rotation.Next(topic, partition_count);
    const auto [found, is_new] = place.emplace(partition, picked.size());
    if (is_new) picked.push_back({partition, {}});
    picked[found->second].indexes.push_back(static_cast<int32_t>(i));
  }
  return picked;
}

int64_t WeightOf(const std::vector<api::Record>& records) {
  size_t bytes = 0;
  for (const api::Record& record : records) {
    bytes += sizeof(api::Record);
    if (record.key.has_value()) bytes += record.key->size();
    if (record.value.has_value()) bytes += record.value->size();
    for (const api::RecordHeader& header : record.headers) {
      bytes += sizeof(api::RecordHeader) + header.key.size();
      if (header.value.has_value()) bytes += header.value->size();
    }
  }
  return static_cast<int64_t>(bytes);
}

absl::StatusOr<MutableBuffer> EncodeRecords(
    const std::vector<api::Record>& records,
    const std::vector<int32_t>& indexes, int64_t batch_bytes_max,
    int64_t now_ms, const std::optional<SequenceStart>& start) {
  BatchOptions options;
  options.bytes_max = batch_bytes_max;
  BatchBuilder builder(options);
  std::vector<RecordHeaderView> headers;
  std::vector<MutableBuffer> batches;
  size_t bytes = 0;
  int64_t numbered = 0;
  const auto finish = [&]() -> absl::Status {
    if (start.has_value()) {
      builder.SetProducer(start->producer_id, start->epoch,
                          SequencePlus(start->sequence, numbered));
      numbered += builder.record_count();
    }
    ASSIGN_OR_RETURN(MutableBuffer batch, builder.Finish());
    bytes += batch.size();
    batches.push_back(std::move(batch));
    return absl::OkStatus();
  };
  for (const int32_t index : indexes) {
    const RecordView view = ViewOf(records[index], now_ms, headers);
    if (builder.Add(view)) continue;
    if (!builder.empty()) RETURN_IF_ERROR(finish());
    if (!builder.Add(view)) {
      return MakeError(ErrorCode::kMessageTooLarge, "record ", index,
                       " is larger than any record may be (", kRecordBytesMax,
                       " bytes); split it");
    }
  }
  RETURN_IF_ERROR(finish());  // INVALID_RECORD when there are none
  if (batches.size() == 1) return std::move(batches.front());
  MutableBuffer joined(bytes);
  char* out = joined.data();
  for (const MutableBuffer& batch : batches) {
    out = std::copy_n(batch.data(), batch.size(), out);
  }
  return joined;
}

}  // namespace sluice
