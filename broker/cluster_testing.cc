#include "broker/cluster_testing.h"

#include <algorithm>
#include <utility>

#include "broker/control/isr_reporter.h"
#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice {

// What a broker's control side is to its shards.
class SimCluster::Link final
    : public IsrProposals, public LogStartRecords, public ReplicaFailures {
 public:
  Link(SimCluster* cluster, Node* node) : cluster_(cluster), node_(node) {}
  void Propose(internal::v1::AlterPartition proposal) override {
    if (cluster_->Lost()) {
      return cluster_->Answer(*node_, proposal, IsrDecision::Outcome::kUnknown,
                              PartitionEpoch(proposal.partition_epoch()),
                              kAnswerTimeoutUs);
    }
    cluster_->ToController(*node_, [cluster = cluster_, node = node_,
                                    proposal = std::move(proposal)] {
      cluster->Decide(*node, proposal);
    });
  }
  void Record(internal::v1::AdvanceLogStart wanted, int64_t) override {
    if (!cluster_->hears_log_starts_ || cluster_->Lost()) return;
    cluster_->ToController(*node_, [cluster = cluster_, node = node_,
                                    wanted = std::move(wanted)] {
      cluster->DecideLogStart(*node, wanted);
    });
  }
  void ReportFailed(internal::v1::ReplicaVerdict verdict) override {
    cluster_->ToController(*node_, [cluster = cluster_, node = node_,
                                    verdict = std::move(verdict)] {
      cluster->Report(*node, {verdict});
    });
  }
  void TellLog(internal::v1::ReplicaVerdict verdict) override {
    if (cluster_->drop_told_ > 0) {
      --cluster_->drop_told_;
      return;
    }
    ReportFailed(std::move(verdict));
  }

  static constexpr int64_t kAnswerTimeoutUs = 200'000;

 private:
  SimCluster* const cluster_;
  Node* const node_;
};

SimCluster::SimCluster(Options options)
    : options_(std::move(options)),
      random_(options_.seed),
      controller_(world_.NewExecutor()),
      metadata_(options_.node_defaults) {
  auto configs = ConfigRegistry::Make(options_.node_defaults);
  INVARIANT(configs.ok(), configs.status().ToString());
  configs_ = *configs;
  network_ = std::make_unique<SimReplicationNetwork>(
      &world_,
      SimReplicationNetwork::Options{.seed = random_.Next64()});
  for (int id = 1; id <= options_.brokers; ++id) {
    nodes_.push_back(std::make_unique<Node>());
    nodes_.back()->id = id;
    nodes_.back()->fs = std::make_unique<MemFileSystem>();
  }
  Publish();
}

SimCluster::~SimCluster() {
  for (int id = 1; id <= broker_count(); ++id) Stop(id, End::kKill);
}

// ---- Messages ----

int64_t SimCluster::MessageUs() {
  return random_.Between(options_.message_us_min, options_.message_us_max);
}

bool SimCluster::Lost() {
  return options_.lose_one_proposal_in > 0 &&
         random_.OneIn(options_.lose_one_proposal_in);
}

void SimCluster::ToNode(Node& node,
                        absl::AnyInvocable<void(SimBroker&)> task) {
  if (node.process == nullptr) return;
  node.last_message_us =
      std::max(world_.MonoMicros() + MessageUs(), node.last_message_us);
  // Its executor goes with the process, and this with its executor.
  node.process->control()->PostAfter(
      node.last_message_us - world_.MonoMicros(),
      [process = node.process.get(), task = std::move(task)]() mutable {
        task(*process);
      });
}

void SimCluster::ToController(Task task) {
  controller_->PostAfter(MessageUs(), std::move(task));
}

void SimCluster::ToController(const Node& node, Task task) {
  ToController([&node, life = node.life, task = std::move(task)]() mutable {
    if (node.process != nullptr && node.life == life) task();
  });
}

void SimCluster::AtShard(int id, const TopicPartition& tp,
                         absl::AnyInvocable<void(Shard&)> task) {
  Node& node = NodeOf(id);
  if (node.process == nullptr) return;
  Shard& shard = node.process->ShardOf(tp);
  shard.executor()->PostAfter(
      MessageUs(),
      [&shard, task = std::move(task)]() mutable { task(shard); });
}

// ---- Lives ----

void SimCluster::StartAll() {
  for (int id = 1; id <= broker_count(); ++id) Start(id);
}

