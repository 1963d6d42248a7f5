#include "tools/dev_cluster.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/base/error.h"
#include "tools/dev_guardian.h"
#include "tools/process.h"

namespace sluice::cli {
namespace {

constexpr int64_t kLongUs = 60'000'000;

// A script plays sluiced: processes are the subject here, no port is opened.
class DevClusterTest : public testing::Test {
 protected:
  DevClusterTest() {
    std::string path = testing::TempDir() + "/dev-cluster-XXXXXX";
    directory_ = mkdtemp(path.data());
    // The script stays the process, so that the flag file is among its
    // arguments, and ends at SIGTERM.
    WriteScript("sluiced",
                "echo started $1\ntrap 'exit 0' TERM\n"
                "while :; do sleep 0.01; done\n");
  }
  ~DevClusterTest() override {
    const DevCluster cluster = Cluster();
    cluster.Stop(cluster.nodes(), /*kill=*/true);
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  void WriteScript(const std::string& name, const std::string& body) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path) << "#!/bin/sh\n" << body;
    chmod(path.c_str(), 0755);
  }
  std::string Sluiced() const { return directory_ + "/sluiced"; }
  DevCluster Cluster() const { return DevCluster(directory_, {.nodes = 2}); }
  std::string TextOf(const std::string& path) const {
    return ReadWholeFile(path).value_or("");
  }

  std::string directory_;
};

class RunningNodeTest : public DevClusterTest {
 protected:
  RunningNodeTest() { EXPECT_TRUE(Cluster().WriteFiles().ok()); }
  DevNode node_ = NodesOf({.nodes = 2})[0];
};

TEST_F(DevClusterTest, FilesAreWhereTheyArePromised) {
  ASSERT_TRUE(Cluster().WriteFiles().ok());

  EXPECT_TRUE(DevCluster::Exists(directory_));
  EXPECT_NE(TextOf(directory_ + "/node-2/sluiced.flags").find("--node_id=2\n"),
            std::string::npos);
  const auto loaded = DevCluster::Load(directory_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->shape(), Cluster().shape());
}

TEST_F(DevClusterTest, ADirectoryWithoutAClusterSaysHowToMakeOne) {
  EXPECT_FALSE(DevCluster::Exists(directory_));
  const auto loaded = DevCluster::Load(directory_);

  ASSERT_FALSE(loaded.ok());
  EXPECT_NE(loaded.status().message().find("sluice dev --dir"),
            absl::string_view::npos);
}

TEST_F(DevClusterTest, ADamagedDescriptionIsNamed) {
  std::ofstream(directory_ + "/dev.json") << "{";

  const auto loaded = DevCluster::Load(directory_);

  ASSERT_FALSE(loaded.ok());
  EXPECT_NE(loaded.status().message().find("dev.json"),
            absl::string_view::npos);
}

TEST_F(DevClusterTest, UnknownNodesAreToldWhatThereIs) {
  const auto found = Cluster().Find("node-9");

  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.status().message().find("node-1, node-2"),
            absl::string_view::npos);
  EXPECT_EQ(Cluster().Find("node-2").value().id, 2);
  EXPECT_EQ(Cluster().FindId(1).value().name, "node-1");
  EXPECT_FALSE(Cluster().FindId(7).ok());
}

TEST_F(RunningNodeTest, StartsOnceAndStopsCleanly) {
  const DevCluster cluster = Cluster();

  const auto pid = cluster.Start(node_, Sluiced());

  ASSERT_TRUE(pid.ok()) << pid.status();
  EXPECT_EQ(cluster.PidOf(node_), *pid);
  EXPECT_EQ(TextOf(cluster.PathOf(node_, "sluiced.pid")),
            std::to_string(*pid) + "\n");
  const auto again = cluster.Start(node_, Sluiced());
  ASSERT_FALSE(again.ok());
  EXPECT_NE(again.status().message().find("runs already"),
            absl::string_view::npos);

  cluster.Stop({node_}, /*kill=*/false);

  EXPECT_EQ(cluster.PidOf(node_), std::nullopt);
  EXPECT_FALSE(std::filesystem::exists(cluster.PathOf(node_, "sluiced.pid")));
  EXPECT_FALSE(cluster.Crashed(node_));
}

TEST_F(RunningNodeTest, AKillThatWasAskedForIsNoCrash) {
  const DevCluster cluster = Cluster();
  const auto pid = cluster.Start(node_, Sluiced());
  ASSERT_TRUE(pid.ok());

  EXPECT_TRUE(cluster.Stop({node_}, /*kill=*/true));

  EXPECT_FALSE(IsAlive(*pid));
  EXPECT_FALSE(cluster.Crashed(node_));
}

