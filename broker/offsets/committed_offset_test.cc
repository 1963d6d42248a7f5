#include "broker/offsets/committed_offset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "common/base/random.h"

namespace sluice::offsets {
namespace {

const TopicId kTopic{Uuid(0x0102030405060708, 0x090a0b0c0d0e0f10)};

TEST(CommittedOffsetTest, KeysAreTheseBytes) {
  EXPECT_EQ(EncodeOffsetKey({"ab", {kTopic, PartitionIndex(258)}}),
            std::string("o\x00\x02"
                        "ab\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c"
                        "\x0d\x0e\x0f\x10\x00\x00\x01\x02",
                        25));
  EXPECT_EQ(EncodeGroupKey("ab"), "gab");
  EXPECT_EQ(AppliedKey(), "m");
}

TEST(CommittedOffsetTest, ValuesAreTheseBytes) {
  const CommittedOffset committed = {.offset = Offset(5),
                                     .leader_epoch = LeaderEpoch(6),
                                     .time_ms = 7,
                                     .record_offset = Offset(8),
                                     .origin = Origin::kAdmin,
                                     .metadata = "md",
                                     .member = "m"};
  const std::string bytes(
      "\x01"
      "\x00\x00\x00\x00\x00\x00\x00\x05"
      "\x00\x00\x00\x06"
      "\x00\x00\x00\x00\x00\x00\x00\x07"
      "\x00\x00\x00\x00\x00\x00\x00\x08"
      "\x01\x06mdm",
      34);
  EXPECT_EQ(EncodeCommittedOffset(committed), bytes);
  EXPECT_EQ(DecodeCommittedOffset(bytes), committed);
  EXPECT_EQ(EncodeApplied({Offset(9), LeaderEpoch(2)}),
            std::string("\x01\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x02",
                        13));
}

// The figure: under 200 bytes a committed offset.
TEST(CommittedOffsetTest, AnOffsetOfAnOrdinaryGroupIsSmall) {
  const std::string group(20, 'g');
  const CommittedOffset committed = {.member = std::string(40, 'm')};
  const size_t bytes =
      EncodeOffsetKey({group, {kTopic, PartitionIndex(3)}}).size() +
      EncodeCommittedOffset(committed).size();
  EXPECT_LT(bytes, 120u);
}

TEST(CommittedOffsetTest, NullMetadataIsNotEmptyMetadata) {
  CommittedOffset null, empty;
  empty.metadata = "";
  EXPECT_NE(EncodeCommittedOffset(null), EncodeCommittedOffset(empty));
  EXPECT_EQ(DecodeCommittedOffset(EncodeCommittedOffset(null)), null);
  EXPECT_EQ(DecodeCommittedOffset(EncodeCommittedOffset(empty)), empty);
}

TEST(CommittedOffsetTest, EveryPrefixOfAKeyOrValueIsRefused) {
  const std::string key = EncodeOffsetKey({"group", {kTopic, {}}});
  for (size_t size = 0; size < key.size(); ++size) {
    EXPECT_EQ(DecodeOffsetKey(key.substr(0, size)), std::nullopt) << size;
  }
  EXPECT_EQ(DecodeOffsetKey(key + "x"), std::nullopt);
  EXPECT_EQ(DecodeOffsetKey(EncodeGroupKey("g")), std::nullopt);
  EXPECT_EQ(DecodeGroupKey(key), std::nullopt);
  const std::string value = EncodeCommittedOffset({.metadata = "m"});
  for (size_t size = 0; size < value.size(); ++size) {
    EXPECT_EQ(DecodeCommittedOffset(value.substr(0, size)), std::nullopt);
  }
  const std::string applied = EncodeApplied({Offset(1), LeaderEpoch(1)});
  for (size_t size = 0; size < applied.size(); ++size) {
    EXPECT_EQ(DecodeApplied(applied.substr(0, size)), std::nullopt);
  }
  EXPECT_EQ(DecodeApplied(applied + "x"), std::nullopt);
}

TEST(CommittedOffsetTest, AnotherVersionOrOriginIsRefused) {
  std::string value = EncodeCommittedOffset({});
  value[0] = 2;
  EXPECT_EQ(DecodeCommittedOffset(value), std::nullopt);
  value[0] = 1;
  value[29] = 3;
  EXPECT_EQ(DecodeCommittedOffset(value), std::nullopt);
}

// A group's offsets are one range, however its name begins or ends.
TEST(CommittedOffsetTest, ARangeHoldsExactlyItsGroup) {
  const std::vector<std::string> groups = {
      "", "a", "aa", "ab", "b", std::string("a\x00", 2), "a\xff", "\xff\xff"};
  const TopicId topics[] = {
      TopicId(Uuid(0, 1)), kTopic,
      TopicId(Uuid(UINT64_MAX, UINT64_MAX))};
  for (const std::string& group : groups) {
    const auto [from, end] = OffsetKeyRange(group);
    for (const std::string& other : groups) {
      for (const TopicId& topic : topics) {
        for (int32_t p : {0, 1, INT32_MAX}) {
          const std::string key =
              EncodeOffsetKey({other, {topic, PartitionIndex(p)}});
          EXPECT_EQ(from <= key && key < end, group == other);
        }
      }
      const std::string group_key = EncodeGroupKey(other);
      EXPECT_FALSE(from <= group_key && group_key < end);
    }
  }
}

TEST(CommittedOffsetTest, RandomValuesComeBackAsTheyWere) {
  Random random(3);
  for (int i = 0; i < 2000; ++i) {
    CommittedOffset c = {
        .offset = Offset(static_cast<int64_t>(random.Next64())),
        .leader_epoch = LeaderEpoch(static_cast<int32_t>(random.Next64())),
        .time_ms = static_cast<int64_t>(random.Next64()),
        .record_offset = Offset(static_cast<int64_t>(random.Next64())),
        .origin = static_cast<Origin>(random.Below(3)),
        .member = std::string(random.Below(50), 'm')};
    if (random.OneIn(2)) c.metadata = std::string(random.Below(5000), '\x80');
    ASSERT_EQ(DecodeCommittedOffset(EncodeCommittedOffset(c)), c) << i;
    const OffsetKey key = {
        std::string(random.Below(250), 'g'),
        {TopicId(random.NextUuid()),
         PartitionIndex(static_cast<int32_t>(random.Next64()))}};
    ASSERT_EQ(DecodeOffsetKey(EncodeOffsetKey(key)), key) << i;
  }
}

}  // namespace
}  // namespace sluice::offsets
