// Each row of correctness.md 5.3 "Produce" that concerns bytes.
#include "storage/batch_validation.h"

#include <functional>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/batch_header.h"
#include "storage/batch_testing.h"
#include "storage/compression.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

ProduceLimits Limits() {
  ProduceLimits limits;
  limits.now_ms = 1'000'000;
  return limits;
}

// A batch around records encoded by hand.
std::string BatchOf(const std::string& records, int32_t count,
                    Codec codec = Codec::kNone, int64_t timestamp_ms = 1000) {
  std::string bytes(kBatchHeaderBytes, '\0');
  bytes += *Compress(codec, records);
  BatchHeader header;
  header.batch_length =
      static_cast<int32_t>(bytes.size() - kBatchLengthPrefixBytes);
  header.attributes = static_cast<uint16_t>(codec);
  header.record_count = count;
  header.last_offset_delta = count - 1;
  header.base_timestamp_ms = timestamp_ms;
  header.max_timestamp_ms = timestamp_ms;
  Rewrite(bytes, header);
  return bytes;
}

std::string Framed(const std::string& body) {
  std::string out;
  PutVarint32(out, static_cast<int32_t>(body.size()));
  return out + body;
}

// attributes, timestamp delta 0, offset delta, then the rest as given.
std::string Body(int32_t offset_delta, const std::string& rest) {
  std::string out(2, '\0');
  PutVarint32(out, offset_delta);
  return out + rest;
}

const std::string kNullKey("\x01", 1);
const std::string kValueV("\x02v", 2);
const std::string kNoHeaders("\x00", 1);

struct Row {
  const char* name;
  std::function<void(BatchHeader&)> change;
  ErrorCode expected;
  const char* says;
};

class HeaderRowTest : public testing::TestWithParam<Row> {};

TEST_P(HeaderRowTest, IsRefusedByName) {
  std::string bytes(MakeBatch({.records = 3}).view());
  BatchHeader header = *BatchHeader::Parse(bytes);
  GetParam().change(header);
  Rewrite(bytes, header);
  const auto facts = ValidateProduced(bytes, Limits());
  EXPECT_EQ(CodeOf(facts.status()), GetParam().expected)
      << facts.status().ToString();
  EXPECT_THAT(std::string(facts.status().message()),
              HasSubstr(GetParam().says));
}

