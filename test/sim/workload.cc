#include "test/sim/workload.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "controller/metadata/config_registry.h"

namespace sluice::sim {
namespace {

constexpr int64_t kPollUs = 200'000;
constexpr int64_t kAdminTimeoutUs = 30'000'000;
constexpr int64_t kTrimAgainUs = 500'000;
constexpr int64_t kListTimeoutUs = 5'000'000;
constexpr int64_t kIdentifyTimeoutUs = 5'000'000;
constexpr int32_t kPollBytes = 1 << 20;

ProducerOptions OptionsOf(const LoadPlan& load, bool weak) {
  ProducerOptions options;
  options.acks = weak ? 1 : -1;
  options.enable_idempotence = load.idempotent && !weak;
  options.batch_bytes = load.batch_bytes;
  options.linger_ms = load.linger_ms;
  // Every record is settled before a run ends.
  options.delivery_timeout_ms = 20'000;
  options.max_block_ms = 20'000;
  return options;
}

ConsumerOptions OptionsOf(const LoadPlan& load) {
  ConsumerOptions options;
  options.reset = OffsetReset::kEarliest;
  options.partition_bytes_max = load.fetch_bytes;
  return options;
}

}  // namespace

struct Workload::Sender {
  Sender(SimCluster* cluster, const ProducerOptions& options,
         ClientObserver* observer, int id)
      : number(id),
        weak(options.acks != -1),
        once(options.idempotent()),
        client(cluster, options, {}, observer) {}

  const int number;
  const bool weak;
  const bool once;
  SimClient client;
  int64_t next = 0;
};

struct Workload::Reader {
  Reader(SimCluster* cluster, const LoadPlan& load, HistoryRecorder* history,
         const std::vector<NamedPartition>& partitions, int32_t id)
      : client(cluster, {}, OptionsOf(load), history) {
    for (const NamedPartition& tp : partitions) {
      session[tp] = history->OpenSession(id, tp);
    }
  }

