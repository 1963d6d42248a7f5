// `sluice group` and `sluice consume -g`, from the command line to what is
// printed.
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/consumer/consumer_protocol.h"
#include "tools/cli_testing.h"

namespace sluice::cli {
namespace {

class GroupCliTest : public CliTest {
 protected:
  v1::GroupDescription& Describe(const std::string& group,
                                 v1::GroupState state) {
    auto* described = canned_groups_.described.add_groups();
    described->set_group_id(group);
    described->set_state(state);
    described->set_protocol_type("consumer");
    described->set_protocol_name("range");
    described->set_generation_id(5);
    described->set_coordinator_id(2);
    return *described;
  }
  v1::GroupPartition& Partition(v1::GroupDescription& group, int partition,
                                int64_t committed) {
    auto* one = group.add_partitions();
    one->set_topic("t");
    one->set_partition(partition);
    one->set_committed_offset(committed);
    one->set_high_watermark(100);
    one->set_lag_records(100 - committed);
    return *one;
  }
  void Member(v1::GroupDescription& group) {
    auto* member = group.add_members();
    member->set_member_id("m-1");
    member->set_client_id("svc");
    member->set_client_host("10.0.0.7");
    member->set_session_timeout_ms(45'000);
    consumer::Assignment assignment;
    assignment.partitions = {{"t", PartitionIndex(0)}};
    member->set_assignment(consumer::EncodeAssignment(assignment));
    group.set_leader_id("m-1");
  }
  static NamedPartition Tp(int partition) {
    return {"t", PartitionIndex(partition)};
  }
};

TEST_F(GroupCliTest, ListShowsEveryGroup) {
  auto* group = canned_groups_.list.add_groups();
  group->set_group_id("billing");
  group->set_state(v1::GROUP_STATE_STABLE);
  group->set_member_count(2);
  group->set_protocol_type("consumer");
  group->set_coordinator_id(3);
  const Ran ran = RunThere({"group", "list", "--state", "stable"});
  EXPECT_EQ(ran.code, kExitOk) << ran.err;
  EXPECT_EQ(ran.out,
            "GROUP    STATE   MEMBERS  PROTOCOL TYPE  COORDINATOR\n"
            "billing  Stable  2        consumer       3\n");
  ASSERT_EQ(canned_groups_.last_list.states_size(), 1);
  EXPECT_EQ(canned_groups_.last_list.states(0), v1::GROUP_STATE_STABLE);
  EXPECT_EQ(RunThere({"group", "list", "-o", "name"}).out, "billing\n");
  EXPECT_EQ(RunThere({"group", "list", "--state", "odd"}).code, kExitUsage);
}

TEST_F(GroupCliTest, AListThatIsNotWholeIsAnError) {
  canned_groups_.list.add_groups()->set_group_id("a");
  auto* error = canned_groups_.list.add_errors();
  error->set_code(v1::ERROR_CODE_UNKNOWN_SERVER_ERROR);
  error->set_message("broker 2 could not be asked");
  const Ran ran = RunThere({"group", "list", "-o", "name"});
  EXPECT_EQ(ran.out, "a\n");
  EXPECT_EQ(ran.code, kExitError);
  EXPECT_NE(ran.err.find("broker 2 could not be asked"), std::string::npos);
}

TEST_F(GroupCliTest, DescribeShowsLagAndMembers) {
  auto& group = Describe("billing", v1::GROUP_STATE_STABLE);
  Member(group);
  auto& partition = Partition(group, 0, 40);
  partition.set_member_id("m-1");
  partition.set_lag_ms(12'000);
  partition.set_read_records_per_s(2.53);
  partition.set_append_records_per_s(1234.5);
  partition.set_state(v1::LAG_STATE_WARN);
  EXPECT_EQ(RunThere({"group", "describe", "billing", "--lag-max", "59"}).code,
            kExitUnhealthy);
  EXPECT_EQ(RunThere({"group", "describe", "billing", "--lag-max", "60"}).code,
            kExitOk);
  auto& broken = Partition(group, 1, -1);
  broken.mutable_lag_error()->set_code(v1::ERROR_CODE_LEADER_NOT_AVAILABLE);
  broken.mutable_lag_error()->set_message("nobody leads");
  const Ran ran = RunThere({"group", "describe", "billing"});
  EXPECT_EQ(ran.code, kExitOk) << ran.err;
  EXPECT_NE(ran.out.find("billing  Stable  1        range     5           2"),
            std::string::npos)
      << ran.out;
  EXPECT_NE(ran.out.find("t      0          40         100             60   "
                         "12 s      2.5     1234        WARN   m-1"),
            std::string::npos)
      << ran.out;
  EXPECT_NE(ran.err.find("t-1: its lag is not known: nobody leads"),
            std::string::npos)
      << ran.err;
  EXPECT_TRUE(canned_groups_.last_describe.include_lag());
  EXPECT_EQ(RunThere({"group", "describe", "billing", "--lag-max", "60"}).code,
            kExitUnhealthy);  // that of partition 1 is not known
  const Ran members = RunThere({"group", "describe", "billing", "--members"});
  EXPECT_NE(members.out.find("m-1     -         svc     10.0.0.7  45 s     yes"
                             "     t-0"),
            std::string::npos)
      << members.out;
  const auto json = nlohmann::json::parse(
      RunThere({"group", "describe", "billing", "-o", "json"}).out);
  EXPECT_EQ(json["partitions"][0]["state"], "LAG_STATE_WARN");
}

TEST_F(GroupCliTest, WhatIsCommittedBeyondTheEndIsSaid) {
  Partition(Describe("g", v1::GROUP_STATE_EMPTY), 0, 130);
  const Ran ran = RunThere({"group", "describe", "g"});
  EXPECT_NE(ran.out.find("130        100             -30"),
            std::string::npos)
      << ran.out;
  EXPECT_NE(ran.err.find("t-0: 130 is committed, 30 beyond the end of the log"),
            std::string::npos)
      << ran.err;
  EXPECT_EQ(RunThere({"group", "describe", "g", "--lag-max", "0"}).code,
            kExitOk);
}

TEST_F(GroupCliTest, WhatWasNeverCommittedIsUnread) {
  auto& group = Describe("g", v1::GROUP_STATE_EMPTY);
  Partition(group, 0, 100);
  auto& never = Partition(group, 1, -1);
  never.set_log_start_offset(20);
  never.set_lag_records(80);
  const Ran ran = RunThere({"group", "describe", "g"});
  EXPECT_NE(ran.out.find("t      1          none       100             80"),
            std::string::npos)
      << ran.out;
  EXPECT_EQ(RunThere({"group", "describe", "g", "--lag-max", "79"}).code,
            kExitUnhealthy);
  EXPECT_EQ(RunThere({"group", "describe", "g", "--lag-max", "80"}).code,
            kExitOk);
  EXPECT_EQ(
      RunThere({"group", "describe", "g", "--lag-max", "80", "--no-lag"}).code,
      kExitUsage);
}

TEST_F(GroupCliTest, AWatchPrintsWhatMovesUntilTheGroupIsGone) {
  Partition(Describe("g", v1::GROUP_STATE_EMPTY), 0, 40);
  for (int i = 0; i < 2; ++i) {
    canned_groups_.described_first.push_back(canned_groups_.described);
  }
  auto& group = *canned_groups_.described.mutable_groups(0);
  group.mutable_partitions(0)->set_committed_offset(77);
  canned_groups_.described_first.push_back(canned_groups_.described);
  group.clear_partitions();
  group.mutable_error()->set_code(v1::ERROR_CODE_GROUP_ID_NOT_FOUND);
  group.mutable_error()->set_message("there is no such group");
  const Ran ran = RunThere({"group", "describe", "g", "--watch"});
  EXPECT_EQ(ran.code, kExitNotFound) << ran.err;
  const size_t first = ran.out.find("t      0          40 ");
  const size_t second = ran.out.find("t      0          77 ");
  ASSERT_NE(first, std::string::npos) << ran.out;
  ASSERT_NE(second, std::string::npos) << ran.out;
  EXPECT_EQ(ran.out.find("t      0          40 ", first + 1),
            std::string::npos)
      << ran.out;  // it had not moved
  EXPECT_EQ(
      RunThere({"group", "describe", "g", "--watch", "--lag-max", "1"}).code,
      kExitUsage);
}

TEST_F(GroupCliTest, AGroupThatIsNotThereIsNotFound) {
  auto& group = Describe("no", v1::GROUP_STATE_DEAD);
  EXPECT_EQ(RunThere({"group", "describe", "no"}).code, kExitNotFound);
  group.set_state(v1::GROUP_STATE_UNSPECIFIED);
  group.mutable_error()->set_code(v1::ERROR_CODE_GROUP_ID_NOT_FOUND);
  const Ran ran = RunThere({"group", "describe", "no"});
  EXPECT_EQ(ran.code, kExitNotFound);
  EXPECT_NE(ran.err.find("sluice group list"), std::string::npos) << ran.err;
}

TEST_F(GroupCliTest, SeekShowsFirstAndDoesWhenTold) {
  brokers_.AddTopic("t", 2);
  RunThere({"produce", "t", "-p", "0"}, "a\nb\nc\n");
  auto& group = Describe("g", v1::GROUP_STATE_EMPTY);
  Partition(group, 0, 2);
  const Ran shown = RunThere({"group", "seek", "g", "--to", "earliest"});
  EXPECT_EQ(shown.code, kExitOk) << shown.err;
  EXPECT_EQ(shown.out,
            "TOPIC  PARTITION  FROM  TO  NOTE\n"
            "t      0          2     0   -\n");
  EXPECT_NE(shown.err.find("--execute"), std::string::npos);
  EXPECT_EQ(canned_groups_.commits, 0);
  const Ran done = RunThere({"group", "seek", "g", "--shift", "-1",
                             "--execute"});
  EXPECT_EQ(done.code, kExitOk) << done.err;
  EXPECT_EQ(groups_.commits.size(), 1u);
  EXPECT_TRUE(canned_groups_.last_commit.administrative());
  EXPECT_FALSE(canned_groups_.last_commit.has_generation_id());
  ASSERT_EQ(canned_groups_.last_commit.offsets_size(), 1);
  EXPECT_EQ(canned_groups_.last_commit.offsets(0).offset(), 1);
  EXPECT_EQ(groups_.committed["g"][Tp(0)].offset, Offset(1));
  // Also what the group has not read, when its topic is named.
  const Ran both = RunThere({"group", "seek", "g", "--topic", "t", "--to", "9",
                             "-o", "json"});
  const auto json = nlohmann::json::parse(both.out);
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0]["to"], 3);
  EXPECT_EQ(json[1]["from"], -1);
  EXPECT_EQ(json[1]["to"], 0);
}

TEST_F(GroupCliTest, SeekByTimeAsksTheLeaders) {
  brokers_.AddTopic("t", 1);
  RunThere({"produce", "t"}, "a\nb\n");
  Partition(Describe("g", v1::GROUP_STATE_EMPTY), 0, 0);
  const Ran ago = RunThere({"group", "seek", "g", "--back", "1d"});
  EXPECT_EQ(ago.code, kExitOk) << ago.err;
  const Ran young =
      RunThere({"group", "seek", "g", "--to", "@2100-01-01T00:00:00Z"});
  EXPECT_NE(young.out.find("no record so young"), std::string::npos)
      << young.out;
  EXPECT_EQ(RunThere({"group", "seek", "g", "--to", "@soon"}).code,
            kExitUsage);
}

TEST_F(GroupCliTest, SeekIsRefusedWhileSomebodyReads) {
  brokers_.AddTopic("t", 1);
  auto& group = Describe("g", v1::GROUP_STATE_STABLE);
  Partition(group, 0, 0);
  Member(group);
  const Ran ran = RunThere({"group", "seek", "g", "--to", "latest",
                            "--execute"});
  EXPECT_EQ(ran.code, kExitError);
  EXPECT_NE(ran.err.find("m-1 (svc at 10.0.0.7)"), std::string::npos)
      << ran.err;
  EXPECT_EQ(canned_groups_.commits, 0);
}

TEST_F(GroupCliTest, WhatAMemberCommittedInBetweenIsNotOverwritten) {
  brokers_.AddTopic("t", 1);
  Partition(Describe("g", v1::GROUP_STATE_EMPTY), 0, 0);
  auto* result = canned_groups_.committed.emplace().add_results();
  result->mutable_topic()->set_name("t");
  result->mutable_error()->set_code(v1::ERROR_CODE_NON_EMPTY_GROUP);
  result->mutable_error()->set_message("a member joined");
  const Ran ran = RunThere({"group", "seek", "g", "--to", "0", "--execute"});
  EXPECT_EQ(ran.code, kExitError);
  EXPECT_NE(ran.err.find("NON_EMPTY_GROUP"), std::string::npos) << ran.err;
}

TEST_F(GroupCliTest, OffsetsAreExportedAndReadBack) {
  brokers_.AddTopic("t", 2);
  RunThere({"produce", "t", "-p", "1"}, "a\nb\nc\n");
  auto& group = Describe("g", v1::GROUP_STATE_STABLE);
  Partition(group, 0, 0);
  Partition(group, 1, 2);
  const Ran saved = RunThere({"group", "seek", "g", "--export"});
  EXPECT_EQ(saved.code, kExitOk) << saved.err;
  EXPECT_EQ(saved.out, "t,0,0\nt,1,2\n");
  const std::string path = testing::TempDir() + "/offsets.csv";
  std::ofstream(path) << saved.out;
  const Ran back = RunThere({"group", "seek", "g", "--file", path,
                             "--execute"});
  std::ofstream(path) << "t,0\n";
  const Ran wrong = RunThere({"group", "seek", "g", "--file", path});
  unlink(path.c_str());
  EXPECT_EQ(back.code, kExitOk) << back.err;
  EXPECT_EQ(groups_.committed["g"][Tp(1)].offset, Offset(2));
  EXPECT_EQ(wrong.code, kExitUsage);
  EXPECT_NE(wrong.err.find("line 1"), std::string::npos) << wrong.err;
}

TEST_F(GroupCliTest, AFileThatIsNoneOrNamesWhatIsNotThereIsTold) {
  brokers_.AddTopic("t", 2);
  Describe("g", v1::GROUP_STATE_EMPTY);
  const std::string path = testing::TempDir() + "/offsets.csv";
  const auto seek = [&](const std::string& file) {
    return RunThere({"group", "seek", "g", "--file", file, "--execute"});
  };
  for (const auto& [lines, code, why] :
       {std::tuple("t,7,0\n", kExitNotFound, "topic t has 2 partitions"),
        std::tuple("nope,0,0\n", kExitNotFound, "nope"),
        std::tuple("# nothing\n\n", kExitUsage, "names no partition")}) {
    std::ofstream(path) << lines;
    const Ran ran = seek(path);
    EXPECT_EQ(ran.code, code) << lines << ran.err;
    EXPECT_NE(ran.err.find(why), std::string::npos) << ran.err;
  }
  unlink(path.c_str());
  // A directory, and what has no end.
  for (const std::string& odd : {testing::TempDir(), std::string("/dev/zero")}) {
    const Ran ran = seek(odd);
    EXPECT_EQ(ran.code, kExitUsage) << ran.err;
    EXPECT_NE(ran.err.find(odd), std::string::npos) << ran.err;
  }
  EXPECT_EQ(canned_groups_.commits, 0);
}

TEST_F(GroupCliTest, SeekNeedsOneWayAndOneTopicForPartitions) {
  EXPECT_EQ(RunThere({"group", "seek", "g"}).code, kExitUsage);
  const Ran torn = RunThere(
      {"group", "seek", "g", "--to", "0", "--dry-run", "--execute"});
  EXPECT_EQ(torn.code, kExitUsage);
  EXPECT_NE(torn.err.find("--dry-run"), std::string::npos) << torn.err;
  EXPECT_EQ(RunThere({"group", "seek", "g", "--to", "0", "--export"}).code,
            kExitUsage);
  EXPECT_EQ(RunThere({"group", "seek", "g", "-p", "0", "--to", "0"}).code,
            kExitUsage);
  Describe("g", v1::GROUP_STATE_DEAD);
  const Ran empty = RunThere({"group", "seek", "g", "--to", "earliest"});
  EXPECT_EQ(empty.code, kExitError);
  EXPECT_NE(empty.err.find("--topic"), std::string::npos) << empty.err;
}

TEST_F(GroupCliTest, DeletingAsksAndNamesWhatItCouldNot) {
  EXPECT_NE(RunThere({"group", "delete", "a"}).code, kExitOk);
  EXPECT_EQ(canned_groups_.deletes, 0);
  canned_groups_.deleted.add_results()->set_group_id("a");
  auto* refused = canned_groups_.deleted.add_results();
  refused->set_group_id("b");
  refused->mutable_error()->set_code(v1::ERROR_CODE_NON_EMPTY_GROUP);
  refused->mutable_error()->set_message("has 2 members");
  auto* unknown = canned_groups_.deleted.add_results();
  unknown->set_group_id("c");
  unknown->mutable_error()->set_code(v1::ERROR_CODE_GROUP_ID_NOT_FOUND);
  unknown->mutable_error()->set_message("was not there");
  const Ran ran = RunThere({"group", "delete", "a", "b", "c", "--yes"});
  EXPECT_EQ(ran.code, kExitError);
  EXPECT_EQ(ran.out, "deleted a\n");
  EXPECT_NE(ran.err.find("group b: has 2 members"), std::string::npos)
      << ran.err;
  EXPECT_NE(ran.err.find("group c: was not there"), std::string::npos)
      << ran.err;
  EXPECT_EQ(canned_groups_.last_delete.group_ids_size(), 3);
}

TEST_F(GroupCliTest, ADryRunOfDeletingChecksAndDeletesNothing) {
  auto& group = Describe("g", v1::GROUP_STATE_EMPTY);
  Partition(group, 0, 7);
  Partition(group, 1, -1);  // described, and never committed
  const Ran ran = RunThere({"group", "delete", "g", "--dry-run"});
  EXPECT_EQ(ran.out, "g: 1 committed offsets\n");
  EXPECT_EQ(ran.code, kExitOk) << ran.err;
  const Ran offsets =
      RunThere({"group", "delete-offsets", "g", "t", "--dry-run"});
  EXPECT_EQ(offsets.out,
            "TOPIC  PARTITION  COMMITTED\n"
            "t      0          7\n");
  Member(group);
  EXPECT_EQ(RunThere({"group", "delete", "g", "--dry-run"}).code, kExitError);
  // Nobody knows what it subscribes to until it has something.
  const Ran maybe =
      RunThere({"group", "delete-offsets", "g", "t", "--dry-run"});
  EXPECT_EQ(maybe.code, kExitOk) << maybe.err;
  EXPECT_NE(maybe.err.find("has members"), std::string::npos) << maybe.err;
  group.mutable_partitions(0)->set_member_id("m-1");
  const Ran refused =
      RunThere({"group", "delete-offsets", "g", "t", "--dry-run"});
  EXPECT_EQ(refused.code, kExitError);
  EXPECT_NE(refused.err.find("GROUP_SUBSCRIBED_TO_TOPIC"), std::string::npos)
      << refused.err;
  EXPECT_EQ(canned_groups_.deletes, 0);
}

TEST_F(GroupCliTest, OffsetsOfATopicAreDeleted) {
  auto* done = canned_groups_.offsets_deleted.add_results();
  done->set_partition(3);
  const Ran ran = RunThere(
      {"group", "delete-offsets", "g", "t", "-p", "3", "--yes"});
  EXPECT_EQ(ran.code, kExitOk) << ran.err;
  EXPECT_EQ(ran.out, "deleted t-3\n");
  const auto& asked = canned_groups_.last_delete_offsets;
  EXPECT_EQ(asked.topics(0).topic().name(), "t");
  ASSERT_EQ(asked.topics(0).partitions_size(), 1);
  canned_groups_.offsets_deleted.mutable_error()->set_code(
      v1::ERROR_CODE_GROUP_SUBSCRIBED_TO_TOPIC);
  EXPECT_EQ(
      RunThere({"group", "delete-offsets", "g", "t", "--yes"}).code,
      kExitError);
}

TEST_F(GroupCliTest, AGroupConsumesWhereItStopped) {
  brokers_.AddTopic("t", 2);
  RunThere({"produce", "t", "-p", "0"}, "a\nb\nc\n");
  const Ran first = RunThere({"consume", "t", "-g", "g", "--from", "earliest",
                              "-n", "2"});
  EXPECT_EQ(first.code, kExitOk) << first.err;
  EXPECT_EQ(first.out, "a\nb\n");
  EXPECT_NE(first.err.find("group g: reads t-0 t-1"), std::string::npos)
      << first.err;
  EXPECT_EQ(groups_.committed["g"][Tp(0)].offset, Offset(2));
  const Ran second = RunThere({"consume", "t", "-g", "g", "--exit-at-end"});
  EXPECT_EQ(second.code, kExitOk) << second.err;
  EXPECT_EQ(second.out, "c\n");
  EXPECT_EQ(groups_.committed["g"][Tp(0)].offset, Offset(3));
  EXPECT_EQ(groups_.core("g").member_count(), 0u);  // it has left
  EXPECT_EQ(RunThere({"consume", "t", "-g", "g", "-e"}).out, "");
}

TEST_F(GroupCliTest, WhatAGroupCannotDoIsMisuse) {
  for (const std::vector<std::string>& more :
       std::vector<std::vector<std::string>>{{"--from", "7"},
                                             {"--from", "@soon"},
                                             {"-p", "0"},
                                             {"--to", "5"},
                                             {"--assignor", "best"},
                                             {"--session-timeout-ms", "5"}}) {
    std::vector<std::string> arguments = {"consume", "t", "-g", "g"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    EXPECT_EQ(RunThere(arguments).code, kExitUsage) << more[0] << more[1];
  }
  EXPECT_EQ(RunThere({"consume", "t", "--instance-id", "i"}).code, kExitUsage);
  EXPECT_EQ(RunThere({"consume", "t", "--assignor", "range"}).code,
            kExitUsage);
}

}  // namespace
}  // namespace sluice::cli
