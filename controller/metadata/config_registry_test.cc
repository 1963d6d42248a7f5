#include "controller/metadata/config_registry.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

TEST(ConfigRegistryTest, RefusesUnknownKeysAndBadValuesByName) {
  const struct {
    const char* key;
    const char* value;
    bool good;
  } rows[] = {
      {"min.insync.replicas", "1", true},
      {"min.insync.replicas", "100", true},
      {"min.insync.replicas", "0", false},
      {"min.insync.replicas", "101", false},
      {"min.insync.replicas", "two", false},
      {"min.insync.replicas", "", false},
      {"min.insync.replicas", " 2", false},
      {"min.insync.replicas", "99999999999999999999", false},
      {"durability", "disk", true},
      {"durability", "memory", true},
      {"durability", "maybe", false},
      {"max.message.bytes", "1048588", true},
      {"max.message.bytes", "-1", false},
      {"segment.bytes", "1048576", true},
      {"segment.bytes", "14", false},
      {"flush.messages", "1", true},
      {"flush.messages", "0", false},
      {"flush.ms", "9223372036854775807", true},
      {"flush.ms", "9223372036854775808", false},
      {"cleanup.policy", "delete", true},
      {"cleanup.policy", "compact", false},  // no cleaner yet
      {"cleanup.policy", "shred", false},
      {"replica.lag.time.max.ms", "10000", false},  // node scope
      {"num.partitions", "3", false},               // node scope
  };
  for (const auto& row : rows) {
    const absl::Status status =
        ConfigRegistry::CheckTopicConfig(
            row.key, row.value, internal::v1::TopicRecord::KIND_USER);
    EXPECT_EQ(status.ok(), row.good) << row.key << "=" << row.value;
    if (row.good) continue;
    EXPECT_EQ(CodeOf(status), ErrorCode::kInvalidConfig) << status;
    EXPECT_NE(status.message().find(row.key), absl::string_view::npos);
  }
  // A refusal tells what there is.
  EXPECT_NE(ConfigRegistry::CheckTopicConfig(
                "no.such.key", "1", internal::v1::TopicRecord::KIND_USER)
                .message()
                .find("segment.bytes"),
            absl::string_view::npos);
}

// Nothing would ever compact a user's topic: what cannot be kept is not
// promised. The cluster's own topics are of that policy by name.
TEST(ConfigRegistryTest, OnlyInternalTopicsAreCompacted) {
  const absl::Status user = ConfigRegistry::CheckTopicConfig(
      "cleanup.policy", "compact", internal::v1::TopicRecord::KIND_USER);
  EXPECT_NE(user.message().find("cleaner"), absl::string_view::npos) << user;
  EXPECT_TRUE(ConfigRegistry::CheckTopicConfig(
                  "cleanup.policy", "compact",
                  internal::v1::TopicRecord::KIND_INTERNAL)
                  .ok());
}

TEST(ConfigRegistryTest, NodeDefaultsAreChecked) {
  EXPECT_TRUE(ConfigRegistry::Make({{"replica.lag.time.max.ms", "500"}}).ok());
  for (const auto& bad : std::vector<std::map<std::string, std::string>>{
           {{"no.such.key", "1"}},
           {{"segment.bytes", "many"}},
           {{"cleanup.policy", "compact"}},
           {{"replica.lag.time.max.ms", "0"}}}) {
    EXPECT_EQ(CodeOf(ConfigRegistry::Make(bad).status()),
              ErrorCode::kInvalidConfig);
  }
}