  SimClient client;
  std::map<NamedPartition, Offset> next;
  std::map<NamedPartition, Offset> first;  // that it found
  std::map<NamedPartition, int64_t> session;
};

Workload::Workload(SimCluster* cluster, const SwarmPlan* plan,
                   RecordLedger::Report report)
    : cluster_(cluster),
      plan_(plan),
      report_(report),
      random_(plan->seed + 11),
      ledger_(std::move(report)),
      history_(&cluster->world(), partitions()),
      executor_(cluster->world().NewExecutor()) {
  const LoadPlan& load = plan->load;
  for (int i = 0; i < load.producers + (load.weak_producer ? 1 : 0); ++i) {
    senders_.push_back(std::make_unique<Sender>(
        cluster, OptionsOf(load, i >= load.producers), &history_, i));
  }
  for (int i = 0; load.idempotent && i < load.producers; ++i) {
    ledger_.OnIdempotent(i);
  }
  for (int i = 0; i < load.consumers; ++i) {
    readers_.push_back(
        std::make_unique<Reader>(cluster, load, &history_, partitions(), i));
  }
  operator_ = std::make_unique<SimClient>(cluster);
  lister_ = std::make_unique<SimClient>(cluster, ProducerOptions(),
                                        ConsumerOptions(), &history_);
  history_.SetOnEarliest([this](const NamedPartition& tp,
                                const RecordLedger::Earliest& answer) {
    ++earliest_answers_;
    ledger_.OnEarliest(tp, answer, IsDurable(tp.topic));
  });
}

Workload::~Workload() { stopped_ = true; }

std::vector<NamedPartition> Workload::partitions() const {
  std::vector<NamedPartition> all;
  for (const TopicPlan& topic : plan_->topics) {
    for (int p = 0; p < topic.partitions; ++p) {
      all.push_back({topic.name, PartitionIndex(p)});
    }
  }
  return all;
}

void Workload::Start() {
  for (const auto& sender : senders_) SendOne(*sender);
  for (const auto& reader : readers_) {
    reader->client.consumer().Assign(partitions());
    ReadSome(*reader);
  }
  if (plan_->load.admin_every_us > 0) ManageTopics();
  if (plan_->load.trim_every_us > 0) TrimSome();
  if (plan_->load.list_every_us > 0) ListSome();
  if (plan_->load.identify_every_us > 0) Identify();
  if (plan_->load.config_every_us > 0) ManageConfigs();
}

void Workload::Stop() { stopped_ = true; }

bool Workload::AllAnswered() const {
  return unanswered_sends_ == 0 && open_calls_.empty();
}

std::string Workload::Unanswered() const {
  std::string text = StrCat(unanswered_sends_, " sends");
  for (const auto& [id, what] : open_calls_) text += StrCat(", ", what);
  return text;
}

// ---- Records ----

void Workload::SendOne(Sender& sender) {
  if (stopped_) return;
  const std::vector<NamedPartition> all = partitions();
  const NamedPartition& tp = all[random_.Below(all.size())];
  const RecordName name{sender.number, sender.next++};
  ProducerRecord record;
  record.topic = tp.topic;
  record.partition = tp.partition;
  record.key = name.ToString();
  record.value = name.Value(plan_->load.record_bytes);
  ledger_.OnSent(tp, name);
  history_.OnSent(tp, name, sender.weak ? 1 : -1, sender.once, *record.value);
  ++unanswered_sends_;
  const absl::Status taken = sender.client.producer().Send(
      std::move(record), [this, &sender, tp, name](const auto& result) {
        --unanswered_sends_;
        if (result.ok()) {
          history_.OnSettled(name, result->offset);
        } else {
          history_.OnSettled(name, result.status());
        }
        if (result.ok() && !sender.weak) {
          ledger_.OnAcked(tp, name, result->offset);
          if (on_acked_) on_acked_(tp, result->offset);
        }
      });
  if (!taken.ok()) {
    --unanswered_sends_;
    history_.OnSettled(name, taken);
  }
  executor_->PostAfter(random_.Between(1, 2 * plan_->load.send_every_us),
                       [this, &sender] { SendOne(sender); });
}

void Workload::ReadSome(Reader& reader) {
  reader.client.consumer().Poll(
      kPollUs, kPollBytes,
      [this, &reader](absl::StatusOr<Consumer::Batches> batches) {
        if (batches.ok()) {
          for (const FetchedBatch& batch : *batches) Take(reader, batch);
        }
        if (stopped_) return;
        executor_->PostAfter(0, [this, &reader] { ReadSome(reader); });
      });
}

void Workload::Take(Reader& reader, const FetchedBatch& batch) {
  Offset& next = reader.next[batch.tp];
  HistoryRecorder::Records records;
  const absl::Status read =
      ForEachRecord(batch, [&](const DecodedRecord& record) {
        reader.first.emplace(batch.tp, record.offset);
        const bool deleted = record.offset > next &&
                             ledger_.MayBeginAt(batch.tp, record.offset);
        if (record.offset != next && !deleted &&
            !ledger_.may_lose(batch.tp)) {
          report_(StrCat("GAP: a reader of ", batch.tp, " got offset ",
                         record.offset.value(), " instead of ", next.value()));
        }
        next = record.offset.Next();
        ++records_read_;
        const RecordName name =
            RecordName::FromString(record.key.value_or(""));
        ledger_.OnRead(batch.tp, name, record.offset);
        if (record.value != name.Value(plan_->load.record_bytes)) {
          report_(StrCat("TORN: ", batch.tp, " offset ", record.offset.value(),
                         " is called ", name, " and has other bytes"));
        }
        records.push_back(
            {record.offset, name, check::HashOf(record.value.value_or(""))});
        return true;
      });
  if (!read.ok()) report_(StrCat("CORRUPT: ", batch.tp, ": ", read.ToString()));
  history_.OnPolled(reader.session.at(batch.tp), batch, records);
}

void Workload::CheckEnd(int64_t limit_us) {
  const std::vector<NamedPartition> all = partitions();
  Reader reader(cluster_, plan_->load, &history_, all, plan_->load.consumers);
  Consumer& consumer = reader.client.consumer();
  consumer.Assign(all);
  const auto at_end = [&](const NamedPartition& tp) {
    return consumer.HighWatermark(tp) != kNoOffset &&
           consumer.Position(tp).value_or(Offset(-1)) >=
               consumer.HighWatermark(tp);
  };
  const auto done = [&] {
    return std::all_of(all.begin(), all.end(), at_end);
  };
  const int64_t end_us = cluster_->world().MonoMicros() + limit_us;
  while (!done() && cluster_->world().MonoMicros() < end_us) {
    bool answered = false;
    consumer.Poll(kPollUs, kPollBytes,
                  [&](absl::StatusOr<Consumer::Batches> batches) {
                    answered = true;
                    if (!batches.ok()) return;
                    for (const FetchedBatch& batch : *batches) {
                      Take(reader, batch);
                    }
                  });
    cluster_->world().RunUntil([&] { return answered; }, 2 * kPollUs);
  }
  for (const NamedPartition& tp : all) {
    if (at_end(tp)) {
      const auto first = reader.first.find(tp);
      ledger_.CheckEnd(tp,
                       first == reader.first.end()
                           ? consumer.HighWatermark(tp)
                           : first->second,
                       consumer.HighWatermark(tp));
      history_.OnFinalRead(reader.session.at(tp), consumer.HighWatermark(tp));
    } else {
      report_(StrCat("UNREADABLE: ", tp, " to its end"));
    }
  }
  JudgeHistory();
}

void Workload::JudgeHistory() {
  // A history does not know of records that were given up, or deleted.
  if (plan_->loses_all_power) return;
  const check::HistoryVerdict verdict = plan_->load.trim_every_us > 0
                                            ? history_.JudgeTimes()
                                            : history_.Judge();
  if (verdict.passed()) return;
  std::string text;
  for (const std::string& example : verdict.examples) {
    text += StrCat(text.empty() ? "" : "; ", example);
  }
  report_(text);
}

// ---- Records that are deleted ----

bool Workload::IsDurable(const std::string& topic) const {
  if (plan_->load.config_every_us > 0) return false;  // not for long
  return std::any_of(plan_->topics.begin(), plan_->topics.end(),
                     [&](const TopicPlan& plan) {
                       return plan.name == topic && plan.durable;
                     });
}

// Up to what a reader was given: that is committed, so whoever leads can.
void Workload::TrimSome() {
  if (stopped_) return;
  executor_->PostAfter(random_.Between(1, 2 * plan_->load.trim_every_us),
                       [this] { TrimSome(); });
  const std::vector<NamedPartition> all = partitions();
  const NamedPartition& tp = all[random_.Below(all.size())];
  const Offset read = readers_.front()->next[tp];
  const Offset before(static_cast<int64_t>(
      random_.Below(static_cast<uint64_t>(read.value()) + 1)));
  if (before == Offset(0)) return;
  ledger_.OnTrimming(tp, before);
  Trim(tp, before);
}

// A leader that was deposed and has not heard of it refuses what its successor
// committed: asked again until the one that leads has answered.
void Workload::Trim(const NamedPartition& tp, Offset before) {
  const uint64_t call = next_call_++;
  ++admin_calls_;
  open_calls_[call] = StrCat("DeleteRecords of ", tp, " before ", before);
  operator_->DeleteRecords(
      {{tp, before}}, kAdminTimeoutUs,
      [this, call, tp, before](RecordDeletion::Results results) {
        open_calls_.erase(call);
        const api::DeleteRecordsResult& result = results.at(tp);
        if (result.error.code == ErrorCode::kOffsetOutOfRange &&
            !ledger_.may_lose(tp)) {
          const uint64_t wait = next_call_++;
          open_calls_[wait] = result.error.message;
          executor_->PostAfter(kTrimAgainUs, [this, wait, tp, before] {
            open_calls_.erase(wait);
            Trim(tp, before);
          });
        }
        // What memory alone held may go with the power, and its epoch with it.
        if (result.error.ok() && IsDurable(tp.topic)) {
          ledger_.OnTrimmed(tp, result.log_start_offset);
        }
      });
}

// ---- Where logs begin and end ----

void Workload::ListSome() {
  if (stopped_) return;
  executor_->PostAfter(random_.Between(1, 2 * plan_->load.list_every_us),
                       [this] { ListSome(); });
  // The answers are judged one by one as they come; the whole, or that there is
  // none in time, says nothing more.
  lister_->ListOffsets(partitions(),
                       random_.OneIn(2) ? api::OffsetPosition::kLatest
                                        : api::OffsetPosition::kEarliest,
                       kListTimeoutUs, [](const auto&) {});
}

// ---- Producer ids ----

// What is answered is judged on the wire (IP5).
void Workload::Identify() {
  if (stopped_) return;
  executor_->PostAfter(random_.Between(1, 2 * plan_->load.identify_every_us),
                       [this] { Identify(); });
  operator_->InitProducerId(
      NodeId(static_cast<int32_t>(random_.Between(1, cluster_->broker_count()))),
      kIdentifyTimeoutUs, [](const auto&) {});
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
  const uint64_t call = next_call_++;
  ++admin_calls_;
  ++open_alters_;
  open_calls_[call] = StrCat("AlterConfigs ", topic, " ", key, "=", value);
  operator_->admin().AlterConfigs(request, kAdminTimeoutUs,
                                  [this, call, topic](const auto& response) {
    --open_alters_;
    open_calls_.erase(call);
    if (response.ok() && response->results(0).has_error()) {
      report_(StrCat("a good change of ", topic, " was refused: ",
                     response->results(0).error().message()));
    }
  });
}

void Workload::CreateTopic(const std::string& name) {
  v1::CreateTopicsRequest request;
  auto* topic = request.add_topics();
  topic->set_name(name);
  topic->set_partition_count(static_cast<int>(random_.Between(1, 3)));
  topic->set_replication_factor(std::min(3, cluster_->broker_count()));
  const uint64_t call = next_call_++;
  ++admin_calls_;
  open_calls_[call] = StrCat("CreateTopics ", name);
  operator_->admin().CreateTopics(
      request, kAdminTimeoutUs, [this, call, name](auto response) {
        open_calls_.erase(call);
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
  const uint64_t call = next_call_++;
  ++admin_calls_;
  open_calls_[call] = StrCat("DeleteTopics ", name);
  operator_->admin().DeleteTopics(
      request, kAdminTimeoutUs,
      [this, call](const auto&) { open_calls_.erase(call); });
}

}  // namespace sluice::sim
