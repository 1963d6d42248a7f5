// Programs that speak Consume, on whole clusters whose brokers stop and die.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "controller/metadata/config_registry.h"
#include "test/sim/checked_cluster.h"
#include "test/sim/consume_program.h"
#include "test/sim/sim_load.h"

namespace sluice::sim {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr int kPartitions = 4;

class ConsumeSimTest : public testing::Test {
 protected:
  void Boot() {
    SimOptions options;
    options.separate = true;
    options.settings[kGroupMinSessionTimeoutMs] = "100";
    options.settings[kGroupInitialRebalanceDelayMs] = "0";
    cluster_ = std::make_unique<CheckedCluster>(std::move(options), 1);
    cluster_->BootAll();
    ASSERT_TRUE(cluster_->AwaitHealthy()) << cluster_->Health();
    ASSERT_TRUE(cluster_->CreateTopic("t", kPartitions, 3).ok());
    ASSERT_TRUE(cluster_->AwaitHealthy()) << cluster_->Health();
    load_ = std::make_unique<SimLoad>(cluster_.get(), "t", kPartitions);
    plan_.id = "g";
    plan_.topics = {"t"};
    plan_.assignors = {consumer::Assignor::kCooperativeSticky};
    plan_.session_ms = 3'000;
    plan_.poll_interval_ms = 4'000;
  }
  ConsumeProgram& Join() {
    ConsumeProgram::Deps deps;
    deps.cluster = cluster_.get();
    deps.plan = &plan_;
    deps.number = static_cast<int>(programs_.size());
    deps.counts = &counts_;
    deps.report = [](const std::string& what) { ADD_FAILURE() << what; };
    deps.on_record = [this](const NamedPartition& tp,
                            const DecodedRecord& record) {
      given_[tp].insert(record.offset);
    };
    deps.on_owned = [](int32_t, const auto&) {};
    programs_.push_back(std::make_unique<ConsumeProgram>(std::move(deps)));
    return *programs_.back();
  }
  // One generation, in which everything is somebody's.
  bool IsSettled() const {
    std::set<int32_t> generations;
    std::set<NamedPartition> owned;
    for (const auto& program : programs_) {
      if (program == nullptr || program->over()) continue;
      generations.insert(program->generation());
      owned.merge(program->Assignment());
    }
    return generations.size() == 1 && *generations.begin() >= 0 &&
           owned.size() == kPartitions;
  }
  int64_t given() const {
    int64_t count = 0;
    for (const auto& [tp, offsets] : given_) {
      count += static_cast<int64_t>(offsets.size());
    }
    return count;
  }
  template <class Predicate>
  bool Await(Predicate done, int64_t limit_us) {
    return cluster_->world().RunUntil(done, limit_us);
  }
  void SendAndExpectAll(int count, int64_t limit_us) {
    load_->Send(count);
    EXPECT_TRUE(Await(
        [&] { return load_->acked() == load_->sent() && given() >= load_->sent(); },
        limit_us))
        << given() << " of " << load_->sent() << ", " << load_->acked();
  }

  GroupPlan plan_;
  ConsumeCounts counts_;
  std::unique_ptr<CheckedCluster> cluster_;
  std::unique_ptr<SimLoad> load_;
  std::map<NamedPartition, std::set<Offset>> given_;
  std::vector<std::unique_ptr<ConsumeProgram>> programs_;
};

TEST_F(ConsumeSimTest, AHalfCloseLeavesAtOnceAndTheOthersHaveItAll) {
  Boot();
  plan_.session_ms = plan_.poll_interval_ms = 60'000;
  Join();
  Join();
  ASSERT_TRUE(Await([&] { return IsSettled(); }, 10 * kSecond));
  SendAndExpectAll(50, 10 * kSecond);
  programs_[0]->Close();
  ASSERT_TRUE(Await([&] { return programs_[0]->over() && IsSettled(); },
                    10 * kSecond));
  EXPECT_EQ(counts_.half_closed, 1);
  SendAndExpectAll(50, 10 * kSecond);
}

TEST_F(ConsumeSimTest, GoesOnByItsTokenWhereABrokerDied) {
  Boot();
  plan_.consume.credit_bytes = 1;
  Join();
  ASSERT_TRUE(Await([&] { return IsSettled(); }, 10 * kSecond));
  SendAndExpectAll(50, 10 * kSecond);
  for (int id = 1; id <= 3; ++id) {
    cluster_->Kill(id);
    SendAndExpectAll(20, 30 * kSecond);
    cluster_->Boot(id);
    ASSERT_TRUE(cluster_->AwaitHealthy()) << cluster_->Health();
  }
  EXPECT_GT(cluster_->network().use(StreamUse::kConsume).broken, 0);
  EXPECT_GT(counts_.resumed, 0);
}

TEST_F(ConsumeSimTest, ABrokerThatStopsNamesAnother) {
  Boot();
  plan_.consume.auto_ack = true;
  Join();
  ASSERT_TRUE(Await([&] { return IsSettled(); }, 10 * kSecond));
  SendAndExpectAll(50, 10 * kSecond);
  for (int id = 1; id <= 3; ++id) {
    ASSERT_TRUE(cluster_->Stop(id));
    SendAndExpectAll(20, 30 * kSecond);
    cluster_->Boot(id);
    ASSERT_TRUE(cluster_->AwaitHealthy()) << cluster_->Health();
  }
  EXPECT_GT(counts_.moved, 0);
}

TEST_F(ConsumeSimTest, WhoGetsNowhereHasHung) {
  Boot();
  ConsumeProgram& hung = Join();
  Join();
  ASSERT_TRUE(Await([&] { return IsSettled(); }, 10 * kSecond));
  hung.Hang(8 * kSecond);
  SendAndExpectAll(50, 30 * kSecond);
  EXPECT_EQ(counts_.stalled, 1);
  EXPECT_TRUE(Await([&] { return IsSettled(); }, 20 * kSecond));
}

// Whoever ends up with what, nothing of it is anybody's no more.
TEST_F(ConsumeSimTest, RestlessOnesLoseNoPartition) {
  Boot();
  plan_.consume.restless_every_us = 400'000;
  for (int i = 0; i < 3; ++i) Join();
  for (int i = 0; i < 10; ++i) {
    load_->Send(20);
    cluster_->world().RunFor(2 * kSecond);
  }
  for (const auto& program : programs_) program->Hurry();
  EXPECT_TRUE(Await([&] { return IsSettled(); }, 30 * kSecond));
  SendAndExpectAll(20, 10 * kSecond);
  EXPECT_GT(counts_.taken_over, 0);
}

}  // namespace
}  // namespace sluice::sim
