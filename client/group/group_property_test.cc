// Groups of whole consumers under random faults: members that come, leave, die
// and stop polling, calls that are lost or hang, coordinators that move.
// SLUICE_SEED=n replays one.
#include <gtest/gtest.h>

#include <cstdlib>

#include "client/fake_cluster_testing.h"
#include "client/group/fake_groups_testing.h"
#include "client/group/group_consumer.h"
#include "client/producer.h"
#include "common/base/error.h"

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr int kPartitions = 6;

// What happened in all worlds together: a fault that never fired tests nothing.
struct Coverage {
  int64_t assigned = 0, revoked = 0, lost = 0, deaths = 0, leaves = 0,
          pauses = 0, moves = 0, lost_calls = 0, fenced = 0;
};

class GroupWorld {
 public:
  GroupWorld(uint64_t seed, Coverage& coverage)
      : random_(seed), coverage_(coverage) {
    cluster_.AddTopic("t", kPartitions);
    groups_.config.initial_rebalance_delay_us = 200'000;
    groups_.fate = [this](NodeId, const std::string&) { return Fate(); };
    deps_.client = {executor_.get(), &world_, &cluster_, seed};
    for (int id = 1; id <= 3; ++id) {
      deps_.options.bootstrap.push_back(FakeCluster::EndpointOf(NodeId(id)));
    }
    deps_.options.request_timeout_ms = 5'000;
    metadata_ = std::make_unique<MetadataCache>(deps_.client, deps_.options);
    deps_.metadata = metadata_.get();
    deps_.groups = &groups_;
    producer_ = std::make_unique<Producer>(deps_.client, deps_.options,
                                           ProducerOptions(), metadata_.get());
    cooperative_ = random_.OneIn(2);
    apps_.resize(4);
    // Where all are static nothing but what is owed moves a partition.
    const bool all_static = random_.OneIn(4);
    for (size_t i = 0; i < apps_.size(); ++i) {
      if (all_static || random_.OneIn(4)) apps_[i].instance = "i" + std::to_string(i);
    }
  }
  ~GroupWorld() {
    for (App& app : apps_) app.consumer.reset();
    producer_.reset();
  }

  // Random events of a minute or two.
  void Run() {
    for (int step = 0; step < 60; ++step) {
      Produce();
      Act(apps_[random_.Below(apps_.size())]);
      if (random_.OneIn(12)) {
        ++coverage_.moves;
        groups_.MoveCoordinator(
            NodeId(1 + static_cast<int>(random_.Below(3))));
      }
      world_.RunFor(random_.Between(1, 30) * kSecond / 10);
    }
  }

  // No faults from here on: everything is read and committed within this time.
  bool Settle(int64_t within_us) {
    faults_ = false;
    for (App& app : apps_) {
      app.polls = true;
      if (app.consumer == nullptr) Start(app);
      Poll(app);
    }
    return world_.RunUntil([this] { return AllDone(); }, within_us);
  }

  std::string Describe() {
    std::string text =
        StrCat("group ", static_cast<int>(groups_.core("g").state()),
               ", generation ", groups_.core("g").generation(), ", ",
               groups_.core("g").member_count(), " members;");
    for (int p = 0; p < kPartitions; ++p) {
      text += StrCat(" ", p, ": ", groups_.committed["g"][Tp(p)].offset, " of ",
                     written_[p], ", read ", read_[p].size(), ";");
    }
    return text;
  }

  std::vector<std::string> wrong;

 private:
  struct App {
    std::unique_ptr<GroupConsumer> consumer;
    std::string instance;
    bool polls = true;
    bool polling = false;
    uint64_t life = 0;  // rises with each consumer
    membership::Partitions owned;
  };

  static NamedPartition Tp(int p) { return {"t", PartitionIndex(p)}; }

