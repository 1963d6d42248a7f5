#include "storage/batch_validation.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "storage/batch_header.h"
#include "storage/compression.h"
#include "storage/record_reader.h"

namespace sluice {
namespace {

absl::Status Corrupt(std::string_view why) {
  return MakeError(ErrorCode::kCorruptMessage, why,
                   "; the batch was damaged on its way or built wrongly");
}

absl::Status Invalid(std::string_view why) {
  return MakeError(ErrorCode::kInvalidRecord, why);
}

absl::Status CheckAttributes(const BatchHeader& header) {
  if ((header.attributes & kControlBit) != 0) {
    return Invalid("control batches are written by brokers only");
  }
  if ((header.attributes & kTransactionalBit) != 0) {
    return Invalid("transactional batches are not supported by this cluster");
  }
  if ((header.attributes & kDeleteHorizonBit) != 0) {
    return Invalid("the delete-horizon bit is set by the log cleaner only");
  }
  if ((header.attributes & kUnusedAttributeBits) != 0) {
    return Invalid(StrCat("unused attribute bits are set: ",
                          header.attributes));
  }
  if (!IsCodecSupported(header.codec_number())) {
    return MakeError(ErrorCode::kUnsupportedCompressionType,
                     "compression type ", header.codec_number(), " (",
                     NameOfCodec(header.codec_number()),
                     ") is not supported; use none, lz4 or zstd");
  }
  if ((header.attributes & kLogAppendTimeBit) != 0) {
    return MakeError(ErrorCode::kInvalidTimestamp,
                     "the timestamp type LogAppendTime is set by brokers only");
  }
  return absl::OkStatus();
}

absl::Status CheckCounts(const BatchHeader& header) {
  if (header.record_count <= 0) {
    return Invalid(StrCat("record count is ", header.record_count));
  }
  if (static_cast<int64_t>(header.last_offset_delta) + 1 !=
      header.record_count) {
    return Invalid(StrCat("record count is ", header.record_count,
                          " but the last offset delta is ",
                          header.last_offset_delta));
  }
  // Producer epoch and sequence mean nothing without an id; clients differ in
  // what they put there, so they are not judged then.
  if (header.producer_id < ProducerId(-1)) {
    return Invalid(StrCat("producer id is ", header.producer_id));
  }
  if (header.producer_id.value() >= 0 && header.producer_epoch < 0) {
    return Invalid(StrCat("producer ", header.producer_id,
                          " has producer epoch ", header.producer_epoch));
  }
  if (header.producer_id.value() >= 0 && header.base_sequence < 0) {
    return Invalid(StrCat("producer ", header.producer_id,
                          " has base sequence ", header.base_sequence));
  }
  return absl::OkStatus();
}

// Walks the records of one batch and collects what is wrong with them.
class RecordChecks {
 public:
  RecordChecks(const ProduceLimits& limits, int64_t first_index,
               std::vector<RecordFault>* faults)
      : limits_(limits), first_index_(first_index), faults_(faults) {}

  absl::Status Run(const BatchView& batch) {
    ASSIGN_OR_RETURN(RecordReader reader, RecordReader::Open(batch));
    int64_t max_timestamp_ms = INT64_MIN;
    for (;;) {
      auto record = reader.Next();
      if (!record.ok()) {
        Note(ErrorCode::kInvalidRecord, reader.index(),
             std::string(record.status().message()));
        return first_;  // nothing behind it can be found
      }
      if (!record->has_value()) break;
      max_timestamp_ms = std::max(max_timestamp_ms, (*record)->timestamp_ms);
      Check(reader.index(), **record);
    }
    RETURN_IF_ERROR(first_);
    // The stored maximum answers time queries and retention: nobody recomputes
    // it, because nobody re-encodes.
    if (max_timestamp_ms != batch.header().max_timestamp_ms) {
      return Invalid(StrCat("the batch says its largest timestamp is ",
                            batch.header().max_timestamp_ms,
                            ", its records say ", max_timestamp_ms));
    }
    return absl::OkStatus();
  }

 private:
  void Check(int32_t index, const DecodedRecord& record) {
    if (record.offset_delta != index && !MUTANT(kRecordsUnchecked)) {
      Note(ErrorCode::kInvalidRecord, index,
           StrCat("record ", index, " has offset delta ",
                  record.offset_delta));
    } else if (limits_.key_required && !record.key.has_value()) {
      Note(ErrorCode::kInvalidRecord, index,
           StrCat("record ", index,
                  " has no key, which a compacted topic requires"));
    } else if (record.timestamp_ms < -1 ||
               record.timestamp_ms - limits_.now_ms >
                   limits_.timestamp_after_ms_max) {
      Note(ErrorCode::kInvalidTimestamp, index,
           StrCat("record ", index, " has timestamp ", record.timestamp_ms,
                  ", the broker's clock says ", limits_.now_ms, ", at most ",
                  limits_.timestamp_after_ms_max, " ms more are allowed"));
    }
  }

  void Note(ErrorCode code, int32_t index, const std::string& message) {
    if (first_.ok()) first_ = MakeError(code, message);
    if (faults_ == nullptr || faults_->size() >= kRecordFaultsMax) return;
    faults_->push_back({static_cast<int32_t>(first_index_ + index), message});
  }

