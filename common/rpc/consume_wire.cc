#include "common/rpc/consume_wire.h"

#include <utility>

#include "common/rpc/log_wire_parts.h"
#include "common/rpc/slice_writer.h"

namespace sluice::rpc {

grpc::ByteBuffer EncodeConsumeResponse(v1::ConsumeResponse message,
                                       std::vector<Buffer> batches,
                                       std::vector<api::Record> records) {
  constexpr int kRecords = v1::ConsumeResponse::kRecordsFieldNumber;
  constexpr int kBatches = v1::ConsumeRecords::kBatchesFieldNumber;
  if (!message.has_records()) return ToByteBuffer(message);
  v1::ConsumeRecords& small = *message.mutable_records();
  if (!records.empty()) {
    RecordsToProto(std::move(records), small.mutable_records());
  }
  size_t bytes = 0;
  for (const Buffer& batch : batches) bytes += batch.size();
  if (small.has_records() || bytes == 0) return ToByteBuffer(message);
  SliceWriter writer;
  writer.AppendFieldHead(kRecords, small.ByteSizeLong() +
                                       SliceWriter::FieldSize(kBatches, bytes));
  writer.Append(small);
  writer.AppendFieldHead(kBatches, bytes);
  for (const Buffer& batch : batches) writer.Append(batch);
  return std::move(writer).Finish();
}

}  // namespace sluice::rpc