TEST_F(RunningNodeTest, AProcessThatDiesByItselfIsACrashUntilForgotten) {
  const DevCluster cluster = Cluster();
  const auto pid = cluster.Start(node_, Sluiced());
  ASSERT_TRUE(pid.ok());
  EXPECT_FALSE(cluster.Crashed(node_));

  kill(*pid, SIGKILL);
  ASSERT_TRUE(WaitGone(*pid, kLongUs));

  EXPECT_EQ(cluster.PidOf(node_), std::nullopt);
  EXPECT_TRUE(cluster.Crashed(node_));
  cluster.ForgetCrash(node_);
  EXPECT_FALSE(cluster.Crashed(node_));
}

TEST_F(RunningNodeTest, ANumberThatAnotherProcessGotIsNotTheNode) {
  std::ofstream(Cluster().PathOf(node_, "sluiced.pid")) << getpid() << "\n";

  EXPECT_EQ(Cluster().PidOf(node_), std::nullopt);
}

TEST_F(RunningNodeTest, AStartThatFailsShowsTheEndOfTheLog) {
  WriteScript("sluiced", "echo data directory is of another cluster\nexit 3\n");
  const DevCluster cluster = Cluster();
  const auto pid = cluster.Start(node_, Sluiced());
  ASSERT_TRUE(pid.ok());

  const auto listening = cluster.AwaitListening(node_, *pid, kLongUs);

  ASSERT_FALSE(listening.ok());
  EXPECT_NE(listening.message().find("node-1 ended while starting"),
            absl::string_view::npos);
  EXPECT_NE(listening.message().find("data directory is of another cluster"),
            absl::string_view::npos);
}

TEST_F(RunningNodeTest, LogsAreCutInPlaceAndKeptOnce) {
  const DevCluster cluster = Cluster();
  const std::string path = cluster.PathOf(node_, "sluiced.log");
  std::ofstream(path) << "old line\n";
  std::filesystem::resize_file(path, 33 << 20);

  cluster.RotateLogs();

  EXPECT_EQ(std::filesystem::file_size(path), 0u);
  EXPECT_EQ(std::filesystem::file_size(path + ".1"), size_t{33} << 20);
  cluster.RotateLogs();  // small: left alone
  EXPECT_EQ(std::filesystem::file_size(path + ".1"), size_t{33} << 20);
}

// The parent, a child of this test, dies without stopping its nodes.
TEST_F(RunningNodeTest, TheGuardianStopsTheNodesOfADeadParent) {
  const DevCluster cluster = Cluster();
  const pid_t parent = fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    const auto guardian = DevGuardian::Start(cluster);
    const bool started = guardian.ok() &&
                         cluster.Start(cluster.nodes()[0], Sluiced()).ok() &&
                         cluster.Start(cluster.nodes()[1], Sluiced()).ok();
    if (!started) _exit(1);
    kill(getpid(), SIGKILL);
  }
  int how = 0;
  ASSERT_EQ(waitpid(parent, &how, 0), parent);
  ASSERT_TRUE(WIFSIGNALED(how));

  for (const DevNode& node : cluster.nodes()) {
    for (int64_t waited_us = 0;
         std::filesystem::exists(cluster.PathOf(node, "sluiced.pid")) &&
         waited_us < kLongUs;
         waited_us += 10'000) {
      usleep(10'000);
    }
    EXPECT_EQ(cluster.PidOf(node), std::nullopt);
    EXPECT_FALSE(cluster.Crashed(node));
  }
}

TEST_F(RunningNodeTest, ADismissedGuardianTouchesNothing) {
  const DevCluster cluster = Cluster();
  auto guardian = DevGuardian::Start(cluster);
  ASSERT_TRUE(guardian.ok());
  ASSERT_TRUE(cluster.Start(node_, Sluiced()).ok());

  guardian->reset();  // waits for it to end

  EXPECT_TRUE(cluster.PidOf(node_).has_value());
  cluster.Stop({node_}, /*kill=*/true);
}

TEST_F(DevClusterTest, SluicedIsFoundWhereItIsNamed) {
  EXPECT_EQ(*FindSluiced(Sluiced()),
            std::filesystem::canonical(Sluiced()).string());
  const auto missing = FindSluiced(directory_ + "/nothing");
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.status().message().find("bazel build //broker:sluiced"),
            absl::string_view::npos);
}

TEST(LastLinesTest, AreTheLastOnesWhetherOrNotTheFileEndsInANewline) {
  const std::string path = testing::TempDir() + "/last-lines";
  std::ofstream(path) << "a\nb\nc\nd\n";
  EXPECT_EQ(LastLines(path, 2), "c\nd\n");
  std::ofstream(path) << "a\nb\nc";
  EXPECT_EQ(LastLines(path, 2), "b\nc");
  EXPECT_EQ(LastLines(path, 10), "a\nb\nc");
  EXPECT_EQ(LastLines(path + ".none", 2), "");
  unlink(path.c_str());
}

}  // namespace
}  // namespace sluice::cli
