#include "controller/metadata/gray_failure_core.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using Kind = GrayFailureAction::Kind;

constexpr int64_t kBeatUs = 300'000;

struct Latency {
  int64_t mean_us = 500;
  int64_t oldest_us = 0;
  int samples = 3;
};

// Heartbeats of all brokers every 300 ms; demotions and clearances are carried
// out at once.
class GrayFailureCoreTest : public testing::Test {
 protected:
  explicit GrayFailureCoreTest(const GrayFailureOptions& options = {})
      : core_(options) {}

  void Start(int brokers) {
    cluster_.StartAll(brokers);
    for (int id = 1; id <= brokers; ++id) syncs_[id] = {};
  }
  void Hang(int id) { hung_since_us_[id] = now_us_; }
  void Free(int id) { hung_since_us_.erase(id); }

  void RunFor(int64_t us) {
    for (const int64_t end_us = now_us_ + us; now_us_ < end_us;) {
      now_us_ += kBeatUs;
      for (const auto& [id, latency] : syncs_) Beat(id, latency);
      for (const GrayFailureAction& action :
           core_.Judge(cluster_.image(), now_us_)) {
        Carry(action);
      }
    }
  }
  void Beat(int id, Latency latency) {
    const auto hung = hung_since_us_.find(id);
    if (hung != hung_since_us_.end()) {
      latency = {0, now_us_ - hung->second, 0};
    }
    if (silent_.count(id)) return;
    internal::v1::LivenessRequest beat;
    auto* told = of_appends_ ? beat.mutable_appends() : beat.mutable_syncs();
    told->set_samples(latency.samples);
    told->set_mean_us(latency.mean_us);
    told->set_oldest_us(latency.oldest_us);
    if (of_appends_) beat.mutable_syncs()->set_samples(1);
    if (full_.count(id)) beat.add_full_log_dirs("/data/" + std::to_string(id));
    core_.OnHeartbeat(NodeId(id), cluster_.EpochOf(id), beat, now_us_);
  }
  void Carry(const GrayFailureAction& action) {
    const int id = action.broker.value();
    const bool demote = action.kind == Kind::kDemote;
    if (demote == cluster_.image().IsDemoted(action.broker)) return;
    done_.push_back((demote ? "demote " : "clear ") + std::to_string(id));
    cluster_.Apply(demote
                       ? BrokerControl(cluster_.image(), cluster_.configs())
                             .Demote(action.broker, action.epoch)
                       : BrokerControl(cluster_.image(), cluster_.configs())
                             .ClearDemotion(action.broker, action.epoch));
  }

  using Done = std::vector<std::string>;
  TestCluster cluster_;
  GrayFailureCore core_;
  int64_t now_us_ = 1'000'000;
  std::map<int, Latency> syncs_;  // by broker
  std::map<int, int64_t> hung_since_us_;
  std::set<int> silent_;
  std::set<int> full_;
  bool of_appends_ = false;
  Done done_;
};

TEST_F(GrayFailureCoreTest, TheFlagsAreTheDefaults) {
  const GrayFailureOptions flags = GrayFailureOptions::Of(cluster_.configs());
  const GrayFailureOptions defaults;
  EXPECT_EQ(flags.latency_us, defaults.latency_us);
  EXPECT_EQ(flags.ratio, defaults.ratio);
  EXPECT_EQ(flags.demote_us, defaults.demote_us);
  EXPECT_EQ(flags.clear_us, defaults.clear_us);
}

// gray.failure.latency.ms=3600000.
class DemotionsOffTest : public GrayFailureCoreTest {
 protected:
  DemotionsOffTest()
      : GrayFailureCoreTest(GrayFailureOptions::Of(
            **ConfigRegistry::Make({{kGrayFailureLatencyMs, "3600000"}}))) {}
};

TEST_F(DemotionsOffTest, WhateverHangsNobodyIsDemoted) {
  Start(3);
  Hang(2);
  syncs_[1] = {.mean_us = 5'000'000, .samples = 1};
  // A process whose disk hangs ends long before that.
  RunFor(600'000'000);
  EXPECT_EQ(done_, Done{});
  EXPECT_FALSE(core_.wants_probes());
}

TEST_F(GrayFailureCoreTest, ASyncThatDoesNotEndDemotes) {
  Start(3);
  RunFor(5'000'000);
  EXPECT_FALSE(core_.wants_probes());
  Hang(2);
  RunFor(2'400'000);
  EXPECT_TRUE(core_.wants_probes());  // to have something to compare with
  EXPECT_EQ(done_, Done{});
  RunFor(1'500'000);
  EXPECT_EQ(done_, Done{"demote 2"});
  // It hangs on and is judged no further.
  RunFor(60'000'000);
  EXPECT_EQ(done_, Done{"demote 2"});
}

