#include "test/sim/group_plan.h"

#include <algorithm>

#include "common/base/str_cat.h"

namespace sluice::sim {
namespace {

using consumer::Assignor;

std::vector<Assignor> DrawAssignors(Random& random) {
  constexpr Assignor kAll[] = {Assignor::kRange, Assignor::kRoundRobin,
                               Assignor::kSticky,
                               Assignor::kCooperativeSticky};
  const Assignor first = kAll[random.Below(std::size(kAll))];
  if (first == Assignor::kCooperativeSticky || random.OneIn(2)) return {first};
  return {first, Assignor::kCooperativeSticky};  // still eager
}

GroupPlan DrawGroup(const std::string& id,
                    const std::vector<std::string>& topics, Random& random) {
  GroupPlan group;
  group.id = id;
  for (const std::string& topic : topics) {
    if (random.OneIn(2)) group.topics.insert(topic);
  }
  if (group.topics.empty()) {
    group.topics.insert(topics[random.Below(topics.size())]);
  }
  group.members = static_cast<int>(random.Between(1, 6));
  if (random.OneIn(2)) {
    group.static_members =
        static_cast<int>(random.Between(1, group.members));
  }
  group.assignors = DrawAssignors(random);
  // What settling takes (all sessions of the dead, then two rebalances) is
  // shorter than the last phase.
  group.session_ms = random.Between(600, 6'000);
  group.poll_interval_ms = random.Between(1'000, 6'000);
  // Members hear of a new generation by their next heartbeat: that has to come
  // before the generation is made without them (seed 280 rebalanced for ever).
  group.heartbeat_ms = std::min(group.session_ms, group.poll_interval_ms) /
                       random.Between(3, 10);
  group.commit_interval_ms = random.Between(20, 1'000);
  group.auto_commit = !random.OneIn(3);
  if (random.OneIn(3)) {
    group.max_poll_records = static_cast<int>(random.Between(1, 20));
  }
  group.forwards = random.OneIn(4);
  if (!random.OneIn(3)) {
    group.fetch_bytes_min = static_cast<int32_t>(random.Between(200, 5'000));
  }
  return group;
}

ConsumePlan DrawProgram(Random& random) {
  ConsumePlan plan;
  // One push at a time is common.
  plan.credit_bytes =
      random.OneIn(2) ? random.Between(1, 300) : random.Between(300, 1 << 16);
  plan.auto_ack = random.OneIn(2);
  plan.batches = random.OneIn(3);
  if (random.OneIn(2)) plan.slow_us = random.Between(100, 40'000);
  if (!random.OneIn(3)) {
    plan.restless_every_us = random.Between(300'000, 4'000'000);
  }
  return plan;
}

}  // namespace

std::string ConsumePlan::ToString() const {
  std::string text = StrCat(" with a credit of ", credit_bytes);
  if (auto_ack) text += ", which acknowledges";
  if (batches) text += ", batches";
  if (slow_us > 0) text += StrCat(", ", slow_us, " us a push");
  if (restless_every_us > 0) {
    text += StrCat(", restless every ", restless_every_us, " us");
  }
  return text;
}

// A broker beats for a stream three times a session: others have to hear of a
// new generation before it is made without them, as in DrawGroup.
void DrawConsume(GroupsPlan& groups, Random& random) {
  for (GroupPlan& group : groups.groups) {
    if (random.OneIn(3)) continue;
    group.streams = static_cast<int>(random.OneIn(3)
                                         ? group.members
                                         : random.Between(1, group.members));
    group.consume = DrawProgram(random);
    group.session_ms = std::min(group.session_ms, group.poll_interval_ms);
    group.heartbeat_ms = std::min(group.heartbeat_ms, group.session_ms / 3);
  }
}

GroupsPlan DrawGroups(const std::vector<std::string>& topics, Random& random) {
  GroupsPlan plan;
  const int count = static_cast<int>(random.OneIn(2) ? 1 : random.Between(1, 3));
  for (int i = 0; i < count; ++i) {
    plan.groups.push_back(DrawGroup(StrCat("group", i), topics, random));
  }
  if (!random.OneIn(5)) {
    plan.churn_every_us = random.Between(300'000, 4'000'000);
  }
  if (!random.OneIn(5)) plan.ask_every_us = random.Between(20'000, 500'000);
  plan.meddles = random.OneIn(4);
  return plan;
}

std::string GroupsPlan::ToString() const {
  std::string text;
  for (const GroupPlan& group : groups) {
    text += StrCat("; ", group.id, ": ", group.members, " members, ",
                   group.static_members, " static, ",
                   NameOf(group.assignors.front()),
                   group.streams == 0
                       ? ""
                       : StrCat(", ", group.streams, " by streams",
                                group.consume.ToString()),
                   ", session ",
                   group.session_ms, " ms, rebalance ",
                   group.poll_interval_ms, " ms");
  }
  return text;
}

}  // namespace sluice::sim