  FakeGroups::Fate Fate() {
    if (!faults_ || !random_.OneIn(25)) return FakeGroups::Fate::kDeliver;
    ++coverage_.lost_calls;
    switch (random_.Below(3)) {
      case 0:
        return FakeGroups::Fate::kLoseRequest;
      case 1:
        return FakeGroups::Fate::kLoseAnswer;
      default:
        return FakeGroups::Fate::kHang;
    }
  }

  void Produce() {
    for (int i = 0; i < 4; ++i) {
      const int p = static_cast<int>(random_.Below(kPartitions));
      ProducerRecord record;
      record.topic = "t";
      record.value = "v";
      record.partition = PartitionIndex(p);
      const auto sent = producer_->Send(
          std::move(record),
          [this, p](const auto& result) { written_[p] += result.ok(); });
      if (!sent.ok()) wrong.push_back("not produced");
    }
  }

  void Start(App& app) {
    GroupConsumerOptions options;
    options.membership.group_id = "g";
    options.membership.instance_id = app.instance;
    options.membership.session_timeout_ms = 6'000;
    options.membership.heartbeat_interval_ms = 1'000;
    options.membership.max_poll_interval_ms = 10'000;
    if (cooperative_) {
      options.membership.assignors = {consumer::Assignor::kCooperativeSticky};
    }
    options.reset = GroupReset::kEarliest;
    options.auto_commit_interval_ms = 500;
    options.max_poll_records = 7;
    auto deps = deps_;
    deps.client.seed = random_.Next64();
    app.consumer = std::make_unique<GroupConsumer>(deps, options);
    ++app.life;
    app.polling = false;
    app.owned.clear();
    if (!app.consumer->Subscribe({"t"}).ok()) wrong.push_back("subscribe");
    Poll(app);
  }

  void Act(App& app) {
    if (app.consumer == nullptr) return Start(app);
    switch (random_.Below(8)) {
      case 0: {
        ++coverage_.deaths;
        ++app.life;
        app.consumer.reset();
        return;
      }
      case 1:
        ++coverage_.leaves;
        return Leave(app);
      case 2:
      case 3:
        ++coverage_.pauses;
        app.polls = !app.polls;
        return Poll(app);
      default:
        app.polls = true;
        return Poll(app);
    }
  }

  void Leave(App& app) {
    app.consumer->Close([this, &app, life = app.life](const absl::Status&) {
      // Later: this is within the consumer.
      executor_->Post([&app, life] {
        if (app.life != life) return;
        ++app.life;
        app.consumer.reset();
      });
    });
  }

  void Poll(App& app) {
    if (!app.polls || app.polling || app.consumer == nullptr) return;
    app.polling = true;
    app.consumer->Poll(kSecond / 2, 1 << 20,
                       [this, &app, life = app.life](auto polled) {
                         if (app.life != life) return;
                         app.polling = false;
                         Take(app, polled);
                       });
  }

