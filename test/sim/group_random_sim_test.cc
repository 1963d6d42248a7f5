// Members that join, commit, leave and vanish, on whole simulated clusters whose
// brokers die: one assignment a generation, no partition twice in it (GR3, GR4),
// no acknowledged offset is ever undone, by nobody (GR1, GR2), and in the end
// everybody has something to do.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "test/sim/checked_cluster.h"
#include "test/sim/group_program.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {
namespace {

constexpr int kPartitions = 6;

// What all members together were told.
struct Oracle {
  // Generation -> member -> what it was assigned.
  std::map<int32_t, std::map<std::string, std::string>> assigned;
  std::vector<int64_t> attempted = std::vector<int64_t>(kPartitions, 0);
  std::vector<int64_t> acknowledged = std::vector<int64_t>(kPartitions, 0);
  int generations = 0;
  int commits = 0;
  int reads = 0;

  void OnAssigned(int32_t generation, const std::string& member,
                  const std::string& partitions) {
    auto& of = assigned[generation];
    if (of.empty()) ++generations;
    const auto [found, is_new] = of.emplace(member, partitions);
    EXPECT_EQ(found->second, partitions)
        << "GR3: generation " << generation << " has two assignments";
    if (!is_new) return;
    for (const auto& [other, theirs] : of) {
      if (other == member) continue;
      for (const char p : partitions) {
        EXPECT_EQ(theirs.find(p), std::string::npos)
            << "GR3: partition " << p << " is " << member << "'s and " << other
            << "'s in generation " << generation;
      }
    }
  }
};

// A member of its own process: one call at a time, by any broker's word.
class Member {
 public:
  Member(SimCluster* cluster, Oracle* oracle, uint64_t seed)
      : cluster_(cluster),
        oracle_(oracle),
        process_(cluster, /*forwards=*/false),
        executor_(cluster->world().NewExecutor()),
        random_(seed) {
    Soon(&Member::Find);
  }

  // Its process dies; another one takes its place.
  void Vanish() {
    ++attempt_;
    member_id_.clear();
    generation_ = -1;
    owned_.clear();
    Soon(&Member::Find);
  }
  bool stable() const { return stable_; }

 private:
  using Step = void (Member::*)();

