#include "storage/record_reader.h"

#include <string>
#include <vector>

#include "common/base/error.h"
#include "gtest/gtest.h"
#include "storage/batch_builder.h"
#include "storage/batch_testing.h"
#include "storage/compression.h"

namespace sluice {
namespace {

class RecordRoundTripTest : public testing::TestWithParam<Codec> {};

TEST_P(RecordRoundTripTest, EveryFieldComesBack) {
  BatchOptions options;
  options.codec = GetParam();
  BatchBuilder builder(options);
  const RecordHeaderView headers[] = {{"h1", "x"}, {"h2", std::nullopt},
                                      {"", ""}};
  const std::string big(20000, 'b');
  ASSERT_TRUE(builder.Add({"k", "v", headers, 5000}));
  ASSERT_TRUE(builder.Add({std::nullopt, std::nullopt, {}, 4000}));
  ASSERT_TRUE(builder.Add({"", big, {}, 6000}));
  MutableBuffer bytes = *builder.Finish();
  ASSERT_TRUE(AssignOffsets(bytes, Offset(40), LeaderEpoch(1)).ok());
  const BatchView batch = *BatchView::Parse(bytes.view());
  EXPECT_EQ(batch.header().max_timestamp_ms, 6000);
  // Moved: views into the reader must survive that.
  RecordReader first = *RecordReader::Open(batch);
  RecordReader reader = std::move(first);

  auto record = **reader.Next();
  EXPECT_EQ(record.offset, Offset(40));
  EXPECT_EQ(record.timestamp_ms, 5000);
  EXPECT_EQ(record.key, "k");
  EXPECT_EQ(record.value, "v");
  HeaderCursor cursor(record);
  EXPECT_EQ(cursor.Next()->value, "x");
  const auto second = cursor.Next();
  EXPECT_EQ(second->key, "h2");
  EXPECT_FALSE(second->value.has_value());
  EXPECT_EQ(cursor.Next()->value, "");
  EXPECT_FALSE(cursor.Next().has_value());

  record = **reader.Next();
  EXPECT_EQ(record.timestamp_ms, 4000);
  EXPECT_FALSE(record.key.has_value());
  EXPECT_FALSE(record.value.has_value());
  record = **reader.Next();
  EXPECT_EQ(record.offset, Offset(42));
  EXPECT_EQ(record.key, "");
  EXPECT_EQ(record.value, big);
  EXPECT_FALSE(reader.Next()->has_value());
}

INSTANTIATE_TEST_SUITE_P(Codecs, RecordRoundTripTest,
                         testing::Values(Codec::kNone, Codec::kLz4,
                                         Codec::kZstd));

TEST(BatchBuilderTest, ABatchEndsAtItsBoundButTakesOneLargeRecord) {
  BatchOptions options;
  options.bytes_max = 200;
  BatchBuilder builder(options);
  const std::string large(1000, 'x');
  EXPECT_TRUE(builder.Add({std::nullopt, large, {}, 1}));
  EXPECT_FALSE(builder.Add({std::nullopt, "x", {}, 1}));
  ASSERT_TRUE(builder.Finish().ok());
  int count = 0;
  while (builder.Add({std::nullopt, "x", {}, 1})) ++count;
  EXPECT_EQ(count, builder.record_count());
  EXPECT_LE(builder.size_bytes(), 200);
  EXPECT_EQ(builder.Finish()->size(), 61u + 8u * static_cast<size_t>(count));
}

TEST(BatchBuilderTest, AnEmptyBatchAndAnAbsentCodecAreRefused) {
  BatchBuilder empty(BatchOptions{});
  EXPECT_EQ(CodeOf(empty.Finish().status()), ErrorCode::kInvalidRecord);
  BatchOptions options;
  options.codec = Codec::kSnappy;
  BatchBuilder snappy(options);
  ASSERT_TRUE(snappy.Add({"k", "v", {}, 1}));
  EXPECT_EQ(CodeOf(snappy.Finish().status()),
            ErrorCode::kUnsupportedCompressionType);
}

TEST(CompressionTest, ABombIsRefusedAtTheCapAndNotDecompressedWhole) {
  const std::string zeros(200 << 20, '\0');
  for (const Codec codec : {Codec::kZstd, Codec::kLz4}) {
    const std::string bomb = *Compress(codec, zeros);
    const int64_t cap =
        DecompressedBytesLimit(static_cast<int64_t>(bomb.size()));
    EXPECT_LE(cap, kDecompressedBytesMax);
    EXPECT_EQ(CodeOf(Decompress(codec, bomb, cap).status()),
              ErrorCode::kMessageTooLarge);
  }
}

TEST(CompressionTest, TheCapIsARatioBetweenTwoBounds) {
  EXPECT_EQ(DecompressedBytesLimit(10), kDecompressionRatioFreeBytes);
  EXPECT_EQ(DecompressedBytesLimit(1 << 20), 16 << 20);
  EXPECT_EQ(DecompressedBytesLimit(INT64_MAX), kDecompressedBytesMax);
}

TEST(CompressionTest, ExactlyTheCapIsAllowed) {
  const std::string plain(100000, 'a');
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    const std::string packed = *Compress(codec, plain);
    EXPECT_EQ(*Decompress(codec, packed, 100000), plain);
    EXPECT_EQ(CodeOf(Decompress(codec, packed, 99999).status()),
              ErrorCode::kMessageTooLarge);
  }
}

TEST(CompressionTest, GarbageTruncationAndTrailingBytesAreCorrupt) {
  const std::string plain(5000, 'a');
  for (const Codec codec : {Codec::kLz4, Codec::kZstd}) {
    const std::string packed = *Compress(codec, plain);
    const std::string cut = packed.substr(0, packed.size() - 3);
    for (const std::string& bad :
         {std::string("garbage!"), cut, packed + "x", std::string()}) {
      EXPECT_EQ(CodeOf(Decompress(codec, bad, 1 << 20).status()),
                ErrorCode::kCorruptMessage)
          << NameOfCodec(static_cast<int>(codec)) << " " << bad.size();
    }
  }
}

}  // namespace
}  // namespace sluice
