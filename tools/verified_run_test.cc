// The run that quickstart makes, against brokers in memory; the node that is
// killed is a script.
#include "tools/verified_run.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include "client/fake_cluster_testing.h"
#include "common/env/real_clock.h"
#include "common/env/thread_executor.h"

namespace sluice::cli {
namespace {

constexpr int kPartitions = 6;

class VerifiedRunTest : public testing::Test {
 protected:
  VerifiedRunTest() : brokers_(&world_, 3), executor_("client") {
    std::string path = testing::TempDir() + "/verified-run-XXXXXX";
    directory_ = mkdtemp(path.data());
    const std::string script = directory_ + "/sluiced";
    std::ofstream(script) << "#!/bin/sh\nwhile :; do sleep 0.01; done\n";
    chmod(script.c_str(), 0755);
    cluster_.emplace(directory_, DevShape{.nodes = 3});
    EXPECT_TRUE(cluster_->WriteFiles().ok());
    for (const DevNode& node : cluster_->nodes()) {
      EXPECT_TRUE(cluster_->Start(node, script).ok());
    }
    ClientOptions options;
    options.bootstrap = {FakeCluster::EndpointOf(NodeId(1))};
    client_.emplace(ClientDeps{&executor_, &clock_, &brokers_, 1}, options);
    brokers_.AddTopic("t", kPartitions);
  }
  ~VerifiedRunTest() override {
    client_.reset();
    cluster_->Stop(cluster_->nodes(), /*kill=*/true);
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  std::string FileOf(int lines) {
    const std::string path = directory_ + "/lines";
    std::ofstream file(path);
    for (int i = 1; i <= lines; ++i) file << "line " << i * 7 << "\n";
    return path;
  }
  absl::StatusOr<VerifiedRunResult> Run(const std::string& file) {
    return RunVerified(&*client_, *cluster_, {.file = file, .topic = "t"});
  }

  SimWorld world_;
  RealClock clock_;  // batches linger by it
  FakeCluster brokers_;
  ThreadExecutor executor_;
  std::string directory_;
  std::optional<DevCluster> cluster_;
  std::optional<BlockingClient> client_;
};

TEST_F(VerifiedRunTest, KillsTheLeaderOfPartition0WithLinesInFlight) {
  const auto result = Run(FileOf(2000));

  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->report.Passed());
  EXPECT_EQ(result->report.sent, 2000);
  EXPECT_EQ(result->report.read, 2000);
  EXPECT_EQ(result->killed, "node-1");
  EXPECT_GT(result->in_flight_at_kill, 0);
  EXPECT_FALSE(cluster_->PidOf(*cluster_->Find("node-1")).has_value());
  EXPECT_TRUE(cluster_->PidOf(*cluster_->Find("node-2")).has_value());
}

TEST_F(VerifiedRunTest, TwoLinesAreEnoughToHaveOneInFlight) {
  const auto result = Run(FileOf(2));

  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->report.Passed());
  EXPECT_EQ(result->in_flight_at_kill, 1);
}

TEST_F(VerifiedRunTest, FilesThatLeaveNothingToKillBetweenAreRefused) {
  for (const int lines : {0, 1}) {
    const auto result = Run(FileOf(lines));
    ASSERT_FALSE(result.ok());
    EXPECT_NE(result.status().message().find("at least 2"),
              absl::string_view::npos);
  }
  EXPECT_FALSE(Run(directory_ + "/none").ok());
  EXPECT_FALSE(Run(directory_).ok());
}

// What others wrote before would count as phantoms of this run.
TEST_F(VerifiedRunTest, ATopicWithRecordsIsRefused) {
  ProducerOptions producing;
  {
    BlockingProducer stranger(&*client_, producing);
    ProducerRecord record;
    record.topic = "t";
    record.key = "5";
    record.value = "no line of the file";
    ASSERT_TRUE(stranger.Send(std::move(record), nullptr).ok());
    ASSERT_TRUE(stranger.Flush(60'000'000).ok());
  }

  const auto result = Run(FileOf(100));

  EXPECT_EQ(CodeOf(result.status()), ErrorCode::kInvalidRequest);
  EXPECT_NE(result.status().message().find("needs a topic that is new"),
            absl::string_view::npos);
}

TEST_F(VerifiedRunTest, LinesThatNobodyAcknowledgesDoNotHang) {
  brokers_.produce_errors.assign(10'000, ErrorCode::kInvalidRecord);

  const auto result = Run(FileOf(100));

  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.status().message().find("nothing was killed"),
            absl::string_view::npos)
      << result.status();
}

TEST_F(VerifiedRunTest, ADeadNodeCannotBeKilled) {
  cluster_->Stop({*cluster_->Find("node-1")}, /*kill=*/true);

  const auto result = Run(FileOf(100));

  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.status().message().find("does not run"),
            absl::string_view::npos);
}

}  // namespace
}  // namespace sluice::cli