  void Soon(Step step, int64_t most_us = 200'000) {
    executor_->PostAfter(random_.Between(1'000, most_us),
                         [this, step, attempt = attempt_] {
                           if (attempt == attempt_) (this->*step)();
                         });
  }
  // Later answers than a client waits for count as none.
  template <class Request, class Response>
  void Ask(int node,
           void (GroupPeer::*call)(const Request&, int64_t,
                                   PeerReply<Response>),
           const Request& request, std::function<void(const Response&)> take,
           int64_t patience_us = 3'000'000) {
    const uint64_t attempt = ++attempt_;
    executor_->PostAfter(patience_us, [this, attempt] {
      if (attempt == attempt_) Again();
    });
    if (!cluster_->up(node)) return;
    const auto broker = process_.groups()->ConnectGroups(
        SimNetwork::PublicEndpointOf(NodeId(node)), process_.executor());
    ((*broker).*call)(
        request, patience_us,
        [this, attempt, take = std::move(take)](
            absl::StatusOr<Response> response) {
          executor_->PostAfter(
              random_.Between(100, 3'000),
              [this, attempt, take, response = std::move(response)] {
                if (attempt != attempt_) return;
                ++attempt_;
                response.ok() ? take(*response) : Again();
              });
        });
  }
  void Again() {
    ++attempt_;
    stable_ = false;
    Soon(&Member::Find);
  }
  // What an error means for the membership.
  void OnError(const v1::Error& error) {
    const bool out = error.code() == v1::ERROR_CODE_UNKNOWN_MEMBER_ID ||
                     error.code() == v1::ERROR_CODE_ILLEGAL_GENERATION;
    if (error.code() == v1::ERROR_CODE_UNKNOWN_MEMBER_ID) member_id_.clear();
    stable_ = false;
    if (out || error.code() == v1::ERROR_CODE_REBALANCE_IN_PROGRESS) {
      ++attempt_;
      return Soon(&Member::Join);
    }
    Again();
  }

  void Find() {
    v1::FindCoordinatorRequest request;
    request.add_keys("g");
    const int any =
        static_cast<int>(random_.Between(1, cluster_->broker_count()));
    Ask<v1::FindCoordinatorRequest, v1::FindCoordinatorResponse>(
        any, &GroupPeer::FindCoordinator, request,
        [this](const v1::FindCoordinatorResponse& found) {
          if (found.results(0).has_error()) return Again();
          coordinator_ = found.results(0).node_id();
          if (generation_ < 0) return Join();
          synced_ ? Beat() : Sync();
        });
  }

  void Join() {
    owned_.clear();
    generation_ = -1;
    synced_ = false;
    v1::JoinGroupRequest request;
    request.set_group_id("g");
    request.set_member_id(member_id_);
    request.set_session_timeout_ms(6'000);
    request.set_rebalance_timeout_ms(8'000);
    request.set_protocol_type("consumer");
    request.add_protocols()->set_name("any");
    Ask<v1::JoinGroupRequest, v1::JoinGroupResponse>(
        coordinator_, &GroupPeer::JoinGroup, request,
        [this](const v1::JoinGroupResponse& joined) {
          if (joined.error().code() == v1::ERROR_CODE_MEMBER_ID_REQUIRED) {
            member_id_ = joined.member_id();
            return Join();
          }
          if (joined.has_error()) return OnError(joined.error());
          member_id_ = joined.member_id();
          generation_ = joined.generation_id();
          joined_ = joined;
          Sync();
        },
        /*patience_us=*/20'000'000);
  }

  // Again in the same generation, when no answer came or it is asked twice. The
  // leader deals the partitions out anew each time: what it is told must be what
  // all were told at first.
  void Sync() {
    const v1::JoinGroupResponse& joined = joined_;
    v1::SyncGroupRequest request;
    request.set_group_id("g");
    request.set_member_id(member_id_);
    request.set_generation_id(generation_);
    if (joined.leader_id() == member_id_) {
      for (const auto& member : joined.members()) {
        request.add_assignments()->set_member_id(member.member_id());
      }
      for (int p = 0; p < kPartitions && request.assignments_size() > 0; ++p) {
        const auto to = static_cast<int>(random_.Below(
            static_cast<uint64_t>(request.assignments_size())));
        request.mutable_assignments(to)->mutable_assignment()->push_back(
            static_cast<char>('0' + p));
      }
    }
    Ask<v1::SyncGroupRequest, v1::SyncGroupResponse>(
        coordinator_, &GroupPeer::SyncGroup, request,
        [this](const v1::SyncGroupResponse& synced) {
          if (synced.has_error()) return OnError(synced.error());
          oracle_->OnAssigned(generation_, member_id_, synced.assignment());
          owned_ = synced.assignment();
          stable_ = synced_ = true;
          Soon(&Member::Beat);
        },
        /*patience_us=*/20'000'000);
  }

  void Beat() {
    v1::HeartbeatRequest request;
    request.set_group_id("g");
    request.set_member_id(member_id_);
    request.set_generation_id(generation_);
    Ask<v1::HeartbeatRequest, v1::HeartbeatResponse>(
        coordinator_, &GroupPeer::Heartbeat, request,
        [this](const v1::HeartbeatResponse& beaten) {
          if (beaten.has_error()) return OnError(beaten.error());
          stable_ = true;
          if (random_.OneIn(80)) return Leave();
          if (random_.OneIn(20)) return Sync();
          if (random_.OneIn(4)) return Read();
          owned_.empty() ? Soon(&Member::Beat) : Commit();
        });
  }

  void Commit() {
    v1::CommitOffsetsRequest request;
    request.set_group_id("g");
    request.set_member_id(member_id_);
    request.set_generation_id(generation_);
    const int partition = owned_[random_.Below(owned_.size())] - '0';
    const int64_t offset = ++oracle_->attempted[static_cast<size_t>(partition)];
    auto* put = request.add_offsets();
    put->mutable_topic()->set_name("orders");
    put->set_partition(partition);
    put->set_offset(offset);
    Ask<v1::CommitOffsetsRequest, v1::CommitOffsetsResponse>(
        coordinator_, &GroupPeer::CommitOffsets, request,
        [this, partition, offset](const v1::CommitOffsetsResponse& done) {
          if (done.results(0).has_error()) {
            return OnError(done.results(0).error());
          }
          ++oracle_->commits;
          int64_t& known =
              oracle_->acknowledged[static_cast<size_t>(partition)];
          known = std::max(known, offset);
          Soon(&Member::Beat);
        });
  }

  void Read() {
    v1::FetchOffsetsRequest request;
    request.add_groups()->set_group_id("g");
    Ask<v1::FetchOffsetsRequest, v1::FetchOffsetsResponse>(
        coordinator_, &GroupPeer::FetchOffsets, request,
        [this, floor = oracle_->acknowledged](
            const v1::FetchOffsetsResponse& found) {
          if (found.groups(0).has_error()) {
            return OnError(found.groups(0).error());
          }
          ++oracle_->reads;
          std::vector<int64_t> offsets(kPartitions, 0);
          for (const auto& one : found.groups(0).offsets()) {
            offsets[static_cast<size_t>(one.partition())] = one.offset();
          }
          for (size_t p = 0; p < kPartitions; ++p) {
            EXPECT_GE(offsets[p], floor[p]) << "GR2: partition " << p;
            EXPECT_LE(offsets[p], oracle_->attempted[p]);
          }
          Soon(&Member::Beat);
        });
  }

  void Leave() {
    v1::LeaveGroupRequest request;
    request.set_group_id("g");
    request.add_members()->set_member_id(member_id_);
    stable_ = false;
    Ask<v1::LeaveGroupRequest, v1::LeaveGroupResponse>(
        coordinator_, &GroupPeer::LeaveGroup, request,
        [this](const v1::LeaveGroupResponse&) {
          member_id_.clear();
          generation_ = -1;
          Soon(&Member::Find, 2'000'000);
        });
  }

  SimCluster* const cluster_;
  Oracle* const oracle_;
  GroupProcess process_;
  const std::unique_ptr<Executor> executor_;
  Random random_;
  uint64_t attempt_ = 0;
  int coordinator_ = 0;
  std::string member_id_;
  int32_t generation_ = -1;
  v1::JoinGroupResponse joined_;  // what it said of `generation_`
  bool synced_ = false;           // in `generation_`
  std::string owned_;
  bool stable_ = false;
};

void RunOne(uint64_t seed) {
  SCOPED_TRACE(seed);
  SimOptions options;
  options.separate = seed % 2 == 0;
  CheckedCluster cluster(options, seed);
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  ASSERT_TRUE(cluster.CreateTopic("orders", kPartitions, 3).ok());
  Oracle oracle;
  std::vector<std::unique_ptr<Member>> members;
  for (uint64_t i = 0; i < 3; ++i) {
    members.push_back(
        std::make_unique<Member>(&cluster, &oracle, seed * 100 + i));
  }
  Random random(seed);
  for (int round = 0; round < 8; ++round) {
    cluster.RunFor(random.Between(3'000, 9'000));
    if (random.OneIn(3)) members[random.Below(members.size())]->Vanish();
    const int victim =
        static_cast<int>(random.Between(1, cluster.broker_count()));
    random.OneIn(2) ? cluster.Kill(victim)
                    : cluster.PowerCut(victim, random.OneIn(2));
    cluster.RunFor(random.Between(100, 6'000));
    cluster.Boot(victim);
    ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  }
  EXPECT_TRUE(cluster.RunUntil(
      [&] {
        for (const auto& member : members) {
          if (!member->stable()) return false;
        }
        return true;
      },
      90'000))
      << "they are not stable within three rebalance timeouts and more";
  EXPECT_GT(oracle.generations, 3);
  EXPECT_GT(oracle.commits, 50);
  EXPECT_GT(oracle.reads, 20);
  members.clear();
}

TEST(GroupRandomSimTest, OneAssignmentAGenerationAndNoOffsetUndone) {
  for (uint64_t seed = 1; seed <= 8; ++seed) RunOne(seed);
}

}  // namespace
}  // namespace sluice::sim
