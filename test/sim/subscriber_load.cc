#include "test/sim/subscriber_load.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/base/str_cat.h"
#include "test/check/history.h"

namespace sluice::sim {
namespace {

// As ForEachRecord, of what a broker has decoded.
template <class Each>
absl::Status ForEachPushed(const FetchedBatch& batch,
                           const api::FetchResult& result, Each&& each) {
  if (result.records.empty()) return ForEachRecord(batch, each);
  for (const api::Record& record : result.records) {
    if (record.offset < batch.from) continue;
    DecodedRecord decoded;
    decoded.offset = record.offset;
    decoded.timestamp_ms = record.timestamp_ms;
    decoded.key = record.key;
    decoded.value = record.value;
    each(decoded);
  }
  return absl::OkStatus();
}

}  // namespace

SubscriberLoad::SubscriberLoad(Deps deps) : deps_(std::move(deps)) {
  for (const SubscriberPlan& plan : deps_.plans) Add(plan);
}

void SubscriberLoad::Add(const SubscriberPlan& plan) {
  programs_.push_back(std::make_unique<Program>());
  Program& program = *programs_.back();
  program.number = deps_.first_consumer + static_cast<int>(programs_.size()) - 1;
  for (const NamedPartition& tp : deps_.partitions) {
    program.session[tp] = deps_.history->OpenSession(program.number, tp);
  }
  Subscriber::Deps deps;
  deps.cluster = deps_.cluster;
  deps.plan = plan;
  deps.number = program.number;
  deps.partitions = deps_.partitions;
  deps.on_push = [this, &program](const Subscriber::Push& push) {
    return Take(program, push);
  };
  deps.on_out_of_range = [this, &program](const NamedPartition& tp,
                                          Offset position) {
    return OnOutOfRange(program, tp, position);
  };
  deps.report = deps_.report;
  deps.counts = &counts_;
  program.subscriber = std::make_unique<Subscriber>(std::move(deps));
}

void SubscriberLoad::Start() {
  for (const auto& program : programs_) program->subscriber->Start();
}

void SubscriberLoad::Hurry() {
  for (const auto& program : programs_) program->subscriber->Hurry();
}

void SubscriberLoad::Stop() {
  for (const auto& program : programs_) program->subscriber->Stop();
}

// What was deleted is pushed to nobody.
std::string SubscriberLoad::WhyNotRead(const NamedPartition& tp,
                                       Offset high_watermark) const {
  for (const auto& program : programs_) {
    const Offset position = program->subscriber->position(tp);
    if (position == high_watermark ||
        deps_.ledger->deletable_below(tp) >= high_watermark) {
      continue;
    }
    return StrCat("subscriber ", program->number, " of ", tp, " is at ",
                  position, ", the high watermark at ", high_watermark);
  }
  return "";
}

// As a reader's batch (Workload::Take); what was pushed before the program left
// the partition and came again it has had.
Offset SubscriberLoad::Take(Program& program, const Subscriber::Push& push) {
  const api::FetchResult& result = *push.result;
  Judge(push);
  FetchedBatch batch;
  batch.tp = push.tp;
  batch.batches = result.batches;
  batch.from = push.from;
  batch.next = std::max(push.from, result.next_offset);
  Offset next = push.from;
  HistoryRecorder::Records records;
  const bool certain = !deps_.ledger->may_lose(push.tp);
  const absl::Status read =
      ForEachPushed(batch, result, [&](const DecodedRecord& record) {
        if (record.offset != next && certain &&
            !(record.offset > next &&
              deps_.ledger->MayBeginAt(push.tp, record.offset))) {
          deps_.report(StrCat("GAP: subscriber ", program.number, " of ",
                              push.tp, " got offset ", record.offset,
                              " instead of ", next));
        }
        next = record.offset.Next();
        deps_.on_record(push.tp, record);
        records.push_back(
            {record.offset, RecordName::FromString(record.key.value_or("")),
             check::HashOf(record.value.value_or(""))});
        return true;
      });
  if (!read.ok()) {
    deps_.report(StrCat("CORRUPT: ", push.tp, ": ", read.ToString()));
  }
  deps_.history->OnPolled(program.session.at(push.tp), batch, records);
  return batch.next;
}

// What is pushed is committed, and is the leader's answer to its credit.
void SubscriberLoad::Judge(const Subscriber::Push& push) const {
  const api::FetchResult& result = *push.result;
  if (result.next_offset > result.high_watermark) {
    deps_.report(StrCat("RP7: pushed was ", push.tp, " up to ",
                        result.next_offset, ", past the high watermark ",
                        result.high_watermark));
  }
  if (push.began_us < 0) return;
  api::FetchResponse response;
  api::FetchResult& answer = response.results.emplace_back();
  answer.topic.name = push.tp.topic;
  answer.partition = push.tp.partition;
  answer.high_watermark = result.high_watermark;
  answer.log_start_offset = result.log_start_offset;
  answer.leader_epoch = result.leader_epoch;
  deps_.history->OnFetched(response, push.began_us);
}

// Below where the log begins by now; or records were lost, and it reads what
// there is instead from the start.
std::optional<Offset> SubscriberLoad::OnOutOfRange(Program& program,
                                                   const NamedPartition& tp,
                                                   Offset position) {
  if (deps_.ledger->may_lose(tp)) {
    program.session[tp] = deps_.history->OpenSession(program.number, tp);
    return Offset(0);
  }
  if (position < deps_.ledger->deletable_below(tp)) return position;
  return std::nullopt;
}

}  // namespace sluice::sim
