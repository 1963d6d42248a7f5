// What the workload's programs do besides sending and reading.
#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "controller/metadata/config_registry.h"
#include "test/sim/workload.h"

namespace sluice::sim {
namespace {

constexpr int64_t kAdminTimeoutUs = 30'000'000;
constexpr int64_t kTrimAgainUs = 500'000;
constexpr int64_t kListTimeoutUs = 5'000'000;
constexpr int64_t kIdentifyTimeoutUs = 5'000'000;

}  // namespace

// ---- Records that are deleted ----

// Up to what a reader was given: that is committed, so whoever leads can.
void Workload::TrimSome() {
  if (stopped_) return;
  executor_->PostAfter(random_.Between(1, 2 * plan_->load.trim_every_us),
                       [this] { TrimSome(); });
  const std::vector<NamedPartition> all = partitions();
  const NamedPartition& tp = all[random_.Below(all.size())];
  const Offset read = ReadUpTo(tp);
  const Offset before(static_cast<int64_t>(
      random_.Below(static_cast<uint64_t>(read.value()) + 1)));
  if (before == Offset(0)) return;
  ledger_.OnTrimming(tp, before);
  Trim(tp, before);
}

// A leader that was deposed and has not heard of it refuses what its successor
// committed: asked again until the one that leads has answered.
void Workload::Trim(const NamedPartition& tp, Offset before) {
  const OpenCalls::Id call = calls_.Begin(
      StrCat("DeleteRecords of ", tp, " before ", before), kAdminTimeoutUs);
  operator_->DeleteRecords(
      {{tp, before}}, kAdminTimeoutUs,
      [this, call, tp, before](RecordDeletion::Results results) {
        calls_.End(call);
        const api::DeleteRecordsResult& result = results.at(tp);
        if (result.error.code == ErrorCode::kOffsetOutOfRange &&
            !ledger_.may_lose(tp)) {
          const OpenCalls::Id wait =
              calls_.Begin(result.error.message, kTrimAgainUs);
          executor_->PostAfter(kTrimAgainUs, [this, wait, tp, before] {
            calls_.End(wait);
            Trim(tp, before);
          });
        }
        // For good, wherever the records were: it is in the metadata.
        if (result.error.ok()) {
          ledger_.OnTrimmed(tp, result.log_start_offset);
        }
      });
}

// ---- Where logs begin and end ----

void Workload::ListSome() {
  if (stopped_) return;
  executor_->PostAfter(random_.Between(1, 2 * plan_->load.list_every_us),
                       [this] { ListSome(); });
  const OpenCalls::Id call = calls_.Begin("ListOffsets", kListTimeoutUs);
  // The answers are judged one by one as they come; the whole says nothing
  // more.
  lister_->ListOffsets(partitions(),
                       random_.OneIn(2) ? api::OffsetPosition::kLatest
                                        : api::OffsetPosition::kEarliest,
                       kListTimeoutUs,
                       [this, call](const auto&) { calls_.End(call); });
}

// ---- Producer ids ----

// What is answered is judged on the wire (IP5).
void Workload::Identify() {
  if (stopped_) return;
  executor_->PostAfter(random_.Between(1, 2 * plan_->load.identify_every_us),
                       [this] { Identify(); });
  const NodeId broker(
      static_cast<int32_t>(random_.Between(1, cluster_->broker_count())));
  const OpenCalls::Id call = calls_.Begin(
      StrCat("InitProducerId at ", broker), kIdentifyTimeoutUs);
  operator_->InitProducerId(broker, kIdentifyTimeoutUs,
                            [this, call](const auto&) { calls_.End(call); });
}

// ---- Topics that come and go ----

void Workload::ManageTopics() {
  if (stopped_) return;
  if (made_topics_.size() >= 3 || (!made_topics_.empty() && random_.OneIn(3))) {
    const size_t which = random_.Below(made_topics_.size());
    DeleteTopic(made_topics_[which]);
    made_topics_.erase(made_topics_.begin() + static_cast<long>(which));
  } else {
    // A few names, so that some come again.
    CreateTopic(StrCat("made", next_topic_++ % 4));
  }
  executor_->PostAfter(random_.Between(1, 2 * plan_->load.admin_every_us),
                       [this] { ManageTopics(); });
}

// ---- Configs that are altered ----

bool Workload::HoldConfigs() {
  configs_held_ = true;
  return open_alters_ == 0;
}

// min.insync.replicas is the plan's or one more, never less: how many copies
// the faults may destroy depends on it.
void Workload::ManageConfigs() {
  if (stopped_ || configs_held_) return;
  const TopicPlan& topic = plan_->topics[random_.Below(plan_->topics.size())];
  switch (random_.Below(4)) {
    case 0:
    case 1:
      AlterConfig(topic.name, kDurability,
                  random_.OneIn(2) ? "disk" : "memory");
      break;
    case 2: {
      const int raised = std::min(topic.min_isr + 1, topic.replicas);
      AlterConfig(topic.name, kMinInsyncReplicas,
                  StrCat(random_.OneIn(3) ? raised : topic.min_isr));
      break;
    }
    default:
      AlterConfig(topic.name, random_.OneIn(2) ? kFlushMessages : kFlushMs,
                  StrCat(random_.Between(1, 500)));
  }
  executor_->PostAfter(random_.Between(1, 2 * plan_->load.config_every_us),
                       [this] { ManageConfigs(); });
}

void Workload::AlterConfig(const std::string& topic, const std::string& key,
                           const std::string& value) {
  v1::AlterConfigsRequest request;
  auto* resource = request.add_resources();
  resource->mutable_resource()->set_type(v1::ConfigResource::TYPE_TOPIC);
  resource->mutable_resource()->set_name(topic);
  auto* change = resource->add_changes();
  change->set_name(key);
  change->set_operation(v1::ConfigChange::OPERATION_SET);
  change->set_value(value);
  const OpenCalls::Id call = calls_.Begin(
      StrCat("AlterConfigs ", topic, " ", key, "=", value), kAdminTimeoutUs);
  ++open_alters_;
  operator_->admin().AlterConfigs(request, kAdminTimeoutUs,
                                  [this, call, topic](const auto& response) {
    --open_alters_;
    calls_.End(call);
    if (response.ok() && response->results(0).has_error()) {
      report_(StrCat("a good change of ", topic, " was refused: ",
                     response->results(0).error().message()));
    }
  });
}

// ---- Leaders that are to lead again ----

// What was moved is told by nobody but the metadata; that this partition has its
// leader already, or that nobody in sync may lead, is an answer too.
void Workload::OrderElections() {
  if (stopped_) return;
  executor_->PostAfter(random_.Between(1, 2 * plan_->load.elect_every_us),
                       [this] { OrderElections(); });
  v1::ElectLeadersRequest request;
  request.set_kind(v1::ElectLeadersRequest::KIND_PREFERRED);
  const OpenCalls::Id call = calls_.Begin("ElectLeaders", kAdminTimeoutUs);
  operator_->admin().ElectLeaders(
      std::move(request), kAdminTimeoutUs,
      [this, call](const auto&) { calls_.End(call); });
}

void Workload::CreateTopic(const std::string& name) {
  v1::CreateTopicsRequest request;
  auto* topic = request.add_topics();
  topic->set_name(name);
  topic->set_partition_count(static_cast<int>(random_.Between(1, 3)));
  topic->set_replication_factor(std::min(3, cluster_->broker_count()));
  const OpenCalls::Id call =
      calls_.Begin(StrCat("CreateTopics ", name), kAdminTimeoutUs);
  operator_->admin().CreateTopics(
      request, kAdminTimeoutUs, [this, call, name](auto response) {
        calls_.End(call);
        if (!response.ok() || response->results(0).error().code() != 0) return;
        made_topics_.push_back(name);
        if (on_created_) {
          const auto id = TopicId::FromBytes(response->results(0).id());
          on_created_(id.value_or(TopicId()));
        }
      });
}

void Workload::DeleteTopic(const std::string& name) {
  v1::DeleteTopicsRequest request;
  request.add_topics()->set_name(name);
  const OpenCalls::Id call =
      calls_.Begin(StrCat("DeleteTopics ", name), kAdminTimeoutUs);
  operator_->admin().DeleteTopics(
      request, kAdminTimeoutUs,
      [this, call](const auto&) { calls_.End(call); });
}

}  // namespace sluice::sim
