// A broker's directories and its facts. What it does as a whole is held by
// test/sim.
#include "broker/broker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "broker/control/fake_controllers_testing.h"
#include "common/base/error.h"
#include "common/env/mem_file_system.h"
#include "storage/dir_store.h"
#include "storage/mem_kv_store.h"

namespace sluice {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class NoConnector final : public ReplicationConnector {
 public:
  std::shared_ptr<FollowerStream> Open(const api::Endpoint&, Executor*,
                                       StreamEvents<LeaderFrame>) override {
    return nullptr;
  }
};

class BrokerTest : public testing::Test {
 protected:
  Broker::Deps Deps(const std::vector<std::string>& directories) {
    Broker::Deps deps;
    deps.fs = &fs_;
    deps.clock = &fake_.world;
    deps.control_executor = fake_.executor.get();
    for (Executor** executor :
         {&deps.replication_executor, &deps.io_executor,
          &deps.worker_executor}) {
      *executor = NewExecutor();
    }
    deps.shard_executors = {NewExecutor(), NewExecutor()};
    for (const std::string& path : directories) {
      deps.directories.push_back({path, NewExecutor()});
    }
    deps.controllers = fake_.Deps().controllers;
    deps.replication_connector = &connector_;
    deps.configs = *ConfigRegistry::Make({});
    deps.view_files.open = [this](const std::string&)
        -> absl::StatusOr<std::unique_ptr<KvStore>> {
      return std::make_unique<MountedKvStore>(&views_);
    };
    deps.view_files.set_aside = [this](const std::string&) {
      views_.Wipe();
      return absl::OkStatus();
    };
    deps.view_files.open_checkpoint = [this](const std::string& path)
        -> absl::StatusOr<std::unique_ptr<KvStore>> {
      return MemKvStore::OpenCheckpoint(fs_, path);
    };
    views_.SetFiles(&fs_);
    deps.node_id = NodeId(4);
    deps.cluster_name = "test";
    deps.public_endpoint = {"b4", 9000};
    deps.internal_endpoint = {"b4", 9100};
    deps.boot_id = "boot-1";
    deps.random_seed = ++seed_;
    deps.on_fatal = [this](absl::Status why) { fatal_.push_back(why); };
    deps.on_serving = [this](bool serving) { serving_ = serving; };
    return deps;
  }
  Executor* NewExecutor() {
    executors_.push_back(fake_.world.NewExecutor());
    return executors_.back().get();
  }
  absl::Status TryOpen(const std::vector<std::string>& directories) {
    return Broker::Open(Deps(directories)).status();
  }
  // A directory as another broker has left it.
  void Own(const std::string& path, ClusterId cluster, int node) {
    Random random(++seed_);
    ASSERT_TRUE(CreateDirectories(fs_, path).ok());
    auto store = DirStore::Open({&fs_, &random}, path, {}, "boot-0");
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_TRUE((*store)->SetIdentity(cluster, NodeId(node)).ok());
  }
  // Registers it in `cluster_` and lets it serve.
  void BringUp() {
    fake_.at(1).register_broker =
        [this](const internal::v1::RegisterBrokerRequest& request)
        -> absl::StatusOr<internal::v1::RegisterBrokerResponse> {
      registration_ = request;
      cluster_.Register(request);
      internal::v1::RegisterBrokerResponse response;
      response.set_broker_epoch(cluster_.EpochOf(4).value());
      return response;
    };
    fake_.at(1).report_replicas = [](const auto&)
        -> absl::StatusOr<internal::v1::ReportReplicasResponse> {
      return internal::v1::ReportReplicasResponse();
    };
    fake_.at(1).allocate_producer_ids = [](const auto&)
        -> absl::StatusOr<internal::v1::AllocateProducerIdsResponse> {
      internal::v1::AllocateProducerIdsResponse response;
      response.set_first_producer_id(1000);
      response.set_count(1000);
      return response;
    };
    fake_.SetActive(1);
    broker_->Start();
    Run(300);
    cluster_.Unfence(4);
    for (auto& controller : fake_.controllers) {
      if (controller->feeds.empty()) continue;
      controller->feeds.back()->Answer(
          MetadataPiece(cluster_.log(), 0, cluster_.log().size(), 0));
    }
    Answer(/*may_shutdown=*/false);
    Run(300);
  }
  void Answer(bool may_shutdown) {
    internal::v1::LivenessResponse answer;
    answer.set_committed_metadata_offset(cluster_.image().offset().value());
    answer.set_may_shutdown(may_shutdown);
    fake_.at(1).sessions.back()->Answer(answer);
  }
  void Run(int64_t ms) { fake_.world.RunFor(ms * 1000); }

