#include "test/check/check_testing.h"

namespace sluice::check {
namespace {

std::vector<NodeId> NodesFrom(const std::vector<int>& ids) {
  return NodesOf(ids);
}

std::string Directory(int broker) {
  return Uuid(0xd, static_cast<uint64_t>(broker)).ToBytes();
}

}  // namespace

const TopicPartition CheckTest::kTp{TopicId(Uuid(7, 7)), PartitionIndex(0)};

void CheckTest::SetUp() {
  cluster_.configs = *ConfigRegistry::Make({});
  Batch first;
  first.add_records()->mutable_feature_level()->set_level(1);
  Commit(first);
  for (int broker = 1; broker <= 3; ++broker) {
    Boot(broker, 1);
    Register(broker, 1);
    Fence(broker, false);
  }
  CreateTopic(kTp.topic_id, "t");
  Lead(1, 0);
  Follow(2, 1, 0);
  Follow(3, 1, 0);
  ExpectNone();
}

// ---- Metadata ----

void CheckTest::Commit(const Batch& batch) {
  offset_ = offset_.Next();
  auto applied = ApplyBatch(*cluster_.committed, batch, offset_, Term(1));
  ASSERT_TRUE(applied.ok()) << applied.status();
  const auto before = std::exchange(cluster_.committed, applied->image);
  metadata_.OnCommitted(*before, applied->changes);
  isr_.OnCommitted(*before, applied->changes);
  replication_.OnCommitted(*before, applied->changes);
  for (auto& [id, node] : cluster_.nodes) {
    if (node.up) node.broker_image = cluster_.committed;
  }
}

void CheckTest::Register(int broker, int incarnation, bool was_clean) {
  Batch batch;
  auto* record = batch.add_records()->mutable_register_broker();
  record->set_broker_id(broker);
  record->set_incarnation_id(Incarnation(broker, incarnation).ToBytes());
  record->add_directories(Directory(broker));
  record->set_feature_min(1);
  record->set_feature_max(1);
  record->set_was_clean(was_clean);
  Commit(batch);
}

void CheckTest::Fence(int broker, bool fenced) {
  Batch batch;
  auto* record = batch.add_records()->mutable_broker_change();
  record->set_broker_id(broker);
  record->set_broker_epoch(EpochOf(broker).value());
  record->set_fenced(fenced);
  Commit(batch);
}

void CheckTest::MarkStopping(int broker) {
  Batch batch;
  auto* record = batch.add_records()->mutable_broker_change();
  record->set_broker_id(broker);
  record->set_broker_epoch(EpochOf(broker).value());
  record->set_stopping(true);
  Commit(batch);
}

void CheckTest::CreateTopic(const TopicId& id, const std::string& name,
                            std::map<std::string, std::string> configs) {
  Batch batch;
  auto* topic = batch.add_records()->mutable_topic();
  topic->set_name(name);
  topic->set_id(id.ToBytes());
  topic->set_kind(internal::v1::TopicRecord::KIND_USER);
  configs.emplace(kMinInsyncReplicas, "2");
  for (const auto& [key, value] : configs) {
    auto* config = batch.add_records()->mutable_config();
    config->set_resource_type(internal::v1::ConfigRecord::RESOURCE_TYPE_TOPIC);
    config->set_resource_name(name);
    config->set_key(key);
    config->set_value(value);
  }
  PartitionImage partition;
  partition.replicas = NodesFrom({1, 2, 3});
  partition.directories.resize(3);
  partition.isr = partition.last_full_isr = partition.replicas;
  partition.leader = NodeId(1);
  *batch.add_records()->mutable_partition() =
      ToRecord({id, PartitionIndex(0)}, partition);
  Commit(batch);
}

void CheckTest::SetConfig(const std::string& key, const std::string& value) {
  Batch batch;
  auto* config = batch.add_records()->mutable_config();
  config->set_resource_type(internal::v1::ConfigRecord::RESOURCE_TYPE_TOPIC);
  config->set_resource_name(cluster_.committed->FindTopic(kTp.topic_id)->name);
  config->set_key(key);
  config->set_value(value);
  Commit(batch);
}

void CheckTest::AddChange(Batch& batch, const PartitionChange& change) {
  auto* record = batch.add_records()->mutable_partition_change();
  record->set_topic_id(kTp.topic_id.ToBytes());
  record->set_partition(kTp.partition.value());
  record->set_partition_epoch(change.partition_epoch.value_or(
      partition().partition_epoch.value() + 1));
  if (change.leader.has_value()) {
    record->set_leader(*change.leader);
    record->set_leader_epoch(partition().leader_epoch.value() + 1);
  }
  if (change.leader_epoch.has_value()) {
    record->set_leader_epoch(*change.leader_epoch);
  }
  if (change.durability_settling.has_value()) {
    record->set_durability_settling(*change.durability_settling);
  }
  if (change.log_start.has_value()) {
    record->set_log_start_offset(*change.log_start);
  }
  const auto put = [](const std::optional<Ids>& ids, auto make) {
    if (ids.has_value()) SetNodes(NodesFrom(*ids), make()->mutable_ids());
  };
  put(change.isr, [&] { return record->mutable_isr(); });
  put(change.elr, [&] { return record->mutable_elr(); });
  put(change.unverified_elr, [&] { return record->mutable_unverified_elr(); });
  put(change.last_full_isr, [&] { return record->mutable_last_full_isr(); });
  if (change.candidates.has_value()) {
    auto* list = record->mutable_candidates();
    for (const CandidateLog& log : *change.candidates) {
      *list->add_logs() = ToMessage(log);
    }
  }
  if (change.ordered.has_value()) record->set_unclean_ordered(*change.ordered);
  if (change.lost_from.has_value()) {
    record->set_last_unclean_leader_epoch(
        change.unclean_epoch.value_or(record->leader_epoch()));
    *record->mutable_unclean_loss() =
        ToMessage(UncleanLoss{NodeId(record->leader()),
                              Offset(*change.lost_from), Offset(100)});
  }
}

void CheckTest::Change(const PartitionChange& change) {
  Batch batch;
  AddChange(batch, change);
  Commit(batch);
}

// ---- Processes ----

void CheckTest::Boot(int id, int incarnation) {
  NodeView& view = node(id);
  const int64_t life = view.life + 1;
  view = NodeView();
  view.id = NodeId(id);
  view.up = true;
  view.life = life;
  view.has_broker = true;
  view.incarnation = Incarnation(id, incarnation);
  view.logs_recovered = true;
  view.broker_image = cluster_.committed;
}

void CheckTest::End(int id, check::End how) {
  NodeView& view = node(id);
  raft_.OnEnd(view);
  storage_.OnEnd(view, how);
  metadata_.OnEnd(view, how);
  view.up = false;
}

void CheckTest::Wipe(int id) {
  storage_.OnWiped(NodeId(id));
  metadata_.OnWiped(NodeId(id));
}

// ---- Replicas ----

void CheckTest::At(int id, const std::function<void(ReplicaView&)>& event) {
  NodeView& here = node(id);
  const bool fresh = !here.replicas.contains(kTp);
  ReplicaView& view = here.replicas[kTp];
  ReplicaChange change{kTp, std::nullopt, &view, nullptr};
  if (!fresh) change.before = view;
  const std::vector<StoredBatch> old = view.batches;
  event(view);
  view.batches_before = old.size();
  view.batches_kept = 0;
  while (view.batches_kept < std::min(old.size(), view.batches.size()) &&
         old[view.batches_kept].SameRecords(view.batches[view.batches_kept])) {
    ++view.batches_kept;
  }
  storage_.OnChange(here, change);
  replication_.OnChange(here, change);
  isr_.OnChange(here, change);
  const auto table = tables_.find(id);
  if (table != tables_.end()) change.producers = &table->second;
  producers_.OnChange(here, change);
}

void CheckTest::Lead(int id, int epoch) {
  At(id, [&](ReplicaView& view) {
    view.hosted = true;
    view.state = replica::State::kLeading;
    view.leads = true;
    view.leader = NodeId(id);
    view.leader_epoch = LeaderEpoch(epoch);
    view.partition_epoch = partition().partition_epoch;
    view.min_isr = 2;
    view.epoch_start = view.leo;
    view.epochs.push_back({LeaderEpoch(epoch), view.leo});
    view.isr = partition().isr;
    view.maximal_isr = {view.isr.begin(), view.isr.end()};
    view.followers.clear();
    view.proposal.reset();
  });
}

void CheckTest::Follow(int id, int leader, int epoch) {
  At(id, [&](ReplicaView& view) {
    view.hosted = true;
    view.state = replica::State::kAsking;
    view.leads = false;
    view.leader = NodeId(leader);
    view.leader_epoch = LeaderEpoch(epoch);
    view.partition_epoch = partition().partition_epoch;
    view.min_isr = 2;
    view.epoch_start = kNoOffset;
    view.proposal.reset();
  });
  At(id, [](ReplicaView& view) { view.state = replica::State::kFollowing; });
}

void CheckTest::Append(ReplicaView& view, int epoch, uint32_t crc) {
  const LeaderEpoch e(epoch);
  if (view.epochs.empty() || view.epochs.back().epoch < e) {
    view.epochs.push_back({e, view.leo});
  }
  view.batches.push_back({view.leo, view.leo, e, crc});
  view.leo = view.leo.Next();
}

void CheckTest::CutTo(ReplicaView& view, int64_t end) {
  while (!view.batches.empty() && view.batches.back().last >= Offset(end)) {
    view.batches.pop_back();
  }
  while (!view.epochs.empty() && view.epochs.back().start >= Offset(end)) {
    view.epochs.pop_back();
  }
  view.leo = Offset(end);
  view.durable_leo = std::min(view.durable_leo, view.leo);
  view.position = std::min(view.position, view.leo);
}

void CheckTest::AppendAt(int id, int epoch, uint32_t crc) {
  At(id, [&](ReplicaView& view) { Append(view, epoch, crc); });
  At(id, [](ReplicaView& view) {
    view.durable_leo = view.position = view.leo;
  });
}

void CheckTest::Acknowledge(int leader, int follower) {
  const ReplicaView& theirs = replica(follower);
  At(leader, [&](ReplicaView& view) {
    replica::FollowerState& state = view.followers[NodeId(follower)];
    state.broker_epoch = EpochOf(follower);
    state.accepted = true;
    state.appended = theirs.leo;
    state.durable = theirs.durable_leo;
  });
}

void CheckTest::MoveHw(int id, int64_t to) {
  At(id, [&](ReplicaView& view) { view.high_watermark = Offset(to); });
}

void CheckTest::Produce(int leader, const Ids& followers, uint32_t crc) {
  const int epoch = replica(leader).leader_epoch.value();
  AppendAt(leader, epoch, crc);
  for (const int follower : followers) {
    AppendAt(follower, epoch, crc);
    Acknowledge(leader, follower);
  }
  const int64_t end = replica(leader).leo.value();
  MoveHw(leader, end);
  for (const int follower : followers) MoveHw(follower, end);
}

void CheckTest::Propose(int leader, const Ids& isr) {
  At(leader, [&](ReplicaView& view) {
    replica::Proposal proposal;
    for (const int id : isr) proposal.isr[NodeId(id)] = EpochOf(id);
    proposal.partition_epoch = view.partition_epoch;
    for (const int id : isr) view.maximal_isr.insert(NodeId(id));
    view.proposal = std::move(proposal);
  });
}

}  // namespace sluice::check