const Row kHeaderRows[] = {
    {"LengthBelowHeader", [](BatchHeader& h) { h.batch_length = 10; },
     ErrorCode::kCorruptMessage, "length 10"},
    {"LengthNegative", [](BatchHeader& h) { h.batch_length = -5; },
     ErrorCode::kCorruptMessage, "length -5"},
    {"LengthPastBuffer", [](BatchHeader& h) { h.batch_length += 1; },
     ErrorCode::kCorruptMessage, "are there"},
    {"Magic1", [](BatchHeader& h) { h.magic = 1; },
     ErrorCode::kCorruptMessage, "magic 1"},
    {"CountZero",
     [](BatchHeader& h) {
       h.record_count = 0;
       h.last_offset_delta = 0;
     },
     ErrorCode::kInvalidRecord, "record count is 0"},
    {"CountNegative", [](BatchHeader& h) { h.record_count = -1; },
     ErrorCode::kInvalidRecord, "record count is -1"},
    {"CountNotDelta", [](BatchHeader& h) { h.last_offset_delta = 5; },
     ErrorCode::kInvalidRecord, "last offset delta is 5"},
    {"DeltaNegative", [](BatchHeader& h) { h.last_offset_delta = -1; },
     ErrorCode::kInvalidRecord, "last offset delta is -1"},
    {"DeltaOverflows",
     [](BatchHeader& h) {
       h.record_count = INT32_MIN;
       h.last_offset_delta = INT32_MAX;
     },
     ErrorCode::kInvalidRecord, "record count"},
    {"CountTooLarge",
     [](BatchHeader& h) {
       h.record_count = 4;
       h.last_offset_delta = 3;
     },
     ErrorCode::kInvalidRecord, "record 3"},
    {"CountTooSmall",
     [](BatchHeader& h) {
       h.record_count = 2;
       h.last_offset_delta = 1;
     },
     ErrorCode::kInvalidRecord, "follow the last"},
    {"BaseOffsetNegative", [](BatchHeader& h) { h.base_offset = Offset(-3); },
     ErrorCode::kInvalidRecord, "base offset is -3"},
    {"Control", [](BatchHeader& h) { h.attributes |= kControlBit; },
     ErrorCode::kInvalidRecord, "control"},
    {"Transactional", [](BatchHeader& h) { h.attributes |= kTransactionalBit; },
     ErrorCode::kInvalidRecord, "transactional"},
    {"DeleteHorizon", [](BatchHeader& h) { h.attributes |= kDeleteHorizonBit; },
     ErrorCode::kInvalidRecord, "delete-horizon"},
    {"UnusedBit7", [](BatchHeader& h) { h.attributes |= 0x80; },
     ErrorCode::kInvalidRecord, "unused"},
    {"UnusedBit15", [](BatchHeader& h) { h.attributes |= 0x8000; },
     ErrorCode::kInvalidRecord, "unused"},
    {"Gzip", [](BatchHeader& h) { h.attributes |= 1; },
     ErrorCode::kUnsupportedCompressionType, "gzip"},
    {"Snappy", [](BatchHeader& h) { h.attributes |= 2; },
     ErrorCode::kUnsupportedCompressionType, "snappy"},
    {"Codec7", [](BatchHeader& h) { h.attributes |= 7; },
     ErrorCode::kUnsupportedCompressionType, "type 7"},
    {"CodecGarbageLz4", [](BatchHeader& h) { h.attributes |= 3; },
     ErrorCode::kCorruptMessage, "lz4"},
    {"CodecGarbageZstd", [](BatchHeader& h) { h.attributes |= 4; },
     ErrorCode::kCorruptMessage, "zstd"},
    {"LogAppendTime", [](BatchHeader& h) { h.attributes |= kLogAppendTimeBit; },
     ErrorCode::kInvalidTimestamp, "LogAppendTime"},
    {"ProducerIdBelowMinusOne",
     [](BatchHeader& h) { h.producer_id = ProducerId(-2); },
     ErrorCode::kInvalidRecord, "producer id is -2"},
    {"ProducerWithoutEpoch",
     [](BatchHeader& h) {
       h.producer_id = ProducerId(9);
       h.base_sequence = 0;
     },
     ErrorCode::kInvalidRecord, "producer epoch -1"},
    {"ProducerWithoutSequence",
     [](BatchHeader& h) {
       h.producer_id = ProducerId(9);
       h.producer_epoch = 0;
     },
     ErrorCode::kInvalidRecord, "base sequence -1"},
    {"MaxTimestampWrong", [](BatchHeader& h) { ++h.max_timestamp_ms; },
     ErrorCode::kInvalidRecord, "largest timestamp"},
    {"TimestampInTheFuture",
     [](BatchHeader& h) {
       h.base_timestamp_ms = 1'000'000 + 3'600'000;
       h.max_timestamp_ms = h.base_timestamp_ms + 2;
     },
     ErrorCode::kInvalidTimestamp, "record 1 "},
    {"TimestampNegative", [](BatchHeader& h) { h.base_timestamp_ms = -2; },
     ErrorCode::kInvalidTimestamp, "timestamp -2"},
};

std::string NameOf(const testing::TestParamInfo<Row>& row) {
  return row.param.name;
}

INSTANTIATE_TEST_SUITE_P(Rows, HeaderRowTest, testing::ValuesIn(kHeaderRows),
                         NameOf);

struct RecordRow {
  const char* name;
  std::string records;
  const char* says;
};

class RecordRowTest : public testing::TestWithParam<RecordRow> {};

TEST_P(RecordRowTest, IsInvalidCompressedOrNot) {
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    std::vector<RecordFault> faults;
    const auto facts = ValidateProduced(
        BatchOf(GetParam().records, 1, codec), Limits(), &faults);
    EXPECT_EQ(CodeOf(facts.status()), ErrorCode::kInvalidRecord)
        << facts.status().ToString();
    EXPECT_THAT(std::string(facts.status().message()),
                HasSubstr(GetParam().says));
    ASSERT_EQ(faults.size(), 1u);
    EXPECT_EQ(faults[0].record_index, 0);
  }
}

