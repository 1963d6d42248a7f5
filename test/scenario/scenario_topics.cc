// What is committed, who leads, what replicas hold.
#include <algorithm>

#include "broker/control/broker_lifecycle.h"
#include "broker/replicas.h"
#include "common/base/str_cat.h"
#include "controller/controller.h"
#include "storage/batch_header.h"
#include "storage/record_reader.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

std::set<int> IdsOf(const std::vector<NodeId>& nodes) {
  std::set<int> ids;
  for (const NodeId node : nodes) ids.insert(node.value());
  return ids;
}

std::string TextOf(const std::set<int>& ids) {
  std::string text;
  for (const int id : ids) text += StrCat(text.empty() ? "" : ",", id);
  return StrCat("{", text, "}");
}

std::string TextOf(const Values& values) {
  std::string text;
  for (const std::string& value : values) {
    text += StrCat(text.empty() ? "" : ",", value);
  }
  return StrCat("[", text, "]");
}

void AddValues(const BatchView& batch, Values& values) {
  auto reader = RecordReader::Open(batch);
  INVARIANT(reader.ok(), reader.status().ToString());
  while (true) {
    const auto record = reader->Next();
    INVARIANT(record.ok(), record.status().ToString());
    if (!record->has_value()) return;
    values.emplace_back((*record)->value.value_or(""));
  }
}

}  // namespace

// ---- Topics ----

Tp Scenario::CreateTopic(const std::string& name, const TopicOptions& options,
                         Where where) {
  Note(StrCat("create ", name));
  std::map<std::string, std::string> configs = options.configs;
  configs["min.insync.replicas"] = std::to_string(options.min_isr);
  configs["durability"] = options.in_memory ? "memory" : "disk";
  const absl::Status created = sim().CreateTopic(
      name, options.partitions, options.replicas, configs);
  Expect(created.ok(), StrCat("topic ", name, ": ", created.ToString()), where);
  for (int p = 0; p < options.partitions; ++p) {
    const Tp tp{name, p};
    partitions_.push_back(tp);
    Until(StrCat(tp.ToString(), " is led"), [&] {
      const PartitionImage& state = Committed(tp);
      if (state.leader == kNoNode) return false;
      const auto* core = FindCore(state.leader.value(), tp);
      return core != nullptr && core->state() == replica::State::kLeading &&
             core->hw_is_truth();
    }, kLimitMs, where);
    for (const NodeId replica : Committed(tp).replicas) {
      Until(StrCat(replica, " hosts ", tp.ToString()), [&] {
        const auto* core = FindCore(replica.value(), tp);
        return core != nullptr &&
               (core->state() == replica::State::kFollowing ||
                core->state() == replica::State::kLeading);
      }, kLimitMs, where);
    }
  }
  return {name, 0};
}

void Scenario::DeleteTopic(const std::string& name, Where where) {
  Note(StrCat("delete ", name));
  v1::DeleteTopicsRequest request;
  request.add_topics()->set_name(name);
  const int controller = UntilController(where);
  sim().at(controller).controller->api().DeleteTopics(request,
                                                      [](const auto&) {});
  std::erase_if(partitions_, [&](const Tp& tp) { return tp.topic == name; });
  std::erase_if(acked_, [&](const auto& e) { return e.first.topic == name; });
  std::erase_if(sent_, [&](const auto& e) { return e.first.topic == name; });
  Until(StrCat(name, " is gone everywhere"), [&] {
    const auto& nodes = sim().nodes();
    return std::all_of(nodes.begin(), nodes.end(), [&](const auto& entry) {
      return entry.second->broker == nullptr ||
             entry.second->broker->image()->FindTopic(name) == nullptr;
    });
  }, kLimitMs, where);
}

void Scenario::SetConfig(const std::string& topic, const std::string& key,
                         const std::string& value, Where where) {
  Note(StrCat("set ", key, "=", value, " of ", topic));
  v1::AlterConfigsRequest request;
  auto* resource = request.add_resources();
  resource->mutable_resource()->set_type(v1::ConfigResource::TYPE_TOPIC);
  resource->mutable_resource()->set_name(topic);
  auto* change = resource->add_changes();
  change->set_name(key);
  change->set_operation(v1::ConfigChange::OPERATION_SET);
  change->set_value(value);
  const auto answer =
      std::make_shared<std::optional<absl::StatusOr<v1::AlterConfigsResponse>>>();
  const int controller = UntilController(where);
  sim().at(controller).controller->api().AlterConfigs(
      request, [answer](auto response) { answer->emplace(std::move(response)); });
  Until("the change is answered", [&] { return answer->has_value(); },
        kLimitMs, where);
  const auto& response = **answer;
  Expect(response.ok() && !response->results(0).has_error(),
         StrCat(key, "=", value, " is taken: ",
                response.ok() ? response->results(0).error().message()
                              : response.status().ToString()),
         where);
}

