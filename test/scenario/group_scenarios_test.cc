// Groups of the real client library on a whole cluster: F58, F70, F71, F72.
// GR1-GR8 are evaluated throughout.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/group/group_admin.h"
#include "common/base/str_cat.h"
#include "controller/metadata/internal_topics.h"
#include "test/scenario/scenario.h"
#include "test/sim/group_program.h"

namespace sluice::scenario {
namespace {

using sim::GroupPlan;
using sim::GroupProcess;
using sim::GroupProgram;

const Tp kOffsets{kConsumerOffsetsTopic, 0};
constexpr int64_t kRebalanceMs = 6'000;

ScenarioOptions Options() {
  ScenarioOptions options;
  options.settings = {{kOffsetsTopicNumPartitions, "1"},
                      {kGroupMinSessionTimeoutMs, "100"},
                      {kGroupInitialRebalanceDelayMs, "100"}};
  return options;
}

// Sessions are longer than a fail-over.
GroupPlan Plan() {
  GroupPlan plan;
  plan.id = "g";
  plan.topics = {"t"};
  plan.assignors = {consumer::Assignor::kRange};
  plan.session_ms = 30'000;
  plan.heartbeat_ms = 300;
  plan.poll_interval_ms = kRebalanceMs;
  plan.commit_interval_ms = 50;
  return plan;
}

// Its processes, and an operator who asks what it has committed.
class Group {
 public:
  Group(Scenario* s, GroupPlan plan)
      : s_(*s),
        plan_(std::move(plan)),
        polls_(&s->sim().world(), [this](const std::string& what) {
          s_.Fail(what, Where::current());
        }),
        operator_(&s->sim(), /*forwards=*/true),
        connections_(operator_.groups(), operator_.executor()),
        admin_({operator_.MemberDeps().client, operator_.MemberDeps().options,
                operator_.MemberDeps().metadata, &connections_}) {}

  GroupProgram& Join(const std::string& instance = "") {
    s_.Note(StrCat("process ", programs_.size(), " joins"));
    GroupProgram::Deps deps;
    deps.cluster = &s_.sim();
    deps.plan = &plan_;
    deps.instance = instance;
    deps.number = static_cast<int>(programs_.size());
    deps.polls = &polls_;
    deps.on_batch = [this](const FetchedBatch& batch) { Note(batch); };
    deps.on_owned = [](int32_t, const auto&) {};
    deps.report = [this](const std::string& what) {
      s_.Fail(what, Where::current());
    };
    programs_.push_back(std::make_unique<GroupProgram>(std::move(deps)));
    return *programs_.back();
  }
  void Die(const GroupProgram& program) {
    for (auto& one : programs_) {
      if (one.get() == &program) one.reset();
    }
  }

  // Everybody is in one generation and all of it is somebody's.
  bool IsStable(size_t members, size_t partitions) const {
    std::set<NamedPartition> owned;
    std::set<int32_t> generations;
    size_t count = 0;
    for (const auto& program : programs_) {
      if (program == nullptr || program->over()) continue;
      ++count;
      generations.insert(program->generation());
      owned.merge(program->Assignment());
    }
    return count == members && generations.size() == 1 &&
           *generations.begin() >= 0 && owned.size() == partitions;
  }
  void UntilStable(size_t members, size_t partitions,
                   int64_t limit_ms = 3 * kRebalanceMs) {
    s_.Until("the group is stable",
             [&] { return IsStable(members, partitions); }, limit_ms);
  }
  bool IsIn(int32_t generation) const {
    return std::all_of(programs_.begin(), programs_.end(),
                       [&](const auto& program) {
                         return program == nullptr || program->over() ||
                                program->generation() == generation;
                       });
  }
  // By all of them, as it came.
  const Values& read() const { return read_; }
  int32_t generation() const {
    for (const auto& program : programs_) {
      if (program != nullptr && !program->over()) return program->generation();
    }
    return -1;
  }

