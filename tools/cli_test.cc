// Whole commands, from the command line to what is printed, against brokers in
// memory.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tools/cli_testing.h"

namespace sluice::cli {
namespace {

TEST_F(CliTest, WhatCannotBeParsedIsUsage) {
  const std::vector<std::vector<std::string>> bad = {
      {},
      {"nonsense"},
      {"topic"},
      {"topic", "nonsense"},
      {"topic", "create"},  // no name
      {"topic", "list", "--nonsense"},
      {"topic", "list", "-o", "xml"},
      {"topic", "create", "t", "--partitions", "many"},
      {"topic", "create", "t", "--partitions", "0"},
      {"topic", "create", "t", "--replication-factor", "0"},
      {"produce"},
      {"produce", "t", "--acks", "2"},
      {"produce", "t", "--compression", "gzip"},
      {"produce", "t", "-k", "a", "-K", ":"},
      {"produce", "t", "-p", "-1"},
      {"consume", "t", "-n", "-3"},
      {"consume", "t", "--instance-id", "i"},  // of which group?
      {"consume", "t", "-g", ""},
      {"dev", "--nodes", "0"},
      {"dev", "--nodes", "100"},
      {"dev", "--port-base", "65500"},
      {"dev", "stop"},
      {"log", "dump"},
      {"log", "dump", ".", "-o", "yaml"},  // a line a batch: text or json
      {"bench", "produce", "--topic", "t"},  // no --num-records
      {"bench", "produce", "--topic", "t", "--num-records", "0"},
      {"bench", "failover", "--kill", "everybody"},
      {"bench", "e2e", "--topic", "t", "--num-records", "9", "--record-size", "15"},
      {"bench", "metadata", "--clients", "0"},
      {"bench", "fsync"},
      {"cluster", "health", "--timeout-ms", "0"},
  };
  for (const auto& arguments : bad) {
    const Ran ran = Run(arguments);
    std::string line;
    for (const std::string& argument : arguments) line += argument + " ";
    EXPECT_EQ(ran.code, kExitUsage) << line;
    EXPECT_EQ(ran.out, "") << line;
    EXPECT_NE(ran.err, "") << line;
  }
}

TEST_F(CliTest, WhatOnlyTheCommandCanJudgeIsUsageToo) {
  const std::vector<std::vector<std::string>> bad = {
      {"consume", "t", "--from", "yesterday"},
      {"consume", "t", "--from", "@2026-01-01"},
      {"consume", "t", "--format", "%y"},
      {"produce", "t", "-H", "novalue"},
      {"topic", "create", "t", "--config", "durability"},
      {"topic", "list", "--bootstrap", "nowhere"},
  };
  for (const auto& arguments : bad) {
    const Ran ran = Run(arguments);
    EXPECT_EQ(ran.code, kExitUsage) << arguments.back();
    EXPECT_NE(ran.err.find(arguments.back()), std::string::npos) << ran.err;
  }
}

TEST_F(CliTest, EveryCommandHasHelpWithExamples) {
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"dev"},
                                             {"dev", "start"},
                                             {"dev", "stop"},
                                             {"cluster", "info"},
                                             {"cluster", "health"},
                                             {"topic", "create"},
                                             {"topic", "list"},
                                             {"topic", "describe"},
                                             {"topic", "delete"},
                                             {"config", "get"},
                                             {"config", "set"},
                                             {"config", "unset"},
                                             {"topic", "trim"},
                                             {"topic", "add-partitions"},
                                             {"group", "list"},
                                             {"group", "describe"},
                                             {"group", "seek"},
                                             {"group", "delete"},
                                             {"group", "delete-offsets"},
                                             {"produce"},
                                             {"consume"},
                                             {"log", "dump"},
                                             {"bench", "produce"},
                                             {"bench", "consume"},
                                             {"bench", "e2e"},
                                             {"bench", "failover"},
                                             {"bench", "metadata"},
                                             {"bench", "fsync"},
                                             {"completion"},
                                             {"verify-run"}}) {
    auto arguments = command;
    arguments.push_back("--help");
    const Ran ran = Run(arguments);
    EXPECT_EQ(ran.code, kExitOk) << command.back();
    EXPECT_NE(ran.out.find("Example"), std::string::npos) << ran.out;
    EXPECT_EQ(ran.err, "") << command.back();
  }
}

