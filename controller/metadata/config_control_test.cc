#include "controller/metadata/config_control.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "common/base/error.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using Result = v1::AlterConfigsResult;

ErrorCode CodeIn(const v1::Error& error) {
  return CodeFromNumber(static_cast<int32_t>(error.code()));
}

class ConfigControlTest : public testing::Test {
 protected:
  ConfigControlTest() {
    cluster_.StartAll(3);
    tp_ = cluster_.CreateOn("t", {1, 2, 3});  // min ISR 2
  }

  const std::map<std::string, std::string>& Configs() {
    return cluster_.image().FindTopic("t")->configs;
  }
  static v1::AlterConfigsRequest Asks(const std::string& key,
                                      const std::string& value) {
    v1::AlterConfigsRequest request;
    auto* resource = request.add_resources();
    resource->mutable_resource()->set_type(v1::ConfigResource::TYPE_TOPIC);
    resource->mutable_resource()->set_name("t");
    auto* change = resource->add_changes();
    change->set_name(key);
    change->set_operation(v1::ConfigChange::OPERATION_SET);
    change->set_value(value);
    return request;
  }

  TestCluster cluster_;
  TopicPartition tp_;
};

TEST_F(ConfigControlTest, SetsAndUnsetsSingleKeysAndLeavesTheOthers) {
  cluster_.AlterConfigs("t", {{"flush.ms", "5"}, {"segment.bytes", "9000"}});
  const Result set = cluster_.AlterConfigs("t", {{"flush.ms", "6"}});

  ASSERT_EQ(set.configs_size(), 1);
  EXPECT_EQ(set.configs(0).value(), "6");
  EXPECT_EQ(set.configs(0).source(), v1::ConfigEntry::SOURCE_TOPIC);
  EXPECT_EQ(Configs().at("segment.bytes"), "9000");

  const Result unset = cluster_.AlterConfigs("t", {{"flush.ms", ""}});
  EXPECT_EQ(unset.configs(0).value(), "9223372036854775807");
  EXPECT_EQ(unset.configs(0).source(), v1::ConfigEntry::SOURCE_DEFAULT);
  EXPECT_EQ(Configs().count("flush.ms"), 0u);
  EXPECT_TRUE(cluster_.changes().topics_changed.contains(tp_.topic_id));
}

TEST_F(ConfigControlTest, WhatIsAlreadySoIsNoRecord) {
  cluster_.AlterConfigs("t", {{"flush.ms", "5"}});
  const uint64_t before = cluster_.log().size();
  EXPECT_FALSE(cluster_.AlterConfigs("t", {{"flush.ms", "5"}}).has_error());
  EXPECT_FALSE(cluster_.AlterConfigs("t", {{"segment.bytes", ""}}).has_error());
  EXPECT_EQ(cluster_.log().size(), before);
}

TEST_F(ConfigControlTest, ValidateOnlyChangesNothingAndAnswersAsIfItHad) {
  auto request = Asks("flush.ms", "5");
  request.set_validate_only(true);
  const auto result =
      ConfigControl(cluster_.image(), cluster_.configs()).Alter(request);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->batch.records().empty());
  EXPECT_EQ(result->response.results(0).configs(0).value(), "5");
}

// A value of a megabyte does not come back as a message of a megabyte; what it
// is about and what may be set are left, and no character is cut in two.
TEST_F(ConfigControlTest, AHugeValueIsLeftOutOfTheMessage) {
  std::string value(1 << 20, 'x');
  for (size_t i = 1; i + 1 < value.size(); i += 2) {
    value[i] = '\xc3';
    value[i + 1] = '\xb6';
  }
  const auto result = ConfigControl(cluster_.image(), cluster_.configs())
                          .Alter(Asks("flush.ms", value));
  ASSERT_TRUE(result.ok()) << result.status();
  const std::string& message = result->response.results(0).error().message();
  EXPECT_EQ(CodeIn(result->response.results(0).error()),
            ErrorCode::kInvalidConfig);
  EXPECT_LE(message.size(), kErrorMessageBytesMax);
  EXPECT_NE(message.find("flush.ms=x"), std::string::npos) << message;
  EXPECT_NE(message.find(" bytes left out]"), std::string::npos) << message;
  EXPECT_NE(message.find("1..9223372036854775807"), std::string::npos)
      << message;
  v1::Error sent;
  EXPECT_TRUE(sent.ParseFromString(
      result->response.results(0).error().SerializeAsString()));
}

