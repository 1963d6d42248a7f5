#include "broker/offsets/offset_expiry.h"

#include <gtest/gtest.h>

namespace sluice::offsets {
namespace {

constexpr int64_t kDayMs = 86'400'000;
constexpr int64_t kRetentionMs = 7 * kDayMs;
constexpr int64_t kNowMs = 100 * kDayMs;
constexpr int64_t kLongAgoMs = kNowMs - kRetentionMs;
constexpr int64_t kLatelyMs = kLongAgoMs + 1;

const std::set<std::string> kMine = {"mine"};

const GroupUse kStandalone = {};
const GroupUse kStable = {.protocol_type = "consumer",
                          .empty = false,
                          .stable = true,
                          .subscribed_topics = kMine};
GroupUse EmptySince(int64_t ms) {
  return {.protocol_type = "consumer",
          .empty = true,
          .subscribed_topics = std::set<std::string>{},
          .empty_since_ms = ms};
}

// GR8, and what users ask for: without a rule by age nothing goes.
TEST(OffsetExpiryTest, AnOffsetStaysAsLongAsItsTopic) {
  for (const GroupUse& group : {kStandalone, kStable, EmptySince(0)}) {
    OffsetUse offset = {.topic = "other"};
    EXPECT_FALSE(IsExpired(ExpiryRule::kWithTopic, group, offset, kRetentionMs,
                           INT64_MAX));
    offset.topic_exists = false;
    EXPECT_TRUE(IsExpired(ExpiryRule::kWithTopic, group, offset, kRetentionMs,
                          kNowMs));
  }
}

struct Row {
  const char* what;
  GroupUse group;
  OffsetUse offset;
  bool expired;
};

TEST(OffsetExpiryTest, ByAgeAsKafkaDoes) {
  GroupUse rebalancing = kStable;
  rebalancing.stable = false;
  GroupUse opaque = kStable;
  opaque.subscribed_topics.reset();
  GroupUse workers = {.protocol_type = "connect", .empty = false,
                      .stable = true};
  const Row rows[] = {
      {"standalone, old", kStandalone, {"t", true, kLongAgoMs}, true},
      {"standalone, young", kStandalone, {"t", true, kLatelyMs}, false},
      // From when it became empty, not from the commit.
      {"empty for long", EmptySince(kLongAgoMs), {"t", true, kLatelyMs}, true},
      {"empty lately", EmptySince(kLatelyMs), {"t", true, 0}, false},
      {"empty, nobody knows since when", EmptySince(-1),
       {"t", true, kLongAgoMs}, true},
      {"GR8: active, subscribed", kStable, {"mine", true, 0}, false},
      {"active, not subscribed, old", kStable, {"t", true, kLongAgoMs}, true},
      {"active, not subscribed, young", kStable, {"t", true, kLatelyMs}, false},
      {"about to say what it reads", rebalancing, {"t", true, 0}, false},
      {"nobody knows what it reads", opaque, {"t", true, 0}, false},
      {"no consumers", workers, {"t", true, 0}, false},
      {"a transaction's commit waits", kStandalone, {"t", true, 0, true},
       false},
      {"the topic is gone", kStable, {"mine", false, kNowMs}, true},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(IsExpired(ExpiryRule::kByAge, row.group, row.offset,
                        kRetentionMs, kNowMs),
              row.expired)
        << row.what;
  }
}

}  // namespace
}  // namespace sluice::offsets