TEST_F(CliTest, AWordThatIsNoCommandIsNamedWithThoseThatThereAre) {
  const Ran nested = Run({"topic", "lst"});
  const Ran top = Run({"tpoic", "list"});
  const Ran missing = Run({"topic"});

  EXPECT_EQ(nested.err,
            "error: sluice topic: there is no 'lst'; there are: create, list, "
            "describe, trim, add-partitions, delete\n  next: `sluice topic "
            "--help` shows commands, options and examples\n");
  EXPECT_NE(top.err.find("there is no 'tpoic'"), std::string::npos) << top.err;
  EXPECT_EQ(top.err.find("verify-run"), std::string::npos) << top.err;
  EXPECT_NE(missing.err.find("a command is missing"), std::string::npos);
}

TEST_F(CliTest, AMissingOptionIsNamedWithItsCommand) {
  const Ran ran = Run({"bench", "produce", "--topic", "t"});

  EXPECT_EQ(ran.err.rfind("error: sluice bench produce: --num-records", 0), 0u)
      << ran.err;
}

// In a real bash, with the script as users source it.
TEST_F(CliTest, TheCompletionScriptCompletes) {
  const Ran script = Run({"completion"});
  ASSERT_EQ(script.code, kExitOk);
  const std::string path = testing::TempDir() + "/completion.bash";
  const auto completed = [&](const std::string& words, int at) {
    // A cluster with one group and one topic.
    std::ofstream(path) << script.out
                        << "sluice() { [ $1 = group ] && echo billing || echo "
                           "orders; }\nCOMP_WORDS=(" << words
                        << ")\nCOMP_CWORD=" << at
                        << "\n_sluice\necho \"${COMPREPLY[@]}\"\n";
    FILE* bash = popen(("bash " + path).c_str(), "r");
    char text[4096] = "";
    const size_t got = fread(text, 1, sizeof text - 1, bash);
    EXPECT_EQ(pclose(bash), 0);
    return std::string(text, got);
  };

  EXPECT_EQ(completed("sluice clu", 1), "cluster\n");
  EXPECT_EQ(completed("sluice topic l", 2), "list\n");
  EXPECT_EQ(completed("sluice topic list --inter", 3), "--internal\n");
  EXPECT_EQ(completed("sluice bench fsync --ro", 3), "--rounds\n");
  EXPECT_EQ(completed("sluice --bootstrap b:1 dev st", 4), "start stop\n");
  EXPECT_EQ(completed("sluice group describe b", 3), "billing\n");
  EXPECT_EQ(completed("sluice group seek billing --topic o", 5), "orders\n");
  EXPECT_EQ(completed("sluice consume o", 2), "orders\n");
  EXPECT_EQ(completed("sluice consume orders -g b", 4), "billing\n");
  EXPECT_EQ(completed("sluice verify", 1), "\n");  // hidden
  unlink(path.c_str());
}

TEST_F(CliTest, TheVersionIsData) {
  const Ran ran = Run({"--version"});

  EXPECT_EQ(ran.code, kExitOk);
  EXPECT_EQ(ran.out.rfind("sluice ", 0), 0u);
}

TEST_F(CliTest, OutputThatIsLostIsAnError) {
  struct Full : std::streambuf {
  } full;  // as /dev/full: takes nothing
  const std::vector<const char*> argv = {"sluice", "--bootstrap", "b1:9001",
                                         "topic",  "list",        "-o", "json"};
  Redirected streams("");
  std::cout.rdbuf(&full);
  EXPECT_EQ(RunCli(static_cast<int>(argv.size()), argv.data(),
                   [this] { return canned_.Connector(); },
                   [this] { return canned_groups_.Connector(); }),
            kExitError);
  EXPECT_NE(streams.err().find("stdout cannot be written"), std::string::npos)
      << streams.err();
}

TEST_F(CliTest, TheShapeOfTheJsonNeedsNoCluster) {
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"topic", "list"},
                                             {"topic", "describe"},
                                             {"cluster", "info"},
                                             {"cluster", "health"}}) {
    auto arguments = command;
    arguments.insert(arguments.end(), {"-o", "help"});
    const Ran ran = Run(arguments);
    EXPECT_EQ(ran.code, kExitOk);
    EXPECT_TRUE(nlohmann::json::accept(ran.out)) << ran.out;
  }
}

TEST_F(CliTest, AMissingTopicIsNotFound) {
  const Ran consume = RunThere({"consume", "nope", "-n", "1"});
  const Ran produce = RunThere({"produce", "nope"}, "a\n");
  const Ran describe = RunThere({"topic", "describe", "nope"});

  for (const Ran& ran : {consume, produce, describe}) {
    EXPECT_EQ(ran.code, kExitNotFound);
    EXPECT_NE(ran.err.find("nope"), std::string::npos);
    EXPECT_NE(ran.err.find("UNKNOWN_TOPIC_OR_PARTITION"), std::string::npos);
    EXPECT_NE(ran.err.find("sluice topic list"), std::string::npos);
  }
}