// One bad change and the topic stays as it is; the other topics change.
TEST_F(ConfigControlTest, EachRefusalHasItsNameAndNoEffect) {
  cluster_.CreateOn("other", {1});
  const auto resource = [](v1::AlterConfigsRequest& r) {
    return r.mutable_resources(0);
  };
  const struct {
    const char* what;
    std::function<void(v1::AlterConfigsRequest&)> spoil;
    ErrorCode code;
    const char* names;
  } rows[] = {
      {"unknown key",
       [&](auto& r) { resource(r)->mutable_changes(0)->set_name("no.key"); },
       ErrorCode::kInvalidConfig, "no.key"},
      {"key of nodes",
       [&](auto& r) {
         resource(r)->mutable_changes(0)->set_name("replica.lag.time.max.ms");
       },
       ErrorCode::kInvalidConfig, "--set"},
      {"no number",
       [&](auto& r) { resource(r)->mutable_changes(0)->set_value("soon"); },
       ErrorCode::kInvalidConfig, "flush.ms=soon"},
      {"out of range",
       [&](auto& r) { resource(r)->mutable_changes(0)->set_value("0"); },
       ErrorCode::kInvalidConfig, "1..9223372036854775807"},
      {"more than there are replicas",
       [&](auto& r) {
         resource(r)->mutable_changes(0)->set_name("min.insync.replicas");
         resource(r)->mutable_changes(0)->set_value("4");
       },
       ErrorCode::kInvalidConfig, "replication factor 3"},
      {"one bad of two",
       [&](auto& r) {
         auto* change = resource(r)->add_changes();
         change->set_name("durability");
         change->set_operation(v1::ConfigChange::OPERATION_SET);
         change->set_value("tape");
       },
       ErrorCode::kInvalidConfig, "durability=tape"},
      {"unset of an unknown key",
       [&](auto& r) {
         auto* change = resource(r)->add_changes();
         change->set_name("no.key");
         change->set_operation(v1::ConfigChange::OPERATION_DELETE);
       },
       ErrorCode::kInvalidConfig, "no.key"},
      {"twice the key",
       [&](auto& r) {
         *resource(r)->add_changes() = resource(r)->changes(0);
       },
       ErrorCode::kInvalidRequest, "flush.ms"},
      {"no operation",
       [&](auto& r) {
         resource(r)->mutable_changes(0)->set_operation(
             v1::ConfigChange::OPERATION_UNSPECIFIED);
       },
       ErrorCode::kInvalidRequest, "operation"},
      {"unset with a value",
       [&](auto& r) {
         resource(r)->mutable_changes(0)->set_operation(
             v1::ConfigChange::OPERATION_DELETE);
       },
       ErrorCode::kInvalidRequest, "DELETE"},
      {"no change", [&](auto& r) { resource(r)->clear_changes(); },
       ErrorCode::kInvalidRequest, "0 changes"},
      {"no topic",
       [&](auto& r) {
         resource(r)->mutable_resource()->set_name(std::string(300, 'x'));
       },
       ErrorCode::kUnknownTopicOrPartition, "xxx"},
      {"no type",
       [&](auto& r) {
         resource(r)->mutable_resource()->set_type(
             v1::ConfigResource::TYPE_UNSPECIFIED);
       },
       ErrorCode::kInvalidRequest, "type 0"},
      {"twice the topic",
       [&](auto& r) { *r.add_resources() = r.resources(0); },
       ErrorCode::kInvalidRequest, "2 times"},
  };
  for (const auto& row : rows) {
    v1::AlterConfigsRequest request = Asks("flush.ms", "5");
    row.spoil(request);
    auto good = Asks("flush.ms", "7");
    good.mutable_resources(0)->mutable_resource()->set_name("other");
    *request.add_resources() = good.resources(0);
    const auto result =
        ConfigControl(cluster_.image(), cluster_.configs()).Alter(request);
    ASSERT_TRUE(result.ok()) << row.what << result.status();
    const auto& refused = result->response.results(0);
    EXPECT_EQ(NameOf(CodeIn(refused.error())), NameOf(row.code)) << row.what;
    EXPECT_NE(refused.error().message().find(row.names), std::string::npos)
        << row.what << ": " << refused.error().message();
    EXPECT_LT(refused.error().message().size(), 900u) << row.what;
    EXPECT_EQ(refused.configs_size(), 0) << row.what;
    ASSERT_EQ(result->batch.records_size(), 1) << row.what;
    EXPECT_EQ(result->batch.records(0).config().resource_name(), "other");
  }
  v1::AlterConfigsRequest late = Asks("flush.ms", "5");
  late.set_timeout_ms(-1);
  EXPECT_EQ(CodeOf(ConfigControl(cluster_.image(), cluster_.configs())
                       .Alter(late)
                       .status()),
            ErrorCode::kInvalidRequest);
}

