// `sluice partition`, from the command line to what is printed.
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "tools/cli_testing.h"

namespace sluice::cli {
namespace {

class PartitionCliTest : public CliTest {
 protected:
  v1::ElectLeaderResult* AddResult(int32_t partition, int32_t leader,
                                   v1::ErrorCode code = v1::ErrorCode(0)) {
    if (!canned_.elected.has_value()) canned_.elected.emplace();
    auto* result = canned_.elected->add_results();
    result->set_topic("t");
    result->set_partition(partition);
    result->set_leader_id(leader);
    result->set_leader_epoch(7);
    if (code != 0) {
      result->mutable_error()->set_code(code);
      result->mutable_error()->set_message("t-0: a fact; a next step");
    }
    return result;
  }
};

TEST_F(PartitionCliTest, ElectAsksForPreferredLeadersEverywhere) {
  AddResult(0, 1);
  AddResult(1, 2, v1::ERROR_CODE_ELECTION_NOT_NEEDED);
  const Ran ran = RunThere({"partition", "elect"});
  EXPECT_EQ(ran.code, kExitOk) << ran.err;
  EXPECT_EQ(ran.out,
            "PARTITION  LEADER  EPOCH  MAY BE LOST  STATUS\n"
            "t-0        1       7      -            elected\n"
            "t-1        2       7      -            not needed\n");
  EXPECT_EQ(canned_.last_elect.kind(),
            v1::ElectLeadersRequest::KIND_PREFERRED);
  EXPECT_EQ(canned_.last_elect.topics_size(), 0);
}

TEST_F(PartitionCliTest, ElectNamesWhatCouldNotBe) {
  AddResult(0, 2, v1::ERROR_CODE_PREFERRED_LEADER_NOT_AVAILABLE);
  const Ran ran = RunThere({"partition", "elect", "t", "-p", "0"});
  EXPECT_EQ(ran.code, kExitError);
  EXPECT_NE(ran.err.find("PREFERRED_LEADER_NOT_AVAILABLE"), std::string::npos)
      << ran.err;
  ASSERT_EQ(canned_.last_elect.topics_size(), 1);
  EXPECT_EQ(canned_.last_elect.topics(0).topic().name(), "t");
  ASSERT_EQ(canned_.last_elect.topics(0).partitions_size(), 1);
}

TEST_F(PartitionCliTest, ATopicThatIsNotThereIsNamedWithoutAPartition) {
  AddResult(-1, 0, v1::ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION);
  const Ran ran = RunThere({"partition", "elect", "t"});
  EXPECT_EQ(ran.code, kExitNotFound);
  EXPECT_NE(ran.out.find("\nt "), std::string::npos) << ran.out;
  EXPECT_EQ(ran.out.find("t--1"), std::string::npos) << ran.out;
}

TEST_F(PartitionCliTest, AnUncleanElectionShowsItsPriceAndAsks) {
  auto* result = AddResult(0, 3);
  result->mutable_loss()->set_leader_id(3);
  result->mutable_loss()->set_first_offset(90);
  result->mutable_loss()->set_known_end_offset(120);
  const Ran refused = RunThere({"partition", "elect", "t", "--unclean"});
  EXPECT_NE(refused.code, kExitOk);
  EXPECT_TRUE(canned_.last_elect.validate_only());
  const Ran ran = RunThere({"partition", "elect", "t", "--unclean", "--yes"});
  EXPECT_EQ(ran.code, kExitOk) << ran.err;
  EXPECT_FALSE(canned_.last_elect.validate_only());
  EXPECT_NE(ran.out.find("from 90, known end 120"), std::string::npos)
      << ran.out;
  const Ran dry = RunThere({"partition", "elect", "t", "--unclean",
                            "--dry-run"});
  EXPECT_EQ(dry.code, kExitOk);
  EXPECT_TRUE(canned_.last_elect.validate_only());
  EXPECT_NE(dry.out.find("would be elected"), std::string::npos) << dry.out;
}

TEST_F(PartitionCliTest, WhatAnUncleanElectionCostsIsNotKnownBefore) {
  AddResult(0, -1);  // the live replicas have not told of their logs
  const Ran dry = RunThere({"partition", "elect", "t", "--unclean",
                            "--dry-run"});
  EXPECT_EQ(dry.code, kExitOk) << dry.err;
  EXPECT_NE(dry.out.find("not known yet"), std::string::npos) << dry.out;
}

TEST_F(PartitionCliTest, AnElectionWhoseEndCannotBeAskedSaysWhy) {
  AddResult(0, -1);  // ordered, and waits for replicas to tell
  canned_.elected_again =
      MakeError(ErrorCode::kShuttingDown, "the broker is stopping");
  canned_.elections_asked = -1;  // the first is the question what it costs
  const Ran ran = RunThere({"partition", "elect", "t", "--unclean", "--yes"});
  EXPECT_EQ(ran.code, kExitError);
  EXPECT_NE(ran.err.find("SHUTTING_DOWN"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("the broker is stopping"), std::string::npos);
  EXPECT_NE(ran.out.find("t-0"), std::string::npos) << ran.out;
}

TEST_F(PartitionCliTest, UncleanWithoutATopicIsMisuse) {
  EXPECT_EQ(RunThere({"partition", "elect", "--unclean"}).code, kExitUsage);
  EXPECT_EQ(RunThere({"partition", "elect", "-p", "0"}).code, kExitUsage);
}

TEST_F(PartitionCliTest, ResetAsksTheBrokerThatHasTheReplica) {
  canned_.reset.emplace().set_set_aside("a cut to 3 is below the high watermark");
  const Ran refused = RunThere({"partition", "reset-replica", "t", "0", "1"});
  EXPECT_NE(refused.code, kExitOk);
  const Ran ran =
      RunThere({"partition", "reset-replica", "t", "0", "1", "--yes"});
  EXPECT_EQ(ran.code, kExitOk) << ran.err;
  EXPECT_EQ(canned_.last_reset.broker_id(), 1);
  EXPECT_EQ(canned_.last_reset.topic().name(), "t");
  EXPECT_FALSE(canned_.last_reset.without_leader());
  EXPECT_NE(ran.out.find("reset t-0 on broker 1; it had failed: a cut to 3"),
            std::string::npos)
      << ran.out;
  const Ran nobody =
      RunThere({"partition", "reset-replica", "t", "0", "77", "--yes"});
  EXPECT_EQ(nobody.code, kExitError);
  EXPECT_NE(nobody.err.find("BROKER_NOT_AVAILABLE"), std::string::npos)
      << nobody.err;
}

TEST_F(PartitionCliTest, WhatItMayNotIsNamed) {
  auto* error = canned_.reset.emplace().mutable_error();
  error->set_code(v1::ERROR_CODE_INVALID_REQUEST);
  error->set_message("the replica has not failed");
  const Ran ran =
      RunThere({"partition", "reset-replica", "t", "0", "1", "--yes"});
  EXPECT_EQ(ran.code, kExitError);
  EXPECT_NE(ran.err.find("has not failed"), std::string::npos) << ran.err;
}

}  // namespace
}  // namespace sluice::cli