TEST_F(CliTest, APartitionThatIsNotThereIsNamed) {
  brokers_.AddTopic("t", 2);

  const Ran ran = RunThere({"consume", "t", "-p", "2"});

  EXPECT_EQ(ran.code, kExitNotFound);
  EXPECT_NE(ran.err.find("has 2 partitions"), std::string::npos) << ran.err;
}

TEST_F(CliTest, ABrokerThatDoesNotAnswerIsNamedWithWhatToDo) {
  for (int id = 1; id <= 3; ++id) brokers_.Kill(NodeId(id));

  const Ran ran = RunThere({"topic", "list", "--timeout-ms", "200"});

  EXPECT_EQ(ran.code, kExitError);
  EXPECT_NE(ran.err.find("next:"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("sluice dev"), std::string::npos) << ran.err;
}

TEST_F(CliTest, HealthTellsByItsExitCode) {
  canned_.cluster.emplace();
  canned_.cluster->add_brokers()->set_id(1);
  canned_.cluster->set_partition_count(6);

  const Ran healthy = RunThere({"cluster", "health"});
  auto* issue = canned_.cluster->add_issues();
  issue->set_kind(v1::HealthIssue::KIND_UNDER_MIN_ISR);
  issue->set_topic("orders");
  issue->set_partition(3);
  issue->set_message("2 of 3 replicas are away; start broker 2");
  const Ran sick = RunThere({"cluster", "health"});
  const Ran names = RunThere({"cluster", "health", "-o", "name"});

  EXPECT_EQ(healthy.code, kExitOk);
  EXPECT_EQ(healthy.out, "healthy: 1 broker, 6 partitions\n");
  EXPECT_EQ(sick.code, kExitUnhealthy);
  EXPECT_NE(sick.out.find("orders-3"), std::string::npos) << sick.out;
  EXPECT_NE(sick.out.find("start broker 2"), std::string::npos);
  EXPECT_EQ(names.code, kExitUnhealthy);
  EXPECT_EQ(names.out, "UNDER_MIN_ISR\n");
  // What is lost does not come back: it is told, and not waited for.
  issue->set_kind(v1::HealthIssue::KIND_UNCLEAN_ELECTION);
  const Ran lost = RunThere({"cluster", "health", "--exit-when-healthy"});
  EXPECT_EQ(lost.code, kExitUnhealthy);
  EXPECT_NE(lost.out.find("UNCLEAN_ELECTION"), std::string::npos) << lost.out;
}

TEST_F(CliTest, InfoShowsRolesAndTheActiveController) {
  canned_.cluster.emplace();
  auto& cluster = *canned_.cluster;
  cluster.set_cluster_name("prod");
  cluster.set_active_controller_id(101);
  auto* broker = cluster.add_brokers();
  broker->set_id(1);
  broker->set_fenced(true);
  auto* listener = broker->add_listeners();
  listener->set_name("PUBLIC");
  listener->mutable_endpoint()->set_host("10.0.0.1");
  listener->mutable_endpoint()->set_port(9001);
  cluster.add_brokers()->set_id(2);
  cluster.add_controllers()->set_id(2);
  cluster.add_controllers()->set_id(101);

  const Ran ran = RunThere({"cluster", "info"});
  const Ran names = RunThere({"cluster", "info", "-o", "name"});

  EXPECT_EQ(ran.code, kExitOk);
  for (const char* text : {"prod", "10.0.0.1:9001", "fenced",
                           "controller,broker", "CONTROLLER"}) {
    EXPECT_NE(ran.out.find(text), std::string::npos) << text << ran.out;
  }
  EXPECT_EQ(names.out, "1\n2\n");
  EXPECT_EQ(ran.out.find("memory of node"), std::string::npos);
  cluster.set_answering_node_id(2);
  cluster.set_resident_bytes(100 << 20);
  auto* budget = cluster.add_memory_budgets();
  budget->set_name("fetch");
  budget->set_flag("--fetch_memory_bytes");
  budget->set_used_bytes(1);
  budget->set_max_bytes(64 << 20);
  budget->set_refused(5);
  const Ran memory = RunThere({"cluster", "info"});
  EXPECT_NE(memory.out.find("memory of node 2, 100 MiB resident\n"
                            "FOR    USED   LIMIT   REFUSED  FLAG\n"
                            "fetch  1 MiB  64 MiB  5        "
                            "--fetch_memory_bytes\n"),
            std::string::npos)
      << memory.out;
  // No metadata yet: how many topics there are is not known.
  EXPECT_EQ(ran.out.find("0 with 0"), std::string::npos) << ran.out;
  cluster.set_metadata_offset(7);
  EXPECT_NE(RunThere({"cluster", "info"}).out.find("0 with 0"),
            std::string::npos);
}

TEST_F(CliTest, BenchesReportWhatTheyMeasured) {
  brokers_.AddTopic("t", 2);

  const Ran produced =
      RunThere({"bench", "produce", "--topic", "t", "--num-records", "500",
                "--record-size", "100", "-o", "json"});
  const Ran consumed = RunThere({"bench", "consume", "--topic", "t"});

  EXPECT_EQ(produced.code, kExitOk) << produced.err;
  const auto json = nlohmann::json::parse(produced.out);
  EXPECT_EQ(json["records"], 500);
  EXPECT_EQ(json["bytes"], 50'000);
  EXPECT_EQ(json["failed"], 0);
  for (const char* key : {"avg", "p50", "p95", "p99", "p99.9", "max"}) {
    EXPECT_TRUE(json["latencyMs"].contains(key)) << key;
  }
  EXPECT_EQ(consumed.code, kExitOk) << consumed.err;
  EXPECT_EQ(consumed.out.rfind("500 records read, ", 0), 0u) << consumed.out;
}

TEST_F(CliTest, EndToEndCountsEachRecordOfItsOwn) {
  brokers_.AddTopic("t", 2);
  RunThere({"bench", "produce", "--topic", "t", "--num-records", "50"});

  for (const char* throughput : {"-1", "10000"}) {
    const Ran ran = RunThere({"bench", "e2e", "--topic", "t", "--num-records",
                              "200", "--record-size", "64", "--throughput",
                              throughput, "-o", "json"});
    ASSERT_EQ(ran.code, kExitOk) << ran.err;
    const auto json = nlohmann::json::parse(ran.out);
    EXPECT_EQ(json["records"], 200) << throughput;
    EXPECT_EQ(json["bytes"], 200 * 64);
    EXPECT_TRUE(json["latencyMs"].contains("p99.9"));
  }
}

TEST_F(CliTest, MetadataIsChangedByEachClientAndItsTopicsGo) {
  const Ran ran = RunThere({"bench", "metadata", "--clients", "3",
                            "--num-records", "10", "-o", "json"});

  ASSERT_EQ(ran.code, kExitOk) << ran.err;
  const auto json = nlohmann::json::parse(ran.out);
  EXPECT_EQ(json["records"], 10);
  EXPECT_EQ(json["failed"], 0);
  EXPECT_EQ(ran.err.find("is left"), std::string::npos) << ran.err;
  const Ran listed = RunThere({"topic", "list", "-o", "name"});
  EXPECT_EQ(listed.out.find("bench-metadata"), std::string::npos) << listed.out;
}

TEST_F(CliTest, MetadataSaysWhatWasRefused) {
  auto& refused = canned_.altered.emplace();
  auto* error = refused.add_results()->mutable_error();
  error->set_code(static_cast<v1::ErrorCode>(ErrorCode::kInvalidConfig));
  error->set_message("flush.ms is out of reach");

  const Ran ran = RunThere({"bench", "metadata", "--num-records", "5"});

  EXPECT_EQ(ran.code, kExitError);
  EXPECT_NE(ran.err.find("flush.ms is out of reach"), std::string::npos)
      << ran.err;
}

TEST_F(CliTest, FsyncMeasuresAndLeavesNothingBehind) {
  const std::string directory = testing::TempDir() + "/fsync-bench";
  mkdir(directory.c_str(), 0755);

  const Ran ran = Run({"bench", "fsync", "--dir", directory, "--files", "1,17",
                       "--rounds", "2", "-o", "json"});

  EXPECT_EQ(ran.code, kExitOk) << ran.err;
  const auto json = nlohmann::json::parse(ran.out);
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0]["how"], "fdatasync");
  EXPECT_EQ(json[1]["how"], "syncfs");
  EXPECT_EQ(rmdir(directory.c_str()), 0) << "not empty";
}

TEST_F(CliTest, DevCommandsSayWhenThereIsNoCluster) {
  const std::string nowhere = testing::TempDir() + "/no-cluster";
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{
           {"dev", "stop", "node-1", "--dir", nowhere},
           {"dev", "start", "node-1", "--dir", nowhere},
           {"bench", "failover", "--dev-dir", nowhere},
           {"verify-run", "t", "file", "--dev-dir", nowhere}}) {
    const Ran ran = Run(command);
    EXPECT_EQ(ran.code, kExitError) << command[0];
    EXPECT_NE(ran.err.find("there is no dev cluster in " + nowhere),
              std::string::npos)
        << ran.err;
  }
}

}  // namespace
}  // namespace sluice::cli
