// The groups of a run, as they are drawn.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/consumer/assignors.h"

namespace sluice::sim {

// How those programs behave that speak Consume.
struct ConsumePlan {
  // What the broker may push beyond what is worked off.
  int64_t credit_bytes = 64 << 10;
  // Credit alone acknowledges; else the program does.
  bool auto_ack = false;
  bool batches = false;
  int64_t slow_us = 0;  // a push takes it so long, at most
  // They go to another broker, or leave and come again; 0: they do not.
  int64_t restless_every_us = 0;

  std::string ToString() const;
};

struct GroupPlan {
  std::string id;
  std::set<std::string> topics;
  int members = 1;
  int static_members = 0;  // the first so many have instance ids
  int streams = 0;         // the last so many speak Consume
  ConsumePlan consume;
  std::vector<consumer::Assignor> assignors;
  int64_t session_ms = 6'000;
  int64_t heartbeat_ms = 1'000;
  // Who does not poll for so long leaves; also the rebalance timeout.
  int64_t poll_interval_ms = 6'000;
  int64_t commit_interval_ms = 500;
  bool auto_commit = true;  // else the program commits after every poll
  int max_poll_records = 500;
  int32_t fetch_bytes_min = 1;  // more: fewer answers, later
  bool forwards = false;  // any broker is asked, and hands on
};

struct GroupsPlan {
  std::vector<GroupPlan> groups;  // none: the run has no groups
  int64_t churn_every_us = 0;     // members come, go, hang; 0: they stay
  int64_t ask_every_us = 0;       // somebody reads and sets offsets; 0: nobody
  // Offsets are also set from outside in groups that have members.
  bool meddles = false;

  bool empty() const { return groups.empty(); }
  std::string ToString() const;
};

// Some members of `groups` speak Consume.
void DrawConsume(GroupsPlan& groups, Random& random);

// One to three groups of one to six members that read some of `topics`.
GroupsPlan DrawGroups(const std::vector<std::string>& topics, Random& random);

}  // namespace sluice::sim