v1::ElectLeaderResult Scenario::Elect(const Tp& tp,
                                      v1::ElectLeadersRequest::Kind kind,
                                      Where where) {
  Note(StrCat("elect ", tp.ToString(), " ",
              v1::ElectLeadersRequest::Kind_Name(kind)));
  v1::ElectLeadersRequest request;
  request.set_kind(kind);
  auto* named = request.add_topics();
  named->mutable_topic()->set_name(tp.topic);
  named->add_partitions(tp.partition);
  const auto answer =
      std::make_shared<std::optional<absl::StatusOr<v1::ElectLeadersResponse>>>();
  const int controller = UntilController(where);
  sim().at(controller).controller->api().ElectLeaders(
      request, [answer](auto response) { answer->emplace(std::move(response)); });
  Until("the order is answered", [&] { return answer->has_value(); }, kLimitMs,
        where);
  Expect((*answer)->ok(), (*answer)->status().ToString(), where);
  return (**answer)->results(0);
}

ProposedPtr Scenario::Propose(int controller, const std::string& topic) {
  Note(StrCat("propose ", topic, " to ", controller));
  v1::CreateTopicsRequest request;
  auto* create = request.add_topics();
  create->set_name(topic);
  create->set_partition_count(1);
  create->set_replication_factor(1);
  const auto proposed = std::make_shared<std::optional<absl::Status>>();
  sim().at(controller).controller->api().CreateTopics(
      request, [proposed](const auto& answer) { *proposed = answer.status(); });
  return proposed;
}

TopicPartition Scenario::IdOf(const Tp& tp, Where where) {
  const TopicImage* topic = NewestImage().FindTopic(tp.topic);
  Expect(topic != nullptr, StrCat("there is a topic ", tp.topic), where);
  return {topic->id, PartitionIndex(tp.partition)};
}

// ---- What the controllers have committed ----

const MetadataImage& Scenario::NewestImage() {
  const auto learn = [this](const std::shared_ptr<const MetadataImage>& image) {
    if (image != nullptr && image->offset() > newest_->offset()) {
      newest_ = image;
    }
  };
  for (const auto& [id, node] : sim().nodes()) {
    if (node->controller != nullptr) {
      learn(node->controller->controller().image());
    }
    if (node->broker != nullptr) learn(node->broker->image());
  }
  return *newest_;
}

const PartitionImage& Scenario::Committed(const Tp& tp, Where where) {
  const TopicImage* topic = NewestImage().FindTopic(tp.topic);
  const PartitionImage* found =
      topic == nullptr ? nullptr : topic->Find(PartitionIndex(tp.partition));
  if (found == nullptr) Fail(StrCat("no partition ", tp.ToString()), where);
  return *found;
}

bool Scenario::IsInIsr(const Tp& tp, int broker) {
  return Contains(Committed(tp).isr, NodeId(broker));
}

std::set<int> Scenario::ElrOf(const Tp& tp) {
  std::set<int> all = IdsOf(Committed(tp).elr);
  all.merge(IdsOf(Committed(tp).unverified_elr));
  return all;
}

void Scenario::UntilLeader(const Tp& tp, int broker, Where where) {
  Until(StrCat(broker, " leads ", tp.ToString()), [&] {
    const PartitionImage& state = Committed(tp);
    const replica::ReplicaCore* core = FindCore(broker, tp);
    return state.leader == NodeId(broker) && core != nullptr &&
           core->leader_epoch() == state.leader_epoch &&
           core->state() == replica::State::kLeading;
  }, kLimitMs, where);
}

void Scenario::UntilNoLeader(const Tp& tp, Where where) {
  Until(StrCat("nobody leads ", tp.ToString()),
        [&] { return Committed(tp).leader == kNoNode; }, kLimitMs, where);
}

void Scenario::ExpectLeader(const Tp& tp, int broker, Where where) {
  const NodeId leader = Committed(tp).leader;
  Expect(leader == NodeId(broker),
         StrCat(broker, " leads ", tp.ToString(), ", not ", leader), where);
}

void Scenario::UntilIsr(const Tp& tp, const std::set<int>& isr,
                        int64_t limit_ms, Where where) {
  Until(StrCat("the ISR of ", tp.ToString(), " is ", TextOf(isr)),
        [&] { return IdsOf(Committed(tp).isr) == isr; }, limit_ms, where);
}

void Scenario::ExpectIsr(const Tp& tp, const std::set<int>& isr, Where where) {
  const std::set<int> now = IdsOf(Committed(tp).isr);
  Expect(now == isr, StrCat("the ISR of ", tp.ToString(), " is ", TextOf(isr),
                            ", not ", TextOf(now)),
         where);
}

bool Scenario::IsFenced(int broker) {
  const BrokerImage* image = NewestImage().FindBroker(NodeId(broker));
  return image == nullptr || image->fenced;
}

