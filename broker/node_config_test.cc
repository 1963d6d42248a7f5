#include "broker/node_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/error.h"

namespace sluice {
namespace {

using testing::HasSubstr;

NodeFlags Good() {
  NodeFlags flags;
  flags.node_id = 1;
  flags.roles = "controller,broker";
  flags.cluster_name = "test";
  flags.listen = "127.0.0.1:9001";
  flags.internal_listen = "127.0.0.1:9101";
  flags.controllers = "2@127.0.0.1:9102,1@127.0.0.1:9101";
  flags.data_dirs = "/data/a,/data/b";
  return flags;
}

TEST(NodeConfigTest, DefaultsFollowFromWhatWasSaid) {
  const auto config = ParseNodeFlags(Good(), 4);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->advertise, config->listen);
  EXPECT_EQ(config->internal_advertise, config->internal_listen);
  EXPECT_EQ(config->shards, 4);
  EXPECT_EQ(config->data_dirs.size(), 2u);
  EXPECT_EQ(config->controllers[0].id, NodeId(1));
}

TEST(NodeConfigTest, RealtimePriorityIsOffUnlessItIsAskedFor) {
  EXPECT_EQ(ParseNodeFlags(Good(), 4)->realtime_priority, 0);
  for (const int32_t asked : {1, 50}) {
    NodeFlags flags = Good();
    flags.realtime_priority = asked;
    const auto config = ParseNodeFlags(flags, 4);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->realtime_priority, asked);
  }
}

TEST(NodeConfigTest, EachMistakeNamesItsFlag) {
  struct Row {
    void (*change)(NodeFlags&);
    const char* says;
  };
  const Row rows[] = {
      {[](NodeFlags& f) { f.node_id = 0; }, "--node_id"},
      {[](NodeFlags& f) { f.roles = "brocker"; }, "brocker"},
      {[](NodeFlags& f) { f.cluster_name = ""; }, "--cluster_name"},
      {[](NodeFlags& f) { f.listen = "9001"; }, "--listen"},
      {[](NodeFlags& f) { f.listen = "127.0.0.1:99999"; }, "--listen"},
      {[](NodeFlags& f) { f.internal_listen = ""; }, "--internal_listen"},
      {[](NodeFlags& f) { f.controllers = "1:2"; }, "--controllers"},
      {[](NodeFlags& f) { f.controllers = "2@127.0.0.1:1"; }, "not among"},
      {[](NodeFlags& f) { f.controllers += ",1@127.0.0.1:7"; }, "twice"},
      {[](NodeFlags& f) { f.data_dirs = ""; }, "--data_dirs"},
      {[](NodeFlags& f) { f.settings = "durability"; }, "key=value"},
      {[](NodeFlags& f) { f.settings = "a=1,a=2"; }, "twice"},
      {[](NodeFlags& f) { f.shards = -1; }, "--shards"},
      {[](NodeFlags& f) { f.realtime_priority = -1; },
       "--realtime_priority=-1: needs 1 to 50, or 0"},
      {[](NodeFlags& f) { f.realtime_priority = 51; },
       "--realtime_priority=51: needs 1 to 50, or 0"},
      {[](NodeFlags& f) { f.rack = std::string(250, 'r'); }, "--rack: 250"},
      {[](NodeFlags& f) { f.advertise = "0.0.0.0:9001"; }, "--advertise"},
      {[](NodeFlags& f) { f.internal_advertise = "[::]:9101"; },
       "--internal_advertise"},
      {[](NodeFlags& f) { f.metrics_listen = "x"; }, "--metrics_listen"},
      {[](NodeFlags& f) { f.memory.produce_bytes = 1 << 20; },
       "--produce_memory_bytes"},
      {[](NodeFlags& f) { f.memory.fetch_bytes = 0; }, "--fetch_memory_bytes"},
      {[](NodeFlags& f) { f.memory.subscribe_bytes = -1; },
       "--subscribe_memory_bytes"},
      {[](NodeFlags& f) { f.memory.replication_bytes = 1 << 20; },
       "--replication_memory_bytes"},
  };
  for (const Row& row : rows) {
    NodeFlags flags = Good();
    row.change(flags);
    const auto config = ParseNodeFlags(flags, 2);
    EXPECT_EQ(CodeOf(config.status()), ErrorCode::kInvalidRequest) << row.says;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(row.says));
  }
}

TEST(NodeConfigTest, AListenerBeyondLoopbackNeedsInsecure) {
  NodeFlags flags = Good();
  flags.listen = "0.0.0.0:9001";
  const auto refused = ParseNodeFlags(flags, 2);
  EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kInsecureListener);
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("--insecure"));
  flags.insecure = true;
  // Nobody could connect to what they would be told.
  EXPECT_THAT(std::string(ParseNodeFlags(flags, 2).status().message()),
              HasSubstr("--advertise=0.0.0.0:9001"));
  flags.advertise = "10.0.0.1:9001";
  EXPECT_TRUE(ParseNodeFlags(flags, 2).ok());
}

}  // namespace
}  // namespace sluice
