#include "storage/batch_header.h"

#include <string>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "gtest/gtest.h"
#include "storage/batch_testing.h"

namespace sluice {
namespace {

TEST(BatchHeaderTest, StoredFieldsLieWhereKafkaReadsThem) {
  BatchHeader header;
  header.base_offset = Offset(0x0102030405060708);
  header.batch_length = 0x11121314;
  header.leader_epoch = LeaderEpoch(0x21222324);
  header.crc = 0x31323334;
  header.attributes = 0x4142;
  header.last_offset_delta = 0x51525354;
  header.base_timestamp_ms = 0x6162636465666768;
  header.max_timestamp_ms = 0x7172737475767778;
  header.producer_id = ProducerId(0x0112131415161718);
  header.producer_epoch = 0x2122;
  header.base_sequence = 0x31323334;
  header.record_count = 0x41424344;
  std::string raw(kBatchHeaderBytes, '\0');
  header.Store(raw.data());
  const std::string_view expected =
      "\x01\x02\x03\x04\x05\x06\x07\x08"
      "\x11\x12\x13\x14"
      "\x21\x22\x23\x24"
      "\x02"
      "\x31\x32\x33\x34"
      "\x41\x42"
      "\x51\x52\x53\x54"
      "\x61\x62\x63\x64\x65\x66\x67\x68"
      "\x71\x72\x73\x74\x75\x76\x77\x78"
      "\x01\x12\x13\x14\x15\x16\x17\x18"
      "\x21\x22"
      "\x31\x32\x33\x34"
      "\x41\x42\x43\x44";
  EXPECT_EQ(raw, expected);
  EXPECT_EQ(*BatchHeader::Parse(raw), header);
  EXPECT_FALSE(BatchHeader::Parse(raw.substr(1)).has_value());
}

// One record {timestamp 1000, key null, value "v"} by hand.
TEST(BatchBuilderTest, EncodesARecordBitForBit) {
  const MutableBuffer batch = MakeBatch({.value = "v"});
  const std::string_view records = batch.view().substr(kBatchHeaderBytes);
  EXPECT_EQ(records, std::string_view("\x0e\x00\x00\x00\x01\x02v\x00", 8));
  const auto header = *BatchHeader::Parse(batch.view());
  EXPECT_EQ(header.batch_length, 61 + 8 - 12);
  EXPECT_EQ(header.record_count, 1);
  EXPECT_EQ(header.base_timestamp_ms, 1000);
  EXPECT_TRUE(BatchView::Parse(batch.view())->CrcMatches());
}

TEST(BatchHeaderTest, AssigningOffsetsToSeveralBatchesKeepsTheirCrc) {
  MutableBuffer payload =
      Concatenate({MakeBatch({.records = 3}).view(), MakeBatch().view(),
                   MakeBatch({.records = 2}).view()});
  EXPECT_EQ(*AssignOffsets(payload, Offset(100), LeaderEpoch(7)), Offset(106));
  BatchCursor cursor(payload.view());
  for (const int64_t base : {100, 103, 104}) {
    const auto batch = *cursor.Next();
    ASSERT_TRUE(batch.has_value());
    EXPECT_EQ(batch->header().base_offset, Offset(base));
    EXPECT_EQ(batch->header().leader_epoch, LeaderEpoch(7));
    EXPECT_TRUE(batch->CrcMatches());
  }
  EXPECT_FALSE(cursor.Next()->has_value());
}

TEST(BatchHeaderTest, ShapesThatCannotBeTrustedAreCorrupt) {
  const std::string good(MakeBatch().view());
  const auto changed = [&](auto change) {
    std::string bytes = good;
    BatchHeader header = *BatchHeader::Parse(bytes);
    change(header);
    header.Store(bytes.data());
    return CodeOf(BatchView::Parse(bytes).status());
  };
  using H = BatchHeader;
  const auto kCorrupt = ErrorCode::kCorruptMessage;
  EXPECT_EQ(changed([](H& h) { h.magic = 1; }), kCorrupt);
  EXPECT_EQ(changed([](H& h) { h.batch_length = -1; }), kCorrupt);
  EXPECT_EQ(changed([](H& h) { h.batch_length = 48; }), kCorrupt);
  EXPECT_EQ(changed([](H& h) { ++h.batch_length; }), kCorrupt);
  EXPECT_EQ(changed([](H& h) { h.batch_length = INT32_MAX; }), kCorrupt);
  EXPECT_EQ(changed([](H& h) { h.last_offset_delta = -1; }), kCorrupt);
  EXPECT_EQ(changed([](H& h) { h.base_offset = Offset(-1); }), kCorrupt);
  EXPECT_EQ(changed([](H& h) { h.base_offset = Offset(INT64_MAX); }),
            kCorrupt);
  EXPECT_EQ(CodeOf(BatchView::Parse(good.substr(0, 60)).status()), kCorrupt);
  EXPECT_TRUE(BatchView::Parse(good + "next").ok());
}

}  // namespace
}  // namespace sluice
