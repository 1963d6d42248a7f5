// `sluice produce` and `sluice consume`, from lines to lines.
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tools/cli_testing.h"

namespace sluice::cli {
namespace {

using DataCliTest = CliTest;

TEST_F(DataCliTest, LinesGoInAndComeOutInOrder) {
  brokers_.AddTopic("orders", 1);

  const Ran produced =
      RunThere({"produce", "orders", "-K", ":", "-H", "h=1"}, "a:1\nb:2:3\nc:\n");
  const Ran values = RunThere(
      {"consume", "orders", "--from", "earliest", "--exit-at-end"});
  const Ran formatted =
      RunThere({"consume", "orders", "--from", "earliest", "--exit-at-end",
                "--format", "%t %p %o %k=%v %h\\n"});
  const Ran json = RunThere({"consume", "orders", "--from", "-1",
                             "--exit-at-end", "-o", "json"});

  EXPECT_EQ(produced.code, kExitOk) << produced.err;
  EXPECT_EQ(produced.out, "");
  EXPECT_EQ(produced.err.rfind("produced 3 records", 0), 0u) << produced.err;
  EXPECT_EQ(values.code, kExitOk) << values.err;
  EXPECT_EQ(values.out, "1\n2:3\n\n");
  EXPECT_EQ(formatted.out,
            "orders 0 0 a=1 h=1\norders 0 1 b=2:3 h=1\norders 0 2 c= h=1\n");
  EXPECT_EQ(nlohmann::json::parse(json.out)["key"], "c");
}

TEST_F(DataCliTest, AnEndThatDoesNotComeIsAnErrorNotAHang) {
  brokers_.AddTopic("t", 1);
  RunThere({"produce", "t"}, "a\n");
  brokers_.fate = [](NodeId, const std::string& method) {
    return method == "Fetch" ? FakeCluster::Fate::kLoseAnswer
                             : FakeCluster::Fate::kDeliver;
  };

  const Ran ran = RunThere({"consume", "t", "--from", "earliest",
                            "--exit-at-end", "--timeout-ms", "100"});

  EXPECT_EQ(ran.code, kExitError);
  EXPECT_NE(ran.err.find("read to offset 0 of 1"), std::string::npos)
      << ran.err;
}

TEST_F(DataCliTest, ConsumingStopsWhereItWasTold) {
  brokers_.AddTopic("t", 1);
  RunThere({"produce", "t"}, "0\n1\n2\n3\n4\n5\n");

  EXPECT_EQ(RunThere({"consume", "t", "--from", "2", "--to", "4"}).out,
            "2\n3\n");
  EXPECT_EQ(RunThere({"consume", "t", "--from", "earliest", "-n", "2"}).out,
            "0\n1\n");
  EXPECT_EQ(RunThere({"consume", "t", "--from", "-2", "-e"}).out, "4\n5\n");
  EXPECT_EQ(RunThere({"consume", "t", "--from", "-100", "-e", "-n", "1"}).out,
            "0\n");
  EXPECT_EQ(RunThere({"consume", "t", "--from", "latest", "-e"}).out, "");
  EXPECT_EQ(RunThere({"consume", "t", "-n", "0"}).code, kExitOk);
}

TEST_F(DataCliTest, ConsumingBeginsAtATime) {
  brokers_.AddTopic("t", 2);
  RunThere({"produce", "t", "-p", "0"}, "a\nb\n");

  const Ran old = RunThere({"consume", "t", "--from", "@-1h", "-e"});
  EXPECT_EQ(old.code, kExitOk) << old.err;
  EXPECT_EQ(old.out, "a\nb\n");
  EXPECT_EQ(
      RunThere({"consume", "t", "--from", "@2100-01-01T00:00:00Z", "-e"}).out,
      "");
  const Ran wrong = RunThere({"consume", "t", "--from", "@yesterday", "-e"});
  EXPECT_EQ(wrong.code, kExitUsage);
  EXPECT_NE(wrong.err.find("'yesterday' is no time"), std::string::npos)
      << wrong.err;
}

TEST_F(DataCliTest, TombstonesKeysAndPartitionsAreAsAsked) {
  brokers_.AddTopic("t", 3);

  RunThere({"produce", "t", "-k", "key", "-p", "2", "-Z"}, "\nx\n");

  const Ran read = RunThere({"consume", "t", "--from", "earliest", "-e",
                             "--format", "%p %k %V|"});
  EXPECT_EQ(read.out, "2 key -1|2 key 1|");
}

TEST_F(DataCliTest, AFileIsReadInPlaceOfStdin) {
  brokers_.AddTopic("t", 1);
  const std::string path = testing::TempDir() + "/lines";
  std::ofstream(path) << "one\ntwo";

  const Ran produced = RunThere({"produce", "t", "-f", path}, "not this\n");
  const Ran missing = RunThere({"produce", "t", "-f", path + ".none"});
  const Ran directory = RunThere({"produce", "t", "-f", testing::TempDir()});
  unlink(path.c_str());

  EXPECT_EQ(produced.code, kExitOk) << produced.err;
  EXPECT_EQ(RunThere({"consume", "t", "--from", "earliest", "-e"}).out,
            "one\ntwo\n");
  EXPECT_EQ(missing.code, kExitError);
  EXPECT_NE(missing.err.find(path + ".none"), std::string::npos);
  EXPECT_EQ(directory.code, kExitError);
  EXPECT_NE(directory.err.find("is a directory"), std::string::npos);
}

TEST_F(DataCliTest, ADryRunOfProducingOnlyCounts) {
  brokers_.AddTopic("t", 1);

  const Ran ran = RunThere({"produce", "t", "--dry-run"}, "a\nbb\n");

  EXPECT_EQ(ran.code, kExitOk);
  EXPECT_NE(ran.err.find("2 records, 3 bytes"), std::string::npos) << ran.err;
  EXPECT_EQ(brokers_.calls["Produce"], 0);
}

// Not the two minutes that a producer takes unasked.
TEST_F(DataCliTest, ProducingEndsWhenItsTimeIsUpAndNamesTheReason) {
  brokers_.AddTopic("t", 1);
  brokers_.disk_full = true;

  const Ran ran = RunThere({"produce", "t", "--timeout-ms", "300"}, "a\n");

  EXPECT_EQ(ran.code, kExitError);
  EXPECT_NE(ran.err.find("within 300 ms"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("STORAGE_FULL"), std::string::npos) << ran.err;
}

TEST_F(DataCliTest, APartitionThatIsNotThereIsNotFoundAsATopicIs) {
  brokers_.AddTopic("t", 2);

  const Ran produce = RunThere({"produce", "t", "-p", "7"}, "a\n");
  const Ran consume = RunThere({"consume", "t", "-p", "7", "-n", "1"});

  EXPECT_EQ(produce.code, kExitNotFound) << produce.err;
  EXPECT_EQ(consume.code, kExitNotFound) << consume.err;
}

TEST_F(DataCliTest, ALineWithoutItsSeparatorIsShown) {
  brokers_.AddTopic("t", 1);

  const Ran ran = RunThere({"produce", "t", "-K", ":"}, "a:1\nnothing\nb:2\n");

  EXPECT_EQ(ran.code, kExitError);
  EXPECT_NE(ran.err.find("'nothing'"), std::string::npos) << ran.err;
  EXPECT_EQ(RunThere({"consume", "t", "--from", "earliest", "-e"}).out, "1\n");
}

}  // namespace
}  // namespace sluice::cli