  void Take(App& app, const absl::StatusOr<GroupPoll>& polled) {
    if (!polled.ok()) {
      if (CodeOf(polled.status()) == ErrorCode::kShuttingDown) return;
      if (CodeOf(polled.status()) == ErrorCode::kFencedInstanceId) {
        ++coverage_.fenced;  // its own past: a join whose answer was lost
        executor_->Post([&app, life = app.life] {
          if (app.life == life) app.consumer.reset();
        });
        return;
      }
      wrong.push_back(polled.status().ToString());
    } else if (polled->rebalance.has_value()) {
      TakeRebalance(app, *polled->rebalance);
    }
    for (const FetchedBatch& batch :
         polled.ok() ? polled->batches : std::vector<FetchedBatch>()) {
      if (!app.owned.contains(batch.tp)) wrong.push_back("a foreign record");
      const auto walked = ForEachRecord(batch, [&](const auto& record) {
        read_[batch.tp.partition.value()].insert(record.offset.value());
        return true;
      });
      if (!walked.ok()) wrong.push_back("records cannot be read");
    }
    executor_->PostAfter(1'000, [this, &app, life = app.life] {
      if (app.life == life) Poll(app);
    });
  }

  void TakeRebalance(App& app, const Rebalance& rebalance) {
    switch (rebalance.kind) {
      case Rebalance::Kind::kAssigned:
        ++coverage_.assigned;
        for (const auto& tp : rebalance.partitions) {
          if (!app.owned.insert(tp).second) wrong.push_back("assigned twice");
        }
        break;
      case Rebalance::Kind::kRevoked:
      case Rebalance::Kind::kLost:
        ++(rebalance.kind == Rebalance::Kind::kLost ? coverage_.lost
                                                    : coverage_.revoked);
        for (const auto& tp : rebalance.partitions) {
          if (app.owned.erase(tp) == 0) wrong.push_back("revoked unowned");
        }
        break;
    }
    CheckOwners();
  }

  // Nobody of one generation has what another of it has.
  void CheckOwners() {
    std::map<std::pair<int32_t, NamedPartition>, const App*> owners;
    for (const App& app : apps_) {
      if (app.consumer == nullptr) continue;
      const int32_t generation = app.consumer->member().generation();
      if (generation < 0) continue;
      for (const auto& tp : app.owned) {
        const auto [other, fresh] = owners.emplace(
            std::make_pair(generation, tp), &app);
        if (!fresh) {
          wrong.push_back(StrCat("two owners of ", tp, " in generation ",
                                 generation));
        }
      }
    }
  }

  bool AllDone() {
    if (!wrong.empty()) return true;
    for (App& app : apps_) {
      if (app.consumer == nullptr) Start(app);
    }
    for (int p = 0; p < kPartitions; ++p) {
      const auto written = static_cast<int64_t>(written_[p]);
      if (groups_.committed["g"][Tp(p)].offset.value() < written ||
          static_cast<int64_t>(read_[p].size()) < written) {
        return false;
      }
    }
    return true;
  }

 public:
  void CheckCommits() {
    std::map<NamedPartition, Offset> last;
    for (const auto& commit : groups_.commits) {
      const auto [known, fresh] = last.try_emplace(commit.tp, commit.offset);
      if (commit.offset < known->second) {
        wrong.push_back(StrCat(commit.tp, " went back from ", known->second,
                               " to ", commit.offset));
      }
      known->second = std::max(known->second, commit.offset);
    }
    for (const auto& [tp, offset] : last) {
      const auto& read = read_[tp.partition.value()];
      for (int64_t o = 0; o < offset.value(); ++o) {
        if (read.contains(o)) continue;
        wrong.push_back(StrCat(tp, ": offset ", o,
                               " was committed and given to nobody"));
        break;
      }
    }
  }

 private:
  Random random_;
  Coverage& coverage_;
  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 3};
  FakeGroups groups_{&world_, &cluster_};
  GroupMember::Deps deps_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Producer> producer_;
  bool faults_ = true;
  bool cooperative_ = false;
  std::vector<App> apps_;
  std::map<int, int> written_;
  std::map<int, std::set<int64_t>> read_;
};

TEST(GroupPropertyTest, WhateverHappensEveryRecordIsReadAndNoCommitGoesBack) {
  Coverage coverage;
  uint64_t first = 1, last = 30;
  if (const char* seed = std::getenv("SLUICE_SEED"); seed != nullptr) {
    first = last = std::strtoull(seed, nullptr, 10);
  }
  for (uint64_t seed = first; seed <= last; ++seed) {
    GroupWorld world(seed, coverage);
    world.Run();
    const bool settled = world.Settle(180 * kSecond);
    world.CheckCommits();
    ASSERT_TRUE(world.wrong.empty())
        << "seed " << seed << ": " << world.wrong.front();
    ASSERT_TRUE(settled) << "seed " << seed << ": " << world.Describe();
  }
  if (first == last) return;
  for (const int64_t count :
       {coverage.assigned, coverage.revoked, coverage.lost, coverage.deaths,
        coverage.leaves, coverage.pauses, coverage.moves,
        coverage.lost_calls}) {
    EXPECT_GT(count, 0);
  }
}

}  // namespace
}  // namespace sluice
