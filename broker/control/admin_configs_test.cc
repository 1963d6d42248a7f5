// Configs of topics at a broker: altered by the active controller, described
// from the broker's own metadata.
#include <gtest/gtest.h>

#include "broker/control/admin_world_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

class AdminConfigsTest : public AdminTest {
 protected:
  AdminConfigsTest() {
    Start(Deps());
    fake_.at(1).alter_configs = [this](const v1::AlterConfigsRequest& request)
        -> absl::StatusOr<v1::AlterConfigsResponse> {
      auto result =
          ConfigControl(cluster_.image(), cluster_.configs()).Alter(request);
      if (!result.ok()) return result.status();
      cluster_.Apply(result->batch);
      result->response.set_metadata_offset(cluster_.image().offset().value());
      return result->response;
    };
  }
};

TEST_F(AdminConfigsTest, ConfigsAreAlteredByTheControllerAndDescribedHere) {
  cluster_.CreateOn("t", {1, 2, 3});
  Publish();
  v1::AlterConfigsRequest alter;
  auto* resource = alter.add_resources();
  resource->mutable_resource()->set_type(v1::ConfigResource::TYPE_TOPIC);
  resource->mutable_resource()->set_name("t");
  auto* change = resource->add_changes();
  change->set_name("flush.ms");
  change->set_operation(v1::ConfigChange::OPERATION_SET);
  change->set_value("7");
  Caught<v1::AlterConfigsResponse> altered;
  admin_->AlterConfigs(context_, alter, altered.Reply());
  fake_.world.RunFor(1'000'000);
  EXPECT_EQ(altered.times, 0);  // committed, but not here yet
  Publish();
  ASSERT_EQ(altered.times, 1);
  EXPECT_FALSE(altered.answer->results(0).has_error());

  v1::DescribeConfigsRequest describe;
  for (const char* name : {"t", "nope"}) {
    auto* asked = describe.add_resources();
    *asked->mutable_resource() = resource->resource();
    asked->mutable_resource()->set_name(name);
    asked->add_names("flush.ms");
    asked->add_names("min.insync.replicas");
  }
  *describe.add_resources() = describe.resources(0);
  describe.mutable_resources(2)->add_names("no.key");
  Caught<v1::DescribeConfigsResponse> described;
  admin_->DescribeConfigs(context_, describe, described.Reply());
  fake_.world.RunFor(100'000);
  ASSERT_TRUE(described.answer.ok()) << described.answer.status();
  const auto& results = described.answer->results();
  ASSERT_EQ(results.size(), 3);
  ASSERT_EQ(results[0].configs_size(), 2);
  EXPECT_EQ(results[0].configs(0).value(), "7");
  EXPECT_EQ(results[0].configs(1).source(), v1::ConfigEntry::SOURCE_DEFAULT);
  const auto code = [&](int i) {
    return CodeFromNumber(static_cast<int32_t>(results[i].error().code()));
  };
  EXPECT_EQ(code(1), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(code(2), ErrorCode::kInvalidConfig);
  EXPECT_EQ(results[2].configs_size(), 0);
}

TEST_F(AdminConfigsTest, ConfigsOfNothingAreNoRequest) {
  Caught<v1::AlterConfigsResponse> altered;
  Caught<v1::DescribeConfigsResponse> described;
  admin_->AlterConfigs(context_, {}, altered.Reply());
  admin_->DescribeConfigs(context_, {}, described.Reply());
  fake_.world.RunFor(100'000);
  EXPECT_EQ(altered.code(), ErrorCode::kInvalidRequest);
  EXPECT_EQ(described.code(), ErrorCode::kInvalidRequest);
}

}  // namespace
}  // namespace sluice