void SimCluster::Start(int id) {
  Node& node = NodeOf(id);
  INVARIANT(node.process == nullptr, "broker ", id, " runs already");
  ++node.life;
  node.epoch = kNoBrokerEpoch;
  node.verdicts.clear();
  node.pushed = node.applied = node.reported = false;
  node.link = std::make_unique<Link>(this, &node);
  SimBroker::Deps deps;
  deps.world = &world_;
  deps.fs = node.fs.get();
  deps.views = &node.views;
  deps.network = network_.get();
  deps.configs = configs_;
  deps.isr_proposals = node.link.get();
  deps.log_starts = node.link.get();
  deps.failures = node.link.get();
  deps.id = NodeId(id);
  deps.cluster_id = TestCluster::cluster_id();
  deps.incarnation =
      *IncarnationId::FromBytes(TestCluster::Incarnation(id, node.life));
  deps.endpoint = {"b" + std::to_string(id), 9000};
  deps.boot_id = "boot-" + std::to_string(node.boot);
  deps.shards = options_.shards;
  deps.tail_cache_bytes = options_.tail_cache_bytes;
  deps.shard_us_max = options_.shard_us_max;
  deps.seed = random_.Next64();
  deps.on_fatal = [this](absl::Status why) { fatal_.push_back(why); };
  node.process = std::make_unique<SimBroker>(std::move(deps));
  node.process->control()->Post([this, &node] {
    node.process->replicas().RecoverLogs(
        [this, &node](ReplicaHost::Verdicts some) {
          ToController(node, [this, &node, some = std::move(some)] {
            OnVerdicts(node, some);
          });
        },
        [] {});
  });
  ToController(node, [this, &node] { Register(node); });
}

void SimCluster::Stop(int id, End how) {
  Node& node = NodeOf(id);
  if (node.process == nullptr) return;
  network_->Vanish(NodeId(id));
  switch (how) {
    case End::kKill: node.fs->Kill(); break;
    case End::kPowerLossOfAll: node.fs->CrashLosingAll(); break;
    case End::kPowerLossPrefix: node.fs->Crash(random_); break;
    case End::kPowerLossSectors: node.fs->CrashReordering(random_); break;
  }
  if (how != End::kKill) ++node.boot;
  node.process.reset();
  node.link.reset();
  // What it has not flushed goes with the process.
  if (node.views.unsynced_batches() > 0) node.views.Crash(&random_);
  controller_->PostAfter(options_.detection_us, [this, &node,
                                                 life = node.life] {
    if (node.life != life || node.epoch == kNoBrokerEpoch) return;
    metadata_.Fence(node.id);
    Publish();
  });
}

void SimCluster::Wipe(int id) {
  Node& node = NodeOf(id);
  INVARIANT(node.process == nullptr, "broker ", id, " runs");
  node.fs = std::make_unique<MemFileSystem>();
  node.views.Wipe();
}

absl::Status SimCluster::StopClean(int id) {
  Node& node = NodeOf(id);
  const int life = node.life;
  std::optional<absl::Status> closed;
  ToController(node, [this, &node] {
    if (node.epoch == kNoBrokerEpoch) return;
    metadata_.BeginStop(node.id);
    Publish();
  });
  // Behind the metadata that takes its leaderships.
  world_.RunFor(10 * options_.message_us_max);
  ToNode(node, [&, epoch = node.epoch](SimBroker& process) {
    process.replicas().StopClean(epoch,
                                 [&](absl::Status s) { closed = s; });
  });
  world_.RunUntil([&] { return closed.has_value() || node.life != life; },
                  5'000'000);
  Stop(id, End::kKill);
  return closed.value_or(absl::DeadlineExceededError("never closed"));
}

// ---- The controller ----

void SimCluster::Register(Node& node) {
  const auto rack = options_.racks.find(node.id);
  auto request = TestCluster::Registration(
      node.id, node.life,
      rack == options_.racks.end() ? "" : rack->second);
  const LogDirectory& directory = node.process->directory();
  auto* home = request.mutable_directories(0);
  home->set_id(directory.id().ToBytes());
  const PreviousRun& run = directory.previous_run();
  home->set_clean_broker_epoch(
      run.clean_broker_epoch.value_or(kNoBrokerEpoch).value());
  home->set_last_boot_id(run.boot_id);
  request.set_boot_id("boot-" + std::to_string(node.boot));
  metadata_.Register(request);
  node.epoch = metadata_.EpochOf(node.id);
  Publish();
  node.pushed = true;
  Push(node, published_, EverythingIn(*published_));
  ToNode(node, [this, &node](SimBroker&) {
    ToController(node, [this, &node] {
      node.applied = true;
      MaybeUnfence(node);
    });
  });
  node.wanted = WantedVerdicts(image(), NodeId(node.id));
  ToNode(node, [wanted = node.wanted](SimBroker& process) {
    process.replicas().RecoverFirst(wanted);
  });
  MaybeReport(node);
}

