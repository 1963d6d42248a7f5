#include "tools/output.h"

#include <gtest/gtest.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "sluice/v1/cluster.pb.h"
#include "sluice/v1/topic.pb.h"

namespace sluice::cli {
namespace {

TEST(TableTest, ColumnsAreAsWideAsTheirWidestCell) {
  Table table({"NAME", "N"});
  table.Add({"a", "1"});
  table.Add({"longer-name", "22"});
  std::ostringstream out;

  table.Print(out);

  EXPECT_EQ(out.str(),
            "NAME         N\n"
            "a            1\n"
            "longer-name  22\n");
}

TEST(TableTest, AnEmptyTableIsItsHeader) {
  std::ostringstream out;

  Table({"A", "B"}).Print(out);

  EXPECT_EQ(out.str(), "A  B\n");
}

TEST(OutputTest, JsonNamesEveryPrimitiveFieldEvenWhenZero) {
  v1::TopicSummary topic;
  topic.set_name("orders");

  const auto json = nlohmann::json::parse(JsonOf(topic));

  EXPECT_EQ(json["name"], "orders");
  EXPECT_EQ(json["partitionCount"], 0);
  EXPECT_EQ(json["internal"], false);
}

TEST(OutputTest, YamlOfNestedListsAndObjectsIsBlockStyle) {
  const auto json = nlohmann::ordered_json::parse(R"({
    "topics": [{"name": "a", "partitions": [1, 2]}, {"name": "b"}],
    "empty": [], "none": null, "flag": true, "deep": [[1], [2, 3]]})");

  EXPECT_EQ(YamlOf(json),
            "topics:\n"
            "  - name: a\n"
            "    partitions:\n"
            "      - 1\n"
            "      - 2\n"
            "  - name: b\n"
            "empty: []\n"
            "none: null\n"
            "flag: true\n"
            "deep:\n"
            "  - - 1\n"
            "  - - 2\n"
            "    - 3\n");
}

TEST(OutputTest, YamlQuotesWhatItWouldTakeForSomethingElse) {
  nlohmann::ordered_json json;
  for (const char* text : {"true", "no", "12", "", "a: b", "- x", "#c", "~",
                           "line\nbreak", "plain", "path/name"}) {
    json.push_back(text);
  }

  EXPECT_EQ(YamlOf(json),
            "- \"true\"\n- \"no\"\n- \"12\"\n- \"\"\n- \"a: b\"\n- \"- x\"\n"
            "- \"#c\"\n- \"~\"\n- \"line\\nbreak\"\n- plain\n- path/name\n");
}

TEST(OutputTest, TheShapeShowsNestedMessages) {
  const auto json =
      nlohmann::json::parse(ShapeOf(v1::DescribeTopicsResponse()));

  EXPECT_TRUE(json["topics"][0]["metadata"]["partitions"][0].contains("isr"));
  EXPECT_TRUE(json["topics"][0]["logs"][0].contains("highWatermark"));
}

TEST(OutputTest, OnlyHelpPrintsAShapeInPlaceOfACall) {
  testing::internal::CaptureStdout();
  const bool table = PrintedShape(OutputFormat::kTable, v1::TopicSummary());
  const bool help = PrintedShape(OutputFormat::kHelp, v1::TopicSummary());
  std::cout.flush();
  const std::string printed = testing::internal::GetCapturedStdout();

  EXPECT_FALSE(table);
  EXPECT_TRUE(help);
  EXPECT_NE(printed.find("replicationFactor"), std::string::npos);
}

TEST(OutputTest, FormatsAreKnownByName) {
  EXPECT_EQ(OutputFormatFromName("wide"), OutputFormat::kWide);
  EXPECT_EQ(OutputFormatFromName("json"), OutputFormat::kJson);
  EXPECT_EQ(OutputFormatFromName("yaml"), OutputFormat::kYaml);
  EXPECT_EQ(OutputFormatFromName("name"), OutputFormat::kName);
  EXPECT_EQ(OutputFormatFromName("help"), OutputFormat::kHelp);
  EXPECT_EQ(OutputFormatFromName("table"), OutputFormat::kTable);
}

TEST(OutputTest, BytesAreReadable) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanBytes(5.0 * (1 << 20)), "5.0 MiB");
  EXPECT_EQ(HumanBytes(3e15), "2728.5 TiB");
}

TEST(OutputTest, NumbersAndIdsAreJoinedAndHexed) {
  EXPECT_EQ(Joined(std::vector<int>{}), "-");
  EXPECT_EQ(Joined(std::vector<int>{3, 1, 2}), "3,1,2");
  EXPECT_EQ(HexOf(std::string("\x00\xff\x1a", 3)), "00ff1a");
}

}  // namespace
}  // namespace sluice::cli