TEST_F(GrayFailureCoreTest, SyncsThatTakeLongDemoteAndFastOnesClear) {
  Start(3);
  syncs_[1] = {.mean_us = 1'500'000, .samples = 1};
  RunFor(4'000'000);
  EXPECT_EQ(done_, Done{"demote 1"});
  syncs_[1] = {};
  RunFor(20'000'000);
  EXPECT_EQ(done_, Done{"demote 1"});  // not yet
  RunFor(15'000'000);
  EXPECT_EQ(done_, (Done{"demote 1", "clear 1"}));
  RunFor(3'000'000);
  EXPECT_FALSE(core_.wants_probes());
}

TEST_F(GrayFailureCoreTest, AppendsThatHangDemoteToo) {
  of_appends_ = true;
  Start(3);
  RunFor(1'000'000);
  Hang(3);
  RunFor(4'000'000);
  EXPECT_EQ(done_, Done{"demote 3"});
}

TEST_F(GrayFailureCoreTest, AFullDiskDemotesAndRoomForAWhileClears) {  // F53
  Start(3);
  RunFor(10'000'000);
  full_ = {2};
  RunFor(1'800'000);
  EXPECT_EQ(done_, Done{}) << "a moment without room is none";
  EXPECT_TRUE(core_.wants_probes());
  RunFor(1'000'000);
  EXPECT_EQ(done_, Done{"demote 2"});
  RunFor(60'000'000);
  EXPECT_EQ(done_, Done{"demote 2"}) << "fast, and as full as before";
  full_ = {};
  RunFor(29'000'000);
  full_ = {2};  // what was freed is used up
  RunFor(600'000);
  full_ = {};
  RunFor(29'000'000);
  EXPECT_EQ(done_, Done{"demote 2"});
  RunFor(2'000'000);
  EXPECT_EQ(done_, (Done{"demote 2", "clear 2"}));
  EXPECT_FALSE(core_.wants_probes());
}

TEST_F(GrayFailureCoreTest, WhoHasNoRoomIsNamedWithTheDirectory) {
  Start(3);
  full_ = {3};
  std::string why;
  for (int beat = 0; beat < 10 && why.empty(); ++beat) {
    now_us_ += kBeatUs;
    for (const auto& [id, latency] : syncs_) Beat(id, latency);
    for (const auto& action : core_.Judge(cluster_.image(), now_us_)) {
      why = action.why;
    }
  }
  EXPECT_NE(why.find("no room in /data/3"), std::string::npos) << why;
}

TEST_F(GrayFailureCoreTest, WhereNobodyHasRoomNobodyIsDemoted) {
  Start(3);
  full_ = {1, 2, 3};
  RunFor(60'000'000);
  EXPECT_EQ(done_, Done{});
  full_ = {1, 2};
  RunFor(10'000'000);
  EXPECT_EQ(done_, Done{"demote 1"}) << "half at most";
}

// Whatever a heartbeat says, what is kept of it is bounded.
TEST_F(GrayFailureCoreTest, AHeartbeatOfManyLongDirectoriesIsCut) {
  Start(3);
  internal::v1::LivenessRequest beat;
  for (int i = 0; i < 10'000; ++i) {
    beat.add_full_log_dirs(std::string(10'000, 'd'));
  }
  std::string why;
  for (int n = 0; n < 10 && why.empty(); ++n) {
    now_us_ += kBeatUs;
    Beat(1, {});
    core_.OnHeartbeat(NodeId(2), cluster_.EpochOf(2), beat, now_us_);
    for (const auto& action : core_.Judge(cluster_.image(), now_us_)) {
      why = action.why;
    }
  }
  EXPECT_FALSE(why.empty());
  EXPECT_LT(why.size(), 5'000u);
}

TEST_F(GrayFailureCoreTest, WhereAllAreSlowNobodyIs) {
  Start(3);
  for (auto& [id, latency] : syncs_) latency = {1'500'000 + id * 100'000, 0, 1};
  RunFor(30'000'000);
  EXPECT_EQ(done_, Done{});
  for (const int id : {1, 2, 3}) Hang(id);
  RunFor(30'000'000);
  EXPECT_EQ(done_, Done{});
}

TEST_F(GrayFailureCoreTest, BelowTheLimitOrTheRatioNobodyIsSlow) {
  Start(3);
  syncs_[1].mean_us = 900'000;  // 1,800 times its peers
  RunFor(30'000'000);
  EXPECT_EQ(done_, Done{});
  for (auto& [id, latency] : syncs_) latency.mean_us = 200'000;
  syncs_[1].mean_us = 1'900'000;  // 9.5 times
  RunFor(30'000'000);
  EXPECT_EQ(done_, Done{});
}

TEST_F(GrayFailureCoreTest, APauseIsNoFailure) {
  Start(3);
  for (int i = 0; i < 10; ++i) {
    Hang(2);
    RunFor(2'400'000);  // slow for less than demote_us
    Free(2);
    RunFor(3'000'000);
  }
  EXPECT_EQ(done_, Done{});
}

// Between the two limits nothing changes.
TEST_F(GrayFailureCoreTest, HalfAsBadIsNotCleared) {
  Start(3);
  Hang(1);
  RunFor(4'000'000);
  Free(1);
  syncs_[1] = {.mean_us = 700'000, .samples = 1};
  RunFor(120'000'000);
  EXPECT_EQ(done_, Done{"demote 1"});
  // A relapse begins the wait anew.
  syncs_[1] = {};
  RunFor(20'000'000);
  syncs_[1] = {.mean_us = 700'000, .samples = 1};
  RunFor(1'000'000);
  syncs_[1] = {};
  RunFor(20'000'000);
  EXPECT_EQ(done_, Done{"demote 1"});
  RunFor(15'000'000);
  EXPECT_EQ(done_, (Done{"demote 1", "clear 1"}));
}

TEST_F(GrayFailureCoreTest, NeverMoreThanHalf) {
  Start(5);
  for (const int id : {1, 2}) Hang(id);
  RunFor(10'000'000);
  EXPECT_EQ(done_.size(), 2u);
  Start(4);  // one more; the epochs of the others rise
  Hang(3);
  RunFor(10'000'000);
  EXPECT_EQ(done_.size(), 2u);
}

TEST_F(GrayFailureCoreTest, OfTwoOneMayBeDemotedAndOfOneNone) {
  Start(2);
  RunFor(1'000'000);
  Hang(1);
  RunFor(10'000'000);
  EXPECT_EQ(done_, Done{"demote 1"});
  Hang(2);
  RunFor(10'000'000);
  EXPECT_EQ(done_, Done{"demote 1"});
}

TEST_F(GrayFailureCoreTest, WhoIsAloneIsNotJudged) {
  Start(3);
  silent_ = {2, 3};
  Hang(1);
  RunFor(30'000'000);
  EXPECT_EQ(done_, Done{});
  cluster_.Fence(2);
  cluster_.Fence(3);
  silent_ = {};
  RunFor(30'000'000);
  EXPECT_EQ(done_, Done{});
}

// Heartbeats that stop say nothing: that is for the session.
TEST_F(GrayFailureCoreTest, SilenceBeginsAnew) {
  Start(3);
  RunFor(1'000'000);
  Hang(1);
  RunFor(1'800'000);
  silent_ = {1};
  RunFor(10'000'000);
  EXPECT_EQ(done_, Done{});
  silent_ = {};
  RunFor(1'500'000);
  EXPECT_EQ(done_, Done{});
  RunFor(1'500'000);
  EXPECT_EQ(done_, Done{"demote 1"});
}

TEST_F(GrayFailureCoreTest, ARestartKeepsTheDemotionAndItsClearanceNeedsProof) {
  Start(3);
  RunFor(1'000'000);
  Hang(1);
  RunFor(4'000'000);
  ASSERT_EQ(done_, Done{"demote 1"});
  cluster_.Start(1);
  EXPECT_TRUE(cluster_.image().IsDemoted(NodeId(1)));
  Free(1);
  syncs_[1] = {0, 0, 0};  // nothing is synced: nothing is shown
  RunFor(60'000'000);
  EXPECT_EQ(done_, Done{"demote 1"});
  syncs_[1] = {};
  RunFor(31'000'000);
  EXPECT_EQ(done_, (Done{"demote 1", "clear 1"}));
}

// What a demoted broker leads because nobody else could, it is asked to give
// up again and again.
TEST_F(GrayFailureCoreTest, ADemotionIsToldAgain) {
  Start(3);
  RunFor(1'000'000);
  Hang(1);
  RunFor(4'000'000);
  int told = 0;
  for (int i = 0; i < 20; ++i) {
    now_us_ += kBeatUs;
    for (const int id : {1, 2, 3}) Beat(id, syncs_[id]);
    for (const auto& action : core_.Judge(cluster_.image(), now_us_)) {
      EXPECT_EQ(action.kind, Kind::kDemote);
      EXPECT_EQ(action.broker, NodeId(1));
      EXPECT_NE(action.why.find("ms"), std::string::npos);
      ++told;
    }
  }
  EXPECT_GE(told, 4);
  EXPECT_LE(told, 7);
}

TEST_F(GrayFailureCoreTest, NumbersThatMakeNoSenseAreNone) {
  Start(3);
  syncs_[1] = {.mean_us = -5, .oldest_us = -7, .samples = 1};
  syncs_[2] = {.mean_us = INT64_MAX / 4, .oldest_us = 0, .samples = -3};
  RunFor(30'000'000);
  EXPECT_EQ(done_, Done{});
}

}  // namespace
}  // namespace sluice
