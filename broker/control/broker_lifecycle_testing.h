// A BrokerLifecycle among fake controllers. For tests.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "broker/control/broker_lifecycle.h"
#include "broker/control/fake_controllers_testing.h"
#include "common/base/error.h"

namespace sluice {

class BrokerLifecycleTest : public testing::Test {
 protected:
  using LivenessResponse = internal::v1::LivenessResponse;
  using RegisterBrokerRequest = internal::v1::RegisterBrokerRequest;
  using RegisterBrokerResponse = internal::v1::RegisterBrokerResponse;
  using ReplicaVerdict = internal::v1::ReplicaVerdict;
  using ReportReplicasRequest = internal::v1::ReportReplicasRequest;
  using ReportReplicasResponse = internal::v1::ReportReplicasResponse;
  using State = BrokerLifecycle::State;

  static constexpr int kSelf = 4;
  static constexpr int kEpoch = 50;

  static TopicPartition Tp(int n) {
    return {TopicId(Uuid(5, 5)), PartitionIndex(n)};
  }
  static ReplicaVerdict Verdict(int partition, bool lossy = false) {
    ReplicaVerdict verdict;
    verdict.set_topic_id(Tp(partition).topic_id.ToBytes());
    verdict.set_partition(partition);
    verdict.set_last_epoch(3);
    verdict.set_log_end_offset(100);
    verdict.set_lossy(lossy);
    return verdict;
  }

  BrokerLifecycleTest() {
    identity_.node_id = NodeId(kSelf);
    identity_.incarnation = IncarnationId(
        *Uuid::FromBytes(TestCluster::Incarnation(kSelf, 1)));
    identity_.cluster_name = "test";
    auto& directory = identity_.directories.emplace_back();
    directory.set_id(TestCluster::Directory(kSelf));
    directory.set_clean_broker_epoch(-1);
    identity_.boot_id = "boot";
    for (auto& controller : fake_.controllers) {
      controller->register_broker =
          [this](const RegisterBrokerRequest& request)
          -> absl::StatusOr<RegisterBrokerResponse> {
        registrations_.push_back(request);
        if (registration_error_ != ErrorCode::kNone) {
          return MakeError(registration_error_, "no");
        }
        RegisterBrokerResponse response;
        response.set_broker_epoch(epoch_);
        for (const int partition : wanted_) {
          auto* key = response.add_wanted();
          key->set_topic_id(Tp(partition).topic_id.ToBytes());
          key->set_partition(partition);
        }
        return response;
      };
      controller->report_replicas = [this](const ReportReplicasRequest& request)
          -> absl::StatusOr<ReportReplicasResponse> {
        reports_.push_back(request);
        if (report_error_ != ErrorCode::kNone) {
          return MakeError(report_error_, "no");
        }
        return ReportReplicasResponse();
      };
    }
  }
  void Make() {
    BrokerLifecycle::Deps deps;
    deps.executor = fake_.executor.get();
    deps.clock = &fake_.world;
    deps.directory = fake_.directory.get();
    deps.identity = identity_;
    deps.adopt_cluster = [this](ClusterId id,
                                absl::AnyInvocable<void(absl::Status)> done) {
      adopted_.push_back(id);
      done(adopt_status_);
    };
    deps.on_cluster = [this](ClusterId) { ++clusters_; };
    deps.applied = [this] { return applied_; };
    deps.on_committed = [](LogIndex) {};
    deps.fill_latencies = [this](internal::v1::LivenessRequest&) {
      ++latencies_;
    };
    deps.on_change = [this] { serving_.push_back(life_->serving()); };
    deps.on_fatal = [this](absl::Status why) { fatal_.push_back(why); };
    life_ = std::make_unique<BrokerLifecycle>(std::move(deps));
    life_->Start(&host_);
    fake_.SetActive(1);
    fake_.directory->Start();
    Run(50);
  }
  void Run(int64_t ms) { fake_.world.RunFor(ms * 1000); }
  void Recover(std::vector<ReplicaVerdict> verdicts = {}) {
    Tell(std::move(verdicts));
    std::exchange(host_.recovered, nullptr)();
    Run(50);
  }
  void Tell(std::vector<ReplicaVerdict> verdicts) {
    host_.some(std::move(verdicts));
    Run(50);
  }
  // The metadata of a cluster in which this broker is registered.
  void PublishOwn() {
    if (cluster_.image().FindBroker(NodeId(kSelf)) == nullptr) {
      cluster_.Register(TestCluster::Registration(kSelf, 1));
    }
    epoch_ = cluster_.EpochOf(kSelf).value();
    Publish();
  }
  void Publish() {
    applied_ = cluster_.image().offset();
    life_->OnImage(cluster_.shared(), cluster_.changes());
  }
  void Answer(bool fenced, bool may_shutdown = false) {
    LivenessResponse answer;
    answer.set_fenced(fenced);
    answer.set_may_shutdown(may_shutdown);
    answer.set_committed_metadata_offset(applied_.value());
    fake_.at(1).sessions.back()->Answer(answer);
  }
  const internal::v1::LivenessRequest& LastBeat() {
    return fake_.at(1).sessions.back()->received.back();
  }
  void BringUp(bool recovered = true) {
    cluster_.Register(TestCluster::Registration(kSelf, 1));
    epoch_ = cluster_.EpochOf(kSelf).value();
    Make();
    if (recovered) Recover();
    PublishOwn();
    Answer(/*fenced=*/false);
    ASSERT_EQ(life_->state(), State::kRunning);
  }
  // Keeps answering heartbeats.
  void Serve(int64_t ms, bool may_shutdown = false) {
    for (int64_t t = 0; t < ms; t += 100) {
      Answer(false, may_shutdown);
      Run(100);
    }
  }
  void RequestStop() {
    life_->RequestStop([this](absl::Status status) { stopped_ = status; });
  }

  ControlWorld fake_;
  TestCluster cluster_;
  BrokerIdentity identity_;
  FakeReplicaHost host_;
  int64_t epoch_ = kEpoch;
  std::vector<int> wanted_;
  ErrorCode registration_error_ = ErrorCode::kNone;
  ErrorCode report_error_ = ErrorCode::kNone;
  absl::Status adopt_status_;
  LogIndex applied_{0};
  std::vector<RegisterBrokerRequest> registrations_;
  std::vector<ReportReplicasRequest> reports_;
  std::vector<ClusterId> adopted_;
  std::vector<bool> serving_;
  std::vector<absl::Status> fatal_;
  int clusters_ = 0;
  int latencies_ = 0;
  std::optional<absl::Status> stopped_;
  std::unique_ptr<BrokerLifecycle> life_;
};

}  // namespace sluice
