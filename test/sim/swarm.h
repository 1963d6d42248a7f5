// What one seed means: a cluster, its topics, its load and a schedule of
// faults. Drawn before anything runs, so that a part of it can be run again.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "test/sim/fault.h"
#include "test/sim/group_plan.h"
#include "test/sim/instant_bound.h"
#include "test/sim/sim_cluster.h"
#include "test/sim/stream_producer_plan.h"
#include "test/sim/subscriber_plan.h"

namespace sluice::sim {

struct TopicPlan {
  std::string name;
  int partitions = 1;
  int replicas = 1;
  int min_isr = 1;
  bool durable = true;
  int64_t segment_bytes = 0;  // 0: the default

  std::map<std::string, std::string> Configs() const;
};

struct LoadPlan {
  int producers = 1;
  int64_t send_every_us = 20'000;
  int record_bytes = 20;
  int64_t batch_bytes = 16 << 10;
  int64_t linger_ms = 5;
  bool weak_producer = false;  // one more, with acks=1
  bool idempotent = true;      // all but that one
  int consumers = 1;
  int32_t fetch_bytes = 1 << 20;
  int64_t admin_every_us = 0;  // topics come and go; 0: they do not
  int64_t trim_every_us = 0;   // records are deleted; 0: they are not
  int64_t identify_every_us = 0;  // producer ids are asked for; 0: by producers
  int64_t list_every_us = 0;   // somebody asks where logs begin, end; 0: nobody
  int64_t config_every_us = 0;  // configs are altered; 0: they are not
  int64_t grow_every_us = 0;  // topics that came get partitions; 0: they do not
  int64_t internal_at_us = 0;  // __consumer_offsets is first used; 0: never
  int64_t elect_every_us = 0;  // preferred leaders are ordered; 0: they are not
  int burst = 1;               // records that a producer sends at once
  int64_t request_bytes_max = 4 << 20;
  // Readers are there; "": nowhere, they read from leaders.
  std::string rack;
  int64_t metadata_age_ms = 0;  // of clients; 0: the library's own
  // One more producer, the last reader and who lists offsets go to any broker,
  // which hands on what it does not lead.
  bool forwards = false;
};

struct SwarmPlan {
  uint64_t seed = 0;
  SimOptions cluster;
  std::vector<TopicPlan> topics;
  LoadPlan load;
  GroupsPlan groups;
  std::vector<SubscriberPlan> subscribers;
  StreamProducerPlan streamer;
  // Somebody watches all metadata, at one broker so long; 0: nobody.
  int64_t watcher_moves_us = 0;
  int64_t faults_us = 0;    // phase 1
  int64_t liveness_us = 0;  // phase 2, at most
  int64_t heal_us = 0;      // phase 3, at most
  FaultSchedule faults;
  // Behind the faults every machine loses its power at once: topics in memory
  // may lose records then, what is lost has to be said.
  bool loses_all_power = false;
  // More events at one virtual moment are a livelock.
  int64_t instant_events_max = InstantBound::kEventsMax;

  std::string ToString() const;
};

// What is not left to the seed.
struct DrawLimits {
  int64_t virtual_us = 30'000'000;  // of the whole run, about
  // 0: drawn.
  int brokers = 0;
  int controllers = 0;
  bool harms = false;  // faults behind kLastDrawn too
};

SwarmPlan DrawPlan(uint64_t seed, const DrawLimits& limits = {});

}  // namespace sluice::sim