// Leader and controller must not disagree about these: what a controller would
// write into a new topic is what an unset goes back to.
TEST_F(ConfigControlTest, AnAgreedKeyGoesBackToTheControllersValue) {
  using Defaults = std::map<std::string, std::string>;
  TestCluster cluster(Defaults{{"durability", "memory"}});
  cluster.StartAll(1);
  cluster.CreateOn("u", {1}, {{"durability", "disk"}});
  const Result unset = cluster.AlterConfigs("u", {{"durability", ""}});
  EXPECT_EQ(unset.configs(0).value(), "memory");
  EXPECT_EQ(cluster.image().FindTopic("u")->configs.at("durability"),
            "memory");
}

// ---- F31: min ISR at run time ----

TEST_F(ConfigControlTest, F31RaisedAboveTheIsrWhoLeavesItIsInTheElr) {
  cluster_.SetIsr(tp_, {1, 2});
  ASSERT_TRUE(cluster_.At(tp_).elr.empty());
  cluster_.AlterConfigs("t", {{"min.insync.replicas", "3"}});
  EXPECT_EQ(cluster_.At(tp_).isr, Nodes({1, 2}));
  EXPECT_TRUE(cluster_.At(tp_).elr.empty());  // 3 may lack something

  cluster_.SetIsr(tp_, {1});
  EXPECT_EQ(cluster_.At(tp_).elr, Nodes({2}));
}

TEST_F(ConfigControlTest, F31LoweredToTheIsrTheElrIsGoneInTheSameBatch) {
  cluster_.AlterConfigs("t", {{"min.insync.replicas", "3"}});
  cluster_.SetIsr(tp_, {1});
  ASSERT_EQ(cluster_.At(tp_).elr, Nodes({2, 3}));
  const size_t entries = cluster_.log().size();

  cluster_.AlterConfigs("t", {{"min.insync.replicas", "2"}});
  EXPECT_EQ(cluster_.At(tp_).elr, Nodes({2, 3}));  // one is still too few
  cluster_.AlterConfigs("t", {{"min.insync.replicas", "1"}});
  EXPECT_TRUE(cluster_.At(tp_).elr.empty());
  EXPECT_EQ(cluster_.At(tp_).last_full_isr, Nodes({1}));
  EXPECT_EQ(cluster_.log().size(), entries + 2);

  // From here on 1 commits alone: without it nobody may lead.
  cluster_.Fence(1);
  EXPECT_EQ(cluster_.At(tp_).leader, kNoNode);
}

TEST_F(ConfigControlTest, F31UnsettingCountsAsTheDefaultThatItGivesBack) {
  cluster_.AlterConfigs("t", {{"min.insync.replicas", "3"}});
  cluster_.SetIsr(tp_, {1, 2});
  ASSERT_EQ(cluster_.At(tp_).elr, Nodes({3}));
  cluster_.AlterConfigs("t", {{"min.insync.replicas", ""}});  // 2
  EXPECT_TRUE(cluster_.At(tp_).elr.empty());
}

