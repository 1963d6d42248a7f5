// `sluice topic`, from the command line to what is printed.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tools/cli_testing.h"

namespace sluice::cli {
namespace {

using TopicCliTest = CliTest;

TEST_F(TopicCliTest, TopicsComeInEveryForm) {
  brokers_.AddTopic("orders", 6);
  brokers_.AddTopic("t2", 1);
  brokers_.AddTopic("t3", 2);

  const Ran table = RunThere({"topic", "list"});
  const Ran name = RunThere({"topic", "list", "-o", "name"});
  const Ran json = RunThere({"topic", "list", "-o", "json"});
  const Ran yaml = RunThere({"topic", "list", "-o", "yaml"});

  EXPECT_EQ(table.code, kExitOk) << table.err;
  EXPECT_EQ(table.out.rfind("NAME", 0), 0u) << table.out;
  EXPECT_EQ(name.out, "orders\nt2\nt3\n");
  const auto parsed = nlohmann::json::parse(json.out);
  EXPECT_EQ(parsed["topics"].size(), 3u);
  EXPECT_EQ(parsed["topics"][0]["name"], "orders");
  EXPECT_EQ(yaml.out.rfind("topics:\n  - name: orders\n", 0), 0u) << yaml.out;
}

TEST_F(TopicCliTest, CreatingWhatIsThereIsAnErrorUnlessAllowed) {
  const Ran created = RunThere({"topic", "create", "a", "b", "-p", "3"});
  const Ran again = RunThere({"topic", "create", "a"});
  const Ran allowed = RunThere({"topic", "create", "a", "--if-not-exists"});

  EXPECT_EQ(created.code, kExitOk) << created.err;
  EXPECT_EQ(brokers_.topic("b").partitions.size(), 3u);
  EXPECT_EQ(again.code, kExitError);
  EXPECT_NE(again.err.find("topic a"), std::string::npos);
  EXPECT_NE(again.err.find("TOPIC_ALREADY_EXISTS"), std::string::npos);
  EXPECT_NE(again.err.find("next:"), std::string::npos);
  EXPECT_EQ(allowed.code, kExitOk);
}

TEST_F(TopicCliTest, ADryRunAsksToValidateOnlyAndSaysSo) {
  const Ran create = RunThere({"topic", "create", "a", "--dry-run"});
  const Ran remove = RunThere({"topic", "delete", "a", "--dry-run"});

  EXPECT_TRUE(canned_.last_create.validate_only());
  EXPECT_TRUE(canned_.last_delete.validate_only());
  EXPECT_NE(create.err.find("dry run"), std::string::npos);
  EXPECT_NE(remove.err.find("dry run"), std::string::npos);
}

TEST_F(TopicCliTest, DeletingNeedsAYesWhereNobodyCanBeAsked) {
  brokers_.AddTopic("orders", 1);

  const Ran refused = RunThere({"topic", "delete", "orders"});
  const bool kept = brokers_.calls["DeleteTopics"] == 0;
  const Ran done = RunThere({"topic", "delete", "orders", "--yes"});

  EXPECT_EQ(refused.code, kExitError);
  EXPECT_NE(refused.err.find("--yes"), std::string::npos);
  EXPECT_NE(refused.err.find("orders"), std::string::npos);
  EXPECT_TRUE(kept);
  EXPECT_EQ(done.code, kExitOk) << done.err;
}

TEST_F(TopicCliTest, TrimmingMovesTheStartOfEveryPartitionOrOfThoseNamed) {
  brokers_.AddTopic("orders", 2);
  std::string lines;
  for (int i = 0; i < 10; ++i) lines += "x\n";
  ASSERT_EQ(RunThere({"produce", "orders", "-p", "0"}, lines).code, kExitOk);
  ASSERT_EQ(RunThere({"produce", "orders", "-p", "1"}, lines).code, kExitOk);
  const auto start = [&](int partition) {
    return brokers_.topic("orders").partitions[partition].start;
  };

  const Ran refused = RunThere({"topic", "trim", "orders", "--before", "4"});
  EXPECT_EQ(refused.code, kExitError);
  EXPECT_NE(refused.err.find("--yes"), std::string::npos);
  const Ran checked =
      RunThere({"topic", "trim", "orders", "--before", "4", "--dry-run"});
  EXPECT_EQ(checked.code, kExitOk) << checked.err;
  EXPECT_EQ(start(0), Offset(0));
  const Ran past = RunThere(
      {"topic", "trim", "orders", "--before", "11", "-p", "1", "--yes"});
  EXPECT_EQ(past.code, kExitError);
  EXPECT_NE(past.out.find("OFFSET_OUT_OF_RANGE"), std::string::npos);
  const Ran one = RunThere(
      {"topic", "trim", "orders", "--before", "4", "-p", "1", "--yes"});
  EXPECT_EQ(one.code, kExitOk) << one.err;
  EXPECT_EQ(start(0), Offset(0));
  EXPECT_EQ(start(1), Offset(4));
  const Ran all =
      RunThere({"topic", "trim", "orders", "--before", "end", "--yes"});
  EXPECT_EQ(all.code, kExitOk) << all.err;
  EXPECT_EQ(start(0), Offset(10));
  EXPECT_EQ(start(1), Offset(10));
}

TEST_F(TopicCliTest, ConfigsAndCountsReachTheRequest) {
  RunThere({"topic", "create", "a", "--partitions", "6",
            "--replication-factor", "3", "--config", "min.insync.replicas=2",
            "--config", "durability=memory"});

  ASSERT_EQ(canned_.last_create.topics_size(), 1);
  const auto& topic = canned_.last_create.topics(0);
  EXPECT_EQ(topic.partition_count(), 6);
  EXPECT_EQ(topic.replication_factor(), 3);
  EXPECT_EQ(topic.configs().at("min.insync.replicas"), "2");
  EXPECT_EQ(topic.configs().at("durability"), "memory");
}

// Of three partitions: whole, under-replicated, without a leader.
TEST_F(TopicCliTest, AConfigThatIsGivenTwiceIsMisuse) {
  const Ran ran = RunThere(
      {"topic", "create", "t", "-c", "flush.ms=1", "-c", "flush.ms=2"});
  EXPECT_EQ(ran.code, kExitUsage);
  EXPECT_NE(ran.err.find("flush.ms stands twice"), std::string::npos)
      << ran.err;
}

TEST_F(TopicCliTest, DescribeFiltersPartitions) {
  canned_.topics.emplace();
  auto* topic = canned_.topics->add_topics();
  topic->mutable_metadata()->set_name("orders");
  auto* config = topic->add_configs();
  config->set_name("min.insync.replicas");
  config->set_value("2");
  const std::vector<std::vector<int>> isrs = {{1, 2, 3}, {1, 2}, {}};
  for (int p = 0; p < 3; ++p) {
    auto* partition = topic->mutable_metadata()->add_partitions();
    partition->set_partition(p);
    partition->set_leader_id(isrs[p].empty() ? -1 : 1);
    for (const int id : {1, 2, 3}) partition->add_replicas(id);
    for (const int id : isrs[p]) partition->add_isr(id);
    auto* log = topic->add_logs();
    log->set_partition(p);
    log->set_high_watermark(40 + p);
  }
  const auto shown = [&](std::vector<std::string> filter) {
    std::vector<std::string> arguments = {"topic", "describe", "orders", "-o",
                                          "json"};
    arguments.insert(arguments.end(), filter.begin(), filter.end());
    const auto json = nlohmann::json::parse(RunThere(arguments).out);
    std::string partitions;
    for (const auto& p : json["topics"][0]["metadata"]["partitions"]) {
      partitions += std::to_string(p["partition"].get<int>());
    }
    EXPECT_EQ(json["topics"][0]["logs"].size(), partitions.size());
    return partitions;
  };

  EXPECT_EQ(shown({}), "012");
  EXPECT_EQ(shown({"--under-replicated"}), "12");
  EXPECT_EQ(shown({"--under-min-isr"}), "2");
  EXPECT_EQ(shown({"--unavailable"}), "2");
  const Ran table = RunThere({"topic", "describe", "orders"});
  EXPECT_NE(table.out.find("1,2,3"), std::string::npos);
  EXPECT_NE(table.out.find("none"), std::string::npos);
  EXPECT_NE(table.out.find("41"), std::string::npos);
}

// A follower's position is what its disk has, where acknowledgements wait for it.
TEST_F(TopicCliTest, WhatAFollowerLacksGoesByWhatCounts) {
  for (const char* durability : {"disk", "memory"}) {
    canned_.topics.emplace();
    auto* topic = canned_.topics->add_topics();
    topic->mutable_metadata()->set_name("orders");
    auto* partition = topic->mutable_metadata()->add_partitions();
    partition->set_leader_id(2);
    for (const int id : {1, 2}) partition->add_replicas(id);
    partition->add_isr(2);
    auto* log = topic->add_logs();
    log->set_log_end_offset(22);
    log->set_durable_end_offset(22);
    log->set_durability(durability);
    auto* replica = log->add_replicas();
    replica->set_broker_id(1);
    replica->set_appended_offset(20);
    replica->set_durable_offset(1);
    replica->set_last_caught_up_ms(-1);
    const Ran ran = RunThere({"topic", "describe", "orders", "-o", "wide"});
    EXPECT_EQ(ran.code, kExitOk) << ran.err;
    const bool disk = std::string(durability) == "disk";
    EXPECT_THAT(ran.out, testing::ContainsRegex(
                             disk ? "out of sync +20 +1 +21 +never"
                                  : "out of sync +20 +1 +2 +never"));
  }
}

TEST_F(TopicCliTest, DescribingNothingThatIsWrongPrintsNothing) {
  canned_.topics.emplace();
  auto* topic = canned_.topics->add_topics();
  topic->mutable_metadata()->set_name("orders");
  auto* partition = topic->mutable_metadata()->add_partitions();
  partition->add_replicas(1);
  partition->add_isr(1);

  EXPECT_EQ(RunThere({"topic", "describe", "--under-replicated"}).out, "");
}

TEST_F(TopicCliTest, AddingPartitionsWarnsAsksAndSaysHowMany) {
  brokers_.AddTopic("t", 2);
  const Ran refused =
      RunThere({"topic", "add-partitions", "t", "--partitions", "5"});
  EXPECT_NE(refused.code, kExitOk);
  EXPECT_NE(refused.err.find("5 partitions instead of 2"), std::string::npos)
      << refused.err;
  EXPECT_EQ(brokers_.topic("t").partitions.size(), 2u);

  const Ran ran =
      RunThere({"topic", "add-partitions", "t", "--partitions", "5", "--yes"});
  EXPECT_EQ(ran.code, kExitOk) << ran.err;
  EXPECT_EQ(ran.out, "t: 5 partitions\n");
  EXPECT_NE(ran.err.find("records with a key go to other partitions"),
            std::string::npos)
      << ran.err;
  EXPECT_EQ(brokers_.topic("t").partitions.size(), 5u);
  EXPECT_FALSE(canned_.last_create_partitions.validate_only());

  const Ran again =
      RunThere({"topic", "add-partitions", "t", "--partitions", "5", "--yes"});
  EXPECT_EQ(again.code, kExitError);
  EXPECT_NE(again.err.find("INVALID_PARTITIONS"), std::string::npos)
      << again.err;
}

TEST_F(TopicCliTest, ADryRunOfAddingPartitionsOnlyAsks) {
  brokers_.AddTopic("t", 2);
  const Ran ran = RunThere(
      {"topic", "add-partitions", "t", "--partitions", "5", "--dry-run"});
  EXPECT_EQ(ran.code, kExitOk) << ran.err;
  EXPECT_TRUE(canned_.last_create_partitions.validate_only());
  EXPECT_EQ(
      RunThere({"topic", "add-partitions", "t", "--partitions", "0"}).code,
      kExitUsage);
  EXPECT_EQ(
      RunThere({"topic", "add-partitions", "no", "--partitions", "3", "--yes"})
          .code,
      kExitNotFound);
}

}  // namespace
}  // namespace sluice::cli