void SimCluster::OnVerdicts(Node& node, const ReplicaHost::Verdicts& verdicts) {
  for (const auto& verdict : verdicts) {
    node.verdicts.emplace(
        TopicPartition{*TopicId::FromBytes(verdict.topic_id()),
                       PartitionIndex(verdict.partition())},
        verdict);
    if (node.reported && verdict.failed()) Report(node, {verdict});
  }
  MaybeReport(node);
}

// As BrokerLifecycle does.
void SimCluster::MaybeReport(Node& node) {
  if (node.epoch == kNoBrokerEpoch || node.reported) return;
  ReplicaHost::Verdicts told;
  for (const TopicPartition& tp : node.wanted) {
    const auto found = node.verdicts.find(tp);
    if (found == node.verdicts.end()) return;
    told.push_back(found->second);
  }
  for (const auto& [tp, verdict] : node.verdicts) {
    const bool is_told = std::find(node.wanted.begin(), node.wanted.end(),
                                   tp) != node.wanted.end();
    if (verdict.failed() && !is_told) told.push_back(verdict);
  }
  node.reported = true;
  Report(node, told);
  MaybeUnfence(node);
}

void SimCluster::Report(const Node& node,
                        const ReplicaHost::Verdicts& verdicts) {
  internal::v1::ReportReplicasRequest request;
  request.set_broker_id(node.id);
  request.set_broker_epoch(node.epoch.value());
  for (const auto& verdict : verdicts) *request.add_verdicts() = verdict;
  auto result = BrokerControl(image(), *configs_).ReportReplicas(request);
  INVARIANT(result.ok(), result.status().ToString());
  metadata_.Apply(result->batch);
  Publish();
}

void SimCluster::MaybeUnfence(Node& node) {
  if (!node.applied || !node.reported) return;
  metadata_.Unfence(node.id);
  Publish();
}

void SimCluster::Publish() {
  for (const auto& entry : metadata_.log()) {
    if (entry.offset <= published_->offset()) continue;
    auto applied =
        ApplyBatch(*published_, entry.batch, entry.offset, entry.term);
    INVARIANT(applied.ok(), applied.status().ToString());
    published_ = applied->image;
    for (const auto& node : nodes_) {
      if (node->process != nullptr && node->pushed) {
        Push(*node, published_, applied->changes);
      }
    }
  }
}

void SimCluster::Push(Node& node, std::shared_ptr<const MetadataImage> image,
                      const MetadataChanges& changes) {
  ToNode(node, [image = std::move(image), changes,
                epoch = node.epoch](SimBroker& process) {
    process.ApplyMetadata(image, changes, epoch);
  });
}

void SimCluster::Decide(Node& node,
                        const internal::v1::AlterPartition& proposal) {
  internal::v1::AlterPartitionsRequest request;
  request.set_broker_id(node.id);
  request.set_broker_epoch(node.epoch.value());
  *request.add_partitions() = proposal;
  const auto response = metadata_.Alter(request);
  Publish();
  PartitionEpoch applied;
  auto outcome = IsrDecision::Outcome::kStale;
  if (response.ok()) {
    const auto& result = response->results(0);
    const auto decided = IsrReporter::OutcomeOf(
        result.has_error()
            ? CodeFromNumber(static_cast<int32_t>(result.error().code()))
            : ErrorCode::kNone);
    outcome = decided.value_or(IsrDecision::Outcome::kUnknown);
    if (outcome == IsrDecision::Outcome::kApplied) {
      applied = PartitionEpoch(result.partition_epoch());
    }
  }
  if (Lost()) {
    return Answer(node, proposal, IsrDecision::Outcome::kUnknown,
                  PartitionEpoch(), Link::kAnswerTimeoutUs);
  }
  Answer(node, proposal, outcome, applied, 0);
}

void SimCluster::DecideLogStart(Node& node,
                                const internal::v1::AdvanceLogStart& wanted) {
  internal::v1::AlterPartitionsRequest request;
  request.set_broker_id(node.id);
  request.set_broker_epoch(node.epoch.value());
  *request.add_log_starts() = wanted;
  const auto response = metadata_.Alter(request);
  Publish();
  if (Lost()) return;
  LogStartDecision decision{{*TopicId::FromBytes(wanted.topic_id()),
                             PartitionIndex(wanted.partition())},
                            LeaderEpoch(wanted.leader_epoch()),
                            Offset(wanted.log_start_offset()),
                            response.status()};
  if (response.ok() && response->log_starts(0).has_error()) {
    decision.status = MakeError(ErrorCode::kNotLeader, "refused");
  }
  ToNode(node, [decision](SimBroker& to) {
    to.replicas().OnLogStartDecisions({decision});
  });
}

