#include "tools/dev_layout.h"

#include <gtest/gtest.h>

#include <set>

#include "common/base/error.h"

namespace sluice::cli {
namespace {

const DevNode& Named(const std::vector<DevNode>& nodes,
                     const std::string& name) {
  for (const DevNode& node : nodes) {
    if (node.name == name) return node;
  }
  ADD_FAILURE() << "no " << name;
  return nodes.front();
}

TEST(DevLayoutTest, CombinedNodesUseThePortsTheIssuePromises) {
  const auto nodes = NodesOf({.nodes = 5, .port_base = 19000});

  ASSERT_EQ(nodes.size(), 5u);
  for (int i = 1; i <= 5; ++i) {
    const DevNode& node = Named(nodes, "node-" + std::to_string(i));
    EXPECT_EQ(node.id, i);
    EXPECT_EQ(node.client_port, 19000 + i);
    EXPECT_EQ(node.internal_port, 19100 + i);
    EXPECT_EQ(node.metrics_port, 19200 + i);
    EXPECT_TRUE(node.is_broker);
    EXPECT_EQ(node.is_controller, i <= 3);  // the first three have both roles
  }
}

TEST(DevLayoutTest, SeparateControllersCountFrom101AndHaveNoClientPort) {
  const auto nodes = NodesOf({.nodes = 2, .controllers = 3});

  ASSERT_EQ(nodes.size(), 5u);
  EXPECT_FALSE(Named(nodes, "node-1").is_controller);
  const DevNode& second = Named(nodes, "controller-2");
  EXPECT_EQ(second.id, 102);
  EXPECT_FALSE(second.is_broker);
  EXPECT_TRUE(second.is_controller);
  EXPECT_EQ(second.client_port, 0);
  EXPECT_EQ(second.internal_port, 9302);
  EXPECT_EQ(second.metrics_port, 9402);
}

TEST(DevLayoutTest, NoTwoProcessesShareAPort) {
  const auto nodes = NodesOf({.nodes = DevShape::kNodesMax,
                              .controllers = DevShape::kControllersMax});
  std::set<int> ports;
  size_t wanted = 0;
  for (const DevNode& node : nodes) {
    for (const int port :
         {node.client_port, node.internal_port, node.metrics_port}) {
      if (port == 0) continue;
      ++wanted;
      ports.insert(port);
      EXPECT_LT(port, 9000 + kDevPortsSpan);
    }
  }
  EXPECT_EQ(ports.size(), wanted);
}

TEST(DevLayoutTest, FlagsNameTheQuorumAndTheDirectory) {
  const DevShape shape{.nodes = 3, .settings = "durability=memory"};

  EXPECT_EQ(FlagsOf(shape, NodesOf(shape)[1], "/tmp/c"),
            "--node_id=2\n"
            "--roles=controller,broker\n"
            "--cluster_name=dev\n"
            "--internal_listen=127.0.0.1:9102\n"
            "--controllers=1@127.0.0.1:9101,2@127.0.0.1:9102,"
            "3@127.0.0.1:9103\n"
            "--data_dirs=/tmp/c/node-2/data\n"
            "--metrics_listen=127.0.0.1:9202\n"
            "--listen=127.0.0.1:9002\n"
            "--set=durability=memory\n");
}

TEST(DevLayoutTest, SplitRolesAreInTheFlags) {
  const DevShape shape{.nodes = 1, .controllers = 1};
  const auto nodes = NodesOf(shape);

  const std::string broker = FlagsOf(shape, nodes[0], "/d");
  const std::string controller = FlagsOf(shape, nodes[1], "/d");

  EXPECT_NE(broker.find("--roles=broker\n"), std::string::npos);
  EXPECT_NE(broker.find("--controllers=101@127.0.0.1:9301\n"),
            std::string::npos);
  EXPECT_NE(controller.find("--roles=controller\n"), std::string::npos);
  EXPECT_NE(controller.find("--node_id=101\n"), std::string::npos);
  EXPECT_EQ(controller.find("--listen="), std::string::npos);
  EXPECT_EQ(controller.find("--set="), std::string::npos);
}

TEST(DevLayoutTest, BootstrapListsTheBrokersOnly) {
  EXPECT_EQ(BootstrapOf({.nodes = 2, .controllers = 3}),
            "127.0.0.1:9001,127.0.0.1:9002");
}

TEST(DevLayoutTest, AShapeSurvivesItsJson) {
  const DevShape shape{.nodes = 4,
                       .controllers = 3,
                       .port_base = 20500,
                       .settings = "min.insync.replicas=2"};

  const auto read = ShapeFromJson(DevJson(shape));

  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, shape);
}

TEST(DevLayoutTest, JsonThatIsNoClusterIsRefused) {
  for (const char* text :
       {"", "{", "[]", "3", "{}",
        R"({"nodes":"3","controllers":0,"portBase":9000,"settings":""})",
        R"({"nodes":0,"controllers":0,"portBase":9000,"settings":""})",
        R"({"nodes":100,"controllers":0,"portBase":9000,"settings":""})",
        R"({"nodes":3,"controllers":10,"portBase":9000,"settings":""})",
        R"({"nodes":3,"controllers":0,"portBase":65400,"settings":""})",
        R"({"nodes":3,"controllers":0,"portBase":9000,"settings":1})"}) {
    const auto read = ShapeFromJson(text);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_EQ(CodeOf(read.status()), ErrorCode::kInvalidRequest);
  }
}

TEST(DevWishesTest, ANewClusterTakesDefaultsWhereNothingWasAsked) {
  EXPECT_EQ(NewShape({}), DevShape());
  EXPECT_EQ(NewShape({.nodes = 5, .settings = "a=b"}),
            (DevShape{.nodes = 5, .settings = "a=b"}));
}

TEST(DevWishesTest, ResumingKeepsWhatIsThere) {
  const DevShape there{
      .nodes = 5, .controllers = 3, .port_base = 12000, .settings = "a=b"};

  EXPECT_EQ(*ResumedShape(there, {}, "/d"), there);
  EXPECT_EQ(*ResumedShape(there, {.nodes = 5, .controllers = 3}, "/d"), there);
  // "any free ports" is content with the ones it has.
  EXPECT_EQ(*ResumedShape(there, {.port_base = 0}, "/d"), there);
  EXPECT_EQ(ResumedShape(there, {.settings = "c=d"}, "/d")->settings, "c=d");
}

TEST(DevWishesTest, ResumingWithAnotherShapeIsRefusedByName) {
  const DevShape there;
  const std::pair<DevWishes, const char*> cases[] = {
      {{.nodes = 5}, "--nodes"},
      {{.controllers = 1}, "--controllers"},
      {{.port_base = 9500}, "--port-base"},
  };
  for (const auto& [wishes, flag] : cases) {
    const auto shape = ResumedShape(there, wishes, "/d");
    ASSERT_FALSE(shape.ok()) << flag;
    EXPECT_NE(shape.status().message().find(flag), absl::string_view::npos);
    EXPECT_NE(shape.status().message().find("/d"), absl::string_view::npos);
  }
}

}  // namespace
}  // namespace sluice::cli
