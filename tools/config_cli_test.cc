// `sluice config`, from the command line to what is printed.
#include <nlohmann/json.hpp>

#include "tools/cli_testing.h"

namespace sluice::cli {
namespace {

class ConfigCliTest : public CliTest {
 protected:
  static v1::ConfigEntry Entry(const std::string& name,
                               const std::string& value,
                               v1::ConfigEntry::Source source,
                               const std::string& default_value) {
    v1::ConfigEntry entry;
    entry.set_name(name);
    entry.set_value(value);
    entry.set_source(source);
    entry.set_default_value(default_value);
    entry.set_allowed("1..100");
    entry.set_documentation("Why one would.");
    return entry;
  }
};

TEST_F(ConfigCliTest, GetShowsValueSourceAndDefault) {
  auto* result = canned_.configs.emplace().add_results();
  *result->add_configs() =
      Entry("durability", "memory", v1::ConfigEntry::SOURCE_TOPIC, "disk");
  *result->add_configs() =
      Entry("segment.bytes", "4096", v1::ConfigEntry::SOURCE_NODE, "4096");
  *result->add_configs() =
      Entry("flush.ms", "7", v1::ConfigEntry::SOURCE_DEFAULT, "7");

  const Ran table = RunThere({"config", "get", "t", "durability", "flush.ms"});
  const Ran wide = RunThere({"config", "get", "t", "-o", "wide"});
  const Ran name = RunThere({"config", "get", "t", "-o", "name"});
  const Ran json = RunThere({"config", "get", "t", "-o", "json"});

  EXPECT_EQ(table.code, kExitOk) << table.err;
  EXPECT_EQ(table.out,
            "KEY            VALUE   SOURCE          DEFAULT\n"
            "durability     memory  topic           disk\n"
            "segment.bytes  4096    broker default  4096\n"
            "flush.ms       7       default         7\n");
  EXPECT_NE(wide.out.find("1..100   Why one would."), std::string::npos)
      << wide.out;
  EXPECT_EQ(name.out, "durability\nsegment.bytes\nflush.ms\n");
  const auto parsed = nlohmann::json::parse(json.out);
  EXPECT_EQ(parsed["results"][0]["configs"][0]["defaultValue"], "disk");
}

TEST_F(ConfigCliTest, WhatIsAskedIsWhatWasWritten) {
  RunThere({"config", "get", "t", "durability", "flush.ms"});
  const auto& get = canned_.last_describe_configs;
  ASSERT_EQ(get.resources_size(), 1);
  EXPECT_EQ(get.resources(0).resource().type(),
            v1::ConfigResource::TYPE_TOPIC);
  EXPECT_EQ(get.resources(0).resource().name(), "t");
  ASSERT_EQ(get.resources(0).names_size(), 2);
  EXPECT_EQ(get.resources(0).names(1), "flush.ms");

  RunThere({"config", "set", "t", "durability=memory", "flush.ms=a=b"});
  const v1::AlterConfigsRequest set = canned_.last_alter;
  ASSERT_EQ(set.resources_size(), 1);
  EXPECT_FALSE(set.validate_only());
  EXPECT_EQ(set.resources(0).resource().name(), "t");
  ASSERT_EQ(set.resources(0).changes_size(), 2);
  EXPECT_EQ(set.resources(0).changes(0).name(), "durability");
  EXPECT_EQ(set.resources(0).changes(0).value(), "memory");
  EXPECT_EQ(set.resources(0).changes(1).value(), "a=b");
  EXPECT_EQ(set.resources(0).changes(1).operation(),
            v1::ConfigChange::OPERATION_SET);

  RunThere({"config", "unset", "t", "flush.ms"});
  ASSERT_EQ(canned_.last_alter.resources_size(), 1);
  ASSERT_EQ(canned_.last_alter.resources(0).changes_size(), 1);
  EXPECT_EQ(canned_.last_alter.resources(0).changes(0).operation(),
            v1::ConfigChange::OPERATION_DELETE);
  EXPECT_EQ(canned_.last_alter.resources(0).changes(0).value(), "");
}

TEST_F(ConfigCliTest, ADryRunChangesNothingAndSaysSo) {
  const Ran set = RunThere({"config", "set", "t", "flush.ms=1", "--dry-run"});
  EXPECT_TRUE(canned_.last_alter.validate_only());
  EXPECT_NE(set.err.find("dry run"), std::string::npos);
  canned_.last_alter.Clear();
  const Ran unset = RunThere({"config", "unset", "t", "flush.ms", "--dry-run"});
  EXPECT_TRUE(canned_.last_alter.validate_only());
  EXPECT_NE(unset.err.find("dry run"), std::string::npos);
}

TEST_F(ConfigCliTest, ARefusalIsAnErrorThatNamesTheTopic) {
  auto* error = canned_.altered.emplace().add_results()->mutable_error();
  error->set_code(v1::ERROR_CODE_INVALID_CONFIG);
  error->set_message("flush.ms=0 is not a whole number in 1..9");
  auto* missing = canned_.configs.emplace().add_results()->mutable_error();
  missing->set_code(v1::ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION);
  missing->set_message("no topic is called \"t\"");

  const Ran refused = RunThere({"config", "set", "orders", "flush.ms=0"});
  const Ran unknown = RunThere({"config", "get", "t"});

  EXPECT_EQ(refused.code, kExitError);
  EXPECT_EQ(refused.out, "");
  EXPECT_NE(refused.err.find("topic orders: flush.ms=0"), std::string::npos)
      << refused.err;
  EXPECT_NE(refused.err.find("INVALID_CONFIG"), std::string::npos);
  EXPECT_EQ(unknown.code, kExitNotFound);
}

TEST_F(ConfigCliTest, WhatIsNoPairIsUsage) {
  for (const char* bad : {"flush.ms", "=1"}) {
    const Ran ran = RunThere({"config", "set", "t", bad});
    EXPECT_EQ(ran.code, kExitUsage) << bad;
    EXPECT_NE(ran.err.find(bad), std::string::npos) << ran.err;
  }
  EXPECT_EQ(Run({"config", "unset", "t"}).code, kExitUsage);
  EXPECT_EQ(Run({"config", "get"}).code, kExitUsage);
}

}  // namespace
}  // namespace sluice::cli
