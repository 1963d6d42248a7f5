#include "test/sim/workload.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "controller/metadata/config_registry.h"

namespace sluice::sim {
namespace {

constexpr int64_t kPollUs = 200'000;
constexpr int32_t kPollBytes = 1 << 20;
constexpr int64_t kDeliveryTimeoutMs = 20'000;
// Each of the two waits that a send may take: for metadata, then for a leader.
constexpr int64_t kSendTimeoutUs = 2 * kDeliveryTimeoutMs * 1000;

ProducerOptions OptionsOf(const LoadPlan& load, bool weak) {
  ProducerOptions options;
  options.acks = weak ? 1 : -1;
  options.enable_idempotence = load.idempotent && !weak;
  options.batch_bytes = load.batch_bytes;
  options.linger_ms = load.linger_ms;
  // Every record is settled before a run ends.
  options.delivery_timeout_ms = kDeliveryTimeoutMs;
  options.max_block_ms = kDeliveryTimeoutMs;
  options.request_bytes_max = load.request_bytes_max;
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
         const ClientUse& use, int id)
      : number(id),
        weak(options.acks != -1),
        once(options.idempotent()),
        client(cluster, options, {}, use) {}

  const int number;
  const bool weak;
  const bool once;
  SimClient client;
  int64_t next = 0;
};

struct Workload::Reader {
  Reader(SimCluster* cluster, const ConsumerOptions& options,
         const ClientUse& use, HistoryRecorder* history,
         const std::vector<NamedPartition>& partitions, int32_t id)
      : number(id), client(cluster, {}, options, use) {
    for (const NamedPartition& tp : partitions) {
      session[tp] = history->OpenSession(id, tp);
    }
  }

  const int32_t number;
  SimClient client;
  std::map<NamedPartition, Offset> next;
  std::map<NamedPartition, Offset> first;  // that it found
  std::map<NamedPartition, int64_t> session;
};

Workload::Workload(SimCluster* cluster, const SwarmPlan* plan,
                   RecordLedger::Report report)
    : cluster_(cluster),
      plan_(plan),
      report_(std::move(report)),
      random_(plan->seed + 11),
      grow_random_(plan->seed + 13),
      ledger_(report_),
      history_(&cluster->world(), partitions()),
      sends_(&cluster->world(), report_),
      polls_(&cluster->world(), report_),
      calls_(&cluster->world(), report_),
      executor_(cluster->world().NewExecutor()) {
  const LoadPlan& load = plan->load;
  ClientUse direct{.observer = &history_,
                   .metadata_age_ms = load.metadata_age_ms};
  ClientUse handed_on = direct;
  handed_on.forwards = load.forwards;
  for (int i = 0; i < load.producers; ++i) AddSender(direct, /*weak=*/false);
  if (load.weak_producer) AddSender(direct, /*weak=*/true);
  // One more, so that what it waits for keeps nobody's progress up.
  if (load.forwards) AddSender(handed_on, /*weak=*/false);
  for (int i = 0; i < load.consumers; ++i) {
    ConsumerOptions options = OptionsOf(load);
    options.rack = load.rack;
    readers_.push_back(std::make_unique<Reader>(
        cluster, options, i + 1 == load.consumers ? handed_on : direct,
        &history_, partitions(), i));
  }
  operator_ = std::make_unique<SimClient>(cluster);
  lister_ = std::make_unique<SimClient>(cluster, ProducerOptions(),
                                        ConsumerOptions(), handed_on);
  if (!plan->groups.empty()) MakeGroups();
  if (!plan->subscribers.empty()) MakeSubscribers();
  if (plan->streamer.in_flight_max > 0) MakeStreamProducer();
  if (plan->watcher_moves_us > 0) MakeWatcher();
  MonitorLeaders();
  history_.SetOnEarliest([this](const NamedPartition& tp,
                                const RecordLedger::Earliest& answer) {
    ++earliest_answers_;
    ledger_.OnEarliest(tp, answer);
  });
}

void Workload::MonitorLeaders() {
  const auto monitor = [this](const std::string& who, SimClient& client) {
    monitors_.push_back(std::make_unique<LeaderMonitor>(
        who, &client.metadata(), partitions(), report_));
  };
  for (const auto& sender : senders_) {
    monitor(StrCat("producer ", sender->number), sender->client);
  }
  for (const auto& reader : readers_) {
    monitor(StrCat("reader ", reader->number), reader->client);
  }
}

void Workload::AddSender(const ClientUse& use, bool weak) {
  const int number = static_cast<int>(senders_.size());
  const ProducerOptions options = OptionsOf(plan_->load, weak);
  senders_.push_back(
      std::make_unique<Sender>(cluster_, options, use, number));
  if (options.idempotent()) ledger_.OnIdempotent(number);
}

void Workload::MakeGroups() {
  GroupLoad::Deps deps;
  deps.cluster = cluster_;
  deps.plan = &plan_->groups;
  deps.seed = plan_->seed + 15;
  deps.partitions = partitions();
  deps.report = report_;
  deps.on_record = [this](const NamedPartition& tp,
                          const DecodedRecord& record) { Look(tp, record); };
  deps.is_done = [this](const NamedPartition& tp, Offset committed,
                        Offset end) {
    return committed == end || ledger_.deletable_below(tp) >= end ||
           (ledger_.may_lose(tp) && committed > end);
  };
  deps.on_owned = [this](const auto&... owned) {
    if (on_owned_) on_owned_(owned...);
  };
  groups_ = std::make_unique<GroupLoad>(std::move(deps));
}

Workload::~Workload() { stopped_ = stopped_reading_ = true; }

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
  for (const auto& sender : senders_) SendSome(*sender);
  for (const auto& reader : readers_) {
    reader->client.consumer().Assign(partitions());
    Poll(*reader);
  }
  if (groups_ != nullptr) groups_->Start();
  if (subscribers_ != nullptr) subscribers_->Start();
  if (streamer_ != nullptr) streamer_->Start();
  if (watcher_ != nullptr) watcher_->Start();
  if (plan_->load.admin_every_us > 0) ManageTopics();
  if (plan_->load.grow_every_us > 0) GrowTopics();
  if (plan_->load.internal_at_us > 0) {
    executor_->PostAfter(plan_->load.internal_at_us,
                         [this] { EnsureInternal(); });
  }
  if (plan_->load.trim_every_us > 0) TrimSome();
  if (plan_->load.list_every_us > 0) ListSome();
  if (plan_->load.identify_every_us > 0) Identify();
  if (plan_->load.config_every_us > 0) ManageConfigs();
  if (plan_->load.elect_every_us > 0) OrderElections();
}

