#include "common/consumer/consumer_protocol.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/random.h"

namespace sluice::consumer {
namespace {

NamedPartition P(std::string topic, int32_t partition) {
  return {std::move(topic), PartitionIndex(partition)};
}

// "00 03 61" -> three bytes.
std::string Bytes(std::string_view hex) {
  std::string out;
  int digit = -1;
  for (char c : hex) {
    if (c == ' ') continue;
    const int value = c <= '9' ? c - '0' : c - 'a' + 10;
    if (digit < 0) {
      digit = value;
    } else {
      out.push_back(static_cast<char>(digit * 16 + value));
      digit = -1;
    }
  }
  return out;
}

const Subscription kFull = {
    .version = 3,
    .topics = {"b", "a"},
    .user_data = "u",
    .owned = {P("b", 2), P("a", 1), P("a", 0)},
    .generation = 7,
    .rack = "r1"};

// ---- Golden bytes: written by hand from the format ----

struct Golden {
  int16_t version;
  std::string_view hex;
};

constexpr Golden kSubscriptions[] = {
    {0, "0000 00000002 000161 000162 00000001 75"},
    {1, "0001 00000002 000161 000162 00000001 75"
        "00000002 000161 00000002 00000000 00000001 000162 00000001 00000002"},
    {2, "0002 00000002 000161 000162 00000001 75"
        "00000002 000161 00000002 00000000 00000001 000162 00000001 00000002"
        "00000007"},
    {3, "0003 00000002 000161 000162 00000001 75"
        "00000002 000161 00000002 00000000 00000001 000162 00000001 00000002"
        "00000007 0002 7231"},
};

TEST(ConsumerProtocolTest, SubscriptionsOfEveryVersionAreKafkasBytes) {
  for (const Golden& golden : kSubscriptions) {
    Subscription s = kFull;
    s.version = golden.version;
    EXPECT_EQ(EncodeSubscription(s), Bytes(golden.hex)) << golden.version;

    const auto back = DecodeSubscription(Bytes(golden.hex));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->version, golden.version);
    EXPECT_EQ(back->topics, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(back->user_data, "u");
    const bool has_owned = golden.version >= 1;
    EXPECT_EQ(back->owned,
              has_owned ? (std::vector<NamedPartition>{P("a", 0), P("a", 1),
                                                       P("b", 2)})
                        : std::vector<NamedPartition>{});
    EXPECT_EQ(back->generation, golden.version >= 2 ? 7 : -1);
    EXPECT_EQ(back->rack.value_or("none"), golden.version >= 3 ? "r1" : "none");
  }
}

TEST(ConsumerProtocolTest, NullsAreMinusOne) {
  const Subscription s = {.version = 3, .topics = {"t"}};
  EXPECT_EQ(EncodeSubscription(s),
            Bytes("0003 00000001 000174 ffffffff 00000000 ffffffff ffff"));
  EXPECT_EQ(*DecodeSubscription(EncodeSubscription(s)), s);
}

TEST(ConsumerProtocolTest, AssignmentsAreKafkasBytes) {
  const Assignment a = {.version = 3,
                        .partitions = {P("b", 1), P("a", 4), P("b", 0)},
                        .user_data = std::nullopt};
  EXPECT_EQ(EncodeAssignment(a),
            Bytes("0003 00000002 000162 00000002 00000001 00000000"
                  "000161 00000001 00000004 ffffffff"));
  const auto back = DecodeAssignment(EncodeAssignment(a));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->partitions,
            (std::vector<NamedPartition>{P("b", 1), P("b", 0), P("a", 4)}));
  EXPECT_EQ(back->user_data, std::nullopt);
}

TEST(ConsumerProtocolTest, NewerVersionsReadAsTheNewestKnown) {
  std::string bytes = EncodeSubscription(kFull);
  StoreBig16(bytes.data(), 9);
  bytes += "a field of version 9";
  const auto s = DecodeSubscription(bytes);
  ASSERT_TRUE(s.ok());
  EXPECT_EQ(s->version, 3);
  EXPECT_EQ(s->rack, "r1");
}

TEST(ConsumerProtocolTest, TheTopicsAreReadFromAnyVersion) {
  for (const Golden& golden : kSubscriptions) {
    EXPECT_EQ(*DecodeSubscribedTopics(Bytes(golden.hex)),
              (std::vector<std::string>{"a", "b"}));
  }
}

// ---- What makes no sense ----

TEST(ConsumerProtocolTest, EveryPrefixIsRefused) {
  const std::string subscription = EncodeSubscription(kFull);
  for (size_t size = 0; size < subscription.size(); ++size) {
    const auto s = DecodeSubscription(subscription.substr(0, size));
    ASSERT_FALSE(s.ok()) << size;
    EXPECT_EQ(CodeOf(s.status()), ErrorCode::kInvalidRequest);
  }
  const std::string assignment =
      EncodeAssignment({.partitions = {P("topic", 1)}, .user_data = "x"});
  for (size_t size = 0; size < assignment.size(); ++size) {
    EXPECT_FALSE(DecodeAssignment(assignment.substr(0, size)).ok()) << size;
  }
}

TEST(ConsumerProtocolTest, NonsenseIsRefusedBeforeItIsAllocated) {
  const std::string_view bad[] = {
      "ffff 00000000 ffffffff",                    // version -1
      "0000 ffffffff ffffffff",                    // -1 topics
      "0000 7fffffff 000161",                      // 2^31 - 1 topics
      "0000 00000001 ffff ffffffff",               // a topic without a name
      "0000 00000001 8001 61",                     // a negative length
      "0000 00000000 fffffffe",                    // -2 bytes of user data
      "0000 00000000 7fffffff 00",                 // more than there is
      "0001 00000000 ffffffff 10000000 000161",    // 2^28 topics owned
      "0001 00000000 ffffffff 00000001 000161 40000000 00000000",
      "0003 00000000 ffffffff 00000000 00000001 fffe",  // a rack of -2 bytes
  };
  for (std::string_view hex : bad) {
    EXPECT_FALSE(DecodeSubscription(Bytes(hex)).ok()) << hex;
  }
}

// One long name and many partitions: the names in memory stay bounded.
TEST(ConsumerProtocolTest, LongNamesDoNotMultiplyWithoutBound) {
  constexpr uint32_t kPartitions = 100'000;
  std::string bytes;
  PutBig16(bytes, 3);
  PutBig32(bytes, 1);
  PutBig16(bytes, 30'000);
  bytes.append(30'000, 'n');
  PutBig32(bytes, kPartitions);
  for (uint32_t i = 0; i < kPartitions; ++i) PutBig32(bytes, i);
  PutBig32(bytes, static_cast<uint32_t>(-1));
  EXPECT_FALSE(DecodeAssignment(bytes).ok());
}

// ---- User data ----

TEST(ConsumerProtocolTest, StickyUserDataOfBothForms) {
  const StickyUserData data = {.owned = {P("t", 1), P("s", 0), P("t", 0)},
                               .generation = 5};
  EXPECT_EQ(EncodeStickyUserData(data),
            Bytes("00000002 000173 00000001 00000000"
                  "000174 00000002 00000000 00000001 00000005"));
  const auto back = DecodeStickyUserData(EncodeStickyUserData(data));
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->owned,
            (std::vector<NamedPartition>{P("s", 0), P("t", 0), P("t", 1)}));
  EXPECT_EQ(back->generation, 5);

  const auto first_form =
      DecodeStickyUserData(Bytes("00000001 000174 00000001 00000003"));
  ASSERT_TRUE(first_form.has_value());
  EXPECT_EQ(first_form->owned, (std::vector<NamedPartition>{P("t", 3)}));
  EXPECT_EQ(first_form->generation, std::nullopt);
  EXPECT_EQ(DecodeStickyUserData("xy"), std::nullopt);
}

TEST(ConsumerProtocolTest, CooperativeUserDataIsAGeneration) {
  EXPECT_EQ(EncodeCooperativeUserData(-1), Bytes("ffffffff"));
  EXPECT_EQ(DecodeCooperativeUserData(Bytes("00000102")), 258);
  EXPECT_EQ(DecodeCooperativeUserData("abc"), std::nullopt);
}

// ---- Any value comes back ----

std::vector<NamedPartition> SomePartitions(Random& random) {
  std::vector<NamedPartition> partitions;
  for (uint64_t i = random.Below(6); i > 0; --i) {
    partitions.push_back(P(std::string(random.Below(4), 'a' + random.Below(3)),
                           static_cast<int32_t>(random.Next64())));
  }
  std::sort(partitions.begin(), partitions.end());
  return partitions;
}

TEST(ConsumerProtocolTest, RandomValuesComeBackAsTheyWere) {
  Random random(7);
  for (int i = 0; i < 2000; ++i) {
    Subscription s = {.version = static_cast<int16_t>(random.Below(4))};
    for (uint64_t n = random.Below(4); n > 0; --n) {
      s.topics.push_back(std::string(random.Below(5), 'a' + n));
    }
    std::sort(s.topics.begin(), s.topics.end());
    if (random.OneIn(2)) s.user_data = std::string(random.Below(9), '\xff');
    if (s.version >= 1) s.owned = SomePartitions(random);
    if (s.version >= 2) s.generation = static_cast<int32_t>(random.Next64());
    if (s.version >= 3 && random.OneIn(2)) s.rack = "rack";
    ASSERT_EQ(*DecodeSubscription(EncodeSubscription(s)), s) << i;

    const Assignment a = {.version = static_cast<int16_t>(random.Below(4)),
                          .partitions = SomePartitions(random),
                          .user_data = random.OneIn(2)
                                           ? std::make_optional<std::string>()
                                           : std::nullopt};
    ASSERT_EQ(*DecodeAssignment(EncodeAssignment(a)), a) << i;
  }
}

}  // namespace
}  // namespace sluice::consumer
