#include "broker/process/controller_process.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "broker/process/data_directories.h"
#include "common/base/error.h"
#include "common/env/mem_file_system.h"
#include "common/env/sim_world.h"
#include "storage/mem_kv_store.h"

namespace sluice {
namespace {

// A sole voter talks to nobody.
class NoTransport final : public RaftTransport {
 public:
  void Start(RaftTransportEvents) override {}
  void Stop() override {}
  void Send(NodeId, raft::Message) override {}
};

class NoDialer final : public BrokerDialer {
 public:
  void Dial(const api::Endpoint&, int64_t timeout_us, Executor* executor,
            absl::AnyInvocable<void(DialResult)> reply) override {
    executor->PostAfter(timeout_us, [reply = std::move(reply)]() mutable {
      reply(DialResult::kNoAnswer);
    });
  }
};

class ControllerProcessTest : public testing::Test {
 protected:
  static constexpr char kDirectory[] = "/data/controller";

  absl::Status Boot(int node_id = 1) {
    Kill();
    executor_ = world_.NewExecutor();
    writer_ = world_.NewExecutor();
    ControllerProcess::Deps deps;
    deps.fs = &fs_;
    deps.open_kv = [this](const std::string& path)
        -> absl::StatusOr<std::unique_ptr<KvStore>> {
      opened_ = path;
      return std::make_unique<MountedKvStore>(&kv_);
    };
    deps.clock = &world_;
    deps.executor = executor_.get();
    deps.writer = writer_.get();
    deps.transport = &transport_;
    deps.dialer = &dialer_;
    deps.configs = *ConfigRegistry::Make({});
    deps.node_id = NodeId(node_id);
    deps.cluster_name = "test";
    deps.controllers = {{NodeId(node_id), {"127.0.0.1", 9101}}};
    deps.boot_id = "boot";
    deps.random_seed = ++seed_;
    deps.on_fatal = [this](absl::Status why) { fatal_ = std::move(why); };
    auto process = ControllerProcess::Open(std::move(deps), kDirectory);
    if (!process.ok()) return process.status();
    process_ = *std::move(process);
    return absl::OkStatus();
  }
  void Start() {
    process_->Start();
    world_.RunFor(1'000'000);
  }
  void Kill() {
    process_.reset();
    executor_.reset();
    writer_.reset();
  }
  std::string ClusterIdNow() {
    std::string id;
    process_->api().Hello(
        {}, [&](absl::StatusOr<internal::v1::HelloResponse> hello) {
          id = hello->cluster_id();
        });
    world_.RunFor(1000);
    return id;
  }

  SimWorld world_;
  MemFileSystem fs_;
  MemKvStore kv_;
  NoTransport transport_;
  NoDialer dialer_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Executor> writer_;
  std::unique_ptr<ControllerProcess> process_;
  std::string opened_;
  absl::Status fatal_;
  uint64_t seed_ = 0;
};

TEST_F(ControllerProcessTest, ASoleVoterBecomesAClusterAndStaysIt) {
  ASSERT_TRUE(Boot().ok());
  EXPECT_EQ(opened_, "/data/controller/raft");
  EXPECT_FALSE(process_->cluster_id_at_start().is_set());
  Start();
  const std::string id = ClusterIdNow();
  EXPECT_EQ(id.size(), 16u);
  Kill();
  kv_.Crash();
  fs_.Kill();
  ASSERT_TRUE(Boot().ok());
  EXPECT_EQ(process_->cluster_id_at_start().ToBytes(), id);
  Start();
  EXPECT_EQ(ClusterIdNow(), id);
  MetricSet metrics;
  process_->AddMetrics(metrics);
  EXPECT_EQ(
      metrics.families().at("sluice_controller_active").samples.at({}), 1);
  EXPECT_TRUE(fatal_.ok()) << fatal_;
}

// RA12: else it could vote twice in a term.
TEST_F(ControllerProcessTest, AnIdentityWhoseRaftLogIsGoneIsRefused) {
  ASSERT_TRUE(Boot().ok());
  Start();
  Kill();
  kv_.Wipe();
  const absl::Status refused = Boot();
  EXPECT_EQ(CodeOf(refused), ErrorCode::kStorageError);
  EXPECT_NE(std::string(refused.message()).find("Raft log is gone"),
            std::string::npos);
}

TEST_F(ControllerProcessTest, ADirectoryHasOneNodeAndOneProcess) {
  ASSERT_TRUE(Boot().ok());
  Start();
  Kill();
  EXPECT_EQ(CodeOf(Boot(2)), ErrorCode::kDataDirMismatch);
  ASSERT_TRUE(Boot(1).ok());
  const auto lock = fs_.Lock("/data/controller/lock");
  EXPECT_EQ(CodeOf(lock.status()), ErrorCode::kDataDirInUse);
}

// ST4.
TEST_F(ControllerProcessTest, AFailedWriteOfTheLogIsFatal) {
  ASSERT_TRUE(Boot().ok());
  kv_.FailWriteAfter(1);  // the bootstrap record is written, the vote is not
  Start();
  EXPECT_EQ(CodeOf(fatal_), ErrorCode::kStorageError) << fatal_;
}

TEST_F(ControllerProcessTest, StopsWithinAnElectionTimeout) {
  ASSERT_TRUE(Boot().ok());
  Start();
  bool stopped = false;
  process_->RequestStop([&] { stopped = true; });
  EXPECT_TRUE(world_.RunUntil([&] { return stopped; }, 1'000'000));
}

TEST(DataDirectoriesTest, EachHasOneProcess) {
  MemFileSystem fs;
  const auto first = DataDirectories::Lock(fs, {"/a", "/b/c"});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->controller_path(), "/a/controller");
  EXPECT_EQ(first->broker_paths(),
            (std::vector<std::string>{"/a/broker", "/b/c/broker"}));
  const auto second = DataDirectories::Lock(fs, {"/d", "/b/c"});
  EXPECT_EQ(CodeOf(second.status()), ErrorCode::kDataDirInUse);
  for (const char* again : {"/e", "/e/", "/x/../e", "/e/."}) {
    const auto twice = DataDirectories::Lock(fs, {"/e", again});
    EXPECT_EQ(CodeOf(twice.status()), ErrorCode::kInvalidRequest) << again;
  }
}

}  // namespace
}  // namespace sluice