void Workload::Stop() {
  stopped_ = true;
  if (streamer_ != nullptr) streamer_->Stop();
  if (watcher_ != nullptr) watcher_->Settle();
  if (subscribers_ != nullptr) subscribers_->Hurry();
  if (groups_ != nullptr) groups_->Stop();
}

bool Workload::AllAnswered() const {
  return sends_.empty() && calls_.empty() &&
         (groups_ == nullptr || groups_->AllAnswered());
}

std::string Workload::Unanswered() const {
  return StrCat(sends_.size(), " sends; ", calls_.ToString(), "; ",
                groups_ == nullptr ? "" : groups_->Unanswered());
}

void Workload::CheckDue() {
  sends_.CheckDue();
  polls_.CheckDue();
  calls_.CheckDue();
  if (groups_ != nullptr) groups_->CheckDue();
}

// ---- Records ----

void Workload::SendSome(Sender& sender) {
  if (stopped_) return;
  for (int i = 0; i < plan_->load.burst; ++i) SendOne(sender);
  executor_->PostAfter(random_.Between(1, 2 * plan_->load.send_every_us),
                       [this, &sender] { SendSome(sender); });
}

void Workload::SendOne(Sender& sender) {
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
  const OpenCalls::Id call =
      sends_.Begin(StrCat("a send of ", name), kSendTimeoutUs);
  const absl::Status taken = sender.client.producer().Send(
      std::move(record), [this, &sender, call, tp, name](const auto& result) {
        sends_.End(call);
        if (result.ok()) {
          history_.OnSettled(name, result->offset);
        } else {
          history_.OnSettled(name, result.status());
        }
        if (result.ok() && !sender.weak) {
          ledger_.OnAcked(tp, name, result->offset, history_.AckedBy(tp));
          if (on_acked_) {
            on_acked_(tp, result->offset, history_.AckedBy(tp));
          }
        }
      });
  if (!taken.ok()) {
    sends_.End(call);
    history_.OnSettled(name, taken);
  }
}

void Workload::Poll(Reader& reader) {
  const OpenCalls::Id call =
      polls_.Begin(StrCat("a poll of reader ", reader.number), kPollUs);
  reader.client.consumer().Poll(
      kPollUs, kPollBytes,
      [this, &reader, call](absl::StatusOr<Consumer::Batches> batches) {
        polls_.End(call);
        OnPolled(reader, batches);
      });
}

void Workload::OnPolled(Reader& reader,
                        const absl::StatusOr<Consumer::Batches>& batches) {
  if (batches.ok()) {
    for (const FetchedBatch& batch : *batches) Take(reader, batch);
  }
  if (stopped_reading_) return;
  if (!batches.ok()) GoOn(reader, batches.status());
  executor_->PostAfter(0, [this, &reader] { Poll(reader); });
}