  ControlWorld fake_;
  MemFileSystem fs_;
  MemKvStore views_;
  NoConnector connector_;
  TestCluster cluster_;
  std::vector<std::unique_ptr<Executor>> executors_;
  uint64_t seed_ = 0;
  std::vector<absl::Status> fatal_;
  bool serving_ = false;
  internal::v1::RegisterBrokerRequest registration_;
  std::unique_ptr<Broker> broker_;
};

TEST_F(BrokerTest, ADirectoryInUseIsRefused) {
  auto first = Broker::Open(Deps({"/data/a"}));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(CodeOf(TryOpen({"/data/a"})), ErrorCode::kDataDirInUse);
  first->reset();
  EXPECT_TRUE(TryOpen({"/data/a"}).ok());
}

TEST_F(BrokerTest, ADirectoryOfAnotherNodeIsRefused) {
  Own("/data/a", TestCluster::cluster_id(), 5);
  EXPECT_EQ(CodeOf(TryOpen({"/data/a"})), ErrorCode::kDataDirMismatch);
}

TEST_F(BrokerTest, DirectoriesOfTwoClustersAreRefused) {
  Own("/data/a", TestCluster::cluster_id(), 4);
  Own("/data/b", ClusterId(Uuid(8, 8)), 4);
  EXPECT_EQ(CodeOf(TryOpen({"/data/a", "/data/b"})),
            ErrorCode::kDataDirMismatch);
}

TEST_F(BrokerTest, ANewDirectoryBesideAnOwnedOneIsWelcome) {
  Own("/data/a", TestCluster::cluster_id(), 4);
  EXPECT_TRUE(TryOpen({"/data/a", "/data/b"}).ok());
}

TEST_F(BrokerTest, RegistersWithItsListenersAndDirectories) {
  broker_ = *Broker::Open(Deps({"/data/a", "/data/b"}));
  BringUp();
  EXPECT_TRUE(serving_);
  ASSERT_EQ(registration_.listeners_size(), 2);
  EXPECT_EQ(registration_.listeners(0).name(), kPublicListener);
  EXPECT_EQ(registration_.listeners(0).protocol(), "GRPC");
  EXPECT_EQ(registration_.listeners(1).name(), kInternalListener);
  EXPECT_EQ(registration_.listeners(1).endpoint().port(), 9100);
  ASSERT_EQ(registration_.directories_size(), 2);
  EXPECT_NE(registration_.directories(0).id(),
            registration_.directories(1).id());
  EXPECT_EQ(registration_.directories(0).clean_broker_epoch(), -1);
  EXPECT_EQ(registration_.boot_id(), "boot-1");
}

TEST_F(BrokerTest, ACleanStopIsSeenByTheNextLife) {
  broker_ = *Broker::Open(Deps({"/data/a"}));
  BringUp();
  const std::string incarnation = registration_.incarnation_id();
  const int64_t epoch = cluster_.EpochOf(4).value();
  absl::Status stopped = absl::UnknownError("not yet");
  broker_->RequestStop([&](absl::Status status) { stopped = status; });
  Run(10);
  Answer(/*may_shutdown=*/true);
  Run(100);
  ASSERT_TRUE(stopped.ok()) << stopped;
  EXPECT_FALSE(serving_);
  broker_.reset();
  fs_.Kill();

  cluster_.Fence(4);
  broker_ = *Broker::Open(Deps({"/data/a"}));
  BringUp();
  EXPECT_EQ(registration_.directories(0).clean_broker_epoch(), epoch);
  EXPECT_NE(registration_.incarnation_id(), incarnation);
}

TEST_F(BrokerTest, FactsAreTheSumOfItsParts) {
  broker_ = *Broker::Open(Deps({"/data/a"}));
  cluster_.StartAll(1);
  BringUp();
  cluster_.CreateOn("t", {4}, {}, 5);
  const auto& log = cluster_.log();
  for (auto& controller : fake_.controllers) {
    if (controller->feeds.empty()) continue;
    controller->feeds.back()->Answer(
        MetadataPiece(log, log.size() - 1, log.size(),
                      log[log.size() - 2].offset.value()));
  }
  Run(300);
  std::vector<BrokerFacts> collected;
  const auto executor = fake_.world.NewExecutor();
  broker_->CollectFacts(executor.get(), [&](BrokerFacts facts) {
    collected.push_back(std::move(facts));
  });
  Run(10);
  ASSERT_THAT(collected, SizeIs(1));
  const BrokerFacts& facts = collected[0];
  EXPECT_EQ(facts.state, "running");
  EXPECT_TRUE(facts.serving);
  EXPECT_EQ(facts.replicas, 5);  // over both shards
  EXPECT_EQ(facts.leaders, 5);
  EXPECT_EQ(facts.broker_epoch, cluster_.EpochOf(4));
  EXPECT_EQ(facts.metadata_offset, cluster_.image().offset());
  EXPECT_EQ(facts.active_controller, NodeId(1));
  ASSERT_THAT(facts.directories, SizeIs(1));
  EXPECT_EQ(facts.directories[0].path, "/data/a");
  EXPECT_GT(facts.directories[0].commit_rounds, 0);  // epoch starts
  EXPECT_TRUE(fatal_.empty()) << fatal_[0];
}

TEST_F(BrokerTest, BeforeItKnowsAnythingRequestsGetRetriableErrors) {
  broker_ = *Broker::Open(Deps({"/data/a"}));
  broker_->Start();
  api::ProduceRequest request;
  auto& asked = request.partitions.emplace_back();
  asked.topic.name = "t";
  asked.partition = PartitionIndex(0);
  asked.payload = MutableBuffer::CopyOf("x");
  ErrorCode code = ErrorCode::kNone;
  broker_->Produce({}, std::move(request), nullptr,
                   [&](absl::Status, api::ProduceResponse response) {
                     code = response.results.at(0).error.code;
                   });
  Run(10);
  EXPECT_EQ(code, ErrorCode::kBrokerNotAvailable);
  EXPECT_TRUE(IsRetriable(code));
}

}  // namespace
}  // namespace sluice
