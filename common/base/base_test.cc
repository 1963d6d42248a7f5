#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "common/base/buffer.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/epoch_history.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/murmur2.h"
#include "common/base/random.h"

namespace sluice {
namespace {

TEST(UuidTest, TextAndBytesGoBothWays) {
  Random random(1);
  for (int i = 0; i < 100; ++i) {
    const Uuid id = random.NextUuid();
    EXPECT_EQ(Uuid::FromBytes(id.ToBytes()), id);
    EXPECT_EQ(Uuid::FromString(id.ToString()), id);
  }
  EXPECT_EQ(Uuid::FromBytes(""), Uuid());
  EXPECT_FALSE(Uuid::FromBytes("short").has_value());
  EXPECT_FALSE(
      Uuid::FromString("zz000000000000000000000000000000").has_value());
}

TEST(BytesTest, VarintsGoBothWaysAtEveryLength) {
  for (int shift = 0; shift < 64; ++shift) {
    for (int64_t delta : {-1, 0, 1}) {
      for (int64_t sign : {-1, 1}) {
        const int64_t v = static_cast<int64_t>(
            static_cast<uint64_t>(sign) * ((1ull << shift) + delta));
        std::string out;
        PutVarint64(out, v);
        EXPECT_EQ(static_cast<int>(out.size()), VarintSize(v));
        ByteReader reader(out);
        EXPECT_EQ(reader.Varint64(), v);
        EXPECT_EQ(reader.remaining(), 0u);
      }
    }
  }
}

TEST(BytesTest, VarintsThatAreTooLongOrCutAreRefusedWithoutMoving) {
  const std::string six(6, '\x80');
  ByteReader long32(six);
  EXPECT_FALSE(long32.Varint32().has_value());
  EXPECT_EQ(long32.position(), 0u);

  const std::string eleven(11, '\x80');
  EXPECT_FALSE(ByteReader(eleven).Varint64().has_value());
  EXPECT_FALSE(ByteReader("\x80").Varint32().has_value());
  // Padded zero within the limit is accepted, as Kafka does.
  EXPECT_EQ(ByteReader(std::string_view("\x80\x80\x00", 3)).Varint32(), 0);
}

TEST(Crc32cTest, MatchesThePublishedCheckValueAndExtends) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(ExtendCrc32c(Crc32c("1234"), "56789"), 0xe3069283u);
}

// Vectors of Kafka's own UtilsTest.
TEST(Murmur2Test, MatchesKafka) {
  EXPECT_EQ(Murmur2("21"), -973932308);
  EXPECT_EQ(Murmur2("foobar"), -790332482);
  EXPECT_EQ(Murmur2("a-little-bit-long-string"), -985981536);
  EXPECT_EQ(Murmur2("a-little-bit-longer-string"), -1486304829);
  EXPECT_EQ(Murmur2("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"),
            -58897971);
  EXPECT_EQ(Murmur2("abc"), 479470107);
}

TEST(ErrorTest, CodesAreUniqueAndSurviveAStatus) {
  std::set<int32_t> numbers;
  std::set<std::string_view> names;
#define X(id, name, number, status_code, retriable)                   \
  EXPECT_TRUE(numbers.insert(number).second) << name;                 \
  EXPECT_TRUE(names.insert(name).second) << name;                     \
  EXPECT_EQ(CodeOf(MakeError(ErrorCode::id, "m")), ErrorCode::id);    \
  EXPECT_EQ(CodeFromName(name), ErrorCode::id);                       \
  EXPECT_EQ(CodeFromNumber(number), ErrorCode::id);
  SLUICE_ERRORS(X)
#undef X
  EXPECT_EQ(CodeFromNumber(31337), ErrorCode::kUnknownServerError);
  EXPECT_TRUE(MakeError(ErrorCode::kNone, "fine").ok());
}

TEST(BufferTest, ASliceKeepsItsOwnerAlive) {
  Buffer slice;
  {
    MutableBuffer bytes = MutableBuffer::CopyOf("hello world");
    bytes.data()[0] = 'H';
    slice = std::move(bytes).Publish().Slice(0, 5);
  }
  EXPECT_EQ(slice.view(), "Hello");
}

TEST(EpochHistoryTest, RisesStrictlyAndKeepsEmptyEpochs) {
  EpochHistory history;
  EXPECT_TRUE(history.Assign(LeaderEpoch(1), Offset(0)));
  EXPECT_TRUE(history.Assign(LeaderEpoch(3), Offset(10)));
  EXPECT_TRUE(history.Assign(LeaderEpoch(4), Offset(10)));
  EXPECT_FALSE(history.Assign(LeaderEpoch(4), Offset(11)));
  EXPECT_FALSE(history.Assign(LeaderEpoch(5), Offset(9)));

  // F4: an epoch nobody knows answers with the floor epoch and its end.
  EXPECT_EQ(history.EndOf(LeaderEpoch(2), Offset(20)),
            (EpochEnd{LeaderEpoch(1), Offset(10)}));
  EXPECT_EQ(history.EndOf(LeaderEpoch(3), Offset(20)),
            (EpochEnd{LeaderEpoch(3), Offset(10)}));
  EXPECT_EQ(history.EndOf(LeaderEpoch(9), Offset(20)),
            (EpochEnd{LeaderEpoch(4), Offset(20)}));
  EXPECT_EQ(history.EndOf(LeaderEpoch(0), Offset(20)), EpochEnd{});
}

TEST(EpochHistoryTest, CutsAndTrims) {
  auto history = *EpochHistory::From({{LeaderEpoch(1), Offset(0)},
                                      {LeaderEpoch(2), Offset(5)},
                                      {LeaderEpoch(7), Offset(9)}});
  history.TruncateTo(Offset(9));
  EXPECT_EQ(history.last_epoch(), LeaderEpoch(2));
  history.TrimTo(Offset(6));
  EXPECT_THAT(history.starts(),
              testing::ElementsAre(EpochStart{LeaderEpoch(2), Offset(6)}));
  EXPECT_EQ(history.EpochAt(Offset(5)), kNoLeaderEpoch);
  EXPECT_EQ(history.EpochAt(Offset(6)), LeaderEpoch(2));
  history.Assign(LeaderEpoch(5), Offset(8));
  history.Assign(LeaderEpoch(6), Offset(8));
  history.TrimTo(Offset(8));
  history.TrimTo(Offset(8));
  EXPECT_THAT(history.starts(),
              testing::ElementsAre(EpochStart{LeaderEpoch(2), Offset(8)},
                                   EpochStart{LeaderEpoch(5), Offset(8)},
                                   EpochStart{LeaderEpoch(6), Offset(8)}));
  // The same whichever came first, the trim or the next epoch.
  EpochHistory trimmed_first = *EpochHistory::From({{LeaderEpoch(2), Offset(3)}});
  trimmed_first.TrimTo(Offset(8));
  trimmed_first.Assign(LeaderEpoch(5), Offset(8));
  trimmed_first.Assign(LeaderEpoch(6), Offset(8));
  EXPECT_EQ(trimmed_first, history);
  history.TrimTo(Offset(9));
  EXPECT_THAT(history.starts(),
              testing::ElementsAre(EpochStart{LeaderEpoch(6), Offset(9)}));
  EXPECT_FALSE(EpochHistory::From({{LeaderEpoch(2), Offset(0)},
                                   {LeaderEpoch(2), Offset(4)}})
                   .has_value());
}

}  // namespace
}  // namespace sluice