const RecordRow kRecordRows[] = {
    {"LengthPastEnd", "\x7e" + Body(0, kNullKey + kValueV + kNoHeaders),
     "does not fit"},
    {"LengthNegative", std::string("\x03", 1) + Body(0, ""), "does not fit"},
    {"LengthVarintTooLong", std::string(6, '\x80') + "\x01", "does not fit"},
    {"NoAttributes", Framed(""), "no attributes"},
    {"TimestampVarintTooLong", Framed(std::string(1, '\0') +
                                      std::string(11, '\x80') + "\x01"),
     "timestamp delta"},
    {"OffsetVarintTooLong", Framed(std::string(2, '\0') +
                                   std::string(6, '\x80') + "\x01"),
     "offset delta is malformed"},
    {"OffsetDeltaNotIndex",
     Framed(Body(1, kNullKey + kValueV + kNoHeaders)), "offset delta 1"},
    {"OffsetDeltaNegative",
     Framed(Body(-1, kNullKey + kValueV + kNoHeaders)), "offset delta -1"},
    {"KeyLengthBelowMinusOne",
     Framed(Body(0, "\x03" + kValueV + kNoHeaders)), "key"},
    {"KeyPastEnd", Framed(Body(0, "\x7e" + kValueV + kNoHeaders)), "key"},
    {"ValuePastEnd", Framed(Body(0, kNullKey + "\x7ev" + kNoHeaders)),
     "value"},
    {"HeaderCountNegative", Framed(Body(0, kNullKey + kValueV + "\x01")),
     "header count"},
    {"HeaderCountMoreThanFits",
     Framed(Body(0, kNullKey + kValueV + "\x7e")), "header count"},
    {"HeaderCountHuge",
     Framed(Body(0, kNullKey + kValueV + "\xfe\xff\xff\xff\x0f")),
     "header count"},
    {"HeaderKeyNull", Framed(Body(0, kNullKey + kValueV + "\x02\x01\x01")),
     "null"},
    {"HeaderValuePastEnd",
     Framed(Body(0, kNullKey + kValueV + "\x02\x02k\x7e")), "header's value"},
    {"SizeLargerThanFields",
     Framed(Body(0, kNullKey + kValueV + kNoHeaders + "??")), "size"},
    {"SecondRecordInTheUnit",
     Framed(Body(0, kNullKey + kValueV + kNoHeaders)) +
         Framed(Body(1, kNullKey + kValueV + kNoHeaders)),
     "follow the last"},
};

std::string RecordRowName(const testing::TestParamInfo<RecordRow>& row) {
  return row.param.name;
}

INSTANTIATE_TEST_SUITE_P(Rows, RecordRowTest, testing::ValuesIn(kRecordRows),
                         RecordRowName);

TEST(ValidateProducedTest, GoodPayloadsGiveTheirFacts) {
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    const MutableBuffer payload = Concatenate(
        {MakeBatch({.records = 3, .codec = codec}).view(),
         MakeBatch({.records = 2, .timestamp_ms = 9000}).view()});
    const auto facts = ValidateProduced(payload.view(), Limits());
    ASSERT_TRUE(facts.ok()) << facts.status().ToString();
    EXPECT_EQ(facts->batch_count, 2);
    EXPECT_EQ(facts->record_count, 5);
    EXPECT_EQ(facts->max_timestamp_ms, 9001);
    EXPECT_EQ(HasCompressedBatch(payload.view()), codec != Codec::kNone);
  }
}

TEST(ValidateProducedTest, AnEmptyPayloadIsInvalid) {
  EXPECT_EQ(CodeOf(ValidateProduced("", Limits()).status()),
            ErrorCode::kInvalidRecord);
}

// ST1: any bit that the CRC covers.
TEST(ValidateProducedTest, AnyFlippedBitPastTheCrcIsCorrupt) {
  const std::string good(MakeBatch({.records = 2}).view());
  for (size_t i = 17; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] ^= 0x10;
    const ErrorCode code = CodeOf(ValidateProduced(bad, Limits()).status());
    // A negative delta is judged before the CRC is looked at.
    if (i >= 23 && i < 27 && code == ErrorCode::kInvalidRecord) continue;
    EXPECT_EQ(code, ErrorCode::kCorruptMessage) << "byte " << i;
  }
}

TEST(ValidateProducedTest, EveryTruncationIsRefused) {
  const std::string good(
      Concatenate({MakeBatch().view(), MakeBatch().view()}).view());
  for (size_t size = 0; size < good.size(); ++size) {
    if (size == good.size() / 2) continue;  // one whole batch
    EXPECT_FALSE(ValidateProduced(good.substr(0, size), Limits()).ok());
  }
}

TEST(ValidateProducedTest, ABatchLargerThanTheLimitIsTooLarge) {
  ProduceLimits limits = Limits();
  const MutableBuffer batch = MakeBatch({.value = std::string(500, 'x')});
  limits.batch_bytes_max = static_cast<int64_t>(batch.size());
  EXPECT_TRUE(ValidateProduced(batch.view(), limits).ok());
  --limits.batch_bytes_max;
  EXPECT_EQ(CodeOf(ValidateProduced(batch.view(), limits).status()),
            ErrorCode::kMessageTooLarge);
}