int Scenario::ActiveController() {
  int active = 0;
  Term newest{-1};
  for (const auto& [id, node] : sim().nodes()) {
    if (node->controller == nullptr || node->life->hung) continue;
    const raft::RaftCore* core = node->controller->raft().core();
    if (core == nullptr || core->role() != raft::Role::kLeader ||
        core->hard_state().term <= newest ||
        !node->controller->controller().active()) {
      continue;
    }
    newest = core->hard_state().term;
    active = id.value();
  }
  return active;
}

int Scenario::UntilController(Where where) {
  Until("a controller is active", [&] { return ActiveController() != 0; },
        kLimitMs, where);
  return ActiveController();
}

const raft::RaftCore& Scenario::RaftOf(int node, Where where) {
  const auto& process = sim().at(node).controller;
  const raft::RaftCore* core =
      process == nullptr ? nullptr : process->raft().core();
  Expect(core != nullptr, StrCat("node ", node, " is a controller"), where);
  return *core;
}

// ---- What a replica holds ----

const replica::ReplicaCore* Scenario::FindCore(int broker, const Tp& tp) {
  const TopicImage* topic = NewestImage().FindTopic(tp.topic);
  const auto& process = sim().at(broker).broker;
  if (topic == nullptr || process == nullptr) return nullptr;
  const TopicPartition id{topic->id, PartitionIndex(tp.partition)};
  const Replicas& replicas = process->replicas();
  const Shard& shard = *replicas.shards()[replicas.IndexOf(id)];
  const Partition* found = shard.Find(id);
  return found == nullptr ? nullptr : &found->core();
}

const replica::ReplicaCore& Scenario::Core(int broker, const Tp& tp,
                                           Where where) {
  const replica::ReplicaCore* core = FindCore(broker, tp);
  if (core == nullptr) {
    Fail(StrCat("broker ", broker, " has no ", tp.ToString()), where);
  }
  return *core;
}

Values Scenario::LogOf(int broker, const Tp& tp) {
  Values values;
  const auto bytes = sim().LogBytes(broker, IdOf(tp, Where::current()));
  if (!bytes.has_value()) return values;
  BatchCursor cursor(*bytes);
  while (true) {
    const auto batch = cursor.Next();
    if (!batch.ok() || !batch->has_value()) return values;
    AddValues(**batch, values);
  }
}

void Scenario::ExpectLog(int broker, const Tp& tp, const Values& values,
                         Where where) {
  const Values now = LogOf(broker, tp);
  Expect(now == values,
         StrCat("broker ", broker, " has ", TextOf(values), " of ",
                tp.ToString(), ", not ", TextOf(now)),
         where);
}

void Scenario::UntilLog(int broker, const Tp& tp, const Values& values,
                        Where where) {
  const Offset end(static_cast<int64_t>(values.size()));
  Until(StrCat("broker ", broker, " has ", TextOf(values)), [&] {
    const auto* core = FindCore(broker, tp);
    return core != nullptr && core->leo() == end && LogOf(broker, tp) == values;
  }, kLimitMs, where);
}

void Scenario::UntilHighWatermark(int broker, const Tp& tp, int64_t at_least,
                                  Where where) {
  Until(StrCat("the high watermark at ", broker, " is ", at_least), [&] {
    const auto* core = FindCore(broker, tp);
    return core != nullptr && core->high_watermark() >= Offset(at_least);
  }, kLimitMs, where);
}

std::string Scenario::ToString(const Tp& tp) {
  const TopicImage* topic = NewestImage().FindTopic(tp.topic);
  if (topic == nullptr) return StrCat(tp.ToString(), " is gone");
  const PartitionImage& state = *topic->Find(PartitionIndex(tp.partition));
  std::string text =
      StrCat(tp.ToString(), ": leader ", state.leader, ", epoch ",
             state.leader_epoch, "/", state.partition_epoch, ", ISR ",
             TextOf(IdsOf(state.isr)), ", ELR ", TextOf(IdsOf(state.elr)),
             " unverified ", TextOf(IdsOf(state.unverified_elr)));
  for (const NodeId replica : state.replicas) {
    const auto* core = FindCore(replica.value(), tp);
    text += StrCat("\n    ", replica, ": ");
    if (core == nullptr) {
      text += "not there";
      continue;
    }
    text += StrCat(NameOf(core->state()), ", epoch ", core->leader_epoch(),
                   ", HW ", core->high_watermark(), ", durable ",
                   core->durable_leo(), ", LEO ", core->leo(), " ",
                   TextOf(LogOf(replica.value(), tp)));
  }
  return text;
}

// ---- Messages ----

bool AsksForIsr(const Message& message, const std::set<int>& isr) {
  const auto request =
      sim::Wire<internal::v1::AlterPartitionsRequest>::Decode(message.bytes);
  for (const auto& partition : request.partitions()) {
    std::set<int> asked;
    for (const auto& member : partition.new_isr()) {
      asked.insert(member.broker_id());
    }
    if (asked == isr) return true;
  }
  return false;
}

}  // namespace sluice::scenario