TEST(ConfigRegistryTest, ATopicsValueGoesBeforeTheNodesBeforeTheDefault) {
  TestCluster cluster({{"segment.bytes", "1000000"},
                       {"max.message.bytes", "2000"}});
  cluster.StartAll(1);
  const auto tp = cluster.CreateOn("t", {1}, {{"max.message.bytes", "3000"}});
  const TopicSettings settings =
      cluster.configs().SettingsOf(*cluster.image().FindTopic(tp.topic_id));
  EXPECT_EQ(settings.segment_bytes, 1000000);
  EXPECT_EQ(settings.max_message_bytes, 3000);
  EXPECT_TRUE(settings.durable);
  std::map<std::string, v1::ConfigEntry::Source> sources;
  for (const auto& entry : cluster.configs().Describe(
           cluster.image().FindTopic("t")->configs, 1)) {
    sources[entry.name()] = entry.source();
  }
  EXPECT_EQ(sources["segment.bytes"], v1::ConfigEntry::SOURCE_NODE);
  EXPECT_EQ(sources["max.message.bytes"], v1::ConfigEntry::SOURCE_TOPIC);
  EXPECT_EQ(sources["durability"], v1::ConfigEntry::SOURCE_DEFAULT);
  EXPECT_EQ(sources.count("num.partitions"), 0u);
}

TEST(ConfigRegistryTest, AKeyIsExplainedWithWhatItIsWithoutAValue) {
  const auto configs = ConfigRegistry::Make({{"segment.bytes", "8192"}});
  ASSERT_TRUE(configs.ok());
  const auto own =
      (*configs)->Explain("segment.bytes", {{"segment.bytes", "9000"}}, 3);
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_EQ(own->value(), "9000");
  EXPECT_EQ(own->source(), v1::ConfigEntry::SOURCE_TOPIC);
  EXPECT_EQ(own->default_value(), "8192");
  EXPECT_EQ(own->allowed(), "4096..2147483647");
  EXPECT_NE(own->documentation(), "");

  const auto by_factor = (*configs)->Explain("min.insync.replicas", {}, 3);
  ASSERT_TRUE(by_factor.ok());
  EXPECT_EQ(by_factor->value(), "2");
  EXPECT_EQ(by_factor->default_value(), "2");
  const auto choice = (*configs)->Explain("durability", {}, 3);
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->allowed(), "disk, memory");

  for (const char* other : {"retention.ms", "num.partitions"}) {
    EXPECT_EQ(CodeOf((*configs)->Explain(other, {}, 3).status()),
              ErrorCode::kInvalidConfig)
        << other;
  }
}

TEST(ConfigRegistryTest, MinIsrFollowsTheReplicationFactor) {
  TestCluster cluster;
  cluster.StartAll(5);
  const std::vector<std::pair<std::vector<int32_t>, int>> rows = {
      {{1}, 1}, {{1, 2}, 1}, {{1, 2, 3}, 2}, {{1, 2, 3, 4, 5}, 4}};
  for (const auto& [replicas, expected] : rows) {
    const auto tp = cluster.CreateOn("rf" + std::to_string(replicas.size()),
                                     replicas);
    EXPECT_EQ(cluster.configs().MinIsrOf(
                  *cluster.image().FindTopic(tp.topic_id)),
              expected);
  }
}

// The ELR is safe only while leader and controller mean the same min ISR and
// durability: the controller writes its node's values into each new topic.
TEST(ConfigRegistryTest, AgreedKeysOfTheNodeAreWrittenIntoNewTopics) {
  TestCluster cluster({{"min.insync.replicas", "2"},
                       {"durability", "memory"}});
  cluster.StartAll(3);
  auto plain = ConfigRegistry::Make({});
  for (const auto& [name, replicas, min_isr] :
       std::vector<std::tuple<std::string, std::vector<int32_t>, int>>{
           {"one", {1}, 1}, {"three", {1, 2, 3}, 2}}) {
    const auto tp = cluster.CreateOn(name, replicas);
    const TopicSettings settings = (*plain)->SettingsOf(
        *cluster.image().FindTopic(tp.topic_id));
    EXPECT_EQ(settings.min_insync_replicas, min_isr) << name;
    EXPECT_FALSE(settings.durable) << name;
  }
}

}  // namespace
}  // namespace sluice