TEST(ValidateProducedTest, ABombIsTooLargeAndGarbageIsCorrupt) {
  const std::string zeros(100 << 20, '\0');
  EXPECT_EQ(
      CodeOf(ValidateProduced(BatchOf(zeros, 1, Codec::kZstd), Limits())
                 .status()),
      ErrorCode::kMessageTooLarge);
  std::string garbage(kBatchHeaderBytes, '\0');
  garbage += "no frame of any codec";
  BatchHeader header = *BatchHeader::Parse(BatchOf("x", 1, Codec::kZstd));
  header.batch_length =
      static_cast<int32_t>(garbage.size() - kBatchLengthPrefixBytes);
  for (const uint16_t codec : {3, 4}) {
    header.attributes = codec;
    Rewrite(garbage, header);
    EXPECT_EQ(CodeOf(ValidateProduced(garbage, Limits()).status()),
              ErrorCode::kCorruptMessage);
  }
}

TEST(ValidateProducedTest, ACompactedTopicRequiresKeysAndNamesEachRecord) {
  ProduceLimits limits = Limits();
  limits.key_required = true;
  std::vector<RecordFault> faults;
  const MutableBuffer payload = Concatenate(
      {MakeBatch({.records = 40}).view(), MakeBatch().view()});
  EXPECT_EQ(CodeOf(ValidateProduced(payload.view(), limits, &faults).status()),
            ErrorCode::kInvalidRecord);
  EXPECT_EQ(faults.size(), kRecordFaultsMax);
  EXPECT_EQ(faults[5].record_index, 5);
}

TEST(ValidateProducedTest, FaultIndexesCountOverThePayload) {
  std::vector<RecordFault> faults;
  const std::string bad = BatchOf(Framed(Body(9, kNullKey + kValueV +
                                              kNoHeaders)), 1);
  const MutableBuffer payload =
      Concatenate({MakeBatch({.records = 4}).view(), bad});
  EXPECT_FALSE(ValidateProduced(payload.view(), Limits(), &faults).ok());
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].record_index, 4);
}

TEST(ValidateReplicatedTest, ContiguousRisingEpochsPassAndGiveTheirEnd) {
  const Buffer a = MakeStoredBatch(Offset(10), LeaderEpoch(2), {.records = 2});
  const Buffer b = MakeStoredBatch(Offset(12), LeaderEpoch(3));
  const MutableBuffer both = Concatenate({a.view(), b.view()});
  const auto facts = ValidateReplicated(both.view(), Offset(10),
                                        LeaderEpoch(1), LeaderEpoch(3));
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->next_offset, Offset(13));
  EXPECT_EQ(facts->last_epoch, LeaderEpoch(3));
  EXPECT_EQ(facts->batch_count, 2);
}

TEST(ValidateReplicatedTest, GapsFallingEpochsAndBadCrcsAreCorrupt) {
  const auto code = [](std::string_view bytes, int64_t base, int floor,
                       int top) {
    return CodeOf(ValidateReplicated(bytes, Offset(base), LeaderEpoch(floor),
                                     LeaderEpoch(top))
                      .status());
  };
  const auto kCorrupt = ErrorCode::kCorruptMessage;
  const Buffer a = MakeStoredBatch(Offset(10), LeaderEpoch(2));
  EXPECT_EQ(code(a.view(), 11, 0, 9), kCorrupt);
  EXPECT_EQ(code(a.view(), 9, 0, 9), kCorrupt);
  EXPECT_EQ(code(a.view(), 10, 3, 9), kCorrupt);
  EXPECT_EQ(code(a.view(), 10, 0, 1), kCorrupt);
  EXPECT_EQ(code("", 10, 0, 9), kCorrupt);
  const MutableBuffer falling = Concatenate(
      {a.view(), MakeStoredBatch(Offset(11), LeaderEpoch(1)).view()});
  EXPECT_EQ(code(falling.view(), 10, 0, 9), kCorrupt);
  std::string flipped(a.view());
  flipped.back() ^= 1;
  EXPECT_EQ(code(flipped, 10, 0, 9), kCorrupt);
  EXPECT_EQ(code(a.view(), 10, 0, 9), ErrorCode::kNone);
}

}  // namespace
}  // namespace sluice
