#include "test/sim/swarm.h"

#include <algorithm>

#include "common/base/str_cat.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/internal_topics.h"
#include "test/sim/message.h"

namespace sluice::sim {
namespace {

constexpr int64_t kSecond = 1'000'000;

std::vector<int> NodesOf(const SimOptions& options) {
  std::vector<int> ids;
  for (int id = 1; id <= options.nodes; ++id) ids.push_back(id);
  for (int i = 1; i <= options.controllers; ++i) {
    const int id = options.separate ? 100 + i : i;
    if (id > options.nodes) ids.push_back(id);
  }
  return ids;
}

SimOptions DrawCluster(Random& random, const DrawLimits& limits) {
  SimOptions options;
  constexpr int kControllers[] = {1, 3, 3, 3, 3, 5};
  constexpr int kBrokers[] = {1, 2, 3, 3, 3, 3, 4, 5};
  options.controllers = kControllers[random.Below(std::size(kControllers))];
  options.nodes = kBrokers[random.Below(std::size(kBrokers))];
  if (limits.controllers > 0) options.controllers = limits.controllers;
  if (limits.brokers > 0) options.nodes = limits.brokers;
  // Controllers beyond the brokers are processes of their own.
  options.separate = random.OneIn(2) || options.controllers > options.nodes;
  options.shards = static_cast<int>(random.Between(1, 3));
  options.settings["replica.lag.time.max.ms"] =
      StrCat(random.OneIn(2) ? 10'000 : random.Between(500, 4'000));
  // Nobody is demoted: who has a bad disk stays where it is until it lags.
  if (random.OneIn(3)) options.settings[kGrayFailureLatencyMs] = "3600000";
  if (random.OneIn(3)) {
    for (const int id : NodesOf(options)) {
      options.drift_ppm[id] = random.Between(-100'000, 100'000);
    }
  }
  return options;
}

// Whatever has a size or a time of its own is small now and then, so that what
// happens at its end is common. What progress may take (phases 2 and 3) is
// longer than the longest of these times.
void DrawSmallConstants(SimOptions& options, Random& random) {
  if (random.OneIn(2)) {
    const int64_t session_us = random.Between(600'000, 2'500'000);
    options.sessions.session_us = session_us;
    options.liveness.heartbeat_us =
        random.Between(session_us / 20, session_us / 5);
    options.liveness.silence_us = session_us / 2;
  }
  if (random.OneIn(2)) {
    options.raft.append_entries_max = static_cast<int>(random.Between(1, 3));
    options.raft.inflight_appends_max = static_cast<int>(random.Between(1, 3));
    options.raft.append_bytes_max = 1;  // still one entry
    options.raft.apply_bytes_max = 1;
  }
  if (random.OneIn(2)) {
    options.tail_cache_bytes_per_shard =
        random.OneIn(2) ? 1 : random.Between(1 << 10, 1 << 16);
  }
  if (random.OneIn(2)) {
    options.producer_id_block = static_cast<int32_t>(random.Between(1, 3));
  }
  if (random.OneIn(2)) options.disk_us = random.Between(20, 3'000);
}

TopicPlan DrawTopic(Random& random, const std::string& name, int brokers) {
  TopicPlan topic;
  topic.name = name;
  topic.partitions = static_cast<int>(random.Between(1, 6));
  topic.replicas = static_cast<int>(
      random.OneIn(4) ? random.Between(1, std::min(3, brokers))
                      : std::min(3, brokers));
  topic.min_isr = static_cast<int>(
      random.OneIn(4) ? 1 : std::min(2, topic.replicas));
  topic.durable = !random.OneIn(3);
  if (random.OneIn(2)) topic.segment_bytes = 4 << 10;
  return topic;
}

LoadPlan DrawLoad(Random& random) {
  LoadPlan load;
  load.producers = static_cast<int>(random.Between(1, 2));
  load.send_every_us = random.Between(10'000, 100'000);
  load.record_bytes = static_cast<int>(
      random.OneIn(3) ? random.Between(200, 3'000) : random.Between(8, 100));
  if (random.OneIn(3)) load.batch_bytes = 1;  // a batch a record
  load.linger_ms = random.Between(0, 10);
  load.weak_producer = random.OneIn(4);
  load.consumers = static_cast<int>(random.Between(1, 2));
  if (random.OneIn(6)) load.fetch_bytes = 256;
  if (random.OneIn(2)) load.admin_every_us = random.Between(1, 5) * kSecond;
  if (random.OneIn(2)) {
    load.identify_every_us = random.Between(50'000, 1'000'000);
  }
  if (!random.OneIn(3)) {
    load.list_every_us = random.Between(100'000, 1'500'000);
  }
  return load;
}

// How likely a kind is among the faults of a run that has it.
int WeightOf(FaultKind kind) {
  switch (kind) {
    case FaultKind::kKill:
    case FaultKind::kPowerLoss:
    case FaultKind::kTornPowerLoss:
    case FaultKind::kPause:
    case FaultKind::kCutPair:
    case FaultKind::kCutOneWay:
    case FaultKind::kIsolate:
      return 4;
    case FaultKind::kKillAll:
    case FaultKind::kPowerLossAll:
      return 1;
    default:
      return 2;
  }
}

bool IsPossible(FaultKind kind, const SwarmPlan& plan) {
  const size_t nodes = NodesOf(plan.cluster).size();
  switch (kind) {
    case FaultKind::kCutPair:
    case FaultKind::kCutOneWay:
    case FaultKind::kHalfOpen:
    case FaultKind::kReset:
    case FaultKind::kSlowLink:
    case FaultKind::kSplit:
      return nodes >= 2;
    case FaultKind::kBridge:
      return nodes >= 3;
    case FaultKind::kRing:
      return nodes >= 4;
    case FaultKind::kWipeRaft:
      return plan.cluster.controllers >= 3;
    default:
      return true;
  }
}

// Kinds of messages whose loss alone is worth a fault.
constexpr MessageKind kDroppable[] = {
    MessageKind::kAlterPartitions,     MessageKind::kAlterPartitionsReply,
    MessageKind::kReportReplicas,      MessageKind::kReportReplicasReply,
    MessageKind::kRegisterBroker,      MessageKind::kRegisterBrokerReply,
    MessageKind::kHello,               MessageKind::kHelloReply,
    MessageKind::kLiveness,            MessageKind::kLivenessReply,
    MessageKind::kMetadataRecords,     MessageKind::kFollowerFrame,
    MessageKind::kLeaderFrame,         MessageKind::kRaftVoteReply,
    MessageKind::kRaftPreVote,         MessageKind::kRaftAppend,
    MessageKind::kRaftAppendReply,     MessageKind::kRaftHeartbeat,
    MessageKind::kProduceStream,       MessageKind::kProduceStreamReply,
    MessageKind::kFetchReply,          MessageKind::kGetMetadataReply,
    MessageKind::kStreamEnd,           MessageKind::kAllocateProducerIds,
    MessageKind::kAllocateProducerIdsReply,
    MessageKind::kInitProducerIdReply, MessageKind::kForwardAlterConfigs,
    MessageKind::kForwardAlterConfigsReply,
    MessageKind::kDeleteRecords,       MessageKind::kDeleteRecordsReply,
    MessageKind::kForwardElectLeaders, MessageKind::kForwardElectLeadersReply,
};

// The same of runs with groups.
constexpr MessageKind kDroppableOfGroups[] = {
    MessageKind::kFindCoordinatorReply, MessageKind::kJoinGroup,
    MessageKind::kJoinGroupReply,       MessageKind::kSyncGroup,
    MessageKind::kSyncGroupReply,       MessageKind::kHeartbeat,
    MessageKind::kHeartbeatReply,       MessageKind::kLeaveGroup,
    MessageKind::kCommitOffsets,        MessageKind::kCommitOffsetsReply,
    MessageKind::kFetchOffsets,         MessageKind::kFetchOffsetsReply,
};

// The same of streams of clients.
constexpr MessageKind kDroppableOfStreams[] = {
    MessageKind::kWatchMetadata,  MessageKind::kWatchMetadataReply,
    MessageKind::kSubscribe,      MessageKind::kSubscribeReply,
    MessageKind::kProduceStream,  MessageKind::kProduceStreamReply,
};

int64_t DrawAmount(FaultKind kind, Random& random) {
  switch (kind) {
    case FaultKind::kSlowDisk:
      return random.OneIn(2) ? random.Between(1'000, 50'000)
                             : random.Between(100'000, 2'000'000);
    case FaultKind::kSplit:
    case FaultKind::kBridge:
      return static_cast<int64_t>(random.Below(1 << 16));
    case FaultKind::kLoss:
      return random.Between(100, 20'000);
    case FaultKind::kDelay:
    case FaultKind::kSlowLink:
      return random.OneIn(2) ? random.Between(500, 10'000)
                             : random.Between(10'000, 300'000);
    case FaultKind::kRepeat:
      return random.Between(10'000, 500'000);
    case FaultKind::kDropKind:
      return static_cast<int64_t>(
          kDroppable[random.Below(std::size(kDroppable))]);
    case FaultKind::kSyncError:
    case FaultKind::kWriteError:
    case FaultKind::kReadError:
      return random.OneIn(2) ? -1 : random.Between(1, 3);
    case FaultKind::kWallJump: {
      constexpr int64_t kHourMs = 3'600'000;
      constexpr int64_t kYearMs = 365 * 24 * kHourMs;
      constexpr int64_t kJumps[] = {kHourMs, -kHourMs, kYearMs, -kYearMs, 0};
      return kJumps[random.Below(std::size(kJumps))];
    }
    default:
      return 0;
  }
}

// Ways through the product that only some programs and some operators take.
void DrawWays(SwarmPlan& plan, Random& random) {
  SimOptions& cluster = plan.cluster;
  LoadPlan& load = plan.load;
  if (random.OneIn(3)) {
    for (int id = 1; id <= cluster.nodes; ++id) {
      cluster.racks[id] = StrCat("rack", random.Below(2));
    }
    load.rack = "rack0";
    load.metadata_age_ms = random.Between(500, 5'000);
  }
  load.forwards = random.OneIn(3);
  if (random.OneIn(4)) {
    load.burst = static_cast<int>(random.Between(5, 20));
    load.send_every_us *= load.burst;
    load.batch_bytes = 1;
  }
  if (random.OneIn(6)) {
    // Room for one request, or a few.
    cluster.memory.produce_bytes = random.Between(64 << 10, 256 << 10);
    load.request_bytes_max = 32 << 10;
  }
  if (random.OneIn(3)) {
    for (const int id : NodesOf(cluster)) {
      cluster.wall_skew_ms[id] = random.Between(-60'000, 60'000);
    }
  }
  if (random.OneIn(2)) load.elect_every_us = random.Between(1, 5) * kSecond;
}

// Groups, in a third of the runs, with little time for everything.
void DrawGroupLoad(SwarmPlan& plan, Random& random) {
  if (!random.OneIn(3)) return;
  std::vector<std::string> topics;
  for (const TopicPlan& topic : plan.topics) topics.push_back(topic.name);
  plan.groups = DrawGroups(topics, random);
  auto& settings = plan.cluster.settings;
  settings[kOffsetsTopicNumPartitions] = StrCat(random.Between(1, 3));
  settings[kGroupMinSessionTimeoutMs] = "100";
  settings[kGroupInitialRebalanceDelayMs] =
      StrCat(random.OneIn(2) ? 0 : random.Between(1, 1'000));
  if (random.OneIn(4)) {
    settings[kOffsetsRetentionMinutes] = StrCat(random.Between(0, 1));
  }
  for (Fault& fault : plan.faults) {
    if (fault.kind != FaultKind::kDropKind || random.OneIn(2)) continue;
    fault.amount = static_cast<int64_t>(
        kDroppableOfGroups[random.Below(std::size(kDroppableOfGroups))]);
  }
  // Views are lost now and then: filled from a checkpoint, or, where there is
  // none, from their logs.
  plan.cluster.views_lost_one_in = 4;
  if (!random.OneIn(4)) {
    settings[kOffsetsViewCheckpointBytes] =
        StrCat(random.Between(4 << 10, 16 << 10));
  }
}

// Streams of clients: watches in most runs, subscribers in a third.
void DrawStreams(SwarmPlan& plan, Random& random) {
  plan.cluster.watches = !random.OneIn(4);
  if (random.OneIn(2)) {
    plan.cluster.watch_limits.partitions_per_message =
        static_cast<size_t>(random.Between(1, 3));
    plan.cluster.watch_limits.changes_max =
        static_cast<size_t>(random.Between(1, 10));
  }
  if (random.OneIn(3)) {
    plan.subscribers = DrawSubscribers(plan.load.rack, random);
  }
  if (random.OneIn(3)) {
    plan.streamer.in_flight_max = static_cast<int>(random.Between(2, 8));
    plan.streamer.send_every_us = random.Between(100'000, 600'000);
    plan.streamer.records_max = static_cast<int>(random.Between(1, 3));
    plan.streamer.forwards = random.OneIn(3);
  }
  if (plan.cluster.watches && random.OneIn(2)) {
    plan.watcher_moves_us = random.Between(200'000, 10 * kSecond);
  }
  const bool forwards =
      std::any_of(plan.subscribers.begin(), plan.subscribers.end(),
                  [](const SubscriberPlan& one) { return one.forwards; });
  // Room for two of the largest pushes, or a few: below that nobody would be
  // pushed any (MemoryBudgets has a minimum). What is handed on needs a window
  // at each leader.
  if (!plan.subscribers.empty() && !forwards && random.OneIn(3)) {
    plan.cluster.memory.subscribe_bytes = random.Between(1 << 20, 3 << 20);
  }
  for (Fault& fault : plan.faults) {
    if (fault.kind != FaultKind::kDropKind || !random.OneIn(3)) continue;
    fault.amount = static_cast<int64_t>(
        kDroppableOfStreams[random.Below(std::size(kDroppableOfStreams))]);
  }
}

// Members of groups that speak Consume.
void DrawConsumeLoad(SwarmPlan& plan, Random& random) {
  DrawConsume(plan.groups, random);
  const auto& groups = plan.groups.groups;
  if (std::none_of(groups.begin(), groups.end(), [](const GroupPlan& group) {
        return group.streams > 0;
      })) {
    return;
  }
  for (Fault& fault : plan.faults) {
    if (fault.kind != FaultKind::kDropKind || !random.OneIn(4)) continue;
    fault.amount = static_cast<int64_t>(
        random.OneIn(2) ? MessageKind::kConsume : MessageKind::kConsumeReply);
  }
}

FaultSchedule DrawFaults(const SwarmPlan& plan, bool harms, Random& random) {
  std::vector<FaultKind> kinds;
  // Some runs are without a fault, some have all kinds, most a few.
  const int64_t percent = random.OneIn(20) ? 0 : random.Between(10, 70);
  const int count = harms ? kFaultKindCount : kDrawnFaultKindCount;
  for (int k = 0; k < count; ++k) {
    const auto kind = static_cast<FaultKind>(k);
    if (random.Between(0, 99) >= percent || !IsPossible(kind, plan)) continue;
    kinds.insert(kinds.end(), static_cast<size_t>(WeightOf(kind)), kind);
  }
  FaultSchedule faults;
  if (kinds.empty()) return faults;
  const std::vector<int> nodes = NodesOf(plan.cluster);
  const int64_t mean_us = random.Between(200'000, 2'500'000);
  for (int64_t at_us = 0; at_us < plan.faults_us;
       at_us += random.Between(1, 2 * mean_us)) {
    Fault fault;
    fault.at_us = at_us;
    fault.kind = kinds[random.Below(kinds.size())];
    const size_t node = random.Below(nodes.size());
    const size_t other =
        (node + 1 + random.Below(std::max<size_t>(1, nodes.size() - 1))) %
        nodes.size();
    fault.node = nodes[node];
    fault.other = nodes[other];
    fault.for_us = random.OneIn(5) ? random.Between(3'000'000, 8'000'000)
                                   : random.Between(1'000, 2'000'000);
    fault.amount = DrawAmount(fault.kind, random);
    fault.index = static_cast<int>(faults.size());
    faults.push_back(fault);
  }
  return faults;
}

}  // namespace

std::map<std::string, std::string> TopicPlan::Configs() const {
  std::map<std::string, std::string> configs = {
      {kMinInsyncReplicas, StrCat(min_isr)},
      {kDurability, durable ? "disk" : "memory"}};
  if (segment_bytes > 0) configs[kSegmentBytes] = StrCat(segment_bytes);
  return configs;
}

SwarmPlan DrawPlan(uint64_t seed, const DrawLimits& limits) {
  Random random(seed * 0x9e3779b97f4a7c15u + 1);
  SwarmPlan plan;
  plan.seed = seed;
  plan.cluster = DrawCluster(random, limits);
  DrawSmallConstants(plan.cluster, random);
  const int topics = static_cast<int>(random.Between(1, 2));
  for (int i = 0; i < topics; ++i) {
    plan.topics.push_back(
        DrawTopic(random, StrCat("topic", i), plan.cluster.nodes));
  }
  plan.load = DrawLoad(random);
  plan.faults_us = limits.virtual_us * 6 / 10;
  plan.liveness_us = 20 * kSecond;
  plan.heal_us = 60 * kSecond;
  plan.faults = DrawFaults(plan, limits.harms, random);
  plan.load.idempotent = !random.OneIn(5);
  if (random.OneIn(3)) {
    plan.load.trim_every_us = random.Between(100'000, 3 * kSecond);
  }
  if (random.OneIn(3)) {
    plan.load.config_every_us = random.Between(1, 4) * kSecond;
  }
  plan.loses_all_power = random.OneIn(8);
  if (plan.load.admin_every_us > 0 && random.OneIn(2)) {
    plan.load.grow_every_us = random.Between(300'000, 3 * kSecond);
  }
  if (random.OneIn(6)) {
    plan.load.internal_at_us = random.Between(1, plan.faults_us);
  }
  DrawWays(plan, random);
  DrawGroupLoad(plan, random);
  DrawStreams(plan, random);
  // By a number of its own: the other plans are what they were.
  Random consume_random(seed * 0x9e3779b97f4a7c15u + 17);
  DrawConsumeLoad(plan, consume_random);
  // What is in memory alone has to be known.
  if (plan.loses_all_power) {
    plan.load.config_every_us = plan.load.trim_every_us = 0;
    // No power cut while nobody could tell what went astray.
    for (Fault& fault : plan.faults) {
      if (fault.kind != FaultKind::kMisdirectedWrite) continue;
      fault.kind = FaultKind::kBitFlip;
    }
  }
  return plan;
}

std::string SwarmPlan::ToString() const {
  std::string text = StrCat(
      "seed ", seed, ": ", cluster.nodes, " brokers, ", cluster.controllers,
      cluster.separate ? " separate" : " combined", " controllers, ",
      cluster.shards, " shards, lag ",
      cluster.settings.at("replica.lag.time.max.ms"), " ms, drift ",
      cluster.drift_ppm.empty() ? "no" : "yes", ", session ",
      cluster.sessions.session_us / 1000, " ms, heartbeat ",
      cluster.liveness.heartbeat_us / 1000, " ms, disk ", cluster.disk_us,
      " us, tail cache ", cluster.tail_cache_bytes_per_shard, ", ",
      cluster.raft.append_entries_max, " x ",
      cluster.raft.inflight_appends_max, " Raft entries in flight");
  for (const TopicPlan& topic : topics) {
    text += StrCat("; ", topic.name, ": ", topic.partitions, " x ",
                   topic.replicas, ", min ISR ", topic.min_isr,
                   topic.durable ? ", disk" : ", memory");
  }
  if (!load.idempotent) text += "; at least once";
  if (load.trim_every_us > 0) text += "; trims";
  if (loses_all_power) text += "; all power is lost";
  if (load.config_every_us > 0) text += "; configs are altered";
  if (load.grow_every_us > 0) text += "; partitions are added";
  if (load.internal_at_us > 0) text += "; groups begin";
  if (load.elect_every_us > 0) text += "; elections are ordered";
  if (load.burst > 1) text += StrCat("; ", load.burst, " records at once");
  if (!load.rack.empty()) text += "; followers are read";
  if (load.forwards) text += "; any broker is asked";
  if (load.request_bytes_max < 1 << 20) {
    text += StrCat("; ", cluster.memory.produce_bytes, " bytes for requests");
  }
  if (!cluster.watches) text += "; nobody watches";
  text += groups.ToString();
  if (streamer.in_flight_max > 0) {
    text += StrCat("; ", streamer.in_flight_max, " requests in flight",
                   streamer.forwards ? " through any broker" : "");
  }
  if (watcher_moves_us > 0) text += "; all metadata is watched";
  for (const SubscriberPlan& subscriber : subscribers) {
    text += subscriber.ToString();
  }
  return text + StrCat("; ", faults.size(), " faults");
}

}  // namespace sluice::sim