  int Coordinator() {
    if (s_.NewestImage().FindTopic(kConsumerOffsetsTopic) == nullptr) return 0;
    return s_.Committed(kOffsets).leader.value();
  }
  int UntilCoordinatorIsNot(int broker) {
    s_.Until("another broker coordinates", [&] {
      return Coordinator() > 0 && Coordinator() != broker;
    });
    return Coordinator();
  }
  // -1: nothing. Until a coordinator answers.
  int64_t Committed(const Tp& tp) {
    v1::FetchOffsetsRequest request;
    auto* query = request.add_groups();
    query->set_group_id(plan_.id);
    auto* topic = query->add_topics();
    topic->mutable_topic()->set_name(tp.topic);
    topic->add_partitions(tp.partition);
    std::optional<int64_t> offset;
    bool asked = false;
    s_.Until("an answer to FetchOffsets", [&] {
      if (!asked && !offset.has_value()) {
        asked = true;
        admin_.FetchOffsets(request, 5'000'000, [&](const auto& answer) {
          asked = false;
          if (!answer.ok() || answer->groups(0).has_error()) return;
          offset = answer->groups(0).offsets(0).offset();
        });
      }
      return offset.has_value();
    }, 30'000);
    return *offset;
  }
  void UntilCommitted(const Tp& tp, int64_t offset) {
    int64_t found = -1;
    for (int i = 0; i < 100 && found < offset; ++i) {
      s_.RunFor(100);
      found = Committed(tp);
    }
    s_.Expect(found == offset,
              StrCat("offset ", offset, " is committed, not ", found));
  }

 private:
  void Note(const FetchedBatch& batch) {
    const absl::Status whole =
        ForEachRecord(batch, [this](const DecodedRecord& record) {
          read_.emplace_back(*record.value);
          return true;
        });
    s_.Expect(whole.ok(), whole.ToString());
  }

  Scenario& s_;
  const GroupPlan plan_;
  Values read_;
  sim::OpenCalls polls_;
  GroupProcess operator_;
  GroupConnections connections_;
  GroupAdmin admin_;
  std::vector<std::unique_ptr<GroupProgram>> programs_;
};

// ---- F70 ----

TEST(GroupScenarios, F70AStableGroupOutlivesItsCoordinators) {
  Scenario s(Options());
  const Tp t = s.CreateTopic("t", {.partitions = 4});
  Values values;
  {
    Group g(&s, Plan());
    for (int i = 0; i < 3; ++i) g.Join();
    g.UntilStable(3, 4);
    const int32_t generation = g.generation();
    for (int64_t round = 1; round <= 3; ++round) {
      values.push_back(StrCat("m", round));
      s.Produce(t, values.back());
      g.UntilCommitted(t, round);
      const int coordinator = g.Coordinator();
      s.Kill(coordinator);
      g.UntilCoordinatorIsNot(coordinator);
      s.Throughout(3'000, "no rebalance", [&] { return g.IsIn(generation); });
      s.Expect(g.Committed(t) == round, "the offset is still committed");
      s.Boot(coordinator);
      s.UntilIsr(kOffsets, {1, 2, 3});
      s.UntilIsr(t, {1, 2, 3});
    }
  }
  s.Converge({{t, values}});
}

TEST(GroupScenarios, F70ARollingRestartRebalancesNothing) {
  Scenario s(Options());
  const Tp t = s.CreateTopic("t", {.partitions = 4});
  {
    Group g(&s, Plan());
    for (int i = 0; i < 3; ++i) g.Join();
    g.UntilStable(3, 4);
    const int32_t generation = g.generation();
    for (const int broker : {1, 2, 3}) {
      s.Stop(broker);
      s.Throughout(1'000, "no rebalance", [&] { return g.IsIn(generation); });
      s.Boot(broker);
      s.UntilIsr(kOffsets, {1, 2, 3});
      s.UntilIsr(t, {1, 2, 3});
    }
    s.Throughout(3'000, "no rebalance", [&] { return g.IsIn(generation); });
    s.Produce(t, "m1");
    g.UntilCommitted(t, 1);
  }
  s.Converge({{t, {"m1"}}});
}

// Its coordinator dies with answers of that kind on their way, which are lost.
void KillWhileAnswering(MessageKind kind) {
  Scenario s(Options());
  const Tp t = s.CreateTopic("t", {.partitions = 4});
  {
    Group g(&s, Plan());
    for (int i = 0; i < 3; ++i) g.Join();
    g.UntilStable(3, 4);
    const int32_t generation = g.generation();
    const int coordinator = g.Coordinator();
    const auto lost = s.Drop({kind, coordinator, kAnyone});
    g.Join();
    s.Produce(t, "m1");
    s.UntilCaught(lost);
    s.Kill(coordinator);
    s.Cease(lost);
    g.UntilCoordinatorIsNot(coordinator);
    g.UntilStable(4, 4);
    s.Expect(g.generation() > generation, "it is a newer generation");
    g.UntilCommitted(t, 1);
  }
  s.Converge({{t, {"m1"}}});
}

TEST(GroupScenarios, F70KilledDuringJoin) {
  KillWhileAnswering(MessageKind::kJoinGroupReply);
}
TEST(GroupScenarios, F70KilledDuringSync) {
  KillWhileAnswering(MessageKind::kSyncGroupReply);
}
TEST(GroupScenarios, F70KilledDuringCommit) {
  KillWhileAnswering(MessageKind::kCommitOffsetsReply);
}

TEST(GroupScenarios, F70TheOlderOfTwoWithOneInstanceIdEnds) {
  Scenario s(Options());
  const Tp t = s.CreateTopic("t", {.partitions = 4});
  {
    Group g(&s, Plan());
    GroupProgram& older = g.Join("i");
    g.Join("j");
    g.UntilStable(2, 4);
    const int32_t generation = g.generation();
    older.Pause();
    GroupProgram& newer = g.Join("i");
    s.Until("the newer one has the older one's place", [&] {
      return newer.generation() == generation &&
             newer.Assignment() == older.Assignment();
    });
    // Whoever coordinates knows it.
    const int coordinator = g.Coordinator();
    s.Kill(coordinator);
    g.UntilCoordinatorIsNot(coordinator);
    older.Resume();
    s.Until("the older one is fenced", [&] { return older.over(); });
    s.Throughout(2'000, "no rebalance", [&] { return g.IsIn(generation); });
    s.Produce(t, "m1");
    g.UntilCommitted(t, 1);
  }
  s.Converge({{t, {"m1"}}});
}

// ---- F71 ----

// Its commits are late: when they come its partitions are another one's, which
// has gone further.
TEST(GroupScenarios, F71WhoSleptPastItsSessionCommitsNothing) {
  Scenario s(Options());
  const Tp t = s.CreateTopic("t");
  {
    GroupPlan plan = Plan();
    plan.session_ms = 2'000;
    Group g(&s, plan);
    GroupProgram& sleeper = g.Join();
    g.UntilStable(1, 1);
    const auto late = s.Hold({MessageKind::kCommitOffsets,
                              sleeper.node().value(), kAnyone});
    s.Produce(t, "m1");
    s.UntilCaught(late);
    sleeper.Pause();
    GroupProgram& next = g.Join();
    s.Until("the other one has it", [&] { return !next.Assignment().empty(); });
    s.Produce(t, "m2");
    s.Produce(t, "m3");
    g.UntilCommitted(t, 3);
    int refused = 0;
    const auto answers = s.Watch(
        {MessageKind::kCommitOffsetsReply, kAnyone, sleeper.node().value(),
         [&refused](const Message& message) {
           if (!message.status.ok()) return false;
           const auto answer = sim::Wire<v1::CommitOffsetsResponse>::Decode(
               message.bytes);
           refused += answer.results(0).has_error() ? 1 : 0;
           return !answer.results(0).has_error();
         }});
    s.Deliver(late);
    sleeper.Resume();
    s.Until("its commit is refused", [&] { return refused > 0; });
    s.Expect(answers->count == 0, "none is taken");
    s.Expect(g.Committed(t) == 3, "what the other one did is not undone");
    g.UntilStable(2, 1);
    g.UntilCommitted(t, 3);
  }
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

// ---- F72 ----

// By topic id: what was committed of the old one says nothing of the new one.
TEST(GroupScenarios, F72ATopicThatWasMadeAgainIsReadFromItsStart) {
  Scenario s(Options());
  const Tp t = s.CreateTopic("t");
  {
    Group g(&s, Plan());
    GroupProgram& first = g.Join();
    s.Produce(t, "old1");
    s.Produce(t, "old2");
    g.UntilCommitted(t, 2);
    g.Die(first);
    s.DeleteTopic("t");
    s.CreateTopic("t");
    s.Expect(g.Committed(t) == -1, "nothing is committed of the new one");
    s.Produce(t, "new1");
    g.Join();
    g.UntilCommitted(t, 1);
  }
  s.Converge({{t, {"new1"}}});
}

// A member that stays has the position of the old one in its hands. As many
// records in the new one: no offset tells them apart.
TEST(GroupScenarios, F72AMemberReadsATopicThatWasMadeAgainFromItsStart) {
  Scenario s(Options());
  const Tp t = s.CreateTopic("t");
  {
    Group g(&s, Plan());
    g.Join();
    s.Produce(t, "old1");
    s.Produce(t, "old2");
    g.UntilCommitted(t, 2);
    s.DeleteTopic("t");
    s.CreateTopic("t");
    s.Produce(t, "new1");
    s.Produce(t, "new2");
    g.UntilCommitted(t, 2);
    s.Expect(g.read() == Values{"old1", "old2", "new1", "new2"},
             "each was read once");
  }
  s.Converge({{t, {"new1", "new2"}}});
}

// ---- F58 ----

// A store that is further than the log it is of: another one's, or one that
// came back from a copy.
TEST(GroupScenarios, F58AViewAheadOfItsLogIsDropped) {
  Scenario s(Options());
  const Tp t = s.CreateTopic("t");
  {
    Group g(&s, Plan());
    g.Join();
    s.Produce(t, "m1");
    g.UntilCommitted(t, 1);
    const int coordinator = g.Coordinator();
    s.UntilIsr(kOffsets, {1, 2, 3});
    s.RunFor(1'000);
    const MemKvStore ahead = s.sim().at(coordinator).views;
    s.Kill(coordinator);
    s.WipeLogs(coordinator);
    s.sim().at(coordinator).views = ahead;
    g.UntilCoordinatorIsNot(coordinator);
    s.Expect(g.Committed(t) == 1, "the offset is there");
    s.Boot(coordinator);
    s.UntilIsr(kOffsets, {1, 2, 3});
    // It answers again, from a view that was replayed.
    for (const int broker : {1, 2, 3}) {
      if (broker != coordinator) s.Kill(broker);
    }
    for (const int broker : {1, 2, 3}) {
      if (broker != coordinator) s.Boot(broker);
    }
    s.UntilIsr(kOffsets, {1, 2, 3});
    s.Expect(g.Committed(t) == 1, "the offset is there again");
  }
  s.Converge({{t, {"m1"}}});
}

TEST(GroupScenarios, F58AStoreThatFailsIsReplacedAndReplayed) {
  Scenario s(Options());
  const Tp t = s.CreateTopic("t");
  {
    Group g(&s, Plan());
    g.Join();
    s.Produce(t, "m1");
    g.UntilCommitted(t, 1);
    const int coordinator = g.Coordinator();
    MemKvStore& views = s.sim().at(coordinator).views;
    const uint64_t broken =
        views.BreakDisk(MemKvStore::Operation::kWrite, /*count=*/1);
    s.Produce(t, "m2");
    g.UntilCommitted(t, 2);
    views.MendDisk(broken);
    s.Expect(g.Coordinator() == coordinator, "it coordinates still");
    const uint64_t unread =
        views.BreakDisk(MemKvStore::Operation::kRead, /*count=*/1);
    s.Expect(g.Committed(t) == 2, "no read error is an offset");
    views.MendDisk(unread);
  }
  s.Converge({{t, {"m1", "m2"}}});
}

}  // namespace
}  // namespace sluice::scenario
