#include "tools/record_format.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "storage/batch_builder.h"

namespace sluice::cli {
namespace {

const NamedPartition kWhere{"orders", PartitionIndex(4)};

DecodedRecord Plain(std::optional<std::string_view> key,
                    std::optional<std::string_view> value) {
  DecodedRecord record;
  record.offset = Offset(17);
  record.timestamp_ms = 1'700'000'000'123;
  record.key = key;
  record.value = value;
  return record;
}

std::string Formatted(std::string_view format, const DecodedRecord& record) {
  const auto parsed = RecordFormat::Parse(format);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  std::string out;
  parsed->Append(kWhere, record, out);
  return out;
}

TEST(RecordFormatTest, EveryLetterIsItsField) {
  EXPECT_EQ(Formatted("%t|%p|%o|%k|%v|%d|%K|%V|%%",
                      Plain("key", "a value")),
            "orders|4|17|key|a value|1700000000123|3|7|%");
}

TEST(RecordFormatTest, NullsAreEmptyAndOfSizeMinusOne) {
  EXPECT_EQ(Formatted("[%k][%v]%K,%V", Plain(std::nullopt, std::nullopt)),
            "[][]-1,-1");
  EXPECT_EQ(Formatted("%K,%V", Plain("", "")), "0,0");
}

TEST(RecordFormatTest, EscapesAndOtherBytesAreKept) {
  EXPECT_EQ(Formatted("a\\tb\\n\\r\\\\c\\q", Plain("k", "v")),
            "a\tb\n\r\\c\\q");
  EXPECT_EQ(Formatted("", Plain("k", "v")), "");
  EXPECT_EQ(Formatted("%v", Plain("k", std::string_view("\0\n\xff", 3))),
            std::string("\0\n\xff", 3));
}

TEST(RecordFormatTest, AnUnknownLetterIsNamed) {
  for (const char* bad : {"%x", "abc%", "%v%Z"}) {
    const auto parsed = RecordFormat::Parse(bad);
    ASSERT_FALSE(parsed.ok()) << bad;
    EXPECT_EQ(CodeOf(parsed.status()), ErrorCode::kInvalidRequest);
    EXPECT_NE(parsed.status().message().find("known: %t"),
              absl::string_view::npos);
  }
}

TEST(RecordJsonTest, TextIsTextAndBytesAreBase64) {
  const auto json = nlohmann::json::parse(
      RecordJson(kWhere, Plain("k\"ey", std::string_view("\xff\x00", 2))));

  EXPECT_EQ(json["topic"], "orders");
  EXPECT_EQ(json["partition"], 4);
  EXPECT_EQ(json["offset"], 17);
  EXPECT_EQ(json["timestampMs"], 1'700'000'000'123);
  EXPECT_EQ(json["key"], "k\"ey");
  EXPECT_EQ(json["valueBase64"], "/wA=");
  EXPECT_FALSE(json.contains("value"));
}

TEST(RecordJsonTest, NullStaysNullAndIsNotEmpty) {
  const auto json =
      nlohmann::json::parse(RecordJson(kWhere, Plain(std::nullopt, "")));

  EXPECT_TRUE(json["key"].is_null());
  EXPECT_EQ(json["value"], "");
}

}  // namespace
}  // namespace sluice::cli