// As a program does: what rests since an error is read again from where it
// stands. Of the partitions that do not it is no more than a second fetch.
void Workload::GoOn(Reader& reader, const absl::Status& error) {
  if (!IsRetriableStatus(error)) {
    report_(StrCat("REFUSED: a poll of reader ", reader.number, ": ",
                   error.ToString()));
  }
  Consumer& consumer = reader.client.consumer();
  for (const NamedPartition& tp : partitions()) {
    const absl::Status sought =
        consumer.Seek(tp, consumer.Position(tp).value_or(reader.next[tp]),
                      consumer.PositionEpoch(tp));
    if (!sought.ok()) report_(sought.ToString());
  }
}

std::string Workload::WhyNotRead(const NamedPartition& tp,
                                 Offset high_watermark) const {
  for (const auto& reader : readers_) {
    const auto position = reader->client.consumer().Position(tp);
    if (position == high_watermark) continue;
    return StrCat("reader ", reader->number, " of ", tp, " is at ",
                  position.has_value() ? StrCat(*position) : "no offset",
                  ", the high watermark at ", high_watermark);
  }
  return subscribers_ == nullptr ? ""
                                 : subscribers_->WhyNotRead(tp, high_watermark);
}

std::string Workload::WhyGroupsNotSettled(
    const std::function<Offset(const NamedPartition&)>& end) const {
  return groups_ == nullptr ? "" : groups_->WhyNotSettled(end);
}

Offset Workload::ReadUpTo(const NamedPartition& tp) const {
  return readers_.front()->next[tp];
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
        Look(batch.tp, record);
        const RecordName name =
            RecordName::FromString(record.key.value_or(""));
        records.push_back(
            {record.offset, name, check::HashOf(record.value.value_or(""))});
        return true;
      });
  if (!read.ok()) report_(StrCat("CORRUPT: ", batch.tp, ": ", read.ToString()));
  history_.OnPolled(reader.session.at(batch.tp), batch, records);
}

// Whoever was given it.
void Workload::Look(const NamedPartition& tp, const DecodedRecord& record) {
  const RecordName name = RecordName::FromString(record.key.value_or(""));
  ledger_.OnRead(tp, name, record.offset);
  if (record.value == name.Value(plan_->load.record_bytes)) return;
  report_(StrCat("TORN: ", tp, " offset ", record.offset.value(),
                 " is called ", name, " and has other bytes"));
}

// False: one is not answered, which is reported.
bool Workload::AwaitPolls() {
  const bool answered =
      cluster_->world().RunUntil([&] { return polls_.empty(); },
                                 kPollUs + 2 * OpenCalls::kGraceUs);
  polls_.CheckDue();
  return answered;
}

void Workload::CheckEnd(int64_t limit_us) {
  stopped_reading_ = true;
  if (subscribers_ != nullptr) subscribers_->Stop();
  if (!AwaitPolls()) return;
  const std::vector<NamedPartition> all = partitions();
  Reader reader(cluster_, OptionsOf(plan_->load), {.observer = &history_},
                &history_, all, plan_->load.consumers);
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
    Poll(reader);
    if (!AwaitPolls()) return;
  }
  for (const NamedPartition& tp : all) {
    if (at_end(tp)) {
      const Offset end = consumer.HighWatermark(tp);
      const auto found = reader.first.find(tp);
      const Offset first = found == reader.first.end() ? end : found->second;
      ledger_.CheckEnd(tp, first, end);
      if (groups_ != nullptr && !ledger_.may_lose(tp)) {
        groups_->CheckGiven(tp, std::max(first, ledger_.deletable_below(tp)),
                            end);
      }
      // What it misses of the rest was not deleted.
      history_.OnFinalRead(reader.session.at(tp),
                           std::min(first, ledger_.deletable_below(tp)), end);
    } else {
      report_(StrCat("UNREADABLE: ", tp, " to its end"));
    }
  }
  Judge(/*is_over=*/true);
}

void Workload::Judge(bool is_over) {
  check::HistoryScope scope;
  scope.is_over = is_over;
  for (const NamedPartition& tp : partitions()) {
    const int32_t number = history_.NumberOf(tp);
    if (ledger_.may_lose(tp)) scope.given_up.insert(number);
    scope.deleted_below[number] = ledger_.deletable_below(tp).value();
  }
  const check::HistoryVerdict verdict = history_.Judge(scope);
  (is_over ? records_judged_ : records_judged_so_far_) += verdict.acked;
  if (verdict.passed()) return;
  std::string text;
  for (const std::string& example : verdict.examples) {
    text += StrCat(text.empty() ? "" : "; ", example);
  }
  report_(text);
}

}  // namespace sluice::sim
