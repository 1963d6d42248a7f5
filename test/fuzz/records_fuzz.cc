// Record batches that a client sends (storage/batch_validation.h).
//
// Property: ValidateProduced answers OK or one of the codes that its comment
// promises, each with our payload, and the faults that it names are bounded.
// Of a payload that it accepts, decompression stays within the cap, the
// records iterate, written anew they are the same records and valid again,
// and with offsets given by a leader a follower accepts the bytes.
// ValidateReplicated answers OK or CORRUPT_MESSAGE for any bytes.
//
// Input: one byte of choices (Choice), then the payload. CRCs, and lengths
// that insertions broke, are repaired on demand, and the records of the first
// batch compressed: else hardly a change would get past them.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "storage/batch_builder.h"
#include "storage/batch_header.h"
#include "storage/batch_validation.h"
#include "storage/compression.h"
#include "storage/record_reader.h"

namespace sluice::fuzz {
namespace {

enum Choice : uint8_t {
  kRepairCrcs = 1,
  kRepairLastLength = 2,
  kCompressLz4 = 4,
  kCompressZstd = 8,
  kRequireKeys = 16,
};

constexpr int64_t kNowMs = 1'700'000'000'000;

struct Header {
  std::string key;
  std::optional<std::string> value;
  bool operator==(const Header&) const = default;
};

struct Record {
  std::optional<std::string> key;
  std::optional<std::string> value;
  int64_t timestamp_ms;
  std::vector<Header> headers;
  bool operator==(const Record&) const = default;
};

// Puts other records into the batch at the front of `payload`.
void ReplaceRecords(std::string& payload, Codec codec) {
  const auto batch = BatchView::Parse(payload);
  if (!batch.ok() || batch->header().is_compressed()) return;
  const auto compressed = Compress(codec, batch->records());
  INVARIANT(compressed.ok(), compressed.status().ToString());
  BatchHeader header = batch->header();
  const size_t old_bytes = batch->bytes().size();
  header.attributes |= static_cast<uint16_t>(codec);
  header.batch_length = static_cast<int32_t>(
      kBatchHeaderBytes - kBatchLengthPrefixBytes + compressed->size());
  std::string anew(kBatchHeaderBytes, '\0');
  header.Store(anew.data());
  anew += *compressed;
  payload.replace(0, old_bytes, anew);
}

// What makes the checks behind the CRC reachable.
void Repair(std::string& payload, uint8_t choices) {
  for (size_t at = 0; at + kBatchHeaderBytes <= payload.size();) {
    BatchHeader header =
        *BatchHeader::Parse(std::string_view(payload).substr(at));
    const auto rest = static_cast<int64_t>(payload.size() - at);
    const bool fits = header.CheckShape().ok() && header.size_bytes() <= rest;
    if (!fits && (choices & kRepairLastLength) == 0) return;
    if (!fits) {
      header.magic = kBatchMagic;
      header.batch_length = static_cast<int32_t>(
          rest - static_cast<int64_t>(kBatchLengthPrefixBytes));
    }
    const auto bytes = static_cast<size_t>(header.size_bytes());
    header.Store(payload.data() + at);
    if ((choices & kRepairCrcs) != 0) {
      header.crc = Crc32c(std::string_view(payload)
                              .substr(at, bytes)
                              .substr(kBatchCrcFrom));
      header.Store(payload.data() + at);
    }
    at += bytes;
  }
}

Record Copy(const DecodedRecord& decoded) {
  Record record{std::nullopt, std::nullopt, decoded.timestamp_ms, {}};
  if (decoded.key.has_value()) record.key = std::string(*decoded.key);
  if (decoded.value.has_value()) record.value = std::string(*decoded.value);
  HeaderCursor headers(decoded);
  while (const auto header = headers.Next()) {
    Header copy{std::string(header->key), std::nullopt};
    if (header->value.has_value()) copy.value = std::string(*header->value);
    record.headers.push_back(std::move(copy));
  }
  INVARIANT(static_cast<int32_t>(record.headers.size()) ==
                decoded.header_count,
            record.headers.size(), " headers of ", decoded.header_count);
  return record;
}

// The records of a batch that was found valid.
std::vector<Record> Decode(const BatchView& batch) {
  auto reader = RecordReader::Open(batch);
  INVARIANT(reader.ok(), "a valid batch: ", reader.status().ToString());
  std::vector<Record> records;
  size_t bytes = 0;
  for (;;) {
    const auto record = reader->Next();
    INVARIANT(record.ok(), "a valid batch: ", record.status().ToString());
    if (!record->has_value()) break;
    INVARIANT((*record)->offset == batch.header().base_offset +
                                       static_cast<int64_t>(records.size()),
              "record ", records.size(), " has offset ", (*record)->offset);
    records.push_back(Copy(**record));
    bytes += (*record)->encoded_headers.size();
  }
  const auto cap = static_cast<size_t>(std::max(
      DecompressedBytesLimit(static_cast<int64_t>(batch.records().size())),
      static_cast<int64_t>(batch.records().size())));
  INVARIANT(bytes <= cap, bytes, " bytes of headers past the cap ", cap);
  INVARIANT(static_cast<int32_t>(records.size()) ==
                batch.header().record_count,
            records.size(), " records of ", batch.header().record_count);
  return records;
}

std::string EncodeAnew(const std::vector<Record>& records) {
  BatchOptions options;
  options.bytes_max = 2 * kDecompressedBytesMax;
  BatchBuilder builder(options);
  for (const Record& record : records) {
    RecordView view;
    std::vector<RecordHeaderView> headers;
    for (const Header& header : record.headers) {
      headers.push_back({header.key, header.value});
    }
    view.key = record.key;
    view.value = record.value;
    view.timestamp_ms = record.timestamp_ms;
    view.headers = headers;
    INVARIANT(builder.Add(view), "a valid record does not fit a batch");
  }
  auto batch = builder.Finish();
  INVARIANT(batch.ok(), batch.status().ToString());
  return std::string(batch->view());
}

void CheckRoundTrip(const BatchView& batch, ProduceLimits limits) {
  const std::vector<Record> records = Decode(batch);
  const std::string anew = EncodeAnew(records);
  limits.batch_bytes_max = static_cast<int64_t>(anew.size());
  const auto valid = ValidateProduced(anew, limits);
  INVARIANT(valid.ok(), "written anew: ", valid.status().ToString());
  const auto parsed = BatchView::Parse(anew);
  INVARIANT(parsed.ok(), parsed.status().ToString());
  INVARIANT(Decode(*parsed) == records, "written anew, ", records.size(),
            " records differ");
}

void CheckAccepted(std::string_view payload, const ProducedFacts& facts,
                   const ProduceLimits& limits) {
  int32_t batches = 0;
  int64_t records = 0;
  bool compressed = false;
  BatchCursor cursor(payload);
  for (;;) {
    const auto batch = cursor.Next();
    INVARIANT(batch.ok(), "a valid payload: ", batch.status().ToString());
    if (!batch->has_value()) break;
    ++batches;
    records += (*batch)->header().record_count;
    compressed = compressed || (*batch)->header().is_compressed();
    CheckRoundTrip(**batch, limits);
  }
  INVARIANT(batches == facts.batch_count && records == facts.record_count,
            "facts of ", facts.batch_count, " batches and ",
            facts.record_count, " records, there are ", batches, " and ",
            records);
  INVARIANT(HasCompressedBatch(payload) == compressed,
            "work for a worker was not seen");

  const Offset base(1000);
  const LeaderEpoch epoch(7);
  MutableBuffer stored = MutableBuffer::CopyOf(payload);
  const auto next = AssignOffsets(stored, base, epoch);
  INVARIANT(next.ok() && *next == base + facts.record_count,
            next.status().ToString(), " next offset");
  const auto replicated =
      ValidateReplicated(stored.view(), base, LeaderEpoch(0), epoch);
  INVARIANT(replicated.ok() && replicated->next_offset == *next &&
                replicated->last_epoch == epoch &&
                replicated->batch_count == batches,
            "a follower: ", replicated.status().ToString());
}

void CheckRefused(const absl::Status& status,
                  const std::vector<RecordFault>& faults) {
  const ErrorCode code = CodeOf(status);
  const bool promised = code == ErrorCode::kCorruptMessage ||
                        code == ErrorCode::kInvalidRecord ||
                        code == ErrorCode::kUnsupportedCompressionType ||
                        code == ErrorCode::kMessageTooLarge ||
                        code == ErrorCode::kInvalidTimestamp;
  INVARIANT(promised, "not promised: ", status.ToString());
  INVARIANT(faults.size() <= kRecordFaultsMax, faults.size(), " faults");
}

void CheckAsFollower(std::string_view payload) {
  const Offset base = payload.size() < kBatchHeaderBytes
                          ? Offset(0)
                          : BatchHeader::Parse(payload)->base_offset;
  const auto facts = ValidateReplicated(payload, base, LeaderEpoch(0),
                                        LeaderEpoch(INT32_MAX));
  if (facts.ok()) {
    INVARIANT(facts->next_offset > base && facts->batch_count > 0,
              "accepted ", facts->batch_count, " batches to ",
              facts->next_offset, " from ", base);
    return;
  }
  INVARIANT(CodeOf(facts.status()) == ErrorCode::kCorruptMessage,
            "not promised: ", facts.status().ToString());
}

void Check(uint8_t choices, std::string payload) {
  if ((choices & kCompressLz4) != 0) {
    ReplaceRecords(payload, Codec::kLz4);
  } else if ((choices & kCompressZstd) != 0) {
    ReplaceRecords(payload, Codec::kZstd);
  }
  if ((choices & (kRepairCrcs | kRepairLastLength)) != 0) {
    Repair(payload, choices);
  }
  ProduceLimits limits;
  limits.now_ms = kNowMs;
  limits.key_required = (choices & kRequireKeys) != 0;
  std::vector<RecordFault> faults;
  const auto facts = ValidateProduced(payload, limits, &faults);
  if (facts.ok()) {
    CheckAccepted(payload, *facts, limits);
  } else {
    CheckRefused(facts.status(), faults);
  }
  CheckAsFollower(payload);
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  sluice::fuzz::Check(
      data[0], std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  return 0;
}