  const ProduceLimits& limits_;
  const int64_t first_index_;
  std::vector<RecordFault>* faults_;
  absl::Status first_;
};

// The order of the checks is Kafka's: what the bytes are, before what they
// mean.
absl::Status CheckProducedBatch(const BatchView& batch,
                                const ProduceLimits& limits,
                                int64_t first_index,
                                std::vector<RecordFault>* faults) {
  const BatchHeader& header = batch.header();
  if (header.size_bytes() > limits.batch_bytes_max) {
    return MakeError(ErrorCode::kMessageTooLarge, "the batch has ",
                     header.size_bytes(), " bytes, max.message.bytes is ",
                     limits.batch_bytes_max, "; send smaller batches");
  }
  if (!batch.CrcMatches() && !MUTANT(kProducedCrcUnchecked)) {
    return Corrupt("the CRC does not match");
  }
  RETURN_IF_ERROR(CheckAttributes(header));
  RETURN_IF_ERROR(CheckCounts(header));
  return RecordChecks(limits, first_index, faults).Run(batch);
}

// One payload is one producer's: its sequences are judged together.
absl::Status CheckSameProducer(const BatchHeader& header,
                               const ProducedFacts& facts) {
  if (header.producer_id == facts.producer_id &&
      (header.producer_id.value() < 0 ||
       header.producer_epoch == facts.producer_epoch)) {
    return absl::OkStatus();
  }
  return Invalid(StrCat("the payload has batches of producer ",
                        facts.producer_id, " epoch ", facts.producer_epoch,
                        " and of producer ", header.producer_id, " epoch ",
                        header.producer_epoch, "; send them apart"));
}

// Like BatchView::Parse, but a client's batch may say any base offset and a
// wrong last offset delta is the client's INVALID_RECORD.
absl::StatusOr<BatchView> ParseProduced(std::string_view rest) {
  const auto header = BatchHeader::Parse(rest);
  if (header.has_value() && header->magic == kBatchMagic) {
    if (header->last_offset_delta < 0) {
      return Invalid(StrCat("the last offset delta is ",
                            header->last_offset_delta));
    }
    if (header->base_offset.value() < 0) {
      return Invalid(StrCat("the base offset is ", header->base_offset));
    }
  }
  return BatchView::Parse(rest);
}

}  // namespace

bool HasCompressedBatch(std::string_view payload) {
  BatchCursor cursor(payload);
  for (int32_t i = 0; i < kBatchesPerPayloadMax; ++i) {
    const auto batch = cursor.Next();
    if (!batch.ok() || !batch->has_value()) return false;
    if ((*batch)->header().is_compressed()) return true;
  }
  return false;
}

absl::StatusOr<ProducedFacts> ValidateProduced(
    std::string_view payload, const ProduceLimits& limits,
    std::vector<RecordFault>* faults) {
  if (payload.empty()) return Invalid("the payload has no record batch");
  ProducedFacts facts;
  while (!payload.empty()) {
    if (facts.batch_count == kBatchesPerPayloadMax) {
      return Invalid(StrCat("the payload has more than ",
                            kBatchesPerPayloadMax, " batches"));
    }
    ASSIGN_OR_RETURN(const BatchView batch, ParseProduced(payload));
    RETURN_IF_ERROR(
        CheckProducedBatch(batch, limits, facts.record_count, faults));
    const BatchHeader& header = batch.header();
    if (facts.batch_count == 0) {
      facts.producer_id = header.producer_id;
      facts.producer_epoch = header.producer_epoch;
      facts.base_sequence = header.base_sequence;
    }
    RETURN_IF_ERROR(CheckSameProducer(header, facts));
    ++facts.batch_count;
    facts.record_count += header.record_count;
    facts.max_timestamp_ms =
        std::max(facts.max_timestamp_ms, header.max_timestamp_ms);
    payload.remove_prefix(batch.bytes().size());
  }
  return facts;
}

absl::StatusOr<ReplicatedFacts> ValidateReplicated(std::string_view batches,
                                                   Offset expected_base,
                                                   LeaderEpoch epoch_floor,
                                                   LeaderEpoch epoch_max) {
  if (batches.empty()) return Corrupt("the leader sent no batch");
  ReplicatedFacts facts;
  facts.next_offset = expected_base;
  facts.last_epoch = epoch_floor;
  BatchCursor cursor(batches);
  for (;;) {
    ASSIGN_OR_RETURN(const auto batch, cursor.Next());
    if (!batch.has_value()) return facts;
    const BatchHeader& header = batch->header();
    if (header.base_offset != facts.next_offset) {
      return Corrupt(StrCat("a batch begins at ", header.base_offset,
                            ", expected ", facts.next_offset));
    }
    if (header.leader_epoch < facts.last_epoch ||
        header.leader_epoch > epoch_max || header.leader_epoch.value() < 0) {
      return Corrupt(StrCat("the batch at ", header.base_offset,
                            " has leader epoch ", header.leader_epoch,
                            ", expected ", facts.last_epoch, " to ",
                            epoch_max));
    }
    if (!batch->CrcMatches() && !MUTANT(kCopiedCrcUnchecked)) {
      return Corrupt(StrCat("the CRC of the batch at ", header.base_offset,
                            " does not match"));
    }
    ++facts.batch_count;
    facts.next_offset = header.next_offset();
    facts.last_epoch = header.leader_epoch;
    facts.max_timestamp_ms =
        std::max(facts.max_timestamp_ms, header.max_timestamp_ms);
  }
}

}  // namespace sluice