// ---- Durability at run time ----

// What a restart after a power cut of broker 2 leaves it, which was in the ISR
// together with 1 alone.
class DurabilitySwitchTest : public ConfigControlTest {
 protected:
  void SwitchTo(const std::string& durability) {
    cluster_.AlterConfigs("t", {{"durability", durability}});
  }
  bool Settling() { return cluster_.At(tp_).durability_settling; }
  bool TrustedAfterPowerCut() {
    cluster_.SetIsr(tp_, {1, 2});
    cluster_.Fence(2);
    auto registration =
        TestCluster::Registration(2, cluster_.NextIncarnation(2));
    registration.mutable_directories(0)->set_last_boot_id("before");
    cluster_.Register(registration);
    return Contains(cluster_.At(tp_).unverified_elr, NodeId(2));
  }
};

TEST_F(DurabilitySwitchTest, ToDiskSettlesOnTheLeadersWordOnly) {
  EXPECT_FALSE(Settling());
  SwitchTo("memory");
  EXPECT_FALSE(Settling());
  SwitchTo("disk");
  EXPECT_TRUE(Settling());
  cluster_.SetIsr(tp_, {1, 2});
  EXPECT_TRUE(Settling());
  ASSERT_FALSE(cluster_.Settle(tp_)->results(0).has_error());
  EXPECT_FALSE(Settling());
}

TEST_F(DurabilitySwitchTest, WhatTheLeaderSaidOfAnEarlierSwitchIsStale) {
  SwitchTo("memory");
  SwitchTo("disk");
  auto settled = cluster_.Proposal(tp_, {1, 2, 3});
  settled.mutable_partitions(0)->set_durability_settled(true);
  SwitchTo("memory");
  EXPECT_FALSE(Settling());
  SwitchTo("disk");
  const auto answer = cluster_.Alter(settled);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(CodeIn(answer->results(0).error()),
            ErrorCode::kInvalidUpdateVersion);
  EXPECT_TRUE(Settling());
}

TEST_F(DurabilitySwitchTest, SettledIsRefusedWhereItMeansNothing) {
  EXPECT_EQ(CodeIn(cluster_.Settle(tp_)->results(0).error()),
            ErrorCode::kInvalidRequest);
  SwitchTo("memory");
  SwitchTo("disk");
  auto other_isr = cluster_.Proposal(tp_, {1, 2});
  other_isr.mutable_partitions(0)->set_durability_settled(true);
  EXPECT_EQ(CodeIn(cluster_.Alter(other_isr)->results(0).error()),
            ErrorCode::kInvalidRequest);
  // Below min ISR the ELR may hold records in memory alone.
  cluster_.SetIsr(tp_, {1});
  EXPECT_EQ(CodeIn(cluster_.Settle(tp_)->results(0).error()),
            ErrorCode::kIneligibleReplica);
  EXPECT_TRUE(Settling());
}

TEST_F(DurabilitySwitchTest, RP18TheRulesOfMemoryHoldUntilItHasSettled) {
  cluster_.AlterConfigs("t", {{"min.insync.replicas", "3"}});
  SwitchTo("memory");
  SwitchTo("disk");
  EXPECT_FALSE(TrustedAfterPowerCut());
}

TEST_F(DurabilitySwitchTest, RP18SettledTheRulesOfDiskHold) {
  SwitchTo("memory");
  SwitchTo("disk");
  ASSERT_FALSE(cluster_.Settle(tp_)->results(0).has_error());
  cluster_.AlterConfigs("t", {{"min.insync.replicas", "3"}});
  EXPECT_TRUE(TrustedAfterPowerCut());
}

TEST_F(DurabilitySwitchTest, RP18ToMemoryHoldsAtOnce) {
  cluster_.AlterConfigs("t", {{"min.insync.replicas", "3"}});
  SwitchTo("memory");
  EXPECT_FALSE(TrustedAfterPowerCut());
}

}  // namespace
}  // namespace sluice
