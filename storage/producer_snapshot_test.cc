#include "storage/producer_snapshot.h"

#include <gtest/gtest.h>

#include <string>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"

namespace sluice {
namespace {

BatchHeader Header(int64_t id, int16_t epoch, int32_t sequence, int records,
                   int64_t base) {
  BatchHeader header;
  header.base_offset = Offset(base);
  header.producer_id = ProducerId(id);
  header.producer_epoch = epoch;
  header.base_sequence = sequence;
  header.last_offset_delta = records - 1;
  header.record_count = records;
  header.max_timestamp_ms = 1'700'000'000'000 + base;
  return header;
}

ProducerTable SomeProducers() {
  ProducerTable table;
  int64_t end = 10;
  for (int i = 0; i < 7; ++i) {
    table.Apply(Header(70, 2, 3 * i, 3, end));
    table.Apply(Header(71, 0, 0x7ffffffe, 4, end + 3));
    end += 7;
  }
  table.Apply(Header(5, 32767, 0, 1, end));
  return table;
}

std::string WithCrc(std::string bytes) {
  StoreBig32(bytes.data() + 2, Crc32c(std::string_view(bytes).substr(6)));
  return bytes;
}

TEST(ProducerSnapshotTest, WhatIsWrittenIsRead) {
  for (const ProducerTable& table : {SomeProducers(), ProducerTable()}) {
    const auto read = DecodeProducerSnapshot(
        EncodeProducerSnapshot(table, Offset(60), LeaderEpoch(9)));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->producers, table);
    EXPECT_EQ(read->producers.by_last_offset(), table.by_last_offset());
    EXPECT_EQ(read->offset, Offset(60));
    EXPECT_EQ(read->last_epoch, LeaderEpoch(9));
  }
}

// The layout that foreign tools read, and what lies behind it.
TEST(ProducerSnapshotTest, ItBeginsAsKafkasVersionOne) {
  const std::string bytes =
      EncodeProducerSnapshot(SomeProducers(), Offset(60), LeaderEpoch(9));
  ASSERT_EQ(bytes.size(),
            10u + 3 * 46 + 18 + (1 + 5 * 24) + (1 + 5 * 24) + (1 + 24));
  EXPECT_EQ(LoadBig16(bytes.data()), 1u);
  EXPECT_EQ(LoadBig32(bytes.data() + 6), 3u);
  const char* first = bytes.data() + 10;  // the one that appended longest ago
  EXPECT_EQ(LoadBig64(first), 70u);
  EXPECT_EQ(LoadBig16(first + 8), 2u);
  EXPECT_EQ(LoadBig32(first + 10), 20u);            // last sequence
  EXPECT_EQ(LoadBig64(first + 14), 54u);            // last offset
  EXPECT_EQ(LoadBig32(first + 22), 2u);             // offset delta
  EXPECT_EQ(LoadBig64(first + 26), 1'700'000'000'052u);
  EXPECT_EQ(LoadBig32(first + 34), 0xffffffffu);    // coordinator epoch
  EXPECT_EQ(LoadBig64(first + 38), ~uint64_t{0});   // no transaction
  EXPECT_EQ(bytes.substr(10 + 3 * 46, 4), "SLPB");
}

TEST(ProducerSnapshotTest, AnyOtherByteIsFound) {
  const std::string bytes =
      EncodeProducerSnapshot(SomeProducers(), Offset(60), LeaderEpoch(9));
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int bit : {0, 7}) {
      std::string bad = bytes;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      EXPECT_EQ(CodeOf(DecodeProducerSnapshot(bad).status()),
                ErrorCode::kCorruptMessage)
          << i;
    }
  }
}

TEST(ProducerSnapshotTest, AnyOtherLengthIsFound) {
  const std::string bytes =
      EncodeProducerSnapshot(SomeProducers(), Offset(60), LeaderEpoch(9));
  for (size_t size = 0; size < bytes.size(); ++size) {
    std::string cut = bytes.substr(0, size);
    EXPECT_FALSE(DecodeProducerSnapshot(cut).ok()) << size;
    if (size < 6) continue;
    EXPECT_FALSE(DecodeProducerSnapshot(WithCrc(cut)).ok()) << size;
  }
  EXPECT_FALSE(DecodeProducerSnapshot(WithCrc(bytes + '\0')).ok());
}

// A right CRC is no reason to believe what cannot be.
TEST(ProducerSnapshotTest, WhatContradictsItselfIsRefused) {
  const ProducerTable table = SomeProducers();
  const std::string bytes =
      EncodeProducerSnapshot(table, Offset(60), LeaderEpoch(9));
  EXPECT_TRUE(DecodeProducerSnapshot(WithCrc(bytes)).ok());
  // It ends before its last batch does.
  EXPECT_FALSE(DecodeProducerSnapshot(EncodeProducerSnapshot(
                                          table, Offset(59), LeaderEpoch(9)))
                   .ok());
  const size_t block = 10 + 3 * 46 + 18;
  struct Change {
    size_t at;
    char byte;
    const char* what;
  };
  for (const Change& change :
       {Change{10, '\xff', "a negative producer id"},
        Change{18, '\xff', "a negative epoch"},
        Change{23, '\x01', "another last sequence"},
        Change{block, '\0', "no batch"}, Change{block, '\x06', "six batches"},
        Change{block + 1, '\xff', "a negative sequence"},
        Change{block + 5, '\xff', "a negative delta"},
        Change{block + 9, '\xff', "a negative offset"},
        Change{block + 16, '\x7f', "batches out of order"}}) {
    std::string bad = bytes;
    bad[change.at] = change.byte;
    EXPECT_FALSE(DecodeProducerSnapshot(WithCrc(bad)).ok()) << change.what;
  }
}

}  // namespace
}  // namespace sluice