void SimCluster::Answer(Node& node,
                        const internal::v1::AlterPartition& proposal,
                        IsrDecision::Outcome outcome, PartitionEpoch applied,
                        int64_t delay_us) {
  const IsrDecision decision{
      TopicPartition{*TopicId::FromBytes(proposal.topic_id()),
                     PartitionIndex(proposal.partition())},
      outcome, LeaderEpoch(proposal.leader_epoch()),
      PartitionEpoch(proposal.partition_epoch()), applied};
  controller_->PostAfter(delay_us, [this, &node, life = node.life, decision] {
    if (node.life != life) return;
    ToNode(node, [decision](SimBroker& process) {
      process.replicas().OnIsrDecisions({decision});
    });
  });
}

// ---- Topics, state ----

TopicPartition SimCluster::CreateTopic(
    const std::string& name, const std::vector<int32_t>& replicas,
    std::map<std::string, std::string> configs, int partitions) {
  const TopicPartition first =
      metadata_.CreateOn(name, replicas, std::move(configs), partitions);
  Publish();
  return first;
}

TopicId SimCluster::CreateOffsetsTopic() {
  const absl::Status made = metadata_.EnsureInternal(kConsumerOffsetsTopic);
  INVARIANT(made.ok(), made.ToString());
  Publish();
  return image().FindTopic(kConsumerOffsetsTopic)->id;
}

void SimCluster::DeleteTopic(const std::string& name) {
  v1::DeleteTopicsRequest request;
  request.add_topics()->set_name(name);
  auto result = TopicControl(image(), *configs_).Delete(request);
  INVARIANT(result.ok(), result.status().ToString());
  metadata_.Apply(result->batch);
  Publish();
}

int SimCluster::Leader(const TopicPartition& tp) {
  const PartitionImage* state = image().FindPartition(tp);
  if (state == nullptr || state->leader == kNoNode) return 0;
  SimBroker* process = broker(state->leader.value());
  const Partition* partition =
      process == nullptr ? nullptr : process->Find(tp);
  if (partition == nullptr ||
      partition->core().leader_epoch() != state->leader_epoch ||
      partition->core().state() != replica::State::kLeading) {
    return 0;
  }
  return state->leader.value();
}

std::string SimCluster::Describe(const TopicPartition& tp) {
  const PartitionImage* state = image().FindPartition(tp);
  if (state == nullptr) return "no such partition";
  std::string text =
      StrCat("leader ", state->leader, " epoch ", state->leader_epoch, "/",
             state->partition_epoch, " isr ", NodesText(state->isr), " elr ",
             NodesText(state->elr), " unverified ",
             NodesText(state->unverified_elr));
  for (const auto& node : nodes_) {
    const BrokerImage* known = image().FindBroker(NodeId(node->id));
    text += StrCat("\n  broker ", node->id, " epoch ",
                   known == nullptr ? kNoBrokerEpoch : known->epoch,
                   known == nullptr    ? " unknown"
                   : known->active()   ? " active"
                   : known->stopping ? " stopping"
                                       : " fenced");
    const Partition* p =
        node->process == nullptr ? nullptr : node->process->Find(tp);
    if (p == nullptr) {
      text += node->process == nullptr ? ", down" : ", not hosted";
      continue;
    }
    text += StrCat(", ", replica::NameOf(p->core().state()), " epoch ",
                   p->core().leader_epoch(), " LEO ", p->leo(), " durable ",
                   p->log().durable_leo(), " HW ", p->high_watermark());
  }
  return text;
}

bool SimCluster::Healthy(const TopicPartition& tp) {
  const PartitionImage* state = image().FindPartition(tp);
  if (state == nullptr || Leader(tp) == 0 ||
      state->isr.size() != state->replicas.size()) {
    return false;
  }
  for (const NodeId id : state->replicas) {
    SimBroker* process = broker(id.value());
    const Partition* partition =
        process == nullptr ? nullptr : process->Find(tp);
    if (partition == nullptr || partition->failed() ||
        partition->core().leader_epoch() != state->leader_epoch ||
        (id != state->leader &&
         partition->core().state() != replica::State::kFollowing)) {
      return false;
    }
  }
  return true;
}

bool SimCluster::RunUntilHealthy(const TopicPartition& tp, int64_t limit_us) {
  return world_.RunUntil([&] { return Healthy(tp); }, limit_us);
}

bool SimCluster::RunUntilLed(const TopicPartition& tp, int64_t limit_us) {
  return world_.RunUntil([&] { return Leader(tp) != 0; }, limit_us);
}

bool SimCluster::RunUntilReadable(const TopicPartition& tp,
                                  int64_t limit_us) {
  return world_.RunUntil(
      [&] {
        const int leader = Leader(tp);
        return leader != 0 && broker(leader)->Find(tp)->core().hw_is_truth();
      },
      limit_us);
}

}  // namespace sluice
